//! Finds out what this host offers, and starts sandboxes.

use std::fmt;
use std::io::{self, Write as _};
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, pidfd_open, pidfd_send_signal, prlimit,
};
use sealfleet_sandbox_backend::{Exit, Network, RUN_BYTES};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::error::{LaunchError, Unavailable};
use crate::limits::{Driver, Guard, LimitsDriver};
use crate::rootfs::{HOST_NAME, INIT_PATH, has_programs, hold};
use crate::sandbox::Sandbox;
use crate::seccomp;
use crate::spawner;
use crate::spec::{CHANNEL_FD, SandboxSpec};
use crate::uids::{UidLease, Uids};

/// The user and group inside every sandbox.
const NOBODY: &str = "65534";

/// How long bubblewrap may take to set up a sandbox on a busy host.
const SETUP_TIME: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
pub struct LauncherConfig {
    /// The root directory, as [`build_rootfs`](crate::build_rootfs) or
    /// [`unpack_rootfs`](crate::unpack_rootfs) makes it.
    pub rootfs: PathBuf,
    /// Directory of the host uids in use, shared by all launchers of the host. Used only if the
    /// launcher runs as root.
    pub state_dir: PathBuf,
    /// Host uids (and equal gids) for sandboxes. No account of the host may have them. Used only if
    /// the launcher runs as root.
    pub uid_range: RangeInclusive<u32>,
    /// The bubblewrap program. Absent: searched in `/usr/bin`, `/usr/local/bin` and `/bin`.
    pub bwrap: Option<PathBuf>,
    /// The limits driver to insist on. Absent: the best one that the host offers.
    pub limits_driver: Option<LimitsDriver>,
}

impl LauncherConfig {
    /// The defaults: state in `/run/sealfleet`, uids 900000 to 900999.
    #[must_use]
    pub fn new(rootfs: impl Into<PathBuf>) -> Self {
        Self {
            rootfs: rootfs.into(),
            state_dir: PathBuf::from("/run/sealfleet"),
            uid_range: 900_000..=900_999,
            bwrap: None,
            limits_driver: None,
        }
    }
}

/// The isolation that sandboxes of this launcher really have. Log it at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub bwrap: PathBuf,
    pub version: String,
    /// How memory and processes are limited.
    pub limits: LimitsDriver,
    /// Whether sandboxes see the programs of an image, and not the host's `/usr`.
    pub image: bool,
    /// The range from which each sandbox gets a host uid of its own. `None` if the launcher is not
    /// root: then all sandboxes run under the launcher's uid, and processes of that uid outside can
    /// read a step's memory.
    pub host_uids: Option<RangeInclusive<u32>>,
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "bubblewrap {} ({}), limits by {}, programs of {}, ",
            self.version,
            self.bwrap.display(),
            self.limits,
            if self.image { "an image" } else { "the host" }
        )?;
        match &self.host_uids {
            Some(range) => write!(
                formatter,
                "one host uid per sandbox ({} to {})",
                range.start(),
                range.end()
            ),
            None => formatter.write_str("all sandboxes under the launcher's own uid"),
        }
    }
}

/// Starts sandboxes. Cheap to clone.
#[derive(Clone)]
pub struct Launcher {
    inner: Arc<Inner>,
}

impl fmt::Debug for Launcher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Launcher")
            .field("report", self.report())
            .finish_non_exhaustive()
    }
}

struct Inner {
    rootfs: PathBuf,
    uids: Option<Uids>,
    driver: Driver,
    report: Report,
    seccomp: Vec<Vec<u8>>,
}

impl Launcher {
    /// Checks the host, and runs one sandbox as proof.
    ///
    /// # Errors
    /// [`Unavailable`], with what to do about it.
    pub async fn detect(config: LauncherConfig) -> Result<Self, Unavailable> {
        let bwrap = find(config.bwrap)?;
        let version = version_of(&bwrap).await?;
        let rootfs =
            std::fs::canonicalize(&config.rootfs).map_err(|error| Unavailable::Rootfs {
                path: config.rootfs.clone(),
                reason: error.to_string(),
            })?;
        let root = rustix::process::geteuid().is_root();
        let mut uids = None;
        if root {
            reachable(&rootfs)?;
            let state = |source| Unavailable::State {
                path: config.state_dir.clone(),
                source,
            };
            uids = Some(Uids::open(&config.state_dir, config.uid_range.clone()).map_err(state)?);
        }
        let driver = Driver::detect(config.limits_driver).map_err(|(driver, error)| {
            Unavailable::Limits {
                wanted: driver.as_str(),
                reason: error.to_string(),
            }
        })?;
        let seccomp = seccomp::programs()
            .map_err(|error| Unavailable::Probe(LaunchError::Invalid(error.to_string())))?;
        let report = Report {
            bwrap,
            version,
            limits: driver.kind(),
            image: has_programs(&rootfs),
            host_uids: root.then_some(config.uid_range),
        };
        let launcher = Self {
            inner: Arc::new(Inner {
                rootfs,
                uids,
                driver,
                report,
                seccomp,
            }),
        };
        launcher.probe().await.map_err(Unavailable::Probe)?;
        Ok(launcher)
    }

    #[must_use]
    pub fn report(&self) -> &Report {
        &self.inner.report
    }

    /// Starts one sandbox. Returns once the sandbox is set up and its limits are in force; the
    /// command starts then.
    ///
    /// # Errors
    /// [`LaunchError`]; nothing is left running.
    pub async fn spawn(&self, spec: SandboxSpec) -> Result<Sandbox, LaunchError> {
        spec.check()?;
        // In a task of its own: if the caller gives up in the middle, the task finishes and drops
        // the sandbox, so nothing is left half made.
        let inner = Arc::clone(&self.inner);
        let start = tokio::spawn(async move { inner.start(spec).await });
        start.await.map_err(|error| LaunchError::System {
            what: "the runtime shuts down",
            source: io::Error::other(error),
        })?
    }

    async fn probe(&self) -> Result<(), LaunchError> {
        // An image may have no other program.
        let command: &[&str] = if self.inner.report.image {
            &[INIT_PATH, "--version"]
        } else {
            &["/usr/bin/true"]
        };
        let mut sandbox = self
            .spawn(SandboxSpec::new(command.iter().copied()))
            .await?;
        let mut words = String::new();
        if let Some(mut stderr) = sandbox.stderr.take() {
            stderr
                .read_to_string(&mut words)
                .await
                .map_err(LaunchError::system("the first sandbox's output"))?;
        }
        match sandbox.wait().await {
            Exit::Code(0) => Ok(()),
            exit => Err(LaunchError::Refused(format!(
                "`{}` ended with {}: {}",
                command.join(" "),
                exit.code(),
                words.trim()
            ))),
        }
    }
}

impl Inner {
    async fn start(&self, spec: SandboxSpec) -> Result<Sandbox, LaunchError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let id = format!(
            "sandbox-{}-{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        let lease = match &self.uids {
            Some(uids) => {
                let lease = uids
                    .lease()
                    .map_err(LaunchError::system("a host uid cannot be reserved"))?;
                Some(lease.ok_or(LaunchError::NoFreeUid)?)
            }
            None => None,
        };
        let guard = self
            .driver
            .guard(&spec.limits)
            .map_err(LaunchError::system("its limits cannot be set"))?;

        let pipe =
            || pipe_with(PipeFlags::CLOEXEC).map_err(LaunchError::system("a pipe cannot be made"));
        let ((status, status_inside), (go_inside, go)) = (pipe()?, pipe()?);
        let mut passed = Passed::default();
        let status_number = passed.same_number(status_inside)?;
        let go_number = passed.same_number(go_inside)?;
        let mut options = Options::default();
        self.describe(&spec, &mut options);
        for program in &self.seccomp {
            options
                .add("--add-seccomp-fd")
                .add(passed.same_number(anonymous_file(program)?)?.to_string());
        }
        options
            .add("--json-status-fd")
            .add(status_number.to_string())
            .add("--block-fd")
            .add(go_number.to_string());
        let options_number = passed.same_number(anonymous_file(&options.bytes)?)?;
        drop(options);
        if let Some(channel) = spec.channel {
            passed.renumbered(channel, CHANNEL_FD)?;
        }

        let mut command = Command::new(&self.report.bwrap);
        command.env_clear().current_dir("/").kill_on_drop(true);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
            .arg("--args")
            .arg(options_number.to_string())
            .arg("--")
            .args(&spec.command);
        let host_uid = match &lease {
            // Given a uid and no groups, `Command` also drops root's supplementary groups.
            Some(lease) => {
                command.uid(lease.uid).gid(lease.uid);
                lease.uid
            }
            None => rustix::process::geteuid().as_raw(),
        };
        let root = || {
            hold(&self.rootfs).map_err(LaunchError::system("its root directory cannot be opened"))
        };
        let mut roots = vec![root()?];
        let entrances = guard
            .entrances()
            .map_err(LaunchError::system("its cgroups cannot be opened"))?;
        // RLIMIT_NPROC counts all processes of a uid (getrlimit(2)). Set before the user namespace
        // exists, it is right only for a uid of its own. Two more for bubblewrap.
        let by_prlimit = self.driver.kind() == LimitsDriver::Prlimit;
        let processes = by_prlimit.then_some(spec.limits.pids + 2);
        let limits = [
            Some((Resource::Core, 0)),
            Some((Resource::Nofile, spec.limits.open_files)),
            {
                processes
                    .filter(|_| lease.is_some())
                    .map(|most| (Resource::Nproc, most))
            },
        ];
        harden(&mut command, &passed, &entrances, limits);

        let started = spawner::spawn(command).await;
        // bubblewrap has its copies. Closed here, the pipes end when bubblewrap does.
        drop((passed, entrances));
        let mut child = started.map_err(LaunchError::system("bubblewrap cannot be run"))?;
        let processes = processes.filter(|_| lease.is_none());
        let (status, command) = match set_up(&mut child, status, &go, processes).await {
            Ok(ready) => ready,
            Err(error) => {
                // Nothing may be left when this returns.
                drop(child.kill().await);
                guard.remove().await;
                return Err(error);
            }
        };
        // bubblewrap opens the root by name: if it was replaced just now, bubblewrap has the new
        // one.
        roots.push(root()?);
        let pid = command.pid;
        let for_sandbox = command
            .handle
            .try_clone()
            .map_err(LaunchError::system("the command cannot be watched"))?;

        let monitor_pid = child.id().unwrap_or_default();
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (announce, exit) = watch::channel(None);
        tokio::spawn(supervise(
            child,
            status,
            command,
            (guard, roots),
            lease,
            announce,
        ));
        Ok(Sandbox {
            stdout,
            stderr,
            id,
            pid,
            monitor_pid,
            host_uid,
            command: for_sandbox,
            exit,
        })
    }

    /// Adds all options except those that name descriptors.
    fn describe(&self, spec: &SandboxSpec, options: &mut Options) {
        let [scratch, shared, run] = [
            spec.limits.scratch_bytes,
            spec.limits.shared_bytes(),
            RUN_BYTES,
        ]
        .map(|bytes| bytes.to_string());
        options.all(["--as-pid-1", "--die-with-parent", "--new-session"]);
        options.all([
            "--unshare-user",
            "--unshare-all",
            "--disable-userns",
            "--cap-drop",
            "ALL",
        ]);
        options.all(["--uid", NOBODY, "--gid", NOBODY, "--hostname", HOST_NAME]);
        options.add("--ro-bind").add(&self.rootfs).add("/");
        if !self.report.image {
            options.all(["--ro-bind", "/usr", "/usr"]);
        }
        options.all(["--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"]);
        for directory in &spec.writable {
            let size = match directory.to_str() {
                Some("/dev/shm") => &shared,
                Some("/run") => &run,
                _ => &scratch,
            };
            options.all(["--size", size, "--tmpfs"]).add(directory);
        }
        for directory in &spec.directories {
            options.add("--dir").add(directory);
        }
        if spec.network == Network::Host {
            options.all([
                "--share-net",
                "--ro-bind-try",
                "/etc/resolv.conf",
                "/etc/resolv.conf",
            ]);
        }
        for bind in &spec.binds {
            options
                .add(if bind.writable { "--bind" } else { "--ro-bind" })
                .add(&bind.source)
                .add(&bind.target);
        }
        options
            .add("--chdir")
            .add(&spec.directory)
            .add("--clearenv");
        for (name, value) in &spec.env {
            options.all(["--setenv", name, value]);
        }
    }
}

/// NUL-separated options for `--args`. Wiped when dropped: they hold values of the environment.
#[derive(Default)]
struct Options {
    bytes: Zeroizing<Vec<u8>>,
}

impl Options {
    fn add(&mut self, option: impl AsRef<std::ffi::OsStr>) -> &mut Self {
        let option = option.as_ref().as_bytes();
        let needed = self.bytes.len() + option.len() + 1;
        if needed > self.bytes.capacity() {
            // `Vec` would free the old block unwiped.
            let mut larger = Zeroizing::new(Vec::with_capacity(needed * 2));
            larger.extend_from_slice(&self.bytes);
            self.bytes = larger;
        }
        self.bytes.extend_from_slice(option);
        self.bytes.push(0);
        self
    }

    fn all<const N: usize>(&mut self, options: [&str; N]) -> &mut Self {
        for option in options {
            self.add(option);
        }
        self
    }
}

fn anonymous_file(bytes: &[u8]) -> Result<OwnedFd, LaunchError> {
    let write = || -> io::Result<OwnedFd> {
        let mut file = std::fs::File::from(memfd_create(c"sealfleet", MemfdFlags::CLOEXEC)?);
        file.write_all(bytes)?;
        rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0))?;
        Ok(file.into())
    };
    write().map_err(LaunchError::system("an anonymous file cannot be made"))
}

/// Descriptors that bubblewrap inherits. All of them are moved above [`CHANNEL_FD`], so that
/// putting the channel there never overwrites another.
#[derive(Default)]
struct Passed {
    held: Vec<OwnedFd>,
    /// (held, number in the child)
    places: Vec<(RawFd, RawFd)>,
}

impl Passed {
    fn same_number(&mut self, descriptor: OwnedFd) -> Result<RawFd, LaunchError> {
        let held = self.hold(descriptor)?;
        self.places.push((held, held));
        Ok(held)
    }

    fn renumbered(&mut self, descriptor: OwnedFd, number: RawFd) -> Result<(), LaunchError> {
        let held = self.hold(descriptor)?;
        self.places.push((held, number));
        Ok(())
    }

    fn hold(&mut self, descriptor: OwnedFd) -> Result<RawFd, LaunchError> {
        let held = fcntl_dupfd_cloexec(descriptor.as_fd(), CHANNEL_FD + 1)
            .map_err(LaunchError::system("a descriptor cannot be passed"))?;
        let number = held.as_raw_fd();
        self.held.push(held);
        Ok(number)
    }
}

/// Sets what the child does between fork and exec: it dies with this process, enters its cgroups,
/// takes its limits, and keeps only the descriptors that it was given.
#[expect(
    unsafe_code,
    reason = "the standard library has no other way to set limits and descriptor numbers of a child"
)]
fn harden(
    command: &mut Command,
    passed: &Passed,
    entrances: &[std::fs::File],
    limits: [Option<(Resource, u64)>; 3],
) {
    let places = passed.places.clone();
    let entrances: Vec<RawFd> = entrances.iter().map(AsRawFd::as_raw_fd).collect();
    let launcher = rustix::process::getpid();
    let prepare = move || -> io::Result<()> {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        if rustix::process::getppid() != Some(launcher) {
            // The launcher ended before the line above took effect.
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        for entrance in &entrances {
            // SAFETY: the descriptor is open (the launcher holds it until the child runs) and the
            // buffer is one valid byte.
            if unsafe { libc::write(*entrance, b"0".as_ptr().cast(), 1) } != 1 {
                return Err(io::Error::last_os_error());
            }
        }
        for (resource, most) in limits.into_iter().flatten() {
            rustix::process::setrlimit(
                resource,
                Rlimit {
                    current: Some(most),
                    maximum: Some(most),
                },
            )?;
        }
        // SAFETY: plain system calls on numbers; the descriptors are open and owned by the launcher
        // until the child runs.
        unsafe {
            if libc::syscall(
                libc::SYS_close_range,
                3,
                libc::c_uint::MAX,
                libc::CLOSE_RANGE_CLOEXEC,
            ) != 0
            {
                return Err(io::Error::last_os_error());
            }
            for (held, number) in &places {
                let result = if held == number {
                    libc::fcntl(*held, libc::F_SETFD, 0)
                } else {
                    libc::dup2(*held, *number)
                };
                if result < 0 {
                    return Err(io::Error::last_os_error());
                }
            }
        }
        Ok(())
    };
    // SAFETY: between fork and exec only system calls are made; nothing allocates, locks or touches
    // memory shared with other threads.
    unsafe { command.pre_exec(prepare) };
}

/// The command's process.
struct Held {
    pid: u32,
    handle: OwnedFd,
}

/// Waits until bubblewrap has made the sandbox, sets the limit that needs the sandbox's own user
/// namespace, and lets the command go.
async fn set_up(
    child: &mut Child,
    status: OwnedFd,
    go: &OwnedFd,
    processes: Option<u64>,
) -> Result<(Status, Held), LaunchError> {
    let slow = |_| {
        LaunchError::Refused(format!(
            "it took more than {} seconds",
            SETUP_TIME.as_secs()
        ))
    };
    let status = pipe::Receiver::from_owned_fd(status)
        .map_err(LaunchError::system("its status cannot be read"))?;
    let mut status = BufReader::new(status).lines();
    let Some(pid) = tokio::time::timeout(SETUP_TIME, command_pid(&mut status))
        .await
        .map_err(slow)?
    else {
        return Err(LaunchError::Refused(last_words(child).await));
    };
    let let_go = match let_go(pid, go, processes) {
        Ok(handle) => tokio::time::timeout(SETUP_TIME, taken(go))
            .await
            .map_err(slow)?
            .then_some(handle),
        // bubblewrap names the command's process before it makes the mounts. If one of them fails,
        // the process may be gone by now.
        Err((_, Errno::SRCH | Errno::PIPE)) => None,
        Err((what, error)) => return Err(LaunchError::system(what)(error)),
    };
    match let_go {
        Some(handle) => Ok((status, Held { pid, handle })),
        None => Err(LaunchError::Refused(last_words(child).await)),
    }
}

/// Limits the command's process, which waits for `go`, and lets it go. The error says what cannot
/// be done.
fn let_go(
    pid: u32,
    go: &OwnedFd,
    processes: Option<u64>,
) -> Result<OwnedFd, (&'static str, Errno)> {
    let process = Pid::from_raw(pid.cast_signed()).ok_or(("it named no process", Errno::INVAL))?;
    // The command waits for `go`, so no other process can have its id.
    let handle = pidfd_open(process, PidfdFlags::NONBLOCK)
        .map_err(|error| ("the command cannot be watched", error))?;
    if let Some(most) = processes {
        let most = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        prlimit(Some(process), Resource::Nproc, most)
            .map_err(|error| ("its process limit cannot be set", error))?;
    }
    rustix::io::write(go, b"g").map_err(|error| ("the command cannot be let go", error))?;
    Ok(handle)
}

type Status = Lines<BufReader<pipe::Receiver>>;

/// `field` of the next JSON document of bubblewrap that has it; `None` if bubblewrap ended first.
async fn status_field(status: &mut Status, field: &str) -> Option<i64> {
    while let Ok(Some(line)) = status.next_line().await {
        let document: Option<serde_json::Value> = serde_json::from_str(&line).ok();
        if let Some(number) = document.and_then(|document| document.get(field)?.as_i64()) {
            return Some(number);
        }
    }
    None
}

async fn command_pid(status: &mut Status) -> Option<u32> {
    status_field(status, "child-pid")
        .await
        .and_then(|pid| u32::try_from(pid).ok())
}

/// Waits until bubblewrap closes the pipe. It takes the byte first if the sandbox is set up; the
/// byte still being there means that it failed.
async fn taken(go: &OwnedFd) -> bool {
    while !ended(go) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    rustix::io::ioctl_fionread(go).is_ok_and(|unread| unread == 0)
}

async fn last_words(child: &mut Child) -> String {
    let mut words = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        // A bubblewrap that failed has said all by then.
        drop(
            tokio::time::timeout(
                Duration::from_secs(2),
                stderr.take(4096).read_to_end(&mut words),
            )
            .await,
        );
    }
    String::from_utf8_lossy(&words).trim().to_owned()
}

/// Lives as long as the sandbox: enforces its memory limit, and gives its cgroups and uid back once
/// none of its processes runs.
async fn supervise(
    mut child: Child,
    mut status: Status,
    command: Held,
    (guard, roots): (Guard, Vec<std::fs::File>),
    lease: Option<UidLease>,
    announce: watch::Sender<Option<Exit>>,
) {
    let reported = tokio::select! {
        reported = status_field(&mut status, "exit-code") => reported,
        () = guard.crossed(command.pid) => {
            kill(&command.handle);
            status_field(&mut status, "exit-code").await
        }
    };
    let monitor = child.wait().await;
    // If bubblewrap itself was killed, the namespace may live a moment longer. A pidfd is readable
    // once its process is gone.
    while !ended(&command.handle) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let exit = match (guard.out_of_memory(), reported, monitor) {
        (true, _, _) => Exit::OutOfMemory,
        (false, Some(code), _) => Exit::from_shell_code(i32::try_from(code).unwrap_or(1)),
        // bubblewrap reports no code if the command never ran: not found, or killed before.
        (false, None, Ok(ended)) => match ended.code().map(Exit::from_shell_code) {
            Some(Exit::Code(_)) => Exit::Code(127),
            Some(signal) => signal,
            None => Exit::Signal(Signal::KILL.as_raw()),
        },
        (false, None, Err(_)) => Exit::Signal(Signal::KILL.as_raw()),
    };
    guard.remove().await;
    drop(roots);
    if let Some(lease) = lease {
        lease.ended();
    }
    announce.send_replace(Some(exit));
}

/// Whether the process of a pidfd has ended, or the reading end of a pipe is closed.
fn ended(descriptor: &OwnedFd) -> bool {
    let mut watched = [PollFd::new(descriptor, PollFlags::IN)];
    !matches!(
        poll(&mut watched, Some(&Timespec::default())),
        Ok(0) | Err(rustix::io::Errno::INTR)
    )
}

fn kill(process: &OwnedFd) {
    if let Err(error) = pidfd_send_signal(process, Signal::KILL) {
        // No such process: it has ended by itself.
        tracing::debug!(%error, "nothing to kill");
    }
}

fn find(given: Option<PathBuf>) -> Result<PathBuf, Unavailable> {
    let places = match given {
        Some(path) => vec![path],
        None => ["/usr/bin/bwrap", "/usr/local/bin/bwrap", "/bin/bwrap"]
            .map(PathBuf::from)
            .to_vec(),
    };
    places
        .into_iter()
        .find(|path| path.is_file())
        .ok_or(Unavailable::NotInstalled)
}

/// The version of the bubblewrap program, which is new enough. `bwrap`: as in [`LauncherConfig`].
///
/// # Errors
/// [`Unavailable`].
pub async fn version(bwrap: Option<PathBuf>) -> Result<String, Unavailable> {
    version_of(&find(bwrap)?).await
}

async fn version_of(bwrap: &Path) -> Result<String, Unavailable> {
    let output = Command::new(bwrap)
        .arg("--version")
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .await;
    let unusable = |reason: String| Unavailable::Unusable {
        path: bwrap.to_owned(),
        reason,
    };
    let output = output.map_err(|error| unusable(error.to_string()))?;
    if !output.status.success() {
        return Err(unusable(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        ));
    }
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let version = text.strip_prefix("bubblewrap ").unwrap_or(&text).to_owned();
    let numbers: Vec<u32> = version
        .split('.')
        .map_while(|part| part.parse().ok())
        .collect();
    if numbers.as_slice() < [0, 8].as_slice() {
        return Err(Unavailable::TooOld {
            path: bwrap.to_owned(),
            version,
        });
    }
    Ok(version)
}

/// Whether the sandbox's uid can walk to the root: bubblewrap binds it under that uid.
fn reachable(rootfs: &Path) -> Result<(), Unavailable> {
    for directory in rootfs.ancestors() {
        let unusable = |reason: String| Unavailable::Rootfs {
            path: rootfs.to_owned(),
            reason,
        };
        let mode = std::fs::metadata(directory)
            .map_err(|error| unusable(error.to_string()))?
            .permissions()
            .mode();
        if mode & 0o001 == 0 {
            let place = directory.display();
            return Err(unusable(format!(
                "sandboxes run under uids of their own, and `{place}` is closed to other users; \
                 run `chmod o+x {place}`, or choose a directory below `/var/lib`"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `set_up` answers for a bubblewrap that names `pid` and fails, having read nothing.
    async fn refusal(pid: u32) -> LaunchError {
        let (status, status_inside) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let (go_inside, go) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let named = format!("{{\"child-pid\": {pid}}}\n");
        rustix::io::write(&status_inside, named.as_bytes()).unwrap();
        drop((status_inside, go_inside));
        let mut bubblewrap = Command::new("sh")
            .args(["-c", "echo no such mount >&2; exit 1"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        match set_up(&mut bubblewrap, status, &go, None).await {
            Err(error) => error,
            Ok(_) => panic!("a sandbox that failed was let go"),
        }
    }

    #[tokio::test]
    async fn a_sandbox_that_fails_early_is_refused_in_bubblewraps_words() {
        let mut gone = Command::new("true").spawn().unwrap();
        let pid = gone.id().unwrap();
        gone.wait().await.unwrap();
        for pid in [pid, std::process::id()] {
            let refused = refusal(pid).await;
            assert!(
                matches!(&refused, LaunchError::Refused(words) if words == "no such mount"),
                "{refused}"
            );
        }
    }
}
