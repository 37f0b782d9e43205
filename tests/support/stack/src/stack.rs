//! The local stack that all scenarios share.
//!
//! It is started once per test process, with `sealfleet-local up` and this process as its parent,
//! so that it goes when we go, however that is. `SEALFLEET_STACK=DIR/stack.json` uses a stack that
//! is up already and leaves it up.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use sealfleet_test_issuer::{Issuer, Key};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::aws::Keys;
use crate::{Aws, Caller, Failure, Outcome, PATIENCE, Project, ensure, processes, unique};

/// Seconds of a lease on stacks that tests start: short, so that tests can wait for one to run out.
pub const LEASE_SECONDS: u64 = 8;
/// Seconds after which `sweep` sends an unclaimed step's message again, on stacks that tests start.
pub const RESEND_SECONDS: u64 = 2;

/// A running local stack.
pub struct Stack {
    /// Where its parts are.
    pub parts: Parts,
    pub aws: Aws,
    pub operator: Caller,
    /// A caller without a credential.
    pub anonymous: Caller,
    /// Directory of the workspace's binaries.
    pub binaries: PathBuf,
    /// A directory for the tests' own files; removed with the stack.
    pub scratch: PathBuf,
    /// The OIDC issuer that a stack which was started here trusts, and its key.
    pub issuer: Option<(Issuer, Key)>,
    started: bool,
    suffix: String,
    projects: Mutex<HashMap<String, Arc<OnceCell<Arc<Project>>>>>,
}

/// `stack.json`, as far as tests need it.
#[derive(Debug, Clone, Deserialize)]
pub struct Parts {
    /// Its id, which every process of it carries.
    pub id: String,
    /// AWS endpoint of everything but ECS.
    pub endpoint: String,
    /// AWS endpoint of ECS.
    pub ecs_endpoint: String,
    /// Base URL of the API.
    pub api_url: String,
    pub region: String,
    pub account_id: String,
    /// Account root's access key.
    pub access_key_id: String,
    /// Account root's secret key.
    pub secret_access_key: String,
    pub ledger_table: String,
    pub audit_table: String,
    /// Bucket of the audit archive.
    pub audit_bucket: String,
    pub cluster: String,
    /// The sandbox image by digest.
    pub sandbox_image: String,
    pub directory: PathBuf,
    pub pids: HashMap<String, Server>,
}

/// A server of the stack.
#[derive(Debug, Clone, Deserialize)]
pub struct Server {
    pub pid: u32,
}

impl Stack {
    /// The stack that `SEALFLEET_STACK` names, or a new one.
    pub async fn start_or_attach() -> Outcome<Self> {
        match std::env::var_os("SEALFLEET_STACK") {
            Some(description) => Self::attach(Path::new(&description)).await,
            None => {
                let directory =
                    std::env::temp_dir().join(format!("sealfleet-tests-{}", std::process::id()));
                let lease = format!("LeaseSeconds={LEASE_SECONDS}");
                let resend = format!("ResendSeconds={RESEND_SECONDS}");
                let (issuer, key) = (Issuer::start().await?, Key::es256("first")?);
                issuer.publish(&[&key]);
                let trusted = format!("OidcIssuers={}", json!([trusted(&issuer.url)]));
                let mut stack = Self::start(&directory, &[&lease, &resend, &trusted]).await?;
                stack.issuer = Some((issuer, key));
                Ok(stack)
            }
        }
    }

    /// Starts a stack in `directory` with these template parameters.
    pub async fn start(directory: &Path, parameters: &[&str]) -> Outcome<Self> {
        let mut up = Command::new(binaries()?.join("sealfleet-local"));
        up.args([
            "up",
            "--parent-pid",
            &std::process::id().to_string(),
            "--dir",
        ])
        .arg(directory);
        for parameter in parameters {
            up.args(["--param", parameter]);
        }
        run(&mut up).await?;
        match Self::open(&directory.join("stack.json"), true).await {
            Ok(stack) => Ok(stack),
            Err(failure) => {
                down(directory).await?;
                Err(failure)
            }
        }
    }

    /// Uses a stack that is up.
    pub async fn attach(description: &Path) -> Outcome<Self> {
        Self::open(description, false).await
    }

    async fn open(description: &Path, started: bool) -> Outcome<Self> {
        let file = std::fs::read(description)
            .map_err(|error| Failure::new(format!("`{}`: {error}", description.display())))?;
        let parts: Parts = serde_json::from_slice(&file)?;
        // All is plain HTTP on the loopback interface, but the HTTP client wants a TLS provider to
        // be there. It may be already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().timeout(PATIENCE).build()?;
        let root = Keys {
            access_key_id: parts.access_key_id.clone(),
            secret_access_key: parts.secret_access_key.clone(),
            session_token: None,
        };
        let anonymous = Caller::anonymous(&http, &parts.api_url)?;
        let suffix = unique();
        let scratch = parts.directory.join(format!("scratch-{suffix}"));
        std::fs::create_dir_all(&scratch)?;
        let binaries = binaries()?;
        let token = bootstrap(&binaries, &parts).await?;
        Ok(Self {
            aws: Aws::new(
                &http,
                &parts.endpoint,
                &parts.ecs_endpoint,
                &parts.region,
                root,
            ),
            operator: anonymous.with(&token)?,
            anonymous,
            binaries,
            scratch,
            issuer: None,
            started,
            suffix,
            projects: Mutex::default(),
            parts,
        })
    }

    /// Takes a stack down that was started here; one that was attached to stays up.
    pub async fn close(&self) -> Outcome {
        std::fs::remove_dir_all(&self.scratch)?;
        if self.started {
            down(&self.parts.directory).await
        } else {
            Ok(())
        }
    }

    /// Removes the logs, too, that are left of a stack which was started here and taken down.
    pub fn forget(&self) -> Outcome {
        if self.started {
            std::fs::remove_dir_all(&self.parts.directory)?;
        }
        Ok(())
    }

    /// A project by its name in the tests: deployed and onboarded when it is first asked for, with
    /// one pull pool `workers`, one Fargate pool `fargate`, and a pull pool `gpu` that no queue was
    /// deployed for.
    pub async fn project(&self, name: &str) -> Outcome<Arc<Project>> {
        self.project_with_image(name, &self.parts.sandbox_image)
            .await
    }

    /// As [`Stack::project`], with another image in the Fargate pool.
    pub async fn project_with_image(&self, name: &str, image: &str) -> Outcome<Arc<Project>> {
        let cell = {
            let mut projects = self.projects.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(projects.entry(name.to_owned()).or_default())
        };
        let id = self.id(name);
        cell.get_or_try_init(async || Project::onboard(self, &id, image).await.map(Arc::new))
            .await
            .cloned()
    }

    /// Two projects that are set up alike. One's id is a prefix of the other's.
    pub async fn pair(&self, name: &str) -> Outcome<(Arc<Project>, Arc<Project>)> {
        Ok((
            self.project(name).await?,
            self.project(&format!("{name}-b")).await?,
        ))
    }

    /// `alpha` is `t-SUFFIX-alpha`: unique on this stack, and still the start of `alpha-b`.
    fn id(&self, name: &str) -> String {
        format!("t{}-{name}", self.suffix)
    }

    /// Invokes `sweep`, as its rule does every minute.
    pub async fn sweep(&self) -> Outcome {
        let event = json!({
            "version": "0", "id": uuid::Uuid::now_v7(), "detail-type": "Scheduled Event", "source": "aws.events",
            "account": self.parts.account_id, "time": "2026-01-01T00:00:00Z", "region": self.parts.region,
            "resources": [], "detail": {},
        });
        let swept = self.aws.invoke("sealfleet-sweep", &event).await?;
        ensure!(
            swept.function_error.is_none(),
            "sweep failed: {}",
            swept.payload
        );
        Ok(())
    }

    /// Has `export` write the digest, as its rule does every hour.
    pub async fn digest(&self) -> Outcome<Value> {
        let made = self
            .aws
            .invoke("sealfleet-export", &json!({ "digest": "due" }))
            .await?;
        ensure!(
            made.function_error.is_none(),
            "the digest failed: {}",
            made.payload
        );
        Ok(made.payload)
    }

    /// The control plane's processes: the functions' environments that Lambda keeps.
    pub fn control_plane(&self) -> Vec<u32> {
        let Some(ministack) = self.parts.pids.get("ministack") else {
            return Vec::new();
        };
        let below = processes::below(ministack.pid);
        below
            .iter()
            .filter(|process| process.name == "bootstrap")
            .map(|process| process.pid)
            .collect()
    }

    /// The environments that Lambda keeps of one function.
    pub fn environments_of(&self, function: &str) -> Vec<u32> {
        let mark = format!("AWS_LAMBDA_FUNCTION_NAME={function}");
        let is_of = |pid: &u32| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == mark.as_bytes())
        };
        self.control_plane().into_iter().filter(is_of).collect()
    }

    /// Runs the operators' command line against this stack. Answers its output.
    pub async fn cli(&self, arguments: &[&str]) -> Outcome<String> {
        run(with_aws(
            Command::new(self.binaries.join("sealfleet")).args(arguments),
            &self.parts,
        ))
        .await
    }

    /// Runs `sealfleet-local` against this stack.
    pub async fn local(&self, arguments: &[&str]) -> Outcome<String> {
        let mut local = Command::new(self.binaries.join("sealfleet-local"));
        run(local
            .args(arguments)
            .arg("--dir")
            .arg(&self.parts.directory))
        .await
    }
}

/// How the stack is told to trust an issuer.
fn trusted(url: &str) -> Value {
    json!({
        "issuer": url, "audience": "sealfleet", "project": { "claim": "project" },
        "role": { "claim": "groups", "map": { "admins": "admin", "developers": "member", "guests": "viewer" } },
    })
}

/// The operator's first token, made with the operator's own AWS credentials.
async fn bootstrap(binaries: &Path, parts: &Parts) -> Outcome<String> {
    let mut command = Command::new(binaries.join("sealfleet"));
    let printed = run(with_aws(command.args(["token", "bootstrap"]), parts)).await?;
    let token = printed
        .split_whitespace()
        .find(|word| word.starts_with("sft.~system."));
    token
        .map(str::to_owned)
        .ok_or_else(|| Failure::new("`sealfleet token bootstrap` printed no operator token"))
}

fn with_aws<'a>(command: &'a mut Command, parts: &Parts) -> &'a mut Command {
    command
        .env("AWS_ENDPOINT_URL", &parts.endpoint)
        .env("AWS_REGION", &parts.region)
        .env("AWS_ACCESS_KEY_ID", &parts.access_key_id)
        .env("AWS_SECRET_ACCESS_KEY", &parts.secret_access_key)
        .env("SEALFLEET_API_URL", &parts.api_url)
}

async fn down(directory: &Path) -> Outcome {
    let mut down = Command::new(binaries()?.join("sealfleet-local"));
    run(down.args(["down", "--dir"]).arg(directory)).await?;
    Ok(())
}

/// Runs a program to its end. Answers its standard output.
pub(crate) async fn run(command: &mut Command) -> Outcome<String> {
    let output = command.stdin(Stdio::null()).output().await?;
    let shown = command
        .as_std()
        .get_args()
        .next()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    ensure!(
        output.status.success(),
        "`sealfleet {shown} …`: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The directory above this program that holds `sealfleet`: `target/debug`, whether this is a test
/// of its or a program.
fn binaries() -> Outcome<PathBuf> {
    let own = std::env::current_exe()?;
    let found = own
        .ancestors()
        .skip(1)
        .find(|directory| directory.join("sealfleet").is_file());
    found.map(Path::to_owned).ok_or_else(|| {
        Failure::new("there is no `sealfleet` beside the tests: run `cargo build` first")
    })
}
