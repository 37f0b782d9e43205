//! The sandbox backends of a worker: which it has, and how they are set up.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use ipnet::IpNet;
use sealfleet_bubblewrap::{Launcher, LauncherConfig, Roots, build_rootfs, has_programs};
use sealfleet_docker::Engine;
use sealfleet_sandbox_backend::{DEFAULT_IMAGE, Limits, Process, SandboxBackend, StateDirectory};

use crate::executor::egress::{Lent, Way};

const MIB: u64 = 1024 * 1024;
/// Time between two looks for sandboxes of dead workers.
const REAP_EVERY: Duration = Duration::from_secs(60);
/// Where workers of this host keep their state if they may.
const STATE_DIRECTORY: &str = "/run/sealfleet";

#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Sandbox backend to have; may be repeated, and the first one runs the steps that ask for none
    /// [default: `bubblewrap` with `--rootfs`, `docker` with `--docker-image`]
    #[arg(
        long = "backend",
        value_enum,
        value_name = "BACKEND",
        env = "SEALFLEET_BACKENDS",
        value_delimiter = ','
    )]
    pub backends: Vec<Backend>,
    /// Root directory of bubblewrap sandboxes, as `rootfs build` makes it; may be repeated as
    /// NAME=DIR, for steps that require the label `sandbox.image` with this name
    #[arg(
        long = "rootfs",
        value_name = "[NAME=]DIR",
        env = "SEALFLEET_ROOTFS",
        value_parser = root
    )]
    pub roots: Vec<(String, PathBuf)>,
    /// Show bubblewrap sandboxes the programs of this host, its `/usr`, read-only: where the root
    /// directory has none of its own
    #[arg(long, requires = "roots")]
    pub host_usr: bool,
    /// Make or renew the root directories with this `sealfleet-init` program
    #[arg(long, value_name = "FILE", requires = "roots")]
    pub init: Option<PathBuf>,
    #[command(flatten)]
    pub docker: DockerArguments,
    #[command(flatten)]
    pub state: StateArguments,
    /// What sandboxes may use of this host's network
    #[arg(long, value_enum, default_value_t = SandboxNetwork::None)]
    pub network: SandboxNetwork,
    /// Network that an egress policy can allow although its addresses are not public, as
    /// `10.20.0.0/16`; may be repeated. Metadata addresses of clouds are always refused
    #[arg(
        long = "egress-network",
        value_name = "CIDR",
        env = "SEALFLEET_EGRESS_NETWORKS",
        value_delimiter = ',',
        value_parser = egress_network
    )]
    pub egress_networks: Vec<String>,
    /// Certificates (PEM) of authorities that egress proxies believe, besides those of the sandbox
    /// image, where they deliver secrets or read requests
    #[arg(long, value_name = "FILE", env = "SEALFLEET_EGRESS_CA")]
    pub egress_ca: Option<PathBuf>,
    /// Memory of each sandbox in MiB, without the files that it writes
    #[arg(long, value_name = "MIB", alias = "memory-mib", default_value_t = 512, value_parser = clap::value_parser!(u64).range(8..))]
    pub memory: u64,
    /// MiB for files in `/workspace` of each sandbox, and as many in `/tmp`; they lie in memory
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..))]
    pub scratch: u64,
    /// Processes and threads of each sandbox
    #[arg(long, value_name = "NUMBER", default_value_t = 256, value_parser = clap::value_parser!(u64).range(2..))]
    pub pids: u64,
    /// Open files of each process of a sandbox
    #[arg(long, value_name = "NUMBER", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(64..))]
    pub open_files: u64,
}

/// Which engine, and which of its images.
#[derive(Clone, Debug, clap::Args)]
pub struct DockerArguments {
    /// Image of Docker sandboxes, with `sealfleet-init` as its entry point; may be repeated as
    /// NAME=IMAGE, for steps that require the label `sandbox.image` with this name
    #[arg(
        long = "docker-image",
        value_name = "[NAME=]IMAGE",
        env = "SEALFLEET_DOCKER_IMAGES",
        value_delimiter = ',',
        value_parser = image
    )]
    pub images: Vec<(String, String)>,
    /// Container engine, as `unix://PATH` [default: `unix:///var/run/docker.sock`]
    #[arg(long = "docker-host", value_name = "URL", env = "DOCKER_HOST")]
    pub host: Option<String>,
}

/// What workers of a host know of one another.
#[derive(Clone, Debug, clap::Args)]
pub struct StateArguments {
    /// Directory that all workers of this host and user share, to find sandboxes of dead ones
    /// [default: `/run/sealfleet`, or one of this user]
    #[arg(long, value_name = "DIR", env = "SEALFLEET_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    Bubblewrap,
    Docker,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum SandboxNetwork {
    /// Nothing: they have loopback alone
    None,
    /// What the egress policy of a step allows, through a proxy beside its sandbox
    Policy,
    /// As `policy`; and all of it, for steps without an egress policy
    Host,
}

/// Bytes of authorities: what fits into an order for a proxy beside everything else.
const AUTHORITIES_BYTES: usize = 256 * 1024;

/// Init reads it once more.
fn egress_network(text: &str) -> Result<String, String> {
    let network: IpNet = text
        .parse()
        .map_err(|_| "write it as `10.20.0.0/16`".to_owned())?;
    Ok(network.to_string())
}

/// `NAME=IMAGE`, or `IMAGE` for steps that ask for none. A digest has no `=`.
fn image(text: &str) -> Result<(String, String), String> {
    let (name, image) = text.split_once('=').unwrap_or((DEFAULT_IMAGE, text));
    if name.is_empty() || image.is_empty() {
        return Err("write it as `IMAGE` or `NAME=IMAGE`".to_owned());
    }
    Ok((name.to_owned(), image.to_owned()))
}

/// `NAME=DIR`, or `DIR` for steps that ask for no variant.
fn root(text: &str) -> Result<(String, PathBuf), String> {
    let named = text.split_once('=');
    // A path may have a `=`, but no name has a `/`.
    let (name, directory) = named
        .filter(|(name, _)| !name.contains('/'))
        .unwrap_or((DEFAULT_IMAGE, text));
    if name.is_empty() || directory.is_empty() {
        return Err("write it as `DIR` or `NAME=DIR`".to_owned());
    }
    Ok((name.to_owned(), PathBuf::from(directory)))
}

/// By name.
fn unique<T: Clone>(option: &str, named: &[(String, T)]) -> Result<BTreeMap<String, T>, String> {
    let by_name: BTreeMap<_, _> = named.iter().cloned().collect();
    if by_name.len() < named.len() {
        return Err(format!(
            "`{option}`: two have the same name; name each variant once, as `NAME=…`"
        ));
    }
    Ok(by_name)
}

impl Arguments {
    /// The root directories by the names of their variants.
    ///
    /// # Errors
    /// Two have one name, or there is none for steps that ask for none; for people.
    pub fn roots(&self) -> Result<BTreeMap<String, PathBuf>, String> {
        let roots = unique("--rootfs", &self.roots)?;
        if roots.contains_key(DEFAULT_IMAGE) {
            return Ok(roots);
        }
        Err(
            "`--backend bubblewrap` needs `--rootfs DIR`, without a name, for the steps that ask for no variant; \
             `sealfleet-worker rootfs build` makes one"
                .to_owned(),
        )
    }

    /// # Errors
    /// The authorities cannot be read.
    pub fn network(&self) -> Result<Lent, String> {
        let authorities = self.egress_ca.as_ref().map(|path| {
            let text = std::fs::read_to_string(path).map_err(|error| error.to_string());
            let read = text.and_then(|text| match text.len() <= AUTHORITIES_BYTES {
                true => Ok(text),
                false => Err(format!("it has more than {AUTHORITIES_BYTES} bytes")),
            });
            read.map_err(|why| format!("`--egress-ca {}`: {why}", path.display()))
        });
        Ok(Lent {
            way: match self.network {
                SandboxNetwork::None => Way::None,
                SandboxNetwork::Policy => Way::Policy,
                SandboxNetwork::Host => Way::Host,
            },
            networks: self.egress_networks.clone(),
            authorities: authorities.transpose()?,
        })
    }

    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            memory_bytes: self.memory.saturating_mul(MIB),
            scratch_bytes: self.scratch.saturating_mul(MIB),
            pids: self.pids,
            open_files: self.open_files,
        }
    }

    /// The backends to have: those that are named, or else those that are set up.
    #[must_use]
    pub fn wanted(&self) -> Vec<Backend> {
        let mut wanted = self.backends.clone();
        if wanted.is_empty() {
            wanted.extend((!self.roots.is_empty()).then_some(Backend::Bubblewrap));
            wanted.extend((!self.docker.images.is_empty()).then_some(Backend::Docker));
        }
        wanted.dedup();
        wanted
    }
}

impl DockerArguments {
    /// The images by the names of their variants.
    ///
    /// # Errors
    /// Two have one name; for people.
    pub fn by_name(&self) -> Result<BTreeMap<String, String>, String> {
        unique("--docker-image", &self.images)
    }
}

impl StateArguments {
    /// The directory that is named, or else the first that this user may have.
    ///
    /// # Errors
    /// For people.
    pub fn open(&self) -> Result<StateDirectory, String> {
        let open = |path: &Path| {
            StateDirectory::open(path).map_err(|error| {
                format!(
                    "the state directory `{}` cannot be used: {error}; name another one by `--state-dir`",
                    path.display()
                )
            })
        };
        if let Some(path) = &self.state_dir {
            return open(&absolute(path)?);
        }
        let user = rustix::process::geteuid().as_raw();
        let runtime = std::env::vars_os().find(|(name, _)| name == "XDG_RUNTIME_DIR");
        let own = match runtime {
            Some((_, directory)) => PathBuf::from(directory).join("sealfleet"),
            None => std::env::temp_dir().join(format!("sealfleet-{user}")),
        };
        open(STATE_DIRECTORY.as_ref()).or_else(|_| open(&own))
    }
}

/// Sets up what is wanted, and keeps the host free of what dead workers have left. `None`: nothing
/// is wanted.
///
/// # Errors
/// For people.
pub async fn start(
    arguments: &Arguments,
) -> Result<Option<(Process, Vec<Arc<dyn SandboxBackend>>)>, String> {
    let wanted = arguments.wanted();
    if wanted.is_empty() {
        return Ok(None);
    }
    let state = arguments.state.open()?;
    let worker = state.enter().map_err(|error| {
        format!(
            "the state directory `{}` cannot be used: {error}",
            state.path().display()
        )
    })?;
    let mut backends: Vec<Arc<dyn SandboxBackend>> = Vec::new();
    let mut engine = None;
    for backend in wanted {
        match backend {
            Backend::Bubblewrap => backends.push(Arc::new(bubblewrap(arguments).await?)),
            Backend::Docker => {
                let docker = docker(&arguments.docker, worker.clone()).await?;
                engine = Some(docker.engine().clone());
                backends.push(Arc::new(docker));
            }
        }
    }
    tokio::spawn(reap(state, engine));
    Ok(Some((worker, backends)))
}

/// Sets up bubblewrap, and runs one sandbox on each root as proof.
///
/// # Errors
/// For people.
pub async fn bubblewrap(arguments: &Arguments) -> Result<Roots, String> {
    let mut launchers = BTreeMap::new();
    for (name, rootfs) in arguments.roots()? {
        let launcher = launcher(arguments, &rootfs).await?;
        tracing::info!(image = %name, sandboxes = %launcher.report(), "sandboxes are ready");
        launchers.insert(name, launcher);
    }
    Ok(Roots::new(launchers))
}

async fn launcher(arguments: &Arguments, rootfs: &Path) -> Result<Launcher, String> {
    if !arguments.host_usr && !has_programs(rootfs) {
        return Err(format!(
            "`{}` has no programs for sandboxes: make it of an image with `sealfleet-worker rootfs build`, or show \
             sandboxes those of this host with `--host-usr`",
            rootfs.display()
        ));
    }
    if let Some(init) = &arguments.init {
        build_rootfs(rootfs, init).map_err(|error| error.to_string())?;
    }
    let launcher = Launcher::detect(LauncherConfig::new(rootfs)).await;
    launcher.map_err(|error| with_cause(&error))
}

async fn docker(
    arguments: &DockerArguments,
    worker: Process,
) -> Result<sealfleet_docker::Launcher, String> {
    let config = sealfleet_docker::Config {
        host: arguments.host.clone(),
        images: arguments.by_name()?,
    };
    let launcher = sealfleet_docker::Launcher::detect(config, worker).await;
    let launcher = launcher.map_err(|error| with_cause(&error))?;
    tracing::info!(sandboxes = %launcher.report(), "sandboxes are ready");
    Ok(launcher)
}

/// Takes away, now and then, what dead workers of this host have left.
async fn reap(state: StateDirectory, engine: Option<Engine>) {
    let mut interval = tokio::time::interval(REAP_EVERY);
    loop {
        interval.tick().await;
        if let Some(engine) = &engine
            && let Err(error) = engine.reap(&state).await
        {
            // Their locks stay until their containers are gone.
            tracing::warn!(%error, "cannot look for sandboxes of dead workers");
            continue;
        }
        if let Err(error) = state.forget_dead() {
            tracing::warn!(%error, "cannot forget dead workers");
        }
    }
}

fn absolute(path: &Path) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|error| format!("`{}`: {error}", path.display()))
}

fn with_cause(error: &dyn std::error::Error) -> String {
    let cause = error.source().map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn arguments(words: &[&str]) -> Arguments {
        Program::try_parse_from([&["x"], words].concat())
            .expect("a good command line")
            .arguments
    }

    #[test]
    fn what_is_set_up_is_wanted_unless_backends_are_named() {
        use Backend::{Bubblewrap, Docker};
        for (words, wanted) in [
            (&[][..], &[][..]),
            (&["--rootfs", "/r"], &[Bubblewrap]),
            (&["--docker-image", "a:1"], &[Docker]),
            (
                &["--docker-image", "a:1", "--rootfs", "/r"],
                &[Bubblewrap, Docker],
            ),
            (
                &["--backend", "docker", "--backend", "bubblewrap"],
                &[Docker, Bubblewrap],
            ),
            (&["--backend", "docker", "--rootfs", "/r"], &[Docker]),
        ] {
            assert_eq!(arguments(words).wanted(), wanted, "{words:?}");
        }
    }

    #[test]
    fn roots_have_names_and_one_is_the_default() {
        let of = |words: &[&str]| arguments(words).roots();
        let roots = of(&["--rootfs", "/a=b/c", "--rootfs", "python=/p=q"]);
        let pair = |name: &str, root: &str| (name.to_owned(), PathBuf::from(root));
        let expected = [pair("default", "/a=b/c"), pair("python", "/p=q")];
        assert_eq!(roots, Ok(expected.into()));
        let twice = of(&["--rootfs", "a=/a", "--rootfs", "a=/b", "--rootfs", "/c"]);
        assert!(twice.unwrap_err().contains("the same name"));
        let no_default = of(&["--rootfs", "a=/a"]);
        assert!(no_default.unwrap_err().contains("without a name"));
    }

    #[test]
    fn images_have_names_and_one_is_the_default() {
        let of = |words: &[&str]| arguments(words).docker.by_name();
        let images = of(&[
            "--docker-image",
            "a@sha256:00",
            "--docker-image",
            "python=b:2",
        ]);
        let pair = |name: &str, image: &str| (name.to_owned(), image.to_owned());
        let expected = [pair("default", "a@sha256:00"), pair("python", "b:2")];
        assert_eq!(images, Ok(expected.into()));
        let twice = of(&["--docker-image", "a", "--docker-image", "b"]);
        assert!(twice.unwrap_err().contains("the same name"));
    }
}
