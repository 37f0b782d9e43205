//! HTTP: the AWS JSON 1.1 protocol of ECS on `POST /`, and local endpoints below `/_local/`.
//!
//! | path | |
//! |---|---|
//! | `GET /_local/health` | status, the image's reference, counts of tasks and events |
//! | `GET /_local/tasks` | every task, as `DescribeTasks` shows it |
//! | `GET /_local/credentials/{path}` | credentials of one task's role, for its sandbox |
//! | `POST /_local/failures` `{"next": n, "reason": "RESOURCE:MEMORY"}` | the next n `RunTask` answer `failures[]` and start nothing |
//! | `POST /_local/throttles` `{"next": n}` | the next n calls answer `ThrottlingException` |
//! | `POST /_local/refusals` `{"next": n, "reason": "role"}` | the next n `RunTask` answer this error in AWS's words |
//! | `POST /_local/start-failures` `{"next": n, "reason": "capacity"}` | the next n tasks stop before they start, with AWS's words for it; [`crate::faults`] has the kinds |
//! | `POST /_local/lost-answers` `{"next": n}` | the next n `RunTask` start the task and answer 500 |
//! | `POST /_local/events` `{"mode": "deliver"}` | or `hold`, `duplicate`, `drop`; `"reversed": true` releases held ones newest first |
//!
//! This server checks neither signatures nor IAM permissions of ECS calls. A local stack proves
//! nothing about `ecs:*` permissions. Everybody who reaches the port may call, so the server binds
//! only the loopback interface. Sandboxes share that interface, so the server refuses them
//! everything except the credentials path ([`crate::peer`]). That works only when the launcher runs
//! as root, because otherwise sandboxes have no uid of their own.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::agent::Agent;
use crate::error::ApiError;
use crate::events::Mode;
use crate::faults::{self, Faults, Order};
use crate::peer::SandboxUids;
use crate::random;

const TARGET_PREFIX: &str = "AmazonEC2ContainerServiceV20141113.";
const DEFAULT_FAILURE: &str = "RESOURCE:MEMORY";

type Shared = State<Arc<Agent>>;

/// Serves until dropped. Callers with a uid in `sandboxes` get only credentials.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    agent: Arc<Agent>,
    sandboxes: Option<SandboxUids>,
) -> std::io::Result<()> {
    let gate = Arc::new(Gate {
        own: listener.local_addr()?,
        sandboxes,
    });
    let service = router(agent, gate).into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).await
}

/// Recognises calls from sandboxes.
struct Gate {
    own: SocketAddr,
    sandboxes: Option<SandboxUids>,
}

async fn not_from_a_sandbox(
    State(gate): State<Arc<Gate>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    if gate
        .sandboxes
        .as_ref()
        .is_some_and(|sandboxes| sandboxes.hold(peer, gate.own))
    {
        let error = ApiError::denied("A sandbox may not call ECS.");
        return amz_json(error.status, &error.body());
    }
    next.run(request).await
}

fn router(agent: Arc<Agent>, gate: Arc<Gate>) -> Router {
    Router::new()
        .route("/", post(ecs))
        .route("/_local/health", get(health))
        .route("/_local/tasks", get(tasks))
        .route("/_local/failures", post(failures))
        .route("/_local/throttles", post(throttles))
        .route("/_local/refusals", post(refusals))
        .route("/_local/start-failures", post(start_failures))
        .route("/_local/lost-answers", post(lost_answers))
        .route("/_local/events", post(events))
        .layer(middleware::from_fn_with_state(gate, not_from_a_sandbox))
        // Added after the layer, so the layer does not apply to it.
        .route("/_local/credentials/{path}", get(credentials))
        .with_state(agent)
}

async fn ecs(State(agent): Shared, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers
        .get("x-amz-target")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let outcome = match target.strip_prefix(TARGET_PREFIX) {
        None => Err(ApiError::unknown_operation(target)),
        Some(operation) => parse(&body).and_then(|body| {
            let outcome = agent.cluster.call(operation, body);
            if let Err(error) = &outcome {
                tracing::info!(
                    operation,
                    code = error.code,
                    message = error.message,
                    "refused"
                );
            }
            outcome
        }),
    };
    match outcome {
        Ok(answer) => amz_json(StatusCode::OK, &answer),
        Err(error) => amz_json(error.status, &error.body()),
    }
}

fn parse(body: &[u8]) -> Result<Value, ApiError> {
    if body.is_empty() {
        return Ok(json!({}));
    }
    serde_json::from_slice(body).map_err(|_| ApiError::invalid("The body is not JSON."))
}

fn amz_json(status: StatusCode, body: &Value) -> Response {
    let headers = [
        (
            header::CONTENT_TYPE,
            "application/x-amz-json-1.1".to_owned(),
        ),
        (
            header::HeaderName::from_static("x-amzn-requestid"),
            random::uuid(),
        ),
    ];
    (status, headers, body.to_string()).into_response()
}

async fn health(State(agent): Shared) -> Json<Value> {
    Json(json!({
        "status": "ok",
        "image": agent.image.reference().ok(),
        "live_tasks": agent.cluster.live_tasks(),
        "events": agent.cluster.events().counts(),
    }))
}

async fn tasks(State(agent): Shared) -> Json<Value> {
    Json(json!({ "tasks": agent.cluster.all_tasks() }))
}

async fn credentials(State(agent): Shared, Path(path): Path<String>) -> Response {
    match agent.credentials.serve(&path).await {
        Some(Ok(credentials)) => Json(credentials).into_response(),
        Some(Err(error)) => {
            let body = json!({ "code": error.code, "message": error.message });
            (StatusCode::BAD_GATEWAY, Json(body)).into_response()
        }
        None => {
            let body = json!({ "code": "NotFound", "message": "no credentials on this path" });
            (StatusCode::NOT_FOUND, Json(body)).into_response()
        }
    }
}

async fn failures(State(agent): Shared, Json(order): Json<Order>) -> Json<Faults> {
    Json(agent.cluster.change_faults(|faults| {
        faults.failures = order.next;
        faults.failure_reason = order.reason.unwrap_or_else(|| DEFAULT_FAILURE.to_owned());
    }))
}

async fn throttles(State(agent): Shared, Json(order): Json<Order>) -> Json<Faults> {
    Json(
        agent
            .cluster
            .change_faults(|faults| faults.throttles = order.next),
    )
}

async fn refusals(State(agent): Shared, Json(order): Json<Order>) -> Response {
    let reason = order.reason.unwrap_or_default();
    if faults::refusal(&reason).is_none() {
        return unknown(&reason);
    }
    let change = |faults: &mut Faults| {
        faults.refusals = order.next;
        faults.refusal_reason = reason;
    };
    Json(agent.cluster.change_faults(change)).into_response()
}

async fn start_failures(State(agent): Shared, Json(order): Json<Order>) -> Response {
    let reason = order.reason.unwrap_or_default();
    if faults::start_failure(&reason).is_none() {
        return unknown(&reason);
    }
    let change = |faults: &mut Faults| {
        faults.start_failures = order.next;
        faults.start_failure_reason = reason;
    };
    Json(agent.cluster.change_faults(change)).into_response()
}

fn unknown(reason: &str) -> Response {
    let error = ApiError::invalid(format!("`{reason}` is no reason that the stand-in knows."));
    amz_json(error.status, &error.body())
}

async fn lost_answers(State(agent): Shared, Json(order): Json<Order>) -> Json<Faults> {
    Json(
        agent
            .cluster
            .change_faults(|faults| faults.lost_answers = order.next),
    )
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventsChange {
    mode: Mode,
    #[serde(default)]
    reversed: bool,
}

async fn events(State(agent): Shared, Json(change): Json<EventsChange>) -> Json<Value> {
    agent
        .cluster
        .events()
        .set_mode(change.mode, change.reversed);
    Json(json!({ "mode": change.mode }))
}
