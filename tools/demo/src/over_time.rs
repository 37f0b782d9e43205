//! Sealed over time: a key that is rotated, taken away from what comes, and taken away from what
//! runs.
//!
//! The key is inherited: the operators' profile stands below the one of the workflow, and that one
//! below the run's own.

use std::time::{Duration, Instant};

use sealfleet_client::types::FanOutView;
use sealfleet_domain::Timestamp;
use sealfleet_domain::profile::Profile;
use sealfleet_domain::run::RunState;
use sealfleet_test_stack::api::text;
use sealfleet_test_stack::identity::secrets;
use sealfleet_test_stack::processes::Sleeper;
use sealfleet_test_stack::project::{FARGATE, PULL, merged, named, run_of, step};
use sealfleet_test_stack::{Claimed, Failure, Outcome, Stack, ensure, ensure_eq, eventually};
use serde_json::{Value, json};

use crate::board::Board;
use crate::tenant::{BESIDE, Canary, IN_AWS, Tenant};
use crate::work::{SOON, said};

/// The key.
const KEY: &str = "PARTNER_KEY";
/// The operators' profile, below all others.
const BASELINE: &str = "baseline";
/// The run's own profile, above all others.
const SHIFT: &str = "night-shift";
/// Runs of each kind that hold the key when it is revoked.
const HOLDING: usize = 3;
/// Prints the hash of the key and nothing else of it.
const HASH: &str = r#"printf %s "$PARTNER_KEY" | sha256sum | cut -c 1-64"#;

/// Where the key comes from: a workflow, the profile that is bound to it, and the pool whose
/// sandboxes can resolve it.
struct Source {
    workflow: &'static str,
    profile: &'static str,
    pool: &'static str,
}

const BESIDE_WORKER: Source = Source {
    workflow: "partner-sync",
    profile: "partner-beside",
    pool: PULL,
};
const IN_SECRETS_MANAGER: Source = Source {
    workflow: "partner-report",
    profile: "partner-in-aws",
    pool: FARGATE,
};
const SOURCES: [&Source; 2] = [&BESIDE_WORKER, &IN_SECRETS_MANAGER];

/// The runs that are in flight when the key is taken away.
struct InFlight {
    /// They hold it, by kind of sandbox.
    holding: [Vec<String>; 2],
    asleep: Sleeper,
    /// They hold another key.
    others: Vec<String>,
    others_asleep: Sleeper,
}

/// Rotation and revocation, with a tenant's real sandboxes.
pub async fn played(board: &mut Board, stack: &Stack, tenant: &mut Tenant) -> Outcome {
    bind(stack, tenant).await?;
    board.say(&format!(
        "`{KEY}` of `{}` is inherited: system/{BASELINE} -> {} or {} -> {SHIFT}",
        tenant.id(),
        BESIDE_WORKER.profile,
        IN_SECRETS_MANAGER.profile
    ));
    let asleep = Sleeper::new();
    let mut waiting_runs = Vec::new();
    for source in SOURCES {
        waiting_runs.push(waiting(tenant, source, &asleep).await?);
    }
    let in_flight = InFlight::enqueue(tenant).await?;
    rotated(board, stack, tenant, &waiting_runs, &asleep).await?;
    in_flight.until_sleeping(tenant).await?;
    board.say(&format!(
        "{HOLDING} sandboxes of the worker and {HOLDING} Fargate tasks sleep with the key; 1 and 1 with another key"
    ));
    revoked_softly(board, stack, tenant, &in_flight).await?;
    revoked_hard(board, stack, tenant, &in_flight).await
}

/// Stores the key in both backends, writes the profiles of each level, and binds them.
async fn bind(stack: &Stack, tenant: &mut Tenant) -> Outcome {
    let (beside, in_aws) = (Canary::new(), Canary::new());
    let stored = tenant.store.put("partner", beside.value()).await?;
    let in_manager = tenant
        .project
        .aws_secret(stack, "partner", in_aws.value())
        .await?;
    let admin = &tenant.project.admin;
    let crm = reference(&admin.profile(BESIDE).await?, "API_KEY")?;
    let own = merged(
        secrets(&[(KEY, &stored.pinned()), ("OLD_KEY", &crm)]),
        &json!({ "env": { "PARTNER_URL": "/v1" } }),
    );
    admin.create_profile(BESIDE_WORKER.profile, &own).await?;
    admin
        .create_profile(
            IN_SECRETS_MANAGER.profile,
            &secrets(&[(KEY, &in_manager.uri)]),
        )
        .await?;
    admin
        .create_profile(SHIFT, &json!({ "env": { "SHIFT": "night" } }))
        .await?;
    stack
        .operator
        .create_profile(BASELINE, &json!({ "env": { "LOG_LEVEL": "info" } }))
        .await?;
    let workflows: serde_json::Map<String, Value> = SOURCES
        .iter()
        .map(|source| (source.workflow.to_owned(), json!(source.profile)))
        .collect();
    admin
        .bind(&json!({ "system": BASELINE, "workflows": workflows }))
        .await?;
    tenant.partner = vec![beside, in_aws];
    Ok(())
}

fn reference(profile: &Profile, key: &str) -> Outcome<String> {
    let found = profile.content.secrets.get(key).map(ToString::to_string);
    found.ok_or_else(|| Failure::new(format!("no `{key}` in {profile:?}")))
}

/// A step that runs with the key once its run's first step, which sleeps, is over.
async fn waiting(tenant: &Tenant, source: &Source, asleep: &Sleeper) -> Outcome<String> {
    let steps = [
        step("wait", &json!({ "command": asleep.after("true") })),
        step(
            "call",
            &json!({
                "pool": source.pool, "mode": "identity", "needs": ["wait"], "command": ["sh", "-c", HASH],
            }),
        ),
    ];
    tenant.enqueue(source.workflow, SHIFT, &steps).await
}

/// The key is rotated while two runs wait.
async fn rotated(
    board: &mut Board,
    stack: &Stack,
    tenant: &mut Tenant,
    runs: &[String],
    asleep: &Sleeper,
) -> Outcome {
    asleep.until(runs.len(), SOON).await?;

    let (beside, in_aws) = (Canary::new(), Canary::new());
    let stored = tenant.store.put("partner", beside.value()).await?;
    let in_manager = tenant
        .project
        .rotate_aws_secret(stack, "partner", in_aws.value())
        .await?;
    let crm = reference(&tenant.project.admin.profile(BESIDE).await?, "API_KEY")?;
    let changed = merged(
        secrets(&[(KEY, &stored.pinned()), ("NEW_KEY", &crm)]),
        &json!({ "env": { "PARTNER_URL": "/v2" } }),
    );
    tenant
        .project
        .admin
        .save_profile(BESIDE_WORKER.profile, &changed)
        .await?;
    asleep.wake();

    let all = json!({ "rotated": [KEY], "added": ["NEW_KEY"], "removed": ["OLD_KEY"], "knobs": ["PARTNER_URL"] });
    let only_the_value = json!({ "rotated": [KEY], "added": [], "removed": [], "knobs": [] });
    let expected = [
        (
            "a new version of its profile between enqueue and start: told by its sets, and the sandbox has the new key",
            all,
        ),
        (
            "a rotation in Secrets Manager, no profile touched: told as well, and the task has the new key",
            only_the_value,
        ),
    ];
    let new = [(stored.version, beside), (in_manager.version, in_aws)];
    for (((name, sets), (version, value)), (source, run)) in
        expected.into_iter().zip(&new).zip(SOURCES.iter().zip(runs))
    {
        board
            .check(
                name,
                drifted(stack, tenant, source, run, &sets, version, value),
            )
            .await;
    }
    tenant
        .partner
        .extend(new.into_iter().map(|(_, value)| value));
    Ok(())
}

async fn drifted(
    stack: &Stack,
    tenant: &Tenant,
    source: &Source,
    run: &str,
    sets: &Value,
    version: &str,
    value: &Canary,
) -> Outcome<String> {
    succeeded_with(stack, tenant, source, run, value).await?;
    let trail = tenant.project.audit(run).await?;
    let told = named(&trail, "profile.drift_at_injection");
    ensure_eq!(
        told.len(),
        1,
        "drift events in the trail of {run}: {told:?}"
    );
    let told = told.into_iter().next().unwrap_or_default();
    for set in ["rotated", "added", "removed", "knobs"] {
        // An empty set may be left out.
        let found = if told[set].is_null() {
            json!([])
        } else {
            told[set].clone()
        };
        ensure_eq!(found, sets[set], "`{set}` in {told}");
    }
    let decrypted = named(&trail, "secret.decrypted");
    let of_key = decrypted
        .iter()
        .find(|event| event["key"] == KEY)
        .cloned()
        .unwrap_or_default();
    ensure_eq!(
        of_key["version"],
        version,
        "the version in the sandbox, by {of_key}"
    );
    let shown = ["rotated", "added", "removed", "knobs"].map(|set| format!("{set} {}", sets[set]));
    Ok(format!("profile.drift_at_injection: {}", shown.join(", ")))
}

/// A run has succeeded, and its step printed the hash of this value.
async fn succeeded_with(
    stack: &Stack,
    tenant: &Tenant,
    source: &Source,
    run: &str,
    value: &Canary,
) -> Outcome {
    let ended = tenant.project.finished(run, SOON).await?;
    ensure_eq!(
        ended.state,
        RunState::Succeeded,
        "the run {ended:?}\n{}",
        tenant.worker.log()
    );
    let printed = said(stack, tenant, run, "call", source.pool).await?;
    ensure_eq!(
        printed.lines().next().unwrap_or_default(),
        value.sha256(),
        "what the step of {run} printed"
    );
    Ok(())
}

impl InFlight {
    /// Enqueues all of them.
    async fn enqueue(tenant: &Tenant) -> Outcome<Self> {
        let (asleep, others_asleep) = (Sleeper::new(), Sleeper::new());
        let one = async |workflow: &str,
                         profile: &str,
                         pool: &str,
                         asleep: &Sleeper|
               -> Outcome<String> {
            let sleeps = json!({ "pool": pool, "mode": "identity", "command": asleep.after(HASH) });
            tenant
                .enqueue(workflow, profile, &[step("call", &sleeps)])
                .await
        };
        let mut holding = [Vec::new(), Vec::new()];
        for (runs, source) in holding.iter_mut().zip(SOURCES) {
            for _ in 0..HOLDING {
                runs.push(one(source.workflow, SHIFT, source.pool, &asleep).await?);
            }
        }
        let mut others = Vec::new();
        for (profile, pool) in [(BESIDE, PULL), (IN_AWS, FARGATE)] {
            others.push(one("sync", profile, pool, &others_asleep).await?);
        }
        Ok(Self {
            holding,
            asleep,
            others,
            others_asleep,
        })
    }

    /// Waits until each has its sandbox, in which it sleeps.
    async fn until_sleeping(&self, tenant: &Tenant) -> Outcome {
        self.asleep.until(HOLDING * SOURCES.len(), SOON).await?;
        self.others_asleep.until(self.others.len(), SOON).await?;
        for run in self.runs().into_iter().chain(&self.others) {
            tenant
                .project
                .until(run, "call", &["running"], SOON)
                .await?;
        }
        Ok(())
    }

    fn runs(&self) -> Vec<&String> {
        self.holding.iter().flatten().collect()
    }

    fn all_sleep(&self) -> Outcome {
        ensure_eq!(
            self.asleep.asleep().len(),
            HOLDING * SOURCES.len(),
            "sandboxes with the key"
        );
        ensure_eq!(
            self.others_asleep.asleep().len(),
            self.others.len(),
            "sandboxes with another key"
        );
        Ok(())
    }
}

/// A soft revocation: new starts are refused, running steps go on.
async fn revoked_softly(
    board: &mut Board,
    stack: &Stack,
    tenant: &Tenant,
    in_flight: &InFlight,
) -> Outcome {
    let source = &BESIDE_WORKER;
    let asleep = Sleeper::new();
    let queued = waiting(tenant, source, &asleep).await?;
    asleep.until(1, SOON).await?;
    let revoked = tenant
        .project
        .admin
        .revoke(&[(source.profile, KEY)], false)
        .await?;
    let id = revoked.ids.first().cloned().unwrap_or_default();
    board.say(&format!(
        "soft: `{KEY}` of `{}` is revoked as {id}",
        source.profile
    ));
    board
        .check(
            "softly revoked: the next enqueue is refused, and audited",
            enqueue_refused(tenant, source, &id),
        )
        .await;
    asleep.wake();
    board
        .check(
            "softly revoked: a run that waited does not start, and says why",
            start_refused(tenant, &queued, &id),
        )
        .await;
    board
        .check("softly revoked: what runs goes on", async {
            in_flight.all_sleep()?;
            for run in in_flight.runs() {
                ensure_eq!(
                    tenant.project.state(run, "call").await?,
                    "running",
                    "the step of {run}"
                );
            }
            Ok(format!("{} sandboxes", in_flight.runs().len()))
        })
        .await;
    tenant.project.admin.lift(&id).await?;
    board
        .check("lifted: the same enqueue is accepted, and its sandbox has the key", async {
            let calls = json!({ "pool": source.pool, "mode": "identity", "command": ["sh", "-c", HASH] });
            let run = tenant.enqueue(source.workflow, SHIFT, &[step("call", &calls)]).await?;
            // The first two are the old ones.
            let new = tenant.partner.get(2);
            let new = new.ok_or_else(|| Failure::new("the key was not rotated"))?;
            succeeded_with(stack, tenant, source, &run, new).await?;
            Ok(String::new())
        })
        .await;
    Ok(())
}

async fn enqueue_refused(tenant: &Tenant, source: &Source, revocation: &str) -> Outcome<String> {
    let before = tenant.project.census().await?;
    let calls = step("call", &json!({ "pool": source.pool, "mode": "identity" }));
    let body = merged(
        run_of(&[calls]),
        &json!({ "workflow": source.workflow, "profile": SHIFT }),
    );
    let detail = tenant
        .project
        .member
        .post("/v1/runs", &body)
        .await?
        .refused(403, "secret_revoked")?;
    ensure!(
        detail.contains(KEY) && detail.contains(revocation),
        "the answer names neither: {detail}"
    );
    ensure_eq!(
        tenant.project.census().await?,
        before,
        "the rows of `{}`",
        tenant.id()
    );
    let denied = named(&tenant.project.trail().await?, "run.denied");
    let noted = denied.iter().any(|event| {
        event["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains(revocation))
    });
    ensure!(noted, "the trail does not tell of it: {denied:?}");
    Ok(format!("403 secret_revoked: {detail}"))
}

async fn start_refused(tenant: &Tenant, run: &str, revocation: &str) -> Outcome<String> {
    let ended = tenant.project.finished(run, SOON).await?;
    let call = json!(tenant.project.step(run, "call").await?);
    ensure_eq!(call["state"], "failed", "the step of {ended:?}");
    ensure_eq!(call["failure"]["kind"], "secret_revoked", "why it failed");
    let detail = text(&call["failure"], "detail")?;
    ensure!(
        detail.contains(KEY) && detail.contains(revocation),
        "the reason names neither: {detail}"
    );
    let trail = tenant.project.audit(run).await?;
    ensure!(
        named(&trail, "secret.decrypted").is_empty(),
        "a refused start has seen the key"
    );
    Ok(format!("failed, secret_revoked: {detail}"))
}

/// A hard revocation: steps that run with the key are aborted.
async fn revoked_hard(
    board: &mut Board,
    stack: &Stack,
    tenant: &Tenant,
    in_flight: &InFlight,
) -> Outcome {
    let keys = SOURCES.map(|source| (source.profile, KEY));
    board
        .check(
            "a preview lists the runs that would be aborted, and no other",
            previewed(tenant, in_flight, &keys),
        )
        .await;
    let mut claims = Vec::new();
    for run in in_flight.runs() {
        let fence = tenant.project.step(run, "call").await?.fence.number();
        claims.push(Claimed {
            run: run.clone(),
            step: "call".to_owned(),
            fence,
        });
    }
    // Nothing of the check may hide that it was not so before.
    in_flight.all_sleep()?;

    board.say("hard: the key of both profiles is revoked, in one request");
    let begun = Instant::now();
    let (revoked, gone) = tokio::join!(
        tenant.project.admin.revoke(&keys, true),
        gone(&in_flight.asleep, begun)
    );
    let revoked = revoked?;
    let fan_out = revoked.fan_out.clone().unwrap_or_default();
    board
        .check(
            "revoked hard: every sandbox with the key is gone, and the fan-out has counted each",
            async {
                let gone = gone?;
                let finished = tenant
                    .project
                    .admin
                    .fanned_out(stack, &fan_out, SOON)
                    .await?;
                counted(tenant, in_flight, &finished, gone).await
            },
        )
        .await;
    board
        .check(
            "revoked hard: each run has `run.aborted_by_revocation` in its trail, once",
            aborted(tenant, in_flight, &fan_out),
        )
        .await;
    board
        .check(
            "revoked hard: a run with another key goes on, to its end",
            others_go_on(tenant, in_flight),
        )
        .await;
    board
        .check(
            "a report after the abort changes nothing",
            late_reports(tenant, &claims),
        )
        .await;
    Ok(())
}

async fn previewed(
    tenant: &Tenant,
    in_flight: &InFlight,
    keys: &[(&str, &str)],
) -> Outcome<String> {
    let mut listed = tenant.project.admin.preview(keys).await?;
    let mut expected: Vec<String> = in_flight.runs().into_iter().cloned().collect();
    listed.sort();
    expected.sort();
    ensure_eq!(listed, expected, "the runs of the preview");
    in_flight.all_sleep()?;
    Ok(format!("{} runs; nothing has changed", listed.len()))
}

/// Waits until no process of the sandboxes is left; since when.
async fn gone(asleep: &Sleeper, since: Instant) -> Outcome<Duration> {
    eventually("the sandboxes to go", SOON, async || {
        Ok(asleep.asleep().is_empty().then(|| since.elapsed()))
    })
    .await
}

async fn counted(
    tenant: &Tenant,
    in_flight: &InFlight,
    fan_out: &FanOutView,
    gone: Duration,
) -> Outcome<String> {
    let [beside, in_aws] = [&in_flight.holding[0], &in_flight.holding[1]];
    let expected = [
        ("runs_aborted", in_flight.runs().len()),
        ("tasks_stopped", in_aws.len()),
        ("tasks_unstopped", 0),
        ("worker_sandboxes", beside.len()),
    ];
    let counts = json!(fan_out.counts);
    let trail = tenant
        .project
        .admin
        .events("revocation.fan_out_finished")
        .await?;
    let told: Vec<&Value> = trail
        .iter()
        .filter(|event| event["fan_out_id"] == json!(fan_out.fan_out_id))
        .collect();
    ensure_eq!(told.len(), 1, "ends of the fan-out in the trail");
    for (count, wanted) in expected {
        ensure_eq!(counts[count], wanted, "`{count}` of {fan_out:?}");
        ensure!(
            told.iter().all(|event| event[count] == wanted),
            "`{count}` of {told:?}"
        );
    }
    let mut last = 0;
    for run in in_flight.runs() {
        for entry in tenant.project.audit(run).await? {
            if !named(std::slice::from_ref(&entry), "run.aborted_by_revocation").is_empty() {
                last = last
                    .max(Timestamp::parse(&text(&entry, "at")?)?.millis_since(fan_out.started_at));
            }
        }
    }
    Ok(format!(
        "the last abort was issued after {}, the fan-out finished after {}, the last sandbox process was gone after {:.1} s\n{}",
        seconds(last),
        seconds(
            fan_out
                .finished_at
                .map_or(0, |at| at.millis_since(fan_out.started_at))
        ),
        gone.as_secs_f64(),
        expected
            .map(|(count, number)| format!("{count} {number}"))
            .join(", ")
    ))
}

fn seconds(millis: i64) -> String {
    format!("{}.{} s", millis / 1000, millis % 1000 / 100)
}

async fn aborted(tenant: &Tenant, in_flight: &InFlight, fan_out: &str) -> Outcome<String> {
    for (runs, source) in in_flight.holding.iter().zip(SOURCES) {
        for run in runs {
            let told = tenant
                .project
                .events(run, "run.aborted_by_revocation")
                .await?;
            ensure_eq!(told.len(), 1, "the abort in the trail of {run}: {told:?}");
            for (member, wanted) in [
                ("profile", source.profile),
                ("key", KEY),
                ("fan_out_id", fan_out),
            ] {
                ensure!(
                    told.iter().all(|event| event[member] == wanted),
                    "`{member}` of {told:?} is not `{wanted}`"
                );
            }
            let shown = tenant.project.run(run).await?;
            ensure_eq!(shown.state, RunState::Aborted, "the run {shown:?}");
            ensure_eq!(
                json!(shown)["steps"][0]["aborted"]["kind"],
                "revoked",
                "why it was ended"
            );
        }
    }
    Ok(format!(
        "{} runs, each with the profile and the key that it had inherited",
        in_flight.runs().len()
    ))
}

async fn others_go_on(tenant: &Tenant, in_flight: &InFlight) -> Outcome<String> {
    ensure_eq!(
        in_flight.others_asleep.asleep().len(),
        in_flight.others.len(),
        "sandboxes with another key"
    );
    in_flight.others_asleep.wake();
    for run in &in_flight.others {
        let ended = tenant.project.finished(run, SOON).await?;
        ensure_eq!(
            ended.state,
            RunState::Succeeded,
            "the run {ended:?}\n{}",
            tenant.worker.log()
        );
        ensure!(
            tenant
                .project
                .events(run, "run.aborted_by_revocation")
                .await?
                .is_empty(),
            "{run} was aborted"
        );
    }
    Ok(format!("{} runs", in_flight.others.len()))
}

/// With the credential of the worker that held the claims.
async fn late_reports(tenant: &Tenant, claims: &[Claimed]) -> Outcome<String> {
    let (mut refused, mut counted) = (0, 0);
    for claimed in claims {
        let before = tenant.project.run(&claimed.run).await?;
        let worker = &tenant.worker.played;
        for answer in [
            worker.try_succeed(claimed).await?,
            worker.try_start(claimed).await?,
        ] {
            ensure!(
                matches!(answer.status, 403 | 409),
                "a late report was answered with {}",
                answer.status
            );
            answer.is_problem()?;
            refused += 1;
        }
        ensure_eq!(
            tenant.project.run(&claimed.run).await?,
            before,
            "the run after a late report"
        );
        let noted = tenant
            .project
            .events(&claimed.run, "report.refused")
            .await?;
        let counts = noted.iter().filter_map(|event| event["count"].as_u64());
        counted = counts.fold(counted, u64::max);
    }
    // A worker's refusals of a minute are on record at the first, the second, the fourth, ...
    ensure!(
        counted * 2 > refused,
        "the trail tells of {counted} refusals, and {refused} were made"
    );
    Ok(format!(
        "{refused} refused starts and reports, {counted} of them counted in the trail"
    ))
}
