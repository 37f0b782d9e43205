//! What Vault makes for a step and takes back: accounts of a server, by OpenBao's own engine.

use std::time::Duration;

use sealfleet_identity::{Backends, Given, Held, Resolved, SecretValue};
use sealfleet_test_bao::Rabbit;
use serde_json::{Value, json};

use crate::{PROJECT, Server, registry};

const NAME: &str = "vault://rabbitmq/healthcare/creds/reader#username";
const PASSWORD: &str = "vault://rabbitmq/healthcare/creds/reader#password";
const DYNAMIC: Option<&str> = Some("dynamic");
const PATIENCE: Duration = Duration::from_secs(10);

/// A server that lends accounts for a minute, and for an hour at most.
struct Lender {
    server: Server,
    rabbit: Rabbit,
}

impl Lender {
    async fn new() -> Self {
        let (server, rabbit) = (Server::new().await, Rabbit::start().await.unwrap());
        let mount = format!("rabbitmq/{PROJECT}");
        let lent = rabbit.lent_by(&server.bao, &mount, "reader", 60, 3600);
        lent.await.unwrap();
        let reads = format!(
            "path \"{mount}/creds/*\" {{ capabilities = [\"read\"] }}\n\
             path \"kv/data/{PROJECT}/*\" {{ capabilities = [\"read\"] }}"
        );
        let policy = json!({ "policy": reads });
        server.run("POST", "sys/policies/acl/reads", policy).await;
        for (role, seconds, most, is_bare, kind) in [
            ("short", 60, "1h", false, "service"),
            ("shorter", 60, "90s", false, "service"),
            ("bare", 1800, "1h", true, "service"),
            ("batch", 1800, "1h", false, "batch"),
        ] {
            let body = json!({
                "token_policies": "reads", "token_ttl": seconds, "token_max_ttl": most,
                "token_no_default_policy": is_bare, "token_type": kind,
            });
            let path = format!("auth/approle/role/{role}");
            server.run("POST", &path, body).await;
            let id = json!({ "role_id": role });
            server.run("POST", &format!("{path}/role-id"), id).await;
        }
        Self { server, rabbit }
    }

    /// A step that logs in as this role, and may take so many seconds.
    async fn step(&self, role: &str, seconds: u64) -> Backends {
        let wrapped = self.server.wrapped(role).await;
        let given = Given {
            lasts: Duration::from_secs(seconds),
            ..Server::by_approle(&self.server.bao.url, role, &wrapped)
        };
        self.server.start(given).await
    }

    /// Seconds that the one lease that there is lasts from now on.
    async fn lasts(&self) -> u64 {
        let path = "sys/leases/lookup/rabbitmq/healthcare/creds/reader";
        let all = self.server.run("LIST", path, Value::Null).await;
        let keys = all.pointer("/data/keys").and_then(Value::as_array).unwrap();
        assert_eq!(keys.len(), 1, "{all}");
        let key = keys.first().unwrap();
        let id = format!("rabbitmq/healthcare/creds/reader/{}", key.as_str().unwrap());
        let lease = json!({ "lease_id": id });
        let lease = self.server.run("POST", "sys/leases/lookup", lease).await;
        lease.pointer("/data/ttl").and_then(Value::as_u64).unwrap()
    }

    /// Vault revokes what hung on a session a moment after it.
    async fn all_taken_back(&self) {
        let ends = tokio::time::Instant::now() + PATIENCE;
        while !self.rabbit.accounts().is_empty() {
            assert!(
                tokio::time::Instant::now() < ends,
                "an account is still there"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn text(resolved: &Resolved) -> String {
    String::from_utf8(resolved.value.expose().to_vec()).unwrap()
}

#[tokio::test]
async fn what_is_lent_is_whole_lasts_and_is_taken_back() {
    let lender = Lender::new().await;
    let step = lender.step("short", 1200).await;
    let (name, password) =
        tokio::join!(step.resolve(NAME, DYNAMIC), step.resolve(PASSWORD, DYNAMIC));
    let (name, password) = (name.unwrap(), password.unwrap());
    let accounts = lender.rabbit.accounts();
    assert_eq!(
        accounts.get(&text(&name)),
        Some(&text(&password)),
        "one pair"
    );
    assert_eq!(accounts.len(), 1);
    assert!(name.leased && name.version == "dynamic", "{name:?}");
    let request_id = name.request_id.unwrap();
    assert_eq!(request_id.len(), 36);
    assert!(!request_id.contains(&text(&password)));
    let lasts = lender.lasts().await;
    assert!((1190..=1200).contains(&lasts), "{lasts} seconds");

    let held = step.close().await;
    assert_eq!(
        lender.rabbit.accounts().len(),
        1,
        "it lasts beyond the resolution"
    );
    assert_eq!(format!("{held:?}").matches("hidden").count(), 1, "{held:?}");
    registry().release(held, PATIENCE).await.unwrap();
    lender.all_taken_back().await;

    // Another start is lent another one. Whoever ends a session twice is not told off.
    let step = lender.step("short", 1200).await;
    let other = step.resolve(NAME, DYNAMIC).await.unwrap();
    assert!(!accounts.contains_key(&text(&other)));
    let held = step.close().await;
    let twice = held
        .0
        .iter()
        .map(|(scheme, one)| (scheme.clone(), SecretValue::new(one.expose().to_vec())));
    let twice = Held(twice.collect());
    registry().release(held, PATIENCE).await.unwrap();
    lender.all_taken_back().await;
    registry().release(twice, PATIENCE).await.unwrap();
}

#[tokio::test]
async fn what_cannot_last_as_long_as_the_step_is_refused_and_taken_back() {
    let lender = Lender::new().await;
    let step = lender.step("crm", 7200).await;
    let refused = step.resolve(NAME, DYNAMIC).await.unwrap_err();
    assert_eq!(refused.code, "lease_too_short", "{refused}");
    for word in ["3600", "7200", "max_ttl", "timeout_seconds"] {
        assert!(refused.message.contains(word), "{refused}");
    }
    let held = step.close().await;
    registry().release(held, PATIENCE).await.unwrap();
    lender.all_taken_back().await;

    // What is lent ends with the login.
    let step = lender.step("shorter", 1200).await;
    let refused = step.resolve(NAME, DYNAMIC).await.unwrap_err();
    assert_eq!(refused.code, "lease_too_short", "{refused}");
    assert!(refused.message.contains("token_max_ttl"), "{refused}");
    assert!(lender.rabbit.accounts().is_empty(), "nothing is lent by it");
}

/// A login that lasts and may read, and that nobody could end before its time.
#[tokio::test]
async fn nothing_is_lent_to_a_login_that_may_not_end_itself() {
    let lender = Lender::new().await;
    for role in ["bare", "batch"] {
        let step = lender.step(role, 30).await;
        let refused = step.resolve(NAME, DYNAMIC).await.unwrap_err();
        assert_eq!(refused.code, "not_revocable", "{role}: {refused}");
        assert!(lender.rabbit.ever().is_empty(), "{role} was lent something");
    }
}

#[tokio::test]
async fn only_what_is_lent_is_dynamic() {
    let lender = Lender::new().await;
    let put = json!({ "data": { "value": "kept" } });
    lender
        .server
        .run("POST", "kv/data/healthcare/crm", put)
        .await;
    let step = lender.step("crm", 60).await;
    for (uri, version, code) in [
        (
            "vault://kv/data/healthcare/crm#data",
            DYNAMIC,
            "not_dynamic",
        ),
        ("vault://kv/healthcare/crm#value", DYNAMIC, "denied"),
        (
            "vault://rabbitmq/healthcare/creds/nobody#username",
            DYNAMIC,
            "unknown_secret",
        ),
        (
            "vault://rabbitmq/healthcare/creds/reader#absent",
            DYNAMIC,
            "unknown_secret",
        ),
        (NAME, Some("1"), "denied"),
        (NAME, Some("dynamo"), "unknown_version"),
    ] {
        let refused = step.resolve(uri, version).await.unwrap_err();
        assert_eq!(refused.code, code, "{uri}: {refused}");
    }
}
