//! What was checked, how, and what came of it: as text and as JSON, for somebody who was not there.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Instant;

use sealfleet_domain::Timestamp;
use serde::Serialize;

use super::canary::Needle;
use crate::operator::failure::Failure;
use crate::operator::output::{lines, note};

/// How something is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// It was tried.
    Live,
    /// IAM was asked what it would decide.
    Simulated,
    /// All that is there was read.
    Searched,
}

/// A check that every report has.
pub struct Planned {
    pub id: &'static str,
    /// The number of the guarantee that it shows.
    pub guarantee: &'static str,
    pub method: Method,
    /// What holds, if it does.
    pub promise: &'static str,
}

const fn planned(
    id: &'static str,
    guarantee: &'static str,
    method: Method,
    promise: &'static str,
) -> Planned {
    Planned {
        id,
        guarantee,
        method,
        promise,
    }
}

/// All checks, in the order of the report. One that nothing was found out about is not tried.
pub const CHECKS: &[Planned] = &[
    planned(
        "own-secret-fargate",
        "G1",
        Method::Live,
        "A secret reaches the sandbox of its own project on Fargate, and its value is right.",
    ),
    planned(
        "own-secret-worker",
        "G1",
        Method::Live,
        "A secret beside a worker reaches the worker's sandbox, and its value is right.",
    ),
    planned(
        "tool-without-grant",
        "G9",
        Method::Live,
        "A tool that the access list does not name sees no secret.",
    ),
    planned(
        "api-of-another-project",
        "G6",
        Method::Live,
        "To project B's admin, project A's run, step, profile, worker and trail do not exist.",
    ),
    planned(
        "claim-of-another-project",
        "G6",
        Method::Live,
        "Project B's worker cannot claim project A's step.",
    ),
    planned(
        "queue-of-another-project",
        "G6",
        Method::Live,
        "The queue credentials of project B's worker open its own queue, and none of project A's.",
    ),
    planned(
        "profile-of-another-project",
        "G6",
        Method::Live,
        "Project B's profile cannot name project A's secret.",
    ),
    planned(
        "execution-role",
        "G6",
        Method::Simulated,
        "Project B's execution role may not read project A's secret.",
    ),
    planned(
        "shared-roles",
        "G1",
        Method::Simulated,
        "The roles of sandboxes and of workers' queues may not read a secret.",
    ),
    planned(
        "control-plane-roles",
        "G1",
        Method::Simulated,
        "The roles of all functions are denied secret values by a statement.",
    ),
    planned(
        "canary-in-tables",
        "G1",
        Method::Searched,
        "No value is in the ledger table or in the audit table.",
    ),
    planned(
        "canary-in-queues",
        "G1",
        Method::Searched,
        "No value is in the queues of both projects.",
    ),
    planned(
        "canary-in-function-logs",
        "G1",
        Method::Searched,
        "No value is in what functions and the API have logged since the start.",
    ),
    planned(
        "canary-in-sandbox-logs",
        "G1",
        Method::Searched,
        "No value is in the log groups of both projects: their steps print none.",
    ),
    planned(
        "canary-in-archive",
        "G1",
        Method::Searched,
        "No value is in the archived trails of both projects.",
    ),
    planned(
        "canary-in-worker-files",
        "G1",
        Method::Searched,
        "No value is in the worker's files and log, or in its encrypted store.",
    ),
    planned(
        "canary-in-answers",
        "G1",
        Method::Searched,
        "No value is in any answer of the API to this program.",
    ),
    planned(
        "revocation-stops-fargate",
        "G4",
        Method::Live,
        "A hard revocation stops a running Fargate step.",
    ),
    planned(
        "revocation-stops-worker",
        "G4",
        Method::Live,
        "A hard revocation stops a running step of a worker.",
    ),
    planned(
        "revocation-refuses-enqueue",
        "G3",
        Method::Live,
        "No run is enqueued with a revoked key.",
    ),
    planned(
        "revocation-refuses-claim",
        "G3",
        Method::Live,
        "A run that was enqueued before the revocation is not started after it.",
    ),
    planned(
        "release-on-record",
        "G2",
        Method::Live,
        "Every release of a secret is on record before the secret is used.",
    ),
    planned(
        "trail-of-its-own",
        "G6",
        Method::Live,
        "A project's trail is its own, and tells of what was refused.",
    ),
    planned(
        "archive-verifies",
        "G10",
        Method::Live,
        "The trails are archived, and the archive verifies by its signed digests.",
    ),
];

/// Why a check has not held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// What is promised is not so.
    Broken(String),
    /// Nobody knows whether it is so.
    NotTried(String),
}

/// What was seen, if it holds.
pub type Seen = Result<String, Why>;

/// A call that got no answer shows nothing.
impl From<sealfleet_client::Error> for Why {
    fn from(error: sealfleet_client::Error) -> Self {
        Self::NotTried(error.to_string())
    }
}

impl From<Failure> for Why {
    fn from(failure: Failure) -> Self {
        Self::NotTried(failure.to_string())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Held,
    Broken,
    NotTried,
}

impl Outcome {
    const fn word(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Broken => "BROKEN",
            Self::NotTried => "not tried",
        }
    }
}

/// A check that was made, or was not.
#[derive(Debug, Serialize)]
pub struct Check {
    pub id: &'static str,
    pub guarantee: &'static str,
    pub method: Method,
    pub promise: &'static str,
    pub outcome: Outcome,
    /// What was seen, or why nothing was.
    pub seen: String,
    pub seconds: f64,
    /// Not tried, and the caller said before that this is accepted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub accepted: bool,
}

/// The checks so far.
pub struct Board {
    made: Vec<Check>,
    needle: Needle,
}

impl Board {
    /// What holds something that `needle` finds is not told.
    pub const fn new(needle: Needle) -> Self {
        Self {
            made: Vec::new(),
            needle,
        }
    }

    /// Makes a check, and says on standard error what came of it.
    pub async fn check(&mut self, id: &'static str, check: impl Future<Output = Seen>) {
        let began = Instant::now();
        let seen = check.await;
        self.found(id, seen, began.elapsed().as_secs_f64());
    }

    /// Notes what was found out.
    pub fn found(&mut self, id: &'static str, seen: Seen, seconds: f64) {
        let Some(planned) = CHECKS.iter().find(|planned| planned.id == id) else {
            return;
        };
        let (outcome, seen) = match seen {
            Ok(seen) => (Outcome::Held, seen),
            Err(Why::Broken(what)) => (Outcome::Broken, what),
            Err(Why::NotTried(why)) => (Outcome::NotTried, why),
        };
        // Whoever has put it there, a worker or a service: it must not be there.
        let (outcome, seen) = match self.needle.find(seen.as_bytes()) {
            Some(found) => (
                Outcome::Broken,
                format!("what was seen held {found}, and is not told"),
            ),
            None => (outcome, seen),
        };
        note(&format!(
            "{:<9}  {id} ({seconds:.1} s): {seen}\n",
            outcome.word()
        ));
        self.made.push(Check {
            id: planned.id,
            guarantee: planned.guarantee,
            method: planned.method,
            promise: planned.promise,
            outcome,
            seen,
            seconds: (seconds * 10.0).round() / 10.0,
            accepted: false,
        });
    }

    /// Whether a check was made, and holds.
    pub fn held(&self, id: &str) -> bool {
        let mut made = self.made.iter();
        made.any(|check| check.id == id && check.outcome == Outcome::Held)
    }

    /// All checks of the plan, in its order. Those that were not reached were not tried.
    pub fn concluded(self, unreached: &str, accepted: &BTreeSet<String>) -> Vec<Check> {
        let mut made = self.made;
        let one = |planned: &Planned| {
            let at = made.iter().position(|check| check.id == planned.id);
            let mut check = match at {
                Some(at) => made.swap_remove(at),
                None => Check {
                    id: planned.id,
                    guarantee: planned.guarantee,
                    method: planned.method,
                    promise: planned.promise,
                    outcome: Outcome::NotTried,
                    seen: match unreached {
                        "" => "it was not reached".to_owned(),
                        why => why.to_owned(),
                    },
                    seconds: 0.0,
                    accepted: false,
                },
            };
            check.accepted = check.outcome == Outcome::NotTried && accepted.contains(planned.id);
            check
        };
        CHECKS.iter().map(one).collect()
    }
}

/// Something that could not be removed.
#[derive(Debug, Serialize)]
pub struct Left {
    pub what: String,
    pub why: String,
    /// How to remove it by hand.
    pub remove: String,
}

/// The report that a reviewer keeps. It holds no value and no credential.
#[derive(Debug, Serialize)]
pub struct Report {
    pub version: &'static str,
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
    pub account: String,
    pub region: String,
    /// The AWS principal that looked.
    pub caller: String,
    pub control_stack: String,
    pub api_url: String,
    /// Where AWS was called, if it was not AWS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emulator: Option<String>,
    pub projects: Vec<String>,
    pub verdict: Verdict,
    pub checks: Vec<Check>,
    /// How many things were made and are removed.
    pub removed: usize,
    pub left: Vec<Left>,
    /// What stays on purpose.
    pub stays: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything was tried, or accepted as untried, and holds.
    Held,
    /// Something does not hold.
    Broken,
    /// Nothing is known to be broken, and not everything was tried, or not everything is removed.
    Incomplete,
}

impl Verdict {
    pub fn of(checks: &[Check], left: &[Left]) -> Self {
        let untried = |check: &Check| check.outcome == Outcome::NotTried && !check.accepted;
        if checks.iter().any(|check| check.outcome == Outcome::Broken) {
            Self::Broken
        } else if checks.iter().any(untried) || !left.is_empty() {
            Self::Incomplete
        } else {
            Self::Held
        }
    }
}

impl Report {
    fn count(&self, outcome: Outcome) -> usize {
        let checks = self.checks.iter();
        checks.filter(|check| check.outcome == outcome).count()
    }

    fn counts(&self) -> String {
        format!(
            "{} held, {} broken, {} not tried",
            self.count(Outcome::Held),
            self.count(Outcome::Broken),
            self.count(Outcome::NotTried)
        )
    }

    pub fn text(&self) -> String {
        let place = match &self.emulator {
            Some(emulator) => format!("an emulator at {emulator}: this is NOT a proof about AWS"),
            None => format!("AWS account {}, {}", self.account, self.region),
        };
        let mut text = lines([
            ("sealfleet prove", self.version.to_owned()),
            ("looked at", place),
            (
                "control plane",
                format!("stack `{}`, {}", self.control_stack, self.api_url),
            ),
            ("as", self.caller.clone()),
            ("from", self.started_at.to_string()),
            ("to", self.finished_at.to_string()),
            ("projects", self.projects.join(", ")),
            ("checks", self.counts()),
        ]);
        for check in &self.checks {
            let accepted = if check.accepted { ", accepted" } else { "" };
            text += &format!(
                "\n{:<9}  {} {}\n           {} ({}, {:.1} s{accepted})\n",
                check.outcome.word(),
                check.guarantee,
                check.promise,
                check.id,
                crate::operator::output::word(&check.method),
                check.seconds
            );
            for line in check.seen.lines() {
                text += &format!("           {line}\n");
            }
        }
        text += &format!("\n{} things were removed. {}\n", self.removed, self.stays);
        for left in &self.left {
            text += &format!(
                "LEFT       {}: {}\n           remove it: {}\n",
                left.what, left.why, left.remove
            );
        }
        text
    }

    /// What the exit code says.
    pub fn conclusion(&self) -> Result<(), Failure> {
        match self.verdict {
            Verdict::Held => Ok(()),
            Verdict::Broken => Err(Failure::Broken(format!(
                "something that is promised does not hold: {}",
                self.counts()
            ))),
            Verdict::Incomplete if self.left.is_empty() => Err(Failure::Untried(format!(
                "not everything was tried: {}",
                self.counts()
            ))),
            Verdict::Incomplete => Err(Failure::Untried(format!(
                "not everything is removed: {}; {} things are left",
                self.counts(),
                self.left.len()
            ))),
        }
    }
}

/// Fails if the report holds a value, whoever has put it there: a log line of a worker, an answer
/// of a service.
pub fn without_values(report: &Report, needle: &Needle) -> Result<(), Failure> {
    let document = serde_json::to_string(report).map_err(Failure::other)?;
    for text in [document, report.text()] {
        if let Some(found) = needle.find(text.as_bytes()) {
            return Err(Failure::Broken(format!(
                "the report is not written, since it would hold {found}"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::prove::canary::Canary;

    fn checks(found: &[(&'static str, Seen)], accepted: &[&str]) -> Vec<Check> {
        let needle = Needle::of(&[&Canary::new("another")]).expect("a needle");
        let mut board = Board::new(needle);
        for (id, seen) in found {
            board.found(id, seen.clone(), 1.0);
        }
        let accepted = accepted.iter().map(|id| (*id).to_owned()).collect();
        board.concluded("it ended before", &accepted)
    }

    #[test]
    fn a_check_that_nobody_made_is_not_tried() {
        let made = checks(&[("execution-role", Ok("denied".to_owned()))], &[]);
        assert_eq!(made.len(), CHECKS.len());
        for check in &made {
            let expected = if check.id == "execution-role" {
                Outcome::Held
            } else {
                Outcome::NotTried
            };
            assert_eq!(check.outcome, expected, "{}", check.id);
        }
        assert_eq!(Verdict::of(&made, &[]), Verdict::Incomplete);
    }

    /// A check that nobody has seen fail, or that no reader is told of, is none.
    #[test]
    fn each_check_has_its_boundary_taken_out_and_is_told_of() {
        let rows = include_str!("../../../../tests/scenarios/prove/taken_out.rs");
        let guide = include_str!("../../../../docs/guides/prove.md");
        let table = guide.split("## Checks").nth(1).unwrap_or_default();
        for Planned { id, .. } in CHECKS {
            assert!(
                rows.contains(&format!("\"{id}\"")),
                "no row takes from {id}"
            );
            assert!(
                table.contains(&format!("`{id}`")),
                "{id} is not in the guide"
            );
        }
    }

    #[test]
    fn the_verdict_is_that_of_the_worst_check() {
        let all: Vec<(&str, Seen)> = CHECKS
            .iter()
            .map(|planned| (planned.id, Ok(String::new())))
            .collect();
        assert_eq!(Verdict::of(&checks(&all, &[]), &[]), Verdict::Held);
        let with = |why: Why| {
            let mut one_less = all.clone();
            one_less[3].1 = Err(why);
            one_less
        };
        let untried = with(Why::NotTried("no permission".to_owned()));
        let id = CHECKS[3].id;
        assert_eq!(
            Verdict::of(&checks(&untried, &[]), &[]),
            Verdict::Incomplete
        );
        assert_eq!(Verdict::of(&checks(&untried, &[id]), &[]), Verdict::Held);
        let broken = with(Why::Broken("it is there".to_owned()));
        assert_eq!(
            Verdict::of(&checks(&broken, &[id]), &[]),
            Verdict::Broken,
            "nobody can accept what is broken"
        );
        let left = Left {
            what: "a stack".to_owned(),
            why: String::new(),
            remove: String::new(),
        };
        assert_eq!(
            Verdict::of(&checks(&all, &[]), &[left]),
            Verdict::Incomplete
        );
    }

    #[test]
    fn a_value_in_what_was_seen_is_not_told() {
        let canary = Canary::new("canary A");
        let needle = || Needle::of(&[&canary]).expect("a needle");
        for why in [Why::NotTried, Why::Broken] {
            let mut board = Board::new(needle());
            let seen = Err(why(format!("worker: {}", canary.value())));
            board.found("own-secret-worker", seen, 1.0);
            let made = board.concluded("", &BTreeSet::new());
            let check = made.iter().find(|check| check.id == "own-secret-worker");
            let check = check.expect("it was made");
            assert_eq!(check.outcome, Outcome::Broken);
            assert!(check.seen.contains("canary A in plain text"));
            assert_eq!(needle().find(check.seen.as_bytes()), None);
        }
    }

    #[test]
    fn a_report_that_would_hold_a_value_is_not_written() {
        let canary = Canary::new("canary A");
        let needle = Needle::of(&[&canary]).expect("a needle");
        let report = |seen: String| Report {
            version: "0",
            started_at: Timestamp::from_millis(0),
            finished_at: Timestamp::from_millis(0),
            account: String::new(),
            region: String::new(),
            caller: String::new(),
            control_stack: String::new(),
            api_url: String::new(),
            emulator: None,
            projects: Vec::new(),
            verdict: Verdict::Held,
            checks: checks(&[("execution-role", Ok(seen))], &[]),
            removed: 0,
            left: Vec::new(),
            stays: "",
        };
        assert!(without_values(&report("denied".to_owned()), &needle).is_ok());
        let held = without_values(&report(format!("log: {}", canary.value())), &needle);
        assert!(matches!(held, Err(Failure::Broken(_))));
    }
}
