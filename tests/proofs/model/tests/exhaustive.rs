//! Every state of every setup, under the product's order and under each mutation.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::Path;

use sealfleet_model::document::{self, narrate, shortest};
use sealfleet_model::promises::SEEN;
use sealfleet_model::{Promise, Protocol, RevocationModel, Setup};
use stateright::{Checker, Model};

fn document() -> String {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/reference/intent-then-check.md");
    std::fs::read_to_string(&path).unwrap()
}

const OUT_OF_DATE: &str = "`docs/reference/intent-then-check.md` is out of date: `cargo run -p sealfleet-model -- --write`";

/// Visits every state: no promise is broken in any, and all of [`SEEN`] is seen but for `unseen`.
fn visit(setup: Setup, unseen: &[&str]) {
    let model = RevocationModel::of(setup.clone());
    let checker = model.checker().threads(2).spawn_bfs().join();
    let (states, transitions) = (checker.unique_state_count(), checker.state_count());
    eprintln!("{states} states, {transitions} transitions");
    for promise in Promise::ALL {
        if let Some(path) = checker.discovery(promise.text()) {
            panic!(
                "not true: {}\n{}",
                promise.text(),
                narrate(&document::steps(path))
            );
        }
    }
    let missing: Vec<&str> = SEEN
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| checker.discovery(name).is_none())
        .collect();
    assert_eq!(
        missing, unseen,
        "a promise about what never happens says nothing"
    );
    let row = document::size(&setup, states, transitions);
    assert!(document().contains(&row), "{OUT_OF_DATE}\n{row}");
}

const FAN_OUT: &str = "a fan-out aborts a run";
const RESUMED: &str = "a resumed fan-out aborts a run";
const SELF: &str = "a claim ends its own step";
const START: &str = "a start is refused and its step aborted";
const STORED: &str = "a run stored after its key was revoked is refused";
const LIFTED: &str = "a lifted key runs again";
const SECOND: &str = "a second claim runs";
const TAKEN_BACK: &str = "a launch is taken back";
const REFUSED: &str = "a hold is refused";
const AGAIN: &str = "a worker claims again what it holds";
const TAKEN_OVER: &str = "a take-over makes a claim impossible";
const SEVERAL: &str = "a run with several steps finishes";

#[test]
fn two_deliveries_of_one_message() {
    visit(Setup::deliveries(), &[SECOND, AGAIN, TAKEN_OVER, SEVERAL]);
}

#[test]
fn a_host_without_room() {
    visit(Setup::full(), &[LIFTED, AGAIN, TAKEN_OVER, SEVERAL]);
}

#[test]
fn a_step_that_is_lost_and_claimed_again() {
    visit(Setup::requeue(), &[REFUSED, AGAIN, TAKEN_OVER, SEVERAL]);
}

#[test]
fn a_step_that_is_dead_and_retried() {
    visit(Setup::retry(), &[LIFTED, AGAIN, TAKEN_OVER, SEVERAL]);
}

#[test]
fn a_key_that_is_lifted_and_revoked_again() {
    visit(
        Setup::again(),
        &[SECOND, REFUSED, AGAIN, TAKEN_OVER, SEVERAL],
    );
}

#[test]
fn two_pull_workers() {
    visit(Setup::workers(), &[LIFTED, TAKEN_BACK, TAKEN_OVER, SEVERAL]);
}

#[test]
fn a_slot_that_is_taken_over() {
    visit(Setup::one_slot(), &[LIFTED, TAKEN_BACK, SEVERAL]);
}

#[test]
fn a_slot_that_two_steps_want() {
    visit(
        Setup::shared_slot(),
        &[FAN_OUT, RESUMED, SELF, START, STORED, LIFTED, TAKEN_BACK],
    );
}

#[test]
fn a_slot_of_a_step_that_is_dead_and_retried() {
    visit(
        Setup::retried_slot(),
        &[
            FAN_OUT, RESUMED, SELF, START, STORED, LIFTED, TAKEN_BACK, SEVERAL,
        ],
    );
}

#[test]
fn two_steps_of_one_run() {
    visit(Setup::two_steps(), &[LIFTED, SECOND, AGAIN, TAKEN_OVER]);
}

#[test]
fn a_fan_out_with_two_pages() {
    visit(
        Setup::two_pages(),
        &[LIFTED, SECOND, TAKEN_BACK, AGAIN, TAKEN_OVER],
    );
}

#[test]
fn a_fan_out_with_two_partitions() {
    visit(
        Setup::two_partitions(),
        &[LIFTED, SECOND, TAKEN_BACK, AGAIN, TAKEN_OVER],
    );
}

#[test]
fn two_ends_at_once() {
    visit(
        Setup::ends(),
        &[
            FAN_OUT, RESUMED, SELF, START, STORED, LIFTED, SECOND, TAKEN_BACK, AGAIN, TAKEN_OVER,
        ],
    );
}

#[test]
fn a_dead_step_that_another_needs() {
    visit(
        Setup::needed(),
        &[
            FAN_OUT, RESUMED, SELF, START, STORED, LIFTED, TAKEN_BACK, TAKEN_OVER,
        ],
    );
}

#[test]
fn each_mutation_breaks_its_promise_as_the_document_tells() {
    let breaches = document::breaches();
    for protocol in Protocol::MUTATIONS {
        assert!(
            breaches.iter().any(|breach| breach.protocol == protocol),
            "{protocol:?} is not checked"
        );
    }
    for promise in Promise::ALL {
        assert!(
            breaches.iter().any(|breach| breach.promise == promise),
            "nothing breaks `{}`",
            promise.text()
        );
    }
    let told = document::mutations();
    eprintln!("{told}");
    assert!(
        !told.contains("| 0 |"),
        "a mutation breaks nothing:\n{told}"
    );
    assert!(document().contains(&told), "{OUT_OF_DATE}\n{told}");
}

#[test]
fn a_task_that_its_launcher_leaves_alone_is_stopped_by_others() {
    let model = RevocationModel {
        setup: Setup::deliveries(),
        protocol: Protocol::LaunchNotTakenBack,
        only: None,
    };
    let checker = model.checker().threads(2).spawn_bfs().join();
    for promise in Promise::ALL {
        checker.assert_no_discovery(promise.text());
    }
}

#[test]
fn the_swapped_order_lets_go_what_the_fan_out_never_saw() {
    let breach = document::breaches()
        .into_iter()
        .find(|breach| breach.protocol == Protocol::CheckBeforeHold)
        .unwrap();
    let told = narrate(&shortest(&breach));
    let at = |text: &str| {
        told.find(text)
            .unwrap_or_else(|| panic!("`{text}` is not in:\n{told}"))
    };
    let check = told.rfind("The launcher reads the revocations: none.");
    assert!(check < Some(at("the row is written")));
    assert!(at("The fan-out has finished") < at("The launcher writes the hold"));
    assert!(told.ends_with("the key is used."));
}
