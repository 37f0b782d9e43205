//! The archive of the audit trail: how fast the release binary exports and digests, and how fast
//! the command line verifies.
//!
//! S3 and KMS are played by this program: what is measured is the work of the function, with its
//! HTTP calls on the loopback interface. The command line is the development build, which is
//! several times slower than a release.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Instant;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sealfleet_archive::objects;
use sealfleet_test_stack::{Failure, Outcome, ensure};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::Plan;
use crate::figures::Figures;
use crate::world::World;

/// Rows of one batch, as the template sets it.
const BATCH: usize = 500;
const MIB: f64 = 1024.0 * 1024.0;

/// Exports batches, digests them, and verifies the copy.
///
/// # Errors
/// When something is not exported, or does not verify.
pub async fn measure(figures: &mut Figures, world: &World, plan: &Plan) -> Outcome {
    let batches = plan.batches;
    let function = world.function("export").await?;
    let events: Vec<Value> = (0..batches).map(batch).collect();
    let sent: usize = events.iter().map(|event| event.to_string().len()).sum();
    let before = Instant::now();
    for event in &events {
        let answer = function.invoke(event).await?;
        ensure!(
            answer["batchItemFailures"] == json!([]),
            "a batch was not exported: {answer}"
        );
    }
    let took = before.elapsed().as_secs_f64();
    let objects = world.store().objects();
    let mut lines = 0;
    let mut unpacked = 0;
    for (key, bytes) in &objects {
        let content = objects::content(key, bytes)?;
        lines += objects::lines(&content).count();
        unpacked += content.len();
    }
    ensure!(lines == 2 * BATCH * batches, "{lines} events were exported");
    figures.add(
        "export: events, in batches of 500 rows of 8 shards",
        count(lines) / took,
        "events/s",
    );
    figures.add("export: of the stream", count(sent) / took / MIB, "MiB/s");
    figures.add(
        "export: of OCSF lines, before gzip",
        count(unpacked) / took / MIB,
        "MiB/s",
    );
    figures.add(
        "export: bytes of an event in S3",
        count(objects.values().map(|bytes| bytes.len()).sum()) / count(lines),
        "bytes",
    );

    let before = Instant::now();
    let made = function.invoke(&json!({ "digest": "due" })).await?;
    let took = before.elapsed().as_secs_f64();
    ensure!(
        made["objects"] == objects.len() && made["left"] == 0,
        "not all is digested: {made}"
    );
    figures.add(
        "digest: objects read, hashed, listed and signed",
        count(objects.len()) / took,
        "objects/s",
    );
    let stored = world.store().objects();
    let before = Instant::now();
    function.invoke(&json!({ "digest": "due" })).await?;
    figures.add(
        "digest: of nothing",
        before.elapsed().as_secs_f64() * 1000.0,
        "ms",
    );

    let copy = std::env::temp_dir().join(format!("sealfleet-bench-archive-{}", std::process::id()));
    for (key, bytes) in stored {
        let file = copy.join(&key);
        std::fs::create_dir_all(file.parent().unwrap_or(&copy))?;
        let bytes = if key.starts_with(objects::DIGESTS) {
            world.store().signed(&bytes)?
        } else {
            bytes.to_vec()
        };
        std::fs::write(file, bytes)?;
    }
    let key = copy.join("key.pub");
    std::fs::write(&key, BASE64_STANDARD.encode(world.store().public_key()))?;
    let before = Instant::now();
    let mut verify = Command::new(command_line()?);
    verify
        .env_clear()
        .args(["audit", "verify", "--output", "json", "--directory"])
        .arg(&copy);
    let output = verify
        .arg("--public-key")
        .arg(&key)
        .stdin(Stdio::null())
        .output()
        .await?;
    let took = before.elapsed().as_secs_f64();
    std::fs::remove_dir_all(&copy)?;
    let verified: Value = serde_json::from_slice(&output.stdout)?;
    let faults = verified["faults"].as_array().map_or(1, Vec::len);
    ensure!(
        faults == 0 && verified["lines"] == lines,
        "the archive does not verify: {verified}"
    );
    figures.add(
        "verify (development build): objects",
        count(objects.len()) / took,
        "objects/s",
    );
    figures.add(
        "verify (development build): of lines",
        count(unpacked) / took / MIB,
        "MiB/s",
    );
    Ok(())
}

/// `sealfleet`, beside this program.
fn command_line() -> Outcome<PathBuf> {
    let own = std::env::current_exe()?;
    let found = own
        .parent()
        .map(|directory| directory.join("sealfleet"))
        .filter(|file| file.is_file());
    found.ok_or_else(|| {
        Failure::new("there is no `sealfleet` beside the benchmark: run `cargo build` first")
    })
}

/// A batch of the stream: claims with their releases, of runs in all shards.
fn batch(number: usize) -> Value {
    let record = |row: usize| {
        let sequence = number * BATCH + row;
        let run = format!("run_019c1310-e400-7000-8000-{sequence:012x}");
        let uri = "aws-sm://sealfleet/healthcare/crm#api-key";
        let keys = json!({
            "pk": { "S": format!("PRJ#healthcare#2026-01-31#{}", sequence % 8) },
            "sk": { "S": format!("evt_019c1310-e400-7000-8000-{sequence:012x}") },
        });
        let mut image = keys.clone();
        image["at"] = json!({ "S": "2026-01-31T08:00:00.000Z" });
        image["actor"] = json!({ "S": "worker:wrk_019c1310-e400-7000-8000-000000000004" });
        image["run_id"] = json!({ "S": run });
        image["events"] = json!({ "L": [
            { "M": {
                "type": { "S": "step.leased" }, "step_id": { "S": "fetch" }, "fence": { "N": "1" },
                "worker_id": { "S": "wrk_019c1310-e400-7000-8000-000000000004" }, "mode": { "S": "identity" },
            } },
            { "M": {
                "type": { "S": "secret.released" }, "step_id": { "S": "fetch" }, "fence": { "N": "1" },
                "secrets": { "L": [{ "M": {
                    "name": { "S": "CRM_API_KEY" }, "uri": { "S": uri }, "from": { "S": "crm" },
                    "version": { "S": "019c1310-e400-7000-8000-000000000007" },
                } }] },
            } },
        ] });
        json!({
            "eventID": sequence.to_string(), "eventName": "INSERT", "eventVersion": "1.1", "awsRegion": "us-east-1",
            "eventSource": "aws:dynamodb",
            "eventSourceARN": "arn:aws:dynamodb:us-east-1:000000000000:table/sealfleet-audit/stream/x",
            "dynamodb": {
                "ApproximateCreationDateTime": 1_769_846_400, "Keys": keys, "NewImage": image,
                "SequenceNumber": format!("{:021}", sequence + 1), "SizeBytes": 400, "StreamViewType": "NEW_IMAGE",
            },
        })
    };
    json!({ "Records": (0..BATCH).map(record).collect::<Vec<_>>() })
}

#[expect(clippy::cast_precision_loss, reason = "counts and bytes")]
fn count(number: usize) -> f64 {
    number as f64
}
