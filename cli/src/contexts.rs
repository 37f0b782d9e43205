//! Contexts: control planes by name, each with a token, as `sealfleet login` stores them.
//!
//! `contexts.json` lies in `$XDG_CONFIG_HOME/sealfleet`, or else in `~/.config/sealfleet`. It holds
//! addresses and paths. Each token has a file of its own, and both are readable by their owner
//! alone.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sealfleet_client::{Credential, FileError, NewFile};
use serde::{Deserialize, Serialize};

/// The longest name of a context, in bytes.
const NAME_BYTES: usize = 64;

/// Why the contexts cannot be used, for people.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no home for contexts: set `XDG_CONFIG_HOME` or `HOME`")]
    NoHome,
    #[error("`{}`: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("`{}` is damaged ({source}): mend it, or remove it and log in again", path.display())]
    Damaged {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error(transparent)]
    File(#[from] FileError),
    #[error(
        "a context's name has 1 to {NAME_BYTES} letters, digits, `-`, `_` and `.`, and begins with a letter or digit"
    )]
    Name,
}

/// A context's name. It is a file's name too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let begins = text.starts_with(|letter: char| letter.is_ascii_alphanumeric());
        if begins && text.len() <= NAME_BYTES && text.bytes().all(fine) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::Name)
        }
    }
}

impl TryFrom<String> for Name {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a control plane is, and who calls it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    pub api_url: String,
    /// File with the token.
    pub token_file: PathBuf,
    /// Where `secret put` writes, if that is not AWS Secrets Manager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builtin: Option<Builtin>,
}

/// A store of the builtin identity backend on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Builtin {
    pub store: PathBuf,
    pub key_file: PathBuf,
}

/// All contexts of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contexts {
    /// The one that commands use when nothing names another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<Name>,
    #[serde(default)]
    pub contexts: BTreeMap<Name, Context>,
}

/// The directory that holds a user's contexts.
#[derive(Clone, Debug)]
pub struct Place(PathBuf);

impl Place {
    /// `$XDG_CONFIG_HOME/sealfleet`, or `~/.config/sealfleet`. A relative path is ignored, as the
    /// XDG base directory specification says.
    ///
    /// # Errors
    /// [`Error::NoHome`].
    pub fn of_user() -> Result<Self, Error> {
        let of = |name| {
            let path = std::env::var_os(name).map(PathBuf::from);
            path.filter(|path| path.is_absolute())
        };
        let config = of("XDG_CONFIG_HOME").or_else(|| Some(of("HOME")?.join(".config")));
        Ok(Self(config.ok_or(Error::NoHome)?.join("sealfleet")))
    }

    fn file(&self) -> PathBuf {
        self.0.join("contexts.json")
    }

    /// Reads the contexts. There are none without the file.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn load(&self) -> Result<Contexts, Error> {
        let path = self.file();
        match fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|source| Error::Damaged { path, source })
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Contexts::default()),
            Err(source) => Err(Error::Io { path, source }),
        }
    }

    /// Changes the contexts. What other processes change meanwhile is kept: each waits for the one
    /// before.
    ///
    /// # Errors
    /// When the contexts cannot be read or written, or `change` fails; then nothing is written.
    pub fn change<T, E: From<Error>>(
        &self,
        change: impl FnOnce(&mut Contexts) -> Result<T, E>,
    ) -> Result<T, E> {
        private_directory(&self.0)?;
        let path = self.0.join("lock");
        let lock = File::create(&path).map_err(failed(&path))?;
        lock.lock().map_err(failed(&path))?;
        let mut contexts = self.load()?;
        let changed = change(&mut contexts)?;
        self.save(&contexts)?;
        Ok(changed)
    }

    /// Replaces the file, so that a reader never sees half of it.
    fn save(&self, contexts: &Contexts) -> Result<(), Error> {
        let path = self.file();
        let mut text = serde_json::to_vec_pretty(contexts).map_err(|source| Error::Damaged {
            path: path.clone(),
            source,
        })?;
        text.push(b'\n');
        let new = path.with_extension("json.new");
        let options = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new);
        options
            .and_then(|mut file| file.write_all(&text))
            .map_err(failed(&new))?;
        fs::rename(&new, &path).map_err(failed(&path))
    }

    /// Keeps a token of its own for a context, in the place of one that it had. Returns its file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_token(&self, name: &Name, token: &Credential) -> Result<PathBuf, Error> {
        let directory = self.0.join("tokens");
        private_directory(&self.0)?;
        private_directory(&directory)?;
        let path = directory.join(&name.0);
        // No name ends with a tilde.
        let new = directory.join(format!("{name}~"));
        absent_is_fine(fs::remove_file(&new)).map_err(failed(&new))?;
        NewFile::create(&new)?.keep(token)?;
        fs::rename(&new, &path).map_err(failed(&path))?;
        Ok(path)
    }

    /// Stores a context, and makes it the current one.
    ///
    /// # Errors
    /// When the contexts cannot be read or written.
    pub fn add(&self, name: &Name, context: Context) -> Result<(), Error> {
        self.change(|all| {
            all.contexts.insert(name.clone(), context);
            all.current = Some(name.clone());
            Ok(())
        })
    }

    /// Removes a context, and the token that [`Self::keep_token`] kept for it. Returns whether
    /// there was one; if not, nothing is written.
    ///
    /// # Errors
    /// When the contexts cannot be read or written.
    pub fn remove(&self, name: &Name) -> Result<bool, Error> {
        if !self.load()?.contexts.contains_key(name) {
            return Ok(false);
        }
        let removed = self.change(|all| {
            all.current = all.current.take().filter(|current| current != name);
            Ok::<_, Error>(all.contexts.remove(name).is_some())
        })?;
        if !removed {
            return Ok(false);
        }
        let own = self.0.join("tokens").join(&name.0);
        absent_is_fine(fs::remove_file(&own)).map_err(failed(&own))?;
        Ok(true)
    }
}

fn private_directory(path: &Path) -> Result<(), Error> {
    let mut builder = fs::DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(path);
    made.map_err(failed(path))
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { path, source }
}

fn absent_is_fine(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_name_is_a_plain_file_name() {
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a b",
            "-a",
            "a~",
            "ä",
            &"a".repeat(65),
        ] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
        assert!("eu-1.prod_x".parse::<Name>().is_ok());
        assert!(serde_json::from_str::<Contexts>(r#"{"current":"../x"}"#).is_err());
    }

    #[test]
    fn what_several_change_at_once_is_all_kept() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = Place(directory.path().join("sealfleet"));
        std::thread::scope(|threads| {
            for number in 0..8 {
                let place = &place;
                threads.spawn(move || {
                    for turn in 0..5 {
                        let name = format!("c{number}-{turn}").parse().expect("a name");
                        let context = Context {
                            api_url: "https://a".to_owned(),
                            token_file: PathBuf::from("/t"),
                            builtin: None,
                        };
                        place.add(&name, context).expect("added");
                    }
                });
            }
        });
        assert_eq!(place.load().expect("read").contexts.len(), 40);
    }

    #[test]
    fn nothing_is_made_where_there_is_nothing_to_remove() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = Place(directory.path().join("sealfleet"));
        let name: Name = "demo".parse().expect("a name");
        assert!(!place.remove(&name).expect("nothing to remove"));
        assert!(!place.0.exists());
    }

    #[test]
    fn what_is_stored_is_its_owners_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = Place(directory.path().join("config/sealfleet"));
        let name: Name = "demo".parse().expect("a name");
        for token in ["sft.a", "sft.b"] {
            let token_file = place
                .keep_token(&name, &Credential::new(token))
                .expect("kept");
            let context = Context {
                api_url: "https://a".to_owned(),
                token_file: token_file.clone(),
                builtin: None,
            };
            place.add(&name, context).expect("added");
            assert_eq!(Credential::read(&token_file).expect("read").expose(), token);
        }
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&place.0), mode(&place.file())), (0o700, 0o600));
        let read = place.load().expect("read");
        assert_eq!((read.current, read.contexts.len()), (Some(name.clone()), 1));
        assert!(place.remove(&name).expect("removed"));
        assert!(!place.remove(&name).expect("nothing to remove"));
        assert_eq!(place.load().expect("read"), Contexts::default());
        assert!(
            fs::read_dir(place.0.join("tokens"))
                .expect("there")
                .next()
                .is_none()
        );
    }
}
