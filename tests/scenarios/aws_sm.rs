//! Secrets in AWS Secrets Manager that steps of a real worker read by their own tokens.
//!
//! The emulator judges trust policies, and roles by their policies. It verifies no token and
//! applies no session policy here; `sandbox/identity/aws-sm/tests` has a stand-in that does both.

use sealfleet_test_stack::canary::{self, Needle, Report, search_process};
use sealfleet_test_stack::project::{PULL, step};
use sealfleet_test_stack::worker::{BuiltinStore, Claimed, WorkerProcess};
use sealfleet_test_stack::{Failure, Outcome, Project, Stack, ensure, ensure_eq};
use serde_json::{Value, json};

use crate::seen::{SOON, with_profile};
use crate::witness::{Read, witness};

const AUDIENCE: &str = "sealfleet.secrets";

/// 84. A value in AWS Secrets Manager reaches the step of a worker that was granted it, by a
///     session of the step itself, which the witness explains. Another project's role does not
///     open.
pub async fn s84_a_worker_reads_secrets_manager(stack: &Stack) -> Outcome {
    let (project, other) = stack.pair("awssm").await?;
    let canary = canary::value();
    let stored = project.aws_secret(stack, "crm", &canary).await?;
    project.profile("crm", &stored.uri).await?;
    let worker = worker(stack, &project, &project).await?;
    let (run, ended, output) = ran(&project, &worker).await?;
    ensure_eq!(
        ended["state"],
        "succeeded",
        "{ended}\n{output}\n{}",
        worker.log()
    );
    let digest = sealfleet_domain::hash::ContentHash::of(canary.as_bytes()).to_string();
    ensure!(output.contains(&digest), "the value: {output}");
    ensure!(
        output.contains("tokens 0"),
        "the command's tokens: {output}"
    );
    let decrypted = project.events(&run, "secret.decrypted").await?;
    ensure_eq!(
        decrypted[0]["version"],
        json!(stored.version),
        "{decrypted:?}"
    );
    ensure!(
        decrypted[0]["store_request_id"].is_string(),
        "AWS's id of the request: {decrypted:?}"
    );
    let issued = project.events(&run, "identity.token_issued").await?;
    ensure_eq!(issued[0]["audience"], json!(AUDIENCE), "{issued:?}");
    let needle = Needle::new(&canary)?;
    let mut found = Report::default();
    for pid in worker.own_processes() {
        search_process(&needle, pid, &mut found);
    }
    ensure!(found.found.is_empty(), "in the worker: {:?}", found.found);

    // What CloudTrail would tell of it.
    let audit = project.audit(&run).await?;
    let released = audit
        .iter()
        .find(|entry| entry["events"].to_string().contains("secret.released"));
    let at = released.and_then(|entry| entry["at"].as_str()?.get(..19));
    let read = Read {
        at: format!("{}Z", at.unwrap_or_default()),
        arn: stored.arn.clone().unwrap_or_default(),
        account: stack.parts.account_id.clone(),
    };
    let session = format!("assumed-role/sealfleet-{}--reader/{run}.only", project.id);
    let version = json!({ "versionId": stored.version });
    let token = issued[0]["token_id"].as_str().unwrap_or_default();
    let mut own = read.event("own-by-token", &session, &version);
    let source = |event: &mut Value, token: &str| {
        event["detail"]["userIdentity"]["sessionContext"] = json!({ "sourceIdentity": token });
    };
    source(&mut own, token);
    ensure_eq!(witness(stack, &own).await?, (1, 0), "the step's own read");
    let mut forged = read.event("forged", &session, &version);
    source(&mut forged, "idt_0198c0de-0000-7000-8000-00000000000a");
    ensure_eq!(witness(stack, &forged).await?, (0, 1), "an unknown token");
    let told = project.admin.events("secret.read_unexplained").await?;
    ensure_eq!(told[0]["why"], json!("unknown_token"), "{told:?}");

    // The value is rotated: the next step gets the new one.
    let rotated = project
        .rotate_aws_secret(stack, "crm", &canary::value())
        .await?;
    let (run, ended, output) = ran(&project, &worker).await?;
    ensure_eq!(ended["state"], "succeeded", "{ended}\n{output}");
    let decrypted = project.events(&run, "secret.decrypted").await?;
    ensure_eq!(
        decrypted[0]["version"],
        json!(rotated.version),
        "{decrypted:?}"
    );
    drop(worker);

    let worker = self::worker(stack, &project, &other).await?;
    let (_, ended, output) = ran(&project, &worker).await?;
    let why = ended["failure"]["detail"].as_str().unwrap_or_default();
    ensure!(why.starts_with("wrong_credential"), "{ended}\n{output}");
    Ok(())
}

/// A worker of `project` whose steps assume the reader role of `of`.
async fn worker(stack: &Stack, project: &Project, of: &Project) -> Outcome<WorkerProcess> {
    let network = ("--network", "policy".to_owned());
    let options = [&reader(stack, of)[..], &[network]].concat();
    let store = BuiltinStore::create(stack, project).await?;
    let rootfs = stack.parts.directory.join("rootfs");
    WorkerProcess::start_with(&rootfs, &options, stack, project, &store, &[]).await
}

/// The options of a worker whose steps assume the reader role of a project.
pub fn reader(stack: &Stack, of: &Project) -> [(&'static str, String); 4] {
    let (account, endpoint) = (&stack.parts.account_id, &stack.parts.endpoint);
    let role = format!(
        "arn:aws:iam::{account}:role/sealfleet/project/sealfleet-{}--reader",
        of.id
    );
    [
        ("--aws-sm-role", role),
        ("--aws-sm-region", stack.parts.region.clone()),
        ("--aws-sm-address", endpoint.clone()),
        ("--aws-sm-sts-address", endpoint.clone()),
    ]
}

/// Runs a step; its run, its end and its output.
async fn ran(project: &Project, worker: &WorkerProcess) -> Outcome<(String, Value, String)> {
    let script = r#"printf %s "$API_KEY" | sha256sum; echo "tokens $(env | grep -c ID_TOKEN)""#;
    let only = json!({ "pool": PULL, "mode": "identity", "command": ["bash", "-c", script] });
    let run = project
        .enqueue(&with_profile("crm", &[step("only", &only)]))
        .await?;
    let ended = project
        .until(&run, "only", &["succeeded", "failed"], SOON)
        .await
        .map_err(|failure| Failure::new(format!("{failure}\n{}", worker.log())))?;
    let claimed = Claimed {
        run: run.clone(),
        step: "only".to_owned(),
        fence: ended.fence.number(),
    };
    Ok((run, json!(ended), worker.output(&claimed)))
}
