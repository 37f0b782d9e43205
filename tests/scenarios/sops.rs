//! Secrets in files that the real `sops` has encrypted, beside a real worker.

use std::path::{Path, PathBuf};

use age::secrecy::ExposeSecret as _;
use sealfleet_test_stack::identity::secrets;
use sealfleet_test_stack::project::{PULL, merged, step};

use sealfleet_test_stack::worker::{BuiltinStore, Claimed, WorkerProcess};
use sealfleet_test_stack::{
    Failure, Outcome, Project, Stack, ensure, ensure_eq, private_file, unique,
};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::seen::{SOON, with_profile};

/// 84. A value in a file of SOPS reaches the step that was granted it, as the profile pins it, and
///     nothing else of the file does. Once the file has changed, the pinned version is refused.
pub async fn s84_a_worker_reads_files_of_sops(stack: &Stack) -> Outcome {
    let project = stack.project("sops").await?;
    let place = Place::new(stack, &project)?;
    let canary = format!("canary-{}-{}", unique(), unique());
    place.write(&canary).await?;
    let listed = place.listed().await?;
    let pinned = listed
        .iter()
        .find(|reference| reference.contains("#db.password@"));
    let pinned = pinned.ok_or_else(|| Failure::new(format!("listed: {listed:?}")))?;
    let content = merged(
        secrets(&[("PASSWORD", pinned)]),
        &json!({ "tools": { "db": ["PASSWORD"] } }),
    );
    project.admin.create_profile("db", &content).await?;

    // Whose file it is, the name says; and a file has many values.
    for (reference, field) in [
        (
            pinned.replace(&format!("{}/", project.id), "other/"),
            "secrets.PASSWORD",
        ),
        (pinned.replace("#db.password", ""), "secrets.PASSWORD"),
        (
            pinned.split('@').next().unwrap_or_default().to_owned(),
            "secrets.PASSWORD",
        ),
    ] {
        let content = secrets(&[("PASSWORD", &reference)]);
        let body = merged(json!({ "name": "bad" }), &content);
        let reply = project.admin.post("/v1/profiles", &body).await?;
        ensure_eq!(reply.status, 400, "{reference}: {}", reply.body);
        ensure!(reply.body.to_string().contains(field), "{}", reply.body);
    }

    let store = BuiltinStore::create(stack, &project).await?;
    let rootfs = stack.parts.directory.join("rootfs");
    let options = [
        ("--sops-directory", place.path("files")),
        ("--sops-key-file", place.path("key")),
        ("--heartbeat-seconds", "1".to_owned()),
    ];
    let worker = WorkerProcess::start_with(&rootfs, &options, stack, &project, &store, &[]).await?;
    let script = "printf %s \"$PASSWORD\" | sha256sum; ls /proc/self/fd | wc -w; env | grep -c other-value; true";
    let asks = step(
        "only",
        &json!({
            "pool": PULL, "mode": "identity", "tool": "db", "command": ["/bin/sh", "-c", script],
        }),
    );
    let run = async |step: &Value| -> Outcome<(Value, String)> {
        let run = project
            .enqueue(&with_profile("db", std::slice::from_ref(step)))
            .await?;
        let ended = project
            .until(&run, "only", &["succeeded", "failed"], SOON)
            .await?;
        let claimed = Claimed {
            run,
            step: "only".to_owned(),
            fence: ended.fence.number(),
        };
        Ok((json!(ended), worker.output(&claimed)))
    };
    let (ended, output) = run(&asks).await?;
    ensure_eq!(
        ended["state"],
        "succeeded",
        "{ended}\n{output}\n{}",
        worker.log()
    );
    let digest = Command::new("sha256sum")
        .arg(place.plain(&canary)?)
        .output()
        .await?;
    let digest = String::from_utf8_lossy(&digest.stdout);
    let digest = digest.split(' ').next().unwrap_or_default();
    ensure!(output.starts_with(digest), "the value: {output}");
    let seen: Vec<&str> = output.lines().skip(1).collect();
    ensure_eq!(seen, ["4", "0"], "open files, and other values: {output}");

    // Another tool has no file at all.
    let other = merged(asks.clone(), &json!({ "tool": "other" }));
    let (ended, output) = run(&other).await?;
    ensure_eq!(ended["state"], "succeeded", "{ended}");
    ensure!(!output.starts_with(digest), "another tool: {output}");

    place.write("another-value-of-the-file").await?;
    let (ended, output) = run(&asks).await?;
    ensure_eq!(
        ended["failure"]["kind"],
        "secret_unavailable",
        "{ended}\n{output}"
    );
    let detail = ended["failure"]["detail"].as_str().unwrap_or_default();
    ensure!(detail.starts_with("unknown_version"), "why: {detail}");
    std::fs::remove_file(place.file())?;
    let (ended, _) = run(&asks).await?;
    ensure_eq!(ended["failure"]["kind"], "secret_unavailable", "{ended}");
    ensure!(
        !worker.log().contains(&canary),
        "the worker's log has the value"
    );
    Ok(())
}

/// Files of SOPS and the key that opens them.
pub struct Place {
    directory: PathBuf,
    project: String,
    init: PathBuf,
    recipient: String,
}

impl Place {
    pub fn new(stack: &Stack, project: &Project) -> Outcome<Self> {
        let directory = stack.scratch.join(format!("sops-{}", unique()));
        std::fs::create_dir_all(directory.join("files").join(&project.id))?;
        let identity = age::x25519::Identity::generate();
        private_file(&directory.join("key"), identity.to_string().expose_secret())?;
        Ok(Self {
            directory,
            project: project.id.clone(),
            init: stack.binaries.join("sealfleet-init"),
            recipient: identity.to_public().to_string(),
        })
    }

    pub fn path(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    fn file(&self) -> PathBuf {
        self.directory
            .join("files")
            .join(&self.project)
            .join("prod.yaml")
    }

    /// A file with just this value.
    fn plain(&self, value: &str) -> Outcome<PathBuf> {
        let path = self.directory.join("plain");
        private_file(&path, value)?;
        Ok(path)
    }

    /// Encrypts the project's file anew, with this password.
    async fn write(&self, password: &str) -> Outcome {
        let user = ("user", "other-value");
        self.write_all([("password", password), user]).await
    }

    /// Encrypts the project's file anew, with these values below `db`.
    pub async fn write_all<'a>(
        &self,
        values: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Outcome {
        let lines = values.into_iter();
        let lines = lines.map(|(name, value)| format!("  {name}: {value}\n"));
        std::fs::write(self.file(), format!("db:\n{}", lines.collect::<String>()))?;
        let sops = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/venv/identity/bin/sops");
        ensure!(
            sops.exists(),
            "`{}` is missing: run `. scripts/lib/common.sh && python_venv identity`",
            sops.display()
        );
        let done = Command::new(sops)
            .args(["encrypt", "--in-place", "--age", &self.recipient])
            .arg(self.file())
            .output()
            .await?;
        let said = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success(), "sops: {said}");
        Ok(())
    }

    /// The file, decrypted by the real program.
    pub async fn opened(&self) -> Outcome<String> {
        let sops = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/venv/identity/bin/sops");
        let done = Command::new(sops)
            .arg("decrypt")
            .arg(self.file())
            .env("SOPS_AGE_KEY_FILE", self.path("key"))
            .output()
            .await?;
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    }

    /// The references that the file has.
    pub async fn listed(&self) -> Outcome<Vec<String>> {
        let done = Command::new(&self.init)
            .args(["sops", "list", "--directory", &self.path("files")])
            .arg(format!("{}/prod.yaml", self.project))
            .output()
            .await?;
        let said = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success(), "sops list: {said}");
        let lines = String::from_utf8_lossy(&done.stdout).into_owned();
        let lines = lines.lines().map(serde_json::from_str::<Value>);
        let references = lines
            .map(|line| line.map(|line| line["reference"].as_str().unwrap_or_default().to_owned()));
        Ok(references.collect::<Result<_, _>>()?)
    }
}
