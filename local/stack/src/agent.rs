//! `agent`: Codex in the stack's sandboxes, and a stand-in of its model's API.
//!
//! The stand-in, `sealfleet-local-model`, answers what [`SCRIPT`] says, whatever it is asked. So
//! the first agent runs without anybody's key.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command as StdCommand,
    time::Duration,
};

use sha2::{Digest, Sha256};
use tokio::{
    process::Command,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    Error, Programs, Stack, cache,
    project::{start, start_worker},
    python::{hex, run, tail},
    stack::Processes,
    up::Lock,
};

const LOCK_FILE: &str = include_str!("../../../images/agents/package-lock.json");
const FETCH: &str = include_str!("../../../scripts/lib/npm_packages.py");
const MODEL: &str = "model";
/// How long the emulated queue hands messages to a poll whose caller is gone.
const LAST_POLL: Duration = Duration::from_secs(20);
const READY_LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);

/// What the stand-in answers. A prompt changes nothing of it.
const SCRIPT: &str = r#"{"default": [
  {"answer": {"shell": "python3 --version; echo \"my key is $OPENAI_API_KEY\""}, "usage": {"input": 2100, "output": 40}},
  {"answer": {"say": "I ran `python3 --version` in your sandbox, and printed my key. (No model has read your prompt: these words are a script.)"},
   "usage": {"input": 2300, "cached": 2100, "output": 30}}
]}"#;

/// Puts Codex into the sandboxes, starts the stand-in on this port of 127.0.0.1, and lets the
/// project's worker reach it. Answers the stand-in's address. Once more: the same.
///
/// # Errors
/// When no stack with a project is up, Codex cannot be fetched, or the port is taken.
pub async fn have_agent(
    directory: &Path,
    programs: &Programs,
    model: &Path,
    port: u16,
) -> Result<String, Error> {
    let stack = Stack::load(directory)?;
    let _lock = Lock::take(&stack.directory).await?;
    let codex = codex().await?;
    let inside = stack.directory.join("rootfs/usr/local/bin/codex");
    if !inside.exists() && fs::hard_link(&codex, &inside).is_err() {
        fs::copy(&codex, &inside).map_err(Error::file(&inside))?;
    }
    let address = start_model(&stack, model, port).await?;
    let network_of_host = ["--network", "host", "--memory", "1024"];
    let replaced = Instant::now();
    if start_worker(&stack, programs, &network_of_host).await? {
        eprintln!("waiting until the replaced worker's last poll of its queue is over (20 s)");
        sleep_until(replaced + LAST_POLL).await;
    }
    Ok(address)
}

/// Fetches Codex as the image `agents` pins it, once, and answers its program.
async fn codex() -> Result<PathBuf, Error> {
    let digest = hex(&Sha256::digest([LOCK_FILE, FETCH].concat()));
    let place = cache::path("agents", &digest, "")?;
    let _lock = cache::lock(place.join("lock")).await?;
    let packages = place.join("node_modules");
    if let Some(program) = program(&packages) {
        return Ok(program);
    }
    eprintln!("fetching Codex (once, 130 MB)");
    for (name, text) in [("package-lock.json", LOCK_FILE), ("npm_packages.py", FETCH)] {
        let file = place.join(name);
        fs::write(&file, text).map_err(Error::file(&file))?;
    }
    let mut fetch = Command::new("python3");
    fetch
        .arg(place.join("npm_packages.py"))
        .arg(&place)
        .arg(&packages)
        .arg("@openai/codex");
    run("fetching Codex from the npm registry", &mut fetch).await?;
    program(&packages).ok_or_else(|| Error::Failed {
        what: "fetching Codex",
        output: format!("there is no program in `{}`", packages.display()),
    })
}

/// The native program among the packages of Codex.
fn program(packages: &Path) -> Option<PathBuf> {
    let (machine, triple) = match std::env::consts::ARCH {
        "aarch64" => ("arm64", "aarch64-unknown-linux-musl"),
        _ => ("x64", "x86_64-unknown-linux-musl"),
    };
    let package = packages.join(format!("@openai/codex-linux-{machine}"));
    let program = package.join("vendor").join(triple).join("bin/codex");
    Some(program).filter(|program| program.exists())
}

async fn start_model(stack: &Stack, program: &Path, port: u16) -> Result<String, Error> {
    let running = Processes::load(&stack.directory)?.and_then(|processes| {
        let model = processes.started.get(MODEL).copied();
        model.filter(|process| process.is_alive())
    });
    if let Some(process) = running {
        process.end().await;
    }
    let script = stack.directory.join("model.json");
    fs::write(&script, SCRIPT).map_err(Error::file(&script))?;
    let mut command = StdCommand::new(program);
    command.args(["--port", &port.to_string(), "--script"]);
    let address = format!("http://127.0.0.1:{port}");
    let (mut child, log) = start(stack, MODEL, command.arg(&script))?;
    let deadline = Instant::now() + READY_LIMIT;
    loop {
        let ended = child.try_wait().is_ok_and(|status| status.is_some());
        // Another program may have the port: the stand-in says so itself when it has it.
        let said = fs::read_to_string(&log).unwrap_or_default();
        if !ended && said.lines().any(|line| line == address) {
            return Ok(address);
        }
        if ended || Instant::now() >= deadline {
            let tail = tail(&fs::read_to_string(&log).unwrap_or_default());
            let name = "the stand-in of the model";
            return Err(Error::NotReady { name, log, tail });
        }
        sleep(POLL).await;
    }
}
