//! Profiles change by version, and each owner's are its own.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{beside, merged, text, with_profile};
use crate::api::authorisation::{asked, operation_of};
use crate::world::{Sent, Who, World};

const PATH: &str = "/v1/profiles/p";

/// The answer to a change of the profile under these headers.
async fn change(world: &World, method: &str, header: Option<&str>, body: &Value) -> (u16, Value) {
    let mut request = Sent {
        credential: world.credential(Who::Admin).to_owned(),
        body: (!body.is_null()).then(|| body.to_string()),
        ..Sent::default()
    };
    let header = header.map(|version| ("if-match", version.to_owned()));
    request.headers = BTreeMap::from_iter(header);
    world.send(method, PATH, request).await
}

#[tokio::test]
async fn profiles_change_by_version() {
    let world = World::new().await;
    let admin = world.credential(Who::Admin);
    let content =
        |number: &str| json!({ "secrets": { "API_KEY": beside("p") }, "env": { "N": number } });
    let created = merged(&content("1"), &json!({ "name": "p" }));
    let exists = (409, "already_exists");
    assert_eq!(
        world.ok(admin, "POST /v1/profiles", created.clone()).await["version"],
        1
    );
    world
        .refused(admin, "POST /v1/profiles", created, exists)
        .await;

    let (status, problem) = change(&world, "PUT", None, &content("2")).await;
    assert_eq!(
        (status, &problem["code"]),
        (428, &json!("precondition_required"))
    );
    let detail = text(&problem, "detail");
    assert!(
        detail.contains("If-Match") && detail.contains("ETag"),
        "the remedy: {detail}"
    );
    for wrong in ["1", "\"x\"", "W/\"1\"", "*"] {
        let (status, problem) = change(&world, "PUT", Some(wrong), &content("2")).await;
        assert_eq!(
            (status, &problem["field"]),
            (400, &json!("If-Match")),
            "`{wrong}`"
        );
    }
    let (status, problem) = change(&world, "PUT", Some("\"7\""), &content("2")).await;
    assert_eq!(
        (status, &problem["code"]),
        (412, &json!("version_conflict"))
    );
    assert!(
        text(&problem, "detail").contains("\"1\""),
        "its version: {problem}"
    );
    assert_eq!(world.get(admin, PATH).await["version"], 1);
    let changed = change(&world, "PUT", Some("\"1\""), &content("2")).await;
    assert_eq!((changed.0, &changed.1["version"]), (200, &json!(2)));
    assert_eq!(
        change(&world, "PUT", Some("\"1\""), &content("3")).await.0,
        412
    );
    assert_eq!(world.get(admin, PATH).await, changed.1);

    // A run in flight holds it.
    let hand = world.hand(&json!({})).await;
    let run = world.enqueued(with_profile("p")).await;
    let lease = world.claimed(&hand, &run).await;
    let (status, problem) = change(&world, "DELETE", None, &Value::Null).await;
    assert_eq!((status, &problem["code"]), (409, &json!("profile_in_use")));
    let detail = text(&problem, "detail");
    assert!(
        detail.contains("cancel") || detail.contains("wait"),
        "the remedy: {detail}"
    );
    world.succeeded(&hand, &lease).await;
    assert_eq!(
        change(&world, "DELETE", Some("\"1\""), &Value::Null)
            .await
            .0,
        412
    );
    assert_eq!(
        change(&world, "DELETE", Some("\"2\""), &Value::Null)
            .await
            .0,
        204
    );
    for method in ["GET", "DELETE"] {
        assert_eq!(
            change(&world, method, None, &Value::Null).await.0,
            404,
            "{method}"
        );
    }
    assert_eq!(
        change(&world, "PUT", Some("\"2\""), &content("4")).await.0,
        404
    );

    // A profile of the same name goes on counting, so that no two versions look alike.
    world.profile("p", &content("4")).await;
    let versions = world.get(admin, &format!("{PATH}/versions")).await;
    let versions = versions["items"].as_array().unwrap();
    let told: Vec<(&Value, bool)> = versions
        .iter()
        .map(|told| (&told["version"], told["deleted"] == true))
        .collect();
    let [one, two, three, four] = [1, 2, 3, 4].map(|number| json!(number));
    assert_eq!(
        told,
        [(&four, false), (&three, true), (&two, false), (&one, false)]
    );
    assert!(
        versions
            .iter()
            .all(|told| text(told, "by").starts_with("token:"))
    );
}

/// A project's profiles and revocations do not exist for operators, nor theirs for a project.
#[tokio::test]
async fn another_owners_profiles_and_revocations_do_not_exist() {
    let world = World::new().await;
    for (owner, stranger) in [(Who::Admin, Who::Operator), (Who::Operator, Who::Admin)] {
        for id in [
            "get_profile",
            "put_profile",
            "delete_profile",
            "list_profile_versions",
            "create_revocations",
            "preview_revocation",
            "get_revocation",
            "lift_revocation",
            "get_fan_out",
        ] {
            let operation = operation_of(id);
            let theirs = asked(&world, operation, owner).await;
            let (status, body) = world.ask(stranger, operation, &theirs).await;
            assert_eq!(status, 404, "{id} of {owner:?} by {stranger:?}: {body}");
            let (status, body) = world.ask(owner, operation, &theirs).await;
            assert!((200..300).contains(&status), "{id} by {owner:?}: {body}");
        }
    }
}
