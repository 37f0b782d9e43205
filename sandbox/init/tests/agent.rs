//! Real CLI agents in a real sandbox, with the stand-in of their models' APIs on this host.
//!
//! `scripts/lib/npm_packages.py images/agents images/agents/node_modules` installs them, and
//! `scripts/test` does so. Where one is missing its tests are skipped and say so, unless
//! `SEALFLEET_TEST_AGENTS=required`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sealfleet_bubblewrap::{Bind, Network};
use sealfleet_init::agent;
use sealfleet_local_model::{Fault, Model, Scripts, Turn};
use serde_json::{Value, json};

use crate::worker::{Ran, VALUE, Worker};

/// Where the agents stand in the sandbox.
const AGENTS: &str = "/run/agents";

/// The directory of a CLI's program, if it is installed.
fn installed(cli: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../images/agents/node_modules");
    let program = match cli {
        "codex" => "@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/bin/codex",
        _ => "@anthropic-ai/claude-code-linux-x64/claude",
    };
    let program = folder.join(program);
    if program.exists() {
        return program.canonicalize().unwrap().parent().map(Path::to_owned);
    }
    let required =
        std::env::var_os("SEALFLEET_TEST_AGENTS").is_some_and(|value| value == "required");
    assert!(!required, "`{}` is missing", program.display());
    eprintln!(
        "skipped: `{cli}` is not installed; `python3 scripts/lib/npm_packages.py images/agents images/agents/node_modules` \
         does it"
    );
    None
}

/// What came of an agent.
struct Done {
    /// What init told the worker of it.
    told: Value,
    /// The document that became the step's result; null if there is none.
    result: Value,
    /// How its command ended.
    ended: Value,
    output: String,
}

/// The programs of `folder` where the sandbox's user can reach them: a checkout may lie in a
/// directory of somebody else's.
fn within_reach(folder: &Path, worker: &Worker) -> PathBuf {
    let reached = worker.directory.path().join("agents");
    std::fs::create_dir(&reached).unwrap();
    for file in std::fs::read_dir(folder).unwrap() {
        let (from, to) = {
            let file = file.unwrap();
            (file.path(), reached.join(file.file_name()))
        };
        // Another file system has no link to it.
        if std::fs::hard_link(&from, &to).is_err() {
            std::fs::copy(&from, &to).unwrap();
        }
    }
    reached
}

/// Runs `agent` in a sandbox that reaches the model, with the key from the builtin store.
async fn run(model: &Model, agent: &Value) -> Option<Done> {
    let cli = agent["cli"].as_str().unwrap().to_owned();
    let program = installed(&cli)?;
    let mut worker = Worker::new().await;
    worker.network = Network::Host;
    worker.binds = vec![Bind {
        source: within_reach(&program, &worker),
        target: AGENTS.into(),
        writable: false,
    }];
    worker.limits.memory_bytes = 2 * 1024 * 1024 * 1024;
    worker.limits.pids = 1024;
    worker.put("models/key", VALUE);
    let key = if cli == "codex" {
        "OPENAI_API_KEY"
    } else {
        "ANTHROPIC_API_KEY"
    };
    let step = json!({
        "project": "healthcare",
        "agent": agent,
        "env": {
            "PATH": format!("{AGENTS}:/usr/bin:/bin"),
            "OPENAI_BASE_URL": format!("{}/v1", model.url()),
            "ANTHROPIC_BASE_URL": model.url(),
            "CLAUDE_CODE_MAX_RETRIES": "0",
        },
        "secrets": [{"name": key, "uri": "builtin://models/key", "version": null}],
        "tool": cli,
        "tools": { cli.as_str(): [key] },
        "resolve_millis": 30_000,
    });
    let mut started = worker.start(&step).await;
    assert!(started.status["resolved"].is_array(), "{}", started.status);
    started.go().await;
    let (told, mut rest) = started.told().await;
    let (result, ended) = end_of(&mut rest).await;
    let (_, out, err) = rest.end().await;
    let output = out + &err;
    assert!(!output.contains(VALUE), "the key is in the output");
    // `receive` holds every message of init to the same.
    let asked = model.requests();
    assert!(!asked.is_empty(), "the model was not asked: {output}");
    assert_eq!(model.requests_with(VALUE), asked.len(), "all with the key");
    Some(Done {
        told: told["agent"].clone(),
        result,
        ended,
        output,
    })
}

/// The step's result, null if there is none, and how its command ended.
async fn end_of(started: &mut Ran) -> (Value, Value) {
    let mut told = started.receive().await;
    let mut result = Value::Null;
    if let Some(json) = told["result"]["json"].as_str() {
        result = serde_json::from_str(json).unwrap();
        told = started.receive().await;
    }
    (result, told["ended"]["end"].clone())
}

fn editing() -> [Turn; 2] {
    [
        Turn::shell("echo edited > note.txt && cat note.txt && id -u").costs(1000, 400, 50),
        Turn::say("I wrote `note.txt`.").costs(1200, 1000, 20),
    ]
}

/// Holds an agent to what [`editing`] has it use; `cost` is in US dollars. Answers its report.
fn edited(done: &Done, cost: f64) -> &Value {
    assert_eq!(
        done.ended,
        json!({"exited": {"code": 0}}),
        "{}",
        done.output
    );
    let report = &done.told["report"];
    let used = json!({"input_tokens": 2200, "cached_input_tokens": 1400, "output_tokens": 70});
    assert_eq!(report["usage"], used, "{}", done.output);
    assert_eq!(
        (&report["turns"], &report["cost_usd"]),
        (&json!(2), &json!(cost))
    );
    report
}

#[tokio::test]
async fn codex_works_with_the_tenants_key_and_tells_what_it_used() {
    let model = Model::start(Scripts::all(editing())).await.unwrap();
    let agent = json!({ "cli": "codex", "prompt": "edit the note", "model": "gpt-5.1-codex", "max_turns": 2, "budget_usd": 0.01 });
    let Some(done) = run(&model, &agent).await else {
        return;
    };
    let report = edited(&done, 0.001_875);
    assert_eq!(done.told["fault"], Value::Null);
    assert!(report["session_id"].is_string(), "{report}");
    assert_eq!(
        done.result,
        json!({"message": "I wrote `note.txt`.", "session_id": report["session_id"]})
    );
    // The file was there, inside.
    assert!(done.output.contains(r"edited\n"), "{}", done.output);
    assert!(
        done.output.contains("I wrote `note.txt`."),
        "{}",
        done.output
    );
}

#[tokio::test]
async fn claude_code_works_with_the_tenants_key_and_tells_what_it_used() {
    let model = Model::start(Scripts::all(editing())).await.unwrap();
    let agent = json!({ "cli": "claude-code", "prompt": "edit the note", "model": "claude-sonnet-4-5", "max_turns": 2, "budget_usd": 1 });
    let Some(done) = run(&model, &agent).await else {
        return;
    };
    edited(&done, 0.003_87);
    assert!(done.output.contains("edited"), "{}", done.output);
}

#[tokio::test]
async fn each_error_of_the_provider_is_told_by_its_kind() {
    let faults = [
        (Fault::RateLimit, "rate_limited"),
        (Fault::Auth, "auth"),
        (Fault::Context, "context"),
        (Fault::Drop, "network"),
    ];
    // Side by side: each CLI tries again for some seconds.
    let mut running = tokio::task::JoinSet::new();
    for cli in ["codex", "claude-code"] {
        for (fault, told) in faults {
            running.spawn(async move {
                let model = Model::start(Scripts::all([Turn::fail(fault)]))
                    .await
                    .unwrap();
                let agent = json!({ "cli": cli, "prompt": "edit the note", "model": "m" });
                let Some(done) = run(&model, &agent).await else {
                    return;
                };
                assert_eq!(done.told["fault"], told, "{cli}: {}", done.output);
                assert_ne!(done.ended, json!({"exited": {"code": 0}}), "{cli} {told}");
            });
        }
    }
    running.join_all().await;
}

#[tokio::test]
async fn an_agent_over_its_turns_or_its_budget_is_stopped() {
    let endless = [Turn::shell("sleep 0.2; echo again").costs(100_000, 0, 1000)];
    let models = [
        ("codex", "gpt-5.1-codex"),
        ("claude-code", "claude-sonnet-4-5"),
    ];
    for (cli, name) in models {
        let limits = [
            ("max_turns", json!(3), "over_turns"),
            ("budget_usd", json!(0.5), "over_budget"),
        ];
        for (limit, most, told) in limits {
            let model = Model::start(Scripts::all(endless.clone())).await.unwrap();
            let agent = json!({ "cli": cli, "prompt": "go on", "model": name, limit: most });
            let Some(done) = run(&model, &agent).await else {
                break;
            };
            assert_eq!(done.told["fault"], told, "{cli}: {}", done.output);
            let report = &done.told["report"];
            if told == "over_budget" {
                assert!(report["cost_usd"].as_f64() > Some(0.5), "{cli}: {report}");
            } else {
                assert!(report["turns"].as_u64() >= Some(3), "{cli}: {report}");
            }
        }
    }
}

/// Longer than one argument may be (128 KiB).
#[tokio::test]
async fn a_prompt_of_200_kb_reaches_the_agent() {
    let Some(codex) = installed("codex") else {
        return;
    };
    let model = Model::start(Scripts::all([Turn::say("read")]))
        .await
        .unwrap();
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (home, workspace) = (place.path().join("home"), place.path().join("work"));
    std::fs::create_dir_all(workspace.join("in")).unwrap();
    std::fs::write(workspace.join("in/task.md"), "read this. ".repeat(20_000)).unwrap();
    let asked = json!({ "cli": "codex", "prompt_file": "/workspace/in/task.md" });
    let url = format!("{}/v1", model.url());
    let prepared = agent::prepare(
        &serde_json::from_value(asked).unwrap(),
        home.to_str().unwrap(),
        &workspace,
        &|_| Some(url.clone()),
    )
    .unwrap();
    let mut command = Command::new(codex.join("codex"));
    command
        .args(&prepared.command[1..])
        .env("HOME", &home)
        .env("OPENAI_API_KEY", "key")
        .current_dir(&workspace)
        .stdin(prepared.prompt)
        .stderr(Stdio::inherit());
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .unwrap();
    let output = output.unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    let [request] = &model.requests()[..] else {
        panic!("{:?}", model.requests())
    };
    assert!(request.bytes > 200_000, "{request:?}");
}

#[tokio::test]
async fn a_custom_agent_reads_its_prompt_and_its_last_words_are_its_message() {
    let worker = Worker::new().await;
    let script = "read -r prompt; echo \"I was asked to $prompt\"; test ! -t 0";
    let step = json!({
        "project": "healthcare",
        "agent": { "cli": "custom", "prompt": "count the files\n", "args": ["sh", "-c", script] },
        "resolve_millis": 30_000,
    });
    let mut started = worker.start(&step).await;
    started.go().await;
    let (told, mut rest) = started.told().await;
    assert_eq!(told, json!({"agent": {"report": {}}}));
    let (result, ended) = end_of(&mut rest).await;
    let message = "I was asked to count the files\n";
    assert_eq!(result, json!({"message": message, "session_id": null}));
    assert_eq!(ended, json!({"exited": {"code": 0}}));
    assert_eq!(rest.end().await.1, "I was asked to count the files\n");
}

#[tokio::test]
async fn an_agent_that_cannot_be_run_starts_nothing() {
    let worker = Worker::new().await;
    let base = json!({ "project": "healthcare", "resolve_millis": 30_000 });
    let cases = [
        (
            json!({ "cli": "codex", "prompt_file": "task.md" }),
            "task.md",
        ),
        (json!({ "cli": "codex", "prompt_file": "home" }), "home"),
        (json!({ "cli": "codex" }), "agent.prompt"),
        (
            json!({ "cli": "codex", "prompt": "a", "budget_usd": 1 }),
            "agent.budget_usd",
        ),
        (json!({ "cli": "custom", "prompt": "a" }), "agent.args"),
    ];
    for (agent, said) in cases {
        let mut step = base.clone();
        step["agent"] = agent;
        let (code, message) = worker.error_of(&step).await;
        assert_eq!(code, "bad_step");
        assert!(message.contains(said), "{message}");
    }
    let mut both = base;
    both["agent"] = json!({ "cli": "codex", "prompt": "a" });
    both["command"] = json!(["true"]);
    assert_eq!(worker.error_of(&both).await.0, "bad_step");
}

#[test]
fn the_message_is_the_result_unless_the_agent_has_written_one() {
    let asked = json!({ "cli": "custom", "prompt": "a", "args": ["true"] });
    let asked = serde_json::from_value(asked).unwrap();
    let said = |own: Option<&str>, words: &[u8]| {
        let place = tempfile::tempdir().unwrap();
        let result = place.path().join(".sealfleet/result.json");
        if let Some(own) = own {
            std::fs::create_dir(result.parent().unwrap()).unwrap();
            std::fs::write(&result, own).unwrap();
        }
        let prepared = agent::prepare(&asked, "/nowhere", place.path(), &|_| None).unwrap();
        sealfleet_init::supervise::OutputTap::output(&mut *prepared.watched.lock().unwrap(), words);
        agent::end(&prepared.watched, place.path());
        std::fs::read_to_string(&result).ok()
    };
    let result: Value = serde_json::from_str(&said(None, b"done \x1b[2J").unwrap()).unwrap();
    assert_eq!(
        result,
        json!({ "message": "done \u{1b}[2J", "session_id": null })
    );
    assert_eq!(
        said(Some("{\"mine\":1}"), b"done").as_deref(),
        Some("{\"mine\":1}")
    );
    assert_eq!(said(None, b""), None);
    let long: Value = serde_json::from_str(&said(None, &[b'x'; 40_000]).unwrap()).unwrap();
    assert_eq!(long["message_is_cut"], true);
}
