//! Every state of every setup, under the product's order and under each mutation.

use std::path::Path;

use sealfleet_model::document::{self, narrate, shortest};
use sealfleet_model::promises::SEEN;
use sealfleet_model::{Promise, Protocol, RevocationModel, Setup};
use stateright::{Checker, Model};

/// Visits every state: no promise is broken in any, and all of [`SEEN`] is seen but for `unseen`.
fn visit(setup: Setup, unseen: &[&str]) {
    let checker = RevocationModel {
        setup,
        protocol: Protocol::IntentThenCheck,
    }
    .checker()
    .threads(2)
    .spawn_bfs()
    .join();
    for promise in Promise::ALL {
        checker.assert_no_discovery(promise.text());
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
}

const TAKEN_BACK: &str = "a launch is taken back";
const LIFTED: &str = "a lifted key runs again";
const SECOND: &str = "a second claim runs";

#[test]
fn two_deliveries_of_one_message() {
    visit(Setup::deliveries(), &[SECOND]);
}

#[test]
fn a_step_that_is_lost_and_claimed_again() {
    visit(Setup::requeue(), &[]);
}

#[test]
fn a_step_that_is_dead_and_retried() {
    visit(Setup::retry(), &[LIFTED]);
}

#[test]
fn a_key_that_is_lifted_and_revoked_again() {
    visit(Setup::again(), &[SECOND]);
}

#[test]
fn two_pull_workers() {
    visit(Setup::workers(), &[TAKEN_BACK]);
}

#[test]
fn two_steps_of_one_run() {
    visit(Setup::two_steps(), &[LIFTED, SECOND]);
}

#[test]
fn each_mutation_breaks_its_promise() {
    let breaches = document::breaches();
    for breach in &breaches {
        let path = shortest(breach);
        assert!(
            !path.is_empty(),
            "{:?} does not break `{}`",
            breach.protocol,
            breach.promise.text()
        );
    }
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
}

#[test]
fn a_task_that_its_launcher_leaves_alone_is_stopped_by_others() {
    let model = RevocationModel {
        setup: Setup::deliveries(),
        protocol: Protocol::LaunchNotTakenBack,
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
        .find(|breach| breach.protocol == Protocol::CheckBeforeLease)
        .unwrap();
    let told = narrate(&shortest(&breach));
    let at = |text: &str| {
        told.find(text)
            .unwrap_or_else(|| panic!("`{text}` is not in:\n{told}"))
    };
    assert!(at("reads the revocations: none.") < at("the row is written"));
    assert!(at("and has finished") < at("The launcher writes the lease"));
    assert!(told.ends_with("the key is used."));
}

#[test]
fn the_document_tells_what_the_model_finds() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/reference/intent-then-check.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let current = document::replaced(&text, &document::generate()).unwrap();
    assert!(
        text == current,
        "`docs/reference/intent-then-check.md` is out of date: `cargo run -p sealfleet-model -- --write`"
    );
}
