//! The versions of secrets in the identity backends that the control plane can ask. Names and
//! version ids only: nothing here can read a value.
//!
//! The only crate of the control plane and the CLI that links a backend's client. A backend is a
//! module with a [`SecretVersions`] of its scheme; a deployment has a [`Versions`] of them.

mod aws_sm;

use async_trait::async_trait;
use sealfleet_domain::identity::Pin;

pub use crate::aws_sm::{AskedSecret, SecretOwner, SecretsManager};

/// The tag that binds a secret to its owner, a project or `system`; execution roles can read no
/// others.
pub const PROJECT_TAG: &str = "sealfleet:project";

/// Why a backend did not do it. Never holds a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no such secret, or it has no current version.
    #[error("the secret `{0}` does not exist or has no value yet")]
    NotFound(String),
    /// The caller's role may not.
    #[error("access to the secret `{0}` is denied; check its name and its tag `{PROJECT_TAG}`")]
    Denied(String),
    /// It does not answer.
    #[error("{service} is not available: {detail}")]
    Unavailable {
        /// The backend.
        service: &'static str,
        /// What it said instead.
        detail: String,
    },
}

/// Tells the versions of one scheme's secrets.
#[async_trait]
pub trait SecretVersions: Send + Sync {
    /// The scheme, by its name in the capability table.
    fn scheme(&self) -> &'static str;
    /// A secret's current version, by its name in the backend.
    async fn describe(&self, name: &str) -> Result<Pin, Error>;
}

/// The backends that a deployment can ask.
#[derive(Default)]
pub struct Versions(Vec<Box<dyn SecretVersions>>);

impl Versions {
    /// One backend.
    #[must_use]
    pub fn of(backend: impl SecretVersions + 'static) -> Self {
        Self(vec![Box::new(backend)])
    }

    /// One more backend.
    #[must_use]
    pub fn and(mut self, backend: impl SecretVersions + 'static) -> Self {
        self.0.push(Box::new(backend));
        self
    }

    /// A secret's current version.
    ///
    /// # Errors
    /// See [`Error`]; a scheme that no backend here has is not available.
    pub async fn describe(&self, scheme: &'static str, name: &str) -> Result<Pin, Error> {
        let Some(backend) = self.0.iter().find(|backend| backend.scheme() == scheme) else {
            return Err(Error::Unavailable {
                service: scheme,
                detail: "this deployment has no adapter for the scheme".to_owned(),
            });
        };
        backend.describe(name).await
    }
}
