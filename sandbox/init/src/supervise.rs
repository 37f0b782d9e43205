//! Runs the command as a child and stays as the sandbox's reaper.
//!
//! A command that is PID 1 must reap orphans, and does not see SIGTERM unless it handles it. Few
//! commands do either. So this process stays: it reaps, passes signals on to the command's process
//! group, enforces the time limit, and ends with the command's exit code. The kernel then kills
//! whatever is left in the sandbox. It holds no value while it waits: the environment is freed, and
//! thereby wiped, as soon as the command has started.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, wait};
use sealfleet_identity::SecretValue;
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use tokio::time::Instant;

use crate::{NOT_RUN, TIMED_OUT, descriptors};

/// Between SIGTERM and SIGKILL when the time is up.
const GRACE: Duration = Duration::from_secs(5);

/// The search path of a command when nothing else is known.
pub const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// A command to run.
#[derive(Debug)]
pub struct Task {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Its whole environment; of two variables with the same name the later one wins.
    pub environment: Vec<(String, SecretValue)>,
    pub time_limit: Option<Duration>,
}

/// The environment every command starts from.
#[must_use]
pub fn base_environment() -> Vec<(String, SecretValue)> {
    [("PATH", PATH), ("HOME", "/tmp"), ("LANG", "C.UTF-8")]
        .map(|(name, value)| plain(name, value))
        .into()
}

/// An environment variable that is not a secret.
#[must_use]
pub fn plain(name: impl Into<String>, value: impl Into<String>) -> (String, SecretValue) {
    (name.into(), SecretValue::new(value.into().into_bytes()))
}

/// Signals that ask this process to end, from the moment this exists. The kernel drops signals that
/// PID 1 does not handle.
#[derive(Debug)]
pub struct Stops {
    terminate: Signals,
    interrupt: Signals,
    hang_up: Signals,
    children: Signals,
}

impl Stops {
    /// Needs a runtime.
    ///
    /// # Errors
    /// The system's answer.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            children: signal(SignalKind::child())?,
        })
    }

    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::TERM,
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.hang_up.recv() => Signal::HUP,
        }
    }
}

/// Makes this process unreadable for others of its user: no core dump, no ptrace,
/// `/proc/PID/{environ,mem}` closed (prctl(2), `PR_SET_DUMPABLE`). execve resets this for the
/// command.
///
/// # Errors
/// The system's answer.
pub fn hide() -> std::io::Result<()> {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )?;
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Runs `task` to its end and answers the exit code for this process: the command's own, 128 +
/// number if a signal ended it, [`TIMED_OUT`], 127 if there is no such program, 126 if it cannot be
/// run.
pub async fn run(task: Task, stops: &mut Stops) -> i32 {
    let (pid, time_limit) = match start(task) {
        Ok(started) => started,
        Err(code) => return code,
    };
    let never = Duration::from_secs(u64::from(u32::MAX));
    let mut deadline = Instant::now() + time_limit.unwrap_or(never);
    let mut overtime = false;
    loop {
        if let Some(code) = reap(pid) {
            return if overtime { TIMED_OUT } else { code };
        }
        let wanted = tokio::select! {
            _ = stops.children.recv() => continue,
            () = tokio::time::sleep_until(deadline) => {
                let signal = if overtime { Signal::KILL } else { Signal::TERM };
                overtime = true;
                deadline = Instant::now() + GRACE;
                signal
            }
            _ = stops.terminate.recv() => Signal::TERM,
            _ = stops.interrupt.recv() => Signal::INT,
            _ = stops.hang_up.recv() => Signal::HUP,
        };
        if let Err(error) = kill_process_group(pid, wanted) {
            eprintln!("sealfleet-init: cannot signal the command: {error}");
        }
    }
}

/// Starts the command and forgets its environment.
fn start(task: Task) -> Result<(Pid, Option<Duration>), i32> {
    let Some((program, arguments)) = task.command.split_first() else {
        eprintln!("sealfleet-init: the step has no command");
        return Err(NOT_RUN);
    };
    if let Err(error) = descriptors::inherit_none() {
        eprintln!("sealfleet-init: cannot keep open files from the command: {error}");
        return Err(NOT_RUN);
    }
    let mut command = Command::new(program);
    command.args(arguments).env_clear().process_group(0);
    for (name, value) in &task.environment {
        command.env(name, OsStr::from_bytes(value.expose()));
    }
    let child = command.spawn().map_err(|error| {
        eprintln!("sealfleet-init: `{program}` cannot be run: {error}");
        if error.kind() == std::io::ErrorKind::NotFound {
            127
        } else {
            126
        }
    })?;
    // `reap` takes it by its number, like all others. The builder and the task are dropped here,
    // which wipes them.
    Pid::from_raw(child.id().cast_signed())
        .map(|pid| (pid, task.time_limit))
        .ok_or(NOT_RUN)
}

/// Reaps every process that has ended; answers the exit code once `command` is among them.
fn reap(command: Pid) -> Option<i32> {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == command => {
                let signal = status.terminating_signal().map(|number| 128 + number);
                return Some(status.exit_status().or(signal).unwrap_or(NOT_RUN));
            }
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) => return None,
            // No child is left. Nobody else reaps, so this cannot happen; but never wait for ever.
            Err(_) => return Some(NOT_RUN),
        }
    }
}
