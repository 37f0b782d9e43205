//! The egress proxy beside a step's sandbox: a second sandbox, with the network of this host, whose
//! `sealfleet-init` lets through what the step's policy allows.
//!
//! This process carries the listener from the one to the other, and never what goes through it.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sealfleet_channel::{
    Channel, Descriptors, EGRESS_LISTENER, EgressOrder, Socket, ToHost, ToInit,
};
use sealfleet_domain::egress::{Denials, Policy};
use sealfleet_domain::run::Failure;
use sealfleet_sandbox_backend::{
    Limits, Network, Note, Order, Process, Sandbox, SandboxBackend, Started,
};
use tokio::io::{copy, sink};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{LAST_WORDS, cannot_start, noted};

/// What a proxy may use.
const LIMITS: Limits = Limits {
    memory_bytes: 128 << 20,
    pids: 32,
    open_files: 2048,
    scratch_bytes: 1 << 20,
};
/// How long a proxy may take to say that it lets through.
const READY_TIME: Duration = Duration::from_secs(10);
/// How long it may take to end, and to tell what it has denied.
const GRACE: Duration = Duration::from_secs(2);

/// What sandboxes may use of this host's network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lent {
    pub way: Way,
    /// Networks whose addresses a policy can allow although they are not public.
    pub networks: Vec<String>,
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

/// A proxy that waits for its order.
pub(super) struct Idle {
    sandbox: Box<dyn Sandbox>,
    channel: Socket<ToInit, ToHost>,
    _note: Option<Note>,
}

/// A proxy that lets through.
pub(super) struct Proxy {
    sandbox: Box<dyn Sandbox>,
    _note: Option<Note>,
    denied: Arc<Mutex<Denials>>,
    listening: Mutex<Option<JoinHandle<()>>>,
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

    /// Hands it the step's listener and the policy, and waits until it lets through.
    pub(super) async fn serve(
        mut self,
        policy: Policy,
        networks: &[String],
        listener: OwnedFd,
    ) -> Result<Proxy, Failure> {
        let order = ToInit::Egress(Box::new(EgressOrder {
            policy,
            networks: networks.to_vec(),
        }));
        let carried = Descriptors::from([(EGRESS_LISTENER.to_owned(), listener)]);
        let asked = async {
            self.channel.send(&order, carried).await?;
            self.channel.receive().await
        };
        match timeout(READY_TIME, asked).await {
            Ok(Ok((ToHost::Proxying, _))) => {}
            Ok(Ok(_)) => return Err(cannot_start("its egress proxy did not take its order")),
            Ok(Err(error)) => return Err(cannot_start(format!("its egress proxy: {error}"))),
            Err(_) => return Err(cannot_start("its egress proxy was not ready in time")),
        }
        let denied = Arc::default();
        let listening = tokio::spawn(listen(self.channel, Arc::clone(&denied)));
        Ok(Proxy {
            sandbox: self.sandbox,
            _note: self._note,
            denied,
            listening: Mutex::new(Some(listening)),
        })
    }
}

async fn listen(mut channel: Socket<ToInit, ToHost>, denied: Arc<Mutex<Denials>>) {
    while let Ok((ToHost::Egress(more), _)) = channel.receive().await {
        let mut all = denied.lock().unwrap_or_else(PoisonError::into_inner);
        *all = std::mem::take(&mut *all).with(more);
    }
}

impl Proxy {
    /// Ends it, and answers what it has kept its step from, once.
    pub(super) async fn end(&self) -> Denials {
        self.sandbox.stop(GRACE).await;
        let listening = self.listening.lock();
        let listening = listening.unwrap_or_else(PoisonError::into_inner).take();
        if let Some(listening) = listening {
            drop(timeout(LAST_WORDS, listening).await);
        }
        let mut all = self.denied.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *all)
    }
}
