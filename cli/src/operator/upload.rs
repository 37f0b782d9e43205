//! `upload`: content for steps to work with, and for `run exec` what is too large for a request.

use std::fs::File;
use std::io::{Seek as _, copy};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use clap::Args;
use rustix::fs::{MemfdFlags, memfd_create};
use sealfleet_client::{Client, TransferError};
use sealfleet_domain::{UploadId, limits};
use serde_json::json;

use super::connection::Connection;
use super::failure::Failure;
use super::output::{answer, note};

/// How often progress is told.
const EVERY: Duration = Duration::from_secs(1);
const MIB: u64 = 1024 * 1024;

#[derive(Args)]
pub struct Upload {
    /// File to upload, 100 MiB at most; `-` reads standard input; never put a secret in it
    file: PathBuf,
}

pub(super) async fn run(upload: Upload, connection: &Connection) -> Result<(), Failure> {
    if upload.file.as_os_str() == "-" && connection.takes_standard_input() {
        return Err(Failure::Usage(
            "standard input cannot hold both the token and the content".to_owned(),
        ));
    }
    let client = connection.client()?;
    let file = open(&upload.file)?;
    let upload_id = send(&client, file, &upload.file.display().to_string()).await?;
    let shown = json!({ "upload_id": upload_id });
    answer(connection.output, &shown, || format!("{upload_id}\n"))
}

/// Opens a file, or what standard input and pipes hold, for reading more than once.
pub(super) fn open(path: &Path) -> Result<File, Failure> {
    let unreadable =
        |error: std::io::Error| Failure::Usage(format!("`{}`: {error}", path.display()));
    if path.as_os_str() == "-" {
        return kept(std::io::stdin().lock()).map_err(unreadable);
    }
    let file = File::open(path).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.is_file() {
        return Ok(file);
    }
    kept(file).map_err(unreadable)
}

/// A file in memory with what `from` holds, a little more than an upload at most.
fn kept(from: impl std::io::Read) -> std::io::Result<File> {
    let mut file = File::from(memfd_create(c"input", MemfdFlags::CLOEXEC)?);
    copy(&mut from.take(limits::UPLOAD_BYTES + 1), &mut file)?;
    file.rewind()?;
    Ok(file)
}

/// Uploads a file. Tells how far it is when it takes longer.
pub(super) async fn send(client: &Client, file: File, name: &str) -> Result<UploadId, Failure> {
    let about = |error: &dyn std::fmt::Display| Failure::Other(format!("`{name}`: {error}"));
    let bytes = file.metadata().map_err(|error| about(&error))?.len();
    if !(1..=limits::UPLOAD_BYTES).contains(&bytes) {
        let most = limits::UPLOAD_BYTES / MIB;
        let text = format!("`{name}` has {bytes} bytes; an upload has 1 byte to {most} MiB");
        return Err(Failure::Usage(text));
    }
    let (last, label) = (Mutex::new(Instant::now()), name.to_owned());
    let told = move |gone: u64| {
        let Ok(mut last) = last.lock() else { return };
        if last.elapsed() >= EVERY {
            *last = Instant::now();
            note(&format!(
                "{label}  {} of {} MiB uploaded\n",
                gone / MIB,
                bytes.div_ceil(MIB)
            ));
        }
    };
    client
        .upload(file, told)
        .await
        .map_err(|error| match error {
            TransferError::Api(error) => Failure::from(error).about(format!("`{name}`")),
            error => about(&error),
        })
}
