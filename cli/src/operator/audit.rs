//! The audit trail: read through the API, verified as exported.

use std::collections::BTreeSet;

use clap::Subcommand;
use sealfleet_aws::objects::{Objects, S3};
use sealfleet_domain::digest::{Digest, Verified, verify};
use sealfleet_domain::hash::sha256_hex;
use sealfleet_domain::{EventId, Timestamp};

use super::connection::Connection;
use super::failure::Failure;
use super::output::{answer, lines, or_dash};
use super::trail::{self, Filters};

/// Where exported entries and digests stand in the bucket.
const ENTRIES: &str = "audit/";
const DIGESTS: &str = "digests/";

#[derive(Subcommand)]
pub enum Command {
    /// List the entries of your trail, oldest first: the last day's, or all of `--run`, unless `--from` says otherwise
    List {
        #[command(flatten)]
        filters: Filters,
        /// Only those before this moment
        #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
        to: Option<Timestamp>,
    },
    /// Print the entries of your trail and stay: one line for each, as JSON one document a line
    Follow {
        #[command(flatten)]
        filters: Filters,
    },
    /// Show one entry
    Show {
        /// `evt_…`
        event_id: EventId,
        /// Whose trail it stands in: only your own is there for you
        #[arg(long)]
        project: Option<String>,
    },
    /// Check the exported trail against its digests, with your own AWS credentials. Fails when anything was touched
    Verify {
        /// The audit bucket
        #[arg(long, env = "SEALFLEET_AUDIT_BUCKET")]
        bucket: String,
    },
}

pub(super) async fn run(command: Command, connection: &Connection) -> Result<(), Failure> {
    match command {
        Command::List { filters, to } => trail::list(connection, filters, to).await,
        Command::Follow { filters } => trail::follow(connection, filters).await,
        Command::Show { event_id, project } => trail::show(connection, event_id, project.as_deref()).await,
        Command::Verify { bucket } => verify_bucket(connection, bucket).await,
    }
}

async fn verify_bucket(connection: &Connection, bucket: String) -> Result<(), Failure> {
    let config = sealfleet_aws::config::load().await;
    let trail = read_and_verify(&S3::new(&config, bucket)).await?;
    let faults: Vec<String> = trail.verified.faults.iter().map(ToString::to_string).collect();
    let report = serde_json::json!({
        "digests": trail.verified.digests,
        "objects": trail.verified.objects,
        "lines": trail.verified.lines,
        "not_digested_yet": trail.not_digested_yet,
        "newest_digest_sha256": trail.newest,
        "faults": faults,
    });
    answer(connection.output, &report, || {
        let mut text = lines([
            ("digests", trail.verified.digests.to_string()),
            ("objects", trail.verified.objects.to_string()),
            ("lines", trail.verified.lines.to_string()),
            ("not digested yet", trail.not_digested_yet.to_string()),
            ("newest digest", or_dash(trail.newest.as_ref())),
        ]);
        for fault in &faults {
            text += &format!("FAULT  {fault}\n");
        }
        text
    })?;
    if trail.verified.digests == 0 {
        return Err(Failure::Other("there are no digests to verify against".to_owned()));
    }
    if faults.is_empty() { Ok(()) } else { Err(Failure::Other(format!("the trail has {} faults", faults.len()))) }
}

struct Trail {
    verified: Verified,
    /// Objects that no digest names: those since the newest digest.
    not_digested_yet: usize,
    /// SHA-256 of the newest digest, which nothing in the bucket vouches for.
    newest: Option<String>,
}

async fn read_and_verify(objects: &impl Objects) -> Result<Trail, Failure> {
    let mut digests = Vec::new();
    for key in objects.list(DIGESTS, None).await.map_err(Failure::other)? {
        // One that is listed and gone at once is verified as what it is then: unreadable.
        digests.push(objects.get(&key).await.map_err(Failure::other)?.unwrap_or_default());
    }
    let mut undigested: BTreeSet<String> =
        objects.list(ENTRIES, None).await.map_err(Failure::other)?.into_iter().collect();
    for digest in digests.iter().filter_map(|bytes| serde_json::from_slice::<Digest>(bytes).ok()) {
        for object in digest.objects {
            undigested.remove(&object.key);
        }
    }
    // One object at a time, so that the size of the trail does not matter.
    let runtime = tokio::runtime::Handle::current();
    let mut broken = None;
    let verified = tokio::task::block_in_place(|| {
        verify(&digests, |key| match runtime.block_on(objects.get(key)) {
            Ok(found) => found,
            Err(error) => {
                broken = Some(error);
                None
            }
        })
    });
    match broken {
        Some(error) => Err(Failure::other(error)),
        None => {
            let newest = digests.last().map(|bytes| sha256_hex(bytes));
            Ok(Trail { verified, not_digested_yet: undigested.len(), newest })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;
    use sealfleet_aws::Unavailable;
    use sealfleet_domain::digest::{DigestedObject, Fault};
    use std::collections::BTreeMap;

    struct Bucket(BTreeMap<String, Vec<u8>>);

    #[async_trait]
    impl Objects for Bucket {
        async fn put(&self, _: &str, _: &str, _: Vec<u8>) -> Result<(), Unavailable> {
            Ok(())
        }

        async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Unavailable> {
            Ok(self.0.get(key).cloned())
        }

        async fn list(&self, prefix: &str, _: Option<&str>) -> Result<Vec<String>, Unavailable> {
            Ok(self.0.keys().filter(|key| key.starts_with(prefix)).cloned().collect())
        }
    }

    fn bucket() -> Bucket {
        let (one, two) = (b"{}\n".to_vec(), b"{}\n{}\n".to_vec());
        let object =
            |key: &str, bytes: &[u8], lines| DigestedObject { key: key.into(), sha256: sha256_hex(bytes), lines };
        let digest = |number, previous, objects| {
            let bytes = Digest { number, at: Timestamp::from_millis(0), previous, objects }.bytes().expect("json");
            (format!("digests/{number:010}.json"), bytes)
        };
        let first = digest(1, None, vec![object("audit/a", &one, 1)]);
        let second = digest(2, Some(sha256_hex(&first.1)), vec![object("audit/b", &two, 2)]);
        let new = ("audit/c".to_owned(), Vec::new());
        Bucket([("audit/a".to_owned(), one), ("audit/b".to_owned(), two), new, first, second].into())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_trail_is_verified_and_a_touch_is_named() {
        let mut bucket = bucket();
        let trail = read_and_verify(&bucket).await.expect("read");
        assert_eq!((trail.verified.digests, trail.verified.objects, trail.verified.lines), (2, 2, 3));
        assert_eq!((trail.verified.faults.len(), trail.not_digested_yet), (0, 1));
        bucket.0.insert("audit/b".to_owned(), b"{}\n".to_vec());
        let trail = read_and_verify(&bucket).await.expect("read");
        assert_eq!(trail.verified.faults, [Fault::ObjectEdited { number: 2, key: "audit/b".to_owned() }]);
        bucket.0.remove("digests/0000000001.json");
        assert!(!read_and_verify(&bucket).await.expect("read").verified.faults.is_empty());
    }
}
