//! `export`: what a batch becomes, what a replay changes, what poison stops, and what an hour's
//! digest costs.

mod ocsf;
mod world;

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sealfleet_archive::digest::Digest;
use sealfleet_archive::digest::fault::Kind;
use sealfleet_archive::objects;
use sealfleet_functions::export::re_export::{self, Range};
use sealfleet_functions::export::{self, Done};
use sealfleet_ledger::store::Item;
use sealfleet_test_fakes::archive::signature_of;
use serde_json::{Value, json};
use world::World;

const HOUR: i64 = 3600;

/// What a row holds: that a step was queued.
fn queued(id: &Value, day: &str) -> Value {
    json!([{
        "id": id, "at": format!("{day}T11:59:00.000Z"),
        "actor": "token:tok_00000000-0000-7000-8000-000000000001",
        "events": [{ "type": "step.queued", "step_id": "a" }],
    }])
}

/// A packed attribute, as a stream tells it.
fn packed(value: &Value) -> Value {
    let packed = sealfleet_ledger::pack(value).unwrap();
    json!({ "B": STANDARD.encode(packed) })
}

/// A record of the stream: a step that was queued, in this project and on this day.
fn record(project: &str, day: &str, sequence: u64) -> Value {
    let keys = json!({
        "pk": { "S": format!("PRJ#{project}#{day}#0") },
        "sk": { "S": format!("evt_019c1310-e400-7000-8000-{:012x}", sequence * 8) },
    });
    let mut image = keys.clone();
    image["z"] = packed(&queued(&keys["sk"]["S"], day));
    json!({
        "eventName": "INSERT", "eventSource": "aws:dynamodb", "awsRegion": "eu-west-1", "eventID": "1",
        "eventVersion": "1.1", "eventSourceARN": "arn:aws:dynamodb:eu-west-1:0:table/sealfleet-audit/stream/x",
        "dynamodb": {
            "ApproximateCreationDateTime": 1_769_860_740, "Keys": keys, "NewImage": image,
            "SequenceNumber": format!("{sequence:021}"), "SizeBytes": 400, "StreamViewType": "NEW_IMAGE",
        },
    })
}

fn batch(records: impl IntoIterator<Item = Value>) -> Value {
    json!({ "Records": records.into_iter().collect::<Vec<_>>() })
}

fn again(done: &Done) -> Vec<Option<String>> {
    let Done::Batch(response) = done else {
        panic!("no answer to a batch: {done:?}")
    };
    response
        .batch_item_failures
        .iter()
        .map(|failure| failure.item_identifier.clone())
        .collect()
}

/// Lines of all objects with events.
fn lines(world: &World) -> Vec<Value> {
    let objects = world.objects();
    let events = objects
        .iter()
        .filter(|(key, _)| key.starts_with(objects::EVENTS));
    let contents: Vec<Vec<u8>> = events
        .map(|(key, bytes)| objects::content(key, bytes).unwrap())
        .collect();
    contents
        .iter()
        .flat_map(|content| objects::lines(content))
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

fn sample(name: &str) -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .join("events/export")
        .join(name);
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

#[tokio::test]
async fn entries_of_two_streams_that_count_alike_are_both_exported() {
    let world = World::new();
    let (first, mut other) = (record("a", "2026-01-31", 1), record("a", "2026-01-31", 2));
    other["dynamodb"]["SequenceNumber"] = first["dynamodb"]["SequenceNumber"].clone();
    for record in [&first, &other, &other, &first] {
        assert_eq!(again(&world.send(&batch([record.clone()])).await), []);
    }
    let lines = lines(&world);
    let ids: std::collections::BTreeSet<String> = lines
        .iter()
        .map(|line| line["unmapped"]["event_id"].to_string())
        .collect();
    assert_eq!((lines.len(), ids.len()), (2, 2), "{lines:?}");
    world.digest().await;
    assert!(world.verified().faults.is_empty(), "{:?}", world.verified());
}

#[tokio::test]
async fn each_sample_is_done() {
    let world = World::new();
    assert_eq!(again(&world.send(&sample("batch.json")).await), []);
    let keys: Vec<String> = world.objects().into_keys().collect();
    assert_eq!(keys.len(), 2, "{keys:?}");
    assert!(
        keys.iter()
            .all(|key| key.starts_with("audit/project=") && key.contains("/date=2026-01-31/")),
        "{keys:?}"
    );
    assert_eq!(
        again(&world.send(&sample("refused-unreadable-row.json")).await),
        []
    );
    assert_eq!(
        world
            .objects()
            .keys()
            .filter(|key| key.starts_with("set-aside/"))
            .count(),
        1
    );
    let Done::Digest(made) = world.send(&sample("digest.json")).await else {
        panic!("no digest")
    };
    assert_eq!(
        (made.number, made.objects, made.left),
        (1, world.objects().len(), 0)
    );
    let Done::ReExport(part) = world.send(&sample("re-export.json")).await else {
        panic!("no part")
    };
    assert_eq!((part.entries, part.next), (0, None));
    let samples = [
        "batch.json",
        "digest.json",
        "re-export.json",
        "refused-unreadable-row.json",
    ];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .join("events/export");
    assert_eq!(
        folder.read_dir().unwrap().count(),
        samples.len(),
        "a sample that is not read here"
    );
    for other in [
        json!({}),
        json!({ "Records": 1 }),
        json!({ "re_export": { "project": "A B" } }),
    ] {
        let until = world.now().plus_seconds(100);
        assert!(export::handle(&world.ports, other, until).await.is_err());
    }
}

#[tokio::test]
async fn a_replay_changes_nothing() {
    let event = batch(
        (1..=20).map(|sequence| record(["a", "b"][sequence as usize % 2], "2026-01-31", sequence)),
    );
    let (one, two) = (World::new(), World::new());
    one.send(&event).await;
    let once = one.objects();
    assert_eq!(lines(&one).len(), 20);
    one.digest().await;
    one.send(&event).await;
    assert_eq!(one.objects(), once, "delivered twice");
    two.send(&event).await;
    assert_eq!(two.objects(), once, "made by another");
    // Nothing new: it is digested once.
    one.time_goes_by(HOUR);
    assert_eq!(one.digest().await.objects, 0);
    assert!(
        one.verified().faults.is_empty(),
        "{:?}",
        one.verified().faults
    );
}

#[tokio::test]
async fn a_batch_that_cannot_be_written_comes_again_whole() {
    let world = World::new();
    let event = batch([
        record("a", "2026-01-31", 1),
        record("b", "2026-01-31", 2),
        record("a", "2026-01-31", 3),
    ]);
    world
        .bucket
        .broken
        .lock()
        .unwrap()
        .insert("audit/project=b/".to_owned());
    let first = event["Records"][0]["dynamodb"]["SequenceNumber"]
        .as_str()
        .map(str::to_owned);
    assert_eq!(
        again(&world.send(&event).await),
        [first],
        "the batch's first, so that the same batch comes again"
    );
    world.bucket.broken.lock().unwrap().clear();
    assert_eq!(again(&world.send(&event).await), []);
    assert_eq!(
        (world.objects().len(), lines(&world).len()),
        (2, 3),
        "each event once"
    );
}

#[tokio::test]
async fn a_row_that_expires_is_no_removal() {
    let world = World::new();
    let removed = |sequence: u64, kind: &str, principal: &str| {
        let mut record = record("a", "2026-01-31", sequence);
        record["eventName"] = json!("REMOVE");
        record["dynamodb"]
            .as_object_mut()
            .unwrap()
            .remove("NewImage");
        record["userIdentity"] = json!({ "type": kind, "principalId": principal });
        record
    };
    let expired = removed(1, "Service", "dynamodb.amazonaws.com");
    assert_eq!(again(&world.send(&batch([expired.clone()])).await), []);
    assert!(world.objects().is_empty(), "the archive has it already");
    // Nobody else is taken for DynamoDB, and only a removal expires.
    let mut put = expired;
    put["eventName"] = json!("MODIFY");
    let event = batch([
        removed(2, "Service", "lambda.amazonaws.com"),
        removed(3, "AssumedRole", "dynamodb.amazonaws.com"),
        put,
    ]);
    assert_eq!(again(&world.send(&event).await), []);
    let aside = world.objects();
    assert_eq!(aside.len(), 3, "{aside:#?}");
    assert!(aside.keys().all(|key| key.starts_with("set-aside/")));
}

#[tokio::test]
async fn poison_is_set_aside_and_the_shard_goes_on() {
    let world = World::new();
    let touch = |sequence: u64, touch: &dyn Fn(&mut Value)| {
        let mut record = record("a", "2026-01-31", sequence);
        touch(&mut record);
        record
    };
    let event = batch([
        record("a", "2026-01-31", 1),
        touch(2, &|record| {
            record["dynamodb"]["NewImage"]["z"] = json!({ "S": "canary" })
        }),
        touch(3, &|record| {
            record["dynamodb"]["NewImage"]["z"] = packed(&json!([{ "type": "canary" }]))
        }),
        touch(4, &|record| {
            record["dynamodb"]["Keys"]["pk"] = json!({ "S": "canary key" })
        }),
        touch(5, &|record| {
            record["dynamodb"]["NewImage"] = json!({ "pk": { "S": "canary" } })
        }),
        touch(6, &|record| {
            record["dynamodb"]["NewImage"] = json!("canary")
        }),
        touch(7, &|record| record["eventName"] = json!("MODIFY")),
        touch(8, &|record| record["eventName"] = json!("REMOVE")),
        touch(9, &|record| {
            record["dynamodb"]["SequenceNumber"] = json!(null)
        }),
        json!("canary"),
        record("a", "2026-01-31", 11),
    ]);
    assert_eq!(again(&world.send(&event).await), []);
    // A key that is not the row's own changes nothing of the row.
    assert_eq!(lines(&world).len(), 3);
    let aside: BTreeMap<String, Value> = world
        .objects()
        .into_iter()
        .filter(|(key, _)| key.starts_with("set-aside/"))
        .map(|(key, bytes)| (key, serde_json::from_slice(&bytes).unwrap()))
        .collect();
    assert_eq!(aside.len(), 8, "{aside:#?}");
    let reasons: Vec<&str> = aside
        .values()
        .filter_map(|aside| aside["reason"].as_str())
        .collect();
    for reason in [
        "no_entry",
        "row_replaced",
        "row_removed",
        "no_sequence_number",
        "no_record",
    ] {
        assert!(reasons.contains(&reason), "{reason}: {reasons:?}");
    }
    assert!(
        !format!("{aside:?}").contains("canary"),
        "a value was copied: {aside:#?}"
    );
    let two = aside
        .iter()
        .find(|(key, _)| key.contains("0000000000000000002-"))
        .unwrap();
    assert_eq!(two.1["attributes"], json!(["pk", "sk", "z"]));
    assert_eq!(two.1["key"]["pk"], "PRJ#a#2026-01-31#0");
    // Counted once each, whatever is delivered again.
    world.send(&event).await;
    let counted = world
        .metrics
        .lock()
        .unwrap()
        .iter()
        .filter(|line| line.contains("AuditSetAside"))
        .count();
    assert_eq!(counted, 8);
    assert_eq!(world.digest().await.objects, world.objects().len());
    assert_eq!(
        (world.verified().faults.len(), world.verified().set_aside),
        (0, 8)
    );
    // If it cannot be set aside, the batch comes again.
    world
        .bucket
        .broken
        .lock()
        .unwrap()
        .insert("set-aside/".to_owned());
    assert_eq!(again(&world.send(&event).await).len(), 1);
}

#[tokio::test]
async fn there_is_a_digest_every_hour_even_of_nothing() {
    let world = World::new();
    for number in 1..=5 {
        assert_eq!(world.digest().await.number, number);
        world.time_goes_by(HOUR);
    }
    assert!(world.verified().faults.is_empty());
    assert_eq!(
        world
            .metrics
            .lock()
            .unwrap()
            .iter()
            .filter(|line| line.contains("DigestsWritten"))
            .count(),
        5
    );
    // The last two are cut off.
    for number in [4, 5] {
        world
            .bucket
            .objects
            .lock()
            .unwrap()
            .0
            .retain(|key, _| Digest::number_in(key) != Some(number));
    }
    assert_eq!(
        world
            .verified()
            .faults
            .iter()
            .map(|fault| fault.kind)
            .collect::<Vec<_>>(),
        [Kind::DigestsCut]
    );
}

#[tokio::test]
async fn an_hours_digest_costs_what_is_new_in_it() {
    let world = World::new();
    let mut sequence = 0;
    let mut write = async |day: String, projects: u64| {
        for project in 0..projects {
            sequence += 1;
            world
                .send(&batch([record(&format!("p{project}"), &day, sequence)]))
                .await;
        }
    };
    let mut costs = Vec::new();
    for hour in 0..24 * 40 {
        let now = world.now();
        write(now.day(), if hour % 24 == 0 { 3 } else { 1 }).await;
        world.bucket.called();
        world.digest().await;
        costs.push(world.bucket.called());
        world.time_goes_by(HOUR);
    }
    assert_eq!(world.objects().len(), 24 * 40 + 2 * 40);
    assert!(
        world.verified().faults.is_empty(),
        "{:?}",
        world.verified().faults
    );
    // After a day as after forty: one digest is read, what is new is read, and each trail is listed
    // once.
    let expected = |new: usize| {
        let (find_and_read_the_newest, set_aside, folders, each_project, notes, put) =
            (2, 1, 1, 3, 1, 1);
        find_and_read_the_newest + set_aside + folders + each_project + notes + new + put
    };
    for (hour, calls) in costs.iter().enumerate().skip(24) {
        let new = if hour % 24 == 0 { 3 } else { 1 };
        assert_eq!(calls.len(), expected(new), "hour {hour}: {calls:#?}");
    }
}

#[tokio::test]
async fn two_digests_at_once_do_not_fork_the_chain() {
    let world = World::new();
    world.send(&batch([record("a", "2026-01-31", 1)])).await;
    for wait in [0, HOUR] {
        world.time_goes_by(wait);
        world
            .send(&batch([record("a", "2026-01-31", 2 + u64::from(wait > 0))]))
            .await;
        // Another invocation has put the same digest a moment ago, but of less.
        let before = world.digests();
        let previous = before
            .last()
            .map(|(digest, bytes)| (digest, bytes.as_slice()));
        let theirs = Digest::after(previous, world.now(), Vec::new());
        *world.bucket.faster.lock().unwrap() = Some(world.signed(&theirs));
        let made = world.digest().await;
        assert!(made.overtaken, "{made:?}");
        assert_eq!(world.digests().len(), before.len() + 1, "one of two");
        // What ours would have listed is listed by the next.
        world.time_goes_by(1);
        assert!(!world.digest().await.overtaken);
        let verified = world.verified();
        assert_eq!(
            (verified.faults.len(), verified.not_digested_yet),
            (0, 0),
            "{:?}",
            verified.faults
        );
    }
    // A crash after it was put: the next one follows it.
    world.time_goes_by(HOUR);
    assert_eq!(world.digest().await.number, 5);
    assert!(world.verified().faults.is_empty());
}

#[tokio::test]
async fn what_a_digest_cannot_hold_is_in_its_parts() {
    let world = World::new();
    for sequence in 1..=2100 {
        world
            .send(&batch([record("a", "2026-01-31", sequence)]))
            .await;
        if sequence % 1000 == 0 {
            world.time_goes_by(1);
        }
    }
    let made = world.digest().await;
    assert_eq!((made.number, made.objects, made.left), (1, 2100, 0));
    let verified = world.verified();
    assert_eq!(
        (verified.faults.len(), verified.objects),
        (0, 2100),
        "{:?}",
        verified.faults.first()
    );
    world.time_goes_by(HOUR);
    assert_eq!(world.digest().await.objects, 0);
    let parts: Vec<String> = {
        let objects = world.bucket.objects.lock().unwrap();
        let parts = objects
            .0
            .keys()
            .filter(|key| key.starts_with(objects::DIGEST_PARTS));
        parts.cloned().collect()
    };
    assert_eq!(parts.len(), 2);
    // One is edited, the other is gone.
    {
        let mut objects = world.bucket.objects.lock().unwrap();
        objects.0.get_mut(&parts[0]).unwrap().0.push(b' ');
        objects.0.remove(&parts[1]);
    }
    let verified = world.verified();
    let mut kinds: Vec<Kind> = verified.faults.iter().map(|fault| fault.kind).collect();
    kinds.dedup();
    let expected = [Kind::ObjectInserted, Kind::PartMissing, Kind::PartEdited];
    assert!(
        expected.iter().all(|kind| kinds.contains(kind)),
        "{kinds:?}"
    );
}

/// One trail has far more than there is time for; the others have a little, each hour.
#[tokio::test]
async fn a_trail_with_a_backlog_holds_no_other_back() {
    let world = World::new();
    let mut sequence = 0;
    let mut write = async |project: &str, count: u64| {
        for _ in 0..count {
            sequence += 1;
            let record = record(project, &world.now().day(), sequence);
            world.send(&batch([record])).await;
        }
    };
    world.digest().await;
    write("busy", 3000).await;
    let others = ["quiet", "small", "zoo"];
    for (hour, other) in others.into_iter().enumerate() {
        world.time_goes_by(HOUR);
        write(other, 2).await;
        world.reading_takes(20);
        // Time for some 500 objects.
        let made = world.digest_within(10).await;
        world.reading_takes(0);
        assert!((300..800).contains(&made.objects), "hour {hour}: {made:?}");
        assert!(made.left > 500, "{made:?}");
        let (newest, _) = world.digests().pop().unwrap();
        let behind: Vec<&String> = newest.behind.keys().collect();
        assert_eq!(behind, ["audit/project=busy/"], "hour {hour}");
        let verified = world.verified();
        assert!(verified.faults.is_empty(), "{:?}", verified.faults.first());
    }
    // Minutes later the next ones go on, until nothing is left.
    let mut digests = 0;
    loop {
        world.time_goes_by(300);
        world.reading_takes(20);
        let made = world.go_on(10).await;
        world.reading_takes(0);
        if made.objects == 0 {
            break;
        }
        digests += 1;
        assert!(digests < 20, "{made:?}");
    }
    assert!(digests > 1, "the first has done it all");
    let verified = world.verified();
    assert_eq!(
        (verified.faults.len(), verified.objects, verified.doubles),
        (0, 3006, 0),
        "{:?}",
        verified.faults.first()
    );
    let number = world.digests().len();
    assert_eq!(world.go_on(10).await.objects, 0);
    assert_eq!(
        world.digests().len(),
        number,
        "nothing is left, so none is made"
    );
}

#[tokio::test]
async fn late_rows_are_digested() {
    let world = World::new();
    for hour in 0..60 {
        // Always a day late, as late as a stream can be.
        let now = world.now();
        world
            .send(&batch([record(
                "a",
                &now.plus_seconds(-24 * HOUR).day(),
                hour + 1,
            )]))
            .await;
        assert_eq!(world.digest().await.objects, 1, "hour {hour}");
        world.time_goes_by(HOUR);
    }
    // Export did not run for a week.
    world.time_goes_by(7 * 24 * HOUR);
    world
        .send(&batch([record("a", &world.now().day(), 100)]))
        .await;
    assert_eq!(
        world.digest().await,
        export::digest::Made {
            number: 61,
            objects: 1,
            left: 0,
            overtaken: false
        }
    );
    assert!(world.verified().faults.is_empty());
}

#[tokio::test]
async fn a_range_is_exported_again_part_by_part() {
    let world = World::new();
    for (number, (day, rows)) in [("2025-06-01", 1100_u64), ("2025-06-29", 10)]
        .iter()
        .enumerate()
    {
        for row in 0..*rows {
            let record = record("a", day, row + 1);
            let mut row = Item::new();
            let made_at = sealfleet_domain::Timestamp::parse(&format!("{day}T08:00:00Z"))
                .unwrap()
                .millis();
            let id = record["dynamodb"]["Keys"]["sk"]["S"].as_str().unwrap();
            let sk = format!(
                "evt_{:08x}-{:04x}{}",
                made_at >> 16,
                made_at & 0xffff,
                &id[17..]
            );
            let pk = format!("PRJ#a#{day}#0");
            row.insert(
                "pk".to_owned(),
                aws_sdk_dynamodb::types::AttributeValue::S(pk),
            );
            row.insert(
                "sk".to_owned(),
                aws_sdk_dynamodb::types::AttributeValue::S(sk.clone()),
            );
            if number == 0 || !sk.ends_with("0008") {
                let packed = sealfleet_ledger::pack(&queued(&json!(sk), day)).unwrap();
                let packed = aws_sdk_dynamodb::types::AttributeValue::B(packed.into());
                row.insert("z".to_owned(), packed);
            }
            world.put(row);
        }
    }
    world.digest().await;
    world.time_goes_by(HOUR);
    let range = |next| Range {
        project: "a".to_owned(),
        from: sealfleet_domain::Timestamp::parse("2025-05-31T00:00:00Z").unwrap(),
        to: sealfleet_domain::Timestamp::parse("2025-07-05T00:00:00Z").unwrap(),
        next,
    };
    let (mut next, mut parts): (Option<re_export::Place>, Vec<re_export::Part>) =
        (None, Vec::new());
    loop {
        let until = world.now().plus_seconds(100);
        let part = re_export::part(&world.ports, &range(next.take()), until)
            .await
            .unwrap();
        assert!(part.objects <= 3, "{part:?}");
        next.clone_from(&part.next);
        parts.push(part);
        if next.is_none() {
            break;
        }
    }
    assert_eq!(
        parts.iter().map(|part| part.objects).collect::<Vec<_>>(),
        [3, 1],
        "500, 500 and 100 rows; then the 9"
    );
    assert_eq!(parts.iter().map(|part| part.set_aside).sum::<usize>(), 1);
    let ids: std::collections::BTreeSet<String> = lines(&world)
        .iter()
        .map(|line| line["metadata"]["uid"].to_string())
        .collect();
    assert_eq!((lines(&world).len(), ids.len()), (1109, 1109));
    // Digested, although their days are long closed; and the same objects when asked again.
    let verified = world.verified();
    assert_eq!(
        (
            verified.faults.len(),
            verified.lines,
            verified.not_digested_yet
        ),
        (0, 1110, 0),
        "{:?}",
        verified.faults
    );
    let once = world.objects();
    let until = world.now().plus_seconds(100);
    re_export::part(&world.ports, &range(None), until)
        .await
        .unwrap();
    assert_eq!(world.objects(), once);
}

impl World {
    /// The digests, oldest first, with their stored bytes.
    fn digests(&self) -> Vec<(Digest, Vec<u8>)> {
        let objects = self.bucket.objects.lock().unwrap();
        let digests = objects
            .0
            .iter()
            .filter(|(key, _)| key.starts_with(objects::DIGESTS));
        digests
            .map(|(_, (bytes, _))| (Digest::read(bytes).unwrap().0, bytes.clone()))
            .collect()
    }

    /// A digest as it is stored.
    fn signed(&self, digest: &Digest) -> Vec<u8> {
        let statement = digest.statement().unwrap();
        let signature = signature_of(<sha2::Sha256 as sha2::Digest>::digest(&statement).into());
        Digest::stored(statement, &signature).unwrap()
    }
}
