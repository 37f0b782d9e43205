//! Capability labels and models: what a worker offers, and what a step requires.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::limits;

/// Prefix of the labels that only Sealfleet sets.
pub const RESERVED_PREFIX: &str = "sealfleet:";

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
}

impl Labels {
    /// Checks labels that a caller or a worker declares.
    ///
    /// # Errors
    /// See [`InvalidLabels`].
    pub fn checked(labels: BTreeMap<String, String>) -> Result<Self, InvalidLabels> {
        let labels = Self(labels);
        labels.check()?;
        Ok(labels)
    }

    /// Checks labels that were read from a request.
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

    /// Whether `offered` contains each of these labels with the same value. A missing label never
    /// matches.
    #[must_use]
    pub fn is_subset_of(&self, offered: &Self) -> bool {
        self.0
            .iter()
            .all(|(key, value)| offered.0.get(key) == Some(value))
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

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        Labels::checked(
            pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
        )
        .expect("valid")
    }

    #[test]
    fn requirements_are_a_subset() {
        let eu = labels(&[("region", "eu")]);
        assert!(eu.is_subset_of(&labels(&[("region", "eu"), ("gpu", "a10")])));
        assert!(!eu.is_subset_of(&labels(&[("region", "us")])));
        assert!(!eu.is_subset_of(&Labels::default()));
        assert!(Labels::default().is_subset_of(&eu));
    }

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
    fn models_are_compared_without_provider_and_case() {
        assert!(model_matches(Some("openai/GPT-4o"), &["gpt-4o".to_owned()]));
        assert!(model_matches(None, &[]));
        assert!(!model_matches(Some("gpt-4o"), &[]));
    }
}
