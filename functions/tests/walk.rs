//! A walk through every operation of the API and every event of the functions, over tables that
//! take no state change without its event ([`Audited`](crate::audited::Audited)).
//!
//! An operation that changes something adds to the trail; one that only reads does not. The walk
//! fails where it does not meet an operation, a function or an event that tells of a change, and
//! where nothing needs an exemption.

use std::collections::{BTreeMap, BTreeSet};

use sealfleet_api::operations::{self, Operation};
use sealfleet_domain::audit::Event;
use sealfleet_domain::audit::catalogue::{CATALOGUE, Class};
use sealfleet_domain::capability::BACKENDS;
use sealfleet_domain::hash::ContentHash;
use sealfleet_domain::run::{Run, RunState};
use sealfleet_fargate::names::task_id;
use serde_json::{Value, json};

use crate::audited::Exempt;
use crate::repository::functions;
use crate::world::{CRM, FARGATE, OTHER, OWN, Sent, Who, World, scope};

/// Operations that are asked by another method than GET and change nothing.
const READS: [(&str, &str); 10] = [
    (
        "POST /v1/containments:preview",
        "it counts what a containment would stop",
    ),
    (
        "POST /v1/revocations:preview",
        "it lists what a revocation would abort",
    ),
    (
        "POST /v1/cascade/resolve",
        "it shows what a run would see, by names",
    ),
    (
        "POST /v1/heartbeats",
        "it moves the end of leases that are held; one that tells other sandboxes has its event (`tells`)",
    ),
    (
        "POST /v1/queue-credentials",
        "STS gives them out, and CloudTrail has the record; they open a queue of ids",
    ),
    (
        "POST /v1/output-credentials",
        "STS gives them out, and CloudTrail has the record; they open what one claim puts out",
    ),
    (
        "POST /v1/uploads",
        "it changes nothing; the run that names the upload is on record",
    ),
    (
        "POST /v1/step-inputs",
        "a worker reads what goes into a step that it holds",
    ),
    (
        "POST /v1/sandbox/step",
        "a sandbox reads the step that it was started for",
    ),
    (
        "POST /v1/sandbox/end",
        "it counts when the sandbox's host shows that it is gone, with the step's own event",
    ),
];

/// Functions that change nothing in the ledger.
const NO_CHANGES: [(&str, &str); 4] = [
    (
        "notify",
        "it tells the event bus of ends that are on record",
    ),
    (
        "trail",
        "it copies the entries of runs to the trail, and adds none",
    ),
    (
        "export",
        "it reads the stream of the trail and writes to S3",
    ),
    (
        "witness",
        "it puts what it has seen into the trail, and nothing else",
    ),
];

/// Events that no function writes: `sealfleet restore` records its own, which
/// `tests/scenarios/restore.rs` reads.
const BY_COMMAND: [&str; 1] = ["tables.restored"];

struct Walk {
    world: World,
    met: BTreeSet<String>,
}

impl Walk {
    async fn ask(&mut self, who: &str, method: &str, path: &str, body: Value) -> Value {
        let request = Sent {
            credential: who.to_owned(),
            body: (!body.is_null()).then(|| body.to_string()),
            ..Sent::default()
        };
        self.send(method, path, request).await
    }

    async fn get(&mut self, who: &str, path: &str) -> Value {
        self.ask(who, "GET", path, Value::Null).await
    }

    /// Makes a request that is granted. Its change is in the trail.
    async fn send(&mut self, method: &str, path: &str, request: Sent) -> Value {
        let parts: Vec<&str> = operations::parts(path).collect();
        let found = operations::find(method, &parts);
        let route = route(found.unwrap_or_else(|| panic!("no operation {method} {path}")));
        let before = self.world.seen().entries;
        let (status, body) = self.world.send(method, path, request).await;
        assert!(
            (200..300).contains(&status),
            "{method} {path}: {status} {body}"
        );
        let told = self.world.seen().entries - before;
        let reads = method == "GET" || READS.iter().any(|(read, _)| *read == route);
        assert_eq!(told == 0, reads, "{route} wrote {told} entries");
        self.met.insert(route);
        body
    }

    /// Sends a heartbeat that tells of sandboxes, and answers how many entries it wrote.
    async fn tells(&self, worker: &str) -> usize {
        let beat = json!({ "leases": [], "sandboxes": { "backends": [BACKENDS[0].name] } });
        let request = Sent {
            credential: worker.to_owned(),
            body: Some(beat.to_string()),
            ..Sent::default()
        };
        let before = self.world.seen().entries;
        let (status, body) = self.world.send("POST", "/v1/heartbeats", request).await;
        assert_eq!(status, 200, "{body}");
        self.world.seen().entries - before
    }

    async fn stored(&self, run: &str) -> Run {
        let run = run.parse().unwrap();
        self.world.ledger.run(&scope(OWN), run).await.unwrap()
    }
}

/// An operation as the template's routes are written.
fn route(operation: &Operation) -> String {
    format!("{} {}", operation.method, operation.path)
}

fn text(value: &Value, name: &str) -> String {
    value[name]
        .as_str()
        .unwrap_or_else(|| panic!("no `{name}` in {value}"))
        .to_owned()
}

/// Who tokens are for.
const AUDIENCE: &str = "vault";

fn run_of(steps: &Value) -> Value {
    json!({ "workflow": "w", "steps": steps })
}

fn step(id: &str, needs: &[&str]) -> Value {
    json!({ "id": id, "pool": "workers", "mode": "sandboxed", "command": ["true"], "needs": needs })
}

#[tokio::test]
async fn every_operation_that_changes_something_has_its_event() {
    let mut walk = Walk {
        world: World::new().await,
        met: BTreeSet::new(),
    };
    let operator = walk.world.credential(Who::Operator).to_owned();
    let admin = walk.world.credential(Who::Admin).to_owned();

    projects_and_tokens(&mut walk, &operator, &admin).await;
    let worker = workers(&mut walk, &admin).await;
    profiles(&mut walk, &admin).await;
    workflows(&mut walk, &admin).await;
    runs(&mut walk, &admin, &worker).await;
    revocations(&mut walk, &admin).await;
    walk.get(&admin, "/v1/usage").await;
    walk.get(&admin, "/v1/usage/prices").await;
    let trail = walk.get(&admin, "/v1/audit").await;
    let id = text(&trail["items"][0], "event_id");
    walk.get(&admin, &format!("/v1/audit/{id}")).await;
    without_the_audit_table(&walk, &admin).await;
    containment(&mut walk, &admin).await;

    walk.get("", "/v1/openapi.json").await;
    walk.get("", "/.well-known/openid-configuration").await;
    walk.get("", "/.well-known/jwks.json").await;
    assert_eq!(
        walk.met,
        operations::all().map(route).collect(),
        "operations that were walked, and all"
    );
    let by_event = ["dispatch", "observe", "sweep", "trail"]
        .into_iter()
        .chain(NO_CHANGES.iter().map(|(name, _)| *name));
    let walked = operations::all()
        .map(|operation| operation.function)
        .chain(by_event);
    assert_eq!(
        walked.map(str::to_owned).collect::<BTreeSet<_>>(),
        functions(),
        "functions that were walked, and all"
    );
    let seen = walk.world.seen();
    let changes = CATALOGUE.iter().filter(|row| {
        serde_json::from_str::<Event>(row.example)
            .is_ok_and(|event| event.class() == Class::StateChange)
    });
    let unseen: Vec<&str> = changes
        .map(|row| row.name)
        .filter(|name| !seen.events.contains(*name) && !BY_COMMAND.contains(name))
        .collect();
    assert!(
        unseen.is_empty(),
        "events of changes that were never written: {unseen:?}"
    );
    let exemptions = [
        Exempt::LeaseRenewal,
        Exempt::LeaseOfClaim,
        Exempt::Identity,
        Exempt::RunNamed,
        Exempt::RunLookedAt,
        Exempt::FanOutProgress,
        Exempt::ContainmentProgress,
        Exempt::TaskDefinition,
        Exempt::EndedTask,
        Exempt::ToldEnd,
        Exempt::RateCounted,
        Exempt::OutboxPostponed,
    ];
    assert_eq!(
        seen.exempt,
        exemptions.into(),
        "exemptions that were needed, and all"
    );
}

async fn projects_and_tokens(walk: &mut Walk, operator: &str, admin: &str) {
    let project = json!({ "project": "radiology", "pools": { "workers": { "kind": "pull" } } });
    walk.ask(operator, "POST", "/v1/projects", project).await;
    walk.get(operator, "/v1/projects").await;
    walk.get(operator, "/v1/activity").await;
    walk.get(operator, "/v1/whoami").await;
    walk.get(operator, "/v1/projects/radiology").await;
    let request = Sent {
        credential: operator.to_owned(),
        headers: BTreeMap::from([("if-match", "\"1\"".to_owned())]),
        body: Some(json!({ "pools": { "workers": { "kind": "pull" } } }).to_string()),
        ..Sent::default()
    };
    walk.send("PUT", "/v1/projects/radiology", request).await;
    let limits = json!({ "limits": { "requests_per_second": 20, "burst": 40 } });
    walk.ask(operator, "PUT", "/v1/projects/radiology/limits", limits)
        .await;
    let ceiling = json!({ "ceiling": { "allow": [{ "host": "a.example" }] } });
    let path = "/v1/projects/radiology/egress-ceiling";
    walk.ask(operator, "PUT", path, ceiling).await;
    // It is closed, and a minute later deleted.
    for _ in 0..2 {
        walk.ask(operator, "DELETE", "/v1/projects/radiology", Value::Null)
            .await;
        walk.world.time_goes_by(61);
    }
    let made = walk
        .ask(admin, "POST", "/v1/tokens", json!({ "role": "viewer" }))
        .await;
    walk.get(admin, "/v1/tokens").await;
    walk.ask(
        admin,
        "DELETE",
        &format!("/v1/tokens/{}", text(&made, "token_id")),
        Value::Null,
    )
    .await;
}

/// A worker that is approved, by its credential.
async fn workers(walk: &mut Walk, admin: &str) -> String {
    let key = walk
        .ask(
            admin,
            "POST",
            "/v1/enrolment-keys",
            json!({ "pool": "workers", "max_uses": 2 }),
        )
        .await;
    walk.get(admin, "/v1/enrolment-keys").await;
    let body = json!({
        "project": "healthcare", "name": "w", "pool": "workers", "modes": ["sandboxed", "identity"], "max_concurrent": 2,
    });
    let enrolled = walk
        .ask(
            &text(&key, "enrolment_key"),
            "POST",
            "/v1/workers/register",
            body.clone(),
        )
        .await;
    let path = format!("/v1/enrolment-keys/{}", text(&key, "enrolment_key_id"));
    walk.ask(admin, "DELETE", &path, Value::Null).await;
    let mut approved = None;
    for decision in ["reject", "approve"] {
        let waits = walk
            .ask("", "POST", "/v1/workers/register", body.clone())
            .await;
        let path = format!("/v1/workers/{}", text(&waits, "worker_id"));
        walk.get(admin, &path).await;
        walk.ask(admin, "POST", &format!("{path}/{decision}"), Value::Null)
            .await;
        approved = Some(text(&waits, "credential"));
    }
    walk.get(admin, "/v1/workers").await;

    for what in ["drain", "resume"] {
        let path = format!("/v1/workers/{}/{what}", text(&enrolled, "worker_id"));
        walk.ask(admin, "POST", &path, Value::Null).await;
    }

    // The enrolled one is revoked while it holds a step.
    let run = walk
        .ask(admin, "POST", "/v1/runs", run_of(&json!([step("a", &[])])))
        .await;
    let asked = json!({ "run_id": run["run_id"], "step_id": "a" });
    walk.ask(&text(&enrolled, "credential"), "POST", "/v1/claims", asked)
        .await;
    walk.ask(
        admin,
        "POST",
        &format!("/v1/workers/{}/revoke", text(&enrolled, "worker_id")),
        Value::Null,
    )
    .await;
    approved.unwrap()
}

async fn profiles(walk: &mut Walk, admin: &str) {
    let content = json!({ "env": { "EHR_URL": "https://ehr.example" }, "secrets": { "EHR": "aws-sm://sealfleet/healthcare/ehr#key" } });
    let reaching = json!({ "name": "reaching", "egress": "none" });
    walk.ask(admin, "POST", "/v1/profiles", reaching).await;
    let mut created = content.clone();
    created["name"] = json!("ehr");
    walk.ask(admin, "POST", "/v1/profiles", created).await;
    walk.get(admin, "/v1/profiles").await;
    walk.get(admin, "/v1/profiles/ehr").await;
    let request = Sent {
        credential: admin.to_owned(),
        headers: BTreeMap::from([("if-match", "\"1\"".to_owned())]),
        body: Some(content.to_string()),
        ..Sent::default()
    };
    walk.send("PUT", "/v1/profiles/ehr", request).await;
    walk.get(admin, "/v1/profiles/ehr/versions").await;
    walk.ask(
        admin,
        "PUT",
        "/v1/cascade",
        json!({ "workflows": { "bound": "ehr" } }),
    )
    .await;
    walk.get(admin, "/v1/cascade").await;
    walk.ask(
        admin,
        "POST",
        "/v1/cascade/resolve",
        json!({ "workflow": "bound" }),
    )
    .await;
    walk.ask(admin, "DELETE", "/v1/profiles/ehr", Value::Null)
        .await;
}

async fn workflows(walk: &mut Walk, admin: &str) {
    let member = walk.world.credential(Who::Member).to_owned();
    let register = |command: &str| {
        let mut step = step("a", &[]);
        step["command"] = json!([command]);
        json!({ "name": "nightly", "definition": { "steps": [step] } })
    };
    for version in 1..=3 {
        let body = register(&format!("c{version}"));
        walk.ask(&member, "POST", "/v1/workflows", body).await;
        let path = format!("/v1/approvals/workflow:nightly@{version}");
        let approval = walk.get(admin, &path).await;
        let decision = if version == 1 {
            json!({ "decision": "deny", "reason": "r" })
        } else {
            json!({ "decision": "approve", "review_token": approval["review_token"] })
        };
        walk.ask(admin, "POST", &format!("{path}/decision"), decision)
            .await;
    }
    walk.get(admin, "/v1/approvals").await;
    let mut undecided = step("a", &[]);
    undecided["approval"] = json!("required");
    undecided["ttl_seconds"] = json!(1);
    let run = json!({ "workflow": "w", "steps": [undecided] });
    walk.ask(&member, "POST", "/v1/runs", run).await;
    walk.world.time_goes_by(2);
    walk.world.sweep().await;
    walk.get(admin, "/v1/workflows").await;
    walk.get(admin, "/v1/workflows/nightly").await;
    walk.get(admin, "/v1/workflows/nightly/versions").await;
    walk.get(admin, "/v1/governance").await;
    let governance = json!({ "require_registered_workflows": true });
    walk.ask(admin, "PUT", "/v1/governance", governance).await;
    walk.ask(&member, "POST", "/v1/workflows/nightly/runs", json!({}))
        .await;
    walk.ask(admin, "PUT", "/v1/governance", json!({})).await;
    let body = register("withdrawn");
    walk.ask(&member, "POST", "/v1/workflows", body).await;
    walk.ask(admin, "POST", "/v1/workflows/nightly/retire", Value::Null)
        .await;
}

async fn runs(walk: &mut Walk, admin: &str, worker: &str) {
    let request = Sent {
        credential: admin.to_owned(),
        headers: BTreeMap::from([("idempotency-key", "one".to_owned())]),
        body: Some(run_of(&json!([step("a", &[]), step("b", &["a"])])).to_string()),
        ..Sent::default()
    };
    let run = walk.send("POST", "/v1/runs", request).await;
    let run = text(&run, "run_id");
    walk.get(admin, "/v1/runs").await;
    walk.get(admin, &format!("/v1/runs/{run}")).await;
    let upload = json!({ "bytes": 1, "sha256": ContentHash::of(b"x") });
    walk.ask(admin, "POST", "/v1/uploads", upload).await;
    walk.ask(worker, "POST", "/v1/queue-credentials", Value::Null)
        .await;
    for (id, end) in [
        ("a", json!({ "state": "succeeded" })),
        (
            "b",
            json!({ "state": "failed", "failure": { "kind": "exit", "code": 3 } }),
        ),
    ] {
        let claim = walk
            .ask(
                worker,
                "POST",
                "/v1/claims",
                json!({ "run_id": run, "step_id": id }),
            )
            .await;
        let lease = json!({ "run_id": run, "step_id": id, "fence": claim["fence"] });
        walk.ask(
            worker,
            "POST",
            "/v1/heartbeats",
            json!({ "leases": [lease] }),
        )
        .await;
        // The first heartbeat tells something new; the second does not.
        assert_eq!(walk.tells(worker).await, usize::from(id == "a"));
        let with = |more: &Value| {
            let mut body = lease.clone();
            body.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            body
        };
        walk.ask(
            worker,
            "POST",
            "/v1/starts",
            with(&json!({ "sandbox": "s" })),
        )
        .await;
        walk.ask(worker, "POST", "/v1/output-credentials", lease.clone())
            .await;
        walk.ask(worker, "POST", "/v1/step-inputs", lease.clone())
            .await;
        let mut end = end;
        end["result_bytes"] = json!(2);
        end["artifacts"] = json!({ "files": 0, "bytes": 0 });
        walk.ask(worker, "POST", "/v1/reports", with(&end)).await;
        let path = format!("/v1/runs/{run}/steps/{id}");
        walk.get(admin, &format!("{path}/output")).await;
        walk.get(admin, &format!("{path}/result")).await;
        walk.get(admin, &format!("{path}/artifacts")).await;
    }

    let named = json!({ "name": "named", "identity": { "audiences": [AUDIENCE] } });
    walk.ask(admin, "POST", "/v1/profiles", named).await;
    let mut names_itself = step("a", &[]);
    names_itself["mode"] = json!("identity");
    let mut body = run_of(&json!([names_itself]));
    body["profile"] = json!("named");
    let run = text(&walk.ask(admin, "POST", "/v1/runs", body).await, "run_id");
    let step_of = json!({ "run_id": run, "step_id": "a" });
    let claim = walk.ask(worker, "POST", "/v1/claims", step_of).await;
    let ask =
        json!({ "run_id": run, "step_id": "a", "fence": claim["fence"], "audience": AUDIENCE });
    walk.ask(worker, "POST", "/v1/identity-tokens", ask).await;
    walk.ask(
        admin,
        "POST",
        &format!("/v1/runs/{run}/cancel"),
        Value::Null,
    )
    .await;

    let mut once = step("a", &[]);
    once["max_attempts"] = json!(1);
    let lost = walk
        .ask(admin, "POST", "/v1/runs", run_of(&json!([once])))
        .await;
    let lost = text(&lost, "run_id");
    walk.ask(
        worker,
        "POST",
        "/v1/claims",
        json!({ "run_id": lost, "step_id": "a" }),
    )
    .await;
    walk.world.time_goes_by(120);
    walk.world.sweep().await;
    walk.ask(
        admin,
        "POST",
        &format!("/v1/runs/{lost}/steps/a/retry"),
        Value::Null,
    )
    .await;
    walk.ask(
        admin,
        "POST",
        &format!("/v1/runs/{lost}/cancel"),
        Value::Null,
    )
    .await;
}

async fn revocations(walk: &mut Walk, admin: &str) {
    let steps = json!([{ "id": "a", "pool": FARGATE, "mode": "identity", "command": ["true"] }]);
    let uri = format!("aws-sm://sealfleet/{OWN}/crm#api-key");
    let names = json!({ "audiences": [AUDIENCE] });
    let profile = json!({ "name": "cloud", "secrets": { "API_KEY": uri }, "identity": names,
        "egress": { "allow": [{ "host": "example.com", "port": 443 }] } });
    walk.ask(admin, "POST", "/v1/profiles", profile).await;
    let asked = json!({ "workflow": "w", "profile": "cloud", "steps": steps });
    let run = text(&walk.ask(admin, "POST", "/v1/runs", asked).await, "run_id");
    walk.world.deliver().await;
    let stored = walk.stored(&run).await;
    let hold = stored
        .steps
        .values()
        .find_map(|step| step.state.hold())
        .unwrap_or_else(|| panic!("nothing is held: {stored:?}"));
    let task = task_id(hold.handle.as_ref().unwrap()).to_owned();
    let lease = json!({ "project": OWN, "run_id": run, "step_id": "a", "fence": hold.fence });
    let mut step = lease.clone();
    step["egress"] = json!(true);
    let mut beat = lease.clone();
    let host = json!({ "host": "example.org", "port": 443, "reason": "no_rule", "count": 1 });
    beat["egress_denied"] = json!({ "rows": [host] });
    let end = json!({ "project": OWN, "report": {
        "run_id": run, "step_id": "a", "fence": hold.fence, "state": "succeeded" } });
    let mut ask = lease;
    ask["audience"] = json!(AUDIENCE);
    for (path, body) in [
        ("/v1/sandbox/step", step),
        ("/v1/sandbox/heartbeat", beat),
        ("/v1/sandbox/token", ask),
        ("/v1/sandbox/end", end),
    ] {
        let request = Sent {
            body: Some(body.to_string()),
            sandbox: Some(task.clone()),
            ..Sent::default()
        };
        walk.send("POST", path, request).await;
    }
    walk.world.tasks_go_on(None).await;
    let body =
        json!({ "keys": [{ "profile": CRM, "key": "API_KEY" }], "hard": true, "reason": "leaked" });
    let preview = walk
        .ask(admin, "POST", "/v1/revocations:preview", body.clone())
        .await;
    assert_eq!(preview["runs"][0]["run_id"], json!(run));
    let revoked = walk.ask(admin, "POST", "/v1/revocations", body).await;
    assert_eq!(walk.stored(&run).await.state(), RunState::Aborted);
    walk.world.tasks_go_on(Some(143)).await;
    walk.get(admin, "/v1/revocations").await;
    let path = format!(
        "/v1/revocations/{}",
        text(&revoked["revocations"][0], "revocation_id")
    );
    walk.get(admin, &path).await;
    walk.get(
        admin,
        &format!("/v1/fan-outs/{}", text(&revoked["fan_out"], "fan_out_id")),
    )
    .await;
    walk.ask(admin, "POST", &format!("{path}/lift"), Value::Null)
        .await;
}

async fn containment(walk: &mut Walk, admin: &str) {
    let preview = json!({ "tokens": true });
    let path = "/v1/containments:preview";
    let open = walk.ask(admin, "POST", path, preview).await;
    assert!(open["tokens"].as_u64() > Some(0), "{open}");
    let body = json!({ "reason": "an incident", "tokens": true });
    let begun = walk.ask(admin, "POST", "/v1/containments", body).await;
    assert_eq!(begun["stopped"]["tokens"], open["tokens"], "{begun}");
    walk.get(admin, "/v1/containments").await;
    let path = format!("/v1/containments/{}", text(&begun, "containment_id"));
    assert_eq!(walk.get(admin, &path).await["state"], "contained");
}

/// An entry waits in the outbox, waits longer, and then arrives.
async fn without_the_audit_table(walk: &Walk, admin: &str) {
    let world = &walk.world;
    world.audit_table_is_away(true);
    let body = json!({ "keys": [{ "profile": CRM, "key": "API_KEY" }], "reason": "leaked" });
    let revoked = world.request(admin, "POST", "/v1/revocations", &body).await;
    assert_eq!(revoked.0, 201, "{}", revoked.1);
    world.sweep().await;
    world.audit_table_is_away(false);
    world.sweep().await;
    assert_eq!(world.seen().waiting, 1, "it was put off");
    world.time_goes_by(120);
    world.sweep().await;
    assert_eq!(world.seen().waiting, 0);
}

#[tokio::test]
async fn a_trail_is_its_own_scopes_alone() {
    let world = World::new().await;
    for (who, project, status) in [
        (Who::Admin, OWN, 200),
        (Who::Admin, OTHER, 404),
        (Who::Admin, "~system", 404),
        (Who::Viewer, OWN, 403),
        (Who::Operator, "~system", 200),
        (Who::Operator, OWN, 404),
    ] {
        let request = Sent {
            credential: world.credential(who).to_owned(),
            query: json!({ "project": project }),
            ..Sent::default()
        };
        let answer = world.send("GET", "/v1/audit", request).await;
        assert_eq!(answer.0, status, "{project} for {who:?}: {}", answer.1);
    }
}
