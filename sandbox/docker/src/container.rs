//! The container of a step: all that the engine is told of it.

use std::collections::HashMap;
use std::path::Path;

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig, Mount, MountType,
    ResourcesUlimits,
};
use sealfleet_domain::Timestamp;
use sealfleet_sandbox_backend::{Limits, Network, Order, Process, RUN_BYTES};

use crate::engine::Image;

/// User and group of every sandbox.
const USER: &str = "65534:65534";
/// The directory of the channel, inside.
const CHANNEL_DIRECTORY: &str = "/run/sealfleet";
/// The name of its socket.
pub(crate) const SOCKET: &str = "channel";

/// Where a step can write. An image's volumes elsewhere would be directories of the host, without a
/// bound.
pub(crate) const WRITABLE: [&str; 4] = ["/workspace", "/tmp", "/run", "/dev/shm"];

/// Labels of a container: whose it is, by names, and until when somebody wants it.
pub(crate) mod label {
    pub(crate) const STATE: &str = "sealfleet.state";
    pub(crate) const WORKER: &str = "sealfleet.worker";
    pub(crate) const PROJECT: &str = "sealfleet.project";
    pub(crate) const RUN: &str = "sealfleet.run";
    pub(crate) const STEP: &str = "sealfleet.step";
    pub(crate) const FENCE: &str = "sealfleet.fence";
    pub(crate) const EXPIRES: &str = "sealfleet.expires";
}

/// The container for an order. `directory` holds the socket of its channel.
pub(crate) fn body(
    image: &Image,
    order: &Order,
    worker: &Process,
    directory: &Path,
    now: Timestamp,
) -> ContainerCreateBody {
    let words = ["exec", "--channel"].map(str::to_owned);
    let socket = format!("{CHANNEL_DIRECTORY}/{SOCKET}");
    ContainerCreateBody {
        image: Some(image.reference.clone()),
        entrypoint: Some([vec![image.init.clone()], words.into(), vec![socket]].concat()),
        // The image's own.
        cmd: Some(Vec::new()),
        user: Some(USER.to_owned()),
        hostname: Some("sandbox".to_owned()),
        working_dir: Some("/workspace".to_owned()),
        // The image's own would run beside the step, and the engine would keep what it says.
        healthcheck: Some(HealthConfig {
            test: Some(vec!["NONE".to_owned()]),
            ..HealthConfig::default()
        }),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        labels: Some(labels(order, worker, now)),
        host_config: Some(host(order, directory)),
        ..ContainerCreateBody::default()
    }
}

fn labels(order: &Order, worker: &Process, now: Timestamp) -> HashMap<String, String> {
    let owner = &order.owner;
    let lifetime = i64::try_from(order.lifetime.as_secs()).unwrap_or(i64::MAX);
    let labels = [
        (label::STATE, worker.directory().id().to_owned()),
        (label::WORKER, worker.name().to_owned()),
        (label::PROJECT, owner.project.to_string()),
        (label::RUN, owner.run_id.to_string()),
        (label::STEP, owner.step_id.to_string()),
        (label::FENCE, owner.fence.to_string()),
        (label::EXPIRES, now.plus_seconds(lifetime).to_string()),
    ];
    labels
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect()
}

fn host(order: &Order, directory: &Path) -> HostConfig {
    let limits = &order.limits;
    // The kernel counts files in memory like memory. The launcher looks at memory alone.
    let memory = bytes(limits.memory_bytes.saturating_add(limits.files_in_memory()));
    let scratch = limits.scratch_bytes;
    HostConfig {
        network_mode: Some(
            match order.network {
                Network::None => "none",
                Network::Host => "host",
            }
            .to_owned(),
        ),
        readonly_rootfs: Some(true),
        cap_drop: Some(vec!["ALL".to_owned()]),
        // The engine adds its default seccomp profile.
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        privileged: Some(false),
        memory: Some(memory),
        // Of memory and swap together: no swap.
        memory_swap: Some(memory),
        pids_limit: Some(i64::try_from(limits.pids).unwrap_or(i64::MAX)),
        ulimits: Some(vec![
            ulimit("nofile", bytes(limits.open_files)),
            ulimit("core", 0),
        ]),
        tmpfs: Some(HashMap::from([
            ("/workspace".to_owned(), tmpfs(scratch, "0755")),
            ("/tmp".to_owned(), tmpfs(scratch, "1777")),
            ("/run".to_owned(), tmpfs(RUN_BYTES, "0755")),
        ])),
        shm_size: Some(bytes(Limits::shared_bytes(limits))),
        mounts: Some(vec![Mount {
            target: Some(CHANNEL_DIRECTORY.to_owned()),
            source: Some(directory.display().to_string()),
            typ: Some(MountType::BIND),
            read_only: Some(true),
            ..Mount::default()
        }]),
        log_config: Some(HostConfigLogConfig {
            typ: Some("none".to_owned()),
            config: None,
        }),
        // Init is the first process, and reaps.
        init: Some(false),
        auto_remove: Some(false),
        ..HostConfig::default()
    }
}

/// An engine adds `noexec` on its own. runc up to 1.1 gives the mount the mode of the image's
/// directory, so the owner alone makes sure that it can be written to.
fn tmpfs(size: u64, mode: &str) -> String {
    format!("rw,exec,nosuid,nodev,size={size},mode={mode},uid=65534,gid=65534")
}

fn ulimit(name: &str, most: i64) -> ResourcesUlimits {
    ResourcesUlimits {
        name: Some(name.to_owned()),
        soft: Some(most),
        hard: Some(most),
    }
}

fn bytes(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
