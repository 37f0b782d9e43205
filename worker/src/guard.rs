//! The guard of a `bare` step: a process between the worker and the command. It ends the command
//! with all that it started, when the command itself ends, when the worker asks for it, and when
//! the worker dies.
//!
//! Its standard input is a socket. The worker sends `g`: start the command; `t`: SIGTERM to all of
//! it; and closes its side: SIGKILL. The kernel closes that side when the worker dies, so nothing
//! outlives it. The guard answers how the command ended, as JSON, once nothing of it is left.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, WaitOptions, setrlimit, wait};
use sealfleet_channel::CommandEnd;

use crate::console;

/// The name of the subcommand.
pub const SUBCOMMAND: &str = "bare-guard";

/// Order: start the command.
pub(crate) const START: &[u8; 1] = b"g";
/// Order: ask the command to end.
pub(crate) const TERMINATE: &[u8; 1] = b"t";

/// Between two looks at what is left.
const PAUSE: Duration = Duration::from_millis(5);

/// Runs `command`, which reads the file `stdin`, and tells the worker how it ended.
///
/// # Errors
/// What kept the guard from its work; the command does not run, or is killed.
pub fn run(stdin: &Path, command: &[OsString]) -> io::Result<()> {
    let mut worker = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    if !receives(&mut worker, START) {
        return Ok(());
    }
    setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )?;
    sealfleet_processes::adopt()?;
    let end = match start(stdin, command) {
        Ok(pid) => {
            let orders = worker.try_clone()?;
            let asked = Arc::new(AtomicBool::new(false));
            let told = Arc::clone(&asked);
            std::thread::spawn(move || follow(orders, &told));
            let end = until_ended(pid)?;
            // What else there is was asked to end as well. The worker says when its time is over.
            while asked.load(Ordering::Acquire) && !sealfleet_processes::all_ended() {
                std::thread::sleep(PAUSE);
            }
            if !sealfleet_processes::kill_all()? {
                console::note("sealfleet-worker: some processes of the command do not end");
            }
            end
        }
        Err(error) => CommandEnd::cannot_execute(&error),
    };
    worker.write_all(&serde_json::to_vec(&end)?)
}

fn start(stdin: &Path, command: &[OsString]) -> io::Result<Pid> {
    let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let child = Command::new(program)
        .args(arguments)
        .stdin(File::open(stdin)?)
        .process_group(0)
        .spawn()?;
    // `until_ended` reaps it by its number.
    Ok(Pid::from_child(&child))
}

/// Reaps what ends until the command is among it.
fn until_ended(command: Pid) -> io::Result<CommandEnd> {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == command => {
                if let Some(end) = CommandEnd::of(status) {
                    return Ok(end);
                }
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Does what the worker orders, for as long as this process lives.
fn follow(mut orders: impl Read, asked: &AtomicBool) {
    while receives(&mut orders, TERMINATE) {
        asked.store(true, Ordering::Release);
        signal(Signal::TERM);
    }
    loop {
        signal(Signal::KILL);
        std::thread::sleep(PAUSE);
    }
}

fn receives(orders: &mut impl Read, wanted: &[u8; 1]) -> bool {
    let mut order = [0];
    orders.read_exact(&mut order).is_ok() && order == *wanted
}

fn signal(signal: Signal) {
    if let Err(error) = sealfleet_processes::signal(signal) {
        console::note(&format!(
            "sealfleet-worker: cannot signal the command: {error}"
        ));
    }
}
