//! A value of every identity backend of workers, delivered in every way: it is where it belongs,
//! and nowhere else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sealfleet_test_aws::agentcore::{self, ACTIONS, AgentCore, Grant, WORKLOAD};
use sealfleet_test_aws::{Account, REGION, role_arn};
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
    let agentcore = agentcore_of(stack, &project).await;

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

        let key = Key::new(how, "AGENTCORE");
        agentcore.put_key(&key.name, &key.value);
        let reference = format!("agentcore://{}", key.name);
        keys.push(key.at(&reference));

        let key = Key::new(how, "OAUTH2");
        agentcore.put_oauth2(&key.name, Grant::Token(key.value.clone()));
        let reference = format!("agentcore://{}#oauth2", key.name);
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
    let scopes = DELIVERIES.map(|how| format!("{how}_OAUTH2=read"));
    let scopes = ("--agentcore-scopes", scopes.join(","));
    let options = [
        &options[..],
        &reader(stack, &project),
        &steps_of(&agentcore),
        &[scopes],
    ]
    .concat();
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

/// AgentCore Identity in an account that knows the control plane's issuer, with a role for steps
/// of this project.
async fn agentcore_of(stack: &Stack, project: &Project) -> AgentCore {
    let role = agentcore::role("steps", &project.id, &ACTIONS);
    AgentCore::start(Account::start(&stack.parts.api_url, vec![role]).await).await
}

/// The options of a worker whose steps assume that role.
fn steps_of(agentcore: &AgentCore) -> [(&'static str, String); 5] {
    [
        ("--agentcore-workload", WORKLOAD.to_owned()),
        ("--agentcore-role", role_arn("steps")),
        ("--agentcore-region", REGION.to_owned()),
        ("--agentcore-address", agentcore.url.clone()),
        ("--agentcore-sts-address", agentcore.account.sts.clone()),
    ]
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
    let values = [key.value.as_str(), kept.value.as_str()];
    let asked = async |options: &[(&str, String)]| checked(stack, options, &values).await;
    let found = asked(&options).await?;
    ensure!(!found.usable, "it is not usable: {}", found.said);
    let pinned = |reference: &str| {
        let uri = reference.split('@').next().unwrap_or_default();
        format!("`{uri}`")
    };
    for (backend, check, verdict, what) in [
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
        let one = found.of(backend, check)?;
        ensure_eq!(one["verdict"], verdict, "{one}");
        let text = one["found"].as_str().unwrap_or_default();
        ensure!(text.contains(what), "{backend} {check}: {one}");
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
    let found = asked(&options).await?;
    let said = &found.said;
    ensure!(
        !found.usable && said.contains("`--network policy`"),
        "{said}"
    );
    ensure!(said.contains("logs in by its own token"), "{said}");
    let with_network = [&options[..], &[("--network", "policy".to_owned())]].concat();
    let found = asked(&with_network).await?;
    ensure!(found.usable, "{}", found.said);
    let nobody = [
        &with_network[..2],
        &[
            ("--network", "policy".to_owned()),
            ("--onepassword-address", "http://127.0.0.1:1".to_owned()),
            ("--onepassword-token-file", token("nobody", connect::TOKEN)?),
        ],
    ]
    .concat();
    let found = asked(&nobody).await?;
    let said = &found.said;
    ensure!(!found.usable && said.contains("unreachable"), "{said}");
    Ok(())
}

/// 84. `backend check` tries AWS without a token of a step: it tells whether Secrets Manager,
///     AgentCore and STS are where the worker has them, and that steps log in by their own tokens.
///     It asks for no credential.
pub async fn s84_logins_at_aws_are_checked_before_steps_run(stack: &Stack) -> Outcome {
    let project = stack.project("awschecked").await?;
    let (agentcore, connect) = (agentcore_of(stack, &project).await, Connect::start().await);
    let value = canary::value();
    let stored = project.aws_secret(stack, "crm", &value).await?;
    agentcore.put_key("crm", &value);
    let path = |path: PathBuf| path.display().to_string();
    let host = [
        ("--project", project.id.clone()),
        ("--rootfs", path(stack.parts.directory.join("rootfs"))),
        ("--network", "policy".to_owned()),
    ];
    let references = [
        ("--reference", stored.pinned()),
        ("--reference", "agentcore://crm".to_owned()),
    ];
    let good = [
        &host[..],
        &reader(stack, &project),
        &steps_of(&agentcore),
        &references,
    ]
    .concat();
    let with = |option: &str, value: &str| -> Vec<(&str, String)> {
        let changed = good.iter().map(|(name, given)| match *name == option {
            true => (*name, value.to_owned()),
            false => (*name, given.clone()),
        });
        changed.collect()
    };
    let nowhere = "http://127.0.0.1:1";
    for (options, backend, verdict, what) in [
        (good.clone(), "aws-sm", "warned", "by its own token"),
        (good.clone(), "agentcore", "warned", "by its own token"),
        // Each of the two services that a login needs.
        (
            with("--aws-sm-address", nowhere),
            "aws-sm",
            "failed",
            "unreachable",
        ),
        (
            with("--aws-sm-sts-address", nowhere),
            "aws-sm",
            "failed",
            "unreachable",
        ),
        (
            with("--agentcore-address", nowhere),
            "agentcore",
            "failed",
            "unreachable",
        ),
        (
            with("--agentcore-sts-address", nowhere),
            "agentcore",
            "failed",
            "unreachable",
        ),
        // What answers there is not AWS.
        (
            with("--aws-sm-address", &connect.url),
            "aws-sm",
            "failed",
            "bad_answer",
        ),
        (
            with("--aws-sm-sts-address", &connect.url),
            "aws-sm",
            "failed",
            "bad_answer",
        ),
        (
            with("--agentcore-address", &connect.url),
            "agentcore",
            "failed",
            "bad_answer",
        ),
        (
            with("--agentcore-sts-address", &connect.url),
            "agentcore",
            "failed",
            "bad_answer",
        ),
        (
            with("--aws-sm-role", "reader"),
            "aws-sm",
            "failed",
            "no_login",
        ),
        (
            with("--agentcore-role", "steps"),
            "agentcore",
            "failed",
            "no_login",
        ),
    ] {
        let found = checked(stack, &options, &[&value]).await?;
        let one = found.of(backend, "login")?;
        ensure_eq!(one["verdict"], verdict, "{backend} {what}: {one}");
        let text = one["found"].as_str().unwrap_or_default();
        ensure!(text.contains(what), "{backend}: {one}");
        ensure_eq!(found.usable, verdict == "warned", "{}", found.said);
        // What a login that is not tried would read is not left out silently.
        let of_reference = match backend {
            "aws-sm" => format!("`{}`", stored.uri),
            _ => "`agentcore://crm`".to_owned(),
        };
        let one = found.of(backend, &of_reference)?;
        ensure_eq!(one["verdict"], verdict, "{one}");
    }
    let asked = agentcore.asked();
    let knocks = asked
        .iter()
        .filter(|(path, is_signed)| path == "/identities/GetWorkloadAccessToken" && !is_signed);
    ensure!(
        knocks.count() == asked.len() && !asked.is_empty(),
        "{asked:?}"
    );
    ensure!(
        agentcore.account.sessions().is_empty(),
        "a session was given"
    );
    Ok(())
}

/// What `backend check` finds.
struct Found {
    usable: bool,
    findings: Vec<Value>,
    said: String,
}

impl Found {
    fn of(&self, backend: &str, check: &str) -> Outcome<&Value> {
        let mut findings = self.findings.iter();
        let one = findings.find(|one| one["backend"] == backend && one["check"] == check);
        one.ok_or_else(|| Failure::new(format!("{backend} {check}: {}", self.said)))
    }
}

/// Asks `backend check`, which tells none of these values.
async fn checked(stack: &Stack, options: &[(&str, String)], values: &[&str]) -> Outcome<Found> {
    let mut command = tokio::process::Command::new(stack.binaries.join("sealfleet-worker"));
    command.args(["backend", "check", "--output", "json"]);
    for (option, value) in options {
        command.args([*option, value]);
    }
    let done = command.output().await?;
    let [answer, noted] = [&done.stdout, &done.stderr].map(|text| String::from_utf8_lossy(text));
    let said = format!("{answer}\n{noted}");
    let told = values.iter().find(|value| said.contains(**value));
    ensure!(told.is_none(), "a value is told: {said}");
    let answer: Value = serde_json::from_str(answer.trim())
        .map_err(|error| Failure::new(format!("{error}: {said}")))?;
    let usable = done.status.success();
    ensure_eq!(answer["usable"], json!(usable), "{said}");
    let findings = answer["findings"].as_array().cloned().unwrap_or_default();
    Ok(Found {
        usable,
        findings,
        said,
    })
}

/// 84. One command writes a value to a store and pins it in a profile: a secret of a builtin store
///     or of Secrets Manager, a key of a secret of Vault, beside which others stay, and a value in
///     a file of SOPS, whose others are pinned along. Where it cannot write, it says what to do,
///     and a name of another project is not written.
pub async fn s84_one_command_writes_and_pins(stack: &Stack) -> Outcome {
    let (project, other) = stack.pair("written").await?;
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
    let store = BuiltinStore::create(stack, &project).await?;
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/venv/identity/bin");
    let put = async |reference: &str, key: &str, value: &str| -> Outcome<(bool, String)> {
        let mut command = tokio::process::Command::new(stack.binaries.join("sealfleet"));
        command
            .args(["secret", "put", reference, "--profile", "db", "--key", key])
            .args(["--sops-directory", &place.path("files")])
            .env("AWS_ENDPOINT_URL", &stack.parts.endpoint)
            .env("AWS_REGION", &stack.parts.region)
            .env("AWS_ACCESS_KEY_ID", &stack.parts.access_key_id)
            .env("AWS_SECRET_ACCESS_KEY", &stack.parts.secret_access_key)
            .env("SEALFLEET_API_URL", &stack.parts.api_url)
            .env("SEALFLEET_TOKEN_FILE", &token)
            .env("PATH", &programs)
            .env("SOPS_AGE_KEY_FILE", place.path("key"))
            .envs(vault.operator())
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        if reference.starts_with("builtin://") {
            command.arg("--builtin-store").arg(&store.store);
            command.arg("--builtin-key-file").arg(&store.key);
        }
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

    for reference in [
        "builtin://crm".to_owned(),
        format!("aws-sm://sealfleet/{}/crm#token", project.id),
    ] {
        let mut versions = BTreeSet::new();
        for _ in 0..2 {
            let (done, said) = put(&reference, "STORED", &canary::value()).await?;
            ensure!(done, "{reference}: {said}");
            let pinned = pinned("STORED").await?;
            let version = pinned.strip_prefix(&format!("{reference}@"));
            let version = version.ok_or_else(|| Failure::new(format!("{pinned}: {said}")))?;
            versions.insert(version.to_owned());
        }
        ensure_eq!(versions.len(), 2, "{reference}: {versions:?}");
    }
    for foreign in [
        format!("aws-sm://sealfleet/{}/crm#token", other.id),
        "builtin://system/crm".to_owned(),
        format!("vault://kv/{}/crm#token", other.id),
    ] {
        let (done, said) = put(&foreign, "FOREIGN", &canary::value()).await?;
        ensure!(
            !done && !said.contains("the secret is written"),
            "{foreign}: {said}"
        );
        ensure_eq!(pinned("FOREIGN").await?, "", "{foreign}");
    }

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
        "identity": { "audiences": [AUDIENCE, agentcore::AUDIENCE] },
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
