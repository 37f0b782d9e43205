//! A local stack for one program: in a directory of its own, which goes with everything in it,
//! however the program ends.
//!
//! `sealfleet-local up` is told this process' id, so that the stack also goes down when the program
//! is killed outright.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::{Failure, Outcome, Stack, ensure, eventually, processes};

/// An `up` that is interrupted takes down what it has started; that takes some seconds.
const UP_ENDS: Duration = Duration::from_secs(30);

/// Where the stack is.
pub struct Stage {
    directory: PathBuf,
    /// The `sealfleet-local up` that is under way.
    up: Cell<Option<u32>>,
}

impl Stage {
    /// An empty directory for a stack.
    pub fn new(name: &str) -> Outcome<Self> {
        let directory = std::env::temp_dir().join(format!(
            "sealfleet-{name}-{}",
            uuid::Uuid::new_v4().simple()
        ));
        std::fs::create_dir(&directory)?;
        Ok(Self {
            directory,
            up: Cell::new(None),
        })
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Brings the stack up, its progress on stderr, and makes the first operator's token as an
    /// operator does. `more` is for `sealfleet-local up`.
    pub async fn up(&self, more: &[&str]) -> Outcome<Stack> {
        let mut up = command()?;
        up.args([
            "up",
            "--parent-pid",
            &std::process::id().to_string(),
            "--dir",
        ])
        .arg(&self.directory);
        up.args(more);
        let mut child = up.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        self.up.set(child.id());
        let status = child.wait().await?;
        self.up.set(None);
        ensure!(
            status.success(),
            "`sealfleet-local up` failed ({status}); its reason stands above"
        );
        Stack::attach(&self.directory.join("stack.json")).await
    }

    /// Takes the stack down and, unless `keep` says otherwise, removes its directory. An `up` that
    /// was given up half-way is ended first.
    pub async fn clear(&self, keep: bool) -> Outcome {
        if let Some(pid) = self.up.take() {
            if let Some(pid) = i32::try_from(pid)
                .ok()
                .and_then(rustix::process::Pid::from_raw)
            {
                // It may be through already.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            }
            let ended = eventually("`sealfleet-local up` to end", UP_ENDS, async || {
                Ok(processes::all()
                    .iter()
                    .all(|process| process.pid != pid)
                    .then_some(()))
            });
            if ended.await.is_err() {
                processes::kill(pid);
            }
        }
        let mut down = command()?;
        let output = down
            .args(["down", "--dir"])
            .arg(&self.directory)
            .stdin(Stdio::null())
            .output()
            .await?;
        ensure!(
            output.status.success(),
            "`sealfleet-local down`: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let left = processes::with_argument(&self.directory.to_string_lossy());
        ensure!(left.is_empty(), "these still run: {left:?}");
        if !keep {
            std::fs::remove_dir_all(&self.directory)?;
        }
        Ok(())
    }
}

fn command() -> Outcome<Command> {
    let own = std::env::current_exe()?;
    let program = own.with_file_name("sealfleet-local");
    if !program.is_file() {
        return Err(Failure::new(format!(
            "`{}` is missing: run `cargo build --workspace` first",
            program.display()
        )));
    }
    Ok(Command::new(program))
}
