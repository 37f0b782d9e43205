//! Bytes both ways.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use crate::host::{Host, echo};
use crate::world::{World, read_head};

#[test]
fn the_end_of_one_direction_is_passed_on_and_the_other_goes_on() {
    let host = Host::start(|mut stream| {
        let mut all = String::new();
        stream.read_to_string(&mut all).unwrap();
        write!(stream, "got {all}").unwrap();
    });
    let world = World::with_host(host.port());
    let mut tunnel = world.tunnel(&format!("a.test:{}", host.port()));
    tunnel.send("all of it");
    tunnel.end();
    assert_eq!(tunnel.rest(), b"got all of it");
}

#[test]
fn a_host_may_end_first() {
    let (sent, got) = mpsc::channel();
    let host = Host::start(move |mut stream| {
        stream.write_all(b"greeting").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        sent.send(all).unwrap();
    });
    let world = World::with_host(host.port());
    let mut tunnel = world.tunnel(&format!("a.test:{}", host.port()));
    assert_eq!(tunnel.rest(), b"greeting");
    tunnel.send("still here");
    tunnel.end();
    assert_eq!(got.recv().unwrap(), b"still here");
}

#[test]
fn bytes_that_come_with_the_request_are_the_first_of_the_tunnel() {
    let host = Host::echo();
    let world = World::with_host(host.port());
    let mut client = world.connect();
    client.send(format!(
        "CONNECT a.test:{} HTTP/1.1\r\n\r\nearly",
        host.port()
    ));
    assert_eq!(client.answer().status, 200);
    client.end();
    assert_eq!(client.rest(), b"early");
}

#[test]
fn a_websocket_is_let_through() {
    let host = Host::start(|mut stream| {
        let head = read_head(&mut stream);
        assert!(head.contains("upgrade: websocket\r\n"), "{head}");
        assert!(head.contains("connection: upgrade\r\n"), "{head}");
        assert!(head.contains("sec-websocket-key: key\r\n"), "{head}");
        let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                      Upgrade: websocket\r\nSec-WebSocket-Accept: it\r\n\r\nfirst";
        stream.write_all(answer.as_bytes()).unwrap();
        echo(stream);
    });
    let world = World::with_host(host.port());
    for _ in 0..20 {
        let mut client = world.connect();
        client.send(format!(
            "GET http://a.test:{}/ws HTTP/1.1\r\nConnection: keep-alive, Upgrade\r\n\
             Upgrade: WebSocket\r\nSec-WebSocket-Key: key\r\n\r\n",
            host.port()
        ));
        let answer = client.answer();
        assert_eq!(answer.status, 101, "{answer:?}");
        assert_eq!(answer.header("upgrade"), Some("websocket"));
        assert_eq!(answer.header("sec-websocket-accept"), Some("it"));
        client.send("frame");
        client.end();
        assert_eq!(client.rest(), b"firstframe");
    }
}

/// Bytes of this process in memory (proc_pid_status(5)).
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kibibytes = line.unwrap().split_whitespace().nth(1).unwrap();
    kibibytes.parse::<u64>().unwrap() * 1024
}

const MEBIBYTE: usize = 1 << 20;

#[test]
fn a_gigabyte_passes_in_flat_memory() {
    let host = Host::start(|mut stream| {
        let mut piece = vec![0; MEBIBYTE];
        stream.read_exact(&mut piece[..1]).unwrap();
        for _ in 0..1024 {
            stream.write_all(&piece).unwrap();
        }
    });
    let world = World::with_host(host.port());
    let mut tunnel = world.tunnel(&format!("a.test:{}", host.port()));
    tunnel.send("x");
    let mut piece = vec![0; MEBIBYTE];
    tunnel.0.read_exact(&mut piece).unwrap();
    let (before, mut most) = (resident(), 0);
    for _ in 1..1024 {
        tunnel.0.read_exact(&mut piece).unwrap();
        most = most.max(resident());
    }
    assert_eq!(tunnel.rest(), b"");
    let grown = most.saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes more");
    let reached = world.proxy.reached();
    assert_eq!(reached.rows[0].traffic.received, 1 << 30);
}

/// How much a host can send to a program that does not read.
fn taken_from(mut stream: TcpStream) -> usize {
    let patience = Some(Duration::from_secs(1));
    stream.set_write_timeout(patience).unwrap();
    let (piece, mut taken) = (vec![0; MEBIBYTE], 0);
    while taken < 256 * MEBIBYTE {
        match stream.write(&piece) {
            Ok(bytes) => taken += bytes,
            Err(_) => break,
        }
    }
    taken
}

#[test]
fn who_reads_slowly_makes_the_host_wait() {
    let (sent, taken) = mpsc::channel();
    let host = Host::start(move |mut stream| {
        if read_head(&mut stream).starts_with("GET") {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        }
        sent.send(taken_from(stream)).unwrap();
    });
    let world = World::with_host(host.port());
    let authority = format!("a.test:{}", host.port());
    let mut tunnel = world.tunnel(&authority);
    tunnel.send("\r\n\r\n");
    let through_tunnel = taken.recv().unwrap();
    let mut web = world.connect();
    web.send(format!("GET http://{authority}/ HTTP/1.1\r\n\r\n"));
    let through_request = taken.recv().unwrap();
    // What sockets of the system hold, four of them.
    for taken in [through_tunnel, through_request] {
        assert!(taken < 64 * MEBIBYTE, "{taken} bytes");
    }
}

#[test]
fn connections_end_with_the_proxy() {
    let host = Host::echo();
    let world = World::with_host(host.port());
    let mut tunnel = world.tunnel(&format!("a.test:{}", host.port()));
    let mut idle = world.connect();
    idle.send("GET http://b.test/ HTTP/1.1\r\n\r\n");
    assert_eq!(idle.answer().status, 403);
    world.stop_serving();
    assert_eq!(tunnel.rest(), b"");
    assert_eq!(idle.rest(), b"");
}
