//! The only way out.

use std::io;
use std::sync::Arc;

use hyper::Request;
use ipnet::IpNet;
use sealfleet_domain::egress::{Denied, HostName, Policy};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Limits;
use crate::address::{Checked, Networks};
use crate::metered::Metered;
use crate::names::Names;
use crate::record::Record;
use crate::refusal::{Asked, Refusal};
use crate::target::Target;

pub struct Gate {
    policy: Policy,
    networks: Networks,
    limits: Limits,
    names: Arc<dyn Names>,
    record: Arc<Record>,
}

impl Gate {
    pub fn new(
        policy: Policy,
        networks: Vec<IpNet>,
        limits: Limits,
        names: Arc<dyn Names>,
        record: Arc<Record>,
    ) -> Self {
        Self {
            policy,
            networks: Networks(networks),
            limits,
            names,
            record,
        }
    }

    /// Whether a program may send any bytes there, as far as the policy goes.
    pub fn allows_all(&self, target: &Target) -> bool {
        self.policy.allows_all(&target.host, target.port)
    }

    /// Refuses a host that no rule names.
    pub fn admit(&self, target: &Target) -> Result<(), Refusal> {
        if self.policy.allows(&target.host, target.port) {
            return Ok(());
        }
        self.record.denied(target, Denied::NoRule);
        Err(Refusal::NoRule(target.clone()))
    }

    /// Refuses a request that no rule allows.
    pub fn judge<B>(&self, target: &Target, request: &Request<B>) -> Result<(), Refusal> {
        let (method, path) = (request.method().as_str(), request.uri().path());
        let judged = self.policy.judge(&target.host, target.port, method, path);
        judged.map_err(|denied| {
            self.record.denied(target, denied);
            let asked = Asked::of(method, path);
            match denied {
                Denied::NoMethod => Refusal::NoMethod(target.clone(), asked),
                Denied::NoPath => Refusal::NoPath(target.clone(), asked),
                _ => Refusal::NoRule(target.clone()),
            }
        })
    }

    /// Connects to a host, if the step may reach it: by its policy first, so that DNS hears of no
    /// other name, then by the addresses that the name has now. Nothing asks for them a second
    /// time, so DNS cannot answer with others.
    pub async fn open(&self, target: &Target) -> Result<Metered, Refusal> {
        self.admit(target)?;
        let addresses = match &target.host {
            HostName::Address(address) => vec![*address],
            HostName::Name(name) => {
                let answer = timeout(self.limits.lookup, self.names.addresses(name)).await;
                let answer = answer.map_err(|_| Refusal::LookupTime(target.clone()))?;
                answer.unwrap_or_default()
            }
        };
        if addresses.is_empty() {
            return Err(Refusal::Unknown(target.clone()));
        }
        let Some(checked) = self.networks.check(&addresses) else {
            self.record.denied(target, Denied::Address);
            return Err(Refusal::Address(target.clone()));
        };
        let stream = self.connect(&checked, target).await?;
        let counts = self.record.connected(target);
        Ok(Metered::new(stream, counts))
    }

    /// Connects to the first address that accepts.
    async fn connect(&self, checked: &[Checked], target: &Target) -> Result<TcpStream, Refusal> {
        let mut refusal = Refusal::Unreachable(target.clone());
        for address in checked.iter().take(self.limits.addresses) {
            let connecting = TcpStream::connect((address.address(), target.port));
            refusal = match timeout(self.limits.connect, connecting).await {
                Ok(Ok(stream)) if stream.set_nodelay(true).is_ok() => return Ok(stream),
                Ok(Ok(_)) => Refusal::Broken(target.clone()),
                Ok(Err(error)) => match error.kind() {
                    io::ErrorKind::ConnectionRefused => Refusal::Closed(target.clone()),
                    io::ErrorKind::TimedOut => Refusal::ConnectTime(target.clone()),
                    _ => Refusal::Unreachable(target.clone()),
                },
                Err(_) => Refusal::ConnectTime(target.clone()),
            };
        }
        Err(refusal)
    }
}
