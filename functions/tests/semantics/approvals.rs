//! Approvals of steps and workers.

use sealfleet_domain::access::Role;
use serde_json::{Value, json};

use super::workflows::definition;
use super::{beside, merged, registration, run_of, step, text};
use crate::world::{OWN, Who, World, scope};

impl World {
    /// A run of one step `only` that somebody has to approve, and a step that needs it: the run,
    /// and the approval.
    async fn waiting(&self, more: &Value) -> (String, String) {
        let only = step("only", &merged(&json!({ "approval": "required" }), more));
        let next = step("next", &json!({ "needs": ["only"] }));
        let run = self.enqueued(run_of(&[only, next])).await;
        assert_eq!(self.step(&run).await["state"], "waiting");
        let id = format!("step:{run}:only");
        (run, id)
    }

    /// A worker that registers without a key: its id.
    async fn registered(&self) -> String {
        let body = registration("w", &json!({}));
        let made = self.ok("", "POST /v1/workers/register", body).await;
        text(&made, "worker_id")
    }

    /// The approvals of this kind that wait for a decision.
    async fn inbox(&self, kind: &str) -> Vec<String> {
        let inbox = self.get(self.credential(Who::Admin), "/v1/approvals").await;
        let items = inbox["items"].as_array().unwrap().iter();
        let ids = items.map(|item| text(item, "approval"));
        ids.filter(|id| id.starts_with(kind)).collect()
    }

    async fn decided(&self, id: &str) -> Value {
        let admin = self.credential(Who::Admin);
        let decided = self.get(admin, "/v1/approvals?state=decided").await;
        let items = decided["items"].as_array().unwrap().iter();
        items
            .clone()
            .find(|item| item["approval"] == id)
            .unwrap()
            .clone()
    }
}

fn decision(id: &str) -> String {
    format!("POST /v1/approvals/{id}/decision")
}

#[tokio::test]
async fn s87_a_step_waits_until_somebody_else_approves_it() {
    let world = World::new().await;
    let (admin, member) = (world.credential(Who::Admin), world.credential(Who::Member));
    let hand = world.hand(&json!({})).await;
    let (run, id) = world.waiting(&json!({})).await;
    let shown = world.step(&run).await;
    assert!(
        text(&shown, "diagnosis").contains(&format!("sealfleet approval show {id}")),
        "{shown}"
    );
    // Nobody is told of it, nobody claims it, and sweeping does not help it.
    assert_eq!(world.hints().len(), 0);
    world.claim_refused(&hand, &run, (409, "not_queued")).await;
    world.leases_run_out().await;
    assert_eq!(world.hints().len(), 0);
    assert_eq!(world.step(&run).await["state"], "waiting");
    assert_eq!(world.inbox("step:").await, std::slice::from_ref(&id));
    // An approver sees what the step does.
    let shown = world.approval(&id).await;
    assert_eq!(shown["step"]["command"], json!(["true"]));
    assert_eq!(shown["run"]["run_id"], json!(run));

    let blind = json!({ "decision": "approve" });
    let problem = world
        .refused(
            admin,
            &decision(&id),
            blind.clone(),
            (400, "invalid_request"),
        )
        .await;
    assert_eq!(problem["field"], "review_token");
    world
        .refused(member, &decision(&id), blind, (403, "forbidden"))
        .await;
    let (status, approved) = world.approve(admin, &id).await;
    assert_eq!(
        (status, &approved["state"]),
        (200, &json!("approved")),
        "{approved}"
    );
    assert_eq!(world.inbox("step:").await, [] as [String; 0]);
    assert_eq!(world.decided(&id).await["state"], "approved");
    let deny = json!({ "decision": "deny", "reason": "no" });
    world
        .refused(admin, &decision(&id), deny, (409, "already_decided"))
        .await;

    // Once approved, it may be tried again.
    assert_eq!(world.hints().len(), 1);
    world.claimed(&hand, &run).await;
    world.leases_run_out().await;
    let lease = world.claimed(&hand, &run).await;
    world.started(&hand, &lease).await;
    world.succeeded(&hand, &lease).await;
    let shown = world.step(&run).await;
    assert_eq!(
        shown["approval"]["decisions"][0]["verdict"], "approve",
        "{shown}"
    );
    for event in ["approval.requested", "approval.approved"] {
        assert_eq!(world.events(&run, event).await.len(), 1, "{event}");
    }
}

#[tokio::test]
async fn s87_a_step_waits_once_its_needs_are_met() {
    let world = World::new().await;
    let admin = world.credential(Who::Admin);
    let hand = world.hand(&json!({})).await;
    let late = step(
        "only",
        &json!({ "approval": "required", "needs": ["first"] }),
    );
    let run = world
        .enqueued(run_of(&[step("first", &json!({})), late]))
        .await;
    let id = format!("step:{run}:only");
    assert_eq!(world.step(&run).await["state"], "blocked");
    assert_eq!(world.inbox("step:").await, [] as [String; 0]);
    let deny = json!({ "decision": "deny", "reason": "no" });
    world
        .refused(admin, &decision(&id), deny, (404, "not_found"))
        .await;
    let lease = world.claimed_step(&hand, &run, "first").await;
    world.started(&hand, &lease).await;
    world.succeeded(&hand, &lease).await;
    assert_eq!(world.step(&run).await["state"], "waiting");
    assert_eq!(world.inbox("step:").await, std::slice::from_ref(&id));
    let (status, _) = world.approve(admin, &id).await;
    assert_eq!(status, 200);
    world.claimed(&hand, &run).await;
}

#[tokio::test]
async fn s87_nothing_is_launched_before_the_approval() {
    let world = World::new().await;
    let admin = world.credential(Who::Admin);
    let (run, id) = world.waiting(&json!({ "pool": "fargate" })).await;
    world.deliver().await;
    world.leases_run_out().await;
    world.deliver().await;
    assert_eq!(world.tasks(), 0);
    let (status, _) = world.approve(admin, &id).await;
    assert_eq!(status, 200);
    world.in_its_task(&run).await;
    assert_eq!(world.tasks(), 1);
}

#[tokio::test]
async fn s87_a_denial_an_expiry_and_a_cancelled_run_end_a_step_that_waits() {
    let world = World::new().await;
    let (admin, member) = (world.credential(Who::Admin), world.credential(Who::Member));
    let (denied, id) = world.waiting(&json!({})).await;
    let deny = json!({ "decision": "deny", "reason": "not today" });
    world.ok(admin, &decision(&id), deny).await;
    let shown = world.step(&denied).await;
    assert_eq!(
        shown["aborted"],
        json!({ "kind": "approval_denied", "reason": "not today" })
    );
    // What needs it ends with it.
    assert_eq!(world.run(&denied).await["state"], "aborted");
    assert_eq!(world.decided(&id).await["state"], "denied");

    let (cancelled, id) = world.waiting(&json!({})).await;
    let cancel = format!("POST /v1/runs/{cancelled}/cancel");
    world.ok(member, &cancel, Value::Null).await;
    let shown = world.approval(&id).await;
    assert_eq!(shown["state"], "cancelled");
    assert_eq!(shown["review_token"], Value::Null);

    let (expired, id) = world.waiting(&json!({ "ttl_seconds": 100 })).await;
    let token = world.approval(&id).await["review_token"].clone();
    let approve = json!({ "decision": "approve", "review_token": token });
    world.time_goes_by(101);
    // Nobody has to have swept for that.
    world
        .refused(admin, &decision(&id), approve, (409, "already_decided"))
        .await;
    assert_eq!(world.approval(&id).await["state"], "expired");
    world.sweep().await;
    let shown = world.step(&expired).await;
    assert_eq!(shown["aborted"], json!({ "kind": "approval_expired" }));
    assert_eq!(world.decided(&id).await["state"], "expired");
    for (run, event) in [
        (&denied, "approval.denied"),
        (&cancelled, "approval.cancelled"),
        (&expired, "approval.expired"),
    ] {
        assert_eq!(world.events(run, event).await.len(), 1, "{event}");
    }
    assert_eq!(world.inbox("step:").await, [] as [String; 0]);
}

#[tokio::test]
async fn s87_who_enqueues_does_not_approve_and_two_may_have_to() {
    let world = World::new().await;
    let admin = world.credential(Who::Admin);
    world.governed(json!({ "approvers": 2 })).await;
    let only = step("only", &json!({ "approval": "required" }));
    let run = world.ok(admin, "POST /v1/runs", run_of(&[only])).await;
    let run = text(&run, "run_id");
    let id = format!("step:{run}:only");
    let (status, problem) = world.approve(admin, &id).await;
    assert_eq!((status, &problem["code"]), (403, &json!("own_approval")));
    let (_, second) = world.token(OWN, Role::Admin, 600).await;
    let (_, third) = world.token(OWN, Role::Admin, 600).await;
    let (_, first) = world.approve(&second, &id).await;
    assert_eq!(first["state"], "pending");
    assert_eq!(world.step(&run).await["state"], "waiting");
    // The same person again is one approval.
    let (_, again) = world.approve(&second, &id).await;
    assert_eq!(again["state"], "pending");
    let (_, both) = world.approve(&third, &id).await;
    assert_eq!(both["state"], "approved");
    assert_eq!(world.step(&run).await["state"], "queued");
}

#[tokio::test]
async fn s86_a_login_and_the_tokens_that_it_made_are_one_person() {
    let world = World::new().await;
    let admin = world.credential(Who::Admin);
    let login = world.credential(Who::OidcAdmin);
    let made = async |by: &str| {
        let body = json!({ "role": "admin" });
        let made = world.ok(by, "POST /v1/tokens", body).await;
        (text(&made, "token"), made["login"].clone())
    };
    let (first, by) = made(login).await;
    let (second, same) = made(&first).await;
    assert!(by.as_str().unwrap().starts_with("oidc:"), "{by}");
    assert_eq!(same, by);
    let (_, nobodys) = made(admin).await;
    assert_eq!(nobodys, Value::Null, "a token that goes back to no login");

    // Whichever of them asks, none of them decides: of a version, and of a step.
    let all = [login, &first, &second];
    for (number, asks) in all.into_iter().enumerate() {
        let body = json!({ "name": format!("w{number}"), "definition": definition("one") });
        world.ok(asks, "POST /v1/workflows", body).await;
        let only = step("only", &json!({ "approval": "required" }));
        let run = world.ok(asks, "POST /v1/runs", run_of(&[only])).await;
        for id in [
            format!("workflow:w{number}@1"),
            format!("step:{}:only", text(&run, "run_id")),
        ] {
            for decides in all {
                let (status, problem) = world.approve(decides, &id).await;
                assert_eq!((status, &problem["code"]), (403, &json!("own_approval")));
            }
            let (status, approval) = world.approve(admin, &id).await;
            assert_eq!((status, &approval["state"]), (200, &json!("approved")));
        }
    }
    // Together they are one of two.
    world.governed(json!({ "approvers": 2 })).await;
    world.register("two", definition("one")).await;
    let (member, id) = (world.credential(Who::OidcMember), "workflow:two@1");
    assert_eq!(world.approve(member, id).await.0, 403, "of no admin");
    for decides in all {
        let (status, approval) = world.approve(decides, id).await;
        assert_eq!((status, &approval["state"]), (200, &json!("pending")));
    }
    let (_, approval) = world.approve(admin, id).await;
    assert_eq!(approval["state"], "approved");
}

#[tokio::test]
async fn s86_where_only_logins_decide_no_token_does() {
    let world = World::new().await;
    let (admin, login) = (
        world.credential(Who::Admin),
        world.credential(Who::OidcAdmin),
    );
    let (govern, on) = ("PUT /v1/governance", json!({ "logins_only": true }));
    world.register("before", definition("one")).await;
    // Who turns it on shows that somebody can log in.
    let refused = (403, "login_required");
    world.refused(admin, govern, on.clone(), refused).await;
    let rules = world.ok(login, govern, on).await;
    assert_eq!(rules["logins_only"], json!(true));
    world.refused(admin, govern, json!({}), refused).await;
    let body = json!({ "role": "admin" });
    let of_login = text(&world.ok(login, "POST /v1/tokens", body).await, "token");
    world.refused(&of_login, govern, json!({}), refused).await;

    let (run, step) = world.waiting(&json!({})).await;
    world.register("w", definition("one")).await;
    let worker = world.registered().await;
    for id in [&step, "workflow:w@1", &format!("worker:{worker}")] {
        for by in [admin, &of_login] {
            let (status, problem) = world.approve(by, id).await;
            assert_eq!((status, &problem["code"]), (403, &json!("login_required")));
            let deny = json!({ "decision": "deny", "reason": "no" });
            world.refused(by, &decision(id), deny, refused).await;
        }
    }
    for verb in ["approve", "reject"] {
        let what = format!("POST /v1/workers/{worker}/{verb}");
        world.refused(admin, &what, json!({}), refused).await;
    }
    for id in [&step, "workflow:w@1", &format!("worker:{worker}")] {
        let (status, approval) = world.approve(login, id).await;
        assert_eq!((status, &approval["state"]), (200, &json!("approved")));
    }
    assert_eq!(world.step(&run).await["state"], "queued");
    // What waited before needs what it needed.
    let (_, approval) = world.approve(admin, "workflow:before@1").await;
    assert_eq!(approval["state"], "approved");
    world.ok(login, govern, json!({})).await;
    world.register("after", definition("one")).await;
    let (_, approval) = world.approve(admin, "workflow:after@1").await;
    assert_eq!(approval["state"], "approved");
}

#[tokio::test]
async fn s87_an_approval_is_bound_to_what_was_seen() {
    let world = World::new().await;
    let admin = world.credential(Who::Admin);
    let secrets = json!({ "secrets": { "KEY": beside("k") } });
    world.profile("p", &secrets).await;
    let only = step(
        "only",
        &json!({ "mode": "identity", "approval": "required" }),
    );
    let run = merged(&run_of(&[only]), &json!({ "profile": "p" }));
    let run = world.enqueued(run).await;
    let id = format!("step:{run}:only");
    let before = world.approval(&id).await["review_token"].clone();
    let other = json!({ "secrets": { "KEY": beside("other") } });
    world.replace_profile("p", &other).await;
    let approve = json!({ "decision": "approve", "review_token": before });
    world
        .refused(admin, &decision(&id), approve, (409, "stale_review"))
        .await;
    assert_eq!(world.step(&run).await["state"], "waiting");
}

/// A run of one identity step `only` that waits, and its approval.
async fn with_a_secret(world: &World) -> (String, String) {
    let secrets = json!({ "secrets": { "KEY": beside("k") } });
    world.profile("p", &secrets).await;
    let only = step(
        "only",
        &json!({ "mode": "identity", "approval": "required" }),
    );
    let run = merged(&run_of(&[only]), &json!({ "profile": "p" }));
    let run = world.enqueued(run).await;
    let id = format!("step:{run}:only");
    (run, id)
}

fn revocation(hard: bool) -> Value {
    let keys = [json!({ "profile": "p", "key": "KEY" })];
    json!({ "keys": keys, "hard": hard, "reason": "leaked" })
}

#[tokio::test]
async fn s87_a_hard_revocation_ends_what_waits() {
    let world = World::new().await;
    let admin = world.credential(Who::Admin);
    let (run, id) = with_a_secret(&world).await;
    let preview = world
        .ok(admin, "POST /v1/revocations:preview", revocation(true))
        .await;
    assert_eq!(preview["runs"][0]["run_id"], json!(run), "{preview}");
    world
        .ok(admin, "POST /v1/revocations", revocation(true))
        .await;
    assert_eq!(world.step(&run).await["aborted"]["kind"], "revoked");
    assert_eq!(world.approval(&id).await["state"], "cancelled");
    assert_eq!(world.inbox("step:").await, [] as [String; 0]);
    let aborted = world.events(&run, "run.aborted_by_revocation").await;
    assert_eq!(aborted.len(), 1);
}

#[tokio::test]
async fn s87_a_soft_revocation_keeps_what_waits_from_being_approved() {
    let world = World::new().await;
    let admin = world.credential(Who::Admin);
    let (run, id) = with_a_secret(&world).await;
    let revoked = world
        .ok(admin, "POST /v1/revocations", revocation(false))
        .await;
    let (status, problem) = world.approve(admin, &id).await;
    assert_eq!((status, &problem["code"]), (403, &json!("secret_revoked")));
    assert_eq!(world.step(&run).await["state"], "waiting");
    let lift = format!(
        "POST /v1/revocations/{}/lift",
        text(&revoked["revocations"][0], "revocation_id")
    );
    world.ok(admin, &lift, Value::Null).await;
    let (status, _) = world.approve(admin, &id).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn s87_a_step_that_is_put_back_is_asked_for_anew() {
    let world = World::new().await;
    let (admin, member) = (world.credential(Who::Admin), world.credential(Who::Member));
    let hand = world.hand(&json!({})).await;
    let (run, id) = world.waiting(&json!({ "max_attempts": 1 })).await;
    world.approve(admin, &id).await;
    world.claimed(&hand, &run).await;
    world.leases_run_out().await;
    assert_eq!(world.step(&run).await["state"], "dead");
    let retry = format!("POST /v1/runs/{run}/steps/only/retry");
    world.ok(member, &retry, Value::Null).await;
    assert_eq!(world.step(&run).await["state"], "waiting");
    world.claim_refused(&hand, &run, (409, "not_queued")).await;
    assert_eq!(world.inbox("step:").await, std::slice::from_ref(&id));
    let (status, _) = world.approve(admin, &id).await;
    assert_eq!(status, 200);
    world.claimed(&hand, &run).await;
}

#[tokio::test]
async fn a_run_has_a_bounded_number_of_steps_that_wait() {
    let world = World::new().await;
    let member = world.credential(Who::Member);
    let steps = |number: usize| {
        let step = |number| step(&format!("s{number}"), &json!({ "approval": "required" }));
        run_of(&(0..number).map(step).collect::<Vec<_>>())
    };
    let run = world.enqueued(steps(25)).await;
    assert_eq!(world.inbox("step:").await.len(), 25);
    let problem = world
        .refused(member, "POST /v1/runs", steps(26), (400, "invalid_request"))
        .await;
    assert_eq!(problem["field"], "steps");
    // All of them end in one write.
    let cancel = format!("POST /v1/runs/{run}/cancel");
    world.ok(member, &cancel, Value::Null).await;
    assert_eq!(world.inbox("step:").await, [] as [String; 0]);
}

#[tokio::test]
async fn a_worker_is_approved_like_anything_else() {
    let world = World::new().await;
    let admin = world.credential(Who::Admin);
    world.governed(json!({ "approvers": 2 })).await;
    let worker = world.registered().await;
    let id = format!("worker:{worker}");
    assert!(world.inbox("worker:").await.contains(&id));
    let shown = world.approval(&id).await;
    assert_eq!(shown["worker"]["name"], "w", "{shown}");
    // The first of two, by the workers' own way.
    let path = format!("/v1/workers/{worker}");
    let approve = format!("POST {path}/approve");
    let shown = world.ok(admin, &approve, Value::Null).await;
    assert_eq!(shown["status"], "pending");
    assert_eq!(world.ok(admin, &approve, Value::Null).await, shown);
    let (_, other) = world.token(OWN, Role::Admin, 600).await;
    let (status, approved) = world.approve(&other, &id).await;
    assert_eq!((status, &approved["state"]), (200, &json!("approved")));
    assert_eq!(world.get(admin, &path).await["status"], "approved");
    assert!(!world.inbox("worker:").await.contains(&id));
    let reject = format!("POST {path}/reject");
    world
        .refused(admin, &reject, Value::Null, (409, "conflict"))
        .await;
}

#[tokio::test]
async fn what_happens_to_a_worker_happens_to_its_approval() {
    let world = World::new().await;
    let admin = world.credential(Who::Admin);
    let worker = world.registered().await;
    let reject = format!("POST /v1/workers/{worker}/reject");
    world.ok(admin, &reject, Value::Null).await;
    let decided = world.decided(&format!("worker:{worker}")).await;
    assert_eq!(decided["state"], "denied");

    let worker = world.registered().await;
    let deny = json!({ "decision": "deny", "reason": "unknown" });
    let id = format!("worker:{worker}");
    world.ok(admin, &decision(&id), deny).await;
    let path = format!("/v1/workers/{worker}");
    assert_eq!(world.get(admin, &path).await["status"], "rejected");

    let worker = world.registered().await;
    let revoke = format!("POST /v1/workers/{worker}/revoke");
    world.ok(admin, &revoke, Value::Null).await;
    let decided = world.decided(&format!("worker:{worker}")).await;
    assert_eq!(decided["state"], "cancelled");
}

#[tokio::test]
async fn a_worker_of_before_is_decided_on_all_the_same() {
    let world = World::new().await;
    let admin = world.credential(Who::Admin);
    for (verdict, status) in [("approve", "approved"), ("reject", "rejected")] {
        let worker = world.registered().await;
        world.registered_long_ago(&worker);
        let path = format!("/v1/workers/{worker}");
        let decide = format!("POST {path}/{verdict}");
        world.ok(admin, &decide, Value::Null).await;
        assert_eq!(world.get(admin, &path).await["status"], status);
    }
    let worker = world.registered().await;
    world.registered_long_ago(&worker);
    let (status, _) = world.approve(admin, &format!("worker:{worker}")).await;
    assert_eq!(status, 200);
    let worker = world.registered().await;
    world.registered_long_ago(&worker);
    let revoke = format!("POST /v1/workers/{worker}/revoke");
    world.ok(admin, &revoke, Value::Null).await;
}

#[tokio::test]
async fn a_worker_and_a_version_wait_until_their_time_is_over() {
    let world = World::new().await;
    let worker = world.registered().await;
    let id = format!("worker:{worker}");
    let token = world.approval(&id).await["review_token"].clone();
    let steps = [step("only", &json!({}))];
    let body = json!({ "name": "nightly", "definition": { "steps": steps } });
    let member = world.credential(Who::Member);
    world.ok(member, "POST /v1/workflows", body).await;

    world.time_goes_by(24 * 3600);
    let (_, admin) = world.token(OWN, Role::Admin, 600).await;
    let approve = json!({ "decision": "approve", "review_token": token });
    world
        .refused(&admin, &decision(&id), approve, (409, "already_decided"))
        .await;
    world.sweep().await;
    let shown = world.get(&admin, "/v1/approvals?state=decided").await;
    let over: Vec<&Value> = shown["items"].as_array().unwrap().iter().collect();
    let over = over.iter().find(|item| item["approval"] == json!(id));
    assert_eq!(over.unwrap()["state"], "expired");

    world.time_goes_by(30 * 24 * 3600);
    world.sweep().await;
    let (_, admin) = world.token(OWN, Role::Admin, 600).await;
    let path = "/v1/approvals/workflow:nightly@1";
    assert_eq!(world.get(&admin, path).await["state"], "expired");
    let versions = world.get(&admin, "/v1/workflows/nightly/versions").await;
    assert_eq!(versions["items"][0]["state"], "cancelled");
}

#[tokio::test]
async fn sweep_has_no_work_with_a_project_that_is_not_there() {
    let world = World::new().await;
    let nowhere = json!({ "project": "nowhere" });
    let body = merged(&registration("w", &json!({})), &nowhere);
    world.ok("", "POST /v1/workers/register", body).await;
    world.time_goes_by(24 * 3600);
    world.sweep().await;
    let nowhere = scope("nowhere");
    let waiting = world.ledger.approvals(&nowhere, false, None, 10);
    assert_eq!(waiting.await.unwrap().items.len(), 1);
}
