//! The versions of secrets in the identity backends that the control plane can ask. Names and
//! version ids only: nothing here can read a value.
//!
//! The only crate of the control plane and the CLI that links a backend's client. A backend is a
//! module with a [`SecretVersions`] of its scheme; a deployment has a [`Versions`] of them.

mod aws_sm;
mod known;

use std::sync::Arc;

use async_trait::async_trait;
use sealfleet_domain::identity::Pin;
use sealfleet_domain::{Clock, ProjectScope};

use crate::known::{Known, Question};

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
    /// It waits for its deletion, and cannot be read any more.
    #[error("the secret `{0}` is to be deleted; restore it, or name another")]
    Deleted(String),
    /// It lacks the tag with which a sandbox may read it.
    #[error(
        "the secret `{name}` does not have the tag `{PROJECT_TAG}` with the value `{owner}`, without which no sandbox may read it; tag it"
    )]
    Untagged { name: String, owner: String },
    /// The caller's role may not.
    #[error("access to the secret `{0}` is denied; check its name and its tag `{PROJECT_TAG}`")]
    Denied(String),
    /// It refuses, and would refuse the same question again.
    #[error("the secret `{name}` cannot be described ({code}); check it and its key")]
    Refused { name: String, code: String },
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

/// How old an answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// As old as [`Versions::kept_for`] says.
    Recent,
    /// Given now.
    Now,
}

/// The backends that a deployment can ask.
#[derive(Default)]
pub struct Versions {
    backends: Vec<Box<dyn SecretVersions>>,
    known: Option<Known>,
}

impl Versions {
    /// One backend.
    #[must_use]
    pub fn of(backend: impl SecretVersions + 'static) -> Self {
        Self::default().and(backend)
    }

    /// One more backend.
    #[must_use]
    pub fn and(mut self, backend: impl SecretVersions + 'static) -> Self {
        self.backends.push(Box::new(backend));
        self
    }

    /// These backends, each of whose answers may be used for some seconds. Then a rotation is seen
    /// that much later.
    #[must_use]
    pub fn kept_for(self, seconds: i64, clock: Arc<dyn Clock>) -> Self {
        Self {
            known: Some(Known::new(clock, seconds)),
            ..self
        }
    }

    /// A secret's current version, for a project that may see it.
    ///
    /// # Errors
    /// See [`Error`]; a scheme that no backend here has is not available.
    pub async fn describe(
        &self,
        scope: &ProjectScope,
        scheme: &'static str,
        name: &str,
        age: Age,
    ) -> Result<Pin, Error> {
        let mut backends = self.backends.iter();
        let Some(backend) = backends.find(|backend| backend.scheme() == scheme) else {
            return Err(Error::Refused {
                name: name.to_owned(),
                code: format!("this deployment has no adapter for `{scheme}`"),
            });
        };
        let Some(known) = &self.known else {
            return backend.describe(name).await;
        };
        let question = Question {
            project: scope.project().clone(),
            scheme,
            name: name.to_owned(),
        };
        if age == Age::Recent
            && let Some(pin) = known.get(&question)
        {
            return Ok(pin);
        }
        let asked = known.now();
        let pin = backend.describe(name).await?;
        known.add(question, asked, pin.clone());
        Ok(pin)
    }
}
