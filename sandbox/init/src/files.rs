//! Secrets in files, for programs that read a key from a path.
//!
//! They lie in memory, outside of the workspace, so no artifact takes them along. Only the step's
//! own user can read them.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use sealfleet_identity::SecretValue;

use crate::memory;

/// Where they lie: below the file system in memory that the sandbox has.
const DIRECTORY: &str = "secrets";

/// Writes a value to the file of its variable. Answers what the variable holds: the path.
///
/// # Errors
/// The system's answer, or that there is no memory for it; for people.
pub(crate) fn keep(name: &str, value: &SecretValue) -> Result<SecretValue, String> {
    let place = memory::place()
        .map_err(|error| format!("the secret `{name}` is to be a file in memory, and {error}"))?;
    keep_in(&place.join(DIRECTORY), name, value)
}

fn keep_in(directory: &Path, name: &str, value: &SecretValue) -> Result<SecretValue, String> {
    let path = directory.join(name);
    let written = || -> std::io::Result<()> {
        let mut make = DirBuilder::new();
        make.recursive(true).mode(0o700).create(directory)?;
        let mut new = OpenOptions::new();
        let mut file = new.write(true).create_new(true).mode(0o400).open(&path)?;
        file.write_all(value.expose())
    };
    written()
        .map_err(|error| format!("the file of the secret `{name}` cannot be written: {error}"))?;
    Ok(SecretValue::new(path.display().to_string().into_bytes()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_value_is_for_its_own_user_alone() {
        let place = tempfile::tempdir().expect("a directory");
        let directory = place.path().join("secrets");
        let value = SecretValue::new(b"one\0two\n".to_vec());
        let path = keep_in(&directory, "API_KEY", &value).expect("kept");
        let path = String::from_utf8(path.expose().to_vec()).expect("a path");
        assert_eq!(Path::new(&path), directory.join("API_KEY"));
        assert_eq!(std::fs::read(&path).expect("read"), value.expose());
        let mode = |path: &Path| {
            let about = std::fs::metadata(path).expect("there");
            about.permissions().mode() & 0o777
        };
        assert_eq!((mode(&directory), mode(Path::new(&path))), (0o700, 0o400));
        assert!(keep_in(&directory, "API_KEY", &value).is_err(), "twice");
    }
}
