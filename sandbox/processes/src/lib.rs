//! A command and everything that it started, as one unit to signal and to kill.
//!
//! A process group does not hold a command: `setsid` leaves it. Parentage does: the kernel gives an
//! orphan to its nearest ancestor that is a subreaper (prctl(2), `PR_SET_CHILD_SUBREAPER`), so
//! every process that the command started, directly or not, stays a descendant of the process that
//! [adopts](adopt). It follows that nothing is left once that process has no child.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, pidfd_open, pidfd_send_signal, wait,
};

/// How long a killed process may take to end. Only the kernel can hold one up that long.
const LAST_MOMENT: Duration = Duration::from_secs(5);

/// From now on, orphans among the descendants of this process become its children.
///
/// # Errors
/// The system's answer.
pub fn adopt() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(getpid()))?)
}

/// Sends `signal` to every descendant of this process.
///
/// # Errors
/// The table of processes cannot be read.
pub fn signal(signal: Signal) -> io::Result<()> {
    for process in descendants(getpid())? {
        process.send(signal);
    }
    Ok(())
}

/// Kills every descendant of this process, and reaps it. Returns whether none is left.
///
/// # Errors
/// The table of processes cannot be read.
pub fn kill_all() -> io::Result<bool> {
    let began = Instant::now();
    while !all_ended() {
        signal(Signal::KILL)?;
        if began.elapsed() > LAST_MOMENT {
            return Ok(false);
        }
        // No call waits for any child with a time-out.
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(true)
}

/// Reaps all children that have ended, and answers whether none is left: then no descendant is,
/// either.
#[must_use]
pub fn all_ended() -> bool {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return false,
            Err(_) => return true,
        }
    }
}

/// A process, told apart from a later one with the same number by its start.
#[derive(Clone, Copy, Debug)]
struct Process {
    pid: Pid,
    parent: i32,
    /// Clock ticks since boot (proc_pid_stat(5), field 22).
    start: u64,
}

impl Process {
    /// `None`: it has ended.
    fn read(pid: Pid) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        // The name may hold blanks and parentheses; the fields after it do not.
        let (_, fields) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        Some(Self {
            pid,
            parent: fields.get(1)?.parse().ok()?,
            start: fields.get(19)?.parse().ok()?,
        })
    }

    fn send(self, signal: Signal) {
        // Fails if it has ended by itself.
        let Ok(handle) = pidfd_open(self.pid, PidfdFlags::empty()) else {
            return;
        };
        // The number may have gone to another process before it was opened, not after.
        if Self::read(self.pid).is_some_and(|now| now.start == self.start) {
            let _: Result<(), _> = pidfd_send_signal(&handle, signal);
        }
    }
}

fn descendants(root: Pid) -> io::Result<Vec<Process>> {
    let mut children: BTreeMap<i32, Vec<Process>> = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.parse().ok());
        if let Some(process) = number.and_then(Pid::from_raw).and_then(Process::read) {
            children.entry(process.parent).or_default().push(process);
        }
    }
    let mut waiting = vec![root.as_raw_nonzero().get()];
    let mut found = Vec::new();
    while let Some(parent) = waiting.pop() {
        let next = children.remove(&parent).unwrap_or_default();
        waiting.extend(next.iter().map(|child| child.pid.as_raw_nonzero().get()));
        found.extend(next);
    }
    Ok(found)
}
