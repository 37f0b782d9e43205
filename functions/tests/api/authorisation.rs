//! Who may do what, operation by operation: each is asked by everybody, and an operation that has
//! no row fails.
//!
//! The table is written by hand and knows nothing of the policies that decide. What is another
//! project's is answered, to the byte, like what does not exist.

use std::collections::BTreeMap;

use sealfleet_api::Code;
use sealfleet_api::operations::{self, Operation};
use sealfleet_domain::access::Role;
use sealfleet_domain::approval::{ApprovalId, Decision, Governance, Verdict};
use sealfleet_domain::containment::{Containment, Position};
use sealfleet_domain::credential::Home;
use sealfleet_domain::fleet::{Project, WorkerStatus};
use sealfleet_domain::hash::ContentHash;
use sealfleet_domain::profile::Content;
use sealfleet_domain::workload::Workload;
use sealfleet_domain::{ContainmentId, Owner, ProfileName, RunId, WorkflowName};
use sealfleet_ledger::AuditFilter;
use serde_json::{Value, json};

use crate::world::{Asked, OWN, POOL, TASK, Who, World, scope};

/// Who tokens are for.
const AUDIENCE: &str = "vault";

/// What each caller is answered. Credentials that do not hold, and those of another kind, stand for
/// themselves: 401.
struct Row {
    operation: &'static str,
    expected: Expected,
}

enum Expected {
    /// Operator, admin, member, viewer, and an admin of another project who names this one's ids,
    /// or who acts on its own where the operation names none. A caller by JWT is answered like a
    /// token of the same role; where a genuine one stands for no role, it is refused.
    Tokens([u16; 5]),
    /// Workers: pending, approved, rejected, revoked, and an approved one of another project.
    Workers([u16; 5]),
    /// A sandbox of the project, and one of another.
    Sandboxes([u16; 2]),
    /// Nobody, and the holder of an enrolment key.
    Registration([u16; 2]),
    Anybody(u16),
}

#[rustfmt::skip]
fn rows() -> Vec<Row> {
    use Expected::{Anybody, Registration, Sandboxes, Tokens, Workers};
    let row = |(operation, expected)| Row { operation, expected };
    [
        //                                 operator admin member viewer stranger
        ("create_project",         Tokens([201,     403,  403,   403,   403])),
        ("list_projects",          Tokens([200,     403,  403,   403,   403])),
        ("get_activity",           Tokens([200,     403,  403,   403,   403])),
        ("get_project",            Tokens([200,     200,  200,   200,   404])),
        ("update_project",         Tokens([200,     403,  403,   403,   404])),
        ("delete_project",         Tokens([202,     403,  403,   403,   404])),
        ("set_limits",             Tokens([200,     403,  403,   403,   404])),
        ("set_egress_ceiling",     Tokens([200,     403,  403,   403,   404])),
        ("create_token",           Tokens([201,     201,  403,   403,   201])),
        ("list_tokens",            Tokens([200,     200,  403,   403,   200])),
        ("revoke_token",           Tokens([200,     200,  403,   403,   404])),
        ("get_whoami",             Tokens([200,     200,  200,   200,   200])),
        ("create_enrolment_key",   Tokens([403,     201,  403,   403,   201])),
        ("list_enrolment_keys",    Tokens([403,     200,  403,   403,   200])),
        ("revoke_enrolment_key",   Tokens([403,     200,  403,   403,   404])),
        ("list_workers",           Tokens([403,     200,  200,   200,   200])),
        ("get_worker",             Tokens([403,     200,  200,   200,   404])),
        ("approve_worker",         Tokens([403,     200,  403,   403,   404])),
        ("reject_worker",          Tokens([403,     200,  403,   403,   404])),
        ("revoke_worker",          Tokens([403,     200,  403,   403,   404])),
        ("drain_worker",           Tokens([403,     200,  403,   403,   404])),
        ("resume_worker",          Tokens([403,     200,  403,   403,   404])),
        ("register_workflow",      Tokens([403,     201,  201,   403,   201])),
        ("list_workflows",         Tokens([403,     200,  200,   200,   200])),
        ("get_workflow",           Tokens([403,     200,  200,   200,   404])),
        ("list_workflow_versions", Tokens([403,     200,  200,   200,   404])),
        ("retire_workflow",        Tokens([403,     200,  403,   403,   404])),
        ("run_workflow",           Tokens([403,     201,  201,   403,   404])),
        ("list_approvals",         Tokens([403,     200,  200,   200,   200])),
        ("get_approval",           Tokens([403,     200,  200,   200,   404])),
        ("decide_approval",        Tokens([403,     200,  403,   403,   404])),
        ("get_governance",         Tokens([403,     200,  200,   200,   200])),
        ("put_governance",         Tokens([403,     200,  403,   403,   200])),
        ("create_profile",         Tokens([201,     201,  403,   403,   201])),
        ("list_profiles",          Tokens([200,     200,  200,   200,   200])),
        ("get_profile",            Tokens([200,     200,  200,   200,   404])),
        ("put_profile",            Tokens([200,     200,  403,   403,   404])),
        ("delete_profile",         Tokens([204,     204,  403,   403,   404])),
        ("list_profile_versions",  Tokens([200,     200,  200,   200,   404])),
        ("get_cascade",            Tokens([403,     200,  200,   200,   200])),
        ("put_cascade",            Tokens([403,     200,  403,   403,   200])),
        ("resolve_cascade",        Tokens([403,     200,  200,   200,   200])),
        ("create_revocations",     Tokens([201,     201,  403,   403,   404])),
        ("preview_revocation",     Tokens([200,     200,  200,   200,   404])),
        ("list_revocations",       Tokens([200,     200,  200,   200,   200])),
        ("get_revocation",         Tokens([200,     200,  200,   200,   404])),
        ("lift_revocation",        Tokens([200,     200,  403,   403,   404])),
        ("create_containment",     Tokens([403,     202,  403,   403,   202])),
        ("preview_containment",    Tokens([403,     200,  403,   403,   200])),
        ("list_containments",      Tokens([403,     200,  200,   200,   200])),
        ("get_containment",        Tokens([403,     200,  200,   200,   404])),
        ("get_fan_out",            Tokens([200,     200,  200,   200,   404])),
        ("enqueue_run",            Tokens([403,     201,  201,   403,   201])),
        ("create_upload",          Tokens([403,     201,  201,   403,   201])),
        // Allowed, and refused because the step is not dead.
        ("retry_step",             Tokens([403,     409,  409,   403,   404])),
        ("list_runs",              Tokens([403,     200,  200,   200,   200])),
        ("get_run",                Tokens([403,     200,  200,   200,   404])),
        ("get_output",             Tokens([403,     200,  200,   200,   404])),
        // Allowed, and refused because the step has not ended.
        ("get_result",             Tokens([403,     409,  409,   409,   404])),
        ("get_artifacts",          Tokens([403,     409,  409,   409,   404])),
        ("cancel_run",             Tokens([403,     200,  200,   403,   404])),
        ("get_usage",              Tokens([200,     200,  200,   200,   200])),
        ("get_prices",             Tokens([200,     200,  200,   200,   200])),
        ("list_audit_entries",     Tokens([200,     200,  403,   403,   200])),
        ("get_audit_entry",        Tokens([200,     200,  403,   403,   404])),
        //                                  pending approved rejected revoked foreign
        ("claim_step",             Workers([403,    200,     403,     403,    404])),
        ("send_heartbeat",         Workers([200,    200,     403,     403,    200])),
        ("get_queue_credentials",  Workers([403,    200,     403,     403,    200])),
        ("get_output_credentials", Workers([403,    200,     403,     403,    404])),
        ("get_step_inputs",        Workers([403,    200,     403,     403,    404])),
        ("get_identity_token",     Workers([403,    200,     403,     403,    404])),
        ("start_step",             Workers([403,    200,     403,     403,    404])),
        ("report_step",            Workers([403,    200,     403,     403,    404])),
        //                                    own  foreign
        ("get_sandbox_step",       Sandboxes([200, 404])),
        // Allowed, and refused because the step has no egress policy.
        ("send_sandbox_heartbeat", Sandboxes([409, 404])),
        ("end_sandbox",            Sandboxes([204, 404])),
        ("get_sandbox_token",      Sandboxes([200, 404])),
        //                                       nobody key
        ("register_worker",        Registration([202,   201])),
        ("get_openapi",            Anybody(200)),
        ("get_discovery",          Anybody(200)),
        ("get_keys",               Anybody(200)),
    ]
    .map(row)
    .into()
}

impl Expected {
    fn of(&self, who: Who) -> u16 {
        match (self, who) {
            (Self::Anybody(status), _) => *status,
            (Self::Tokens([status, ..]), Who::Operator)
            | (Self::Tokens([_, status, ..]), Who::Admin | Who::OidcAdmin)
            | (Self::Tokens([_, _, status, ..]), Who::Member | Who::OidcMember)
            | (Self::Tokens([_, _, _, status, _]), Who::Viewer | Who::OidcViewer)
            | (Self::Tokens([.., status]), Who::Stranger | Who::OidcStranger)
            | (Self::Workers([status, ..]), Who::Pending)
            | (Self::Workers([_, status, ..]), Who::Approved)
            | (Self::Workers([_, _, status, ..]), Who::Rejected)
            | (Self::Workers([_, _, _, status, _]), Who::RevokedWorker)
            | (Self::Workers([.., status]), Who::ForeignWorker)
            | (Self::Sandboxes([status, _]), Who::Sandbox)
            | (Self::Sandboxes([_, status]), Who::ForeignSandbox)
            // A role of AWS is no credential of this route: it is nobody here.
            | (Self::Registration([status, _]), Who::Nobody | Who::Sandbox | Who::ForeignSandbox)
            | (Self::Registration([_, status]), Who::Key) => *status,
            (Self::Tokens(_), Who::OidcNobody) => 403,
            _ => 401,
        }
    }
}

#[tokio::test]
async fn everybody_may_do_what_the_table_says_and_no_more() {
    let world = World::new().await;
    let rows: BTreeMap<&str, Row> = rows().into_iter().map(|row| (row.operation, row)).collect();
    for row in rows.keys() {
        assert!(
            operations::all().any(|operation| operation.id == *row),
            "`{row}` is no operation, and has a row"
        );
    }
    for operation in operations::all() {
        let Some(row) = rows.get(operation.id) else {
            panic!("`{}` has no row: say who may do it", operation.id)
        };
        // What it stops is not for others to use.
        let contained = match operation.id {
            "create_containment" => Some(World::new().await),
            _ => None,
        };
        let world = contained.as_ref().unwrap_or(&world);
        for who in Who::ALL {
            let asked = asked(world, operation, who).await;
            let (status, body) = world.ask(who, operation, &asked).await;
            assert_eq!(
                status,
                row.expected.of(who),
                "{} by {who:?}: {body}",
                operation.id
            );
            let code: Option<Code> = body
                .get("code")
                .and_then(|code| serde_json::from_value(code.clone()).ok());
            assert!(
                operation.answers_with(status, code),
                "{} does not document {status}: {body}",
                operation.id
            );
            if status == 401 && !who.is_bad_jwt() {
                assert_eq!(
                    body,
                    json!(sealfleet_api::Problem::unauthenticated()),
                    "{} by {who:?}",
                    operation.id
                );
            }
        }
    }
}

#[tokio::test]
async fn what_is_not_yours_is_not_there() {
    let world = World::new().await;
    let mut compared = 0;
    for operation in operations::all() {
        let (owner, strangers) = match operation.credential {
            operations::Credential::Token => (Who::Admin, &[Who::Stranger, Who::OidcStranger][..]),
            operations::Credential::Worker => (Who::Approved, &[Who::ForeignWorker][..]),
            operations::Credential::TaskRole => (Who::Sandbox, &[Who::ForeignSandbox][..]),
            _ => continue,
        };
        let theirs = asked(&world, operation, owner).await;
        let Some(subject) = theirs.subject.clone() else {
            continue;
        };
        let nothing = elsewhere(&subject);
        let renamed = |text: &str| text.replace(&subject, &nothing);
        let absent = Asked {
            path: theirs
                .path
                .iter()
                .map(|(name, value)| (*name, renamed(value)))
                .collect(),
            body: serde_json::from_str(&renamed(&theirs.body.to_string())).unwrap(),
            ..theirs.clone()
        };
        for stranger in strangers {
            let (status, refused) = world.ask(*stranger, operation, &theirs).await;
            let (_, missing) = world.ask(*stranger, operation, &absent).await;
            assert_eq!(status, 404, "{} by {stranger:?}: {refused}", operation.id);
            assert_eq!(
                renamed(&refused.to_string()),
                missing.to_string(),
                "{} by {stranger:?}",
                operation.id
            );
        }
        compared += 1;
    }
    assert!(compared > 20, "only {compared} operations name something");
}

/// A name of the same form that nothing has.
fn elsewhere(subject: &str) -> String {
    match subject.split_once('_') {
        Some((prefix, _)) => format!("{prefix}_0198c0de-0000-7000-8000-00000000dead"),
        None => "nowhere".to_owned(),
    }
}

/// A request of the operation about something made for it alone, so that whoever may do it
/// succeeds. Operators act on what the system owns, all others on what the project owns.
pub async fn asked(world: &World, operation: &Operation, who: Who) -> Asked {
    let operator = who == Who::Operator;
    let one = |name, value: String| Asked {
        path: BTreeMap::from([(name, value.clone())]),
        subject: Some(value),
        ..Asked::default()
    };
    let with = |body: Value| Asked {
        body,
        ..Asked::default()
    };
    let own = || {
        if operator {
            BTreeMap::from([("project", OWN.to_owned())])
        } else {
            BTreeMap::new()
        }
    };
    match operation.id {
        "create_project" => {
            with(json!({ "project": fresh(world), "pools": { POOL: { "kind": "pull" } } }))
        }
        "get_project" => one("project", OWN.to_owned()),
        "update_project" => {
            let project = world.ledger.project(&scope(OWN)).await.unwrap();
            let image = format!("i@sha256:{}", "0".repeat(64));
            let pools = json!({ POOL: { "kind": "pull" }, "fargate": { "kind": "fargate", "image": image } });
            Asked {
                if_match: Some(project.version),
                body: json!({ "pools": pools }),
                ..one("project", OWN.to_owned())
            }
        }
        // Of its own, or nothing below could be made.
        "delete_project" if operator => {
            let name = fresh(world);
            let project = Project::new(name.parse().unwrap(), BTreeMap::new(), world.ledger.now());
            let new = scope(&name);
            let created = world.ledger.create_project(&new, &project, &[], "test");
            created.await.unwrap();
            one("project", name)
        }
        "delete_project" => one("project", OWN.to_owned()),
        "set_limits" => Asked {
            body: json!({ "limits": { "requests_per_second": 1000, "burst": 1000 } }),
            ..one("project", OWN.to_owned())
        },
        "set_egress_ceiling" => Asked {
            body: json!({ "ceiling": "open" }),
            ..one("project", OWN.to_owned())
        },
        "create_token" if operator => with(json!({ "role": "viewer", "project": OWN })),
        "create_token" => with(json!({ "role": "viewer" })),
        "list_tokens" => Asked {
            query: own(),
            ..Asked::default()
        },
        "revoke_token" => {
            let until = world.ledger.now().plus_seconds(60);
            let home = Home::Project(OWN.parse().unwrap());
            let token = world
                .ledger
                .create_token(&home, Role::Viewer, None, None, until, "test")
                .await
                .unwrap()
                .0;
            Asked {
                query: own(),
                ..one("token_id", token.token_id.to_string())
            }
        }
        "create_enrolment_key" => with(json!({ "pool": POOL })),
        "revoke_enrolment_key" => one(
            "enrolment_key_id",
            world.enrolment_key().await.0.to_string(),
        ),
        "register_worker" => {
            with(json!({ "project": OWN, "name": "w", "pool": POOL, "modes": ["sandboxed"] }))
        }
        "get_worker" | "approve_worker" | "reject_worker" | "revoke_worker" => one(
            "worker_id",
            world.worker(OWN, WorkerStatus::Pending).await.0.to_string(),
        ),
        "drain_worker" | "resume_worker" => one(
            "worker_id",
            world
                .worker(OWN, WorkerStatus::Approved)
                .await
                .0
                .to_string(),
        ),
        "register_workflow" => with(json!({
            "name": fresh(world),
            "definition": { "steps": run()["steps"] }
        })),
        "get_workflow" | "list_workflow_versions" | "retire_workflow" => {
            one("workflow", workflow(world, false).await.to_string())
        }
        "run_workflow" => Asked {
            body: json!({}),
            ..one("workflow", workflow(world, true).await.to_string())
        },
        "get_approval" => one("approval", waiting(world).await.to_string()),
        "decide_approval" => Asked {
            body: json!({ "decision": "deny", "reason": "r" }),
            ..one("approval", waiting(world).await.to_string())
        },
        "put_governance" => with(json!({})),
        "create_profile" => with(json!({ "name": fresh(world) })),
        "get_profile" | "delete_profile" | "list_profile_versions" => {
            one("name", profile(world, who).await.to_string())
        }
        "put_profile" => Asked {
            if_match: Some(1),
            body: json!({}),
            ..one("name", profile(world, who).await.to_string())
        },
        "put_cascade" => with(json!({})),
        "resolve_cascade" => with(json!({ "workflow": "w" })),
        "create_revocations" | "preview_revocation" => revoking(world, who, false).await,
        "get_revocation" | "lift_revocation" => {
            let revoked = revoked(world, who, false).await;
            one(
                "revocation_id",
                text(revoked.pointer("/revocations/0/revocation_id")),
            )
        }
        "create_containment" => with(json!({ "reason": "an incident" })),
        "preview_containment" => with(json!({})),
        "get_containment" => one("containment_id", contained(world).await.to_string()),
        "get_fan_out" => one(
            "fan_out_id",
            text(
                revoked(world, who, true)
                    .await
                    .pointer("/fan_out/fan_out_id"),
            ),
        ),
        "enqueue_run" => with(run()),
        "create_upload" => with(json!({ "bytes": 1, "sha256": ContentHash::of(b"x") })),
        "retry_step" | "get_output" | "get_result" | "get_artifacts" => {
            let mut asked = one("run_id", enqueued(world).await.to_string());
            asked.path.insert("step_id", "main".to_owned());
            asked
        }
        "get_run" | "cancel_run" => one("run_id", enqueued(world).await.to_string()),
        "claim_step" => {
            let run_id = enqueued(world).await;
            Asked {
                subject: Some(run_id.to_string()),
                ..with(json!({ "run_id": run_id, "step_id": "main" }))
            }
        }
        "get_output_credentials" | "get_step_inputs" => held(world, json!({})).await,
        "start_step" => held(world, json!({ "sandbox": "s" })).await,
        "report_step" => held(world, json!({ "state": "succeeded" })).await,
        "get_identity_token" => {
            held_of(world, named(world).await, json!({ "audience": AUDIENCE })).await
        }
        "get_sandbox_step" | "send_sandbox_heartbeat" | "end_sandbox" | "get_sandbox_token" => {
            let run = named(world).await;
            let starting = held_of(world, run, json!({ "sandbox": TASK })).await;
            let (status, body) = world
                .ask(Who::Approved, operation_of("start_step"), &starting)
                .await;
            assert_eq!(status, 200, "{body}");
            let mut asked = starting;
            let body = asked.body.as_object_mut().unwrap();
            body.remove("sandbox");
            if operation.id == "end_sandbox" {
                body.insert("state".to_owned(), json!("succeeded"));
                asked.body = json!({ "project": OWN, "report": body });
            } else {
                body.insert("project".to_owned(), json!(OWN));
            }
            if operation.id == "get_sandbox_token" {
                let body = asked.body.as_object_mut().unwrap();
                body.insert("audience".to_owned(), json!(AUDIENCE));
            }
            asked
        }
        "get_audit_entry" => one("event_id", entry(world, who).await),
        "send_heartbeat" => with(json!({ "leases": [] })),
        "list_projects"
        | "get_activity"
        | "get_whoami"
        | "list_enrolment_keys"
        | "list_workers"
        | "list_workflows"
        | "list_approvals"
        | "get_governance"
        | "list_profiles"
        | "get_cascade"
        | "list_revocations"
        | "list_containments"
        | "list_runs"
        | "list_audit_entries"
        | "get_usage"
        | "get_prices"
        | "get_queue_credentials"
        | "get_discovery"
        | "get_keys"
        | "get_openapi" => Asked::default(),
        other => panic!("say here how `{other}` is asked for"),
    }
}

pub fn operation_of(id: &str) -> &'static Operation {
    operations::all()
        .find(|operation| operation.id == id)
        .unwrap()
}

fn fresh(world: &World) -> String {
    let id = RunId::new(world.ledger.ids(), world.ledger.now())
        .uuid()
        .simple()
        .to_string();
    format!("x{}", id.chars().skip(8).take(24).collect::<String>())
}

fn text(value: Option<&Value>) -> String {
    value.and_then(Value::as_str).unwrap().to_owned()
}

fn run() -> Value {
    json!({ "workflow": "w", "steps": [{ "id": "main", "pool": POOL, "mode": "sandboxed", "command": ["true"] }] })
}

/// A registered workflow, which waits for approval or runs.
pub async fn workflow(world: &World, live: bool) -> WorkflowName {
    let name: WorkflowName = fresh(world).parse().unwrap();
    register(world, &name, "true").await;
    if live {
        let decision = Decision {
            verdict: Verdict::Approve,
            by: "other".to_owned(),
            login: None,
            reason: None,
            at: world.ledger.now(),
        };
        let (scope, id) = (scope(OWN), first_version(&name));
        let decided = world.ledger.decide(&scope, &id, decision, true);
        decided.await.unwrap();
    }
    name
}

/// Registers a version of a workflow, which runs this command.
pub async fn register(world: &World, name: &WorkflowName, command: &str) {
    let step = json!({
        "pool": POOL, "mode": "sandboxed", "command": [command],
        "timeout_seconds": 1, "max_attempts": 1, "ttl_seconds": 60,
    });
    let definition = serde_json::from_value(json!({ "steps": { "main": step } })).unwrap();
    let scope = scope(OWN);
    let asker = Governance::default().asker("test".to_owned(), None);
    let registered = world
        .ledger
        .register_workflow(&scope, name, &definition, &asker);
    registered.await.unwrap();
}

fn first_version(workflow: &WorkflowName) -> ApprovalId {
    ApprovalId::Workflow {
        workflow: workflow.clone(),
        version: 1,
    }
}

/// An approval that waits.
async fn waiting(world: &World) -> ApprovalId {
    first_version(&workflow(world, false).await)
}

/// An entry of the trail of the project or of the operators.
async fn entry(world: &World, who: Who) -> String {
    profile(world, who).await;
    let owner = if who == Who::Operator {
        Owner::System
    } else {
        Owner::Project(scope(OWN))
    };
    let filter = AuditFilter::between(world.ledger.now().plus_seconds(-60), world.ledger.now(), 10);
    let page = world.ledger.audit(&owner, &filter).await.unwrap();
    page.entries.first().unwrap().event_id.to_string()
}

/// A profile with one secret, of the project or of the system.
pub async fn profile(world: &World, who: Who) -> ProfileName {
    let owner = if who == Who::Operator {
        Owner::System
    } else {
        Owner::Project(scope(OWN))
    };
    let uri = if who == Who::Operator {
        "builtin://system/crm@1"
    } else {
        "builtin://crm@1"
    };
    let name: ProfileName = fresh(world).parse().unwrap();
    let secrets = BTreeMap::from([("KEY".to_owned(), uri.parse().unwrap())]);
    let content = Content {
        secrets,
        ..Content::default()
    };
    world
        .ledger
        .create_profile(&owner, &name, content, "test")
        .await
        .unwrap();
    name
}

async fn revoking(world: &World, who: Who, hard: bool) -> Asked {
    let name = profile(world, who).await;
    let body =
        json!({ "keys": [{ "profile": name, "key": "KEY" }], "hard": hard, "reason": "leaked" });
    Asked {
        body,
        subject: Some(name.to_string()),
        ..Asked::default()
    }
}

/// A revocation that exists, by whoever may make one.
pub async fn revoked(world: &World, who: Who, hard: bool) -> Value {
    let by = if who == Who::Operator {
        Who::Operator
    } else {
        Who::Admin
    };
    let (status, body) = world
        .ask(
            by,
            operation_of("create_revocations"),
            &revoking(world, who, hard).await,
        )
        .await;
    assert_eq!(status, 201, "{body}");
    body
}

pub async fn enqueued(world: &World) -> RunId {
    enqueued_of(world, run()).await
}

/// A run whose step may have tokens for [`AUDIENCE`].
async fn named(world: &World) -> RunId {
    let name = fresh(world);
    let content = Content {
        identity: Some(Workload {
            audiences: [AUDIENCE.parse().unwrap()].into(),
        }),
        ..Content::default()
    };
    let (owner, named) = (Owner::Project(scope(OWN)), name.parse().unwrap());
    world
        .ledger
        .create_profile(&owner, &named, content, "test")
        .await
        .unwrap();
    let mut run = run();
    run["profile"] = json!(name);
    run["steps"][0]["mode"] = json!("identity");
    enqueued_of(world, run).await
}

async fn enqueued_of(world: &World, run: Value) -> RunId {
    let asked = Asked {
        body: run,
        ..Asked::default()
    };
    let (status, body) = world
        .ask(Who::Admin, operation_of("enqueue_run"), &asked)
        .await;
    assert_eq!(status, 201, "{body}");
    text(body.get("run_id")).parse().unwrap()
}

/// What the approved worker says of a step that it holds.
async fn held(world: &World, more: Value) -> Asked {
    held_of(world, enqueued(world).await, more).await
}

async fn held_of(world: &World, run_id: RunId, more: Value) -> Asked {
    let claiming = Asked {
        body: json!({ "run_id": run_id, "step_id": "main" }),
        ..Asked::default()
    };
    let (status, claim) = world
        .ask(Who::Approved, operation_of("claim_step"), &claiming)
        .await;
    assert_eq!(status, 200, "{claim}");
    let mut body = json!({ "run_id": run_id, "step_id": "main", "fence": claim.get("fence") });
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    Asked {
        body,
        subject: Some(run_id.to_string()),
        ..Asked::default()
    }
}

/// A containment that nobody has worked on yet.
pub async fn contained(world: &World) -> ContainmentId {
    let now = world.ledger.now();
    let new = Containment {
        containment_id: ContainmentId::new(world.ledger.ids(), now),
        reason: "an incident".to_owned(),
        tokens: false,
        actor: "token:x".to_owned(),
        started_at: now,
        position: Position::begin(1),
        ended: None,
    };
    let scope = scope(OWN);
    let begun = world.ledger.begin_containment(&scope, &new, None);
    begun.await.unwrap().containment_id
}
