//! Processes of this machine, as /proc shows them.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::{Outcome, ensure_eq, eventually};

/// A step's command that sleeps until it is ended, and is told by its argument from all others of
/// this machine: what counts live sandboxes, of workers and of Fargate alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sleeper(String);

impl Sleeper {
    /// One that nobody else uses.
    pub fn new() -> Self {
        Self(marker())
    }

    pub fn command(&self) -> Value {
        json!(["sleep", self.0])
    }

    /// A command that runs a shell script first. Its step succeeds when the sleep is ended.
    pub fn after(&self, script: &str) -> Value {
        json!(["sh", "-c", format!("{script}; sleep {}; true", self.0)])
    }

    /// Those that sleep now.
    pub fn asleep(&self) -> Vec<u32> {
        let found = with_argument(&self.0)
            .into_iter()
            .filter(|process| process.name == "sleep");
        found.map(|process| process.pid).collect()
    }

    /// Waits until exactly so many sleep.
    pub async fn until(&self, count: usize, limit: Duration) -> Outcome<Vec<u32>> {
        let reached = eventually("", limit, async || {
            Ok(Some(self.asleep()).filter(|found| found.len() == count))
        })
        .await;
        if reached.is_err() {
            ensure_eq!(
                self.asleep().len(),
                count,
                "live sandboxes after {} s",
                limit.as_secs()
            );
        }
        reached
    }

    /// Ends the sleep of all: a command of [`Sleeper::after`] succeeds then.
    pub fn wake(&self) {
        self.asleep().into_iter().for_each(kill);
    }
}

impl Default for Sleeper {
    fn default() -> Self {
        Self::new()
    }
}

/// A day's seconds that `sleep` takes, and that no other process has as an argument.
pub fn marker() -> String {
    format!("86400.{}", uuid::Uuid::new_v4().as_fields().0)
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub pid: u32,
    pub parent: u32,
    pub name: String,
    /// Its arguments, joined by spaces.
    pub arguments: String,
}

/// All processes that run now.
pub fn all() -> Vec<Found> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| read(entry.file_name().to_str()?.parse().ok()?))
        .collect()
}

fn read(pid: u32) -> Option<Found> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may itself hold spaces and parentheses (proc(5)).
    let (start, rest) = stat.rsplit_once(')')?;
    let (_, name) = start.split_once('(')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let arguments = String::from_utf8_lossy(&arguments)
        .replace('\0', " ")
        .trim_end()
        .to_owned();
    (!matches!(state, "Z" | "X")).then(|| Found {
        pid,
        parent,
        name: name.to_owned(),
        arguments,
    })
}

/// Processes whose arguments hold a text. Sandboxes are among them: the host sees into their pid
/// namespaces.
pub fn with_argument(text: &str) -> Vec<Found> {
    all()
        .into_iter()
        .filter(|process| process.arguments.contains(text))
        .collect()
}

/// These processes, and those above them up to their sandbox's init.
pub fn up_to_init(pids: &[u32]) -> Vec<u32> {
    let all = all();
    let find = |pid: u32| all.iter().find(|process| process.pid == pid);
    let mut family = Vec::new();
    for pid in pids {
        let mut next = find(*pid);
        while let Some(process) = next {
            family.push(process.pid);
            next = match process.name.as_str() {
                "sealfleet-init" => None,
                _ => find(process.parent),
            };
        }
    }
    family
}

/// All descendants of a process.
pub fn below(pid: u32) -> Vec<Found> {
    let all = all();
    let mut family = vec![pid];
    let mut found = Vec::new();
    loop {
        let next = all
            .iter()
            .find(|process| family.contains(&process.parent) && !family.contains(&process.pid));
        let Some(next) = next else { return found };
        family.push(next.pid);
        found.push(next.clone());
    }
}

/// Ends a process at once, as a machine's loss would. It must be one that the tests started,
/// directly or not.
pub fn kill(pid: u32) {
    if let Some(pid) = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
    {
        // It may be gone already: that is what was wanted.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}
