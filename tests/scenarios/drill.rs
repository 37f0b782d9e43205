//! Drills: commands of a document, run as they stand there.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use sealfleet_test_stack::aws::Keys;
use sealfleet_test_stack::{Failure, Outcome, Stack, ensure, ensure_eq, unique};

/// The commands of a drill, line by line, out of the document.
pub fn documented(document: &str, drill: &str) -> Outcome<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(document);
    let text = std::fs::read_to_string(path)?;
    let missing = || Failure::new(format!("{document} has no drill `{drill}`"));
    let block = text
        .split_once(&format!("<!-- drill: {drill} -->\n```sh\n"))
        .ok_or_else(missing)?
        .1;
    let block = block.split_once("```").ok_or_else(missing)?.0;
    Ok(block.lines().map(str::to_owned).collect())
}

/// Runs a command with the programs in `binaries`. Answers its output.
pub async fn run(
    binaries: &Path,
    environment: impl IntoIterator<Item = (&'static str, OsString)>,
    command: &str,
) -> Outcome<String> {
    let mut path = binaries.to_owned().into_os_string();
    path.push(":/usr/bin:/bin");
    let mut shell = tokio::process::Command::new("sh");
    shell
        .args(["-euc", command])
        .envs(environment)
        .env("PATH", path);
    let output = shell.stdin(Stdio::null()).output();
    let output = tokio::time::timeout(Duration::from_secs(60), output).await??;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{command}`: {errors}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A policy of infra/deploy for this stack.
pub fn filled(stack: &Stack, policy: &str) -> String {
    policy
        .replace("ACCOUNT", &stack.parts.account_id)
        .replace("REGION", &stack.parts.region)
        .replace("PREFIX", "sealfleet")
}

/// Keys of a user with these policies of infra/deploy, and with nothing more.
pub async fn user_with(stack: &Stack, policies: &[String]) -> Outcome<Keys> {
    let parts = &stack.parts;
    let name = format!("user-{}", unique());
    let ask = async |more: &str| -> Outcome<String> {
        let root = Keys {
            access_key_id: parts.access_key_id.clone(),
            secret_access_key: parts.secret_access_key.clone(),
            session_token: None,
        };
        let body = format!("Version=2010-05-08&{more}");
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let answer = stack
            .aws
            .ask_as(&root, "iam", ("POST", "/"), &headers, &body)
            .await?;
        ensure_eq!(answer.status, 200, "{more}: {}", answer.text());
        Ok(answer.text())
    };
    let element = |text: &str, name: &str| -> Outcome<String> {
        let found = text
            .split_once(&format!("<{name}>"))
            .and_then(|(_, rest)| rest.split_once("</"));
        found
            .map(|(value, _)| value.to_owned())
            .ok_or_else(|| Failure::new(format!("no {name}: {text}")))
    };
    ask(&format!("Action=CreateUser&UserName={name}")).await?;
    for (number, policy) in policies.iter().enumerate() {
        let policy = filled(stack, policy);
        let escaped: String = policy.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let made = ask(&format!(
            "Action=CreatePolicy&PolicyName={name}-{number}&PolicyDocument={escaped}"
        ))
        .await?;
        let arn = element(&made, "Arn")?;
        ask(&format!(
            "Action=AttachUserPolicy&UserName={name}&PolicyArn={arn}"
        ))
        .await?;
    }
    let made = ask(&format!("Action=CreateAccessKey&UserName={name}")).await?;
    Ok(Keys {
        access_key_id: element(&made, "AccessKeyId")?,
        secret_access_key: element(&made, "SecretAccessKey")?,
        session_token: None,
    })
}
