//! The archive of the audit trail in S3: verifies it, in its bucket or as a copy, and exports parts
//! of it again.
//!
//! Nothing here calls the control plane. An auditor verifies a copy with the public key alone. An
//! operator reads the bucket and invokes `export` with their own AWS credentials.

mod public_key;

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures_util::stream::{self, StreamExt as _};
use sealfleet_archive::digest::verify::{
    Chain, Expected, StoredDigest, Tally, Verified, is_digested,
};
use sealfleet_archive::objects::{DIGESTS, EVENTS, SET_ASIDE};
use sealfleet_aws::objects::{Objects as _, S3};
use sealfleet_aws::signing::Kms;
use sealfleet_aws_json::lambda::Lambda;
use sealfleet_domain::cause::chain;
use sealfleet_domain::scope::OPERATOR_SCOPE;
use sealfleet_domain::{Clock as _, ProjectId, Timestamp};
use sealfleet_system::SystemClock;
use serde_json::{Value, json};

use super::aws;
use super::failure::Failure;
use super::output::{Output, answer, lines, or_dash};
use public_key::PublicKey;

/// How many objects are read at the same time.
const AT_ONCE: usize = 16;

#[derive(Args)]
pub struct Verify {
    /// Audit bucket, read with your own AWS credentials
    #[arg(
        long,
        env = "SEALFLEET_AUDIT_BUCKET",
        required_unless_present = "directory"
    )]
    bucket: Option<String>,
    /// Directory with a copy of the bucket, made by `aws s3 sync`; needs no AWS
    #[arg(long, value_name = "DIR", requires = "public_keys")]
    directory: Option<PathBuf>,
    /// File with the public key of the digests' signatures, in PEM or in the base64 that KMS
    /// answers; repeat if the key was changed [default: asks KMS]
    #[arg(long = "public-key", id = "public_keys", value_name = "FILE")]
    public_keys: Vec<PathBuf>,
    /// KMS key that signs digests
    #[arg(long, value_name = "KEY", default_value = "alias/sealfleet-digest")]
    kms_key: String,
    /// Digest that an earlier `verify` printed as the newest; fails if it is missing now
    #[arg(long, value_name = "NUMBER:SHA256")]
    expect: Option<Expected>,
    /// Time of the copy, if it is not current; fails unless a digest of the hour before exists
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    as_of: Option<Timestamp>,
    /// Compare only objects of digests that end at this time or later; the whole chain of digests
    /// is checked anyway
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    since: Option<Timestamp>,
}

#[derive(Args)]
pub struct ReExport {
    /// Project whose trail to export; `~system` is the operators' own trail
    #[arg(long, value_parser = trail)]
    project: String,
    /// Start of the range: `2026-01-31T08:00:00Z`
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    from: Timestamp,
    /// End of the range
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    to: Timestamp,
    /// Name of the export function
    #[arg(long, value_name = "NAME", default_value = "sealfleet-export")]
    function: String,
}

fn trail(text: &str) -> Result<String, String> {
    if text != OPERATOR_SCOPE {
        text.parse::<ProjectId>()
            .map_err(|error| error.to_string())?;
    }
    Ok(text.to_owned())
}

/// Verifies the archive and prints the result.
pub(super) async fn verify(options: Verify, output: Output) -> Result<(), Failure> {
    let Verify {
        bucket,
        directory,
        public_keys,
        kms_key,
        expect,
        as_of,
        since,
    } = options;
    let source = match (directory, bucket) {
        (Some(directory), _) => Source::Directory(directory),
        (None, Some(bucket)) => Source::Bucket(S3::new(&aws::config().await?, bucket)),
        (None, None) => {
            return Err(Failure::Usage(
                "give `--bucket` or `--directory`".to_owned(),
            ));
        }
    };
    let keys = if public_keys.is_empty() {
        let key = Kms::new(&aws::config().await?, kms_key).public_key().await;
        vec![PublicKey::of_der(&key.map_err(Failure::other)?).map_err(Failure::other)?]
    } else {
        let read = public_keys
            .iter()
            .map(|file| PublicKey::read(file).map_err(Failure::Usage));
        read.collect::<Result<_, _>>()?
    };
    let as_of = as_of.unwrap_or_else(|| SystemClock.now());
    let verified = verify_source(&Arc::new(source), keys, expect.as_ref(), as_of, since).await?;
    answer(output, &verified, || {
        let mut text = lines([
            ("digests", verified.digests.to_string()),
            ("objects", verified.objects.to_string()),
            ("lines", verified.lines.to_string()),
            ("doubles", verified.doubles.to_string()),
            ("set aside", verified.set_aside.to_string()),
            ("not digested yet", verified.not_digested_yet.to_string()),
            ("newest digest", or_dash(verified.newest.as_ref())),
            ("it ends at", or_dash(verified.newest_to)),
        ]);
        for fault in &verified.faults {
            text += &format!("FAULT  {fault}\n");
        }
        text
    })?;
    match verified.faults.len() {
        0 => Ok(()),
        1 => Err(Failure::Other("the archive has a fault".to_owned())),
        faults => Err(Failure::Other(format!("the archive has {faults} faults"))),
    }
}

/// Verifies the archive in a bucket by the public key that KMS has, and compares only objects of
/// digests that end at `since` or later.
pub(super) async fn verified(
    config: &aws_config::SdkConfig,
    bucket: &str,
    kms_key: String,
    since: Timestamp,
) -> Result<Verified, Failure> {
    let source = Arc::new(Source::Bucket(S3::new(config, bucket.to_owned())));
    let key = Kms::new(config, kms_key).public_key().await;
    let key = PublicKey::of_der(&key.map_err(Failure::other)?).map_err(Failure::other)?;
    verify_source(&source, vec![key], None, SystemClock.now(), Some(since)).await
}

async fn verify_source(
    source: &Arc<Source>,
    keys: Vec<PublicKey>,
    expected: Option<&Expected>,
    as_of: Timestamp,
    since: Option<Timestamp>,
) -> Result<Verified, Failure> {
    // List objects before digests, so that an object written while this runs is not compared with
    // older digests.
    let mut present: BTreeSet<String> = source.list(EVENTS).await?.into_iter().collect();
    present.extend(source.list(SET_ASIDE).await?);
    let stored = read_digests(source, source.list(DIGESTS).await?).await?;
    let signed =
        |statement: &[u8], signature: &_| keys.iter().any(|key| key.signed(statement, signature));
    let chain = Chain::of(&stored, signed, expected, as_of);
    drop(stored);
    let parts = read_digests(source, chain.parts().map(str::to_owned).collect()).await?;
    let chain = Arc::new(chain.with_parts(&parts));
    drop(parts);
    let mut tally = Tally::new(&chain);
    let listed: Vec<_> = chain
        .objects(since)
        .map(|(digest, object)| (digest, object.clone()))
        .collect();
    let examined = listed.into_iter().map(|(digest, object)| {
        let (source, chain) = (Arc::clone(source), Arc::clone(&chain));
        async move {
            let bytes = source.get(&object.key).await?;
            let examine = move || chain.examine(digest, &object, bytes.as_deref());
            tokio::task::spawn_blocking(examine)
                .await
                .map_err(Failure::other)
        }
    });
    let mut examined = stream::iter(examined).buffered(AT_ONCE);
    while let Some(examined) = examined.next().await {
        tally.examined(examined?);
    }
    for key in present
        .iter()
        .filter(|key| is_digested(key) && !chain.lists(key))
    {
        if let Some(bytes) = source.get(key).await? {
            tally.fresh(chain.fresh(key, &bytes));
        }
    }
    Ok(tally.done())
}

/// Reads digests, or their parts. One that is gone counts as unreadable.
async fn read_digests(source: &Source, keys: Vec<String>) -> Result<Vec<StoredDigest>, Failure> {
    let read = keys.into_iter().map(|key| async {
        let bytes = source.get(&key).await?.unwrap_or_default();
        Ok::<_, Failure>(StoredDigest { key, bytes })
    });
    let read: Vec<Result<StoredDigest, Failure>> =
        stream::iter(read).buffered(AT_ONCE).collect().await;
    read.into_iter().collect()
}

enum Source {
    Bucket(S3),
    Directory(PathBuf),
}

impl Source {
    /// All keys with a prefix, in order.
    async fn list(&self, prefix: &str) -> Result<Vec<String>, Failure> {
        match self {
            Self::Bucket(bucket) => {
                let listed = bucket.list(prefix, None).await.map_err(Failure::other)?;
                Ok(listed.into_iter().map(|object| object.key).collect())
            }
            Self::Directory(root) => {
                let mut keys = Vec::new();
                files(root, &root.join(prefix), &mut keys)
                    .map_err(|error| Failure::Usage(format!("`{}`: {error}", root.display())))?;
                keys.sort();
                Ok(keys)
            }
        }
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Failure> {
        match self {
            Self::Bucket(bucket) => bucket.get(key).await.map_err(Failure::other),
            Self::Directory(root) => {
                // A forged digest must not make this read files outside of the copy.
                if !Path::new(key)
                    .components()
                    .all(|part| matches!(part, Component::Normal(_)))
                {
                    return Ok(None);
                }
                match std::fs::read(root.join(key)) {
                    Ok(bytes) => Ok(Some(bytes)),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(Failure::other(format!("`{key}`: {error}"))),
                }
            }
        }
    }
}

/// Collects the keys of the files in a folder. Succeeds if the folder does not exist.
fn files(root: &Path, folder: &Path, keys: &mut Vec<String>) -> std::io::Result<()> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error)
            if error.kind() == std::io::ErrorKind::NotFound && folder != root && root.is_dir() =>
        {
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            files(root, &path, keys)?;
        } else if let Some(key) = path.strip_prefix(root).ok().and_then(Path::to_str) {
            keys.push(key.to_owned());
        }
    }
    Ok(())
}

/// Invokes `export` for a range, part by part.
pub(super) async fn re_export(range: ReExport, output: Output) -> Result<(), Failure> {
    let ReExport {
        project,
        from,
        to,
        function,
    } = range;
    if to < from {
        return Err(Failure::Usage("`--from` must be before `--to`".to_owned()));
    }
    let config = aws::config().await?;
    // A part takes as long as the function may.
    let patient = aws_config::timeout::TimeoutConfig::builder()
        .operation_attempt_timeout(Duration::from_secs(130))
        .operation_timeout(Duration::from_secs(400))
        .build();
    let config = config.into_builder().timeout_config(patient).build();
    let lambda = Lambda::new(&config).map_err(|error| Failure::other(chain(&error)))?;
    let mut sums = [("entries", 0), ("objects", 0), ("set_aside", 0)];
    let mut next = Value::Null;
    loop {
        let event =
            json!({ "re_export": { "project": project, "from": from, "to": to, "next": next } });
        let invoked = lambda.invoke(&function, &event).await;
        let invoked = invoked.map_err(|error| Failure::other(chain(&error)))?;
        let part: Value = serde_json::from_slice(&invoked.payload).map_err(Failure::other)?;
        if invoked.function_error.is_some() {
            let why = part
                .get("errorMessage")
                .and_then(Value::as_str)
                .unwrap_or("it does not say why");
            return Err(Failure::Other(format!(
                "`{function}` failed: {why}; run this again to do what is left"
            )));
        }
        for (name, sum) in &mut sums {
            *sum += part.get(*name).and_then(Value::as_u64).unwrap_or_default();
        }
        next = part.get("next").cloned().unwrap_or_default();
        if next.is_null() {
            break;
        }
    }
    let report: serde_json::Map<String, Value> = sums
        .iter()
        .map(|(name, sum)| ((*name).to_owned(), json!(sum)))
        .collect();
    answer(output, &report, || {
        let [(_, entries), (_, objects), (_, set_aside)] = sums;
        lines([
            ("entries", entries.to_string()),
            ("objects", objects.to_string()),
            ("set aside", set_aside.to_string()),
        ])
    })
}
