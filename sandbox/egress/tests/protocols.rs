//! HTTP inside of TLS: its versions, its shapes, and what somebody may read in two ways.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{Read, Write};
use std::pin::Pin;
use std::sync::mpsc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Frame};
use hyper::{HeaderMap, Request, Response, Version};
use sealfleet_egress::Limits;
use serde_json::json;

use crate::secure::{H1, H2, Http2, Site, Voucher, answer, client, host};
use crate::world::{Answer, World, read_head};

fn authority(port: u16) -> String {
    format!("a.test:{port}")
}

fn request(port: u16, path: &str) -> hyper::http::request::Builder {
    Request::builder().uri(format!("https://{}{path}", authority(port)))
}

/// Sends one request in a tunnel of its own, written with `HOST` for the host.
fn ask(world: &World, port: u16, request: &str) -> Answer {
    let mut inside = world.inside(&authority(port));
    inside.send(request.replace("HOST", &authority(port)));
    inside.answer()
}

#[test]
fn each_side_speaks_the_version_that_it_likes() {
    for (alpn, version) in [
        (&[H1][..], Version::HTTP_11),
        (&[H2, H1][..], Version::HTTP_2),
    ] {
        let site = Site::start(alpn);
        let world = World::reading(&site.voucher, site.port());
        let old = ask(
            &world,
            site.port(),
            "GET /old?q=1 HTTP/1.1\r\nHost: HOST\r\nCookie: a=1\r\n\r\n",
        );
        assert_eq!((old.status, old.body.as_str()), (200, "ok"));
        let new = Http2::inside(&world, &authority(site.port()));
        for n in 0..3 {
            let request = request(site.port(), &format!("/new/{n}"))
                .method("POST")
                .header("cookie", "a=1")
                .header("cookie", "b=2")
                .body(Full::from("hello"));
            let answer = new.ask(request.unwrap()).unwrap();
            assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
            assert_eq!(answer.headers.get("via"), None);
        }
        let seen = site.seen();
        assert_eq!(seen.len(), 4);
        assert!(seen.iter().all(|seen| seen.version == version), "{seen:?}");
        assert!(seen[0].target.ends_with("/old?q=1"), "{seen:?}");
        assert_eq!(seen[1].method, "POST");
        assert_eq!(seen[1].body, "hello");
        let cookies: Vec<_> = seen[1].headers.get_all("cookie").iter().collect();
        match version {
            Version::HTTP_2 => {
                assert_eq!(cookies, ["a=1", "b=2"]);
                assert_eq!(seen[1].header("host"), None);
                assert!(seen[1].target.starts_with("https://a.test:"), "{seen:?}");
            }
            _ => {
                assert_eq!(cookies, ["a=1; b=2"]);
                assert_eq!(
                    seen[1].header("host"),
                    Some(authority(site.port()).as_str())
                );
            }
        }
        assert_eq!(site.connections(), 2, "each tunnel has one");
    }
}

#[test]
fn trailers_pass_both_ways() {
    let with_trailers = |_: &_| {
        let frames = [
            Ok(Frame::data(Bytes::from_static(b"ok"))),
            Ok(Frame::trailers(HeaderMap::from_iter([(
                hyper::header::HeaderName::from_static("grpc-status"),
                hyper::header::HeaderValue::from_static("0"),
            )]))),
        ];
        let mut answer = Response::new(Frames(frames.into()).boxed());
        let names = hyper::header::HeaderValue::from_static("grpc-status");
        answer.headers_mut().insert("trailer", names);
        answer
    };
    for alpn in [&[H1][..], &[H2][..]] {
        let site = Site::answering(alpn, with_trailers);
        let world = World::reading(&site.voucher, site.port());
        let new = Http2::inside(&world, &authority(site.port()));
        let request = request(site.port(), "/").header("te", "trailers");
        let answer = new.ask(request.body(Full::default()).unwrap()).unwrap();
        assert_eq!(answer.body, "ok");
        assert_eq!(answer.trailers.unwrap()["grpc-status"], "0");
        assert_eq!(site.only().header("te"), Some("trailers"));

        let mut old = world.inside(&authority(site.port()));
        old.send(format!(
            "POST / HTTP/1.1\r\nHost: {}\r\nTE: trailers\r\nConnection: close, TE\r\nTrailer: x-sum\r\n\
             Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n",
            authority(site.port())
        ));
        let all = String::from_utf8(old.rest()).unwrap();
        assert!(all.ends_with("\r\ngrpc-status: 0\r\n\r\n"), "{all}");
        let seen = site.seen().pop().unwrap();
        assert_eq!(
            (&*seen.body, seen.trailers.unwrap()["x-sum"].as_bytes()),
            (&b"hi"[..], &b"1"[..])
        );
    }
}

/// The frames of a body.
struct Frames(VecDeque<Result<Frame<Bytes>, Infallible>>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front())
    }
}

/// What an agent waits for word by word comes word by word, and as it was sent.
#[test]
fn a_stream_comes_piece_by_piece() {
    let voucher = Voucher::new();
    let (next, goes_on) = mpsc::channel::<()>();
    let goes_on = std::sync::Mutex::new(goes_on);
    let host = host(voucher.server(&["a.test"], &[H1]), move |mut stream| {
        read_head(&mut stream);
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n\
                    Transfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        for _ in 0..3 {
            stream.write_all(b"9\r\ndata: 1\n\n\r\n").unwrap();
            stream.flush().unwrap();
            // The next one is sent when this one has arrived.
            goes_on.lock().unwrap().recv().unwrap();
        }
        stream.write_all(b"0\r\n\r\n").unwrap();
    });
    let world = World::reading(&voucher, host.port());
    let mut inside = world.inside(&authority(host.port()));
    inside.send(format!(
        "POST /v1/messages HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\n\r\n",
        authority(host.port())
    ));
    let head = read_head(&mut inside.0);
    assert!(head.contains("content-encoding: gzip\r\n"), "{head}");
    for _ in 0..3 {
        assert_eq!(inside.read(14), b"9\r\ndata: 1\n\n\r\n");
        next.send(()).unwrap();
    }
    assert_eq!(inside.read(5), b"0\r\n\r\n");
}

#[test]
fn a_websocket_passes_through() {
    let voucher = Voucher::new();
    let host = host(voucher.server(&["a.test"], &[H2, H1]), |mut stream| {
        let head = read_head(&mut stream);
        assert_eq!(stream.conn.alpn_protocol(), Some(H1));
        assert!(head.contains("upgrade: websocket\r\n"), "{head}");
        let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                      Upgrade: websocket\r\nSec-WebSocket-Accept: it\r\n\r\nfirst";
        stream.write_all(answer.as_bytes()).unwrap();
        stream.flush().unwrap();
        let mut frame = [0; 5];
        stream.read_exact(&mut frame).unwrap();
        stream.write_all(&frame).unwrap();
        stream.flush().unwrap();
    });
    let world = World::reading(&voucher, host.port());
    let upgrade = "GET /ws HTTP/1.1\r\nHost: HOST\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Key: key\r\n";
    let mut inside = world.inside(&authority(host.port()));
    inside.send(upgrade.replace("HOST", &authority(host.port())) + "\r\n");
    let answer = inside.answer();
    assert_eq!(
        (answer.status, answer.header("sec-websocket-accept")),
        (101, Some("it"))
    );
    inside.send("frame");
    assert_eq!(inside.read(10), b"firstframe");
    for body in [
        "Content-Length: 2\r\n\r\nhi",
        "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    ] {
        let answer = ask(&world, host.port(), &format!("{upgrade}{body}"));
        assert_eq!(answer.status, 400, "{answer:?}");
    }
    assert_eq!(host.connections(), 1);
}

#[test]
fn a_program_that_waits_to_go_on_goes_on() {
    let site = Site::start(&[H1]);
    let world = World::reading(&site.voucher, site.port());
    let mut inside = world.inside(&authority(site.port()));
    inside.send(format!(
        "PUT / HTTP/1.1\r\nHost: {}\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        authority(site.port())
    ));
    assert_eq!(read_head(&mut inside.0), "HTTP/1.1 100 Continue\r\n\r\n");
    inside.send("hello");
    assert_eq!(inside.answer().body, "ok");
    assert_eq!(
        (site.only().header("expect"), &*site.only().body),
        (None, &b"hello"[..])
    );
    // What is refused anyway need not be sent.
    let refused =
        json!({ "allow": [{ "host": "a.test", "port": site.port(), "methods": ["GET"] }] });
    let world = World::beside(&site.voucher, refused, Vec::new(), Limits::default());
    let answer = ask(
        &world,
        site.port(),
        "PUT / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
    );
    assert_eq!(answer.status, 403);
}

#[test]
fn a_request_is_for_the_host_of_its_tunnel() {
    let site = Site::start(&[H1, H2]);
    let world = World::reading(&site.voucher, site.port());
    let port = site.port();
    for right in [
        format!("GET / HTTP/1.1\r\nHost: A.Test.:{port}\r\n\r\n"),
        format!("GET https://A.TEST:{port}/ HTTP/1.1\r\nHost: HOST\r\n\r\n"),
        "GET / HTTP/1.0\r\n\r\n".to_owned(),
    ] {
        let answer = ask(&world, port, &right);
        assert_eq!(answer.status, 200, "{right}: {answer:?}");
    }
    for (wrong, status) in [
        ("GET / HTTP/1.1\r\nHost: b.test\r\n\r\n".to_owned(), 421),
        ("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n".to_owned(), 421),
        (
            format!("GET / HTTP/1.1\r\nHost: a.test:{port}@b.test\r\n\r\n"),
            421,
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: a.test:{port}, b.test\r\n\r\n"),
            421,
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: x.a.test:{port}\r\n\r\n"),
            421,
        ),
        (
            "GET https://b.test/ HTTP/1.1\r\nHost: HOST\r\n\r\n".to_owned(),
            421,
        ),
        (
            "GET https://HOST/ HTTP/1.1\r\nHost: b.test\r\n\r\n".to_owned(),
            421,
        ),
        (
            "GET http://HOST/ HTTP/1.1\r\nHost: HOST\r\n\r\n".to_owned(),
            421,
        ),
        (
            "GET / HTTP/1.1\r\nHost: HOST\r\nHost: HOST\r\n\r\n".to_owned(),
            400,
        ),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n".to_owned(), 421),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        (
            "CONNECT HOST HTTP/1.1\r\nHost: HOST\r\n\r\n".to_owned(),
            400,
        ),
        (
            "CONNECT b.test:443 HTTP/1.1\r\nHost: b.test:443\r\n\r\n".to_owned(),
            400,
        ),
    ] {
        let answer = ask(&world, port, &wrong);
        assert_eq!(answer.status, status, "{wrong}: {answer:?}");
    }
    let new = Http2::inside(&world, &authority(port));
    let to = |uri: String, host: Option<&str>| {
        let mut request = Request::builder().version(Version::HTTP_2).uri(uri);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        new.ask(request.body(Full::default()).unwrap())
            .unwrap()
            .status
    };
    assert_eq!(to(format!("https://a.test:{port}/"), None), 200);
    assert_eq!(
        to(format!("https://a.test:{port}/"), Some(&authority(port))),
        200
    );
    assert_eq!(to("https://b.test/".to_owned(), None), 421);
    assert_eq!(to(format!("http://a.test:{port}/"), None), 421);
    assert_eq!(to(format!("https://a.test:{port}/"), Some("b.test")), 421);
    assert_eq!(site.seen().len(), 5);
}

/// As outside of TLS: one place has the rules.
#[test]
fn what_can_be_read_in_two_ways_reaches_nobody() {
    let site = Site::start(&[H1]);
    let world = World::reading(&site.voucher, site.port());
    let long = format!(
        "GET / HTTP/1.1\r\nHost: HOST\r\nX: {}\r\n\r\n",
        "a".repeat(65_536)
    );
    let many = format!(
        "GET / HTTP/1.1\r\nHost: HOST\r\n{}\r\n",
        "X: a\r\n".repeat(200)
    );
    for request in [
        "GET / HTTP/1.1\r\nHost: HOST\r\nX: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: HOST\r\nX: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: HOST\r\nX: a\r\n b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: HOST\r\nX : a\r\n\r\n",
        "GET /\rX HTTP/1.1\r\nHost: HOST\r\n\r\n",
        "GET / x HTTP/1.1\r\nHost: HOST\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 1, 1\r\n\r\nx",
        "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: +1\r\n\r\nx",
        "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        &long,
        &many,
    ] {
        let answer = ask(&world, site.port(), request);
        let shown = &request[..request.len().min(80)];
        assert!(
            matches!(answer.status, 0 | 400 | 414 | 431),
            "{shown:?}: {answer:?}"
        );
    }
    assert_eq!(site.seen().len(), 0);
    // A length beside chunks: the chunks decide, and the connection ends.
    let mut inside = world.inside(&authority(site.port()));
    let host = authority(site.port());
    inside.send(format!(
        "POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n\
         5\r\nhello\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: {host}\r\n\r\n"
    ));
    assert_eq!(inside.answer().status, 200);
    inside.rest();
    assert_eq!(
        (&*site.only().body, site.only().header("content-length")),
        (&b"hello"[..], None)
    );
}

#[test]
fn an_answer_that_can_be_read_in_two_ways_is_kept_back() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        "SSH-2.0-OpenSSH\r\n",
    ] {
        let voucher = Voucher::new();
        let host = host(voucher.server(&["a.test"], &[H1]), move |mut stream| {
            read_head(&mut stream);
            let _ = stream.write_all(answer.as_bytes());
            let _ = stream.flush();
        });
        let world = World::reading(&voucher, host.port());
        let told = ask(&world, host.port(), "GET / HTTP/1.1\r\nHost: HOST\r\n\r\n");
        assert_eq!(told.status, 502, "{answer:?}");
    }
}

/// A connection that speaks frames of HTTP/2 (RFC 9113, 4.1) as no program would.
struct Raw(
    crate::world::Client<rustls::StreamOwned<rustls::ClientConnection, std::net::TcpStream>>,
);

impl Raw {
    fn inside(world: &World, port: u16) -> Self {
        let config = client(world.proxy.ca_pem(), &[H2]);
        let mut raw = Self(world.inside_as(&authority(port), config, "a.test"));
        raw.0.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        raw.send(4, 0, 0, &[]);
        raw
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        self.0.send([&head, payload].concat());
    }

    /// `GET /` in HPACK without an index (RFC 7541, 6.2.2).
    fn head(port: u16) -> Vec<u8> {
        let authority = authority(port);
        let mut head = vec![
            0x82,
            0x87,
            0x84,
            0x01,
            u8::try_from(authority.len()).unwrap(),
        ];
        head.extend(authority.as_bytes());
        head
    }
}

/// CVE-2023-44487, and the floods of CONTINUATION frames of 2024.
#[test]
fn floods_of_frames_end_their_own_connection() {
    const HEADERS: u8 = 1;
    const RESET: u8 = 3;
    const CONTINUATION: u8 = 9;
    let site = Site::start(&[H1]);
    let world = World::reading(&site.voucher, site.port());
    let mut resets = Raw::inside(&world, site.port());
    for n in 0..5000 {
        resets.send(HEADERS, 5, 2 * n + 1, &Raw::head(site.port()));
        resets.send(RESET, 0, 2 * n + 1, &[0, 0, 0, 8]);
    }
    resets.0.rest();
    assert!(site.seen().len() < 2000, "{}", site.seen().len());
    let mut goes_on = Raw::inside(&world, site.port());
    goes_on.send(HEADERS, 1, 1, &Raw::head(site.port()));
    let field = [&[0x00, 1, b'x', 127, 0][..], &[b'x'; 127]]
        .concat()
        .repeat(64);
    for _ in 0..2000 {
        goes_on.send(CONTINUATION, 0, 1, &field);
    }
    goes_on.0.rest();
    let answer = ask(&world, site.port(), "GET / HTTP/1.1\r\nHost: HOST\r\n\r\n");
    assert_eq!(answer.status, 200);
}

#[test]
fn requests_of_one_connection_do_not_wait_for_each_other() {
    let voucher = Voucher::new();
    let (arrived, all) = mpsc::channel();
    let (arrived, go) = (
        std::sync::Mutex::new(arrived),
        std::sync::Arc::new(std::sync::Barrier::new(4)),
    );
    let waits = std::sync::Arc::clone(&go);
    // Each connection answers when four requests are there.
    let host = host(voucher.server(&["a.test"], &[H1]), move |mut stream| {
        read_head(&mut stream);
        arrived.lock().unwrap().send(()).unwrap();
        waits.wait();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        let _ = stream.flush();
    });
    let world = World::reading(&voucher, host.port());
    let new = std::sync::Arc::new(Http2::inside(&world, &authority(host.port())));
    let asking: Vec<_> = (0..4)
        .map(|_| {
            let (new, request) = (std::sync::Arc::clone(&new), request(host.port(), "/"));
            std::thread::spawn(move || {
                new.ask(request.body(Full::default()).unwrap())
                    .unwrap()
                    .status
            })
        })
        .collect();
    for _ in 0..4 {
        all.recv_timeout(Duration::from_secs(30)).unwrap();
    }
    for asking in asking {
        assert_eq!(asking.join().unwrap(), 200);
    }
}

#[test]
fn long_bodies_pass_whole_and_wait_for_who_reads() {
    const LENGTH: usize = 8 << 20;
    let site = Site::answering(&[H2], |seen| answer(seen.body.clone()));
    let world = World::reading(&site.voucher, site.port());
    let new = Http2::inside(&world, &authority(site.port()));
    let body = Bytes::from("x".repeat(LENGTH));
    let began = Instant::now();
    let request = request(site.port(), "/")
        .method("PUT")
        .body(Full::new(body))
        .unwrap();
    assert_eq!(new.ask(request).unwrap().body.len(), LENGTH);
    eprintln!("{LENGTH} bytes there and back took {:?}", began.elapsed());
}
