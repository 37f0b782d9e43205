//! How secrets are delivered: who may say it, who may run such a step, and what a revocation does
//! to one that runs.

use serde_json::{Value, json};

use super::fleet::MISMATCH;
use super::{Hand, beside, merged, named, run_of, step, text, with_profile};
use crate::world::{FARGATE, Who, World};

fn bound(host: &str) -> Value {
    json!({ "egress": { "to": [{ "host": host }] } })
}

/// A profile with one secret, delivered to `host`, and a policy that allows it.
fn brokered(host: &str) -> Value {
    json!({
        "secrets": { "API_KEY": beside("key") },
        "delivery": { "API_KEY": bound(host) },
        "egress": { "allow": [{ "host": host }] },
    })
}

/// A run of one step of the Fargate pool.
fn on_fargate(profile: &str) -> Value {
    let only = step("only", &json!({ "mode": "identity", "pool": FARGATE }));
    merged(&run_of(&[only]), &json!({ "profile": profile }))
}

impl World {
    async fn hand_that_delivers(&self, kind: &str) -> Hand {
        let hand = self.hand(&json!({ "max_concurrent": 8 })).await;
        let beat = json!({ "leases": [], "sandboxes": { "egress": true, "delivery": kind } });
        self.ok(&hand.credential, "POST /v1/heartbeats", beat).await;
        hand
    }

    /// The whole answer to a claim.
    async fn granted_to(&self, hand: &Hand, run: &str) -> Value {
        let claim = json!({ "run_id": run, "step_id": "only" });
        self.ok(&hand.credential, "POST /v1/claims", claim).await
    }

    async fn verdict(&self, hand: &Hand, lease: &Value) -> Value {
        let beat = json!({ "leases": [lease] });
        let answer = self.ok(&hand.credential, "POST /v1/heartbeats", beat).await;
        answer["leases"][0].clone()
    }
}

#[tokio::test]
async fn the_claim_says_how_a_secret_is_delivered() {
    let world = World::new().await;
    let viewer = world.credential(Who::Viewer);
    world.profile("own", &brokered("api.example")).await;
    let question = json!({ "workflow": "w", "profile": "own" });
    let resolved = world.ok(viewer, "POST /v1/cascade/resolve", question).await;
    assert_eq!(resolved["keys"][0]["delivery"], bound("api.example"));

    let hand = world.hand_that_delivers("egress").await;
    let run = world.enqueued(with_profile("own")).await;
    let lease = world.granted_to(&hand, &run).await;
    let secret = &lease["secrets"][0];
    assert_eq!(secret["delivery"], bound("api.example"), "{secret}");
    let released = world.events(&run, "secret.released").await;
    assert_eq!(released[0]["secrets"][0]["delivery"], bound("api.example"));

    // Another delivery is drift, as another version is.
    let run = world.enqueued(with_profile("own")).await;
    let file = merged(
        &brokered("api.example"),
        &json!({ "delivery": { "API_KEY": "file" } }),
    );
    world.replace_profile("own", &file).await;
    let lease = world.granted_to(&hand, &run).await;
    assert_eq!(lease["secrets"][0]["delivery"], "file");
    let drift = world.events(&run, "profile.drift_at_injection").await;
    assert_eq!(drift[0]["rotated"], json!(["API_KEY"]), "{drift:?}");
}

#[tokio::test]
async fn a_later_level_makes_delivery_stricter_and_nothing_else() {
    let world = World::new().await;
    let (admin, member) = (world.credential(Who::Admin), world.credential(Who::Member));
    let ours = json!({
        "secrets": { "API_KEY": beside("key") },
        "egress": { "allow": [{ "host": "*.example" }] },
    });
    world.profile("ours", &ours).await;
    world
        .ok(admin, "PUT /v1/cascade", json!({ "project": "ours" }))
        .await;
    let deliver = |delivery: Value| json!({ "delivery": { "API_KEY": delivery } });
    world.profile("own", &deliver(bound("a.example"))).await;
    let hand = world.hand_that_delivers("egress").await;
    let run = world.enqueued(with_profile("own")).await;
    let lease = world.granted_to(&hand, &run).await;
    assert_eq!(lease["secrets"][0]["delivery"], bound("a.example"));

    // What goes to egress already cannot be bound to other hosts.
    let strict = merged(&ours, &deliver(bound("b.example")));
    world.replace_profile("ours", &strict).await;
    let refused = (400, "invalid_request");
    let body = with_profile("own");
    let problem = world.refused(member, "POST /v1/runs", body, refused).await;
    assert!(text(&problem, "detail").contains("`own`"), "{problem}");

    // And nobody says it of a key that is not there.
    let absent = json!({ "delivery": { "API_KYE": bound("a.example") } });
    world.replace_profile("own", &absent).await;
    let body = with_profile("own");
    let problem = world.refused(member, "POST /v1/runs", body, refused).await;
    assert!(text(&problem, "detail").contains("API_KYE"), "{problem}");
}

#[tokio::test]
async fn a_step_goes_to_who_can_deliver_its_secrets() {
    let world = World::new().await;
    let member = world.credential(Who::Member);
    world.profile("brokered", &brokered("api.example")).await;
    let filed = json!({
        "secrets": { "API_KEY": beside("key") }, "delivery": { "API_KEY": "file" },
    });
    world.profile("filed", &filed).await;
    let plain = world.hand(&json!({ "max_concurrent": 8 })).await;
    let files = world.hand_that_delivers("file").await;
    let all = world.hand_that_delivers("egress").await;
    for (profile, kind, cannot, can) in [
        ("filed", "file", vec![&plain], &files),
        ("filed", "file", vec![&plain], &all),
        ("brokered", "egress", vec![&plain, &files], &all),
    ] {
        let run = world.enqueued(with_profile(profile)).await;
        let document = &world.run(&run).await["document"];
        let requires = &document["steps"][0]["requires"];
        assert_eq!(requires["sandbox.delivery"], kind, "{requires}");
        for hand in cannot {
            world.claim_refused(hand, &run, MISMATCH).await;
        }
        world.claimed(can, &run).await;
    }
    // A step whose tool sees none of them needs nobody.
    let hidden = merged(&filed, &json!({ "tools": { "other": ["*"] } }));
    world.profile("hidden", &hidden).await;
    let run = world.enqueued(with_profile("hidden")).await;
    world.claimed(&plain, &run).await;
    // What a profile asks for since the enqueue, this worker cannot do: it starts nothing.
    let silent = json!({ "secrets": { "API_KEY": beside("key") } });
    world.profile("later", &silent).await;
    let run = world.enqueued(with_profile("later")).await;
    world.replace_profile("later", &filed).await;
    let claim = json!({ "run_id": run, "step_id": "only" });
    let (status, answer) = world
        .asked(&plain.credential, "POST /v1/claims", &claim)
        .await;
    assert!(status >= 400, "{answer}");
    let shown = world.step(&run).await;
    assert_eq!(shown["failure"]["kind"], "profile_refused", "{shown}");
    let asks = json!({ "requires": { "sandbox.delivery": "egress" } });
    let body = run_of(&[step("only", &asks)]);
    let refused = (400, "invalid_request");
    world.refused(member, "POST /v1/runs", body, refused).await;
}

#[tokio::test]
async fn a_sandbox_whose_init_cannot_deliver_so_is_told_nothing() {
    let world = World::new().await;
    let reference = "aws-sm://sealfleet/healthcare/crm#api-key";
    let secrets = json!({ "API_KEY": reference, "OTHER": reference });
    let filed = json!({ "secrets": secrets, "delivery": { "API_KEY": "file" } });
    let brokered = merged(&brokered("api.example"), &json!({ "secrets": secrets }));
    for (profile, way, enough) in [("filed", "file", 2), ("brokered", "egress", 3)] {
        let content = if way == "file" { &filed } else { &brokered };
        world.profile(profile, content).await;
        let run = world.enqueued(on_fargate(profile)).await;
        let (task, lease) = world.in_its_task(&run).await;
        for (at, delivery) in ["env", "file", "egress"].iter().enumerate() {
            let can = json!({ "delivery": delivery, "egress": true });
            let (status, answer) = world
                .asked_by_task(&task, "step", &merged(&lease, &can))
                .await;
            if at + 1 < enough {
                assert_eq!((status, &answer["code"]), (409, &json!("step_mismatch")));
                let told = text(&answer, "detail").contains(&format!("`{way}`"));
                assert!(told, "{answer}");
                continue;
            }
            assert_eq!(status, 200, "{delivery}: {answer}");
            if way == "file" {
                assert_eq!(answer["in_files"], json!(["API_KEY"]), "{answer}");
                assert_eq!(
                    answer["secret_names"],
                    json!(["API_KEY", "OTHER"]),
                    "{answer}"
                );
            } else {
                let there = json!({ "API_KEY": bound("api.example")["egress"] });
                assert_eq!(answer["at_egress"], there, "{answer}");
                assert_eq!(answer["secret_names"], json!(["OTHER"]), "{answer}");
            }
        }
        // An init of before says nothing.
        let (status, _) = world.asked_by_task(&task, "step", &lease).await;
        assert_eq!(status, 409);
    }
}

#[tokio::test]
async fn a_secret_that_no_host_could_get_is_refused() {
    let world = World::new().await;
    let member = world.credential(Who::Member);
    for (name, egress) in [
        ("silent", Value::Null),
        ("none", json!("none")),
        ("other", json!({ "allow": [{ "host": "other.example" }] })),
    ] {
        let mut profile = brokered("api.example");
        profile["egress"] = egress;
        if profile["egress"].is_null() {
            profile.as_object_mut().unwrap().remove("egress");
        }
        world.profile(name, &profile).await;
        let body = with_profile(name);
        let refused = (400, "invalid_request");
        let problem = world.refused(member, "POST /v1/runs", body, refused).await;
        assert_eq!(problem["field"], "profile", "{problem}");
        let detail = text(&problem, "detail");
        assert!(detail.contains("api.example:443"), "{detail}");
    }
}

#[tokio::test]
async fn a_heartbeat_hears_which_of_a_step_s_keys_are_revoked() {
    let world = World::new().await;
    let admin = world.credential(Who::Admin);
    let both = json!({
        "secrets": { "API_KEY": beside("key"), "INSIDE": beside("inside") },
        "delivery": { "API_KEY": bound("api.example") },
        "egress": { "allow": [{ "host": "api.example" }] },
    });
    world.profile("own", &both).await;
    let hand = world.hand_that_delivers("egress").await;
    let run = world.enqueued(with_profile("own")).await;
    let lease = world.claimed(&hand, &run).await;
    world.started(&hand, &lease).await;
    assert_eq!(world.verdict(&hand, &lease).await.get("revoked"), None);

    // A soft one: the step goes on, and its proxy sends the key nowhere any more. What is in its
    // environment cannot be taken back.
    let keys: Vec<Value> = ["API_KEY", "INSIDE"]
        .map(|key| json!({ "profile": "own", "key": key }))
        .into();
    let revoke = json!({ "keys": keys, "reason": "leaked" });
    world.ok(admin, "POST /v1/revocations", revoke).await;
    let verdict = world.verdict(&hand, &lease).await;
    assert_eq!(verdict["held"], true, "{verdict}");
    assert_eq!(verdict["revoked"], json!(["API_KEY"]), "{verdict}");
    // Nobody else hears of it.
    let stale = merged(&lease, &json!({ "fence": 9 }));
    let verdict = world.verdict(&hand, &stale).await;
    assert_eq!(
        (&verdict["held"], verdict.get("revoked")),
        (&json!(false), None)
    );
    let trail = world.trail("&type=secret.revoked").await;
    assert!(named(&trail, "run.aborted_by_revocation").is_empty());
}

#[tokio::test]
async fn a_misused_key_is_an_event_of_its_own() {
    let world = World::new().await;
    world.profile("own", &brokered("api.example")).await;
    let hand = world.hand_that_delivers("egress").await;
    let run = world.enqueued(with_profile("own")).await;
    let lease = world.claimed(&hand, &run).await;
    world.started(&hand, &lease).await;
    let row = |reason: &str| json!({ "host": "other.example", "port": 443, "reason": reason, "key": "API_KEY", "count": 2 });
    let rows = [row("credential_mismatch"), row("credential_withdrawn")];
    let step = merged(&lease, &json!({ "hosts": { "rows": rows, "others": 1 } }));
    let beat = json!({ "leases": [lease], "egress_denied": [step] });
    world
        .ok(&hand.credential, "POST /v1/heartbeats", beat)
        .await;
    let trail = world.trail("").await;
    let mismatches = named(&trail, "egress.credential_mismatch");
    assert_eq!(mismatches.len(), 1, "{mismatches:?}");
    assert_eq!(mismatches[0]["rows"], json!([row("credential_mismatch")]));
    let denied = named(&trail, "egress.denied");
    assert_eq!(denied[0]["rows"], json!([row("credential_withdrawn")]));
    assert_eq!(denied[0]["others"], 1);
    // It is found by the key.
    let of_key = world
        .trail("&key=API_KEY&type=egress.credential_mismatch")
        .await;
    assert_eq!(named(&of_key, "egress.credential_mismatch").len(), 1);
    let end = merged(
        &lease,
        &json!({ "state": "succeeded", "egress_denied": { "rows": rows } }),
    );
    world.ok(&hand.credential, "POST /v1/reports", end).await;
    let trail = world.trail("").await;
    assert_eq!(named(&trail, "egress.credential_mismatch").len(), 2);
}
