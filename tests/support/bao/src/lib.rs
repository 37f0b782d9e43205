//! A real OpenBao on the loopback interface, which speaks Vault's API. It keeps everything in
//! memory and ends with its owner. [`Rabbit`] has accounts that it can lend.

mod rabbit;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use reqwest::{Method, Url};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

pub use rabbit::Rabbit;

/// How long it may take to start.
const READY_TIME: Duration = Duration::from_secs(30);

/// A server, and the token that may do everything there.
pub struct Bao {
    /// Its address, without a final slash.
    pub url: String,
    /// The certificate of its CA, if it speaks TLS.
    pub ca_file: Option<PathBuf>,
    http: reqwest::Client,
    root: String,
    child: Child,
}

/// What a server answered.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub body: Value,
}

impl Bao {
    /// Starts a server that speaks plain HTTP.
    ///
    /// # Errors
    /// What is missing, or how it ended.
    pub async fn start() -> Result<Self, String> {
        Self::start_with(None).await
    }

    /// Starts a server that speaks TLS, and keeps the certificates in this directory.
    ///
    /// # Errors
    /// As [`Bao::start`].
    pub async fn start_with_tls(directory: &Path) -> Result<Self, String> {
        Self::start_with(Some(directory)).await
    }

    async fn start_with(tls: Option<&Path>) -> Result<Self, String> {
        // The HTTP client wants a TLS provider to be there. It may be already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let program = program()?;
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = port.map_err(|error| error.to_string())?;
        let root = uuid::Uuid::new_v4().to_string();
        let mut command = Command::new(program);
        command
            .args(["server", "-dev-no-store-token"])
            .arg(if tls.is_some() { "-dev-tls" } else { "-dev" })
            .arg(format!("-dev-listen-address={address}"))
            .env("BAO_DEV_ROOT_TOKEN_ID", &root)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        if let Some(directory) = tls {
            command.arg(format!("-dev-tls-cert-dir={}", directory.display()));
        }
        let child = command
            .spawn()
            .map_err(|error| format!("OpenBao does not start: {error}"))?;
        let ca_file = tls.map(|directory| directory.join("vault-ca.pem"));
        let scheme = if tls.is_some() { "https" } else { "http" };
        let mut bao = Self {
            url: format!("{scheme}://{address}"),
            ca_file,
            http: reqwest::Client::default(),
            root,
            child,
        };
        bao.ready().await?;
        Ok(bao)
    }

    async fn ready(&mut self) -> Result<(), String> {
        let deadline = tokio::time::Instant::now() + READY_TIME;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("OpenBao ended: {status}"));
            }
            if self.is_ready().await {
                return Ok(());
            }
            if tokio::time::Instant::now() > deadline {
                return Err("OpenBao was not ready in time".to_owned());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn is_ready(&mut self) -> bool {
        let mut builder = reqwest::Client::builder().timeout(Duration::from_secs(10));
        if let Some(file) = &self.ca_file {
            // It writes the certificate before it listens.
            let pem = std::fs::read(file).unwrap_or_default();
            match reqwest::Certificate::from_pem(&pem) {
                Ok(certificate) => builder = builder.tls_certs_only([certificate]),
                Err(_) => return false,
            }
        }
        let Ok(http) = builder.build() else {
            return false;
        };
        self.http = http;
        let health = self.http.get(format!("{}/v1/sys/health", self.url));
        let answer = health.send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// The token that may do everything.
    #[must_use]
    pub fn root(&self) -> &str {
        &self.root
    }

    /// Does something as whoever may do everything.
    ///
    /// # Errors
    /// Its refusal.
    pub async fn run(&self, method: &str, path: &str, body: Value) -> Result<Value, String> {
        let Reply { status, body } = self.ask(Some(&self.root), method, path, body).await?;
        if (200..300).contains(&status) {
            Ok(body)
        } else {
            Err(format!("{method} {path}: {status} {body}"))
        }
    }

    /// Does something as whoever may do everything, and has the answer wrapped: what comes back is
    /// a token that opens it once.
    ///
    /// # Errors
    /// Its refusal.
    pub async fn run_wrapped(&self, method: &str, path: &str) -> Result<Value, String> {
        let root = Some(self.root.as_str());
        let reply = self.send(root, method, path, Value::Null, true).await?;
        match reply.status {
            200 => Ok(reply.body),
            status => Err(format!("{method} {path}: {status} {}", reply.body)),
        }
    }

    /// Asks something with this token, or with none.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn ask(
        &self,
        token: Option<&str>,
        method: &str,
        path: &str,
        body: Value,
    ) -> Result<Reply, String> {
        self.send(token, method, path, body, false).await
    }

    async fn send(
        &self,
        token: Option<&str>,
        method: &str,
        path: &str,
        body: Value,
        wrapped: bool,
    ) -> Result<Reply, String> {
        let method = Method::from_bytes(method.as_bytes()).map_err(|error| error.to_string())?;
        let url = Url::parse(&format!("{}/v1/{path}", self.url)).map_err(|e| e.to_string())?;
        let mut request = self.http.request(method, url);
        if let Some(token) = token {
            request = request.header("x-vault-token", token);
        }
        if wrapped {
            // A worker whose message was lost gets its step from the sweep, a minute later.
            request = request.header("x-vault-wrap-ttl", "600");
        }
        if !body.is_null() {
            request = request.json(&body);
        }
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let status = answer.status().as_u16();
        let body = answer.bytes().await.map_err(|error| error.to_string())?;
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Ok(Reply { status, body })
    }

    /// Trusts the tokens of an OIDC issuer, as `auth/jwt`.
    ///
    /// # Errors
    /// As [`Bao::run`].
    pub async fn trust(&self, issuer: &str) -> Result<(), String> {
        let enable = json!({ "type": "jwt" });
        self.run("POST", "sys/auth/jwt", enable).await?;
        let config = json!({ "oidc_discovery_url": issuer });
        self.run("POST", "auth/jwt/config", config).await.map(drop)
    }

    /// Logs in by a JWT.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn log_in(&self, role: &str, jwt: &str) -> Result<Reply, String> {
        let body = json!({ "role": role, "jwt": jwt });
        self.ask(None, "POST", "auth/jwt/login", body).await
    }

    /// Ends it. Nobody answers at its address any more.
    pub async fn stop(&mut self) {
        // Fails if it has ended already.
        let _ = self.child.kill().await;
    }
}

/// The program, which `scripts/test` installs.
fn program() -> Result<PathBuf, String> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(3);
    let program = repository
        .unwrap_or(Path::new("."))
        .join("target/venv/identity/bin/bao");
    if program.exists() {
        Ok(program)
    } else {
        Err(format!(
            "`{}` is missing: run `. scripts/lib/common.sh && python_venv identity`",
            program.display()
        ))
    }
}
