//! What a step in a task may reach.
//!
//! ECS gives a task the network of its subnets, and nothing outside can take a part of that away
//! from one of its processes. So a command with an egress policy runs under
//! [mediation](sealfleet_mediation): this process makes its sockets, and connects them to the port
//! of the step's proxy and to nothing else. The address of the task role's credentials is out of
//! its reach as well. This process itself, which has to fetch and to tell, is not under mediation.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use sealfleet_channel::{PlaceholderRequest, ProxyOrder, Socket, ToProxy, ToStep};
use sealfleet_domain::delivery::AtEgress;
use sealfleet_domain::egress::{Denial, Denials, Denied, HostName, Policy};
use sealfleet_mediation::{Mediation, Refusals};
use sealfleet_redaction::Redactor;

use super::proxy;
use crate::egress::{self, PORT, Peer};
use crate::exec::placeholders_by_name;
use crate::output::Injected;

/// A network that is held to a policy.
pub(super) struct Held {
    pub(super) policy: Policy,
    mediation: Mediation,
    /// None: nothing may be reached.
    proxy: Option<Socket<ToProxy, ToStep>>,
}

impl Held {
    /// Tries whether this host can hold a command to `policy`, and finds the step's proxy.
    ///
    /// # Errors
    /// Why it cannot. No command must be started then.
    pub(super) async fn to(
        policy: Policy,
        secrets: BTreeMap<String, AtEgress>,
    ) -> Result<Self, String> {
        let mut proxies = Vec::new();
        if policy != Policy::None {
            proxies.push(SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)));
        }
        let has_proxy = !proxies.is_empty();
        let mediation = Mediation::new(sealfleet_mediation::Policy {
            proxies,
            own_listeners: true,
            withheld: Vec::new(),
        })
        .map_err(|error| format!("this host cannot hold the step to its egress policy: {error}"))?;
        let mut proxy = None;
        if has_proxy {
            let mut socket = proxy::connect().await?;
            let order = ProxyOrder {
                policy: policy.clone(),
                secrets,
            };
            egress::tell(&mut socket, &ToProxy::Order(Box::new(order))).await?;
            proxy = Some(socket);
        }
        Ok(Self {
            policy,
            mediation,
            proxy,
        })
    }

    /// Lets the proxy begin, which has the values of these `placeholders`. Answers the mediation of
    /// the command, and the peer if there is a proxy.
    ///
    /// # Errors
    /// For people.
    pub(super) async fn begin(
        self,
        placeholders: BTreeMap<String, String>,
        secrets: &[Injected],
        redactor: &Redactor,
    ) -> Result<(Mediation, Option<Peer>), String> {
        let Some(mut socket) = self.proxy else {
            return Ok((self.mediation, None));
        };
        egress::tell(&mut socket, &ToProxy::Begin(placeholders)).await?;
        let peer = Peer::over(socket, secrets, redactor)?;
        Ok((self.mediation, Some(peer)))
    }
}

/// Placeholders of the secrets that the proxy has, also by name.
pub(super) fn placeholders(
    secrets: &BTreeMap<String, AtEgress>,
    unredacted: &[String],
) -> (Vec<Injected>, BTreeMap<String, String>) {
    let of = |(name, bound): (&String, &AtEgress)| {
        egress::placeholder(PlaceholderRequest {
            name: name.clone(),
            prefix: bound.prefix.clone(),
            redact: !unredacted.contains(name),
        })
    };
    let all: Vec<Injected> = secrets.iter().map(of).collect();
    let by_name = placeholders_by_name(&all);
    (all, by_name)
}

/// What the command wanted to connect to itself, and was kept from. What its policy allows by the
/// proxy is no denial.
pub(super) fn denied(refusals: &Refusals, policy: &Policy, redactor: &Redactor) -> Denials {
    let rows = refusals.addresses.iter().filter_map(|refused| {
        let host = HostName::Address(refused.address.ip().to_canonical());
        let port = refused.address.port();
        (!policy.allows(&host, port)).then_some(Denial {
            host,
            port,
            reason: Denied::NoRule,
            key: None,
            count: refused.count,
        })
    });
    let all = Denials {
        rows: rows.collect(),
        others: refusals.others,
    };
    // An address can hold a value as a name can.
    all.without(|host| redactor.finds(host.to_string().as_bytes()))
}
