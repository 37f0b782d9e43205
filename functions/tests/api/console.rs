//! The console's files, and the headers that keep its page closed.

use aws_lambda_events::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use aws_lambda_events::encodings::Body;
use sealfleet_domain::oidc::Issuers;
use sealfleet_functions::openapi::console::Console;
use serde_json::{Value, json};

/// The policy of a page that may also ask these addresses.
fn policy(more: &str) -> String {
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
         connect-src 'self'{more}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'"
    )
}

fn asked(method: &str, path: &str, known: Option<&str>) -> Option<ApiGatewayV2httpResponse> {
    asked_with("", method, path, known)
}

/// What the console answers where these issuers are trusted.
fn asked_with(
    issuers: &str,
    method: &str,
    path: &str,
    known: Option<&str>,
) -> Option<ApiGatewayV2httpResponse> {
    let event = json!({
        "version": "2.0", "rawPath": path,
        "headers": known.map_or_else(|| json!({}), |tag| json!({ "if-none-match": tag })),
        "requestContext": { "http": { "method": method, "path": path } },
    });
    let request: ApiGatewayV2httpRequest = serde_json::from_value(event).unwrap();
    Console::of(&Issuers::parse(issuers).unwrap()).answer(&request)
}

fn header<'a>(response: &'a ApiGatewayV2httpResponse, name: &str) -> &'a str {
    response
        .headers
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

fn text(response: &ApiGatewayV2httpResponse) -> &str {
    match &response.body {
        Some(Body::Text(text)) => text,
        other => panic!("{other:?} is no text"),
    }
}

#[test]
fn every_answer_of_the_console_closes_its_page() {
    let page = asked("GET", "/console/", None).unwrap();
    let tag = header(&page, "etag").to_owned();
    for (path, status, kind) in [
        ("/console/", 200, "text/html; charset=utf-8"),
        ("//console/", 200, "text/html; charset=utf-8"),
        ("/console/console.js", 200, "text/javascript; charset=utf-8"),
        ("/console/console.css", 200, "text/css; charset=utf-8"),
        ("/console/login.json", 200, "application/json"),
        ("/console", 308, ""),
    ] {
        let response = asked("GET", path, None).unwrap();
        assert_eq!(response.status_code, status, "{path}");
        assert_eq!(header(&response, "content-type"), kind, "{path}");
        for (name, value) in [
            ("content-security-policy", &*policy("")),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cache-control", "no-cache"),
        ] {
            assert_eq!(header(&response, name), value, "{path}");
        }
        assert_eq!(text(&response).is_empty(), status != 200, "{path}");
    }
    let moved = asked("GET", "/console", None).unwrap();
    // Relative, so that it holds below any base path.
    assert_eq!(header(&moved, "location"), "console/");
    for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}")] {
        let same = asked("GET", "/console/console.js", Some(&known)).unwrap();
        assert_eq!((same.status_code, text(&same)), (304, ""), "{known}");
        assert_eq!(header(&same, "content-security-policy"), policy(""));
    }
    let other = asked("GET", "/console/", Some("\"other\"")).unwrap();
    assert_eq!(other.status_code, 200);
}

#[test]
fn the_page_may_ask_where_a_login_ends_and_nothing_else() {
    let issuer = |name: &str, console: Value| {
        json!({ "issuer": format!("https://{name}.example"), "audience": "console",
                "project": { "claim": "p" }, "role": { "value": "viewer" }, "console": console })
    };
    let people = json!({ "client_id": "console", "authorization_endpoint": "https://login.example/authorize",
                         "token_endpoint": "https://login.example/token" });
    let issuers = json!([issuer("people", people), issuer("machines", Value::Null)]).to_string();
    let logins = asked_with(&issuers, "GET", "/console/login.json", None).unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(text(&logins)).unwrap(),
        json!([{
            "issuer": "https://people.example", "client_id": "console", "scope": "openid", "token": "id_token",
            "authorization_endpoint": "https://login.example/authorize",
            "token_endpoint": "https://login.example/token",
        }])
    );
    let page = asked_with(&issuers, "GET", "/console/", None).unwrap();
    assert_eq!(
        header(&page, "content-security-policy"),
        policy(" https://login.example/token")
    );
    // A page that was kept from before the login was there is not used further.
    let tag = header(&asked("GET", "/console/", None).unwrap(), "etag").to_owned();
    let other = asked_with(&issuers, "GET", "/console/", Some(&tag)).unwrap();
    assert_eq!(other.status_code, 200);
    let none = asked("GET", "/console/login.json", None).unwrap();
    assert_eq!(text(&none), "[]");
}

#[test]
fn the_page_loads_only_what_is_served_beside_it() {
    let page = asked("GET", "/console/", None).unwrap();
    let page = text(&page);
    let links: Vec<&str> = ["src=\"", "href=\""]
        .iter()
        .flat_map(|attribute| page.split(attribute).skip(1))
        .map(|rest| rest.split('"').next().unwrap())
        .filter(|link| !link.starts_with("data:"))
        .collect();
    assert!(links.len() >= 2, "{page}");
    for link in links {
        let path = format!("/console/{}", link.trim_start_matches("./"));
        assert!(
            asked("GET", &path, None).is_some(),
            "`{link}` is not served"
        );
    }
    assert!(!page.contains("<style") && !page.contains(" style="));
    for script in page.split("<script").skip(1) {
        let inline = script.split_once('>').unwrap().1;
        assert!(
            inline.starts_with("</script>"),
            "an inline script: {inline}"
        );
    }
}

#[test]
fn nothing_else_is_a_file_of_the_console() {
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/consoles"),
        ("GET", "/console/index.html"),
        ("GET", "/console/../v1/runs"),
        ("GET", "/console/runs"),
        ("GET", "/v1/openapi.json"),
        ("POST", "/console/"),
    ] {
        assert!(asked(method, path, None).is_none(), "{method} {path}");
    }
}
