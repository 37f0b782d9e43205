//! Containments: everything of a project is stopped, whatever becomes of who asked for it.

use sealfleet_domain::access::Role;
use serde_json::{Value, json};

use super::{beside, merged, named, run_of, step, text};
use crate::world::{OWN, Sent, Who, World};

const TALLY: [&str; 5] = ["keys", "workers", "enrolment_keys", "tokens", "runs"];

fn tally(of: &Value) -> [u64; 5] {
    TALLY.map(|name| {
        of[name]
            .as_u64()
            .unwrap_or_else(|| panic!("no {name} in {of}"))
    })
}

/// What there is to stop.
struct Busy {
    world: World,
    /// A run that holds a key, and one that waits.
    runs: [String; 2],
}

impl Busy {
    async fn new() -> Self {
        let world = World::new().await;
        let secrets = json!({ "KEY": beside("key"), "OTHER": beside("other") });
        world.profile("p", &json!({ "secrets": secrets })).await;
        let hand = world.hand(&json!({})).await;
        let identity = step("only", &json!({ "mode": "identity" }));
        let body = merged(&run_of(&[identity]), &json!({ "profile": "p" }));
        let held = world.enqueued(body).await;
        world.claimed(&hand, &held).await;
        let waits = world.enqueued_step(&json!({})).await;
        world.enrolment_key().await;
        world.token(OWN, Role::Member, 3600).await;
        Self {
            world,
            runs: [held, waits],
        }
    }

    async fn preview(&self, tokens: bool) -> [u64; 5] {
        let admin = self.world.credential(Who::Admin);
        let what = "POST /v1/containments:preview";
        let open = self
            .world
            .ok(admin, what, json!({ "tokens": tokens }))
            .await;
        assert_eq!(open["more"], false);
        tally(&open)
    }

    async fn contain(&self, key: &str, body: &Value) -> (u16, Value) {
        let request = Sent {
            credential: self.world.credential(Who::Admin).to_owned(),
            body: Some(body.to_string()),
            headers: [("idempotency-key", key.to_owned())].into(),
            ..Sent::default()
        };
        self.world.send("POST", "/v1/containments", request).await
    }

    async fn shown(&self, id: &str) -> Value {
        let admin = self.world.credential(Who::Admin);
        self.world
            .get(admin, &format!("/v1/containments/{id}"))
            .await
    }
}

#[tokio::test]
async fn a_containment_stops_everything_and_all_of_it_carries_its_id() {
    let busy = Busy::new().await;
    let world = &busy.world;
    let open = busy.preview(true).await;
    assert!(open.iter().all(|count| *count > 0), "{open:?}");
    let before = world.trail("").await["items"].as_array().unwrap().len();
    assert_eq!(busy.preview(false).await[3], 0);
    let after = world.trail("").await["items"].as_array().unwrap().len();
    assert_eq!(before, after, "a preview changes nothing");

    let body = json!({ "reason": "an incident", "tokens": true });
    let (status, begun) = busy.contain("once", &body).await;
    assert_eq!(status, 202, "{begun}");
    let id = text(&begun, "containment_id");
    let shown = busy.shown(&id).await;
    assert_eq!(shown["state"], "contained", "{shown}");
    assert_eq!(tally(&shown["stopped"]), open, "{shown}");
    assert_eq!(busy.preview(true).await, [0; 5]);
    let admin = world.credential(Who::Admin);
    for run in &busy.runs {
        let run = world.get(admin, &format!("/v1/runs/{run}")).await;
        assert_eq!(run["state"], "aborted");
    }
    let listed = world.get(admin, "/v1/containments").await;
    assert_eq!(listed["items"], json!([shown]));

    let trail = world.trail(&format!("&containment={id}")).await;
    for (event, count) in [
        ("project.contained", 1),
        ("secret.revoked", open[0]),
        // The Fargate pool is drained.
        ("worker.revoked", open[1] - 1),
        ("worker.drained", 1),
        ("enrolment_key.revoked", open[2]),
        ("token.revoked", open[3]),
        ("revocation.fan_out_finished", 1),
        ("project.containment_ended", 1),
    ] {
        let found = named(&trail, event).len();
        assert_eq!(u64::try_from(found).unwrap(), count, "{event}: {trail}");
    }
    assert_eq!(
        named(&trail, "project.contained")[0]["reason"],
        "an incident"
    );
    let ended = &named(&trail, "project.containment_ended")[0];
    assert_eq!((&ended["complete"], tally(ended)), (&json!(true), open));
    // Each run by the one or the other, and nothing of it outside.
    let stopped = ["run.cancelled", "run.aborted_by_revocation"];
    let within: usize = stopped.map(|name| named(&trail, name).len()).iter().sum();
    let all = world.trail("").await;
    let anywhere: usize = stopped.map(|name| named(&all, name).len()).iter().sum();
    assert_eq!((within, anywhere), (2, 2), "{trail}");
    // The caller's own token is the one that is left.
    let member = world.credential(Who::Member);
    let (status, _) = world.asked(member, "GET /v1/runs", &Value::Null).await;
    assert_eq!(status, 401);
}

#[tokio::test]
async fn what_a_fan_out_aborts_is_part_of_its_containment() {
    let busy = Busy::new().await;
    let world = &busy.world;
    let id = "con_0198c0de-0000-7000-8000-00000000000a".parse().unwrap();
    // A fan-out that others began, of a containment.
    let ledger = world.ledger.within(Some(id));
    let scope = crate::world::scope(OWN);
    let key = sealfleet_domain::revocation::Revocation {
        revocation_id: "rev_0198c0de-0000-7000-8000-00000000000a".parse().unwrap(),
        profile: "p".parse().unwrap(),
        key: "KEY".to_owned(),
        uri: "builtin://key".parse().unwrap(),
        hard: true,
        reason: "an incident".to_owned(),
        actor: "token:x".to_owned(),
        at: ledger.now(),
        fan_out_id: Some("fan_0198c0de-0000-7000-8000-00000000000a".parse().unwrap()),
        lifted: None,
    };
    let owner = sealfleet_domain::Owner::Project(scope.clone());
    ledger.revoke(&owner, &[key], "token:x").await.unwrap();
    // `sweep` takes over before the lease runs out.
    world.time_goes_by(16);
    world.sweep().await;
    let trail = world.trail(&format!("&containment={id}")).await;
    assert_eq!(
        named(&trail, "run.aborted_by_revocation").len(),
        1,
        "{trail}"
    );
    assert_eq!(named(&trail, "revocation.fan_out_finished").len(), 1);
    let so_far = world.ledger.contained_so_far(&scope, id).await.unwrap();
    assert_eq!((so_far.stopped.keys, so_far.stopped.runs), (1, 1));
}

#[tokio::test]
async fn a_request_that_is_repeated_begins_no_second_containment() {
    let busy = Busy::new().await;
    let body = json!({ "reason": "an incident" });
    let (_, first) = busy.contain("once", &body).await;
    let (status, again) = busy.contain("once", &body).await;
    assert_eq!((status, again), (202, first.clone()));
    let other = json!({ "reason": "another" });
    let (status, problem) = busy.contain("once", &other).await;
    assert_eq!(
        (status, &problem["code"]),
        (422, &json!("idempotency_mismatch")),
        "{problem}"
    );
    let (_, second) = busy.contain("twice", &other).await;
    assert_ne!(second["containment_id"], first["containment_id"]);
    assert_eq!(tally(&second["stopped"]), [0; 5]);
}

/// What cannot be stopped keeps nothing else from being stopped, and `sweep` tries it again.
#[tokio::test]
async fn without_the_audit_table_it_stops_what_it_can_and_sweep_does_the_rest() {
    let busy = Busy::new().await;
    let world = &busy.world;
    let open = busy.preview(true).await;
    world.audit_table_is_away(true);
    let body = json!({ "reason": "an incident", "tokens": true });
    let (status, begun) = busy.contain("once", &body).await;
    assert_eq!(
        (status, &begun["state"]),
        (202, &json!("going_on")),
        "{begun}"
    );
    let id = text(&begun, "containment_id");
    let shown = busy.shown(&id).await;
    let [keys, _, _, _, runs] = open;
    assert_eq!(tally(&shown["stopped"]), [keys, 0, 0, 0, runs], "{shown}");
    let left = [0, open[1], open[2], open[3], 0];
    assert_eq!(tally(&shown["left"]), left, "{shown}");

    world.audit_table_is_away(false);
    for _ in 0..3 {
        world.time_goes_by(60);
        world.sweep().await;
    }
    let shown = busy.shown(&id).await;
    assert_eq!(
        (&shown["state"], &shown["left"]),
        (&json!("contained"), &Value::Null)
    );
    assert_eq!(tally(&shown["stopped"]), open);
    let trail = world.trail(&format!("&containment={id}")).await;
    assert_eq!(named(&trail, "project.contained").len(), 1, "{trail}");
    assert_eq!(named(&trail, "project.containment_ended").len(), 1);
}
