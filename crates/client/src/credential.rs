//! Credentials as their holders keep them: in a file of their own, never in arguments or logs.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// The largest credential file, in bytes: a JWT has 8 KiB at most.
const MOST: u64 = 16 * 1024;

/// What is sent as `Bearer`. It cannot be printed, and its memory is wiped when it is dropped.
#[derive(Clone)]
pub struct Credential(Zeroizing<String>);

/// A credential file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read or written.
    #[error("the file `{}` cannot be used: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Others may read it.
    #[error("the file `{path}` can be read by others: run `chmod 600 {path}`", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
    },
    /// It does not hold one line of text.
    #[error("the file `{}` does not hold a credential: it must be one line of text", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

impl Credential {
    /// A credential; white space around it does not count.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        let text = Zeroizing::new(text.into());
        Self(Zeroizing::new(text.trim().to_owned()))
    }

    /// Reads a file that nobody but its owner may read.
    ///
    /// # Errors
    /// See [`FileError`].
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let failed = |source| FileError::Io {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_file() && metadata.permissions().mode() & 0o077 != 0 {
            return Err(FileError::Open {
                path: path.to_owned(),
            });
        }
        let mut text = Zeroizing::new(String::new());
        file.take(MOST).read_to_string(&mut text).map_err(failed)?;
        Self::one_line(&text).ok_or_else(|| FileError::Malformed {
            path: path.to_owned(),
        })
    }

    /// A credential that is one line of printable ASCII.
    #[must_use]
    pub fn one_line(text: &str) -> Option<Self> {
        let line = text.trim();
        (!line.is_empty() && line.bytes().all(|byte| byte.is_ascii_graphic()))
            .then(|| Self::new(line))
    }

    /// Writes a new file that nobody but its owner may read. A file that is already there is kept,
    /// and is an error.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn write(&self, path: &Path) -> Result<(), FileError> {
        NewFile::create(path)?.keep(self)
    }

    /// The text, to be sent and for nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(hidden)")
    }
}

/// A new file for a credential that is not known yet. Make it before you ask for the credential,
/// which is shown only once. Dropped without one, the file is removed.
#[derive(Debug)]
pub struct NewFile {
    path: PathBuf,
    /// None once it holds a credential.
    file: Option<File>,
}

impl NewFile {
    /// Makes an empty file that nobody but its owner may read. A file that is already there is
    /// kept, and is an error.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn create(path: &Path) -> Result<Self, FileError> {
        let file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(|source| FileError::Io {
                path: path.to_owned(),
                source,
            })?;
        Ok(Self {
            path: path.to_owned(),
            file: Some(file),
        })
    }

    /// Writes the credential, and keeps the file.
    ///
    /// # Errors
    /// [`FileError::Io`]; then there is no file.
    pub fn keep(mut self, credential: &Credential) -> Result<(), FileError> {
        let write = |file: &mut File| {
            file.write_all(credential.0.as_bytes())?;
            file.write_all(b"\n")?;
            file.sync_all()
        };
        if let Some(file) = &mut self.file {
            write(file).map_err(|source| FileError::Io {
                path: self.path.clone(),
                source,
            })?;
        }
        self.file = None;
        Ok(())
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if self.file.is_some() {
            // Nothing depends on an empty file being gone.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_credential_is_removed() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("credential");
        drop(NewFile::create(&path).expect("made"));
        assert!(!path.exists());
        NewFile::create(&path)
            .and_then(|file| file.keep(&Credential::new("sft.a.b.c")))
            .expect("kept");
        assert_eq!(Credential::read(&path).expect("read").expose(), "sft.a.b.c");
        assert!(NewFile::create(&path).is_err(), "never overwritten");
        assert!(path.exists());
        assert!(NewFile::create(&place.path().join("no/file")).is_err());
    }

    #[test]
    fn a_file_is_written_for_its_owner_alone_and_an_open_one_is_refused() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("credential");
        Credential::new("sfw.a.b.c\n")
            .write(&path)
            .expect("written");
        let mode = std::fs::metadata(&path)
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(Credential::read(&path).expect("read").expose(), "sfw.a.b.c");
        assert!(
            matches!(Credential::new("x").write(&path), Err(FileError::Io { .. })),
            "never overwritten"
        );
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("changed");
        assert!(matches!(
            Credential::read(&path),
            Err(FileError::Open { .. })
        ));
    }

    #[test]
    fn nothing_prints_it() {
        assert_eq!(
            format!("{:?}", Credential::new("sft.secret")),
            "Credential(hidden)"
        );
    }
}
