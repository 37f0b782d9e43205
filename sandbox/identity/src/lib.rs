//! Identity backends: where the value behind a secret reference comes from.
//!
//! A backend is a crate of its own. It implements [`IdentityBackend`], and `sealfleet-init`
//! registers it under its scheme. Only `sealfleet-init` links backends: no other program of the
//! product can read a value.

mod secret;

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, timeout_at};

pub use secret::SecretValue;

/// How long all backends together may take to be closed.
const CLOSE_TIME: Duration = Duration::from_secs(2);
/// Between two attempts to end what a backend holds.
const PAUSE: Duration = Duration::from_millis(500);

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

    /// Logs in, and answers the names of what the login may read, as far as the store tells them.
    /// Reads no value.
    ///
    /// # Errors
    /// The login is refused, or the store does not answer.
    async fn readable(&self) -> Result<Option<Vec<Readable>>, IdentityError>;

    /// Ends what it holds at its store, such as a session, once the step has all of its secrets.
    /// What must last as long as the step does, it answers instead: the [`Release`] of the backend
    /// ends that.
    async fn close(&self) -> Option<SecretValue> {
        None
    }
}

/// A value and its version.
#[derive(Debug)]
pub struct Resolved {
    pub value: SecretValue,
    /// The version's id in the backend.
    pub version: String,
    /// The store's own id of the request that read it, if it has one: the store's audit log has the
    /// same.
    pub request_id: Option<String>,
    /// Whether the store has made it for this step, and takes it back at the step's end.
    pub leased: bool,
}

/// What a login may read: a name in the store, or a pattern that ends in `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readable {
    pub name: String,
    /// Whether it is neither the project's own nor of the operators' scope, `system`. Unknown where
    /// names say nothing of an owner.
    pub is_foreign: bool,
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
#[derive(Debug, Default)]
pub struct Context {
    /// The project of the step.
    pub project: String,
    /// Files that the host opened for this backend, by name.
    pub files: BTreeMap<String, File>,
    /// Addresses and names that the host has for this backend, by name. None is a secret.
    pub settings: BTreeMap<String, String>,
    /// A token by which the step proves itself to this backend.
    pub token: Option<SecretValue>,
    /// The HTTP proxy that its requests go through. None: the network can be reached.
    pub proxy: Option<SocketAddr>,
    /// How long the step may take from now on: what is lent to it must last as long.
    pub lasts: Duration,
}

/// What the host gives the backends of one step.
#[derive(Debug, Default)]
pub struct Given {
    /// The project of the step.
    pub project: String,
    /// Files by `SCHEME.NAME`: the backend of that scheme gets the file as `NAME`.
    pub files: BTreeMap<String, File>,
    /// Addresses and names, by `SCHEME.NAME` as well.
    pub settings: BTreeMap<String, String>,
    /// Tokens by which the step proves itself, by scheme.
    pub tokens: BTreeMap<String, SecretValue>,
    /// The HTTP proxy that requests go through.
    pub proxy: Option<SocketAddr>,
    /// How long the step may take from now on.
    pub lasts: Duration,
}

impl Given {
    /// What the backend of this scheme gets of it.
    fn take(&mut self, scheme: &str) -> Context {
        Context {
            project: self.project.clone(),
            files: of_scheme(&mut self.files, scheme),
            settings: of_scheme(&mut self.settings, scheme),
            token: self.tokens.remove(scheme),
            proxy: self.proxy,
            lasts: self.lasts,
        }
    }
}

/// Takes out what is named `SCHEME.NAME`, by `NAME`.
fn of_scheme<T>(all: &mut BTreeMap<String, T>, scheme: &str) -> BTreeMap<String, T> {
    let is_own = |name: &str| name.split_once('.').is_some_and(|(of, _)| of == scheme);
    let own = all.extract_if(.., |name, _| is_own(name));
    own.filter_map(|(name, one)| Some((name.split_once('.')?.1.to_owned(), one)))
        .collect()
}

/// Opens a backend for one step. It does no I/O yet: the step may not use it.
pub type Open = fn(Context) -> Box<dyn IdentityBackend>;

/// Ends at its store what a backend has [kept](IdentityBackend::close) for a step. What was ended
/// before is no error.
pub type Release = fn(SecretValue) -> Releasing;

/// A [`Release`] that goes on.
pub type Releasing = Pin<Box<dyn Future<Output = Result<(), IdentityError>> + Send>>;

/// What backends hold at their stores for as long as a step runs, by scheme. Whoever has it can
/// read what the step's login can.
#[derive(Debug, Default)]
pub struct Held(pub BTreeMap<String, SecretValue>);

impl Held {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The backends that a program knows, by the scheme of their references.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    open: BTreeMap<&'static str, Open>,
    release: BTreeMap<&'static str, Release>,
}

impl Registry {
    /// With one more backend.
    #[must_use]
    pub fn with(mut self, scheme: &'static str, open: Open) -> Self {
        self.open.insert(scheme, open);
        self
    }

    /// With a backend that holds something while a step runs.
    #[must_use]
    pub fn releasing(mut self, scheme: &'static str, release: Release) -> Self {
        self.release.insert(scheme, release);
        self
    }

    /// Ends what backends hold. Tries again until `patience` is over.
    ///
    /// # Errors
    /// The last one: some of it lasts as long as its store lets it.
    pub async fn release(&self, held: Held, patience: Duration) -> Result<(), IdentityError> {
        let ends = Instant::now() + patience;
        let mut outcome = Ok(());
        for (scheme, held) in held.0 {
            let Some(release) = self.release.get(scheme.as_str()) else {
                continue;
            };
            let released = async {
                loop {
                    match release(SecretValue::new(held.expose().to_vec())).await {
                        Ok(()) => return Ok(()),
                        Err(error) if Instant::now() + PAUSE > ends => return Err(error),
                        Err(_) => tokio::time::sleep(PAUSE).await,
                    }
                }
            };
            let released = timeout_at(ends, released).await.unwrap_or_else(|_| {
                Err(IdentityError {
                    code: "timed_out",
                    message: format!("the identity backend `{scheme}` does not answer"),
                })
            });
            outcome = outcome.and(released);
        }
        outcome
    }

    /// Opens all backends for one step. What is given for an unknown scheme is dropped.
    #[must_use]
    pub fn open(&self, mut given: Given, deadline: Duration) -> Backends {
        let backends = self.open.iter();
        let backends = backends.map(|(scheme, open)| (*scheme, open(given.take(scheme))));
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
    /// Ends what the backends hold at their stores, and answers what lasts as long as the step.
    /// What takes longer ends there by itself.
    pub async fn close(self) -> Held {
        let ends = Instant::now() + CLOSE_TIME;
        let mut held = Held::default();
        for (scheme, backend) in &self.backends {
            if let Ok(Some(kept)) = timeout_at(ends, backend.close()).await {
                held.0.insert((*scheme).to_owned(), kept);
            }
        }
        held
    }

    /// What the login of this scheme's backend may read, as far as its store tells.
    ///
    /// # Errors
    /// [`IdentityError`]; `timed_out` at the deadline.
    pub async fn readable(&self, scheme: &str) -> Result<Option<Vec<Readable>>, IdentityError> {
        let Some(backend) = self.backends.get(scheme) else {
            return Err(IdentityError {
                code: "unknown_scheme",
                message: format!("this program has no identity backend for `{scheme}://`"),
            });
        };
        let asked = timeout_at(self.ends, backend.readable());
        asked.await.unwrap_or_else(|_| {
            Err(IdentityError {
                code: "timed_out",
                message: format!(
                    "the identity backend `{scheme}` did not answer within {:?}: it is too slow or not reachable",
                    self.deadline
                ),
            })
        })
    }

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
        async fn readable(&self) -> Result<Option<Vec<Readable>>, IdentityError> {
            Ok(None)
        }

        async fn resolve(&self, name: &str, _: Option<&str>) -> Result<Resolved, IdentityError> {
            let mut value = format!("{} {name} ", self.0.project).into_bytes();
            match self.0.files.get("values") {
                Some(mut file) => drop(file.read_to_end(&mut value).unwrap()),
                None => tokio::time::sleep(Duration::from_secs(7)).await,
            }
            Ok(Resolved {
                value: SecretValue::new(value),
                version: "v1".to_owned(),
                request_id: None,
                leased: false,
            })
        }
    }

    fn backends(seconds: u64) -> Backends {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, b"of its file").unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        let open: Open = |context| Box::new(OfFile(context));
        let given = Given {
            project: "healthcare".to_owned(),
            files: BTreeMap::from([("one.values".to_owned(), file)]),
            ..Given::default()
        };
        Registry::default()
            .with("one", open)
            .with("two", open)
            .open(given, Duration::from_secs(seconds))
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
