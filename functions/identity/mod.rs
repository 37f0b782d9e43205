//! `identity`: names a step that runs to others, by tokens that it signs, and tells others how to
//! verify them.
//!
//! It is the only function that may sign with the key of identity tokens. Who asks for one must
//! hold the step: the worker of its live claim, or the sandbox that was launched for it. A token is
//! for one audience that the step's profiles name, when it started and still. Nobody gets one for a
//! step with a revoked key, or with a profile of which a key is revoked.
//!
//! One audience is no profile's to name: a worker's sandbox gets a token for it if the step has
//! secrets in AWS Secrets Manager, to read them by its project's reader role
//! (`docs/decisions/077-a-workers-sandbox-reads-by-its-own-token.md`).
//!
//! No audit, no token: what is recorded commits together with a check of the claim's lease, and
//! only then is the token signed (`docs/decisions/060-a-step-names-itself-by-a-token.md`).

mod jwk;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::try_join3;
use sealfleet_api::http::{Answer, Request};
use sealfleet_api::operations::Credential;
use sealfleet_api::types::{
    AskIdentityToken, AskSandboxToken, Discovery, IdentityToken, Key, Keys,
};
use sealfleet_api::{Code, Problem};
use sealfleet_aws::signing::TokenSigner;
use sealfleet_domain::audit::Event;
use sealfleet_domain::capability::AWS_SM;
use sealfleet_domain::fence::Fence;
use sealfleet_domain::hash::sha256;
use sealfleet_domain::run::{Executor, LeaseKey, Run};
use sealfleet_domain::workload::{Audience, Claims, SECRETS_AUDIENCE, Subject, Workload, silenced};
use sealfleet_domain::{
    IdentityTokenId, NamePrefix, ProjectScope, RunId, StepId, Timestamp, WorkerId,
};
use sealfleet_ledger::{Ledger, NewToken};
use serde_json::json;
use tokio::sync::OnceCell;

use crate::shared::auth::{Anybody, SandboxCaller, WorkerCaller, WorkerDoor};
use crate::shared::cascade::workload_now;
use crate::shared::fault::{Answered, Fault};
use crate::shared::route::route;

/// Seconds for which anybody may keep the documents. A new key is published for longer than that
/// before it signs (`docs/guides/workload-identity.md`).
const KEPT_SECONDS: u32 = 3600;
/// Where the keys are.
const KEYS_PATH: &str = "/.well-known/jwks.json";

/// The public keys, once they are known. The key of an id never changes.
pub type Published = OnceCell<Vec<Key>>;

/// What this function may use.
pub struct Ports {
    pub ledger: Ledger,
    pub door: WorkerDoor,
    /// What the name of the sandboxes' role begins with.
    pub prefix: NamePrefix,
    pub signer: Box<dyn TokenSigner>,
    /// The URL that verifiers know this deployment by, without a final slash.
    pub issuer: String,
    pub keys: Published,
}

/// Answers one request.
///
/// # Errors
/// The problem to answer with.
pub async fn handle(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    if request.operation.credential == Credential::TaskRole {
        return route! { request, &ports.prefix;
            GET_SANDBOX_TOKEN => |caller, ()| of_sandbox(ports, caller, request);
        };
    }
    route! { request, &ports.door;
        GET_IDENTITY_TOKEN => |caller, ()| of_worker(ports, caller, request);
        GET_DISCOVERY => |caller, ()| discovery(ports, caller);
        GET_KEYS => |caller, ()| keys(ports, caller);
    }
}

/// Who asks for a token of which claim.
struct Asked {
    scope: ProjectScope,
    run_id: RunId,
    step_id: StepId,
    fence: Fence,
    audience: Audience,
    /// The name in the audit trail of whoever asks.
    actor: String,
    /// The id of the sandbox that asks.
    task: Option<String>,
}

async fn of_worker(ports: &Ports, caller: WorkerCaller, request: &Request) -> Answered {
    let AskIdentityToken {
        run_id,
        step_id,
        fence,
        audience,
    } = request.json()?;
    let worker_id = caller.worker.worker_id;
    let asked = Asked {
        scope: caller.scope,
        run_id,
        step_id,
        fence,
        audience,
        actor: caller.actor,
        task: None,
    };
    let issued = async {
        let run = ports.ledger.run(&asked.scope, run_id).await?;
        issue(ports, &asked, &run, Some(worker_id)).await
    };
    answer(ports, &asked, Some(worker_id), issued.await).await
}

async fn of_sandbox(ports: &Ports, caller: SandboxCaller, request: &Request) -> Answered {
    let AskSandboxToken { audience, .. } = request.json()?;
    let lease = &caller.lease;
    let asked = Asked {
        scope: caller.scope.clone(),
        run_id: lease.run_id,
        step_id: lease.step_id.clone(),
        fence: lease.fence,
        audience,
        actor: format!("sandbox:{}", caller.task_id),
        task: Some(caller.task_id.clone()),
    };
    let issued = async {
        let run = caller.own_run(&ports.ledger).await?;
        issue(ports, &asked, &run, None).await
    };
    answer(ports, &asked, None, issued.await).await
}

/// Decides, records, and signs.
async fn issue(
    ports: &Ports,
    asked: &Asked,
    run: &Run,
    holder: Option<WorkerId>,
) -> Result<IdentityToken, Fault> {
    let (ledger, scope) = (&ports.ledger, &asked.scope);
    let hold = run.held(&asked.step_id, holder, asked.fence)?;
    let step = run.step(&asked.step_id)?;
    let identity = run.identity_of(step).unwrap_or_default();
    let revocations =
        async { Ok::<_, Fault>(ledger.revocations_of_profiles(scope, &identity).await?) };
    let now_allowed = async { Ok(workload_now(ledger, scope, run, step).await?) };
    let (keys, active, now_allowed) = try_join3(published(ports), revocations, now_allowed).await?;
    let names = |workload: Option<&Workload>| {
        workload.is_some_and(|workload| workload.audiences.contains(&asked.audience))
    };
    let may = if asked.audience.reads_secrets() {
        let seen = identity.seen_by(step.spec.tool.as_ref());
        let mut secrets = seen.secrets.iter();
        // ECS reads the secrets of its tasks.
        asked.task.is_none() && secrets.any(|secret| secret.uri.scheme() == AWS_SM.name)
    } else {
        names(identity.workload.as_ref()) && names(now_allowed.as_ref())
    };
    if !may && asked.audience.reads_secrets() {
        let detail = format!(
            "tokens for `{SECRETS_AUDIENCE}` are for sandboxes of workers whose step sees a secret of AWS Secrets Manager; \
             this step does not"
        );
        return Err(Problem::new(Code::AudienceDenied, detail).into());
    }
    if !may {
        let detail = format!(
            "the profiles of the step do not all name the audience `{}`; add it to `identity.audiences` of those that \
             name any, and enqueue the run again",
            asked.audience
        );
        return Err(Problem::new(Code::AudienceDenied, detail).into());
    }
    if let Some(revoked) = silenced(&identity, &active) {
        return Err(Problem::new(Code::SecretRevoked, revoked.to_string()).into());
    }
    let subject = Subject {
        scope,
        run,
        step_id: &asked.step_id,
        step,
        hold,
        identity: &identity,
        task: asked.task.as_deref(),
    };
    let new = |lease_until: Timestamp, now: Timestamp| {
        let ends = subject.token_ends(lease_until, now)?;
        let jti = IdentityTokenId::new(ledger.ids(), now);
        let audience = asked.audience.clone();
        Some(NewToken {
            token: subject.claims(&ports.issuer, audience.clone(), jti, now, ends),
            ends,
            event: Event::IdentityTokenIssued {
                step_id: asked.step_id.clone(),
                fence: asked.fence,
                token_id: jti,
                audience,
                expires_at: ends,
            },
        })
    };
    let lease = LeaseKey {
        holder: hold.holder,
        slot: hold.slot,
        fence: hold.fence,
        run_id: run.run_id,
        step_id: asked.step_id.clone(),
    };
    let is_renewed = hold.executor == Executor::Worker;
    let claims = ledger
        .issue_identity_token(scope, &lease, is_renewed, &asked.actor, new)
        .await?;
    let claims = claims.ok_or_else(|| {
        let detail = "the claim's lease, or the step's time, ends so soon that a token would be of no use; ask again \
                      after the next heartbeat";
        Problem::new(Code::NotReady, detail)
    })?;
    let signing = keys.first().ok_or_else(no_key)?;
    signed(ports, &claims, &signing.kid).await
}

async fn signed(ports: &Ports, claims: &Claims, kid: &str) -> Result<IdentityToken, Fault> {
    let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = part(json!({ "alg": jwk::ALGORITHM, "kid": kid, "typ": "JWT" }));
    let claims_part = serde_json::to_vec(claims).map_err(|_| no_key())?;
    let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims_part));
    let signature = ports.signer.sign(sha256(message.as_bytes())).await;
    let signature = signature.map_err(|error| Fault::unavailable(&error, "AWS KMS"))?;
    Ok(IdentityToken {
        token: format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)),
        expires_at: Timestamp::from_millis(claims.exp.saturating_mul(1000)),
    })
}

/// Answers with the token, or records that it was refused where somebody may want to know of that.
async fn answer(
    ports: &Ports,
    asked: &Asked,
    worker_id: Option<WorkerId>,
    issued: Result<IdentityToken, Fault>,
) -> Answered {
    let fault = match issued {
        Ok(token) => return Answer::json(200, &token),
        Err(fault) => fault,
    };
    let code = fault.code();
    let passes = matches!(
        code,
        Code::Unavailable | Code::Internal | Code::RateLimited | Code::NotReady
    );
    if passes {
        return Err(fault);
    }
    let event = |count| Event::IdentityTokenRefused {
        step_id: asked.step_id.clone(),
        fence: asked.fence,
        audience: asked.audience.clone(),
        code: code.text().into(),
        count,
    };
    let (ledger, scope) = (&ports.ledger, &asked.scope);
    // The refusals of sandboxes are counted with those of their pool. A sandbox that names a step
    // of others, or none, is told no more than that, and has no entry in their trail.
    let counted = match worker_id {
        Some(worker_id) => Some(worker_id),
        None if code == Code::NotFound => None,
        None => {
            let run = ledger.run(scope, asked.run_id).await?;
            run.step(&asked.step_id)?.last_holder
        }
    };
    if let Some(worker_id) = counted {
        ledger
            .refused(scope, worker_id, &asked.actor, asked.run_id, event)
            .await?;
    }
    Err(fault)
}

async fn discovery(ports: &Ports, _: Anybody) -> Answered {
    let issuer = ports.issuer.clone();
    let list = |of: &[&str]| of.iter().map(|&one| one.to_owned()).collect::<Vec<_>>();
    let document = Discovery {
        jwks_uri: format!("{issuer}{KEYS_PATH}"),
        issuer,
        // Issuers must name them, although nobody logs in here.
        response_types_supported: list(&["id_token"]),
        subject_types_supported: list(&["public"]),
        id_token_signing_alg_values_supported: list(&[jwk::ALGORITHM]),
        claims_supported: list(&[
            "iss", "sub", "aud", "exp", "nbf", "iat", "jti", "project", "workflow", "run", "step",
            "tool", "attempt", "fence", "worker", "task", "profiles",
        ]),
    };
    Ok(Answer::json::<Fault>(200, &document)?.kept_for(KEPT_SECONDS))
}

async fn keys(ports: &Ports, _: Anybody) -> Answered {
    let keys = published(ports).await?.clone();
    Ok(Answer::json::<Fault>(200, &Keys { keys })?.kept_for(KEPT_SECONDS))
}

/// The public keys, which are asked for once in the life of a process.
async fn published(ports: &Ports) -> Result<&Vec<Key>, Fault> {
    let ask = async || {
        let keys = ports.signer.public_keys().await;
        let keys = keys.map_err(|error| Fault::unavailable(&error, "AWS KMS"))?;
        let keys: Option<Vec<Key>> = keys.iter().map(|der| jwk::of_public_key(der)).collect();
        keys.ok_or_else(no_key)
    };
    ports.keys.get_or_try_init(ask).await
}

fn no_key() -> Fault {
    Fault::broken(&"a key is not RSA for signatures", "AWS KMS")
}
