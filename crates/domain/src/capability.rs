//! Who can do what: the one table of secret schemes, of sandbox hosts, with the execution modes,
//! schemes, networks and sizes that each host has, and of the sandbox backends that workers have.
//!
//! A host, a backend or a scheme is added by a row here and by its adapter. Everything else asks
//! the table: enqueue and profile writes refuse what cannot run or resolve, starts check it again,
//! and `docs/capabilities.md` is made of it. No other file of this crate names a host or a backend.

use serde::{Deserialize, Serialize};

use crate::delivery::Kind;

/// One kind of secret reference: `NAME://…`.
#[derive(Debug)]
pub struct Scheme {
    /// The scheme of its URIs. It is stored and shown.
    pub name: &'static str,
    /// The identity backend that keeps the values.
    pub backend: &'static str,
    /// How a URI is written, for messages.
    pub form: &'static str,
    /// Whether a URI ends in `#KEY`, because one stored secret can hold several values.
    pub keyed: Keyed,
    /// Where the versions of its secrets come from.
    pub versions: Versions,
    /// Which names belong to whom.
    pub names: Names,
}

/// Whether a URI ends in `#KEY`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keyed {
    Never,
    /// Without a key, all that is stored is the value.
    Maybe,
    Always,
}

/// Where the versions of a scheme's secrets come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    /// The control plane asks the backend at each enqueue and start.
    Described,
    /// There are none: a start gets what there is, and no rotation is seen.
    None {
        /// Why there are none.
        because: &'static str,
    },
    /// The profile pins them, because the control plane cannot ask.
    Pinned {
        /// Why it cannot, and where an author finds the version.
        because: &'static str,
    },
}

/// Which names of a scheme belong to which owner of profiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Each name begins with this prefix and its owner: `PREFIX/OWNER/`.
    Prefixed(&'static str),
    /// Names under `system/` belong to the operators, all others to the project.
    SystemApart,
    /// The first part is where the store has it, and the second one its owner: `MOUNT/OWNER/`.
    Mounted,
    /// Names are ids that say nothing of an owner. A project may name what the login of its workers
    /// reads. The operators have no names there, since the worker of any project would need them.
    OfLogin,
}

/// Where sandboxes run. A pool is of one host.
#[derive(Debug)]
pub struct Host {
    /// The `kind` of its pools. It is stored and shown.
    pub kind: &'static str,
    /// Its name in a sentence: "a NAME pool".
    pub name: &'static str,
    /// What runs a sandbox, and who starts it.
    pub runs: &'static str,
    /// The execution modes that it has.
    pub modes: &'static [Mode],
    /// The schemes that its sandboxes resolve.
    pub schemes: &'static [&'static Scheme],
    /// What its steps are brought, and what is taken from them, beside output.
    pub carries: &'static [Carries],
    /// The sandbox backends that its workers can have. Empty: nobody chooses one.
    pub backends: &'static [&'static Backend],
    /// What comes out of its steps, and where that lies; for people.
    pub out: &'static str,
    /// What its sandboxes can reach over the network; which of them is the deployment's choice.
    pub egress: &'static [Egress],
    /// How its sandboxes can be given the values of secrets.
    pub delivers: &'static [Kind],
    /// The sizes that a sandbox can have. Empty: limits are set where the worker runs.
    pub sizes: &'static [Size],
}

/// What a host brings to a step, or takes from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    /// Uploads, as files and as standard input.
    Uploads,
    /// What the steps that it takes have left.
    Takes,
    /// The result that it leaves.
    Result,
    /// The artifacts that it leaves.
    Artifacts,
    /// Artifacts that stay on the host of its worker.
    LocalArtifacts,
}

impl Carries {
    /// For people: what a step wants.
    const fn words(self) -> &'static str {
        match self {
            Self::Uploads => "bring uploads to a step",
            Self::Takes => "bring what other steps have left (`takes`)",
            Self::Result => "keep the result of a step",
            Self::Artifacts => "keep the artifacts of a step",
            Self::LocalArtifacts => "keep artifacts on the host of a worker (`to: local`)",
        }
    }
}

/// What runs the sandboxes of a worker. A worker has one or more.
#[derive(Debug)]
pub struct Backend {
    /// The value of the label `sandbox.backend`. It is stored and shown.
    pub name: &'static str,
    /// What runs a sandbox, for people.
    pub runs: &'static str,
    /// The execution modes that it has.
    pub modes: &'static [Mode],
    /// What its sandboxes can reach over the network; whoever runs the worker chooses.
    pub egress: &'static [Egress],
}

/// What a sandbox can reach over the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Egress {
    /// Nothing.
    None,
    /// What the step's egress policy allows, by the proxy of its sandbox.
    Policy,
    /// All that the machine or the subnet around it can reach.
    Host,
}

/// CPU units (1,024 are one virtual CPU) and the memory that they can have: from the least to the
/// most, in equal steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// CPU units.
    pub cpu: u32,
    /// The least memory in MiB.
    pub least_mib: u32,
    /// The most memory in MiB.
    pub most_mib: u32,
    /// MiB from one choice to the next.
    pub step_mib: u32,
}

/// How a step is executed. `full_jit` (a CLI agent with just-in-time credentials) is not accepted
/// yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// 0: a plain process of the worker. Never sees a secret.
    Bare,
    /// 1: a sandbox. Never sees a secret.
    Sandboxed,
    /// 2: a sandbox that the profile's secrets are injected into.
    Identity,
    /// 3: such a sandbox, with a CLI agent in it.
    Full,
}

impl Mode {
    /// Whether its sandboxes see the profile's secrets.
    #[must_use]
    pub const fn sees_identity(self) -> bool {
        matches!(self, Self::Identity | Self::Full)
    }
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bare => "bare",
            Self::Sandboxed => "sandboxed",
            Self::Identity => "identity",
            Self::Full => "full",
        })
    }
}

/// AWS Secrets Manager.
pub static AWS_SM: Scheme = Scheme {
    name: "aws-sm",
    backend: "AWS Secrets Manager",
    form: "aws-sm://NAME[#JSON-KEY]",
    keyed: Keyed::Maybe,
    versions: Versions::Described,
    names: Names::Prefixed("sealfleet/"),
};

/// The encrypted file beside a worker.
pub static BUILTIN: Scheme = Scheme {
    name: "builtin",
    backend: "encrypted file beside the worker",
    form: "builtin://NAME",
    keyed: Keyed::Never,
    versions: Versions::Pinned {
        because: "the control plane cannot ask a worker's store for it (`sealfleet-init builtin put` and `list` print it)",
    },
    names: Names::SystemApart,
};

/// Files that SOPS has encrypted, in a directory of the worker's host.
pub static SOPS: Scheme = Scheme {
    name: "sops",
    backend: "files beside the worker that SOPS has encrypted",
    form: "sops://FILE#KEY",
    keyed: Keyed::Always,
    versions: Versions::Pinned {
        because: "the control plane cannot see a worker's files (`sealfleet-init sops list` prints it)",
    },
    names: Names::Prefixed(""),
};

/// OpenBao or HashiCorp Vault.
pub static VAULT: Scheme = Scheme {
    name: "vault",
    backend: "OpenBao or HashiCorp Vault: a KV store of version 2, or an engine that makes credentials",
    form: "vault://MOUNT/PATH#KEY",
    keyed: Keyed::Always,
    versions: Versions::Pinned {
        because: "the control plane cannot ask Vault (`bao kv metadata get` prints it; `dynamic` asks for a credential that Vault makes for each start)",
    },
    names: Names::Mounted,
};

/// Bitwarden Secrets Manager.
pub static BITWARDEN: Scheme = Scheme {
    name: "bitwarden",
    backend: "Bitwarden Secrets Manager",
    form: "bitwarden://SECRET-ID",
    keyed: Keyed::Never,
    versions: Versions::Pinned {
        because: "the control plane cannot ask Bitwarden (`bws secret get` prints the `revisionDate`; write `-` for `:` and `.`)",
    },
    names: Names::OfLogin,
};

/// 1Password, by a Connect server of the customer.
pub static ONEPASSWORD: Scheme = Scheme {
    name: "onepassword",
    backend: "1Password, by a Connect server",
    form: "onepassword://VAULT/ITEM/[SECTION/]FIELD",
    keyed: Keyed::Never,
    versions: Versions::Pinned {
        because: "the control plane cannot ask a Connect server (`op item get --format json` prints the `version`)",
    },
    names: Names::Prefixed(""),
};

/// Amazon Bedrock AgentCore Identity.
pub static AGENTCORE: Scheme = Scheme {
    name: "agentcore",
    backend: "AgentCore Identity",
    form: "agentcore://PROVIDER[#oauth2]",
    keyed: Keyed::Maybe,
    versions: Versions::None {
        because: "a credential provider has none",
    },
    names: Names::OfLogin,
};

/// Workers in the customer's network, which claim steps and start bubblewrap sandboxes.
pub static PULL: Host = Host {
    kind: "pull",
    name: "pull",
    runs: "a sandbox backend of the worker, started by `sealfleet-worker`",
    out: "output, result and artifacts (`bare` steps: output): on the worker's host, and in the project's outputs unless it runs with `--outputs local`",
    modes: &[Mode::Bare, Mode::Sandboxed, Mode::Identity, Mode::Full],
    carries: &[
        Carries::Uploads,
        Carries::Takes,
        Carries::Result,
        Carries::Artifacts,
        Carries::LocalArtifacts,
    ],
    schemes: &[
        &AWS_SM,
        &BUILTIN,
        &SOPS,
        &VAULT,
        &BITWARDEN,
        &ONEPASSWORD,
        &AGENTCORE,
    ],
    egress: &[Egress::None, Egress::Policy, Egress::Host],
    delivers: &[Kind::Env, Kind::File, Kind::Egress],
    sizes: &[],
    backends: &BACKENDS,
};

/// Unprivileged sandboxes of the kernel.
pub static BUBBLEWRAP: Backend = Backend {
    name: "bubblewrap",
    runs: "bubblewrap 0.8 or newer",
    modes: &[Mode::Sandboxed, Mode::Identity, Mode::Full],
    egress: &[Egress::None, Egress::Policy, Egress::Host],
};

/// Containers of an engine that the worker reaches over its unix socket.
pub static DOCKER: Backend = Backend {
    name: "docker",
    runs: "Docker Engine 20.10 or newer, one container a step",
    modes: &[Mode::Sandboxed, Mode::Identity, Mode::Full],
    egress: &[Egress::None, Egress::Policy, Egress::Host],
};

/// ECS Fargate. Sizes: ECS Developer Guide, "Troubleshoot Amazon ECS task definition invalid CPU or
/// memory errors".
pub static FARGATE: Host = Host {
    kind: "fargate",
    name: "Fargate",
    runs: "ECS Fargate task, started by `dispatch`",
    out: "output, result and artifacts, in the project's outputs; output, in CloudWatch Logs too",
    modes: &[Mode::Sandboxed, Mode::Identity, Mode::Full],
    carries: &[
        Carries::Uploads,
        Carries::Takes,
        Carries::Result,
        Carries::Artifacts,
    ],
    schemes: &[&AWS_SM],
    egress: &[Egress::None, Egress::Policy, Egress::Host],
    delivers: &[Kind::Env, Kind::File, Kind::Egress],
    sizes: &[
        Size::new(256, 512, 512, 512),
        Size::new(256, 1024, 2048, 1024),
        Size::new(512, 1024, 4096, 1024),
        Size::new(1024, 2048, 8192, 1024),
        Size::new(2048, 4096, 16_384, 1024),
        Size::new(4096, 8192, 30_720, 1024),
        Size::new(8192, 16_384, 61_440, 4096),
        Size::new(16_384, 32_768, 122_880, 8192),
    ],
    backends: &[],
};

/// All schemes.
pub static SCHEMES: [&Scheme; 7] = [
    &AWS_SM,
    &BUILTIN,
    &SOPS,
    &VAULT,
    &BITWARDEN,
    &ONEPASSWORD,
    &AGENTCORE,
];
/// All hosts.
pub static HOSTS: [&Host; 2] = [&PULL, &FARGATE];
/// All sandbox backends of workers.
pub static BACKENDS: [&Backend; 2] = [&BUBBLEWRAP, &DOCKER];

/// Stands for a host that has no row: it can do nothing, so nothing starts there.
static UNKNOWN: Host = Host {
    kind: "",
    name: "unknown",
    runs: "",
    out: "",
    modes: &[],
    carries: &[],
    schemes: &[],
    egress: &[],
    delivers: &[],
    sizes: &[],
    backends: &[],
};

/// A reference for examples and schemas.
pub const EXAMPLE_URI: &str = "aws-sm://sealfleet/healthcare/crm#api-key";
/// A pinned reference for examples and schemas.
pub const EXAMPLE_REFERENCE: &str = "builtin://crm@0198c0de-0000-7000-8000-00000000000a";

impl Scheme {
    /// How a whole reference is written, with its version where that is required.
    #[must_use]
    pub fn reference_form(&self) -> String {
        match self.versions {
            Versions::Described | Versions::None { .. } => self.form.to_owned(),
            Versions::Pinned { .. } => format!("{}@VERSION", self.form),
        }
    }
}

impl Host {
    /// The host whose pools have this kind. A kind without a row gets one that can do nothing.
    #[must_use]
    pub fn of_kind(kind: &str) -> &'static Self {
        HOSTS
            .into_iter()
            .find(|host| host.kind == kind)
            .unwrap_or(&UNKNOWN)
    }

    /// The CPU units that a sandbox can have.
    #[must_use]
    pub fn cpus(&self) -> Vec<u32> {
        let mut cpus: Vec<u32> = self.sizes.iter().map(|size| size.cpu).collect();
        cpus.dedup();
        cpus
    }

    /// The least and the most memory that a sandbox can have with any CPU, in MiB.
    #[must_use]
    pub fn memory_mib(&self) -> (u32, u32) {
        let least = self.sizes.iter().map(|size| size.least_mib).min();
        let most = self.sizes.iter().map(|size| size.most_mib).max();
        (least.unwrap_or_default(), most.unwrap_or_default())
    }

    /// Whether it runs steps of this mode.
    ///
    /// # Errors
    /// That it does not, and the remedy.
    pub fn check_mode(&self, mode: Mode) -> Result<(), String> {
        if self.modes.contains(&mode) {
            return Ok(());
        }
        let others = HOSTS.iter().filter(|host| host.modes.contains(&mode));
        let others: Vec<String> = others.map(|host| format!("a {} pool", host.name)).collect();
        let others = others.join(" or ");
        let name = self.name;
        Err(match mode {
            Mode::Bare => {
                format!("a {name} pool always runs in a sandbox; use `sandboxed`, or {others}")
            }
            Mode::Sandboxed | Mode::Identity | Mode::Full => {
                format!("a {name} pool cannot run `{mode}`; use {others}")
            }
        })
    }

    /// Whether it brings this to a step, or takes it from one.
    ///
    /// # Errors
    /// That it does not, and the remedy.
    pub fn check_carries(&self, what: Carries) -> Result<(), String> {
        if self.carries.contains(&what) {
            return Ok(());
        }
        let others = HOSTS.iter().filter(|host| host.carries.contains(&what));
        let others: Vec<String> = others.map(|host| format!("a {} pool", host.name)).collect();
        let (name, words) = (self.name, what.words());
        Err(format!(
            "a {name} pool does not {words} yet; use {}",
            others.join(" or ")
        ))
    }

    /// Whether a sandbox can have this size.
    ///
    /// # Errors
    /// That it cannot, and the sizes that there are.
    pub fn check_size(&self, cpu: u32, memory_mib: u32) -> Result<(), String> {
        if self.sizes.iter().any(|size| size.fits(cpu, memory_mib)) {
            return Ok(());
        }
        let offers: Vec<String> = self.sizes.iter().map(Size::to_string).collect();
        let (name, offers) = (self.name, offers.join("; "));
        Err(format!(
            "{name} has no size of {cpu} CPU units and {memory_mib} MiB. It offers these CPU units and MiB: {offers}"
        ))
    }
}

impl Backend {
    /// The backend of this name.
    ///
    /// # Errors
    /// That there is none, and which there are.
    pub fn named(name: &str) -> Result<&'static Self, String> {
        let found = BACKENDS.into_iter().find(|backend| backend.name == name);
        found.ok_or_else(|| {
            let known: Vec<&str> = BACKENDS.iter().map(|backend| backend.name).collect();
            format!(
                "there is no sandbox backend `{name}`; use one of `{}`",
                known.join("`, `")
            )
        })
    }

    /// Whether it runs steps of this mode.
    ///
    /// # Errors
    /// That it does not, and the remedy.
    pub fn check_mode(&self, mode: Mode) -> Result<(), String> {
        if self.modes.contains(&mode) {
            return Ok(());
        }
        let modes: Vec<String> = self.modes.iter().map(|mode| format!("`{mode}`")).collect();
        Err(format!(
            "the sandbox backend `{}` does not run `{mode}`; it runs {}",
            self.name,
            modes.join(", ")
        ))
    }
}

impl Size {
    const fn new(cpu: u32, least_mib: u32, most_mib: u32, step_mib: u32) -> Self {
        Self {
            cpu,
            least_mib,
            most_mib,
            step_mib,
        }
    }

    fn fits(&self, cpu: u32, memory_mib: u32) -> bool {
        self.cpu == cpu
            && (self.least_mib..=self.most_mib).contains(&memory_mib)
            && (memory_mib - self.least_mib).is_multiple_of(self.step_mib)
    }
}

/// As messages and documents write it.
impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            cpu,
            least_mib,
            most_mib,
            step_mib,
        } = self;
        write!(f, "{cpu} with {least_mib}")?;
        if least_mib < most_mib {
            write!(f, " to {most_mib} in steps of {step_mib}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_names_what_it_cannot_do_and_who_can() {
        assert_eq!(
            FARGATE.check_mode(Mode::Bare),
            Err(
                "a Fargate pool always runs in a sandbox; use `sandboxed`, or a pull pool"
                    .to_owned()
            )
        );
        assert_eq!(
            FARGATE.check_carries(Carries::LocalArtifacts),
            Err("a Fargate pool does not keep artifacts on the host of a worker (`to: local`) yet; use a pull pool".to_owned())
        );
        for host in [&PULL, &FARGATE] {
            assert_eq!(host.check_carries(Carries::Uploads), Ok(()));
        }
        assert_eq!(
            FARGATE.check_size(256, 700),
            Err(
                "Fargate has no size of 256 CPU units and 700 MiB. It offers these CPU units and MiB: 256 with 512; \
                 256 with 1024 to 2048 in steps of 1024; 512 with 1024 to 4096 in steps of 1024; \
                 1024 with 2048 to 8192 in steps of 1024; 2048 with 4096 to 16384 in steps of 1024; \
                 4096 with 8192 to 30720 in steps of 1024; 8192 with 16384 to 61440 in steps of 4096; \
                 16384 with 32768 to 122880 in steps of 8192"
                    .to_owned()
            )
        );
    }

    #[test]
    fn a_host_does_what_its_row_says() {
        for mode in [Mode::Bare, Mode::Sandboxed, Mode::Identity, Mode::Full] {
            assert_eq!(PULL.check_mode(mode), Ok(()));
            assert_eq!(FARGATE.check_mode(mode).is_ok(), mode != Mode::Bare);
            let toy = Host::of_kind("toy").check_mode(mode);
            assert!(toy.is_err_and(|why| why.contains("a pull pool")), "{mode}");
        }
    }

    #[test]
    fn a_backend_names_what_it_cannot_do_and_what_it_can() {
        let unknown = Backend::named("toy").map(|backend| backend.name);
        let known = "there is no sandbox backend `toy`; use one of `bubblewrap`, `docker`";
        assert_eq!(unknown, Err(known.to_owned()));
        for backend in BACKENDS {
            assert!(backend.check_mode(Mode::Identity).is_ok());
        }
        assert_eq!(
            DOCKER.check_mode(Mode::Bare),
            Err("the sandbox backend `docker` does not run `bare`; it runs `sandboxed`, `identity`, `full`".to_owned())
        );
    }

    #[test]
    fn fargate_has_the_sizes_that_aws_documents() {
        let gib = |sizes: &[u32]| sizes.iter().map(|gib| gib * 1024).collect::<Vec<_>>();
        let every = |from: u32, to: u32, step: usize| {
            let sizes = (from..=to).step_by(step).map(|gib| gib * 1024);
            sizes.collect::<Vec<_>>()
        };
        let documented = [
            (256, [vec![512], gib(&[1, 2])].concat()),
            (512, gib(&[1, 2, 3, 4])),
            (1024, gib(&[2, 3, 4, 5, 6, 7, 8])),
            (2048, every(4, 16, 1)),
            (4096, every(8, 30, 1)),
            (8192, every(16, 60, 4)),
            (16_384, every(32, 120, 8)),
        ];
        assert_eq!(FARGATE.cpus(), documented.clone().map(|(cpu, _)| cpu));
        assert_eq!(FARGATE.memory_mib(), (512, 122_880));
        for (cpu, memory) in documented {
            let offered = (1..=122_881).filter(|&mib| FARGATE.check_size(cpu, mib).is_ok());
            assert_eq!(offered.collect::<Vec<_>>(), memory, "{cpu}");
        }
        assert!(FARGATE.check_size(1000, 2048).is_err());
        assert!(FARGATE.check_size(32_768, 122_880).is_err());
    }
}
