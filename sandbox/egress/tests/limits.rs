//! What programs may take.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use sealfleet_egress::Limits;

use crate::host::Host;
use crate::world::{Book, LOOPBACK, World, allow, read_head};

fn world(host: &Host, limits: Limits) -> World {
    World::start(
        &allow(&[("a.test", host.port())]),
        LOOPBACK,
        Book::default().with("a.test", &[&["127.0.0.1"]]),
        limits,
    )
}

#[test]
fn three_hundred_connections_take_turns() {
    // Both ends of all connections are in this process.
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files).unwrap();

    let host = Host::echo();
    let world = world(&host, Limits::default());
    let mut clients: Vec<_> = (0..300).map(|_| world.connect()).collect();
    for client in &mut clients {
        client.send(format!("CONNECT a.test:{} HTTP/1.1\r\n\r\n", host.port()));
    }
    let mut waiting = clients.split_off(256);
    for client in &mut clients {
        assert_eq!(client.answer().status, 200);
    }
    let first = &mut waiting[0].0;
    first
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let early = first.read(&mut [0]).unwrap_err();
    assert_eq!(early.kind(), ErrorKind::WouldBlock);
    first.set_read_timeout(None).unwrap();
    assert_eq!(host.connections(), 256);

    for (leaver, follower) in clients.drain(..44).zip(&mut waiting) {
        drop(leaver);
        assert_eq!(follower.answer().status, 200);
    }
    for client in clients.iter_mut().chain(&mut waiting) {
        client.send("x");
        assert_eq!(client.read(1), b"x");
    }
}

#[test]
fn who_never_sends_a_head_loses_its_place() {
    let host = Host::echo();
    let limits = Limits {
        connections: 1,
        head: Duration::from_millis(200),
        ..Limits::default()
    };
    let world = world(&host, limits);
    for beginning in ["", "CONNECT a.te", "GET http://b.test/ HTTP/1.1\r\nX: "] {
        let mut silent = world.connect();
        silent.send(beginning);
        let next = world.ask("GET http://b.test/ HTTP/1.1\r\n\r\n");
        assert_eq!(next.status, 403, "{beginning:?}");
        silent.rest();
    }
    // After a first request, too.
    let mut idle = world.connect();
    idle.send("GET http://b.test/ HTTP/1.1\r\n\r\n");
    assert_eq!(idle.answer().status, 403);
    idle.rest();
}

#[test]
fn a_host_that_never_answers_is_given_up() {
    let host = Host::start(|mut stream| {
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let limits = Limits {
        head: Duration::from_millis(300),
        idle: Duration::from_millis(300),
        ..Limits::default()
    };
    let world = world(&host, limits);
    let authority = format!("a.test:{}", host.port());
    let answer = world.ask(format!("GET http://{authority}/ HTTP/1.1\r\n\r\n"));
    assert_eq!(answer.status, 504);
    assert_eq!(
        answer.header("proxy-status"),
        Some("sealfleet; error=http_response_timeout")
    );
    let mut tunnel = world.tunnel(&authority);
    tunnel.send("x");
    assert_eq!(tunnel.rest(), b"");
}

#[test]
fn an_answer_that_stops_ends_its_connection() {
    let host = Host::start(|mut stream| {
        read_head(&mut stream);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
            .unwrap();
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let limits = Limits {
        idle: Duration::from_millis(300),
        ..Limits::default()
    };
    let world = world(&host, limits);
    let mut client = world.connect();
    client.send(format!(
        "GET http://a.test:{}/ HTTP/1.1\r\n\r\n",
        host.port()
    ));
    let all = String::from_utf8(client.rest()).unwrap();
    assert!(all.ends_with("\r\n\r\nhalf"), "{all}");
}

#[test]
fn who_reads_nothing_loses_its_place() {
    let host = Host::start(|mut stream| {
        if read_head(&mut stream).starts_with("GET") {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        }
        let _ = std::io::copy(&mut std::io::repeat(0), &mut stream);
    });
    let limits = Limits {
        connections: 1,
        head: Duration::from_millis(300),
        idle: Duration::from_millis(300),
        ..Limits::default()
    };
    let world = world(&host, limits);
    let authority = format!("a.test:{}", host.port());
    let refused = "GET http://b.test/ HTTP/1.1\r\n\r\n";
    for request in [
        format!("CONNECT {authority} HTTP/1.1\r\n\r\n\r\n\r\n"),
        format!("GET http://{authority}/ HTTP/1.1\r\n\r\n"),
        refused.repeat(100_000),
    ] {
        let mut deaf = world.connect();
        let mut sends = deaf.0.try_clone().unwrap();
        let sending = std::thread::spawn(move || sends.write_all(request.as_bytes()));
        assert_eq!(world.ask(refused).status, 403);
        let _ = deaf.rest();
        let _ = sending.join().unwrap();
    }
}
