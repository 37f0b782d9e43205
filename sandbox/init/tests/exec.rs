//! `sealfleet-init exec` as the first process of a real sandbox, with the test in the worker's
//! place.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::time::Duration;

use sealfleet_bubblewrap::Exit;
use sealfleet_identity_builtin::store;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::worker::{VALUE, Worker, step};

/// How often `needle` is in the memory of a process of this host.
fn found_in_memory(process: u32, needle: &[u8]) -> usize {
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let mut memory = File::open(format!("/proc/{process}/mem")).unwrap();
    let mut found = 0;
    for line in maps
        .lines()
        .filter(|line| !line.contains("[vvar") && !line.contains("[vsyscall]"))
    {
        let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let (start, end) = (
            u64::from_str_radix(start, 16).unwrap(),
            u64::from_str_radix(end, 16).unwrap(),
        );
        let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
        memory.seek(SeekFrom::Start(start)).unwrap();
        if memory.read_exact(&mut bytes).is_ok() {
            found += bytes
                .windows(needle.len())
                .filter(|window| *window == needle)
                .count();
        }
    }
    found
}

fn children(process: u32) -> Vec<u32> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task"))
        .unwrap()
        .flatten();
    let lists =
        threads.map(|thread| std::fs::read_to_string(thread.path().join("children")).unwrap());
    lists
        .flat_map(|list| {
            list.split_whitespace()
                .map(|child| child.parse().unwrap())
                .collect::<Vec<u32>>()
        })
        .collect()
}

#[tokio::test]
async fn the_command_has_its_secrets_and_nothing_else() {
    let worker = Worker::new().await;
    let version = worker.put("crm/api-key", VALUE);
    let mut started = worker.start(&step("printf %s \"$API_KEY\" | sha256sum; env | sed 's/=.*//' | sort | tr '\\n' ' '; ls /proc/self/fd | tr '\\n' ' '")).await;
    assert_eq!(
        started.status,
        json!({"resolved": [{"name": "API_KEY", "uri": "builtin://crm/api-key", "version": version}]})
    );
    started.go().await;
    let (exit, out, err) = started.end().await;
    assert_eq!((exit, err.as_str()), (Exit::Code(0), ""));
    let digest: String = Sha256::digest(VALUE)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    // 3 is the directory `ls` reads.
    assert_eq!(
        out,
        format!("{digest}  -\nAPI_KEY HOME LANG PATH PLAIN PWD PYTHONUNBUFFERED 0 1 2 3 ")
    );
}

#[tokio::test]
async fn a_pinned_version_is_the_one_the_command_gets() {
    let worker = Worker::new().await;
    let version = worker.put("crm/api-key", "the-first-value");
    worker.put("crm/api-key", "the-second-value");
    let mut pinned = step("test \"$API_KEY\" = the-first-value && printf first");
    pinned["secrets"][0]["version"] = version.into();
    let mut started = worker.start(&pinned).await;
    started.go().await;
    assert_eq!(started.end().await.1, "first");
}

#[tokio::test]
async fn nothing_runs_without_the_workers_go() {
    let worker = Worker::new().await;
    worker.put("crm/api-key", VALUE);
    let started = worker.start(&step("echo ran")).await;
    assert!(
        tokio::time::timeout(Duration::from_millis(300), started.sandbox.wait())
            .await
            .is_err(),
        "it waits"
    );
    // The worker is gone.
    let (exit, out, err) = started.abandon().await;
    assert_eq!((exit, out.as_str()), (Exit::Code(125), ""));
    assert!(err.contains("did not let the command go"), "{err}");
    // Something else comes instead.
    for other in [json!({"step": step("echo ran")}), json!("went"), json!({})] {
        let mut started = worker.start(&step("echo ran")).await;
        started.send(&other).await;
        let (exit, out, _) = started.end().await;
        assert_eq!((exit, out.as_str()), (Exit::Code(125), ""), "{other}");
    }
    // Asked to stop while waiting.
    let started = worker.start(&step("echo ran")).await;
    assert_eq!(
        started.sandbox.stop(Duration::from_secs(10)).await,
        Exit::Signal(15)
    );
}

#[tokio::test]
async fn the_worker_is_told_the_commands_end() {
    let worker = Worker::new().await;
    worker.put("crm/api-key", VALUE);
    let exited = |code: i32| json!({"exited": {"code": code}});
    let signalled = |signal: i32| json!({"signalled": {"signal": signal}});
    for (script, end) in [
        ("exit 0", exited(0)),
        ("exit 7", exited(7)),
        ("kill -TERM $$", signalled(15)),
        ("kill -KILL $$", signalled(9)),
        // The codes by which shells speak of signals and of programs that cannot be run.
        ("exit 137", exited(137)),
        ("exit 143", exited(143)),
        ("exit 126", exited(126)),
        ("exit 127", exited(127)),
    ] {
        let mut started = worker.start(&step(script)).await;
        started.go().await;
        assert_eq!(
            started.receive().await,
            json!({"ended": {"end": end}}),
            "{script}"
        );
    }
    let long = "x".repeat(200 * 1024);
    for (command, errno, words) in [
        (json!(["/no/such/program"]), 2, "No such file or directory"),
        (json!(["/etc/passwd"]), 13, "Permission denied"),
        (json!(["true", long]), 7, "Argument list too long"),
    ] {
        let mut step = step("");
        step["command"] = command;
        let mut started = worker.start(&step).await;
        started.go().await;
        let end = json!({"cannot_execute": {"errno": errno, "detail": words}});
        assert_eq!(started.receive().await, json!({"ended": {"end": end}}));
    }
}

#[tokio::test]
async fn beside_the_command_init_alone_holds_values_while_it_runs() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("skipped: only root can look into the memory of init");
    }
    let worker = Worker::new().await;
    worker.put("crm/api-key", VALUE);
    let mut started = worker.start(&step("echo ready; sleep 60; :")).await;
    let needle = &VALUE.as_bytes()[11..40];
    assert!(
        found_in_memory(started.sandbox.pid(), needle) > 0,
        "it is found where it is"
    );
    started.go().await;
    assert_eq!(started.line().await, "ready");
    let init = started.sandbox.pid();
    let command = children(init);
    assert_eq!(command.len(), 1);
    assert!(
        found_in_memory(command[0], needle) > 0,
        "the command has it"
    );
    // Init holds what it searches the output for, and the end of what it has read. Nobody else.
    assert_eq!(found_in_memory(started.sandbox.monitor_pid(), needle), 0);
    // The master key is gone as well.
    let key = std::fs::read_to_string(worker.key()).unwrap();
    assert_eq!(found_in_memory(init, &key.trim().as_bytes()[20..50]), 0);
}

#[tokio::test]
async fn the_command_cannot_look_into_init() {
    let worker = Worker::new().await;
    worker.put("crm/api-key", VALUE);
    let mut started = worker
        .start(&step(
            "cat /proc/1/environ; cat /proc/1/maps; ls /proc/1/fd; \
             head -c1 /proc/1/mem; echo x > /proc/1/fd/1; cat /proc/1/task/*/environ; \
             for t in /proc/1/task/*; do head -c1 $t/mem; done",
        ))
        .await;
    started.go().await;
    let (_, out, err) = started.end().await;
    assert_eq!(out, "");
    // Six, and one for each thread of init but the last command's first.
    assert!(err.matches("ermission denied").count() >= 8, "{err}");
    assert_eq!(err.lines().count(), err.matches("ermission denied").count());
}

#[tokio::test]
async fn exit_codes_are_exact_and_orphans_are_reaped() {
    let worker = Worker::new().await;
    worker.put("crm/api-key", VALUE);
    for (script, exit) in [
        ("exit 0", Exit::Code(0)),
        ("exit 42", Exit::Code(42)),
        ("exit 255", Exit::Code(255)),
        ("kill -KILL $$", Exit::Signal(9)),
        ("kill -SEGV $$", Exit::Signal(11)),
        // Three orphans end; none stays as a zombie of PID 1.
        (
            "for i in 1 2 3; do (sleep 0.1 & ); done; sleep 0.5; exit $(cat /proc/[0-9]*/stat | grep -c ') Z ')",
            Exit::Code(0),
        ),
    ] {
        let mut started = worker.start(&step(script)).await;
        started.go().await;
        assert_eq!(started.end().await.0, exit, "{script}");
    }
    let mut missing = step("");
    missing["command"] = json!(["/no/such/program"]);
    let mut started = worker.start(&missing).await;
    started.go().await;
    let (exit, _, err) = started.end().await;
    assert_eq!(exit, Exit::Code(127));
    assert!(err.contains("`/no/such/program` cannot be run"), "{err}");
}

#[tokio::test]
async fn a_command_finds_its_files_and_its_standard_input() {
    let worker = Worker::new().await;
    worker.put("crm/api-key", VALUE);
    let mut given = step("pwd; cat src/a.txt; ./run; cat; echo over; readlink /proc/self/fd/0");
    given["inputs"] = json!({
        "files": { "src/a.txt": { "text": "one\n" }, "run": { "text": "#!/bin/sh\necho two\n" } },
        "stdin": { "text": "three\n".repeat(20_000) },
    });
    let mut started = worker.start(&given).await;
    started.go().await;
    let (exit, out, err) = started.end().await;
    assert_eq!(exit, Exit::Code(0), "{err}");
    let (before, after) = ("/workspace\none\ntwo\n", "over\n/memfd:stdin (deleted)\n");
    assert!(out.starts_with(before) && out.ends_with(after), "{out}");
    assert_eq!(
        out.len(),
        before.len() + "three\n".len() * 20_000 + after.len()
    );

    // Nothing to read, and no file that leads out.
    let mut started = worker.start(&step("cat; echo over")).await;
    started.go().await;
    let (exit, out, _) = started.end().await;
    assert_eq!((exit, out.as_str()), (Exit::Code(0), "over\n"));
    let mut out_of_it = step("echo ran");
    out_of_it["inputs"] = json!({ "files": { "../etc/passwd": { "text": "x" } } });
    assert_eq!(worker.error_of(&out_of_it).await.0, "bad_step");
    let mut in_the_way = step("echo ran");
    in_the_way["inputs"] = json!({ "files": { "home": { "text": "x" } } });
    let (code, message) = worker.error_of(&in_the_way).await;
    assert_eq!(code, "bad_step");
    assert!(message.contains("the step's file `home`"), "{message}");
}

/// The three standard streams are one terminal, and the session's own. Its input is empty, and
/// nothing is echoed or changed on its way out.
#[tokio::test]
async fn a_command_may_have_a_terminal() {
    let worker = Worker::new().await;
    worker.put("crm/api-key", VALUE);
    let look = "for stream in 0 1 2; do test -t $stream && echo $stream; done; stty size; echo $TERM; \
                cat; echo aside >&2; echo \"$API_KEY\" >/dev/tty; (setsid sleep 60 &)";
    let mut asks = step(look);
    asks["tty"] = json!(true);
    for (term, shown) in [(None, "dumb"), (Some("xterm"), "xterm")] {
        if let Some(term) = term {
            asks["env"]["TERM"] = json!(term);
        }
        let mut started = worker.start(&asks).await;
        started.go().await;
        let (exit, out, err) = started.end().await;
        let expected = format!("0\n1\n2\n24 80\n{shown}\naside\n<redacted:API_KEY>\n");
        assert_eq!((exit, out), (Exit::Code(0), expected), "{err}");
    }
}

#[tokio::test]
async fn stopping_reaches_the_command_and_its_children() {
    let worker = Worker::new().await;
    worker.put("crm/api-key", VALUE);
    let mut started = worker
        .start(&step(
            "trap 'echo asked; exit 7' TERM; echo ready; sleep 60 & wait; wait",
        ))
        .await;
    started.go().await;
    assert_eq!(started.line().await, "ready");
    assert_eq!(
        started.sandbox.stop(Duration::from_secs(10)).await,
        Exit::Code(7)
    );
    assert_eq!(started.line().await, "asked");
    let mut started = worker.start(&step("echo ready; sleep 60; echo late")).await;
    started.go().await;
    assert_eq!(started.line().await, "ready");
    assert_eq!(
        started.sandbox.stop(Duration::from_secs(10)).await,
        Exit::Signal(15)
    );
}

/// A command that leaves its session and its parent, and lives until it is told to end or killed.
const ESCAPE: &str =
    "(setsid sh -c 'trap \"echo asked; exit\" TERM; echo ready; while :; do sleep 0.05; done' &)";

#[tokio::test]
async fn what_the_command_started_is_asked_to_end_wherever_it_went() {
    let worker = Worker::new().await;
    worker.put("crm/api-key", VALUE);
    let mut started = worker.start(&step(&format!("{ESCAPE}; sleep 60"))).await;
    started.go().await;
    assert_eq!(started.line().await, "ready");
    let stopped = started.sandbox.stop(Duration::from_secs(10)).await;
    assert_eq!(stopped, Exit::Signal(15));
    assert_eq!(started.line().await, "asked");
}

#[tokio::test]
async fn the_last_words_of_a_killed_command_arrive() {
    let worker = Worker::new().await;
    worker.put("crm/api-key", VALUE);
    let python = "python3 -c 'import time; print(\"last words\"); time.sleep(600)'";
    let mut started = worker.start(&step(python)).await;
    started.go().await;
    // A program that ends by itself writes them in any case: this one does not.
    let line = tokio::time::timeout(Duration::from_secs(20), started.line()).await;
    assert_eq!(line.as_deref(), Ok("last words"));
    // A step that wants its own way has it.
    let mut own = step("echo $PYTHONUNBUFFERED");
    own["env"] = json!({"PYTHONUNBUFFERED": ""});
    let mut started = worker.start(&own).await;
    started.go().await;
    assert_eq!(started.end().await.1, "\n");
}

#[tokio::test]
async fn what_cannot_be_resolved_is_told_by_name() {
    let worker = Worker::new().await;
    worker.put("crm/api-key", VALUE);
    let with = |field: &str, value: Value| {
        let mut step = step("echo ran");
        step["secrets"][0][field] = value;
        step
    };
    let (code, message) = worker
        .error_of(&with("uri", "elsewhere://crm/api-key".into()))
        .await;
    assert_eq!(code, "unknown_scheme");
    assert!(
        message.contains("`elsewhere://crm/api-key`") && message.contains("`builtin://`"),
        "{message}"
    );
    let (code, message) = worker
        .error_of(&with("uri", "builtin://crm/other".into()))
        .await;
    assert_eq!(code, "unknown_secret");
    assert!(message.contains("`builtin://crm/other`"), "{message}");
    assert_eq!(
        worker.error_of(&with("uri", "plain".into())).await.0,
        "bad_reference"
    );
    assert_eq!(
        worker.error_of(&with("version", "1".into())).await.0,
        "unknown_version"
    );
    assert_eq!(
        worker.error_of(&with("name", "A=B".into())).await.0,
        "bad_step"
    );
    let mut other = step("echo ran");
    other["project"] = "finance".into();
    assert_eq!(worker.error_of(&other).await.0, "wrong_project");
    other["surprise"] = true.into();
    assert_eq!(worker.error_of(&other).await.0, "bad_step");
    store::create(
        &worker.directory.path().join("other"),
        &worker.directory.path().join("other-key"),
        "healthcare",
    )
    .unwrap();
    std::fs::copy(worker.directory.path().join("other-key"), worker.key()).unwrap();
    assert_eq!(worker.error_of(&step("echo ran")).await.0, "wrong_key");
}

/// The step of [`step`] with a second secret, its tool and its access lists; prints which variables
/// the command has.
fn with_tool(tool: &Value, tools: &Value) -> Value {
    let mut step = step("env | sed 's/=.*//' | sort | grep -E '_KEY|PLAIN' | tr '\\n' ' '");
    step["secrets"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "OTHER_KEY", "uri": "builtin://crm/other-key"}));
    (step["tool"], step["tools"]) = (tool.clone(), tools.clone());
    step
}

#[tokio::test]
async fn a_tool_gets_the_secrets_that_it_is_granted() {
    let worker = Worker::new().await;
    worker.put("crm/api-key", VALUE);
    worker.put("crm/other-key", VALUE);
    let lists = json!({"claude": ["OTHER_KEY"], "shell": ["*"], "codex": []});
    for (tool, tools, granted) in [
        (json!("claude"), &lists, vec!["OTHER_KEY"]),
        (json!("shell"), &lists, vec!["API_KEY", "OTHER_KEY"]),
        (json!("codex"), &lists, vec![]),
        (json!("unlisted"), &lists, vec![]),
        (Value::Null, &lists, vec![]),
        (json!("claude"), &json!({}), vec![]),
        (json!("claude"), &Value::Null, vec!["API_KEY", "OTHER_KEY"]),
        (Value::Null, &Value::Null, vec!["API_KEY", "OTHER_KEY"]),
    ] {
        let mut started = worker.start(&with_tool(&tool, tools)).await;
        let resolved = started.status["resolved"].as_array().unwrap();
        let names: Vec<&str> = resolved
            .iter()
            .map(|found| found["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, granted, "{tool} under {tools}");
        started.go().await;
        let seen = started.end().await.1;
        let expected: String = granted
            .iter()
            .copied()
            .chain(["PLAIN"])
            .map(|name| format!("{name} "))
            .collect();
        assert_eq!(seen, expected, "{tool} under {tools}");
    }
}

#[tokio::test]
async fn what_is_not_granted_is_not_even_looked_for() {
    let worker = Worker::new().await;
    worker.put("crm/other-key", VALUE);
    // `builtin://crm/api-key` is not there.
    let granted = worker
        .start(&with_tool(
            &json!("claude"),
            &json!({"claude": ["OTHER_KEY"]}),
        ))
        .await;
    assert_eq!(granted.status["resolved"].as_array().unwrap().len(), 1);
    std::fs::write(worker.store(), "not a store").unwrap();
    let denied = worker
        .start(&with_tool(&json!("codex"), &json!({"codex": []})))
        .await;
    assert_eq!(
        denied.status,
        json!({"resolved": []}),
        "the store is not opened"
    );
    assert_eq!(
        worker
            .error_of(&with_tool(&json!("Not a tool"), &json!({})))
            .await
            .0,
        "bad_step"
    );
}

#[tokio::test]
async fn a_step_without_secrets_needs_no_store() {
    let worker = Worker::new().await;
    std::fs::write(worker.store(), "not a store").unwrap();
    let mut plain = step("echo $PLAIN");
    plain["secrets"] = json!([]);
    let mut started = worker.start(&plain).await;
    assert_eq!(started.status, json!({"resolved": []}));
    started.go().await;
    assert_eq!(started.end().await.1, "knob\n");
}
