//! The kept seeds, some more, and whether the simulation can find anything at all.

use sealfleet_simulation::sabotage::Sabotage;
use sealfleet_simulation::seeds::{kept, play};
use sealfleet_simulation::simulation::Simulation;

/// Seeds of one run of this test, beside the kept ones.
const SEEDS: u64 = 300;

#[test]
fn nothing_is_wrong_in_any_world() {
    let mut seeds = kept();
    seeds.extend(1..=SEEDS);
    let summary = play(&seeds, 3).unwrap();
    let failed: Vec<String> = summary
        .failed
        .iter()
        .map(|report| format!("seed {}: {}", report.seed, report.violations.join("; ")))
        .collect();
    assert!(
        failed.is_empty(),
        "{}\nplay one with `simulate --seed N --print`",
        failed.join("\n")
    );
    // Worlds in which nothing happens prove nothing.
    for end in ["succeeded", "failed", "aborted", "dead"] {
        assert!(
            summary.ends.get(end).is_some_and(|runs| *runs > SEEDS / 20),
            "{:?}",
            summary.ends
        );
    }
    for (what, count, least) in [
        ("tasks", summary.tasks, SEEDS / 4),
        ("dead letters", summary.dead_letters, SEEDS / 20),
        ("objects of the trail", summary.objects, SEEDS / 4),
    ] {
        assert!(count > least, "{count} {what}");
    }
}

#[test]
fn a_seed_is_one_schedule() {
    let simulation = Simulation::new().unwrap();
    let mut lines = 0;
    for seed in 1..=5 {
        let (first, again) = (
            simulation.play(seed, true),
            Simulation::new().unwrap().play(seed, true),
        );
        assert_eq!(first.schedule, again.schedule, "seed {seed}");
        lines += first.schedule.len();
    }
    assert!(lines > 500, "five seeds have {lines} lines");
}

#[test]
fn a_world_that_breaks_its_promises_is_found_out() {
    let simulation = Simulation::new().unwrap();
    for sabotage in Sabotage::ALL {
        let found = (1..=3000).find(|seed| {
            !simulation
                .play_sabotaged(*seed, sabotage)
                .violations
                .is_empty()
        });
        assert!(
            found.is_some(),
            "{sabotage:?} breaks nothing in 3,000 worlds"
        );
    }
}
