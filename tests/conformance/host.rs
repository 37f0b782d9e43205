//! What a sandbox host is to the suite: it runs a step as the product does, and tells how it ended.

use async_trait::async_trait;
use sealfleet_domain::egress::Denials;
use sealfleet_domain::redaction::Redaction;
use sealfleet_domain::run::Outcome;
use serde_json::{Value, json};

/// Bytes of memory that each step has.
pub const MEMORY: u64 = 64 << 20;
/// Bytes for files in `/workspace`, and as many in `/tmp`.
pub const SCRATCH: u64 = 32 << 20;
/// Processes and threads that each step has.
pub const PROCESSES: u64 = 64;
/// Open files of each process.
pub const OPEN_FILES: u64 = 256;
/// Bytes of output that are kept.
pub const KEPT: u64 = 1 << 20;

/// A place where steps run in sandboxes, with the limits above.
#[async_trait]
pub trait Host: Send + Sync {
    /// Lets a step run.
    async fn start(&self, step: Step) -> Box<dyn Started>;
    /// The same place, with an image that is not there.
    async fn without_image(&self) -> Box<dyn Host>;
}

/// A step that runs.
#[async_trait]
pub trait Started: Send + Sync {
    /// What it has printed until now, on both streams.
    async fn output(&self) -> Vec<u8>;
    /// Lets somebody cancel its run.
    async fn cancel(&self);
    /// Lets somebody revoke a secret of it, hard.
    async fn revoke(&self);
    /// Waits for its end.
    async fn end(&self) -> End;
}

/// A step to run.
#[derive(Clone, Debug)]
pub struct Step {
    pub mode: &'static str,
    pub command: Vec<String>,
    pub agent: Option<Value>,
    pub env: Value,
    /// Names and values.
    pub secrets: Vec<(&'static str, String)>,
    pub tool: Option<&'static str>,
    /// Which tool sees which secrets.
    pub tools: Option<Value>,
    pub stdin: Option<&'static str>,
    pub files: Value,
    pub timeout_seconds: u32,
    /// Its egress policy.
    pub egress: Option<Value>,
}

/// How a step ended.
#[derive(Clone, Debug)]
pub struct End {
    /// Nothing is told of a step that was taken away.
    pub outcome: Option<Outcome>,
    /// All that is kept of its output.
    pub output: Vec<u8>,
    /// Bytes of it that are not kept.
    pub cut_bytes: u64,
    pub result: Option<String>,
    pub redactions: Vec<Redaction>,
    /// Which hosts it was kept from.
    pub denied: Denials,
}

impl Step {
    pub fn of(command: &[&str]) -> Self {
        Self {
            mode: "sandboxed",
            command: command.iter().map(|&word| word.to_owned()).collect(),
            agent: None,
            env: json!({ "KNOB": "of the step" }),
            secrets: Vec::new(),
            tool: None,
            tools: None,
            stdin: None,
            files: json!({}),
            timeout_seconds: 120,
            egress: None,
        }
    }

    pub fn shell(script: &str) -> Self {
        Self::of(&["/bin/sh", "-c", script])
    }
}

impl End {
    /// The output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }
}
