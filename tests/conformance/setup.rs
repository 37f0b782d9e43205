//! The backends of this machine: a root directory of the sandbox image for bubblewrap, and the
//! engine that `DOCKER_HOST` names.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sealfleet_sandbox_backend::{DEFAULT_IMAGE, Limits, Process, SandboxBackend, StateDirectory};

use sealfleet_worker::executor::egress::{Lent, Way};

use crate::worker::{PATIENCE, Worker};

/// The sandbox image of this version, which `scripts/images` builds.
pub fn image() -> String {
    format!("sealfleet/sandbox:{}", env!("CARGO_PKG_VERSION"))
}

/// The image of this version with CLI agents. Claude Code is not in it: its licence is for those
/// who run it.
fn released_agents_image() -> String {
    format!("sealfleet/agents:{}", env!("CARGO_PKG_VERSION"))
}

/// Claude Code, as `images/agents` pins it.
fn claude_code() -> PathBuf {
    const PROGRAM: &str = "images/agents/node_modules/@anthropic-ai/claude-code-linux-x64/claude";
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(PROGRAM)
}

/// An image with Codex and Claude Code, made once.
fn agents_image(place: &Path) -> String {
    static MADE: Mutex<()> = Mutex::new(());
    let made = MADE.lock();
    let tag = "sealfleet/agents-of-tests:1".to_owned();
    let context = place.join("agents-of-tests");
    if !context.exists() {
        std::fs::create_dir(&context).unwrap();
        link(&claude_code(), &context.join("claude"));
        let released = released_agents_image();
        let recipe = format!("FROM {released}\nCOPY claude /usr/local/bin/claude\n");
        std::fs::write(context.join("Dockerfile"), recipe).unwrap();
        let mut build = Command::new("docker");
        build.env("DOCKER_BUILDKIT", "0").arg("build");
        said(build.args(["--network=none", "--tag", &tag]).arg(&context));
    }
    drop(made);
    tag
}

/// A file at a second place.
fn link(from: &Path, to: &Path) {
    if std::fs::hard_link(from, to).is_err() {
        std::fs::copy(from, to).unwrap();
    }
}

/// A program that `cargo build` has put beside this one.
pub fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.ancestors().nth(2).unwrap().join(name)
}

pub fn engine_host() -> String {
    let mut variables = std::env::vars();
    let told = variables.find(|(name, _)| name == "DOCKER_HOST");
    told.expect("start this suite with `scripts/test-images`").1
}

/// What a command prints; it must succeed.
pub fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A directory that sandboxes, which are other users, can enter.
pub fn open_directory(path: &Path) -> PathBuf {
    std::fs::create_dir_all(path).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.to_owned()
}

/// The root of bubblewrap sandboxes: that of the sandbox image.
pub fn root(place: &Path) {
    build_root(&image(), &place.join("root"));
}

fn build_root(image: &str, root: &Path) {
    let mut build = Command::new(program("sealfleet-worker"));
    build
        .args(["rootfs", "build", "--from-image", image, "--init"])
        .arg(program("sealfleet-init"))
        .arg(root);
    said(&mut build);
}

/// A root of the image with CLI agents, made once.
pub fn agents_root(place: &Path) -> PathBuf {
    static MADE: Mutex<()> = Mutex::new(());
    let made = MADE.lock();
    let root = place.join("root-with-agents");
    if !root.exists() {
        build_root(&released_agents_image(), &root);
        link(&claude_code(), &root.join("usr/local/bin/claude"));
    }
    drop(made);
    root
}

pub async fn bubblewrap(root: &Path) -> Arc<dyn SandboxBackend> {
    use sealfleet_bubblewrap::{Launcher, LauncherConfig, Roots};
    let launcher = Launcher::detect(LauncherConfig::new(root)).await;
    Arc::new(Roots::from(launcher.unwrap()))
}

pub async fn docker(host: &str, image: &str, process: Process) -> Arc<dyn SandboxBackend> {
    try_docker(host, image, process).await.unwrap()
}

pub async fn try_docker(
    host: &str,
    image: &str,
    process: Process,
) -> Result<Arc<dyn SandboxBackend>, String> {
    let config = sealfleet_docker::Config {
        host: Some(host.to_owned()),
        images: BTreeMap::from([(DEFAULT_IMAGE.to_owned(), image.to_owned())]),
    };
    let launcher = sealfleet_docker::Launcher::detect(config, process).await;
    let launcher = launcher.map_err(|error| error.to_string())?;
    Ok(Arc::new(launcher))
}

/// A worker with the backend `name`. `place` has the root directory of [`root`].
pub async fn worker(name: &str, place: &Path) -> Worker {
    let state = StateDirectory::open(&place.join("state")).unwrap();
    let process = state.enter().unwrap();
    let backend = match name {
        "bubblewrap" => bubblewrap(&place.join("root")).await,
        _ => docker(&engine_host(), &image(), process.clone()).await,
    };
    Worker {
        backend,
        process,
        network: lent(Way::Policy),
        limits: Worker::LIMITS,
        place: open_directory(&place.join(name)),
    }
}

/// A worker of another engine.
pub async fn worker_of(engine: &Engine, place: &Path) -> Worker {
    let state = StateDirectory::open(&place.join("state")).unwrap();
    let process = state.enter().unwrap();
    Worker {
        backend: docker(&engine.host(), &image(), process.clone()).await,
        process,
        network: lent(Way::Policy),
        limits: Worker::LIMITS,
        place: open_directory(&place.join("docker")),
    }
}

/// A worker like `worker`, whose image has gone since it was started.
pub async fn without_image(worker: &Worker) -> Worker {
    let place = worker.place.join("without-image");
    let backend = match worker.backend.name() {
        "bubblewrap" => {
            let root = open_directory(&place).join("root");
            sealfleet_bubblewrap::build_rootfs(&root, &program("sealfleet-init")).unwrap();
            let backend = bubblewrap(&root).await;
            std::fs::remove_dir_all(root).unwrap();
            backend
        }
        _ => {
            let tag = "sealfleet/gone:1";
            said(Command::new("docker").args(["tag", &image(), tag]));
            let backend = docker(&engine_host(), tag, worker.process.clone()).await;
            said(Command::new("docker").args(["rmi", tag]));
            backend
        }
    };
    Worker {
        backend,
        process: worker.process.clone(),
        network: lent(Way::Policy),
        limits: Worker::LIMITS,
        place,
    }
}

/// What a worker lends to egress policies: the loopback, where the suite has its servers, and the
/// place of metadata, which nothing opens.
fn lent(way: Way) -> Lent {
    Lent {
        way,
        networks: ["127.0.0.0/8", "169.254.0.0/16"].map(str::to_owned).into(),
        authorities: None,
    }
}

/// A worker like `worker`, whose egress proxies believe this authority, too.
pub fn believing(worker: &Worker, authority: Option<String>) -> Worker {
    Worker {
        backend: Arc::clone(&worker.backend),
        process: worker.process.clone(),
        network: Lent {
            authorities: authority,
            ..lent(Way::Policy)
        },
        limits: worker.limits,
        place: worker.place.clone(),
    }
}

/// A worker like `worker`, with CLI agents in its sandboxes and its own network.
pub async fn with_agents(worker: &Worker) -> Worker {
    let place = crate::directory(worker);
    let backend = match worker.backend.name() {
        "bubblewrap" => bubblewrap(&agents_root(place)).await,
        _ => docker(&engine_host(), &agents_image(place), worker.process.clone()).await,
    };
    Worker {
        backend,
        process: worker.process.clone(),
        network: lent(Way::Host),
        // Claude Code needs more than what a worker gives a step unless it is told otherwise.
        limits: Limits {
            memory_bytes: 2 << 30,
            ..Limits::default()
        },
        place: open_directory(&worker.place.join("with-agents")),
    }
}

/// An engine that a case may end. As on most hosts, its containerd is another service.
pub struct Engine {
    place: PathBuf,
    containerd: Child,
    process: Child,
}

impl Engine {
    pub fn start(place: &Path) -> Self {
        let place = open_directory(place);
        let path = |name: &str| place.join(name).display().to_string();
        let config = "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n";
        std::fs::write(place.join("containerd.toml"), config).unwrap();
        let containerd = Command::new("containerd")
            .args([
                "--config",
                &path("containerd.toml"),
                "--root",
                &path("root"),
            ])
            .args(["--state", &path("state"), "--address", &path("containerd")])
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(path("containerd.log")).unwrap())
            .spawn();
        Self {
            containerd: containerd.unwrap(),
            process: Self::spawn(&place),
            place,
        }
    }

    fn spawn(place: &Path) -> Child {
        let path = |name: &str| place.join(name).display().to_string();
        let process = Command::new("dockerd")
            .args(["--data-root", &path("data"), "--exec-root", &path("exec")])
            .args(["--pidfile", &path("pid")])
            .args(["--host", &format!("unix://{}", path("socket"))])
            .args(["--containerd", &path("containerd")])
            .args(["--iptables=false", "--ip6tables=false", "--bridge=none"])
            .args(["--exec-opt", "native.cgroupdriver=cgroupfs"])
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(path("log")).unwrap())
            .spawn();
        let process = process.unwrap();
        let began = Instant::now();
        let ready = || {
            let mut version = Command::new("docker");
            version.args(["--host", &format!("unix://{}", path("socket")), "version"]);
            version.output().unwrap().status.success()
        };
        while !ready() {
            assert!(began.elapsed() < PATIENCE, "the engine does not answer");
            std::thread::sleep(Duration::from_millis(100));
        }
        process
    }

    pub fn host(&self) -> String {
        format!("unix://{}", self.place.join("socket").display())
    }

    /// Gives it an image of the engine that `DOCKER_HOST` names.
    pub fn load(&self, image: &str) {
        let file = self.place.join("image.tar");
        said(
            Command::new("docker")
                .args(["save", image, "--output"])
                .arg(&file),
        );
        let mut load = Command::new("docker");
        load.args(["--host", &self.host(), "load", "--input"]);
        said(load.arg(&file));
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub fn restart(&mut self) {
        self.process = Self::spawn(&self.place);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        for process in [&mut self.process, &mut self.containerd] {
            let pid = process.id().to_string();
            let kill = Command::new("kill").arg(pid).stderr(Stdio::null()).status();
            drop(kill);
            drop(process.wait());
        }
        // The engine leaves the network's namespace of its containers mounted.
        let namespace = self.place.join("exec/netns/default");
        drop(
            Command::new("umount")
                .arg(namespace)
                .stderr(Stdio::null())
                .status(),
        );
    }
}
