//! What the control plane is told of a step while it runs, and tells in return.
//!
//! A step with an egress policy tells the hosts that it was kept from, so that the trail has them
//! while it runs. The answer says which of the keys that its proxy delivers are revoked, and the
//! proxy takes them back. The command cannot speak in its place: it cannot reach the credentials of
//! the task role.

use std::collections::BTreeSet;
use std::time::Duration;

use sealfleet_channel::Egress;
use sealfleet_domain::egress::Denials;

use super::api::{Api, Beat, Unheard};
use crate::egress::{Peer, meanwhile};

/// How often.
const EVERY: Duration = Duration::from_secs(10);

/// Speaks for a step whose proxy is `peer`.
pub(super) struct Heartbeat<'a> {
    api: &'a Api,
    peer: &'a mut Peer,
    /// Whether the proxy delivers secrets.
    delivers: bool,
    seen: Egress,
    /// Hosts that the trail does not have yet.
    untold: Denials,
    withdrawn: BTreeSet<String>,
}

impl<'a> Heartbeat<'a> {
    pub(super) fn new(api: &'a Api, peer: &'a mut Peer, delivers: bool) -> Self {
        Self {
            api,
            peer,
            delivers,
            seen: Egress::default(),
            untold: Denials::default(),
            withdrawn: BTreeSet::new(),
        }
    }

    /// Speaks while `work` goes on. Answers also what the step has done, with the denials that are
    /// left to tell.
    pub(super) async fn during<T>(mut self, work: impl Future<Output = T>) -> (T, Egress) {
        let done = meanwhile(work, EVERY, async || self.beat().await).await;
        self.look().await;
        let denied = self.untold;
        (
            done,
            Egress {
                denied,
                ..self.seen
            },
        )
    }

    async fn look(&mut self) {
        self.seen = self.peer.seen().await;
        let more = std::mem::take(&mut self.seen.denied);
        self.untold = std::mem::take(&mut self.untold).with(more);
    }

    async fn beat(&mut self) {
        self.look().await;
        if !self.delivers && self.untold.is_empty() {
            return;
        }
        let Beat {
            revoked,
            denials_recorded,
        } = match self.api.heartbeat(&self.untold).await {
            Ok(beat) => beat,
            // The next one tells it again. A claim that is over has no next one for long.
            Err(Unheard::Passing(_)) => return,
            Err(Unheard::Refused(why)) => {
                eprintln!("sealfleet-init: what the step was kept from was not taken: {why}");
                return;
            }
        };
        if denials_recorded {
            self.untold = Denials::default();
        }
        let new: BTreeSet<String> = revoked.difference(&self.withdrawn).cloned().collect();
        if !new.is_empty() {
            self.withdrawn.extend(new.clone());
            self.peer.withdraw(new).await;
        }
    }
}
