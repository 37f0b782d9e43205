//! Audit entries in the rows of runs.
//!
//! A transition of a run appends its audit entry to a list in the run's own row, in the same
//! write. So no state changes and no secret is released without its entry, and no second table can
//! fail in between. The `trail` function copies new entries from the ledger's stream to the audit
//! table, a second or two later.
//!
//! An entry stores its id, its actor and its events. The project, the run and the time follow from
//! the row and the id. Events that list what a sandbox sees name the identity by its hash.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use sealfleet_domain::audit::{AuditEntry, Event};
use sealfleet_domain::identity::Identity;
use sealfleet_domain::run::{Fence, Run};
use sealfleet_domain::{ContainmentId, EventId, ProjectScope, RunId, StepId, Timestamp, ToolName};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::Error;
use crate::identities::{Hashes, Identities};
use crate::packed::{pack, unpack};
use crate::remembered::IdentityHash;
use crate::store::{Item, WriteError};

/// The attribute of a run's row that holds its entries.
pub(crate) const ENTRIES: &str = "e";

/// What a step's sandbox sees: an identity, as far as its access lists grant it to a tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    #[serde(rename = "identity")]
    hash: IdentityHash,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tool: Option<ToolName>,
}

/// An event as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Stored {
    /// Secrets that follow from an identity.
    Seen(SeenEvent),
    Whole(Event),
}

/// Events that list what an identity holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "of")]
enum SeenEvent {
    /// `secret.released`.
    #[serde(rename = "released")]
    Released {
        step_id: StepId,
        fence: Fence,
        seen: Seen,
    },
    /// `profile.injected`.
    #[serde(rename = "injected")]
    Injected {
        step_id: StepId,
        fence: Fence,
        seen: Seen,
    },
    /// One `secret.decrypted` for each secret.
    #[serde(rename = "decrypted")]
    Decrypted {
        step_id: StepId,
        fence: Fence,
        seen: Seen,
        /// Versions that the sandbox reported, where they differ from the identity's.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        versions: BTreeMap<String, String>,
        /// What the stores call the requests that read them, if they tell.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        store_request_ids: BTreeMap<String, String>,
    },
}

/// An entry as a run's row stores it: the id, the actor and the events, and what it is part of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StoredEntry(
    EventId,
    String,
    Vec<Stored>,
    #[serde(default, skip_serializing_if = "Option::is_none")] Option<ContainmentId>,
);

impl SeenEvent {
    const fn seen(&self) -> &Seen {
        match self {
            Self::Released { seen, .. }
            | Self::Injected { seen, .. }
            | Self::Decrypted { seen, .. } => seen,
        }
    }

    fn expand(self, identities: &Identities) -> Option<Vec<Event>> {
        let seen = self.seen();
        let identity = identities.get(&seen.hash)?.seen_by(seen.tool.as_ref());
        Some(match self {
            Self::Released { step_id, fence, .. } => vec![Event::SecretReleased {
                step_id,
                fence,
                secrets: identity.secrets,
            }],
            Self::Injected { step_id, fence, .. } => vec![Event::ProfileInjected {
                step_id,
                fence,
                profiles: identity.profiles,
            }],
            Self::Decrypted {
                step_id,
                fence,
                mut versions,
                mut store_request_ids,
                ..
            } => {
                let each = identity.secrets.into_iter();
                each.map(|secret| Event::SecretDecrypted {
                    step_id: step_id.clone(),
                    fence,
                    version: versions.remove(&secret.name).or(secret.version),
                    store_request_id: store_request_ids.remove(&secret.name),
                    uri: secret.uri.to_string(),
                    profile: secret.from,
                    key: secret.name,
                })
                .collect()
            }
        })
    }
}

/// What the events of a transition may refer to: the run before and after it, with their hashes.
pub(crate) struct Known<'a> {
    pub before: Option<(&'a Run, &'a Hashes)>,
    pub after: (&'a Run, &'a Hashes),
}

impl Known<'_> {
    /// What a step saw before or sees after the transition, as the row stores it.
    fn seen_by(&self, step_id: &StepId) -> Vec<(Seen, Identity)> {
        let runs = [Some(self.after), self.before].into_iter().flatten();
        let named = runs.filter_map(|(run, hashes)| {
            let step = run.steps.get(step_id)?;
            let hold = step.state.hold();
            let fresh = hold.and_then(|hold| hold.identity.as_deref());
            let fresh = fresh.zip(hashes.fresh.get(step_id));
            let (identity, hash) = fresh.or(run.identity.as_ref().zip(hashes.run.as_ref()))?;
            let tool = step.spec.tool.clone();
            let sees = identity.seen_by(tool.as_ref());
            let hash = hash.clone();
            Some((Seen { hash, tool }, sees))
        });
        named.collect()
    }

    /// Stores events. What follows from an identity is named by its hash, if it follows exactly.
    fn store(&self, events: Vec<Event>) -> Vec<Stored> {
        let mut stored = Vec::new();
        let mut rest = events.as_slice();
        while let Some(event) = rest.first() {
            let short = self.shorten(rest);
            let taken = short.as_ref().map_or(1, |(_, taken)| *taken);
            stored.push(short.map_or_else(
                || Stored::Whole(event.clone()),
                |(short, _)| Stored::Seen(short),
            ));
            rest = rest.get(taken..).unwrap_or_default();
        }
        stored
    }

    /// The short form of the events at the start of `events`, and how many it stands for.
    fn shorten(&self, events: &[Event]) -> Option<(SeenEvent, usize)> {
        let (step_id, fence) = match events.first()? {
            Event::SecretReleased { step_id, fence, .. }
            | Event::ProfileInjected { step_id, fence, .. }
            | Event::SecretDecrypted { step_id, fence, .. } => (step_id, *fence),
            _ => return None,
        };
        self.seen_by(step_id).into_iter().find_map(|(seen, sees)| {
            let short = short_form(events, step_id, fence, &seen, &sees)?;
            let identities = Identities::from([(seen.hash, Arc::new(sees))]);
            let long = short.clone().expand(&identities)?;
            let exact = !long.is_empty() && events.starts_with(&long);
            exact.then_some((short, long.len()))
        })
    }
}

fn short_form(
    events: &[Event],
    step_id: &StepId,
    fence: Fence,
    seen: &Seen,
    sees: &Identity,
) -> Option<SeenEvent> {
    let (step_id, seen) = (step_id.clone(), seen.clone());
    Some(match events.first()? {
        Event::SecretReleased { .. } => SeenEvent::Released {
            step_id,
            fence,
            seen,
        },
        Event::ProfileInjected { .. } => SeenEvent::Injected {
            step_id,
            fence,
            seen,
        },
        Event::SecretDecrypted { .. } => {
            let (mut versions, mut store_request_ids) = (BTreeMap::new(), BTreeMap::new());
            for (event, secret) in events.iter().zip(&sees.secrets) {
                let Event::SecretDecrypted {
                    key,
                    version,
                    store_request_id,
                    ..
                } = event
                else {
                    return None;
                };
                let id = store_request_id.clone();
                store_request_ids.extend(id.map(|id| (key.clone(), id)));
                if let Some(version) = version.as_ref().filter(|_| *version != secret.version) {
                    versions.insert(key.clone(), version.clone());
                }
            }
            SeenEvent::Decrypted {
                step_id,
                fence,
                seen,
                versions,
                store_request_ids,
            }
        }
        _ => return None,
    })
}

/// An entry as an element of a run's list.
pub(crate) fn element(
    event_id: EventId,
    (actor, containment): (&str, Option<ContainmentId>),
    events: Vec<Event>,
    known: &Known<'_>,
) -> Result<AttributeValue, WriteError> {
    let entry = StoredEntry(event_id, actor.to_owned(), known.store(events), containment);
    Ok(AttributeValue::B(Blob::new(pack(&entry)?)))
}

/// The list of a row's entries. Empty when the row has none.
pub(crate) fn list(item: &Item) -> &[AttributeValue] {
    item.get(ENTRIES)
        .and_then(|value| value.as_l().ok())
        .map_or(&[], Vec::as_slice)
}

/// Bytes of an element.
pub(crate) fn bytes(element: &AttributeValue) -> i64 {
    let bytes = element.as_b().map_or(0, |bytes| bytes.as_ref().len());
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Reads an element of a run's list.
pub(crate) fn read(element: &AttributeValue) -> Result<StoredEntry, Error> {
    let packed = element
        .as_b()
        .map_err(|_| Error::Unreadable("an entry that is not packed".to_owned()))?;
    unpack(packed.as_ref())
}

impl StoredEntry {
    /// The identities that its events name.
    pub(crate) fn names(&self) -> BTreeSet<IdentityHash> {
        let named = self.2.iter().filter_map(|event| match event {
            Stored::Seen(event) => Some(event.seen().hash.clone()),
            Stored::Whole(_) => None,
        });
        named.collect()
    }

    pub(crate) fn at(&self) -> Timestamp {
        self.0.made_at()
    }

    /// Its events with their time, but for those that list what a sandbox sees.
    pub(crate) fn plain(self) -> impl Iterator<Item = (Timestamp, Event)> {
        let at = self.at();
        self.2.into_iter().filter_map(move |event| match event {
            Stored::Whole(event) => Some((at, event)),
            Stored::Seen(_) => None,
        })
    }

    /// The entry as it is stored, with names of its members.
    pub(crate) fn shown(self) -> Value {
        let Self(event_id, actor, events, containment_id) = self;
        json!({
            "event_id": event_id, "actor": actor, "events": events,
            "containment_id": containment_id,
        })
    }

    /// The whole entry.
    pub(crate) fn expand(
        self,
        scope: &ProjectScope,
        run_id: RunId,
        identities: &Identities,
    ) -> Result<AuditEntry, Error> {
        let Self(event_id, actor, stored, containment_id) = self;
        let mut events = Vec::with_capacity(stored.len());
        for event in stored {
            match event {
                Stored::Whole(event) => events.push(event),
                Stored::Seen(event) => {
                    events.extend(event.expand(identities).ok_or_else(|| {
                        Error::Unreadable("an entry whose identity is not stored".to_owned())
                    })?)
                }
            }
        }
        Ok(AuditEntry {
            event_id,
            at: event_id.made_at(),
            project: scope.project().to_string(),
            actor,
            run_id: Some(run_id),
            containment_id,
            events,
        })
    }
}
