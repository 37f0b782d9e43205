//! The egress proxy beside a step's sandbox: a second sandbox, with the network of this host, whose
//! `sealfleet-init` lets through what the step's policy allows.
//!
//! This process carries a listener and a socket from the one to the other, and never what goes
//! through them: which hosts a program asked for, only the step's own init tells, without those
//! that hold values of secrets.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sealfleet_channel::{
    BackendOrder, Channel, ChannelError, Descriptors, EGRESS_LISTENER, EGRESS_PEER, EgressOrder,
    ResolvedSecret, Socket, ToHost, ToInit,
};
use sealfleet_domain::egress::Policy;
use sealfleet_domain::run::Failure;
use sealfleet_sandbox_backend::{
    Exit, Limits, Network, Note, Order, Process, Sandbox, SandboxBackend, Started,
};
use tokio::io::{copy, sink};
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::tokens::Tokens;
use super::{cannot_start, noted, refused};

/// What a proxy may use.
const LIMITS: Limits = Limits {
    memory_bytes: 128 << 20,
    pids: 32,
    open_files: 2048,
    scratch_bytes: 1 << 20,
};
/// How long a proxy may take to say that it lets through, beyond the time for its secrets.
const READY_TIME: Duration = Duration::from_secs(10);
/// How long a proxy may take to hear of a revocation.
const HEARING_TIME: Duration = Duration::from_secs(5);
/// How long it may take to end: its init ends first what identity backends hold for the step.
const GRACE: Duration = Duration::from_secs(10);

/// The exit code of a proxy that could not end what identity backends hold.
const HELD: i32 = 122;

/// All addresses. Metadata addresses of clouds stay closed.
const ANY_NETWORK: [&str; 2] = ["0.0.0.0/0", "::/0"];

/// What sandboxes may use of this host's network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lent {
    pub way: Way,
    /// Networks whose addresses a policy can allow although they are not public.
    pub networks: Vec<String>,
    /// Authorities that proxies believe besides those of their image, as PEM.
    pub authorities: Option<String>,
}

/// Who reaches the network of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Nobody.
    None,
    /// Steps with an egress policy, through a proxy.
    Policy,
    /// Those, and steps without a policy as they like.
    Host,
}

impl Lent {
    /// The network of a step's sandbox, and the policy of the proxy beside it.
    ///
    /// # Errors
    /// This host lends nothing to a step that may reach something.
    pub(super) fn to(&self, policy: Option<&Policy>) -> Result<(Network, Option<Policy>), Failure> {
        match (policy, self.way) {
            (None, Way::Host) => Ok((Network::Host, None)),
            (None | Some(Policy::None), _) => Ok((Network::None, None)),
            (Some(_), Way::None) => Err(cannot_start(
                "the step may reach hosts, and this worker lends its sandboxes no network; start it with `--network policy`",
            )),
            (Some(policy), _) => Ok((Network::None, Some(policy.clone()))),
        }
    }
}

impl Lent {
    /// The order of a proxy that leads to the hosts of identity backends, for as long as secrets
    /// are resolved. Whoever runs this worker has named these hosts, so their addresses may be
    /// private.
    ///
    /// # Errors
    /// This host lends nothing.
    pub(super) fn to_backends(&self, hosts: Policy) -> Result<EgressOrder, Failure> {
        if self.way == Way::None {
            return Err(cannot_start(
                "its secrets are kept on the network, and this worker lends its sandboxes none; start it with `--network policy`",
            ));
        }
        Ok(EgressOrder {
            project: String::new(),
            policy: hosts,
            networks: ANY_NETWORK.map(str::to_owned).into(),
            authorities: None,
            secrets: Vec::new(),
            tool: None,
            tools: None,
            backends: BackendOrder::default(),
            resolve_millis: 0,
            lasts_seconds: 0,
        })
    }
}

/// A proxy that waits for its order.
pub(super) struct Idle {
    sandbox: Box<dyn Sandbox>,
    channel: Socket<ToInit, ToHost>,
    _note: Option<Note>,
}

/// A proxy that lets through, or that keeps what is lent to its step. Dropped: it ends, and has the
/// time for it.
pub(super) struct Proxy {
    running: Arc<Served>,
    ended: AtomicBool,
}

struct Served {
    sandbox: Box<dyn Sandbox>,
    _note: Option<Note>,
    /// Open as long as the proxy is to run.
    channel: Mutex<Socket<ToInit, ToHost>>,
}

impl Idle {
    /// Starts the sandbox of the proxy for the step of this `order`.
    pub(super) async fn start(
        backend: &dyn SandboxBackend,
        worker: &Process,
        order: &Order,
    ) -> Result<Self, Failure> {
        let of_proxy = Order {
            network: Network::Host,
            limits: LIMITS,
            ..order.clone()
        };
        let started = backend.start(of_proxy).await;
        let Started {
            sandbox,
            channel,
            mut stdout,
            mut stderr,
        } = started.map_err(|error| cannot_start(format!("its egress proxy: {error}")))?;
        // What it prints is for nobody, and a full pipe would hold it up.
        tokio::spawn(async move { copy(&mut stdout, &mut sink()).await });
        tokio::spawn(async move { copy(&mut stderr, &mut sink()).await });
        let note = noted(worker, backend, sandbox.id(), &order.owner);
        Ok(Self {
            sandbox,
            channel,
            _note: note,
        })
    }

    /// Hands it its order, what the step's init gave away for it, and what its secrets need:
    /// `files`, and `tokens` of the step. Waits until it lets through. Answers also the versions of
    /// its secrets.
    pub(super) async fn serve(
        mut self,
        order: EgressOrder,
        given: Descriptors,
        files: Descriptors,
        tokens: &Tokens,
    ) -> Result<(Proxy, Vec<ResolvedSecret>), Failure> {
        if ![EGRESS_LISTENER, EGRESS_PEER].into_iter().eq(given.keys()) {
            return Err(cannot_start(
                "the sandbox made something else than what its egress proxy needs",
            ));
        }
        let carried = given.into_iter().chain(files).collect();
        let patience = Duration::from_millis(order.resolve_millis) + READY_TIME;
        let order = ToInit::Egress(Box::new(order));
        let asked = async {
            self.channel.send(&order, carried).await?;
            loop {
                match self.channel.receive().await? {
                    (ToHost::TokenAsked(audience), _) => {
                        let token = tokens.answer(audience).await;
                        self.channel.send(&token, Descriptors::new()).await?;
                    }
                    answer => return Ok::<_, ChannelError>(answer),
                }
            }
        };
        match timeout(patience, asked).await {
            Ok(Ok((ToHost::Proxying(resolved), _))) => {
                let running = Arc::new(Served {
                    sandbox: self.sandbox,
                    _note: self._note,
                    channel: Mutex::new(self.channel),
                });
                let ended = AtomicBool::new(false);
                Ok((Proxy { running, ended }, resolved))
            }
            Ok(Ok((ToHost::Error { code, message }, _))) => Err(refused(&code, &message)),
            Ok(Ok(_)) => Err(cannot_start("its egress proxy did not take its order")),
            Ok(Err(error)) => Err(cannot_start(format!("its egress proxy: {error}"))),
            Err(_) => Err(cannot_start("its egress proxy was not ready in time")),
        }
    }
}

impl Proxy {
    /// Has it send these secrets nowhere any more. A proxy that does not hear of it ends: then the
    /// step reaches nothing.
    pub(super) async fn withdraw(&self, keys: BTreeSet<String>) {
        let withdraw = ToInit::Withdraw(keys);
        let told = async {
            let mut channel = self.running.channel.lock().await;
            channel.send(&withdraw, Descriptors::new()).await
        };
        match timeout(HEARING_TIME, told).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => tracing::warn!(%error, "an egress proxy cannot be told, ending it"),
            Err(_) => tracing::warn!("an egress proxy does not listen, ending it"),
        }
        self.end().await;
    }

    /// Ends it.
    pub(super) async fn end(&self) {
        self.running.end().await;
        self.ended.store(true, Ordering::Relaxed);
    }
}

impl Served {
    async fn end(&self) {
        let exit = self.sandbox.stop(GRACE).await;
        if exit == Exit::Code(HELD) {
            tracing::warn!(
                "an identity backend did not hear that a step has ended: what it has lent lasts as long as the step might have"
            );
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if self.ended.load(Ordering::Relaxed) {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            let running = Arc::clone(&self.running);
            runtime.spawn(async move { running.end().await });
        }
    }
}
