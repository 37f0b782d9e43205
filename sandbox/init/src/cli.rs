//! The command line.

use std::io::{IsTerminal as _, Read as _};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::exec::ExecArguments;
use crate::store::{self, MAX_VALUE, StoreError};
use crate::{NOT_RUN, SecretValue, exec, fargate, supervise};

/// The first process of every Sealfleet sandbox, and the tool that fills the encrypted store.
#[derive(Debug, Parser)]
#[command(name = "sealfleet-init", version)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a step of a pull worker (started by sealfleet-worker inside a sandbox)
    Exec(ExecArguments),
    /// Run a step of a Fargate pool (the entry point of its container)
    Fargate,
    /// Keep secrets in an encrypted file beside the worker
    #[command(subcommand)]
    Builtin(Builtin),
}

#[derive(Debug, Subcommand)]
enum Builtin {
    /// Make an empty store, and a key file when there is none yet
    Create {
        #[command(flatten)]
        files: Files,
        /// The project whose secrets it will hold
        #[arg(long)]
        project: String,
    },
    /// Add a version of a secret; its value is read from standard input
    Put {
        #[command(flatten)]
        files: Files,
        /// Keep a newline at the end of the value, which is removed otherwise
        #[arg(long)]
        exact: bool,
        /// The secret's name, which is what follows `builtin://`
        name: String,
    },
    /// Show all secrets and versions as JSON lines, without values
    List {
        #[command(flatten)]
        files: Files,
    },
    /// Open every version and show those that open, as `list` does; fails if one does not
    Verify {
        #[command(flatten)]
        files: Files,
    },
    /// Make a key file
    CreateKey {
        /// Where; there may be none yet
        #[arg(long)]
        key_file: PathBuf,
    },
    /// Put the store under another key and show what it holds; names, versions and their ids stay
    RotateKey {
        #[command(flatten)]
        files: Files,
        /// The file whose first key, or passphrase, the store is to have
        #[arg(long)]
        new_key_file: PathBuf,
    },
}

#[derive(Debug, Args)]
struct Files {
    /// The store
    #[arg(long)]
    store: PathBuf,
    /// The file with its key, or several keys of which one opens the store, or a passphrase
    #[arg(long)]
    key_file: PathBuf,
}

/// Runs the program.
#[must_use]
pub fn run(arguments: Arguments) -> ExitCode {
    let code = match arguments.command {
        Command::Builtin(builtin) => match self::builtin(builtin) {
            Ok(()) => 0,
            Err(message) => {
                eprintln!("sealfleet-init: {message}");
                1
            }
        },
        Command::Exec(arguments) => first_process(exec::run(arguments)),
        Command::Fargate => first_process(fargate::run(std::env::vars_os().collect())),
    };
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

fn first_process(work: impl Future<Output = i32>) -> i32 {
    let run = || -> std::io::Result<i32> {
        supervise::hide()?;
        Ok(tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(work))
    };
    run().unwrap_or_else(|error| {
        eprintln!("sealfleet-init: it cannot start: {error}");
        NOT_RUN
    })
}

fn builtin(command: Builtin) -> Result<(), String> {
    let text = |error: StoreError| error.to_string();
    let show = |listed| {
        serde_json::to_string(&listed)
            .map(|line| println!("{line}"))
            .map_err(|error| error.to_string())
    };
    match command {
        Builtin::Create { files, project } => {
            store::create(&files.store, &files.key_file, &project).map_err(text)
        }
        Builtin::Put { files, exact, name } => {
            let value = value_from_stdin(exact)?;
            show(store::put(&files.store, &files.key_file, &name, &value).map_err(text)?)
        }
        Builtin::List { files } => store::open(&files.store, &files.key_file)
            .map_err(text)?
            .list()
            .into_iter()
            .try_for_each(show),
        Builtin::Verify { files } => {
            let opened = store::open(&files.store, &files.key_file).map_err(text)?;
            let mut damaged = Vec::new();
            for version in opened.verify() {
                match version {
                    Ok(listed) => show(listed)?,
                    Err(error) => damaged.push(error.to_string()),
                }
            }
            if damaged.is_empty() {
                Ok(())
            } else {
                Err(damaged.join("\n"))
            }
        }
        Builtin::CreateKey { key_file } => store::create_key(&key_file).map_err(text),
        Builtin::RotateKey {
            files,
            new_key_file,
        } => {
            let rotated =
                store::rotate_key(&files.store, &files.key_file, &new_key_file).map_err(text)?;
            rotated.into_iter().try_for_each(show)
        }
    }
}

fn value_from_stdin(exact: bool) -> Result<SecretValue, String> {
    if std::io::stdin().is_terminal() {
        return Err("the value is read from standard input: pipe it in, as in `printf %s \"$VALUE\" | sealfleet-init builtin put …`".into());
    }
    // Not through the standard library's buffer, which is never freed.
    let stdin = std::io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(|error| error.to_string())?;
    let mut value = Vec::with_capacity(MAX_VALUE + 2);
    let limit = u64::try_from(MAX_VALUE + 2).unwrap_or(u64::MAX);
    std::fs::File::from(stdin)
        .take(limit)
        .read_to_end(&mut value)
        .map_err(|error| format!("standard input: {error}"))?;
    if !exact && value.last() == Some(&b'\n') {
        value.pop();
    }
    Ok(SecretValue::new(value))
}
