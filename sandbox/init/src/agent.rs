//! A step's CLI agent: configured before its start, read while it runs, and stopped when it passes
//! its limits.
//!
//! Init does this, not the worker: the stream is somebody else's data, and what is read of it
//! should have passed the same redaction as the output; and the worker may lose its sandbox's
//! output, but never more than a few seconds of an agent that spends money.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::OFlags;
use sealfleet_agent::{Ended, Fault, Logs, Stream, adapter};
use sealfleet_channel::{AgentEnd, AgentFault};
use sealfleet_domain::agent::Agent;
use sealfleet_domain::inputs::RESERVED;
use sealfleet_domain::output::RESULT;
use sealfleet_workspace::standard_input;
use serde_json::json;

use crate::supervise::OutputTap;

/// How the path of a step's file may begin.
const WORKSPACE_PREFIX: &str = "/workspace/";

/// An agent that can start.
pub struct Prepared {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Variables that it gets unless the step sets them.
    pub environment: &'static [(&'static str, &'static str)],
    /// What it is to do: its standard input.
    pub prompt: File,
    pub watched: Arc<Mutex<Watched>>,
}

/// An agent that runs.
pub struct Watched {
    stream: Option<Stream>,
    logs: Logs,
}

/// Writes the agent's configuration into `home`. `workspace` is where the step's files stand, and
/// `variable` answers its plain variables.
///
/// # Errors
/// What stands in the way, and what to do.
pub fn prepare(
    agent: &Agent,
    home: &str,
    workspace: &Path,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Prepared, String> {
    agent
        .check()
        .map_err(|(field, message)| format!("`agent.{field}`: {message}"))?;
    let call = adapter(agent.cli).call(agent, variable);
    for (path, text) in &call.files {
        write_new(&Path::new(home).join(path), text)
            .map_err(|error| format!("the agent's `{path}` cannot be written: {error}"))?;
    }
    Ok(Prepared {
        command: call.command,
        environment: call.environment,
        prompt: prompt(agent, workspace)?,
        watched: Arc::new(Mutex::new(Watched {
            stream: Some(Stream::new(agent)),
            logs: Logs::new(agent.cli, Path::new(home)),
        })),
    })
}

/// What runs: the agent, or else the command with its standard input. Answers the program with its
/// arguments, its standard input, and the agent to read along.
pub fn started(
    agent: Option<Prepared>,
    command: Vec<String>,
    stdin: Option<OwnedFd>,
) -> (Vec<String>, Option<OwnedFd>, Option<Arc<Mutex<Watched>>>) {
    match agent {
        Some(agent) => (
            agent.command,
            Some(agent.prompt.into()),
            Some(agent.watched),
        ),
        None => (command, stdin, None),
    }
}

/// The prompt as a file at its beginning. As a file, not a pipe: nobody has to write while the
/// agent reads, whatever its length.
fn prompt(agent: &Agent, workspace: &Path) -> Result<File, String> {
    if let Some(text) = &agent.prompt {
        return standard_input(&mut text.as_bytes())
            .map(File::from)
            .map_err(|error| format!("the prompt cannot be passed on: {error}"));
    }
    let path = agent.prompt_file.as_deref().unwrap_or_default();
    let path = workspace.join(path.strip_prefix(WORKSPACE_PREFIX).unwrap_or(path));
    let file = File::open(&path).and_then(|mut file| {
        // Not a directory, and not a pipe that never ends.
        if !file.metadata()?.is_file() {
            return Err(std::io::ErrorKind::InvalidInput.into());
        }
        let empty = file.read(&mut [0])? == 0;
        file.rewind()?;
        if empty {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(file)
    });
    file.map_err(|error| {
        format!(
            "the prompt's file `{}` cannot be read: {error}; add it to the step's files",
            path.display()
        )
    })
}

impl OutputTap for Watched {
    fn output(&mut self, bytes: &[u8]) {
        if let Some(stream) = &mut self.stream {
            stream.output(bytes);
        }
    }

    fn enough(&mut self) -> bool {
        let Some(stream) = &mut self.stream else {
            return false;
        };
        self.logs.look(stream);
        stream.over().is_some()
    }
}

/// What the agent has said by its end. Its final message becomes the step's result, unless it has
/// written one.
pub fn end(watched: &Mutex<Watched>, workspace: &Path) -> AgentEnd {
    let mut watched = watched.lock().unwrap_or_else(PoisonError::into_inner);
    // What it wrote last.
    watched.enough();
    let Some(ended) = watched.stream.take().map(Stream::end) else {
        return AgentEnd::default();
    };
    if let Err(error) = keep_result(&ended, workspace) {
        eprintln!("sealfleet-init: the agent's message cannot be kept as the result: {error}");
    }
    let fault = ended.fault.and_then(|fault| match fault {
        Fault::RateLimit => Some(AgentFault::RateLimited),
        Fault::Auth => Some(AgentFault::Auth),
        Fault::Context => Some(AgentFault::Context),
        Fault::Network => Some(AgentFault::Network),
        Fault::Turns => Some(AgentFault::OverTurns),
        Fault::Budget => Some(AgentFault::OverBudget),
        Fault::Other => None,
    });
    AgentEnd {
        report: ended.report,
        fault,
    }
}

fn keep_result(ended: &Ended, workspace: &Path) -> std::io::Result<()> {
    let Some(message) = &ended.message else {
        return Ok(());
    };
    let session = &ended.report.session_id;
    let result = if ended.cut {
        json!({ "message": message, "session_id": session, "message_is_cut": true })
    } else {
        json!({ "message": message, "session_id": session })
    };
    match write_new(&workspace.join(RESERVED).join(RESULT), &result.to_string()) {
        // Its own.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        written => written,
    }
}

/// Writes a file that is not there yet, and the directories above it.
fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let flags = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(flags)
        .open(path)?
        .write_all(text.as_bytes())
}
