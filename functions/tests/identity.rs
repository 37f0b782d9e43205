//! Identity tokens: who gets one, what it says, and until when.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sealfleet_domain::hash::sha256;
use sealfleet_domain::limits::{IDENTITY_TOKEN_SECONDS, IDENTITY_TOKENS_A_MINUTE};
use sealfleet_domain::workload::SECRETS_AUDIENCE;
use sealfleet_fargate::names::task_id;
use sealfleet_test_fakes::handlers::ISSUER;
use serde_json::{Value, json};

use crate::world::{CRM, FARGATE, OWN, POOL, Sent, Who, World, scope};

/// A profile that names audiences, and has a secret that a pull worker resolves.
const NAMED: &str = "named";
const VAULT: &str = "https://vault.example";
const STS: &str = "sts.amazonaws.com";
const SECRET: &str = "builtin://key@0198c0de-0000-7000-8000-000000000001";

struct Named {
    world: World,
    run: String,
    fence: Value,
}

/// A token taken apart.
struct Token {
    header: Value,
    claims: Value,
    /// Whether the signature is the fake key's of what is signed.
    is_signed: bool,
}

fn taken_apart(token: &str) -> Token {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts.as_slice() else {
        panic!("three parts: {token}")
    };
    let bytes = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
    let signed = sha256(format!("{header}.{claims}").as_bytes());
    Token {
        header: serde_json::from_slice(&bytes(header)).unwrap(),
        claims: serde_json::from_slice(&bytes(claims)).unwrap(),
        is_signed: bytes(signature) == signed,
    }
}

impl Named {
    /// A worker holds a step whose profile names both audiences.
    async fn new() -> Self {
        let world = World::new().await;
        let profile = json!({
            "name": NAMED, "secrets": { "API_KEY": SECRET },
            "identity": { "audiences": [STS, VAULT] },
        });
        let (status, body) = post(&world, Who::Admin, "/v1/profiles", profile).await;
        assert_eq!(status, 201, "{body}");
        let run = enqueued(&world, POOL, NAMED).await;
        let mut named = Self {
            world,
            run,
            fence: Value::Null,
        };
        let claim = named.claim().await;
        assert_eq!(claim["audiences"], json!([VAULT, STS]), "{claim}");
        named
    }

    async fn claim(&mut self) -> Value {
        let step = json!({ "run_id": self.run, "step_id": "only" });
        let (status, claim) = post(&self.world, Who::Approved, "/v1/claims", step).await;
        assert_eq!(status, 200, "{claim}");
        self.fence = claim["fence"].clone();
        claim
    }

    async fn ask(&self, who: Who, audience: &str) -> (u16, Value) {
        let asked = json!({
            "run_id": self.run, "step_id": "only", "fence": self.fence, "audience": audience,
        });
        post(&self.world, who, "/v1/identity-tokens", asked).await
    }

    async fn token(&self) -> Token {
        let (status, body) = self.ask(Who::Approved, VAULT).await;
        assert_eq!(status, 200, "{body}");
        taken_apart(body["token"].as_str().unwrap())
    }

    async fn refused(&self, audience: &str) -> (u16, String) {
        let (status, body) = self.ask(Who::Approved, audience).await;
        (status, body["code"].as_str().unwrap_or_default().to_owned())
    }

    async fn heartbeat(&self) {
        let lease = json!({ "run_id": self.run, "step_id": "only", "fence": self.fence });
        let beat = json!({ "leases": [lease] });
        let (status, body) = post(&self.world, Who::Approved, "/v1/heartbeats", beat).await;
        assert_eq!((status, &body["leases"][0]["held"]), (200, &json!(true)));
    }

    async fn put_profile(&self, content: Value) {
        let request = Sent {
            credential: self.world.credential(Who::Admin).to_owned(),
            headers: [("if-match", "\"1\"".to_owned())].into(),
            body: Some(content.to_string()),
            ..Sent::default()
        };
        let path = format!("/v1/profiles/{NAMED}");
        let (status, body) = self.world.send("PUT", &path, request).await;
        assert_eq!(status, 200, "{body}");
    }

    fn now(&self) -> i64 {
        self.world.ledger.now().epoch_seconds()
    }
}

async fn post(world: &World, who: Who, path: &str, body: Value) -> (u16, Value) {
    world
        .request(world.credential(who), "POST", path, &body)
        .await
}

async fn enqueued(world: &World, pool: &str, profile: &str) -> String {
    let step = json!({
        "id": "only", "pool": pool, "mode": "identity", "command": ["true"], "tool": "codex",
        "timeout_seconds": 3600,
    });
    let body = json!({ "workflow": "intake", "profile": profile, "steps": [step] });
    let (status, run) = post(world, Who::Member, "/v1/runs", body).await;
    assert_eq!(status, 201, "{run}");
    run["run_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_token_says_which_step_runs_and_ends_with_the_lease() {
    let named = Named::new().await;
    named.world.time_stands_still();
    let token = named.token().await;
    assert!(token.is_signed);
    let (status, keys) = named
        .world
        .request("", "GET", "/.well-known/jwks.json", &Value::Null)
        .await;
    assert_eq!(status, 200, "{keys}");
    let kid = &keys["keys"][0]["kid"];
    assert_eq!(
        token.header,
        json!({ "alg": "RS256", "kid": kid, "typ": "JWT" })
    );
    let stored = named
        .world
        .ledger
        .run(&scope(OWN), named.run.parse().unwrap())
        .await;
    let stored = stored.unwrap();
    let hold = stored
        .step(&"only".parse().unwrap())
        .unwrap()
        .state
        .hold()
        .unwrap()
        .clone();
    let claims = &token.claims;
    let jti = claims["jti"].as_str().unwrap();
    let wanted = json!({
        "iss": ISSUER, "sub": format!("project:{OWN}:workflow:intake:run:{}:step:only", named.run),
        "aud": VAULT, "exp": claims["exp"], "nbf": named.now() - 30, "iat": named.now(), "jti": jti,
        "project": OWN, "workflow": "intake", "run": named.run, "step": "only", "tool": "codex",
        "attempt": 1, "fence": named.fence, "worker": hold.holder, "profiles": ["named@1"],
    });
    assert_eq!(*claims, wanted);
    // Never past the lease, which the claim has taken for thirty seconds.
    let exp = |token: &Token| token.claims["exp"].as_i64().unwrap();
    let end = hold.since.plus_seconds(30).epoch_seconds();
    assert_eq!(exp(&token), end);
    named.world.time_goes_by(20);
    assert_eq!(exp(&named.token().await), end);
    named.heartbeat().await;
    let renewed = named.token().await;
    assert_eq!(exp(&renewed), named.now() + 30);
    // What is issued is on record, and the trail does not hold it.
    let issued = named
        .world
        .events_of(&named.run, "identity.token_issued")
        .await;
    assert_eq!(issued.len(), 3);
    assert_eq!(
        (&issued[0]["token_id"], &issued[0]["audience"]),
        (&json!(jti), &json!(VAULT))
    );
    assert!(!json!(issued).to_string().contains("eyJ"));
}

#[tokio::test]
async fn a_token_of_an_older_fence_has_expired_when_there_is_a_newer_one() {
    let mut named = Named::new().await;
    let old = named.token().await;
    named.world.time_goes_by(31);
    // The lease is over, and nobody has taken the step yet.
    assert_eq!(named.refused(VAULT).await, (409, "not_ready".to_owned()));
    named.world.time_goes_by(120);
    named.world.sweep().await;
    assert_eq!(named.refused(VAULT).await, (409, "stale_fence".to_owned()));
    let fence = named.fence.clone();
    named.claim().await;
    assert!(named.fence.as_u64() > fence.as_u64());
    assert!(old.claims["exp"].as_i64().unwrap() < named.now());
    assert_eq!(named.token().await.claims["fence"], named.fence);
    named.fence = fence;
    assert_eq!(named.refused(VAULT).await, (409, "stale_fence".to_owned()));
}

#[tokio::test]
async fn only_who_holds_a_step_that_runs_gets_a_token_for_it() {
    let named = Named::new().await;
    let (status, _) = named.ask(Who::ForeignWorker, VAULT).await;
    assert_eq!(status, 404);
    for (who, status) in [
        (Who::Admin, 401),
        (Who::Pending, 403),
        (Who::RevokedWorker, 403),
    ] {
        assert_eq!(named.ask(who, VAULT).await.0, status, "{who:?}");
    }
    let another = named
        .world
        .worker(OWN, sealfleet_domain::fleet::WorkerStatus::Approved)
        .await
        .1;
    let asked = json!({
        "run_id": named.run, "step_id": "only", "fence": named.fence, "audience": VAULT,
    });
    let (status, body) = named
        .world
        .request(&another, "POST", "/v1/identity-tokens", &asked)
        .await;
    assert_eq!((status, &body["code"]), (403, &json!("not_holder")));
    let ended = json!({
        "run_id": named.run, "step_id": "only", "fence": named.fence, "sandbox": "s",
        "resolved": { "API_KEY": SECRET.rsplit('@').next() },
    });
    assert_eq!(
        post(&named.world, Who::Approved, "/v1/starts", ended)
            .await
            .0,
        200
    );
    named.token().await;
    let ended = json!({
        "run_id": named.run, "step_id": "only", "fence": named.fence, "state": "succeeded",
    });
    assert_eq!(
        post(&named.world, Who::Approved, "/v1/reports", ended)
            .await
            .0,
        200
    );
    assert_eq!(named.refused(VAULT).await, (409, "stale_fence".to_owned()));
    let refused = named
        .world
        .events_of(&named.run, "identity.token_refused")
        .await;
    let codes: Vec<&Value> = refused.iter().map(|event| &event["code"]).collect();
    assert_eq!(codes, ["not_holder", "stale_fence"]);
}

#[tokio::test]
async fn an_audience_is_named_by_every_profile_that_names_any_then_and_now() {
    let named = Named::new().await;
    let denied = (403, "audience_denied".to_owned());
    assert_eq!(named.refused("https://vault.example/").await, denied);
    // A level below narrows what runs from now on.
    let lower = json!({ "name": "lower", "identity": { "audiences": [STS] } });
    assert_eq!(
        post(&named.world, Who::Admin, "/v1/profiles", lower)
            .await
            .0,
        201
    );
    let bound = json!({ "project": "lower" });
    let by = named.world.credential(Who::Admin);
    let (status, body) = named.world.request(by, "PUT", "/v1/cascade", &bound).await;
    assert_eq!(status, 200, "{body}");
    let mut narrowed = Named {
        run: enqueued(&named.world, POOL, NAMED).await,
        ..named
    };
    assert_eq!(narrowed.claim().await["audiences"], json!([STS]));
    assert_eq!(narrowed.refused(VAULT).await, denied);
    assert_eq!(narrowed.ask(Who::Approved, STS).await.0, 200);
    // A profile that has lost it takes it from a step that runs.
    narrowed
        .put_profile(
            json!({ "secrets": { "API_KEY": SECRET }, "identity": { "audiences": [VAULT] } }),
        )
        .await;
    assert_eq!(narrowed.refused(STS).await, denied);
}

#[tokio::test]
async fn a_step_without_audiences_gets_no_token() {
    let world = World::new().await;
    let profile = json!({ "name": NAMED, "secrets": { "API_KEY": SECRET } });
    assert_eq!(
        post(&world, Who::Admin, "/v1/profiles", profile).await.0,
        201
    );
    let run = enqueued(&world, POOL, NAMED).await;
    let mut named = Named {
        world,
        run,
        fence: Value::Null,
    };
    assert_eq!(named.claim().await["audiences"], Value::Null);
    assert_eq!(
        named.refused(VAULT).await,
        (403, "audience_denied".to_owned())
    );
}

#[tokio::test]
async fn a_revoked_key_of_a_profile_takes_its_tokens_away_until_it_is_lifted() {
    let named = Named::new().await;
    // A tool that does not see the key: the profile is revoked all the same.
    let tools = json!({ "name": "other", "secrets": { "OTHER": "builtin://other@0198c0de-0000-7000-8000-000000000001" } });
    assert_eq!(
        post(&named.world, Who::Admin, "/v1/profiles", tools)
            .await
            .0,
        201
    );
    let revoke = |profile: &str, key: &str| json!({ "keys": [{ "profile": profile, "key": key }], "reason": "leaked" });
    let other = post(
        &named.world,
        Who::Admin,
        "/v1/revocations",
        revoke("other", "OTHER"),
    )
    .await;
    assert_eq!(other.0, 201);
    named.token().await;
    let own = post(
        &named.world,
        Who::Admin,
        "/v1/revocations",
        revoke(NAMED, "API_KEY"),
    )
    .await;
    assert_eq!(own.0, 201, "{}", own.1);
    assert_eq!(
        named.refused(VAULT).await,
        (403, "secret_revoked".to_owned())
    );
    let id = own.1["revocations"][0]["revocation_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("/v1/revocations/{id}/lift");
    assert_eq!(
        post(&named.world, Who::Admin, &path, Value::Null).await.0,
        200
    );
    named.token().await;
}

#[tokio::test]
async fn a_key_that_the_steps_tool_does_not_see_silences_it_all_the_same() {
    let world = World::new().await;
    let profile = json!({
        "name": NAMED, "secrets": { "API_KEY": SECRET }, "tools": { "claude": ["API_KEY"] },
        "identity": { "audiences": [VAULT] },
    });
    assert_eq!(
        post(&world, Who::Admin, "/v1/profiles", profile).await.0,
        201
    );
    let run = enqueued(&world, POOL, NAMED).await;
    let mut named = Named {
        world,
        run,
        fence: Value::Null,
    };
    assert_eq!(named.claim().await["secrets"], json!([]));
    named.token().await;
    let keys = json!({ "keys": [{ "profile": NAMED, "key": "API_KEY" }], "reason": "leaked" });
    assert_eq!(
        post(&named.world, Who::Admin, "/v1/revocations", keys)
            .await
            .0,
        201
    );
    assert_eq!(
        named.refused(VAULT).await,
        (403, "secret_revoked".to_owned())
    );
}

#[tokio::test]
async fn no_token_leaves_without_its_entry() {
    let named = Named::new().await;
    named.world.audit_table_is_away(true);
    let (status, body) = named.ask(Who::Approved, VAULT).await;
    assert_eq!((status, body.get("token")), (503, None));
    named.world.audit_table_is_away(false);
    named.token().await;
}

#[tokio::test]
async fn a_claim_gets_so_many_tokens_a_minute() {
    let named = Named::new().await;
    named.world.time_stands_still();
    for _ in 0..IDENTITY_TOKENS_A_MINUTE {
        named.token().await;
    }
    assert_eq!(named.refused(VAULT).await, (429, "rate_limited".to_owned()));
    named.world.time_goes_by(60);
    // Its lease is over, too.
    assert_eq!(named.refused(VAULT).await.0, 409);
    named.heartbeat().await;
    named.token().await;
}

#[tokio::test]
async fn a_sandbox_names_its_own_step() {
    let world = World::new().await;
    let profile = json!({
        "secrets": { "API_KEY": format!("aws-sm://sealfleet/{OWN}/crm#api-key") },
        "identity": { "audiences": [STS] },
    });
    let request = Sent {
        credential: world.credential(Who::Admin).to_owned(),
        headers: [("if-match", "\"1\"".to_owned())].into(),
        body: Some(profile.to_string()),
        ..Sent::default()
    };
    let (status, body) = world
        .send("PUT", &format!("/v1/profiles/{CRM}"), request)
        .await;
    assert_eq!(status, 200, "{body}");
    let run = enqueued(&world, FARGATE, CRM).await;
    world.deliver().await;
    let stored = world
        .ledger
        .run(&scope(OWN), run.parse().unwrap())
        .await
        .unwrap();
    let hold = stored
        .step(&"only".parse().unwrap())
        .unwrap()
        .state
        .hold()
        .unwrap()
        .clone();
    let task = task_id(hold.handle.as_ref().unwrap()).to_owned();
    let ask = async |task: &str, fence: u64| {
        let asked = json!({
            "project": OWN, "run_id": run, "step_id": "only", "fence": fence, "audience": STS,
        });
        let request = Sent {
            sandbox: Some(task.to_owned()),
            body: Some(asked.to_string()),
            ..Sent::default()
        };
        world.send("POST", "/v1/sandbox/token", request).await
    };
    let fence = hold.fence.number();
    let (status, body) = ask(&task, fence).await;
    assert_eq!(status, 200, "{body}");
    let Token { claims, .. } = taken_apart(body["token"].as_str().unwrap());
    assert_eq!(
        (&claims["task"], &claims["project"]),
        (&json!(task), &json!(OWN))
    );
    let lasts = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert!(
        (IDENTITY_TOKEN_SECONDS - 1..=IDENTITY_TOKEN_SECONDS).contains(&lasts),
        "{lasts}"
    );
    assert_eq!(ask("fedcba9876543210fedcba9876543210", fence).await.0, 404);
    assert_eq!(ask(&task, fence + 1).await.0, 409);
    world.tasks_go_on(None).await;
    world.tasks_go_on(Some(0)).await;
    assert_eq!(ask(&task, fence).await.0, 409);
    let refused = world.events_of(&run, "identity.token_refused").await;
    assert_eq!(refused.len(), 2, "{refused:?}");
}

#[tokio::test]
async fn verifiers_find_the_keys_by_the_issuer() {
    let world = World::new().await;
    let path = "/.well-known/openid-configuration";
    let (status, found) = world.request("", "GET", path, &Value::Null).await;
    assert_eq!((status, &found["issuer"]), (200, &json!(ISSUER)));
    assert_eq!(
        found["jwks_uri"],
        json!(format!("{ISSUER}/.well-known/jwks.json"))
    );
    assert_eq!(
        found["id_token_signing_alg_values_supported"],
        json!(["RS256"])
    );
    let before = world.calls("public keys");
    for _ in 0..3 {
        let keys = world
            .request("", "GET", "/.well-known/jwks.json", &Value::Null)
            .await;
        assert_eq!(keys.1["keys"][0]["kty"], json!("RSA"), "{}", keys.1);
    }
    // KMS is asked once in the life of a process.
    assert_eq!(world.calls("public keys"), before + 1);
}

/// A worker's step with these secrets, claimed.
async fn with_secrets(secrets: Value) -> Named {
    let world = World::new().await;
    let profile = json!({
        "name": NAMED, "secrets": secrets, "tools": { "codex": ["API_KEY"] },
    });
    let (status, body) = post(&world, Who::Admin, "/v1/profiles", profile).await;
    assert_eq!(status, 201, "{body}");
    let run = enqueued(&world, POOL, NAMED).await;
    let mut named = Named {
        world,
        run,
        fence: Value::Null,
    };
    named.claim().await;
    named
}

#[tokio::test]
async fn a_workers_sandbox_gets_a_token_that_reads_the_secrets_it_sees() {
    let uri = format!("aws-sm://sealfleet/{OWN}/crm#k");
    let named = with_secrets(json!({ "API_KEY": uri })).await;
    let (status, body) = named.ask(Who::Approved, SECRETS_AUDIENCE).await;
    assert_eq!(status, 200, "{body}");
    let token = taken_apart(body["token"].as_str().unwrap());
    let source = &token.claims["https://aws.amazon.com/source_identity"];
    assert_eq!(source, &token.claims["jti"]);
    let issued = named
        .world
        .events_of(&named.run, "identity.token_issued")
        .await;
    assert_eq!(&issued[0]["token_id"], source);
    // No other audience comes with it, and no tool that does not see the secret has it.
    let denied = (403, "audience_denied".to_owned());
    assert_eq!(named.refused(STS).await, denied);
    for secrets in [
        json!({ "API_KEY": SECRET }),
        json!({ "API_KEY": SECRET, "OTHER": uri }),
    ] {
        let named = with_secrets(secrets).await;
        assert_eq!(named.refused(SECRETS_AUDIENCE).await, denied);
    }
}

#[tokio::test]
async fn a_revoked_key_takes_the_token_that_reads_it() {
    let uri = format!("aws-sm://sealfleet/{OWN}/crm#k");
    let named = with_secrets(json!({ "API_KEY": uri })).await;
    let revoked = json!({
        "keys": [{ "profile": NAMED, "key": "API_KEY" }], "reason": "leaked",
    });
    let (status, body) = post(&named.world, Who::Admin, "/v1/revocations", revoked).await;
    assert!(status < 300, "{body}");
    let refused = named.refused(SECRETS_AUDIENCE).await;
    assert_eq!(refused, (403, "secret_revoked".to_owned()));
}

#[tokio::test]
async fn no_profile_names_the_audience_that_reads_secrets() {
    let world = World::new().await;
    let profile = json!({ "name": NAMED, "identity": { "audiences": [SECRETS_AUDIENCE] } });
    let (status, body) = post(&world, Who::Admin, "/v1/profiles", profile).await;
    assert_eq!(status, 400, "{body}");
    assert!(body.to_string().contains(SECRETS_AUDIENCE), "{body}");
}
