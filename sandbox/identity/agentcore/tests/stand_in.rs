//! Against a stand-in of AWS STS and of AgentCore Identity's data plane, which answers what AWS
//! documents.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use sealfleet_identity::{Given, Open, Registry, SecretValue};
use sealfleet_identity_agentcore::{SCHEME, VERSION, open};
use sealfleet_identity_conformance::{Lacks, PROJECT, Store, Way, conforms};
use sealfleet_test_aws::agentcore::{ACTIONS, AUDIENCE, AgentCore, Grant, WORKLOAD, role};
use sealfleet_test_aws::{Account, REGION, Steps, role_arn};

struct StandIn {
    steps: Steps,
    agentcore: AgentCore,
}

impl StandIn {
    async fn start() -> Self {
        let steps = Steps::start().await;
        let mut roles = vec![role("steps", PROJECT, &ACTIONS)];
        // Each lacks one of the permissions.
        for (at, action) in ACTIONS.iter().enumerate() {
            let others: Vec<&str> = ACTIONS.into_iter().filter(|one| one != action).collect();
            roles.push(role(&format!("without-{at}"), PROJECT, &others));
        }
        let account = Account::start(steps.url(), roles).await;
        let agentcore = AgentCore::start(account).await;
        Self { steps, agentcore }
    }

    fn given_with(&self, token: String, role: &str) -> Given {
        let settings = [
            ("region", REGION.to_owned()),
            ("role", role_arn(role)),
            ("address", self.agentcore.url.clone()),
            ("sts", self.agentcore.account.sts.clone()),
            ("workload", WORKLOAD.to_owned()),
            ("scopes.tickets", "tickets.read tickets.write".to_owned()),
            ("scopes.calendar", "calendar.read".to_owned()),
            ("scopes.absent", "absent.read".to_owned()),
        ];
        let settings = settings.map(|(name, value)| (format!("{SCHEME}.{name}"), value));
        let token = SecretValue::new(token.into_bytes());
        Given {
            settings: settings.into(),
            tokens: BTreeMap::from([(SCHEME.to_owned(), token)]),
            ..Given::default()
        }
    }

    fn token(&self, project: &str, seconds: i64) -> String {
        self.steps.token(project, AUDIENCE, seconds)
    }
}

#[async_trait]
impl Store for StandIn {
    fn scheme(&self) -> &'static str {
        SCHEME
    }

    fn backend(&self) -> Open {
        open
    }

    fn name(&self, secret: &str) -> String {
        secret.to_owned()
    }

    async fn given(&self, way: Way) -> Result<Given, Lacks> {
        self.agentcore.account.wait(match way {
            Way::Slow => Duration::from_secs(60),
            _ => Duration::ZERO,
        });
        let token = match way {
            Way::WrongLogin => self.steps.forged(PROJECT, AUDIENCE),
            Way::ExpiredLogin => self.token(PROJECT, -5),
            _ => self.token(PROJECT, 60),
        };
        let role = match way {
            Way::Denied => "without-1",
            _ => "steps",
        };
        let mut given = self.given_with(token, role);
        match way {
            // Nobody listens there: it is a reserved port.
            Way::Down => {
                let address = format!("{SCHEME}.address");
                given
                    .settings
                    .insert(address, "http://127.0.0.1:1".to_owned());
            }
            Way::WrongTls => {
                return Err(Lacks("TLS is that of all web backends: tried with Vault"));
            }
            _ => {}
        }
        Ok(given)
    }

    fn has_versions(&self) -> Result<(), Lacks> {
        Err(Lacks("a credential provider has no versions"))
    }

    async fn put(&self, secret: &str, value: &[u8]) -> Result<String, Lacks> {
        let text = String::from_utf8(value.to_vec());
        let text = text.map_err(|_| Lacks("an API key is text"))?;
        self.agentcore.put_key(secret, &text);
        Ok(VERSION.to_owned())
    }

    fn unknown_version(&self) -> String {
        "1".to_owned()
    }

    async fn put_two(&self, _: &str, _: &str, _: &str) -> Result<[String; 2], Lacks> {
        Err(Lacks("a credential provider has one credential"))
    }
}

#[tokio::test]
async fn conformance() {
    let store = StandIn::start().await;
    conforms(&store).await.unwrap();
}

impl StandIn {
    /// A value, or the code of the refusal.
    async fn resolved(
        &self,
        project: &str,
        role: &str,
        name: &str,
    ) -> Result<(String, Option<String>), &'static str> {
        let given = self.given_with(self.token(project, 60), role);
        let registry = Registry::default().with(SCHEME, open);
        let backends = registry.open(given, Duration::from_secs(30));
        let resolved = backends.resolve(&format!("{SCHEME}://{name}"), None).await;
        let resolved = resolved.map_err(|error| {
            // Where a person would consent is nobody's business here.
            assert!(!error.message.contains("login.example"), "{error}");
            error.code
        })?;
        let text = String::from_utf8_lossy(resolved.value.expose()).into_owned();
        Ok((text, resolved.request_id))
    }
}

#[tokio::test]
async fn an_access_token_is_for_a_machine_and_for_the_scopes_that_the_worker_names() {
    let store = StandIn::start().await;
    let grant = Grant::Token("token-of-tickets".to_owned());
    store.agentcore.put_oauth2("tickets", grant);
    store.agentcore.put_oauth2("calendar", Grant::Consent);
    let token = store.resolved(PROJECT, "steps", "tickets#oauth2").await;
    let request = "0a1b2c3d-request".to_owned();
    assert_eq!(token, Ok(("token-of-tickets".to_owned(), Some(request))));
    let scopes = store.agentcore.scopes("tickets");
    assert_eq!(scopes, ["tickets.read", "tickets.write"]);
    for (project, name, code) in [
        (PROJECT, "calendar#oauth2", "consent_needed"),
        (PROJECT, "unnamed#oauth2", "no_login"),
        (PROJECT, "absent#oauth2", "unknown_secret"),
        (PROJECT, "tickets#other", "bad_reference"),
        (PROJECT, "a/b", "bad_reference"),
        ("finance", "tickets#oauth2", "wrong_credential"),
    ] {
        let refused = store.resolved(project, "steps", name).await;
        assert_eq!(refused, Err(code), "{project} {name}");
    }
}

/// A login is tried without asking for a credential.
#[tokio::test]
async fn a_role_that_may_not_act_for_the_workload_is_told_before_steps_run() {
    let store = StandIn::start().await;
    for (role, code) in [("steps", None), ("without-0", Some("denied"))] {
        let given = store.given_with(store.token(PROJECT, 60), role);
        let registry = Registry::default().with(SCHEME, open);
        let backends = registry.open(given, Duration::from_secs(30));
        let tried = backends.readable(SCHEME).await;
        assert_eq!(tried.err().map(|error| error.code), code, "{role}");
    }
    let path = "/identities/GetWorkloadAccessToken".to_owned();
    let asked = [(path.clone(), false), (path, true)];
    assert_eq!(store.agentcore.asked(), [asked.clone(), asked].concat());
}

#[tokio::test]
async fn a_role_needs_each_of_the_permissions_that_the_guide_lists() {
    let store = StandIn::start().await;
    store.agentcore.put_key("crm", "value");
    let grant = Grant::Token("token".to_owned());
    store.agentcore.put_oauth2("tickets", grant);
    for (role, name, is_given) in [
        ("without-0", "crm", false),
        ("without-1", "crm", false),
        ("without-1", "tickets#oauth2", true),
        ("without-2", "tickets#oauth2", false),
        ("without-2", "crm", true),
        ("without-3", "crm", false),
        ("without-3", "tickets#oauth2", false),
    ] {
        let code = store.resolved(PROJECT, role, name).await.err();
        let expected = (!is_given).then_some("denied");
        assert_eq!(code, expected, "{role} {name}");
    }
}
