//! 90. What steps use: sums agree with steps, each attempt counts once, and nobody sees others'.

use std::collections::BTreeMap;

use sealfleet_domain::access::Role;
use serde_json::{Value, json};

use super::{Hand, merged, run_of, step, text};
use crate::world::{FARGATE, OWN, Who, World};

/// The members of sums that are plain numbers.
const NUMBERS: [&str; 9] = [
    "attempts",
    "wall_ms",
    "vcpu_ms",
    "gb_ms",
    "estimated_attempts",
    "egress_sent_bytes",
    "egress_received_bytes",
    "unpriced",
    "untold",
];
const TOKENS: [&str; 3] = ["tokens", "tokens_of_agents", "tokens_of_proxies"];
const DOLLARS: [&str; 3] = ["cost_usd", "sandboxes_usd", "tokens_usd"];

/// Sums as flat numbers; dollars as whole millionths.
fn flat(used: &Value) -> BTreeMap<String, i64> {
    let mut all = BTreeMap::new();
    for name in NUMBERS {
        all.insert(name.to_owned(), used[name].as_i64().unwrap_or(0));
    }
    for name in TOKENS {
        for (part, count) in used[name].as_object().into_iter().flatten() {
            all.insert(format!("{name}.{part}"), count.as_i64().unwrap());
        }
    }
    #[expect(clippy::cast_possible_truncation, reason = "small amounts")]
    for name in DOLLARS {
        let dollars = used[name].as_f64().unwrap_or(0.0);
        all.insert(name.to_owned(), (dollars * 1e6).round() as i64);
    }
    all
}

fn total<'a>(rows: impl IntoIterator<Item = &'a Value>) -> BTreeMap<String, i64> {
    let mut all: BTreeMap<String, i64> = BTreeMap::new();
    for row in rows {
        for (name, number) in flat(&row["used"]) {
            *all.entry(name).or_default() += number;
        }
    }
    all
}

/// Whether sums agree. Each amount of dollars is rounded up once a row.
fn agree(rows: &BTreeMap<String, i64>, steps: &BTreeMap<String, i64>) -> bool {
    rows.iter().all(|(name, number)| {
        let other = steps.get(name).copied().unwrap_or(0);
        let slack = if name.ends_with("_usd") { 50 } else { 0 };
        (number - other).abs() <= slack
    })
}

fn agent(model: &str) -> Value {
    json!({
        "mode": "full", "command": [],
        "agent": { "cli": "codex", "prompt": "p", "model": model },
    })
}

fn tokens(input: u64, cached: u64, output: u64) -> Value {
    json!({ "input_tokens": input, "cached_input_tokens": cached, "output_tokens": output })
}

/// An answer of a model, as an egress proxy has read it.
fn counted(provider: &str, model: &str) -> Value {
    json!({
        "provider": provider, "model": model, "answers": 1, "usage": tokens(1000, 400, 50),
        "cache_write_tokens": 0,
    })
}

impl World {
    /// A worker that runs agents, and the profile that agents need.
    async fn agents_hand(&self) -> Hand {
        self.profile("plain", &json!({})).await;
        let modes = ["bare", "sandboxed", "identity", "full"];
        self.hand(&json!({ "modes": modes, "max_concurrent": 8 }))
            .await
    }

    async fn usage(&self, who: Who, query: &str) -> Vec<Value> {
        let by = self.credential(who);
        let answer = self.get(by, &format!("/v1/usage?limit=100{query}")).await;
        assert_eq!(answer["next_cursor"], Value::Null);
        answer["items"].as_array().unwrap().clone()
    }

    async fn agent_enqueued(&self, model: &str) -> String {
        let run = run_of(&[step("only", &agent(model))]);
        self.enqueued(merged(&run, &json!({ "profile": "plain" })))
            .await
    }

    /// Runs an agent to its end. Reports it twice.
    async fn agent_ended(&self, hand: &Hand, model: &str, more: &Value) -> String {
        let run = self.agent_enqueued(model).await;
        let lease = self.claimed(hand, &run).await;
        self.started(hand, &lease).await;
        self.time_goes_by(7);
        let report = merged(&merged(&lease, &json!({ "state": "succeeded" })), more);
        for _ in 0..2 {
            let by = &hand.credential;
            self.ok(by, "POST /v1/reports", report.clone()).await;
            self.time_goes_by(3);
        }
        run
    }

    /// What steps of these runs have used, as the runs show it.
    async fn used_by(&self, runs: &[String]) -> BTreeMap<String, i64> {
        let mut steps = Vec::new();
        for run in runs {
            let shown = self.run(run).await;
            steps.extend(shown["steps"].as_array().unwrap().clone());
        }
        total(&steps)
    }
}

#[tokio::test]
async fn sums_agree_with_the_steps_however_they_ended() {
    let world = World::new().await;
    let hand = world.agents_hand().await;
    let mut runs = Vec::new();
    let said = json!({ "agent": { "usage": tokens(1000, 400, 50) } });
    runs.push(world.agent_ended(&hand, "gpt-5.1-codex", &said).await);
    let both = merged(
        &said,
        &json!({ "models_used": { "rows": [counted("openai", "gpt-5.1-codex")] } }),
    );
    runs.push(world.agent_ended(&hand, "gpt-5.1-codex", &both).await);
    runs.push(world.agent_ended(&hand, "unheard-of", &said).await);
    runs.push(world.agent_ended(&hand, "gpt-5.1-codex", &json!({})).await);
    // Lost, tried again and failed; the old claim's report changes nothing.
    let failed = world.enqueued_step(&json!({})).await;
    let old = world.claimed(&hand, &failed).await;
    world.leases_run_out().await;
    let lease = world.claimed(&hand, &failed).await;
    let failure = json!({ "state": "failed", "failure": { "kind": "exit", "code": 1 } });
    let late = merged(&old, &failure);
    world
        .report_refused(&hand, late, (409, "stale_fence"))
        .await;
    let by = &hand.credential;
    world
        .ok(by, "POST /v1/reports", merged(&lease, &failure))
        .await;
    runs.push(failed);
    // Cancelled: one step is held, and one waits.
    let cancelled = world
        .enqueued(run_of(&[
            step("only", &json!({})),
            step("then", &json!({ "needs": ["only"] })),
        ]))
        .await;
    world.claimed(&hand, &cancelled).await;
    world.time_goes_by(5);
    let member = world.credential(Who::Member);
    let cancel = format!("POST /v1/runs/{cancelled}/cancel");
    world.ok(member, &cancel, Value::Null).await;
    runs.push(cancelled);
    // On Fargate: the event of its end comes as often as it likes.
    let hosted = json!({ "pool": FARGATE, "mode": "identity", "tool": "codex" });
    let hosted = run_of(&[step("only", &hosted)]);
    let hosted = world
        .enqueued(merged(&hosted, &json!({ "profile": "crm" })))
        .await;
    world.deliver().await;
    world.tasks_go_on(None).await;
    world.time_goes_by(90);
    for _ in 0..2 {
        world.tasks_go_on(Some(0)).await;
    }
    runs.push(hosted);

    let steps = world.used_by(&runs).await;
    assert_eq!(steps["attempts"], 8, "{steps:?}");
    assert!(
        steps["vcpu_ms"] > 0 && steps["sandboxes_usd"] > 0,
        "{steps:?}"
    );
    assert_eq!((steps["unpriced"], steps["untold"]), (1, 1));
    assert_eq!(steps["tokens.input_tokens"], 3000);
    assert_eq!(steps["tokens_of_agents.input_tokens"], 3000);
    assert_eq!(steps["tokens_of_proxies.input_tokens"], 1000);
    for by in [
        "day",
        "workflow",
        "profile",
        "model",
        "day,workflow,profile,model",
    ] {
        let rows = world.usage(Who::Viewer, &format!("&group_by={by}")).await;
        let sums = total(&rows);
        assert!(agree(&sums, &steps), "by {by}: {sums:?}, steps: {steps:?}");
    }
    let rows = world.usage(Who::Viewer, "&group_by=model").await;
    let model = |name: Value| rows.iter().find(|row| row["model"] == name).unwrap();
    // A model that nobody knows costs something, and nobody knows what.
    let unheard = model(json!("openai/unheard-of"));
    assert_eq!(unheard["used"]["cost_usd"], Value::Null);
    assert_eq!(unheard["used"]["unpriced"], 1);
    assert_eq!(unheard["used"]["tokens"], tokens(1000, 400, 50));
    assert_eq!(model(Value::Null)["used"]["attempts"], 4);
    let profiles = world.usage(Who::Viewer, "&group_by=profile").await;
    let names: Vec<&Value> = profiles.iter().map(|row| &row["profile"]).collect();
    assert_eq!(names, [&Value::Null, &json!("crm"), &json!("plain")]);
}

#[tokio::test]
async fn nobody_sees_what_another_project_uses_and_operators_see_sums() {
    let world = World::new().await;
    let hand = world.agents_hand().await;
    world.agent_ended(&hand, "gpt-5.1-codex", &json!({})).await;
    for stranger in [Who::Stranger, Who::OidcStranger] {
        assert_eq!(world.usage(stranger, "").await, [] as [Value; 0]);
    }
    let own = world.usage(Who::Viewer, "&group_by=day,model").await;
    assert_eq!(own.len(), 1, "{own:?}");
    assert_eq!(own[0]["project"], "healthcare");
    let all = world.usage(Who::Operator, "&group_by=day,model").await;
    assert_eq!(all, own, "another project has used nothing");
    // Names of workflows and profiles are the projects' own.
    let operator = world.credential(Who::Operator);
    for by in ["workflow", "day,profile"] {
        let what = format!("GET /v1/usage?group_by={by}");
        let refused = (400, "invalid_request");
        let problem = world.refused(operator, &what, Value::Null, refused).await;
        assert_eq!(problem["field"], "group_by");
    }
    let prices = world.get(operator, "/v1/usage/prices").await;
    let price = &prices["models"]["openai/gpt-5.1-codex"];
    assert_eq!(price["usd"]["input"], 1.25);
    assert!(text(price, "source").starts_with("https://"), "{price}");
}

#[tokio::test]
async fn pages_follow_one_another_and_days_are_days_of_ends() {
    let world = World::new().await;
    let hand = world.agents_hand().await;
    for model in ["gpt-5.1-codex", "acme/a", "acme/b#c"] {
        world.agent_ended(&hand, model, &json!({})).await;
    }
    // The end of this one is on the next day.
    let run = world.enqueued_step(&json!({})).await;
    world.time_goes_by(24 * 3600);
    let lease = world.claimed(&hand, &run).await;
    world.succeeded(&hand, &lease).await;
    // The tokens of the day before have expired.
    let (_, viewer) = world.token(OWN, Role::Viewer, 3600).await;
    let (_, operator) = world.token("", Role::Operator, 3600).await;
    for by in [&viewer, &operator] {
        let mut cursor = String::new();
        let mut seen = Vec::new();
        loop {
            let path = format!("/v1/usage?group_by=day,model&limit=1{cursor}");
            let page = world.get(by, &path).await;
            seen.extend(page["items"].as_array().unwrap().clone());
            let Some(next) = page["next_cursor"].as_str() else {
                break;
            };
            cursor = format!("&cursor={next}");
        }
        let name = |row: &Value| (row["day"].clone(), row["model"].clone());
        let names: Vec<_> = seen.iter().map(name).collect();
        let (first, next) = (json!("2027-01-15"), json!("2027-01-16"));
        let expected = [
            (first.clone(), json!("acme/a")),
            (first.clone(), json!("acme/b#c")),
            (first, json!("openai/gpt-5.1-codex")),
            (next.clone(), Value::Null),
        ];
        assert_eq!(names, expected);
    }
    let viewer = viewer.as_str();
    let days = "/v1/usage?from=2027-01-16&to=2027-01-16";
    let rows = world.get(viewer, days).await;
    assert_eq!(rows["items"].as_array().unwrap().len(), 1);
    for (query, field) in [
        ("from=2027-01-16&to=2027-01-15", "from"),
        ("from=2026-01-01&to=2027-01-15", "from"),
        ("from=yesterday", "from"),
        ("to=2027-1-5", "to"),
        ("to=2027-02-30", "to"),
        ("group_by=run", "group_by"),
        ("group_by=day,", "group_by"),
    ] {
        let what = format!("GET /v1/usage?{query}");
        let refused = (400, "invalid_request");
        let problem = world.refused(viewer, &what, Value::Null, refused).await;
        assert_eq!(problem["field"], field, "{query}");
    }
}

#[tokio::test]
async fn a_report_names_few_models_and_bytes_count() {
    let world = World::new().await;
    let hand = world.agents_hand().await;
    let run = world.agent_enqueued("gpt-5.1-codex").await;
    let lease = world.claimed(&hand, &run).await;
    let many: Vec<Value> = (0..33)
        .map(|at| counted("acme", &format!("m{at}")))
        .collect();
    let report = json!({ "state": "succeeded", "models_used": { "rows": many } });
    let refused = (400, "invalid_request");
    let problem = world
        .report_refused(&hand, merged(&lease, &report), refused)
        .await;
    assert_eq!(problem["field"], "models_used.rows", "{problem}");
    let reached =
        json!({ "host": "a.example", "port": 443, "connections": 1, "sent": 5, "received": 7 });
    let report = json!({ "state": "succeeded", "egress_reached": { "rows": [reached] } });
    let by = &hand.credential;
    world
        .ok(by, "POST /v1/reports", merged(&lease, &report))
        .await;
    let rows = world.usage(Who::Viewer, "").await;
    let used = &rows[0]["used"];
    assert_eq!(
        (&used["egress_sent_bytes"], &used["egress_received_bytes"]),
        (&json!(5), &json!(7))
    );
    let allowed = world.events(&run, "egress.allowed").await;
    assert_eq!(allowed.len(), 1, "{allowed:?}");
    assert_eq!(allowed[0]["rows"], json!([reached]));
}
