//! The console's files below `/console/`. They are no operations, so they stand in no table: what
//! `$default` brings is looked up here first.
//!
//! The page holds no data and no credential. It asks the API of its own origin, with the token that
//! its user types in, or that an issuer of the deployment gives to its user. Its headers let it
//! load nothing else, and let no other page contain it.

use aws_lambda_events::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use aws_lambda_events::encodings::Body;
use aws_lambda_events::http::HeaderValue;
use sealfleet_domain::hash::sha256_hex;
use sealfleet_domain::oidc::{Issuer, Issuers};
use serde_json::json;

/// A file of the console, as `console/dist` has it
/// (`docs/decisions/066-the-console-is-embedded.md`).
struct File {
    /// Its name below `/console/`.
    name: &'static str,
    content_type: &'static str,
    text: &'static str,
}

static FILES: [File; 3] = [
    File {
        name: "",
        content_type: "text/html; charset=utf-8",
        text: include_str!("../../console/dist/index.html"),
    },
    File {
        name: "console.js",
        content_type: "text/javascript; charset=utf-8",
        text: include_str!("../../console/dist/console.js"),
    },
    File {
        name: "console.css",
        content_type: "text/css; charset=utf-8",
        text: include_str!("../../console/dist/console.css"),
    },
];

/// What the console of one deployment answers.
pub struct Console {
    /// `login.json`: how people log in with the deployment's issuers.
    logins: String,
    /// As the browser enforces it: scripts and styles of this origin only, requests to it and to
    /// where codes of a login are exchanged; text never becomes markup or script.
    policy: String,
    /// The tag of all files. They change together, so that a page and its script are of one
    /// version.
    tag: String,
}

impl Console {
    #[must_use]
    pub fn of(issuers: &Issuers) -> Self {
        let logins = json!(issuers.iter().filter_map(login).collect::<Vec<_>>()).to_string();
        let endpoints = issuers.iter().filter_map(|issuer| issuer.console.as_ref());
        let asked: String = endpoints
            .map(|login| format!(" {}", login.token_endpoint))
            .collect();
        let policy = format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
             connect-src 'self'{asked}; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'; require-trusted-types-for 'script'"
        );
        let texts = FILES
            .iter()
            .map(|file| file.text)
            .chain([&*logins, &*policy]);
        let digest = sha256_hex(texts.collect::<String>().as_bytes());
        let tag = format!("\"{}\"", digest.get(..32).unwrap_or_default());
        Self {
            logins,
            policy,
            tag,
        }
    }

    /// The answer to a request for one of the console's files. None for anything else.
    #[must_use]
    pub fn answer(&self, request: &ApiGatewayV2httpRequest) -> Option<ApiGatewayV2httpResponse> {
        if !matches!(request.request_context.http.method.as_str(), "GET" | "HEAD") {
            return None;
        }
        let path = request.raw_path.as_deref().unwrap_or_default();
        let below = path.trim_start_matches('/').strip_prefix("console")?;
        if below.is_empty() {
            return Some(self.respond(308, &[("location", "console/")], ""));
        }
        let (content_type, text) = match below.strip_prefix('/')? {
            "login.json" => ("application/json", &*self.logins),
            name => {
                let file = FILES.iter().find(|file| file.name == name)?;
                (file.content_type, file.text)
            }
        };
        let known = request.headers.get("if-none-match");
        if known.is_some_and(|known| names(known, &self.tag)) {
            return Some(self.respond(304, &[("etag", &self.tag)], ""));
        }
        let headers = [("content-type", content_type), ("etag", &*self.tag)];
        Some(self.respond(200, &headers, text))
    }

    fn respond(
        &self,
        status: i64,
        more: &[(&'static str, &str)],
        body: &str,
    ) -> ApiGatewayV2httpResponse {
        let always = [
            ("content-security-policy", &*self.policy),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            // Asked for again each time, and answered with 304 while nothing has changed.
            ("cache-control", "no-cache"),
        ];
        let mut response = ApiGatewayV2httpResponse::default();
        response.status_code = status;
        for (name, value) in always.iter().chain(more) {
            if let Ok(value) = HeaderValue::try_from(*value) {
                response.headers.insert(*name, value);
            }
        }
        response.body = Some(Body::Text(body.to_owned()));
        response
    }
}

/// How people log in with this issuer, as the console reads it. Nothing of it is secret.
fn login(issuer: &Issuer) -> Option<serde_json::Value> {
    let login = issuer.console.as_ref()?;
    Some(json!({
        "issuer": issuer.issuer,
        "client_id": login.client_id,
        "authorization_endpoint": login.authorization_endpoint,
        "token_endpoint": login.token_endpoint,
        "scope": login.scope,
        "token": issuer.token_of(login),
    }))
}

/// Whether `If-None-Match` names the tag, also as a proxy has weakened it (RFC 9110, section
/// 13.1.2).
fn names(known: &HeaderValue, tag: &str) -> bool {
    let tags = known.to_str().unwrap_or_default().split(',');
    let mut tags = tags.map(|text| text.trim().trim_start_matches("W/"));
    tags.any(|text| text == tag)
}
