//! The step machine, by what it promises.

mod transitions;

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::approval::{ApprovalId, Governance, Needed};
use crate::audit::Event;
use crate::clock::Timestamp;
use crate::fleet::Worker;
use crate::fleet::WorkerStatus;
use crate::identity::Identity;
use crate::identity::SecretRef;
use crate::labels::Labels;
use crate::names::StepId;
use crate::revocation::Revocation;

const PACE: Pace = Pace {
    lease_seconds: 30,
    resend_seconds: 60,
};
const T0: Timestamp = Timestamp::from_millis(1_000_000);

fn step_id(text: &str) -> StepId {
    text.parse().expect("a step id")
}

fn spec(needs: &[&str]) -> StepSpec {
    StepSpec {
        pool: "workers".parse().expect("a pool"),
        mode: Mode::Sandboxed,
        command: vec!["true".into()],
        agent: None,
        needs: needs.iter().map(|need| step_id(need)).collect(),
        takes: BTreeSet::new(),
        requires: Labels::default(),
        model: None,
        env: BTreeMap::new(),
        tool: None,
        inputs: Default::default(),
        tty: false,
        artifacts: Vec::new(),
        approval: None,
        on_drift: OnDrift::Proceed,
        timeout_seconds: 60,
        max_attempts: 3,
        ttl_seconds: 3600,
    }
}

fn worker(last: char) -> Worker {
    Worker {
        worker_id: format!("wrk_0198c0de-0000-7000-8000-00000000000{last}")
            .parse()
            .expect("an id"),
        name: "w".to_owned(),
        pool: "workers".parse().expect("a pool"),
        status: WorkerStatus::Approved,
        labels: Labels::default(),
        models: vec![],
        modes: vec![Mode::Bare, Mode::Sandboxed, Mode::Identity],
        max_concurrent: 2,
        hash: None,
        enrolled_by: None,
        draining_since: None,
        sandboxes: Default::default(),
        registered_at: T0,
    }
}

fn run(steps: &[(&str, &[&str])]) -> Run {
    let steps = steps
        .iter()
        .map(|(id, needs)| (step_id(id), spec(needs)))
        .collect();
    let id = "run_0198c0de-0000-7000-8000-00000000000a"
        .parse()
        .expect("an id");
    Run::enqueue(id, "w".parse().expect("a name"), None, steps, PACE, T0).0
}

const fn by(worker: &Worker) -> Claimant<'_> {
    Claimant {
        worker,
        slot: 0,
        executor: Executor::Worker,
    }
}

/// What `crm` contributes: one secret for each key, at this version.
fn identity(keys: &[&str], version: &str) -> Identity {
    let secret = |key: &&str| SecretRef {
        delivery: crate::delivery::Delivery::Env,
        redact: true,
        name: (*key).to_owned(),
        uri: format!("builtin://{}", key.to_lowercase())
            .parse()
            .expect("a uri"),
        version: Some(version.to_owned()),
        arn: None,
        from: "crm".parse().expect("a profile"),
    };
    Identity {
        secrets: keys.iter().map(secret).collect(),
        ..Identity::default()
    }
}

fn identity_run(on_drift: OnDrift) -> Run {
    let spec = StepSpec {
        mode: Mode::Identity,
        on_drift,
        ..spec(&[])
    };
    let later = StepSpec {
        needs: BTreeSet::from([step_id("a")]),
        ..self::spec(&[])
    };
    let steps = BTreeMap::from([(step_id("a"), spec), (step_id("b"), later)]);
    let id = "run_0198c0de-0000-7000-8000-00000000000a"
        .parse()
        .expect("an id");
    Run::enqueue(
        id,
        "w".parse().expect("a name"),
        Some(identity(&["K"], "1")),
        steps,
        PACE,
        T0,
    )
    .0
}

fn names(change: &Change) -> Vec<String> {
    change.events.iter().map(Event::name).collect()
}

fn claim(run: &mut Run, step: &str, worker: &Worker) -> Fence {
    let change = run
        .claim(&step_id(step), by(worker), &Fresh::Nothing, PACE, T0)
        .expect("claimed");
    change.take.expect("a lease").fence
}

#[test]
fn a_diamond_runs_in_order_and_ends_once() {
    let mut run = run(&[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &["b", "c"])]);
    let w = worker('1');
    let mut ended = 0;
    for step in ["a", "b", "c", "d"] {
        let fence = claim(&mut run, step, &w);
        run.start(
            &step_id(step),
            Some(w.worker_id),
            fence,
            None,
            &SecretsRead::default(),
        )
        .expect("started");
        let change = run
            .finish(
                &step_id(step),
                Some(w.worker_id),
                fence,
                &Outcome::Succeeded,
                PACE,
                T0,
            )
            .expect("done");
        ended += change
            .events
            .iter()
            .filter(|event| matches!(event, Event::RunFinished { .. }))
            .count();
    }
    assert_eq!(
        (run.state(), ended, run.due_at()),
        (RunState::Succeeded, 1, None)
    );
}

#[test]
fn only_the_newest_fence_counts() {
    let mut run = run(&[("a", &[])]);
    let (w, a) = (worker('1'), step_id("a"));
    let old = claim(&mut run, "a", &w);
    run.lose(&a, old, RequeueReason::LeaseExpired, PACE, T0)
        .expect("lost");
    let new = claim(&mut run, "a", &w);
    let before = run.clone();
    for refused in [
        run.start(&a, Some(w.worker_id), old, None, &SecretsRead::default()),
        run.finish(&a, Some(w.worker_id), old, &Outcome::Succeeded, PACE, T0),
        run.lose(&a, old, RequeueReason::LeaseExpired, PACE, T0),
        run.attach(&a, old, Handle::new("x".to_owned()), T0),
    ] {
        assert_eq!(refused, Err(Refusal::StaleFence { given: old }));
    }
    assert_eq!(run, before);
    assert!(
        run.finish(&a, Some(w.worker_id), new, &Outcome::Succeeded, PACE, T0)
            .is_ok()
    );
}

#[test]
fn a_lost_answer_is_claimed_again_under_a_new_fence() {
    let mut run = run(&[("a", &[])]);
    let (w, other) = (worker('1'), worker('2'));
    let first = claim(&mut run, "a", &w);
    assert_eq!(
        run.claim(&step_id("a"), by(&other), &Fresh::Nothing, PACE, T0),
        Err(Refusal::NotQueued("leased"))
    );
    let second = claim(&mut run, "a", &w);
    assert!(second > first);
    assert!(
        run.finish(
            &step_id("a"),
            Some(w.worker_id),
            first,
            &Outcome::Succeeded,
            PACE,
            T0
        )
        .is_err()
    );
}

#[test]
fn reports_are_idempotent_and_final() {
    let mut run = run(&[("a", &[])]);
    let (w, other, a) = (worker('1'), worker('2'), step_id("a"));
    let fence = claim(&mut run, "a", &w);
    assert_eq!(
        run.finish(
            &a,
            Some(other.worker_id),
            fence,
            &Outcome::Succeeded,
            PACE,
            T0
        ),
        Err(Refusal::NotHolder)
    );
    run.finish(&a, Some(w.worker_id), fence, &Outcome::Succeeded, PACE, T0)
        .expect("done");
    assert_eq!(
        run.finish(&a, Some(w.worker_id), fence, &Outcome::Succeeded, PACE, T0),
        Ok(Change::default())
    );
    let failed = Outcome::Failed {
        failure: Failure::Exit { code: 1 },
    };
    assert_eq!(
        run.finish(&a, Some(w.worker_id), fence, &failed, PACE, T0),
        Err(Refusal::EndedOtherwise("succeeded"))
    );
}

#[test]
fn three_losses_are_death_and_retry_revives_dependants() {
    let mut run = run(&[("a", &[]), ("b", &["a"])]);
    let (w, a, b) = (worker('1'), step_id("a"), step_id("b"));
    for _ in 0..3 {
        let fence = claim(&mut run, "a", &w);
        run.lose(&a, fence, RequeueReason::LeaseExpired, PACE, T0)
            .expect("lost");
    }
    assert_eq!(run.state(), RunState::Dead);
    assert_eq!(run.step(&b).map(|step| step.state.name()), Ok("aborted"));
    run.retry(&a, PACE, T0).expect("retried");
    assert_eq!(run.step(&b).map(|step| step.state.name()), Ok("blocked"));
    let fence = claim(&mut run, "a", &w);
    assert_eq!(fence.number(), 4);
}

#[test]
fn a_cancelled_run_stays_due_until_its_tasks_are_stopped() {
    let mut run = run(&[("a", &[]), ("b", &[])]);
    let (w, a) = (worker('1'), step_id("a"));
    let change = run
        .claim(
            &a,
            Claimant {
                executor: Executor::Host,
                ..by(&w)
            },
            &Fresh::Nothing,
            PACE,
            T0,
        )
        .expect("claimed");
    let fence = change.take.expect("a lease").fence;
    run.attach(&a, fence, Handle::new("task/1".to_owned()), T0)
        .expect("attached");
    let change = run.cancel(T0).expect("cancelled");
    assert_eq!((change.stop.len(), change.take_back.len()), (1, 1));
    assert_eq!(run.due_at(), Some(T0));
    assert!(
        run.finish(&a, None, fence, &Outcome::Succeeded, PACE, T0)
            .is_err()
    );
    run.stopped(&a).expect("noted");
    assert_eq!((run.due_at(), run.state()), (None, RunState::Aborted));
}

#[test]
fn a_step_that_nobody_claims_dies_at_its_time_to_live() {
    let mut run = run(&[("a", &[])]);
    let a = step_id("a");
    let change = run.wait(&a, PACE, T0.plus_seconds(61)).expect("resent");
    assert_eq!((change.ready.len(), change.events.len()), (1, 0));
    run.wait(&a, PACE, T0.plus_seconds(3600)).expect("dies");
    assert_eq!(run.state(), RunState::Dead);
}

#[test]
fn graphs_that_cannot_run_are_refused() {
    let graph = |steps: &[(&str, &[&str])]| {
        steps
            .iter()
            .map(|(id, needs)| (step_id(id), spec(needs)))
            .collect()
    };
    assert_eq!(check_graph(&graph(&[])), Err(InvalidGraph::Empty));
    assert!(matches!(
        check_graph(&graph(&[("a", &["x"])])),
        Err(InvalidGraph::UnknownNeed { .. })
    ));
    assert!(matches!(
        check_graph(&graph(&[("a", &["b"]), ("b", &["a"])])),
        Err(InvalidGraph::Cycle(_))
    ));
    assert_eq!(check_graph(&graph(&[("a", &[]), ("b", &["a"])])), Ok(()));
}

#[test]
fn only_what_a_step_needs_is_taken() {
    let mut steps = BTreeMap::from([(step_id("a"), spec(&[])), (step_id("b"), spec(&["a"]))]);
    steps.get_mut(&step_id("b")).expect("a step").takes = BTreeSet::from([step_id("a")]);
    assert_eq!(check_graph(&steps), Ok(()));
    steps.get_mut(&step_id("a")).expect("a step").takes = BTreeSet::from([step_id("b")]);
    assert!(matches!(
        check_graph(&steps),
        Err(InvalidGraph::Unneeded { .. })
    ));
}

#[test]
fn waits_are_as_long_as_steps_may_wait() {
    // Each waits three times an hour and has run twice for a minute before.
    let own = 3 * 3600 + 2 * 60;
    let steps = BTreeMap::from([
        (step_id("a"), spec(&[])),
        (step_id("b"), spec(&["a"])),
        (step_id("c"), spec(&["a", "b"])),
        (step_id("d"), spec(&["gone", "c"])),
        (step_id("e"), spec(&[])),
        (step_id("f"), spec(&["d", "e"])),
    ]);
    let waits = Waits::of(&steps);
    let start = |step: &str| waits.start(&step_id(step));
    assert_eq!((start("a"), start("e")), (own, own));
    assert_eq!(start("b"), 2 * own + 60);
    assert_eq!(start("d"), 4 * own + 3 * 60);
    // What a step needs alone has ended right before it waits; `a` has ended before `b`.
    let after = |taken: &str, step: &str| waits.after(&step_id(taken), &step_id(step));
    assert_eq!((after("a", "b"), after("b", "c")), (own, own));
    assert_eq!(after("a", "c"), start("b") + 60 + own);
    // `d` and all before it may end long after `e`.
    assert_eq!(
        (after("d", "f"), after("e", "f")),
        (own + 60 + own, start("d") + 60 + own)
    );
}

#[test]
fn only_identity_steps_see_the_identity() {
    let mut run = run(&[("a", &[])]);
    let env = BTreeMap::from([("REGION".to_owned(), "eu".to_owned())]);
    run.identity = Some(Identity {
        env,
        ..Identity::default()
    });
    let mut step = run.step(&step_id("a")).expect("a step").clone();
    for mode in [Mode::Bare, Mode::Sandboxed] {
        step.spec.mode = mode;
        assert!(
            run.identity_of(&step).is_none() && run.env_of(&step).is_empty(),
            "{mode}"
        );
    }
    step.spec.mode = Mode::Identity;
    step.spec.env.insert("REGION".to_owned(), "us".to_owned());
    assert!(run.identity_of(&step).is_some());
    assert_eq!(
        run.env_of(&step).get("REGION").map(String::as_str),
        Some("us")
    );
}

#[test]
fn a_step_starts_with_what_is_true_now_and_the_drift_is_on_record() {
    let mut run = identity_run(OnDrift::Proceed);
    let fresh = Fresh::Identity(identity(&["K", "L"], "2"));
    let change = run
        .claim(&step_id("a"), by(&worker('1')), &fresh, PACE, T0)
        .expect("claimed");
    assert_eq!(
        names(&change),
        [
            "step.leased",
            "profile.drift_at_injection",
            "secret.released"
        ]
    );
    let Some(Event::DriftAtInjection { drift, .. }) = change.events.get(1) else {
        panic!("no drift")
    };
    assert_eq!(
        (drift.added.len(), drift.removed.len(), drift.rotated.len()),
        (1, 0, 1)
    );
    let step = run.step(&step_id("a")).expect("a step");
    assert_eq!(run.identity_of(step).expect("an identity").secrets.len(), 2);
    assert!(change.take.expect("a lease").identity);
}

#[test]
fn without_drift_nothing_is_said_of_it() {
    let mut run = identity_run(OnDrift::Refuse);
    let fresh = Fresh::Identity(identity(&["K"], "1"));
    let change = run
        .claim(&step_id("a"), by(&worker('1')), &fresh, PACE, T0)
        .expect("claimed");
    assert_eq!(names(&change), ["step.leased", "secret.released"]);
}

#[test]
fn a_step_that_refuses_drift_fails_and_nothing_is_released_to_it() {
    let mut run = identity_run(OnDrift::Refuse);
    let fresh = Fresh::Identity(identity(&["K"], "2"));
    let change = run
        .claim(&step_id("a"), by(&worker('1')), &fresh, PACE, T0)
        .expect("failed");
    assert_eq!(
        names(&change),
        [
            "profile.drift_at_injection",
            "step.failed",
            "step.aborted",
            "run.finished"
        ]
    );
    assert!(change.take.is_none());
    let state = &run.step(&step_id("a")).expect("a step").state;
    assert!(
        matches!(state, StepState::Failed { failure: Failure::Drifted { detail }, .. } if detail == "rotated: K")
    );
}

#[test]
fn a_revoked_key_in_flight_ends_the_whole_run_and_no_report_brings_it_back() {
    let mut run = identity_run(OnDrift::Proceed);
    let active = [Revocation {
        revocation_id: "rev_0198c0de-0000-7000-8000-00000000000a"
            .parse()
            .expect("an id"),
        profile: "other".parse().expect("a profile"),
        key: "X".to_owned(),
        uri: "builtin://k".parse().expect("a uri"),
        hard: true,
        reason: "leaked".to_owned(),
        actor: "token:x".to_owned(),
        at: T0,
        fan_out_id: None,
        lifted: None,
    }];
    assert_eq!(
        run.revoked_in_flight(&active),
        None,
        "nothing of it is in flight yet"
    );
    let w = worker('1');
    let fresh = Fresh::Identity(identity(&["K"], "1"));
    let change = run.claim(
        &step_id("a"),
        Claimant {
            executor: Executor::Host,
            ..by(&w)
        },
        &fresh,
        PACE,
        T0,
    );
    let fence = change.expect("claimed").take.expect("a lease").fence;
    run.attach(&step_id("a"), fence, Handle::new("task".to_owned()), T0)
        .expect("attached");
    let revoked = run.revoked_in_flight(&active).expect("it holds the key");
    let change = run.abort_revoked(revoked, None, T0).expect("aborted");
    assert_eq!(
        names(&change),
        [
            "run.aborted_by_revocation",
            "step.aborted",
            "step.aborted",
            "run.finished"
        ]
    );
    assert_eq!((change.stop.len(), change.take_back.len()), (1, 1));
    let before = run.clone();
    run.start(&step_id("a"), None, fence, None, &SecretsRead::default())
        .expect_err("too late");
    run.finish(&step_id("a"), None, fence, &Outcome::Succeeded, PACE, T0)
        .expect_err("too late");
    run.lose(&step_id("a"), fence, RequeueReason::LeaseExpired, PACE, T0)
        .expect_err("too late");
    assert_eq!((run.state(), run), (RunState::Aborted, before));
}

#[test]
fn a_run_that_an_earlier_attempt_named_is_the_one_to_approve() {
    let asks = StepSpec {
        approval: Some(Needed::Required),
        ..spec(&[])
    };
    let id = |last: char| format!("run_0198c0de-0000-7000-8000-00000000000{last}");
    let (of, steps) = (
        ("w".parse().expect("a name"), None),
        BTreeMap::from([(step_id("a"), asks)]),
    );
    let asker = Governance::default().asker("token:a".to_owned(), None);
    let new = id('a').parse().expect("an id");
    let (run, change) = Run::enqueue_version(new, of, None, steps, Some(asker), PACE, T0);
    let (run, change) = run.renamed(id('b').parse().expect("an id"), change);
    let own: ApprovalId = format!("step:{}:a", id('b')).parse().expect("an id");
    let approval = run
        .steps
        .values()
        .next()
        .and_then(|step| step.approval.as_ref());
    assert_eq!(approval.map(|approval| &approval.approval), Some(&own));
    let asked = change.events.iter().find_map(|event| match event {
        Event::ApprovalRequested { approval, .. } => Some(approval),
        _ => None,
    });
    assert_eq!(asked, Some(&own));
}
