//! Requests that are forwarded, and those that somebody may read in two ways.

use std::io::{Read, Write};

use crate::host::{Host, Web};
use crate::world::{Answer, Book, LOOPBACK, World, allow, read_head};

/// Sends a request to `a.test`, written as `HOST` in it.
fn ask(world: &World, web: &Web, request: &str) -> Answer {
    world.ask(request.replace("HOST", &format!("a.test:{}", web.port())))
}

#[test]
fn a_request_is_rewritten_for_its_host() {
    let web = Web::start();
    let world = World::with_host(web.port());
    let answer = ask(
        &world,
        &web,
        "GET http://HOST/path?query=1 HTTP/1.1\r\nHost: b.test\r\nAccept: text/plain\r\n\
         Connection: keep-alive, X-Hop, host, Upgrade, HTTP2-Settings\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\n\
         Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic canary\r\n\
         Upgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n",
    );
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
    assert_eq!(answer.header("via"), Some("1.1 sealfleet"));
    let request = web.request();
    let mut lines: Vec<&str> = request.trim_end().split("\r\n").collect();
    lines[1..].sort_unstable();
    let host = format!("host: a.test:{}", web.port());
    assert_eq!(
        lines,
        [
            "GET /path?query=1 HTTP/1.1",
            "accept: text/plain",
            "connection: close",
            &host,
            "via: 1.1 sealfleet",
        ]
    );
}

#[test]
fn bodies_pass_with_a_length_and_in_chunks_and_the_connection_stays() {
    let web = Web::start();
    let world = World::with_host(web.port());
    let authority = format!("a.test:{}", web.port());
    let mut client = world.connect();
    for (framing, body) in [
        ("Content-Length: 5", "hello"),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
        ("Content-Length: 0", ""),
    ] {
        client.send(format!(
            "POST http://{authority}/ HTTP/1.1\r\n{framing}\r\n\r\n{body}"
        ));
        assert_eq!(client.answer().body, "ok", "{framing}");
        let requests = web.requests();
        let (head, sent) = requests.last().unwrap().split_once("\r\n\r\n").unwrap();
        assert_eq!(sent, body);
        assert!(head.contains(&framing.to_ascii_lowercase()), "{head}");
    }
    // A program that knows no more than HTTP/1.0.
    let old = ask(&world, &web, "GET http://HOST/ HTTP/1.0\r\n\r\n");
    assert_eq!((old.status, old.body.as_str()), (200, "ok"));
}

#[test]
fn long_bodies_pass_whole_both_ways() {
    const LENGTH: u64 = 32 << 20;
    let host = Host::start(|mut stream| {
        read_head(&mut stream);
        let got = std::io::copy(&mut (&stream).take(LENGTH), &mut std::io::sink());
        assert_eq!(got.unwrap(), LENGTH);
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n"
        )
        .unwrap();
        std::io::copy(&mut std::io::repeat(b'x').take(LENGTH), &mut stream).unwrap();
    });
    let world = World::with_host(host.port());
    let mut client = world.connect();
    client.send(format!(
        "PUT http://a.test:{}/ HTTP/1.1\r\nContent-Length: {LENGTH}\r\nConnection: close\r\n\r\n",
        host.port()
    ));
    std::io::copy(&mut std::io::repeat(b'x').take(LENGTH), &mut client.0).unwrap();
    let head = read_head(&mut client.0);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(client.rest().len() as u64, LENGTH);
}

#[test]
fn each_request_of_a_connection_is_judged_by_itself() {
    let web = Web::start();
    let world = World::with_host(web.port());
    let authority = format!("a.test:{}", web.port());
    let mut client = world.connect();
    client.send(format!(
        "GET http://{authority}/1 HTTP/1.1\r\n\r\n\
         GET http://b.test/ HTTP/1.1\r\nHost: {authority}\r\n\r\n\
         GET http://{authority}/2 HTTP/1.1\r\n\r\n\
         CONNECT b.test:443 HTTP/1.1\r\n\r\n"
    ));
    let statuses = [(); 4].map(|()| client.answer().status);
    assert_eq!(statuses, [200, 403, 200, 403]);
    assert_eq!(web.requests().len(), 2);
}

#[test]
fn what_can_be_read_in_two_ways_reaches_nobody() {
    let web = Web::start();
    let world = World::with_host(web.port());
    let long = format!(
        "GET http://HOST/ HTTP/1.1\r\nX: {}\r\n\r\n",
        "a".repeat(65_536)
    );
    let long_line = format!("GET http://HOST/{} HTTP/1.1\r\n\r\n", "a".repeat(65_536));
    let many = format!(
        "GET http://HOST/ HTTP/1.1\r\n{}\r\n",
        "X: a\r\n".repeat(200)
    );
    let in_tunnel = [
        "CONNECT user@HOST HTTP/1.1\r\n\r\n",
        "CONNECT user:password@HOST HTTP/1.1\r\n\r\n",
        "CONNECT HOST/path HTTP/1.1\r\n\r\n",
        "CONNECT HOST?query HTTP/1.1\r\n\r\n",
        "CONNECT http://HOST HTTP/1.1\r\n\r\n",
        "CONNECT http://HOST/ HTTP/1.1\r\n\r\n",
        "CONNECT /HOST HTTP/1.1\r\n\r\n",
        "CONNECT a.test HTTP/1.1\r\n\r\n",
        "CONNECT a.test: HTTP/1.1\r\n\r\n",
        "CONNECT a.test:0 HTTP/1.1\r\n\r\n",
        "CONNECT a.test:65536 HTTP/1.1\r\n\r\n",
        "CONNECT a.test:18446744073709551696 HTTP/1.1\r\n\r\n",
        "CONNECT a.test:+443 HTTP/1.1\r\n\r\n",
        "CONNECT a.test:443:443 HTTP/1.1\r\n\r\n",
        "CONNECT ::1:443 HTTP/1.1\r\n\r\n",
        "CONNECT a%2etest:443 HTTP/1.1\r\n\r\n",
        "CONNECT a.test%00:443 HTTP/1.1\r\n\r\n",
        "CONNECT a.test\0:443 HTTP/1.1\r\n\r\n",
        "CONNECT HOST HTTP/1.1\r\nContent-Length: 1\r\n\r\nx",
        "CONNECT HOST HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "CONNECT * HTTP/1.1\r\n\r\n",
    ];
    let of_web = [
        "GET / HTTP/1.1\r\nHost: HOST\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: HOST\r\n\r\n",
        "GET HOST HTTP/1.1\r\n\r\n",
        "GET //HOST/ HTTP/1.1\r\n\r\n",
        "GET https://HOST/ HTTP/1.1\r\n\r\n",
        "GET ftp://HOST/ HTTP/1.1\r\n\r\n",
        "GET http://user:password@HOST/ HTTP/1.1\r\n\r\n",
        "GET http:///HOST/ HTTP/1.1\r\n\r\n",
        "GET http://HOST/ HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n",
        "GET http://HOST/ HTTP/1.1\r\nHost: HOST\r\nHost: HOST\r\n\r\n",
        "GET http://HOST/ HTTP/1.1\r\nX: a\r\n b\r\n\r\n",
        "GET http://HOST/ HTTP/1.1\r\nX : a\r\n\r\n",
        "GET http://HOST/ HTTP/1.1\r\n X: a\r\n\r\n",
        "GET http://HOST/ HTTP/1.1\r\nX: a\rb\r\n\r\n",
        "GET http://HOST/ HTTP/1.1\r\nX: a\0b\r\n\r\n",
        "GET http://HOST/\r\nX: a HTTP/1.1\r\n\r\n",
        "GET http://HOST/\rX HTTP/1.1\r\n\r\n",
        "GET http://HOST/ x HTTP/1.1\r\n\r\n",
        "GET  http://HOST/ HTTP/1.1\r\n\r\n",
        "GET http://HOST/ HTTP/1.2\r\n\r\n",
        "GET http://HOST/\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "POST http://HOST/ HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        "POST http://HOST/ HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\nx",
        "POST http://HOST/ HTTP/1.1\r\nContent-Length: +1\r\n\r\nx",
        "POST http://HOST/ HTTP/1.1\r\nContent-Length: 0x1\r\n\r\nx",
        "POST http://HOST/ HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\nx",
        "POST http://HOST/ HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "POST http://HOST/ HTTP/1.1\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "POST http://HOST/ HTTP/1.1\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "POST http://HOST/ HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "POST http://HOST/ HTTP/1.1\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n\
         0\r\n\r\n",
        "POST http://HOST/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        &long,
        &long_line,
        &many,
    ];
    for request in in_tunnel.iter().chain(&of_web) {
        let answer = ask(&world, &web, request);
        let shown = &request[..request.len().min(80)];
        // hyper ends a connection of HTTP/2 without an answer.
        let is_refused = matches!(answer.status, 0 | 400 | 414 | 431);
        assert!(is_refused, "{shown:?}: {answer:?}");
    }
    assert_eq!(web.host.connections(), 0);
    assert_eq!(world.book.asked(), Vec::<String>::new());
}

/// RFC 9112, 6.1: the coding decides, the length is dropped, and the connection ends.
#[test]
fn a_length_beside_chunks_is_dropped() {
    for fields in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
    ] {
        let web = Web::start();
        let world = World::with_host(web.port());
        let authority = format!("a.test:{}", web.port());
        let mut client = world.connect();
        client.send(format!(
            "POST http://{authority}/ HTTP/1.1\r\n{fields}\r\n\r\n5\r\nhello\r\n0\r\n\r\n\
             GET http://{authority}/smuggled HTTP/1.1\r\n\r\n"
        ));
        assert_eq!(client.answer().status, 200);
        client.rest();
        let request = web.request();
        assert!(!request.contains("content-length"), "{request}");
        assert!(
            request.ends_with("\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
            "{request}"
        );
    }
}

#[test]
fn an_answer_that_can_be_read_in_two_ways_is_kept_back() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        "SSH-2.0-OpenSSH\r\n",
        "",
    ] {
        let web = Web::answering(answer);
        let world = World::with_host(web.port());
        let told = ask(&world, &web, "GET http://HOST/ HTTP/1.1\r\n\r\n");
        assert_eq!(told.status, 502, "{answer:?}");
    }
}

#[test]
fn fields_of_one_connection_do_not_come_back() {
    let web = Web::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n\
         Keep-Alive: 5\r\nProxy-Authenticate: Basic\r\nX-End: 1\r\n\r\nok",
    );
    let world = World::with_host(web.port());
    let answer = ask(&world, &web, "GET http://HOST/ HTTP/1.1\r\n\r\n");
    for gone in ["connection", "x-hop", "keep-alive", "proxy-authenticate"] {
        assert_eq!(answer.header(gone), None, "{gone}");
    }
    assert_eq!(answer.header("x-end"), Some("1"));
    let mut head = world.connect();
    head.send(format!(
        "HEAD http://a.test:{}/ HTTP/1.0\r\n\r\n",
        web.port()
    ));
    let head = String::from_utf8(head.rest()).unwrap();
    assert!(
        head.contains("content-length: 2\r\n") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
}

#[test]
fn the_default_port_is_80() {
    let world = World::start(
        &allow(&[("127.0.0.9", 80)]),
        LOOPBACK,
        Book::default(),
        Default::default(),
    );
    let allowed = world.ask("GET http://127.0.0.9/ HTTP/1.1\r\n\r\n");
    assert_ne!(allowed.json()["code"], "egress_no_rule");
    let refused = world.ask("GET http://127.0.0.9:443/ HTTP/1.1\r\n\r\n");
    assert_eq!(refused.json()["code"], "egress_no_rule");
}
