//! Counts what must not happen, from what callers, workers and readers of the trail are told.
//!
//! - **leaked**: something of one project in what another was told: answers, messages, claims, the
//!   trail.
//! - **lost**: an accepted run that did not end; something that was decided, and is not in the
//!   trail.
//! - **doubled**: two starts or two ends of one attempt; an entry that stands in the trail twice;
//!   two runs for one idempotency key.
//! - **late**: what was dealt with after its bound.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use sealfleet_domain::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// Examples of a count that are kept.
const EXAMPLES: usize = 5;
/// Letters of a run's id after `run_`.
const ID: usize = 36;

/// Within how many seconds something must be dealt with.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// What protects, and a lease that has run out, after its time (decision 021).
    pub due: i64,
    /// A message that was lost, after it was sent first, or one that is to be sent again.
    pub resend: i64,
    /// A fan-out, after it began: the work of one request.
    pub fan_out: i64,
}

impl Bounds {
    /// The bounds where an unclaimed step's message is sent again after so many seconds, and a
    /// sweep may come some seconds late.
    #[must_use]
    pub const fn of(resend_seconds: i64, slack_seconds: i64) -> Self {
        let due = 75 + slack_seconds;
        Self {
            due,
            resend: resend_seconds + due,
            fan_out: 10,
        }
    }
}

/// How often something happened, with its first examples.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Count {
    pub number: u64,
    pub examples: Vec<String>,
}

impl Count {
    fn add(&mut self, example: impl Into<String>) {
        self.number += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(example.into());
        }
    }
}

/// What must not happen, counted.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counts {
    pub leaked: Count,
    pub lost: Count,
    pub doubled: Count,
    pub late: Count,
}

impl Counts {
    /// Each count with its name.
    #[must_use]
    pub const fn all(&self) -> [(&'static str, &Count); 4] {
        [
            ("leaked", &self.leaked),
            ("lost", &self.lost),
            ("doubled", &self.doubled),
            ("late", &self.late),
        ]
    }

    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.all().iter().all(|(_, count)| count.number == 0)
    }
}

/// A claim of a step: run, step, fence.
pub type Claim = (String, String, u64);
/// A step: run, step.
type Step = (String, String);

/// An event of the trail, as far as it matters here.
struct Told {
    kind: String,
    step: String,
    fence: u64,
    reason: String,
    at: Timestamp,
}

/// A run that was accepted.
struct Accepted {
    project: String,
    ended: bool,
}

pub struct Judge {
    bounds: Bounds,
    /// What the ids of all projects begin with.
    prefix: String,
    runs: BTreeMap<String, Accepted>,
    /// The run that each idempotency key stands for.
    keys: HashMap<String, String>,
    /// Who was told of a run, and where first.
    told_of: HashMap<String, BTreeMap<String, String>>,
    /// Runs of others that a worker asked for, to be refused.
    probed: HashSet<Step>,
    /// Events that must be in the trail, because a worker was told of what they record.
    answered: BTreeSet<(Claim, &'static str)>,
    /// The claim that was allowed to start, by step and attempt, and its worker.
    starts: HashMap<(Step, u64), (u64, usize)>,
    /// The end of each lease, as its holder was told last.
    leases: HashMap<Claim, Timestamp>,
    /// Messages that were lost on their way, and when.
    swallowed: HashMap<Step, Timestamp>,
    /// Ids of entries that must be in the trail, by run.
    decided: HashMap<String, BTreeSet<String>>,
    /// The entries of all trails, by run.
    trail: HashMap<String, BTreeMap<String, Vec<Told>>>,
    counts: Counts,
}

impl Judge {
    /// A judge of projects whose ids are `prefix` and three digits.
    #[must_use]
    pub fn new(bounds: Bounds, prefix: &str) -> Self {
        Self {
            bounds,
            prefix: prefix.to_owned(),
            runs: BTreeMap::new(),
            keys: HashMap::new(),
            told_of: HashMap::new(),
            probed: HashSet::new(),
            answered: BTreeSet::new(),
            starts: HashMap::new(),
            leases: HashMap::new(),
            swallowed: HashMap::new(),
            decided: HashMap::new(),
            trail: HashMap::new(),
            counts: Counts::default(),
        }
    }

    /// A caller of a project was told that its run is accepted. Whether the run is new.
    pub fn accepted(&mut self, project: &str, key: &str, run: &str) -> bool {
        let first = self
            .keys
            .entry(key.to_owned())
            .or_insert_with(|| run.to_owned());
        if first != run {
            let doubled = format!("{first} and {run} for one idempotency key");
            self.counts.doubled.add(doubled);
        }
        let accepted = Accepted {
            project: project.to_owned(),
            ended: false,
        };
        let known = self.runs.contains_key(run);
        self.runs.entry(run.to_owned()).or_insert(accepted);
        !known
    }

    /// Somebody of a project was told this text: it must name nothing of others.
    pub fn told(&mut self, project: &str, place: &str, text: &str) {
        for (at, _) in text.match_indices("run_") {
            let Some(run) = text.get(at..at + 4 + ID) else {
                continue;
            };
            if run.bytes().filter(|byte| *byte == b'-').count() == 4 {
                let told = self.told_of.entry(run.to_owned()).or_default();
                if !told.contains_key(project) {
                    told.insert(project.to_owned(), place.to_owned());
                }
            }
        }
        let length = self.prefix.len() + 3;
        for (at, _) in text.match_indices(&self.prefix) {
            let named = text.get(at..at + length).unwrap_or_default();
            if named != project {
                let leaked = format!("{place} of {project} names {named}");
                self.counts.leaked.add(leaked);
            }
        }
    }

    /// A worker of a project asks for a run that it must not reach, so its trail may name it.
    pub fn probes(&mut self, project: &str, run: &str) {
        self.probed.insert((project.to_owned(), run.to_owned()));
    }

    /// A worker was granted what it asked for with [`Self::probes`].
    pub fn reached(&mut self, project: &str, run: &str) {
        let leaked = format!("a worker of {project} was granted {run}");
        self.counts.leaked.add(leaked);
    }

    /// A message was lost on its way.
    pub fn swallowed(&mut self, run: &str, step: &str, at: Timestamp) {
        self.swallowed.insert((run.to_owned(), step.to_owned()), at);
    }

    /// A caller has put dead steps of a run back: their attempts begin again.
    pub fn retried(&mut self, run: &str) {
        self.starts.retain(|((of, _), _), _| of != run);
    }

    /// A message has arrived.
    pub fn delivered(&mut self, run: &str, step: &str, at: Timestamp) {
        if let Some(since) = self.swallowed.remove(&(run.to_owned(), step.to_owned())) {
            self.check_late(since, at, self.bounds.resend, || {
                format!("the message of {run}/{step}, which was lost, came again")
            });
        }
    }

    /// A worker was granted a claim.
    pub fn granted(&mut self, claim: &Claim, until: Timestamp) {
        self.answered.insert((claim.clone(), "step.leased"));
        self.renewed(claim, until);
    }

    /// The lease of a claim does not end before `until`, as its holder knows.
    pub fn renewed(&mut self, claim: &Claim, until: Timestamp) {
        self.leases.insert(claim.clone(), until);
    }

    /// A worker was told that the command of a claim may run.
    pub fn started(&mut self, claim: &Claim, attempt: u64, worker: usize) {
        self.answered.insert((claim.clone(), "step.running"));
        let (run, step, fence) = claim;
        let of = ((run.clone(), step.clone()), attempt);
        let first = *self.starts.entry(of).or_insert((*fence, worker));
        if first != (*fence, worker) {
            let (other, by) = first;
            self.counts.doubled.add(format!(
                "attempt {attempt} of {run}/{step} was started with fence {other} by worker {by} and with \
                 {fence} by worker {worker}"
            ));
        }
    }

    /// A worker was told that its report of a step's end counts.
    pub fn ended(&mut self, claim: &Claim, succeeded: bool) {
        let kind = if succeeded {
            "step.succeeded"
        } else {
            "step.failed"
        };
        self.answered.insert((claim.clone(), kind));
    }

    /// A hard revocation has finished.
    pub fn fanned_out(&mut self, id: &str, started: Timestamp, finished: Timestamp) {
        self.check_late(started, finished, self.bounds.fan_out, || {
            format!("{id} was finished")
        });
    }

    /// A worker was given a key after the fan-out of its hard revocation had finished.
    pub fn given_when_revoked(&mut self, claim: &Claim) {
        let (run, step, fence) = claim;
        let late = format!("{run}/{step}/{fence} was given a key after its revocation");
        self.counts.late.add(late);
    }

    /// Something was due, and `sweep` has not dealt with it yet. A run that only waits for its
    /// messages comes after all that protects (decision 021).
    pub fn still_due(&mut self, what: &str, waits: bool, since: Timestamp, now: Timestamp) {
        let (bound, kind) = if waits {
            (self.bounds.resend, "messages")
        } else {
            (self.bounds.due, "protection")
        };
        self.check_late(since, now, bound, || {
            format!("{what} is due for its {kind}")
        });
    }

    fn check_late(
        &mut self,
        since: Timestamp,
        at: Timestamp,
        bound: i64,
        what: impl FnOnce() -> String,
    ) {
        let millis = at.millis_since(since);
        if millis > bound * 1000 {
            let late = format!("{} after {} s, of {bound} s", what(), millis / 1000);
            self.counts.late.add(late);
        }
    }

    /// A run is shown as ended.
    pub fn over(&mut self, run: &str) {
        if let Some(run) = self.runs.get_mut(run) {
            run.ended = true;
        }
    }

    /// An entry of a run was decided.
    pub fn decided(&mut self, run: &str, event_id: &str) {
        let own = self.decided.entry(run.to_owned()).or_default();
        own.insert(event_id.to_owned());
    }

    /// An entry of a project's trail.
    pub fn entry(&mut self, entry: &Value) {
        let (id, run) = (text(entry, "event_id"), text(entry, "run_id"));
        let Ok(at) = Timestamp::parse(&text(entry, "at")) else {
            let lost = format!("an entry without its time: {entry}");
            self.counts.lost.add(lost);
            return;
        };
        let events = entry.get("events").and_then(Value::as_array);
        let told = events.into_iter().flatten().map(|event| Told {
            kind: text(event, "type"),
            step: text(event, "step_id"),
            fence: event.get("fence").and_then(Value::as_u64).unwrap_or(0),
            reason: text(event, "reason"),
            at,
        });
        let told: Vec<Told> = told.collect();
        let entries = self.trail.entry(run).or_default();
        if entries.insert(id.clone(), told).is_some() {
            self.counts.doubled.add(format!("{id} is recorded twice"));
        }
    }

    /// All was told: what it came to.
    #[must_use]
    pub fn conclude(mut self) -> Counts {
        self.conclude_leaks();
        let runs = std::mem::take(&mut self.runs);
        let mut trail = std::mem::take(&mut self.trail);
        for (run, accepted) in &runs {
            let entries = trail.remove(run).unwrap_or_default();
            if !accepted.ended {
                let lost = format!("{run} of {} did not end", accepted.project);
                self.counts.lost.add(lost);
            }
            let decided = self.decided.remove(run).unwrap_or_default();
            let missing = decided.iter().filter(|id| !entries.contains_key(*id));
            for id in missing {
                let lost = format!("{id} of {run} is not in the trail");
                self.counts.lost.add(lost);
            }
            let events: Vec<Told> = entries.into_values().flatten().collect();
            for kind in ["run.enqueued", "run.finished"] {
                let told = events.iter().any(|event| event.kind == kind);
                if accepted.ended && !told {
                    let lost = format!("{kind} of {run} is not in the trail");
                    self.counts.lost.add(lost);
                }
            }
            self.conclude_run(run, &events);
        }
        for ((run, step), at) in std::mem::take(&mut self.swallowed) {
            let late = format!("the message of {run}/{step}, lost at {at}, never came again");
            self.counts.late.add(late);
        }
        for ((run, step, fence), kind) in std::mem::take(&mut self.answered) {
            let lost = format!("{kind} of {run}/{step}/{fence} is not in the trail");
            self.counts.lost.add(lost);
        }
        self.counts
    }

    fn conclude_leaks(&mut self) {
        for (run, told) in std::mem::take(&mut self.told_of) {
            let Some(owner) = self.runs.get(&run).map(|run| run.project.clone()) else {
                continue;
            };
            let others = told.into_iter().filter(|(project, _)| *project != owner);
            for (project, place) in others {
                if !self.probed.contains(&(project.clone(), run.clone())) {
                    let leaked = format!("{place} of {project} names {run} of {owner}");
                    self.counts.leaked.add(leaked);
                }
            }
        }
    }

    /// The story of a run: what was answered is in it, no attempt starts or ends twice, and no
    /// lease stays for long after its end.
    fn conclude_run(&mut self, run: &str, events: &[Told]) {
        let mut steps: BTreeMap<&str, Vec<&Told>> = BTreeMap::new();
        let (mut finished, mut again, mut enqueued) = (0, 0, 0);
        for event in events {
            match event.kind.as_str() {
                "run.finished" => finished += 1,
                "run.enqueued" => enqueued += 1,
                "step.retried" => again += 1,
                _ => {}
            }
            if !event.step.is_empty() {
                steps.entry(&event.step).or_default().push(event);
            }
        }
        if finished > 1 + again {
            let doubled = format!("{run} was finished {finished} times");
            self.counts.doubled.add(doubled);
        }
        if enqueued > 1 {
            let doubled = format!("{run} was enqueued {enqueued} times");
            self.counts.doubled.add(doubled);
        }
        for (step, events) in steps {
            self.conclude_step(run, step, &events);
        }
    }

    fn conclude_step(&mut self, run: &str, step: &str, events: &[&Told]) {
        let claim = |fence| (run.to_owned(), step.to_owned(), fence);
        let (mut held, mut running, mut ended): (Option<u64>, bool, bool) = (None, false, false);
        // It was ended because of a dead step, which may be put back.
        let mut given_up = false;
        let mut doubled = Vec::new();
        for event in events {
            for kind in [
                "step.leased",
                "step.running",
                "step.succeeded",
                "step.failed",
            ] {
                if event.kind == kind {
                    self.answered.remove(&(claim(event.fence), kind));
                }
            }
            let expired = event.reason == "lease_expired" || event.reason == "attempts_exhausted";
            if let Some(fence) = held.filter(|_| expired)
                && let Some(until) = self.leases.get(&claim(fence)).copied()
            {
                self.check_late(until, event.at, self.bounds.due, || {
                    format!("the expired lease of {run}/{step}/{fence} was found")
                });
            }
            match event.kind.as_str() {
                "step.leased" if held == Some(event.fence) || running || ended => {
                    doubled.push("claimed");
                }
                "step.leased" => held = Some(event.fence),
                "step.running" if running || ended => doubled.push("started"),
                "step.running" => running = true,
                "step.succeeded" | "step.failed" if ended => doubled.push("ended"),
                "step.succeeded" | "step.failed" | "step.aborted" | "step.dead" => {
                    given_up = event.kind == "step.aborted";
                    (held, running, ended) = (None, false, true);
                }
                "step.queued" if given_up => (held, running, ended) = (None, false, false),
                "step.requeued" | "step.retried" => (held, running, ended) = (None, false, false),
                _ => {}
            }
        }
        for what in doubled {
            let doubled = format!("{run}/{step} was {what} twice in one attempt");
            self.counts.doubled.add(doubled);
        }
        // A message that never came again is late, unless somebody else has ended the step.
        if ended {
            self.swallowed.remove(&(run.to_owned(), step.to_owned()));
        }
    }
}

/// A text in JSON; empty when it is not there.
#[must_use]
pub fn text(value: &Value, name: &str) -> String {
    value
        .get(name)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}
