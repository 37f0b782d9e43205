//! A cursor goes on with the very list that it came from, in the scope and with the filters that it
//! was made with.

use std::collections::BTreeMap;

use serde_json::json;

use super::authorisation::{
    asked, contained, enqueued, operation_of, profile, register, revoked, workflow,
};
use crate::semantics::artifacts::left_many;
use crate::world::{Asked, Who, World};
use sealfleet_api::operations::{self, Operation};

/// A list that has more than one page, and the cursor of its second.
struct List {
    operation: &'static Operation,
    by: Who,
    asked: Asked,
    cursor: String,
}

/// Filters that a cursor made without them is not for.
const FILTERS: [(&str, &str, &str); 9] = [
    ("list_approvals", "state", "decided"),
    ("get_usage", "from", "2027-01-14"),
    ("get_output", "stream", "stdout"),
    ("list_audit_entries", "type", "run.enqueued"),
    ("list_runs", "state", "queued"),
    ("list_runs", "workflow", "other"),
    ("list_runs", "profile", "crm"),
    ("list_runs", "from", "2027-01-14T00:00:00Z"),
    ("list_revocations", "state", "lifted"),
];

impl List {
    async fn of(world: &World, operation: &'static Operation) -> Self {
        let by = if operation.id == "list_projects" {
            Who::Operator
        } else {
            Who::Admin
        };
        let mut asked = asked(world, operation, by).await;
        if operation.id == "get_artifacts" {
            let run = left_many(world).await;
            asked.path = BTreeMap::from([("run_id", run), ("step_id", "only".to_owned())]);
        }
        if operation.id == "get_usage" {
            asked.query.insert("group_by", "model".to_owned());
        }
        if operation.id == "list_profile_versions" {
            let change = Asked {
                if_match: Some(1),
                body: json!({}),
                ..asked.clone()
            };
            assert_eq!(
                world.ask(by, operation_of("put_profile"), &change).await.0,
                200
            );
        }
        if let Some(name) = asked.path.get("workflow") {
            register(world, &name.parse().unwrap(), "false").await;
        }
        if operation.query.iter().any(|query| query.name == "limit") {
            asked.query.insert("limit", "1".to_owned());
        }
        let (status, page) = world.ask(by, operation, &asked).await;
        let cursor = page.get("next_cursor").and_then(serde_json::Value::as_str);
        let Some(cursor) = cursor else {
            panic!("{} has no second page: {status} {page}", operation.id)
        };
        Self {
            operation,
            by,
            asked,
            cursor: cursor.to_owned(),
        }
    }

    /// What it answers to this cursor: the status, and the field that is refused.
    async fn goes_on(
        &self,
        world: &World,
        by: Who,
        cursor: &str,
        more: Option<(&'static str, &str)>,
    ) -> (u16, String) {
        let mut asked = self.asked.clone();
        asked.query.insert("cursor", cursor.to_owned());
        asked
            .query
            .extend(more.map(|(name, value)| (name, value.to_owned())));
        let (status, body) = world.ask(by, self.operation, &asked).await;
        (
            status,
            body.get("field")
                .and_then(serde_json::Value::as_str)
                .unwrap_or_default()
                .to_owned(),
        )
    }
}

#[tokio::test]
async fn a_cursor_is_of_one_list() {
    let world = World::new().await;
    for _ in 0..2 {
        world.enrolment_key().await;
        profile(&world, Who::Admin).await;
        revoked(&world, Who::Admin, false).await;
        contained(&world).await;
        enqueued(&world).await;
        workflow(&world, false).await;
    }
    let hand = world.hand(&json!({ "models": ["acme/a"] })).await;
    for more in [json!({ "model": "acme/a" }), json!({})] {
        let run = world.enqueued_step(&more).await;
        let lease = world.claimed(&hand, &run).await;
        world.succeeded(&hand, &lease).await;
    }
    let mut lists = Vec::new();
    for operation in operations::all()
        .filter(|operation| operation.query.iter().any(|query| query.name == "cursor"))
    {
        lists.push(List::of(&world, operation).await);
    }
    let refused = (400, "cursor".to_owned());
    for list in &lists {
        for other in &lists {
            let own = list.operation.id == other.operation.id;
            let expected = if own {
                (200, String::new())
            } else {
                refused.clone()
            };
            let answered = list.goes_on(&world, list.by, &other.cursor, None).await;
            assert_eq!(
                answered, expected,
                "{} with the cursor of {}",
                list.operation.id, other.operation.id
            );
        }
        if list.by == Who::Admin {
            let answered = list
                .goes_on(&world, Who::Stranger, &list.cursor, None)
                .await;
            assert_eq!(
                answered, refused,
                "{} with a cursor of another project",
                list.operation.id
            );
        }
    }
    for (id, name, value) in FILTERS {
        let Some(list) = lists.iter().find(|list| list.operation.id == id) else {
            panic!("`{id}` is no list")
        };
        let answered = list
            .goes_on(&world, list.by, &list.cursor, Some((name, value)))
            .await;
        assert_eq!(answered, refused, "{id} with another `{name}`");
    }
}
