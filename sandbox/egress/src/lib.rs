//! The egress proxy of one step: the only way from its sandbox to the network.
//!
//! Programs in the sandbox ask it for a host by `CONNECT`, or for an `http://` address. It holds
//! the policy against the host that they name. Only then does it resolve the name, check
//! every address that the answer has, and connect to one that it has checked. All of this is one
//! function, `gate::Gate::open`, and nothing else here connects to anything. So a program reaches
//! what its policy names, and no address that an operator has not opened, whatever DNS answers.
//!
//! All that programs send is hostile: connections, heads, waiting times and what is counted are
//! bounded, and nothing of it is logged or sent back but a host that is well formed and a port.
//!
//! It ends no TLS. It sees the host of a `CONNECT` and not what the tunnel is used for.

mod address;
mod forward;
mod gate;
mod metered;
mod names;
mod record;
mod refusal;
mod session;
mod target;
mod tunnel;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use sealfleet_domain::egress::{Denials, Policy, Reached};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use gate::Gate;
pub use names::{Names, SystemNames};
use record::Record;

/// The pause after the system could not accept a connection, for want of descriptors mostly.
const PAUSE: Duration = Duration::from_millis(100);

/// What programs in a sandbox may take of the proxy.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections of programs at once. More wait until one of these ends.
    pub connections: usize,
    /// Bytes of the head of a request, and of an answer.
    pub head_bytes: usize,
    /// How long a program may take to send the head of its next request.
    pub head: Duration,
    /// How long a name may take to be resolved.
    pub lookup: Duration,
    /// How long an address may take to accept a connection.
    pub connect: Duration,
    /// Addresses of one name that are tried.
    pub addresses: usize,
    /// How long a host may take for the next part of its answer, and a program to take it. Models
    /// think for minutes.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            head_bytes: 32 * 1024,
            head: Duration::from_secs(30),
            lookup: Duration::from_secs(10),
            connect: Duration::from_secs(10),
            addresses: 4,
            idle: Duration::from_mins(15),
        }
    }
}

/// The proxy of one step.
pub struct Proxy {
    gate: Arc<Gate>,
    record: Arc<Record>,
    limits: Limits,
}

impl Proxy {
    /// A proxy that resolves names as its host does. Of the addresses that no step may reach, it
    /// opens those in `networks`: what the operator of the pool allows.
    #[must_use]
    pub fn new(policy: Policy, networks: Vec<IpNet>, limits: Limits) -> Self {
        Self::with_names(policy, networks, limits, Arc::new(SystemNames::default()))
    }

    /// A proxy with its own source of names.
    #[must_use]
    pub fn with_names(
        policy: Policy,
        networks: Vec<IpNet>,
        limits: Limits,
        names: Arc<dyn Names>,
    ) -> Self {
        let record = Arc::new(Record::default());
        let gate = Gate::new(policy, networks, limits, names, Arc::clone(&record));
        Self {
            gate: Arc::new(gate),
            record,
            limits,
        }
    }

    /// Serves what connects to the listener. Dropping the future ends all connections.
    ///
    /// The listener may have been made in another network namespace: a socket keeps the one that
    /// it was made in.
    ///
    /// # Errors
    /// The listener is none.
    pub async fn serve(&self, listener: std::net::TcpListener) -> io::Result<Infallible> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept(), if connections.len() < self.limits.connections => {
                    match accepted {
                        Ok((client, _)) => {
                            let gate = Arc::clone(&self.gate);
                            connections.spawn(session::serve(gate, self.limits, client));
                        }
                        Err(_) => tokio::time::sleep(PAUSE).await,
                    }
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }

    /// What was refused since this was last asked. Ask every ten seconds.
    #[must_use]
    pub fn take_denials(&self) -> Denials {
        self.record.take_denials()
    }

    /// What was reached until now.
    #[must_use]
    pub fn reached(&self) -> Reached {
        self.record.reached()
    }
}
