//! What `sealfleet prove` says of a stack without a boundary: for each of its checks, what is taken
//! out, and what the check must then tell.
//!
//! The stack is shared, so most is taken out on the way between the program and the stack: B's
//! request goes on as A's, a denial comes back as an answer, a canary is put into what a search
//! reads. Where it can be done for the throwaway projects alone, the stack itself does wrong: a
//! profile names one tool more, a hard revocation arrives as a soft one.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sealfleet_test_stack::aws::Service;
use sealfleet_test_stack::proxy::{Answer, Asked, Between};
use sealfleet_test_stack::{Outcome, Stack, ensure, ensure_eq};
use serde_json::{Value, json};

use super::simulator::{self, Simulator};
use super::{Proved, proved};

/// What is taken out at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    Projects,
    Canaries,
    Revocation,
}

/// A check, and what it must tell of a stack without its boundary.
struct Row {
    check: &'static str,
    round: Round,
    /// Words of what it tells: the place or the deed.
    told: &'static [&'static str],
}

const fn row(check: &'static str, round: Round, told: &'static [&'static str]) -> Row {
    Row { check, round, told }
}

/// What is done for each row: [`Way`].
const ROWS: &[Row] = &[
    // B's secret, and the one beside A's worker, are stored with another value.
    row(
        "own-secret-fargate",
        Round::Projects,
        &["not the one that was stored"],
    ),
    row(
        "own-secret-worker",
        Round::Projects,
        &["not the one that was stored"],
    ),
    // A's profile grants its secret to one tool more.
    row(
        "tool-without-grant",
        Round::Projects,
        &["a tool without a grant saw the secret"],
    ),
    // B's admin reads A's run with the token of A's admin.
    row(
        "api-of-another-project",
        Round::Projects,
        &["reads the run: it was answered"],
    ),
    // Refusals come back as answers.
    row(
        "claim-of-another-project",
        Round::Projects,
        &["claims the step: it was answered"],
    ),
    row(
        "queue-of-another-project",
        Round::Projects,
        &["the worker's credentials open", "prove-a-"],
    ),
    row(
        "profile-of-another-project",
        Round::Projects,
        &["the profile was taken"],
    ),
    // B's role is not narrowed to B; shared roles may read secrets; functions lack their Deny.
    row(
        "execution-role",
        Round::Projects,
        &["--execution is allowed secretsmanager:"],
    ),
    row(
        "shared-roles",
        Round::Projects,
        &["sandboxes is allowed secretsmanager:GetSecretValue"],
    ),
    row(
        "control-plane-roles",
        Round::Projects,
        &["no statement denies sealfleet-"],
    ),
    // B's trail has an entry of A.
    row(
        "trail-of-its-own",
        Round::Projects,
        &["is of project prove-a-"],
    ),
    // A canary stands in what is read there.
    row(
        "canary-in-tables",
        Round::Canaries,
        &["sealfleet-ledger, `planted`: canary A in plain text"],
    ),
    row(
        "canary-in-queues",
        Round::Canaries,
        &["--workers: canary A in plain text"],
    ),
    row(
        "canary-in-function-logs",
        Round::Canaries,
        &["/aws/lambda/sealfleet-", "canary A in plain text"],
    ),
    row(
        "canary-in-sandbox-logs",
        Round::Canaries,
        &["/sealfleet/prove-a-", "canary A in plain text"],
    ),
    row(
        "canary-in-archive",
        Round::Canaries,
        &["audit/project=prove-a-", "canary A in plain text"],
    ),
    row(
        "canary-in-worker-files",
        Round::Canaries,
        &["/leaked: canary A beside the worker in plain text"],
    ),
    row(
        "canary-in-answers",
        Round::Canaries,
        &["GET /v1/runs/run_", "canary A in plain text"],
    ),
    // The release is not in the trail.
    row(
        "release-on-record",
        Round::Canaries,
        &["its release is not on record"],
    ),
    // A digest was edited.
    row(
        "archive-verifies",
        Round::Canaries,
        &["faults; the first is"],
    ),
    // The hard revocation is a soft one.
    row(
        "revocation-stops-fargate",
        Round::Revocation,
        &["its sandbox still runs"],
    ),
    row(
        "revocation-stops-worker",
        Round::Revocation,
        &["its sandbox still runs"],
    ),
    // Refusals come back as answers.
    row(
        "revocation-refuses-enqueue",
        Round::Revocation,
        &["was enqueued"],
    ),
    row(
        "revocation-refuses-claim",
        Round::Revocation,
        &["the worker was given the step"],
    ),
];

/// What cannot be tried once something else is broken.
const HIDDEN: [(&str, Round); 2] = [
    ("release-on-record", Round::Projects),
    ("revocation-stops-worker", Round::Projects),
];

/// A check that no row takes the boundary from fails here.
pub fn every_check_has_a_row(ids: &BTreeSet<String>) -> Outcome {
    let rows: BTreeSet<String> = ROWS.iter().map(|row| row.check.to_owned()).collect();
    ensure_eq!(*ids, rows, "checks of the program, and rows here");
    ensure_eq!(rows.len(), ROWS.len(), "one row for each check");
    Ok(())
}

/// Projects that are not kept apart, and roles that read secrets.
pub async fn projects_that_are_not_kept_apart_are_noticed(stack: &Stack) -> Outcome {
    noticed(stack, Round::Projects).await
}

/// A canary in each kind of place, a release that is not on record, and an edited archive.
pub async fn a_leak_and_a_trail_with_a_gap_are_noticed(stack: &Stack) -> Outcome {
    noticed(stack, Round::Canaries).await
}

/// A revocation that neither stops nor refuses.
pub async fn a_revocation_without_effect_is_noticed(stack: &Stack) -> Outcome {
    noticed(stack, Round::Revocation).await
}

/// What was taken out is broken, and nothing else is.
async fn noticed(stack: &Stack, round: Round) -> Outcome {
    let proved = proved(stack, Some(round), &["--yes"]).await?;
    every_check_has_a_row(&proved.ids())?;
    for check in proved.checks() {
        let id = check["id"].as_str().unwrap_or_default();
        let row = ROWS
            .iter()
            .find(|row| row.check == id && row.round == round);
        let expected = match row {
            Some(_) => "broken",
            None if HIDDEN.contains(&(id, round)) => "not_tried",
            None => "held",
        };
        ensure_eq!(check["outcome"], expected, "`{id}`: {}", proved.told());
        let seen = check["seen"].as_str().unwrap_or_default();
        for words in row.into_iter().flat_map(|row| row.told) {
            ensure!(
                seen.contains(words),
                "`{id}` does not tell `{words}`: {seen}"
            );
        }
    }
    ensure_eq!(proved.report["verdict"], "broken", "{}", proved.told());
    ensure_eq!(proved.code, Some(4), "{}", proved.told());
    proved.nothing_is_left(stack).await
}

/// The programs of the worker, which do what the round needs.
pub struct Programs {
    pub worker: PathBuf,
    pub init: PathBuf,
    /// What the store of secrets was given.
    stored: PathBuf,
}

impl Programs {
    /// Scripts around the programs of this stack. The worker itself gets the real
    /// `sealfleet-init`, which runs in sandboxes, and keeps its leases, which are short here.
    pub fn for_round(stack: &Stack, round: Round, mark: &str) -> Outcome<Self> {
        let file = |name: &str| stack.scratch.join(format!("{mark}.{name}"));
        let programs = Self {
            worker: file("worker"),
            init: file("init"),
            stored: file("stored"),
        };
        let real = |name: &str| stack.binaries.join(name).display().to_string();
        let (init, stored) = (real("sealfleet-init"), programs.stored.display());
        let put = match round {
            Round::Projects => {
                format!("printf 'another value, not the canary' | exec {init} \"$@\"")
            }
            Round::Canaries => format!("tee leaked {stored} | exec {init} \"$@\""),
            Round::Revocation => format!("tee {stored} | exec {init} \"$@\""),
        };
        let wrapped = programs.init.display();
        let scripts = [
            (
                &programs.init,
                format!("#!/bin/sh\n[ \"$1 $2\" = 'builtin put' ] || exec {init} \"$@\"\n{put}\n"),
            ),
            (
                &programs.worker,
                format!(
                    "#!/bin/sh\nmore=\nfor word do\n  shift\n  [ \"$word\" = {wrapped} ] && word={init}\n  \
                     [ \"$word\" = run ] && more='--heartbeat-seconds 2'\n  \
                     set -- \"$@\" \"$word\"\ndone\nexec {} \"$@\" $more\n",
                    real("sealfleet-worker")
                ),
            ),
        ];
        for (path, script) in scripts {
            std::fs::write(path, script)?;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?;
        }
        Ok(programs)
    }
}

/// What stands between the program and the stack.
pub struct Way {
    simulator: Simulator,
    round: Option<Round>,
    known: Mutex<Known>,
}

/// What it has heard so far.
#[derive(Default)]
struct Known {
    /// Authorization of the admin of project A.
    admin: String,
    /// Authorization of the worker of project A that the program plays.
    colleague: String,
    project: String,
    runs: BTreeSet<String>,
    /// The last answer to an enqueued run.
    enqueued: Value,
    canaries: Vec<String>,
}

impl Way {
    pub fn new(mut simulator: Simulator, round: Option<Round>) -> Self {
        if round == Some(Round::Projects) {
            simulator.change = |role, documents| match role {
                role if role.contains("prove-b-") => simulator::widen(documents),
                role if role.contains("/shared/") => documents.push(simulator::reads_secrets()),
                role if role.contains("/control/") => simulator::without_denies(documents),
                _ => {}
            };
        }
        Self {
            simulator,
            round,
            known: Mutex::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The values that must not be printed.
    pub fn canaries(&self, programs: Option<&Programs>) -> Vec<String> {
        let mut all = self.known().canaries.clone();
        let stored = programs.and_then(|programs| std::fs::read_to_string(&programs.stored).ok());
        all.extend(stored);
        all
    }

    /// Notes who calls, and what is stored.
    fn learn(&self, asked: &Asked) {
        let mut known = self.known();
        let caller = asked.header("authorization");
        if caller.starts_with("Bearer sft.prove-a-") {
            known.admin = caller.to_owned();
            let project = caller.split('.').nth(1).unwrap_or_default();
            known.project = project.to_owned();
        }
        if asked.header("x-amz-target").starts_with("secretsmanager.") {
            let document = asked.json()["SecretString"].clone();
            let document: Value =
                serde_json::from_str(document.as_str().unwrap_or_default()).unwrap_or_default();
            let is_of_a = asked.json().to_string().contains("/prove-a-");
            if let (Some(value), true) = (document["value"].as_str(), is_of_a) {
                known.canaries = vec![value.to_owned()];
            }
        }
    }

    /// Stores another value in the place of B's.
    async fn another_value(&self, asked: &Asked) -> Outcome<Option<Answer>> {
        let target = asked.header("x-amz-target");
        let operation = target.strip_prefix("secretsmanager.").unwrap_or_default();
        let mut body = asked.json();
        if body["SecretString"].is_null() || !body.to_string().contains("/prove-b-") {
            return Ok(None);
        }
        body["SecretString"] = json!(r#"{"value":"another value, not the canary"}"#);
        // It is signed anew.
        let Simulator { aws, root, .. } = &self.simulator;
        let service = Service::SecretsManager;
        let answer = aws.call_as(root, service, operation, body).await?;
        let kind = "application/x-amz-json-1.1";
        Ok(Some(Answer::new(answer.status, kind, answer.bytes)))
    }

    fn projects(&self, asked: &mut Asked) -> Outcome {
        let mut body = asked.json();
        let known = self.known();
        let of_a = asked.header("authorization") == known.admin;
        match route(asked) {
            ("POST", "profiles") if of_a && body["name"] == format!("{}-aws", known.project) => {
                body["tools"]["another"] = json!(["CANARY"]);
                asked.set_json(&body);
            }
            ("GET", path) => {
                let run = path.strip_prefix("runs/").unwrap_or_default();
                if known.runs.contains(run) {
                    asked.call_as(&known.admin)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn projects_answered(&self, asked: &Asked, answer: &mut Answer) {
        let caller = asked.header("authorization");
        let (method, path) = route(asked);
        match (method, path, answer.status) {
            ("POST", "claims", 404) if caller.starts_with("Bearer sfw.prove-b-") => {
                answer.set_json(200, &claimed());
            }
            ("POST", "profiles", 400) if asked.json()["name"] == "prove-sneaky" => {
                answer.set_json(201, &profile());
            }
            ("GET", audit, 200)
                if audit.starts_with("audit") && caller.starts_with("Bearer sft.prove-b-") =>
            {
                let mut page = answer.json();
                if let Some(entry) = page["items"].as_array_mut().and_then(|all| all.first_mut()) {
                    entry["project"] = json!(self.known().project);
                }
                answer.set_json(200, &page);
            }
            _ if asked.header("x-amz-target") == "AmazonSQS.ReceiveMessage"
                && String::from_utf8_lossy(&answer.body).contains("AccessDenied") =>
            {
                answer.set_json(200, &json!({}));
            }
            _ => {}
        }
    }

    fn leaks(&self, asked: &Asked, answer: &mut Answer) {
        let known = self.known();
        let Some(canary) = known.canaries.first().filter(|_| answer.status == 200) else {
            return;
        };
        let of_a = asked.header("authorization") == known.admin;
        let (body, mut page) = (asked.json(), answer.json());
        let is_of_the_program = asked
            .header("authorization")
            .contains(&self.simulator.access_key_id);
        match (asked.header("x-amz-target"), route(asked)) {
            ("DynamoDB_20120810.Scan", _) if body["TableName"] == "sealfleet-ledger" => {
                if let Some(item) = page["Items"].as_array_mut().and_then(|all| all.last_mut()) {
                    item["planted"] = json!({ "S": canary });
                }
            }
            ("AmazonSQS.ReceiveMessage", _) if is_of_the_program => {
                let url = body["QueueUrl"].as_str().unwrap_or_default();
                if let (true, Some(messages)) =
                    (url.ends_with("--workers"), page["Messages"].as_array_mut())
                {
                    messages.push(json!({ "MessageId": "planted", "Body": canary }));
                }
            }
            ("Logs_20140328.FilterLogEvents", _) => {
                let group = body["logGroupName"].as_str().unwrap_or_default();
                let of_a = format!("/sealfleet/{}", known.project);
                if let (true, Some(events)) = (
                    group.starts_with("/aws/lambda/") || group == of_a,
                    page["events"].as_array_mut(),
                ) {
                    events.push(json!({ "message": format!("it is {canary}") }));
                }
            }
            (_, ("GET", path)) if path.starts_with("audit?") && of_a && path.contains("run=") => {
                for entry in page["items"].as_array_mut().into_iter().flatten() {
                    if let Some(events) = entry["events"].as_array_mut() {
                        events.retain(|event| event["type"] != "secret.released");
                    }
                }
            }
            (_, ("GET", path)) if path.starts_with("runs/run_") && of_a => {
                page["note"] = json!(canary);
            }
            (_, ("GET", _)) => {
                // An object: those of S3 are no JSON and have no route.
                let path = asked.path.replace("%3D", "=");
                let of_a = format!("/audit/project={}/", known.project);
                if path.contains(&of_a) {
                    let body = [answer.body.as_slice(), canary.as_bytes()].concat();
                    answer.set(200, body);
                } else if path.contains("/digests/") && !path.contains("list-type") {
                    let text = String::from_utf8_lossy(&answer.body);
                    let hash = text.split_once("\"sha256\":\"");
                    let edited = hash.map(|(before, hash)| {
                        let (first, rest) = hash.split_at(1);
                        let other = if first == "a" { "b" } else { "a" };
                        format!("{before}\"sha256\":\"{other}{rest}").into_bytes()
                    });
                    // One that lists no object loses its end.
                    let cut = text.len() / 2;
                    let cut = answer.body.get(..cut).unwrap_or_default().to_vec();
                    answer.set(200, edited.unwrap_or(cut));
                }
                return;
            }
            _ => return,
        }
        answer.set_json(200, &page);
    }

    fn soft(asked: &mut Asked) {
        if route(asked) == ("POST", "revocations") {
            let mut body = asked.json();
            body["hard"] = json!(false);
            asked.set_json(&body);
        }
    }

    fn revocation_answered(&self, asked: &Asked, answer: &mut Answer) {
        let known = self.known();
        let caller = asked.header("authorization");
        match (route(asked), answer.status) {
            (("POST", "runs"), 403) if caller == known.admin => {
                answer.set_json(201, &known.enqueued);
            }
            (("POST", "claims"), 400..500) if caller == known.colleague => {
                answer.set_json(200, &claimed());
            }
            _ => {}
        }
    }
}

impl Between for Way {
    async fn before(&self, asked: &mut Asked) -> Outcome<Option<Answer>> {
        if let Some(answer) = self.simulator.answer(asked).await? {
            return Ok(Some(answer));
        }
        self.learn(asked);
        match self.round {
            Some(Round::Projects) => {
                self.projects(asked)?;
                return self.another_value(asked).await;
            }
            Some(Round::Revocation) => Self::soft(asked),
            Some(Round::Canaries) | None => {}
        }
        Ok(None)
    }

    fn after(&self, asked: &Asked, answer: &mut Answer) {
        if (200..300).contains(&answer.status) {
            let mut known = self.known();
            let told = answer.json();
            match route(asked) {
                ("POST", "runs") if asked.header("authorization") == known.admin => {
                    known
                        .runs
                        .extend(told["run_id"].as_str().map(str::to_owned));
                    known.enqueued = told;
                }
                ("POST", "workers/register") if asked.json()["labels"]["prove"].is_string() => {
                    let credential = told["credential"].as_str().unwrap_or_default();
                    known.colleague = format!("Bearer {credential}");
                }
                _ => {}
            }
        }
        match self.round {
            Some(Round::Projects) => self.projects_answered(asked, answer),
            Some(Round::Canaries) => self.leaks(asked, answer),
            Some(Round::Revocation) => self.revocation_answered(asked, answer),
            None => {}
        }
    }
}

/// Method and path of the API, without `/v1/`; an empty path for what is none of its requests.
fn route(asked: &Asked) -> (&str, &str) {
    let path = asked.path.split_once("/v1/");
    (asked.method.as_str(), path.map_or("", |(_, path)| path))
}

fn claimed() -> Value {
    json!({
        "project": "a", "run_id": "run_0198c0de-0000-7000-8000-00000000000a", "step_id": "sees",
        "fence": 1, "attempt": 1, "lease_seconds": 60, "mode": "identity", "command": ["true"],
        "env": {}, "timeout_seconds": 60,
    })
}

fn profile() -> Value {
    json!({
        "name": "prove-sneaky", "version": 1, "created_at": "2026-01-31T08:00:00Z",
        "updated_at": "2026-01-31T08:00:00Z",
    })
}

/// Nothing of what was printed holds a canary.
pub fn nothing_holds_a_canary(proved: &Proved, canaries: &[String]) -> Outcome {
    ensure!(!canaries.is_empty(), "no canary was heard of");
    for canary in canaries {
        ensure!(canary.len() > 32, "`{canary}` is no canary");
        for text in [&proved.stdout, &proved.stderr, &proved.report.to_string()] {
            ensure!(!text.contains(canary.as_str()), "a canary is printed");
        }
    }
    Ok(())
}
