//! 1Password Connect, with one token.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use serde_json::{Value, json};

use crate::StandIn;

pub const TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.connect-token.signature";
pub const VAULT: &str = "ftz4pm2xxwmwrsd7rjqn7grzfz";
pub const OTHER_VAULT: &str = "gtz4pm2xxwmwrsd7rjqn7grzfz";
pub const ITEM: &str = "2fcbqwe9ndg175zg2dzwftvkpa";

/// What it does.
pub struct Behaviour {
    pub version: u64,
    pub fails: Option<u16>,
    pub says: Option<String>,
    /// Whether another item has the same title.
    pub twice: bool,
    pub asked: Vec<String>,
    pub waits: Duration,
    /// Names of vaults, and their ids.
    pub vaults: Vec<(String, String)>,
    /// More items by title: their version, and their fields.
    pub more: BTreeMap<String, (u64, Value)>,
}

type Shared = Arc<Mutex<Behaviour>>;

/// The server.
pub type Connect = StandIn<Behaviour>;

impl Connect {
    pub async fn start() -> Self {
        let vaults = [
            ("healthcare", VAULT),
            ("shared", OTHER_VAULT),
            ("shared", VAULT),
        ];
        let does = Behaviour {
            version: 3,
            fails: None,
            says: None,
            twice: false,
            asked: Vec::new(),
            waits: Duration::ZERO,
            vaults: vaults
                .map(|(name, id)| (name.to_owned(), id.to_owned()))
                .into(),
            more: BTreeMap::new(),
        };
        let routes = Router::new()
            .route("/v1/vaults", get(vaults_of))
            .route("/v1/vaults/{vault}/items", get(items))
            .route("/v1/vaults/{vault}/items/{item}", get(item));
        Self::serve(does, routes).await
    }

    /// Keeps an item of these fields under a title; its version.
    pub fn put(&self, title: &str, fields: Value) -> String {
        self.change(|does| {
            let before = does.more.get(title).map_or(0, |(version, _)| *version);
            does.more.insert(title.to_owned(), (before + 1, fields));
            (before + 1).to_string()
        })
    }
}

/// An id for a title of at most 26 letters and hyphens.
pub fn id_of(title: &str) -> String {
    let letters = title.replace('-', "0").to_lowercase();
    format!("{letters:z<26}")
}

type Answer = axum::response::Response;

fn says(status: u16, document: &Value) -> Answer {
    let status = StatusCode::from_u16(status).unwrap();
    let json = [(header::CONTENT_TYPE, "application/json")];
    (status, json, document.to_string()).into_response()
}

fn wrong(status: u16, words: &str) -> Answer {
    says(status, &json!({ "status": status, "message": words }))
}

/// What comes before every answer.
fn first(does: &Shared, headers: &HeaderMap, asked: String) -> Option<Answer> {
    let mut does = does.lock().unwrap();
    does.asked.push(asked);
    if let Some(status) = does.fails {
        return Some(wrong(status, "canary"));
    }
    if let Some(text) = &does.says {
        let json = [(header::CONTENT_TYPE, "application/json")];
        return Some((json, text.clone()).into_response());
    }
    let bearer = headers
        .get("Authorization")
        .map(|value| value.to_str().unwrap());
    match bearer == Some(&format!("Bearer {TOKEN}")) {
        true => None,
        false => Some(wrong(401, "Invalid token signature")),
    }
}

async fn vaults_of(
    State(does): State<Shared>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answer {
    let query = query
        .unwrap_or_default()
        .replace("%20", " ")
        .replace("%22", "\"")
        .replace('+', " ");
    if let Some(answer) = first(&does, &headers, query.clone()) {
        return answer;
    }
    let all = does.lock().unwrap().vaults.clone();
    let found = all
        .iter()
        .filter(|(name, _)| query.is_empty() || query == format!("filter=name eq \"{name}\""));
    let found: Vec<Value> = found
        .map(|(name, id)| json!({ "id": id, "name": name }))
        .collect();
    says(200, &json!(found))
}

async fn items(
    State(does): State<Shared>,
    Path(vault): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answer {
    let query = query
        .unwrap_or_default()
        .replace("%20", " ")
        .replace("%22", "\"")
        .replace('+', " ");
    if let Some(answer) = first(&does, &headers, query.clone()) {
        return answer;
    }
    if vault != VAULT {
        return wrong(
            403,
            "Authorization: token does not have access to requested vault",
        );
    }
    let one = json!({ "id": ITEM, "title": "crm", "category": "LOGIN", "vault": { "id": VAULT } });
    let many = if does.lock().unwrap().twice { 2 } else { 1 };
    let title = query.split('"').nth(1).unwrap_or_default();
    let is_more = does.lock().unwrap().more.contains_key(title);
    let found = match title {
        "crm" => vec![one; many],
        title if is_more => vec![json!({ "id": id_of(title), "title": title })],
        _ => Vec::new(),
    };
    says(200, &json!(found))
}

async fn item(
    State(does): State<Shared>,
    Path((vault, item)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    if let Some(answer) = first(&does, &headers, format!("{vault}/{item}")) {
        return answer;
    }
    let waits = does.lock().unwrap().waits;
    tokio::time::sleep(waits).await;
    let more = does.lock().unwrap().more.clone();
    if let Some((title, (version, fields))) = more.iter().find(|(title, _)| id_of(title) == item) {
        let item = json!({ "id": item, "title": title, "version": version, "fields": fields });
        return says(200, &item);
    }
    if (vault.as_str(), item.as_str()) != (VAULT, ITEM) {
        return wrong(404, "item not found");
    }
    let version = does.lock().unwrap().version;
    let field = |id: &str, label: &str, value: &str| json!({ "id": id, "label": label, "type": "CONCEALED", "value": value });
    let within = |section: &str, value: &str| json!({ "id": format!("f-{section}"), "label": "token", "type": "STRING", "value": value, "section": { "id": section } });
    says(
        200,
        &json!({
            "id": ITEM, "title": "crm", "category": "LOGIN", "version": version, "vault": { "id": VAULT },
            "sections": [{ "id": "s1", "label": "test" }, { "id": "s2", "label": "live" }],
            "fields": [
                field("username", "username", "canary-user"),
                field("password", "password", "canary of\n1password"),
                { "id": "notes", "label": "notes", "type": "STRING" },
                within("s1", "canary-test"), within("s2", "canary-live"),
            ],
        }),
    )
}
