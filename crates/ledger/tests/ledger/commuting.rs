//! Steps of one run at once, the largest runs, and leases whose claims died.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::{join, join_all};
use sealfleet_domain::audit::Event;
use sealfleet_domain::cascade::Overrides;
use sealfleet_domain::delivery::{AtEgress, Delivery, How, Sigv4};
use sealfleet_domain::egress::{Binding, Policy, Rule, Rules};
use sealfleet_domain::fleet::Worker;
use sealfleet_domain::identity::{Identity, SecretRef};
use sealfleet_domain::run::{
    Executor, Fresh, Handle, Mode, Outcome, RequeueReason, Run, RunState, SecretsRead, StepSpec,
};
use sealfleet_domain::usage::Sums;
use sealfleet_domain::workload::Workload;
use sealfleet_domain::{Owner, ProjectScope, RunId, StepId, WorkerId, limits};
use sealfleet_ledger::store::{Condition, Item, Store, Table, Write};
use sealfleet_ledger::{
    AuditFilter, Claimed, Enqueued, Error, Ledger, NewClaim, Start, StartedSandbox,
};
use sealfleet_system::{SystemClock, SystemIds};

use crate::fixtures::{PACE, ledger_alone, scope, spec, worker};

fn step(number: usize) -> StepId {
    format!("step-{number:03}").parse().unwrap()
}

async fn enqueue(
    ledger: &Ledger,
    scope: &ProjectScope,
    steps: BTreeMap<StepId, StepSpec>,
    identity: Option<Identity>,
) -> RunId {
    let now = ledger.now();
    let run_id = RunId::new(ledger.ids(), now);
    let (run, change) = Run::enqueue(run_id, "w".parse().unwrap(), identity, steps, PACE, now);
    let stored = ledger.enqueue(scope, run, &change, None, "test").await;
    assert!(matches!(stored, Ok(Enqueued::New(_))), "{stored:?}");
    run_id
}

async fn claim(
    ledger: &Ledger,
    scope: &ProjectScope,
    (run_id, step_id): (RunId, &StepId),
    fresh: Fresh,
) -> (WorkerId, Claimed) {
    let worker = worker(ledger, 1);
    let wanted = NewClaim {
        scope,
        worker: &worker,
        run_id,
        step_id,
        executor: Executor::Worker,
        pace: PACE,
    };
    let claimed = ledger.claim(&wanted, async |_| Ok(fresh.clone())).await;
    (worker.worker_id, claimed.unwrap())
}

async fn start(
    ledger: &Ledger,
    scope: &ProjectScope,
    (run_id, step_id): (RunId, &StepId),
    (holder, claimed): &(WorkerId, Claimed),
) {
    let sandbox = StartedSandbox {
        scope,
        run_id,
        step_id,
        holder: Some(*holder),
        fence: claimed.fence,
        handle: Handle::new("sandbox".to_owned()),
        read: &SecretsRead::default(),
        output: None,
        uploads: false,
        pace: PACE,
    };
    let started = ledger.start(&sandbox, "test").await;
    assert!(matches!(started, Ok(Start::Running(_))), "{started:?}");
}

async fn finish(
    ledger: &Ledger,
    scope: &ProjectScope,
    (run_id, step_id): (RunId, &StepId),
    (holder, claimed): &(WorkerId, Claimed),
) {
    let finished = ledger.transition(scope, run_id, "test", |run, now| {
        let holder = Some(*holder);
        run.finish(
            step_id,
            holder,
            claimed.fence,
            &Outcome::Succeeded,
            PACE,
            now,
        )
    });
    finished.await.unwrap();
}

#[tokio::test]
async fn steps_of_one_run_never_refuse_one_another() {
    for count in [25, limits::STEPS] {
        let (ledger, scope) = (ledger_alone().await, scope("healthcare"));
        let steps = (0..count).map(|number| (step(number), spec(Mode::Sandboxed)));
        let run_id = enqueue(&ledger, &scope, steps.collect(), None).await;
        let each = (0..count).map(async |number| {
            let step = step(number);
            let at = (run_id, &step);
            let held = claim(&ledger, &scope, at, Fresh::Nothing).await;
            start(&ledger, &scope, at, &held).await;
            finish(&ledger, &scope, at, &held).await;
            ledger.leases_of(&scope, held.0).await.unwrap().len()
        });
        for left in join_all(each).await {
            assert_eq!(left, 0, "a lease that is left");
        }
        let run = ledger.run(&scope, run_id).await.unwrap();
        assert_eq!(run.state(), RunState::Succeeded);
        // Each end has added to the sums, however often it was tried.
        let ever = ("2000-01-01", "2999-12-31");
        let used = ledger.used(&scope, ever, 10).await.unwrap().unwrap();
        let sums = |all: Vec<Sums>| all.iter().fold(Sums::default(), |all, one| all.plus(one));
        let summed = sums(used.into_values().collect());
        let steps = run
            .steps
            .values()
            .flat_map(|step| step.used.values().copied());
        assert_eq!(summed, sums(steps.collect()));
        assert_eq!(summed.attempts, count as u64);
        assert_eq!(ledger.used(&scope, ever, 0).await.unwrap(), None);
        let other = self::scope("finance");
        let nothing = ledger.used(&other, ever, 10).await.unwrap().unwrap();
        assert!(nothing.is_empty());
    }
}

/// Word of a waiting step and the end of the claim that it is left with, at the same time: the word
/// is told to whoever ends the claim, or refused to whoever leaves it.
#[tokio::test]
async fn no_word_that_is_left_with_a_lease_is_lost() {
    let (ledger, scope) = (ledger_alone().await, scope("healthcare"));
    let count = 40;
    let steps = (0..count).map(|number| (step(number), spec(Mode::Sandboxed)));
    let run_id = enqueue(&ledger, &scope, steps.collect(), None).await;
    let waiting = (run_id, step(7));
    let (mut told, mut refused) = (0, 0);
    let mut an_end_takes = Duration::from_millis(20);
    for number in 0..count {
        let step = step(number);
        let held = claim(&ledger, &scope, (run_id, &step), Fresh::Nothing).await;
        start(&ledger, &scope, (run_id, &step), &held).await;
        let leases = ledger.leases_of(&scope, held.0).await.unwrap();
        let began = Instant::now();
        let ends = async {
            let ended = ledger.transition(&scope, run_id, "test", |run, now| {
                let outcome = Outcome::Succeeded;
                run.finish(&step, Some(held.0), held.1.fence, &outcome, PACE, now)
            });
            (ended.await, began.elapsed())
        };
        let leaves = async {
            // From before the end's first write to after its last.
            let part = u32::try_from(number % 10).unwrap();
            tokio::time::sleep(an_end_takes * part / 6).await;
            let word = (waiting.0, &waiting.1);
            ledger.leave_hint(&scope, held.0, &leases[0], word).await
        };
        let (ended, left) = join(ends, leaves).await;
        an_end_takes = ended.1;
        let (ended, left) = (ended.0.unwrap(), left.unwrap());
        assert_eq!(ended.waiting.contains(&waiting), left, "{number}");
        if left {
            told += 1;
        } else {
            refused += 1;
        }
        assert!(ledger.leases_of(&scope, held.0).await.unwrap().is_empty());
    }
    assert!(told > 0 && refused > 0, "{told} told, {refused} refused");
}

#[tokio::test]
async fn one_worker_fills_all_its_slots_at_once() {
    let (ledger, scope) = (ledger_alone().await, scope("healthcare"));
    let steps = (0..limits::STEPS).map(|number| (step(number), spec(Mode::Sandboxed)));
    let run_id = enqueue(&ledger, &scope, steps.collect(), None).await;
    let worker = worker(&ledger, u32::try_from(limits::STEPS).unwrap());
    let claims = (0..limits::STEPS).map(async |number| {
        let claim = NewClaim {
            scope: &scope,
            worker: &worker,
            run_id,
            step_id: &step(number),
            executor: Executor::Worker,
            pace: PACE,
        };
        ledger.claim(&claim, async |_| Ok(Fresh::Nothing)).await
    });
    for claimed in join_all(claims).await {
        assert!(claimed.is_ok(), "{claimed:?}");
    }
    let held = ledger.leases_of(&scope, worker.worker_id).await.unwrap();
    assert_eq!(held.len(), limits::STEPS);
}

/// As much as one secret can be bound to.
fn bound(number: usize) -> AtEgress {
    let label = "b".repeat(60);
    let path = format!("/{number:0>width$}", width = limits::EGRESS_PATH_BYTES - 1);
    let to = (0..limits::EGRESS_BINDINGS).map(|at| Binding {
        host: format!("{label}.{label}.{label}.{at}.example")
            .parse()
            .unwrap(),
        port: 8443,
        path: Some(path.parse().unwrap()),
    });
    let access_key_id = "A".repeat(128);
    AtEgress {
        to: to.collect(),
        how: How::Sigv4(Sigv4 { access_key_id }),
        prefix: "p".repeat(32),
    }
}

/// An identity as large as profiles may make it, other than that of another number.
fn largest(number: usize) -> Identity {
    let secret = |at: usize| {
        let name = format!("SECRET_{at:03}_{:X<48}", "");
        let path = format!("sealfleet/healthcare/{at:03}-{number:06}-");
        let room = limits::URI_BYTES - "aws-sm://".len() - "#key".len();
        let delivery = match at < limits::EGRESS_SECRETS {
            true => Delivery::Egress(bound(number)),
            false => Delivery::File,
        };
        SecretRef {
            delivery,
            redact: true,
            name,
            uri: format!("aws-sm://{path:a<room$}#key").parse().unwrap(),
            version: Some(format!("{number:036}")),
            arn: None,
            from: "crm".parse().unwrap(),
        }
    };
    let env = (0..limits::ENV_ENTRIES).map(|at| {
        let value = format!("{number}-{at}-{:v<900}", "");
        (format!("KNOB_{at:03}_{:Y<48}", ""), value)
    });
    // Each level adds rules that the others cover at the most.
    let label = "l".repeat(60);
    let rules = (0..4 * limits::EGRESS_RULES).map(|at| {
        let host = format!("{label}.{label}.{label}.{number:020}-{at:03}.example");
        let method = |at| format!("M{at:0>width$}", width = limits::METHOD_BYTES - 1).parse();
        let path = format!("/{at:0>width$}", width = limits::EGRESS_PATH_BYTES - 1).parse();
        Rule {
            host: host.parse().unwrap(),
            port: 8443,
            methods: Some(
                (0..limits::EGRESS_METHODS)
                    .map(|at| method(at).unwrap())
                    .collect(),
            ),
            paths: Some([path.unwrap()].into()),
        }
    });
    let audience = "a".repeat(limits::AUDIENCE_BYTES - 20);
    let audiences =
        (0..limits::AUDIENCES).map(|at| format!("{audience}{number:010}-{at:09}").parse().unwrap());
    Identity {
        profiles: Vec::new(),
        overrides: Overrides::default(),
        env: env.collect(),
        secrets: (0..limits::SECRETS).map(secret).collect(),
        tools: None,
        egress: Some(Policy::Allow(Rules::of(rules))),
        workload: Some(Workload {
            audiences: audiences.collect(),
        }),
    }
}

#[tokio::test]
async fn the_largest_run_is_driven_to_its_end_whatever_drifts() {
    let (ledger, scope) = (ledger_alone().await, scope("healthcare"));
    let most = StepSpec {
        command: vec!["x".repeat(1000).into()],
        max_attempts: limits::MAX_ATTEMPTS,
        ..spec(Mode::Identity)
    };
    let steps = (0..limits::STEPS).map(|number| (step(number), most.clone()));
    let run_id = enqueue(&ledger, &scope, steps.collect(), Some(largest(0))).await;
    let mut drifted = 0;
    for number in 0..limits::STEPS {
        let step = step(number);
        let at = (run_id, &step);
        // A few steps are lost as often as they may be. All would take minutes.
        let attempts = if number < 2 { limits::MAX_ATTEMPTS } else { 1 };
        for attempt in 1..=attempts {
            drifted += 1;
            let held = claim(&ledger, &scope, at, Fresh::Identity(largest(drifted))).await;
            if attempt == attempts {
                start(&ledger, &scope, at, &held).await;
                finish(&ledger, &scope, at, &held).await;
                continue;
            }
            let lost = ledger.transition(&scope, run_id, "test", |run, now| {
                let fence = held.1.fence;
                run.lose(&step, fence, RequeueReason::LeaseExpired, PACE, now)
            });
            lost.await.unwrap();
        }
    }
    let run = ledger.run(&scope, run_id).await.unwrap();
    assert_eq!(run.state(), RunState::Succeeded);

    let mut filter = AuditFilter::between(ledger.now().plus_seconds(-3600), ledger.now(), 1000);
    filter.run_id = Some(run_id);
    let page = ledger.audit(&Owner::Project(scope), &filter).await.unwrap();
    let released = page.entries.iter().flat_map(|entry| &entry.events);
    let released: Vec<_> = released
        .filter_map(|event| match event {
            Event::SecretReleased { secrets, .. } => Some(secrets.len()),
            _ => None,
        })
        .collect();
    assert_eq!(released, vec![limits::SECRETS; drifted]);
}

#[tokio::test]
async fn a_run_that_is_too_large_is_refused_before_anything_is_stored() {
    let (ledger, scope) = (ledger_alone().await, scope("healthcare"));
    // Text that does not shrink.
    let noise = |number: usize| {
        let words = (0..200).map(|word| {
            let seed = format!("{number}-{word}");
            sealfleet_domain::hash::sha256_hex(seed.as_bytes())
        });
        StepSpec {
            command: vec![words.collect::<String>().into()],
            ..spec(Mode::Sandboxed)
        }
    };
    let steps = (0..limits::STEPS).map(|number| (step(number), noise(number)));
    let now = ledger.now();
    let run_id = RunId::new(ledger.ids(), now);
    let workflow = "w".parse().unwrap();
    let (run, change) = Run::enqueue(run_id, workflow, None, steps.collect(), PACE, now);
    let stored = ledger.enqueue(&scope, run, &change, None, "test").await;
    assert!(matches!(stored, Err(Error::TooLarge(_))), "{stored:?}");
    assert!(matches!(
        ledger.run(&scope, run_id).await,
        Err(Error::NotFound)
    ));
}

/// A lease whose claim never came: as the first write of a claim leaves it.
async fn orphan(store: &dyn Store, holder: WorkerId, run_id: RunId, step: &StepId, until: i64) {
    let shard = holder.uuid().as_bytes()[15] % 8;
    let number = |number: i64| AttributeValue::N(number.to_string());
    let item = Item::from([
        (
            "pk".to_owned(),
            AttributeValue::S(format!("PRJ#healthcare#LEASES#{shard}")),
        ),
        ("sk".to_owned(), AttributeValue::S(format!("{holder}#0000"))),
        (
            "step".to_owned(),
            AttributeValue::S(format!("{run_id}/{step}")),
        ),
        ("fence".to_owned(), number(1)),
        ("until".to_owned(), number(until)),
        ("identity".to_owned(), AttributeValue::Bool(false)),
    ]);
    let put = Write::Put {
        table: Table::Ledger,
        item,
        only_if: Condition::Absent,
    };
    store.write(vec![put]).await.unwrap();
}

#[tokio::test]
async fn a_slot_is_taken_over_when_its_claim_never_came() {
    let (store, _) = sealfleet_test_dynamo::start().await.unwrap();
    let ledger = Ledger::new(store.clone(), Arc::new(SystemClock), Arc::new(SystemIds));
    let scope = scope("healthcare");
    let steps = (0..2).map(|number| (step(number), spec(Mode::Sandboxed)));
    let run_id = enqueue(&ledger, &scope, steps.collect(), None).await;
    let (first, second) = (step(0), step(1));
    let ask = async |worker: &Worker| {
        let wanted = NewClaim {
            scope: &scope,
            worker,
            run_id,
            step_id: &second,
            executor: Executor::Worker,
            pace: PACE,
        };
        ledger.claim(&wanted, async |_| Ok(Fresh::Nothing)).await
    };
    let now = ledger.now().millis();

    let waits = worker(&ledger, 1);
    orphan(
        store.as_ref(),
        waits.worker_id,
        run_id,
        &first,
        now + 60_000,
    )
    .await;
    let full = ask(&waits).await;
    assert!(
        matches!(full, Err(Error::AtCapacity(1))),
        "it may still come: {full:?}"
    );

    let free = worker(&ledger, 1);
    orphan(store.as_ref(), free.worker_id, run_id, &first, now - 1000).await;
    let claimed = ask(&free).await.unwrap();
    assert_eq!(claimed.fence.number(), 1);
    // The claim that never came would have written fence 1, on a step that was at fence 0.
    let (_, claimed) = claim(&ledger, &scope, (run_id, &first), Fresh::Nothing).await;
    assert_eq!(claimed.fence.number(), 2);

    // A slot whose lease has run out and whose step is held is not free.
    let holds = ledger.leases_of(&scope, free.worker_id).await.unwrap();
    let [lease] = holds.as_slice() else {
        panic!("{holds:?}")
    };
    let past = ledger.now().plus_seconds(-1);
    let lease = lease.key(free.worker_id);
    let moved = ledger.renew(&scope, &lease, past).await;
    assert!(moved.unwrap());
    let third = Ledger::run(&ledger, &scope, run_id).await.unwrap();
    assert!(third.step(&second).unwrap().state.hold().is_some());
    let wanted = NewClaim {
        scope: &scope,
        worker: &free,
        run_id: enqueue(
            &ledger,
            &scope,
            BTreeMap::from([(first.clone(), spec(Mode::Sandboxed))]),
            None,
        )
        .await,
        step_id: &first,
        executor: Executor::Worker,
        pace: PACE,
    };
    let full = ledger.claim(&wanted, async |_| Ok(Fresh::Nothing)).await;
    assert!(matches!(full, Err(Error::AtCapacity(1))), "{full:?}");
}
