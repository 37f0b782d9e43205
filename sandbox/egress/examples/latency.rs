//! What the proxy adds to a connection, as JSON: an array of rows, each beside the same without
//! it. Host, proxy and program are on loopback, so there is nothing else to wait for.

#![expect(clippy::unwrap_used, reason = "a tool fails by panicking")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use sealfleet_domain::egress::Policy;
use sealfleet_egress::{Limits, Proxy};

const ROUNDS: usize = 5000;
/// As a short message of an API.
const MESSAGE: usize = 1024;
const GIBIBYTE: usize = 1 << 30;

fn main() {
    let host = start_host();
    let proxy = start_proxy();
    let direct = move || connect(host);
    let tunnel = move || tunnel(proxy, host);
    let rows = [
        row("open, and a byte back and forth", &direct, &tunnel, opens),
        row("1 KiB back and forth", &direct, &tunnel, messages),
        row("1 GiB back and forth", &direct, &tunnel, gibibyte),
    ];
    println!("{}", serde_json::Value::from(rows.to_vec()));
}

fn row(
    what: &str,
    direct: &dyn Fn() -> TcpStream,
    tunnel: &dyn Fn() -> TcpStream,
    measure: fn(&dyn Fn() -> TcpStream) -> Vec<Duration>,
) -> serde_json::Value {
    let (direct, tunnel) = (measure(direct), measure(tunnel));
    let part = |times: &[Duration], percent: usize| {
        let time = times.get((times.len() - 1) * percent / 100).unwrap();
        time.as_secs_f64() * 1000.0
    };
    serde_json::json!({
        "what": what,
        "direct_p50_ms": part(&direct, 50),
        "direct_p99_ms": part(&direct, 99),
        "tunnel_p50_ms": part(&tunnel, 50),
        "tunnel_p99_ms": part(&tunnel, 99),
    })
}

fn sorted(mut times: Vec<Duration>) -> Vec<Duration> {
    times.sort_unstable();
    times
}

/// Each time a new connection.
fn opens(open: &dyn Fn() -> TcpStream) -> Vec<Duration> {
    let once = |_| {
        let began = Instant::now();
        let mut stream = open();
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
        began.elapsed()
    };
    sorted((0..ROUNDS).map(once).collect())
}

/// All on one connection.
fn messages(open: &dyn Fn() -> TcpStream) -> Vec<Duration> {
    let (mut stream, mut message) = (open(), [0; MESSAGE]);
    let once = |_| {
        let began = Instant::now();
        stream.write_all(&message).unwrap();
        stream.read_exact(&mut message).unwrap();
        began.elapsed()
    };
    sorted((0..ROUNDS).map(once).collect())
}

/// The host sends it back; what is measured is that all has come back.
fn gibibyte(open: &dyn Fn() -> TcpStream) -> Vec<Duration> {
    let stream = open();
    let mut writes = stream.try_clone().unwrap();
    let began = Instant::now();
    let writer = std::thread::spawn(move || {
        let piece = vec![0; 1 << 20];
        for _ in 0..GIBIBYTE / piece.len() {
            writes.write_all(&piece).unwrap();
        }
    });
    let read = std::io::copy(&mut stream.take(GIBIBYTE as u64), &mut std::io::sink());
    assert_eq!(read.unwrap(), GIBIBYTE as u64);
    let took = began.elapsed();
    writer.join().unwrap();
    vec![took]
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn tunnel(proxy: SocketAddr, host: SocketAddr) -> TcpStream {
    let mut stream = connect(proxy);
    write!(stream, "CONNECT {host} HTTP/1.1\r\n\r\n").unwrap();
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    assert!(head.starts_with(b"HTTP/1.1 200"));
    stream
}

/// Sends back what it gets.
fn start_host() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.set_nodelay(true).unwrap();
            std::thread::spawn(move || {
                let mut reads = stream.try_clone().unwrap();
                let _ = std::io::copy(&mut reads, &mut stream);
            });
        }
    });
    address
}

/// On one thread, as beside a step.
fn start_proxy() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let networks = vec!["127.0.0.0/8".parse().unwrap()];
        let proxy = Proxy::new(Policy::Open, networks, Limits::default());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(proxy.serve(listener)).unwrap();
    });
    address
}
