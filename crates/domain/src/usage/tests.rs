use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::agent::{AgentReport, ModelAnswers};
use crate::fleet::{Worker, WorkerStatus};
use crate::run::{
    Change, Claimant, Executor, Failure, Fresh, Handle, Mode, Outcome, Pace, RequeueReason, Told,
};

const T0: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const PACE: Pace = Pace {
    lease_seconds: 30,
    resend_seconds: 60,
};
const SIZE: Size = Size {
    cpu: 512,
    memory_mib: 2048,
};

fn step_id() -> StepId {
    "a".parse().expect("a step")
}

/// A run of one step, and what each transition of it has added.
struct Story {
    run: Run,
    now: Timestamp,
    sums: ByModel,
}

impl Story {
    fn of(spec: serde_json::Value) -> Self {
        let mut whole = json!({
            "pool": "workers", "mode": "sandboxed", "command": ["true"],
            "timeout_seconds": 60, "max_attempts": 3, "ttl_seconds": 3600,
        });
        let members = whole.as_object_mut().expect("an object");
        members.extend(spec.as_object().expect("an object").clone());
        let spec: StepSpec = serde_json::from_value(whole).expect("a step");
        let id = "run_0198c0de-0000-7000-8000-00000000000a"
            .parse()
            .expect("an id");
        let workflow = "w".parse().expect("a name");
        let steps = BTreeMap::from([(step_id(), spec)]);
        Self {
            run: Run::enqueue(id, workflow, None, steps, PACE, T0).0,
            now: T0,
            sums: ByModel::new(),
        }
    }

    /// Makes a transition after some seconds, as the ledger does.
    fn then(
        &mut self,
        seconds: i64,
        rule: impl FnOnce(&mut Run, Timestamp) -> Result<Change, crate::run::Refusal>,
    ) {
        self.now = self.now.plus_seconds(seconds);
        let before = self.run.clone();
        let change = rule(&mut self.run, self.now).expect("it happens");
        let measured = change.measured.as_ref();
        count(
            &before,
            &mut self.run,
            measured,
            &Prices::default(),
            self.now,
        );
        for (model, sums) in added(&before, &self.run) {
            let all = self.sums.entry(model).or_default();
            *all = all.plus(&sums);
        }
        assert_eq!(
            self.sums,
            self.step().used,
            "what was added is what the step has"
        );
        let attempts = |run: &Run| -> u64 {
            let used = run.steps.values().flat_map(|step| step.used.values());
            used.map(|sums| sums.attempts).sum()
        };
        let is_held = |run: &Run| run.steps.values().any(|step| step.state.hold().is_some());
        let ended = is_held(&before) && !is_held(&self.run);
        let counted = attempts(&self.run) - attempts(&before);
        assert_eq!(
            counted,
            u64::from(ended),
            "an attempt for each hold that ends"
        );
    }

    fn step(&self) -> &crate::run::Step {
        self.run.step(&step_id()).expect("a step")
    }

    fn claimed(&mut self, executor: Executor) {
        let worker = Worker {
            worker_id: "wrk_0198c0de-0000-7000-8000-000000000001"
                .parse()
                .expect("an id"),
            name: "w".to_owned(),
            pool: "workers".parse().expect("a pool"),
            status: WorkerStatus::Approved,
            labels: crate::labels::Labels::default(),
            models: vec!["house/one".to_owned()],
            modes: vec![Mode::Sandboxed, Mode::Full],
            sandboxes: Default::default(),
            max_concurrent: 1,
            hash: None,
            enrolled_by: None,
            draining_since: None,
            registered_at: T0,
        };
        self.then(1, |run, now| {
            let by = Claimant {
                worker: &worker,
                slot: 0,
                executor,
            };
            run.claim(&step_id(), by, &Fresh::Nothing, PACE, now)
        });
    }

    fn lost(&mut self, seconds: i64) {
        let fence = self.step().fence;
        self.then(seconds, |run, now| {
            let reason = RequeueReason::LeaseExpired;
            run.lose(&step_id(), fence, reason, PACE, now)
        });
    }

    fn ended(&mut self, seconds: i64, told: &Told) {
        let fence = self.step().fence;
        self.then(seconds, |run, now| {
            run.finish_as_told(&step_id(), None, fence, told, PACE, now)
        });
    }

    fn attached(&mut self) {
        let fence = self.step().fence;
        self.then(0, |run, now| {
            let change = run.attach(&step_id(), fence, Handle::new("task/1".to_owned()), now)?;
            run.sized(&step_id(), SIZE)?;
            Ok(change)
        });
    }

    fn only(&self) -> (&str, Sums) {
        let mut all = self.sums.iter();
        let (model, sums) = all.next().expect("sums");
        assert_eq!(all.next(), None);
        (model, *sums)
    }
}

fn agent(model: Option<&str>) -> Story {
    let agent = json!({ "cli": "codex", "prompt": "p", "model": model });
    Story::of(json!({ "mode": "full", "command": [], "agent": agent }))
}

fn tokens(input: u64, cached: u64, output: u64) -> Usage {
    Usage {
        input_tokens: input,
        cached_input_tokens: cached,
        output_tokens: output,
    }
}

fn said(usage: Usage) -> Told {
    Told {
        agent: Some(AgentReport {
            usage: Some(usage),
            ..AgentReport::default()
        }),
        ..Told::only(Outcome::Succeeded)
    }
}

fn counted(rows: Vec<(&str, &str, Usage)>) -> ModelsUsed {
    let row = |(provider, model, usage): (&str, &str, Usage)| ModelAnswers {
        provider: provider.to_owned(),
        model: model.to_owned(),
        of: Answers {
            answers: 1,
            usage,
            cache_write_tokens: 0,
        },
    };
    ModelsUsed {
        rows: rows.into_iter().map(row).collect(),
        ..ModelsUsed::default()
    }
}

#[test]
fn every_attempt_counts_and_a_report_that_comes_again_does_not() {
    let mut story = Story::of(json!({}));
    story.claimed(Executor::Worker);
    story.lost(40);
    story.claimed(Executor::Worker);
    let failed = Outcome::Failed {
        failure: Failure::Exit { code: 1 },
    };
    for seconds in [5, 7] {
        story.ended(seconds, &Told::only(failed.clone()));
    }
    let expected = Sums {
        attempts: 2,
        wall_ms: 45_000,
        ..Sums::default()
    };
    assert_eq!(story.only(), (NO_MODEL, expected));
}

#[test]
fn a_step_that_is_cancelled_counts_and_one_that_waits_does_not() {
    let mut story = Story::of(json!({ "model": "house/one" }));
    story.claimed(Executor::Worker);
    story.then(3, |run, now| run.cancel(now));
    let (model, sums) = story.only();
    assert_eq!((model, sums.attempts, sums.wall_ms), ("house/one", 1, 3000));
    let mut waits = Story::of(json!({}));
    waits.then(3, |run, now| run.cancel(now));
    assert_eq!(waits.sums, ByModel::new());
}

#[test]
fn a_hosted_sandbox_counts_by_its_hosts_word_or_else_by_an_estimate() {
    let mut story = Story::of(json!({}));
    story.claimed(Executor::Host);
    story.attached();
    let ran = Ran {
        size: SIZE,
        started_at: story.now.plus_seconds(10),
        stopped_at: story.now.plus_seconds(110),
    };
    let fence = story.step().fence;
    story.then(120, |run, now| {
        let outcome = Outcome::Succeeded;
        let mut change = run.finish(&step_id(), None, fence, &outcome, PACE, now)?;
        let ran = Some(ran);
        let measured = Measured {
            ran,
            ..Measured::default()
        };
        change.measured = Some((step_id(), measured));
        Ok(change)
    });
    let (_, sums) = story.only();
    assert_eq!((sums.wall_ms, sums.estimated), (120_000, 0));
    assert_eq!((sums.vcpu_ms, sums.gb_ms), (50_000, 200_000));
    assert_eq!(sums.sandbox_nanos, Prices::default().sandbox(&ran));

    let mut story = Story::of(json!({}));
    story.claimed(Executor::Host);
    story.attached();
    story.then(100, |run, now| run.cancel(now));
    let (_, sums) = story.only();
    assert_eq!((sums.vcpu_ms, sums.estimated), (50_000, 1));

    // What was never launched has run nowhere.
    let mut story = Story::of(json!({}));
    story.claimed(Executor::Host);
    story.then(100, |run, now| run.cancel(now));
    let (_, sums) = story.only();
    assert_eq!(
        (sums.wall_ms, sums.vcpu_ms, sums.estimated),
        (100_000, 0, 0)
    );
}

#[test]
fn tokens_are_charged_once_where_two_count_them() {
    let mut story = agent(Some("gpt-5.1-codex"));
    story.claimed(Executor::Worker);
    let mut told = said(tokens(1000, 400, 50));
    told.models_used = counted(vec![
        ("openai", "gpt-5.1-codex", tokens(1000, 400, 50)),
        ("acme", "unheard-of", tokens(10, 0, 1)),
    ]);
    story.ended(5, &told);
    let main = story.sums["openai/gpt-5.1-codex"];
    assert_eq!((main.input, main.cached, main.output), (1000, 400, 50));
    assert_eq!(
        (main.agent_input, main.agent_cached, main.agent_output),
        (1000, 400, 50)
    );
    assert_eq!(
        (main.proxy_input, main.proxy_cached, main.proxy_output),
        (1000, 400, 50)
    );
    assert_eq!((main.attempts, main.priced, main.unpriced), (1, 1, 0));
    // 600 at $1.25, 400 at $0.125, 50 at $10 a million.
    assert_eq!(main.model_nanos, 750_000 + 50_000 + 500_000);
    let other = story.sums["acme/unheard-of"];
    assert_eq!((other.attempts, other.input, other.model_nanos), (0, 10, 0));
    assert_eq!((other.priced, other.unpriced), (0, 1));
}

#[test]
fn an_agents_own_word_is_charged_where_no_proxy_counted() {
    let mut story = agent(Some("gpt-5.1-codex-20261001"));
    story.claimed(Executor::Worker);
    story.ended(5, &said(tokens(1000, 0, 0)));
    let (model, sums) = story.only();
    assert_eq!(model, "openai/gpt-5.1-codex-20261001");
    assert_eq!(
        (sums.input, sums.agent_input, sums.proxy_input),
        (1000, 1000, 0)
    );
    assert_eq!(sums.model_nanos, 1_250_000);
}

#[test]
fn what_nobody_told_is_not_taken_for_nothing() {
    let mut story = agent(None);
    story.claimed(Executor::Worker);
    story.lost(40);
    let (model, sums) = story.only();
    assert_eq!(model, "openai/default");
    assert_eq!((sums.attempts, sums.untold, sums.priced), (1, 1, 0));
    // A model that its CLI chose has tokens, and no price.
    story.claimed(Executor::Worker);
    story.ended(5, &said(tokens(1, 0, 0)));
    let (_, sums) = story.only();
    assert_eq!((sums.attempts, sums.untold, sums.unpriced), (2, 1, 1));
}

#[test]
fn an_answer_that_the_proxy_cannot_read_is_not_taken_for_nothing() {
    let mut story = agent(Some("gpt-5.1-codex"));
    story.claimed(Executor::Worker);
    let mut told = Told::only(Outcome::Succeeded);
    told.models_used = counted(vec![("openai", "gpt-5.1-codex", tokens(1, 0, 0))]);
    told.models_used.unread = 3;
    story.ended(5, &told);
    let (_, sums) = story.only();
    assert_eq!((sums.input, sums.priced, sums.untold), (1, 1, 1));
}

#[test]
fn many_models_share_one_sum_and_nothing_is_lost() {
    let mut story = agent(Some("gpt-5.1-codex"));
    story.claimed(Executor::Worker);
    let mut told = said(tokens(1, 0, 0));
    let names: Vec<String> = (0..2 * MODELS).map(|number| format!("m{number}")).collect();
    let rows = names
        .iter()
        .map(|name| ("acme", name.as_str(), tokens(1, 0, 0)));
    told.models_used = counted(rows.collect());
    // Neither has a name that can be one.
    told.models_used
        .rows
        .extend(counted(vec![("acme", "a\u{1b}", tokens(2, 0, 0))]).rows);
    told.models_used.others.usage = tokens(3, 0, 0);
    story.ended(5, &told);
    assert_eq!(story.sums.len(), MODELS + 1);
    let input: u64 = story.sums.values().map(|sums| sums.input).sum();
    assert_eq!(input, 2 * MODELS as u64 + 5);
    let attempts: u64 = story.sums.values().map(|sums| sums.attempts).sum();
    assert_eq!(attempts, 1);
}

#[test]
fn impossible_numbers_are_bounded() {
    let mut story = agent(Some("gpt-5.1-codex"));
    story.claimed(Executor::Worker);
    let most = u64::MAX;
    story.ended(5, &said(tokens(10, most, most)));
    let (_, sums) = story.only();
    assert_eq!((sums.input, sums.cached), (10, 10));
    assert!(sums.output < most / 1_000_000);
}
