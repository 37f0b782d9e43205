//! Identity backends: where the value behind a secret reference comes from. One module for each,
//! behind one trait.

pub mod builtin;

use crate::SecretValue;

/// One kind of secret reference.
pub trait IdentityBackend {
    /// The part of the URI before `://`.
    fn scheme(&self) -> &'static str;

    /// The value of `name` (the URI without its scheme): that version, or the newest one.
    ///
    /// # Errors
    /// [`IdentityError`], which cannot hold a value.
    fn resolve(&self, name: &str, version: Option<&str>) -> Result<Resolved, IdentityError>;
}

/// A value and which version it is.
#[derive(Debug)]
pub struct Resolved {
    /// The value.
    pub value: SecretValue,
    /// The version's id in the backend.
    pub version: String,
}

/// Why there is no value. Holds names only.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct IdentityError {
    /// Stable, for programs: `unknown_scheme`, `bad_reference`, `no_store`, `unknown_secret`,
    /// `unknown_version`, `wrong_key`, `wrong_project`, `damaged_store`, `unusable_value`.
    pub code: &'static str,
    /// For people: what is wrong and what to do.
    pub message: String,
}

/// The backends of one step.
pub struct Backends(Vec<Box<dyn IdentityBackend>>);

impl Backends {
    /// With these.
    #[must_use]
    pub fn new(backends: Vec<Box<dyn IdentityBackend>>) -> Self {
        Self(backends)
    }

    /// The value behind `uri`.
    ///
    /// # Errors
    /// [`IdentityError`], which names the reference.
    pub fn resolve(&self, uri: &str, version: Option<&str>) -> Result<Resolved, IdentityError> {
        let Some((scheme, name)) = uri.split_once("://") else {
            let message = format!("`{uri}` is not a secret reference: it has no `scheme://`");
            return Err(IdentityError {
                code: "bad_reference",
                message,
            });
        };
        let Some(backend) = self.0.iter().find(|backend| backend.scheme() == scheme) else {
            let known: Vec<_> = self
                .0
                .iter()
                .map(|backend| format!("`{}://`", backend.scheme()))
                .collect();
            let message = format!(
                "`{uri}` cannot be resolved here: the references known to this worker are {}",
                known.join(", ")
            );
            return Err(IdentityError {
                code: "unknown_scheme",
                message,
            });
        };
        backend.resolve(name, version)
    }
}
