//! `sealfleet prove` against this stack: what an operator runs against a deployed one.
//!
//! Here is shown that the program finds its way through a real deployment, that all holds there,
//! and that nothing is left; and, in [`taken_out`], that each check fails when its boundary is
//! taken out. That each place is read to its end is shown in `cli/src/operator/prove`.

mod simulator;
mod taken_out;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::sync::Arc;

use sealfleet_client::{PageQuery, all_pages};
use sealfleet_test_stack::aws::{Keys, Service};
use sealfleet_test_stack::proxy::Proxy;
use sealfleet_test_stack::{Failure, Outcome, Stack, ensure, ensure_eq, processes, unique};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::drill::{filled, user_with};
use simulator::Simulator;
use taken_out::{Programs, Round, Way};
pub use taken_out::{
    a_leak_and_a_trail_with_a_gap_are_noticed, a_revocation_without_effect_is_noticed,
    projects_that_are_not_kept_apart_are_noticed,
};

/// The exit code of a command that is not used rightly.
const USAGE: Option<i32> = Some(2);

/// All checks hold, all that was made is gone, and the cost is told before.
pub async fn a_deployed_stack_is_proved_by_one_command(stack: &Stack) -> Outcome {
    let refused = proved(stack, None, &[]).await?;
    ensure_eq!(
        refused.code,
        USAGE,
        "without `--yes` nothing is made: {}",
        refused.stderr
    );
    ensure!(
        refused.stderr.contains("It costs about $0.0"),
        "the cost is not told: {}",
        refused.stderr
    );

    let proved = proved(stack, None, &["--yes"]).await?;
    taken_out::every_check_has_a_row(&proved.ids())?;
    for check in proved.checks() {
        ensure_eq!(
            check["outcome"],
            "held",
            "{}: {}",
            check["id"],
            proved.told()
        );
    }
    ensure_eq!(proved.report["verdict"], "held", "{}", proved.told());
    ensure_eq!(proved.code, Some(0), "{}", proved.told());
    ensure_eq!(
        proved.report["emulator"],
        proved.endpoint.as_str(),
        "the report must say that this is no AWS"
    );
    ensure!(
        proved.stdout.contains("this is NOT a proof about AWS"),
        "{}",
        proved.stdout
    );
    eprintln!("{}", proved.stdout);
    proved.nothing_is_left(stack).await
}

/// What the program has said.
pub struct Proved {
    code: Option<i32>,
    stdout: String,
    stderr: String,
    /// Null when there is none.
    report: Value,
    /// Where it called AWS.
    endpoint: String,
    /// Part of the names of its processes and directories.
    mark: String,
}

impl Proved {
    fn checks(&self) -> impl Iterator<Item = &Value> {
        self.report["checks"].as_array().into_iter().flatten()
    }

    fn ids(&self) -> BTreeSet<String> {
        let ids = self.checks().filter_map(|check| check["id"].as_str());
        ids.map(str::to_owned).collect()
    }

    fn told(&self) -> String {
        format!("{}\n{:#}", self.stderr, self.report)
    }

    async fn nothing_is_left(&self, stack: &Stack) -> Outcome {
        ensure_eq!(
            self.report["left"],
            json!([]),
            "what is left: {}",
            self.told()
        );
        let projects = self.report["projects"].as_array();
        let projects = projects.cloned().unwrap_or_default();
        ensure_eq!(projects.len(), 2, "projects: {projects:?}");
        for project in &projects {
            nothing_is_left_of(stack, project.as_str().unwrap_or_default()).await?;
        }
        let left = processes::with_argument(&self.mark);
        ensure!(left.is_empty(), "processes are left: {left:?}");
        Ok(())
    }
}

/// Runs the program with the policy that docs/guides/prove.md hands out, and with nothing more.
/// Between it and the stack stand the simulator of IAM, and what takes the round's boundaries out.
async fn proved(stack: &Stack, round: Option<Round>, options: &[&str]) -> Outcome<Proved> {
    let parts = &stack.parts;
    let mark = format!("prove-{}", unique());
    let token = stack.scratch.join(format!("{mark}.token"));
    let token = token.to_string_lossy();
    stack.cli(&["token", "bootstrap", "--out", &token]).await?;
    // Its rule makes one each hour.
    stack.digest().await?;

    // That of docs/guides/prove.md, and nothing more.
    let policy = filled(stack, include_str!("../../../infra/deploy/prove.json"));
    let keys = user_with(stack, std::slice::from_ref(&policy)).await?;
    let mut simulator = Simulator {
        aws: stack.aws.clone(),
        root: root(stack),
        access_key_id: keys.access_key_id.clone(),
        policy: serde_json::from_str(&policy)?,
        change: |_, _| {},
    };
    let secret = format!(
        "arn:aws:secretsmanager:{}:{}:secret:sealfleet/prove-a/canary-AbCdEf",
        parts.region, parts.account_id
    );
    let account = parts.account_id.as_str();
    simulator.is_not_kinder_than_aws(account, &secret).await?;
    let way = Arc::new(Way::new(simulator, round));
    let proxy = Proxy::start(&parts.endpoint, Arc::clone(&way)).await?;
    let api = parts.api_url.strip_prefix(parts.endpoint.as_str());
    let api = api.ok_or_else(|| Failure::new("the API has an address of its own"))?;

    // Sandboxes with uids of their own pass through it.
    let directory = std::env::temp_dir().join(&mark);
    std::fs::create_dir(&directory)?;
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o755))?;
    let kept = stack.scratch.join(format!("{mark}.json"));
    let programs = match round {
        Some(round) => Some(Programs::for_round(stack, round, &mark)?),
        None => None,
    };
    let mut command = Command::new(stack.binaries.join("sealfleet"));
    command
        .args(["prove", "--image", &parts.sandbox_image, "--report"])
        .arg(&kept)
        .args(options);
    if let Some(programs) = &programs {
        command.arg("--worker").arg(&programs.worker);
        command.arg("--init").arg(&programs.init);
    }
    let output = command
        .env("TMPDIR", &directory)
        .env("AWS_ENDPOINT_URL", &proxy.url)
        .env("AWS_ENDPOINT_URL_ECS", &parts.ecs_endpoint)
        .env("AWS_REGION", &parts.region)
        .env("AWS_ACCESS_KEY_ID", &keys.access_key_id)
        .env("AWS_SECRET_ACCESS_KEY", &keys.secret_access_key)
        .env("SEALFLEET_API_URL", format!("{}{api}", proxy.url))
        .env("SEALFLEET_TOKEN_FILE", token.as_ref())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let report = std::fs::read(&kept).unwrap_or_default();
    let proved = Proved {
        code: output.status.code(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
        report: serde_json::from_slice(&report).unwrap_or_default(),
        endpoint: proxy.url.clone(),
        mark,
    };
    if proved.code != USAGE {
        taken_out::nothing_holds_a_canary(&proved, &way.canaries(programs.as_ref()))?;
    }
    // Fails if something is left in it.
    std::fs::remove_dir(&directory)?;
    Ok(proved)
}

async fn nothing_is_left_of(stack: &Stack, project: &str) -> Outcome {
    let aws = &stack.aws;
    let queues = aws
        .call(
            Service::Sqs,
            "ListQueues",
            json!({ "QueueNamePrefix": format!("sealfleet-{project}--") }),
        )
        .await?;
    ensure!(
        queues["QueueUrls"].as_array().is_none_or(Vec::is_empty),
        "queues: {queues}"
    );
    let groups = aws
        .call(
            Service::Logs,
            "DescribeLogGroups",
            json!({ "logGroupNamePrefix": format!("/sealfleet/{project}") }),
        )
        .await?;
    ensure_eq!(groups["logGroups"], json!([]), "log groups");
    let secrets = aws
        .call(Service::SecretsManager, "ListSecrets", json!({}))
        .await?;
    ensure!(
        !secrets.to_string().contains(project),
        "a secret of {project} is left"
    );
    let id = project.parse()?;
    let operator = stack.operator.client();
    let tokens =
        all_pages(async |page: &PageQuery| operator.list_tokens(Some(&id), page).await).await?;
    ensure!(
        !tokens.is_empty() && tokens.iter().all(|token| token.revoked_at.is_some()),
        "tokens of {project}: {tokens:?}"
    );
    Ok(())
}

fn root(stack: &Stack) -> Keys {
    Keys {
        access_key_id: stack.parts.access_key_id.clone(),
        secret_access_key: stack.parts.secret_access_key.clone(),
        session_token: None,
    }
}
