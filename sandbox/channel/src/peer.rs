//! What a step's init and the init of its egress proxy tell each other.
//!
//! The step's init makes the pair of sockets and gives one end away with
//! [`ToHost::Resolved`](crate::ToHost::Resolved). Whoever carries it to the proxy keeps nothing of
//! it: hosts that a program asked for can hold values of secrets, and only the step's init, which
//! knows the values, takes them out. For the same reason it says here which placeholders it has
//! made, before it lets the command run.
//!
//! The step's init asks and the proxy answers, one message for one. So neither can flood the other:
//! what nobody has asked for stays unread.
//!
//! A proxy that led to identity backends may stay beside its step to end what they hold.
//!
//! In a task of Fargate nobody carries anything: the proxy is another container, and the step's
//! init connects to it before there is a command. It is also the one who knows the
//! [order](ProxyOrder).

use std::collections::{BTreeMap, BTreeSet};

use sealfleet_domain::agent::ModelsUsed;
use sealfleet_domain::delivery::AtEgress;
use sealfleet_domain::egress::{Denials, Policy, Reached};
use serde::{Deserialize, Serialize};

use crate::message::Bearer;

/// A message of the step's init.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToProxy {
    /// What to let through, where the proxy has no host that tells it. Comes before all others.
    Order(Box<ProxyOrder>),
    /// The placeholders of the secrets that the proxy delivers, by environment variable. Comes
    /// once, before the command. Answered by [`ToStep::Ready`].
    Begin(BTreeMap<String, String>),
    /// What has the step done? Answered by [`ToStep::Egress`].
    Ask,
    /// These secrets are revoked: deliver them no more. In a task of Fargate, where no host tells
    /// the proxy.
    Withdraw(BTreeSet<String>),
    /// What identity backends hold for as long as the step runs, by scheme. The proxy lets nothing
    /// through any more, and ends all of it once this socket is closed. Answered by
    /// [`ToStep::Keeping`].
    Keep(BTreeMap<String, Bearer>),
}

/// An answer of the proxy's init.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToStep {
    /// The certificate of the authority that the proxy ends TLS with, as PEM.
    Ready(String),
    /// It cannot begin: why, for people and by names only. The other answer to
    /// [`ToProxy::Begin`], where no host is told.
    Refused(String),
    Egress(Egress),
    /// Nobody is let through any more.
    Keeping,
}

/// What the proxy of a task lets through, and which of its secrets go where.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyOrder {
    pub policy: Policy,
    /// By environment variable.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, AtEgress>,
}

/// What a step has done through its egress proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Egress {
    /// What it was kept from since this was last told.
    #[serde(default, skip_serializing_if = "Denials::is_empty")]
    pub denied: Denials,
    /// What it has reached until now.
    #[serde(default, skip_serializing_if = "Reached::is_empty")]
    pub reached: Reached,
    /// What it used of models until now, as their answers say.
    #[serde(default, skip_serializing_if = "ModelsUsed::is_empty")]
    pub models_used: ModelsUsed,
}

impl Egress {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
