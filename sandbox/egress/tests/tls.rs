//! TLS in tunnels: where the proxy ends it, and where it does not.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use sealfleet_egress::Limits;
use serde_json::json;

use crate::host::{Host, echo};
use crate::secure::{H1, H2, Site, Voucher, client, client_hello, drain, handshakes, host};
use crate::world::{LOOPBACK, World, allow, read_head};

fn get(path: &str, authority: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\n\r\n")
}

/// What was refused, as `REASON HOST COUNT`.
pub fn denied(world: &World) -> Vec<String> {
    let rows = world.proxy.take_denials().rows.into_iter();
    let row = |row: sealfleet_domain::egress::Denial| {
        let key = row.key.map(|key| format!(" {key}")).unwrap_or_default();
        format!("{:?} {} {}{key}", row.reason, row.host, row.count)
    };
    rows.map(row).collect()
}

#[test]
fn a_rule_with_methods_and_paths_is_held_against_each_request() {
    let site = Site::start(&[H1]);
    let rules = json!({ "allow": [
        { "host": "a.test", "port": site.port(), "methods": ["GET"], "paths": ["/v1/*", "/health"] },
        { "host": "a.test", "port": site.port(), "methods": ["POST"], "paths": ["/v1/messages"] },
    ] });
    let world = World::beside(&site.voucher, rules, Vec::new(), Limits::default());
    let authority = format!("a.test:{}", site.port());
    let mut inside = world.inside(&authority);
    let mut ask = |request: &str| {
        inside.send(format!(
            "{request} HTTP/1.1\r\nHost: {authority}\r\nContent-Length: 0\r\n\r\n"
        ));
        inside.answer()
    };
    for request in [
        "GET /v1/models?a=/../b",
        "GET /health",
        "POST /v1/messages",
        "GET /v1/%6dodels",
    ] {
        let answer = ask(request);
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (200, "ok"),
            "{request}"
        );
        assert_eq!(answer.header("via"), None);
    }
    let method = ask("POST /v1/models");
    assert_eq!(
        (method.status, method.json()["code"].as_str()),
        (403, Some("egress_no_method"))
    );
    assert_eq!(
        method.json()["missing_rule"],
        json!({ "host": "a.test", "port": site.port(), "methods": ["POST"], "paths": ["/v1/models"] })
    );
    assert!(
        method.head.contains("No egress rule for a.test"),
        "{}",
        method.head
    );
    let path = ask("GET /v2");
    assert_eq!(
        (path.status, path.json()["code"].as_str()),
        (403, Some("egress_no_path"))
    );
    for slips in [
        "GET /v1/../v2",
        "GET /v1/%2e%2e/v2",
        "GET /v1/..%2fv2",
        "GET /v1//../v2",
        "GET /v1/..;/v2",
        "GET /v1/%252e%252e/v2",
        "GET /v1\\..\\v2",
        "OPTIONS /v1/models",
    ] {
        let answer = ask(slips);
        assert!(matches!(answer.status, 400 | 403), "{slips}: {answer:?}");
    }
    assert_eq!(site.seen().len(), 4);
    assert_eq!(site.connections(), 1, "a connection is used again");
    let told = denied(&world);
    assert_eq!(told[0], "NoMethod a.test 2", "{told:?}");
    assert!(told[1].starts_with("NoPath a.test "), "{told:?}");
    // The same rules hold without TLS.
    let plain = world.ask(format!("GET http://{authority}/v2 HTTP/1.1\r\n\r\n"));
    assert_eq!(plain.json()["code"], "egress_no_path");
}

/// Where there is no reason to read, the program sees the host's own certificate.
#[test]
fn other_hosts_stay_tunnels() {
    let site = Site::start(&[H1]);
    let rules = json!({ "allow": [
        { "host": "a.test", "port": site.port() },
        { "host": "b.test", "port": site.port(), "methods": ["GET"] },
    ] });
    let world = World::beside(&site.voucher, rules, Vec::new(), Limits::default());
    let authority = |name: &str| format!("{name}:{}", site.port());
    let (own, proxys) = (
        client(&site.voucher.pem, &[H1]),
        client(world.proxy.ca_pem(), &[H1]),
    );
    let tries = |name: &str, config: &Arc<rustls::ClientConfig>| {
        handshakes(world.inside_as(&authority(name), Arc::clone(config), name))
    };
    assert_eq!(tries("a.test", &own), Ok(()));
    assert!(tries("a.test", &proxys).is_err());
    assert_eq!(tries("b.test", &proxys), Ok(()));
    assert!(tries("b.test", &own).is_err());
}

#[test]
fn the_authority_of_one_step_is_no_use_for_another() {
    let site = Site::start(&[H1]);
    let [one, other] = [(); 2].map(|()| World::reading(&site.voucher, site.port()));
    assert_ne!(one.proxy.ca_pem(), other.proxy.ca_pem());
    let authority = format!("a.test:{}", site.port());
    let trusting = |pem: &str| client(pem, &[H1]);
    let same = one.inside_as(&authority, trusting(one.proxy.ca_pem()), "a.test");
    assert_eq!(handshakes(same), Ok(()));
    let wrong = one.inside_as(&authority, trusting(other.proxy.ca_pem()), "a.test");
    assert!(handshakes(wrong).is_err());
}

/// A tunnel goes to the host that the policy allows, also for what is behind its address.
#[test]
fn tls_in_a_tunnel_names_the_host_of_the_tunnel() {
    let echoes = Host::echo();
    let world = World::with_host(echoes.port());
    let authority = format!("a.test:{}", echoes.port());
    let sends = |hello: &[u8], piece: usize| {
        let mut tunnel = world.tunnel(&authority);
        for piece in hello.chunks(piece) {
            tunnel.send(piece);
            if hello.len() / piece.len() > 100 {
                // So that the system does not put the pieces together.
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        tunnel.end();
        tunnel.rest()
    };
    let right = client_hello(Some("a.test"));
    let upper = client_hello(Some("A.Test"));
    for piece in [1, 3, 100, 1 << 16] {
        assert_eq!(sends(&right, piece), right, "{piece}");
    }
    assert_eq!(sends(&upper, 1 << 16), upper);
    let alert = [21, 3, 3, 0, 2, 2, 112];
    let mut broken = right.clone();
    broken[5] = 2;
    let wrong = client_hello(Some("b.test"));
    for (hello, piece) in [
        (&wrong, 1 << 16),
        (&wrong, 1),
        (&client_hello(None), 1 << 16),
        (&broken, 1 << 16),
    ] {
        assert_eq!(sends(hello, piece), alert);
    }
    assert_eq!(denied(&world), ["Sni a.test 4"]);
    // Split into records, as some do to hide a name.
    let (header, body) = wrong.split_at(5);
    let split = body
        .chunks(20)
        .flat_map(|part| [&header[..3], &[0, u8::try_from(part.len()).unwrap()], part].concat());
    assert_eq!(sends(&split.collect::<Vec<u8>>(), 1 << 16), alert);
    // What is no TLS passes, and so does its beginning alone.
    for other in [
        &b"SSH-2.0-x\r\n"[..],
        b"\x16",
        b"\x00\x16\x03",
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        assert_eq!(sends(other, 1 << 16), other);
    }
}

#[test]
fn an_address_is_not_named_in_tls() {
    let echoes = Host::echo();
    let policy = allow(&[("127.0.0.1", echoes.port())]);
    let world = World::start(&policy, LOOPBACK, Default::default(), Limits::default());
    for (name, passes) in [(None, true), (Some("b.test"), false)] {
        let mut tunnel = world.tunnel(&format!("127.0.0.1:{}", echoes.port()));
        let hello = client_hello(name);
        tunnel.send(&hello);
        tunnel.end();
        assert_eq!(tunnel.rest() == hello, passes, "{name:?}");
    }
}

/// The host may speak first: nothing waits for the program.
#[test]
fn a_host_that_greets_is_heard_at_once() {
    let greets = Host::start(|mut stream| {
        stream.write_all(b"220 a.test\r\n").unwrap();
        echo(stream);
    });
    let world = World::with_host(greets.port());
    let mut tunnel = world.tunnel(&format!("a.test:{}", greets.port()));
    assert_eq!(tunnel.read(12), b"220 a.test\r\n");
    tunnel.send("EHLO");
    assert_eq!(tunnel.read(4), b"EHLO");
}

#[test]
fn what_is_no_tls_to_a_host_that_is_read_gets_no_further() {
    let site = Site::start(&[H1]);
    let world = World::reading(&site.voucher, site.port());
    let authority = format!("a.test:{}", site.port());
    let mut tunnel = world.tunnel(&authority);
    tunnel.send(get("/", &authority));
    let answer = tunnel.answer();
    assert_eq!(
        (answer.status, answer.json()["code"].as_str()),
        (403, Some("egress_needs_tls"))
    );
    let right = client(world.proxy.ca_pem(), &[H1]);
    let other = world.inside_as(&authority, right, "b.test");
    assert!(handshakes(other).unwrap_err().contains("UnrecognisedName"));
    assert_eq!(denied(&world), ["Sni a.test 1"]);
    assert_eq!(site.connections(), 0);
}

#[test]
fn a_slow_handshake_loses_its_place() {
    let site = Site::start(&[H1]);
    let rule = json!({ "host": "a.test", "port": site.port(), "methods": ["GET"] });
    let limits = Limits {
        connections: 1,
        head: Duration::from_millis(300),
        ..Limits::default()
    };
    let policy = json!({ "allow": [rule] });
    let world = World::beside(&site.voucher, policy, Vec::new(), limits);
    let authority = format!("a.test:{}", site.port());
    let hello = client_hello(Some("a.test"));
    for beginning in [&hello[..0], &hello[..1], &hello[..50], &hello[..]] {
        let mut slow = world.tunnel(&authority);
        slow.send(beginning);
        let next = world.ask("GET http://b.test/ HTTP/1.1\r\n\r\n");
        assert_eq!(next.status, 403);
        slow.rest();
    }
}

#[test]
fn a_host_that_is_not_the_one_gets_nothing() {
    let voucher = Voucher::new();
    let params = |change: fn(&mut rcgen::CertificateParams)| {
        let mut params = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        change(&mut params);
        params
    };
    let other = Voucher::new();
    let expired = params(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let early = params(|params| params.not_before = rcgen::date_time_ymd(2090, 1, 1));
    for (config, why) in [
        (
            other.server(&["a.test"], &[H1]),
            "is not signed by an authority that the proxy knows",
        ),
        (voucher.server(&["b.test"], &[H1]), "is for another host"),
        (voucher.server_with(expired, &[H1]), "has expired"),
        (voucher.server_with(early, &[H1]), "is not valid yet"),
    ] {
        let (sent, got) = std::sync::mpsc::channel();
        let host = host(config, move |mut stream| {
            let mut all = Vec::new();
            let _ = stream.read_to_end(&mut all);
            sent.send(all).unwrap();
        });
        let world = World::reading(&voucher, host.port());
        let authority = format!("a.test:{}", host.port());
        let mut inside = world.inside(&authority);
        inside.send(get("/", &authority));
        let answer = inside.answer();
        assert_eq!(answer.status, 502, "{answer:?}");
        assert_eq!(
            answer.header("proxy-status"),
            Some("sealfleet; error=tls_certificate_error")
        );
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(why), "{detail}");
        assert_eq!(got.recv().unwrap(), b"");
    }
    let silent = Host::echo();
    let world = World::reading(&voucher, silent.port());
    let authority = format!("a.test:{}", silent.port());
    let mut inside = world.inside(&authority);
    inside.send(get("/", &authority));
    assert_eq!(inside.answer().json()["code"], "egress_tls");
}

/// What cannot be reached is told inside of the tunnel, where an agent can read it.
#[test]
fn a_closed_address_behind_a_name_is_told_inside() {
    let book = crate::world::Book::default().with("a.test", &[&["10.0.0.1"]]);
    let policy = json!({ "allow": [{ "host": "*.test", "methods": ["GET"] }] }).to_string();
    let world = World::start(&policy, LOOPBACK, book, Limits::default());
    for (name, status, code) in [
        ("a.test", 403, "egress_address"),
        ("unknown.test", 502, "egress_dns"),
    ] {
        let mut inside = world.inside(&format!("{name}:443"));
        inside.send(get("/", name));
        let answer = inside.answer();
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (status, Some(code))
        );
    }
    assert_eq!(denied(&world), ["Address a.test 1"]);
}

#[test]
fn many_hosts_under_one_rule_are_served() {
    let policy = json!({ "allow": [{ "host": "*.c.test", "methods": ["GET"] }] }).to_string();
    let world = World::start(&policy, LOOPBACK, Default::default(), Limits::default());
    for n in 0..200 {
        let name = format!("h{n}.c.test");
        assert_eq!(
            handshakes(world.inside(&format!("{name}:443"))),
            Ok(()),
            "{name}"
        );
    }
}

#[test]
fn a_redirect_is_the_programs_to_follow() {
    let site = Site::answering(&[H1], |_| {
        let mut answer = crate::secure::answer("");
        *answer.status_mut() = hyper::StatusCode::FOUND;
        answer
            .headers_mut()
            .insert("location", "https://b.test/".parse().unwrap());
        answer
    });
    let world = World::reading(&site.voucher, site.port());
    let authority = format!("a.test:{}", site.port());
    let mut inside = world.inside(&authority);
    inside.send(get("/", &authority));
    let answer = inside.answer();
    assert_eq!(
        (answer.status, answer.header("location")),
        (302, Some("https://b.test/"))
    );
    assert_eq!(site.seen().len(), 1);
}

#[test]
fn a_connection_that_its_host_has_ended_is_opened_again() {
    let voucher = Voucher::new();
    // Each connection answers once, and ends without a word about it.
    let host = host(voucher.server(&["a.test"], &[H1]), |mut stream| {
        if read_head(&mut stream).is_empty() {
            return;
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        let _ = stream.flush();
        stream.conn.send_close_notify();
        let _ = stream.flush();
    });
    let world = World::reading(&voucher, host.port());
    let authority = format!("a.test:{}", host.port());
    let mut inside = world.inside(&authority);
    for _ in 0..5 {
        inside.send(get("/", &authority));
        let answer = inside.answer();
        assert_eq!(answer.status, 200, "{answer:?}");
        // Until the end of that connection has come.
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(host.connections(), 5);
}

#[test]
fn an_answer_without_end_ends_with_its_program() {
    let voucher = Voucher::new();
    let (sent, ended) = std::sync::mpsc::channel();
    let host = host(voucher.server(&["a.test"], &[H1]), move |mut stream| {
        read_head(&mut stream);
        let mut answer = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while answer.is_ok() {
            answer = stream.write_all(b"4\r\nmore\r\n");
        }
        sent.send(()).unwrap();
    });
    let world = World::reading(&voucher, host.port());
    let authority = format!("a.test:{}", host.port());
    let mut inside = world.inside(&authority);
    inside.send(get("/", &authority));
    assert!(read_head(&mut inside.0).starts_with("HTTP/1.1 200"));
    inside.read(1 << 20);
    drop(inside);
    ended.recv_timeout(Duration::from_secs(30)).unwrap();
}

#[test]
fn connections_inside_end_with_the_proxy() {
    let voucher = Voucher::new();
    let host = host(voucher.server(&["a.test"], &[H1, H2]), |stream| {
        drain(stream)
    });
    let world = World::reading(&voucher, host.port());
    let authority = format!("a.test:{}", host.port());
    let mut waits = world.inside(&authority);
    waits.send(get("/", &authority));
    let mut idle = world.inside(&authority);
    idle.send("");
    world.stop_serving();
    assert_eq!(waits.rest(), b"");
    assert_eq!(idle.rest(), b"");
}
