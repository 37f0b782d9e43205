//! Runs the command as a child and stays as the sandbox's reaper.
//!
//! A command that is PID 1 must reap orphans, and does not see SIGTERM unless it handles it. Few
//! commands do either. So this process stays: it reaps, passes signals on to everything that the
//! command started, enforces the time limit, and kills whatever is left when the command has ended.
//! It does not rely on being the sandbox's first process: a task definition may put another one
//! before it. The environment is freed, and thereby wiped, as soon as the command has started. What
//! it needs to redact the command's [output](crate::output) stays until that has ended.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, wait};
use sealfleet_channel::CommandEnd;
use sealfleet_domain::output::Stream;
use sealfleet_domain::redaction::Redaction;
use sealfleet_identity::SecretValue;
use sealfleet_mediation::{Mediation, Mediator, Refusals, StartError};
use sealfleet_redaction::Redactor;
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use tokio::time::Instant;

use crate::output::{Output, Printed};
use crate::terminal::{self, Terminal};
use crate::{NOT_RUN, TIMED_OUT, descriptors};

/// Between SIGTERM and SIGKILL when the time is up.
const GRACE: Duration = Duration::from_secs(5);

/// How long after SIGTERM other processes of a command that has ended may go on. A little less than
/// the worker's grace, so that init can still tell how the command ended.
const LINGER: Duration = Duration::from_secs(4);

/// How often a tap is asked whether the command has to stop.
const LOOK: Duration = Duration::from_millis(200);

/// The search path of a command when nothing else is known.
pub const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Reads along what a command writes to its standard output.
pub trait OutputTap: Send {
    /// Takes the next bytes.
    fn output(&mut self, bytes: &[u8]);
    /// Whether the command has to stop. Asked several times a second.
    fn enough(&mut self) -> bool;
}

/// A tap, for the thread that copies the output and for the one that asks.
pub type Tap = Arc<Mutex<dyn OutputTap>>;

/// Takes what a command writes, from the threads that copy it. Must not wait.
pub type Copied = Arc<dyn Fn(Stream, &[u8]) + Send + Sync>;

/// A command to run.
pub struct Task {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Its whole environment; of two variables with the same name the later one wins.
    pub environment: Vec<(String, SecretValue)>,
    pub time_limit: Option<Duration>,
    /// Its standard input. Absent: this process's own, which is empty.
    pub stdin: Option<OwnedFd>,
    /// Whether it has a terminal. Then it has no other standard input.
    pub tty: bool,
    /// Who reads its standard output along, redacted.
    pub tap: Option<Tap>,
    /// Who gets a copy of all its output, redacted.
    pub copy: Option<Copied>,
    /// Finds the secrets of the environment in what the command prints.
    pub redactor: Redactor,
    /// Makes the command's sockets, where nothing else holds it to what it may reach.
    pub mediation: Option<Mediation>,
}

/// What came of a task.
pub struct Ran {
    pub end: End,
    /// What was taken out of its output.
    pub redactions: Vec<Redaction>,
    /// What its mediation has refused.
    pub refusals: Refusals,
}

/// The environment every command starts from; `tty` says whether it has a terminal. Python writes
/// what it prints at once, so that the last words of a command that is killed are not lost in its
/// buffer.
#[must_use]
pub fn base_environment(home: &str, tty: bool) -> Vec<(String, SecretValue)> {
    let always = [
        ("PATH", PATH),
        ("HOME", home),
        ("LANG", "C.UTF-8"),
        ("PYTHONUNBUFFERED", "1"),
    ];
    let of_terminal = tty.then_some(("TERM", terminal::KIND));
    let all = always.into_iter().chain(of_terminal);
    all.map(|(name, value)| plain(name, value)).collect()
}

/// An environment variable that is not a secret.
#[must_use]
pub fn plain(name: impl Into<String>, value: impl Into<String>) -> (String, SecretValue) {
    (name.into(), SecretValue::new(value.into().into_bytes()))
}

/// What ends a command from outside, from the moment this exists: signals to this process, of which
/// the kernel drops those that PID 1 does not handle, and the loss of whoever wants the command.
pub struct Stops {
    terminate: Signals,
    interrupt: Signals,
    hang_up: Signals,
    children: Signals,
    lost: Pin<Box<dyn Future<Output = ()> + Send>>,
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
            lost: Box::pin(std::future::pending()),
        })
    }

    /// Kills the command, without a grace, once `lost` has come about.
    pub fn kill_after(&mut self, lost: impl Future<Output = ()> + Send + 'static) {
        self.lost = Box::pin(lost);
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

/// No program that this process or the command starts gains privileges, by set-user-ID or by
/// capabilities of its file (prctl(2), `PR_SET_NO_NEW_PRIVS`). Task definitions of Fargate cannot
/// say so. Holds for this thread and what it starts.
///
/// # Errors
/// The system's answer.
#[expect(
    unsafe_code,
    reason = "rustix has this call only with a feature that nothing else needs"
)]
pub fn gain_nothing() -> std::io::Result<()> {
    // SAFETY: the call takes no pointer.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error())
    }
}

/// How a task ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// As its command did.
    Command(CommandEnd),
    /// Its time was up.
    TimedOut,
    /// Something that stands before the command failed; standard error says what.
    NotRun,
}

impl End {
    /// The exit code for this process: that of a shell, [`TIMED_OUT`] or [`NOT_RUN`].
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Command(end) => end.shell_code(),
            Self::TimedOut => TIMED_OUT,
            Self::NotRun => NOT_RUN,
        }
    }
}

/// Runs `task` to its end. No process of it is left when this returns, and all of its output is
/// written.
pub async fn run(mut task: Task, stops: &mut Stops) -> Ran {
    let redactor = std::mem::take(&mut task.redactor);
    let say = |message: String| {
        eprintln!("sealfleet-init: {}", redactor.text(&message).content);
    };
    let tap = task.tap.clone();
    let started = match start(task, &redactor, &say) {
        Ok(started) => started,
        Err(end) => {
            return Ran {
                end,
                redactions: Vec::new(),
                refusals: Refusals::default(),
            };
        }
    };
    let (end, asked) = follow(started.pid, started.time_limit, tap.as_ref(), stops).await;
    if let Some(asked) = asked {
        // What else there is was asked to end as well. No call waits for any child with a time-out.
        while asked.elapsed() < LINGER && !sealfleet_processes::all_ended() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    match sealfleet_processes::kill_all() {
        Ok(true) => {}
        Ok(false) => say("some processes of the command do not end".to_owned()),
        Err(error) => say(format!("cannot see what the command left: {error}")),
    }
    let redactions = started.output.end(say).await;
    let mediator = started.mediator;
    Ran {
        end,
        redactions,
        refusals: mediator.map_or_else(Refusals::default, |mediator| mediator.refusals()),
    }
}

/// A command that runs.
struct Started {
    pid: Pid,
    time_limit: Option<Duration>,
    output: Output,
    mediator: Option<Mediator>,
}

/// Waits for the end of the command. Answers also since when it was asked to end, if it was.
async fn follow(
    pid: Pid,
    time_limit: Option<Duration>,
    tap: Option<&Tap>,
    stops: &mut Stops,
) -> (End, Option<Instant>) {
    let never = Duration::from_secs(u64::from(u32::MAX));
    let mut deadline = Instant::now() + time_limit.unwrap_or(never);
    let (mut overtime, mut enough) = (false, false);
    let mut looks = tokio::time::interval(LOOK);
    let mut asked = None;
    loop {
        if let Some(end) = reap(pid) {
            return (if overtime { End::TimedOut } else { end }, asked);
        }
        let wanted = tokio::select! {
            _ = stops.children.recv() => continue,
            () = tokio::time::sleep_until(deadline) => {
                let signal = if overtime || enough { Signal::KILL } else { Signal::TERM };
                overtime |= !enough;
                deadline = Instant::now() + GRACE;
                signal
            }
            _ = looks.tick(), if tap.is_some() && !overtime && !enough => {
                enough = tap.is_some_and(has_enough);
                if !enough {
                    continue;
                }
                deadline = Instant::now() + GRACE;
                Signal::TERM
            }
            _ = stops.terminate.recv() => Signal::TERM,
            _ = stops.interrupt.recv() => Signal::INT,
            _ = stops.hang_up.recv() => Signal::HUP,
            () = &mut stops.lost => {
                stops.lost = Box::pin(std::future::pending());
                Signal::KILL
            }
        };
        asked = asked.or_else(|| Some(Instant::now()));
        if let Err(error) = sealfleet_processes::signal(wanted) {
            eprintln!("sealfleet-init: cannot signal the command: {error}");
        }
    }
}

fn has_enough(tap: &Tap) -> bool {
    tap.lock().unwrap_or_else(PoisonError::into_inner).enough()
}

/// Starts the command and forgets its environment.
fn start(task: Task, redactor: &Redactor, say: &impl Fn(String)) -> Result<Started, End> {
    let Some((program, arguments)) = task.command.split_first() else {
        say("the step has no command".to_owned());
        return Err(End::NotRun);
    };
    let prepared = descriptors::inherit_none().and_then(|()| sealfleet_processes::adopt());
    if let Err(error) = prepared {
        say(format!("cannot keep the command apart: {error}"));
        return Err(End::NotRun);
    }
    let mut command = Command::new(program);
    command.args(arguments).env_clear();
    let terminal = if task.tty {
        let given = Terminal::open().and_then(|terminal| {
            terminal.give(&mut command)?;
            Ok(terminal)
        });
        Some(given.map_err(|error| {
            say(format!("the command cannot have a terminal: {error}"));
            End::NotRun
        })?)
    } else {
        command.process_group(0);
        if let Some(stdin) = task.stdin {
            command.stdin(stdin);
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        None
    };
    for (name, value) in &task.environment {
        command.env(name, OsStr::from_bytes(value.expose()));
    }
    let spawned = match task.mediation {
        Some(mediation) => mediation
            .start(&mut command)
            .map(|(child, mediator)| (child, Some(mediator))),
        None => command
            .spawn()
            .map(|child| (child, None))
            .map_err(StartError::Command),
    };
    let (mut child, mediator) = spawned.map_err(|error| match error {
        StartError::Command(error) => {
            say(format!("`{program}` cannot be run: {error}"));
            let mut end = CommandEnd::cannot_execute(&error);
            if let CommandEnd::CannotExecute { detail, .. } = &mut end {
                *detail = redactor.text(detail).content;
            }
            End::Command(end)
        }
        StartError::Mediation(_) => {
            say(error.to_string());
            End::NotRun
        }
    })?;
    let printed = Printed::by(&mut child, terminal);
    let output = Output::of(printed, redactor, task.tap, task.copy).map_err(|error| {
        say(format!("the command's output cannot be read: {error}"));
        give_up(&mut child)
    })?;
    // `reap` takes it by its number, like all others. The builder and the task are dropped here,
    // which wipes them.
    let pid = Pid::from_raw(child.id().cast_signed()).ok_or(End::NotRun)?;
    Ok(Started {
        pid,
        time_limit: task.time_limit,
        output,
        mediator,
    })
}

/// Kills a command whose output nobody would redact.
fn give_up(child: &mut Child) -> End {
    // Fails only if it has ended.
    drop(child.kill());
    drop(child.wait());
    End::NotRun
}

/// Reaps every process that has ended; answers how `command` did once it is among them.
fn reap(command: Pid) -> Option<End> {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == command => {
                return Some(CommandEnd::of(status).map_or(End::NotRun, End::Command));
            }
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) => return None,
            // No child is left. Nobody else reaps, so this cannot happen; but never wait for ever.
            Err(_) => return Some(End::NotRun),
        }
    }
}
