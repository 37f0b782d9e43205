//! `sealfleet prove`: tries the boundaries of a deployed stack, and leaves a report.
//!
//! It makes two throwaway projects, each with a secret that only this program knows, and runs steps
//! with them on Fargate and on a worker of its own. Then it tries what must be refused with real
//! credentials, asks IAM about what it cannot try, searches for the secrets where they must not be,
//! revokes a key with work in flight, and reads the trail and its archive. All is removed again.
//!
//! A check that could not be made is never counted as one that holds. Each check says what would
//! break it, in the tests beside it.

mod boundaries;
mod canary;
#[cfg(test)]
mod fake;
mod ground;
mod made;
mod play;
mod report;
mod revocation;
mod roles;
mod sandboxes;
mod search;
mod searches;
mod tenant;
mod trail;
mod worker;

use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Read as _};
use std::path::PathBuf;

use clap::Args;
use sealfleet_domain::{Clock as _, ProjectId};
use sealfleet_system::SystemClock;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::connection::Connection;
use super::failure::Failure;
use super::output::{answer, note};
use ground::Ground;
use made::List;
use report::{Board, CHECKS, Report, Verdict};

#[derive(Args)]
pub struct Prove {
    /// Sandbox image of both projects' Fargate pools, by digest: `REPOSITORY@sha256:…`; it needs
    /// `sh`, `sha256sum` and `cut`
    #[arg(long)]
    image: String,
    /// CloudFormation stack of the control plane
    #[arg(long, value_name = "NAME", default_value = "sealfleet")]
    control_stack: String,
    /// `sealfleet-worker`, to be started on this machine as a worker [default: beside this program]
    #[arg(long, value_name = "FILE")]
    worker: Option<PathBuf>,
    /// `sealfleet-init`, for that worker [default: beside the worker, or where its package puts it]
    #[arg(long, value_name = "FILE")]
    init: Option<PathBuf>,
    /// Accept that this check is not tried; may be repeated. `--accept-untried help` lists all
    #[arg(long = "accept-untried", value_name = "CHECK", value_parser = check)]
    accepted: Vec<String>,
    /// Also write the report to this file, as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Make the projects without asking
    #[arg(long)]
    yes: bool,
}

fn check(text: &str) -> Result<String, String> {
    if CHECKS.iter().any(|planned| planned.id == text) {
        return Ok(text.to_owned());
    }
    let all: Vec<&str> = CHECKS.iter().map(|planned| planned.id).collect();
    Err(format!("the checks are: {}", all.join(", ")))
}

pub(super) async fn run(prove: Prove, connection: &Connection) -> Result<(), Failure> {
    let Prove {
        image,
        control_stack,
        worker,
        init,
        accepted,
        report: file,
        yes,
    } = prove;
    let ground = Ground::reached(connection, &control_stack).await?;
    let (a, b) = (tenant::new_id('a')?, tenant::new_id('b')?);
    let programs = worker::Programs::found(worker, init);
    let table_bytes = ground.table_bytes().await;
    note(&plan(
        &ground,
        &control_stack,
        [&a, &b],
        &programs,
        table_bytes,
    ));
    confirm(yes, connection.takes_standard_input())?;
    // Made before anything else, so that no report is lost to a wrong path.
    let file = file.map(ReportFile::create).transpose()?;

    let started_at = SystemClock.now();
    let list = List::default();
    let mut signals = Signals::new()?;
    let values = play::Values::new();
    let mut board = Board::new(values.needle()?);
    let play = play::Play {
        values: &values,
        ground: &ground,
        list: &list,
        image: &image,
        programs: programs.as_ref().map_err(Clone::clone),
        started_at,
        projects: [&a, &b],
    };
    let unreached = tokio::select! {
        played = play.run(&mut board) => match played {
            Ok(()) => String::new(),
            Err(failure) => format!("the proof broke off: {failure}"),
        },
        () = signals.ends_the_checks() => "the proof was interrupted".to_owned(),
    };
    if !unreached.is_empty() {
        note(&format!("{unreached}\n"));
    }
    note("removing what was made; this takes some minutes on AWS\n");
    tokio::select! {
        () = list.remove(&ground) => {}
        () = signals.ends_the_removal() => {}
    }
    let (removed, left) = list.result(&ground.prefix);
    let accepted: BTreeSet<String> = accepted.into_iter().collect();
    let checks = board.concluded(&unreached, &accepted);
    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        started_at,
        finished_at: SystemClock.now(),
        account: ground.account.clone(),
        region: ground.region.clone(),
        caller: ground.caller.clone(),
        control_stack,
        api_url: ground.api_url.clone(),
        emulator: ground.emulator().map(str::to_owned),
        projects: [&a, &b].map(ToString::to_string).to_vec(),
        verdict: Verdict::of(&checks, &left),
        checks,
        removed,
        left,
        stays: made::STAYS,
    };
    let needle = values.needle()?;
    report::without_values(&report, &needle)?;
    if let Some(file) = file {
        file.write(&report)?;
    }
    answer(connection.output, &report, || report.text())?;
    report.conclusion()
}

/// Signals that end the program before its time.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let of = |kind| signal(kind).map_err(Failure::other);
        Ok(Self {
            interrupt: of(SignalKind::interrupt())?,
            terminate: of(SignalKind::terminate())?,
            hang_up: of(SignalKind::hangup())?,
        })
    }

    async fn ends_the_checks(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }

    /// A terminal that is closed does not end it: nobody would be told what is left.
    async fn ends_the_removal(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// What will be done and what it costs, before anything is done.
fn plan(
    ground: &Ground,
    control_stack: &str,
    projects: [&ProjectId; 2],
    programs: &Result<worker::Programs, String>,
    table_bytes: Option<u64>,
) -> String {
    let [a, b] = projects;
    let place = match ground.emulator() {
        Some(emulator) => format!("an emulator at {emulator}"),
        None => format!("AWS account {}, {}", ground.account, ground.region),
    };
    let worker = match programs {
        Ok(_) => "a worker on this machine".to_owned(),
        Err(reason) => format!("no worker on this machine ({reason})"),
    };
    let cost = match table_bytes {
        Some(bytes) => format!(
            "about ${:.2}, with {} MiB of tables to read",
            ground::dollars(bytes),
            bytes / 1024 / 1024
        ),
        None => format!(
            "about ${:.2}, and $0.03 for each GiB of the tables, whose size your credentials may not see",
            ground::dollars(0)
        ),
    };
    format!(
        "{place}\nstack `{control_stack}`, {}\nas {}\n\n\
         This makes the projects {a} and {b}, each with a CloudFormation stack (queues, a role, a log\n\
         group), a secret, profiles, tokens and workers; runs five small Fargate tasks, and {worker};\n\
         reads both tables, logs and the archive; and removes it all.\n{}\n\
         It costs {cost} (list prices of us-east-1, docs/cost.md), and takes minutes.\n\n",
        ground.api_url,
        ground.caller,
        made::STAYS
    )
}

fn confirm(yes: bool, token_on_standard_input: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    let stdin = std::io::stdin();
    if token_on_standard_input || !stdin.is_terminal() {
        return Err(Failure::Usage(
            "nothing was made: add `--yes` if this is what you want".to_owned(),
        ));
    }
    note("Go on? [y/N] ");
    let mut line = String::new();
    let mut byte = [0];
    while stdin.lock().read(&mut byte).map_err(Failure::other)? == 1 && byte != *b"\n" {
        line.extend(byte.map(char::from));
    }
    match line.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::Usage("nothing was made".to_owned())),
    }
}

/// The file of the report. It is made before, so that a wrong path costs nothing.
struct ReportFile {
    path: PathBuf,
    file: std::fs::File,
}

impl ReportFile {
    fn create(path: PathBuf) -> Result<Self, Failure> {
        let made = std::fs::File::create_new(&path);
        match made {
            Ok(file) => Ok(Self { path, file }),
            Err(error) => Err(Failure::Usage(format!("`{}`: {error}", path.display()))),
        }
    }

    fn write(self, report: &Report) -> Result<(), Failure> {
        use std::io::Write as _;
        let mut file = self.file;
        let text = serde_json::to_string_pretty(report).map_err(Failure::other)? + "\n";
        file.write_all(text.as_bytes())
            .map_err(|error| Failure::Other(format!("`{}`: {error}", self.path.display())))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    /// Calls of AWS that the sources here, and what they use, make in an operator's name.
    const CALLS: [(&str, &str, &str); 15] = [
        (include_str!("search.rs"), ".scan()", "dynamodb:Scan"),
        (
            include_str!("ground.rs"),
            ".describe_table()",
            "dynamodb:DescribeTable",
        ),
        (
            include_str!("search.rs"),
            ".receive_message()",
            "sqs:ReceiveMessage",
        ),
        (
            include_str!("search.rs"),
            ".get_queue_attributes()",
            "sqs:GetQueueAttributes",
        ),
        (
            include_str!("search.rs"),
            ".events_since(",
            "logs:FilterLogEvents",
        ),
        (include_str!("search.rs"), ".bucket.list(", "s3:ListBucket"),
        (include_str!("search.rs"), ".bucket.get(", "s3:GetObject"),
        (
            include_str!("roles.rs"),
            ".simulate(",
            "iam:SimulatePrincipalPolicy",
        ),
        (
            include_str!("revocation.rs"),
            ".ecs.task(",
            "ecs:DescribeTasks",
        ),
        (
            include_str!("made.rs"),
            ".ecs.deregister(",
            "ecs:DeregisterTaskDefinition",
        ),
        (
            include_str!("made.rs"),
            ".secrets.delete(",
            "secretsmanager:DeleteSecret",
        ),
        (
            include_str!("made.rs"),
            ".stacks.delete(",
            "cloudformation:DeleteStack",
        ),
        (
            include_str!("tenant.rs"),
            ".put(id.as_str()",
            "secretsmanager:PutSecretValue",
        ),
        (
            include_str!("tenant.rs"),
            "::describe(&ground.secrets",
            "secretsmanager:DescribeSecret",
        ),
        (
            include_str!("play.rs"),
            "archive::verified(",
            "kms:GetPublicKey",
        ),
    ];

    #[test]
    fn the_policy_allows_what_is_called_and_reads_no_secret() {
        let policy = include_str!("../../../../infra/deploy/prove.json");
        let policy: Value = serde_json::from_str(policy).expect("a policy");
        let mut allowed = BTreeSet::new();
        for statement in policy["Statement"].as_array().expect("statements") {
            assert_eq!(statement["Effect"], "Allow");
            let actions = match &statement["Action"] {
                Value::Array(all) => all.clone(),
                one => vec![one.clone()],
            };
            allowed.extend(
                actions
                    .iter()
                    .filter_map(|one| Some(one.as_str()?.to_owned())),
            );
        }
        for (source, call, action) in CALLS {
            assert!(source.contains(call), "nothing here calls `{call}`");
            assert!(allowed.contains(action), "{action} is not in the policy");
        }
        assert!(allowed.iter().all(|action| !action.contains('*')));
        for value in [
            "GetSecretValue",
            "BatchGetSecretValue",
            "AssumeRole",
            "PassRole",
        ] {
            assert!(allowed.iter().all(|action| !action.ends_with(value)));
        }
    }
}
