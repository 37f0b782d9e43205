//! A worker as a host: its own code around one sandbox backend, and a control plane that does as it
//! is told.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use sealfleet_client::types::{
    AskIdentityToken, Claim, ClaimStep, FetchInputs, Heartbeat, HeartbeatAnswer, IdentityToken,
    LeaseRef, LeaseVerdict, OutputCredentials, QueueCredentials, ReportStep, StartStep, StepAnswer,
    StepInput, StepInputs,
};
use sealfleet_client::{Error, TransferError};
use sealfleet_domain::RunId;
use sealfleet_domain::run::Outcome;
use sealfleet_identity::SecretValue;
use sealfleet_identity_builtin::store;
use sealfleet_sandbox_backend::{Limits, Process, SandboxBackend};
use sealfleet_worker::control::ControlPlane;
use sealfleet_worker::executor::egress::Lent;
use sealfleet_worker::executor::sandboxed::Sandboxed;
use sealfleet_worker::executor::{Executors, Logs};
use sealfleet_worker::identity::Identity;
use sealfleet_worker::inputs::Inputs;
use sealfleet_worker::lease::{Leases, Loss};
use sealfleet_worker::step::StepRunner;
use serde_json::{Value, json};
use tokio::sync::Mutex as AsyncMutex;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::host::{End, Facts, Host, MEMORY, OPEN_FILES, PROCESSES, SCRATCH, Started, Step};
use crate::setup;

const STEP: &str = "case";
/// Bytes of output that it keeps.
const KEPT: u64 = 1 << 20;

/// A worker with one backend.
pub struct Worker {
    pub backend: Arc<dyn SandboxBackend>,
    pub process: Process,
    pub network: Lent,
    pub limits: Limits,
    /// For logs and stores; of this worker alone.
    pub place: PathBuf,
}

/// A step of a worker.
pub struct Run {
    pub run_id: RunId,
    log: PathBuf,
    leases: Leases,
    control: Arc<Control>,
    running: AsyncMutex<Option<JoinHandle<()>>>,
}

/// Grants every start, and keeps what is reported.
#[derive(Default)]
pub struct Control {
    pub started: Mutex<Option<StartStep>>,
    reported: Mutex<Option<ReportStep>>,
}

impl Worker {
    pub const LIMITS: Limits = Limits {
        memory_bytes: MEMORY,
        scratch_bytes: SCRATCH,
        pids: PROCESSES,
        open_files: OPEN_FILES,
    };

    /// Lets a step run.
    pub fn run(&self, step: &Step) -> Run {
        let run_id: RunId = format!("run_{}", uuid::Uuid::now_v7()).parse().unwrap();
        let place = self.place.join(run_id.to_string());
        std::fs::create_dir_all(&place).unwrap();
        let claim = claim(run_id, step, &place);
        let logs = Logs {
            directory: place.join("logs"),
            most_bytes: KEPT,
            outputs: None,
        };
        let log = logs.directory.join(format!("{run_id}/{STEP}.1.log"));
        let files = ["store", "key"]
            .map(|name| (format!("builtin.{name}"), place.join(name)))
            .into_iter()
            .filter(|(_, path)| path.exists())
            .collect();
        let control = Arc::new(Control::default());
        let inputs = Inputs {
            control: Arc::clone(&control) as Arc<dyn ControlPlane>,
            directory: place.clone(),
        };
        let executors = Executors {
            bare: None,
            sandboxed: Some(Sandboxed {
                backends: vec![Arc::clone(&self.backend)],
                worker: self.process.clone(),
                identity: Identity {
                    files,
                    ..Identity::default()
                },
                network: self.network.clone(),
                limits: self.limits,
                inputs,
                logs,
            }),
        };
        let runner = StepRunner {
            control: Arc::clone(&control) as Arc<dyn ControlPlane>,
            executor: Arc::new(executors),
        };
        let leases = Leases::default();
        let lease = leases.hold(&claim, Instant::now());
        let running = tokio::spawn(async move {
            runner.run(claim, lease).await;
        });
        Run {
            run_id,
            log,
            leases,
            control,
            running: AsyncMutex::new(Some(running)),
        }
    }
}

/// What the control plane would grant; the secrets lie in a store at `place`.
fn claim(run_id: RunId, step: &Step, place: &Path) -> Claim {
    let (store, key) = (place.join("store"), place.join("key"));
    if !step.secrets.is_empty() {
        store::create(&store, &key, "healthcare").unwrap();
    }
    let secrets = step.secrets.iter().map(|(name, value)| {
        let stored = name.to_lowercase().replace('_', "-");
        let value = SecretValue::new(value.clone().into_bytes());
        let version = store::put(&store, &key, &stored, &value).unwrap().version;
        let delivery = match &step.delivery[*name] {
            Value::Null => json!("env"),
            other => other.clone(),
        };
        json!({
            "name": name, "uri": format!("builtin://{stored}"), "version": version, "from": "crm",
            "delivery": delivery,
        })
    });
    let secrets: Vec<Value> = secrets.collect();
    let mut claim = json!({
        "project": "healthcare", "run_id": run_id, "step_id": STEP, "fence": 1, "attempt": 1,
        "lease_seconds": 600, "mode": step.mode, "command": step.command, "env": step.env,
        "secrets": secrets, "inputs": { "files": step.files }, "tty": step.tty,
        "timeout_seconds": step.timeout_seconds,
    });
    for (name, value) in [
        ("agent", step.agent.clone()),
        ("tool", step.tool.map(Value::from)),
        ("tools", step.tools.clone()),
        ("egress", step.egress.clone()),
    ] {
        if let Some(value) = value {
            claim[name] = value;
        }
    }
    if let Some(text) = step.stdin {
        claim["inputs"]["stdin"] = json!({ "text": text });
    }
    serde_json::from_value(claim).unwrap()
}

#[async_trait(?Send)]
impl Host for Worker {
    fn facts(&self) -> Facts {
        Facts {
            memory: MEMORY,
            kept: KEPT,
            much: 256 << 20,
            is_text: false,
            writable: &["/run", "/tmp", "/workspace", "/workspace/home"],
            variables: "HOME KNOB LANG PATH PWD PYTHONUNBUFFERED SEALFLEET_MEMORY_BYTES SEALFLEET_OPEN_FILES SEALFLEET_PIDS SEALFLEET_SCRATCH_BYTES",
            revokes_at_once: true,
        }
    }

    async fn start(&self, step: Step) -> Box<dyn Started> {
        Box::new(self.run(&step))
    }

    async fn without_image(&self) -> Box<dyn Host> {
        Box::new(setup::without_image(self).await)
    }

    async fn with_agents(&self) -> Box<dyn Host> {
        Box::new(setup::with_agents(self).await)
    }
}

impl Run {
    /// The name of its sandbox, once it has started.
    pub async fn sandbox(&self) -> String {
        let told = || self.control.started.lock().unwrap().clone();
        crate::until("the step starts", || told().is_some()).await;
        told().unwrap().sandbox.to_string()
    }

    /// What its worker has reported of it.
    pub fn reported(&self) -> Option<String> {
        let reported = self.control.reported.lock().unwrap();
        reported.as_ref().map(|end| end.state.clone())
    }

    /// Lets its worker stop, after it has waited for its steps.
    pub fn drain(&self) {
        self.leases.lose_all(Loss::WorkerStops);
    }

    /// Lets its worker hear that one of its keys is revoked, softly.
    pub fn withdraw(&self, key: &str) {
        for lease in self.leases.all() {
            let verdict = LeaseVerdict {
                run_id: lease.run_id,
                step_id: lease.step_id,
                fence: lease.fence,
                held: true,
                cancelled: false,
                revoked: vec![key.to_owned()],
                denials_recorded: false,
            };
            self.leases.heard(Instant::now(), &[verdict]);
        }
    }

    fn lose(&self, cancelled: bool) {
        for lease in self.leases.all() {
            let verdict = LeaseVerdict {
                run_id: lease.run_id,
                step_id: lease.step_id,
                fence: lease.fence,
                held: false,
                cancelled,
                revoked: Vec::new(),
                denials_recorded: false,
            };
            self.leases.heard(Instant::now(), &[verdict]);
        }
    }
}

#[async_trait(?Send)]
impl Started for Run {
    async fn output(&self) -> Vec<u8> {
        std::fs::read(&self.log).unwrap_or_default()
    }

    async fn cancel(&self) {
        self.lose(true);
    }

    async fn revoke(&self) {
        self.lose(false);
    }

    async fn end(&self) -> End {
        if let Some(running) = self.running.lock().await.take() {
            running.await.unwrap();
        }
        let reported = self.control.reported.lock().unwrap().clone();
        let result = std::fs::read_to_string(self.log.with_extension("result.json"));
        End {
            output: self.output().await,
            cut_bytes: reported.as_ref().map_or(0, |end| end.output_cut_bytes),
            result: result.ok().map(|json| serde_json::from_str(&json).unwrap()),
            agent: reported.as_ref().and_then(|end| end.agent.clone()),
            redactions: reported
                .as_ref()
                .map(|end| end.redactions.clone())
                .unwrap_or_default(),
            denied: reported
                .as_ref()
                .map(|end| end.egress_denied.clone())
                .unwrap_or_default(),
            models_used: reported
                .as_ref()
                .map(|end| end.models_used.clone())
                .unwrap_or_default(),
            outcome: reported.and_then(|end| match (end.state.as_str(), end.failure) {
                ("succeeded", _) => Some(Outcome::Succeeded),
                (_, Some(failure)) => Some(Outcome::Failed { failure }),
                _ => None,
            }),
        }
    }
}

/// Nothing else is asked for: there is no queue, and nothing leaves the host.
fn unasked() -> Error {
    Error::Unreadable {
        status: 500,
        reason: "the suite has none".to_owned(),
    }
}

#[async_trait]
impl ControlPlane for Control {
    async fn claim(&self, _: &ClaimStep) -> Result<Claim, Error> {
        Err(unasked())
    }

    async fn heartbeat(&self, _: &Heartbeat) -> Result<HeartbeatAnswer, Error> {
        Err(unasked())
    }

    async fn start(&self, start: &StartStep) -> Result<StepAnswer, Error> {
        *self.started.lock().unwrap() = Some(start.clone());
        Ok(answer())
    }

    async fn report(&self, report: &ReportStep) -> Result<StepAnswer, Error> {
        *self.reported.lock().unwrap() = Some(report.clone());
        Ok(answer())
    }

    async fn queue_credentials(&self) -> Result<QueueCredentials, Error> {
        Err(unasked())
    }

    async fn output_credentials(&self, _: &LeaseRef) -> Result<OutputCredentials, Error> {
        Err(unasked())
    }

    async fn step_inputs(&self, _: &FetchInputs) -> Result<StepInputs, Error> {
        Err(unasked())
    }

    async fn identity_token(&self, _: &AskIdentityToken) -> Result<IdentityToken, Error> {
        Err(unasked())
    }

    async fn fetch(&self, _: &StepInput, _: &mut File) -> Result<(), TransferError> {
        Err(TransferError::Address)
    }
}

fn answer() -> StepAnswer {
    StepAnswer {
        state: "running".to_owned(),
        waiting: Vec::new(),
    }
}

/// How long anything may take here, beside everything else.
pub const PATIENCE: Duration = Duration::from_secs(60);
