//! Capability labels and models: what a worker offers, and what a step requires.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::limits;

/// Prefix of the labels that only Sealfleet sets.
pub const RESERVED_PREFIX: &str = "sealfleet:";
/// Prefix of what a worker tells of its own sandboxes. A step can require it, nobody declares it.
pub const SANDBOX_PREFIX: &str = "sandbox.";
/// Requires a worker with this sandbox backend, and runs the step in it.
pub const BACKEND: &str = "sandbox.backend";
/// Requires a worker with this variant of the sandbox image, and runs the step in it.
pub const IMAGE: &str = "sandbox.image";
/// Requires a worker that holds sandboxes to an egress policy. Steps that may reach anything get it
/// at enqueue.
pub const EGRESS: &str = "sandbox.egress";
/// The only value of [`EGRESS`].
pub const EGRESS_POLICY: &str = "policy";

/// Requires a worker that delivers secrets in this way, or a stricter one. Steps that are given any
/// in another way than the environment get it at enqueue.
pub const DELIVERY: &str = "sandbox.delivery";

/// Labels by key, such as `region` to `eu`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Labels(BTreeMap<String, String>);

/// Labels that are not allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLabels {
    #[error("{0} labels are too many: {max} at most", max = limits::LABELS)]
    TooMany(usize),
    /// A key or value that is empty, too long or not printable ASCII.
    #[error("label `{0}`: keys and values are 1 to {max} printable ASCII characters without `=`", max = limits::LABEL_BYTES)]
    Malformed(String),
    /// A key with the prefix that is reserved for Sealfleet.
    #[error(
        "label `{0}`: keys that start with `{RESERVED_PREFIX}` are set by Sealfleet alone; choose another key"
    )]
    Reserved(String),
    /// A key that a worker tells of its own sandboxes.
    #[error(
        "label `{0}`: keys that start with `{SANDBOX_PREFIX}` are not declared, for each worker tells its own sandboxes when it runs; leave it out"
    )]
    OfSandboxes(String),
    /// A requirement of sandboxes that there is not.
    #[error("label `{0}`: of sandboxes, a step can require `{BACKEND}` and `{IMAGE}`")]
    Unknown(String),
}

impl Labels {
    /// Checks labels that a caller or a worker declares.
    ///
    /// # Errors
    /// See [`InvalidLabels`].
    pub fn checked(labels: BTreeMap<String, String>) -> Result<Self, InvalidLabels> {
        let labels = Self(labels);
        labels.check()?;
        match labels.0.keys().find(|key| is_of_sandboxes(key)) {
            Some(key) => Err(InvalidLabels::OfSandboxes(key.clone())),
            None => Ok(labels),
        }
    }

    /// Checks labels that a step requires.
    ///
    /// # Errors
    /// See [`InvalidLabels`].
    pub fn required(labels: BTreeMap<String, String>) -> Result<Self, InvalidLabels> {
        let labels = Self(labels);
        labels.check()?;
        let known = |key: &String| [BACKEND, IMAGE].contains(&key.as_str());
        let mut of_sandboxes = labels.0.keys().filter(|key| is_of_sandboxes(key));
        match of_sandboxes.find(|key| !known(key)) {
            Some(key) => Err(InvalidLabels::Unknown(key.clone())),
            None => Ok(labels),
        }
    }

    /// These labels and one more.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.0.insert(key.to_owned(), value.to_owned());
        self
    }

    /// The value of a label.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Checks labels that decide nothing about who runs a step.
    ///
    /// # Errors
    /// See [`InvalidLabels`].
    pub fn check(&self) -> Result<(), InvalidLabels> {
        if self.0.len() > limits::LABELS {
            return Err(InvalidLabels::TooMany(self.0.len()));
        }
        let well_formed = |text: &str| {
            !text.is_empty()
                && text.len() <= limits::LABEL_BYTES
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_graphic() && byte != b'=')
        };
        for (key, value) in &self.0 {
            if key.to_ascii_lowercase().starts_with(RESERVED_PREFIX) {
                return Err(InvalidLabels::Reserved(key.clone()));
            }
            if !well_formed(key) || !well_formed(value) {
                return Err(InvalidLabels::Malformed(
                    key.chars().take(limits::LABEL_BYTES).collect(),
                ));
            }
        }
        Ok(())
    }

    /// Whether there is a label with this key and value.
    #[must_use]
    pub fn has(&self, key: &str, value: &str) -> bool {
        self.0.get(key).is_some_and(|own| own == value)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keys and values, in order of keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

fn is_of_sandboxes(key: &str) -> bool {
    key.to_ascii_lowercase().starts_with(SANDBOX_PREFIX)
}

/// The name by which models are compared: without the provider's prefix, in lower case
/// (`openai/GPT-4o` becomes `gpt-4o`).
#[must_use]
pub fn model_key(model: &str) -> String {
    model
        .rsplit('/')
        .next()
        .unwrap_or(model)
        .to_ascii_lowercase()
}

/// Whether a worker that declares `offered` can run a step that requires `wanted`. Without a
/// required model, every worker can.
#[must_use]
pub fn model_matches(wanted: Option<&str>, offered: &[String]) -> bool {
    wanted.is_none_or(|wanted| {
        offered
            .iter()
            .any(|model| model_key(model) == model_key(wanted))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserved_prefix_is_refused_in_any_case() {
        for key in ["sealfleet:pool", "SealFleet:pool"] {
            let labels = BTreeMap::from([(key.to_owned(), "x".to_owned())]);
            assert!(matches!(
                Labels::checked(labels),
                Err(InvalidLabels::Reserved(_))
            ));
        }
    }

    #[test]
    fn sandboxes_are_required_and_never_declared() {
        let one = |key: &str| BTreeMap::from([(key.to_owned(), "x".to_owned())]);
        for key in [BACKEND, IMAGE, "sandbox.x", "SANDBOX.backend"] {
            let declared = Labels::checked(one(key));
            assert!(matches!(declared, Err(InvalidLabels::OfSandboxes(_))));
        }
        for key in [BACKEND, IMAGE, "region"] {
            assert!(Labels::required(one(key)).is_ok());
        }
        for key in ["sandbox.x", "Sandbox.Backend"] {
            let required = Labels::required(one(key));
            assert!(matches!(required, Err(InvalidLabels::Unknown(_))));
        }
        let reserved = Labels::required(one("sealfleet:x"));
        assert!(matches!(reserved, Err(InvalidLabels::Reserved(_))));
    }

    #[test]
    fn models_are_compared_without_provider_and_case() {
        assert!(model_matches(Some("openai/GPT-4o"), &["gpt-4o".to_owned()]));
        assert!(model_matches(None, &[]));
        assert!(!model_matches(Some("gpt-4o"), &[]));
    }
}
