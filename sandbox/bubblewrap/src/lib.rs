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
//! - The file system is a read-only root, a fresh `/proc`, a fresh `/dev` and the writable
//!   directories that the spec names. The root of [`unpack_rootfs`] is an image; that of
//!   [`build_rootfs`] shows the host's `/usr`, read-only.
//! - bubblewrap starts with an empty environment and gets all its options through an anonymous
//!   file, so no process on the host shows a value in `/proc/PID/cmdline` or `/proc/PID/environ`.
//!   The command is PID 1 (`--as-pid-1`): no other process inside keeps anything readable.
//! - The command inherits its three standard streams and one channel to the host, and no other
//!   descriptor.
//! - A launcher that runs as root gives every sandbox a host uid that no other live sandbox has,
//!   whoever launched it.
//! - The sandbox cannot outlive its launcher. The kernel kills bubblewrap when the thread that
//!   started it ends (`PR_SET_PDEATHSIG` is bound to the thread, prctl(2)), and with it the
//!   sandbox's process namespace. So one thread, which lives as long as the process, starts all.

mod backend;
mod error;
mod image;
mod launcher;
mod layers;
mod limits;
mod rootfs;
mod sandbox;
pub mod seccomp;
mod spawner;
mod spec;
mod uids;

pub use backend::Roots;
pub use error::{LaunchError, Unavailable};
pub use image::{unpack_image, unpack_rootfs};
pub use launcher::{Launcher, LauncherConfig, Report, version};
pub use limits::{Cgroups, Group, LimitsDriver};
pub use rootfs::{HOME, INIT_PATH, WORKSPACE, build_rootfs, has_programs};
pub use sandbox::Sandbox;
pub use sealfleet_sandbox_backend::{Exit, Limits, MIN_MEMORY_BYTES, Network};
pub use spec::{Bind, CHANNEL_FD, SandboxSpec};
