//! Processes of a stack. They start detached from the terminal, and are ended only if they are
//! still the ones that the stack started.
//!
//! A pid alone is not enough, because the system may have given it to another process. The pair
//! (pid, start time) from `/proc/PID/stat` (proc(5), field 22) identifies one process for the whole
//! boot. Children that the emulator starts inherit the stack's mark in their environment, which
//! identifies them.

use crate::Error;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// Environment variable of every process of a stack. Its value is the stack's id.
pub(crate) const MARK: &str = "SEALFLEET_LOCAL_STACK";

const GRACE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);

/// One process, distinguishable from a later one with the same pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub pid: u32,
    /// Start time in clock ticks since boot.
    pub start_time: u64,
}

impl Process {
    /// The process with this pid. `None` if there is none, or if only its exit status is left.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may contain spaces and parentheses.
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?;
        let start_time = fields.nth(18)?.parse().ok()?;
        (!matches!(state, "Z" | "X")).then_some(Self { pid, start_time })
    }

    /// Whether exactly this process still runs.
    #[must_use]
    pub fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    fn signal(self, signal: Signal) {
        if let (true, Some(pid)) = (
            self.is_alive(),
            i32::try_from(self.pid).ok().and_then(Pid::from_raw),
        ) {
            // The process may have ended in the meantime, which is the goal.
            let _ = kill_process(pid, signal);
        }
    }

    /// Ends the process: first by SIGTERM, then by SIGKILL.
    pub(crate) async fn end(self) {
        self.signal(Signal::TERM);
        if !self.gone_within(GRACE).await {
            self.signal(Signal::KILL);
            self.gone_within(GRACE).await;
        }
    }

    async fn gone_within(self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.is_alive() {
            if Instant::now() >= deadline {
                return false;
            }
            sleep(POLL).await;
        }
        true
    }
}

/// Starts a server whose output goes to `log`. The terminal's Ctrl-C does not reach it.
pub(crate) fn spawn(command: &mut Command, log: &Path) -> Result<Child, Error> {
    let file = File::create(log).map_err(Error::file(log))?;
    let errors = file.try_clone().map_err(Error::file(log))?;
    command
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(errors)
        .process_group(0)
        .spawn()
        .map_err(|source| Error::Run {
            program: command.get_program().into(),
            source,
        })
}

/// Ends every process with this stack's mark except the caller. Returns how many there were.
pub(crate) async fn end_marked(stack_id: &str) -> usize {
    let mark = format!("{MARK}={stack_id}");
    let mut ended = 0;
    // A process may start another while it is being ended, so repeat until none is left.
    loop {
        let marked: Vec<Process> = all().filter(|process| carries(*process, &mark)).collect();
        if marked.is_empty() {
            return ended;
        }
        for process in marked {
            process.signal(Signal::KILL);
            if !process.gone_within(GRACE).await {
                return ended;
            }
            ended += 1;
        }
    }
}

fn all() -> impl Iterator<Item = Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != std::process::id())
        .filter_map(Process::of)
}

fn carries(process: Process, mark: &str) -> bool {
    let Ok(environment) = fs::read(format!("/proc/{}/environ", process.pid)) else {
        return false;
    };
    environment
        .split(|byte| *byte == 0)
        .any(|variable| variable == mark.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_itself_and_not_its_successor() {
        let own = Process::of(std::process::id());
        assert!(own.is_some_and(Process::is_alive));
        let successor = own.map(|own| Process {
            start_time: own.start_time + 1,
            ..own
        });
        assert!(successor.is_some_and(|process| !process.is_alive()));
    }

    #[tokio::test]
    async fn only_marked_processes_are_ended() -> Result<(), Error> {
        let directory = std::env::temp_dir();
        let log = directory.join(format!("sealfleet-process-test-{}", std::process::id()));
        let id = format!("test-{}", std::process::id());
        let mut marked = spawn(Command::new("sleep").arg("60").env(MARK, &id), &log)?;
        let mut other = spawn(
            Command::new("sleep").arg("60").env(MARK, format!("{id}0")),
            &log,
        )?;
        assert_eq!(end_marked(&id).await, 1);
        assert!(Process::of(marked.id()).is_none());
        assert!(Process::of(other.id()).is_some());
        let _ = (
            marked.wait(),
            other.kill(),
            other.wait(),
            fs::remove_file(&log),
        );
        Ok(())
    }
}
