//! The archive of the audit trail in S3: any touch is named, a replay changes nothing, poison stops
//! nothing.

use std::time::Duration;

use sealfleet_archive::digest::Digest;
use sealfleet_domain::Timestamp;
use sealfleet_test_stack::api::text;
use sealfleet_test_stack::aws::Service;
use sealfleet_test_stack::project::{run_of, step};
use sealfleet_test_stack::trail::{Archive, Verified, packed, public_key};
use sealfleet_test_stack::{Failure, Outcome, Project, Stack, ensure, ensure_eq, eventually};
use serde_json::{Value, json};

const EXPORTED: Duration = Duration::from_secs(90);

/// 58. Edit, delete middle, delete tail, delete all, reorder, insert -> verify names position and
///     kind.
pub async fn s58_any_touch_of_the_archive_is_named(stack: &Stack) -> Outcome {
    let project = stack.project("fiftyeight").await?;
    for _ in 0..3 {
        // Cancelled at once: one entry with an event for each step, so that lines can be touched.
        let steps: Vec<Value> = ["a", "b", "c", "d", "e", "f"]
            .map(|id| step(id, &json!({ "pool": "gpu" })))
            .into();
        let run = project.enqueue(&run_of(&steps)).await?;
        project.cancel(&run).await?;
        exported(stack, &project).await?;
        stack.digest().await?;
    }
    let archive = Archive::read(stack).await?;
    let untouched = archive.verified(stack).await?;
    ensure!(
        untouched.faults.is_empty(),
        "untouched: {:?}",
        untouched.faults
    );
    ensure!(
        untouched.digests >= 3 && untouched.objects >= 3 && untouched.lines >= 21,
        "too little: {untouched:?}"
    );

    let mut ours = Vec::new();
    for (digest, key) in archive.digested() {
        if key.contains(&project.id) && archive.lines_of(&key)?.len() >= 7 {
            ours.push((digest, key));
        }
    }
    let [(first, one), .., (last, other)] = ours.as_slice() else {
        return Err(Failure::new(format!("too few objects: {ours:?}")));
    };
    ensure!(first < last, "both objects are in one digest");
    let lines = archive.lines_of(one)?;
    let in_lines = |kind: &str, line: usize, count: usize| {
        vec![json!({ "kind": kind, "digest": first, "object": one, "line": line, "count": count })]
    };
    let with_lines = |touch: &dyn Fn(&mut Vec<String>)| {
        let (mut touched, mut lines) = (archive.clone(), lines.clone());
        touch(&mut lines);
        touched.put_lines(one, &lines).map(|()| touched)
    };
    let length = lines.len();
    for (touched, faults) in [
        (
            with_lines(&|lines| lines.get_mut(2).into_iter().for_each(|line| line.push(' ')))?,
            in_lines("line_edited", 3, 1),
        ),
        (
            with_lines(&|lines| drop(lines.drain(1..3)))?,
            in_lines("line_deleted", 2, 2),
        ),
        (
            with_lines(&|lines| lines.truncate(4))?,
            in_lines("tail_deleted", 5, length - 4),
        ),
        (
            with_lines(&Vec::clear)?,
            in_lines("tail_deleted", 1, length),
        ),
        (
            with_lines(&|lines| lines.swap(1, 3))?,
            in_lines("lines_reordered", 2, 3),
        ),
        (
            with_lines(&|lines| lines.insert(3, "{}".to_owned()))?,
            in_lines("line_inserted", 4, 1),
        ),
    ] {
        expect(stack, &touched, &faults).await?;
    }

    let touched = |touch: &dyn Fn(&mut Archive)| {
        let mut touched = archive.clone();
        touch(&mut touched);
        touched
    };
    let gone = touched(&|archive| drop(archive.objects.remove(one)));
    expect(
        stack,
        &gone,
        &[json!({ "kind": "object_missing", "digest": first, "object": one })],
    )
    .await?;
    let cut = touched(&|archive| {
        archive
            .objects
            .get_mut(one)
            .into_iter()
            .for_each(|bytes| bytes.truncate(40))
    });
    expect(
        stack,
        &cut,
        &[json!({ "kind": "object_unreadable", "digest": first, "object": one })],
    )
    .await?;
    let swapped = touched(&|archive| {
        let (a, b) = (archive.objects.remove(one), archive.objects.remove(other));
        archive
            .objects
            .extend(a.map(|bytes| (other.clone(), bytes)));
        archive.objects.extend(b.map(|bytes| (one.clone(), bytes)));
    });
    let swaps = [(first, one), (last, other)];
    let swaps = swaps
        .map(|(digest, key)| json!({ "kind": "object_swapped", "digest": digest, "object": key }));
    expect(stack, &swapped, &swaps).await?;
    // Under a place that is digested, and under one that is not but whose time is.
    let span = one.rfind("-00").unwrap_or_default();
    let before = format!(
        "{}-{:0>40}.jsonl.gz",
        one.get(..span).unwrap_or_default(),
        1
    );
    let later = one.replacen("-00", "-99", 2);
    for (key, old) in [(before, false), (later, true)] {
        let mut inserted = archive.clone();
        let mut content = lines.clone();
        if old {
            content = vec![json!({ "time": 1_769_846_400_000_i64 }).to_string()];
        }
        inserted.put_lines(&key, &content)?;
        expect(
            stack,
            &inserted,
            &[json!({ "kind": "object_inserted", "object": key })],
        )
        .await?;
    }
    digests_are_named(stack, &archive, &untouched).await
}

/// The same for the digests.
async fn digests_are_named(stack: &Stack, archive: &Archive, untouched: &Verified) -> Outcome {
    let keys: Vec<&String> = archive.digests.keys().collect();
    let number = |key: &str| Digest::number_in(key).unwrap_or_default();
    let [.., (before, _), (middle, bytes), _] = archive.digests.iter().collect::<Vec<_>>()[..]
    else {
        return Err(Failure::new(format!("too few digests: {keys:?}")));
    };
    let newest = untouched.newest.clone().unwrap_or_default();
    let touched = |touch: &dyn Fn(&mut Archive)| {
        let mut touched = archive.clone();
        touch(&mut touched);
        touched
    };
    // One letter of what it says.
    let text = String::from_utf8_lossy(bytes).replacen("\"lines\":", "\"lines\":1", 1);
    let edited = touched(&|archive| {
        drop(
            archive
                .digests
                .insert(middle.clone(), text.clone().into_bytes()),
        )
    });
    let faults = ["digest_edited", "signature_wrong"]
        .map(|kind| json!({ "kind": kind, "digest": number(middle) }));
    expect(stack, &edited, &faults).await?;
    let gone = touched(&|archive| drop(archive.digests.remove(middle)));
    let found = gone.verified(stack).await?;
    let first = found.faults.first().cloned().unwrap_or_default();
    ensure!(
        first["kind"] == "digest_missing" && first["digest"] == number(middle),
        "named: {first}"
    );
    let swapped = touched(&|archive| {
        let (a, b) = (
            archive.digests.remove(before),
            archive.digests.remove(middle),
        );
        archive
            .digests
            .extend(a.map(|bytes| (middle.clone(), bytes)));
        archive
            .digests
            .extend(b.map(|bytes| (before.clone(), bytes)));
    });
    let swaps =
        [before, middle].map(|key| json!({ "kind": "digest_out_of_place", "digest": number(key) }));
    expect(stack, &swapped, &swaps).await?;
    let none = touched(&|archive| archive.digests.clear());
    expect(stack, &none, &[json!({ "kind": "no_digests" })]).await?;

    // The newest is cut off with all that it lists: too short for what the reader kept, and, later,
    // for the time.
    let kept: Vec<String> = archive.digested().into_iter().map(|(_, key)| key).collect();
    let cut = touched(&|archive| {
        archive.digests.pop_last();
        let left: Vec<String> = archive.digested().into_iter().map(|(_, key)| key).collect();
        archive
            .objects
            .retain(|key, _| left.contains(key) || !kept.contains(key));
    });
    let key = public_key(stack).await?;
    let kinds = |verified: &Verified| {
        verified
            .kinds()
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let remembered = cut
        .verified_with(stack, &key, &["--expect", &newest])
        .await?;
    ensure_eq!(
        kinds(&remembered),
        ["digests_cut"],
        "a chain without its end, by the hash of its end"
    );
    let late = cut
        .verified_with(stack, &key, &["--as-of", "2100-01-01T00:00:00Z"])
        .await?;
    ensure_eq!(
        kinds(&late),
        ["digests_cut"],
        "a chain without its end, later"
    );
    let whole = archive
        .verified_with(stack, &key, &["--expect", &newest])
        .await?;
    ensure!(
        whole.faults.is_empty(),
        "the whole chain has its end: {:?}",
        whole.faults
    );

    // Another key signed none of it.
    let created = json!({ "KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY" });
    let theirs =
        stack.aws.call(Service::Kms, "CreateKey", created).await?["KeyMetadata"]["KeyId"].clone();
    let theirs = stack
        .aws
        .call(Service::Kms, "GetPublicKey", json!({ "KeyId": theirs }))
        .await?;
    let file = stack.scratch.join("their-key.pub");
    std::fs::write(&file, theirs["PublicKey"].as_str().unwrap_or_default())?;
    let foreign = archive.verified_with(stack, &file, &[]).await?;
    ensure_eq!(
        foreign.kinds(),
        vec!["signature_wrong"; archive.digests.len()],
        "digests signed by another key"
    );
    Ok(())
}

/// Verifies, and compares each fault with the expected one.
async fn expect(stack: &Stack, archive: &Archive, expected: &[Value]) -> Outcome {
    let faults = archive.verified(stack).await?.faults;
    let fits = |(fault, expected): (&Value, &Value)| {
        expected
            .as_object()
            .into_iter()
            .flatten()
            .all(|(name, value)| fault[name.as_str()] == *value)
    };
    let all = faults.len() == expected.len() && faults.iter().zip(expected).all(fits);
    ensure!(all, "expected {expected:?}, found {faults:?}");
    Ok(())
}

/// Waits until all of a project's trail is in the archive.
async fn exported(stack: &Stack, project: &Project) -> Outcome {
    let trail = project.trail().await?;
    eventually("the export of all events", EXPORTED, async || {
        Ok(Archive::of(stack, &project.id)
            .await?
            .missing(&trail)
            .is_empty()
            .then_some(()))
    })
    .await
}

/// A record of the audit table's stream.
fn record(project: &str, at: Timestamp, sequence: u64, event: &Value) -> Outcome<Value> {
    let day = at.day();
    let (pk, sk) = (
        format!("PRJ#{project}#{day}#0"),
        format!("evt_019c1310-e400-7000-8000-{sequence:012x}"),
    );
    let actor = "token:tok_00000000-0000-7000-8000-000000000001";
    let entry = json!({ "id": sk, "at": at, "actor": actor, "events": [event] });
    let keys = json!({ "pk": { "S": pk }, "sk": { "S": sk } });
    let mut image = keys.clone();
    image["z"] = packed(&json!([entry]))?;
    Ok(json!({
        "eventID": sequence.to_string(), "eventName": "INSERT", "eventVersion": "1.1", "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "eventSourceARN": "arn:aws:dynamodb:us-east-1:000000000000:table/sealfleet-audit/stream/2026-01-31T00:00:00.000",
        "dynamodb": {
            "ApproximateCreationDateTime": at.epoch_seconds(), "Keys": keys, "NewImage": image,
            "SequenceNumber": sequence.to_string(), "SizeBytes": 400, "StreamViewType": "NEW_IMAGE",
        },
    }))
}

/// 61. Export replayed -> byte-equal objects; poison record -> set aside, shard goes on, alarm.
pub async fn s61_a_replay_is_equal_and_poison_is_set_aside(stack: &Stack) -> Outcome {
    let project = stack.project("sixtyone").await?;
    let bucket = &stack.parts.audit_bucket;
    // A batch as Lambda delivers it, with a row in its middle that this version does not know.
    let good = json!({ "type": "step.queued", "step_id": "a" });
    let poison = json!({ "type": "no.such", "value": "poisoned-canary" });
    let at = Timestamp::parse(&text(
        project.trail().await?.first().unwrap_or(&Value::Null),
        "at",
    )?)?;
    // A trail of its own: these sequence numbers are below those of the real stream.
    let replayed = format!("{}-replay", project.id);
    // The same shard: `record` gives ids whose last byte is the sequence number.
    let batch = json!({ "Records": [
        record(&replayed, at, 0x10, &good)?, record(&replayed, at, 0x18, &poison)?, record(&replayed, at, 0x20, &good)?,
    ] });
    let mut before: Option<Vec<(String, Vec<u8>, usize)>> = None;
    for _ in 0..2 {
        let answer = stack.aws.invoke("sealfleet-export", &batch).await?;
        ensure!(
            answer.function_error.is_none(),
            "export failed: {}",
            answer.payload
        );
        ensure_eq!(
            answer.payload["batchItemFailures"],
            json!([]),
            "nothing comes again"
        );
        let mut now = Vec::new();
        let (events, aside) = (
            format!("audit/project={replayed}/"),
            "set-aside/".to_owned(),
        );
        for (prefix, place) in [
            (events, format!("-{:040}-", 0x10)),
            (aside, format!("/{:040}-", 0x18)),
        ] {
            let keys = stack.aws.keys(bucket, &prefix).await?;
            for key in keys.into_iter().filter(|key| key.contains(&place)) {
                let bytes = stack.aws.object(bucket, &key).await?.unwrap_or_default();
                let versions = stack.aws.versions(bucket, &key).await?;
                now.push((key, bytes, versions));
            }
        }
        ensure_eq!(
            now.len(),
            2,
            "one object with events, one set aside: {now:?}"
        );
        ensure!(
            now.iter().all(|(_, _, versions)| *versions == 1),
            "an object was written twice"
        );
        if let Some(before) = before.replace(now.clone()) {
            ensure_eq!(now, before, "the objects after a replay");
        }
        let [(key, ..), (_, aside, _)] = now.as_slice() else {
            return Err(Failure::new("no objects"));
        };
        let archive = Archive::read(stack).await?;
        ensure_eq!(
            archive.lines_of(key)?.len(),
            2,
            "the rows before and after the poison"
        );
        let aside: Value = serde_json::from_slice(aside)?;
        ensure!(
            aside["reason"] == "no_entry" && aside["sequence"] == "24",
            "set aside: {aside}"
        );
        ensure_eq!(
            aside["attributes"],
            json!(["pk", "sk", "z"]),
            "names of its attributes"
        );
        ensure!(
            !aside.to_string().contains("poisoned-canary"),
            "a value was copied: {aside}"
        );
    }

    // The same through the table and its stream: what comes after it in its shard is exported.
    let enqueue = run_of(&[step("only", &json!({ "pool": "gpu" }))]);
    let run = project.enqueue(&enqueue).await?;
    let (day, shard) = eventually("the export of a run", EXPORTED, async || {
        let archive = Archive::of(stack, &project.id).await?;
        let of_run = archive.objects.keys().find(|key| {
            archive
                .lines_of(key)
                .is_ok_and(|lines| lines.iter().any(|line| line.contains(&run)))
        });
        let place = of_run.and_then(|key| key.split_once("/date=")?.1.split_once('/'));
        Ok(place.map(|(day, name)| (day.to_owned(), name.chars().take(1).collect::<String>())))
    })
    .await?;
    let row = json!({
        "pk": { "S": format!("PRJ#{}#{day}#{shard}", project.id) },
        "sk": { "S": "not-an-entry" }, "secret": { "S": "poisoned-canary" },
    });
    let put = json!({ "TableName": stack.parts.audit_table, "Item": row });
    stack.aws.call(Service::DynamoDb, "PutItem", put).await?;
    project.cancel(&run).await?;
    eventually(
        "the row that is set aside, and what comes after it",
        EXPORTED,
        async || {
            let archive = Archive::read(stack).await?;
            let aside = archive
                .objects
                .iter()
                .filter(|(key, _)| key.starts_with("set-aside/"));
            let aside = aside.map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned());
            let aside: Vec<String> = aside
                .filter(|line| line.contains("[\"pk\",\"secret\",\"sk\"]"))
                .collect();
            let cancelled = archive
                .lines()
                .iter()
                .any(|line| line["run_id"] == run && line["event"]["type"] == "run.cancelled");
            ensure!(
                !aside.iter().any(|line| line.contains("poisoned-canary")),
                "a value was copied: {aside:?}"
            );
            Ok((!aside.is_empty() && cancelled).then_some(()))
        },
    )
    .await?;
    // It is counted where the alarm looks.
    let of_export =
        json!({ "logGroupName": "/aws/lambda/sealfleet-export", "filterPattern": "AuditSetAside" });
    eventually("the metric of the alarm", EXPORTED, async || {
        let events = stack
            .aws
            .call(Service::Logs, "FilterLogEvents", of_export.clone())
            .await?;
        Ok(events["events"]
            .as_array()
            .is_some_and(|events| !events.is_empty())
            .then_some(()))
    })
    .await?;
    // And digested like the rest.
    stack.digest().await?;
    let verified = Archive::read(stack).await?.verified(stack).await?;
    ensure!(
        verified.faults.is_empty() && verified.set_aside >= 2,
        "with what was set aside: {verified:?}"
    );
    Ok(())
}

/// A range that the stream lost is exported again from the table, and digested.
pub async fn a_range_is_exported_again(stack: &Stack) -> Outcome {
    let project = stack.project("again").await?;
    project.enqueue_step(&json!({ "pool": "gpu" })).await?;
    exported(stack, &project).await?;
    let trail = project.trail().await?;
    let before = stack
        .aws
        .keys(
            &stack.parts.audit_bucket,
            &format!("audit/project={}/", project.id),
        )
        .await?;
    let time = |entry: Option<&Value>| text(entry.unwrap_or(&Value::Null), "at");
    let (first, last) = (time(trail.first())?, time(trail.last())?);
    let mut after = Vec::new();
    for _ in 0..2 {
        let printed = stack
            .cli(&[
                "audit",
                "re-export",
                "--output",
                "json",
                "--project",
                &project.id,
                "--from",
                &first,
                "--to",
                &last,
            ])
            .await?;
        let report: Value = serde_json::from_str(&printed)?;
        ensure_eq!(
            report["entries"],
            trail.len(),
            "entries that were exported again"
        );
        after.push(
            stack
                .aws
                .keys(
                    &stack.parts.audit_bucket,
                    &format!("audit/project={}/", project.id),
                )
                .await?,
        );
    }
    ensure!(
        after.first() == after.last(),
        "the same range makes the same objects"
    );
    let archive = Archive::read(stack).await?;
    let new = || {
        archive
            .objects
            .iter()
            .filter(|(key, _)| key.contains(&project.id) && !before.contains(key))
    };
    let alone = Archive {
        objects: new()
            .map(|(key, bytes)| (key.clone(), bytes.clone()))
            .collect(),
        ..archive.clone()
    };
    ensure!(
        alone.missing(&trail).is_empty(),
        "what was exported again is not the whole trail: {:?}",
        alone.missing(&trail)
    );
    let verified = archive.verified(stack).await?;
    let events: usize = trail
        .iter()
        .map(|entry| entry["events"].as_array().map_or(0, Vec::len))
        .sum();
    ensure!(
        verified.faults.is_empty(),
        "the archive does not verify: {:?}",
        verified.faults
    );
    ensure!(
        verified.doubles >= events as u64,
        "events that are there twice are counted: {verified:?}"
    );
    let digested: Vec<String> = archive.digested().into_iter().map(|(_, key)| key).collect();
    ensure!(
        new().all(|(key, _)| digested.contains(key)),
        "what was exported again is not digested"
    );
    Ok(())
}
