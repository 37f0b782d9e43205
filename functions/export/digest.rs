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
//! **Each trail by itself.** All trails are listed at once, and their objects are read in rounds, a
//! few of each trail in turn. When the time is over, the digest is made of what was read, and says
//! for each trail that is not finished from when on its objects are left ([`Digest::behind`]). The
//! next invocation goes on there, minutes later. So a trail with a backlog catches up over several
//! digests and holds no other one back. What does not fit into a digest is in parts, which it names
//! by their hash.
//!
//! **Two at once.** A digest's place follows from the one before it, and it is only ever created:
//! of two that follow the same one, only one can be put. The other makes way; what it had listed is
//! listed by the next.

use std::collections::{HashMap, HashSet, VecDeque};

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use sealfleet_archive::digest::{Digest, DigestedObject, Part, PartRef, SLACK_SECONDS};
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
/// Objects that a digest, or a part of one, lists at most.
const MOST_OBJECTS: usize = 2000;
/// Objects of one trail that are read in one round.
const OF_A_TRAIL: usize = 64;
/// Objects that are read before the clock is looked at again.
const IN_A_ROUND: usize = 256;
/// Trails that are listed, or objects and parts that are read, at once.
const AT_ONCE: usize = 32;

/// What a digest came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Made {
    /// The number of the newest digest.
    pub number: u64,
    /// Objects that were digested.
    pub objects: usize,
    /// Objects that are left for the next time, as far as they were listed.
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

/// A trail, or what was set aside, and what of it no digest lists.
struct Trail {
    /// The prefix of its objects.
    prefix: String,
    /// From when on its objects are to be digested.
    since: Timestamp,
    /// Earliest first. `None`: there was no time to list them.
    new: Option<VecDeque<Listed>>,
}

/// Makes the digest that is due. Reads nothing new once it is `until`.
///
/// # Errors
/// When a service does not answer, or the newest digest is none. The next one then holds what this
/// one would have.
pub async fn make(ports: &Ports, until: Timestamp) -> Result<Made, Error> {
    let newest = newest(ports, ports.ledger.now()).await?;
    follow(ports, newest, until).await
}

/// Makes a digest if the newest one has left something over.
///
/// # Errors
/// As [`make`].
pub async fn go_on(ports: &Ports, until: Timestamp) -> Result<Made, Error> {
    let newest = newest(ports, ports.ledger.now()).await?;
    match newest {
        Some(newest) if !newest.digest.behind.is_empty() => {
            follow(ports, Some(newest), until).await
        }
        other => Ok(Made {
            number: other.map_or(0, |newest| newest.digest.number),
            objects: 0,
            left: 0,
            overtaken: false,
        }),
    }
}

/// Makes the digest that follows the newest one.
async fn follow(ports: &Ports, newest: Option<Newest>, until: Timestamp) -> Result<Made, Error> {
    let now = ports.ledger.now();
    let mut trails = trails(ports, newest.as_ref(), now, until).await?;
    let previous = newest
        .as_ref()
        .map(|newest| (&newest.digest, newest.bytes.as_slice()));
    let mut digest = Digest::after(previous, now, Vec::new());
    let objects = read_in_rounds(ports, &mut trails, &mut digest, until).await?;
    let mut left = 0;
    for trail in trails {
        let rest = trail.new.as_ref();
        left += rest.map_or(0, VecDeque::len);
        let behind = match rest {
            None => Some(trail.since),
            Some(rest) => rest.front().map(|first| first.written_at.min(now)),
        };
        digest
            .behind
            .extend(behind.map(|behind| (trail.prefix, behind)));
    }
    let overtaken = !put(ports, &digest).await?;
    if !overtaken {
        ports
            .metrics
            .of_function(now, &[(Metric::DigestsWritten, 1.0)]);
    }
    Ok(Made {
        number: digest.number,
        objects: if overtaken { 0 } else { objects },
        left,
        overtaken,
    })
}

/// Signs a digest and puts it in its place. `false` when another stands there.
async fn put(ports: &Ports, digest: &Digest) -> Result<bool, Unavailable> {
    let statement = digest.statement().map_err(not_json)?;
    let signature = ports.signer.sign(Sha256::digest(&statement).into()).await?;
    let bytes = Digest::stored(statement, &signature).map_err(not_json)?;
    ports
        .objects
        .create(&digest.key(), "application/jsonl", bytes)
        .await
}

fn not_json(error: serde_json::Error) -> Unavailable {
    Unavailable {
        service: "JSON",
        detail: error.to_string(),
    }
}

/// The newest digest, with what it and those list that reach into the quarter of an hour before its
/// end, or before the time from which on a trail is left. None when there is none yet.
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
            let (from, listed) = (digest.from, listed_by(ports, &digest).await?);
            let found = newest.get_or_insert_with(|| Newest {
                digest,
                bytes,
                listed: HashSet::new(),
            });
            found.listed.extend(listed);
            read = number;
            let behind = found.digest.behind.values();
            let earliest = behind.fold(found.digest.to, |earliest, at| earliest.min(*at));
            if earliest.millis_since(from) > SLACK_SECONDS * 1000 {
                return Ok(newest);
            }
        }
    }
    Ok(newest)
}

/// The keys of all objects that a digest and its parts list.
async fn listed_by(ports: &Ports, digest: &Digest) -> Result<Vec<String>, Error> {
    let read = digest.parts.iter().map(|part| async {
        let no_digest = || Error::NoDigest(part.key.clone());
        let bytes = ports.objects.get(&part.key).await?.ok_or_else(no_digest)?;
        Part::read(&bytes).ok_or_else(no_digest)
    });
    let parts: Vec<Part> = stream::iter(read).buffered(AT_ONCE).try_collect().await?;
    let in_parts = parts.iter().flat_map(|part| &part.objects);
    let all = digest.objects.iter().chain(in_parts);
    Ok(all.map(|object| object.key.clone()).collect())
}

/// All trails, with what no digest lists.
async fn trails(
    ports: &Ports,
    newest: Option<&Newest>,
    now: Timestamp,
    until: Timestamp,
) -> Result<Vec<Trail>, Unavailable> {
    let mut prefixes = ports.objects.folders(EVENTS).await?;
    // Few, if any, and of any day.
    prefixes.push(SET_ASIDE.to_owned());
    let again = exported_again(ports, newest).await?;
    let found = stream::iter(prefixes).map(async |prefix| {
        let since = newest.map_or(Timestamp::from_millis(0), |newest| {
            let behind = newest.digest.behind.get(&prefix);
            behind.copied().unwrap_or(newest.digest.to)
        });
        let mut trail = Trail {
            prefix,
            since,
            new: None,
        };
        if ports.ledger.now() < until {
            let listed = new_objects(ports, newest, &trail, &again, now).await?;
            trail.new = Some(listed.into());
        }
        Ok(trail)
    });
    found.buffered(AT_ONCE).try_collect().await
}

/// The days that are exported again, by their trail's prefix.
async fn exported_again(
    ports: &Ports,
    newest: Option<&Newest>,
) -> Result<HashMap<String, HashSet<String>>, Unavailable> {
    let mut again: HashMap<String, HashSet<String>> = HashMap::new();
    let Some(Newest { digest, .. }) = newest else {
        return Ok(again);
    };
    let earliest = digest
        .behind
        .values()
        .fold(digest.to, |at, behind| at.min(*behind));
    let since = earliest.plus_seconds(-SLACK_SECONDS);
    let notes = ports
        .objects
        .list(RE_EXPORTS, Some(&format!("{RE_EXPORTS}{since}")))
        .await?;
    for (project, day) in notes
        .iter()
        .filter_map(|note| objects::re_export_of(&note.key))
    {
        let days = again.entry(ObjectName::days(project)).or_default();
        days.insert(day.to_owned());
    }
    Ok(again)
}

/// The objects of a trail that no digest lists, earliest first.
async fn new_objects(
    ports: &Ports,
    newest: Option<&Newest>,
    trail: &Trail,
    again: &HashMap<String, HashSet<String>>,
    now: Timestamp,
) -> Result<Vec<Listed>, Unavailable> {
    let Trail { prefix, since, .. } = trail;
    let mut listed = match newest {
        Some(_) if prefix != SET_ASIDE => {
            let open = since.min(&now).plus_seconds(-OPEN_DAYS * DAY_SECONDS).day();
            let after = format!("{prefix}date={open}");
            let mut listed = ports.objects.list(prefix, Some(&after)).await?;
            let days = again.get(prefix).into_iter().flatten();
            for day in days.filter(|day| **day < open) {
                let of_day = format!("{prefix}date={day}/");
                listed.extend(ports.objects.list(&of_day, None).await?);
            }
            listed
        }
        _ => ports.objects.list(prefix, None).await?,
    };
    if let Some(newest) = newest {
        let from = since.plus_seconds(-SLACK_SECONDS);
        listed.retain(|object| object.written_at >= from && !newest.listed.contains(&object.key));
    }
    listed.sort_by(|a, b| (a.written_at, &a.key).cmp(&(b.written_at, &b.key)));
    Ok(listed)
}

/// Reads what is new, a few objects of each trail in turn, for as long as there is time, and lists
/// it in the digest. How many there were.
async fn read_in_rounds(
    ports: &Ports,
    trails: &mut [Trail],
    digest: &mut Digest,
    until: Timestamp,
) -> Result<usize, Unavailable> {
    let new = |trails: &[Trail]| -> usize {
        let new = trails.iter().filter_map(|trail| trail.new.as_ref());
        new.map(VecDeque::len).sum()
    };
    let in_parts = new(trails) > MOST_OBJECTS;
    let (mut objects, mut next) = (0, Vec::new());
    while new(trails) > 0 && ports.ledger.now() < until {
        for new in trails.iter_mut().filter_map(|trail| trail.new.as_mut()) {
            next.extend(new.drain(..new.len().min(OF_A_TRAIL)));
            if next.len() < IN_A_ROUND {
                continue;
            }
            objects += read_all(ports, &mut next, digest, in_parts).await?;
            if ports.ledger.now() >= until {
                break;
            }
        }
        objects += read_all(ports, &mut next, digest, in_parts).await?;
    }
    put_part(ports, digest, in_parts).await?;
    Ok(objects)
}

/// Reads objects, and lists them in the digest or in a part of it. How many there were.
async fn read_all(
    ports: &Ports,
    objects: &mut Vec<Listed>,
    digest: &mut Digest,
    in_parts: bool,
) -> Result<usize, Unavailable> {
    let read = objects.iter().map(|object| async {
        let bytes = ports.objects.get(&object.key).await?;
        // Nobody may delete one; if somebody does at this moment, there is nothing to vouch for.
        Ok(bytes.map(|bytes| DigestedObject::of(object.key.clone(), &bytes)))
    });
    let read: Vec<Option<DigestedObject>> =
        stream::iter(read).buffered(AT_ONCE).try_collect().await?;
    digest.objects.extend(read.into_iter().flatten());
    if digest.objects.len() + IN_A_ROUND + OF_A_TRAIL > MOST_OBJECTS {
        put_part(ports, digest, in_parts).await?;
    }
    let count = objects.len();
    objects.clear();
    Ok(count)
}

/// Puts what the digest lists into a part of its own, if it is made of parts.
async fn put_part(ports: &Ports, digest: &mut Digest, in_parts: bool) -> Result<(), Unavailable> {
    if !in_parts || digest.objects.is_empty() {
        return Ok(());
    }
    let objects = std::mem::take(&mut digest.objects);
    let bytes = Part { objects }.stored().map_err(not_json)?;
    let part = PartRef::of(&bytes);
    // One that is there has the same bytes: its name is their hash.
    let put = ports
        .objects
        .create(&part.key, "application/json", bytes)
        .await;
    put?;
    digest.parts.push(part);
    Ok(())
}
