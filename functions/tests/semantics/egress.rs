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
async fn methods_and_paths_narrow_too_and_do_not_multiply_without_bound() {
    let world = World::new().await;
    let (admin, member) = (world.credential(Who::Admin), world.credential(Who::Member));
    let policy = |rules: Value| json!({ "egress": { "allow": rules } });
    let ours = json!([{ "host": "*.test", "methods": ["GET", "POST"] }]);
    world.profile("ours", &policy(ours)).await;
    let own = json!([{ "host": "a.test", "methods": ["POST", "PUT"], "paths": ["/v1/*"] }]);
    world.profile("own", &policy(own)).await;
    let cascade = json!({ "project": "ours" });
    world.ok(admin, "PUT /v1/cascade", cascade).await;
    let hand = world.hand_with_egress().await;
    let run = world.enqueued(run_with("own", &json!({}))).await;
    let left = json!([{ "host": "a.test", "methods": ["POST"], "paths": ["/v1/*"] }]);
    assert_eq!(
        world.granted(&hand, &run).await["egress"],
        json!({ "allow": left })
    );

    // Each of them may be written, and together they are too many.
    let hosts: Vec<_> = (0..32)
        .map(|n| json!({ "host": format!("h{n}.test") }))
        .collect();
    let paths =
        |n: usize| json!({ "host": "*.test", "methods": [format!("M{n}")], "paths": ["/x"] });
    let paths: Vec<_> = (0..32).map(paths).collect();
    world.profile("hosts", &policy(json!(hosts))).await;
    world.replace_profile("ours", &policy(json!(paths))).await;
    let refused = (400, "invalid_request");
    let body = run_with("hosts", &json!({}));
    let problem = world.refused(member, "POST /v1/runs", body, refused).await;
    assert_eq!(problem["field"], "profile");
    assert!(text(&problem, "detail").contains("128 rules"), "{problem}");
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
    let document = world.run(&run).await["document"].clone();
    assert_eq!(document["steps"][0]["requires"], json!({}));
    world.claim_refused(&without, &run, MISMATCH).await;
    world.claimed(&with, &run).await;
    // What a run was asked can be asked again, with the same consequence.
    let again = world.enqueued(document).await;
    world.claim_refused(&without, &again, MISMATCH).await;
    // Whoever reaches nothing needs nobody.
    for profile in ["none", "silent"] {
        let run = world.enqueued(run_with(profile, &json!({}))).await;
        world.claimed(&without, &run).await;
    }
    // Nobody requires or declares it on their own.
    let asks = json!({ "requires": { "sandbox.egress": "policy" } });
    let body = run_of(&[step("only", &asks)]);
    let refused = (400, "invalid_request");
    world.refused(member, "POST /v1/runs", body, refused).await;
}

#[tokio::test]
async fn a_task_whose_init_cannot_hold_a_step_to_its_policy_is_told_nothing() {
    let world = World::new().await;
    let own = allow(&["a.example"]);
    world.profile("own", &own).await;
    world.profile("none", &json!({ "egress": "none" })).await;
    for (profile, policy) in [("own", &own["egress"]), ("none", &json!("none"))] {
        let run = world
            .enqueued(run_with(profile, &json!({ "pool": FARGATE })))
            .await;
        let (task, lease) = world.in_its_task(&run).await;
        let (status, answer) = world.asked_by_task(&task, "step", &lease).await;
        assert_eq!((status, &answer["code"]), (409, &json!("step_mismatch")));
        assert!(text(&answer, "detail").contains("egress"), "{answer}");
        let asked = merged(&lease, &json!({ "egress": true }));
        let (status, answer) = world.asked_by_task(&task, "step", &asked).await;
        assert_eq!((status, &answer["egress"]), (200, policy), "{answer}");
    }
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

impl World {
    async fn ceiling(&self, ceiling: Value) {
        let body = json!({ "ceiling": ceiling });
        let what = "PUT /v1/projects/healthcare/egress-ceiling";
        let set = self
            .ok(self.credential(Who::Operator), what, body.clone())
            .await;
        assert_eq!(set["ceiling"], body["ceiling"]);
    }
}

#[tokio::test]
async fn a_ceiling_narrows_what_profiles_say_now_and_at_the_next_start() {
    let world = World::new().await;
    let viewer = world.credential(Who::Viewer);
    world
        .profile("own", &allow(&["a.example", "b.example"]))
        .await;
    world.profile("silent", &json!({})).await;
    world.ceiling(allow(&["*.example"])["egress"].clone()).await;
    let hand = world.hand_with_egress().await;
    let run = world.enqueued(run_with("own", &json!({}))).await;
    let both = json!({ "allow": [{ "host": "a.example" }, { "host": "b.example" }] });
    assert_eq!(world.granted(&hand, &run).await["egress"], both);
    // Where no profile says anything, a ceiling grants nothing, and whoever lends its network is
    // held to that.
    let run = world.enqueued(run_with("silent", &json!({}))).await;
    assert_eq!(world.granted(&hand, &run).await["egress"], "none");

    let run = world.enqueued(run_with("own", &json!({}))).await;
    world.ceiling(allow(&["b.example"])["egress"].clone()).await;
    let left = json!({ "allow": [{ "host": "b.example" }] });
    assert_eq!(world.granted(&hand, &run).await["egress"], left);
    let drift = world.events(&run, "profile.drift_at_injection").await;
    assert_eq!(drift[0]["egress"], true, "{drift:?}");

    let question = json!({ "workflow": "w", "profile": "own" });
    let resolved = world.ok(viewer, "POST /v1/cascade/resolve", question).await;
    assert_eq!(resolved["egress"], left);
    assert_eq!(resolved["egress_ceiling"], left);
    let project = world.get(viewer, "/v1/projects/healthcare").await;
    assert_eq!(project["egress_ceiling"], left);
    let set = named(&world.trail("").await, "egress.ceiling_set");
    assert_eq!(set.len(), 2);
    assert_eq!((&set[1]["ceiling"], set[0].get("before")), (&left, None));
    world.ceiling(Value::Null).await;
    let run = world.enqueued(run_with("own", &json!({}))).await;
    assert_eq!(world.granted(&hand, &run).await["egress"], both);
}

#[tokio::test]
async fn open_is_for_operators() {
    let world = World::new().await;
    let (admin, operator) = (
        world.credential(Who::Admin),
        world.credential(Who::Operator),
    );
    let open = json!({ "name": "open", "egress": "open" });
    let refused = (400, "invalid_request");
    for ceiling in [Value::Null, json!({ "allow": [{ "host": "a.example" }] })] {
        world.ceiling(ceiling).await;
        let what = "POST /v1/profiles";
        let problem = world.refused(admin, what, open.clone(), refused).await;
        assert_eq!(problem["field"], "egress", "{problem}");
    }
    world.ceiling(json!("open")).await;
    world.profile("open", &open).await;
    let hand = world.hand_with_egress().await;
    let run = world.enqueued(run_with("open", &json!({}))).await;
    let waits = world.enqueued(run_with("open", &json!({}))).await;
    assert_eq!(world.granted(&hand, &run).await["egress"], "open");
    // What was opened once closes with the ceiling: at enqueue, and at each start.
    world.ceiling(Value::Null).await;
    let member = world.credential(Who::Member);
    let run = run_with("open", &json!({}));
    let denied = (403, "profile_denied");
    world.refused(member, "POST /v1/runs", run, denied).await;
    let claim = json!({ "run_id": waits, "step_id": "only" });
    let (status, _) = world
        .asked(&hand.credential, "POST /v1/claims", &claim)
        .await;
    assert_ne!(status, 200);
    world.failed(&waits, "profile_refused").await;
    // A profile of the system is the operators' own word.
    world
        .ok(
            operator,
            "POST /v1/profiles",
            json!({ "name": "wide", "egress": "open" }),
        )
        .await;
    world
        .ok(admin, "PUT /v1/cascade", json!({ "system": "wide" }))
        .await;
    world.profile("silent", &json!({})).await;
    let run = world.enqueued(run_with("silent", &json!({}))).await;
    assert_eq!(world.granted(&hand, &run).await["egress"], "open");
}

#[tokio::test]
async fn a_ceiling_that_is_no_policy_is_refused() {
    let world = World::new().await;
    let operator = world.credential(Who::Operator);
    for ceiling in [
        json!({ "allow": [] }),
        json!({ "allow": [{ "host": "a.example", "port": 0 }] }),
        json!("closed"),
    ] {
        let what = "PUT /v1/projects/healthcare/egress-ceiling";
        let body = json!({ "ceiling": ceiling });
        let refused = (400, "invalid_request");
        world.refused(operator, what, body, refused).await;
    }
}

#[tokio::test]
async fn a_change_of_a_policy_is_on_record_with_the_profiles_version() {
    let world = World::new().await;
    world.profile("own", &json!({ "egress": "none" })).await;
    let one = allow(&["a.example"]);
    world.replace_profile("own", &one).await;
    let same = merged(&one, &json!({ "env": { "A": "b" } }));
    world.replace_profile("own", &same).await;
    world.replace_profile("own", &json!({})).await;
    let changes = named(&world.trail("").await, "egress.policy_changed");
    let shape: Vec<_> = changes
        .iter()
        .map(|change| (&change["version"], &change["before"], &change["egress"]))
        .collect();
    let (none, one) = (json!("none"), one["egress"].clone());
    let expected = [
        (&json!(1), &Value::Null, &none),
        (&json!(2), &none, &one),
        (&json!(4), &one, &Value::Null),
    ];
    assert_eq!(shape, expected, "one for each change, none without one");
}

#[tokio::test]
async fn what_a_running_step_is_kept_from_is_in_the_trail_while_it_runs() {
    let world = World::new().await;
    world.profile("own", &allow(&["a.example"])).await;
    let hand = world.hand_with_egress().await;
    let run = world.enqueued(run_with("own", &json!({}))).await;
    let lease = world.claimed(&hand, &run).await;
    world.started(&hand, &lease).await;
    let row = |host: &str| json!({ "host": host, "port": 443, "reason": "no_rule", "count": 2 });
    let told = |lease: &Value, rows: &[Value]| {
        let step = merged(lease, &json!({ "hosts": { "rows": rows } }));
        json!({ "leases": [lease], "egress_denied": [step] })
    };
    let path = "POST /v1/heartbeats";
    let beat = told(&lease, &[row("a.test"), row("b.test")]);
    let answer = world.ok(&hand.credential, path, beat).await;
    assert_eq!(answer["leases"][0]["denials_recorded"], true, "{answer}");
    let trail = || async {
        let trail = world.trail("&type=egress.denied").await;
        named(&trail, "egress.denied")
    };
    let events = trail().await;
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["rows"], json!([row("a.test"), row("b.test")]));
    assert_eq!(
        (&events[0]["step_id"], &events[0]["fence"]),
        (&json!("only"), &lease["fence"])
    );

    // Of a claim that it does not hold, a worker can tell nothing.
    let stale = merged(&lease, &json!({ "fence": 9 }));
    let beat = told(&stale, &[row("c.test")]);
    let answer = world.ok(&hand.credential, path, beat).await;
    assert_eq!(
        answer["leases"][0].get("denials_recorded"),
        None,
        "{answer}"
    );
    let many: Vec<Value> = (0..65).map(|at| row(&format!("h{at}.example"))).collect();
    let refused = (400, "invalid_request");
    let problem = world
        .refused(&hand.credential, path, told(&lease, &many), refused)
        .await;
    assert_eq!(problem["field"], "egress_denied", "{problem}");
    assert_eq!(trail().await.len(), 1);
}

#[tokio::test]
async fn a_lease_does_not_wait_for_the_trail() {
    let world = World::new().await;
    world.profile("own", &allow(&["a.example"])).await;
    let hand = world.hand_with_egress().await;
    let run = world.enqueued(run_with("own", &json!({}))).await;
    let lease = world.claimed(&hand, &run).await;
    world.started(&hand, &lease).await;
    let rows = json!([{ "host": "a.test", "port": 443, "reason": "no_rule", "count": 2 }]);
    let step = merged(&lease, &json!({ "hosts": { "rows": rows } }));
    let beat = json!({ "leases": [lease], "egress_denied": [step] });
    world.audit_table_is_away(true);
    let path = "POST /v1/heartbeats";
    let answer = world.ok(&hand.credential, path, beat.clone()).await;
    let verdict = &answer["leases"][0];
    assert_eq!(verdict["held"], true, "{answer}");
    assert_eq!(verdict.get("denials_recorded"), None, "{answer}");
    world.audit_table_is_away(false);
    world.ok(&hand.credential, path, beat).await;
    let trail = world.trail("&type=egress.denied").await;
    assert_eq!(named(&trail, "egress.denied").len(), 1);
}
