//! Tools for the black-box suites: a running local stack, callers of its HTTP API, and the AWS APIs
//! behind it.
//!
//! What a test arranges, and what it drives as a user would, goes through the product's typed
//! client ([`Caller::client`]), as the command line and the worker do. Where the wire itself is
//! tested (what is refused, and how; headers, fields, bytes) requests and answers are JSON as any
//! caller sees it, and each such answer is held to the API's document. The audit trail and the
//! cascade are looked at as JSON, too: their names are what others read.

#![expect(
    clippy::indexing_slicing,
    reason = "JSON read by name: what is absent reads as null"
)]

pub mod agents;
pub mod api;
pub mod aws;
pub mod canary;
pub mod identity;
pub mod machine;
pub mod processes;
pub mod project;
pub mod proxy;
pub mod stack;
pub mod stage;
pub mod trail;
pub mod upstream;
pub mod worker;

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

pub use api::{Caller, Reply};
pub use aws::Aws;
pub use project::Project;
pub use stack::Stack;
pub use stage::Stage;
pub use upstream::Upstream;
pub use worker::{Claimed, Worker, WorkerProcess};

/// How long an answer may take on a slow machine that does much else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Why something could not be done, or was not as promised; for the person who reads the test's
/// output.
#[derive(Debug)]
pub struct Failure(String);

/// The result of a step of a test.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// A failure that reads as `message`.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Failure {
    #[track_caller]
    fn from(error: E) -> Self {
        let mut message = format!("{}: {error}", std::panic::Location::caller());
        let mut cause = error.source();
        while let Some(inner) = cause {
            message.push_str(&format!(": {inner}"));
            cause = inner.source();
        }
        Self(message)
    }
}

/// Fails with a message, formatted as by `format!`, unless the condition holds.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::Failure::new(format!("{}:{}: {}", file!(), line!(), format!($($message)+))));
        }
    };
}

/// Fails, showing both sides, unless they are equal.
#[macro_export]
macro_rules! ensure_eq {
    ($left:expr, $right:expr, $($message:tt)+) => {{
        let (left, right) = (&$left, &$right);
        if left != right {
            return Err($crate::Failure::new(format!(
                "{}:{}: {}\n  found    {left:?}\n  expected {right:?}", file!(), line!(), format!($($message)+)
            )));
        }
    }};
}

/// Waits until `probe` finds something, and fails when it does not within `limit`. `what` says what
/// was awaited.
pub async fn eventually<T>(
    what: &str,
    limit: Duration,
    mut probe: impl AsyncFnMut() -> Outcome<Option<T>>,
) -> Outcome<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = probe().await? {
            return Ok(found);
        }
        ensure!(
            Instant::now() < deadline,
            "waited {} s in vain: {what}",
            limit.as_secs()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Writes a file, which must be new, that nobody else may read.
pub fn private_file(path: &Path, text: &str) -> Outcome {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}

/// A short text that no earlier run of the tests used.
pub fn unique() -> String {
    let id = uuid::Uuid::now_v7().simple().to_string();
    id.chars().rev().take(8).collect()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256, in lower-case hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest as _, Sha256};
    hex(&Sha256::digest(bytes))
}
