//! The life cycle of a local stack: up, status, down.

use crate::{
    Error, Process,
    deploy::{Build, Emulator},
    process::{MARK, end_marked, spawn},
    project::{self, forget_contexts},
    python::{Venv, hex, tail},
    root,
    stack::{ACCESS_KEY_ID, Processes, REGION, SECRET_ACCESS_KEY, Stack},
};
use rustix::fs::{FlockOperation, flock};
use sealfleet_bubblewrap::unpack_rootfs;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, File},
    io::ErrorKind,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use uuid::Uuid;

const READY_LIMIT: Duration = Duration::from_secs(60);
const LOCK_LIMIT: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(50);
const SUPERVISOR_POLL: Duration = Duration::from_millis(500);
const MINISTACK: &str = "ministack";
const FARGATE: &str = "local-ecs";
const SUPERVISOR: &str = "supervisor";

/// Options of `up`.
#[derive(Debug, Clone)]
pub struct UpOptions {
    pub directory: PathBuf,
    /// The `sealfleet-functions` binary.
    pub functions: PathBuf,
    /// The `sealfleet-local-ecs` binary.
    pub ecs: PathBuf,
    /// The `sealfleet-init` binary.
    pub init: PathBuf,
    /// The `sealfleet-local` binary: it watches `parent_pid`.
    pub supervisor: PathBuf,
    /// The emulator's Python environment. Defaults to a directory below `~/.cache/sealfleet`.
    pub venv: Option<PathBuf>,
    /// The files of a root as tar, which sandboxes see. Defaults to one below `~/.cache/sealfleet`.
    pub sandbox_root: Option<PathBuf>,
    /// Parameters for `infra/sam/template.yaml`.
    pub parameters: Vec<(String, String)>,
    /// When this process ends, the stack is taken down.
    pub parent_pid: Option<u32>,
}

/// The answer of `status`.
#[derive(Debug, Clone, Serialize)]
pub struct Health {
    /// Whether every process runs and the emulator answers.
    pub up: bool,
    pub endpoint: Option<String>,
    pub api_url: Option<String>,
    /// The processes that `up` started, by name.
    pub processes: BTreeMap<String, ProcessHealth>,
}

#[derive(Debug, Clone, Serialize)]
pub struct ProcessHealth {
    pub pid: u32,
    pub alive: bool,
}

/// Starts a stack and deploys the control plane. If this fails, ends everything that it started. If
/// the returned future is dropped early, [`down`] does that.
///
/// # Errors
/// When a stack is already up in the directory, a binary is missing, or a part does not start.
pub async fn up(options: &UpOptions) -> Result<Stack, Error> {
    let functions = file("functions", &options.functions)?;
    let ecs = file("local-ecs", &options.ecs)?;
    let init = file("init", &options.init)?;
    fs::create_dir_all(&options.directory).map_err(Error::file(&options.directory))?;
    let directory =
        fs::canonicalize(&options.directory).map_err(Error::file(&options.directory))?;
    let lock = Lock::take(&directory).await?;
    if let Some(earlier) = Processes::load(&directory)? {
        if earlier.started.values().any(|process| process.is_alive()) {
            return Err(Error::AlreadyUp(options.directory.clone()));
        }
        remove(&directory, &earlier).await?;
    }
    let mut launch = Launch::new(directory)?;
    let outcome = launch.all(options, &functions, &ecs, &init).await;
    if outcome.is_err() {
        remove(&launch.directory, &launch.processes).await?;
    }
    drop(lock);
    outcome
}

/// Ends every process of the stack and removes its data. Logs stay. Returns how many processes
/// there were.
///
/// # Errors
/// When the directory cannot be cleaned up. The processes have ended by then.
pub async fn down(directory: &Path) -> Result<usize, Error> {
    let Ok(directory) = fs::canonicalize(directory) else {
        return Ok(0);
    };
    if !Processes::path(&directory).exists() {
        return Ok(0);
    }
    let _lock = Lock::take(&directory).await?;
    forget_contexts(&directory);
    match Processes::load(&directory)? {
        Some(processes) => remove(&directory, &processes).await,
        None => Ok(0),
    }
}

/// The state of the stack in a directory.
///
/// # Errors
/// When its description is damaged. A stack that is down is not an error.
pub async fn status(directory: &Path) -> Result<Health, Error> {
    let processes = Processes::load(directory)?
        .map(|processes| processes.started)
        .unwrap_or_default();
    let processes: BTreeMap<String, ProcessHealth> = processes
        .into_iter()
        .map(|(name, process)| {
            (
                name,
                ProcessHealth {
                    pid: process.pid,
                    alive: process.is_alive(),
                },
            )
        })
        .collect();
    let stack = match Stack::load(directory) {
        Ok(stack) => Some(stack),
        Err(Error::NotUp(_)) => None,
        Err(error) => return Err(error),
    };
    let answers = match &stack {
        Some(stack) => is_healthy(&stack.endpoint).await,
        None => false,
    };
    Ok(Health {
        up: answers && processes.values().all(|process| process.alive),
        endpoint: stack.as_ref().map(|stack| stack.endpoint.clone()),
        api_url: stack.map(|stack| stack.api_url),
        processes,
    })
}

/// Waits until `parent` ends, then takes the stack down. Returns early if the stack is taken down
/// first.
///
/// # Errors
/// As [`down`].
pub async fn supervise(directory: &Path, parent: Process) -> Result<(), Error> {
    let own = std::process::id();
    let is_ours = |processes: &Processes| {
        processes
            .started
            .get(SUPERVISOR)
            .is_none_or(|process| process.pid == own)
    };
    while parent.is_alive() {
        sleep(SUPERVISOR_POLL).await;
        if !Processes::load(directory)?.as_ref().is_some_and(is_ours) {
            return Ok(());
        }
    }
    // An `up` that the parent started may still be running. It takes down what it started only when
    // it fails, so keep looking.
    loop {
        match down(directory).await {
            Err(Error::Busy(_)) => sleep(SUPERVISOR_POLL).await,
            outcome => return outcome.map(|_| ()),
        }
    }
}

/// An `up` in progress.
struct Launch {
    directory: PathBuf,
    processes: Processes,
}

impl Launch {
    fn new(directory: PathBuf) -> Result<Self, Error> {
        for name in ["build", "logs", "tmp", "data", "fargate"] {
            let path = directory.join(name);
            fs::create_dir_all(&path).map_err(Error::file(&path))?;
        }
        let processes = Processes {
            id: Uuid::now_v7().to_string(),
            started: BTreeMap::new(),
        };
        processes.save(&directory)?;
        Ok(Self {
            directory,
            processes,
        })
    }

    async fn all(
        &mut self,
        options: &UpOptions,
        functions: &Path,
        ecs: &Path,
        init: &Path,
    ) -> Result<Stack, Error> {
        if let Some(pid) = options.parent_pid {
            self.start_supervisor(&options.supervisor, pid)?;
        }
        let venv = Venv::ensure(options.venv.as_deref()).await?;
        let root = match &options.sandbox_root {
            Some(archive) => file("sandbox-root", archive)?,
            None => root::ensure().await?,
        };
        let [port, ecs_port] = free_ports()?;
        let endpoint = format!("http://127.0.0.1:{port}");
        let ecs_endpoint = format!("http://127.0.0.1:{ecs_port}");
        let sandbox_image = self.assemble_rootfs(&root, init)?;

        eprintln!("starting the emulator at {endpoint}");
        let ministack = self.start_ministack(&venv, port, &endpoint, &ecs_endpoint)?;
        let fargate = self.start_fargate(ecs, ecs_port, &endpoint)?;
        let build_directory = self.directory.join("build");
        let build = Build::new(&venv, functions, &build_directory, &self.processes.id).await?;
        self.ready(MINISTACK, ministack, async |_: &Path| {
            is_healthy(&endpoint).await
        })
        .await?;
        self.ready(FARGATE, fargate, async |log: &Path| has_ready_line(log))
            .await?;

        eprintln!("deploying infra/sam/template.yaml");
        let parameters = parameters(&endpoint, &options.parameters);
        let emulator = Emulator::at(&endpoint);
        let outputs = emulator
            .deploy_control_plane(&self.processes.id, &build, &parameters)
            .await?;
        let stack = Stack {
            id: self.processes.id.clone(),
            ecs_endpoint,
            api_url: outputs.get("ApiUrl")?.to_owned(),
            region: REGION.to_owned(),
            account_id: outputs.get("AccountId")?.to_owned(),
            access_key_id: ACCESS_KEY_ID.to_owned(),
            secret_access_key: SECRET_ACCESS_KEY.to_owned(),
            ledger_table: outputs.get("LedgerTableName")?.to_owned(),
            audit_table: outputs.get("AuditTableName")?.to_owned(),
            audit_bucket: outputs.get("AuditBucketName")?.to_owned(),
            cluster: outputs.get("ClusterName")?.to_owned(),
            sandbox_image,
            directory: self.directory.clone(),
            pids: self.processes.started.clone(),
            endpoint,
        };
        stack.save()?;
        Ok(stack)
    }

    fn start_supervisor(&mut self, program: &Path, parent_pid: u32) -> Result<(), Error> {
        let program = file("supervisor", program)?;
        let parent = Process::of(parent_pid).ok_or(Error::NoParent(parent_pid))?;
        let mut command = Command::new(program);
        command.args(["supervise", "--dir"]).arg(&self.directory);
        command.args(["--parent-pid", &parent.pid.to_string()]);
        command.args(["--parent-start-time", &parent.start_time.to_string()]);
        self.start(SUPERVISOR, &mut command)?;
        Ok(())
    }

    fn start_ministack(
        &mut self,
        venv: &Venv,
        port: u16,
        endpoint: &str,
        ecs_endpoint: &str,
    ) -> Result<Child, Error> {
        let mut command = Command::new(venv.program("ministack"));
        self.clean(&mut command);
        command
            .env("AUTH", "true")
            .env("GATEWAY_PORT", port.to_string())
            .env("BIND_HOST", "127.0.0.1")
            .env("MINISTACK_HOST", "127.0.0.1")
            .env("MINISTACK_REGION", REGION)
            .env("IOT_MTLS_ENABLED", "0")
            .env("SFTP_ENABLED", "0")
            .env("STATE_DIR", self.directory.join("data/state"))
            .env("S3_DATA_DIR", self.directory.join("data/s3"))
            // Do not touch the developer's own containers.
            .env(
                "DOCKER_HOST",
                format!("unix://{}/no-docker", self.directory.display()),
            )
            // Functions inherit this environment, which sends their ECS calls to the stand-in.
            .env("AWS_ENDPOINT_URL", endpoint)
            .env("AWS_ENDPOINT_URL_ECS", ecs_endpoint);
        self.start(MINISTACK, &mut command)
    }

    fn start_fargate(&mut self, program: &Path, port: u16, endpoint: &str) -> Result<Child, Error> {
        let mut command = Command::new(program);
        self.clean(&mut command);
        command
            .args([
                "--port",
                &port.to_string(),
                "--aws-endpoint",
                endpoint,
                "--region",
                REGION,
                "--rootfs",
            ])
            .arg(self.directory.join("rootfs"))
            .args(["--observe-function", "sealfleet-observe", "--state-dir"])
            .arg(self.directory.join("fargate"));
        self.start(FARGATE, &mut command)
    }

    /// Gives a command the account root's credentials and nothing else from the caller's
    /// environment.
    fn clean(&self, command: &mut Command) {
        command
            .env_clear()
            .env(
                "PATH",
                std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin")),
            )
            .env("HOME", &self.directory)
            .env("TMPDIR", self.directory.join("tmp"))
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
            .env("AWS_REGION", REGION)
            .env("AWS_DEFAULT_REGION", REGION);
    }

    fn start(&mut self, name: &str, command: &mut Command) -> Result<Child, Error> {
        command
            .current_dir(&self.directory)
            .env(MARK, &self.processes.id);
        let child = spawn(command, &self.log(name))?;
        if let Some(process) = Process::of(child.id()) {
            self.processes.started.insert(name.to_owned(), process);
            self.processes.save(&self.directory)?;
        }
        Ok(child)
    }

    async fn ready(
        &self,
        name: &'static str,
        mut child: Child,
        is_ready: impl AsyncFn(&Path) -> bool,
    ) -> Result<(), Error> {
        let log = self.log(name);
        let deadline = Instant::now() + READY_LIMIT;
        while !is_ready(&log).await {
            let ended = child.try_wait().is_ok_and(|status| status.is_some());
            if ended || Instant::now() >= deadline {
                let tail = tail(&fs::read_to_string(&log).unwrap_or_default());
                return Err(Error::NotReady { name, log, tail });
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    fn log(&self, name: &str) -> PathBuf {
        self.directory.join("logs").join(format!("{name}.log"))
    }

    /// Unpacks the root directory of sandboxes. Returns its image reference, whose digest is that
    /// of the init program inside.
    fn assemble_rootfs(&self, archive: &Path, init: &Path) -> Result<String, Error> {
        let archive = File::open(archive).map_err(Error::file(archive))?;
        let rootfs = unpack_rootfs(&self.directory.join("rootfs"), archive, init)?;
        let inside = rootfs.join("sealfleet-init");
        let digest = Sha256::digest(fs::read(&inside).map_err(Error::file(&inside))?);
        Ok(format!("sealfleet/sandbox@sha256:{}", hex(&digest)))
    }
}

/// Held by the process that starts or stops the stack of a directory. The system frees it when that
/// process ends.
pub(crate) struct Lock(
    #[expect(dead_code, reason = "the lock lasts as long as the open file")] File,
);

impl Lock {
    /// Waits briefly for the lock: a child that is being started holds a copy until its `execve`.
    pub(crate) async fn take(directory: &Path) -> Result<Self, Error> {
        let path = directory.join("lock");
        let file = File::create(&path).map_err(Error::file(&path))?;
        let deadline = Instant::now() + LOCK_LIMIT;
        while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            if Instant::now() >= deadline {
                return Err(Error::Busy(directory.to_owned()));
            }
            sleep(POLL).await;
        }
        Ok(Self(file))
    }
}

async fn remove(directory: &Path, processes: &Processes) -> Result<usize, Error> {
    let own = std::process::id();
    let mut ended = 0;
    for process in processes
        .started
        .values()
        .filter(|process| process.pid != own && process.is_alive())
    {
        process.end().await;
        ended += 1;
    }
    ended += end_marked(&processes.id).await;
    refuse_mounts(directory)?;
    for name in [
        "build",
        "tmp",
        "data",
        "fargate",
        "rootfs",
        project::DIRECTORY,
    ] {
        let path = directory.join(name);
        absent_is_fine(fs::remove_dir_all(&path)).map_err(Error::file(&path))?;
    }
    for path in [Stack::path(directory), Processes::path(directory)] {
        absent_is_fine(fs::remove_file(&path)).map_err(Error::file(&path))?;
    }
    Ok(ended)
}

/// Refuses to continue if anything is mounted in the directory: removing the directory would remove
/// the mounted files.
fn refuse_mounts(directory: &Path) -> Result<(), Error> {
    let mounts =
        fs::read_to_string("/proc/self/mountinfo").map_err(Error::file("/proc/self/mountinfo"))?;
    let points = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(Path::new);
    match points
        .into_iter()
        .find(|point| point.starts_with(directory) && *point != directory)
    {
        Some(point) => Err(Error::Mounted(point.to_owned())),
        None => Ok(()),
    }
}

fn absent_is_fine(outcome: std::io::Result<()>) -> std::io::Result<()> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn file(flag: &'static str, path: &Path) -> Result<PathBuf, Error> {
    if !path.is_file() {
        return Err(Error::MissingBinary {
            flag,
            path: path.to_owned(),
        });
    }
    fs::canonicalize(path).map_err(Error::file(path))
}

/// The parameters that the stack needs, followed by the caller's.
fn parameters(endpoint: &str, wanted: &[(String, String)]) -> Vec<(String, String)> {
    let ours = [
        ("LocalEndpoint", endpoint),
        ("Subnets", "subnet-local"),
        ("SecurityGroups", "sg-local"),
        // There is no other network.
        ("EgressNetworks", "127.0.0.0/8"),
        ("ExportWindowSeconds", "1"),
        // A rotation is seen at once.
        ("SecretVersionSeconds", "0"),
    ];
    let mut all: BTreeMap<String, String> = ours
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    all.extend(wanted.iter().cloned());
    all.into_iter().collect()
}

/// Two free ports. Holds both until both are known, so that they differ.
fn free_ports() -> Result<[u16; 2], Error> {
    let bind = || TcpListener::bind(("127.0.0.1", 0)).map_err(Error::NoPort);
    let listeners = [bind()?, bind()?];
    let [first, second] = &listeners;
    let port = |listener: &TcpListener| {
        listener
            .local_addr()
            .map(|address| address.port())
            .map_err(Error::NoPort)
    };
    Ok([port(first)?, port(second)?])
}

fn has_ready_line(log: &Path) -> bool {
    fs::read_to_string(log).is_ok_and(|text| text.lines().any(|line| line.trim() == "ready"))
}

async fn is_healthy(endpoint: &str) -> bool {
    let Some(address) = endpoint.strip_prefix("http://") else {
        return false;
    };
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!(
            "GET /_ministack/health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut status = [0; 12];
        stream.read_exact(&mut status).await?;
        Ok::<bool, std::io::Error>(status.ends_with(b" 200"))
    };
    matches!(timeout(Duration::from_secs(5), ask).await, Ok(Ok(true)))
}
