//! 80. Which hosts a step may reach: what its profiles say, who runs it, and what it was kept from.

use serde_json::{Value, json};

use super::fleet::MISMATCH;
use super::{Hand, merged, named, run_of, step, text};
use crate::world::{FARGATE, Who, World};

fn allow(hosts: &[&str]) -> Value {
    let rules: Vec<_> = hosts.iter().map(|host| json!({ "host": host })).collect();
    json!({ "egress": { "allow": rules } })
}

fn run_with(profile: &str, more: &Value) -> Value {
    let more = merged(&json!({ "mode": "identity" }), more);
    merged(
        &run_of(&[step("only", &more)]),
        &json!({ "profile": profile }),
    )
}

impl World {
    async fn hand_with_egress(&self) -> Hand {
        let hand = self.hand(&json!({ "max_concurrent": 8 })).await;
        let beat = json!({ "leases": [], "sandboxes": { "egress": true } });
        self.ok(&hand.credential, "POST /v1/heartbeats", beat).await;
        hand
    }

    /// The whole answer to a claim.
    async fn granted(&self, hand: &Hand, run: &str) -> Value {
        let claim = json!({ "run_id": run, "step_id": "only" });
        self.ok(&hand.credential, "POST /v1/claims", claim).await
    }
}

#[tokio::test]
async fn levels_only_narrow_and_the_claim_says_what_is_left() {
    let world = World::new().await;
    let (admin, viewer) = (world.credential(Who::Admin), world.credential(Who::Viewer));
    let both = allow(&["*.example", "a.test"]);
    world.profile("ours", &both).await;
    let own = allow(&["x.example", "b.test"]);
    world.profile("own", &own).await;
    world
        .ok(admin, "PUT /v1/cascade", json!({ "project": "ours" }))
        .await;

    let left = json!({ "allow": [{ "host": "x.example" }] });
    let question = json!({ "workflow": "w", "profile": "own" });
    let resolved = world.ok(viewer, "POST /v1/cascade/resolve", question).await;
    assert_eq!(resolved["egress"], left);

    let hand = world.hand_with_egress().await;
    let run = world.enqueued(run_with("own", &json!({}))).await;
    assert_eq!(world.granted(&hand, &run).await["egress"], left);

    // What a later level takes away is gone at the next start, and that is drift.
    let run = world.enqueued(run_with("own", &json!({}))).await;
    world
        .replace_profile("own", &json!({ "egress": "none" }))
        .await;
    let lease = world.granted(&hand, &run).await;
    assert_eq!(lease["egress"], "none");
    let drift = world.events(&run, "profile.drift_at_injection").await;
    assert_eq!(drift.len(), 1, "{drift:?}");
    assert_eq!(drift[0]["egress"], true);
}

#[tokio::test]
async fn a_step_that_may_reach_hosts_goes_to_who_holds_it_to_them() {
    let world = World::new().await;
    let member = world.credential(Who::Member);
    world.profile("own", &allow(&["a.example"])).await;
    world.profile("none", &json!({ "egress": "none" })).await;
    world.profile("silent", &json!({})).await;
    let (without, with) = (
        world.hand(&json!({ "max_concurrent": 8 })).await,
        world.hand_with_egress().await,
    );
    let run = world.enqueued(run_with("own", &json!({}))).await;
    let document = &world.run(&run).await["document"];
    assert_eq!(
        document["steps"][0]["requires"],
        json!({ "sandbox.egress": "policy" })
    );
    world.claim_refused(&without, &run, MISMATCH).await;
    world.claimed(&with, &run).await;
    // Whoever reaches nothing needs nobody.
    for profile in ["none", "silent"] {
        let run = world.enqueued(run_with(profile, &json!({}))).await;
        world.claimed(&without, &run).await;
    }
    // A host that cannot hold a step to it refuses it, now and at its start.
    for profile in ["own", "none"] {
        let body = run_with(profile, &json!({ "pool": FARGATE }));
        let refused = (400, "invalid_request");
        let problem = world.refused(member, "POST /v1/runs", body, refused).await;
        assert_eq!(problem["field"], "steps.only.pool", "{problem}");
        assert!(text(&problem, "detail").contains("egress"), "{problem}");
    }
    let later = run_with("silent", &json!({ "pool": FARGATE }));
    let later = world.enqueued(later).await;
    world
        .replace_profile("silent", &allow(&["a.example"]))
        .await;
    world.deliver().await;
    let shown = world.step(&later).await;
    assert_eq!(shown["failure"]["kind"], "profile_refused", "{shown}");
    assert_eq!(
        world.tasks(),
        0,
        "a task was started that nobody holds to its policy"
    );
    // Nobody requires or declares it on their own.
    let asks = json!({ "requires": { "sandbox.egress": "policy" } });
    let body = run_of(&[step("only", &asks)]);
    let refused = (400, "invalid_request");
    world.refused(member, "POST /v1/runs", body, refused).await;
}

#[tokio::test]
async fn what_a_step_was_kept_from_is_in_the_trail() {
    let world = World::new().await;
    world.profile("own", &allow(&["a.example"])).await;
    let hand = world.hand_with_egress().await;
    let run = world.enqueued(run_with("own", &json!({}))).await;
    let lease = world.claimed(&hand, &run).await;
    world.started(&hand, &lease).await;
    let row = |host: &str, count: u64| json!({ "host": host, "port": 443, "reason": "no_rule", "count": count });
    let end = merged(&lease, &json!({ "state": "succeeded" }));
    let refused = (400, "invalid_request");
    let many: Vec<Value> = (0..65)
        .map(|at| row(&format!("h{at}.example"), 1))
        .collect();
    for denied in [
        json!({ "rows": many }),
        json!({ "rows": [row("\u{1b}[2J.example", 1)] }),
        json!({ "rows": [row("a.example/path?token=x", 1)] }),
    ] {
        let report = merged(&end, &json!({ "egress_denied": denied }));
        world.report_refused(&hand, report, refused).await;
    }
    let rows = [
        row("paste.example", 1),
        row("paste.example", 2),
        row("b.example", 9),
    ];
    let report = merged(
        &end,
        &json!({ "egress_denied": { "rows": rows, "others": 4 } }),
    );
    for _ in 0..2 {
        world
            .ok(&hand.credential, "POST /v1/reports", report.clone())
            .await;
    }
    let trail = world.trail("&type=egress.denied").await;
    let events = named(&trail, "egress.denied");
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(
        events[0]["rows"],
        json!([row("b.example", 9), row("paste.example", 3)])
    );
    assert_eq!(events[0]["others"], 4);
}
