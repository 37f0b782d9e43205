//! Revocations: refused at every door, lifted once, all or none, previewed without effect.

use sealfleet_domain::fleet::WorkerStatus;
use serde_json::{Value, json};

use super::{Hand, beside, merged, named, run_of, step, success, text, with_profile};
use crate::world::{CRM, FARGATE, OTHER, OWN, Who, World};

const REVOKED: (u16, &str) = (403, "secret_revoked");
const ALREADY: (u16, &str) = (409, "already_revoked");

fn keys(keys: &[(&str, &str)], hard: bool) -> Value {
    let keys = keys
        .iter()
        .map(|(profile, key)| json!({ "profile": profile, "key": key }));
    json!({ "keys": keys.collect::<Vec<_>>(), "hard": hard, "reason": "a test" })
}

fn secret(name: &str, from: &str) -> Value {
    json!({ "secrets": { name: beside(from) } })
}

impl World {
    /// Revokes keys; the ids and the id of the fan-out.
    async fn revoked(&self, by: Who, of: &[(&str, &str)], hard: bool) -> (Vec<String>, Value) {
        let by = self.credential(by);
        let answer = self.ok(by, "POST /v1/revocations", keys(of, hard)).await;
        let made = answer["revocations"].as_array().unwrap().iter();
        let ids = made.map(|made| text(made, "revocation_id")).collect();
        (ids, answer["fan_out"]["fan_out_id"].clone())
    }

    async fn lifted(&self, by: Who, id: &str) {
        let what = format!("POST /v1/revocations/{id}/lift");
        self.ok(self.credential(by), &what, Value::Null).await;
    }

    /// The ids of all revocations in a state.
    async fn listed(&self, state: &str) -> Vec<String> {
        let path = format!("/v1/revocations?state={state}&limit=100");
        let listed = self.get(self.credential(Who::Viewer), &path).await;
        let items = listed["items"].as_array().unwrap().iter();
        items.map(|item| text(item, "revocation_id")).collect()
    }
}

/// 36. Soft revoke -> enqueue refused (`secret_revoked`) through every entry point.
#[tokio::test]
async fn s36_a_revoked_key_is_refused_at_every_door() {
    let world = World::new().await;
    let [operator, admin, member, viewer, stranger] = [
        Who::Operator,
        Who::Admin,
        Who::Member,
        Who::Viewer,
        Who::Stranger,
    ]
    .map(|who| world.credential(who));
    let base = merged(&secret("SYSTEM", "system/s36"), &json!({ "name": "base" }));
    world.ok(operator, "POST /v1/profiles", base).await;
    for (name, content) in [
        ("default", secret("DEFAULT", "default")),
        ("nightly", secret("NIGHTLY", "nightly")),
        ("own", secret("OWN", "own")),
        // The same address under another name and profile.
        ("alias", secret("ALIAS", "own")),
        ("other", secret("DEFAULT", "other")),
        ("listed", json!({ "tools": { "codex": ["NIGHTLY"] } })),
    ] {
        world.profile(name, &content).await;
    }
    let bindings =
        json!({ "system": "base", "project": "default", "workflows": { "nightly": "nightly" } });
    world.ok(admin, "PUT /v1/cascade", bindings).await;
    world
        .ok(stranger, "PUT /v1/cascade", json!({ "system": "base" }))
        .await;

    let body = |asked: &Value, more: &Value| {
        let only = step("only", &merged(&json!({ "mode": "identity" }), more));
        merged(asked, &json!({ "steps": [only] }))
    };
    let plain = json!({ "workflow": "w" });
    let of = |profile: &str| json!({ "workflow": "w", "profile": profile });
    let nightly = json!({ "workflow": "nightly" });
    let nothing = json!({});
    for (by, profile, key, asked, name) in [
        (Who::Admin, "own", "OWN", &of("own"), "OWN"),
        (Who::Admin, "own", "OWN", &of("alias"), "ALIAS"),
        (Who::Admin, "default", "DEFAULT", &plain, "DEFAULT"),
        (Who::Admin, "nightly", "NIGHTLY", &nightly, "NIGHTLY"),
        (Who::Operator, "base", "SYSTEM", &plain, "SYSTEM"),
        (Who::Admin, "system/base", "SYSTEM", &plain, "SYSTEM"),
    ] {
        // A dead step, which could be retried.
        let dead = world
            .enqueued(body(asked, &json!({ "ttl_seconds": 1 })))
            .await;
        world.leases_run_out().await;
        assert_eq!(world.step(&dead).await["state"], "dead");

        let (ids, fan_out) = world.revoked(by, &[(profile, key)], false).await;
        let (id, what) = (&ids[0], format!("{key} of {profile} in {asked}"));
        assert!(fan_out.is_null(), "a soft revocation has a fan-out");
        let denied = named(&world.trail("&type=run.denied").await, "run.denied").len();
        let refused = world
            .refused(member, "POST /v1/runs", body(asked, &nothing), REVOKED)
            .await;
        let detail = text(&refused, "detail");
        assert!(
            detail.contains(&format!("`{name}`")) && detail.contains(id),
            "{what}: {detail}"
        );
        let retry = format!("POST /v1/runs/{dead}/steps/only/retry");
        world.refused(member, &retry, Value::Null, REVOKED).await;
        assert_eq!(world.step(&dead).await["state"], "dead", "{what}");
        let told = named(&world.trail("&type=run.denied").await, "run.denied").len();
        assert_eq!(told - denied, 2, "{what}: audited refusals");
        let resolved = world
            .ok(viewer, "POST /v1/cascade/resolve", asked.clone())
            .await;
        let keys = resolved["keys"].as_array().unwrap();
        let shown = keys.iter().find(|shown| shown["key"] == name).unwrap();
        assert_eq!(shown["revoked_by"], **id, "{what}");

        // Operators take a key away from all projects, a project from itself alone.
        let neighbours = body(&plain, &nothing);
        if by == Who::Operator {
            world
                .refused(stranger, "POST /v1/runs", neighbours, REVOKED)
                .await;
        } else {
            world.ok(stranger, "POST /v1/runs", neighbours).await;
        }

        // A run without the key may go.
        let without = merged(asked, &json!({ "overrides": { "remove": [name] } }));
        world.enqueued(body(&without, &nothing)).await;
        if key == "DEFAULT" {
            world.enqueued(body(&of("other"), &nothing)).await;
            world
                .enqueued(body(&of("listed"), &json!({ "tool": "codex" })))
                .await;
        }
        world.lifted(by, id).await;
        world.enqueued(body(asked, &nothing)).await;
        world.ok(member, &retry, Value::Null).await;
    }
}

/// 38. Revoke twice -> 409; lift -> enqueue works; lift again -> 409.
#[tokio::test]
async fn s38_a_revocation_is_lifted_once() {
    let world = World::new().await;
    let [admin, member, viewer] =
        [Who::Admin, Who::Member, Who::Viewer].map(|who| world.credential(who));
    world.profile("p", &secret("API_KEY", "p")).await;
    let (key, body) = ([("p", "API_KEY")], with_profile("p"));
    let (ids, _) = world.revoked(Who::Admin, &key, false).await;
    let id = &ids[0];
    let problem = world
        .refused(admin, "POST /v1/revocations", keys(&key, false), ALREADY)
        .await;
    let detail = text(&problem, "detail");
    assert!(
        detail.contains("`API_KEY`") && detail.contains('p'),
        "{detail}"
    );
    world
        .refused(member, "POST /v1/runs", body.clone(), REVOKED)
        .await;
    assert_eq!(
        (world.listed("active").await, world.listed("lifted").await),
        (ids.clone(), vec![])
    );
    let path = format!("/v1/revocations/{id}");
    let shown = world.get(viewer, &path).await;
    let told = (&shown["hard"], &shown["reason"], &shown["lifted"]);
    assert_eq!(told, (&json!(false), &json!("a test"), &Value::Null));

    let lift = format!("POST {path}/lift");
    world.lifted(Who::Admin, id).await;
    world.enqueued(body.clone()).await;
    world
        .refused(admin, &lift, Value::Null, (409, "not_active"))
        .await;
    assert_eq!(
        (world.listed("active").await, world.listed("lifted").await),
        (vec![], ids.clone())
    );
    assert!(
        !world.get(viewer, &path).await["lifted"].is_null(),
        "who has lifted it"
    );
    let trail = world.trail("").await;
    for name in ["secret.revoked", "secret.revocation_lifted"] {
        assert_eq!(named(&trail, name).len(), 1, "{name}");
    }
    // Again, as another one.
    assert_ne!(world.revoked(Who::Admin, &key, false).await.0, ids);
    world.refused(member, "POST /v1/runs", body, REVOKED).await;
    world
        .refused(admin, &lift, Value::Null, (409, "not_active"))
        .await;
}

/// 39. Bulk revoke with one conflict -> none applied.
#[tokio::test]
async fn s39_a_bulk_is_all_or_none() {
    let world = World::new().await;
    let admin = world.credential(Who::Admin);
    for profile in ["one", "two"] {
        let (a, b) = (format!("{profile}-a"), format!("{profile}-b"));
        world
            .profile(
                profile,
                &json!({ "secrets": { "A": beside(&a), "B": beside(&b) } }),
            )
            .await;
    }
    let hand = world.hand(&json!({})).await;
    let run = world.enqueued(with_profile("one")).await;
    let lease = world.claimed(&hand, &run).await;
    let (first, _) = world.revoked(Who::Admin, &[("two", "B")], false).await;
    let before = world.seen().entries;
    for hard in [false, true] {
        let bulk = keys(
            &[("one", "A"), ("one", "B"), ("two", "A"), ("two", "B")],
            hard,
        );
        if !hard {
            let problem = world
                .refused(admin, "POST /v1/revocations", bulk, ALREADY)
                .await;
            let detail = text(&problem, "detail");
            assert!(detail.contains("`B` of `two`"), "{detail}");
            assert!(
                !detail.contains("one") && !detail.contains("`A`"),
                "another key: {detail}"
            );
        }
        let unknown = keys(&[("one", "A"), ("two", "NO_SUCH_KEY")], hard);
        let not_found = (404, "not_found");
        let problem = world
            .refused(admin, "POST /v1/revocations", unknown, not_found)
            .await;
        assert_eq!(problem["field"], "keys[1]");
        assert_eq!(world.listed("active").await, first);
        assert!(
            world.holds(&hand, &lease).await,
            "the run in flight does not go on"
        );
    }
    assert_eq!(world.seen().entries, before, "entries in the trail");
    let bulk = [("one", "A"), ("one", "B"), ("two", "A")];
    assert_eq!(world.revoked(Who::Admin, &bulk, false).await.0.len(), 3);
    let member = world.credential(Who::Member);
    for profile in ["one", "two"] {
        world
            .refused(member, "POST /v1/runs", with_profile(profile), REVOKED)
            .await;
    }
}

/// Soft, then hard: the same revocation aborts what runs, and the key is never free in between.
#[tokio::test]
async fn a_soft_revocation_is_hardened() {
    let world = World::new().await;
    let admin = world.credential(Who::Admin);
    let both = json!({ "secrets": { "A": beside("a"), "B": beside("b") } });
    world.profile("p", &both).await;
    let hand = world.hand(&json!({})).await;
    let run = world.enqueued(with_profile("p")).await;
    let lease = world.claimed(&hand, &run).await;
    let (soft, _) = world.revoked(Who::Admin, &[("p", "A")], false).await;
    assert!(world.holds(&hand, &lease).await, "a soft one aborts");

    // With a key that is not revoked yet: both in one.
    let (hard, fan_out) = world
        .revoked(Who::Admin, &[("p", "A"), ("p", "B")], true)
        .await;
    assert_eq!(hard[0], soft[0], "another revocation of the same key");
    assert!(!world.holds(&hand, &lease).await, "the run goes on");
    assert_eq!(world.run(&run).await["state"], "aborted");
    let shown = world
        .get(admin, &format!("/v1/revocations/{}", soft[0]))
        .await;
    assert_eq!(
        (&shown["hard"], &shown["fan_out_id"]),
        (&json!(true), &fan_out)
    );
    let told = named(&world.trail("&type=secret.revoked").await, "secret.revoked");
    let told: Vec<_> = told
        .iter()
        .map(|event| (text(event, "revocation_id"), event["hard"] == true))
        .collect();
    assert_eq!(
        told,
        [
            (soft[0].clone(), false),
            (hard[1].clone(), true),
            (soft[0].clone(), true)
        ]
    );

    // Again: nothing changes, and the answer shows the same.
    let before = world.seen().entries;
    let again = keys(&[("p", "A"), ("p", "B")], true);
    let (status, answer) = world.asked(admin, "POST /v1/revocations", &again).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["fan_out"]["fan_out_id"], fan_out);
    let ids = answer["revocations"].as_array().unwrap().iter();
    let ids: Vec<String> = ids.map(|one| text(one, "revocation_id")).collect();
    assert_eq!(ids, hard);
    assert_eq!(world.seen().entries, before, "entries in the trail");
    // It is not softened.
    world
        .refused(
            admin,
            "POST /v1/revocations",
            keys(&[("p", "A")], false),
            ALREADY,
        )
        .await;
    assert_eq!(world.listed("active").await.len(), 2);
    world.lifted(Who::Admin, &soft[0]).await;
    assert_eq!(world.listed("lifted").await, soft);
}

/// A hard revocation by operators ends what runs with the key, in every project.
#[tokio::test]
async fn operators_end_what_runs_in_every_project() {
    let world = World::new().await;
    let operator = world.credential(Who::Operator);
    let base = merged(&secret("SYSTEM", "system/all"), &json!({ "name": "base" }));
    world.ok(operator, "POST /v1/profiles", base).await;
    let mut held = Vec::new();
    for (admin, project) in [(Who::Admin, OWN), (Who::Stranger, OTHER)] {
        let admin = world.credential(admin);
        let bindings = json!({ "system": "base" });
        world.ok(admin, "PUT /v1/cascade", bindings).await;
        let (id, credential) = world.worker(project, WorkerStatus::Approved).await;
        let hand = Hand {
            id: id.to_string(),
            credential,
        };
        let identity = step("only", &json!({ "mode": "identity" }));
        let run = world.ok(admin, "POST /v1/runs", run_of(&[identity])).await;
        let lease = world.claimed(&hand, &text(&run, "run_id")).await;
        held.push((hand, lease));
    }
    let (_, fan_out) = world
        .revoked(Who::Operator, &[("base", "SYSTEM")], true)
        .await;
    for (hand, lease) in &held {
        assert!(!world.holds(hand, lease).await, "{lease} goes on");
    }
    let path = format!("/v1/fan-outs/{}", fan_out.as_str().unwrap());
    let told = world.get(operator, &path).await;
    assert_eq!(told["runs_aborted"], 2, "{told}");
}

/// 41. Progress reports after a hard revoke -> the mark survives.
#[tokio::test]
async fn s41_late_reports_do_not_wash_it_off() {
    let world = World::new().await;
    let member = world.credential(Who::Member);
    world.profile("p", &secret("API_KEY", "p")).await;
    let hand = world.hand(&json!({ "max_concurrent": 3 })).await;
    let identity = json!({ "mode": "identity" });
    let steps = [
        step("only", &identity),
        step("after", &merged(&identity, &json!({ "needs": ["only"] }))),
    ];
    let body = merged(&run_of(&steps), &json!({ "profile": "p" }));
    let mut leases = Vec::new();
    for starts in [true, true, false] {
        let run = world.enqueued(body.clone()).await;
        let lease = world.claimed(&hand, &run).await;
        if starts {
            world.started(&hand, &lease).await;
        }
        leases.push((run, lease, usize::from(starts)));
    }
    let (ids, fan_out) = world.revoked(Who::Admin, &[("p", "API_KEY")], true).await;
    let by = json!({ "revocation_id": ids[0], "profile": "p", "key": "API_KEY" });
    for round in 0..2 {
        for (run, lease, started) in &leases {
            assert!(!world.holds(&hand, lease).await, "an aborted step is held");
            let failure = json!({ "kind": "signal", "signal": 15 });
            let failed = merged(lease, &json!({ "state": "failed", "failure": failure }));
            let after = json!({ "run_id": run, "step_id": "after" });
            for (what, body) in [
                ("POST /v1/starts", merged(lease, &json!({ "sandbox": "s" }))),
                ("POST /v1/reports", success(lease)),
                ("POST /v1/reports", failed),
                (
                    "POST /v1/claims",
                    json!({ "run_id": run, "step_id": "only" }),
                ),
                ("POST /v1/claims", after),
            ] {
                let (status, problem) = world.asked(&hand.credential, what, &body).await;
                assert_eq!(status, 409, "{what} {body}: {problem}");
            }
            // A cancel shows how it has ended.
            world
                .ok(member, &format!("POST /v1/runs/{run}/cancel"), Value::Null)
                .await;
            let retry = format!("POST /v1/runs/{run}/steps/only/retry");
            let (status, problem) = world.asked(member, &retry, &Value::Null).await;
            assert!([403, 409].contains(&status), "{problem}");
            let shown = world.run(run).await;
            assert_eq!(shown["state"], "aborted");
            for step in shown["steps"].as_array().unwrap() {
                assert_eq!(step["aborted"]["kind"], "revoked", "{shown}");
            }
            let mark = merged(&by, &json!({ "kind": "revoked" }));
            assert_eq!(world.step(run).await["aborted"], mark);
            let aborts = world.events(run, "run.aborted_by_revocation").await;
            let name = json!({ "type": "run.aborted_by_revocation", "fan_out_id": fan_out });
            assert_eq!(aborts, [merged(&by, &name)]);
            assert_eq!(world.events(run, "step.running").await.len(), *started);
            for name in ["step.succeeded", "step.failed", "run.cancelled"] {
                assert!(
                    world.events(run, name).await.is_empty(),
                    "`{name}` after the abort"
                );
            }
            assert!(!world.events(run, "report.refused").await.is_empty());
        }
        world.leases_run_out().await;
        // Lifted, and still aborted.
        if round == 0 {
            world.lifted(Who::Admin, &ids[0]).await;
        }
    }
}

/// 42. `:preview` -> affected runs, nothing changed.
#[tokio::test]
async fn s42_a_preview_changes_nothing() {
    let world = World::new().await;
    for (name, content) in [
        ("p", secret("API_KEY", "p")),
        ("alias", secret("ALIAS", "p")),
        ("spared", secret("SPARED", "spared")),
    ] {
        world.profile(name, &content).await;
    }
    let system = merged(&secret("SYSTEM", "system/p"), &json!({ "name": "p" }));
    world
        .ok(world.credential(Who::Operator), "POST /v1/profiles", system)
        .await;
    let hand = world.hand(&json!({ "max_concurrent": 3 })).await;
    let mut leases = Vec::new();
    for profile in ["p", "alias", "spared"] {
        let run = world.enqueued(with_profile(profile)).await;
        leases.push((world.claimed(&hand, &run).await, run));
    }
    world.enqueued(with_profile("p")).await;
    let before = world.seen().entries;
    let preview = async |by: Who, profile: &str, key: &str| {
        let what = "POST /v1/revocations:preview";
        let body = keys(&[(profile, key)], true);
        world.ok(world.credential(by), what, body).await["runs"].clone()
    };
    let (one, two) = (&leases[0].1, &leases[1].1);
    let mut affected = vec![one.clone(), two.clone()];
    affected.sort();
    for by in [Who::Admin, Who::Member, Who::Viewer] {
        let runs = preview(by, "p", "API_KEY").await;
        let mut runs: Vec<String> = runs
            .as_array()
            .unwrap()
            .iter()
            .map(|run| text(run, "run_id"))
            .collect();
        runs.sort();
        assert_eq!(runs, affected);
    }
    let shown = preview(Who::Admin, "alias", "ALIAS").await;
    let of_alias = shown
        .as_array()
        .unwrap()
        .iter()
        .find(|run| run["run_id"] == *two);
    let expected =
        json!({ "project": "healthcare", "run_id": two, "profile": "alias", "key": "ALIAS" });
    assert_eq!(of_alias, Some(&expected));
    let spared = preview(Who::Admin, "spared", "SPARED").await;
    assert_eq!(spared.as_array().unwrap().len(), 1);
    assert_eq!(
        preview(Who::Operator, "p", "SYSTEM").await,
        json!([]),
        "nobody uses it"
    );
    assert_eq!(preview(Who::Admin, "system/p", "SYSTEM").await, json!([]));
    for (lease, _) in &leases {
        assert!(
            world.holds(&hand, lease).await,
            "a previewed claim is not held any more"
        );
    }
    assert_eq!(world.seen().entries, before, "entries in the trail");
    assert_eq!(world.listed("active").await, Vec::<String>::new());
    for (lease, _) in &leases {
        world.succeeded(&hand, lease).await;
    }
    assert_eq!(
        preview(Who::Admin, "p", "API_KEY").await,
        json!([]),
        "ended runs"
    );
}

/// 43. Soft revoke after enqueue -> start refused, run failed with the reason.
#[tokio::test]
async fn s43_a_revoked_key_starts_nothing() {
    let world = World::new().await;
    world.profile("p", &secret("API_KEY", "p")).await;
    let hand = world.hand(&json!({ "max_concurrent": 4 })).await;
    let waits = world.enqueued(with_profile("p")).await;
    let (one, two) = (
        world.enqueued(with_profile("p")).await,
        world.enqueued(with_profile("p")).await,
    );
    let (leased, running) = (
        world.claimed(&hand, &one).await,
        world.claimed(&hand, &two).await,
    );
    world.started(&hand, &running).await;
    let fargate = step("only", &json!({ "pool": FARGATE, "mode": "identity" }));
    let body = merged(&run_of(&[fargate]), &json!({ "profile": CRM }));
    let in_cloud = world.enqueued(body).await;
    let both = [("p", "API_KEY"), (CRM, "API_KEY")];
    let (ids, _) = world.revoked(Who::Admin, &both, false).await;

    // Claimed after it.
    let problem = world.claim_refused(&hand, &waits, REVOKED).await;
    let detail = text(&problem, "detail");
    assert!(
        detail.contains(&ids[0]) && detail.contains("`API_KEY`"),
        "{detail}"
    );
    let failed = world.failed(&waits, "secret_revoked").await;
    assert!(
        text(&failed["failure"], "detail").contains(&ids[0]),
        "{failed}"
    );

    // Claimed before it, started after it.
    let start = merged(&leased, &json!({ "sandbox": "s" }));
    world
        .refused(&hand.credential, "POST /v1/starts", start, REVOKED)
        .await;
    let shown = world.step(&one).await;
    let by =
        json!({ "kind": "revoked", "revocation_id": ids[0], "profile": "p", "key": "API_KEY" });
    assert_eq!(
        (&shown["state"], &shown["aborted"]),
        (&json!("aborted"), &by)
    );
    assert!(
        !world.holds(&hand, &leased).await,
        "a refused start is held"
    );
    for name in ["step.running", "profile.injected", "secret.decrypted"] {
        assert!(
            world.events(&one, name).await.is_empty(),
            "`{name}` of a refused start"
        );
    }
    // Started before it: a soft revocation lets it end.
    assert!(world.holds(&hand, &running).await);
    world.succeeded(&hand, &running).await;

    world.deliver().await;
    let failed = world.failed(&in_cloud, "secret_revoked").await;
    assert!(
        text(&failed["failure"], "detail").contains(&ids[1]),
        "{failed}"
    );
    assert_eq!(world.tasks(), 0, "a task was started with a revoked key");
}
