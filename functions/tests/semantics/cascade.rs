//! The limits of a profile: secrets stay secret, workflows are named, projects are apart.

use serde_json::{Value, json};

use super::{Hand, beside, merged, named, run_of, step, text, with_profile};
use crate::world::{CRM, FARGATE, Who, World};

/// 28. Override of a secret key by a plain value -> refused; it never loses its secret tag.
#[tokio::test]
async fn s28_a_secret_stays_a_secret() {
    let world = World::new().await;
    let [admin, member, viewer] =
        [Who::Admin, Who::Member, Who::Viewer].map(|who| world.credential(who));
    let secret = |name: &str, from: &str| json!({ "secrets": { name: beside(from) } });
    let plain = json!({ "API_KEY": "do-not-repeat" });
    let harmless = json!({ "env": { "OTHER": "1" } });
    let default = merged(
        &secret("API_KEY", "a"),
        &json!({ "env": { "KNOB": "plain" } }),
    );
    let sealed = json!({ "secrets": { "KNOB": beside("a"), "API_KEY": beside("other") } });
    for (name, content) in [
        ("default", default),
        ("ended", json!({ "remove": ["API_KEY"] })),
        ("plain", json!({ "env": plain })),
        ("sealed", sealed),
        ("harmless", harmless.clone()),
    ] {
        world.profile(name, &content).await;
    }
    let workflows = json!({ "plain": "plain", "ended": "ended" });
    let bindings = json!({ "project": "default", "workflows": workflows });
    world.ok(admin, "PUT /v1/cascade", bindings).await;

    let (over, in_step) = (
        json!({ "env": plain }),
        json!({ "mode": "identity", "env": plain }),
    );
    let identity = json!({ "mode": "identity" });
    let before = world.run_count().await;
    let mut denied = 0;
    for (request, more) in [
        (json!({ "workflow": "w", "profile": "plain" }), &identity),
        (json!({ "workflow": "plain" }), &identity),
        (json!({ "workflow": "w", "overrides": over }), &identity),
        (
            json!({ "workflow": "ended", "profile": "plain" }),
            &identity,
        ),
        (json!({ "workflow": "ended", "overrides": over }), &identity),
        (json!({ "workflow": "w" }), &in_step),
        (json!({ "workflow": "ended" }), &in_step),
        (
            json!({ "workflow": "w", "overrides": { "remove": ["API_KEY"] } }),
            &in_step,
        ),
    ] {
        let refused = (400, "secret_override");
        let body = merged(&request, &json!({ "steps": [step("only", more)] }));
        let problem = world.refused(member, "POST /v1/runs", body, refused).await;
        assert!(
            text(&problem, "detail").contains("`API_KEY`"),
            "{request}: {problem}"
        );
        assert!(
            !problem.to_string().contains("do-not-repeat"),
            "{request}: {problem}"
        );
        if more["env"].is_null() {
            denied += 1;
            world
                .refused(viewer, "POST /v1/cascade/resolve", request, refused)
                .await;
        } else {
            assert_eq!(problem["field"], "steps.only.env", "{request}");
        }
    }
    assert_eq!(world.run_count().await, before);
    let trail = world.trail("").await;
    assert!(named(&trail, "run.denied").len() >= denied, "{trail}");
    assert!(
        !trail.to_string().contains("do-not-repeat"),
        "the value is in the trail"
    );

    // A plain knob may become a secret, and a secret another one.
    let request = json!({ "workflow": "w", "profile": "sealed" });
    let resolved = world.ok(viewer, "POST /v1/cascade/resolve", request).await;
    for key in resolved["keys"].as_array().unwrap() {
        assert!(key["secret"].is_string() && key["value"].is_null(), "{key}");
        assert_eq!(
            key["origin"],
            json!({ "level": "run", "profile": "sealed" })
        );
    }

    // The start is refused, too: the profiles have changed meanwhile.
    let hand = world.hand(&json!({ "max_concurrent": 4 })).await;
    let other = json!({ "mode": "identity", "env": { "OTHER": "do-not-repeat" } });
    for (content, more) in [
        (json!({ "env": plain }), &identity),
        (secret("OTHER", "a"), &other),
    ] {
        world.replace_profile("harmless", &harmless).await;
        let body = merged(
            &run_of(&[step("only", more)]),
            &json!({ "profile": "harmless" }),
        );
        let run = world.enqueued(body).await;
        world.replace_profile("harmless", &content).await;
        world.start_refused(&hand, &run).await;
    }
}

/// 29. Profile `allowed_workflows=[x]`: run y denied and audited; run x allowed, at start too.
#[tokio::test]
async fn s29_a_profile_is_for_its_workflows() {
    let world = World::new().await;
    let [operator, admin, member, viewer] =
        [Who::Operator, Who::Admin, Who::Member, Who::Viewer].map(|who| world.credential(who));
    let only = |workflow: &str| json!({ "secrets": { "API_KEY": beside("a") }, "allowed_workflows": [workflow] });
    world.profile("own", &only("x")).await;
    world
        .profile("anyone", &json!({ "secrets": { "OTHER": beside("b") } }))
        .await;
    let base = json!({ "name": "base", "allowed_workflows": ["x", "z"] });
    world.ok(operator, "POST /v1/profiles", base).await;

    let of = |workflow: &str, profile: &str| {
        merged(&with_profile(profile), &json!({ "workflow": workflow }))
    };
    let denied = (403, "profile_denied");
    let before = world.run_count().await;
    let problem = world
        .refused(member, "POST /v1/runs", of("y", "own"), denied)
        .await;
    let detail = text(&problem, "detail");
    assert!(
        detail.contains("`own`") && detail.contains("`y`"),
        "{detail}"
    );
    let request = json!({ "workflow": "y", "profile": "own" });
    world
        .refused(viewer, "POST /v1/cascade/resolve", request, denied)
        .await;
    assert_eq!(world.run_count().await, before);
    let told = named(&world.trail("&type=run.denied").await, "run.denied");
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(
        (&told[0]["workflow"], &told[0]["profiles"]),
        (&json!("y"), &json!(["own"]))
    );
    assert_eq!(told[0]["reason"], *detail);

    // Every profile of the cascade has its say.
    world.enqueued(of("y", "anyone")).await;
    world
        .ok(admin, "PUT /v1/cascade", json!({ "system": "base" }))
        .await;
    let problem = world
        .refused(member, "POST /v1/runs", of("y", "anyone"), denied)
        .await;
    assert!(
        text(&problem, "detail").contains("`system/base`"),
        "{problem}"
    );
    world
        .refused(member, "POST /v1/runs", of("z", "own"), denied)
        .await;

    // At the start, the profile counts as it is then.
    let hand = world.hand(&json!({ "max_concurrent": 8 })).await;
    let run = world.enqueued(of("x", "own")).await;
    let lease = world.claimed(&hand, &run).await;
    world.started(&hand, &lease).await;
    world.succeeded(&hand, &lease).await;
    let changed = world.enqueued(of("x", "own")).await;
    let gone = world.enqueued(of("x", "anyone")).await;
    let fargate = step("only", &json!({ "pool": FARGATE, "mode": "identity" }));
    let body = json!({ "workflow": "x", "profile": CRM, "steps": [fargate] });
    let in_cloud = world.enqueued(body).await;
    world.replace_profile("own", &only("z")).await;
    world
        .replace_profile(CRM, &json!({ "allowed_workflows": ["z"] }))
        .await;
    world
        .ok(admin, "DELETE /v1/profiles/anyone", Value::Null)
        .await;
    world.start_refused(&hand, &changed).await;
    world.start_refused(&hand, &gone).await;
    world.deliver().await;
    world.failed(&in_cloud, "profile_refused").await;
    let released = world.events(&in_cloud, "secret.released").await;
    assert!(released.is_empty(), "{released:?}");
    assert_eq!(world.tasks(), 0, "a task was started with a denied profile");
}

impl World {
    async fn run_count(&self) -> usize {
        let listed = self
            .get(self.credential(Who::Viewer), "/v1/runs?limit=100")
            .await;
        listed["items"].as_array().unwrap().len()
    }

    /// A claim is refused for the profiles, and ends the step before any release.
    async fn start_refused(&self, hand: &Hand, run: &str) {
        self.claim_refused(hand, run, (409, "start_refused")).await;
        self.failed(run, "profile_refused").await;
        let released = self.events(run, "secret.released").await;
        assert!(released.is_empty(), "a release of {run}");
    }

    /// The step `only` has failed for this reason, and nothing of it was started. A claim records
    /// the release before it looks at the revocations again, so there may be one.
    pub async fn failed(&self, run: &str, kind: &str) -> Value {
        let shown = self.step(run).await;
        assert_eq!(shown["state"], "failed", "{shown}");
        let failure = &shown["failure"];
        assert_eq!(failure["kind"], kind, "{shown}");
        assert!(
            text(failure, "detail").len() > 10,
            "it does not say why: {shown}"
        );
        assert!(!shown.to_string().contains("do-not-repeat"), "{shown}");
        assert_eq!(self.run(run).await["state"], "failed");
        let failed = self.events(run, "step.failed").await;
        assert_eq!((failed.len(), &failed[0]["failure"]), (1, failure));
        for name in ["profile.injected", "secret.decrypted", "step.running"] {
            assert!(self.events(run, name).await.is_empty(), "`{name}` of {run}");
        }
        shown
    }
}

/// 30. Project A references B's profile -> 404, audited.
#[tokio::test]
async fn s30_another_projects_profile_does_not_exist() {
    let world = World::new().await;
    // Of the same length: the answers may differ by the name alone.
    let (theirs, nobodys) = ("b-own", "b-not");
    world
        .profile(theirs, &json!({ "secrets": { "API_KEY": beside("a") } }))
        .await;
    let stranger = world.credential(Who::Stranger);
    let revoked = |profile: &str| json!({ "keys": [{ "profile": profile, "key": "API_KEY" }], "reason": "a test" });
    let request = |profile: &str| json!({ "workflow": "w", "profile": profile });
    let bound = |profile: &str| json!({ "workflows": { "w": profile } });
    let nothing = |_: &str| Value::Null;
    type Body<'a> = &'a dyn Fn(&str) -> Value;
    for (what, body) in [
        ("POST /v1/runs", &with_profile as Body<'_>),
        ("POST /v1/cascade/resolve", &request),
        ("POST /v1/revocations", &revoked),
        ("POST /v1/revocations:preview", &revoked),
        ("PUT /v1/cascade", &bound),
        ("GET /v1/profiles/{}", &nothing),
        ("GET /v1/profiles/{}/versions", &nothing),
        ("DELETE /v1/profiles/{}", &nothing),
    ] {
        let answers = [theirs, nobodys].map(async |name| {
            let what = what.replace("{}", name);
            let problem = world
                .refused(stranger, &what, body(name), (404, "not_found"))
                .await;
            problem.to_string().replace(name, "NAME")
        });
        let [exists, missing] = answers;
        assert_eq!(exists.await, missing.await, "{what}");
    }
    let trail = world.get(stranger, "/v1/audit?limit=100").await;
    let denied = named(&trail, "run.denied");
    for profile in [theirs, nobodys] {
        let of_it = denied
            .iter()
            .filter(|event| event["profiles"] == json!([profile]));
        assert_eq!(of_it.count(), 1, "audited refusals of `{profile}`");
    }
    let kept = world
        .get(
            world.credential(Who::Admin),
            &format!("/v1/profiles/{theirs}"),
        )
        .await;
    assert_eq!(kept["version"], 1);
}
