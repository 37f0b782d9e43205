//! Stands in for the APIs of language models, so that real CLI agents run in tests without a
//! provider.
//!
//! Serves the Messages API (`POST /v1/messages`), the Responses API (`POST /v1/responses`) and
//! Gemini's (`POST /v1beta/models/MODEL:generateContent`), each as JSON and as a stream. It answers
//! what a [`Script`] says, with the shell tool that the request offers. Which turn is next follows
//! from the conversation that the request carries, so that agents can run side by side.
//!
//! It keeps only the SHA-256 of a request's key; [`Model::requests_with`] compares.

mod gemini;
mod messages;
mod responses;
mod script;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use script::{Answer, Fault, Script, Scripts, Turn, Usage};

/// A running stand-in. Dropped, it ends.
#[derive(Debug)]
pub struct Model {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<io::Result<()>>,
}

#[derive(Debug)]
struct Shared {
    scripts: Scripts,
    seen: Mutex<Vec<Request>>,
    /// Whether requests are answered, or wait.
    answers: watch::Sender<bool>,
}

/// A request that the stand-in has answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Request {
    /// `messages`, `responses` or `gemini`.
    pub api: &'static str,
    pub model: String,
    /// The SHA-256 of the key that it carried, in hex.
    pub key_sha256: String,
    /// Which turn of its conversation it asked for, from 0. Absent: it offered no tool, as requests
    /// for a title do.
    pub turn: Option<usize>,
    /// How many bytes its body has.
    pub bytes: usize,
}

/// How one API is spoken.
struct Api {
    name: &'static str,
    /// How many turns the conversation has had.
    turns: fn(&Value) -> usize,
    /// Names of the tools that the request offers.
    tools: fn(&Value) -> Vec<String>,
    answer: fn(&Asked, &Turn) -> Response,
}

/// What was asked for.
struct Asked {
    model: String,
    stream: bool,
    /// The turn, which makes ids unique.
    turn: usize,
    /// The shell tool that the agent offers.
    shell: Option<String>,
}

static MESSAGES: Api = Api {
    name: "messages",
    turns: messages::turns,
    tools: messages::tools,
    answer: messages::answer,
};
static RESPONSES: Api = Api {
    name: "responses",
    turns: responses::turns,
    tools: responses::tools,
    answer: responses::answer,
};
static GEMINI: Api = Api {
    name: "gemini",
    turns: gemini::turns,
    tools: gemini::tools,
    answer: gemini::answer,
};

/// Shell tools of agents, and the arguments that run `command`.
const SHELLS: [&str; 5] = ["exec_command", "shell", "Bash", "bash", "run_shell_command"];

impl Model {
    /// Starts it on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// The system's answer.
    pub async fn start(scripts: Scripts) -> io::Result<Self> {
        Self::on(0, scripts).await
    }

    /// Starts it on this port of 127.0.0.1. Zero: a free one.
    ///
    /// # Errors
    /// The system's answer.
    pub async fn on(port: u16, scripts: Scripts) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            scripts,
            seen: Mutex::default(),
            answers: watch::Sender::new(true),
        });
        let routes = Router::new()
            .route("/v1/messages", post(answer_messages))
            .route("/v1/responses", post(answer_responses))
            .route("/v1beta/models/{call}", post(answer_gemini))
            .route("/requests", get(list))
            .with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(Self {
            address,
            shared,
            server,
        })
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets requests wait for their answers until [`answer_again`](Self::answer_again).
    pub fn hold(&self) {
        self.shared.answers.send_replace(false);
    }

    /// Answers those that wait, and all that come.
    pub fn answer_again(&self) {
        self.shared.answers.send_replace(true);
    }

    /// What was asked so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests()
    }

    /// How many requests carried this key.
    #[must_use]
    pub fn requests_with(&self, key: &str) -> usize {
        let digest = sha256(key);
        let of_key = |request: &&Request| request.key_sha256 == digest;
        self.requests().iter().filter(of_key).count()
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shared {
    fn requests(&self) -> Vec<Request> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    async fn answer(
        &self,
        api: &Api,
        headers: &HeaderMap,
        body: &Value,
        bytes: usize,
        (model, stream): (&str, bool),
    ) -> Response {
        let tools = (api.tools)(body);
        let turn = (api.turns)(body);
        let aside = tools.is_empty();
        let request = Request {
            api: api.name,
            model: model.to_owned(),
            key_sha256: sha256(&key(headers)),
            turn: (!aside).then_some(turn),
            bytes,
        };
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(request);
        let asked = Asked {
            model: model.to_owned(),
            stream,
            turn,
            shell: tools
                .into_iter()
                .find(|tool| SHELLS.contains(&tool.as_str())),
        };
        let turn = if aside {
            Turn::say("A title")
        } else {
            self.scripts.of(model).turn(turn)
        };
        // Fails when the stand-in ends, and then nobody waits for the answer.
        drop(self.answers.subscribe().wait_for(|answers| *answers).await);
        tokio::time::sleep(Duration::from_millis(turn.delay_ms)).await;
        (api.answer)(&asked, &turn)
    }
}

async fn list(State(shared): State<Arc<Shared>>) -> Response {
    axum::Json(shared.requests()).into_response()
}

async fn answer_messages(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    of_body(&shared, &MESSAGES, &headers, &body).await
}

async fn answer_responses(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    of_body(&shared, &RESPONSES, &headers, &body).await
}

async fn of_body(shared: &Shared, api: &Api, headers: &HeaderMap, body: &Bytes) -> Response {
    let bytes = body.len();
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        return malformed();
    };
    let Some(model) = body.get("model").and_then(Value::as_str) else {
        return malformed();
    };
    let stream = body.get("stream").and_then(Value::as_bool) == Some(true);
    shared
        .answer(api, headers, &body, bytes, (model, stream))
        .await
}

async fn answer_gemini(
    State(shared): State<Arc<Shared>>,
    Path(call): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let bytes = body.len();
    let (Some((model, call)), Ok(body)) = (call.split_once(':'), serde_json::from_slice(&body))
    else {
        return malformed();
    };
    let stream = match call {
        "streamGenerateContent" => true,
        "generateContent" => false,
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    shared
        .answer(&GEMINI, &headers, &body, bytes, (model, stream))
        .await
}

fn malformed() -> Response {
    let problem =
        json!({ "error": { "type": "invalid_request_error", "message": "not a request" } });
    (StatusCode::BAD_REQUEST, axum::Json(problem)).into_response()
}

/// The key, by whichever header the API has for it.
fn key(headers: &HeaderMap) -> String {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let bearer = || text("authorization")?.strip_prefix("Bearer ");
    text("x-api-key")
        .or_else(|| text("x-goog-api-key"))
        .or_else(bearer)
        .unwrap_or_default()
        .to_owned()
}

fn sha256(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The arguments with which the tool `shell` runs `command`.
fn arguments(shell: &str, command: &str) -> Value {
    match shell {
        "exec_command" => json!({ "cmd": command }),
        "shell" => json!({ "command": ["sh", "-c", command] }),
        _ => json!({ "command": command, "description": "Do the work" }),
    }
}

fn events(events: &[(Option<&str>, Value)]) -> Response {
    let text: String = events
        .iter()
        .map(|(name, data)| {
            let name = name
                .map(|name| format!("event: {name}\n"))
                .unwrap_or_default();
            format!("{name}data: {data}\n\n")
        })
        .collect();
    ([("content-type", "text/event-stream")], text).into_response()
}

/// Begins to answer, and breaks the connection.
fn dropped() -> Response {
    let begin = Ok(Bytes::from_static(b": the answer begins\n\n"));
    let end = Err(io::Error::from(io::ErrorKind::ConnectionReset));
    let body = Body::from_stream(futures_util::stream::iter([begin, end]));
    ([("content-type", "text/event-stream")], body).into_response()
}

fn problem(status: u16, body: Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // Clients that obey it try only once, which keeps tests short.
    let headers = [("x-should-retry", "false"), ("retry-after", "0")];
    (status, headers, axum::Json(body)).into_response()
}

#[cfg(test)]
mod tests;
