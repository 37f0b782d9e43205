//! What stacks share: it is made once, and lies below `~/.cache/sealfleet`.

use crate::Error;
use rustix::fs::{FlockOperation, flock};
use std::{
    fs::{self, File},
    path::PathBuf,
};

/// The path for what is made of a recipe with this digest.
pub(crate) fn path(kind: &str, recipe_digest: &str, extension: &str) -> Result<PathBuf, Error> {
    let home = std::env::home_dir().ok_or(Error::NoHome)?;
    let short = recipe_digest.get(..12).unwrap_or(recipe_digest);
    Ok(home
        .join(".cache/sealfleet")
        .join(format!("{kind}-{short}{extension}")))
}

/// Held while something is made, because two stacks may start at once.
pub(crate) async fn lock(path: PathBuf) -> Result<File, Error> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(Error::file(parent))?;
    }
    let file = File::create(&path).map_err(Error::file(&path))?;
    let waiting = tokio::task::spawn_blocking(move || {
        flock(&file, FlockOperation::LockExclusive).map(|()| file)
    });
    let locked = waiting
        .await
        .map_err(std::io::Error::other)
        .and_then(|locked| locked.map_err(Into::into));
    locked.map_err(Error::file(&path))
}
