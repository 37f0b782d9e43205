//! No transition of a run changes its state without an event: all of them, from every state that a
//! small run can reach.
//!
//! A run of two steps, one of which waits for the other, is taken through every transition that the
//! step machine has, from every state found so far, until nothing new is found within the depth. A
//! method of `Run` that changes it and is not among them, and a move between two states that never
//! happens, fails the walk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::super::*;
use super::{PACE, T0, identity, spec, step_id, worker};
use crate::agent::AgentReport;
use crate::audit::catalogue::Class;
use crate::names::StepId;
use crate::revocation::Revoked;
use crate::usage::Size;

/// Transitions one after another. Each pair of states is met within it.
const DEPTH: usize = 7;

type Transition = (
    &'static str,
    Box<dyn Fn(&mut Run) -> Result<Change, Refusal>>,
);

fn enqueued() -> Run {
    let spec = |needs: &[&str]| StepSpec {
        mode: Mode::Identity,
        max_attempts: 2,
        ..spec(needs)
    };
    let steps = BTreeMap::from([(step_id("a"), spec(&[])), (step_id("b"), spec(&["a"]))]);
    let id = "run_0198c0de-0000-7000-8000-00000000000a"
        .parse()
        .expect("an id");
    let (run, change) = Run::enqueue(
        id,
        "w".parse().expect("a name"),
        Some(identity(&["K"], "1")),
        steps,
        PACE,
        T0,
    );
    assert!(
        change
            .events
            .iter()
            .any(|event| event.name() == "run.enqueued"),
        "{change:?}"
    );
    run
}

fn revoked() -> Revoked {
    Revoked {
        revocation_id: "rev_0198c0de-0000-7000-8000-00000000000a"
            .parse()
            .expect("an id"),
        profile: "crm".parse().expect("a profile"),
        key: "K".to_owned(),
    }
}

/// Every transition, with every kind of argument, on each step.
fn transitions() -> Vec<Transition> {
    let mut all: Vec<Transition> = Vec::new();
    let later = T0.plus_seconds(120);
    for step in ["a", "b"] {
        let id = step_id(step);
        let mut add = |name, rule: fn(&mut Run, &StepId) -> Result<Change, Refusal>| {
            let id = id.clone();
            all.push((name, Box::new(move |run: &mut Run| rule(run, &id))));
        };
        add("claim", |run, id| {
            claim(
                run,
                id,
                Executor::Worker,
                &Fresh::Identity(identity(&["K"], "1")),
            )
        });
        add("claim", |run, id| {
            claim(
                run,
                id,
                Executor::Host,
                &Fresh::Identity(identity(&["K"], "2")),
            )
        });
        add("claim", |run, id| {
            claim(
                run,
                id,
                Executor::Host,
                &Fresh::Refused(Failure::OutOfMemory),
            )
        });
        add("attach", |run, id| {
            run.attach(
                id,
                run.step(id)?.fence,
                Handle::new("task".to_owned()),
                T0.plus_seconds(120),
            )
        });
        // Noted with the handle of a sandbox, never alone.
        add("sized", |run, id| {
            let (fence, handle) = (run.step(id)?.fence, Handle::new("task".to_owned()));
            let change = run.attach(id, fence, handle, T0.plus_seconds(120))?;
            if change.quiet {
                let (cpu, memory_mib) = (256, 512);
                run.sized(id, Size { cpu, memory_mib })?;
            }
            Ok(change)
        });
        add("start", |run, id| {
            run.start(id, None, run.step(id)?.fence, None, &SecretsRead::default())
        });
        // Noted with the report of a start, never alone.
        add("output_at", |run, id| {
            let change = run.start(id, None, run.step(id)?.fence, None, &SecretsRead::default())?;
            if !change.events.is_empty() {
                run.output_at(id, Some("host:/output".to_owned()), true)?;
            }
            Ok(change)
        });
        add("finish", |run, id| {
            run.finish(id, None, run.step(id)?.fence, &Outcome::Succeeded, PACE, T0)
        });
        add("finish", |run, id| {
            let failed = Outcome::Failed {
                failure: Failure::Exit { code: 1 },
            };
            run.finish(id, None, run.step(id)?.fence, &failed, PACE, T0)
        });
        add("finish_as_told", |run, id| {
            let told = Told {
                out: CameOut {
                    cut_bytes: 1,
                    missing_bytes: 2,
                    result_bytes: Some(3),
                    artifacts: Some(crate::artifact::Total { files: 1, bytes: 4 }),
                },
                agent: Some(AgentReport::default()),
                ..Told::only(Outcome::Succeeded)
            };
            run.finish_as_told(id, None, run.step(id)?.fence, &told, PACE, T0)
        });
        add("lose", |run, id| {
            run.lose(
                id,
                run.step(id)?.fence,
                RequeueReason::LeaseExpired,
                PACE,
                T0,
            )
        });
        add("lose", |run, id| {
            run.lose(id, run.step(id)?.fence, RequeueReason::NoCapacity, PACE, T0)
        });
        add("lose_sandbox", |run, id| {
            run.lose_sandbox(id, None, run.step(id)?.fence, PACE, T0)
        });
        add("look_again", |run, id| {
            run.look_again(id, run.step(id)?.fence, T0.plus_seconds(120))
        });
        add("wait", |run, id| run.wait(id, PACE, T0.plus_seconds(120)));
        add("wait", |run, id| run.wait(id, PACE, T0.plus_seconds(7200)));
        add("abort_start", |run, id| {
            run.abort_start(id, run.step(id)?.fence, revoked(), PACE, T0)
        });
        add("stopped", Run::stopped);
        add("retry", |run, id| run.retry(id, PACE, T0));
        add("void", |run, id| run.void(id, Fence::new(1)));
    }
    all.push(("cancel", Box::new(move |run| run.cancel(later))));
    all.push((
        "abort_revoked",
        Box::new(|run| {
            // The fan-out asks only for runs that hold something.
            if run.steps.values().all(|step| step.state.is_terminal()) {
                return Err(Refusal::AlreadyEnded(run.state().name()));
            }
            run.abort_revoked(revoked(), None, T0)
        }),
    ));
    all
}

fn claim(run: &mut Run, id: &StepId, executor: Executor, fresh: &Fresh) -> Result<Change, Refusal> {
    run.claim(
        id,
        Claimant {
            worker: &worker('1'),
            slot: 0,
            executor,
        },
        fresh,
        PACE,
        T0,
    )
}

/// The run without what is only looked at: due times, messages that were sent again, a launched
/// sandbox's handle and its output's place, a fence that was used up by nobody.
fn settled(run: &Run) -> Run {
    let mut run = run.clone();
    for step in run.steps.values_mut() {
        step.output = None;
        match &mut step.state {
            StepState::Queued {
                since,
                resend_at,
                resent,
            } => {
                (*resend_at, *resent) = (*since, 0);
                step.fence = Fence::default();
            }
            StepState::Leased(hold) | StepState::Running(hold) => {
                (hold.due, hold.handle, hold.size) = (hold.since, None, None)
            }
            _ => {}
        }
    }
    run
}

fn check(name: &str, before: &Run, after: &Run, change: &Change) -> Result<(), &'static str> {
    let moved = settled(before) != settled(after);
    let tells = change
        .events
        .iter()
        .any(|event| event.class() == Class::StateChange);
    if moved && !tells {
        return Err("it changes the state and has no event of a change");
    }
    if !moved && !change.events.is_empty() {
        return Err("it has events and changes nothing");
    }
    if before != after && change.events.is_empty() && !change.quiet {
        return Err("what it changes would not be stored");
    }
    if (change.take.is_some() || !change.release.is_empty() || !change.take_back.is_empty())
        && !tells
    {
        return Err("it takes or frees a lease and has no event");
    }
    if change.take.is_some() && name != "claim" {
        return Err("something else than a claim takes a lease");
    }
    Ok(())
}

/// The methods that change a run, from the text of their module.
fn methods() -> BTreeSet<&'static str> {
    let text = concat!(
        include_str!("../abort.rs"),
        include_str!("../claim.rs"),
        include_str!("../end.rs"),
        include_str!("../settle.rs"),
        include_str!("../types.rs"),
    );
    let public = text.split("    pub fn ").skip(1);
    let changes = public.filter(|rest| {
        rest.split(')')
            .next()
            .is_some_and(|head| head.contains("&mut self"))
    });
    changes
        .filter_map(|rest| rest.split(['(', '<']).next())
        .collect()
}

#[test]
fn every_transition_that_changes_the_state_has_its_event() {
    let transitions = transitions();
    let key = |run: &Run| serde_json::to_string(run).expect("JSON");
    let start = enqueued();
    let mut seen = BTreeSet::from([key(&start)]);
    let mut queue = VecDeque::from([(start, 0)]);
    let mut happened: BTreeSet<&str> = BTreeSet::new();
    let mut moves: BTreeSet<(&str, &str)> = BTreeSet::new();
    while let Some((before, depth)) = queue.pop_front() {
        for (name, transition) in &transitions {
            let mut after = before.clone();
            let Ok(change) = transition(&mut after) else {
                continue;
            };
            if let Err(wrong) = check(name, &before, &after, &change) {
                panic!("`{name}`: {wrong}: {before:?} -> {after:?} by {change:?}");
            }
            if before != after {
                happened.insert(name);
            }
            for (before, after) in before.steps.values().zip(after.steps.values()) {
                if before.state.name() != after.state.name() {
                    moves.insert((before.state.name(), after.state.name()));
                }
            }
            if depth < DEPTH && seen.insert(key(&after)) {
                queue.push_back((after, depth + 1));
            }
        }
    }
    assert_eq!(happened, methods(), "transitions that happened, and all");
    assert_eq!(moves, BTreeSet::from(MOVES), "moves that happened, and all");
}

/// The step machine: all moves between two states.
const MOVES: [(&str, &str); 19] = [
    ("blocked", "aborted"),
    ("blocked", "queued"),
    ("queued", "aborted"),
    ("queued", "dead"),
    ("queued", "failed"),
    ("queued", "leased"),
    ("leased", "aborted"),
    ("leased", "dead"),
    ("leased", "failed"),
    ("leased", "queued"),
    ("leased", "running"),
    ("leased", "succeeded"),
    ("running", "aborted"),
    ("running", "dead"),
    ("running", "failed"),
    ("running", "queued"),
    ("running", "succeeded"),
    ("dead", "queued"),
    ("aborted", "blocked"),
];
