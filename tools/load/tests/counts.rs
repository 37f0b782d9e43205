//! The counters count: without a fault all are zero, and each fault raises its count.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use sealfleet_load::drive::{self, Report, Shape};
use sealfleet_load::memory::{Fault, Memory};
use tokio::task::LocalSet;

fn load(fault: Fault, runs: usize) -> Report {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    let shape = Shape {
        projects: 3,
        workers: 6,
        runs,
        seed: 7,
        lease_seconds: 30,
        resend_seconds: 60,
        slack_seconds: 0,
        deaths: 20,
    };
    LocalSet::new().block_on(&runtime, async {
        let world = Memory::begin(shape.seed, fault).await.unwrap();
        let report = drive::run(std::rc::Rc::clone(&world), shape).await.unwrap();
        world.end();
        println!("{report:#?}");
        report
    })
}

#[test]
fn nothing_happens_that_must_not() {
    let report = load(Fault::None, 160);
    assert!(report.counts.is_clean(), "{:#?}", report.counts);
    for what in [
        "runs accepted",
        "runs cancelled",
        "runs refused: key revoked",
        "claims granted",
        "claims with secrets",
        "claims of others' runs",
        "workers that died",
        "messages lost",
        "entries read",
    ] {
        assert!(report.done.contains_key(what), "{what}: {:#?}", report.done);
    }
}

#[test]
fn a_leaked_message_is_counted() {
    assert!(load(Fault::LeakedMessages, 20).counts.leaked.number > 0);
}

#[test]
fn a_lost_run_is_counted() {
    assert!(load(Fault::LostRuns, 20).counts.lost.number > 0);
}

#[test]
fn a_lost_entry_is_counted() {
    assert!(load(Fault::LostEntries, 40).counts.lost.number > 0);
}

#[test]
fn a_doubled_start_is_counted() {
    assert!(load(Fault::DoubledStarts, 20).counts.doubled.number > 0);
}

#[test]
fn a_late_visit_is_counted() {
    assert!(load(Fault::LateSweeps, 60).counts.late.number > 0);
}
