//! What comes out of steps: output while it is written, results, and who can reach them.

use std::process::{Output, Stdio};
use std::time::Duration;

use sealfleet_domain::run::{Failure as Failed, RunState};
use sealfleet_test_stack::aws::Keys;
use sealfleet_test_stack::canary;
use sealfleet_test_stack::identity::secrets;
use sealfleet_test_stack::project::{FARGATE, PULL, merged, run_of, step};
use sealfleet_test_stack::worker::{BuiltinStore, Claimed, WorkerProcess};
use sealfleet_test_stack::{Outcome, Project, Stack, ensure, ensure_eq, private_file, unique};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

const SOON: Duration = Duration::from_secs(90);

/// The command line as a member of the project calls it.
pub fn sealfleet(stack: &Stack, project: &Project, arguments: &[&str]) -> Outcome<Command> {
    let token = stack.scratch.join(format!("token-{}", unique()));
    private_file(&token, project.member.credential())?;
    let mut command = Command::new(stack.binaries.join("sealfleet"));
    command
        .args(arguments)
        .env("SEALFLEET_API_URL", &stack.parts.api_url)
        .env("SEALFLEET_TOKEN_FILE", &token)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    Ok(command)
}

pub async fn exec(
    stack: &Stack,
    project: &Project,
    pool: &str,
    options: &[&str],
    script: &str,
) -> Outcome<Output> {
    let mut words = vec!["run", "exec", "--pool", pool];
    words.extend(options);
    words.extend(["--", "sh", "-c", script]);
    Ok(sealfleet(stack, project, &words)?.output().await?)
}

fn shell(script: &str) -> Value {
    json!({ "pool": PULL, "mode": "sandboxed", "command": ["sh", "-c", script] })
}

/// 70. A step's result comes out of it, and is checked; project B reads A's outputs neither through
///     the API nor with its worker's credentials, and nobody replaces what is there.
pub async fn s70_a_result_comes_out_and_stays_with_its_project(stack: &Stack) -> Outcome {
    let (alpha, beta) = stack.pair("outputs").await?;
    let worker = alpha.live_worker(stack).await?;
    let long = "head -c 200000 /dev/zero | tr '\\0' x";
    let at = "mkdir -p .sealfleet && cd .sealfleet";
    let outside = "ln -s /etc/passwd result.json";
    let hosted = |script: &str| merged(shell(script), &json!({ "pool": FARGATE }));
    let steps = [
        step(
            "plain",
            &shell(&format!(r#"{at} && echo '{{"answer": 42}}' > result.json"#)),
        ),
        step(
            "long",
            &shell(&format!(
                r#"{at} && (printf '"'; {long}; printf '"') > result.json"#
            )),
        ),
        step(
            "failed",
            &shell(&format!("{at} && echo '[1]' > result.json; exit 3")),
        ),
        step(
            "bad",
            &shell(&format!("{at} && echo '{{hidden' > result.json")),
        ),
        step("link", &shell(&format!("{at} && {outside}"))),
        step("pipe", &shell(&format!("{at} && mkfifo result.json"))),
        step("none", &shell("true")),
        step(
            "hosted",
            &hosted(&format!("{at} && echo '[2]' > result.json")),
        ),
        step(
            "hosted-bad",
            &hosted(&format!("{at} && echo '{{hidden' > result.json")),
        ),
    ];
    let run = alpha.enqueue(&run_of(&steps)).await?;
    let ended = alpha.finished(&run, SOON).await?;
    let client = alpha.member.client();
    let run_id = run.parse()?;
    let says = |what: &str| format!("{what}: {ended:?}\n  its worker says\n{}", worker.log());
    for (id, expected) in [
        ("plain", Some(json!({ "answer": 42 }))),
        ("long", Some(json!("x".repeat(200_000)))),
        ("failed", Some(json!([1]))),
        ("bad", None),
        ("link", None),
        ("pipe", None),
        ("none", None),
        ("hosted", Some(json!([2]))),
        ("hosted-bad", None),
    ] {
        let result = client.get_result(run_id, &id.parse()?).await;
        let result = result.ok().and_then(|view| view.result);
        ensure_eq!(result, expected, "{}", says(id));
    }
    for (id, why) in [
        ("bad", "not valid JSON"),
        ("link", "plain file"),
        ("pipe", "plain file"),
        ("hosted-bad", "not valid JSON"),
    ] {
        let step = alpha.step(&run, id).await?;
        let found =
            matches!(&step.failure, Some(Failed::BadResult { detail }) if detail.contains(why));
        ensure!(found, "{}", says(id));
        ensure!(
            !format!("{:?}", step.failure).contains("hidden"),
            "a failure tells content"
        );
    }
    ensure_eq!(
        alpha.step(&run, "plain").await?.state,
        "succeeded",
        "{}",
        says("plain")
    );
    ensure_eq!(
        alpha.step(&run, "none").await?.state,
        "succeeded",
        "{}",
        says("none")
    );

    // Through the API: to another project there is no such run.
    for what in ["output", "result"] {
        let path = format!("/v1/runs/{run}/steps/plain/{what}");
        beta.admin.get(&path).await?.refused(404, "not_found")?;
    }

    // With the credentials of a worker: each for its own claim alone, and to write alone.
    let mine = keys_of_a_claim(&alpha).await?;
    let theirs = keys_of_a_claim(&beta).await?;
    let once = [("if-none-match", "*")];
    let put = ("PUT", mine.key("output/00000000.json"));
    let answer = stack
        .aws
        .ask_as(&mine.keys, "s3", (put.0, &put.1), &once, "first")
        .await?;
    ensure_eq!(answer.status, 200, "{}", answer.text());
    let answer = stack
        .aws
        .ask_as(&mine.keys, "s3", (put.0, &put.1), &once, "second")
        .await?;
    ensure_eq!(answer.status, 412, "an object is replaced");
    let other_step = mine.key("output/x").replace("/only/", "/other/");
    let other_fence = mine.key("output/x").replace("/only/1/", "/only/2/");
    for (what, keys, (method, path)) in [
        (
            "B writes into A's run",
            &theirs.keys,
            ("PUT", mine.key("output/00000001.json")),
        ),
        (
            "B reads A's output",
            &theirs.keys,
            ("GET", mine.key("output/00000000.json")),
        ),
        (
            "A's worker reads its own output",
            &mine.keys,
            ("GET", mine.key("output/00000000.json")),
        ),
        (
            "A's worker writes another step's",
            &mine.keys,
            ("PUT", other_step),
        ),
        (
            "A's worker writes another claim's",
            &mine.keys,
            ("PUT", other_fence),
        ),
        (
            "A's worker deletes",
            &mine.keys,
            ("DELETE", mine.key("output/00000000.json")),
        ),
    ] {
        let answer = stack
            .aws
            .ask_as(keys, "s3", (method, &path), &once, "x")
            .await?;
        ensure!(
            answer.status == 403,
            "{what}: {} {}",
            answer.status,
            answer.text()
        );
    }
    Ok(())
}

/// 70. With `--outputs local` nothing of it leaves the host, and the API says where it lies.
pub async fn s70_what_stays_on_the_host_is_nowhere_else(stack: &Stack) -> Outcome {
    let project = stack.project("kept-local").await?;
    let store = BuiltinStore::create(stack, &project).await?;
    let rootfs = stack.parts.directory.join("rootfs");
    let options = [
        ("--outputs", "local".to_owned()),
        ("--heartbeat-seconds", "1".to_owned()),
    ];
    let worker = WorkerProcess::start_with(&rootfs, &options, stack, &project, &store, &[]).await?;
    let script = "mkdir .sealfleet; echo here; echo 1 > .sealfleet/result.json";
    let run = project.enqueue_step(&shell(script)).await?;
    let ended = project.finished(&run, SOON).await?;
    ensure_eq!(
        ended.state,
        RunState::Succeeded,
        "{ended:?}\n{}",
        worker.log()
    );
    let path = format!("/v1/runs/{run}/steps/only");
    let page = project.member.get(&format!("{path}/output")).await?.body;
    ensure_eq!(page["items"], json!([]), "output that is read");
    ensure_eq!(page["place"]["kind"], "worker", "its place");
    let result = project.member.get(&format!("{path}/result")).await?.body;
    ensure_eq!(
        (&result["bytes"], &result["result"]),
        (&json!(2), &Value::Null),
        "the result"
    );
    let place = page["place"]["place"].as_str().unwrap_or_default();
    let file = place.split_once(':').map_or("", |(_, file)| file);
    ensure_eq!(std::fs::read_to_string(file)?, "here\n", "what lies there");
    let bucket = keys_of_a_claim(&project).await?.bucket;
    let prefix = format!("{}/{run}/", project.id);
    ensure_eq!(
        stack.aws.keys(&bucket, &prefix).await?,
        Vec::<String>::new(),
        "stored objects"
    );
    Ok(())
}

pub struct Given {
    pub keys: Keys,
    bucket: String,
    prefix: String,
}

impl Given {
    fn key(&self, name: &str) -> String {
        format!("/{}/{}{name}", self.bucket, self.prefix)
    }
}

/// Claims a step as a worker that a test plays, and asks for the key to its outputs.
pub async fn keys_of_a_claim(project: &Project) -> Outcome<Given> {
    let label = unique();
    let worker = project
        .worker(&json!({ "labels": { "only": label } }))
        .await?;
    let run = project
        .enqueue_step(&json!({ "pool": PULL, "requires": { "only": label } }))
        .await?;
    let claimed: Claimed = worker.claim(&run, "only").await?;
    let lease = serde_json::from_value(claimed.with(&json!({})))?;
    let given = worker
        .caller
        .client()
        .get_output_credentials(&lease)
        .await?;
    Ok(Given {
        keys: Keys {
            access_key_id: given.access_key_id,
            secret_access_key: given.secret_access_key,
            session_token: Some(given.session_token),
        },
        bucket: given.bucket,
        prefix: given.prefix,
    })
}

/// 71. `run exec` prints the command's output and exits with its code; `run logs -f` follows a
///     running step.
pub async fn s71_exec_is_as_if_the_command_ran_here(stack: &Stack) -> Outcome {
    let project = stack.project("live").await?;
    let worker = project.live_worker(stack).await?;
    let script = "echo out; echo err >&2; printf 'no newline'; exit 7";
    for pool in [PULL, FARGATE] {
        let done = exec(stack, &project, pool, &[], script).await?;
        let (out, err) = (
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr),
        );
        let log = worker.log();
        ensure_eq!(done.status.code(), Some(7), "{pool}: {out}\n{err}\n{log}");
        ensure_eq!(out, "out\nno newline", "{pool}: {err}");
        ensure!(
            err.contains("err\n") && err.contains("exit code=7"),
            "{pool}: {err}"
        );
        for (script, code) in [
            ("true", 0),
            ("kill -9 $$", 137),
            ("exec sleep 60", 124),
            ("exit 121", 121),
        ] {
            let done = exec(stack, &project, pool, &["--timeout", "5s"], script).await?;
            let err = String::from_utf8_lossy(&done.stderr);
            ensure_eq!(done.status.code(), Some(code), "{pool}: `{script}`: {err}");
        }
    }

    // Followed while it runs: the first line comes before the step may end.
    let gate = format!("gate-{}", unique());
    let waits = format!("echo first; while ! test -e /tmp/{gate}; do sleep 0.1; done; echo last");
    let run = project
        .enqueue_step(&json!({ "pool": PULL, "mode": "bare", "command": ["sh", "-c", waits] }))
        .await?;
    let mut logs = sealfleet(stack, &project, &["run", "logs", &run, "-f"])?
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = logs
        .stdout
        .take()
        .ok_or("no output")
        .map_err(sealfleet_test_stack::Failure::new)?;
    let mut lines = BufReader::new(stdout).lines();
    let first = tokio::time::timeout(SOON, lines.next_line()).await??;
    ensure_eq!(first.as_deref(), Some("first"), "{}", worker.log());
    ensure_eq!(
        project.state(&run, "only").await?,
        "running",
        "while it is followed"
    );
    std::fs::write(format!("/tmp/{gate}"), "")?;
    let last = tokio::time::timeout(SOON, lines.next_line()).await??;
    std::fs::remove_file(format!("/tmp/{gate}"))?;
    ensure_eq!(last.as_deref(), Some("last"), "{}", worker.log());
    ensure!(
        logs.wait().await?.success(),
        "`run logs -f` ends with the step"
    );
    let view = project.step(&run, "only").await?;
    ensure_eq!(view.output_missing_bytes, 0, "bytes that were not stored");
    Ok(())
}

/// 72. 1 GB of output: head and tail are kept, the cut is visible in the run, memory stays flat.
pub async fn s72_a_gigabyte_of_output_is_cut_in_its_middle(stack: &Stack) -> Outcome {
    const GIB: u64 = 1 << 30;
    let project = stack.project("flood").await?;
    let worker = project.live_worker(stack).await?;
    let peak = || -> Outcome<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", worker.pid))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        Ok(kib.unwrap_or_default().trim().parse::<u64>()? / 1024)
    };
    let printing =
        |bytes: u64| format!("echo the beginning; yes 0123456789 | head -c {bytes}; echo the end");
    // Memory that any long output takes.
    let run = project.enqueue_step(&shell(&printing(32 << 20))).await?;
    project.finished(&run, SOON).await?;
    let before = peak()?;
    let script = printing(GIB);
    let run = project.enqueue_step(&shell(&script)).await?;
    let ended = project.finished(&run, Duration::from_secs(240)).await?;
    ensure_eq!(
        ended.state,
        RunState::Succeeded,
        "{ended:?}\n{}",
        worker.log()
    );
    let grown = peak()?.saturating_sub(before);
    ensure!(grown < 40, "the worker grew by {grown} MiB");

    let view = project.step(&run, "only").await?;
    let (kept, whole) = (8 * 1024 * 1024, GIB + 22);
    ensure_eq!(
        view.output_missing_bytes,
        whole - kept,
        "bytes that the run says are missing"
    );
    ensure!(view.output_cut_bytes > 0, "the worker's file is cut, too");
    let (client, run_id, only) = (project.member.client(), run.parse()?, "only".parse()?);
    let (mut text, mut missing, mut cursor) = (String::new(), 0, None::<String>);
    loop {
        let page = client
            .get_output(run_id, &only, None, cursor.as_deref())
            .await?;
        for piece in page.items {
            missing += piece.missing_bytes;
            text += &piece.text;
        }
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    ensure_eq!(
        (text.len() as u64, missing),
        (kept, whole - kept),
        "what is read"
    );
    ensure!(
        text.starts_with("the beginning\n") && text.ends_with("the end\n"),
        "both ends"
    );
    eprintln!("1 GiB of output: the worker grew by {grown} MiB");
    Ok(())
}

/// 70. A file goes in, an artifact comes out, and the next step finds it; what holds a secret is
///     withheld and told by names; project B reads none of it.
pub async fn s70_artifacts_come_out_and_go_on(stack: &Stack) -> Outcome {
    let (alpha, beta) = stack.pair("artifacts").await?;
    let worker = alpha.live_worker(stack).await?;
    let store = alpha.builtin_store(stack).await?;
    let tag = unique();
    let (name, value) = (format!("s70-{tag}"), canary::value());
    let pinned = store.put(&name, &value).await?.pinned();
    let (in_name, of_name) = (format!("in-a-name-{tag}"), format!("s70-{tag}-name"));
    let pinned_name = store.put(&of_name, &in_name).await?.pinned();
    let content = secrets(&[("API_KEY", &pinned), ("IN_NAME", &pinned_name)]);
    alpha.admin.create_profile(&name, &content).await?;

    let leaves = r#"mkdir -p out/deep && cp in.txt out/deep/copy && ln -s /etc/passwd out/link && mkfifo out/pipe
        printf 'x%sy' "$API_KEY" > out/config && echo fine > "out/n-$IN_NAME" && printf %s "$API_KEY" > told
        head -c 3000000 /dev/zero > large && echo left behind"#;
    let identity = |script: &str, more: &Value| {
        let step = json!({ "pool": PULL, "mode": "identity", "command": ["sh", "-c", script] });
        merged(step, more)
    };
    let named = json!(["out", "large", "absent", { "path": "told", "on_secret": "tell" }]);
    let first = json!({ "files": { "in.txt": { "text": "in\n" } }, "artifacts": named });
    let finds = r#"cd .sealfleet/needs/first/artifacts && test "$(cat out/deep/copy)" = in &&
        test $(stat -c %s large) = 3000000 && test ! -e out/config && test ! -e out/link"#;
    let takes = json!({ "needs": ["first"], "takes": ["first"] });
    let failing = json!({ "artifacts": ["patch"] });
    let steps = [
        step("first", &identity(leaves, &first)),
        step("second", &merged(shell(finds), &takes)),
        step(
            "failed",
            &merged(shell("echo why > patch; exit 3"), &failing),
        ),
        step(
            "odd",
            &merged(
                shell("mkdir d; touch \"$(printf 'd/\\377')\""),
                &json!({ "artifacts": ["d"] }),
            ),
        ),
    ];
    let run = merged(run_of(&steps), &json!({ "profile": name }));
    let run = alpha.enqueue(&run).await?;
    let ended = alpha.finished(&run, SOON).await?;
    let says = || format!("{ended:?}\n  its worker says\n{}", worker.log());
    for (id, state) in [
        ("first", "succeeded"),
        ("second", "succeeded"),
        ("failed", "failed"),
        ("odd", "failed"),
    ] {
        ensure_eq!(
            alpha.step(&run, id).await?.state,
            state,
            "`{id}`: {}",
            says()
        );
    }
    let odd = format!("{:?}", alpha.step(&run, "odd").await?.failure);
    ensure!(
        odd.contains("BadArtifacts") && odd.contains("UTF-8"),
        "{odd}"
    );

    let (client, run_id) = (alpha.member.client(), run.parse()?);
    let view = client
        .get_artifacts(run_id, &"first".parse()?, None)
        .await?;
    let shown = serde_json::to_value(&view)?;
    let items = shown["items"].as_array().cloned().unwrap_or_default();
    let item = |name: &str| {
        items
            .iter()
            .find(|item| item["name"] == name)
            .cloned()
            .unwrap_or_default()
    };
    ensure_eq!(shown["missing"], json!(["absent"]), "{shown}");
    ensure_eq!(shown["left_out"], 2, "{shown}");
    ensure_eq!(items.len(), 5, "{shown}");
    ensure_eq!(
        item("out/n-<redacted:IN_NAME>")["bytes"],
        5,
        "a name that held a secret: {shown}"
    );
    let config = item("out/config");
    let withheld = (
        &config["withheld"],
        &config["url"],
        &config["contains_secret"],
    );
    ensure_eq!(
        withheld,
        (&json!(true), &Value::Null, &json!(["API_KEY"])),
        "{shown}"
    );
    ensure_eq!(
        item("told")["contains_secret"],
        json!(["API_KEY"]),
        "{shown}"
    );
    let total = json!({ "files": 5, "bytes": 3_000_000 + 3 + 5 + 2 * value.len() + 2 });
    ensure_eq!(shown["total"], total, "{shown}");
    let event = alpha.event(&run, "artifact.contains_secret", SOON).await?;
    let files = json!([
        { "name": "out/config", "keys": ["API_KEY"], "withheld": true },
        { "name": "told", "keys": ["API_KEY"], "withheld": false },
    ]);
    ensure_eq!(event["files"], files, "the event");

    // As files of this machine, nothing else and nowhere else; a second download replaces nothing.
    let place = stack.scratch.join(format!("download-{tag}"));
    let words = ["run", "artifacts", &run, "--step", "first", "--download"];
    let words: Vec<&str> = words.into_iter().chain(place.to_str()).collect();
    let done = sealfleet(stack, &alpha, &words)?.output().await?;
    ensure!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    ensure_eq!(
        std::fs::read_to_string(place.join("out/deep/copy"))?,
        "in\n",
        "what came down"
    );
    ensure_eq!(
        std::fs::metadata(place.join("large"))?.len(),
        3_000_000,
        "what came down"
    );
    ensure!(
        !place.join("out/config").exists(),
        "what was withheld came down"
    );
    let again = sealfleet(stack, &alpha, &words)?.output().await?;
    ensure!(!again.status.success(), "files were replaced");

    // A failed step's artifacts are there, too; and by one command, in and out.
    let patch = client
        .get_artifacts(run_id, &"failed".parse()?, None)
        .await?;
    ensure_eq!(patch.total.files, 1, "{patch:?}");
    let (into, from) = (
        stack.scratch.join(format!("exec-{tag}")),
        stack.scratch.join(format!("in-{tag}")),
    );
    std::fs::write(&from, "in and out")?;
    let file = format!("a.txt={}", from.display());
    let into_text = into.display().to_string();
    let options = [
        "--file",
        &file,
        "--artifact",
        "b.txt",
        "--download",
        &into_text,
    ];
    let done = exec(stack, &alpha, PULL, &options, "cp a.txt b.txt").await?;
    ensure!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    ensure_eq!(
        std::fs::read_to_string(into.join("b.txt"))?,
        "in and out",
        "in and out"
    );

    // Nothing of it for another project: not by the API, not by its own signed URLs or keys.
    let path = format!("/v1/runs/{run}/steps/first/artifacts");
    beta.admin.get(&path).await?.refused(404, "not_found")?;
    let url = item("large")["url"].as_str().unwrap_or_default().to_owned();
    let status = |url: String| async move {
        Ok::<_, reqwest::Error>(reqwest::get(url).await?.status().as_u16())
    };
    ensure_eq!(status(url.clone()).await?, 200, "its own URL");
    for other in [
        url.replacen("artifacts/0000000", "artifacts/1000000", 1),
        url.replacen("/first/", "/failed/", 1),
        url.replacen(&format!("/{}/", alpha.id), &format!("/{}/", beta.id), 1),
    ] {
        ensure!(other != url, "another object");
        ensure_eq!(status(other).await?, 403, "a URL of another object");
    }
    let path = url
        .split('?')
        .next()
        .and_then(|url| url.strip_prefix(&stack.parts.endpoint));
    for project in [&alpha, &beta] {
        let keys = keys_of_a_claim(project).await?.keys;
        let get = ("GET", path.unwrap_or_default());
        let answer = stack.aws.ask_as(&keys, "s3", get, &[], "").await?;
        ensure_eq!(answer.status, 403, "{}", answer.text());
    }
    Ok(())
}
