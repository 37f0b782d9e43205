//! Sandboxes: what a step sees, what it can reach, and how it ends.

use std::time::Duration;

use sealfleet_domain::run::RunState;
use sealfleet_test_stack::aws::Service;
use sealfleet_test_stack::canary::{self, Needle};
use sealfleet_test_stack::identity::secrets;
use sealfleet_test_stack::project::{FARGATE, PULL, merged, run_of, step};
use sealfleet_test_stack::worker::{BuiltinStore, WorkerProcess};
use sealfleet_test_stack::{
    Outcome, Project, Stack, ensure, ensure_eq, eventually, sha256, unique,
};
use serde_json::{Value, json};
use tokio::process::Command;

const SOON: Duration = Duration::from_secs(90);

/// 52. One run with bare, sandboxed, identity and full steps -> each in its own mode; bare and
///     sandboxed steps see no secret. (`full` is for pools of workers.)
pub async fn s52_each_step_in_its_own_mode(stack: &Stack) -> Outcome {
    let project = stack.project("live").await?;
    let worker = project.live_worker(stack).await?;
    let value = format!("s52-{}-{}", unique(), unique());
    let beside = project
        .builtin_store(stack)
        .await?
        .put("s52", &value)
        .await?;
    let in_aws = project.aws_secret(stack, "s52", &value).await?;
    project.profile("s52-builtin", &beside.pinned()).await?;
    project.profile("s52-aws", &in_aws.uri).await?;

    // A file and a program of the host: there for a bare step, and not inside a sandbox.
    let mark = stack.scratch.join(format!("mark-{}", unique()));
    std::fs::write(&mark, "")?;
    let mark = mark.display();
    let hidden = format!("test ! -e {mark} && test ! -e /usr/bin/bwrap");
    let sees = format!(
        r#"test "$(printf %s "$API_KEY" | sha256sum | cut -c 1-64)" = {}"#,
        sha256(value.as_bytes())
    );
    let bare = format!(r#"test -z "$API_KEY" && test -e {mark} && test -e /usr/bin/bwrap"#);
    let sandboxed = format!(r#"test -z "$API_KEY" && {hidden} && test "$(id -u)" != 0"#);
    let identity = format!(r#"{sees} && {hidden} && test "$(id -u)" != 0"#);
    let shell = |pool: &str, mode: &str, script: &str, needs: &[&str]| json!({ "pool": pool, "mode": mode, "command": ["sh", "-c", script], "needs": needs });
    let agent = json!({
        "pool": PULL, "mode": "full", "command": [],
        "agent": { "cli": "custom", "prompt": "what to do", "args": ["sh", "-c", identity] },
    });
    for (profile, seeing, steps) in [
        (
            "s52-builtin",
            vec!["full", "identity"],
            vec![
                step("bare", &shell(PULL, "bare", &bare, &[])),
                step("sandboxed", &shell(PULL, "sandboxed", &sandboxed, &[])),
                step("identity", &shell(PULL, "identity", &identity, &[])),
                step("full", &agent),
                step(
                    "after",
                    &shell(PULL, "sandboxed", &sandboxed, &["identity"]),
                ),
            ],
        ),
        (
            "s52-aws",
            vec!["identity"],
            vec![
                step("bare", &shell(PULL, "bare", &bare, &[])),
                step("sandboxed", &shell(FARGATE, "sandboxed", &sandboxed, &[])),
                step(
                    "identity",
                    &shell(FARGATE, "identity", &identity, &["bare"]),
                ),
            ],
        ),
    ] {
        let run = project
            .enqueue(&merged(run_of(&steps), &json!({ "profile": profile })))
            .await?;
        let ended = project.finished(&run, SOON).await?;
        ensure_eq!(
            ended.state,
            RunState::Succeeded,
            "the run with `{profile}`: {ended:?}\n  its worker says\n{}",
            worker.log()
        );
        for name in ["secret.released", "profile.injected", "secret.decrypted"] {
            let events = project.events(&run, name).await?;
            let of = events.iter().map(|event| event["step_id"].as_str());
            let mut of: Vec<&str> = of.flatten().collect();
            of.sort_unstable();
            ensure_eq!(of, seeing, "the steps with an audited `{name}`");
        }
        let decrypted = project.events(&run, "secret.decrypted").await?;
        ensure!(
            decrypted.iter().all(|event| event["version"].is_string()),
            "a decryption without a version: {decrypted:?}"
        );
        let leased = project.events(&run, "step.leased").await?;
        for event in leased {
            let mode = event["step_id"]
                .as_str()
                .unwrap_or_default()
                .replace("after", "sandboxed");
            ensure_eq!(
                event["mode"],
                mode.as_str(),
                "the audited mode of `{}`",
                event["step_id"]
            );
        }
    }
    for mode in ["full_jit", "fuller"] {
        let refused = project
            .member
            .post(
                "/v1/runs",
                &run_of(&[step("only", &json!({ "mode": mode }))]),
            )
            .await?;
        refused.refused(400, "invalid_request")?;
        ensure_eq!(
            refused.body["field"],
            "steps[0].mode",
            "the field that is refused"
        );
    }
    Ok(())
}

/// A step finds its files and its standard input, wherever it runs and in each mode, at each try.
pub async fn a_step_finds_its_files_wherever_it_runs(stack: &Stack) -> Outcome {
    let project = stack.project("live").await?;
    let worker = project.live_worker(stack).await?;
    let reads =
        r#"test "$(cat src/a.txt)" = one && test "$(./run)" = two && test "$(cat)" = three"#;
    let shell = |pool: &str, mode: &str| {
        json!({
            "pool": pool,
            "mode": mode,
            "command": ["sh", "-c", reads],
            "files": { "src/a.txt": { "text": "one\n" }, "run": { "text": "#!/bin/sh\necho two\n" } },
            "stdin": { "text": "three\n" },
        })
    };
    let steps = [
        step("bare", &shell(PULL, "bare")),
        step("sandboxed", &shell(PULL, "sandboxed")),
        step("task", &shell(FARGATE, "sandboxed")),
    ];
    let run = project.enqueue(&run_of(&steps)).await?;
    let ended = project.finished(&run, SOON).await?;
    ensure_eq!(
        ended.state,
        RunState::Succeeded,
        "{ended:?}\n  its worker says\n{}",
        worker.log()
    );
    Ok(())
}

/// 48, 76. What a step prints leaves its sandbox without its secrets, on both kinds of pools: as
///     they are, in encodings, one the beginning of another. A value of 5 characters is refused,
///     unless its reference says that it stays. (`sandbox/redaction` cuts each everywhere.)
pub async fn s76_what_a_step_prints_holds_no_secret(stack: &Stack) -> Outcome {
    let project = stack.project("live").await?;
    let worker = project.live_worker(stack).await?;
    let store = project.builtin_store(stack).await?;
    let tag = unique();
    let name = |part: &str| format!("s76-{tag}-{part}");
    let value = canary::value();
    let longer = format!("{value}-and-more");
    let needle = Needle::new(&value)?;
    let script = r#"printf 'raw %s.\n' "$API_KEY"; printf 'longer %s.\n' "$LONGER"
        printf 'base64 '; printf 'user:%s' "$API_KEY" | base64 -w 0; echo
        printf 'hex '; printf %s "$API_KEY" | od -An -v -tx1 | tr -d ' \n'; echo
        printf 'error %s.\n' "$API_KEY" >&2; printf 'pin %s.\n' "$PIN""#;
    for pool in [PULL, FARGATE] {
        let put = async |part: &str, value: &str| -> Outcome<String> {
            Ok(if pool == PULL {
                store.put(&name(part), value).await?.pinned()
            } else {
                project.aws_secret(stack, &name(part), value).await?.uri
            })
        };
        let key = put("key", &value).await?;
        let longer = put("longer", &longer).await?;
        let pin = put("pin", "12345").await?;
        let stays = format!("{pin}?redact=false");
        let profile = name(pool);
        let content = secrets(&[("API_KEY", &key), ("LONGER", &longer), ("PIN", &stays)]);
        project.admin.create_profile(&profile, &content).await?;
        let refused = name(&format!("refused-{pool}"));
        let content = secrets(&[("PIN", &pin)]);
        project.admin.create_profile(&refused, &content).await?;

        let run = async |profile: &str| -> Outcome<(RunState, String, String)> {
            let only = json!({ "pool": pool, "mode": "identity", "command": ["sh", "-c", script] });
            let body = merged(
                run_of(&[step("only", &only)]),
                &json!({ "profile": profile }),
            );
            let run = project.enqueue(&body).await?;
            let ended = project.finished(&run, SOON).await?;
            Ok((ended.state, json!(ended).to_string(), run))
        };
        let (state, shown, id) = run(&profile).await?;
        ensure_eq!(state, RunState::Succeeded, "{shown}");
        let said = async |run: &str| -> Outcome<String> {
            if pool != PULL {
                return project.logged(stack, 0.0).await;
            }
            let mut said = String::new();
            for entry in std::fs::read_dir(worker.directory.join("output").join(run))? {
                said.push_str(&std::fs::read_to_string(entry?.path())?);
            }
            Ok(said)
        };
        let output = eventually("the output", SOON, async || {
            let output = said(&id).await?;
            Ok(output.contains("pin 12345.").then_some(output))
        })
        .await?;
        ensure_eq!(needle.find(output.as_bytes()), None, "{output}");
        for line in [
            "raw <redacted:API_KEY>.",
            "longer <redacted:LONGER>.",
            "base64 dXNlcjp<redacted:API_KEY>",
            "error <redacted:API_KEY>.",
        ] {
            ensure!(output.contains(line), "no `{line}` in {output}");
        }
        ensure_eq!(output.matches("<redacted:").count(), 5, "{output}");
        let events = project.events(&id, "redaction.match").await?;
        ensure_eq!(events.len(), 1, "{events:?}");
        let matches = events.first().and_then(|event| event["matches"].as_array());
        ensure_eq!(matches.map(Vec::len), Some(5), "{events:?}");

        let (state, shown, _) = run(&refused).await?;
        ensure_eq!(state, RunState::Failed, "{shown}");
        for why in ["shorter than 8 bytes", "`PIN`", "?redact=false"] {
            ensure!(shown.contains(why), "`{why}` is not in {shown}");
        }
    }
    Ok(())
}

/// 55. Sandbox of A asks Secrets Manager for B's secret -> AccessDenied by IAM.
pub async fn s55_a_sandbox_cannot_read_another_projects_secret(stack: &Stack) -> Outcome {
    let (alpha, beta) = stack.pair("alpha").await?;
    let name = format!("s55-{}", unique());
    let own_arn = alpha
        .aws_secret(stack, &name, "alpha's own value")
        .await?
        .arn
        .unwrap_or_default();
    let others = beta.aws_secret(stack, &name, "beta's own value").await?;
    let (reference, others_arn) = (others.uri, others.arn.unwrap_or_default());

    // From inside the sandbox, with all that it holds: it can say who it is, and read neither
    // secret.
    for (arn, whose) in [
        (&others_arn, "another project's"),
        (&own_arn, "its own project's"),
    ] {
        let script = ASK
            .replace("SECRET", arn)
            .replace("ENDPOINT", &stack.parts.endpoint)
            .replace("PROJECT", &alpha.id);
        let command = json!({ "pool": FARGATE, "mode": "sandboxed", "command": ["/usr/bin/python3", "-c", script] });
        let run = alpha.enqueue_step(&command).await?;
        let ended = alpha.finished(&run, SOON).await?;
        ensure_eq!(
            ended.state,
            RunState::Succeeded,
            "asking for {whose} secret: {ended:?}"
        );
    }

    // By name through the API: not even enqueued.
    let profile = json!({ "name": name, "secrets": { "API_KEY": reference } });
    let refused = alpha.admin.post("/v1/profiles", &profile).await?;
    refused.refused(400, "invalid_request")?;
    ensure_eq!(
        refused.body["field"],
        "secrets.API_KEY",
        "the field that is refused"
    );

    // And should the control plane itself pair A's role with B's secret: IAM stops the task before
    // it starts.
    let paired = run_task(stack, &alpha, &others_arn).await?;
    ensure_eq!(
        paired["stopCode"],
        "TaskFailedToStart",
        "a task of A with B's secret: {paired}"
    );
    let reason = paired["stoppedReason"].as_str().unwrap_or_default();
    ensure!(
        reason.contains("ResourceInitializationError") && reason.contains("AccessDenied"),
        "its reason: {reason}"
    );
    ensure_eq!(
        paired["containers"][0]["exitCode"],
        Value::Null,
        "the exit code of what never ran"
    );
    let own = run_task(stack, &alpha, &own_arn).await?;
    ensure_eq!(
        own["containers"][0]["exitCode"],
        0,
        "a task of A with A's secret: {own}"
    );
    let shared = stack
        .system_secret(&name, "the operators' value")
        .await?
        .arn
        .unwrap_or_default();
    let system = run_task(stack, &alpha, &shared).await?;
    ensure_eq!(
        system["containers"][0]["exitCode"],
        0,
        "a task of A with the operators' secret: {system}"
    );
    Ok(())
}

/// Says who the sandbox is, then asks for a secret. Exits with 0 if IAM denied it.
const ASK: &str = r#"
import datetime, hashlib, hmac, json, os, sys, urllib.error, urllib.request
ask = urllib.request.Request(os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"])
if "AWS_CONTAINER_AUTHORIZATION_TOKEN" in os.environ:
    ask.add_header("Authorization", os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"])
keys = json.load(urllib.request.urlopen(ask))
def call(service, headers, body):
    region, host = os.environ["AWS_REGION"], "ENDPOINT".split("//")[1]
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    scope = "/".join([now[:8], region, service, "aws4_request"])
    headers = dict(headers, host=host, **{"x-amz-date": now, "x-amz-security-token": keys["Token"]})
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    sha = lambda text: hashlib.sha256(text.encode()).hexdigest()
    plain = "\n".join(["AWS4-HMAC-SHA256", now, scope, sha("\n".join(["POST", "/", "", lines, names, sha(body)]))])
    key = ("AWS4" + keys["SecretAccessKey"]).encode()
    for part in scope.split("/") + [plain]:
        key = hmac.new(key, part.encode(), "sha256").digest()
    headers["authorization"] = (f"AWS4-HMAC-SHA256 Credential={keys['AccessKeyId']}/{scope}, "
                                f"SignedHeaders={names}, Signature={key.hex()}")
    try:
        return urllib.request.urlopen(urllib.request.Request("ENDPOINT/", body.encode(), headers)).read().decode()
    except urllib.error.HTTPError as error:
        return f"{error.code} " + error.read().decode()
who = call("sts", {"content-type": "application/x-www-form-urlencoded"}, "Action=GetCallerIdentity&Version=2011-06-15")
print(who)
if "assumed-role/sealfleet-sandboxes/" not in who: sys.exit(9)
target = {"content-type": "application/x-amz-json-1.1", "x-amz-target": "secretsmanager.GetSecretValue"}
answer = call("secretsmanager", target, json.dumps({"SecretId": "SECRET"}))
print(answer)
sys.exit(0 if answer.startswith("4") and "AccessDenied" in answer else 8)
"#;

/// Runs a task of a project's execution role with a secret, past the control plane, until it has
/// stopped.
async fn run_task(stack: &Stack, project: &Project, secret_arn: &str) -> Outcome<Value> {
    let role = format!(
        "arn:aws:iam::{}:role/sealfleet/project/sealfleet-{}--execution",
        stack.parts.account_id, project.id
    );
    let definition = json!({
        "family": format!("tests-{}", unique()), "executionRoleArn": role, "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"], "cpu": "256", "memory": "512",
        "containerDefinitions": [{
            "name": "sandbox", "image": stack.parts.sandbox_image, "essential": true, "entryPoint": ["/usr/bin/true"],
            "secrets": [{ "name": "API_KEY", "valueFrom": secret_arn }],
        }],
    });
    let registered = stack
        .aws
        .call(Service::Ecs, "RegisterTaskDefinition", definition)
        .await?;
    let task = json!({
        "cluster": stack.parts.cluster, "launchType": "FARGATE", "clientToken": unique(),
        "taskDefinition": registered["taskDefinition"]["taskDefinitionArn"],
        "networkConfiguration": { "awsvpcConfiguration": { "subnets": ["subnet-local"], "securityGroups": ["sg-local"] } },
    });
    let started = stack.aws.call(Service::Ecs, "RunTask", task).await?;
    let arn = started["tasks"][0]["taskArn"].clone();
    ensure!(arn.is_string(), "no task was started: {started}");
    eventually("the task to stop", SOON, async || {
        let wanted = json!({ "cluster": stack.parts.cluster, "tasks": [arn] });
        let described = stack
            .aws
            .call(Service::Ecs, "DescribeTasks", wanted)
            .await?;
        let task = described["tasks"][0].clone();
        Ok((task["lastStatus"] == "STOPPED").then_some(task))
    })
    .await
}

/// 56. Sandbox exits 0, non-zero, by timeout, out of memory, cannot start -> a distinct, clear
///     terminal reason each.
pub async fn s56_every_end_has_its_reason(stack: &Stack) -> Outcome {
    let project = stack.project("live").await?;
    let worker = project.live_worker(stack).await?;
    let gluttony = "b = bytearray()\nwhile True: b += b'x' * (16 << 20)";
    let ends = [
        ("exits", json!({ "command": ["true"] })),
        ("fails", json!({ "command": ["sh", "-c", "exit 3"] })),
        (
            "hangs",
            json!({ "command": ["sleep", "600"], "timeout_seconds": 2 }),
        ),
        (
            "grows",
            json!({ "command": ["/usr/bin/python3", "-c", gluttony] }),
        ),
        ("absent", json!({ "command": ["/no/such/program"] })),
    ];
    for pool in [PULL, FARGATE] {
        let steps: Vec<Value> = ends
            .iter()
            .map(|(id, more)| {
                step(
                    id,
                    &merged(json!({ "pool": pool, "mode": "sandboxed" }), more),
                )
            })
            .collect();
        let run = project.enqueue(&run_of(&steps)).await?;
        let ended = project.finished(&run, SOON).await?;
        let log = worker.log();
        let end = async |id: &str| -> Outcome<(Value, Value)> {
            let step = project.step(&run, id).await?;
            Ok((json!(step.state), json!(step.failure)))
        };
        ensure_eq!(
            end("exits").await?,
            (json!("succeeded"), Value::Null),
            "exit 0 in `{pool}`: {ended:?}\n{log}"
        );
        let told = |kind: &str| (json!("failed"), json!(kind));
        let kind = async |id: &str| {
            end(id)
                .await
                .map(|(state, failure)| (state, failure["kind"].clone()))
        };
        ensure_eq!(
            end("fails").await?.1,
            json!({ "kind": "exit", "code": 3 }),
            "exit 3 in `{pool}`"
        );
        ensure_eq!(
            kind("hangs").await?,
            told("timed_out"),
            "a time-out in `{pool}`: {ended:?}"
        );
        ensure_eq!(
            end("hangs").await?.1["after_seconds"],
            2,
            "its timeout in `{pool}`"
        );
        ensure_eq!(
            kind("grows").await?,
            told("out_of_memory"),
            "out of memory in `{pool}`: {ended:?}"
        );
        let absent =
            json!({ "kind": "cannot_execute", "errno": 2, "detail": "No such file or directory" });
        ensure_eq!(
            end("absent").await?.1,
            absent,
            "no such program in `{pool}`"
        );

        ensure_eq!(ended.state, RunState::Failed, "the run in `{pool}`");
        ensure_eq!(
            project.events(&run, "step.succeeded").await?.len(),
            1,
            "audited successes in `{pool}`"
        );
        let failed = project.events(&run, "step.failed").await?;
        ensure_eq!(failed.len(), 4, "audited failures in `{pool}`");
        let mut reasons: Vec<String> = failed
            .iter()
            .map(|event| event["failure"].to_string())
            .collect();
        reasons.sort();
        reasons.dedup();
        ensure_eq!(
            reasons.len(),
            4,
            "distinct audited reasons in `{pool}`: {reasons:?}"
        );
    }
    a_sandbox_cannot_start(stack).await
}

/// A worker whose root file system has lost its first program, and a pool of an image that is not
/// there.
async fn a_sandbox_cannot_start(stack: &Stack) -> Outcome {
    let unknown = format!("sealfleet/sandbox@sha256:{}", "0".repeat(64));
    let project = stack.project_with_image("cannot-start", &unknown).await?;
    let rootfs = stack.scratch.join(format!("rootfs-{}", unique()));
    let copied = Command::new("cp")
        .args(["--archive", "--link"])
        .arg(stack.parts.directory.join("rootfs"))
        .arg(&rootfs)
        .status()
        .await?;
    ensure!(copied.success(), "cp: {copied}");
    let store = BuiltinStore::create(stack, &project).await?;
    let _worker = WorkerProcess::start_on(&rootfs, stack, &project, &store, &[], 2).await?;
    // It has renewed its root by then.
    let run = project
        .enqueue_step(&json!({ "pool": PULL, "mode": "sandboxed" }))
        .await?;
    let ended = project.finished(&run, SOON).await?;
    ensure_eq!(ended.state, RunState::Succeeded, "with the first program");
    std::fs::remove_file(rootfs.join("sealfleet-init"))?;
    for pool in [PULL, FARGATE] {
        let run = project
            .enqueue_step(&json!({ "pool": pool, "mode": "sandboxed" }))
            .await?;
        let ended = project.finished(&run, SOON).await?;
        let failure = json!(project.step(&run, "only").await?.failure);
        ensure_eq!(
            failure["kind"],
            "cannot_start",
            "a sandbox that cannot start in `{pool}`: {ended:?}"
        );
        let detail = failure["detail"].as_str().unwrap_or_default();
        ensure!(
            detail.len() > 10,
            "`cannot_start` in `{pool}` does not say why: {detail}"
        );
        ensure!(
            project.events(&run, "step.running").await?.is_empty(),
            "what cannot start is audited as running"
        );
    }
    Ok(())
}
