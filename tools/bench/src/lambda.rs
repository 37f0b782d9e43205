//! Lambda's side of a function: its Runtime API (AWS Lambda Developer Guide, "Runtime API"), for
//! one process of the binary.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use sealfleet_test_stack::{Failure, Outcome};
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::figures::{Figures, percentile};
use crate::machine::memory_of;
use crate::world::World;

/// Longer than any start or answer here takes.
const LIMIT: Duration = Duration::from_secs(30);

/// A function's process, waiting for events.
pub struct Function {
    pub pid: u32,
    /// From before it was started until it asked for its first event.
    pub init: Duration,
    events: mpsc::Sender<Event>,
    _child: Child,
    server: tokio::task::JoinHandle<()>,
}

struct Event {
    payload: String,
    answer: oneshot::Sender<Result<Value, String>>,
}

struct Runtime {
    events: Mutex<mpsc::Receiver<Event>>,
    under_way: Mutex<Option<oneshot::Sender<Result<Value, String>>>>,
    asked: Mutex<Option<oneshot::Sender<Instant>>>,
}

impl Function {
    /// Starts the binary as one function and waits until it is ready.
    pub async fn start(
        binary: &Path,
        name: &str,
        environment: &[(String, String)],
    ) -> Outcome<Self> {
        let (events, receiver) = mpsc::channel(1);
        let (asked, first) = oneshot::channel();
        let runtime = Runtime {
            events: Mutex::new(receiver),
            under_way: Mutex::default(),
            asked: Mutex::new(Some(asked)),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let router = Router::new().fallback(serve).with_state(Arc::new(runtime));
        let server = tokio::spawn(async move {
            // It ends with the task that it runs in.
            let _ = axum::serve(listener, router).await;
        });
        let mut command = Command::new(binary);
        command
            .env_clear()
            .envs(environment.iter().cloned())
            .env("_HANDLER", name);
        command
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", format!("sealfleet-{name}"));
        command
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let before = Instant::now();
        let child = command.spawn()?;
        let ready = tokio::time::timeout(LIMIT, first).await;
        let ready = ready
            .ok()
            .and_then(Result::ok)
            .ok_or_else(|| Failure::new(format!("function `{name}` does not start")))?;
        let pid = child
            .id()
            .ok_or_else(|| Failure::new(format!("function `{name}` ended at once")))?;
        Ok(Self {
            pid,
            init: ready - before,
            events,
            _child: child,
            server,
        })
    }

    /// Hands it an event and waits for its answer.
    pub async fn invoke(&self, event: &Value) -> Outcome<Value> {
        let (answer, answered) = oneshot::channel();
        let gone = || Failure::new("the function is gone");
        self.events
            .send(Event {
                payload: event.to_string(),
                answer,
            })
            .await
            .map_err(|_| gone())?;
        let answer = tokio::time::timeout(LIMIT, answered)
            .await
            .map_err(|_| Failure::new("no answer in time"))?;
        answer.map_err(|_| gone())?.map_err(Failure::new)
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(
    State(runtime): State<Arc<Runtime>>,
    method: Method,
    uri: Uri,
    body: Bytes,
) -> Response {
    let call = uri.path().rsplit('/').next().unwrap_or_default();
    if method == Method::GET && call == "next" {
        let now = Instant::now();
        if let Some(asked) = runtime.asked.lock().await.take() {
            // Nobody waits when the start was given up.
            let _ = asked.send(now);
        }
        let Some(event) = runtime.events.lock().await.recv().await else {
            return StatusCode::GONE.into_response();
        };
        *runtime.under_way.lock().await = Some(event.answer);
        return (headers(), event.payload).into_response();
    }
    if let Some(answer) = runtime.under_way.lock().await.take() {
        let value = serde_json::from_slice(&body).unwrap_or_default();
        let result = if call == "response" {
            Ok(value)
        } else {
            Err(format!("the function failed: {value}"))
        };
        // Nobody waits when the time was up.
        let _ = answer.send(result);
    }
    StatusCode::ACCEPTED.into_response()
}

fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        (
            "lambda-runtime-aws-request-id",
            "00000000-0000-4000-8000-000000000000",
        ),
        // The end of 2099.
        ("lambda-runtime-deadline-ms", "4102444799000"),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:us-east-1:000000000000:function:bench",
        ),
        (
            "lambda-runtime-trace-id",
            "Root=1-00000000-000000000000000000000000;Sampled=0",
        ),
    ] {
        headers.insert(name, axum::http::HeaderValue::from_static(value));
    }
    headers
}

/// How long a function takes to start, and how large it is then.
pub async fn starts(figures: &mut Figures, world: &World, times: usize) -> Outcome {
    let (mut init, mut resident) = (Vec::new(), Vec::new());
    for _ in 0..times {
        let function = world.start("enqueue").await?;
        init.push(function.init.as_secs_f64() * 1000.0);
        resident.push(memory_of(function.pid, "VmRSS"));
    }
    for (what, values, unit, budget) in [
        ("init, exec to first `next`, p50", init, "ms", 15.0),
        ("memory after init, p50", resident, "MiB", 16.0),
    ] {
        figures.add_against(
            format!("enqueue: {what}"),
            percentile(&values, 0.5),
            unit,
            budget,
        );
    }
    Ok(())
}
