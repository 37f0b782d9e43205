//! The guard of a `bare` step: a process between the worker and the command. It kills the command's
//! process group when the worker asks for it, and when the worker dies.
//!
//! Orders come through the guard's standard input: `t` sends SIGTERM to the group, the end of input
//! SIGKILL. The kernel closes the input when the worker dies, so no command outlives it. The guard
//! signals the group only until it reaps the first process; before that, no other group can have
//! the same number.

use std::ffi::OsString;
use std::io::Read as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, getpid, kill_process, kill_process_group,
    setrlimit, waitid,
};

use crate::console;

/// The name of the subcommand.
pub const SUBCOMMAND: &str = "bare-guard";

/// Runs `command` and answers its exit code. If a signal ended the command, ends by the same
/// signal. As in shells, answers 127 if there is no such program, 126 if it cannot be run.
#[must_use]
pub fn run(command: &[OsString]) -> i32 {
    let Some((program, arguments)) = command.split_first() else {
        return 126;
    };
    let no_core = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if let Err(error) = setrlimit(Resource::Core, no_core) {
        console::note(&format!(
            "sealfleet-worker: cannot switch off core dumps: {error}"
        ));
        return 126;
    }
    let spawned = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .process_group(0)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            console::note(&format!(
                "sealfleet-worker: cannot run `{}`: {error}",
                program.to_string_lossy()
            ));
            return if error.kind() == std::io::ErrorKind::NotFound {
                127
            } else {
                126
            };
        }
    };
    let pid = Pid::from_child(&child);
    let group = Arc::new(Mutex::new(Some(pid)));
    let orders = Arc::clone(&group);
    std::thread::spawn(move || follow(&orders));

    // Waits without reaping.
    while let Err(rustix::io::Errno::INTR) = waitid(
        WaitId::Pid(pid),
        WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
    ) {}
    signal(&group, Signal::KILL);
    group.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Ok(status) = child.wait() else { return 126 };
    if let Some(number) = status.signal() {
        if let Some(named) = Signal::from_named_raw(number) {
            // Ends here, unless this signal is ignored.
            let _: Result<(), _> = kill_process(getpid(), named);
        }
        return 128 + number;
    }
    status.code().unwrap_or(126)
}

fn follow(group: &Mutex<Option<Pid>>) {
    let mut order = [0_u8];
    while let Ok(1) = std::io::stdin().read(&mut order) {
        if order == *b"t" {
            signal(group, Signal::TERM);
        }
    }
    signal(group, Signal::KILL);
}

fn signal(group: &Mutex<Option<Pid>>, signal: Signal) {
    if let Some(pid) = *group.lock().unwrap_or_else(PoisonError::into_inner) {
        // Fails if the group has ended.
        let _: Result<(), _> = kill_process_group(pid, signal);
    }
}
