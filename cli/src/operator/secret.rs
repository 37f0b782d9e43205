//! Writes values of secrets from standard input to an identity backend: to AWS Secrets Manager,
//! with the operator's own AWS credentials; to the encrypted store of a worker on this host; or to
//! OpenBao, Vault or a file of SOPS, by their own programs.
//!
//! A value is never an argument, never printed and never read back. In Secrets Manager, a secret is
//! one JSON object, and writing it replaces all its keys. If a profile is named, the command pins
//! its key to the version just written, and updates only the profile version that it read.

mod store;

use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use clap::{ArgGroup, Args, Subcommand};
use sealfleet_client::Client;
use sealfleet_domain::capability::{AWS_SM, BUILTIN};
use sealfleet_domain::profile::{Profile, SecretUri};
use sealfleet_domain::{NamePrefix, Owner, ProfileName, ProjectId, ProjectScope, Reference};
use sealfleet_versions::SecretsManager;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use zeroize::Zeroizing;

use super::aws;
use super::connection::Connection;
use super::failure::Failure;
use super::input;
use super::output::{answer, joined, lines, note, or_dash};
use super::profile;
use store::Store;

use crate::contexts::Builtin;

/// The longest value that Secrets Manager accepts, in bytes.
const MOST: u64 = 65536;

#[derive(Subcommand)]
pub enum Verb {
    /// Write a secret's value as a new version, from standard input (typed without echo at a
    /// terminal); in Secrets Manager it is a JSON object with all keys, or, with JSON-KEY, the
    /// value of that one key
    Put(Put),
}

#[derive(Args)]
#[command(group(ArgGroup::new("owner")))]
pub struct Put {
    /// Name of the secret; in Secrets Manager without the prefix `sealfleet/PROJECT/`. Or its
    /// reference without a version, as `vault://MOUNT/PROJECT/PATH#KEY`
    name: String,
    /// The secret's only key; without it, standard input holds a JSON object
    #[arg(value_name = "JSON-KEY")]
    json_key: Option<String>,
    /// Remove one newline from the end of the value, as `echo` writes it; by default the value is
    /// stored byte for byte
    #[arg(long)]
    strip_newline: bool,
    /// Project of the secret in Secrets Manager
    #[arg(long, group = "owner")]
    project: Option<ProjectId>,
    /// Write to the system scope, for the operators' own profiles
    #[arg(long, group = "owner")]
    system: bool,
    /// KMS key that encrypts a new secret, as `SecretsKmsKeyArn` of the project's stack; an
    /// existing secret keeps its key [default: the account's key for Secrets Manager]
    #[arg(long, value_name = "ARN")]
    kms_key: Option<String>,
    /// NamePrefix of the control plane's stack: the secret's name in Secrets Manager begins with it
    #[arg(long, value_name = "PREFIX", default_value_t)]
    name_prefix: NamePrefix,
    /// Write to this encrypted store of the builtin identity backend, in the place of Secrets
    /// Manager [default: that of the context, unless `--project` or `--system` is given]
    #[arg(long, value_name = "FILE", requires = "builtin_key_file", conflicts_with_all = ["owner", "kms_key", "json_key"])]
    builtin_store: Option<PathBuf>,
    /// File with the key of that store
    #[arg(long, value_name = "FILE", requires = "builtin_store")]
    builtin_key_file: Option<PathBuf>,
    /// The `sealfleet-init` program, which writes to that store [default: beside this program, or
    /// from `PATH`]
    #[arg(long, value_name = "FILE")]
    init: Option<PathBuf>,
    /// Directory of the files of `sops://` references, as the worker has it
    #[arg(long, value_name = "DIR")]
    sops_directory: Option<PathBuf>,
    /// Profile whose key to pin to the version just written
    #[arg(long, requires = "key")]
    profile: Option<ProfileName>,
    /// Key of the profile to pin
    #[arg(long, requires = "profile")]
    key: Option<String>,
}

pub(super) async fn run(command: Verb, connection: &Connection) -> Result<(), Failure> {
    let Verb::Put(put) = command;
    if connection.takes_standard_input() {
        return Err(Failure::Usage(
            "standard input cannot hold both the token and the value".to_owned(),
        ));
    }
    let put = match put.name.contains("://") {
        true => match put.named(connection)? {
            Named::Here(put) => *put,
            Named::There(uri, put) => return by_program(uri, *put, connection).await,
        },
        false => put,
    };
    if let Some(store) = put.builtin(connection)? {
        return builtin(store, put, connection).await;
    }
    if put.project.is_none() && !put.system {
        return Err(Failure::Usage(
            "name the secret's place: `--project`, `--system`, or a store by `--builtin-store`"
                .to_owned(),
        ));
    }
    if put.strip_newline && put.json_key.is_none() {
        return Err(Failure::Usage(
            "`--strip-newline` needs a JSON-KEY".to_owned(),
        ));
    }
    let owner = put.project.as_ref().map_or("system", ProjectId::as_str);
    let prefix = format!("sealfleet/{owner}/");
    let name = format!(
        "{prefix}{}",
        put.name.strip_prefix(&prefix).unwrap_or(&put.name)
    );
    // Check everything that can be refused before asking for a value.
    if let Some(project) = &put.project {
        check_project(connection, project).await?;
    }
    let secret = uri(&name, put.json_key.as_deref())?;
    let pinned = Pinned::new(connection, put.profile, put.key, &secret).await?;
    let text = input::secret("Value", MOST)?;
    let value = match text.strip_suffix('\n') {
        Some(line) if put.strip_newline => Zeroizing::new(line.to_owned()),
        _ => text,
    };
    let (document, keys) = document(&value, put.json_key.as_deref())?;
    let uris = keys
        .iter()
        .map(|key| uri(&name, Some(key)))
        .collect::<Result<Vec<_>, _>>()?;
    let pinned = pinned
        .map(|pinned| Ok::<_, Failure>((pinned.uri(&uris)?, pinned)))
        .transpose()?;

    let config = aws::config().await?;
    let version = SecretsManager::new(&config, put.name_prefix)
        .put(owner, &name, &document, put.kms_key.as_deref())
        .await
        .map_err(Failure::other)?;
    let profile = match pinned {
        Some((uri, pinned)) => Some(
            pinned
                .pin(
                    Reference {
                        uri,
                        version: Some(version.clone()),
                        redact: true,
                    },
                    true,
                )
                .await?,
        ),
        None => None,
    };
    let mut written = serde_json::json!({ "name": name, "version": version, "keys": keys });
    told_of(&mut written, profile.as_ref());
    answer(connection.output, &written, || {
        lines([
            ("secret", name.clone()),
            ("version", version.clone()),
            ("references", joined(&uris)),
            ("profile", or_dash(profile.as_ref().map(now))),
        ])
    })
}

/// Where a reference leads.
enum Named {
    /// To a store that this program writes, with options that say the same.
    Here(Box<Put>),
    /// To another one.
    There(SecretUri, Box<Put>),
}

impl Put {
    /// Takes a reference apart.
    fn named(mut self, connection: &Connection) -> Result<Named, Failure> {
        let uri: SecretUri = self
            .name
            .parse()
            .map_err(|error| Failure::Usage(format!("`{}`: {error}", self.name)))?;
        if self.json_key.is_some() || self.project.is_some() || self.system {
            return Err(Failure::Usage(
                "a reference says all of it: leave JSON-KEY, `--project` and `--system` out"
                    .to_owned(),
            ));
        }
        if self.builtin_store.is_some() && uri.scheme() != BUILTIN.name {
            return Err(Failure::Usage(format!(
                "`--builtin-store` keeps `{}://` references, and this is `{uri}`",
                BUILTIN.name
            )));
        }
        match uri.scheme() {
            "builtin" => {
                if self.builtin(connection)?.is_none() {
                    return Err(Failure::Usage(format!(
                        "name the store of `{uri}`: `--builtin-store FILE --builtin-key-file FILE`"
                    )));
                }
                uri.name().clone_into(&mut self.name);
                Ok(Named::Here(Box::new(self)))
            }
            "aws-sm" => {
                let below = uri.name().strip_prefix("sealfleet/");
                let parts = below.and_then(|below| below.split_once('/'));
                let Some((owner, name)) = parts else {
                    return Err(Failure::Usage(format!(
                        "`{uri}` names no secret of a project: write `aws-sm://sealfleet/PROJECT/NAME#KEY`"
                    )));
                };
                match owner {
                    "system" => self.system = true,
                    owner => {
                        let project = owner.parse();
                        let bad = |error| Failure::Usage(format!("`{owner}`: {error}"));
                        self.project = Some(project.map_err(bad)?);
                    }
                }
                self.json_key = uri.key().map(str::to_owned);
                name.clone_into(&mut self.name);
                Ok(Named::Here(Box::new(self)))
            }
            _ => Ok(Named::There(uri, Box::new(self))),
        }
    }

    /// The builtin store that is named, or else that of the context.
    fn builtin(&self, connection: &Connection) -> Result<Option<Builtin>, Failure> {
        if let (Some(store), Some(key_file)) = (&self.builtin_store, &self.builtin_key_file) {
            return Ok(Some(Builtin {
                store: store.clone(),
                key_file: key_file.clone(),
            }));
        }
        if self.project.is_some() || self.system {
            return Ok(None);
        }
        let context = connection.selected()?;
        let builtin = context.and_then(|(_, context)| context.builtin);
        if builtin.is_some() && self.kms_key.is_some() {
            return Err(Failure::Usage(
                "`--kms-key` is for AWS Secrets Manager, and the context has a builtin store: name a `--project`"
                    .to_owned(),
            ));
        }
        Ok(builtin)
    }
}

/// Has the store's own program write a value, and pins the profile's key to its version.
async fn by_program(uri: SecretUri, put: Put, connection: &Connection) -> Result<(), Failure> {
    let init = put.init;
    let store = Store::of(&uri, put.sops_directory, || {
        init.map_or_else(init_program, Ok)
    })?;
    let pinned = Pinned::new(connection, put.profile, put.key, &uri).await?;
    let text = input::secret("Value", MOST)?;
    let value = match text.strip_suffix('\n') {
        Some(line) if put.strip_newline => line,
        _ => text.as_str(),
    };
    if value.is_empty() {
        return Err(Failure::Usage("standard input is empty".to_owned()));
    }
    check_value(value)?;
    let reference = Reference {
        version: Some(store.write(&uri, value)?),
        uri,
        redact: true,
    };
    let profile = match pinned {
        Some(pinned) => Some(
            pinned
                .pin(reference.clone(), store.keeps_versions())
                .await?,
        ),
        None => None,
    };
    tell(connection, &put.name, &reference, profile.as_ref())
}

/// What `sealfleet-init builtin put` answers.
#[derive(Deserialize)]
struct Stored {
    uri: SecretUri,
    version: String,
}

/// Has `sealfleet-init` add a version to a store, and pins the profile's key to it.
async fn builtin(store: Builtin, put: Put, connection: &Connection) -> Result<(), Failure> {
    if put.json_key.is_some() {
        return Err(Failure::Usage(
            "a secret of a builtin store is one value: leave JSON-KEY out".to_owned(),
        ));
    }
    let uri = checked_uri(format!("{}://{}", BUILTIN.name, put.name))?;
    let pinned = Pinned::new(connection, put.profile, put.key, &uri).await?;
    let program = put.init.map_or_else(init_program, Ok)?;
    let mut command = Command::new(&program);
    command
        .args(["builtin", "put", "--quiet", "--store"])
        .arg(&store.store)
        .arg("--key-file")
        .arg(&store.key_file)
        .args(put.strip_newline.then_some("--strip-newline"))
        .args(["--", put.name.as_str()])
        .stdout(Stdio::piped());
    let failed = |error| Failure::other(error).about(format!("`{}`", program.display()));
    let typed = std::io::stdin().is_terminal();
    if typed {
        command.stdin(Stdio::piped());
    }
    let mut child = command.spawn().map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        let value = input::secret("Value", MOST)?;
        stdin.write_all(value.as_bytes()).map_err(failed)?;
    }
    let output = child.wait_with_output().map_err(failed)?;
    if !output.status.success() {
        // It has said why on standard error.
        return Err(Failure::Other("the secret is not written".to_owned()));
    }
    let Stored { uri, version } = serde_json::from_slice(&output.stdout)
        .map_err(|error| Failure::other(error).about(format!("`{}`", program.display())))?;
    let reference = Reference {
        uri,
        version: Some(version),
        redact: true,
    };
    let profile = match pinned {
        Some(pinned) => Some(pinned.pin(reference.clone(), true).await?),
        None => None,
    };
    tell(connection, &put.name, &reference, profile.as_ref())
}

/// Says what is written, and what to do with it.
fn tell(
    connection: &Connection,
    name: &str,
    reference: &Reference,
    profile: Option<&Profile>,
) -> Result<(), Failure> {
    let text = reference.to_string();
    let mut written =
        serde_json::json!({ "name": name, "version": reference.version, "reference": text });
    told_of(&mut written, profile);
    answer(connection.output, &written, || {
        lines([
            ("secret", name.to_owned()),
            ("reference", text.clone()),
            ("profile", or_dash(profile.map(now))),
        ])
    })?;
    if profile.is_none() {
        note(&format!(
            "no step sees this version yet: set a key of a profile to `{text}` (`sealfleet profile apply`), or \
             name both by `--profile` and `--key`\n"
        ));
    }
    Ok(())
}

/// `sealfleet-init` beside this program, where the worker's package puts it, or from `PATH`.
fn init_program() -> Result<PathBuf, Failure> {
    const NAME: &str = "sealfleet-init";
    let own = std::env::current_exe().map_err(Failure::other)?;
    let places = [
        own.with_file_name(NAME),
        PathBuf::from("/usr/lib/sealfleet").join(NAME),
    ];
    let found = places.into_iter().find(|path| path.is_file());
    Ok(found.unwrap_or_else(|| PathBuf::from(NAME)))
}

fn now(profile: &Profile) -> String {
    format!("{} is now version {}", profile.name, profile.version)
}

fn told_of(written: &mut Value, profile: Option<&Profile>) {
    if let (Some(profile), Some(written)) = (profile, written.as_object_mut()) {
        written.insert("profile".to_owned(), Value::from(profile.name.as_str()));
        written.insert("profile_version".to_owned(), Value::from(profile.version));
    }
}

/// Refuses a project that there is not: no sandbox could ever read its secret. Writing needs AWS
/// credentials alone, so a control plane that is not named or does not answer stops nobody.
async fn check_project(connection: &Connection, project: &ProjectId) -> Result<(), Failure> {
    let asked = match connection.client() {
        Ok(client) => client.get_project(project).await.map_err(Failure::from),
        Err(failure) => Err(failure),
    };
    match asked {
        Err(Failure::Client(error)) if error.status() == Some(404) => Err(Failure::Usage(format!(
            "`--project`: there is no project `{project}`, or your token is of another one"
        ))),
        Err(failure) => {
            note(&format!(
                "nobody has checked that the project `{project}` exists: {failure}\n"
            ));
            Ok(())
        }
        Ok(_) => Ok(()),
    }
}

fn uri(name: &str, key: Option<&str>) -> Result<SecretUri, Failure> {
    let key = key.map(|key| format!("#{key}")).unwrap_or_default();
    checked_uri(format!("{}://{name}{key}", AWS_SM.name))
}

fn checked_uri(uri: String) -> Result<SecretUri, Failure> {
    uri.parse().map_err(|_| {
        Failure::Usage(format!(
            "`{uri}` cannot be a reference: use letters, digits, `-`, `_` and `.`"
        ))
    })
}

/// The key of a profile that will refer to the value just written.
struct Pinned {
    client: Client,
    before: Profile,
    key: String,
}

impl Pinned {
    /// Refuses what the control plane would refuse to pin, before a value is asked for or written:
    /// a profile of another owner than the secret's, for one.
    async fn new(
        connection: &Connection,
        profile: Option<ProfileName>,
        key: Option<String>,
        secret: &SecretUri,
    ) -> Result<Option<Self>, Failure> {
        let (Some(profile), Some(key)) = (profile, key) else {
            return Ok(None);
        };
        let client = connection.client()?;
        let before = profile::read(&client, &profile).await?;
        let content = &before.content;
        if content.env.contains_key(&key) || content.remove.contains(&key) {
            return Err(Failure::Usage(format!(
                "`{key}` is not a secret of the profile `{profile}`: the profile names it in `env` or `remove`; remove it there first"
            )));
        }
        let mut after = content.clone();
        let pin = Reference {
            uri: secret.clone(),
            // It will have one.
            version: Some("new".to_owned()),
            redact: true,
        };
        after.secrets.insert(key.clone(), pin);
        let owner = match client.get_whoami().await?.project {
            Some(project) => Owner::Project(ProjectScope::of_stored_row(project)),
            None => Owner::System,
        };
        after.check(&owner).map_err(|error| {
            Failure::Usage(format!(
                "nothing is written, as `{secret}` cannot be pinned in the profile `{profile}`: {error}"
            ))
        })?;
        Ok(Some(Self {
            client,
            before,
            key,
        }))
    }

    /// Picks the address among `written` for the key: the only one, or the one that the key has
    /// now.
    fn uri(&self, written: &[SecretUri]) -> Result<SecretUri, Failure> {
        let present = self
            .before
            .content
            .secrets
            .get(&self.key)
            .map(|reference| &reference.uri);
        match written {
            [only] => Ok(only.clone()),
            several => several.iter().find(|uri| present == Some(*uri)).cloned().ok_or_else(|| {
                Failure::Usage(format!(
                    "the value has several keys, and `{}` of the profile `{}` refers to none of them: write that key alone, \
                     by JSON-KEY, or add the reference with `sealfleet profile apply` first",
                    self.key, self.before.name
                ))
            }),
        }
    }

    /// Pins the key. If somebody else changes the profile at the same time, keeps that change and
    /// pins on top of it. Where a store keeps the newest version only, other keys of the same
    /// secret are pinned to it as well: their old version is gone.
    async fn pin(self, reference: Reference, keeps_versions: bool) -> Result<Profile, Failure> {
        let Self {
            client,
            before,
            key,
        } = self;
        let name = before.name.clone();
        let set = async |profile: &Profile| {
            let mut content = profile.content.clone();
            let mut reference = reference.clone();
            let before = content.secrets.get(&key);
            reference.redact = before.is_none_or(|before| before.redact);
            let (version, uri) = (reference.version.clone(), reference.uri.clone());
            content.secrets.insert(key.clone(), reference);
            let place = |uri: &SecretUri| (uri.scheme(), uri.name().to_owned());
            let others = content.secrets.values_mut();
            for other in others.filter(|one| !keeps_versions && place(&one.uri) == place(&uri)) {
                other.version.clone_from(&version);
            }
            client.put_profile(&name, &content, profile.version).await
        };
        let outcome = match set(&before).await {
            Err(error) if error.status() == Some(412) => match client.get_profile(&name).await {
                Ok(now) => set(&now).await,
                Err(error) => Err(error),
            },
            outcome => outcome,
        };
        outcome.map_err(|error| {
            Failure::from(error).about(format!(
                "the secret is written, but the profile `{name}` is not; set `secrets.{key}` to `{reference}` with \
                 `sealfleet profile apply`"
            ))
        })
    }
}

/// The JSON object to store and the names of its keys.
fn document(
    text: &Zeroizing<String>,
    key: Option<&str>,
) -> Result<(Zeroizing<String>, Vec<String>), Failure> {
    let unwritable = |_| Failure::Other("the value cannot be written as JSON".to_owned());
    if let Some(key) = key {
        if text.is_empty() {
            return Err(Failure::Usage("standard input is empty".to_owned()));
        }
        check_value(text)?;
        let (name, value) = (
            serde_json::to_string(key),
            serde_json::to_string(text.as_str()),
        );
        let value = Zeroizing::new(value.map_err(unwritable)?);
        let document = Zeroizing::new(format!(
            "{{{}:{}}}",
            name.map_err(unwritable)?,
            value.as_str()
        ));
        return Ok((document, vec![key.to_owned()]));
    }
    // The error does not repeat the input: it may hold part of a value.
    let bad = || {
        Failure::Usage(
            "standard input must hold a JSON object whose values are strings; for a plain value, name a JSON-KEY"
                .to_owned(),
        )
    };
    let Members(members) = serde_json::from_str(text).map_err(|_| bad())?;
    if members.is_empty() {
        return Err(bad());
    }
    let mut keys = BTreeSet::new();
    for (key, value) in members {
        check_value(&value)?;
        // The service would keep one of the two, and nobody could tell which.
        if !keys.insert(key.clone()) {
            return Err(Failure::Usage(format!(
                "the JSON object names `{key}` twice; keep one of the two"
            )));
        }
    }
    Ok((
        Zeroizing::new(text.trim().to_owned()),
        keys.into_iter().collect(),
    ))
}

/// An environment variable cannot hold every value.
fn check_value(value: &str) -> Result<(), Failure> {
    if value.contains('\0') {
        return Err(Failure::Usage(
            "the value holds NUL, which no environment variable can; encode it, for example as base64"
                .to_owned(),
        ));
    }
    Ok(())
}

/// The members of a JSON object with texts as values, each as often as it is named.
struct Members(Vec<(String, Zeroizing<String>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct OfMap;

        impl<'de> Visitor<'de> for OfMap {
            type Value = Members;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, String>()? {
                    members.push((key, Zeroizing::new(value)));
                }
                Ok(Members(members))
            }
        }

        from.deserialize_map(OfMap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, key: Option<&str>) -> Result<(String, Vec<String>), String> {
        let read = document(&Zeroizing::new(text.to_owned()), key);
        read.map(|(document, keys)| (document.to_string(), keys))
            .map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_value_becomes_a_json_object() {
        let one = Ok((
            r#"{"api-key":"a\"b"}"#.to_owned(),
            vec!["api-key".to_owned()],
        ));
        assert_eq!(read("a\"b", Some("api-key")), one);
        // A PEM key keeps its lines and its end.
        let pem = read("-----BEGIN-----\r\nx\r\n-----END-----\r\n", Some("k"));
        assert_eq!(
            pem.map(|(document, _)| document),
            Ok(r#"{"k":"-----BEGIN-----\r\nx\r\n-----END-----\r\n"}"#.to_owned())
        );
        let both = Ok((
            r#"{"a":"1","b":"2"}"#.to_owned(),
            vec!["a".to_owned(), "b".to_owned()],
        ));
        assert_eq!(read("{\"a\":\"1\",\"b\":\"2\"}\n", None), both);
        for bad in [
            r#"{"a":"canary","a":"canary"}"#,
            r#"{"a":"canary\u0000"}"#,
            "canary-value",
            "{\"a\":1}",
            "{}",
            "[\"canary-value\"]",
            "",
        ] {
            let error = read(bad, None).expect_err("refused");
            assert!(!error.contains("canary"), "{error}");
        }
        assert!(read("", Some("a")).is_err() && read("a\0", Some("a")).is_err());
    }
}
