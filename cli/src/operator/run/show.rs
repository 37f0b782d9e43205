//! A run as text: for people who ask how it goes and how it went.

use std::collections::BTreeMap;

use sealfleet_client::types::{AttemptView, OutputPlace, RunView, StepView};
use sealfleet_domain::identity::SecretRef;
use sealfleet_domain::run::RequeueReason;
use sealfleet_domain::{StepId, Timestamp};

use super::super::output::{Table, ago, joined, levels, lines, moment, or_dash, pairs, word};

/// A step on one line, for progress.
pub(super) fn line(step: &StepView) -> String {
    let mut line = format!("{}  {}", step.id, step.state);
    if step.attempt > 1 {
        line += &format!("  attempt {}", step.attempt);
    }
    for why in whys(step) {
        line += "  ";
        line += &why;
    }
    line
}

/// Why a step is in its state: failure, waiting reason and the like.
fn whys(step: &StepView) -> Vec<String> {
    let failure = step.failure.as_ref().map(compact);
    let aborted = step.aborted.as_ref().map(compact);
    let dead = step.dead.as_ref().map(word);
    let cut = (step.output_cut_bytes > 0)
        .then(|| format!("output cut by {} bytes", step.output_cut_bytes));
    let missing = (step.output_missing_bytes > 0)
        .then(|| format!("{} bytes of output not stored", step.output_missing_bytes));
    let result = step
        .result_bytes
        .map(|bytes| format!("result of {bytes} bytes"));
    let artifacts = step
        .artifacts
        .map(|total| format!("{} artifacts of {} bytes", total.files, total.bytes));
    let lost = step.lost.map(lost).map(str::to_owned);
    let cost = step.cost_usd.map(|cost| format!("cost {cost}"));
    let turns = step.turns.map(|turns| format!("{turns} turns"));
    let diagnosis = step.diagnosis.clone();
    [
        failure, aborted, dead, lost, cut, missing, turns, cost, result, artifacts, diagnosis,
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Why a claim was lost, for people.
const fn lost(reason: RequeueReason) -> &'static str {
    match reason {
        RequeueReason::LeaseExpired => "worker lost",
        RequeueReason::WorkerRevoked => "worker revoked",
        RequeueReason::SandboxLost => "sandbox lost",
        RequeueReason::NoCapacity => "no capacity",
        RequeueReason::Throttled => "host called too fast",
        RequeueReason::NetworkTimeout => "no network in time",
        RequeueReason::ImageTimeout => "image not pulled in time",
        RequeueReason::RoleNotReady => "role not usable yet",
        RequeueReason::HostFailed => "host failed",
    }
}

/// Renders `{"kind":"exit","code":1}` as `exit code=1`.
fn compact(value: &impl serde::Serialize) -> String {
    let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(value) else {
        return word(value);
    };
    let kind = fields.get("kind").map(word).unwrap_or_default();
    let rest = fields
        .iter()
        .filter(|(name, _)| *name != "kind")
        .map(|(name, value)| format!(" {name}={}", word(value)));
    kind + &rest.collect::<String>()
}

/// The workflow, with its version if it is registered.
fn workflow(view: &RunView) -> String {
    match view.workflow_version {
        Some(version) => format!("{}@{version}", view.workflow),
        None => view.workflow.to_string(),
    }
}

pub(in super::super) fn text(view: &RunView) -> String {
    let mut text = lines([
        ("run", view.run_id.to_string()),
        ("workflow", workflow(view)),
        ("state", view.state.name().to_owned()),
        ("labels", pairs(&view.labels)),
        ("profiles", levels(&view.profiles)),
        ("secrets", joined(view.secrets.iter().map(secret))),
        ("created", moment(view.created_at)),
        ("ended", or_dash(view.ended_at.map(moment))),
    ]);
    let steps = in_order(&view.steps);
    let mut table = Table::new([
        "STEP", "STATE", "MODE", "POOL", "ATTEMPT", "FENCE", "STARTED", "TOOK", "WORKER", "WHY",
    ]);
    for step in &steps {
        table.row([
            step.id.to_string(),
            step.state.clone(),
            step.mode.to_string(),
            step.pool.to_string(),
            step.attempt.to_string(),
            step.fence.to_string(),
            or_dash(step.started_at.map(ago)),
            or_dash(took(step.started_at, step.ended_at)),
            or_dash(step.worker_id),
            or_dash(Some(whys(step).join("; ")).filter(|why| !why.is_empty())),
        ]);
    }
    text.push('\n');
    text += &table.text();
    if let Some(attempts) = attempts(&steps) {
        text.push('\n');
        text += &attempts.text();
    }
    let outputs: Vec<_> = steps
        .iter()
        .filter_map(|step| Some((&step.id, step.output.as_ref()?)))
        .collect();
    if !outputs.is_empty() {
        let mut table = Table::new(["STEP", "OUTPUT"]);
        for (step, output) in outputs {
            table.row([step.to_string(), place(output)]);
        }
        text.push('\n');
        text += &table.text();
    }
    text
}

/// Where a step's output lies.
pub(super) fn place(output: &OutputPlace) -> String {
    match output {
        OutputPlace::Worker { place } => place.to_string(),
        OutputPlace::Project { place } => match place {
            Some(place) => format!("project's outputs, and {place}"),
            None => "project's outputs".to_owned(),
        },
        OutputPlace::Task {
            task_id,
            log_stream,
        } => format!("log stream {log_stream} (task {task_id})"),
    }
}

/// Whole seconds, or milliseconds of less than ten seconds.
fn took(started: Option<Timestamp>, ended: Option<Timestamp>) -> Option<String> {
    let millis = ended?.millis_since(started?);
    Some(match millis {
        ..10_000 => format!("{millis} ms"),
        _ => format!("{} s", millis / 1000),
    })
}

/// The claims of steps that had more than one.
fn attempts(steps: &[&StepView]) -> Option<Table> {
    let mut table = Table::new(["STEP", "FENCE", "CLAIMED", "WORKER", "END"]);
    let mut some = false;
    for step in steps.iter().filter(|step| step.attempts.len() > 1) {
        for attempt in &step.attempts {
            some = true;
            table.row([
                step.id.to_string(),
                attempt.fence.to_string(),
                ago(attempt.claimed_at),
                attempt.worker_id.to_string(),
                end(attempt),
            ]);
        }
    }
    some.then_some(table)
}

fn end(attempt: &AttemptView) -> String {
    match (&attempt.end, attempt.lost) {
        (_, Some(reason)) => lost(reason).to_owned(),
        (Some(end), None) => end.clone(),
        (None, None) => "goes on".to_owned(),
    }
}

/// Steps in the order of the graph: each behind those that it needs, otherwise by id.
fn in_order(steps: &[StepView]) -> Vec<&StepView> {
    let mut depths: BTreeMap<&StepId, usize> = BTreeMap::new();
    // A graph of n steps is at most n deep.
    for _ in 0..steps.len() {
        for step in steps {
            let needs = step
                .needs
                .iter()
                .map(|need| depths.get(need).map_or(0, |depth| depth + 1));
            let depth = needs.max().unwrap_or(0).min(steps.len());
            depths.insert(&step.id, depth);
        }
    }
    let mut ordered: Vec<&StepView> = steps.iter().collect();
    ordered.sort_by_key(|step| (depths.get(&step.id).copied(), step.id.clone()));
    ordered
}

/// `NAME=REFERENCE`, with the version that was resolved at enqueue, and its delivery if that is not
/// the usual one.
fn secret(secret: &SecretRef) -> String {
    let version = secret
        .version
        .as_ref()
        .map(|version| format!("@{version}"))
        .unwrap_or_default();
    let delivery = match secret.delivery.is_env() {
        true => String::new(),
        false => format!(" by {}", secret.delivery),
    };
    format!("{}={}{version}{delivery}", secret.name, secret.uri)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealfleet_domain::run::Failure as StepFailure;

    #[test]
    fn a_failure_is_one_short_text() {
        assert_eq!(compact(&StepFailure::Exit { code: 7 }), "exit code=7");
        assert_eq!(compact(&StepFailure::OutOfMemory), "out_of_memory");
        let failure = StepFailure::CannotExecute {
            errno: 7,
            detail: "Argument list too long".to_owned(),
        };
        assert_eq!(
            compact(&failure),
            "cannot_execute detail=Argument list too long errno=7"
        );
    }

    #[test]
    fn a_step_says_what_was_lost_and_what_was_cut() {
        let step: StepView = serde_json::from_value(serde_json::json!({
            "id": "a", "state": "dead", "mode": "bare", "pool": "p", "attempt": 3, "fence": 3,
            "dead": "attempts_exhausted", "lost": "lease_expired", "output_cut_bytes": 12
        }))
        .expect("a step");
        assert_eq!(
            whys(&step),
            [
                "attempts_exhausted",
                "worker lost",
                "output cut by 12 bytes"
            ]
        );
    }

    #[test]
    fn a_step_stands_behind_those_that_it_needs() {
        let step = |id: &str, needs: &[&str]| -> StepView {
            serde_json::from_value(serde_json::json!({
                "id": id, "state": "queued", "mode": "bare", "pool": "p", "attempt": 1, "fence": 0, "needs": needs
            }))
            .expect("a step")
        };
        let steps = [
            step("a", &["z"]),
            step("b", &["a", "c"]),
            step("c", &["z"]),
            step("y", &[]),
            step("z", &[]),
        ];
        let ids: Vec<&str> = in_order(&steps)
            .iter()
            .map(|step| step.id.as_str())
            .collect();
        assert_eq!(ids, ["y", "z", "a", "c", "b"]);
    }
}
