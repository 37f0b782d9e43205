//! Accounts that OpenBao makes and takes back: the management API of RabbitMQ, as far as OpenBao's
//! engine `rabbitmq` speaks to it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::put;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::Bao;

type Accounts = Arc<Mutex<Known>>;

#[derive(Default)]
struct Known {
    now: BTreeMap<String, String>,
    ever: Vec<(String, String)>,
}

/// A server whose accounts are there for a time. Dropped, it answers nobody.
pub struct Rabbit {
    /// Where it listens, on the loopback interface.
    pub url: String,
    accounts: Accounts,
    serving: JoinHandle<()>,
}

impl Drop for Rabbit {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Rabbit {
    /// # Errors
    /// No port is to be had.
    pub async fn start() -> Result<Self, String> {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.map_err(|error| error.to_string())?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let accounts = Accounts::default();
        let routes = Router::new()
            .route("/api/users/{name}", put(make).delete(take_back))
            .with_state(Arc::clone(&accounts));
        let serving = tokio::spawn(async move { drop(axum::serve(listener, routes).await) });
        Ok(Self {
            url: format!("http://{address}"),
            accounts,
            serving,
        })
    }

    /// The accounts that are there now: passwords by name.
    #[must_use]
    pub fn accounts(&self) -> BTreeMap<String, String> {
        lock(&self.accounts).now.clone()
    }

    /// All accounts that there were, names and passwords, the newest last.
    #[must_use]
    pub fn ever(&self) -> Vec<(String, String)> {
        lock(&self.accounts).ever.clone()
    }

    /// Has a server lend accounts of this one at `MOUNT/creds/ROLE`, for so many seconds; `most` if
    /// they are renewed.
    ///
    /// # Errors
    /// As [`Bao::run`].
    pub async fn lent_by(
        &self,
        bao: &Bao,
        mount: &str,
        role: &str,
        seconds: u64,
        most: u64,
    ) -> Result<(), String> {
        let connection = json!({
            "connection_uri": self.url, "username": "admin", "password": "of-a-test", "verify_connection": false,
        });
        for (path, body) in [
            (format!("sys/mounts/{mount}"), json!({ "type": "rabbitmq" })),
            (format!("{mount}/config/connection"), connection),
            (
                format!("{mount}/config/lease"),
                json!({ "ttl": seconds, "max_ttl": most }),
            ),
            (format!("{mount}/roles/{role}"), json!({ "tags": "none" })),
        ] {
            bao.run("POST", &path, body).await?;
        }
        Ok(())
    }
}

fn lock(accounts: &Accounts) -> MutexGuard<'_, Known> {
    accounts.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn make(
    State(accounts): State<Accounts>,
    Path(name): Path<String>,
    body: Bytes,
) -> StatusCode {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let password = body.get("password").and_then(Value::as_str);
    let password = password.unwrap_or_default().to_owned();
    let mut known = lock(&accounts);
    known.ever.push((name.clone(), password.clone()));
    known.now.insert(name, password);
    StatusCode::CREATED
}

async fn take_back(State(accounts): State<Accounts>, Path(name): Path<String>) -> StatusCode {
    match lock(&accounts).now.remove(&name) {
        Some(_) => StatusCode::NO_CONTENT,
        None => StatusCode::NOT_FOUND,
    }
}
