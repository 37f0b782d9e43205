//! The restore drill of docs/guides/restore.md, on a stack of its own: its tables are replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::time::Duration;

use sealfleet_client::Code;
use sealfleet_domain::run::RunState;
use sealfleet_domain::{EventId, Timestamp};
use sealfleet_test_stack::api::{text, typed};
use sealfleet_test_stack::aws::{Keys, Service};
use sealfleet_test_stack::identity::secrets;
use sealfleet_test_stack::project::{run_of, step};
use sealfleet_test_stack::trail::{Archive, repaired};
use sealfleet_test_stack::{
    Caller, Claimed, Failure, Outcome, Project, Stack, Worker, ensure, ensure_eq, eventually,
    unique,
};
use serde_json::{Value, json};

use crate::drill::{self, documented, user_with};
use crate::seen::{PLAYED, SOON, fresh_id, played, player, with_profile};

const GUIDE: &str = "docs/guides/restore.md";
/// How long the export of what was written may take.
const EXPORTED: Duration = Duration::from_secs(60);

/// Runs end, things are taken away, the tables are restored to before that by the guide's commands:
/// runs can be read, a new run works to its end, what was taken away stays taken away, and the
/// archive tells the whole story.
pub async fn an_installation_goes_on_with_restored_tables(_: &Stack) -> Outcome {
    let directory = std::env::temp_dir().join(format!("sealfleet-restore-{}", unique()));
    let stack = Stack::start(&directory, &["LeaseSeconds=8", "ResendSeconds=2"]).await?;
    let outcome = drilled(&stack).await;
    stack.close().await?;
    if outcome.is_ok() {
        stack.forget()?;
    }
    outcome
}

async fn drilled(stack: &Stack) -> Outcome {
    let (project, other) = stack.pair("restored").await?;
    let closing = stack.project("closing").await?;
    let before = before(stack, &project).await?;
    let moment = restored_by_the_emulator(stack).await?;
    let after = after(stack, &project, &closing, &before).await?;
    let user = user_with(stack, &policies()?).await?;
    let operator = Operator {
        stack,
        user,
        moment: moment.to_string(),
    };
    let commands = documented(GUIDE, "restore")?;
    let [close, tables, reapply, open] = commands.as_slice() else {
        return Err(Failure::new(format!(
            "{GUIDE} has another drill: {commands:?}"
        )));
    };
    operator.refused(open, "the installation is open").await?;
    operator.run(close).await?;
    nothing_is_served(&project, &before).await?;
    let lacking = "no stream, no time to live, no point-in-time recovery, no protection";
    operator.refused(open, lacking).await?;
    operator.run(tables).await?;
    tags_are_copied(stack, moment).await?;
    each_setting_is_looked_at(stack, &operator, tables, open).await?;
    operator
        .refused(reapply, "the archive does not verify")
        .await?;
    // Its rule makes one each hour.
    stack.digest().await?;
    what_the_archive_lacks_stops_everything(stack, &project, &operator, open).await?;
    operator.run(reapply).await?;
    let report: Value =
        serde_json::from_str(&operator.run(&format!("{open} --output json")).await?)?;

    told(&report, &project, &closing, &before, &after)?;
    taken_away(&project, &closing, &before, &after).await?;
    works(stack, &project, &other, &before, &after).await?;
    whole_story(stack, &project, &report, &after).await
}

fn now() -> Outcome<Timestamp> {
    Ok(fresh_id("evt").parse::<EventId>()?.made_at())
}

/// What there is at the moment.
struct Before {
    worker: Worker,
    finished: String,
    /// A run of which a step is claimed, and the claim.
    held: Claimed,
    leaver: Caller,
    dismissed: Worker,
    key: (String, Caller),
}

async fn before(stack: &Stack, project: &Project) -> Outcome<Before> {
    let store = project.builtin_store(stack).await?;
    let secret = store.put("crm", "restored").await?;
    project.profile("crm", &secret.pinned()).await?;
    let run = project
        .enqueue_step(&json!({ "command": ["true"] }))
        .await?;
    project.run_until(&run, RunState::Succeeded, SOON).await?;
    let worker = player(project, 2).await?;
    let dismissed = player(project, 1).await?;
    let leaver = json!({ "project": project.id, "role": "admin" });
    let leaver = stack
        .anonymous
        .with(&stack.operator.token(&leaver).await?.token)?;
    let key = project.enrolment_key(&json!({ "max_uses": 5 })).await?;
    exported(stack, project).await?;
    let held = project.enqueue_step(&json!({ "pool": PLAYED })).await?;
    let held = worker.claim(&held, "only").await?;
    Ok(Before {
        worker,
        finished: run,
        held,
        leaver,
        dismissed,
        key,
    })
}

/// The restored tables, as the guide's command asks for them. The emulator restores what the tables
/// hold now, whatever moment it is asked for. So the tables are made here, at the moment; the
/// command finds them there.
async fn restored_by_the_emulator(stack: &Stack) -> Outcome<Timestamp> {
    // A whole second, after everything so far.
    let next = now()?.epoch_seconds() + 1;
    let moment = Timestamp::from_millis(next * 1000);
    let wait = moment.millis_since(now()?).max(0).unsigned_abs();
    tokio::time::sleep(Duration::from_millis(wait)).await;
    let aws = &stack.aws;
    for (source, target) in names(stack, moment) {
        let [(key, value)] = TAG;
        let tags =
            json!({ "ResourceArn": arn(stack, &source), "Tags": [{ "Key": key, "Value": value }] });
        aws.call(Service::DynamoDb, "TagResource", tags).await?;
        let restore = json!({
            "SourceTableName": source, "TargetTableName": target, "RestoreDateTime": moment.epoch_seconds(),
        });
        aws.call(Service::DynamoDb, "RestoreTableToPointInTime", restore)
            .await?;
        let asked = json!({ "TableName": target });
        let described = aws
            .call(Service::DynamoDb, "DescribeTable", asked.clone())
            .await?;
        let table = &described["Table"];
        ensure!(
            table["StreamSpecification"]["StreamEnabled"] != true
                && table["DeletionProtectionEnabled"] != true,
            "kinder than AWS: {table}"
        );
        let expires = aws
            .call(Service::DynamoDb, "DescribeTimeToLive", asked)
            .await?;
        ensure_eq!(
            expires["TimeToLiveDescription"]["TimeToLiveStatus"],
            "DISABLED",
            "kinder than AWS"
        );
    }
    Ok(moment)
}

/// Tags that the tables in use have.
const TAG: [(&str, &str); 1] = [("team", "platform")];

fn arn(stack: &Stack, table: &str) -> String {
    let parts = &stack.parts;
    format!(
        "arn:aws:dynamodb:{}:{}:table/{table}",
        parts.region, parts.account_id
    )
}

async fn tags_are_copied(stack: &Stack, moment: Timestamp) -> Outcome {
    for (_, restored) in names(stack, moment) {
        let asked = json!({ "ResourceArn": arn(stack, &restored) });
        let tags = stack
            .aws
            .call(Service::DynamoDb, "ListTagsOfResource", asked)
            .await?;
        let [(key, value)] = TAG;
        ensure_eq!(
            tags["Tags"],
            json!([{ "Key": key, "Value": value }]),
            "{restored}"
        );
    }
    Ok(())
}

/// The tables in use, each with the name of its restored one.
fn names(stack: &Stack, moment: Timestamp) -> [(String, String); 2] {
    let digits = moment.to_string().replace(['-', ':'], "");
    let second = digits.split('.').next().unwrap_or_default();
    let parts = &stack.parts;
    [&parts.ledger_table, &parts.audit_table]
        .map(|table| (table.clone(), format!("{table}-{second}Z")))
}

/// What happened after the moment.
struct After {
    revocation: String,
    lost: String,
    /// The ids of all entries of the trail.
    trail: BTreeSet<String>,
}

async fn after(
    stack: &Stack,
    project: &Project,
    closing: &Project,
    before: &Before,
) -> Outcome<After> {
    let admin = project.admin.client();
    before.worker.succeed(&before.held).await?;
    let revoked = project.admin.revoke(&[("crm", "API_KEY")], true).await?;
    let leaver = token_id(&before.leaver)?;
    admin.revoke_token(None, leaver.parse()?).await?;
    let dismissed = format!("/v1/workers/{}/revoke", before.dismissed.id);
    project
        .admin
        .post(&dismissed, &json!({}))
        .await?
        .accepted()?;
    let key = format!("/v1/enrolment-keys/{}", before.key.0);
    project.admin.delete(&key).await?.accepted()?;
    let closed = format!("/v1/projects/{}", closing.id);
    stack.operator.delete(&closed).await?.accepted()?;
    let lost = project.enqueue_step(&json!({ "pool": PLAYED })).await?;
    let more = secrets(&[(
        "OTHER",
        "builtin://other@0198c0de-0000-7000-8000-00000000000a",
    )]);
    project.admin.save_profile("crm", &more).await?;
    for project in [project, closing] {
        exported(stack, project).await?;
    }
    Ok(After {
        revocation: revoked.ids.first().cloned().unwrap_or_default(),
        lost,
        trail: ids(&project.trail().await?),
    })
}

/// Waits until all of a project's trail is in the archive.
async fn exported(stack: &Stack, project: &Project) -> Outcome {
    let trail = project.trail().await?;
    eventually("the export of all events", EXPORTED, async || {
        let archive = Archive::of(stack, &project.id).await?;
        Ok(archive.missing(&trail).is_empty().then_some(()))
    })
    .await
}

fn ids(trail: &[Value]) -> BTreeSet<String> {
    let ids = trail.iter().filter_map(|entry| entry["event_id"].as_str());
    ids.map(str::to_owned).collect()
}

/// `tok_…` of `sft.PROJECT.tok_….SECRET`.
fn token_id(caller: &Caller) -> Outcome<String> {
    let id = caller
        .credential()
        .split('.')
        .find(|part| part.starts_with("tok_"));
    id.map(str::to_owned)
        .ok_or_else(|| Failure::new("a token without an id"))
}

/// What the guide gives who restores.
fn policies() -> Outcome<Vec<String>> {
    let deploy: Vec<Value> = serde_json::from_str(include_str!("../../infra/deploy/policy.json"))?;
    let deploy = deploy.iter().map(|policy| {
        json!({ "Version": "2012-10-17", "Statement": policy["statements"] }).to_string()
    });
    let restore = include_str!("../../infra/deploy/restore.json").to_owned();
    // The emulator judges these on no resource; infra/deploy/policy.json has them on the tables.
    let tags = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": ["dynamodb:ListTagsOfResource", "dynamodb:TagResource"], "Resource": "*",
    }] });
    Ok(deploy.chain([restore, tags.to_string()]).collect())
}

/// Who follows the guide.
struct Operator<'a> {
    stack: &'a Stack,
    user: Keys,
    moment: String,
}

impl Operator<'_> {
    async fn run(&self, command: &str) -> Outcome<String> {
        let parts = &self.stack.parts;
        let environment: BTreeMap<&str, &str> = BTreeMap::from([
            ("MOMENT", self.moment.as_str()),
            ("AWS_ENDPOINT_URL", &parts.endpoint),
            ("AWS_REGION", &parts.region),
            ("AWS_ACCESS_KEY_ID", &self.user.access_key_id),
            ("AWS_SECRET_ACCESS_KEY", &self.user.secret_access_key),
        ]);
        let environment = environment
            .into_iter()
            .map(|(name, value)| (name, OsString::from(value)));
        drill::run(&self.stack.binaries, environment, command).await
    }

    /// The command is refused, and says why.
    async fn refused(&self, command: &str, why: &str) -> Outcome {
        let refused = self.run(command).await.err();
        let said = refused
            .map(|failure| failure.to_string())
            .unwrap_or_default();
        ensure!(
            said.contains(why),
            "`{command}` does not say `{why}`: {said}"
        );
        Ok(())
    }
}

/// Nobody reads, enqueues or claims.
async fn nothing_is_served(project: &Project, before: &Before) -> Outcome {
    let run = format!("/v1/runs/{}", before.finished);
    let enqueue = with_profile("crm", &[step("only", &json!({ "pool": PLAYED }))]);
    let answers = [
        project.viewer.get(&run).await?,
        project.member.post("/v1/runs", &enqueue).await?,
        before.worker.try_claim(&before.finished, "only").await?,
        before.leaver.get("/v1/tokens").await?,
    ];
    for answer in answers {
        ensure!(answer.status >= 500, "served while closed: {answer:?}");
    }
    Ok(())
}

/// A setting that is taken off one of the tables again is named, and `tables` sets it.
async fn each_setting_is_looked_at(
    stack: &Stack,
    operator: &Operator<'_>,
    tables: &str,
    open: &str,
) -> Outcome {
    let [_, (_, table)] = names(stack, Timestamp::parse(&operator.moment)?);
    let expires = json!({ "AttributeName": "expires_at", "Enabled": false });
    let off = [
        (
            "stream",
            "UpdateTable",
            json!({ "StreamSpecification": { "StreamEnabled": false } }),
        ),
        (
            "protection from deletion",
            "UpdateTable",
            json!({ "DeletionProtectionEnabled": false }),
        ),
        (
            "time to live",
            "UpdateTimeToLive",
            json!({ "TimeToLiveSpecification": expires }),
        ),
        (
            "point-in-time recovery",
            "UpdateContinuousBackups",
            json!({ "PointInTimeRecoverySpecification": { "PointInTimeRecoveryEnabled": false } }),
        ),
    ];
    for (lacks, operation, mut body) in off {
        body["TableName"] = json!(table);
        stack.aws.call(Service::DynamoDb, operation, body).await?;
        let named = format!("the table `{table}` has no {lacks}: run `sealfleet restore tables`");
        operator.refused(open, &named).await?;
        operator.run(tables).await?;
    }
    Ok(())
}

/// An entry that the archive does not have, in the audit table or still in the ledger.
async fn what_the_archive_lacks_stops_everything(
    stack: &Stack,
    project: &Project,
    operator: &Operator<'_>,
    open: &str,
) -> Outcome {
    let row = |id: &str| {
        json!({
            "pk": { "S": format!("PRJ#{}#OUTBOX", project.id) }, "sk": { "S": id },
            "due_shard": { "S": "0" }, "due_at": { "N": "1" },
        })
    };
    let aws = &stack.aws;
    let table = &stack.parts.ledger_table;
    let id = fresh_id("evt");
    let put = json!({ "TableName": table, "Item": row(&id) });
    aws.call(Service::DynamoDb, "PutItem", put).await?;
    operator.refused(open, "entries wait in the ledger").await?;
    let key = json!({ "pk": row(&id)["pk"], "sk": row(&id)["sk"] });
    let delete = json!({ "TableName": table, "Key": key });
    aws.call(Service::DynamoDb, "DeleteItem", delete).await?;

    // The archive is written by `export`, and by nobody while it may not.
    let deny = json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Deny", "Action": "s3:PutObject", "Resource": "*" },
    ] });
    aws.put_role_policy("sealfleet-export", "drill", &deny)
        .await?;
    let at = now()?;
    let (pk, entry) = entry(&project.id, at)?;
    let put = json!({ "TableName": stack.parts.audit_table, "Item": merged_key(&pk, &entry)? });
    aws.call(Service::DynamoDb, "PutItem", put).await?;
    let behind = format!(
        "1 entries of the trail `{}` are not in the archive yet",
        project.id
    );
    operator.refused(open, &behind).await?;
    aws.delete_role_policy("sealfleet-export", "drill").await?;
    let (from, to) = (
        at.plus_seconds(-1).to_string(),
        at.plus_seconds(1).to_string(),
    );
    let again = [
        "audit",
        "re-export",
        "--project",
        &project.id,
        "--from",
        &from,
        "--to",
        &to,
    ];
    stack.cli(&again).await.map(drop)
}

/// An entry of the trail that tells of a token, and the key of its row's partition.
fn entry(project: &str, at: Timestamp) -> Outcome<(String, Value)> {
    let id = fresh_id("evt");
    let made: EventId = id.parse()?;
    // The partition is that of the id.
    let entry = json!({
        "id": id, "at": at, "actor": "token:tok_00000000-0000-7000-8000-000000000001",
        "events": [{ "type": "token.revoked", "token_id": "tok_00000000-0000-7000-8000-000000000002" }],
    });
    let shard = made.uuid().as_bytes().last().copied().unwrap_or_default() & 7;
    Ok((format!("PRJ#{project}#{}#{shard}", at.day()), entry))
}

fn merged_key(pk: &str, entry: &Value) -> Outcome<Value> {
    Ok(json!({
        "pk": { "S": pk }, "sk": { "S": text(entry, "id")? },
        "z": sealfleet_test_stack::trail::packed(&json!([entry]))?,
    }))
}

/// The report names what was taken away again, what people have to do again, and which runs are
/// gone or go on again.
fn told(
    report: &Value,
    project: &Project,
    closing: &Project,
    before: &Before,
    after: &After,
) -> Outcome {
    let of = |list: &str, trail: &str| -> BTreeSet<String> {
        let lines = report[list].as_array().into_iter().flatten();
        let own = lines.filter(|line| line["trail"] == trail);
        own.filter_map(|line| line["event"]["type"].as_str().map(str::to_owned))
            .collect()
    };
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let again: BTreeSet<String> = set(&[
        "secret.revoked",
        "token.revoked",
        "worker.revoked",
        "enrolment_key.revoked",
    ]);
    ensure_eq!(of("reapplied", &project.id), again, "{report:#}");
    let closed: BTreeSet<String> = set(&["project.closed"]);
    ensure_eq!(of("reapplied", &closing.id), closed, "{report:#}");
    let undone = of("undone", &project.id);
    ensure!(undone.contains("profile.updated"), "{report:#}");
    ensure_eq!(
        report["lost_runs"][&project.id],
        json!([after.lost]),
        "{report:#}"
    );
    ensure_eq!(
        report["repeated_runs"][&project.id],
        json!([before.held.run]),
        "{report:#}"
    );
    Ok(())
}

/// Everything that was taken away after the moment is taken away.
async fn taken_away(
    project: &Project,
    closing: &Project,
    before: &Before,
    after: &After,
) -> Outcome {
    eventually("the end of the closed time", SOON, async || {
        Ok((project.viewer.get("/v1/runs").await?.status == 200).then_some(()))
    })
    .await?;
    let enqueue = with_profile("crm", &[played("only", &json!({}))]);
    let refused = project.member.post("/v1/runs", &enqueue).await?;
    let detail = refused.refused(403, "secret_revoked")?;
    ensure!(
        detail.contains(&after.revocation),
        "under its own id: {detail}"
    );
    let revocation = project.admin.revocation(&after.revocation).await?;
    ensure!(revocation.hard, "as hard as it was: {revocation:?}");
    let leaver = before.leaver.get("/v1/tokens").await?;
    leaver.refused(401, "unauthenticated")?;
    let claim = before.dismissed.try_claim(&before.held.run, "only").await?;
    ensure!(
        (400..500).contains(&claim.status),
        "a revoked worker: {claim:?}"
    );
    let registered = project
        .try_register(Some(&before.key.1), "late", &json!({}))
        .await?;
    ensure!(
        (400..500).contains(&registered.status),
        "a revoked key: {registered:?}"
    );
    let enqueue = run_of(&[step("only", &json!({}))]);
    let member = closing.member.client();
    let closed = member.enqueue_run(&typed(&enqueue)?, None).await.err();
    let code = closed
        .as_ref()
        .and_then(|error| Some(error.problem()?.code));
    ensure_eq!(
        code,
        Some(Code::ProjectClosed),
        "a closed project: {closed:?}"
    );
    Ok(())
}

/// Runs are there as they were, a new one works to its end, and no other project sees them.
async fn works(
    stack: &Stack,
    project: &Project,
    other: &Project,
    before: &Before,
    after: &After,
) -> Outcome {
    let finished = project.run(&before.finished).await?;
    ensure_eq!(
        finished.state,
        RunState::Succeeded,
        "a run that ended before"
    );
    for (caller, run) in [
        (&project.viewer, &after.lost),
        (&other.admin, &before.finished),
    ] {
        let path = format!("/v1/runs/{run}");
        caller.get(&path).await?.refused(404, "not_found")?;
    }
    // It succeeded after the moment, and is in flight again: until its lease is over.
    let run = &before.held.run;
    let again = eventually("another claim", SOON, async || {
        stack.sweep().await?;
        let claim = before.worker.try_claim(run, "only").await?;
        Ok((claim.status == 200).then_some(claim.body))
    })
    .await?;
    let again = Claimed {
        fence: again["fence"].as_u64().unwrap_or_default(),
        ..before.held.clone()
    };
    let stale = before.worker.try_succeed(&before.held).await?;
    stale.refused(409, "stale_fence")?;
    before.worker.succeed(&again).await?;
    project.run_until(run, RunState::Succeeded, SOON).await?;
    let new = project
        .enqueue_step(&json!({ "command": ["true"] }))
        .await?;
    project
        .run_until(&new, RunState::Succeeded, SOON)
        .await
        .map(drop)
}

/// The restored trail tells of the restoration, and lacks what happened between. The archive has
/// both, and verifies.
async fn whole_story(stack: &Stack, project: &Project, report: &Value, after: &After) -> Outcome {
    let restored = project.admin.events("tables.restored").await?;
    let [restored] = restored.as_slice() else {
        return Err(Failure::new(format!("told {} times", restored.len())));
    };
    ensure_eq!(restored["moment"], report["moment"], "the moment");
    ensure_eq!(restored["reapplied"], 4, "what is taken away again");
    // What had not reached the trail at the moment stands in the runs.
    let moment: Timestamp = serde_json::from_value(report["moment"].clone())?;
    let [(_, ledger), _] = names(stack, moment);
    let from = Timestamp::from_millis(moment.millis() - 300_000).to_string();
    let period = (from.as_str(), &*moment.to_string());
    let repaired = repaired(stack, &project.id, period, &ledger).await?;
    ensure_eq!(
        repaired["unreadable"],
        json!([]),
        "runs of the restored ledger"
    );
    let trail = ids(&project.trail().await?);
    // What was copied again may stand there twice.
    eventually("the export of all events", EXPORTED, async || {
        let archived = ids(&Archive::of(stack, &project.id).await?.lines());
        let complete = after.trail.is_subset(&archived) && trail.is_subset(&archived);
        Ok(complete.then_some(()))
    })
    .await?;
    let undone: BTreeSet<&String> = after.trail.difference(&trail).collect();
    ensure!(
        undone.len() > 5,
        "the trail still has what was undone: {undone:?}"
    );
    stack.digest().await?;
    let verified = Archive::read(stack).await?.verified(stack).await?;
    ensure!(verified.faults.is_empty(), "{:?}", verified.faults);
    Ok(())
}
