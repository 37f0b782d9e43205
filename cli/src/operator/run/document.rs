//! Runs as files: YAML or JSON with the API's field names.

use sealfleet_client::types::EnqueueRun;
use serde::Deserialize;
use serde::de::{self, DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::super::failure::Failure;

/// Reads a run.
pub(super) fn read(text: &str, source: &str) -> Result<EnqueueRun, Failure> {
    read_as(text, source, "run")
}

/// Reads a document, which is a `kind`. `source` names the file in errors. Refuses a key that a map
/// has twice: keeping only one would hide a mistake.
pub(in super::super) fn read_as<T: DeserializeOwned>(
    text: &str,
    source: &str,
    kind: &str,
) -> Result<T, Failure> {
    let wrong = |what: &str| Failure::Usage(format!("`{source}` is not a valid {kind}: {what}"));
    let Strict(value) = value(text).map_err(|what| wrong(&what))?;
    if value.is_null() {
        return Err(wrong("it is empty"));
    }
    serde_path_to_error::deserialize(&value).map_err(|error| {
        let (path, what) = (error.path().to_string(), error.inner().to_string());
        let remedy = if path.ends_with("_seconds") && what.contains("string") {
            "; write seconds as a number: `600` for ten minutes"
        } else {
            ""
        };
        if path == "." {
            wrong(&what)
        } else {
            wrong(&format!("`{path}`: {what}{remedy}"))
        }
    })
}

/// JSON, or else YAML. Nearly all JSON is YAML, but JSON may be indented with tabs.
fn value(text: &str) -> Result<Strict, String> {
    if text.trim_start().starts_with('{')
        && let Ok(value) = serde_json::from_str(text)
    {
        return Ok(value);
    }
    let mut documents = yaml_serde::Deserializer::from_str(text);
    let first = documents.next().ok_or("it is empty")?;
    let value = Strict::deserialize(first).map_err(|error| error.to_string())?;
    match documents.next() {
        Some(_) => Err("it holds several documents; write one run in a file".to_owned()),
        None => Ok(value),
    }
}

/// A value whose maps name each key once.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Any).map(Self)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value that JSON has")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value);
        number
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number that JSON does not have"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            all.push(item);
        }
        Ok(all.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some((key, Strict(value))) = members.next_entry::<String, Strict>()? {
            if all.contains_key(&key) {
                return Err(de::Error::custom(format!(
                    "duplicate entry with key `{key}`"
                )));
            }
            all.insert(key, value);
        }
        Ok(all.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "
workflow: w
labels: {team: billing}
steps:
  - id: a
    pool: p
    mode: bare
    command: [echo, '1']
    env: {A: x}
    timeout_seconds: 60
";

    #[test]
    fn yaml_and_json_are_the_same_run() {
        let yaml = read(YAML, "f").expect("a run");
        let json = serde_json::to_string_pretty(&yaml)
            .expect("json")
            .replace("  ", "\t");
        let again = read(&json, "f").expect("a run");
        assert_eq!(yaml, again);
        assert_eq!(yaml.labels.get("team").map(String::as_str), Some("billing"));
    }

    #[test]
    fn the_run_of_a_pull_request_is_one() {
        let example = include_str!("../../../../examples/pull-request/run.yaml");
        let run = read(
            &example.replace("UPLOAD-ID", "upl_0198c0de-0000-7000-8000-00000000000a"),
            "run.yaml",
        )
        .expect("a run");
        let tools = run.steps.iter().map(|step| step.tool.as_ref());
        let tools: Vec<_> = tools.map(|tool| tool.map(ToString::to_string)).collect();
        let git = Some("git".to_owned());
        assert_eq!(tools, [git.clone(), None, git]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (from, to, says) in [
            (
                "timeout_seconds: 60",
                "timeout_seconds: 10m",
                "`steps[0].timeout_seconds`",
            ),
            (
                "timeout_seconds: 60",
                "timeout_seconds: 10m",
                "write seconds as a number",
            ),
            ("env: {A: x}", "env: {A: x, A: y}", "duplicate"),
            ("workflow: w", "workflow: w\nworkflow: v", "duplicate"),
            ("mode: bare", "mode: bear", "`steps[0].mode`"),
            ("[echo, '1']", "[echo, 1]", "`steps[0].command[1]`"),
            ("pool: p", "pol: p", "unknown field `pol`"),
            ("workflow: w", "workflow: [", "line"),
            (YAML, "", "it is empty"),
            (YAML, "a: 1\n---\nb: 1", "several documents"),
            (YAML, r#"{"workflow": "w", "workflow": "v"}"#, "duplicate"),
        ] {
            let message = read(&YAML.replace(from, to), "f")
                .expect_err(to)
                .to_string();
            assert!(
                message.starts_with("`f` is not") && message.contains(says),
                "{message}"
            );
        }
    }
}
