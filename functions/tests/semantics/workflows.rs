//! Registered workflows and their approval.

use serde_json::{Value, json};

use super::{merged, named, run_of, step, text, with_profile};
use crate::world::{OWN, Who, World};

use sealfleet_domain::access::Role;

/// A definition whose parameter `ticket` goes to a file, to standard input, and to a variable.
pub fn definition(command: &str) -> Value {
    let to = [
        json!({ "step": "only", "file": "ticket.txt" }),
        json!({ "step": "only", "stdin": true }),
        json!({ "step": "only", "env": "PARAM_TICKET" }),
    ];
    json!({
        "parameters": { "ticket": { "schema": { "type": "string", "maxLength": 40 }, "to": to } },
        "steps": [step("only", &json!({ "command": [command, "ticket.txt"] }))],
    })
}

impl World {
    /// Registers a version, by a member.
    pub async fn register(&self, name: &str, definition: Value) -> Value {
        let body = json!({ "name": name, "definition": definition });
        self.ok(self.credential(Who::Member), "POST /v1/workflows", body)
            .await
    }

    /// What an approval shows to an admin.
    pub async fn approval(&self, id: &str) -> Value {
        self.get(self.credential(Who::Admin), &format!("/v1/approvals/{id}"))
            .await
    }

    pub async fn approve(&self, by: &str, id: &str) -> (u16, Value) {
        let token = self.approval(id).await["review_token"].clone();
        let body = json!({ "decision": "approve", "review_token": token });
        self.asked(by, &format!("POST /v1/approvals/{id}/decision"), &body)
            .await
    }

    /// Registers a version, which an admin approves.
    pub async fn live(&self, name: &str, definition: Value) {
        let version = self.register(name, definition).await["version"].clone();
        let id = format!("workflow:{name}@{version}");
        let (status, answer) = self.approve(self.credential(Who::Admin), &id).await;
        assert_eq!(status, 200, "{answer}");
    }

    pub async fn run_by_name(&self, name: &str, body: Value) -> Value {
        let what = format!("POST /v1/workflows/{name}/runs");
        self.ok(self.credential(Who::Member), &what, body).await
    }

    pub async fn workflow(&self, name: &str) -> Value {
        self.get(
            self.credential(Who::Viewer),
            &format!("/v1/workflows/{name}"),
        )
        .await
    }

    pub async fn governed(&self, governance: Value) {
        let admin = self.credential(Who::Admin);
        self.ok(admin, "PUT /v1/governance", governance).await;
    }
}

#[tokio::test]
async fn s86_a_version_runs_once_somebody_else_approves_it() {
    let world = World::new().await;
    let (admin, member) = (world.credential(Who::Admin), world.credential(Who::Member));
    let first = world.register("nightly", definition("one")).await;
    assert_eq!(
        (&first["version"], &first["state"]),
        (&json!(1), &json!("pending"))
    );
    // The same again is the same version.
    let again = world.register("nightly", definition("one")).await;
    assert_eq!(again["version"], 1);
    let nothing = json!({ "parameters": { "ticket": "T-1" } });
    let run = "POST /v1/workflows/nightly/runs";
    world
        .refused(member, run, nothing.clone(), (409, "not_live"))
        .await;

    // It waits where approvers look, and only they decide.
    let inbox = world.get(admin, "/v1/approvals").await;
    let items = inbox["items"].as_array().unwrap();
    assert!(
        items
            .iter()
            .any(|item| item["approval"] == "workflow:nightly@1")
    );
    let decide = "POST /v1/approvals/workflow:nightly@1/decision";
    let deny = json!({ "decision": "deny", "reason": "it prints the token" });
    world
        .refused(member, decide, deny.clone(), (403, "forbidden"))
        .await;
    let silent = json!({ "decision": "deny" });
    let problem = world
        .refused(admin, decide, silent, (400, "invalid_request"))
        .await;
    assert_eq!(problem["field"], "reason");
    let (status, approved) = world.approve(admin, "workflow:nightly@1").await;
    assert_eq!((status, &approved["state"]), (200, &json!("approved")));
    let problem = world
        .refused(admin, decide, deny, (409, "already_decided"))
        .await;
    assert!(
        text(&problem, "detail").contains("approved already, by token:"),
        "{problem}"
    );
    // Repeated, it is the same decision.
    assert_eq!(
        world
            .ok(
                admin,
                decide,
                json!({ "decision": "approve", "review_token": approved["request"] })
            )
            .await,
        approved
    );

    // A denied version leaves the old one alone; an approved one takes its place.
    world.register("nightly", definition("two")).await;
    let decide = "POST /v1/approvals/workflow:nightly@2/decision";
    world
        .ok(admin, decide, json!({ "decision": "deny", "reason": "no" }))
        .await;
    assert_eq!(world.workflow("nightly").await["live"], 1);
    world.live("nightly", definition("three")).await;
    assert_eq!(
        world.workflow("nightly").await,
        json!({ "name": "nightly", "live": 3, "newest": 3 })
    );
    let versions = world.get(member, "/v1/workflows/nightly/versions").await;
    let states: Vec<&Value> = versions["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|version| &version["state"])
        .collect();
    assert_eq!(states, ["live", "denied", "superseded"]);

    // Enqueued by name, the version that is live; a caller that expects another is refused.
    let made = world.run_by_name("nightly", nothing.clone()).await;
    assert_eq!(
        (&made["workflow"], &made["workflow_version"]),
        (&json!("nightly"), &json!(3))
    );
    let old = merged(&nothing, &json!({ "version": 1 }));
    let problem = world.refused(member, run, old, (409, "not_live")).await;
    assert!(
        text(&problem, "detail").contains("version 3 is live"),
        "{problem}"
    );

    // Retired, nothing of it runs any more.
    world.register("nightly", definition("four")).await;
    world
        .ok(admin, "POST /v1/workflows/nightly/retire", Value::Null)
        .await;
    world.refused(member, run, nothing, (409, "not_live")).await;
    let cancelled = world.approval("workflow:nightly@4").await;
    assert_eq!(
        (&cancelled["state"], &cancelled["review_token"]),
        (&json!("cancelled"), &Value::Null)
    );
    let (status, problem) = world.approve(admin, "workflow:nightly@4").await;
    assert_eq!((status, &problem["code"]), (400, &json!("invalid_request")));

    let trail = world.trail("").await;
    for (event, times) in [
        ("workflow.registered", 4),
        ("workflow.promoted", 2),
        ("workflow.retired", 1),
        ("approval.requested", 4),
        ("approval.approved", 2),
        ("approval.denied", 1),
        ("approval.cancelled", 1),
    ] {
        // A worker waits for approval, too.
        let named = named(&trail, event);
        let of_workflows = named
            .iter()
            .filter(|told| told.to_string().contains("nightly"));
        assert_eq!(of_workflows.count(), times, "{event}");
    }
    assert_eq!(named(&trail, "workflow.promoted")[1]["replaced"], 1);
}

#[tokio::test]
async fn s86_nobody_approves_what_they_have_registered() {
    let world = World::new().await;
    let admin = world.credential(Who::Admin);
    let body = json!({ "name": "own", "definition": definition("one") });
    world.ok(admin, "POST /v1/workflows", body).await;
    let (status, problem) = world.approve(admin, "workflow:own@1").await;
    assert_eq!((status, &problem["code"]), (403, &json!("own_approval")));
    assert_eq!(world.workflow("own").await["live"], Value::Null);
}

#[tokio::test]
async fn s86_two_approvers_are_two_people() {
    let world = World::new().await;
    let admin = world.credential(Who::Admin);
    world.governed(json!({ "approvers": 2 })).await;
    let problem = world
        .refused(
            admin,
            "PUT /v1/governance",
            json!({ "approvers": 3 }),
            (400, "invalid_request"),
        )
        .await;
    assert_eq!(problem["field"], "approvers");
    world.register("w", definition("one")).await;
    for _ in 0..2 {
        let (status, approval) = world.approve(admin, "workflow:w@1").await;
        assert_eq!((status, &approval["state"]), (200, &json!("pending")));
    }
    let (_, other) = world.token(OWN, Role::Admin, 600).await;
    let (status, approval) = world.approve(&other, "workflow:w@1").await;
    assert_eq!((status, &approval["state"]), (200, &json!("approved")));
}

#[tokio::test]
async fn s86_who_approves_has_seen_what_is_there_now() {
    let world = World::new().await;
    let admin = world.credential(Who::Admin);
    let secrets = json!({ "secrets": { "KEY": super::beside("k") } });
    world.profile("p", &secrets).await;
    let only = step("only", &json!({ "mode": "identity" }));
    let definition = json!({ "profile": "p", "steps": [only] });
    world.register("w", definition).await;
    let decide = "POST /v1/approvals/workflow:w@1/decision";
    let body = |token: &Value| json!({ "decision": "approve", "review_token": token });
    let seen = || async { world.approval("workflow:w@1").await["review_token"].clone() };
    let absent = json!({ "decision": "approve" });
    let problem = world
        .refused(admin, decide, absent, (400, "invalid_request"))
        .await;
    assert_eq!(problem["field"], "review_token");

    let before = seen().await;
    assert_eq!(before, seen().await, "nothing has changed");
    world
        .replace_profile("p", &merged(&secrets, &json!({ "env": { "A": "1" } })))
        .await;
    world
        .refused(admin, decide, body(&before), (409, "stale_review"))
        .await;
    let before = seen().await;
    let revoke = json!({ "keys": [{ "profile": "p", "key": "KEY" }], "reason": "leaked" });
    world.ok(admin, "POST /v1/revocations", revoke).await;
    world
        .refused(admin, decide, body(&before), (409, "stale_review"))
        .await;
    let before = seen().await;
    world
        .ok(admin, "PUT /v1/cascade", json!({ "project": "p" }))
        .await;
    world
        .refused(admin, decide, body(&before), (409, "stale_review"))
        .await;
    let now = seen().await;
    world.ok(admin, decide, body(&now)).await;
}

#[tokio::test]
async fn s86_a_project_that_requires_registered_workflows_runs_no_free_steps() {
    let world = World::new().await;
    let (admin, member) = (world.credential(Who::Admin), world.credential(Who::Member));
    let before = world
        .enqueued(run_of(&[step("only", &json!({ "ttl_seconds": 1 }))]))
        .await;
    world
        .governed(json!({ "require_registered_workflows": true }))
        .await;
    let free = run_of(&[step("only", &json!({}))]);
    for who in [admin, member] {
        let problem = world
            .refused(
                who,
                "POST /v1/runs",
                free.clone(),
                (403, "registered_required"),
            )
            .await;
        assert!(
            text(&problem, "detail").contains("sealfleet workflow register"),
            "{problem}"
        );
    }
    assert_eq!(named(&world.trail("").await, "run.denied").len(), 2);
    // What was given up before is not put back, either.
    world.time_goes_by(120);
    world.sweep().await;
    assert_eq!(world.step(&before).await["state"], "dead");
    let retry = format!("POST /v1/runs/{before}/steps/only/retry");
    world
        .refused(member, &retry, Value::Null, (403, "registered_required"))
        .await;
    world.live("nightly", definition("one")).await;
    world
        .run_by_name("nightly", json!({ "parameters": { "ticket": "T-1" } }))
        .await;
}

#[tokio::test]
async fn the_name_of_a_live_workflow_is_its_own() {
    let world = World::new().await;
    let (admin, member) = (world.credential(Who::Admin), world.credential(Who::Member));
    let steps = run_of(&[step("only", &json!({}))]);
    let free = merged(&steps, &json!({ "workflow": "nightly" }));
    // A version that waits takes no name: nobody has approved it.
    world.register("nightly", definition("one")).await;
    world.enqueued(free.clone()).await;
    world.live("nightly", definition("two")).await;
    let refused = (409, "registered_name");
    for by in [admin, member] {
        let problem = world
            .refused(by, "POST /v1/runs", free.clone(), refused)
            .await;
        assert_eq!(problem["field"], "workflow");
    }
    let denied = named(&world.trail("").await, "run.denied");
    assert!(denied.len() == 2 && denied.iter().all(|event| event["workflow"] == "nightly"));
    let ticket = json!({ "parameters": { "ticket": "T-1" } });
    world.run_by_name("nightly", ticket).await;
    // Another name is free, and so is this one once the workflow is out of use.
    world.enqueued(steps).await;
    let retire = "POST /v1/workflows/nightly/retire";
    world.ok(admin, retire, Value::Null).await;
    world.enqueued(free).await;
}

#[tokio::test]
async fn s86_a_profile_for_registered_workflows_is_for_no_free_steps() {
    let world = World::new().await;
    let member = world.credential(Who::Member);
    let content = json!({ "registered_only": true, "allowed_workflows": ["nightly", "w"] });
    world.profile("p", &content).await;
    // A free run may call itself what it likes.
    let free = with_profile("p");
    let problem = world
        .refused(
            member,
            "POST /v1/runs",
            free.clone(),
            (403, "profile_denied"),
        )
        .await;
    assert!(
        text(&problem, "detail").contains("registered workflows only"),
        "{problem}"
    );
    let asked = json!({ "workflow": "w", "profile": "p" });
    let resolve = "POST /v1/cascade/resolve";
    world
        .refused(member, resolve, asked.clone(), (403, "profile_denied"))
        .await;
    world
        .ok(
            member,
            resolve,
            merged(&asked, &json!({ "registered": true })),
        )
        .await;

    let of = |name: &str| json!({ "profile": "p", "steps": free["steps"], "description": name });
    world.live("nightly", of("a")).await;
    let run = text(&world.run_by_name("nightly", json!({})).await, "run_id");
    world.live("other", of("b")).await;
    world
        .refused(
            member,
            "POST /v1/workflows/other/runs",
            json!({}),
            (403, "profile_denied"),
        )
        .await;
    // The rule holds at the start, too.
    let hand = world.hand(&json!({})).await;
    let lease = world.claimed(&hand, &run).await;
    world.started(&hand, &lease).await;
    world.succeeded(&hand, &lease).await;

    world.replace_profile("p", &json!({})).await;
    let free = world.enqueued(free).await;
    world.replace_profile("p", &content).await;
    world
        .claim_refused(&hand, &free, (409, "start_refused"))
        .await;
}

#[tokio::test]
async fn s86_a_parameter_stands_where_the_definition_says_and_nowhere_else() {
    let world = World::new().await;
    let member = world.credential(Who::Member);
    world.live("nightly", definition("cat")).await;
    let hostile = "$(id); --help `id`\n\"' T";
    let run = world
        .run_by_name("nightly", json!({ "parameters": { "ticket": hostile } }))
        .await;
    let hand = world.hand(&json!({})).await;
    let claimed = json!({ "run_id": run["run_id"], "step_id": "only" });
    let claim = world.ok(&hand.credential, "POST /v1/claims", claimed).await;
    assert_eq!(claim["command"], json!(["cat", "ticket.txt"]));
    assert_eq!(claim["env"], json!({ "PARAM_TICKET": hostile }));
    let text_of = json!({ "text": hostile });
    assert_eq!(
        claim["inputs"],
        json!({ "files": { "ticket.txt": text_of }, "stdin": text_of })
    );
    // Who wrote its steps is not its caller.
    let shown = world.run(&text(&run, "run_id")).await;
    assert_eq!(shown["document"], Value::Null);

    let by_name = "POST /v1/workflows/nightly/runs";
    for (given, field) in [
        (json!({}), "parameters.ticket"),
        (json!({ "ticket": ["a"] }), "parameters.ticket"),
        (json!({ "ticket": "a".repeat(41) }), "parameters.ticket"),
        (json!({ "ticket": "#!/bin/sh" }), "parameters.ticket"),
        (
            json!({ "ticket": "a", "command": "sh" }),
            "parameters.command",
        ),
    ] {
        let body = json!({ "parameters": given });
        let problem = world
            .refused(member, by_name, body, (400, "invalid_request"))
            .await;
        assert_eq!(problem["field"], field, "{problem}");
    }
    for more in [
        json!({ "steps": [] }),
        json!({ "profile": "p" }),
        json!({ "overrides": {} }),
    ] {
        world
            .refused(member, by_name, more, (400, "invalid_request"))
            .await;
    }
    // What cannot run is not registered.
    let mut bad = definition("cat");
    bad["steps"][0]["pool"] = json!("nowhere");
    let body = json!({ "name": "bad", "definition": bad });
    let problem = world
        .refused(member, "POST /v1/workflows", body, (400, "invalid_request"))
        .await;
    assert_eq!(problem["field"], "definition.steps[0].pool");
    let mut bad = definition("cat");
    bad["parameters"]["ticket"]["to"][2]["env"] = json!("PATH");
    let body = json!({ "name": "bad", "definition": bad });
    let problem = world
        .refused(member, "POST /v1/workflows", body, (400, "invalid_request"))
        .await;
    assert_eq!(problem["field"], "definition.parameters.ticket.to[2]");
}

#[tokio::test]
async fn s86_a_key_stands_for_one_run_of_one_workflow() {
    let world = World::new().await;
    for name in ["one", "two"] {
        world.live(name, definition("cat")).await;
    }
    let sent = |name: &str| {
        let path = format!("/v1/workflows/{name}/runs");
        let request = crate::world::Sent {
            credential: world.credential(Who::Member).to_owned(),
            headers: std::collections::BTreeMap::from([("idempotency-key", "k".to_owned())]),
            body: Some(json!({ "parameters": { "ticket": "T" } }).to_string()),
            ..crate::world::Sent::default()
        };
        (path, request)
    };
    let (path, request) = sent("one");
    let (status, run) = world.send("POST", &path, request).await;
    assert_eq!(status, 201, "{run}");
    let (path, request) = sent("two");
    assert_eq!(world.send("POST", &path, request).await.0, 422);
    // A lost answer is given again, also when nothing is live any more.
    let admin = world.credential(Who::Admin);
    world
        .ok(admin, "POST /v1/workflows/one/retire", Value::Null)
        .await;
    let (path, request) = sent("one");
    let (status, again) = world.send("POST", &path, request).await;
    assert_eq!((status, &again["run_id"]), (200, &run["run_id"]));
}
