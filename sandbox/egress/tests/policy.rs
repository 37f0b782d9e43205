//! Allowed, or refused in a way that an agent can act on.

use serde_json::json;

use crate::host::{Host, Web};
use crate::world::{Book, LOOPBACK, OPEN, World, allow};

#[test]
fn a_step_reaches_what_its_policy_names_and_nothing_else() {
    let (host, other) = (Host::echo(), Host::echo());
    let world = World::with_host(host.port());
    let mut tunnel = world.tunnel(&format!("a.test:{}", host.port()));
    tunnel.send("hello");
    assert_eq!(tunnel.read(5), b"hello");

    for authority in [
        format!("a.test:{}", other.port()),
        format!("b.test:{}", host.port()),
        format!("x.a.test:{}", host.port()),
        format!("127.0.0.1:{}", host.port()),
    ] {
        let answer = world.ask(format!("CONNECT {authority} HTTP/1.1\r\n\r\n"));
        assert_eq!(answer.status, 403, "{authority}");
        assert_eq!(answer.json()["code"], "egress_no_rule", "{authority}");
    }
    assert_eq!((host.connections(), other.connections()), (1, 0));
    // DNS hears of no name that is refused: names can carry what a program knows.
    assert_eq!(world.book.asked(), ["a.test"]);
}

#[test]
fn nothing_is_reached_without_a_policy_and_any_name_with_an_open_one() {
    let web = Web::start();
    let request = format!("GET http://a.test:{}/ HTTP/1.1\r\n\r\n", web.port());
    for (policy, status) in [(r#""none""#, 403), (OPEN, 200)] {
        let book = Book::default().with("a.test", &[&["127.0.0.1"]]);
        let world = World::start(policy, LOOPBACK, book, Default::default());
        assert_eq!(world.ask(&request).status, status, "{policy}");
    }
    assert_eq!(web.requests().len(), 1);
}

#[test]
fn a_refusal_names_the_missing_rule() {
    let world = World::with_host(1);
    let tunnel = world.ask("CONNECT API.Example.com.:443 HTTP/1.1\r\n\r\n");
    assert_eq!(
        tunnel.header("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(
        tunnel.header("proxy-status"),
        Some("sealfleet; error=http_request_denied")
    );
    assert!(tunnel.head.starts_with(
        "HTTP/1.1 403 The egress policy of this step has no rule for api.example.com:443\r\n"
    ));
    let problem = tunnel.json();
    assert_eq!(
        problem["missing_rule"],
        json!({ "host": "api.example.com", "port": 443 })
    );
    assert_eq!(problem["status"], 403);
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains("no rule for api.example.com:443"),
        "{detail}"
    );
    assert!(detail.contains("`missing_rule`"), "{detail}");

    let web = world.ask("GET http://b.test/ HTTP/1.1\r\n\r\n").json();
    assert_eq!(web["missing_rule"], json!({ "host": "b.test", "port": 80 }));
    let address = world.ask("CONNECT [2600::1]:443 HTTP/1.1\r\n\r\n").json();
    assert_eq!(
        address["missing_rule"],
        json!({ "host": "2600::1", "port": 443 })
    );
}

#[test]
fn a_bad_request_says_how_to_write_it() {
    let world = World::with_host(1);
    for (request, advice) in [
        ("GET http://user:password@a.test/", "Authorization header"),
        ("CONNECT user@a.test:443", "Authorization header"),
        ("GET /", "set HTTPS_PROXY"),
        ("GET https://a.test/", "ask for a tunnel by CONNECT"),
        ("CONNECT a.test", "a port is a number from 1 to 65535"),
        ("CONNECT 127.1:443", "neither a DNS name nor an IP address"),
    ] {
        let problem = world.ask(format!("{request} HTTP/1.1\r\n\r\n")).json();
        assert_eq!(problem["code"], "egress_bad_request", "{request}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(advice), "{request}: {detail}");
    }
}

#[test]
fn a_refusal_repeats_nothing_else_of_the_request() {
    let world = World::start(
        &allow(&[("a.test", 1)]),
        &[],
        Book::default(),
        Default::default(),
    );
    for request in [
        "GET http://b.test/canary?canary=canary HTTP/1.1\r\nCookie: canary\r\n\r\n",
        "GET http://canary:canary@b.test/ HTTP/1.1\r\nProxy-Authorization: Basic canary\r\n\r\n",
        "CONNECT canary@b.test:443 HTTP/1.1\r\n\r\n",
        "CONNECT b.test:443canary HTTP/1.1\r\n\r\n",
        "CONNECT ca_nary!canary:443 HTTP/1.1\r\n\r\n",
        "GET ftp://b.test/canary HTTP/1.1\r\n\r\n",
        "GET /canary HTTP/1.1\r\nHost: canary\r\n\r\n",
        "GET http://a.test:1/canary HTTP/1.1\r\n\r\n",
    ] {
        let answer = world.ask(request);
        assert!(answer.status >= 400, "{request:?}");
        let told = format!("{}{}", answer.head, answer.body);
        assert!(!told.contains("canary"), "{request:?}: {told}");
    }
    let rows = world.proxy.take_denials();
    assert!(!format!("{rows:?}").contains("canary"), "{rows:?}");
}
