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
//! A tunnel is bytes to it, unless it has a reason to read the requests inside: a rule that has
//! methods or paths, or a secret that it holds for the step and puts into them. Then it ends TLS,
//! as the host, for programs that trust the authority of this step ([`Proxy::ca_pem`]).

mod address;
mod authority;
mod credentials;
mod forward;
mod gate;
mod hello;
mod metered;
mod names;
mod record;
mod refusal;
mod roots;
mod secrets;
mod session;
mod sigv4;
mod target;
mod tasks;
mod terminate;
mod tunnel;
mod upstream;
mod usage;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use sealfleet_domain::agent::ModelsUsed;
use sealfleet_domain::egress::{Denials, Policy, Reached};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use authority::Authority;
use credentials::Credentials;
pub use credentials::{Credential, How, InvalidCredential};
use gate::Gate;
pub use names::{Names, SystemNames};
use record::Record;
use roots::Roots;
use target::Target;

/// The pause after the system could not accept a connection, for want of descriptors mostly.
const PAUSE: Duration = Duration::from_millis(100);

/// Bodies of requests that are read as a whole at once.
const BODIES: usize = 4;

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
    authority: Arc<Authority>,
    roots: Arc<Roots>,
    credentials: Arc<Credentials>,
}

/// What all connections of a step share.
struct Shared {
    gate: Arc<Gate>,
    record: Arc<Record>,
    limits: Limits,
    authority: Arc<Authority>,
    roots: Arc<Roots>,
    credentials: Arc<Credentials>,
    /// Bodies that are read as a whole at once.
    bodies: Semaphore,
}

impl Shared {
    /// Whether it reads the requests in tunnels there.
    fn reads(&self, target: &Target) -> bool {
        !self.gate.allows_all(target) || self.credentials.binds(target)
    }
}

impl Proxy {
    /// A proxy that resolves names as its host does. Of the addresses that no step may reach, it
    /// opens those in `networks`: what the operator of the pool allows.
    ///
    /// # Errors
    /// The system has no random bytes for keys.
    pub fn new(policy: Policy, networks: Vec<IpNet>, limits: Limits) -> io::Result<Self> {
        Self::with_names(policy, networks, limits, Arc::new(SystemNames::default()))
    }

    /// A proxy with its own source of names.
    ///
    /// # Errors
    /// The system has no random bytes for keys.
    pub fn with_names(
        policy: Policy,
        networks: Vec<IpNet>,
        limits: Limits,
        names: Arc<dyn Names>,
    ) -> io::Result<Self> {
        let record = Arc::new(Record::default());
        let gate = Gate::new(policy, networks, limits, names, Arc::clone(&record));
        Ok(Self {
            gate: Arc::new(gate),
            record,
            limits,
            authority: Arc::new(Authority::new()?),
            roots: Arc::default(),
            credentials: Arc::new(Credentials::none()),
        })
    }

    /// The same with the secrets that it puts into requests.
    ///
    /// # Errors
    /// A value that no request can hold, or a placeholder that could be mistaken.
    pub fn with_credentials(mut self, all: Vec<Credential>) -> Result<Self, InvalidCredential> {
        self.credentials = Arc::new(Credentials::new(all)?);
        Ok(self)
    }

    /// The same, believing these authorities (certificates in PEM), too, who a host is. It always
    /// believes those of its system.
    ///
    /// # Errors
    /// It is not PEM, or not the certificate of an authority.
    pub fn with_roots(mut self, pem: &[u8]) -> io::Result<Self> {
        Arc::make_mut(&mut self.roots).add(pem)?;
        Ok(self)
    }

    /// The certificate of the authority of this step, in PEM: the step's programs have to trust it.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        self.authority.pem()
    }

    /// Forgets the value of a secret, which has been revoked. The next request that needs it is
    /// refused, also on a connection that is open. One that has been sent is not called back.
    pub fn withdraw(&self, key: &str) {
        self.credentials.withdraw(key);
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
        let shared = Arc::new(Shared {
            gate: Arc::clone(&self.gate),
            record: Arc::clone(&self.record),
            limits: self.limits,
            authority: Arc::clone(&self.authority),
            roots: Arc::clone(&self.roots),
            credentials: Arc::clone(&self.credentials),
            bodies: Semaphore::new(BODIES),
        });
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept(), if connections.len() < self.limits.connections => {
                    match accepted {
                        Ok((client, _)) => {
                            connections.spawn(session::serve(Arc::clone(&shared), client));
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

    /// The tokens of models that answers have said until now: of those whose requests it reads.
    #[must_use]
    pub fn usage(&self) -> ModelsUsed {
        self.record.models()
    }
}
