//! Values of secrets: from standard input to AWS Secrets Manager, with the operator's own AWS credentials.
//!
//! A value is never an argument, never printed, and never read back: a secret is one JSON object, and writing it
//! replaces all of its keys.

use clap::Subcommand;
use sealfleet_domain::ProjectId;
use sealfleet_secrets_manager::SecretsManager;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::connection::Connection;
use super::failure::Failure;
use super::input;
use super::output::{answer, joined, lines};

/// The longest value that Secrets Manager takes, in bytes.
const MOST: u64 = 65536;

#[derive(Subcommand)]
pub enum Command {
    /// Write a secret's value as its new current version. Standard input holds a JSON object with all its keys, or,
    /// with KEY, that one key's value
    Put {
        /// The secret's name without `sealfleet/PROJECT/`
        name: String,
        /// Its only key; without it, standard input holds a JSON object
        #[arg(value_name = "KEY")]
        key: Option<String>,
        /// The same as KEY
        #[arg(long = "key", value_name = "KEY", id = "key_option", conflicts_with = "key")]
        key_option: Option<String>,
        /// The project
        #[arg(long)]
        project: ProjectId,
    },
}

pub(super) async fn run(command: Command, connection: &Connection) -> Result<(), Failure> {
    let Command::Put { name, key, key_option, project } = command;
    if connection.takes_standard_input() {
        return Err(Failure::Usage("standard input cannot hold both the token and the value".to_owned()));
    }
    let prefix = format!("sealfleet/{project}/");
    let name = format!("{prefix}{}", name.strip_prefix(&prefix).unwrap_or(&name));
    let text = input::secret("Value", MOST)?;
    let (document, keys) = document(&text, key.or(key_option).as_deref())?;
    for key in &keys {
        let uri = format!("aws-sm://{name}#{key}");
        let parsed: Result<sealfleet_domain::profile::SecretUri, _> = uri.parse();
        parsed.map_err(|_| {
            Failure::Usage(format!("`{uri}` cannot be a reference: use letters, digits, `-`, `_` and `.`"))
        })?;
    }
    let config = sealfleet_aws::config::load().await;
    let version = SecretsManager::new(&config).put(&project, &name, &document).await.map_err(Failure::other)?;
    let written = serde_json::json!({ "name": name, "version": version, "keys": keys });
    answer(connection.output, &written, || {
        lines([
            ("secret", name.clone()),
            ("version", version.clone()),
            ("references", joined(keys.iter().map(|key| format!("aws-sm://{name}#{key}")))),
        ])
    })
}

/// The JSON object to store, and the names of its keys.
fn document(text: &Zeroizing<String>, key: Option<&str>) -> Result<(Zeroizing<String>, Vec<String>), Failure> {
    let unwritable = |_| Failure::Other("the value cannot be written as JSON".to_owned());
    if let Some(key) = key {
        // What a shell's `echo` adds is no part of a value.
        let value = text.strip_suffix('\n').unwrap_or(text);
        if value.is_empty() {
            return Err(Failure::Usage("standard input is empty".to_owned()));
        }
        let (name, value) = (serde_json::to_string(key), serde_json::to_string(value));
        let value = Zeroizing::new(value.map_err(unwritable)?);
        let document = Zeroizing::new(format!("{{{}:{}}}", name.map_err(unwritable)?, value.as_str()));
        return Ok((document, vec![key.to_owned()]));
    }
    // The error is not repeated: it may hold a part of a value.
    let bad = || {
        Failure::Usage("standard input must hold a JSON object of texts, or name a KEY for a plain value".to_owned())
    };
    let object: Map<String, Value> = serde_json::from_str(text).map_err(|_| bad())?;
    if object.is_empty() || !object.values().all(Value::is_string) {
        return Err(bad());
    }
    Ok((Zeroizing::new(text.trim().to_owned()), object.keys().cloned().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, key: Option<&str>) -> Result<(String, Vec<String>), String> {
        let read = document(&Zeroizing::new(text.to_owned()), key);
        read.map(|(document, keys)| (document.to_string(), keys)).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_value_becomes_a_json_object() {
        let one = Ok((r#"{"api-key":"a\"b"}"#.to_owned(), vec!["api-key".to_owned()]));
        assert_eq!(read("a\"b\n", Some("api-key")), one);
        let both = Ok((r#"{"a":"1","b":"2"}"#.to_owned(), vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(read("{\"a\":\"1\",\"b\":\"2\"}\n", None), both);
        for bad in ["canary-value", "{\"a\":1}", "{}", "[\"canary-value\"]", ""] {
            let error = read(bad, None).expect_err("refused");
            assert!(!error.contains("canary"), "{error}");
        }
        assert!(read("", Some("a")).is_err());
    }
}
