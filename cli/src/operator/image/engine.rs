//! A container engine, by its command line.

use std::collections::BTreeMap;
use std::process::{Output, Stdio};
use std::time::Duration;

use sealfleet_hosts::container::{DROPPED, USER, VOLUMES, WORK_DIRECTORY};
use serde::{Deserialize, Deserializer};
use tokio::process::Command;
use uuid::Uuid;

use crate::operator::failure::Failure;

/// How much of the engine's words is told.
const MOST_WORDS: usize = 400;

/// The container of a step, as options of `docker run`. The engine's default profile of system
/// calls applies, as on Fargate.
pub(super) fn options() -> Vec<String> {
    let mut options = vec![
        "--read-only".to_owned(),
        format!("--user={USER}"),
        format!("--cap-drop={DROPPED}"),
        format!("--workdir={WORK_DIRECTORY}"),
    ];
    options.extend(VOLUMES.map(|(_, path)| format!("--volume={path}")));
    options
}

/// What `docker image inspect` says.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Inspected {
    #[serde(default)]
    pub(super) architecture: String,
    #[serde(default)]
    pub(super) os: String,
    /// Bytes, unpacked.
    #[serde(default)]
    pub(super) size: u64,
    #[serde(default)]
    pub(super) config: Config,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Config {
    #[serde(default, deserialize_with = "nullable")]
    pub(super) entrypoint: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) volumes: BTreeMap<String, serde_json::Value>,
}

fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// What `sealfleet-init check` says of the container.
#[derive(Debug, Deserialize)]
pub(super) struct Report {
    pub(super) version: String,
    pub(super) static_program: bool,
    pub(super) uid: u32,
    pub(super) user: Option<String>,
    pub(super) writable: Vec<String>,
    pub(super) https_fault: Option<String>,
    pub(super) shell: Option<String>,
}

pub(super) struct Engine {
    program: String,
    /// How long one command may take.
    patience: Duration,
}

impl Engine {
    pub(super) const fn new(program: String, patience: Duration) -> Self {
        Self { program, patience }
    }

    pub(super) async fn inspect(&self, image: &str) -> Result<Inspected, Failure> {
        let output = self.ask(&["image", "inspect", "--", image]).await?;
        if !output.status.success() {
            return Err(Failure::Other(format!(
                "`{image}` cannot be inspected; pull or build it first, and start the engine: {}",
                words(&output)
            )));
        }
        let images: Vec<Inspected> =
            serde_json::from_slice(&output.stdout).map_err(|error| self.unclear(&error))?;
        let first = images.into_iter().next();
        first.ok_or_else(|| Failure::Other(format!("there is no image `{image}`")))
    }

    /// What init says in a container of the image, or why it could not be asked.
    pub(super) async fn check(
        &self,
        image: &str,
        inspected: &Inspected,
    ) -> Result<Result<Report, String>, Failure> {
        let Some(init) = inspected.config.entrypoint.first() else {
            return Ok(Err("the image has no entry point".to_owned()));
        };
        let entry_point = format!("--entrypoint={init}");
        let container = format!("sealfleet-check-{}", Uuid::new_v4());
        let name = format!("--name={container}");
        let options = options();
        let run = [
            "run",
            "--rm",
            &name,
            "--pull=never",
            "--network=none",
            &entry_point,
        ];
        let run = run.into_iter().chain(options.iter().map(String::as_str));
        let all: Vec<&str> = run.chain([image, "check"]).collect();
        let output = match self.ask(&all).await {
            Ok(output) => output,
            Err(failure) => {
                // The container outlives the command that started it.
                self.ask(&["rm", "--force", &container]).await.ok();
                return Err(failure);
            }
        };
        if !output.status.success() {
            return Ok(Err(words(&output)));
        }
        Ok(serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("`{init} check` does not answer as sealfleet-init: {error}")))
    }

    async fn ask(&self, arguments: &[&str]) -> Result<Output, Failure> {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let answer = tokio::time::timeout(self.patience, command.output()).await;
        let answer = answer.map_err(|_| {
            let most = self.patience.as_secs();
            Failure::Other(format!(
                "`{}` did not end within {most} s; give it more by `--timeout-seconds`",
                self.program
            ))
        })?;
        answer.map_err(|error| {
            Failure::Other(format!(
                "`{}` cannot be run: {error}; install a container engine, or name its program with `--docker`",
                self.program
            ))
        })
    }

    fn unclear(&self, error: &dyn std::fmt::Display) -> Failure {
        Failure::Other(format!(
            "the answer of `{}` is unclear: {error}",
            self.program
        ))
    }
}

/// What a command said on standard error.
fn words(output: &Output) -> String {
    let words = String::from_utf8_lossy(&output.stderr);
    let words = words.trim().chars().take(MOST_WORDS).collect::<String>();
    if words.is_empty() {
        output.status.to_string()
    } else {
        words
    }
}
