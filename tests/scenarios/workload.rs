//! Workload identity: who accepts a step's token, and how a step gets it.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use sealfleet_test_bao::Bao;
use sealfleet_test_stack::project::{PULL, run_of, step};
use sealfleet_test_stack::worker::{Claimed, Worker};
use sealfleet_test_stack::{
    Failure, Outcome, Project, Reply, Stack, ensure, ensure_eq, eventually, unique,
};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::seen::SOON;

const VAULT: &str = "https://vault.example";
const STS: &str = "sts.amazonaws.com";

/// 83. `OpenBao` accepts the workload identity of its project and tool, refuses another project's,
///     another audience's, an expired one, an old fence's.
pub async fn s83_a_step_proves_itself_to_others(stack: &Stack) -> Outcome {
    let issuer = issuer(stack).await?;
    let bao = Bao::start().await.map_err(Failure::new)?;
    bao.trust(&issuer).await.map_err(Failure::new)?;
    let own = Held::new(stack, "eightythree", "codex").await?;
    let role = json!({
        "role_type": "jwt", "user_claim": "sub", "bound_audiences": [VAULT],
        "bound_claims": { "project": own.project.id, "tool": "codex" },
        // A verifier's clock is right here.
        "clock_skew_leeway": -1, "expiration_leeway": -1, "not_before_leeway": -1,
    });
    let made = bao.run("POST", "auth/jwt/role/crm", role).await;
    made.map_err(Failure::new)?;
    let opens = async |token: &str| -> Outcome<bool> {
        let reply = bao.log_in("crm", token).await.map_err(Failure::new)?;
        ensure!(
            reply.status == 200 || reply.status == 400,
            "OpenBao answers {}: {}",
            reply.status,
            reply.body
        );
        Ok(reply.status == 200)
    };

    let token = own.token(VAULT).await?;
    ensure!(opens(&token).await?, "its own project and tool");
    let told = verified(&issuer, VAULT, &token).await?;
    let told: Value = serde_json::from_str(&told.map_err(Failure::new)?)?;
    let sub = format!(
        "project:{}:workflow:w:run:{}:step:only",
        own.project.id, own.claimed.run
    );
    ensure_eq!(told["sub"], json!(sub), "the subject that a stranger reads");
    ensure_eq!(told["tool"], json!("codex"), "its tool");

    let other = own.token(STS).await?;
    ensure!(!opens(&other).await?, "another audience's opens");
    let refused = verified(&issuer, VAULT, &other).await?;
    let why = refused.err().unwrap_or_default();
    ensure!(why.contains("InvalidAudienceError"), "PyJWT says: {why}");
    let (signed, _) = token.rsplit_once('.').unwrap_or_default();
    let (_, signature) = other.rsplit_once('.').unwrap_or_default();
    ensure!(
        !opens(&format!("{signed}.{signature}")).await?,
        "a token with the signature of another one opens"
    );

    let tool = Held::new(stack, "eightythreetool", "claude").await?;
    let foreign = tool.token(VAULT).await?;
    ensure!(!opens(&foreign).await?, "another project's opens");
    let same = Held::in_project(tool.project, "codex").await?;
    let foreign = same.token(VAULT).await?;
    ensure!(
        !opens(&foreign).await?,
        "another project's opens, of the same tool"
    );

    // A step that has not started is given to its own worker again at once.
    let started = own.claimed.with(&json!({ "sandbox": "s" }));
    own.worker
        .caller
        .post("/v1/starts", &started)
        .await?
        .accepted()?;
    // The worker is silent: its lease ends, and somebody else gets the step, under a newer fence.
    let late = Duration::from_secs(90);
    let again = eventually("a claim with a newer fence", late, async || {
        let reply = own.worker.try_claim(&own.claimed.run, "only").await?;
        Ok(reply
            .accepted()
            .ok()
            .filter(|claim| claim["fence"] != json!(own.claimed.fence)))
    })
    .await?;
    ensure!(!opens(&token).await?, "an old fence's opens");
    let why = verified(&issuer, VAULT, &token)
        .await?
        .err()
        .unwrap_or_default();
    ensure!(why.contains("ExpiredSignatureError"), "PyJWT says: {why}");
    let refused = own.ask(VAULT, own.claimed.fence).await?;
    refused.refused(409, "stale_fence")?;
    let fence = again["fence"].as_u64().unwrap_or_default();
    let reply = own.ask(VAULT, fence).await?.accepted()?;
    let newer = reply["token"].as_str().unwrap_or_default();
    ensure!(opens(newer).await?, "the newer fence's does not open");
    web_identity(stack, &issuer, &own, fence).await
}

/// AWS's own form. The emulator reads the claims and does not verify the signature: what is tried
/// is that a trust policy of this form opens for its step, and for no other project.
async fn web_identity(stack: &Stack, issuer: &str, own: &Held, fence: u64) -> Outcome {
    let host = issuer.split_once("://").map_or(issuer, |(_, host)| host);
    let account = &stack.parts.account_id;
    let provider = format!("arn:aws:iam::{account}:oidc-provider/{host}");
    let trust = |project: &str| {
        json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": { "Federated": provider },
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {
                "StringEquals": { format!("{host}:aud"): STS },
                "StringLike": { format!("{host}:sub"): format!("project:{project}:workflow:*") },
            },
        }] })
    };
    let reply = own.ask(STS, fence).await?.accepted()?;
    let token = reply["token"].as_str().unwrap_or_default();
    for (project, opens) in [(own.project.id.as_str(), true), ("another", false)] {
        let name = format!("workload-{}", unique());
        stack.aws.create_role(&name, &trust(project)).await?;
        let role = format!("arn:aws:iam::{account}:role/{name}");
        let reply = stack.aws.assume_by_token(&role, token).await?;
        ensure_eq!(
            reply.status < 300,
            opens,
            "a role of `{project}`: {}",
            reply.text()
        );
    }
    Ok(())
}

/// A step reads its tokens in files that are renewed, and cannot print them.
pub async fn a_step_gets_its_tokens_as_files(stack: &Stack) -> Outcome {
    let project = stack.project("tokens").await?;
    let worker = project.live_worker(stack).await?;
    let profile = json!({ "identity": { "audiences": [VAULT] } });
    project.admin.create_profile("named", &profile).await?;
    // It prints who may read the file, where it is, its claims' part, and then all of it; and waits
    // for another one.
    let script = r#"
        set -eu
        stat -c 'mode %a %u' "$SEALFLEET_ID_TOKEN_FILE"; id -u
        stat -f -c 'on %T' "$SEALFLEET_ID_TOKEN_FILE"
        first=$(cat "$SEALFLEET_ID_TOKEN_FILE")
        echo "whole $first"
        echo "encoded $(printf %s "$first" | base64 -w0)"
        n=0
        while [ "$(cat "$SEALFLEET_ID_TOKEN_FILE")" = "$first" ]; do
            n=$((n + 1)); [ $n -lt 600 ] || exit 9; sleep 0.1
        done
        echo "again $(cat "$SEALFLEET_ID_TOKEN_FILE")"
        echo "old $first"
    "#;
    let mut body = run_of(&[step(
        "only",
        &json!({ "mode": "identity", "command": ["sh", "-c", script], "timeout_seconds": 120 }),
    )]);
    body["profile"] = json!("named");
    let run = project.enqueue(&body).await?;
    let ended = project
        .until(&run, "only", &["succeeded"], SOON * 3)
        .await?;
    let printed = worker.output(&Claimed {
        run: run.clone(),
        step: "only".to_owned(),
        fence: ended.fence.number(),
    });
    let lines: Vec<&str> = printed.lines().collect();
    ensure!(printed.contains("mode 400 "), "who may read it: {printed}");
    ensure!(printed.contains("on tmpfs"), "where it is: {printed}");
    for line in ["whole", "again", "old"] {
        let shown = lines.iter().find(|shown| shown.starts_with(line));
        let shown = shown.ok_or_else(|| Failure::new(format!("no line `{line}`: {printed}")))?;
        ensure!(
            shown.ends_with(".<redacted:ID_TOKEN>"),
            "it is printed: {shown}"
        );
    }
    let encoded = lines.iter().find(|line| line.starts_with("encoded"));
    ensure!(
        encoded.is_some_and(|line| line.contains("<redacted:ID_TOKEN>")),
        "it is printed in base64: {encoded:?}"
    );
    let issued = project.events(&run, "identity.token_issued").await?;
    ensure!(issued.len() >= 2, "issued: {issued:?}");
    ensure_eq!(
        issued[0]["audience"],
        json!(VAULT),
        "the audience on record"
    );

    // A key of the profile is revoked: the next renewal is refused, and the file goes.
    let store = project.builtin_store(stack).await?;
    let stored = store.put("key", "value-of-the-key").await?;
    let with_key = json!({
        "secrets": { "API_KEY": stored.pinned() }, "identity": { "audiences": [VAULT] },
    });
    project.admin.create_profile("keyed", &with_key).await?;
    let script = r#"
        n=0
        while [ -e "$SEALFLEET_ID_TOKEN_FILE" ]; do
            n=$((n + 1)); [ $n -lt 900 ] || exit 9; sleep 0.1
        done
    "#;
    let mut body = run_of(&[step(
        "only",
        &json!({ "mode": "identity", "command": ["sh", "-c", script], "timeout_seconds": 120 }),
    )]);
    body["profile"] = json!("keyed");
    let run = project.enqueue(&body).await?;
    project.until(&run, "only", &["running"], SOON).await?;
    project.admin.revoke(&[("keyed", "API_KEY")], false).await?;
    let ended = project
        .until(&run, "only", &["succeeded"], SOON * 3)
        .await?;
    let printed = worker.output(&Claimed {
        run: run.clone(),
        step: "only".to_owned(),
        fence: ended.fence.number(),
    });
    ensure!(
        printed.contains("its file is gone") && printed.contains("is revoked"),
        "the step's log does not say why: {printed}"
    );
    let refused = project.events(&run, "identity.token_refused").await?;
    ensure_eq!(
        refused[0]["code"],
        json!("secret_revoked"),
        "the refusal on record"
    );
    Ok(())
}

/// A step that a worker holds, which the test plays.
struct Held {
    project: Arc<Project>,
    worker: Worker,
    claimed: Claimed,
}

impl Held {
    async fn new(stack: &Stack, project: &str, tool: &str) -> Outcome<Self> {
        let project = stack.project(project).await?;
        let profile = json!({ "identity": { "audiences": [VAULT, STS] } });
        project.admin.create_profile("named", &profile).await?;
        Self::in_project(project, tool).await
    }

    async fn in_project(project: Arc<Project>, tool: &str) -> Outcome<Self> {
        let worker = project.worker(&json!({ "modes": ["identity"] })).await?;
        let mut body = run_of(&[step(
            "only",
            &json!({ "mode": "identity", "tool": tool, "pool": PULL, "command": ["true"] }),
        )]);
        body["profile"] = json!("named");
        body["workflow"] = json!("w");
        let run = project.enqueue(&body).await?;
        let claimed = worker.claim(&run, "only").await?;
        Ok(Self {
            project,
            worker,
            claimed,
        })
    }

    async fn ask(&self, audience: &str, fence: u64) -> Outcome<Reply> {
        let asked = json!({
            "run_id": self.claimed.run, "step_id": "only", "fence": fence, "audience": audience,
        });
        self.worker.caller.post("/v1/identity-tokens", &asked).await
    }

    async fn token(&self, audience: &str) -> Outcome<String> {
        self.worker.heartbeat(&[&self.claimed]).await?;
        let reply = self.ask(audience, self.claimed.fence).await?.accepted()?;
        Ok(reply["token"].as_str().unwrap_or_default().to_owned())
    }
}

/// The issuer, as its own discovery says.
async fn issuer(stack: &Stack) -> Outcome<String> {
    let found = stack.anonymous.client().get_discovery().await?;
    ensure_eq!(
        found.issuer,
        stack.parts.api_url,
        "the issuer, and where it is found"
    );
    Ok(found.issuer)
}

/// What an independent verifier reads in a token, or why it refuses it.
async fn verified(issuer: &str, audience: &str, token: &str) -> Outcome<Result<String, String>> {
    let repository = crate::clients::repository();
    let mut child = Command::new(repository.join("target/venv/identity/bin/python"))
        .arg(repository.join("tests/scenarios/verify_token.py"))
        .args([issuer, audience])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(token.as_bytes()).await?;
    }
    let output = child.wait_with_output().await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    })
}
