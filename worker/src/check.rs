//! Tries the identity backends that a worker has, before steps do: in a sandbox of its own, with
//! what steps would get. Values stay there; this process hears names and reasons.

use std::collections::BTreeSet;
use std::time::Duration;

use sealfleet_channel::{
    Channel as _, CheckOrder, Checked, Descriptors, MAX_DESCRIPTORS, ReadableName, Refusal, ToHost,
    ToInit,
};
use sealfleet_domain::capability::{SCHEMES, Scheme};
use sealfleet_domain::delivery::Delivery;
use sealfleet_domain::fence::Fence;
use sealfleet_domain::identity::SecretRef;
use sealfleet_domain::names::StepId;
use sealfleet_domain::profile::ProfileRef;
use sealfleet_domain::run::Failure;
use sealfleet_domain::{Clock as _, ProjectId, Reference, RunId};
use sealfleet_sandbox_backend::{Network, Order, Owner, SandboxBackend, Started};
use sealfleet_system::{SystemClock, SystemIds};
use tokio::io::{copy, sink};
use tokio::time::timeout;

use crate::backends::{self, SandboxNetwork};
use crate::doctor::{Finding, Verdict};
use crate::executor::sandboxed::request;
use crate::identity::{Identity, IdentityArguments};

/// How long one backend may take.
const CHECK_MILLIS: u64 = 30_000;
/// How long its sandbox may take beyond that.
const ANSWER_TIME: Duration = Duration::from_secs(15);
/// The names of a login that are shown.
const SHOWN: usize = 10;

#[derive(clap::Args)]
pub struct CheckArguments {
    /// Project whose steps the worker is to run
    #[arg(long)]
    pub project: ProjectId,
    /// Reference to resolve, as a profile has it; may be repeated. Its value is shown to nobody
    #[arg(long = "reference", value_name = "URI@VERSION")]
    pub references: Vec<Reference>,
    #[command(flatten)]
    pub sandboxes: backends::Arguments,
    #[command(flatten)]
    pub identity: IdentityArguments,
}

/// What was found, of each backend that the worker is set up for or that a reference names.
///
/// # Errors
/// There is nothing to check, or no sandbox to check it in; for people.
pub async fn examine(arguments: &CheckArguments) -> Result<Vec<Finding>, String> {
    let identity = Identity::of(&arguments.identity);
    let granted: Vec<SecretRef> = arguments
        .references
        .iter()
        .map(secret)
        .collect::<Result<_, String>>()?;
    let named = granted.iter().map(|secret| secret.uri.scheme());
    let schemes: BTreeSet<&str> = identity.schemes().into_iter().chain(named).collect();
    if schemes.is_empty() {
        return Err(
            "there is no identity backend to check: give this command the options that `run` would get"
                .to_owned(),
        );
    }
    let started = backends::start(&arguments.sandboxes).await?;
    let backend = started.and_then(|(_, backends)| backends.into_iter().next());
    let backend = backend.ok_or(
        "identity backends are checked in a sandbox: give this command `--rootfs DIR` or `--docker-image IMAGE`",
    )?;
    let mut findings = Vec::new();
    for scheme in SCHEMES.iter().filter(|one| schemes.contains(one.name)) {
        let of_scheme = granted
            .iter()
            .filter(|secret| secret.uri.scheme() == scheme.name);
        let of_scheme: Vec<&SecretRef> = of_scheme.collect();
        let trial = Trial {
            arguments,
            identity: &identity,
            scheme,
            granted: &of_scheme,
        };
        trial.run(&*backend, &mut findings).await;
    }
    Ok(findings)
}

/// A reference as a step would have it.
fn secret(reference: &Reference) -> Result<SecretRef, String> {
    let from: ProfileRef = NAME.parse().map_err(|error| format!("`{NAME}`: {error}"))?;
    Ok(SecretRef {
        name: reference.uri.to_string(),
        uri: reference.uri.clone(),
        version: reference.version.clone(),
        arn: None,
        from,
        redact: reference.redact,
        delivery: Delivery::default(),
    })
}

/// One backend.
struct Trial<'a> {
    arguments: &'a CheckArguments,
    identity: &'a Identity,
    scheme: &'static Scheme,
    granted: &'a [&'a SecretRef],
}

impl Trial<'_> {
    async fn run(&self, backend: &dyn SandboxBackend, findings: &mut Vec<Finding>) {
        let mut add = |check: &str, verdict, found: String, advice| {
            findings.push(Finding {
                backend: Some(self.scheme.name),
                check: check.to_owned(),
                verdict,
                found,
                advice,
            });
        };
        let own = BTreeSet::from([self.scheme.name]);
        if !self.identity.schemes().contains(self.scheme.name) {
            let found = "this worker has no login for it".to_owned();
            let advice = "give `run` the options of this backend, or leave its references out";
            return add("login", Verdict::Failed, found, Some(advice));
        }
        let descriptors = match self.identity.open_for(&own, self.granted, MAX_DESCRIPTORS) {
            Ok(descriptors) => descriptors,
            Err(failure) => {
                let found = match failure {
                    Failure::SecretUnavailable { detail, .. } => detail.to_string(),
                    other => format!("{other:?}"),
                };
                let advice = "let the worker's user read the file that the option names";
                return add("files", Verdict::Failed, found, Some(advice));
            }
        };
        let order = self.identity.order_for(&own);
        let (needs_network, by_token) = (order.network, !order.audiences.is_empty());
        let order = CheckOrder {
            project: self.arguments.project.to_string(),
            scheme: self.scheme.name.to_owned(),
            backends: order,
            references: self.granted.iter().map(|secret| request(secret)).collect(),
            resolve_millis: CHECK_MILLIS,
        };
        match self.asked(backend, order, descriptors).await {
            Ok(checked) => self.judge(checked, by_token, &mut add),
            Err(error) => {
                let advice = "check the sandboxes of this host: `sealfleet-worker sandbox doctor`";
                add("sandbox", Verdict::Failed, error, Some(advice));
            }
        }
        let lends = !matches!(self.arguments.sandboxes.network, SandboxNetwork::None);
        let kinds = match lends {
            true => "env, file, egress",
            false => "env, file",
        };
        match needs_network && !lends {
            true => add(
                "delivery",
                Verdict::Failed,
                "none: it is on the network, and sandboxes have none".to_owned(),
                Some("start the worker with `--network policy`"),
            ),
            false => add("delivery", Verdict::Passed, kinds.to_owned(), None),
        }
    }

    /// What a sandbox says, with the network of this host as the proxies of steps have it.
    async fn asked(
        &self,
        backend: &dyn SandboxBackend,
        order: CheckOrder,
        descriptors: Descriptors,
    ) -> Result<Checked, String> {
        let patience = Duration::from_millis(CHECK_MILLIS) + ANSWER_TIME;
        let started = backend.start(Order {
            owner: self.owner()?,
            image: None,
            network: Network::Host,
            limits: self.arguments.sandboxes.limits(),
            lifetime: 2 * patience,
        });
        let Started {
            sandbox,
            mut channel,
            mut stdout,
            mut stderr,
        } = started.await.map_err(|error| error.to_string())?;
        tokio::spawn(async move { copy(&mut stdout, &mut sink()).await });
        tokio::spawn(async move { copy(&mut stderr, &mut sink()).await });
        let asked = async {
            let check = ToInit::Check(Box::new(order));
            channel.send(&check, descriptors).await?;
            channel.receive().await
        };
        let answer = timeout(patience, asked).await;
        sandbox.stop(Duration::ZERO).await;
        match answer {
            Ok(Ok((ToHost::Checked(checked), _))) => Ok(checked),
            Ok(Ok(_)) => Err("the sandbox answers something else".to_owned()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the sandbox did not answer in time".to_owned()),
        }
    }

    fn owner(&self) -> Result<Owner, String> {
        let step_id: StepId = NAME.parse().map_err(|error| format!("`{NAME}`: {error}"))?;
        Ok(Owner {
            project: self.arguments.project.clone(),
            run_id: RunId::new(&SystemIds, SystemClock.now()),
            step_id,
            fence: Fence::new(1),
        })
    }

    fn judge(
        &self,
        checked: Checked,
        by_token: bool,
        add: &mut impl FnMut(&str, Verdict, String, Option<&'static str>),
    ) {
        if let Some(refusal) = checked.login {
            let (verdict, found, advice) = match by_token && refusal.code == "wrong_credential" {
                true => (
                    Verdict::Warned,
                    "not tried: it answers, and each step logs in by its own token".to_owned(),
                    "run a step with the profile: its failure says what the role does not allow",
                ),
                false => (Verdict::Failed, said(&refusal), advice(&refusal)),
            };
            add("login", verdict, found, Some(advice));
            for secret in self.granted {
                let (check, found) = (format!("`{}`", secret.uri), "not tried: no login");
                add(&check, verdict, found.to_owned(), Some(advice));
            }
            return;
        }
        add("login", Verdict::Passed, "it holds".to_owned(), None);
        match checked.readable {
            None => add(
                "reads",
                Verdict::Passed,
                "its store does not tell".to_owned(),
                None,
            ),
            Some(names) => {
                let foreign: Vec<&ReadableName> =
                    names.iter().filter(|one| one.is_foreign).collect();
                match foreign.as_slice() {
                    [] => add("reads", Verdict::Passed, listed(names.iter()), None),
                    foreign => add(
                        "reads",
                        Verdict::Warned,
                        format!("not of this project: {}", listed(foreign.iter().copied())),
                        Some(
                            "give this worker a login that reads the project's secrets alone: rules for names keep honest profiles apart, the login keeps tenants apart",
                        ),
                    ),
                }
            }
        }
        for (secret, refused) in self.granted.iter().zip(checked.references) {
            let check = format!("`{}`", secret.uri);
            match refused {
                None => add(&check, Verdict::Passed, "it has a value".to_owned(), None),
                Some(refusal) => {
                    let advice = advice(&refusal);
                    add(&check, Verdict::Failed, said(&refusal), Some(advice));
                }
            }
        }
    }
}

/// The step in whose name sandboxes are started here.
const NAME: &str = "backend-check";

fn said(refusal: &Refusal) -> String {
    format!("{}: {}", refusal.code, refusal.message)
}

fn advice(refusal: &Refusal) -> &'static str {
    match refusal.code.as_str() {
        "unreachable" | "timed_out" => {
            "look at the address, the certificates of its authorities, and the network of this host"
        }
        "wrong_credential" | "expired_credential" | "wrong_key" | "no_login" => {
            "put a login that holds into the file that the option names"
        }
        "denied" => "let this login read it, in the store",
        "unknown_secret" | "unknown_version" | "bad_reference" => {
            "name a secret and a version that are there, in the profile"
        }
        _ => "do what it says, and check again",
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a ReadableName>) -> String {
    let names: BTreeSet<&str> = names.map(|one| one.name.as_str()).collect();
    let shown: Vec<&str> = names.iter().copied().take(SHOWN).collect();
    match names.len() - shown.len() {
        0 if shown.is_empty() => "nothing".to_owned(),
        0 => shown.join(", "),
        more => format!("{}, and {more} more", shown.join(", ")),
    }
}
