//! The audit trail through the API, and the tokens of a project.

use serde_json::{Value, json};

use super::{beside, named, text};

use crate::world::{OTHER, OWN, Who, World};

const INVALID: (u16, &str) = (400, "invalid_request");
const NOT_FOUND: (u16, &str) = (404, "not_found");
const FORBIDDEN: (u16, &str) = (403, "forbidden");

/// 59. Admin of A reads B's trail -> 404; viewer -> 403.
#[tokio::test]
async fn s59_a_trail_is_its_projects_admins() {
    let world = World::new().await;
    let [operator, admin, member, viewer, stranger] = [
        Who::Operator,
        Who::Admin,
        Who::Member,
        Who::Viewer,
        Who::Stranger,
    ]
    .map(|who| world.credential(who));
    world
        .profile("own", &json!({ "secrets": { "API_KEY": beside("a") } }))
        .await;
    let run = world.enqueued_step(&json!({})).await;
    let made = world
        .ok(admin, "POST /v1/tokens", json!({ "role": "viewer" }))
        .await;
    let token = text(&made, "token_id");
    let entry = world.trail(&format!("&run={run}")).await["items"][0].clone();
    let id = text(&entry, "event_id");
    let actor = text(&world.trail("&profile=own").await["items"][0], "actor");

    // A stranger hears the same as of a project or an entry that does not exist.
    let nothing = "evt_0198c0de-0000-7000-8000-00000000dead";
    for by in [stranger, operator] {
        for (theirs, nobodys) in [
            (
                format!("/v1/audit?project={OWN}"),
                "/v1/audit?project=none".to_owned(),
            ),
            (format!("/v1/audit/{id}"), format!("/v1/audit/{nothing}")),
            (
                format!("/v1/audit/{id}?project={OWN}"),
                format!("/v1/audit/{id}?project=none"),
            ),
        ] {
            let [one, other] = [theirs, nobodys].map(|path| format!("GET {path}"));
            let exists = world.refused(by, &one, Value::Null, NOT_FOUND).await;
            let missing = world.refused(by, &other, Value::Null, NOT_FOUND).await;
            assert_eq!(exists, missing, "{one} against {other}");
        }
    }
    let filters = [
        &format!("actor={actor}"),
        "profile=own",
        "key=API_KEY",
        "type=token.created",
    ];
    for filter in filters {
        let found = world
            .get(stranger, &format!("/v1/audit?limit=100&{filter}"))
            .await;
        let mut items = found["items"].as_array().unwrap().iter();
        assert!(
            items.all(|entry| entry["project"] == OTHER),
            "{filter}: {found}"
        );
    }

    // Of the project itself, admins alone.
    let own = format!("/v1/audit?project={OWN}");
    for path in ["/v1/audit", &own, &format!("/v1/audit/{id}")] {
        for by in [member, viewer] {
            world
                .refused(by, &format!("GET {path}"), Value::Null, FORBIDDEN)
                .await;
        }
        world.get(admin, path).await;
    }
    assert_eq!(world.get(admin, &format!("/v1/audit/{id}")).await, entry);

    // Each filter finds what it says, alone and together.
    let found = async |filter: &str| {
        let entries = world.trail(&format!("&{filter}")).await;
        let entries = entries["items"].as_array().unwrap().clone();
        let events = entries
            .iter()
            .flat_map(|entry| entry["events"].as_array().unwrap());
        events.map(|event| text(event, "type")).collect::<Vec<_>>()
    };
    assert_eq!(found("profile=own").await, ["profile.created"]);
    assert_eq!(
        found("key=API_KEY&type=profile.created&profile=own").await,
        ["profile.created"]
    );
    assert_eq!(found(&format!("run={run}")).await, ["run.enqueued"]);
    assert_eq!(found("type=run.enqueued&profile=own").await, [""; 0]);
    let made = named(
        &world.trail(&format!("&actor={actor}")).await,
        "token.created",
    );
    assert!(
        made.iter().any(|event| event["token_id"] == *token),
        "{made:?}"
    );
    world
        .refused(admin, "GET /v1/audit?type=no.such", Value::Null, INVALID)
        .await;

    // Operators have a trail of their own.
    let onboarded = world.get(operator, "/v1/audit?type=project.created").await;
    let onboarded = named(&onboarded, "project.created");
    assert!(
        onboarded.iter().any(|event| event["project"] == OWN),
        "{onboarded:?}"
    );
    world.get(operator, "/v1/audit?project=~system").await;
    world
        .refused(
            stranger,
            "GET /v1/audit?project=~system",
            Value::Null,
            NOT_FOUND,
        )
        .await;
}

/// Any id of the right form has an answer, also one that Sealfleet cannot have made.
#[tokio::test]
async fn an_entry_that_cannot_exist_is_not_found() {
    let world = World::new().await;
    for uuid in [
        "00000000-0000-0000-0000-000000000000",
        "00000000-0001-4000-8000-000000000001",
        "0198c0de-0000-4000-8000-000000000001",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
    ] {
        let get = format!("GET /v1/audit/evt_{uuid}");
        let admin = world.credential(Who::Admin);
        world.refused(admin, &get, Value::Null, NOT_FOUND).await;
    }
}

#[tokio::test]
async fn a_token_is_revoked_once_and_stays_listed() {
    let world = World::new().await;
    let admin = world.credential(Who::Admin);
    let body = json!({ "role": "viewer", "note": "door" });
    let made = world.ok(admin, "POST /v1/tokens", body).await;
    let revoke = format!("DELETE /v1/tokens/{}", text(&made, "token_id"));
    let first = world.ok(admin, &revoke, Value::Null).await;
    assert!(first["revoked_at"].is_string());
    assert_eq!(world.ok(admin, &revoke, Value::Null).await, first);
    let tokens = world.get(admin, "/v1/tokens?limit=100").await;
    let tokens = tokens["items"].as_array().unwrap();
    let shown = tokens.iter().find(|token| token["note"] == "door").unwrap();
    assert_eq!(shown["revoked_at"], first["revoked_at"]);
    assert!(
        tokens.iter().all(|token| token["expires_at"].is_string()),
        "{tokens:?}"
    );
    let told = named(&world.trail("&type=token.revoked").await, "token.revoked");
    let of_it = told
        .iter()
        .filter(|event| event["token_id"] == made["token_id"]);
    assert_eq!(of_it.count(), 1, "{told:?}");
}
