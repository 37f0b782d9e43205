//! The checks of a host that is to run sandboxes, and what to do when one fails.

use std::path::Path;

use sealfleet_bubblewrap::{Launcher, LimitsDriver};
use sealfleet_docker::{Engine, Facts};
use sealfleet_sandbox_backend::StateDirectory;
use serde::Serialize;

use crate::backends::{Arguments, Backend, DockerArguments, bubblewrap};

/// The oldest kernel that the sandboxes were tried on.
const KERNEL: (u32, u32) = (5, 10);
/// The oldest engine that the sandboxes were tried on.
const ENGINE: u32 = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Passed,
    /// Steps run, but not as well.
    Warned,
    Failed,
}

#[derive(Debug, Serialize)]
pub struct Finding {
    /// The backend that the check is of; none for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<&'static str>,
    pub check: String,
    pub verdict: Verdict,
    pub found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<&'static str>,
}

#[derive(Serialize)]
pub struct Answer<'a> {
    pub usable: bool,
    pub findings: &'a [Finding],
}

impl Finding {
    /// As a row of a table.
    #[must_use]
    pub fn row(&self) -> [String; 5] {
        let verdict = match self.verdict {
            Verdict::Passed => "ok",
            Verdict::Warned => "warning",
            Verdict::Failed => "FAILED",
        };
        [
            self.backend.unwrap_or("all").to_owned(),
            self.check.clone(),
            verdict.to_owned(),
            self.found.clone(),
            self.advice.unwrap_or_default().to_owned(),
        ]
    }
}

/// Gathers the findings of one backend.
struct Checks<'a> {
    backend: Option<&'static str>,
    findings: &'a mut Vec<Finding>,
}

impl Checks<'_> {
    /// A check that fails unless `good`.
    fn must(&mut self, check: &str, good: bool, found: impl Into<String>, advice: &'static str) {
        self.judged(check, good, Verdict::Failed, found.into(), advice);
    }

    /// A check that warns unless `good`.
    fn should(&mut self, check: &str, good: bool, found: impl Into<String>, advice: &'static str) {
        self.judged(check, good, Verdict::Warned, found.into(), advice);
    }

    fn judged(
        &mut self,
        check: &str,
        good: bool,
        otherwise: Verdict,
        found: String,
        advice: &'static str,
    ) {
        self.findings.push(Finding {
            backend: self.backend,
            check: check.to_owned(),
            verdict: if good { Verdict::Passed } else { otherwise },
            found,
            advice: (!good).then_some(advice),
        });
    }
}

/// Checks the host with the backends that are set up, or with both if none is.
pub async fn examine(arguments: &Arguments) -> Vec<Finding> {
    let mut findings = Vec::new();
    let wanted = arguments.wanted();
    let examined = |backend| wanted.is_empty() || wanted.contains(&backend);
    let mut checks = Checks {
        backend: None,
        findings: &mut findings,
    };
    kernel(&mut checks);
    let state = state(&mut checks, arguments);
    if examined(Backend::Bubblewrap) {
        checks.backend = Some("bubblewrap");
        of_bubblewrap(&mut checks, arguments).await;
    }
    if examined(Backend::Docker) {
        checks.backend = Some("docker");
        of_docker(&mut checks, &arguments.docker, state).await;
    }
    findings
}

fn kernel(checks: &mut Checks<'_>) {
    let release = read("/proc/sys/kernel/osrelease");
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|part| part.parse().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    checks.should(
        "kernel",
        version >= KERNEL,
        release,
        "use Linux 5.10 or newer: the sandboxes were tried on no older one",
    );
}

fn state(checks: &mut Checks<'_>, arguments: &Arguments) -> Option<StateDirectory> {
    let opened = arguments.state.open();
    let found = match &opened {
        Ok(state) => state.path().display().to_string(),
        Err(error) => error.clone(),
    };
    checks.must(
        "state directory",
        opened.is_ok(),
        found,
        "name a directory that this user may have, by `--state-dir`",
    );
    opened.ok()
}

async fn of_bubblewrap(checks: &mut Checks<'_>, arguments: &Arguments) {
    let namespaces: u64 = read("/proc/sys/user/max_user_namespaces")
        .parse()
        .unwrap_or(0);
    let forbidden = [
        ("kernel.unprivileged_userns_clone", "0"),
        ("kernel.apparmor_restrict_unprivileged_userns", "1"),
    ];
    let by = forbidden.iter().find(|(name, value)| {
        let file = format!("/proc/sys/{}", name.replace('.', "/"));
        Path::new(&file).exists() && read(&file) == *value
    });
    let is_root = rustix::process::geteuid().is_root();
    checks.must(
        "user namespaces",
        namespaces > 0 && (is_root || by.is_none()),
        match by {
            Some((name, value)) if !is_root => format!("{name} = {value}"),
            _ => format!("{namespaces} at most"),
        },
        "let users make user namespaces: `sysctl user.max_user_namespaces=15000`, `kernel.unprivileged_userns_clone=1`, \
         and a profile of AppArmor for bwrap where it restricts them",
    );
    if arguments.roots.is_empty() {
        let version = sealfleet_bubblewrap::version(None).await;
        let good = version.is_ok();
        let found = version.unwrap_or_else(|error| error.to_string());
        checks.must(
            "bubblewrap",
            good,
            found,
            "install bubblewrap 0.8 or newer: `apt-get install bubblewrap`",
        );
        return checks.should(
            "first sandbox",
            false,
            "not tried: there is no root directory",
            "name one by `--rootfs DIR`; `sealfleet-worker rootfs build` makes it",
        );
    }
    match bubblewrap(arguments).await {
        Err(reason) => checks.must(
            "first sandbox",
            false,
            reason,
            "do what it says, and check again",
        ),
        Ok(roots) => {
            let image = roots.launchers().all(|launcher| launcher.report().image);
            let Some(report) = roots.launchers().next().map(Launcher::report) else {
                return;
            };
            let version = format!("{} ({})", report.version, report.bwrap.display());
            checks.must("bubblewrap", true, version, "");
            checks.must("first sandbox", true, "works", "");
            checks.should(
                "limits",
                report.limits != LimitsDriver::Prlimit,
                report.limits.as_str(),
                "delegate the memory and pids controllers of cgroups to the worker (systemd: `Delegate=memory pids`): \
                 without them the worker looks from time to time, and nothing stands behind it",
            );
            checks.should(
                "users",
                report.host_uids.is_some(),
                match &report.host_uids {
                    Some(range) => format!("{} to {}", range.start(), range.end()),
                    None => "the worker's own".to_owned(),
                },
                "run nothing else under the worker's user: its processes can read a step's memory; a worker that is \
                 root gives each sandbox a user of its own",
            );
            checks.should(
                "programs",
                image,
                if image { "of an image" } else { "of this host" },
                "make the root directory of an image, by `sealfleet-worker rootfs build`: steps see the host's programs",
            );
        }
    }
}

async fn of_docker(
    checks: &mut Checks<'_>,
    arguments: &DockerArguments,
    state: Option<StateDirectory>,
) {
    let greeted = match Engine::at(arguments.host.as_deref()) {
        Ok(engine) => engine.greet().await,
        Err(error) => Err(error),
    };
    let (engine, facts) = match greeted {
        Ok(greeted) => greeted,
        Err(error) => {
            return checks.must(
                "engine",
                false,
                error.to_string(),
                "start a Docker Engine, or name its socket by `DOCKER_HOST`, and put the worker's user into its group",
            );
        }
    };
    of_engine(checks, &facts);
    let images = match arguments.by_name() {
        Ok(images) if !images.is_empty() => images,
        Ok(_) => {
            return checks.should(
                "image",
                false,
                "none to check",
                "name one by `--docker-image IMAGE`",
            );
        }
        Err(error) => return checks.must("image", false, error, "give each image another name"),
    };
    for (name, reference) in &images {
        let image = engine.image(reference).await;
        let good = image.is_ok();
        let found = image.map_or_else(
            |error| error.to_string(),
            |image| format!("{reference}, {}, init at {}", image.id, image.init),
        );
        checks.must(
            &format!("image {name}"),
            good,
            found,
            "pull or build the image, with the static `sealfleet-init` of this release as its entry point",
        );
    }
    let Some(Ok(worker)) = state.map(|state| state.enter()) else {
        return;
    };
    let config = sealfleet_docker::Config {
        host: arguments.host.clone(),
        images,
    };
    let launcher = sealfleet_docker::Launcher::detect(config, worker).await;
    let good = launcher.is_ok();
    let found = launcher.map_or_else(
        |error| error.to_string(),
        |_| "works; `sealfleet-init` is of this release or speaks like it".to_owned(),
    );
    checks.must(
        "first sandbox",
        good,
        found,
        "do what it says, and check again",
    );
}

fn of_engine(checks: &mut Checks<'_>, facts: &Facts) {
    let major = facts.version.split('.').next();
    let major: u32 = major.and_then(|number| number.parse().ok()).unwrap_or(0);
    checks.should(
        "engine",
        major >= ENGINE,
        facts.to_string(),
        "use Docker Engine 20.10 or newer: the sandboxes were tried on no older one",
    );
    checks.must(
        "system calls",
        facts.seccomp,
        if facts.seccomp {
            "filtered"
        } else {
            "not filtered"
        },
        "use a kernel with seccomp, and the engine without `seccomp-profile: unconfined`",
    );
    checks.must(
        "memory limit",
        facts.limits_memory,
        if facts.limits_memory {
            "kept"
        } else {
            "not kept"
        },
        "give the engine the memory controller of cgroups",
    );
    checks.must(
        "process limit",
        facts.limits_processes,
        if facts.limits_processes {
            "kept"
        } else {
            "not kept"
        },
        "give the engine the pids controller of cgroups",
    );
    checks.should(
        "swap limit",
        facts.limits_swap,
        if facts.limits_swap { "kept" } else { "not kept" },
        "switch swap off, or its accounting on (`swapaccount=1`): a step may swap beyond its memory",
    );
    checks.should(
        "storage",
        facts.storage != "vfs",
        facts.storage.clone(),
        "use overlay2: with vfs, each container copies its image",
    );
    checks.should(
        "users",
        facts.remaps_users || facts.rootless,
        if facts.remaps_users || facts.rootless {
            "of their own on the host"
        } else {
            "the host's 65534"
        },
        "let no service of this host run as 65534; or use `userns-remap`, or a rootless engine",
    );
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_owned()
}
