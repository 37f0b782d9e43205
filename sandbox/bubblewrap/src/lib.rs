//! Starts one hardened bubblewrap sandbox per step.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use sealfleet_bubblewrap::{Exit, Launcher, LauncherConfig, SandboxSpec, build_rootfs};
//! let rootfs = build_rootfs("/var/lib/sealfleet/rootfs".as_ref(), "/usr/local/bin/sealfleet-init".as_ref())?;
//! let launcher = Launcher::detect(LauncherConfig::new(rootfs)).await?;
//! eprintln!("{}", launcher.report());
//! let sandbox = launcher.spawn(SandboxSpec::new(["/usr/bin/true"])).await?;
//! assert_eq!(sandbox.wait().await, Exit::Code(0));
//! # Ok(()) }
//! ```
//!
//! # Why a step stays inside
//! - Namespaces of its own for users, processes, mounts, network (unless shared), IPC, host name
//!   and cgroups; no capability; no new privileges; no further user namespaces; a seccomp filter
//!   ([`seccomp`] says what it refuses).
//! - The file system is the read-only root of [`build_rootfs`], the host's `/usr` read-only, and
//!   fresh `/proc`, `/dev`, `/tmp`, `/run`.
//! - bubblewrap starts with an empty environment and gets all its options through an anonymous
//!   file, so neither `/proc/PID/cmdline` nor `/proc/PID/environ` of any process on the host shows
//!   a value. The command is PID 1 (`--as-pid-1`): no other process inside keeps anything readable.
//! - A launcher run by root gives every sandbox a host uid that no other live sandbox has, its own
//!   or another launcher's.
//! - The sandbox cannot outlive its launcher: bubblewrap is killed when the thread that started it
//!   ends (`PR_SET_PDEATHSIG` is bound to the thread, prctl(2)), so one thread, which lives as long
//!   as the process, starts all of them; the kernel then kills the sandbox's process namespace.

mod error;
mod launcher;
mod limits;
mod rootfs;
mod sandbox;
pub mod seccomp;
mod spawner;
mod spec;
mod uids;

pub use error::{LaunchError, Unavailable};
pub use launcher::{Launcher, LauncherConfig, Report};
pub use limits::LimitsDriver;
pub use rootfs::{INIT_PATH, build_rootfs};
pub use sandbox::{Exit, Sandbox};
pub use spec::{Bind, Limits, MAX_FD_INSIDE, MIN_MEMORY_BYTES, Network, SandboxSpec};
