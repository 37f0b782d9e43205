//! How fast `export` writes the archive and its digest. S3 and KMS are played by this program: the
//! figures are the work of the function with HTTP on the loopback interface.

use std::time::Instant;

use sealfleet_test_stack::trail::packed;
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
    let events = (0..batches).map(batch).collect::<Outcome<Vec<Value>>>()?;
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

const WORKER: &str = "wrk_019c1310-e400-7000-8000-000000000004";

/// A batch of the stream: claims with their releases, of runs in all shards.
fn batch(number: usize) -> Outcome<Value> {
    let events = json!([
        {
            "type": "step.leased", "step_id": "fetch", "fence": 1, "worker_id": WORKER, "mode": "identity",
        },
        {
            "type": "secret.released", "step_id": "fetch", "fence": 1,
            "secrets": [{
                "name": "CRM_API_KEY", "from": "crm", "uri": "aws-sm://sealfleet/healthcare/crm#api-key",
                "version": "019c1310-e400-7000-8000-000000000007",
            }],
        },
    ]);
    let record = |row: usize| {
        let sequence = number * BATCH + row;
        let run = format!("run_019c1310-e400-7000-8000-{sequence:012x}");
        let keys = json!({
            "pk": { "S": format!("PRJ#healthcare#2026-01-31#{}", sequence % 8) },
            "sk": { "S": format!("evt_019c1310-e400-7000-8000-{sequence:012x}") },
        });
        let mut image = keys.clone();
        image["z"] = packed(&json!([{
            "id": keys["sk"]["S"], "at": "2026-01-31T08:00:00.000Z", "actor": format!("worker:{WORKER}"),
            "run": run, "events": events,
        }]))?;
        Ok(json!({
            "eventID": sequence.to_string(), "eventName": "INSERT", "eventVersion": "1.1",
            "awsRegion": "us-east-1", "eventSource": "aws:dynamodb",
            "eventSourceARN": "arn:aws:dynamodb:us-east-1:000000000000:table/sealfleet-audit/stream/x",
            "dynamodb": {
                "ApproximateCreationDateTime": 1_769_846_400, "Keys": keys, "NewImage": image,
                "SequenceNumber": format!("{:021}", sequence + 1), "SizeBytes": 400,
                "StreamViewType": "NEW_IMAGE",
            },
        }))
    };
    let records = (0..BATCH).map(record).collect::<Outcome<Vec<Value>>>()?;
    Ok(json!({ "Records": records }))
}
