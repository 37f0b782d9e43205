//! Secrets in a real `OpenBao`, which steps of a real worker log in to by their own tokens.

use std::path::Path;
use std::time::Duration;

use sealfleet_client::RevocationState;
use sealfleet_test_bao::{Bao, Rabbit};
use sealfleet_test_stack::canary::{self, Needle, Report, search_process};
use sealfleet_test_stack::project::{PULL, merged, step};
use sealfleet_test_stack::worker::{BuiltinStore, Claimed, WorkerProcess};
use sealfleet_test_stack::{
    Failure, Outcome, Project, Stack, Upstream, ensure, ensure_eq, eventually, unique,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::egress::ASK;
use crate::seen::{SOON, with_profile};
use crate::stores::Key;

pub const AUDIENCE: &str = "https://vault.example";

/// 84. A value in `OpenBao` reaches the step that was granted it, by a login of the step itself.
///     The way there is gone before the command runs. A step whose claims do not fit, and one of a
///     worker that lends no network, are refused.
pub async fn s84_a_worker_reads_vault(stack: &Stack) -> Outcome {
    let project = stack.project("vault").await?;
    let vault = Vault::new(stack, &project).await?;
    let canary = canary::value();
    let version = vault.put(&canary).await?;
    let upstream = Upstream::tls().await?;
    let pinned = format!("vault://kv/{}/crm#password@{version}", project.id);
    let inside = json!({
        "secrets": { "API_KEY": pinned }, "identity": { "audiences": [AUDIENCE] },
    });
    let bound = json!({
        "delivery": { "API_KEY": { "egress": {
            "to": [{ "host": "127.0.0.1", "port": upstream.port }],
        } } },
        "egress": { "allow": [{ "host": "127.0.0.1", "port": upstream.port }] },
    });
    project.admin.create_profile("inside", &inside).await?;
    let bound = merged(inside.clone(), &bound);
    project.admin.create_profile("bound", &bound).await?;
    let anonymous = json!({ "secrets": { "API_KEY": pinned } });
    project
        .admin
        .create_profile("anonymous", &anonymous)
        .await?;

    let authority = stack.scratch.join(format!("authority-{}", unique()));
    std::fs::write(&authority, upstream.authority.clone().unwrap_or_default())?;
    let lends = [
        ("--network", "policy".to_owned()),
        ("--egress-network", "127.0.0.0/8".to_owned()),
        ("--egress-ca", authority.display().to_string()),
    ];
    let worker = vault.worker(stack, &project, "steps", &lends).await?;

    // Besides the value: who listens in the sandbox, what it was told of proxies and tokens, and
    // which files are open.
    let script = r#"
        printf %s "$API_KEY" | sha256sum
        cat /proc/net/tcp /proc/net/tcp6 | grep -c ' 0A '
        env | grep -c -e PROXY -e ID_TOKEN
        ls /proc/self/fd | wc -w
    "#;
    let (run, ended, output) = ran(&project, &worker, "inside", script).await?;
    ensure_eq!(
        ended["state"],
        "succeeded",
        "{ended}\n{output}\n{}",
        worker.log()
    );
    let digest = sealfleet_domain::hash::ContentHash::of(canary.as_bytes()).to_string();
    ensure!(output.contains(&digest), "the value: {output}");
    let seen: Vec<&str> = output.lines().skip(1).collect();
    ensure_eq!(seen, ["0", "0", "4"], "what else is there: {output}");
    let decrypted = project.events(&run, "secret.decrypted").await?;
    ensure_eq!(decrypted[0]["version"], json!(version), "{decrypted:?}");
    let id = decrypted[0]["store_request_id"]
        .as_str()
        .unwrap_or_default();
    ensure_eq!(id.len(), 36, "Vault's id of the request: {decrypted:?}");
    let issued = project.events(&run, "identity.token_issued").await?;
    ensure_eq!(issued[0]["audience"], json!(AUDIENCE), "{issued:?}");

    // The proxy that delivers a value reads it by a login of its own.
    let at = format!("127.0.0.1:{}", upstream.port);
    let script = format!("{ASK} secure {at} /v1; true");
    let (run, ended, output) = ran(&project, &worker, "bound", &script).await?;
    ensure_eq!(
        ended["state"],
        "succeeded",
        "{ended}\n{output}\n{}",
        worker.log()
    );
    let with_value = upstream.heads_with(&format!("Bearer {canary}"));
    ensure_eq!(with_value, 1, "{output}\n{:?}", upstream.heads());
    let decrypted = project.events(&run, "secret.decrypted").await?;
    ensure!(
        decrypted[0]["store_request_id"].is_string(),
        "{decrypted:?}"
    );

    // A step of a profile without the audience has no token to log in with.
    let why = refused(&project, &worker, "anonymous").await?;
    ensure!(why.contains("no_identity_token"), "no audience: {why}");
    let needle = Needle::new(&canary)?;
    let mut found = Report::default();
    for pid in worker.own_processes() {
        search_process(&needle, pid, &mut found);
    }
    ensure!(found.found.is_empty(), "in the worker: {:?}", found.found);
    ensure!(!worker.log().contains(&canary), "the worker's log has it");
    drop(worker);

    let worker = vault.worker(stack, &project, "others", &lends).await?;
    let why = refused(&project, &worker, "inside").await?;
    ensure!(why.starts_with("wrong_credential"), "another claim: {why}");
    drop(worker);

    let worker = vault.worker(stack, &project, "steps", &[]).await?;
    let why = refused(&project, &worker, "inside").await?;
    ensure!(why.contains("`--network policy`"), "no network: {why}");
    Ok(())
}

/// 84. An account that `OpenBao` makes for a step is there while it runs, and is taken back however
///     the step ends. The sandbox of the command has no way to `OpenBao`, and nothing to log in by.
pub async fn s84_what_vault_lends_is_taken_back(stack: &Stack) -> Outcome {
    let project = stack.project("lent").await?;
    let vault = Vault::new(stack, &project).await?;
    let rabbit = Rabbit::start().await.map_err(Failure::new)?;
    let mount = format!("rabbitmq/{}", project.id);
    let lent = rabbit.lent_by(&vault.bao, &mount, "reader", 60, 7200);
    lent.await.map_err(Failure::new)?;
    let upstream = Upstream::tls().await?;
    let field = |field: &str| format!("vault://{mount}/creds/reader#{field}@dynamic");
    let inside = json!({
        "secrets": { "NAME": field("username"), "PASSWORD": field("password") },
        "identity": { "audiences": [AUDIENCE] },
    });
    // It is lent before it is seen that it has no such field.
    let absent = json!({ "secrets": { "ABSENT": field("absent") } });
    let broken = merged(inside.clone(), &absent);
    let to = json!([{ "host": "127.0.0.1", "port": upstream.port }]);
    let way = json!({ "egress": { "allow": to } });
    let at_egress = json!({ "delivery": { "PASSWORD": { "egress": { "to": to } } } });
    let both = json!({
        "secrets": { "PASSWORD": field("password") }, "identity": { "audiences": [AUDIENCE] },
    });
    let divided = merged(merged(inside.clone(), &way), &at_egress);
    let bound = merged(merged(both, &way), &at_egress);
    for (name, content) in [
        ("inside", &inside),
        ("broken", &broken),
        ("divided", &divided),
        ("bound", &bound),
    ] {
        project.admin.create_profile(name, content).await?;
    }
    let authority = stack.scratch.join(format!("authority-{}", unique()));
    std::fs::write(&authority, upstream.authority.clone().unwrap_or_default())?;
    let lends = [
        ("--network", "policy".to_owned()),
        ("--egress-network", "127.0.0.0/8".to_owned()),
        ("--egress-ca", authority.display().to_string()),
    ];
    let worker = vault.worker(stack, &project, "steps", &lends).await?;

    // It ends by itself.
    let script = r#"
        printf %s "$PASSWORD" | sha256sum | cut -c 1-64
        cat /proc/net/tcp /proc/net/tcp6 | grep -c -v local_address
        env | grep -c -e PROXY -e ID_TOKEN
        ls /proc/self/fd | wc -w
        echo "$NAME"
    "#;
    let began = rabbit.ever();
    let (run, ended, output) = ran(&project, &worker, "inside", script).await?;
    ensure_eq!(
        ended["state"],
        "succeeded",
        "{ended}\n{output}\n{}",
        worker.log()
    );
    let made: Vec<(String, String)> = rabbit.ever().into_iter().skip(began.len()).collect();
    let [(name, password)] = made.as_slice() else {
        return Err(Failure::new(format!("one account: {made:?}")));
    };
    let digest = sealfleet_domain::hash::ContentHash::of(password.as_bytes()).to_string();
    let seen: Vec<&str> = output.lines().collect();
    let placeholder = "<redacted:NAME>";
    ensure_eq!(seen, [&digest, "0", "0", "4", placeholder], "{output}");
    taken_back(&rabbit, "it has ended").await?;
    let decrypted = project.events(&run, "secret.decrypted").await?;
    ensure_eq!(decrypted.len(), 2, "{decrypted:?}");
    for event in &decrypted {
        ensure_eq!(event["version"], "dynamic", "{event}");
        ensure_eq!(
            event["store_request_id"],
            decrypted[0]["store_request_id"],
            "{event}"
        );
        let event = event.to_string();
        ensure!(
            !event.contains(name) && !event.contains(password),
            "{event}"
        );
    }

    // It is cancelled, and it is aborted by a hard revocation.
    for how in ["cancelled", "revoked"] {
        let (run, password) = sleeping(&project, &worker, &rabbit).await?;
        let held = rabbit.accounts();
        ensure!(held.values().any(|one| *one == password), "{how}: {held:?}");
        match how {
            "cancelled" => drop(project.cancel(&run).await?),
            _ => drop(project.admin.revoke(&[("inside", "NAME")], true).await?),
        }
        project.finished(&run, SOON).await?;
        taken_back(&rabbit, how).await?;
    }
    for revocation in project.admin.revocations(RevocationState::Active).await? {
        project
            .admin
            .lift(&revocation.revocation_id.to_string())
            .await?;
    }

    // It does not start: a field is not there, or the pair would be divided.
    let before = rabbit.ever().len();
    let why = refused(&project, &worker, "broken").await?;
    ensure!(why.starts_with("unknown_secret"), "an absent field: {why}");
    ensure_eq!(rabbit.ever().len(), before + 1, "it was lent");
    taken_back(&rabbit, "it has not started").await?;
    let why = refused(&project, &worker, "divided").await?;
    ensure!(why.contains("in the same way"), "a divided pair: {why}");
    taken_back(&rabbit, "it was divided").await?;

    // The proxy that delivers a value holds the lease itself.
    let at = format!("127.0.0.1:{}", upstream.port);
    let script = format!(r#"export API_KEY="$PASSWORD"; {ASK} secure {at} /v1; true"#);
    let (_, ended, output) = ran(&project, &worker, "bound", &script).await?;
    ensure_eq!(
        ended["state"],
        "succeeded",
        "{ended}\n{output}\n{}",
        worker.log()
    );
    let last = rabbit.ever().pop().map(|(_, password)| password);
    let bearer = format!("Bearer {}", last.unwrap_or_default());
    ensure_eq!(
        upstream.heads_with(&bearer),
        1,
        "{output}\n{:?}",
        upstream.heads()
    );
    taken_back(&rabbit, "the proxy has ended").await?;

    // A worker that is told to end takes its steps' leases back, too.
    let (_, _) = sleeping(&project, &worker, &rabbit).await?;
    let mut worker = worker;
    worker.drain(SOON).await?;
    taken_back(&rabbit, "the worker has ended").await?;
    let all: Vec<String> = rabbit
        .ever()
        .into_iter()
        .map(|(_, password)| password)
        .collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let found = all
        .iter()
        .find(|password| worker.log().contains(**password));
    ensure!(found.is_none(), "the worker's log has a value");
    Ok(())
}

/// A step that holds an account for as long as nobody stops it; its run, and the password.
async fn sleeping(
    project: &Project,
    worker: &WorkerProcess,
    rabbit: &Rabbit,
) -> Outcome<(String, String)> {
    let only = json!({
        "pool": PULL, "mode": "identity", "command": ["sleep", "600"], "timeout_seconds": 900,
    });
    let run = project
        .enqueue(&with_profile("inside", &[step("only", &only)]))
        .await?;
    let running = project.until(&run, "only", &["running"], SOON).await;
    running.map_err(|failure| Failure::new(format!("{failure}\n{}", worker.log())))?;
    let password = rabbit.ever().pop().map(|(_, password)| password);
    Ok((run, password.unwrap_or_default()))
}

async fn taken_back(rabbit: &Rabbit, when: &str) -> Outcome {
    let what = format!("what was lent to be taken back: {when}");
    eventually(&what, Duration::from_secs(30), async || {
        Ok(rabbit.accounts().is_empty().then_some(()))
    })
    .await
}

/// Runs a step with this profile; its run, its end and its output.
async fn ran(
    project: &Project,
    worker: &WorkerProcess,
    profile: &str,
    script: &str,
) -> Outcome<(String, Value, String)> {
    let only = json!({ "pool": PULL, "mode": "identity", "command": ["bash", "-c", script] });
    let run = project
        .enqueue(&with_profile(profile, &[step("only", &only)]))
        .await?;
    let ended = project
        .until(&run, "only", &["succeeded", "failed"], SOON)
        .await
        .map_err(|failure| Failure::new(format!("{failure}\n{}", worker.log())))?;
    let claimed = Claimed {
        run: run.clone(),
        step: "only".to_owned(),
        fence: ended.fence.number(),
    };
    Ok((run, json!(ended), worker.output(&claimed)))
}

/// Why a step with this profile does not start.
async fn refused(project: &Project, worker: &WorkerProcess, profile: &str) -> Outcome<String> {
    let (_, ended, output) = ran(project, worker, profile, "echo ran").await?;
    ensure!(!output.contains("ran"), "it ran: {output}");
    let detail = ended["failure"]["detail"].as_str();
    Ok(detail.unwrap_or_default().to_owned())
}

/// A server with TLS whose auth trusts the control plane.
pub struct Vault {
    bao: Bao,
    project: String,
    _certificates: Option<TempDir>,
}

impl Vault {
    async fn new(stack: &Stack, project: &Project) -> Outcome<Self> {
        let certificates = tempfile::tempdir()?;
        let bao = Bao::start_with_tls(certificates.path()).await;
        Self::of(
            bao.map_err(Failure::new)?,
            Some(certificates),
            stack,
            project,
        )
        .await
    }

    /// Without TLS.
    pub async fn plain(stack: &Stack, project: &Project) -> Outcome<Self> {
        let bao = Bao::start().await.map_err(Failure::new)?;
        Self::of(bao, None, stack, project).await
    }

    async fn of(
        bao: Bao,
        certificates: Option<TempDir>,
        stack: &Stack,
        project: &Project,
    ) -> Outcome<Self> {
        let vault = Self {
            bao,
            project: project.id.clone(),
            _certificates: certificates,
        };
        vault
            .bao
            .trust(&stack.parts.api_url)
            .await
            .map_err(Failure::new)?;
        let kv = json!({ "type": "kv", "options": { "version": "2" } });
        vault.run("sys/mounts/kv", kv).await?;
        let reads = format!(
            r#"path "kv/data/{project}/*" {{ capabilities = ["read"] }}
               path "rabbitmq/{project}/creds/*" {{ capabilities = ["read"] }}"#,
            project = project.id
        );
        vault
            .run("sys/policies/acl/reads", json!({ "policy": reads }))
            .await?;
        for (role, project) in [("steps", project.id.as_str()), ("others", "another")] {
            let role_of = json!({
                "role_type": "jwt", "user_claim": "sub", "bound_audiences": [AUDIENCE],
                "bound_claims": { "project": project }, "token_policies": "reads",
                "token_ttl": "2m",
            });
            vault.run(&format!("auth/jwt/role/{role}"), role_of).await?;
        }
        Ok(vault)
    }

    async fn run(&self, path: &str, body: Value) -> Outcome<Value> {
        let done = self.bao.run("POST", path, body).await;
        done.map_err(Failure::new)
    }

    pub fn address(&self) -> String {
        self.bao.url.clone()
    }

    /// Keeps the value of a key.
    pub async fn keep(&self, key: Key) -> Outcome<Key> {
        let path = format!("kv/data/{}/{}", self.project, key.name);
        let put = json!({ "data": { "value": key.value } });
        let put = self.run(&path, put).await?;
        let version = put["data"]["version"].to_string();
        let reference = format!("vault://kv/{}/{}#value@{version}", self.project, key.name);
        Ok(key.at(&reference))
    }

    /// Puts wrapped secret ids of the role `steps` into a directory.
    pub async fn wrapped(&self, directory: &Path, number: usize) -> Outcome {
        self.run("sys/auth/approle", json!({ "type": "approle" }))
            .await?;
        let role = json!({ "token_policies": "reads", "token_ttl": "2m" });
        self.run("auth/approle/role/steps", role).await?;
        let id = json!({ "role_id": "steps" });
        self.run("auth/approle/role/steps/role-id", id).await?;
        for at in 0..number {
            let path = "auth/approle/role/steps/secret-id";
            let wrapped = self
                .bao
                .run_wrapped("POST", path)
                .await
                .map_err(Failure::new)?;
            let token = wrapped["wrap_info"]["token"].as_str().unwrap_or_default();
            std::fs::write(directory.join(at.to_string()), token)?;
        }
        Ok(())
    }

    /// What its own program needs of whoever may do everything.
    pub fn operator(&self) -> Vec<(&'static str, String)> {
        let of = |name| (name, self.bao.url.clone());
        let token = |name| (name, self.bao.root().to_owned());
        vec![
            of("BAO_ADDR"),
            of("VAULT_ADDR"),
            token("BAO_TOKEN"),
            token("VAULT_TOKEN"),
        ]
    }

    /// All keys of a secret.
    pub async fn newest(&self, secret: &str) -> Outcome<Value> {
        let path = format!("kv/data/{}/{secret}", self.project);
        let found = self.bao.run("GET", &path, Value::Null).await;
        Ok(found.map_err(Failure::new)?["data"]["data"].clone())
    }

    /// Answers the version.
    async fn put(&self, password: &str) -> Outcome<String> {
        let path = format!("kv/data/{}/crm", self.project);
        let put = json!({ "data": { "password": password } });
        let put = self.run(&path, put).await?;
        Ok(put["data"]["version"].to_string())
    }

    /// A worker whose steps log in as this role.
    async fn worker(
        &self,
        stack: &Stack,
        project: &Project,
        role: &str,
        more: &[(&str, String)],
    ) -> Outcome<WorkerProcess> {
        let ca = self.bao.ca_file.as_ref().map(|ca| ca.display().to_string());
        let own = [
            ("--vault-address", self.bao.url.clone()),
            ("--vault-ca", ca.unwrap_or_default()),
            ("--vault-role", role.to_owned()),
            ("--vault-audience", AUDIENCE.to_owned()),
        ];
        let options = [&own, more].concat();
        let store = BuiltinStore::create(stack, project).await?;
        let rootfs = stack.parts.directory.join("rootfs");
        WorkerProcess::start_with(&rootfs, &options, stack, project, &store, &[]).await
    }
}
