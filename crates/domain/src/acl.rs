//! Per-tool access lists: which tool sees which secrets.
//!
//! The default is deny. If a list exists, a tool that it does not name sees no secret, and neither
//! does a step without a tool. Lists of several levels narrow each other: a tool sees a key only if
//! every list grants it. Lists govern secrets, not plain variables.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::names::ToolName;

/// Grants all keys.
pub const ALL: &str = "*";

/// The keys that each tool sees.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Acl(BTreeMap<ToolName, BTreeSet<String>>);

impl Acl {
    /// Maps each tool to the keys that it sees; `*` grants all keys.
    #[must_use]
    pub const fn new(tools: BTreeMap<ToolName, BTreeSet<String>>) -> Self {
        Self(tools)
    }

    /// Whether `tool` sees the secret `key`.
    #[must_use]
    pub fn grants(&self, tool: Option<&ToolName>, key: &str) -> bool {
        tool.and_then(|tool| self.0.get(tool))
            .is_some_and(|keys| keys.contains(ALL) || keys.contains(key))
    }

    /// The grants that both lists contain.
    #[must_use]
    pub fn narrowed_by(&self, other: &Self) -> Self {
        let both = |own: &BTreeSet<String>, theirs: &BTreeSet<String>| -> BTreeSet<String> {
            match (own.contains(ALL), theirs.contains(ALL)) {
                (true, _) => theirs.clone(),
                (_, true) => own.clone(),
                _ => own.intersection(theirs).cloned().collect(),
            }
        };
        let tools = self
            .0
            .iter()
            .filter_map(|(tool, own)| Some((tool.clone(), both(own, other.0.get(tool)?))));
        Self(tools.collect())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&ToolName, &BTreeSet<String>)> {
        self.0.iter()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it names no tool. Such a list grants nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether `tool` sees `key`. Without a list, every tool sees every key.
#[must_use]
pub fn sees(acl: Option<&Acl>, tool: Option<&ToolName>, key: &str) -> bool {
    acl.is_none_or(|acl| acl.grants(tool, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(tools: &[(&str, &[&str])]) -> Acl {
        let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect();
        Acl::new(
            tools
                .iter()
                .map(|(tool, of)| (tool.parse().expect("a tool"), keys(of)))
                .collect(),
        )
    }

    #[test]
    fn a_tool_that_is_not_listed_gets_nothing() {
        let (claude, codex, other) = (
            "claude".parse().ok(),
            "codex".parse().ok(),
            "other".parse().ok(),
        );
        let acl = acl(&[("claude", &["A"]), ("codex", &[])]);
        assert!(acl.grants(claude.as_ref(), "A") && !acl.grants(claude.as_ref(), "B"));
        assert!(
            !acl.grants(codex.as_ref(), "A")
                && !acl.grants(other.as_ref(), "A")
                && !acl.grants(None, "A")
        );
        assert!(sees(None, None, "A") && !sees(Some(&acl), None, "A"));
    }

    #[test]
    fn lists_only_narrow() {
        let lower = acl(&[("claude", &["*"]), ("codex", &["A", "B"])]);
        let upper = acl(&[("claude", &["A"]), ("codex", &["B", "C"]), ("new", &["*"])]);
        assert_eq!(
            lower.narrowed_by(&upper),
            acl(&[("claude", &["A"]), ("codex", &["B"])])
        );
        assert_eq!(lower.narrowed_by(&upper), upper.narrowed_by(&lower));
    }
}
