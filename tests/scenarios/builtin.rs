//! The builtin identity backend: encryption at rest, another key, and the documented drills on the
//! files of a live worker.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sealfleet_domain::run::RunState;
use sealfleet_test_stack::identity::{Stored, secrets};
use sealfleet_test_stack::project::{PULL, step};
use sealfleet_test_stack::worker::BuiltinStore;
use sealfleet_test_stack::{Failure, Outcome, Project, Stack, ensure, ensure_eq, sha256, unique};
use serde_json::{Value, json};

use crate::drill::{self, documented};
use crate::seen::{SOON, with_profile};

const GUIDE: &str = "docs/guides/builtin-backend.md";

/// 32. Stored bytes of the builtin identity backend hold no plaintext; wrong key -> clear error.
pub async fn s32_what_is_stored_opens_with_its_key_only(stack: &Stack) -> Outcome {
    let project = stack.project("thirtytwo").await?;
    let store = project.builtin_store(stack).await?;
    let value = format!("s32-{}-{}", unique(), unique());
    let stored = store.put("crm/api-key", &value).await?;
    project.profile("s32", &stored.pinned()).await?;

    for file in std::fs::read_dir(directory(&store)?)? {
        let path = file?.path();
        let bytes = std::fs::read(&path)?;
        for form in [
            value.clone(),
            hex(&value),
            hex(&value).to_uppercase(),
            BASE64.encode(&value),
        ] {
            // Half of it, from the middle: where an encoding cuts the rest otherwise.
            let part = form
                .get(form.len() / 4..form.len() / 4 * 3)
                .unwrap_or(&form)
                .as_bytes();
            ensure!(
                !bytes.windows(part.len()).any(|window| window == part),
                "{} holds the value",
                path.display()
            );
        }
    }
    sees(stack, &project, "s32", &[("API_KEY", &value)]).await?;

    let (other, kept) = (
        store.key.with_extension("other"),
        store.key.with_extension("kept"),
    );
    let drill = Drill::new(stack, &store)?;
    drill
        .run(r#"sealfleet-init builtin create-key --key-file "$KEY_BACKUP""#)
        .await?;
    std::fs::rename(drill.path("KEY_BACKUP")?, &other)?;
    for verb in ["list", "verify", "put crm/api-key"] {
        let command = format!(
            r#"sealfleet-init builtin {verb} --store "$STORE" --key-file {}"#,
            other.display()
        );
        drill.does_not_open(&command).await?;
    }
    std::fs::rename(&store.key, &kept)?;
    std::fs::rename(&other, &store.key)?;
    let run = project
        .enqueue(&reading("s32", &[("API_KEY", &value)]))
        .await?;
    let failed = json!(project.until(&run, "only", &["failed"], SOON).await?);
    std::fs::rename(&kept, &store.key)?;
    ensure_eq!(
        failed["failure"]["kind"],
        "secret_unavailable",
        "the failure: {failed}"
    );
    let detail = failed["failure"]["detail"].as_str().unwrap_or_default();
    ensure!(
        detail.contains("wrong_key") && !detail.contains(&value),
        "the failure is not clear: {detail}"
    );
    Ok(())
}

/// 33. Rotate the builtin master key -> every old secret readable; the documented restore drill
///     works.
pub async fn s33_a_rotated_key_opens_every_old_secret(stack: &Stack) -> Outcome {
    let project = stack.project("thirtythree").await?;
    let store = project.builtin_store(stack).await?;
    let mut all: Vec<(&str, String, Stored)> = Vec::new();
    for (key, name) in [("OLD", "crm"), ("NEW", "crm"), ("OTHER", "ehr/token")] {
        let value = format!("s33-{key}-{}", unique());
        let stored = store.put(name, &value).await?;
        all.push((key, value, stored));
    }
    let references: Vec<(&str, String)> = all
        .iter()
        .map(|(key, _, stored)| (*key, stored.pinned()))
        .collect();
    let references: Vec<(&str, &str)> = references
        .iter()
        .map(|(key, pinned)| (*key, pinned.as_str()))
        .collect();
    project
        .admin
        .create_profile("s33", &secrets(&references))
        .await?;
    let values: Vec<(&str, &str)> = all
        .iter()
        .map(|(key, value, _)| (*key, value.as_str()))
        .collect();
    sees(stack, &project, "s33", &values).await?;
    let drill = Drill::new(stack, &store)?;
    let listed = drill
        .run(r#"sealfleet-init builtin list --store "$STORE" --key-file "$KEY""#)
        .await?;
    ensure_eq!(listed.lines().count(), 3, "versions");
    let old_key = store.key.with_extension("old");
    std::fs::copy(&store.key, &old_key)?;

    // The worker resolves every version after each of the documented commands.
    let commands = documented(GUIDE, "change the key")?;
    ensure_eq!(commands.len(), 4, "commands that change the key");
    for command in &commands {
        drill.run(command).await?;
        sees(stack, &project, "s33", &values)
            .await
            .map_err(|failure| Failure::new(format!("after `{command}`: {failure}")))?;
    }
    let verify = r#"sealfleet-init builtin verify --store "$STORE" --key-file "$KEY""#;
    ensure_eq!(drill.run(verify).await?, listed, "what the new key opens");
    let with_old = verify.replace("$KEY", &old_key.display().to_string());
    drill.does_not_open(&with_old).await?;
    let holds = std::fs::read_to_string(&store.key)?.lines().count();
    ensure_eq!(holds, 1, "keys in the key file, in the end");

    for command in documented(GUIDE, "back up")? {
        drill.run(&command).await?;
    }
    std::fs::remove_file(&store.store)?;
    std::fs::write(&store.key, "lost")?;
    let restore = documented(GUIDE, "restore")?;
    ensure!(restore.len() >= 3, "the drill is gone from the document");
    for command in restore {
        drill.run(&command).await?;
    }
    ensure_eq!(
        drill.run(verify).await?,
        listed,
        "what is there after the restore"
    );
    sees(stack, &project, "s33", &values).await
}

/// A run of one step in the worker's sandbox that succeeds if it sees these values.
fn reading(profile: &str, values: &[(&str, &str)]) -> Value {
    let tests: Vec<String> = values
        .iter()
        .map(|(key, value)| {
            let hash = sha256(value.as_bytes());
            format!(r#"test "$(printf %s "${key}" | sha256sum | cut -c 1-64)" = {hash}"#)
        })
        .collect();
    let command = json!(["sh", "-c", tests.join(" && ")]);
    with_profile(
        profile,
        &[step(
            "only",
            &json!({ "pool": PULL, "mode": "identity", "command": command }),
        )],
    )
}

async fn sees(stack: &Stack, project: &Project, profile: &str, values: &[(&str, &str)]) -> Outcome {
    let worker = project.live_worker(stack).await?;
    let run = project.enqueue(&reading(profile, values)).await?;
    let ended = project.finished(&run, SOON).await?;
    ensure_eq!(
        ended.state,
        RunState::Succeeded,
        "a step that reads {values:?}: {ended:?}\n  its worker says\n{}",
        worker.log()
    );
    Ok(())
}

fn directory(store: &BuiltinStore) -> Outcome<PathBuf> {
    store
        .store
        .parent()
        .map(Path::to_owned)
        .ok_or_else(|| Failure::new("the store has no directory"))
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// Where the documented commands run.
struct Drill {
    environment: Vec<(&'static str, PathBuf)>,
    binaries: PathBuf,
}

impl Drill {
    fn new(stack: &Stack, store: &BuiltinStore) -> Outcome<Self> {
        let (one, two) = (
            directory(store)?.join("vault-1"),
            directory(store)?.join("vault-2"),
        );
        std::fs::create_dir_all(&one)?;
        std::fs::create_dir_all(&two)?;
        let environment = vec![
            ("STORE", store.store.clone()),
            ("KEY", store.key.clone()),
            ("STORE_BACKUP", one.join("store.json")),
            ("KEY_BACKUP", two.join("key")),
        ];
        Ok(Self {
            environment,
            binaries: stack.binaries.clone(),
        })
    }

    /// The command is refused, because its key is another one.
    async fn does_not_open(&self, command: &str) -> Outcome {
        let refused = self.run(command).await.err();
        let refused = refused
            .map(|failure| failure.to_string())
            .unwrap_or_default();
        ensure!(
            refused.contains("the key does not open this builtin store"),
            "`{command}` with another key: {refused}"
        );
        Ok(())
    }

    fn path(&self, name: &str) -> Outcome<&Path> {
        let found = self.environment.iter().find(|(known, _)| *known == name);
        found
            .map(|(_, path)| path.as_path())
            .ok_or_else(|| Failure::new(format!("the drill has no `{name}`")))
    }

    async fn run(&self, command: &str) -> Outcome<String> {
        let environment = self.environment.iter();
        let environment = environment.map(|(name, path)| (*name, path.as_os_str().to_owned()));
        drill::run(&self.binaries, environment, command).await
    }
}
