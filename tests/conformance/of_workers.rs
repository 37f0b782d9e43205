//! What holds for the sandbox backends of a worker.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sealfleet_domain::egress::Denied;
use sealfleet_domain::run::{Failure, Outcome};
use sealfleet_test_stack::canary::{self, Kind, Needle, Report, search_process};
use sealfleet_test_stack::{Upstream, processes};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::cases::{POLITE, answers, escape, printed};
use crate::host::{Started as _, Step};
use crate::setup::{self, said};
use crate::worker::Worker;
use crate::{WORKER, directory, mark, processes_with, until};

const VALUE: &str = "canary-that-no-engine-ever-sees-0123456789";

/// Another process of this suite, with a step that lasts. Killed when dropped.
struct Other {
    process: std::process::Child,
    mark: String,
}

impl Other {
    fn start(worker: &Worker) -> Self {
        let mark = mark();
        let told = json!({
            "backend": worker.backend.name(), "place": directory(worker), "mark": mark,
        });
        let process = Command::new(std::env::current_exe().unwrap())
            .env(WORKER, told.to_string())
            .stdout(Stdio::null())
            .spawn();
        Self {
            process: process.unwrap(),
            mark,
        }
    }

    async fn runs(&self) {
        until("the other worker's step runs", || {
            processes_with(&self.mark) > 0
        })
        .await;
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // Fails if it was killed already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// The other process: runs a step until it is killed.
pub async fn wait_to_be_killed(told: &str) {
    let told: Value = serde_json::from_str(told).unwrap();
    let text = |name: &str| told[name].as_str().unwrap();
    let worker = setup::worker(text("backend"), Path::new(text("place"))).await;
    let script = format!(
        "trap '' TERM; (setsid sleep {0} &); sleep {0}",
        text("mark")
    );
    worker.run(&Step::shell(&script)).end().await;
}

/// `sealfleet-worker sandbox WORDS`, as JSON.
fn sandbox(worker: &Worker, words: &[&str]) -> Value {
    let output = sandbox_command(worker, words).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{words}"))
}

fn sandbox_command(worker: &Worker, words: &[&str]) -> Command {
    let mut command = Command::new(setup::program("sealfleet-worker"));
    command
        .args(["sandbox"])
        .args(words)
        .args(["--output", "json", "--state-dir"])
        .arg(directory(worker).join("state"));
    command
}

/// 75. A worker that has waited long enough for its steps asks them to end, and then kills them.
///     Nothing is reported: they are tried again elsewhere.
pub async fn s75_a_drained_worker_asks_and_then_kills(worker: &Worker) {
    let deaf = "trap '' TERM; echo ready; while :; do sleep 0.1; done";
    for (script, says) in [(POLITE, "ready\nasked\n"), (deaf, "ready\n")] {
        let mark = mark();
        let script = format!("{}; {script}", escape(&mark));
        let run = worker.run(&Step::shell(&script));
        printed(&run, "ready").await;
        until("it escapes", || processes_with(&mark) > 0).await;
        let began = Instant::now();
        run.drain();
        let end = run.end().await;
        let took = began.elapsed();
        assert_eq!((end.text().as_str(), processes_with(&mark)), (says, 0));
        assert_eq!((end.outcome, run.reported()), (None, None));
        assert!(took > Duration::from_secs(3), "no grace: {took:?}");
    }
}

pub async fn a_killed_worker_leaves_nothing(worker: &Worker) {
    let mut other = Other::start(worker);
    other.runs().await;
    other.kill();
    let mark = other.mark.clone();
    until("the end of its step", || processes_with(&mark) == 0).await;
}

pub async fn sandboxes_are_listed_and_orphans_taken_away(worker: &Worker) {
    let name = worker.backend.name();
    let mine = worker.run(&Step::shell("sleep 300"));
    let sandbox_name = mine.sandbox().await;
    let mut other = Other::start(worker);
    other.runs().await;
    let listed = || sandbox(worker, &["list"])["sandboxes"].clone();
    let of_this = |found: &Value, run: &str| found["run"] == run && found["backend"] == name;
    let run = mine.run_id.to_string();
    let all = listed();
    let own = all
        .as_array()
        .unwrap()
        .iter()
        .find(|one| of_this(one, &run));
    let own = own.unwrap_or_else(|| panic!("{all:#}"));
    assert_eq!(own["sandbox"], sandbox_name.as_str());
    assert_eq!(
        (&own["step"], &own["fence"], &own["project"]),
        (&json!("case"), &json!("1"), &json!("healthcare"))
    );
    assert_eq!(own["worker_lives"], true);
    assert!(own["since"].is_string());

    // What a killed worker leaves is told as such and taken away, and nothing of a living one is.
    other.kill();
    let mark = other.mark.clone();
    until("the end of its step", || processes_with(&mark) == 0).await;
    let reaped = sandbox(worker, &["reap"]);
    let orphans = |found: &Value| {
        let all = found["sandboxes"].as_array().unwrap().clone();
        let dead = all.into_iter().filter(|one| one["worker_lives"] == false);
        dead.collect::<Vec<_>>()
    };
    assert!(!orphans(&reaped).is_empty(), "{reaped:#}");
    let runs = reaped["sandboxes"].as_array().unwrap();
    assert!(!runs.iter().any(|one| of_this(one, &run)), "{reaped:#}");
    let left = sandbox(worker, &["list"]);
    assert!(orphans(&left).is_empty(), "{left:#}");
    let all = left["sandboxes"].as_array().unwrap();
    assert!(all.iter().any(|one| of_this(one, &run)), "{left:#}");
    mine.revoke().await;
    mine.end().await;
    let after = listed();
    let all = after.as_array().unwrap();
    assert!(!all.iter().any(|one| of_this(one, &run)), "{after:#}");
}

pub async fn the_doctor_says_that_the_host_can_run_them(worker: &Worker) {
    let name = worker.backend.name();
    let root = directory(worker).join("root").display().to_string();
    let (good, bad) = match name {
        "bubblewrap" => (["--rootfs", &root], ["--rootfs", "/no/such/root"]),
        _ => (
            ["--docker-image", &setup::image()],
            ["--docker-image", "no/such:image"],
        ),
    };
    let examined = sandbox(
        worker,
        &[&["doctor", "--backend", name][..], &good[..]].concat(),
    );
    assert_eq!(examined["usable"], true, "{examined:#}");
    let of = |answer: &Value, verdict: &str| {
        let all = answer["findings"].as_array().unwrap().clone();
        let with = all.into_iter().filter(|one| one["verdict"] == verdict);
        with.map(|one| one["check"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let passed = of(&examined, "passed");
    assert!(passed.contains(&"first sandbox".to_owned()), "{examined:#}");

    let words = [&["doctor", "--backend", name][..], &bad[..]].concat();
    let status = sandbox_command(worker, &words).output().unwrap().status;
    assert_eq!(status.code(), Some(1));
    let examined = sandbox(worker, &words);
    assert_eq!(examined["usable"], false);
    let failed = of(&examined, "failed");
    assert!(failed.contains(&"first sandbox".to_owned()), "{examined:#}");
    for finding in examined["findings"].as_array().unwrap() {
        let advised = finding["advice"].is_string();
        assert_eq!(advised, finding["verdict"] != "passed", "{finding:#}");
    }
}

/// A server on the loopback of this machine that greets, and counts whom.
pub struct Server {
    pub port: u16,
    greeted: Arc<AtomicUsize>,
}

impl Server {
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let greeted = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&greeted);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let answer =
                    "HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\nwelcome\n";
                let mut head = [0; 1024];
                drop(client.read(&mut head).await);
                drop(client.write_all(answer.as_bytes()).await);
            }
        });
        Self { port, greeted }
    }

    pub fn greeted(&self) -> usize {
        self.greeted.load(Ordering::SeqCst)
    }
}

/// Asks the proxy for a page, and prints its answer.
const ASK: &str = r#"ask() {
    exec 3<>/dev/tcp/127.0.0.1/3128 || return
    printf 'GET http://%s/ HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$1" "$1" >&3
    cat <&3
}
"#;

pub fn asking(script: &str, policy: Value) -> Step {
    let mut step = Step::of(&["/bin/bash", "-c", &format!("{ASK}{script}")]);
    step.egress = Some(policy);
    step
}

pub async fn s80_an_allowed_host_is_reached_and_no_other(worker: &Worker) {
    let (allowed, other) = (Server::start().await, Server::start().await);
    let rules = json!({ "allow": [
        { "host": "127.0.0.1", "port": allowed.port },
        { "host": "169.254.169.254", "port": 80 },
        { "host": "10.0.0.1", "port": 80 },
    ] });
    let script = format!(
        "ask 127.0.0.1:{allowed}
         ask 127.0.0.1:{other}
         ask other.example:80
         ask 169.254.169.254:80
         ask 10.0.0.1:80
         for port in {allowed} {other}; do (exec 4<>/dev/tcp/127.0.0.1/$port) && echo BYPASSED; done
         for name in $(cut -d: -f1 /proc/net/dev | tail -n +3); do echo interface $name; done
         (exec 4<>/dev/udp/127.0.0.1/53 && echo question >&4 && read -t 1 <&4 && echo BYPASSED)
         env | grep -i _proxy",
        allowed = allowed.port,
        other = other.port
    );
    let end = worker.run(&asking(&script, rules)).end().await;
    let text = end.text();
    assert_eq!(text.matches("welcome").count(), 1, "{text}");
    assert_eq!(text.matches("HTTP/1.1 403").count(), 4, "{text}");
    assert!(text.contains("other.example"), "which host: {text}");
    assert!(!text.contains("BYPASSED"), "{text}");
    assert_eq!(
        text.matches("interface ").count(),
        1,
        "loopback alone: {text}"
    );
    assert!(text.contains("HTTPS_PROXY=http://127.0.0.1:3128"), "{text}");
    assert_eq!((allowed.greeted(), other.greeted()), (1, 0));
    let denied: Vec<String> = end
        .denied
        .rows
        .iter()
        .map(|row| format!("{}:{} {:?} {}", row.host, row.port, row.reason, row.count))
        .collect();
    for expected in [
        format!("127.0.0.1:{} NoRule 1", other.port),
        "other.example:80 NoRule 1".to_owned(),
        "169.254.169.254:80 Address 1".to_owned(),
        "10.0.0.1:80 Address 1".to_owned(),
    ] {
        assert!(denied.contains(&expected), "{expected}: {denied:?}");
    }
}

/// 85. Tokens of an agent are counted by its proxy, and agree with what the CLI says.
pub async fn s85_tokens_are_counted_by_the_proxy_and_agree(worker: &Worker) {
    let provider = ["OPENAI_API_KEY", "OPENAI_BASE_URL"];
    answers(worker, "codex", "gpt-5.1-codex", provider, "/v1", true).await;
    let provider = ["ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"];
    answers(
        worker,
        "claude-code",
        "claude-sonnet-4-5",
        provider,
        "",
        true,
    )
    .await;
}

pub async fn a_step_that_may_reach_nothing_has_no_proxy(worker: &Worker) {
    for policy in [Some(json!("none")), None] {
        let mut step = asking("ask other.example:80 || echo nothing there", json!("none"));
        step.egress = policy;
        let end = worker.run(&step).end().await;
        assert!(end.text().contains("nothing there"), "{}", end.text());
        assert!(end.denied.is_empty());
    }
}

pub async fn no_host_in_the_trail_holds_a_secret(worker: &Worker) {
    let mixed = "Canary-In-Mixed-Case-9876543210";
    let script = format!("for host in {VALUE} {mixed} plain; do ask $host.example:80; done");
    let mut step = asking(&script, json!({ "allow": [{ "host": "allowed.example" }] }));
    step.mode = "identity";
    step.secrets = vec![("API_KEY", VALUE.to_owned()), ("MIXED", mixed.to_owned())];
    let denied = worker.run(&step).end().await.denied;
    let hosts: Vec<String> = denied.rows.iter().map(|row| row.host.to_string()).collect();
    assert_eq!(
        (hosts, denied.others),
        (vec!["plain.example".to_owned()], 2)
    );
}

/// Asks a host by TLS, with the key, and prints its answer.
const SECURE: &str = r#"secure() {
    printf 'GET %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nConnection: close\r\n\r\n' "$2" "$1" "$API_KEY" |
        openssl s_client -quiet -proxy 127.0.0.1:3128 -connect "$1" -verify_return_error \
            -verify_ip 127.0.0.1 -CAfile "$SSL_CERT_FILE" 2>/tmp/openssl || cat /tmp/openssl
}
"#;

/// Searches the processes and the files of the step that sleeps for `mark`: the value is in none.
/// Answers the processes that sleep, and where the search has found the step's own `control`.
pub fn nowhere_in_the_step(
    mark: &str,
    value: &str,
    control: &str,
    places: &[&str],
) -> (Vec<u32>, Report) {
    let (needle, control) = (Needle::new(value).unwrap(), Needle::new(control).unwrap());
    let sleeping = processes::with_argument(mark).into_iter();
    let sleeping: Vec<u32> = sleeping
        .filter(|process| process.name == "sleep")
        .map(|process| process.pid)
        .collect();
    let family = processes::up_to_init(&sleeping);
    assert!(family.len() >= 3, "{family:?}");
    let (mut found, mut proof) = (Report::default(), Report::default());
    for &pid in &family {
        search_process(&needle, pid, &mut found);
        search_process(&control, pid, &mut proof);
    }
    assert!(found.found.is_empty(), "{:?}", found.found);
    for pid in &sleeping {
        for place in places {
            let place = format!("/proc/{pid}/root/{place}");
            let held = canary::files_with(&needle, Path::new(&place)).unwrap();
            assert!(held.is_empty(), "{held:?}");
        }
    }
    (sleeping, proof)
}

pub fn brokered(script: &str, bound: u16, others: &[u16]) -> Step {
    let host = |port: u16| json!({ "host": "127.0.0.1", "port": port });
    let hosts: Vec<Value> = others
        .iter()
        .chain([&bound])
        .map(|port| host(*port))
        .collect();
    let mut step = asking(&format!("{SECURE}{script}"), json!({ "allow": hosts }));
    step.mode = "identity";
    step.delivery = json!({ "API_KEY": { "egress": {
        "to": [{ "host": "127.0.0.1", "port": bound, "path": "/v1/*" }], "prefix": "sk-ant-",
    } } });
    step
}

/// 81. A brokered key: upstream receives it, the step's memory, environment, files and /proc never
///     hold it; to another host -> 403 and an event; revoked -> the next request is refused.
pub async fn s81_a_key_at_egress_is_never_in_the_step(worker: &Worker) {
    let (bound, other) = (
        Upstream::tls().await.unwrap(),
        Upstream::plain().await.unwrap(),
    );
    let worker = setup::believing(worker, bound.authority.clone());
    let (value, control) = (canary::value(), canary::value());
    let mark = mark();
    let (at, elsewhere) = (
        format!("127.0.0.1:{}", bound.port),
        format!("127.0.0.1:{}", other.port),
    );
    let script = format!(
        "echo \"it is $API_KEY\"
         secure {at} /v1/messages; secure {at} /v2
         exec 3<>/dev/tcp/127.0.0.1/3128
         printf 'GET http://{elsewhere}/ HTTP/1.1\\r\\nHost: {elsewhere}\\r\\nX-Key: %s\\r\\nConnection: close\\r\\n\\r\\n' $API_KEY >&3
         cat <&3
         for name in NODE_EXTRA_CA_CERTS REQUESTS_CA_BUNDLE CURL_CA_BUNDLE GIT_SSL_CAINFO \
             CODEX_CA_CERTIFICATE AWS_CA_BUNDLE PIP_CERT DENO_CERT; do
             [ \"${{!name}}\" = \"$SSL_CERT_FILE\" ] || echo \"no $name\"
         done
         sleep {mark}
         for try in $(seq 120); do
             secure {at} /v1/again > /tmp/answer
             if grep -q ' 403 ' /tmp/answer; then echo withdrawn; exit 0; fi
             sleep 0.5
         done
         exit 1"
    );
    let mut step = brokered(&script, bound.port, &[other.port]);
    step.secrets = vec![("API_KEY", value.clone()), ("INSIDE", control.clone())];
    let run = worker.run(&step);
    until("it sleeps", || processes_with(&mark) > 0).await;
    assert_eq!(
        bound.heads_with(&format!("Bearer {value}")),
        1,
        "{:?}",
        bound.heads()
    );
    assert_eq!(
        bound.heads().len(),
        1,
        "on another path: {:?}",
        bound.heads()
    );
    assert!(
        other.heads().is_empty(),
        "another host: {:?}",
        other.heads()
    );

    let places = ["run", "tmp", "workspace", "dev/shm"];
    let (sleeping, proof) = nowhere_in_the_step(&mark, &value, &control, &places);
    assert!(proof.found_in(Kind::Memory) && proof.found_in(Kind::Arguments));
    for pid in sleeping {
        run.withdraw("API_KEY");
        processes::kill(pid);
    }
    let end = run.end().await;
    let text = end.text();
    assert_eq!(end.outcome, Some(Outcome::Succeeded), "{text}");
    assert!(text.contains("it is <redacted:API_KEY>"), "{text}");
    assert!(
        text.contains("welcome") && text.contains("withdrawn"),
        "{text}"
    );
    assert!(!text.contains("no "), "a variable: {text}");
    let rows = |reason: Denied| {
        let rows = end
            .denied
            .rows
            .iter()
            .filter(move |row| row.reason == reason);
        let rows = rows.map(|row| (row.port, row.key.clone()));
        rows.collect::<Vec<_>>()
    };
    let key = Some("API_KEY".to_owned());
    let mismatches = rows(Denied::CredentialMismatch);
    for port in [bound.port, other.port] {
        assert!(mismatches.contains(&(port, key.clone())), "{mismatches:?}");
    }
    assert_eq!(rows(Denied::CredentialWithdrawn), [(bound.port, key)]);
}

/// Both sandboxes are there, one of them has no value, and the command never runs.
pub async fn a_key_at_egress_that_is_not_there_starts_nothing(worker: &Worker) {
    let mark = mark();
    let mut step = brokered(&format!("sleep {mark}"), 443, &[]);
    // No header field can carry it.
    step.secrets = vec![("API_KEY", "two lines\nare none of a header's".to_owned())];
    let end = worker.run(&step).end().await;
    let Some(Outcome::Failed { failure }) = end.outcome else {
        panic!("{:?}", end.outcome)
    };
    let Failure::SecretUnavailable { detail, .. } = failure else {
        panic!("{failure:?}")
    };
    assert!(detail.contains("API_KEY"), "{detail}");
    assert!(!detail.contains("two lines"), "{detail}");
    assert_eq!(processes_with(&mark), 0);
}

pub async fn a_secret_may_be_a_file(worker: &Worker) {
    let value = format!("{VALUE}\nwith a second line\n");
    let script = "echo at $API_KEY; stat -c 'mode %a' $API_KEY; cat $API_KEY
                  sha256sum < $API_KEY; env | grep -c second; cd /workspace && ls -A";
    let mut step = Step::shell(script).with_secret(&value);
    step.delivery = json!({ "API_KEY": "file" });
    let text = worker.run(&step).end().await.text();
    assert!(
        text.starts_with("at /run/secrets/API_KEY\nmode 400\n"),
        "{text}"
    );
    assert!(
        text.contains("<redacted:API_KEY>") && !text.contains(VALUE),
        "{text}"
    );
    let hash = sealfleet_domain::hash::sha256_hex(value.as_bytes());
    assert!(text.contains(&format!("{hash}  -\n0\n")), "{text}");
}

pub async fn two_proxies_know_nothing_of_one_another(worker: &Worker) {
    let (one, two) = (Server::start().await, Server::start().await);
    let run = |own: &Server, other: &Server| {
        let script = format!("ask 127.0.0.1:{}; ask 127.0.0.1:{}", own.port, other.port);
        let rules = json!({ "allow": [{ "host": "127.0.0.1", "port": own.port }] });
        worker.run(&asking(&script, rules))
    };
    let (first, second) = (run(&one, &two), run(&two, &one));
    for end in [first.end().await, second.end().await] {
        let text = end.text();
        let seen = (text.matches("welcome").count(), text.matches("403").count());
        assert!(seen.0 == 1 && seen.1 >= 1, "{text}");
    }
    assert_eq!((one.greeted(), two.greeted()), (1, 1));
}

/// Prints how long a step takes from its claim to its report, beside what the engine alone takes
/// for a container. Nothing is asserted of the time: other cases run meanwhile.
pub async fn a_start_is_timed(worker: &Worker) {
    let mut steps = Vec::new();
    for _ in 0..5 {
        let began = Instant::now();
        let end = worker.run(&Step::of(&["true"])).end().await;
        assert_eq!(end.outcome, Some(Outcome::Succeeded), "{}", end.text());
        steps.push(began.elapsed());
    }
    let name = worker.backend.name();
    println!("{name}: a step that does nothing takes {:?}", median(steps));
    if name == "docker" {
        let mut containers = Vec::new();
        for _ in 0..5 {
            let began = Instant::now();
            let mut run = Command::new("docker");
            run.args(["run", "--rm", "--network=none", "--entrypoint=/bin/true"]);
            said(run.arg(setup::image()));
            containers.push(began.elapsed());
        }
        println!("docker: `docker run --rm` takes {:?}", median(containers));
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

pub async fn the_engine_knows_names_and_no_value(worker: &Worker) {
    let mut step = Step::shell("echo ready; echo a-word-of-the-command; sleep 300");
    step.mode = "identity";
    step.secrets = vec![("API_KEY", VALUE.to_owned())];
    step.env = json!({ "KNOB": "a-word-of-the-environment" });
    step.stdin = Some("a-word-of-the-input");
    let run = worker.run(&step);
    let name = run.sandbox().await;
    let inspected = said(Command::new("docker").args(["inspect", &name]));
    for word in [VALUE, "API_KEY", "KNOB", "a-word-of", "SEALFLEET_"] {
        assert!(!inspected.contains(word), "{word}: {inspected}");
    }
    let logs = Command::new("docker").args(["logs", &name]).output();
    let logs = logs.unwrap();
    assert!(!logs.status.success() && logs.stdout.is_empty(), "{logs:?}");

    let inspected: Value = serde_json::from_str(&inspected).unwrap();
    let labels = &inspected[0]["Config"]["Labels"];
    assert_eq!(labels["sealfleet.worker"], worker.process.name());
    assert_eq!(labels["sealfleet.run"], run.run_id.to_string());
    for (label, value) in [("project", "healthcare"), ("step", "case"), ("fence", "1")] {
        assert_eq!(labels[format!("sealfleet.{label}")], value, "{labels:#}");
    }
    assert!(labels["sealfleet.expires"].is_string());
    assert!(name.starts_with("sealfleet-"), "{name}");
    let host = &inspected[0]["HostConfig"];
    assert_eq!(host["NetworkMode"], "none");
    assert_eq!(host["LogConfig"]["Type"], "none");
    let health = &inspected[0]["Config"]["Healthcheck"]["Test"];
    assert_eq!(health, &json!(["NONE"]));
    // One bind: the directory of the channel, which the container cannot change.
    let binds = inspected[0]["Mounts"].as_array().unwrap();
    let binds: Vec<_> = binds.iter().filter(|one| one["Type"] == "bind").collect();
    assert_eq!(binds.len(), 1, "{binds:#?}");
    assert_eq!(
        (&binds[0]["Destination"], &binds[0]["RW"]),
        (&json!("/run/sealfleet"), &json!(false))
    );
    let place = Path::new(binds[0]["Source"].as_str().unwrap());
    assert_eq!(std::fs::read_dir(place).unwrap().count(), 0, "it listens");
    run.revoke().await;
    run.end().await;
    assert!(!place.exists());
    let left = Command::new("docker").args(["inspect", &name]).output();
    assert!(!left.unwrap().status.success(), "the container is left");
}

/// A volume of the image would be a directory of the host, without a bound.
pub async fn an_image_with_other_volumes_is_refused(worker: &Worker) {
    let tag = "sealfleet/other-volume:1";
    build(worker, tag, "VOLUME /data\n", "");
    let refused = setup::try_docker(&setup::engine_host(), tag, worker.process.clone()).await;
    let refused = refused.map(drop).unwrap_err();
    assert!(refused.contains("the volume `/data`"), "{refused}");
}

/// Builds an image on top of that of sandboxes. `init` is a file of its own.
fn build(worker: &Worker, tag: &str, recipe: &str, init: &str) {
    let place = directory(worker).join(tag.replace(['/', ':'], "-"));
    std::fs::create_dir(&place).unwrap();
    std::fs::write(place.join("init"), init).unwrap();
    let recipe = format!("FROM {}\nUSER root\n{recipe}", setup::image());
    std::fs::write(place.join("Dockerfile"), recipe).unwrap();
    let mut build = Command::new("docker");
    build.env("DOCKER_BUILDKIT", "0").arg("build");
    said(build.args(["--network=none", "--tag", tag]).arg(&place));
}

/// What connects to the channel from elsewhere in the container gets no step.
pub async fn only_a_container_s_first_process_is_its_init(worker: &Worker) {
    let tag = "sealfleet/another-init:1";
    let connect = "perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new(Peer => \"/run/sealfleet/channel\"); sleep 60' & wait";
    let recipe = "COPY init /usr/bin/sealfleet-init\nRUN chmod 755 /usr/bin/sealfleet-init\n\
                  ENTRYPOINT [\"/usr/bin/sealfleet-init\", \"fargate\"]\n";
    build(worker, tag, recipe, &format!("#!/bin/sh\n{connect}\n"));
    let refused = setup::try_docker(&setup::engine_host(), tag, worker.process.clone()).await;
    let refused = refused.map(drop).unwrap_err();
    assert!(
        refused.contains("another process than the container's first one"),
        "{refused}"
    );
}

/// Somebody else's container is left alone until its own label says that nobody wants it any more.
pub async fn what_has_expired_is_taken_away_whoever_made_it(worker: &Worker) {
    let made = |name: &str, expires: &str| {
        let mut create = Command::new("docker");
        create.args(["create", "--name", name, "--network=none"]);
        for (label, value) in [
            ("state", "other"),
            ("worker", "1-other"),
            ("expires", expires),
        ] {
            create.arg(format!("--label=sealfleet.{label}={value}"));
        }
        said(create.arg(setup::image()));
    };
    let (old, new) = (
        format!("sealfleet-old-{}", mark()),
        format!("sealfleet-new-{}", mark()),
    );
    made(&old, "2026-01-01T00:00:00Z");
    made(&new, "2999-01-01T00:00:00Z");
    sandbox(worker, &["reap"]);
    let left = said(Command::new("docker").args(["ps", "--all", "--format={{.Names}}"]));
    assert!(!left.contains(&old), "{left}");
    assert!(left.contains(&new), "{left}");
    said(Command::new("docker").args(["rm", &new]));
}

/// Runs an engine of its own, for it ends it.
pub async fn an_engine_that_ends_takes_its_steps_with_it(worker: &Worker) {
    let place = directory(worker).join("second-engine");
    let engine = setup::Engine::start(&place);
    engine.load(&setup::image());
    let second = Arc::new(setup::worker_of(&engine, &place).await);
    let mark = mark();
    let run = second.run(&Step::shell(&format!("sleep {mark}")));
    until("the step runs", || processes_with(&mark) > 0).await;
    let mut engine = engine;
    engine.kill();
    let end = run.end().await;
    // It is tried again: the command had no fault.
    assert_eq!(
        (end.outcome, run.reported().as_deref()),
        (None, Some("lost"))
    );
    until("the end of its step", || processes_with(&mark) == 0).await;
    // Nor had the one that could not start meanwhile.
    let meanwhile = second.run(&Step::shell("echo never"));
    let end = meanwhile.end().await;
    assert_eq!(
        (end.outcome, meanwhile.reported().as_deref()),
        (None, Some("lost"))
    );
    // The next step runs as soon as there is an engine again.
    engine.restart();
    let again = second.run(&Step::shell("echo again")).end().await;
    assert_eq!(again.text(), "again\n", "{:?}", again.outcome);
}
