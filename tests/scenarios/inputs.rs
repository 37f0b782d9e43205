//! What goes into steps: uploads, as files, prompts and standard input, and what earlier steps have
//! left; and who can neither put nor get it.

use std::collections::BTreeMap;
use std::time::Duration;

use sealfleet_client::types::{CreateUpload, UploadCreated};
use sealfleet_domain::hash::ContentHash;
use sealfleet_domain::run::RunState;
use sealfleet_test_stack::canary;
use sealfleet_test_stack::identity::secrets;
use sealfleet_test_stack::project::{FARGATE, PULL, merged, run_of, step};
use sealfleet_test_stack::worker::{BuiltinStore, WorkerProcess};
use sealfleet_test_stack::{Outcome, Project, Stack, ensure, ensure_eq, unique};
use serde_json::{Value, json};

use crate::outputs::{exec, keys_of_a_claim, sealfleet};

const SOON: Duration = Duration::from_secs(90);

/// Bytes that no text is, and that differ from one test to the next.
fn content(bytes: usize) -> Vec<u8> {
    let seed = unique();
    let mixed = seed.bytes().cycle().zip(0_usize..);
    mixed
        .take(bytes)
        .map(|(byte, at)| byte.wrapping_mul(31).wrapping_add((at / 7) as u8))
        .collect()
}

async fn promised(project: &Project, content: &[u8]) -> Outcome<UploadCreated> {
    let request = CreateUpload {
        bytes: content.len() as u64,
        sha256: ContentHash::of(content),
    };
    Ok(project.member.client().create_upload(&request).await?)
}

/// Sends `body` to a signed URL, with these headers, and answers the status.
async fn put(url: &str, headers: &BTreeMap<String, String>, body: &[u8]) -> Outcome<u16> {
    let mut request = reqwest::Client::new().put(url).body(body.to_vec());
    for (name, value) in headers.iter().filter(|(name, _)| *name != "content-length") {
        request = request.header(name, value);
    }
    Ok(request.send().await?.status().as_u16())
}

/// 70. A file goes in, and the result of a step goes into the next; nobody puts anything else in
///     the place of an upload, and no other project names it.
pub async fn s70_a_file_goes_in_and_a_result_goes_on(stack: &Stack) -> Outcome {
    let (alpha, beta) = stack.pair("inputs").await?;
    let worker = alpha.live_worker(stack).await?;
    let bytes = content(3 << 20);
    let made = promised(&alpha, &bytes).await?;
    let (url, headers) = (made.url.expose(), &made.headers);

    // Nothing but what was promised goes there, and that once.
    let mut other = bytes.clone();
    other[0] ^= 1;
    let longer = [bytes.clone(), vec![0]].concat();
    let without = |name: &str| -> BTreeMap<_, _> {
        let kept = headers.iter().filter(|(other, _)| *other != name);
        kept.map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    };
    let elsewhere = url.replacen(&alpha.id, &beta.id, 1);
    ensure!(elsewhere != url, "the key of an upload names its project");
    for (what, url, headers, body) in [
        ("other content", url, headers.clone(), &other),
        ("longer content", url, headers.clone(), &longer),
        (
            "without its hash",
            url,
            without("x-amz-checksum-sha256"),
            &other,
        ),
        (
            "without `If-None-Match`",
            url,
            without("if-none-match"),
            &bytes,
        ),
        (
            "in another project",
            elsewhere.as_str(),
            headers.clone(),
            &bytes,
        ),
    ] {
        let status = put(url, &headers, body).await?;
        ensure!((400..500).contains(&status), "{what}: {status}");
    }
    ensure_eq!(put(url, headers, &bytes).await?, 200, "what was promised");
    ensure_eq!(put(url, headers, &bytes).await?, 412, "once more");
    let read = reqwest::Client::new()
        .get(url)
        .send()
        .await?
        .status()
        .as_u16();
    ensure_eq!(read, 403, "read by the URL that writes");

    // A file, a standard input, and the result of one step in the next.
    let upload = json!({ "upload": made.upload_id });
    let hash = ContentHash::of(&bytes);
    let first = format!(
        r#"test "$(sha256sum < in/data.bin)" = "{hash}  -" && test "$(sha256sum)" = "{hash}  -" &&
           mkdir -p .sealfleet && echo '{{"answer": 42}}' > .sealfleet/result.json"#
    );
    let second = r#"test "$(cat .sealfleet/needs/first/result.json)" = '{"answer": 42}' && test ! -e .sealfleet/needs/none"#;
    let shell = |script: &str, more: &Value| {
        let step = json!({ "pool": PULL, "mode": "sandboxed", "command": ["sh", "-c", script] });
        merged(step, more)
    };
    let takes = json!({ "needs": ["first", "none"], "takes": ["first", "none"] });
    let bare = merged(takes.clone(), &json!({ "mode": "bare" }));
    let steps = [
        step(
            "first",
            &shell(
                &first,
                &json!({ "files": { "in/data.bin": upload }, "stdin": upload }),
            ),
        ),
        step("none", &shell("true", &json!({}))),
        step("second", &shell(second, &takes)),
        step("bare", &shell(second, &bare)),
    ];
    let run = alpha.enqueue(&run_of(&steps)).await?;
    let ended = alpha.finished(&run, SOON).await?;
    ensure_eq!(
        ended.state,
        RunState::Succeeded,
        "{ended:?}\n{}",
        worker.log()
    );

    // To another project there is no such upload; and what a worker writes its outputs with reads
    // none, of its own project or another.
    let theirs = run_of(&[step("only", &shell("true", &json!({ "stdin": upload })))]);
    let refusal = beta.member.post("/v1/runs", &theirs).await?;
    let why = refusal.refused(400, "invalid_request")?;
    ensure!(why.contains("not of this project"), "{why}");
    for project in [&alpha, &beta] {
        let keys = keys_of_a_claim(project).await?;
        let path = url
            .split('?')
            .next()
            .and_then(|url| url.strip_prefix(&stack.parts.endpoint));
        let path = path.unwrap_or_default();
        for method in ["GET", "DELETE"] {
            let answer = stack
                .aws
                .ask_as(&keys.keys, "s3", (method, path), &[], "")
                .await?;
            ensure_eq!(answer.status, 403, "{method}: {}", answer.text());
        }
    }
    Ok(())
}

/// 70. What a step has left on a host that keeps its outputs to itself cannot be taken, and the
///     next step says where it lies.
pub async fn s70_a_result_on_a_host_alone_is_not_taken(stack: &Stack) -> Outcome {
    let project = stack.project("taken-local").await?;
    let store = BuiltinStore::create(stack, &project).await?;
    let rootfs = stack.parts.directory.join("rootfs");
    let options = [("--outputs", "local".to_owned())];
    let worker = WorkerProcess::start_with(&rootfs, &options, stack, &project, &store, &[]).await?;
    let leaves = "mkdir .sealfleet; echo 1 > .sealfleet/result.json";
    let shell = |script: &str| json!({ "pool": PULL, "mode": "sandboxed", "command": ["sh", "-c", script] });
    let takes = json!({ "needs": ["first"], "takes": ["first"] });
    let second = merged(shell("true"), &takes);
    let run = ended_run(
        &project,
        &[step("first", &shell(leaves)), step("second", &second)],
    )
    .await?;
    let failure = format!("{:?}", project.step(&run, "second").await?.failure);
    ensure!(
        failure.contains("--outputs local") && failure.contains("/first.1.log"),
        "{failure}\n{}",
        worker.log()
    );
    Ok(())
}

async fn ended_run(project: &Project, steps: &[Value]) -> Outcome<String> {
    let run = project.enqueue(&run_of(steps)).await?;
    project.finished(&run, SOON).await?;
    Ok(run)
}

/// 73. A prompt of 200 KB reaches the command, through the API, on a pull worker. So do a file of
///     some megabytes and a standard input that are no text.
pub async fn s73_a_long_prompt_reaches_the_command(stack: &Stack) -> Outcome {
    let project = stack.project("live").await?;
    let worker = project.live_worker(stack).await?;
    let profile = format!("s73-{}", unique());
    project.admin.create_profile(&profile, &json!({})).await?;
    let file = |name: &str, bytes: &[u8]| -> Outcome<String> {
        let path = stack.scratch.join(format!("{name}-{}", unique()));
        std::fs::write(&path, bytes)?;
        Ok(path.display().to_string())
    };
    let prompt = "Mend it, say why.\n".repeat(200 * 1024 / 18 + 1);
    let path = file("prompt", prompt.as_bytes())?;
    let done = sealfleet(
        stack,
        &project,
        &[
            "run",
            "exec",
            "--pool",
            PULL,
            "--profile",
            &profile,
            "--agent",
            "custom",
            "--prompt-file",
            &path,
            "--",
            "sha256sum",
        ],
    )?
    .output()
    .await?;
    let (out, err) = (
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr),
    );
    let wanted = format!("{}  -", ContentHash::of(prompt.as_bytes()));
    ensure_eq!(out.trim_end(), wanted, "{err}\n{}", worker.log());

    let (large, binary) = (content(2 << 20), content(1000));
    let data = format!("data.bin={}", file("data", &large)?);
    let stdin = file("stdin", &binary)?;
    let options = ["--file", &data, "--stdin", &stdin];
    let done = exec(stack, &project, PULL, &options, "sha256sum data.bin -").await?;
    let (out, err) = (
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr),
    );
    let wanted = format!(
        "{}  data.bin\n{}  -\n",
        ContentHash::of(&large),
        ContentHash::of(&binary)
    );
    ensure_eq!(out, wanted, "{err}\n{}", worker.log());

    // By itself, for steps that are written down.
    let done = sealfleet(stack, &project, &["upload", &path])?
        .output()
        .await?;
    let upload_id = String::from_utf8_lossy(&done.stdout).trim().to_owned();
    ensure!(
        upload_id.starts_with("upl_"),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let only = json!({
        "pool": PULL, "mode": "sandboxed", "command": ["sh", "-c", "test $(wc -c) = $(wc -c < p)"],
        "files": { "p": { "upload": upload_id } }, "stdin": { "upload": upload_id },
    });
    let run = project.enqueue_step(&only).await?;
    let ended = project.finished(&run, SOON).await?;
    ensure_eq!(
        ended.state,
        RunState::Succeeded,
        "{ended:?}\n{}",
        worker.log()
    );
    Ok(())
}

/// 70. The same on Fargate: an upload goes in, as a file and as standard input; what a step leaves
///     goes into the next, on the other kind of pool; what holds a secret is withheld.
pub async fn s70_fargate_steps_are_brought_files_and_leave_some(stack: &Stack) -> Outcome {
    let project = stack.project("hosted-inputs").await?;
    let worker = project.live_worker(stack).await?;
    let bytes = content(3 << 20);
    let made = promised(&project, &bytes).await?;
    let sent = put(made.url.expose(), &made.headers, &bytes).await?;
    ensure_eq!(sent, 200, "the upload");
    let tag = format!("hosted-{}", unique());
    let value = canary::value();
    let stored = project.aws_secret(stack, &tag, &value).await?;
    let keys = secrets(&[("API_KEY", &stored.uri)]);
    project.admin.create_profile(&tag, &keys).await?;

    let (hash, upload) = (ContentHash::of(&bytes), json!({ "upload": made.upload_id }));
    let first = format!(
        r#"test "$(sha256sum < in/data.bin)" = "{hash}  -" && test "$(sha256sum)" = "{hash}  -" &&
           mkdir -p .sealfleet out && echo '{{"answer": 42}}' > .sealfleet/result.json &&
           cp in/data.bin out/data.bin && printf %s "$API_KEY" > out/config"#
    );
    let finds = format!(
        r#"cd .sealfleet/needs/first && test "$(cat result.json)" = '{{"answer": 42}}' &&
           test "$(sha256sum < artifacts/out/data.bin)" = "{hash}  -" && test ! -e artifacts/out/config"#
    );
    let of = |pool: &str, mode: &str, script: &str, more: &Value| {
        let step = json!({ "pool": pool, "mode": mode, "command": ["sh", "-c", script] });
        merged(step, more)
    };
    let brings = json!({
        "files": { "in/data.bin": upload }, "stdin": upload, "artifacts": ["out"],
    });
    let takes = json!({ "needs": ["first"], "takes": ["first"] });
    let steps = [
        step("first", &of(FARGATE, "identity", &first, &brings)),
        step("beside", &of(FARGATE, "sandboxed", &finds, &takes)),
        step("worker", &of(PULL, "sandboxed", &finds, &takes)),
    ];
    let run = merged(run_of(&steps), &json!({ "profile": tag }));
    let run = project.enqueue(&run).await?;
    let ended = project.finished(&run, SOON).await?;
    ensure_eq!(
        ended.state,
        RunState::Succeeded,
        "{ended:?}\n{}",
        worker.log()
    );
    let view = project
        .member
        .client()
        .get_artifacts(run.parse()?, &"first".parse()?, None)
        .await?;
    let shown = serde_json::to_value(&view)?;
    let total = json!({ "files": 2, "bytes": bytes.len() + value.len() });
    ensure_eq!(shown["total"], total, "{shown}");
    let event = project
        .event(&run, "artifact.contains_secret", SOON)
        .await?;
    let files = json!([{ "name": "out/config", "keys": ["API_KEY"], "withheld": true }]);
    ensure_eq!(event["files"], files, "the event");
    Ok(())
}
