//! What an operator gets to see.

use sealfleet_domain::egress::{Denial, Denied};
use sealfleet_domain::limits::EGRESS_ROWS;

use crate::host::{Host, Web};
use crate::world::{Book, LOOPBACK, OPEN, World};

#[test]
fn denials_are_counted_by_host_port_and_reason() {
    let book = Book::default().with("a.test", &[&["10.0.0.1"]]);
    let policy = crate::world::allow(&[("a.test", 443)]);
    let world = World::start(&policy, &[], book, Default::default());
    for target in [
        "a.test:443",
        "a.test:443",
        "a.test:80",
        "A.test:80",
        "b.test:1",
    ] {
        let answer = world.ask(format!("CONNECT {target} HTTP/1.1\r\n\r\n"));
        assert_eq!(answer.status, 403);
    }
    let row = |host: &str, port, reason, count| Denial {
        host: host.parse().unwrap(),
        port,
        reason,
        key: None,
        count,
    };
    let denials = world.proxy.take_denials();
    assert_eq!(
        denials.rows,
        [
            row("a.test", 80, Denied::NoRule, 2),
            row("a.test", 443, Denied::Address, 2),
            row("b.test", 1, Denied::NoRule, 1),
        ]
    );
    assert_eq!(denials.others, 0);
    assert_eq!(world.proxy.take_denials(), Default::default());
}

#[test]
fn ten_thousand_hosts_take_few_rows() {
    let world = World::with_host(1);
    let mut client = world.connect();
    for hundred in 0..100 {
        let requests: String = (0..100)
            .map(|n| format!("GET http://h{hundred}-{n}.test/ HTTP/1.1\r\n\r\n"))
            .collect();
        client.send(requests);
        for _ in 0..100 {
            assert_eq!(client.answer().status, 403);
        }
    }
    let denials = world.proxy.take_denials();
    assert_eq!(denials.rows.len(), EGRESS_ROWS);
    let named: u64 = denials.rows.iter().map(|row| row.count).sum();
    assert_eq!(named + denials.others, 10_000);
}

#[test]
fn what_was_reached_is_summed_by_host() {
    let (host, web) = (Host::echo(), Web::start());
    let book = Book::default()
        .with("a.test", &[&["127.0.0.1"]])
        .with("b.test", &[&["127.0.0.1"]]);
    let world = World::start(OPEN, LOOPBACK, book, Default::default());
    for _ in 0..2 {
        let mut tunnel = world.tunnel(&format!("a.test:{}", host.port()));
        tunnel.send("hello");
        tunnel.end();
        assert_eq!(tunnel.rest(), b"hello");
    }
    let answer = world.ask(format!(
        "GET http://b.test:{}/ HTTP/1.1\r\n\r\n",
        web.port()
    ));
    assert_eq!(answer.body, "ok");
    let reached = world.proxy.reached();
    let rows: Vec<_> = reached.rows.iter().collect();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].host.to_string(), "a.test");
    let traffic = rows[0].traffic;
    assert_eq!(
        (traffic.connections, traffic.sent, traffic.received),
        (2, 10, 10)
    );
    let (request, answer) = (web.request().len() as u64, rows[1].traffic);
    assert_eq!((answer.connections, answer.sent), (1, request));
    assert!(answer.received > 0);
}

#[test]
fn many_hosts_that_are_reached_take_few_rows() {
    let web = Web::start();
    let hosts = EGRESS_ROWS + 10;
    let mut book = Book::default();
    for n in 0..hosts {
        book = book.with(&format!("h{n}.test"), &[&["127.0.0.1"]]);
    }
    let world = World::start(OPEN, LOOPBACK, book, Default::default());
    for n in 0..hosts {
        let answer = world.ask(format!(
            "GET http://h{n}.test:{}/ HTTP/1.1\r\n\r\n",
            web.port()
        ));
        assert_eq!(answer.status, 200);
    }
    let reached = world.proxy.reached();
    assert_eq!(reached.rows.len(), EGRESS_ROWS);
    assert_eq!(reached.others.connections, 10);
    assert!(reached.others.received > 0);
}
