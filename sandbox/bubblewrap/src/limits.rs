//! Memory and process limits, with the means that this host offers.
//!
//! Every driver keeps the same promise: a sandbox that crosses its memory limit is killed as a
//! whole and ends as [`Exit::OutOfMemory`](crate::Exit::OutOfMemory), however its command would
//! have ended.
//!
//! A sandbox's files lie in memory, too, in file systems with a size of their own: who fills one is
//! told that the disk is full. The kernel counts such files to the cgroup of the writer, so the
//! cgroup's limit is memory and files together, and the launcher looks every 20 ms whether memory
//! alone crosses its limit. A fast command may exceed it for that long, by the space for files at
//! most. With cgroup v1 the kernel kills one process only; the launcher kills the rest as soon as
//! it sees the kernel's counter.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use sealfleet_sandbox_backend::Limits;

/// How memory and process limits are enforced. The launcher uses the first that the host offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitsDriver {
    /// A delegated cgroup v2 tree (systemd `Delegate=yes`, or a container with its own).
    CgroupV2,
    /// cgroup v1 `memory` and `pids` hierarchies.
    CgroupV1,
    /// No cgroup is writable. The launcher sums up memory every 20 ms and kills what is over; no
    /// other limit stands behind it. `RLIMIT_NPROC` bounds the processes.
    Prlimit,
}

impl LimitsDriver {
    /// Its name in reports: `cgroup-v2`, `cgroup-v1`, `prlimit`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CgroupV2 => "cgroup-v2",
            Self::CgroupV1 => "cgroup-v1",
            Self::Prlimit => "prlimit",
        }
    }
}

impl std::fmt::Display for LimitsDriver {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A driver and the cgroups below which it makes one for each sandbox.
#[derive(Debug)]
pub(crate) enum Driver {
    V2 { parent: PathBuf },
    V1 { memory: PathBuf, pids: PathBuf },
    Prlimit,
}

impl Driver {
    /// The driver that is asked for, or else the best one that the host offers.
    pub(crate) fn detect(wanted: Option<LimitsDriver>) -> Result<Self, (LimitsDriver, io::Error)> {
        match wanted {
            None => Ok(v2().or_else(|_| v1()).unwrap_or(Self::Prlimit)),
            Some(LimitsDriver::CgroupV2) => v2().map_err(|error| (LimitsDriver::CgroupV2, error)),
            Some(LimitsDriver::CgroupV1) => v1().map_err(|error| (LimitsDriver::CgroupV1, error)),
            Some(LimitsDriver::Prlimit) => Ok(Self::Prlimit),
        }
    }

    pub(crate) fn kind(&self) -> LimitsDriver {
        match self {
            Self::V2 { .. } => LimitsDriver::CgroupV2,
            Self::V1 { .. } => LimitsDriver::CgroupV1,
            Self::Prlimit => LimitsDriver::Prlimit,
        }
    }

    /// Prepares the limits of one sandbox.
    pub(crate) fn guard(&self, limits: &Limits) -> io::Result<Guard> {
        let mut guard = Guard::new(limits.memory_bytes);
        // The kernel counts files in memory like memory.
        let most = limits.memory_bytes.saturating_add(limits.files_in_memory());
        match self {
            Self::V2 { parent } => {
                let group = guard.add(parent)?;
                fs::write(group.join("memory.max"), most.to_string())?;
                // Without swap accounting there is no such file.
                write_if_there(&group.join("memory.swap.max"), "0")?;
                fs::write(group.join("memory.oom.group"), "1")?;
                fs::write(group.join("pids.max"), (limits.pids + 1).to_string())?;
                guard.kernel = Some(Counters {
                    kills: group.join("memory.events"),
                    usage: group.join("memory.stat"),
                    own_memory: "anon ",
                });
            }
            Self::V1 { memory, pids } => {
                let group = guard.add(memory)?;
                fs::write(group.join("memory.limit_in_bytes"), most.to_string())?;
                write_if_there(
                    &group.join("memory.memsw.limit_in_bytes"),
                    &most.to_string(),
                )?;
                guard.kernel = Some(Counters {
                    kills: group.join("memory.oom_control"),
                    usage: group.join("memory.stat"),
                    own_memory: "rss ",
                });
                let group = guard.add(pids)?;
                // One more: bubblewrap's own process outside counts, too.
                fs::write(group.join("pids.max"), (limits.pids + 1).to_string())?;
            }
            Self::Prlimit => {}
        }
        Ok(guard)
    }
}

/// The limits of one sandbox; its cgroups are removed with it.
#[derive(Debug)]
pub(crate) struct Guard {
    directories: Vec<PathBuf>,
    /// None with the prlimit driver.
    kernel: Option<Counters>,
    exceeded: AtomicBool,
    memory_bytes: u64,
}

/// Where the kernel says what a group uses.
#[derive(Debug)]
struct Counters {
    /// The file with the counter `oom_kill`.
    kills: PathBuf,
    /// The file with the counter `own_memory`: what processes use apart from files.
    usage: PathBuf,
    own_memory: &'static str,
}

impl Guard {
    const fn new(memory_bytes: u64) -> Self {
        Self {
            directories: Vec::new(),
            kernel: None,
            exceeded: AtomicBool::new(false),
            memory_bytes,
        }
    }

    fn add(&mut self, parent: &Path) -> io::Result<PathBuf> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = format!(
            "{PREFIX}{}-{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        let directory = parent.join(name);
        fs::create_dir(&directory)?;
        self.directories.push(directory.clone());
        Ok(directory)
    }

    /// A process that writes `0` to these files comes under the limits. The launcher opens them:
    /// the kernel checks the rights of the opener.
    pub(crate) fn entrances(&self) -> io::Result<Vec<fs::File>> {
        self.directories
            .iter()
            .map(|group| {
                fs::OpenOptions::new()
                    .write(true)
                    .open(group.join("cgroup.procs"))
            })
            .collect()
    }

    /// Returns once the sandbox has crossed its memory limit; never otherwise.
    pub(crate) async fn crossed(&self, command: u32) {
        while !self.crosses(command) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn crosses(&self, command: u32) -> bool {
        let used = match &self.kernel {
            Some(counters) => counter(&counters.usage, counters.own_memory),
            None => memory_of_tree(command),
        };
        if used > self.memory_bytes {
            self.exceeded.store(true, Ordering::Release);
        }
        self.out_of_memory()
    }

    /// Whether it used too much memory: as the kernel or this guard has seen.
    pub(crate) fn out_of_memory(&self) -> bool {
        let kernel = self.kernel.as_ref();
        self.exceeded.load(Ordering::Acquire)
            || kernel.is_some_and(|counters| counter(&counters.kills, "oom_kill ") > 0)
    }

    /// Removes the cgroups; the kernel may take a moment to see them empty.
    pub(crate) async fn remove(mut self) {
        for _ in 0..50 {
            self.directories.retain(|group| !removed(group));
            if self.directories.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.directories.retain(|group| !removed(group));
        for group in &self.directories {
            tracing::warn!(cgroup = %group.display(), "a sandbox's cgroup could not be removed");
        }
    }
}

/// Cgroups for commands that run outside of a sandbox: whatever such a command starts can be found
/// in its group, and killed.
#[derive(Debug)]
pub struct Cgroups(Driver);

/// The cgroup of one command. It limits nothing.
#[derive(Debug)]
pub struct Group(Guard);

impl Cgroups {
    /// `None`: this process can make none here.
    #[must_use]
    pub fn detect() -> Option<Self> {
        let driver = v2().or_else(|_| v1()).ok()?;
        Some(Self(driver))
    }

    /// A new, empty group.
    ///
    /// # Errors
    /// The system's answer.
    pub fn group(&self) -> io::Result<Group> {
        let mut guard = Guard::new(0);
        match &self.0 {
            Driver::V2 { parent } => guard.add(parent)?,
            Driver::V1 { pids, .. } => guard.add(pids)?,
            Driver::Prlimit => return Err(io::ErrorKind::Unsupported.into()),
        };
        Ok(Group(guard))
    }
}

impl Group {
    /// Puts a process, and so all that it starts from now on, into the group.
    ///
    /// # Errors
    /// The system's answer.
    pub fn take(&self, process: u32) -> io::Result<()> {
        for group in &self.0.directories {
            fs::write(group.join("cgroup.procs"), process.to_string())?;
        }
        Ok(())
    }

    /// Kills what is in the group until nothing is, and removes it.
    pub async fn end(self) {
        for _ in 0..500 {
            let mut left = false;
            for group in &self.0.directories {
                // Only cgroup v2 has it. It also kills what is just being started.
                drop(write_if_there(&group.join("cgroup.kill"), "1"));
                let inside = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
                for process in inside.lines().filter_map(|line| line.parse().ok()) {
                    left = true;
                    // Fails if it has ended by itself.
                    let _: Option<_> =
                        Pid::from_raw(process).map(|process| kill_process(process, Signal::KILL));
                }
            }
            if !left {
                break;
            }
            // No file of cgroup v1 tells that a group is empty.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.0.remove().await;
    }
}

const PREFIX: &str = "sealfleet-sandbox-";

/// How often to look at what a sandbox uses.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The number behind `name` in a file of the kernel's counters; 0 if it is not there.
fn counter(file: &Path, name: &str) -> u64 {
    let counters = fs::read_to_string(file).unwrap_or_default();
    let number = counters.lines().find_map(|line| line.strip_prefix(name));
    number
        .and_then(|number| number.trim().parse().ok())
        .unwrap_or(0)
}

fn removed(group: &Path) -> bool {
    !matches!(fs::remove_dir(group), Err(error) if error.kind() != io::ErrorKind::NotFound)
}

fn write_if_there(path: &Path, text: &str) -> io::Result<()> {
    match fs::write(path, text) {
        Err(error)
            if !matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
            ) =>
        {
            Err(error)
        }
        _ => Ok(()),
    }
}

/// Resident private and shared-memory bytes of `root` and all its descendants. PID 1 adopts
/// orphans, so every process of a sandbox descends from it.
fn memory_of_tree(root: u32) -> u64 {
    let mut total = 0;
    let mut waiting = vec![root];
    while let Some(process) = waiting.pop() {
        let directory = PathBuf::from(format!("/proc/{process}"));
        total += memory_of(&directory);
        let Ok(threads) = fs::read_dir(directory.join("task")) else {
            continue;
        };
        for thread in threads.flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            waiting.extend(
                children
                    .split_whitespace()
                    .filter_map(|child| child.parse::<u32>().ok()),
            );
        }
    }
    total
}

/// The proportional share if it is readable (pages shared after a fork count once), or else the
/// resident size.
fn memory_of(process: &Path) -> u64 {
    let sum = |file: &str, names: &[&str]| -> Option<u64> {
        let text = fs::read_to_string(process.join(file)).ok()?;
        let of = |name: &&str| {
            text.lines().find_map(|line| {
                line.strip_prefix(*name)?
                    .split_whitespace()
                    .next()?
                    .parse::<u64>()
                    .ok()
            })
        };
        Some(names.iter().filter_map(of).sum::<u64>() * 1024)
    };
    sum("smaps_rollup", &["Pss_Anon:", "Pss_Shmem:"])
        .filter(|bytes| *bytes > 0)
        .or_else(|| sum("status", &["RssAnon:", "RssShmem:"]))
        .unwrap_or(0)
}

/// The cgroup this process is in, as a directory of this host: `controller` of v1, or v2 when none
/// is given.
fn own_cgroup(controller: Option<&str>) -> io::Result<PathBuf> {
    let missing = |what: String| io::Error::new(io::ErrorKind::NotFound, what);
    let name = controller.unwrap_or("v2");
    let memberships = fs::read_to_string("/proc/self/cgroup")?;
    let own = memberships
        .lines()
        .filter_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            Some((parts.next()?, parts.next()?))
        })
        .find(|(controllers, _)| match controller {
            Some(wanted) => controllers.split(',').any(|one| one == wanted),
            None => controllers.is_empty(),
        })
        .map(|(_, path)| path)
        .ok_or_else(|| missing(format!("this process is in no {name} cgroup")))?;
    // proc_pid_mountinfo(5): id parent major:minor root mount-point options [tags] - type source
    // super-options
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    for line in mounts.lines() {
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        let (left, right): (Vec<_>, Vec<_>) =
            (left.split(' ').collect(), right.split(' ').collect());
        let (Some(root), Some(point), Some(kind), Some(options)) =
            (left.get(3), left.get(4), right.first(), right.get(2))
        else {
            continue;
        };
        let fits = match controller {
            Some(wanted) => *kind == "cgroup" && options.split(',').any(|one| one == wanted),
            None => *kind == "cgroup2",
        };
        if fits && let Ok(below) = Path::new(own).strip_prefix(root) {
            return Ok(Path::new(point).join(below));
        }
    }
    Err(missing(format!(
        "the {name} cgroup file system is not mounted"
    )))
}

fn v1() -> io::Result<Driver> {
    let (memory, pids) = (own_cgroup(Some("memory"))?, own_cgroup(Some("pids"))?);
    let driver = Driver::V1 { memory, pids };
    try_out(driver)
}

/// Child groups can have controllers only if their parent has no processes of its own (cgroups(7),
/// "no internal processes"), so the launcher moves itself into a leaf. That works if nothing else
/// lives in its cgroup, as with a delegated one.
fn v2() -> io::Result<Driver> {
    const LEAF: &str = "sealfleet-launcher";
    let own = own_cgroup(None)?;
    let parent = match own.file_name() {
        Some(name) if name == LEAF => own.parent().map(Path::to_owned).unwrap_or(own),
        _ => own,
    };
    let controllers = fs::read_to_string(parent.join("cgroup.controllers"))?;
    if !["memory", "pids"]
        .iter()
        .all(|wanted| controllers.split_whitespace().any(|one| one == *wanted))
    {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "the memory and pids controllers are not delegated",
        ));
    }
    let me = std::process::id().to_string();
    let inhabitants = fs::read_to_string(parent.join("cgroup.procs"))?;
    if inhabitants.lines().any(|process| process != me) {
        return Err(io::Error::new(
            io::ErrorKind::ResourceBusy,
            "other processes live in this cgroup: run the launcher in one of its own",
        ));
    }
    if !inhabitants.is_empty() {
        let leaf = parent.join(LEAF);
        match fs::create_dir(&leaf) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => fs::write(leaf.join("cgroup.procs"), &me)?,
        }
    }
    fs::write(parent.join("cgroup.subtree_control"), "+memory +pids")?;
    try_out(Driver::V2 { parent })
}

/// Removes groups that killed launchers left behind, then makes and removes one as a trial.
fn try_out(driver: Driver) -> io::Result<Driver> {
    let parents = match &driver {
        Driver::V2 { parent } => vec![parent],
        Driver::V1 { memory, pids } => vec![memory, pids],
        Driver::Prlimit => Vec::new(),
    };
    for parent in parents {
        for entry in fs::read_dir(parent)?.flatten() {
            let name = entry.file_name();
            let launcher = name
                .to_str()
                .and_then(|name| name.strip_prefix(PREFIX)?.split('-').next());
            if launcher.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
                // Fails while a process lives in it: then leave it.
                drop(fs::remove_dir(entry.path()));
            }
        }
    }
    drop(driver.guard(&Limits::default())?);
    Ok(driver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroup_v2_limits_are_written_and_a_kill_is_seen() {
        let parent = tempfile::tempdir().unwrap();
        let limits = Limits {
            memory_bytes: 64 << 20,
            pids: 8,
            open_files: 64,
            scratch_bytes: 32 << 20,
        };
        let guard = Driver::V2 {
            parent: parent.path().to_owned(),
        }
        .guard(&limits)
        .unwrap();
        let group = guard.directories.first().unwrap().clone();
        assert_eq!(
            fs::read_to_string(group.join("memory.max")).unwrap(),
            ((64 + 2 * 32 + 64 / 2 + 16) << 20).to_string()
        );
        assert_eq!(
            fs::read_to_string(group.join("memory.oom.group")).unwrap(),
            "1"
        );
        assert_eq!(fs::read_to_string(group.join("pids.max")).unwrap(), "9");
        fs::write(
            group.join("memory.events"),
            "low 0\noom 1\noom_kill 0\noom_group_kill 0\n",
        )
        .unwrap();
        assert!(!guard.out_of_memory());
        assert!(!guard.crosses(std::process::id()));
        fs::write(group.join("memory.stat"), "anon 67108864\nshmem 99999999\n").unwrap();
        assert!(!guard.crosses(std::process::id()), "files are no memory");
        fs::write(group.join("memory.stat"), "anon 67108865\nshmem 0\n").unwrap();
        assert!(guard.crosses(std::process::id()));
        guard.exceeded.store(false, Ordering::Release);
        fs::write(
            group.join("memory.events"),
            "low 0\noom 1\noom_kill 2\noom_group_kill 1\n",
        )
        .unwrap();
        assert!(guard.out_of_memory());
    }

    #[test]
    fn the_memory_of_a_process_tree_includes_its_children() {
        let block = vec![1_u8; 64 << 20];
        assert!(memory_of_tree(std::process::id()) > block.len() as u64);
    }
}
