//! How fast `export` writes the archive and its digest. S3 and KMS are played by this program: the
//! figures are the work of the function with HTTP on the loopback interface.

use std::time::Instant;

use sealfleet_test_stack::{Outcome, ensure};
use serde_json::{Value, json};

use crate::costs::count;
use crate::figures::Figures;
use crate::world::World;

/// Rows of one batch, as the template sets it.
const BATCH: usize = 500;
/// Of each row.
const EVENTS: usize = 2;

pub async fn measure(figures: &mut Figures, world: &World, batches: usize) -> Outcome {
    let function = world.function("export").await?;
    let events: Vec<Value> = (0..batches).map(batch).collect();
    let before = Instant::now();
    for event in &events {
        let answer = function.invoke(event).await?;
        let failed = answer["batchItemFailures"] != json!([]);
        ensure!(!failed, "a batch was not exported: {answer}");
    }
    figures.add(
        "export: events, in batches of 500 rows of 8 shards",
        count(EVENTS * BATCH * batches) / before.elapsed().as_secs_f64(),
        "events/s",
    );
    let (objects, before) = (world.objects(), Instant::now());
    let made = function.invoke(&json!({ "digest": "due" })).await?;
    let complete = made["objects"] == objects && made["left"] == 0;
    ensure!(complete, "not all is digested: {made}");
    figures.add(
        "digest: objects read, hashed, listed and signed",
        count(objects) / before.elapsed().as_secs_f64(),
        "objects/s",
    );
    Ok(())
}

/// A batch of the stream: claims with their releases, of runs in all shards.
fn batch(number: usize) -> Value {
    let record = |row: usize| {
        let sequence = number * BATCH + row;
        let run = format!("run_019c1310-e400-7000-8000-{sequence:012x}");
        let worker = "wrk_019c1310-e400-7000-8000-000000000004";
        let keys = json!({
            "pk": { "S": format!("PRJ#healthcare#2026-01-31#{}", sequence % 8) },
            "sk": { "S": format!("evt_019c1310-e400-7000-8000-{sequence:012x}") },
        });
        let mut image = keys.clone();
        image["at"] = json!({ "S": "2026-01-31T08:00:00.000Z" });
        image["actor"] = json!({ "S": format!("worker:{worker}") });
        image["run_id"] = json!({ "S": run });
        image["events"] = json!({ "L": [
            { "M": {
                "type": { "S": "step.leased" }, "step_id": { "S": "fetch" }, "fence": { "N": "1" },
                "worker_id": { "S": worker }, "mode": { "S": "identity" },
            } },
            { "M": {
                "type": { "S": "secret.released" }, "step_id": { "S": "fetch" }, "fence": { "N": "1" },
                "secrets": { "L": [{ "M": {
                    "name": { "S": "CRM_API_KEY" }, "from": { "S": "crm" },
                    "uri": { "S": "aws-sm://sealfleet/healthcare/crm#api-key" },
                    "version": { "S": "019c1310-e400-7000-8000-000000000007" },
                } }] },
            } },
        ] });
        json!({
            "eventID": sequence.to_string(), "eventName": "INSERT", "eventVersion": "1.1",
            "awsRegion": "us-east-1", "eventSource": "aws:dynamodb",
            "eventSourceARN": "arn:aws:dynamodb:us-east-1:000000000000:table/sealfleet-audit/stream/x",
            "dynamodb": {
                "ApproximateCreationDateTime": 1_769_846_400, "Keys": keys, "NewImage": image,
                "SequenceNumber": format!("{:021}", sequence + 1), "SizeBytes": 400,
                "StreamViewType": "NEW_IMAGE",
            },
        })
    };
    json!({ "Records": (0..BATCH).map(record).collect::<Vec<_>>() })
}
