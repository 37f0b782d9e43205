//! Identity backends: where the value behind a secret reference comes from.
//!
//! A backend is a crate of its own. It implements [`IdentityBackend`], and `sealfleet-init`
//! registers it under its scheme. Only `sealfleet-init` links backends: no other program of the
//! product can read a value.

mod secret;

use std::collections::BTreeMap;
use std::fs::File;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, timeout_at};

pub use secret::SecretValue;

/// One kind of secret reference.
///
/// A resolution must give way to others while it waits: work that blocks belongs on a thread of its
/// own, or the deadline does not reach it.
#[async_trait]
pub trait IdentityBackend: Send + Sync {
    /// The value of `name` (the reference without its scheme): that version, or the newest one.
    ///
    /// # Errors
    /// [`IdentityError`], which cannot hold a value.
    async fn resolve(&self, name: &str, version: Option<&str>) -> Result<Resolved, IdentityError>;
}

/// A value and its version.
#[derive(Debug)]
pub struct Resolved {
    pub value: SecretValue,
    /// The version's id in the backend.
    pub version: String,
}

/// Why there is no value. Holds names only.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct IdentityError {
    /// Stable, for programs: `unknown_scheme`, `bad_reference`, `timed_out`, or a backend's own.
    pub code: &'static str,
    /// For people: what is wrong and what to do.
    pub message: String,
}

/// The purpose for which a backend is opened.
#[derive(Debug)]
pub struct Context {
    /// The project of the step.
    pub project: String,
    /// Files that the host opened for this backend, by name.
    pub files: BTreeMap<String, File>,
}

/// Opens a backend for one step. It does no I/O yet: the step may not use it.
pub type Open = fn(Context) -> Box<dyn IdentityBackend>;

/// The backends that a program knows, by the scheme of their references.
#[derive(Debug, Clone, Default)]
pub struct Registry(BTreeMap<&'static str, Open>);

impl Registry {
    /// With one more backend.
    #[must_use]
    pub fn with(mut self, scheme: &'static str, open: Open) -> Self {
        self.0.insert(scheme, open);
        self
    }

    /// Opens all backends for one step of `project`. A file named `SCHEME.NAME` goes to that
    /// scheme's backend as `NAME`; one for an unknown scheme is closed.
    #[must_use]
    pub fn open(
        &self,
        project: &str,
        files: impl IntoIterator<Item = (String, File)>,
        deadline: Duration,
    ) -> Backends {
        let mut by_scheme: BTreeMap<String, BTreeMap<String, File>> = BTreeMap::new();
        for (name, file) in files {
            if let Some((scheme, name)) = name.split_once('.') {
                let files = by_scheme.entry(scheme.to_owned()).or_default();
                files.insert(name.to_owned(), file);
            }
        }
        let backends = self.0.iter().map(|(scheme, open)| {
            let context = Context {
                project: project.to_owned(),
                files: by_scheme.remove(*scheme).unwrap_or_default(),
            };
            (*scheme, open(context))
        });
        Backends {
            backends: backends.collect(),
            deadline,
            ends: Instant::now() + deadline,
        }
    }
}

/// The backends of one step. Dropped, they close their files and forget their keys.
pub struct Backends {
    backends: BTreeMap<&'static str, Box<dyn IdentityBackend>>,
    /// For all resolutions of the step together.
    deadline: Duration,
    ends: Instant,
}

impl Backends {
    /// The value behind the reference `uri`.
    ///
    /// # Errors
    /// [`IdentityError`], which names the reference; `timed_out` at the deadline.
    pub async fn resolve(
        &self,
        uri: &str,
        version: Option<&str>,
    ) -> Result<Resolved, IdentityError> {
        let Some((scheme, name)) = uri.split_once("://") else {
            return Err(IdentityError {
                code: "bad_reference",
                message: format!("`{uri}` is not a secret reference: it has no `scheme://`"),
            });
        };
        let Some(backend) = self.backends.get(scheme) else {
            let known: Vec<_> = self
                .backends
                .keys()
                .map(|known| format!("`{known}://`"))
                .collect();
            return Err(IdentityError {
                code: "unknown_scheme",
                message: format!(
                    "`{uri}` cannot be resolved here: this worker resolves {}",
                    known.join(", ")
                ),
            });
        };
        let resolution = timeout_at(self.ends, backend.resolve(name, version));
        resolution.await.unwrap_or_else(|_| {
            Err(IdentityError {
                code: "timed_out",
                message: format!(
                    "`{uri}` was not resolved within {:?}: the identity backend `{scheme}` is too slow or not reachable",
                    self.deadline
                ),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    /// Answers with the content of its file, after a pause if it has none.
    struct OfFile(Context);

    #[async_trait]
    impl IdentityBackend for OfFile {
        async fn resolve(&self, name: &str, _: Option<&str>) -> Result<Resolved, IdentityError> {
            let mut value = format!("{} {name} ", self.0.project).into_bytes();
            match self.0.files.get("values") {
                Some(mut file) => drop(file.read_to_end(&mut value).unwrap()),
                None => tokio::time::sleep(Duration::from_secs(7)).await,
            }
            Ok(Resolved {
                value: SecretValue::new(value),
                version: "v1".to_owned(),
            })
        }
    }

    fn backends(seconds: u64) -> Backends {
        let mut file = tempfile();
        std::io::Write::write_all(&mut file, b"of its file").unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        let open: Open = |context| Box::new(OfFile(context));
        Registry::default()
            .with("one", open)
            .with("two", open)
            .open(
                "healthcare",
                [("one.values".to_owned(), file)],
                Duration::from_secs(seconds),
            )
    }

    fn tempfile() -> File {
        let path = std::env::temp_dir().join(format!("sealfleet-identity-{}", std::process::id()));
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .unwrap();
        std::fs::remove_file(path).unwrap();
        file
    }

    #[tokio::test(start_paused = true)]
    async fn a_reference_goes_to_the_backend_of_its_scheme_with_its_files() {
        let backends = backends(10);
        let one = backends.resolve("one://a/b", None).await.unwrap();
        assert_eq!(one.value.expose(), b"healthcare a/b of its file");
        let two = backends.resolve("two://a/b", None).await.unwrap();
        assert_eq!(two.value.expose(), b"healthcare a/b ");
        let unknown = backends.resolve("three://a", None).await.unwrap_err();
        assert_eq!(unknown.code, "unknown_scheme");
        assert!(unknown.message.contains("`one://`, `two://`"), "{unknown}");
        let bare = backends.resolve("a", None).await.unwrap_err();
        assert_eq!(bare.code, "bad_reference");
    }

    #[tokio::test(start_paused = true)]
    async fn all_resolutions_of_a_step_share_one_deadline() {
        let backends = backends(10);
        assert!(backends.resolve("two://a", None).await.is_ok());
        let began = Instant::now();
        let late = backends.resolve("two://b", None).await.unwrap_err();
        assert_eq!(late.code, "timed_out");
        assert_eq!(began.elapsed(), Duration::from_secs(3));
        assert!(late.message.contains("`two://b`") && late.message.contains("10s"));
    }
}
