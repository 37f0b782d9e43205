//! A value of every identity backend of workers, delivered in every way: it is where it belongs,
//! and nowhere else.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sealfleet_test_stack::canary::{
    self, Kind, Needle, Report, Search, files_with, search_process,
};
use sealfleet_test_stack::processes::{self, Sleeper};
use sealfleet_test_stack::project::{PULL, is_over, step};
use sealfleet_test_stack::worker::{BuiltinStore, Claimed, WorkerProcess};
use sealfleet_test_stack::{
    Failure, Outcome, Project, Stack, Upstream, ensure, ensure_eq, eventually, sha256, unique,
};
use sealfleet_test_stores::bitwarden::{self, Bitwarden};
use sealfleet_test_stores::connect::{self, Connect};
use serde_json::{Map, Value, json};

use crate::aws_sm::reader;
use crate::egress::ASK;
use crate::seen::{SOON, with_profile};
use crate::sops::Place;
use crate::vault::{AUDIENCE, Vault};

/// How a value is delivered: what the names of its keys begin with, and how a profile says it.
const DELIVERIES: [&str; 3] = ["INSIDE", "FILED", "BOUND"];

/// 34. A canary of every identity backend, in every delivery: it arrives, and is in no list, run,
///     log, audit row, queue, object or file, nor in the memory of the worker. What is delivered at
///     egress is nowhere in the step's sandbox either.
pub async fn s34_every_backend_and_delivery(stack: &Stack) -> Outcome {
    let (project, other) = stack.pair("stores").await?;
    let vault = Vault::plain(stack, &project).await?;
    let (bitwarden, connect) = (Bitwarden::start().await, Connect::start().await);
    let place = Place::new(stack, &project)?;
    let store = BuiltinStore::create(stack, &project).await?;
    let upstream = Upstream::tls().await?;
    connect.change(|does| does.vaults = vec![(project.id.clone(), connect::VAULT.to_owned())]);

    let mut keys = Vec::new();
    let of_sops: Vec<Key> = DELIVERIES.map(|how| Key::new(how, "SOPS")).into();
    let values = of_sops
        .iter()
        .map(|key| (key.name.as_str(), key.value.as_str()));
    place.write_all(values).await?;
    let listed = place.listed().await?;
    for key in of_sops {
        let named = format!("#db.{}@", key.name);
        let reference = listed.iter().find(|reference| reference.contains(&named));
        let reference = reference.ok_or_else(|| Failure::new(format!("{listed:?}")))?;
        keys.push(key.at(reference));
    }
    for how in DELIVERIES {
        let key = Key::new(how, "BUILTIN");
        let stored = store.put(&key.name.to_lowercase(), &key.value).await?;
        keys.push(key.at(&stored.pinned()));

        let key = Key::new(how, "VAULT");
        keys.push(vault.keep(key).await?);

        let key = Key::new(how, "AWSSM");
        let name = key.name.to_lowercase();
        let stored = project.aws_secret(stack, &name, &key.value).await?;
        keys.push(key.at(&stored.uri));

        let key = Key::new(how, "BITWARDEN");
        let version = bitwarden.put(&key.name, key.value.as_bytes());
        let id = bitwarden::id_of(&key.name);
        keys.push(key.at(&format!("bitwarden://{id}@{version}")));

        let key = Key::new(how, "CONNECT");
        let title = key.name.to_lowercase().replace('_', "-");
        let field = json!([{ "id": "password", "label": "password", "value": key.value }]);
        let version = connect.put(&title, field);
        let reference = format!("onepassword://{}/{title}/password@{version}", project.id);
        keys.push(key.at(&reference));
    }
    let token = |name: &str, content: &str| -> Outcome<String> {
        let path = stack.scratch.join(format!("{name}-{}", unique()));
        sealfleet_test_stack::private_file(&path, content)?;
        Ok(path.display().to_string())
    };
    let of_bitwarden = bitwarden::token(bitwarden::CLIENT_SECRET, bitwarden::SEED);
    let options = [
        ("--sops-directory", place.path("files")),
        ("--sops-key-file", place.path("key")),
        ("--vault-role", "steps".to_owned()),
        ("--vault-audience", AUDIENCE.to_owned()),
        ("--bitwarden-token-file", token("bitwarden", &of_bitwarden)?),
        (
            "--bitwarden-identity-url",
            format!("{}/identity", bitwarden.url),
        ),
        ("--bitwarden-api-url", format!("{}/api", bitwarden.url)),
        ("--onepassword-address", connect.url.clone()),
        (
            "--onepassword-token-file",
            token("connect", connect::TOKEN)?,
        ),
    ];
    let options = [&options[..], &reader(stack, &project)].concat();
    let at = At {
        stack,
        project: &project,
        upstream: &upstream,
    };
    let worker = at.worker(&vault, &store, &options).await?;
    at.keeps(&worker, "all", &keys, &other.admin).await?;
    drop(worker);

    // The other login of Vault: each sandbox takes a secret id that comes wrapped.
    let mut keys = Vec::new();
    for how in DELIVERIES {
        keys.push(vault.keep(Key::new(how, "APPROLE")).await?);
    }
    let wrapped = stack.scratch.join(format!("wrapped-{}", unique()));
    std::fs::create_dir_all(&wrapped)?;
    vault.wrapped(&wrapped, 4).await?;
    let options = [
        ("--vault-role-id", "steps".to_owned()),
        ("--vault-secret-ids", wrapped.display().to_string()),
    ];
    let worker = at.worker(&vault, &store, &options).await?;
    at.keeps(&worker, "approle", &keys, &other.admin).await?;
    let left = std::fs::read_dir(&wrapped)?.count();
    ensure!(left < 4, "no wrapped secret id was taken");
    Ok(())
}

/// 84. Before steps run, `backend check` says of each backend whether its login holds, what it may
///     read and whether a reference has a value: by names, and never by a value.
pub async fn s84_backends_are_checked_before_steps_run(stack: &Stack) -> Outcome {
    let project = stack.project("checked").await?;
    let vault = Vault::plain(stack, &project).await?;
    let (bitwarden, connect) = (Bitwarden::start().await, Connect::start().await);
    let own = (project.id.clone(), connect::VAULT.to_owned());
    let others = ("finance".to_owned(), connect::OTHER_VAULT.to_owned());
    connect.change(|does| does.vaults = vec![own, others]);
    let store = BuiltinStore::create(stack, &project).await?;
    let key = Key::new("INSIDE", "BUILTIN");
    let stored = store.put("crm", &key.value).await?;
    let kept = vault.keep(Key::new("INSIDE", "VAULT")).await?;
    let wrapped = stack.scratch.join(format!("wrapped-{}", unique()));
    std::fs::create_dir_all(&wrapped)?;
    vault.wrapped(&wrapped, 1).await?;
    let place = stack.scratch.join(format!("checked-{}", unique()));
    std::fs::create_dir_all(&place)?;
    let token = |name: &str, content: &str| -> Outcome<String> {
        let path = place.join(name);
        sealfleet_test_stack::private_file(&path, content)?;
        Ok(path.display().to_string())
    };
    let of_bitwarden = bitwarden::token("of-somebody-else", bitwarden::SEED);
    let path = |path: PathBuf| path.display().to_string();
    let absent = format!("builtin://nothing@{}", stored.version);
    let options = [
        ("--project", project.id.clone()),
        ("--rootfs", path(stack.parts.directory.join("rootfs"))),
        ("--init", path(stack.binaries.join("sealfleet-init"))),
        ("--network", "policy".to_owned()),
        ("--builtin-store", path(store.store.clone())),
        ("--builtin-key-file", path(store.key.clone())),
        ("--vault-address", vault.address()),
        ("--vault-role-id", "steps".to_owned()),
        ("--vault-secret-ids", path(wrapped)),
        ("--bitwarden-token-file", token("bitwarden", &of_bitwarden)?),
        (
            "--bitwarden-identity-url",
            format!("{}/identity", bitwarden.url),
        ),
        ("--bitwarden-api-url", format!("{}/api", bitwarden.url)),
        ("--onepassword-address", connect.url.clone()),
        (
            "--onepassword-token-file",
            token("connect", connect::TOKEN)?,
        ),
        ("--reference", stored.pinned()),
        ("--reference", absent),
        ("--reference", kept.reference.clone()),
    ];
    let program = stack.binaries.join("sealfleet-worker");
    let asked = async |options: &[(&str, String)]| -> Outcome<(bool, String)> {
        let mut command = tokio::process::Command::new(&program);
        command.args(["backend", "check", "--output", "json"]);
        for (option, value) in options {
            command.args([*option, value]);
        }
        let done = command.output().await?;
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        let noted = String::from_utf8_lossy(&done.stderr).into_owned();
        for key in [&key, &kept] {
            let is_told = said.contains(&key.value) || noted.contains(&key.value);
            ensure!(!is_told, "a value is told: {said} {noted}");
        }
        Ok((done.status.success(), format!("{said}\n{noted}")))
    };
    let (good, said) = asked(&options).await?;
    let answer = said.split("\nsealfleet-worker:").next().unwrap_or_default();
    let answer: Value = serde_json::from_str(answer.trim())
        .map_err(|error| Failure::new(format!("{error}: {said}")))?;
    ensure!(
        !good && answer["usable"] == false,
        "it is not usable: {said}"
    );
    let pinned = |reference: &str| {
        let uri = reference.split('@').next().unwrap_or_default();
        format!("`{uri}`")
    };
    for (backend, check, verdict, found) in [
        ("builtin", "login", "passed", "it holds"),
        ("builtin", "reads", "passed", "builtin://crm"),
        ("builtin", &pinned(&stored.pinned()), "passed", "a value"),
        ("builtin", "`builtin://nothing`", "failed", "unknown_secret"),
        ("vault", "login", "passed", "it holds"),
        (
            "vault",
            "reads",
            "passed",
            &format!("kv/data/{}/*", project.id),
        ),
        ("vault", &pinned(&kept.reference), "passed", "a value"),
        ("vault", "delivery", "passed", "egress"),
        ("bitwarden", "login", "failed", "wrong_credential"),
        ("onepassword", "login", "passed", "it holds"),
        ("onepassword", "reads", "warned", "finance"),
    ] {
        let findings = answer["findings"].as_array().into_iter().flatten();
        let mut of = findings.filter(|one| one["backend"] == backend && one["check"] == check);
        let one = of
            .next()
            .ok_or_else(|| Failure::new(format!("{backend} {check}: {said}")))?;
        ensure_eq!(one["verdict"], verdict, "{one}");
        let text = one["found"].as_str().unwrap_or_default();
        ensure!(text.contains(found), "{backend} {check}: {one}");
        ensure_eq!(one["advice"].is_string(), verdict != "passed", "{one}");
    }

    // What steps would miss is a failure, whatever the login may do. A token of a step is had by
    // steps alone.
    let options = [
        ("--project", project.id.clone()),
        ("--rootfs", options[1].1.clone()),
        ("--vault-address", vault.address()),
        ("--vault-role", "steps".to_owned()),
        ("--vault-audience", AUDIENCE.to_owned()),
    ];
    let (good, said) = asked(&options).await?;
    ensure!(!good && said.contains("`--network policy`"), "{said}");
    ensure!(said.contains("logs in by its own token"), "{said}");
    let with_network = [&options[..], &[("--network", "policy".to_owned())]].concat();
    let (good, said) = asked(&with_network).await?;
    ensure!(good, "{said}");
    let nobody = [
        &with_network[..2],
        &[
            ("--network", "policy".to_owned()),
            ("--onepassword-address", "http://127.0.0.1:1".to_owned()),
            ("--onepassword-token-file", token("nobody", connect::TOKEN)?),
        ],
    ]
    .concat();
    let (good, said) = asked(&nobody).await?;
    ensure!(!good && said.contains("unreachable"), "{said}");
    Ok(())
}

/// 84. One command writes a value to a store and pins it in a profile: a key of a secret of Vault,
///     beside which others stay, and a value in a file of SOPS, whose others are pinned along.
///     Where it cannot write, it says what to do.
pub async fn s84_one_command_writes_and_pins(stack: &Stack) -> Outcome {
    let project = stack.project("written").await?;
    let vault = Vault::plain(stack, &project).await?;
    let place = Place::new(stack, &project)?;
    place
        .write_all([("password", "before"), ("user", "somebody")])
        .await?;
    let listed = place.listed().await?;
    let [password, user] = listed.as_slice() else {
        return Err(Failure::new(format!("{listed:?}")));
    };
    let content = json!({ "secrets": { "DB_PASSWORD": password, "DB_USER": user } });
    project.admin.create_profile("db", &content).await?;
    let token = stack.scratch.join(format!("token-{}", unique()));
    sealfleet_test_stack::private_file(&token, project.admin.credential())?;
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/venv/identity/bin");
    let put = async |reference: &str, key: &str, value: &str| -> Outcome<(bool, String)> {
        let mut command = tokio::process::Command::new(stack.binaries.join("sealfleet"));
        command
            .args(["secret", "put", reference, "--profile", "db", "--key", key])
            .args(["--sops-directory", &place.path("files")])
            .env("SEALFLEET_API_URL", &stack.parts.api_url)
            .env("SEALFLEET_TOKEN_FILE", &token)
            .env("PATH", &programs)
            .env("SOPS_AGE_KEY_FILE", place.path("key"))
            .envs(vault.operator())
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            tokio::io::AsyncWriteExt::write_all(&mut stdin, value.as_bytes()).await?;
        }
        let done = child.wait_with_output().await?;
        let said = [done.stdout, done.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        ensure!(!said.contains(value), "a value is told: {said}");
        Ok((done.status.success(), said))
    };
    let pinned = async |key: &str| -> Outcome<String> {
        let profile = json!(project.admin.profile("db").await?);
        Ok(profile["secrets"][key]
            .as_str()
            .unwrap_or_default()
            .to_owned())
    };

    let at = format!("vault://kv/{}/crm", project.id);
    let (first, second) = (canary::value(), canary::value());
    let (done, said) = put(&format!("{at}#token"), "TOKEN", &first).await?;
    ensure!(done, "{said}");
    ensure_eq!(pinned("TOKEN").await?, format!("{at}#token@1"), "{said}");
    let (done, said) = put(&format!("{at}#pin"), "PIN", &second).await?;
    ensure!(done, "{said}");
    ensure_eq!(pinned("PIN").await?, format!("{at}#pin@2"), "{said}");
    ensure_eq!(pinned("TOKEN").await?, format!("{at}#token@1"), "{said}");
    let kept = vault.newest("crm").await?;
    ensure_eq!(kept, json!({ "token": first, "pin": second }), "{said}");

    let new = canary::value();
    let reference = password.split('@').next().unwrap_or_default();
    let (done, said) = put(reference, "DB_PASSWORD", &new).await?;
    ensure!(done, "{said}");
    let listed = place.listed().await?;
    let now = [pinned("DB_PASSWORD").await?, pinned("DB_USER").await?];
    ensure_eq!(now.to_vec(), listed, "both are of the new file: {said}");
    ensure!(
        now.first() != Some(password),
        "the file has changed: {said}"
    );
    let opened = place.opened().await?;
    ensure!(
        opened.contains(&new) && opened.contains("somebody"),
        "the file's values"
    );

    for (reference, word) in [
        (
            "bitwarden://6bb8a2a4-6a4b-4751-a310-af9601317f2d",
            "revisionDate",
        ),
        (
            &format!("onepassword://{}/crm/password", project.id),
            "version",
        ),
        (
            &format!("vault://kv2/{}/crm#token", project.id),
            "nothing is written",
        ),
    ] {
        let (done, said) = put(reference, "OTHER", &new).await?;
        ensure!(!done && said.contains(word), "{reference}: {said}");
        ensure_eq!(pinned("OTHER").await?, "", "{reference}");
    }
    Ok(())
}

/// A key of a profile, with its canary.
pub struct Key {
    how: &'static str,
    pub name: String,
    pub value: String,
    reference: String,
}

impl Key {
    fn new(how: &'static str, backend: &str) -> Self {
        Self {
            how,
            name: format!("{how}_{backend}"),
            value: canary::value(),
            reference: String::new(),
        }
    }

    pub fn at(self, reference: &str) -> Self {
        Self {
            reference: reference.to_owned(),
            ..self
        }
    }
}

fn needle(keys: &[Key], how: &[&str]) -> Outcome<Needle> {
    let of = keys.iter().filter(|key| how.contains(&key.how));
    let values: Vec<&str> = of.map(|key| key.value.as_str()).collect();
    Needle::any(&values)
}

struct At<'a> {
    stack: &'a Stack,
    project: &'a Project,
    upstream: &'a Upstream,
}

impl At<'_> {
    async fn worker(
        &self,
        vault: &Vault,
        store: &BuiltinStore,
        options: &[(&str, String)],
    ) -> Outcome<WorkerProcess> {
        let authority = self.stack.scratch.join(format!("authority-{}", unique()));
        let pem = self.upstream.authority.clone().unwrap_or_default();
        std::fs::write(&authority, pem)?;
        let lends = [
            ("--vault-address", vault.address()),
            ("--network", "policy".to_owned()),
            ("--egress-network", "127.0.0.0/8".to_owned()),
            ("--egress-ca", authority.display().to_string()),
        ];
        let options = [options, &lends].concat();
        let rootfs = self.stack.parts.directory.join("rootfs");
        WorkerProcess::start_with(&rootfs, &options, self.stack, self.project, store, &[]).await
    }

    /// Runs one step with all of these keys, and looks for them.
    async fn keeps(
        &self,
        worker: &WorkerProcess,
        profile: &str,
        keys: &[Key],
        stranger: &sealfleet_test_stack::Caller,
    ) -> Outcome {
        let (stack, project) = (self.stack, self.project);
        let content = profile_of(keys, self.upstream.port);
        project.admin.create_profile(profile, &content).await?;
        let sleeper = Sleeper::new();
        let asleep = sleeper.command();
        let asleep = asleep.get(1).and_then(Value::as_str).unwrap_or_default();
        let at = format!("127.0.0.1:{}", self.upstream.port);
        let script = format!(
            r#"{ASK}
            for key in ${{!INSIDE_@}}; do printf %s "${{!key}}" | sha256sum | cut -c 1-64; done
            for key in ${{!FILED_@}}; do sha256sum < "${{!key}}" | cut -c 1-64; done
            for key in ${{!BOUND_@}}; do API_KEY="${{!key}}"; secure {at} /$key > /tmp/said; done
            sleep {asleep}; true"#
        );
        let only = json!({ "pool": PULL, "mode": "identity", "command": ["bash", "-c", script] });
        let run = project
            .enqueue(&with_profile(profile, &[step("only", &only)]))
            .await?;
        let sleeping = eventually("the step to have all of its secrets", SOON, async || {
            Ok(sleeper.asleep().pop())
        })
        .await
        .map_err(|failure| Failure::new(format!("{failure}\n{}", worker.log())))?;

        let inside = sandbox_of(worker, sleeping);
        is_where_it_belongs(keys, sleeping, &inside)?;
        let search = Search {
            callers: vec![project.admin.clone(), stranger.clone()],
            processes: worker.own_processes(),
            directories: vec![worker.directory.clone(), PathBuf::from("/run/sealfleet")],
        };
        let all = needle(keys, &DELIVERIES)?;
        search
            .run(stack, &all)
            .await?
            .ensure_clean("while it runs")?;

        // The search may take longer than the lease: then another attempt sleeps.
        let ended = eventually("the end of the run", Duration::from_secs(120), async || {
            sleeper.wake();
            let shown = project.run(&run).await?;
            Ok(is_over(&shown).then_some(shown))
        })
        .await?;
        let only = project.step(&run, "only").await?;
        let output = worker.output(&Claimed {
            run: run.clone(),
            step: "only".to_owned(),
            fence: only.fence.number(),
        });
        ensure_eq!(
            json!(only.state),
            "succeeded",
            "{ended:?}\n{output}\n{}",
            worker.log()
        );
        for key in keys {
            let arrived = match key.how {
                "BOUND" => self.upstream.heads_with(&format!("Bearer {}", key.value)) > 0,
                _ => output.contains(&sha256(key.value.as_bytes())),
            };
            ensure!(arrived, "`{}` has not arrived: {output}", key.name);
        }
        search
            .run(stack, &all)
            .await?
            .ensure_clean("after it ran")?;
        let decrypted = project.events(&run, "secret.decrypted").await?;
        for key in keys {
            let of_key = decrypted
                .iter()
                .filter(|event| event["key"] == key.name.as_str());
            ensure!(
                of_key.count() > 0,
                "`{}` is not audited: {decrypted:?}",
                key.name
            );
        }
        Ok(())
    }
}

/// A profile that delivers each key in its way.
fn profile_of(keys: &[Key], port: u16) -> Value {
    let to = json!([{ "host": "127.0.0.1", "port": port }]);
    let secrets = keys
        .iter()
        .map(|key| (key.name.clone(), json!(key.reference)));
    let delivery = keys.iter().filter_map(|key| {
        let how = match key.how {
            "FILED" => json!("file"),
            "BOUND" => json!({ "egress": { "to": to } }),
            _ => return None,
        };
        Some((key.name.clone(), how))
    });
    json!({
        "secrets": secrets.collect::<Map<String, Value>>(),
        "delivery": delivery.collect::<Map<String, Value>>(),
        "egress": { "allow": to },
        "identity": { "audiences": [AUDIENCE] },
    })
}

/// The processes that share a sandbox with this one.
fn sandbox_of(worker: &WorkerProcess, sleeping: u32) -> Vec<u32> {
    let of = |pid: u32| std::fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    let own = of(sleeping);
    let below = processes::below(worker.pid)
        .into_iter()
        .map(|found| found.pid);
    below
        .filter(|pid| own.is_some() && of(*pid) == own)
        .collect()
}

/// Values inside are in the environment, or in files; those at egress are in no process and no file
/// of the sandbox.
fn is_where_it_belongs(keys: &[Key], sleeping: u32, inside: &[u32]) -> Outcome {
    let root = PathBuf::from(format!("/proc/{sleeping}/root"));
    let files = |needle: &Needle| -> Outcome<Vec<String>> {
        let places = ["run", "tmp", "workspace", "dev/shm"];
        let found = places.map(|place| files_with(needle, &root.join(place)));
        Ok(found.into_iter().collect::<Outcome<Vec<_>>>()?.concat())
    };
    let in_process = |needle: &Needle, pid: u32| {
        let mut report = Report::default();
        search_process(needle, pid, &mut report);
        report
    };
    let in_env = in_process(&needle(keys, &["INSIDE"])?, sleeping);
    ensure!(in_env.found_in(Kind::Arguments), "no environment has it");
    let filed = needle(keys, &["FILED"])?;
    ensure!(!files(&filed)?.is_empty(), "no file has it");
    let of_filed = in_process(&filed, sleeping);
    ensure!(
        of_filed.found.is_empty(),
        "a file's value: {:?}",
        of_filed.found
    );

    let bound = needle(keys, &["BOUND"])?;
    ensure!(inside.len() > 1, "init and the command: {inside:?}");
    for pid in inside {
        let found = in_process(&bound, *pid).found;
        ensure!(found.is_empty(), "in the sandbox: {found:?}");
    }
    let found = files(&bound)?;
    ensure!(found.is_empty(), "in the sandbox: {found:?}");
    Ok(())
}
