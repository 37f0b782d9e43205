//! Starts one hardened container of a Docker Engine per step.
//!
//! # Why a step stays inside
//! - The container has namespaces of its own for processes, mounts, network (unless shared), IPC
//!   and host name; no capability; no new privileges; the engine's default seccomp profile. A
//!   launcher refuses an engine that has none.
//! - The file system is the image, read-only. `/workspace`, `/tmp`, `/run` and `/dev/shm` are
//!   writable, lie in memory and have a size. Nothing of the host is there but the socket of the
//!   channel.
//! - The socket lies in a directory that only this launcher and this container can reach. The
//!   launcher accepts one connection, checks that it is the container's first process, and stops
//!   listening before the step is sent.
//! - The engine learns names only, as labels: no environment, no argument and no log of a step.
//!   Output goes from init, which redacts it, through the engine's attachment to the launcher; the
//!   engine keeps none (`none` as the log driver).
//! - The container ends with its channel: when the launcher dies, init kills all. What is left of
//!   it, a stopped container, the next [`reap`](Engine::reap) of a worker on this host takes away.

mod container;
mod engine;
mod launcher;
mod orphans;
mod sandbox;

pub use engine::{Engine, EngineError, Facts, Image};
pub use launcher::{Config, Launcher, Unavailable};
