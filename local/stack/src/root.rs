//! The files of the stack's sandboxes: Debian's packages, and none of this host's programs.

use crate::{
    Error, cache,
    python::{hex, run},
};
use sha2::{Digest, Sha256};
use std::{fs, path::PathBuf};
use tokio::process::Command;

const RECIPE: &str = include_str!("../../../images/base");
/// What tests and examples run in sandboxes beside Debian's essential packages.
const PACKAGES: [&str; 2] = ["ca-certificates", "python3"];

/// Makes the archive unless it is there, and answers its path.
pub(crate) async fn ensure() -> Result<PathBuf, Error> {
    let archive = cache::path("sandbox", &hex(&Sha256::digest(RECIPE)), ".tar")?;
    if archive.exists() {
        return Ok(archive);
    }
    let _lock = cache::lock(archive.with_extension("tar.lock")).await?;
    if archive.exists() {
        return Ok(archive);
    }
    eprintln!(
        "making the root of sandboxes, `{}` (once, about a minute)",
        archive.display()
    );
    let recipe = archive.with_extension("recipe");
    fs::write(&recipe, RECIPE).map_err(Error::file(&recipe))?;
    let mut make = Command::new("bash");
    make.arg(&recipe).arg(&archive).args(PACKAGES);
    run(
        "making the root of sandboxes (it needs mmdebstrap; `--sandbox-root` names a tar file instead)",
        &mut make,
    )
    .await?;
    fs::remove_file(&recipe).map_err(Error::file(&recipe))?;
    Ok(archive)
}
