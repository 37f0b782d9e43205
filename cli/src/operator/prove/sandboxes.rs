//! Steps that see their own project's secret, and a tool that sees none.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use sealfleet_client::Client;
use sealfleet_client::types::{RunView, StepView};
use sealfleet_domain::RunId;
use sealfleet_domain::run::Failure;
use serde_json::{Value, json};

use super::report::{Seen, Why};
use super::tenant::TOOL;

/// How often to look.
const POLL: Duration = Duration::from_millis(500);
/// The step that has the tool of the access list.
pub const SEES: &str = "sees";
/// The step that has another tool.
pub const BLIND: &str = "blind";
/// What a step exits with when its image lacks the programs that it needs.
const NO_TOOLS: i32 = 97;
const WRONG_VALUE: i32 = 98;
const NOT_BLIND: i32 = 99;

/// Compares the hash of the variable with the one that is right, and prints the mark.
fn compare(key: &str, sha256: &str) -> String {
    format!(
        r#"command -v sha256sum cut >/dev/null || exit {NO_TOOLS}
test "$(printf %s "${key}" | sha256sum | cut -c 1-64)" = {sha256} || exit {WRONG_VALUE}
echo "$PROVE_MARK""#
    )
}

/// A step with the granted tool that compares its secret, and one with another tool that must not
/// see it.
pub fn short(pool: &str, key: &str, sha256: &str, mark: &str) -> Value {
    let blind = format!(r#"test -z "${key}" || exit {NOT_BLIND}; echo "$PROVE_MARK""#);
    let step = |id: &str, tool: &str, script: &str| {
        json!({
            "id": id, "pool": pool, "mode": "identity", "tool": tool, "timeout_seconds": 120,
            "command": ["sh", "-c", script], "env": { "PROVE_MARK": mark },
        })
    };
    json!([
        step(SEES, TOOL, &compare(key, sha256)),
        step(BLIND, "another", &blind),
    ])
}

/// A step that compares its secret and then works until it is stopped. `mark` is among the
/// arguments of its process.
pub fn long(pool: &str, key: &str, sha256: &str, mark: &str) -> Value {
    let script = compare(key, sha256) + "\nwhile :; do sleep 1; done";
    json!([{
        "id": SEES, "pool": pool, "mode": "identity", "tool": TOOL, "timeout_seconds": 600,
        "command": ["sh", "-c", script, mark], "env": { "PROVE_MARK": mark },
    }])
}

/// A step that no worker has the labels for.
pub fn waiting(pool: &str) -> Value {
    json!([{
        "id": SEES, "pool": pool, "mode": "identity", "tool": TOOL, "timeout_seconds": 60,
        "ttl_seconds": 3600, "command": ["true"], "requires": { "prove": "nobody-else" },
    }])
}

/// Waits until a run has ended. The sandboxes that it had meanwhile go to `handles`.
pub async fn ended(
    client: &Client,
    run: RunId,
    limit: Duration,
    handles: &mut BTreeSet<String>,
) -> Result<RunView, Why> {
    let began = Instant::now();
    loop {
        let shown = client.get_run(run).await?;
        handles.extend(shown.steps.iter().filter_map(|step| step.handle.clone()));
        if shown.state.is_terminal() {
            return Ok(shown);
        }
        if began.elapsed() > limit {
            return Err(Why::NotTried(format!(
                "run {run} has not ended after {} s: {}",
                limit.as_secs(),
                whys(&shown)
            )));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Waits until the step of a long run is running, and answers its sandbox.
pub async fn running(client: &Client, run: RunId, limit: Duration) -> Result<String, Why> {
    let began = Instant::now();
    loop {
        let shown = client.get_run(run).await?;
        let step = shown.steps.first();
        let running = step.filter(|step| step.state == "running");
        if let Some(handle) = running.and_then(|step| step.handle.clone()) {
            return Ok(handle);
        }
        let is_over = shown.state.is_terminal();
        if is_over || began.elapsed() > limit {
            return Err(Why::NotTried(format!(
                "run {run} does not run after {} s: {}",
                began.elapsed().as_secs(),
                whys(&shown)
            )));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// The state of each step, and why it is so.
pub fn whys(run: &RunView) -> String {
    let why = |step: &StepView| {
        let failure = step
            .failure
            .as_ref()
            .map(|failure| json!(failure).to_string());
        let why = failure.or_else(|| step.diagnosis.clone());
        format!("{} {} {}", step.id, step.state, why.unwrap_or_default())
    };
    let steps: Vec<String> = run.steps.iter().map(why).collect();
    steps.join(", ")
}

/// The step with the granted tool has seen the right value.
pub fn saw_its_own(run: &RunView) -> Seen {
    judged(
        run,
        SEES,
        WRONG_VALUE,
        "the value in the sandbox is not the one that was stored",
    )
}

/// The step with another tool has seen none.
pub fn saw_none(run: &RunView) -> Seen {
    judged(
        run,
        BLIND,
        NOT_BLIND,
        "a tool without a grant saw the secret",
    )
}

fn judged(run: &RunView, id: &str, wrong: i32, told: &str) -> Seen {
    let step = run.steps.iter().find(|step| step.id.as_str() == id);
    let step = step.ok_or_else(|| Why::NotTried(format!("the run has no step `{id}`")))?;
    match &step.failure {
        None if step.state == "succeeded" => Ok(format!("step `{id}` of run {}", run.run_id)),
        Some(Failure::Exit { code }) if *code == wrong => Err(Why::Broken(told.to_owned())),
        Some(Failure::Exit { code: NO_TOOLS }) => Err(Why::NotTried(
            "the image lacks `sha256sum` or `cut`".to_owned(),
        )),
        // It may be the account's, the image's or the network's: the text says.
        _ => Err(Why::NotTried(format!(
            "the step did not succeed: {}",
            whys(run)
        ))),
    }
}

/// Both of two runs, and what was seen of each.
pub fn both(first: Seen, second: Seen) -> Seen {
    match (first, second) {
        (Err(Why::Broken(why)), _) | (_, Err(Why::Broken(why))) => Err(Why::Broken(why)),
        (Err(why), _) | (_, Err(why)) => Err(why),
        (Ok(first), Ok(second)) => Ok(format!("{first}; {second}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::prove::fake;

    fn with(state: &str, failure: Option<Value>) -> RunView {
        let mut run = fake::run(state, state);
        run["steps"][0]["id"] = json!(SEES);
        if let Some(failure) = failure {
            run["steps"][0]["failure"] = failure;
        }
        serde_json::from_value(run).expect("a run")
    }

    #[test]
    fn a_wrong_value_is_broken_and_a_step_that_could_not_run_shows_nothing() {
        assert!(saw_its_own(&with("succeeded", None)).is_ok());
        let exit = |code: i32| Some(json!({ "kind": "exit", "code": code }));
        let wrong = saw_its_own(&with("failed", exit(WRONG_VALUE)));
        assert!(matches!(&wrong, Err(Why::Broken(_))), "{wrong:?}");
        for failure in [
            exit(NO_TOOLS),
            exit(1),
            Some(json!({ "kind": "out_of_memory" })),
            None,
        ] {
            let seen = saw_its_own(&with("failed", failure));
            assert!(matches!(&seen, Err(Why::NotTried(_))), "{seen:?}");
        }
        let mut seeing = with("failed", exit(NOT_BLIND));
        seeing.steps[0].id = BLIND.parse().expect("a step");
        assert!(matches!(saw_none(&seeing), Err(Why::Broken(_))));
    }

    #[test]
    fn what_is_broken_in_one_is_broken_in_both() {
        let held = || Ok("held".to_owned());
        let broken = || Err(Why::Broken("broken".to_owned()));
        let untried = || Err(Why::NotTried("untried".to_owned()));
        assert!(both(held(), held()).is_ok());
        assert_eq!(both(untried(), broken()), broken());
        assert_eq!(both(broken(), untried()), broken());
        assert_eq!(both(held(), untried()), untried());
    }
}
