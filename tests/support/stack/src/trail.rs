//! The audit trail, and its archive: what `export` wrote to S3, verified as an auditor would.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sealfleet_archive::digest::Digest;
use sealfleet_archive::objects;
use sealfleet_client::{AuditQuery, PageQuery, all_pages};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::aws::Service;
use crate::project::named;
use crate::{Caller, Failure, Outcome, Stack, ensure};

impl Caller {
    /// The entries of the caller's own trail (an operator's is the operators') that a query asks
    /// for, oldest first.
    pub async fn trail(&self, query: &AuditQuery) -> Outcome<Vec<Value>> {
        let list = async |page: &PageQuery| {
            self.client()
                .list_audit_entries(&AuditQuery {
                    page: page.clone(),
                    ..query.clone()
                })
                .await
        };
        all_pages(list)
            .await?
            .iter()
            .map(|entry| Ok(serde_json::to_value(entry)?))
            .collect()
    }

    /// The events of one name in all of it, oldest first.
    pub async fn events(&self, name: &str) -> Outcome<Vec<Value>> {
        Ok(named(&self.trail(&AuditQuery::default()).await?, name))
    }
}

/// A packed attribute of a row, in DynamoDB's typed JSON.
pub fn packed(value: &Value) -> Outcome<Value> {
    let packed =
        sealfleet_ledger::pack(value).map_err(|error| Failure::new(format!("{error:?}")))?;
    Ok(json!({ "B": STANDARD.encode(packed) }))
}

/// What a packed attribute holds.
pub fn unpacked(attribute: &Value) -> Outcome<Value> {
    let packed = STANDARD.decode(attribute["B"].as_str().unwrap_or_default())?;
    sealfleet_ledger::unpack(&packed).map_err(|error| Failure::new(error.to_string()))
}

/// The archive as it was when it was read: a copy that can be touched.
#[derive(Clone)]
pub struct Archive {
    /// The objects that digests list, by key: exported ones, and rows that were set aside.
    pub objects: BTreeMap<String, Vec<u8>>,
    /// Digests, by key: oldest first.
    pub digests: BTreeMap<String, Vec<u8>>,
}

/// The output of `sealfleet audit verify --output json`.
#[derive(Clone, Debug, Deserialize)]
pub struct Verified {
    pub digests: u64,
    pub objects: u64,
    pub lines: u64,
    /// Lines that are there more than once.
    pub doubles: u64,
    /// Rows that were set aside.
    pub set_aside: u64,
    /// Objects since the newest digest.
    pub not_digested_yet: u64,
    /// `NUMBER:SHA256` of the newest digest.
    pub newest: Option<String>,
    /// What is wrong: `kind`, and where: `digest`, `object`, `line`, `count`.
    pub faults: Vec<Value>,
}

impl Verified {
    /// The kinds of all faults, in order.
    pub fn kinds(&self) -> Vec<&str> {
        self.faults
            .iter()
            .filter_map(|fault| fault["kind"].as_str())
            .collect()
    }
}

impl Archive {
    /// Reads all of it. Digests first: what is written meanwhile is then not digested yet.
    pub async fn read(stack: &Stack) -> Outcome<Self> {
        let digests = below(stack, "digests/").await?;
        let mut objects = below(stack, "audit/").await?;
        objects.extend(below(stack, "set-aside/").await?);
        Ok(Self { objects, digests })
    }

    /// Reads the exported events of one trail, and no digests.
    pub async fn of(stack: &Stack, project: &str) -> Outcome<Self> {
        let objects = below(stack, &format!("audit/project={project}/")).await?;
        Ok(Self {
            objects,
            digests: BTreeMap::new(),
        })
    }

    /// Verifies this copy as an auditor does: offline, with the public key alone.
    pub async fn verified(&self, stack: &Stack) -> Outcome<Verified> {
        self.verified_with(stack, &public_key(stack).await?, &[])
            .await
    }

    /// As [`Archive::verified`], with a key and options of the caller's.
    pub async fn verified_with(
        &self,
        stack: &Stack,
        key: &Path,
        options: &[&str],
    ) -> Outcome<Verified> {
        let copy = stack.scratch.join(format!("archive-{}", crate::unique()));
        for (name, bytes) in self.objects.iter().chain(&self.digests) {
            let file = copy.join(name);
            std::fs::create_dir_all(file.parent().unwrap_or(&copy))?;
            std::fs::write(file, bytes)?;
        }
        std::fs::create_dir_all(&copy)?;
        let mut command = Command::new(stack.binaries.join("sealfleet"));
        // It needs neither endpoint nor credentials.
        command
            .env_clear()
            .args(["audit", "verify", "--output", "json", "--directory"])
            .arg(&copy);
        let output = command
            .arg("--public-key")
            .arg(key)
            .args(options)
            .stdin(Stdio::null())
            .output()
            .await?;
        std::fs::remove_dir_all(&copy)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let verified: Verified = serde_json::from_slice(&output.stdout).map_err(|error| {
            Failure::new(format!(
                "`sealfleet audit verify` printed no report: {error}: {said}"
            ))
        })?;
        let code = output.status.code();
        ensure!(
            code == Some(i32::from(!verified.faults.is_empty())),
            "`sealfleet audit verify` ended with {code:?} for {verified:?}"
        );
        Ok(verified)
    }

    pub fn lines_of(&self, key: &str) -> Outcome<Vec<String>> {
        let bytes = self
            .objects
            .get(key)
            .ok_or_else(|| Failure::new(format!("there is no object `{key}`")))?;
        let content = String::from_utf8_lossy(&objects::content(key, bytes)?).into_owned();
        Ok(content.lines().map(str::to_owned).collect())
    }

    /// Puts other lines into an object.
    pub fn put_lines(&mut self, key: &str, lines: &[String]) -> Outcome {
        let content: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.objects
            .insert(key.to_owned(), objects::pack(content.as_bytes())?);
        Ok(())
    }

    /// The objects with events that digests list, each with its digest's number.
    pub fn digested(&self) -> Vec<(u64, String)> {
        let digests = self
            .digests
            .values()
            .filter_map(|bytes| Digest::read(bytes))
            .map(|(digest, _, _)| digest);
        let listed = digests.flat_map(|digest| {
            digest
                .objects
                .into_iter()
                .map(move |object| (digest.number, object.key))
                .collect::<Vec<_>>()
        });
        listed
            .filter(|(_, key)| key.starts_with("audit/"))
            .collect()
    }

    /// The exported events: one for each event of each entry, with the entry's id and the event's
    /// place in it.
    pub fn lines(&self) -> Vec<Value> {
        let events = self
            .objects
            .iter()
            .filter(|(key, _)| key.starts_with("audit/"));
        let contents: Vec<Vec<u8>> = events
            .filter_map(|(key, bytes)| objects::content(key, bytes).ok())
            .collect();
        let lines = contents.iter().flat_map(|content| objects::lines(content));
        let read = lines.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
        read.map(|mut line| line["unmapped"].take()).collect()
    }

    /// The events of an audit entry that do not stand in the archive exactly once, as the trail
    /// shows them.
    pub fn missing(&self, entries: &[Value]) -> Vec<String> {
        let mut exported: BTreeMap<(String, u64), Vec<Value>> = BTreeMap::new();
        for line in self.lines() {
            let place = (
                line["event_id"].as_str().unwrap_or_default().to_owned(),
                line["index"].as_u64().unwrap_or_default(),
            );
            exported.entry(place).or_default().push(line);
        }
        let mut missing = Vec::new();
        for entry in entries {
            let id = entry["event_id"].as_str().unwrap_or_default();
            for (index, event) in (0..).zip(entry["events"].as_array().into_iter().flatten()) {
                let lines = exported
                    .get(&(id.to_owned(), index))
                    .map(Vec::as_slice)
                    .unwrap_or_default();
                let same = |line: &Value| {
                    line["event"] == *event
                        && ["at", "project", "actor", "run_id"]
                            .iter()
                            .all(|member| line[*member] == entry[*member])
                };
                if lines.len() != 1 || !lines.iter().all(same) {
                    missing.push(format!("{id} {index}: {event} against {lines:?}"));
                }
            }
        }
        missing
    }
}

/// Objects below a prefix.
async fn below(stack: &Stack, prefix: &str) -> Outcome<BTreeMap<String, Vec<u8>>> {
    let bucket = &stack.parts.audit_bucket;
    let mut found = BTreeMap::new();
    for key in stack.aws.keys(bucket, prefix).await? {
        if let Some(bytes) = stack.aws.object(bucket, &key).await? {
            found.insert(key, bytes);
        }
    }
    Ok(found)
}

/// Copies entries of a project's runs to its trail again, out of this ledger. What the command
/// says.
pub async fn repaired(
    stack: &Stack,
    project: &str,
    (from, to): (&str, &str),
    ledger_table: &str,
) -> Outcome<Value> {
    let repair = ["--output", "json", "audit", "repair", "--project", project];
    let what = ["--from", from, "--to", to, "--ledger-table", ledger_table];
    let told = stack.cli(&[repair, what].concat()).await?;
    Ok(serde_json::from_str(&told)?)
}

/// A file with the public half of the key that signs digests, as KMS answers it.
pub async fn public_key(stack: &Stack) -> Outcome<PathBuf> {
    let asked = json!({ "KeyId": "alias/sealfleet-digest" });
    let answer = stack.aws.call(Service::Kms, "GetPublicKey", asked).await?;
    let file = stack.scratch.join("digest-key.pub");
    std::fs::write(&file, answer["PublicKey"].as_str().unwrap_or_default())?;
    Ok(file)
}
