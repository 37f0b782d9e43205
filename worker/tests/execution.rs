//! Commands that really run: bare ones behind their guard, and sandboxed ones behind a stand-in for
//! `sealfleet-init` that speaks over its channel.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sealfleet_bubblewrap::{Cgroups, Launcher, LauncherConfig, Limits, Roots, build_rootfs};
use sealfleet_channel::{
    Channel as _, CommandEnd, Descriptors, Egress, Socket, ToHost, ToInit, input_name,
};
use sealfleet_client::types::Claim;
use sealfleet_domain::run::Failure;
use sealfleet_sandbox_backend::StateDirectory;
use sealfleet_worker::executor::bare::Bare;
use sealfleet_worker::executor::egress::{Lent, Way};
use sealfleet_worker::executor::sandboxed::Sandboxed;
use sealfleet_worker::executor::{Ended, Executor, Logs, Running};
use sealfleet_worker::identity::Identity;
use serde_json::{Value, json};

use crate::inputs::{Store, file};

const RUN: &str = "run_0198c0de-0000-7000-8000-00000000000a";

fn claim(mode: &str, script: &str, secrets: &Value) -> Claim {
    serde_json::from_value(json!({
        "project": "healthcare", "run_id": RUN, "step_id": "a", "fence": 1, "attempt": 1, "lease_seconds": 30,
        "mode": mode, "command": ["/bin/sh", "-c", script], "env": {"KNOB": "of the step"}, "secrets": secrets,
        "timeout_seconds": 600
    }))
    .unwrap()
}

fn logs(place: &Path) -> Logs {
    Logs {
        outputs: None,
        directory: place.join("logs"),
        most_bytes: 1 << 20,
    }
}

fn output(place: &Path) -> String {
    std::fs::read_to_string(place.join(format!("logs/{RUN}/a.1.log"))).unwrap()
}

fn bare(place: &Path) -> Bare {
    Bare {
        program: env!("CARGO_BIN_EXE_sealfleet-worker").into(),
        inputs: Store::default().inputs(place),
        logs: logs(place),
        cgroups: Cgroups::detect(),
    }
}

async fn start(executor: &impl Executor, claim: &Claim) -> Box<dyn Running> {
    let prepared = executor.prepare(claim).await.unwrap();
    prepared.go().await.unwrap()
}

fn alive(pid: &str) -> bool {
    // A zombie nobody has reaped yet runs no more.
    let status = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    status
        .rsplit(')')
        .next()
        .is_some_and(|rest| !rest.trim().is_empty() && !rest.trim().starts_with('Z'))
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_bare_command_has_a_clean_environment_and_its_exit_is_told_exactly() {
    let place = tempfile::tempdir().unwrap();
    let bare = bare(place.path());
    let none = json!([]);
    let running = start(&bare, &claim("bare", "env; pwd >&2; exit 7", &none)).await;
    assert_eq!(running.wait().await, Ended::Code(7));
    let text = output(place.path());
    let names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_once('=').map(|(name, _)| name))
        .collect();
    let known = [
        "PATH",
        "LANG",
        "HOME",
        "TMPDIR",
        "KNOB",
        "PWD",
        "SHLVL",
        "_",
        "OLDPWD",
        "PYTHONUNBUFFERED",
    ];
    assert!(
        names.iter().all(|name| known.contains(name)) && text.contains("KNOB=of the step"),
        "{text}"
    );
    for (script, ended) in [
        ("kill -KILL $$", Ended::Signal(9)),
        ("kill -TERM $$", Ended::Signal(15)),
        ("exit 0", Ended::Code(0)),
        // The codes by which shells speak of signals and of programs that cannot be run.
        ("exit 137", Ended::Code(137)),
        ("exit 126", Ended::Code(126)),
        ("exit 127", Ended::Code(127)),
    ] {
        assert_eq!(
            start(&bare, &claim("bare", script, &none))
                .await
                .wait()
                .await,
            ended,
            "{script}"
        );
    }
    for (command, errno, words) in [
        (
            vec!["no-such-program".to_owned()],
            2,
            "No such file or directory",
        ),
        (vec!["/etc/passwd".to_owned()], 13, "Permission denied"),
    ] {
        let mut refused = claim("bare", "", &none);
        refused.command = command.into_iter().map(Into::into).collect();
        let detail = words.to_owned();
        let ended = start(&bare, &refused).await.wait().await;
        assert_eq!(ended, Ended::CannotExecute { errno, detail });
    }
}

#[tokio::test]
async fn a_bare_command_finds_its_files_and_its_standard_input() {
    let place = tempfile::tempdir().unwrap();
    let mut claim = claim("bare", "cat src/a.txt; ./run; cat; echo over", &json!([]));
    claim.inputs = serde_json::from_value(json!({
        "files": { "src/a.txt": { "text": "one\n" }, "run": { "text": "#!/bin/sh\necho two\n" } },
        "stdin": { "text": "three\n" },
    }))
    .unwrap();
    let running = start(&bare(place.path()), &claim).await;
    assert_eq!(running.wait().await, Ended::Code(0));
    assert_eq!(output(place.path()), "one\ntwo\nthree\nover\n");
}

#[tokio::test]
async fn a_bare_command_ends_with_all_its_processes() {
    let place = tempfile::tempdir().unwrap();
    let bare = bare(place.path());
    let pids = place.path().join("pids");
    let script = format!(
        "trap '' TERM; sleep 100 & echo $! > {p}.new; mv {p}.new {p}; wait",
        p = pids.display()
    );
    let spawn = || async {
        drop(std::fs::remove_file(&pids));
        let running = start(&bare, &claim("bare", &script, &json!([]))).await;
        until("the command runs", || pids.exists()).await;
        (running, std::fs::read_to_string(&pids).unwrap())
    };
    let (running, child) = spawn().await;
    assert!(alive(&child));
    assert_eq!(
        running.stop(Duration::from_millis(300)).await,
        Ended::Signal(9)
    );
    until("the child is gone", || !alive(&child)).await;

    let other = bare
        .prepare(&claim("bare", "true", &json!([])))
        .await
        .unwrap();
    assert!(
        other.sandbox().len() <= sealfleet_domain::limits::NAME_BYTES,
        "{}",
        other.sandbox()
    );

    let (running, child) = spawn().await;
    drop(running);
    until("a dropped command's child is gone", || !alive(&child)).await;

    let (running, child) = spawn().await;
    assert_eq!(running.stop(Duration::ZERO).await, Ended::Signal(9));
    until("the child is gone at once", || !alive(&child)).await;
}

/// How a step ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Itself,
    /// A time-out, a cancelled run, a worker that stops: each has a grace.
    Grace,
    /// A lost lease.
    Nobody,
    /// The end of everything in this process that knows it.
    Drop,
}

const ENDS: [By; 4] = [By::Itself, By::Grace, By::Nobody, By::Drop];

/// All processes of the host that have this argument.
fn running(argument: &str) -> usize {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines
        .filter(|line| {
            line.split(|byte| *byte == 0)
                .any(|part| part == argument.as_bytes())
        })
        .count()
}

/// A command that leaves its session and its parent, does not hear SIGTERM, and sleeps so long.
fn escape(seconds: &str) -> String {
    format!("(setsid sh -c \"trap '' TERM; sleep {seconds}; :\" &)")
}

async fn end(running: Box<dyn Running>, by: By) {
    match by {
        By::Itself => drop(running.wait().await),
        By::Grace => drop(running.stop(Duration::from_millis(300)).await),
        By::Nobody => drop(running.stop(Duration::ZERO).await),
        By::Drop => drop(running),
    }
}

#[tokio::test]
async fn nothing_of_a_step_outlives_it_in_any_mode() {
    let place = tempfile::tempdir().unwrap();
    let sandboxed = sandboxed(place.path(), None).await;
    let bare = bare(place.path());
    // Where no cgroup can be had, the guard is all there is.
    let mut alone = self::bare(place.path());
    alone.cgroups = None;
    for (number, by) in (1..).zip(ENDS) {
        for (at, mode) in ["bare", "bare", "sandboxed", "identity"].iter().enumerate() {
            let seconds = format!("{number}{at}{}", std::process::id());
            let then = if by == By::Itself {
                "sleep 0.5"
            } else {
                "sleep 60"
            };
            let script = format!("{}; {then}", escape(&seconds));
            let claim = claim(mode, &script, &json!([]));
            let step = match (at, *mode) {
                (0, _) => start(&alone, &claim).await,
                (_, "bare") => start(&bare, &claim).await,
                _ => start(&sandboxed, &claim).await,
            };
            until("it escapes", || running(&seconds) > 0).await;
            end(step, by).await;
            if by == By::Drop {
                until("its end", || running(&seconds) == 0).await;
            }
            assert_eq!(running(&seconds), 0, "{mode} by {by:?}");
        }
    }
}

#[tokio::test]
async fn everything_that_a_bare_command_started_is_asked_to_end() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name).display().to_string();
    let script = format!(
        "(setsid sh -c 'trap \": > {}; exit\" TERM; : > {}; while :; do sleep 0.05; done' &); sleep 60",
        path("asked"),
        path("ready")
    );
    let running = start(&bare(place.path()), &claim("bare", &script, &json!([]))).await;
    until("it escapes", || place.path().join("ready").exists()).await;
    let ended = running.stop(Duration::from_secs(10)).await;
    assert_eq!(ended, Ended::Signal(15));
    assert!(place.path().join("asked").exists());
}

/// Not a test: the worker that the next one kills.
#[tokio::test]
#[ignore = "started by another test"]
async fn a_worker_that_waits() {
    let seconds = std::env::vars_os().find(|(name, _)| name == "SECONDS_TO_SLEEP");
    let seconds = seconds.unwrap().1.into_string().unwrap();
    let place = tempfile::tempdir().unwrap();
    let script = format!("{}; sleep 60", escape(&seconds));
    let running = start(&bare(place.path()), &claim("bare", &script, &json!([]))).await;
    running.wait().await;
}

#[tokio::test]
async fn nothing_of_a_bare_step_outlives_a_killed_worker_or_guard() {
    let seconds = format!("5{}", std::process::id());
    let mut worker = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "execution::a_worker_that_waits", "--ignored"])
        .env("SECONDS_TO_SLEEP", &seconds)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    until("it escapes", || running(&seconds) > 0).await;
    worker.kill().unwrap();
    worker.wait().unwrap();
    until("its end", || running(&seconds) == 0).await;

    let place = tempfile::tempdir().unwrap();
    let bare = bare(place.path());
    if bare.cgroups.is_none() {
        return eprintln!("skipped: this process can make no cgroups here");
    }
    let seconds = format!("6{}", std::process::id());
    let script = format!(
        "{}; sleep 0.5; kill -KILL $PPID; sleep 60",
        escape(&seconds)
    );
    let step = start(&bare, &claim("bare", &script, &json!([]))).await;
    until("it escapes", || running(&seconds) > 0).await;
    assert_eq!(step.wait().await, Ended::Signal(9));
    assert_eq!(running(&seconds), 0);
}

#[tokio::test]
async fn uploads_lie_in_the_directory_of_a_bare_command() {
    let place = tempfile::tempdir().unwrap();
    let mut bare = bare(place.path());
    let taken = json!({ "kind": "result", "step_id": "before" });
    let texts = [
        (file("in/a.txt"), "one"),
        (json!({ "kind": "stdin" }), "two"),
        (taken, "{}"),
    ];
    let store = Store {
        texts: texts.map(|(place, text)| (place, text.to_owned())).into(),
        page: 50,
        ..Store::default()
    };
    bare.inputs = store.inputs(place.path());
    let upload = json!({ "upload": "upl_0198c0de-0000-7000-8000-00000000000a" });
    let script = "cat in/a.txt - .sealfleet/needs/before/result.json";
    let mut claim = claim("bare", script, &json!([]));
    claim.fetches = true;
    claim.inputs =
        serde_json::from_value(json!({ "files": { "in/a.txt": upload }, "stdin": upload }))
            .unwrap();
    let running = start(&bare, &claim).await;
    assert_eq!(running.wait().await, Ended::Code(0));
    assert_eq!(output(place.path()), "onetwo{}");
}

#[tokio::test]
async fn too_much_output_is_cut_and_counted() {
    let place = tempfile::tempdir().unwrap();
    let mut bare = bare(place.path());
    bare.logs.most_bytes = 1000;
    let script =
        "echo begin; head -c 100000 /dev/zero | tr '\\0' x; echo; echo why it failed; exit 1";
    let running = start(&bare, &claim("bare", script, &json!([]))).await;
    assert_eq!(running.wait().await, Ended::Code(1));
    let text = output(place.path());
    assert!(text.starts_with("begin\nx"), "{text}");
    assert!(text.ends_with("x\nwhy it failed\n"), "{text}");
    let mark = format!(
        "[{} bytes of output are cut out here;",
        running.output_cut_bytes()
    );
    assert!(text.contains(&mark), "{text}");
    let kept = text.len()
        - text
            .lines()
            .find(|line| line.starts_with('['))
            .unwrap()
            .len()
        - 2;
    let whole = 6 + 100_000 + 1 + 14;
    assert_eq!(kept as u64 + running.output_cut_bytes(), whole);
}

#[tokio::test]
async fn a_bare_command_may_end_by_itself_when_it_is_asked_to() {
    let place = tempfile::tempdir().unwrap();
    let ready = place.path().join("ready");
    let script = format!(
        "trap 'exit 3' TERM; : > {}; while :; do sleep 0.05; done",
        ready.display()
    );
    let running = start(&bare(place.path()), &claim("bare", &script, &json!([]))).await;
    until("the command runs", || ready.exists()).await;
    assert_eq!(running.stop(Duration::from_secs(10)).await, Ended::Code(3));
}

/// Runs this test's program as the stand-in for `sealfleet-init`.
const STAND_IN: &str = r#"#!/bin/sh
echo "arguments=$*" >&2
exec /stand-in --exact execution::stand_in --ignored --nocapture >/dev/null
"#;

#[expect(unsafe_code, reason = "only its number says which descriptor is meant")]
fn inherited_channel() -> OwnedFd {
    use std::os::fd::FromRawFd as _;
    // SAFETY: the worker passes it, and nothing else in this process takes it.
    unsafe { OwnedFd::from_raw_fd(3) }
}

/// Not a test: the stand-in for `sealfleet-init`. Answers with the content of the store, or with
/// an empty list if it has none; waits for the go; shows what it was given, and ends as the step's
/// command says.
#[tokio::test]
#[ignore = "started by other tests"]
async fn stand_in() {
    let mut channel = Socket::inherited(inherited_channel()).unwrap();
    let (step, mut files) = loop {
        match channel.receive().await.unwrap() {
            (ToInit::Step(step), files) => break (step, files),
            (ToInit::Inputs(places), mut files) => {
                for (at, place) in places.iter().enumerate() {
                    let file = files.remove(&input_name(at)).unwrap();
                    let text = std::io::read_to_string(File::from(file)).unwrap();
                    eprintln!("input={} {text}", place.path().unwrap());
                }
                channel
                    .send(&ToHost::Placed, Descriptors::new())
                    .await
                    .unwrap();
            }
            (message, _) => panic!("{message:?}"),
        }
    };
    let files_seen: Vec<String> = files.keys().cloned().collect();
    let answer = match files.remove("builtin.store") {
        Some(store) => std::io::read_to_string(File::from(store)).unwrap(),
        None => r#"{"resolved":[]}"#.to_owned(),
    };
    let answer: ToHost = serde_json::from_str(&answer).unwrap();
    channel.send(&answer, Descriptors::new()).await.unwrap();
    let Ok((ToInit::Go, _)) = channel.receive().await else {
        std::process::exit(125)
    };
    eprintln!("step={}", serde_json::to_string(&step).unwrap());
    eprintln!("files={}", files_seen.join(" "));
    let environment: Vec<String> = std::env::vars().map(|(name, _)| name).collect();
    eprintln!("environment={}", environment.join(" "));
    match step.command.last().unwrap().text().unwrap() {
        "loop" => std::thread::sleep(Duration::from_secs(600)),
        "memory" => drop(Command::new("tail").arg("/dev/zero").status()),
        "told" => {
            let ended = ToHost::Ended {
                end: CommandEnd::Exited { code: 143 },
                redactions: serde_json::from_value(redactions()).unwrap(),
                egress: Egress::default(),
            };
            channel.send(&ended, Descriptors::new()).await.unwrap();
        }
        "x" => {}
        script => drop(Command::new("sh").args(["-c", script]).status()),
    }
    std::process::exit(4);
}

fn redactions() -> Value {
    json!([{"key": "API_KEY", "stream": "stderr", "encoding": "hex", "count": 3}])
}

/// A launcher on a root directory of this name, with this script as its init.
async fn launcher(place: &Path, name: &str, script: &str) -> Launcher {
    let init = place.join("init");
    std::fs::write(&init, script).unwrap();
    let rootfs = build_rootfs(&place.join(name), &init).unwrap();
    let stand_in = rootfs.join("stand-in");
    std::fs::copy(std::env::current_exe().unwrap(), &stand_in).unwrap();
    std::fs::set_permissions(&stand_in, std::fs::Permissions::from_mode(0o755)).unwrap();
    Launcher::detect(LauncherConfig::new(rootfs)).await.unwrap()
}

/// The answer of the stand-in is the content of the store.
async fn sandboxed(place: &Path, answer: Option<&Value>) -> Sandboxed {
    std::fs::set_permissions(place, std::fs::Permissions::from_mode(0o755)).unwrap();
    let launcher = launcher(place, "rootfs", STAND_IN).await;
    let mut files = BTreeMap::from([("other.file".to_owned(), place.join("not-there"))]);
    if let Some(answer) = answer {
        for (name, content) in [("store", answer.to_string()), ("key", "key".to_owned())] {
            std::fs::write(place.join(name), content).unwrap();
            files.insert(format!("builtin.{name}"), place.join(name));
        }
    }
    let limits = Limits {
        memory_bytes: 64 << 20,
        scratch_bytes: 32 << 20,
        pids: 50,
        open_files: 500,
    };
    Sandboxed {
        backends: vec![Arc::new(Roots::from(launcher))],
        worker: StateDirectory::open(&place.join("state"))
            .unwrap()
            .enter()
            .unwrap(),
        identity: Identity {
            files,
            ..Identity::default()
        },
        network: Lent {
            way: Way::None,
            networks: Vec::new(),
            authorities: None,
        },
        limits,
        inputs: Store::default().inputs(place),
        logs: logs(place),
    }
}

fn secret() -> Value {
    json!([{"name": "API_KEY", "uri": "builtin://crm/api-key", "arn": "arn:x", "from": "crm"}])
}

#[tokio::test]
async fn a_sandboxed_command_runs_only_after_go() {
    let place = tempfile::tempdir().unwrap();
    let sandboxed = sandboxed(place.path(), None).await;
    let step = claim("sandboxed", "x", &secret());
    let prepared = sandboxed.prepare(&step).await.unwrap();
    assert_eq!(prepared.resolved(), &BTreeMap::new());
    tokio::time::sleep(Duration::from_millis(200)).await;
    let text = output(place.path());
    assert_eq!(
        text, "arguments=exec --channel-fd 3\n",
        "nothing runs before the go"
    );
    let running = prepared.go().await.unwrap();
    assert_eq!(running.wait().await, Ended::Code(4));
    let text = output(place.path());
    let step = r#"step={"project":"healthcare","command":["/bin/sh","-c","x"],"env":{"KNOB":"of the step","SEALFLEET_MEMORY_BYTES":"67108864","SEALFLEET_OPEN_FILES":"500","SEALFLEET_PIDS":"50","SEALFLEET_SCRATCH_BYTES":"33554432"},"secrets":[],"resolve_millis":60000,"lasts_seconds":665}"#;
    assert!(text.contains(step), "{text}");
    assert!(text.contains("files=\nenvironment=PWD"), "{text}");
    assert!(!text.contains("CARGO"), "{text}");

    let told = start(&sandboxed, &claim("sandboxed", "told", &json!([]))).await;
    assert_eq!(told.wait().await, Ended::Code(143), "as init says");
    assert_eq!(told.wait().await, Ended::Code(143), "and again");
    let redactions = serde_json::from_value::<Vec<_>>(redactions()).unwrap();
    assert_eq!(told.redactions(), redactions, "with what init redacted");

    drop(
        sandboxed
            .prepare(&claim("sandboxed", "x", &json!([])))
            .await
            .unwrap(),
    );
    until("a dropped one is gone", || {
        output(place.path()).matches("step=").count() == 2
    })
    .await;
}

#[tokio::test]
async fn a_step_runs_on_the_root_of_the_variant_that_it_asks_for() {
    let place = tempfile::tempdir().unwrap();
    let mut sandboxed = sandboxed(place.path(), None).await;
    let script = STAND_IN.replacen('\n', "\necho of python >&2\n", 1);
    let roots = [
        ("default", launcher(place.path(), "rootfs", STAND_IN).await),
        ("python", launcher(place.path(), "python", &script).await),
    ];
    let roots = roots.map(|(name, launcher)| (name.to_owned(), launcher));
    sandboxed.backends = vec![Arc::new(Roots::new(roots.into()))];
    let images = sandboxed.sandboxes().images;
    assert_eq!(Vec::from_iter(images), ["default", "python"]);
    for (image, of_python) in [
        (None, false),
        (Some("python"), true),
        (Some("default"), false),
    ] {
        let mut step = claim("sandboxed", "x", &json!([]));
        step.image = image.map(str::to_owned);
        let running = start(&sandboxed, &step).await;
        assert_eq!(running.wait().await, Ended::Code(4));
        let text = output(place.path());
        assert_eq!(text.contains("of python"), of_python, "{image:?}: {text}");
        std::fs::remove_file(place.path().join(format!("logs/{RUN}/a.1.log"))).unwrap();
    }
    let mut step = claim("sandboxed", "x", &json!([]));
    step.image = Some("node".to_owned());
    let refused = sandboxed.prepare(&step).await.err().unwrap();
    assert!(
        format!("{refused:?}").contains("image `node`"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_step_that_may_reach_hosts_does_not_start_where_no_network_is_lent() {
    let place = tempfile::tempdir().unwrap();
    let sandboxed = sandboxed(place.path(), None).await;
    assert!(!sandboxed.sandboxes().egress);
    for (policy, starts) in [
        (json!("none"), true),
        (json!("open"), false),
        (json!({ "allow": [{ "host": "a.example" }] }), false),
    ] {
        let mut step = claim("sandboxed", "x", &json!([]));
        step.egress = serde_json::from_value(policy.clone()).unwrap();
        let prepared = sandboxed.prepare(&step).await;
        assert_eq!(prepared.is_ok(), starts, "{policy}");
        let refused = format!("{:?}", prepared.err());
        assert!(starts || refused.contains("--network policy"), "{refused}");
    }
}

#[tokio::test]
async fn a_step_whose_secrets_are_on_the_network_does_not_start_where_none_is_lent() {
    let place = tempfile::tempdir().unwrap();
    let mut sandboxed = sandboxed(place.path(), None).await;
    let rule = serde_json::from_value(json!({ "host": "vault.example" })).unwrap();
    let hosts = BTreeMap::from([("vault".to_owned(), vec![rule])]);
    sandboxed.identity.hosts = hosts;
    let kept = json!([{"name": "API_KEY", "uri": "vault://kv/healthcare/crm#k", "arn": "arn:x", "from": "crm"}]);
    let step = claim("identity", "x", &kept);
    let refused = sandboxed.prepare(&step).await.err().unwrap();
    let refused = format!("{refused:?}");
    assert!(refused.contains("--network policy"), "{refused}");
    // Another step of this worker needs none.
    let step = claim("sandboxed", "x", &json!([]));
    assert!(sandboxed.prepare(&step).await.is_ok());
}

#[tokio::test]
async fn uploads_come_into_the_sandbox_before_the_step() {
    let place = tempfile::tempdir().unwrap();
    let mut sandboxed = sandboxed(place.path(), None).await;
    let text = |number: usize| (file(&format!("f{number}")), format!("text {number}"));
    let store = Store {
        texts: (0..9).map(text).collect(),
        page: 50,
        ..Store::default()
    };
    sandboxed.inputs = store.inputs(place.path());
    let mut claim = claim("sandboxed", "x", &json!([]));
    claim.fetches = true;
    let running = start(&sandboxed, &claim).await;
    running.wait().await;
    let text = output(place.path());
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("input="))
        .collect();
    let wanted: Vec<_> = (0..9)
        .map(|number| format!("input=f{number} text {number}"))
        .collect();
    assert_eq!(lines, wanted, "{text}");

    // What cannot be got keeps the step from its start.
    sandboxed.inputs = Store::default().inputs(place.path());
    let Err(failure) = sandboxed.prepare(&claim).await else {
        panic!("started")
    };
    let detail = "it has gone".to_owned();
    assert_eq!(
        failure,
        Failure::CannotStart {
            cause: None,
            detail
        }
    );
}

#[tokio::test]
async fn an_identity_step_tells_the_versions_that_were_resolved() {
    let place = tempfile::tempdir().unwrap();
    let answer =
        json!({"resolved": [{"name": "API_KEY", "uri": "builtin://crm/api-key", "version": "v3"}]});
    let sandboxed = sandboxed(place.path(), Some(&answer)).await;
    let prepared = sandboxed
        .prepare(&claim("identity", "x", &secret()))
        .await
        .unwrap();
    assert_eq!(
        prepared.resolved(),
        &BTreeMap::from([("API_KEY".to_owned(), "v3".to_owned())])
    );
    prepared.go().await.unwrap().wait().await;
    let text = output(place.path());
    let secrets = r#""secrets":[{"name":"API_KEY","uri":"builtin://crm/api-key","version":null,"redact":true}]"#;
    assert!(
        text.contains(secrets) && text.contains("files=builtin.key builtin.store\n"),
        "{text}"
    );

    let pinned = json!([{"name": "API_KEY", "uri": "builtin://crm/api-key", "version": "v2", "from": "crm"}]);
    let Err(failure) = sandboxed.prepare(&claim("identity", "x", &pinned)).await else {
        panic!("another version")
    };
    assert!(
        matches!(failure, Failure::SecretUnavailable { .. }),
        "{failure:?}"
    );
    let other = json!([{"name": "OTHER_KEY", "uri": "builtin://crm/api-key", "from": "crm"}]);
    let Err(failure) = sandboxed.prepare(&claim("identity", "x", &other)).await else {
        panic!("another secret")
    };
    assert!(
        matches!(failure, Failure::CannotStart { .. }),
        "{failure:?}"
    );
}

/// A claim of two secrets for one tool, under these access lists.
fn claim_of_tool(tool: &str, tools: &Value) -> Claim {
    let mut secrets = secret();
    secrets
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "OTHER_KEY", "uri": "builtin://crm/other", "from": "crm"}));
    let mut claim = claim("identity", "x", &secrets);
    claim.tool = Some(tool.parse().unwrap());
    claim.tools = serde_json::from_value(tools.clone()).unwrap();
    claim
}

#[tokio::test]
async fn a_tool_gets_the_secrets_that_it_is_granted_and_no_others() {
    let place = tempfile::tempdir().unwrap();
    let answer =
        json!({"resolved": [{"name": "API_KEY", "uri": "builtin://crm/api-key", "version": "v3"}]});
    let sandboxed = sandboxed(place.path(), Some(&answer)).await;
    let lists = json!({"claude": ["API_KEY"], "shell": ["*"], "other": ["OTHER_KEY"], "codex": []});
    let prepared = sandboxed
        .prepare(&claim_of_tool("claude", &lists))
        .await
        .unwrap();
    assert_eq!(
        prepared.resolved(),
        &BTreeMap::from([("API_KEY".to_owned(), "v3".to_owned())])
    );
    prepared.go().await.unwrap().wait().await;
    let text = output(place.path());
    assert!(
        text.contains(r#""tool":"claude","tools":{"claude":["API_KEY"],"#),
        "{text}"
    );

    // A sandbox that resolves more than is granted, or less, does not start.
    for tool in ["other", "shell"] {
        let Err(failure) = sandboxed.prepare(&claim_of_tool(tool, &lists)).await else {
            panic!("{tool}")
        };
        assert!(
            matches!(failure, Failure::CannotStart { .. }),
            "{failure:?}"
        );
    }
    // Where nothing is granted, the sandbox has no store to resolve from.
    for tool in ["codex", "unlisted"] {
        let prepared = sandboxed
            .prepare(&claim_of_tool(tool, &lists))
            .await
            .unwrap();
        assert_eq!(prepared.resolved(), &BTreeMap::new());
        prepared.go().await.unwrap().wait().await;
    }
    let text = output(place.path());
    assert_eq!(text.matches("files=builtin").count(), 1, "{text}");
    assert_eq!(text.matches("files=\n").count(), 2, "{text}");
}

#[tokio::test]
async fn a_secret_that_cannot_be_resolved_is_a_failure_by_name() {
    let place = tempfile::tempdir().unwrap();
    let answer = json!({"error": {"code": "unknown_secret", "message": "`crm/api-key` is not in the store"}});
    let sandboxed = sandboxed(place.path(), Some(&answer)).await;
    let Err(failure) = sandboxed.prepare(&claim("identity", "x", &secret())).await else {
        panic!("resolved")
    };
    let detail = "unknown_secret: `crm/api-key` is not in the store".to_owned();
    let cause = None;
    assert_eq!(failure, Failure::SecretUnavailable { cause, detail });
    std::fs::remove_file(place.path().join("store")).unwrap();
    let Err(failure) = sandboxed.prepare(&claim("identity", "x", &secret())).await else {
        panic!("resolved")
    };
    assert!(
        matches!(&failure, Failure::SecretUnavailable { detail, .. } if detail.contains("`builtin.store`")),
        "{failure:?}"
    );
}

#[tokio::test]
async fn a_sandbox_that_dies_before_its_answer_cannot_start() {
    let place = tempfile::tempdir().unwrap();
    let sandboxed = sandboxed(place.path(), None).await;
    std::fs::write(
        place.path().join("rootfs/sealfleet-init"),
        "#!/bin/sh\nexit 9\n",
    )
    .unwrap();
    let Err(failure) = sandboxed
        .prepare(&claim("sandboxed", "x", &json!([])))
        .await
    else {
        panic!("prepared")
    };
    let detail = "the sandbox ended before its command: Code(9)".to_owned();
    let cause = None;
    assert_eq!(failure, Failure::CannotStart { cause, detail });
}

#[tokio::test]
async fn a_sandbox_is_killed_and_its_memory_is_bounded() {
    let place = tempfile::tempdir().unwrap();
    let sandboxed = sandboxed(place.path(), None).await;
    let running = start(&sandboxed, &claim("sandboxed", "loop", &json!([]))).await;
    assert_eq!(running.stop(Duration::ZERO).await, Ended::Signal(9));
    let running = start(&sandboxed, &claim("sandboxed", "memory", &json!([]))).await;
    let ended = running.wait().await;
    assert!(matches!(ended, Ended::OutOfMemory), "{ended:?}");
}
