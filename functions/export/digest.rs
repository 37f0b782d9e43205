//! The hourly digest: what was written since the last one, signed, and chained to it.
//!
//! One is made every time it is due, with nothing in it if nothing was written: a chain that ends
//! too early is then seen to be cut.
//!
//! **The work of an hour is that hour's.** Of the digests only those are read that reach into the
//! last quarter of an hour before the newest one's end, commonly that one alone. Of each trail only
//! days are listed that rows may still come for: a stream keeps its rows for a day. Older days are
//! listed when a note says that they are exported again. Of what is listed only objects are read
//! that the store says were written since then, or so little before that they may not have been
//! listed last time.
//!
//! **Two at once.** A digest's place follows from the one before it, and it is only ever created:
//! of two that follow the same one, only one can be put. The other makes way; what it had listed is
//! listed by the next.

use std::collections::HashSet;

use futures_util::stream::{self, StreamExt as _};
use sealfleet_archive::digest::{Digest, DigestedObject, SLACK_SECONDS};
use sealfleet_archive::objects::{self, DIGESTS, EVENTS, ObjectName, RE_EXPORTS, SET_ASIDE};
use sealfleet_aws::Unavailable;
use sealfleet_aws::objects::Listed;
use sealfleet_domain::Timestamp;
use sealfleet_domain::clock::DAY_SECONDS;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{Error, Ports};
use crate::shared::metrics::Metric;

/// Days before the newest digest's end for which rows may still come: the stream's day, and one for
/// clocks.
const OPEN_DAYS: i64 = 2;
/// Objects in one digest at most; more make more digests.
const MOST_OBJECTS: usize = 2000;
/// Digests of one invocation at most: the next one goes on.
const MOST_DIGESTS: usize = 10;
/// Objects that are read at once.
const AT_ONCE: usize = 16;

/// What a digest came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Made {
    /// The number of the newest digest.
    pub number: u64,
    /// Objects that were digested.
    pub objects: usize,
    /// Objects that are left for the next time.
    pub left: usize,
    /// Whether another was put in the place of the one made here.
    pub overtaken: bool,
}

/// The newest digest, with its stored bytes.
struct Newest {
    digest: Digest,
    bytes: Vec<u8>,
    /// What it and those just before it list.
    listed: HashSet<String>,
}

/// Makes the digest that is due; several, when there is more than fits into one.
///
/// # Errors
/// When a service does not answer, or the newest digest is none. The next one then holds what this
/// one would have.
pub async fn make(ports: &Ports) -> Result<Made, Error> {
    let now = ports.ledger.now();
    let newest = newest(ports, now).await?;
    let mut objects = new_objects(ports, newest.as_ref(), now).await?;
    objects.sort_by(|a, b| (a.written_at, &a.key).cmp(&(b.written_at, &b.key)));
    let mut made = Made {
        number: 0,
        objects: 0,
        left: objects.len(),
        overtaken: false,
    };
    let mut before = newest.map(|newest| (newest.digest, newest.bytes));
    for _ in 0..MOST_DIGESTS {
        let rest = objects.split_off(objects.len().min(MOST_OBJECTS));
        // One that leaves something over ends where that begins, so that it is looked for there.
        let to = rest.first().map_or(now, |next| next.written_at.min(now));
        let digested = read_all(ports, &objects).await?;
        let previous = before
            .as_ref()
            .map(|(digest, bytes)| (digest, bytes.as_slice()));
        let digest = Digest::after(previous, to, digested);
        made.number = digest.number;
        let Some(bytes) = put(ports, &digest).await? else {
            made.overtaken = true;
            return Ok(made);
        };
        made.objects += objects.len();
        made.left = rest.len();
        before = Some((digest, bytes));
        objects = rest;
        if objects.is_empty() {
            break;
        }
    }
    ports
        .metrics
        .of_function(now, &[(Metric::DigestsWritten, 1.0)]);
    Ok(made)
}

/// Signs a digest and puts it in its place. Absent when another stands there.
async fn put(ports: &Ports, digest: &Digest) -> Result<Option<Vec<u8>>, Unavailable> {
    let failed = |error: serde_json::Error| Unavailable {
        service: "JSON",
        detail: error.to_string(),
    };
    let statement = digest.statement().map_err(failed)?;
    let signature = ports.signer.sign(Sha256::digest(&statement).into()).await?;
    let bytes = Digest::stored(statement, &signature).map_err(failed)?;
    let created = ports
        .objects
        .create(&digest.key(), "application/jsonl", bytes.clone())
        .await?;
    Ok(created.then_some(bytes))
}

/// The newest digest, with what it and those list that reach into the quarter of an hour before its
/// end. None when there is none yet.
async fn newest(ports: &Ports, now: Timestamp) -> Result<Option<Newest>, Error> {
    let recent = format!(
        "{DIGESTS}date={}",
        now.plus_seconds(-OPEN_DAYS * DAY_SECONDS).day()
    );
    let mut newest: Option<Newest> = None;
    let mut read = u64::MAX;
    // All are listed only if the recent ones do not reach far enough: the chain is new, or export
    // did not run for days.
    for after in [Some(recent.as_str()), None] {
        let listed = ports.objects.list(DIGESTS, after).await?;
        let mut numbered: Vec<(u64, String)> = listed
            .into_iter()
            .filter_map(|listed| Some((Digest::number_in(&listed.key)?, listed.key)))
            .collect();
        numbered.retain(|(number, _)| *number < read);
        numbered.sort();
        for (number, key) in numbered.into_iter().rev() {
            let no_digest = || Error::NoDigest(key.clone());
            let bytes = ports.objects.get(&key).await?.ok_or_else(no_digest)?;
            let digest = Digest::read(&bytes).ok_or_else(no_digest)?.0;
            let from = digest.from;
            let listed: Vec<String> = digest
                .objects
                .iter()
                .map(|object| object.key.clone())
                .collect();
            let found = newest.get_or_insert_with(|| Newest {
                digest,
                bytes,
                listed: HashSet::new(),
            });
            found.listed.extend(listed);
            read = number;
            if found.digest.to.millis_since(from) > SLACK_SECONDS * 1000 {
                return Ok(newest);
            }
        }
    }
    Ok(newest)
}

/// The objects that no digest lists.
async fn new_objects(
    ports: &Ports,
    newest: Option<&Newest>,
    now: Timestamp,
) -> Result<Vec<Listed>, Unavailable> {
    let Some(newest) = newest else {
        let mut all = ports.objects.list(EVENTS, None).await?;
        all.extend(ports.objects.list(SET_ASIDE, None).await?);
        return Ok(all);
    };
    let since = newest.digest.to.plus_seconds(-SLACK_SECONDS);
    let open = newest
        .digest
        .to
        .min(now)
        .plus_seconds(-OPEN_DAYS * DAY_SECONDS)
        .day();
    // Few, if any, and of any day.
    let mut listed = ports.objects.list(SET_ASIDE, None).await?;
    for days in ports.objects.folders(EVENTS).await? {
        listed.extend(
            ports
                .objects
                .list(&days, Some(&format!("{days}date={open}")))
                .await?,
        );
    }
    let notes = ports
        .objects
        .list(RE_EXPORTS, Some(&format!("{RE_EXPORTS}{since}")))
        .await?;
    let days: HashSet<(&str, &str)> = notes
        .iter()
        .filter_map(|note| objects::re_export_of(&note.key))
        .collect();
    for (project, day) in days.into_iter().filter(|(_, day)| *day < open.as_str()) {
        listed.extend(
            ports
                .objects
                .list(&ObjectName::of_day(project, day), None)
                .await?,
        );
    }
    listed.retain(|object| object.written_at >= since && !newest.listed.contains(&object.key));
    Ok(listed)
}

async fn read_all(ports: &Ports, objects: &[Listed]) -> Result<Vec<DigestedObject>, Unavailable> {
    let read = objects.iter().map(|object| async {
        let bytes = ports.objects.get(&object.key).await?;
        // Nobody may delete one; if somebody does at this moment, there is nothing to vouch for.
        Ok(bytes.map(|bytes| DigestedObject::of(object.key.clone(), &bytes)))
    });
    let read: Vec<Result<Option<DigestedObject>, Unavailable>> =
        stream::iter(read).buffered(AT_ONCE).collect().await;
    read.into_iter().filter_map(Result::transpose).collect()
}
