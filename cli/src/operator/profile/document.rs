//! Profiles as files: YAML or JSON with the API's field names, one or several documents in a file.
//!
//! A file should hold only names and references, but a user may have put a secret's value in place
//! of a reference. So no error message repeats the file's content: it says only where the mistake
//! is and what belongs there.

use std::collections::{BTreeMap, BTreeSet};

use sealfleet_client::types::CreateProfile;
use sealfleet_domain::delivery::Delivery;
use sealfleet_domain::profile::Profile;
use serde::{Deserialize as _, Serialize};
use yaml_serde::with::singleton_map_recursive;
use yaml_serde::{Deserializer, Value};

use super::super::failure::Failure;
use super::super::output::or_dash;

/// Parses all profiles of a file. `source` names the file in errors. Refuses a name that occurs
/// twice.
pub(super) fn read(text: &str, source: &str) -> Result<Vec<CreateProfile>, Failure> {
    let mut documents = Vec::new();
    for (at, document) in Deserializer::from_str(text).enumerate() {
        let wrong = |what: &str| Failure::Usage(format!("`{source}`, document {}: {what}", at + 1));
        let value = Value::deserialize(document).map_err(|error| wrong(&error.to_string()))?;
        if !value.is_null() {
            documents.push(profile(value).map_err(|what| wrong(&what))?);
        }
    }
    let mut names = BTreeSet::new();
    if let Some(twice) = documents
        .iter()
        .find(|document| !names.insert(&document.name))
    {
        return Err(Failure::Usage(format!(
            "`{source}` holds the profile `{}` twice",
            twice.name
        )));
    }
    if documents.is_empty() {
        return Err(Failure::Usage(format!(
            "`{source}` holds no profile; write at least `name: NAME`"
        )));
    }
    Ok(documents)
}

/// Read as JSON: what the API has as `{"allow": [...]}` is such a map, and no tag `!allow`.
fn profile(value: Value) -> Result<CreateProfile, String> {
    let value = serde_json::to_value(value).map_err(|_| "write a map".to_owned())?;
    serde_path_to_error::deserialize(value).map_err(|error| {
        let (path, what) = (
            error.path().to_string(),
            without_input(&error.inner().to_string()),
        );
        if path == "." {
            what
        } else {
            format!("`{path}`: {what}")
        }
    })
}

/// Removes the input from a type error, because serde's messages repeat it.
fn without_input(message: &str) -> String {
    let repeats = message.starts_with("invalid type") || message.starts_with("invalid value");
    match message.rsplit_once(", expected ") {
        Some((_, wanted)) if repeats => {
            format!("write {wanted}; put text that looks like a number in quotes")
        }
        _ => message.to_owned(),
    }
}

/// Converts the API's view of a profile into a document.
pub(super) fn of(profile: &Profile) -> CreateProfile {
    CreateProfile {
        name: profile.name.clone(),
        content: profile.content.clone(),
    }
}

/// Writes the document as YAML that [`read`] accepts.
pub(super) fn yaml(document: &CreateProfile) -> Result<String, Failure> {
    let mut text = Vec::new();
    let mut serializer = yaml_serde::Serializer::new(&mut text);
    singleton_map_recursive::serialize(document, &mut serializer).map_err(Failure::other)?;
    String::from_utf8(text).map_err(Failure::other)
}

/// The differences between two documents, as names of fields without their values: `env.REGION`,
/// `secrets.API_KEY`, `tools.claude`.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Changes {
    added: Vec<String>,
    changed: Vec<String>,
    removed: Vec<String>,
}

impl Changes {
    /// Compares two documents; no document before means that everything is added.
    pub(super) fn between(before: Option<&CreateProfile>, after: &CreateProfile) -> Self {
        let (before, after) = (before.map(parts).unwrap_or_default(), parts(after));
        let mut changes = Self::default();
        for (name, value) in &after {
            match before.get(name) {
                None => changes.added.push(name.clone()),
                Some(old) if old != value => changes.changed.push(name.clone()),
                Some(_) => {}
            }
        }
        changes.removed = before
            .into_keys()
            .filter(|name| !after.contains_key(name))
            .collect();
        changes
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// `+env.A ~secrets.K -remove.X`, or `-` when nothing differs.
    pub(super) fn text(&self) -> String {
        let marked = |mark: char, names: &[String]| {
            names.iter().map(|name| format!("{mark}{name}")).collect()
        };
        let all: [Vec<String>; 3] = [
            marked('+', &self.added),
            marked('~', &self.changed),
            marked('-', &self.removed),
        ];
        or_dash(Some(all.concat().join(" ")).filter(|text| !text.is_empty()))
    }
}

/// Flattens a document into field names and their values as JSON text.
fn parts(document: &CreateProfile) -> BTreeMap<String, String> {
    let mut parts = BTreeMap::new();
    let mut add = |field: &str, key: &dyn std::fmt::Display, value: String| {
        parts.insert(format!("{field}.{key}"), value);
    };
    let content = &document.content;
    content
        .env
        .iter()
        .for_each(|(key, value)| add("env", key, value.clone()));
    content
        .secrets
        .iter()
        .for_each(|(key, reference)| add("secrets", key, reference.to_string()));
    content
        .delivery
        .iter()
        .for_each(|(key, delivery)| add("delivery", key, shown_as_json(delivery)));
    content
        .remove
        .iter()
        .for_each(|key| add("remove", key, String::new()));
    content
        .tags
        .iter()
        .for_each(|(key, value)| add("tags", &key, value.to_owned()));
    content
        .allowed_workflows
        .iter()
        .for_each(|workflow| add("allowed_workflows", workflow, String::new()));
    for (tool, keys) in content.tools.iter().flat_map(|tools| tools.iter()) {
        add(
            "tools",
            tool,
            keys.iter()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(","),
        );
    }
    // An empty tool list denies every tool; an absent list denies none.
    if content.tools.is_some() {
        parts.insert("tools".to_owned(), String::new());
    }
    if let Some(egress) = &content.egress {
        parts.insert("egress".to_owned(), egress.to_string());
    }
    parts
}

/// Text that tells any two deliveries apart.
fn shown_as_json(delivery: &Delivery) -> String {
    serde_json::to_string(delivery).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use sealfleet_domain::egress::Policy;

    use super::*;

    const FULL: &str = "
name: crm
env: {REGION: eu, PORT: '8080'}
secrets:
  API_KEY: aws-sm://sealfleet/healthcare/crm#api-key@0198c0de-0000-7000-8000-00000000000a
delivery: {API_KEY: {egress: {to: [{host: api.example}], prefix: sk-}}}
remove: [OLD]
tags: {team: billing}
allowed_workflows: [billing]
tools: {claude: ['*'], codex: []}
egress: {allow: [{host: api.example}, {host: '*.git.example', port: 8443}]}
";

    fn one(text: &str) -> CreateProfile {
        read(text, "f").expect("a profile").remove(0)
    }

    #[test]
    fn what_is_written_is_read_back() {
        let full = one(FULL);
        let again = one(&yaml(&full).expect("yaml"));
        assert_eq!(Changes::between(Some(&full), &again), Changes::default());
        assert_eq!(parts(&again).len(), 11);
        assert_eq!(
            one("{name: a, egress: none}").content.egress,
            Some(Policy::None)
        );
        assert_eq!(
            read("{\"name\": \"a\"}\n---\nname: b\n---\n", "f")
                .map(|all| all.len())
                .ok(),
            Some(2)
        );
    }

    #[test]
    fn changes_are_told_by_name() {
        let before = one("{name: crm, env: {A: '1', B: '1'}, secrets: {K: 'builtin://k@1'}}");
        let after =
            one("{name: crm, env: {A: '2', C: '1'}, secrets: {K: 'builtin://k@2'}, tools: {}}");
        assert_eq!(
            Changes::between(Some(&before), &after).text(),
            "+env.C +tools ~env.A ~secrets.K -env.B"
        );
        assert_eq!(Changes::between(None, &one("name: crm")).text(), "-");
    }

    #[test]
    fn messages_say_where_and_do_not_repeat_what_stands_there() {
        let cases = [
            (
                "name: crm\nsecrets: {K: canary}",
                "`secrets.K`: the reference has no known scheme",
            ),
            ("name: crm\nsecrets: canary", "`secrets`: write a map"),
            ("name: crm\nenv: {A: 70077}", "`env.A`: write a string"),
            ("name: crm\nenv: {A: x, A: canary}", "duplicate"),
            ("name: crm\nenw: {}", "unknown field `enw`"),
            ("name: crm\n---\nname: b\nsecrets: [70077]", "document 2"),
            ("name: crm\n---\nname: crm", "twice"),
            ("name: crm\nname: crm", "duplicate"),
            ("secrets: {}", "missing field `name`"),
            ("name: [", "line"),
            ("", "holds no profile"),
        ];
        for (text, says) in cases {
            let message = read(text, "f").expect_err(text).to_string();
            assert!(
                message.contains(says) && message.starts_with("`f`"),
                "{message}"
            );
            assert!(
                !message.contains("canary") && !message.contains("70077"),
                "{message}"
            );
        }
    }
}
