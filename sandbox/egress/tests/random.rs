//! Requests that nobody would think of.

use proptest::prelude::*;

use crate::world::{Book, World, allow};

/// Parts of which requests and attacks are made.
fn piece() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "GET",
        "POST",
        "CONNECT",
        "PRI",
        " ",
        "  ",
        "\t",
        "\r\n",
        "\n",
        "\r",
        "\0",
        "http://",
        "https://",
        "HTTP/1.1",
        "HTTP/1.0",
        "HTTP/2.0",
        "a.test",
        "b.test",
        "A.TEST.",
        ":80",
        ":443",
        ":0",
        ":",
        "@",
        "/",
        "?",
        "#",
        "*",
        "%",
        "[",
        "]",
        "[::1]",
        "127.0.0.1",
        "\r\nHost: ",
        "\r\nContent-Length: ",
        "\r\nTransfer-Encoding: chunked",
        "0",
        "5",
        "\r\n\r\n",
    ]);
    prop_oneof![4 => known.prop_map(str::to_owned), 1 => "\\PC{0,8}"]
}

fn request() -> impl Strategy<Value = String> {
    let anything = prop::collection::vec(piece(), 0..16).prop_map(|pieces| pieces.concat());
    let middle = prop::collection::vec(piece(), 0..6).prop_map(|pieces| pieces.concat());
    let begins = prop::sample::select(vec!["CONNECT ", "GET http://", "CONNECT a.test", "GET "]);
    let around = (begins, middle).prop_map(|(begin, middle)| format!("{begin}{middle} HTTP/1.1"));
    prop_oneof![anything, around]
}

#[test]
fn no_request_asks_for_a_name_beside_the_policy() {
    let policy = allow(&[("a.test", 80), ("a.test", 443)]);
    let world = World::start(&policy, &[], Book::default(), Default::default());
    proptest!(|(request in request())| {
        let mut client = world.connect();
        client.send(format!("{request}\r\n\r\n"));
        client.end();
        let answer = String::from_utf8(client.rest()).unwrap();
        prop_assert!(answer.is_empty() || answer.starts_with("HTTP/1."), "{}", answer);
        prop_assert!(!answer.contains(" 200 "), "{}", answer);
    });
    assert!(world.book.asked().iter().all(|name| name == "a.test"));
    assert_eq!(world.proxy.reached(), Default::default());
    let still = world.ask("GET http://b.test/ HTTP/1.1\r\n\r\n");
    assert_eq!(still.status, 403);
}
