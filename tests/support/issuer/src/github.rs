//! Stands in for the service that gives jobs of GitHub Actions their identity tokens
//! (<https://docs.github.com/en/actions/reference/security/oidc>).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::routing::get;
use serde_json::json;

pub struct TokenService {
    /// What a job has as `ACTIONS_ID_TOKEN_REQUEST_URL`.
    pub url: String,
    served: Arc<Served>,
}

struct Served {
    bearer: String,
    audience: String,
    token: String,
    answered: AtomicUsize,
}

impl TokenService {
    /// Answers `token` to whoever asks with the job's secret, and for this audience. It serves for
    /// as long as the runtime lives.
    pub async fn start(secret: &str, audience: &str, token: String) -> io::Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/token?api-version=2.0", listener.local_addr()?);
        let served = Arc::new(Served {
            bearer: format!("bearer {secret}"),
            audience: format!("audience={audience}"),
            token,
            answered: AtomicUsize::new(0),
        });
        let routes = Router::new()
            .route("/token", get(answer))
            .with_state(Arc::clone(&served));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(Self { url, served })
    }

    /// How many tokens it gave.
    pub fn given(&self) -> usize {
        self.served.answered.load(Ordering::Relaxed)
    }
}

async fn answer(
    State(served): State<Arc<Served>>,
    uri: Uri,
    headers: HeaderMap,
) -> (StatusCode, String) {
    let of_the_job = headers
        .get(header::AUTHORIZATION)
        .is_some_and(|value| value.as_bytes() == served.bearer.as_bytes());
    let mut query = uri.query().unwrap_or_default().split('&');
    if !of_the_job || !query.any(|part| part == served.audience) {
        return (StatusCode::FORBIDDEN, String::new());
    }
    served.answered.fetch_add(1, Ordering::Relaxed);
    (StatusCode::OK, json!({ "value": served.token }).to_string())
}
