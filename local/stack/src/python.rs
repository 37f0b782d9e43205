//! The emulator's Python environment. It is created once for each set of pinned requirements, and
//! all stacks of a user share it.

use crate::{Error, cache};
use sha2::{Digest, Sha256};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};
use tokio::process::Command;

const REQUIREMENTS: &str = include_str!("../../../infra/requirements/local.txt");

/// A virtual environment with the packages of `infra/requirements/local.txt`.
pub(crate) struct Venv(PathBuf);

impl Venv {
    /// Creates the environment unless its stamp says that it holds exactly these requirements.
    pub(crate) async fn ensure(given: Option<&Path>) -> Result<Self, Error> {
        let digest = hex(&Sha256::digest(REQUIREMENTS));
        let venv = Self(match given {
            Some(path) => std::path::absolute(path).map_err(Error::file(path))?,
            None => cache::path("local", &digest, "")?,
        });
        let stamp = venv.0.join("sealfleet-requirements.sha256");
        let is_current = || fs::read_to_string(&stamp).is_ok_and(|made_of| made_of == digest);
        if is_current() {
            return Ok(venv);
        }
        let _lock = cache::lock(venv.0.join("lock")).await?;
        if is_current() {
            return Ok(venv);
        }
        eprintln!(
            "installing the emulator in `{}` (once, about a minute)",
            venv.0.display()
        );
        let requirements = venv.0.join("requirements.txt");
        fs::write(&requirements, REQUIREMENTS).map_err(Error::file(&requirements))?;
        run(
            "creating the Python environment",
            Command::new("python3").args(["-m", "venv"]).arg(&venv.0),
        )
        .await?;
        let mut install = Command::new(venv.program("python"));
        install
            .args(["-m", "pip", "install", "--quiet", "--requirement"])
            .arg(&requirements);
        run("installing the emulator", &mut install).await?;
        fs::write(&stamp, &digest).map_err(Error::file(&stamp))?;
        Ok(venv)
    }

    /// Path of a program in the environment.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.0.join("bin").join(name)
    }
}

/// Runs a program to its end. Shows its output only if it failed. The program ends with the caller.
pub(crate) async fn run(what: &'static str, command: &mut Command) -> Result<(), Error> {
    let program = PathBuf::from(command.as_std().get_program());
    let output = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await;
    let output = output.map_err(|source| Error::Run { program, source })?;
    if output.status.success() {
        return Ok(());
    }
    let printed = [output.stdout, output.stderr].concat();
    Err(Error::Failed {
        what,
        output: tail(&String::from_utf8_lossy(&printed)),
    })
}

/// The last lines of a text.
pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines
        .get(lines.len().saturating_sub(15)..)
        .unwrap_or_default()
        .join("\n")
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
