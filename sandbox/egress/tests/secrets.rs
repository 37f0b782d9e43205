//! Secrets that the proxy holds: the host gets the value, and nobody else.

use http_body_util::Full;
use hyper::Request;
use sealfleet_domain::egress::Denied;
use sealfleet_egress::{Credential, Limits};
use serde_json::json;

use crate::secure::{H1, H2, Http2, PLACEHOLDER, Site, VALUE, credential};
use crate::tls::denied;
use crate::world::{Answer, World};

const OTHER: &str = "sealfleet-placeholder-00000002";

/// `KEY` for `a.test`, and `OTHER` for the path `/v1/` of `b.test`.
fn secrets(port: u16) -> Vec<Credential> {
    vec![
        credential(
            "KEY",
            PLACEHOLDER,
            VALUE,
            json!([{ "host": "a.test", "port": port }]),
        ),
        credential(
            "OTHER",
            OTHER,
            "canary-other",
            json!([{ "host": "b.test", "port": port, "path": "/v1/*" }]),
        ),
    ]
}

fn world(site: &Site) -> World {
    let rule = |host: &str| json!({ "host": host, "port": site.port() });
    let policy = json!({ "allow": [rule("a.test"), rule("b.test")] });
    World::beside(
        &site.voucher,
        policy,
        secrets(site.port()),
        Limits::default(),
    )
}

fn ask(world: &World, site: &Site, host: &str, line: &str, field: &str) -> Answer {
    let authority = format!("{host}:{}", site.port());
    let mut inside = world.inside(&authority);
    inside.send(format!(
        "{line} HTTP/1.1\r\nHost: {authority}\r\n{field}\r\n\r\n"
    ));
    inside.answer()
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[test]
fn the_host_gets_the_value_in_whatever_field_the_program_puts_it() {
    let site = Site::start(&[H2, H1]);
    let world = world(&site);
    let basic = format!("Basic {}", base64(&format!("x-access-token:{VALUE}")));
    for (name, sent, got) in [
        (
            "authorization",
            format!("Bearer {PLACEHOLDER}"),
            format!("Bearer {VALUE}"),
        ),
        ("x-api-key", PLACEHOLDER.to_owned(), VALUE.to_owned()),
        ("private-token", PLACEHOLDER.to_owned(), VALUE.to_owned()),
        (
            "cookie",
            format!("a=1; session={PLACEHOLDER}"),
            format!("a=1; session={VALUE}"),
        ),
        (
            "authorization",
            format!("Basic {}", base64(&format!("x-access-token:{PLACEHOLDER}"))),
            basic,
        ),
    ] {
        let answer = ask(&world, &site, "a.test", "GET /", &format!("{name}: {sent}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        let seen = site.seen().pop().unwrap();
        assert_eq!(seen.header(name), Some(got.as_str()));
    }
    let new = Http2::inside(&world, &format!("a.test:{}", site.port()));
    let request = Request::get(format!("https://a.test:{}/", site.port()))
        .header("x-api-key", PLACEHOLDER)
        .body(Full::default());
    assert_eq!(new.ask(request.unwrap()).unwrap().status, 200);
    assert_eq!(site.seen().pop().unwrap().header("x-api-key"), Some(VALUE));
    // A body is the program's own.
    let authority = format!("a.test:{}", site.port());
    let mut inside = world.inside(&authority);
    let length = PLACEHOLDER.len();
    inside.send(format!(
        "POST / HTTP/1.1\r\nHost: {authority}\r\nContent-Length: {length}\r\n\r\n{PLACEHOLDER}"
    ));
    assert_eq!(inside.answer().status, 200);
    assert_eq!(site.seen().pop().unwrap().body, PLACEHOLDER);
    assert_eq!(denied(&world), Vec::<String>::new());
}

#[test]
fn a_placeholder_anywhere_else_is_refused_and_told() {
    let site = Site::start(&[H1]);
    let world = world(&site);
    let basic = base64(&format!("x:{PLACEHOLDER}"));
    for (host, line, field, key) in [
        (
            "b.test",
            "GET /v1/x",
            format!("Authorization: Bearer {PLACEHOLDER}"),
            "KEY",
        ),
        (
            "b.test",
            "GET /v1/x",
            format!("Authorization: Basic {basic}"),
            "KEY",
        ),
        ("b.test", "GET /v2", format!("X-Api-Key: {OTHER}"), "OTHER"),
        (
            "b.test",
            "GET /v1/../v2",
            format!("X-Api-Key: {OTHER}"),
            "OTHER",
        ),
        (
            "a.test",
            "GET /",
            format!("X: {PLACEHOLDER}\r\nY: {OTHER}"),
            "OTHER",
        ),
        (
            "a.test",
            &*format!("GET /?key={PLACEHOLDER}"),
            "X: y".to_owned(),
            "KEY",
        ),
        (
            "a.test",
            &*format!("GET /{}", PLACEHOLDER.replace('-', "%2d")),
            "X: y".to_owned(),
            "KEY",
        ),
    ] {
        let answer = ask(&world, &site, host, line, &field);
        let problem = answer.json();
        assert_eq!(
            (answer.status, problem["key"].as_str()),
            (403, Some(key)),
            "{line} {field}"
        );
        assert_eq!(problem["code"], "egress_credential_mismatch");
    }
    // Without TLS, none is put in, wherever the request goes.
    for host in ["a.test", "b.test"] {
        for field in [
            format!("X-Api-Key: {PLACEHOLDER}"),
            format!("Authorization: Basic {basic}"),
        ] {
            let answer = world.ask(format!(
                "GET http://{host}:{}/ HTTP/1.1\r\n{field}\r\n\r\n",
                site.port()
            ));
            assert_eq!(
                answer.json()["code"],
                "egress_credential_mismatch",
                "{host} {field}"
            );
        }
    }
    assert_eq!(site.seen().len(), 0);
    let told = denied(&world);
    let expected = [
        "CredentialMismatch a.test 4 KEY",
        "CredentialMismatch a.test 1 OTHER",
        "CredentialMismatch b.test 4 KEY",
        "CredentialMismatch b.test 2 OTHER",
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_secret_that_is_withdrawn_is_refused_on_connections_that_are_open() {
    let site = Site::start(&[H2, H1]);
    let world = world(&site);
    let authority = format!("a.test:{}", site.port());
    let new = Http2::inside(&world, &authority);
    let with_key = || {
        Request::get(format!("https://{authority}/"))
            .header("x-api-key", PLACEHOLDER)
            .body(Full::default())
            .unwrap()
    };
    let mut old = world.inside(&authority);
    let old_request =
        format!("GET / HTTP/1.1\r\nHost: {authority}\r\nX-Api-Key: {PLACEHOLDER}\r\n\r\n");
    old.send(&old_request);
    assert_eq!(
        (old.answer().status, new.ask(with_key()).unwrap().status),
        (200, 200)
    );
    world.proxy.withdraw("KEY");
    old.send(&old_request);
    let (refused, also) = (old.answer(), new.ask(with_key()).unwrap());
    assert_eq!((refused.status, also.status), (403, 403));
    assert_eq!(refused.json()["code"], "egress_credential_withdrawn");
    assert_eq!(also.json()["key"], "KEY");
    // What needs no secret goes on.
    old.send(format!("GET / HTTP/1.1\r\nHost: {authority}\r\n\r\n"));
    assert_eq!(old.answer().status, 200);
    let other = ask(
        &world,
        &site,
        "b.test",
        "GET /v1/x",
        &format!("X-Api-Key: {OTHER}"),
    );
    assert_eq!(other.status, 200);
    assert_eq!(denied(&world), ["CredentialWithdrawn a.test 2 KEY"]);
    assert_eq!(site.seen().len(), 4);
}

#[test]
fn no_answer_and_no_row_holds_a_value() {
    // It answers with what it got, as some do in their errors: that is the host's to say. What the
    // proxy itself says never holds it.
    let site = Site::start(&[H1]);
    let world = world(&site);
    world.proxy.withdraw("OTHER");
    let mut told = String::new();
    for (host, line, field) in [
        ("a.test", "GET /", format!("X: {OTHER}")),
        ("b.test", "GET /v1/x", format!("X: {OTHER}")),
        ("b.test", "GET /", format!("X: {PLACEHOLDER}")),
        ("a.test", "CONNECT a.test:1", format!("X: {PLACEHOLDER}")),
        ("a.test", "GET https://b.test/", format!("X: {PLACEHOLDER}")),
    ] {
        let answer = ask(&world, &site, host, line, &field);
        assert!(answer.status >= 400, "{answer:?}");
        told += &format!("{answer:?}");
    }
    let (rows, reached) = (world.proxy.take_denials(), world.proxy.reached());
    told += &format!("{rows:?}{reached:?}{:?}", world.proxy.usage());
    assert!(!told.contains("canary"), "{told}");
    assert!(
        rows.rows
            .iter()
            .any(|row| row.reason == Denied::CredentialMismatch)
    );
}

/// A secret that is bound to a host opens no way there: the policy does.
#[test]
fn a_secret_widens_no_policy() {
    let site = Site::start(&[H1]);
    let policy =
        json!({ "allow": [{ "host": "a.test", "port": site.port(), "methods": ["GET"] }] });
    let world = World::beside(
        &site.voucher,
        policy,
        secrets(site.port()),
        Limits::default(),
    );
    let answer = world.ask(format!("CONNECT b.test:{} HTTP/1.1\r\n\r\n", site.port()));
    assert_eq!(answer.json()["code"], "egress_no_rule");
    let refused = ask(
        &world,
        &site,
        "a.test",
        "POST /",
        &format!("X: {PLACEHOLDER}"),
    );
    assert_eq!(refused.json()["code"], "egress_no_method");
    assert_eq!(site.seen().len(), 0);
}

/// The tokens of answers, of a known API and of a gateway that is known by its path alone.
#[test]
fn tokens_are_counted_beside_the_stream() {
    let stream = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"claude-a\",\"usage\":{\"input_tokens\":3,\"cache_read_input_tokens\":5,\"output_tokens\":1}}}\n\n\
                  event: message_delta\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":11}}\n\n";
    let document = r#"{"model":"gpt-a","usage":{"input_tokens":10,"output_tokens":6}}"#;
    let site = Site::answering(&[H1], move |seen| {
        let (kind, body) = match seen.target.as_str() {
            "/v1/messages" => ("text/event-stream", stream),
            "/v1/responses" => ("application/json", document),
            _ => (
                "application/json",
                r#"{"model":"other","usage":{"input_tokens":99}}"#,
            ),
        };
        let mut answer = crate::secure::answer(body);
        answer
            .headers_mut()
            .insert("content-type", kind.parse().unwrap());
        answer
    });
    let world = world(&site);
    let post = |path: &str| {
        ask(
            &world,
            &site,
            "a.test",
            &format!("POST {path}"),
            &format!("Content-Length: 0\r\nAccept-Encoding: gzip, br\r\nX-Api-Key: {PLACEHOLDER}"),
        )
    };
    assert_eq!(post("/v1/messages").body, stream);
    assert_eq!(post("/v1/messages").body, stream);
    assert_eq!(post("/v1/responses").body, document);
    assert_eq!(post("/v1/other").status, 200);
    let encodings: Vec<_> = site
        .seen()
        .iter()
        .map(|seen| seen.header("accept-encoding").unwrap().to_owned())
        .collect();
    assert_eq!(encodings, ["identity", "identity", "identity", "gzip, br"]);
    let used = world.proxy.usage();
    let rows: Vec<_> = used
        .rows
        .iter()
        .map(|row| {
            let usage = row.of.usage;
            let tokens = (
                usage.input_tokens,
                usage.cached_input_tokens,
                usage.output_tokens,
            );
            (
                row.provider.as_str(),
                row.model.as_str(),
                row.of.answers,
                tokens,
            )
        })
        .collect();
    assert_eq!(
        rows,
        [
            ("a.test", "claude-a", 2, (16, 10, 22)),
            ("a.test", "gpt-a", 1, (10, 0, 6))
        ]
    );
    assert_eq!(used.unread, 0);
}

#[test]
fn many_models_take_few_rows() {
    use std::sync::atomic::{AtomicU64, Ordering};
    let (models, next) = (
        sealfleet_domain::limits::EGRESS_MODELS as u64 + 5,
        AtomicU64::new(0),
    );
    let site = Site::answering(&[H1], move |_| {
        let n = next.fetch_add(1, Ordering::Relaxed);
        let mut answer = crate::secure::answer(format!(
            r#"{{"model":"m{n}","usage":{{"input_tokens":1}}}}"#
        ));
        answer
            .headers_mut()
            .insert("content-type", "application/json".parse().unwrap());
        answer
    });
    let world = world(&site);
    for _ in 0..models {
        let answer = ask(
            &world,
            &site,
            "a.test",
            "POST /v1/responses",
            "Content-Length: 0",
        );
        assert_eq!(answer.status, 200);
    }
    let used = world.proxy.usage();
    assert_eq!(used.rows.len(), sealfleet_domain::limits::EGRESS_MODELS);
    assert_eq!(used.others.usage.input_tokens, 5);
}
