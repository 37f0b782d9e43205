//! The subcommand that shows what references can name.

use std::fs::File;
use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;

use crate::document::Document;
use crate::{MAX_FILE, SCHEME, read};

/// `sealfleet-init sops …`
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what references can name in an encrypted file, as JSON lines, without a key
    List {
        /// Directory of the encrypted files of a worker
        #[arg(long)]
        directory: PathBuf,
        /// The file, below the directory: `PROJECT/NAME`
        file: String,
    },
}

/// A value that a reference can name.
#[derive(Debug, Serialize)]
struct Listed {
    /// The reference, pinned to the file as it is.
    reference: String,
}

/// Runs one subcommand.
///
/// # Errors
/// What is wrong, for people; it holds names only.
pub fn run(command: Command) -> Result<(), String> {
    let Command::List { directory, file } = command;
    let path = directory.join(&file);
    let opened = File::open(&path).map_err(|error| format!("`{}`: {error}", path.display()))?;
    let text = read(opened, MAX_FILE, &file).map_err(|error| error.to_string())?;
    let document = Document::parse(&text).map_err(|error| format!("`{file}`: {error}"))?;
    for name in document.names() {
        let listed = Listed {
            reference: format!("{SCHEME}://{file}#{name}@{}", document.version()),
        };
        let line = serde_json::to_string(&listed).map_err(|error| error.to_string())?;
        println!("{line}");
    }
    Ok(())
}
