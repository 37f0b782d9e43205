//! A pull worker that is started on this machine for the time of the proof, with a secret in an
//! encrypted store beside it.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use sealfleet_domain::WorkerId;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};
use uuid::Uuid;

use super::canary::Canary;
use super::ground::Ground;
use super::made::{List, Made};
use super::tenant::{PULL, Tenant};
use crate::operator::failure::Failure;

/// The programs of a worker.
pub struct Programs {
    worker: PathBuf,
    init: PathBuf,
}

impl Programs {
    /// `sealfleet-worker` where it is named, or beside this program; `sealfleet-init` likewise, or
    /// beside the worker or where its package puts it.
    pub fn found(worker: Option<PathBuf>, init: Option<PathBuf>) -> Result<Self, String> {
        let own = std::env::current_exe().map_err(|error| error.to_string())?;
        let beside = |program: &Path, name: &str| program.with_file_name(name);
        let worker = worker.unwrap_or_else(|| beside(&own, "sealfleet-worker"));
        let packaged = PathBuf::from("/usr/lib/sealfleet/sealfleet-init");
        let init = init.unwrap_or_else(|| {
            let beside = beside(&worker, "sealfleet-init");
            if beside.is_file() { beside } else { packaged }
        });
        for (program, option) in [(&worker, "--worker"), (&init, "--init")] {
            if !program.is_file() {
                return Err(format!(
                    "there is no `{}`: name it by `{option}`",
                    program.display()
                ));
            }
        }
        // Absolute: the worker is started in a directory of its own.
        let absolute = |path: PathBuf| path.canonicalize().map_err(|error| error.to_string());
        Ok(Self {
            worker: absolute(worker)?,
            init: absolute(init)?,
        })
    }
}

/// A directory of its own, which others can pass through: each sandbox has a uid of its own.
pub struct Home(PathBuf);

impl Home {
    pub fn new(list: &List) -> Result<Self, Failure> {
        let name = format!("sealfleet-prove-{}", Uuid::new_v4().simple());
        let path = std::env::temp_dir().join(name);
        list.add(Made::Directory(path.clone()));
        let mut builder = DirBuilder::new();
        let made = builder.mode(0o711).create(&path);
        made.map_err(|error| Failure::Other(format!("`{}`: {error}", path.display())))?;
        Ok(Self(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Stores a canary in an encrypted store of the project, and answers how profiles name it.
    pub async fn store(
        &self,
        programs: &Programs,
        project: &str,
        canary: &Canary,
    ) -> Result<String, Failure> {
        self.builtin(programs, &["create", "--project", project], "")
            .await?;
        let told = self
            .builtin(programs, &["put", "canary"], canary.value())
            .await?;
        let text = |name: &str| {
            let text = told.get(name).and_then(Value::as_str);
            text.ok_or_else(|| Failure::Other("`sealfleet-init` printed no version".to_owned()))
        };
        Ok(format!("{}@{}", text("uri")?, text("version")?))
    }

    async fn builtin(
        &self,
        programs: &Programs,
        arguments: &[&str],
        input: &str,
    ) -> Result<Value, Failure> {
        let mut command = self.program(&programs.init);
        command
            .arg("builtin")
            .args(arguments)
            .arg("--store")
            .arg(self.file("store"))
            .arg("--key-file")
            .arg(self.file("key"))
            .stdin(Stdio::piped());
        let mut child = command.spawn().map_err(Failure::other)?;
        if let Some(mut stdin) = child.stdin.take() {
            let written = stdin.write_all(input.as_bytes()).await;
            written.map_err(Failure::other)?;
        }
        answered("sealfleet-init", child).await
    }

    /// Registers a worker of the tenant and starts it. It is killed when it is dropped.
    pub async fn worker(
        &self,
        programs: &Programs,
        ground: &Ground,
        tenant: &Tenant,
        list: &List,
    ) -> Result<Child, Failure> {
        let key = tenant.enrolment_key(list, &json!({})).await?;
        let (key_file, credential) = (self.file("enrolment-key"), self.file("credential"));
        let mut options = OpenOptions::new();
        let written = options.write(true).create_new(true).mode(0o600);
        let written = written.open(&key_file);
        written
            .and_then(|mut file| file.write_all(key.as_bytes()))
            .map_err(Failure::other)?;
        let mut register = self.program(&programs.worker);
        register
            .args(["--api-url", &ground.api_url, "register", "--project"])
            .args([tenant.id.as_str(), "--pool", PULL])
            .args(["--name", "sealfleet prove", "--max-concurrent", "4"])
            .arg("--enrolment-key-file")
            .arg(&key_file)
            .arg("--credential-file")
            .arg(&credential);
        let child = register.spawn().map_err(Failure::other)?;
        let told = answered("sealfleet-worker register", child).await?;
        let id = told.get("worker_id").and_then(Value::as_str);
        let id = id.and_then(|id| id.parse::<WorkerId>().ok());
        let id = id.ok_or_else(|| {
            Failure::Other("`sealfleet-worker register` printed no worker".to_owned())
        })?;
        list.add(Made::Worker(tenant.admin.clone(), id));

        let log = std::fs::File::create(self.file("worker.log")).map_err(Failure::other)?;
        let mut run = self.program(&programs.worker);
        run.args(["--api-url", &ground.api_url, "run", "--credential-file"])
            .arg(&credential)
            .arg("--rootfs")
            .arg(self.file("rootfs"))
            .arg("--host-usr")
            .arg("--init")
            .arg(&programs.init)
            .arg("--builtin-store")
            .arg(self.file("store"))
            .arg("--builtin-key-file")
            .arg(self.file("key"))
            .arg("--log-dir")
            .arg(self.file("output"))
            .args(["--max-concurrent", "4"])
            .stdout(Stdio::null())
            .stderr(log);
        if let Some(emulator) = ground.emulator() {
            run.args(["--queue-endpoint", emulator]);
        }
        run.spawn().map_err(Failure::other)
    }

    /// The last lines of the worker's log.
    pub fn log(&self) -> String {
        let log = std::fs::read_to_string(self.file("worker.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// A program without this one's environment: a worker needs no AWS credentials of an operator.
    fn program(&self, program: &Path) -> Command {
        let kept = [
            "PATH",
            "HOME",
            "TMPDIR",
            "XDG_RUNTIME_DIR",
            "SSL_CERT_FILE",
            "HTTPS_PROXY",
        ];
        let kept = kept
            .into_iter()
            .filter_map(|name| Some((name, std::env::var_os(name)?)));
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(kept)
            .current_dir(&self.0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}

/// The JSON that a program prints.
async fn answered(what: &str, child: Child) -> Result<Value, Failure> {
    let output = child.wait_with_output().await.map_err(Failure::other)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::Other(format!("`{what}`: {}", said.trim())));
    }
    Ok(serde_json::from_slice(&output.stdout).unwrap_or_default())
}
