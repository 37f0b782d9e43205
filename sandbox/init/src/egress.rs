//! The network of a step that may reach hosts: a listener inside of its sandbox, which has no other
//! way out, and the proxy behind it, in a second sandbox.
//!
//! The step's init makes the listener and gives it away; a socket keeps the network namespace that
//! it was made in. So the proxy accepts what comes from the step's loopback, while its own
//! connections leave from the host's network. Whoever carries the listener between the two sees
//! nothing of what goes through it.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use sealfleet_channel::{
    Channel, Descriptors, EGRESS_LISTENER, EgressOrder, Socket, ToHost, ToInit,
};
use sealfleet_domain::egress::{Denial, Denials};
use sealfleet_egress::{Limits, Proxy};
use sealfleet_identity::SecretValue;
use sealfleet_redaction::Redactor;

use crate::Failure;
use crate::output::{self, Injected};
use crate::supervise::Stops;

/// The port of a step's loopback that its proxy accepts on.
const PORT: u16 = 3128;
/// How often the host is told what was refused.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// The listener of a step, for its proxy.
///
/// # Errors
/// The system's answer; for people.
pub(crate) fn listen() -> Result<Descriptors, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT))
        .map_err(|error| format!("the egress proxy's port {PORT} cannot be had: {error}"))?;
    Ok(Descriptors::from([(
        EGRESS_LISTENER.to_owned(),
        listener.into(),
    )]))
}

/// What tells the programs of a step where its proxy is. Programs know either way of writing it.
pub(crate) fn variables() -> Vec<(String, String)> {
    let url = format!("http://127.0.0.1:{PORT}");
    let here = "localhost,127.0.0.1,::1";
    let both = |name: &str, value: &str| {
        [name.to_owned(), name.to_lowercase()].map(|name| (name, value.to_owned()))
    };
    let mut all: Vec<_> = [
        both("HTTP_PROXY", &url),
        both("HTTPS_PROXY", &url),
        both("ALL_PROXY", &url),
        both("NO_PROXY", here),
    ]
    .into_iter()
    .flatten()
    .collect();
    // Without it, Node.js looks at none of them.
    all.push(("NODE_USE_ENV_PROXY".to_owned(), "1".to_owned()));
    all
}

/// Takes values of secrets out of what the trail will say of hosts: a program can ask for a host
/// that has one in its name.
pub(crate) struct Hosts {
    as_written: Redactor,
    /// Names of hosts are told in lower case.
    in_lower_case: Redactor,
}

impl Hosts {
    pub(crate) fn of(secrets: &[Injected], redactor: &Redactor) -> Result<Self, String> {
        let lower = |secret: &Injected| Injected {
            name: secret.name.clone(),
            reference: None,
            value: SecretValue::new(secret.value.expose().to_ascii_lowercase()),
            redact: secret.redact,
        };
        let lower: Vec<Injected> = secrets.iter().map(lower).collect();
        Ok(Self {
            as_written: redactor.clone(),
            in_lower_case: output::redactor(&lower)?,
        })
    }

    /// What the step was kept from, as the host tells it. Nothing, if it does not.
    pub(crate) async fn denied(&self, channel: &mut Socket<ToHost, ToInit>) -> Denials {
        let asked = async {
            let question = ToHost::EgressAsked;
            channel.send(&question, Descriptors::new()).await?;
            channel.receive().await
        };
        match asked.await {
            Ok((ToInit::Denied(denied), _)) => self.without_values(denied),
            Ok(_) => Denials::default(),
            Err(error) => {
                eprintln!("sealfleet-init: what was refused is not told: {error}");
                Denials::default()
            }
        }
    }

    fn without_values(&self, denied: Denials) -> Denials {
        let holds_one = |row: &Denial| {
            let host = row.host.to_string();
            [&self.as_written, &self.in_lower_case]
                .iter()
                .any(|redactor| redactor.finds(host.as_bytes()))
        };
        let (unnamed, rows) = denied.rows.into_iter().partition(holds_one);
        let unnamed = Denials {
            rows: unnamed,
            others: denied.others,
        };
        Denials {
            rows,
            ..unnamed.unnamed()
        }
    }
}

/// A proxy that can start.
pub(crate) struct Proxying {
    proxy: Proxy,
    listener: TcpListener,
}

impl Proxying {
    /// # Errors
    /// What is wrong with the order; for people.
    pub(crate) fn of(order: EgressOrder, mut carried: Descriptors) -> Result<Self, String> {
        let listener = carried
            .remove(EGRESS_LISTENER)
            .ok_or("the egress order came without its listener")?;
        let listener = TcpListener::from(listener);
        let networks: Result<Vec<_>, String> = order
            .networks
            .iter()
            .map(|network| {
                network
                    .parse()
                    .map_err(|error| format!("`{network}`: {error}"))
            })
            .collect();
        Ok(Self {
            proxy: Proxy::new(order.policy, networks?, Limits::default()),
            listener,
        })
    }

    /// Lets through what the order allows, until a signal comes or the host closes the channel.
    pub(crate) async fn run(self, mut channel: Socket<ToHost, ToInit>, stops: &mut Stops) -> i32 {
        let Self { proxy, listener } = self;
        let closed = match channel.closed() {
            Ok(closed) => closed,
            Err(error) => {
                return Failure::Error(format!("the channel cannot be watched: {error}"))
                    .exit_code();
            }
        };
        let telling = async {
            loop {
                tokio::time::sleep(TELL_EVERY).await;
                tell(&proxy, &mut channel).await;
            }
        };
        let code = tokio::select! {
            Err(error) = proxy.serve(listener) => {
                Failure::Error(format!("the egress listener cannot be used: {error}")).exit_code()
            }
            () = telling => 0,
            () = closed => 0,
            signal = stops.next() => 128 + signal.as_raw(),
        };
        tell(&proxy, &mut channel).await;
        code
    }
}

async fn tell(proxy: &Proxy, channel: &mut Socket<ToHost, ToInit>) {
    let denied = proxy.take_denials();
    if denied.is_empty() {
        return;
    }
    let told = channel
        .send(&ToHost::Egress(denied), Descriptors::new())
        .await;
    if let Err(error) = told {
        eprintln!("sealfleet-init: the worker was not told what was refused: {error}");
    }
}
