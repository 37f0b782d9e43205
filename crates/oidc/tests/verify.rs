//! Tokens of issuers that are served on the loopback interface, with keys made here.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sealfleet_domain::access::{Principal, Role};
use sealfleet_domain::oidc::{Issuers, Refused};
use sealfleet_domain::{Clock, Timestamp};
use sealfleet_oidc::{Error, Verifier};
use sealfleet_test_issuer::{Issuer, Key, signed_part};
use serde_json::{Value, json};

const NOW: i64 = 1_800_000_000;

struct Hand(AtomicI64);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }
}

struct World {
    issuer: Issuer,
    other: Issuer,
    key: Key,
    clock: Arc<Hand>,
    verifier: Verifier,
}

/// Two issuers, both trusted, the first with one key.
async fn world() -> World {
    let (issuer, other, key) = (
        Issuer::start().await.unwrap(),
        Issuer::start().await.unwrap(),
        Key::es256("k1").unwrap(),
    );
    issuer.publish(&[&key]);
    let entry = |url: &str| {
        json!({
            "issuer": url, "audience": "sealfleet", "project": { "claim": "tenant" },
            "role": { "claim": "groups", "map": { "dev": "member" } },
        })
    };
    let issuers =
        Issuers::parse(&json!([entry(&issuer.url), entry(&other.url)]).to_string()).unwrap();
    let clock = Arc::new(Hand(AtomicI64::new(NOW * 1000)));
    let verifier = Verifier::new(issuers, clock.clone());
    World {
        issuer,
        other,
        key,
        clock,
        verifier,
    }
}

impl World {
    fn claims(&self) -> Value {
        json!({
            "iss": self.issuer.url, "aud": "sealfleet", "sub": "ada", "iat": NOW - 10, "exp": NOW + 3600,
            "tenant": "finance", "groups": ["dev"],
        })
    }

    fn with(&self, name: &str, value: Value) -> Value {
        let mut claims = self.claims();
        claims[name] = value;
        claims
    }

    async fn refused(&self, token: &str) -> String {
        match self.verifier.verify(token).await {
            Err(Error::Refused(Refused::Token(reason))) => reason.to_owned(),
            other => panic!("expected a refused token, got {other:?}"),
        }
    }

    fn wait(&self, seconds: i64) {
        self.clock.0.fetch_add(seconds * 1000, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_token_of_a_trusted_issuer_comes_in() {
    let world = world().await;
    let eddsa = Key::eddsa("k2").unwrap();
    world.issuer.publish(&[&world.key, &eddsa]);
    for key in [&world.key, &eddsa] {
        let principal = world
            .verifier
            .verify(&key.token(&world.claims()))
            .await
            .unwrap();
        assert!(
            principal.actor().ends_with("/ada") && principal.actor().starts_with("oidc:127.0.0.1:")
        );
        let Principal::Oidc { scope, role, .. } = principal else {
            panic!("an OIDC caller")
        };
        assert_eq!((scope.project().as_str(), role), ("finance", Role::Member));
    }
    assert_eq!(world.issuer.asked(), 1, "keys are kept");
}

#[tokio::test]
async fn the_key_decides_on_the_algorithm() {
    let world = world().await;
    let claims = world.claims();
    let header = |alg: &str| json!({ "alg": alg, "kid": "k1" });
    let none = format!("{}.", signed_part(&header("none"), &claims));
    assert!(world.refused(&none).await.contains("`alg`"));
    // Signed with the published key as if it were a shared secret.
    let signed = signed_part(&header("HS256"), &claims);
    let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, world.key.public());
    let mac = ring::hmac::sign(&secret, signed.as_bytes());
    let shared = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac));
    assert!(world.refused(&shared).await.contains("`alg`"));
    // Signed correctly, but the token names another algorithm.
    for alg in ["RS256", "EdDSA", "ES384", "es256", "NONE", ""] {
        assert!(
            world
                .refused(&world.key.token_with(&header(alg), &claims))
                .await
                .contains("`alg`"),
            "{alg}"
        );
    }
    // The right algorithm name, but a signature of another kind.
    let signed = signed_part(&header("ES256"), &claims);
    let mac = ring::hmac::sign(&secret, signed.as_bytes());
    assert!(
        world
            .refused(&format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac)))
            .await
            .contains("signature")
    );
    assert!(
        world
            .refused(&format!("{signed}."))
            .await
            .contains("signature")
    );
}

#[tokio::test]
async fn a_changed_token_does_not_hold() {
    let world = world().await;
    let token = world.key.token(&world.claims());
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let forged = signed_part(
        &json!({ "alg": "ES256", "kid": "k1" }),
        &world.with("tenant", json!("healthcare")),
    );
    assert!(
        world
            .refused(&format!("{forged}.{signature}"))
            .await
            .contains("signature")
    );
    let impostor = Key::es256("k1").unwrap();
    assert!(
        world
            .refused(&impostor.token(&world.claims()))
            .await
            .contains("signature")
    );
    for text in [
        signed.to_owned(),
        format!("{token}.x"),
        "a.b.c".to_owned(),
        "..".to_owned(),
        format!("{token}="),
    ] {
        world.refused(&text).await;
    }
    let header = |header: Value| world.key.token_with(&header, &world.claims());
    assert!(
        world
            .refused(&header(json!({ "alg": "ES256" })))
            .await
            .contains("kid")
    );
    assert!(
        world
            .refused(&header(json!({ "alg": "ES256", "kid": ["k1"] })))
            .await
            .contains("kid")
    );
    assert!(
        world
            .refused(&header(
                json!({ "alg": "ES256", "kid": "k1", "crit": ["b64"], "b64": false })
            ))
            .await
            .contains("crit")
    );
    assert!(
        world
            .refused(&header(
                json!({ "alg": "ES256", "kid": "k1", "typ": "dpop+jwt" })
            ))
            .await
            .contains("typ")
    );
    let long = world.with("padding", json!("x".repeat(9000)));
    assert!(
        world
            .refused(&world.key.token(&long))
            .await
            .contains("8 KiB")
    );
    assert!(
        world.verifier.verify(&token).await.is_ok(),
        "none of it has closed the door"
    );
}

#[tokio::test]
async fn claims_are_held_to_here_and_now() {
    let world = world().await;
    for (name, value, reason) in [
        ("aud", json!("other"), "audience"),
        ("aud", Value::Null, "audience"),
        ("exp", json!(NOW - 31), "expired"),
        ("exp", Value::Null, "times"),
        ("nbf", json!(NOW + 60), "not valid yet"),
        ("iat", json!(NOW - 2 * 24 * 3600), "older"),
        ("iss", json!("https://elsewhere.example"), "does not trust"),
        (
            "iss",
            json!(format!("{}/", world.issuer.url)),
            "does not trust",
        ),
        ("sub", json!(7), "sub"),
    ] {
        let told = world
            .refused(&world.key.token(&world.with(name, value.clone())))
            .await;
        assert!(told.contains(reason), "{name}={value}: {told}");
    }
    let mut unending = world.claims();
    unending.as_object_mut().unwrap().remove("exp");
    assert!(
        world
            .refused(&world.key.token(&unending))
            .await
            .contains("exp")
    );
    let stranger = world
        .verifier
        .verify(&world.key.token(&world.with("groups", json!(["guests"]))))
        .await;
    assert!(
        matches!(stranger, Err(Error::Refused(Refused::Claims(_)))),
        "{stranger:?}"
    );
}

#[tokio::test]
async fn one_issuer_cannot_speak_for_another() {
    let world = world().await;
    let theirs = Key::es256("k1").unwrap();
    world.other.publish(&[&theirs]);
    // The other issuer's key, with the same `kid` and the first issuer's name.
    assert!(
        world
            .refused(&theirs.token(&world.claims()))
            .await
            .contains("signature")
    );
    let own = world.with("iss", json!(world.other.url));
    assert!(world.verifier.verify(&theirs.token(&own)).await.is_ok());
    assert!(
        world
            .refused(&world.key.token(&own))
            .await
            .contains("signature")
    );
    // A discovery document that names another issuer.
    let third = Issuer::start().await.unwrap();
    third.publish(&[&world.key]);
    third.discover(
        &json!({ "issuer": world.issuer.url, "jwks_uri": format!("{}/keys", third.url) }),
    );
    let text = json!([{ "issuer": third.url, "audience": "sealfleet", "project": { "claim": "tenant" }, "role": { "value": "admin" } }]);
    let verifier = Verifier::new(
        Issuers::parse(&text.to_string()).unwrap(),
        world.clock.clone(),
    );
    let token = world.key.token(&world.with("iss", json!(third.url)));
    assert!(matches!(
        verifier.verify(&token).await,
        Err(Error::Unavailable { .. })
    ));
}

#[tokio::test]
async fn keys_rotate() {
    let world = world().await;
    let next = Key::es256("k2").unwrap();
    assert!(
        world
            .verifier
            .verify(&world.key.token(&world.claims()))
            .await
            .is_ok()
    );
    world.issuer.publish(&[&next]);
    // New keys are fetched at most every ten seconds, so that unknown `kid`s cannot cause a flood.
    assert!(
        world
            .refused(&next.token(&world.claims()))
            .await
            .contains("kid")
    );
    assert_eq!(world.issuer.asked(), 1);
    world.wait(10);
    assert!(
        world
            .verifier
            .verify(&next.token(&world.claims()))
            .await
            .is_ok()
    );
    assert!(
        world
            .refused(&world.key.token(&world.claims()))
            .await
            .contains("kid"),
        "what is withdrawn holds no more"
    );
    assert_eq!(world.issuer.asked(), 2);
    // Until a new token comes, a withdrawn key stays valid for ten minutes.
    world.issuer.publish(&[&world.key]);
    world.wait(599);
    assert!(
        world
            .verifier
            .verify(&next.token(&world.claims()))
            .await
            .is_ok()
    );
    world.wait(1);
    assert!(
        world
            .refused(&next.token(&world.claims()))
            .await
            .contains("kid")
    );
}

#[tokio::test]
async fn without_keys_nobody_comes_in() {
    let world = world().await;
    let token = world.key.token(&world.claims());
    let closed = async || {
        matches!(
            world.verifier.verify(&token).await,
            Err(Error::Unavailable { .. })
        )
    };
    world.issuer.answer_with(500);
    assert!(closed().await);
    world.issuer.answer_with(200);
    assert!(closed().await, "asked again only after a while");
    world.wait(10);
    assert!(world.verifier.verify(&token).await.is_ok());
    // Known keys are valid for ten minutes and no longer.
    world.issuer.answer_with(302);
    world.wait(599);
    assert!(world.verifier.verify(&token).await.is_ok());
    world.wait(1);
    assert!(
        closed().await,
        "a redirect is not followed, and old keys are not trusted"
    );
    world.issuer.answer_with(200);
    world.issuer.publish_text(format!(
        "{{\"keys\":[],\"padding\":\"{}\"}}",
        "x".repeat(300_000)
    ));
    world.wait(10);
    assert!(closed().await, "too large");
    world.issuer.publish_text("<html>".to_owned());
    world.wait(10);
    assert!(closed().await, "not a JWK set");
    world
        .issuer
        .discover(&json!({ "issuer": world.issuer.url, "jwks_uri": "http://keys.example/" }));
    world.wait(10);
    assert!(closed().await, "keys over plain HTTP from elsewhere");
}
