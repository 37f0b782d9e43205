//! The subcommands that fill a store.

use std::io::{IsTerminal as _, Read as _};
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use sealfleet_identity::SecretValue;

use crate::store::{self, Listed, MAX_VALUE, StoreError};

/// `sealfleet-init builtin …`
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make an empty store, and a key file if there is none
    Create {
        #[command(flatten)]
        files: Files,
        /// Project whose secrets the store will hold
        #[arg(long)]
        project: String,
    },
    /// Add a version of a secret; reads its value from standard input
    Put {
        #[command(flatten)]
        files: Files,
        /// Remove one newline from the end of the value, as `echo` writes it; by default the value
        /// is stored byte for byte
        #[arg(long)]
        strip_newline: bool,
        /// Say nothing about what is left to do
        #[arg(long, hide = true)]
        quiet: bool,
        /// Name of the secret: the part of its reference after `builtin://`
        name: String,
    },
    /// Show all secrets and versions as JSON lines, without values
    List {
        #[command(flatten)]
        files: Files,
    },
    /// Open every version and show those that open, as `list` does; fails if one does not open
    Verify {
        #[command(flatten)]
        files: Files,
    },
    /// Make a key file
    CreateKey {
        /// Path of the new key file
        #[arg(long)]
        key_file: PathBuf,
    },
    /// Put the store under another key and show what it holds; names and version ids stay the same
    RotateKey {
        #[command(flatten)]
        files: Files,
        /// File with the new key or passphrase; of several keys the first is used
        #[arg(long)]
        new_key_file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub struct Files {
    /// Path of the store
    #[arg(long)]
    store: PathBuf,
    /// File with the store's key, with several keys, one of which opens it, or with a passphrase
    #[arg(long)]
    key_file: PathBuf,
}

/// Runs one subcommand.
///
/// # Errors
/// What is wrong, for people; it holds names only.
pub fn run(command: Command) -> Result<(), String> {
    let text = |error: StoreError| error.to_string();
    match command {
        Command::Create { files, project } => {
            store::create(&files.store, &files.key_file, &project).map_err(text)
        }
        Command::Put {
            files,
            strip_newline,
            quiet,
            name,
        } => {
            let value = value_from_stdin(strip_newline)?;
            let added = store::put(&files.store, &files.key_file, &name, &value).map_err(text)?;
            show(&added)?;
            if !quiet {
                let Listed { uri, version } = added;
                eprintln!(
                    "sealfleet-init: no step sees this version yet: set a key of a profile to `{uri}@{version}` \
                     (`sealfleet profile apply`); `sealfleet secret put --profile --key` does both at once"
                );
            }
            Ok(())
        }
        Command::List { files } => store::open(&files.store, &files.key_file)
            .map_err(text)?
            .list()
            .iter()
            .try_for_each(show),
        Command::Verify { files } => {
            let opened = store::open(&files.store, &files.key_file).map_err(text)?;
            let mut damaged = Vec::new();
            for version in opened.verify() {
                match version {
                    Ok(listed) => show(&listed)?,
                    Err(error) => damaged.push(error.to_string()),
                }
            }
            if damaged.is_empty() {
                Ok(())
            } else {
                Err(damaged.join("\n"))
            }
        }
        Command::CreateKey { key_file } => store::create_key(&key_file).map_err(text),
        Command::RotateKey {
            files,
            new_key_file,
        } => store::rotate_key(&files.store, &files.key_file, &new_key_file)
            .map_err(text)?
            .iter()
            .try_for_each(show),
    }
}

fn show(listed: &Listed) -> Result<(), String> {
    let line = serde_json::to_string(listed).map_err(|error| error.to_string())?;
    println!("{line}");
    Ok(())
}

fn value_from_stdin(strip_newline: bool) -> Result<SecretValue, String> {
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
    if strip_newline && value.last() == Some(&b'\n') {
        value.pop();
    }
    Ok(SecretValue::new(value))
}
