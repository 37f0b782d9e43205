//! What must hold of time: whatever is due when a sweep begins is dealt with when it ends.
//!
//! Sweeps begin every minute, and the first look at an expired lease is due [`SLACK`] after its
//! end. So while nothing fails, nothing waits longer than a minute, that slack and the time of a
//! sweep. Where another project floods and the time does not suffice for all, that still holds of
//! expired leases and of what is to be stopped.

use sealfleet_domain::run::{Executor, Run, Step, StepState, Stopping};

/// Milliseconds after the end of a lease when its step is to be looked at.
pub const SLACK: i64 = 10_000;

/// Something that a step waits for.
struct Due {
    what: &'static str,
    /// Milliseconds since the epoch.
    since: i64,
    /// It must not wait for a neighbour's flood.
    pressing: bool,
}

/// What of a run was due at `began` and still is. `until` tells the ends of leases by slot.
pub fn late(
    run: &Run,
    (began, in_flood): (i64, bool),
    until: impl Fn(&str) -> i64,
) -> Option<String> {
    run.steps.iter().find_map(|(step_id, step)| {
        let due = due(step, &until)?;
        (due.since <= began && (due.pressing || !in_flood)).then(|| {
            let (what, late) = (due.what, (began - due.since) / 1000);
            format!(
                "{}/{step_id}: {what} was due {late} s before a sweep began, and the sweep left it",
                run.run_id
            )
        })
    })
}

fn due(step: &Step, until: &impl Fn(&str) -> i64) -> Option<Due> {
    let since = step.due_at()?.millis();
    let (what, since, pressing) = match &step.state {
        StepState::Queued { .. } => ("its message", since, false),
        StepState::Waiting { .. } => ("the end of its wait for approval", since, false),
        StepState::Leased(hold) | StepState::Running(hold) => match hold.executor {
            Executor::Worker => {
                let until = until(&format!("{}#{:04}", hold.holder, hold.slot));
                // A run whose leases live may have been due for minutes.
                let since = since.max(until).min(until + SLACK);
                ("its expired lease", since, true)
            }
            Executor::Host => ("its sandbox", since, false),
        },
        StepState::Aborted {
            stopping: Some(Stopping::Launch { until }),
            ..
        } => ("the stop of its launch", until.millis(), true),
        _ => ("the stop of its task", since, true),
    };
    Some(Due {
        what,
        since,
        pressing,
    })
}
