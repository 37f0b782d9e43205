//! What names resolve to. In these tests 127.0.0.2 is a place that the operator has opened, and
//! 127.0.0.1 one that nobody may reach.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType};
use sealfleet_egress::Limits;

use crate::host::{Host, echo};
use crate::world::{Answer, Book, LOOPBACK, OPEN, World};

const OPENED: &[&str] = &["127.0.0.2/32", "127.0.0.3/32"];

fn refused_for_its_address(answer: &Answer) {
    assert_eq!(answer.status, 403, "{answer:?}");
    assert_eq!(answer.json()["code"], "egress_address");
    assert_eq!(
        answer.header("proxy-status"),
        Some("sealfleet; error=destination_ip_prohibited")
    );
}

#[test]
fn a_name_leads_to_no_address_that_is_closed() {
    let trap = Host::echo();
    for addresses in [
        &["127.0.0.1"][..],
        &["::1"],
        &["::ffff:127.0.0.1"],
        &["::127.0.0.1"],
        &["64:ff9b::127.0.0.1"],
        &["0.0.0.0"],
        &["::"],
        &["10.0.0.1"],
        &["169.254.169.254"],
        &["fd00:ec2::254"],
        &["127.0.0.2", "127.0.0.1"],
        &["127.0.0.1", "127.0.0.2"],
    ] {
        let book = Book::default().with("a.test", &[addresses]);
        let world = World::start(OPEN, OPENED, book, Limits::default());
        let port = trap.port();
        for request in [
            format!("CONNECT a.test:{port} HTTP/1.1\r\n\r\n"),
            format!("GET http://a.test:{port}/ HTTP/1.1\r\n\r\n"),
        ] {
            refused_for_its_address(&world.ask(request));
        }
    }
    assert_eq!(trap.connections(), 0);
}

#[test]
fn an_address_in_place_of_a_name_is_checked_too() {
    let trap = Host::echo();
    let world = World::start(OPEN, OPENED, Book::default(), Limits::default());
    for host in [
        "127.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "0.0.0.0",
        "[::]",
        "169.254.169.254",
        "[fd00:ec2::254]",
    ] {
        let port = trap.port();
        refused_for_its_address(&world.ask(format!("CONNECT {host}:{port} HTTP/1.1\r\n\r\n")));
    }
    for host in [
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "017700000001",
    ] {
        let answer = world.ask(format!("CONNECT {host}:{} HTTP/1.1\r\n\r\n", trap.port()));
        assert_eq!(answer.status, 400, "{host}");
    }
    assert_eq!(trap.connections(), 0);
}

#[test]
fn the_address_that_was_checked_is_the_one_that_is_reached() {
    let trap = Host::echo();
    let real = Host::at(SocketAddr::from(([127, 0, 0, 2], trap.port())), echo);
    let book = Book::default().with("a.test", &[&["127.0.0.2"], &["127.0.0.1"]]);
    let world = World::start(OPEN, OPENED, book, Limits::default());
    let authority = format!("a.test:{}", trap.port());
    let mut tunnel = world.tunnel(&authority);
    tunnel.send("x");
    assert_eq!(tunnel.read(1), b"x");
    assert_eq!(world.book.asked(), ["a.test"], "it is asked once");
    // The next connection gets the next answer, and it is checked like the first.
    refused_for_its_address(&world.ask(format!("CONNECT {authority} HTTP/1.1\r\n\r\n")));
    assert_eq!((real.connections(), trap.connections()), (1, 0));
}

#[test]
fn the_next_address_is_tried_and_not_all_of_them() {
    let real = Host::at(SocketAddr::from(([127, 0, 0, 2], 0)), echo);
    let book = Book::default()
        .with("a.test", &[&["127.0.0.3", "127.0.0.2"]])
        .with(
            "b.test",
            &[&[
                "127.0.0.3",
                "127.0.0.3",
                "127.0.0.3",
                "127.0.0.3",
                "127.0.0.2",
            ]],
        );
    let world = World::start(OPEN, OPENED, book, Limits::default());
    world.tunnel(&format!("a.test:{}", real.port()));
    let answer = world.ask(format!("CONNECT b.test:{} HTTP/1.1\r\n\r\n", real.port()));
    assert_eq!(answer.json()["code"], "egress_connection_refused");
}

#[test]
fn what_cannot_be_reached_says_why() {
    // Its queue holds one connection, and Linux lets no other wait for it.
    let busy = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&busy, &SocketAddr::from(([127, 0, 0, 2], 0))).unwrap();
    rustix::net::listen(&busy, 0).unwrap();
    let busy = std::net::TcpListener::from(busy);
    let busy_at = busy.local_addr().unwrap();
    let _waits = TcpStream::connect(busy_at).unwrap();

    let book = Book::default()
        .with("closed.test", &[&["127.0.0.3"]])
        .with("busy.test", &[&["127.0.0.2"]])
        .with("empty.test", &[&[]])
        .silent_about("silent.test");
    let limits = Limits {
        lookup: Duration::from_millis(100),
        connect: Duration::from_millis(100),
        ..Limits::default()
    };
    let world = World::start(OPEN, LOOPBACK, book, limits);
    for (host, status, error) in [
        ("unknown.test", 502, "dns_error"),
        ("empty.test", 502, "dns_error"),
        ("silent.test", 504, "dns_timeout"),
        ("closed.test", 502, "connection_refused"),
        ("busy.test", 504, "connection_timeout"),
    ] {
        let port = busy_at.port();
        let answer = world.ask(format!("CONNECT {host}:{port} HTTP/1.1\r\n\r\n"));
        let told = format!("sealfleet; error={error}");
        assert_eq!(answer.header("proxy-status"), Some(told.as_str()), "{host}");
        assert_eq!(answer.status, status, "{host}");
    }
    assert_eq!(world.proxy.take_denials(), Default::default());
}
