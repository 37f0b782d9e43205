//! Whose turn it is in a sweep.
//!
//! Every project has a share of its own, and so have the operators. Work is handed out in rounds,
//! one piece of each share in turn, and no share has more pieces in work than an equal part of all
//! slots while others wait. So what one project has due costs another at most its turns.
//!
//! - **Lanes.** Fan-outs come first, then containments, then entries of the outbox and approvals
//!   whose time is over, then runs. All but runs have only some of the slots: neither a stuck audit
//!   table nor a crowd of fan-outs stops runs from being visited, and no containment takes the
//!   place of a fan-out.
//! - **Within a project**, a run is read before anything is done about it. Whatever it is due for
//!   is done at once, except when it only waits for its queue message: re-sends wait until the
//!   project's other due runs have been read. Every fourth turn is a re-send nevertheless, so a
//!   project with more due runs than time still makes progress with both.
//! - **Hosts** are asked about many sandboxes at once, whosever they are: when there are enough of
//!   them, or when the first has waited for two seconds.
//!
//! The plan keeps a bounded number of keys: under a flood, the latest of those who have the most
//! are dropped. They stay due.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sealfleet_domain::{
    ApprovalId, ContainmentId, FanOutId, Owner, ProjectScope, RunId, Timestamp,
};
use sealfleet_hosts::BATCH;
use sealfleet_ledger::{Due, DueRun, WaitingEntry};

use super::visit::Visit;

/// Fan-outs in work at most: each has many calls of its own under way.
const FAN_OUTS_AT_ONCE: usize = 2;
/// Containments in work at most: each has many calls of its own under way, too.
const CONTAINMENTS_AT_ONCE: usize = 2;
/// Entries of the outbox, and approvals, in work at most.
const ENTRIES_AT_ONCE: usize = 8;
/// Keys that are kept; about what one sweep can visit.
const MOST_KEYS: usize = 20_000;
/// Keys that each share may keep in any case.
const LEAST_KEYS: usize = 16;
/// Seconds that a run waits at most for others whose hosts are to be asked, too.
const ASKED_AFTER_SECONDS: i64 = 2;
/// Every so many turns of a project are re-sends, if any wait.
const RESEND_EVERY: u64 = 4;

/// A piece of work.
pub enum Task {
    FanOut(Owner, FanOutId),
    Containment(ProjectScope, ContainmentId),
    Entry(WaitingEntry),
    /// An approval whose time is over.
    Approval(ProjectScope, ApprovalId),
    /// A run that is to be read.
    Read(DueRun),
    /// A run that was read, with all that is to be known.
    Visit(Box<Visit>),
    /// Runs whose sandboxes their hosts are to be asked about.
    Ask(Vec<(Share, Box<Visit>)>),
}

/// Whose work a piece is.
pub type Share = usize;

/// A piece of work that was handed out.
pub struct Turn {
    /// `None` for what is of several shares.
    pub share: Option<Share>,
    lane: usize,
    reads: bool,
}

const FAN_OUTS: usize = 0;
const CONTAINMENTS: usize = 1;
const ENTRIES: usize = 2;
const RUNS: usize = 3;
const LANES: usize = 4;

#[derive(Default)]
struct Waiting {
    fan_outs: VecDeque<(Owner, FanOutId)>,
    containments: VecDeque<(ProjectScope, ContainmentId)>,
    /// Entries of the outbox, and approvals whose time is over.
    entries: VecDeque<Task>,
    /// Earliest first.
    unread: BTreeMap<(Timestamp, RunId), DueRun>,
    answered: VecDeque<Box<Visit>>,
    resends: VecDeque<Box<Visit>>,
    in_work: [usize; LANES],
    /// Whether it stands in the round of a lane.
    in_round: [bool; LANES],
    turns: u64,
}

#[derive(Default)]
pub struct Plan {
    /// Pieces of work at once, of each lane and of all.
    slots: [usize; LANES],
    shares: Vec<Waiting>,
    by_name: BTreeMap<String, Share>,
    /// Who has work in a lane, each once, in the order of their turns.
    rounds: [VecDeque<Share>; LANES],
    asking: Vec<(Share, Box<Visit>)>,
    /// Since when the first of them waits.
    asking_since: Option<Timestamp>,
    in_work: [usize; LANES],
    reading: usize,
    kept: usize,
    dropped: u64,
    /// What is in the plan already: the index may move while it is read.
    known: BTreeSet<(Share, RunId)>,
}

impl Plan {
    /// A plan for so many pieces of work at once.
    pub fn new(at_once: usize) -> Self {
        let slots = [
            FAN_OUTS_AT_ONCE,
            CONTAINMENTS_AT_ONCE,
            ENTRIES_AT_ONCE,
            at_once,
        ];
        Self {
            slots: slots.map(|slots| slots.min(at_once)),
            ..Self::default()
        }
    }

    /// Adds a page of the index.
    pub fn add(&mut self, page: impl IntoIterator<Item = (Timestamp, Due)>) {
        for (at, due) in page {
            let share = self.share_of(due.owner());
            let Some(waiting) = self.shares.get_mut(share) else {
                continue;
            };
            let lane = match due {
                Due::FanOut(owner, id) => {
                    waiting.fan_outs.push_back((owner, id));
                    FAN_OUTS
                }
                Due::Containment(scope, id) => {
                    waiting.containments.push_back((scope, id));
                    CONTAINMENTS
                }
                Due::Entry(entry) => {
                    waiting.entries.push_back(Task::Entry(entry));
                    ENTRIES
                }
                Due::Approval(scope, id) => {
                    waiting.entries.push_back(Task::Approval(scope, id));
                    ENTRIES
                }
                Due::Run(due) => {
                    if !self.known.insert((share, due.run_id)) {
                        continue;
                    }
                    waiting.unread.insert((at, due.run_id), due);
                    RUNS
                }
            };
            self.kept += 1;
            self.queue_up(lane, share);
        }
        self.trim();
    }

    /// The next piece of work, unless all slots are taken or it is `until`.
    pub fn next(&mut self, now: Timestamp, until: Timestamp) -> Option<(Turn, Task)> {
        if now >= until || self.in_work.iter().sum::<usize>() >= self.slots[RUNS] {
            return None;
        }
        let overdue = |since: Timestamp| now >= since.plus_seconds(ASKED_AFTER_SECONDS);
        if self.asking.len() >= BATCH || self.asking_since.is_some_and(overdue) {
            return Some(self.ask());
        }
        let next = [FAN_OUTS, CONTAINMENTS, ENTRIES, RUNS]
            .into_iter()
            .find_map(|lane| self.next_in(lane));
        // Who asks with few questions asks more often: it waits for runs that are being read.
        if next.is_none() && self.reading == 0 && !self.asking.is_empty() {
            return Some(self.ask());
        }
        next
    }

    /// A piece of work is done.
    pub fn done(&mut self, turn: &Turn) {
        if let Some(in_work) = self.in_work.get_mut(turn.lane) {
            *in_work = in_work.saturating_sub(1);
        }
        self.reading = self.reading.saturating_sub(usize::from(turn.reads));
        let waiting = turn.share.and_then(|share| self.shares.get_mut(share));
        let in_work = waiting.and_then(|waiting| waiting.in_work.get_mut(turn.lane));
        if let Some(in_work) = in_work {
            *in_work = in_work.saturating_sub(1);
        }
    }

    /// A run that was read has to wait for an answer of a host.
    pub fn keep_to_ask(&mut self, share: Share, visit: Box<Visit>, now: Timestamp) {
        self.kept += 1;
        self.asking_since.get_or_insert(now);
        self.asking.push((share, visit));
    }

    /// A run that was read only waits for its queue message.
    pub fn keep_to_resend(&mut self, share: Share, visit: Box<Visit>) {
        if let Some(waiting) = self.shares.get_mut(share) {
            waiting.resends.push_back(visit);
            self.kept += 1;
            self.queue_up(RUNS, share);
        }
    }

    /// The hosts have answered.
    pub fn answered(&mut self, visits: Vec<(Share, Box<Visit>)>) {
        for (share, visit) in visits {
            if let Some(waiting) = self.shares.get_mut(share) {
                waiting.answered.push_back(visit);
                self.kept += 1;
                self.queue_up(RUNS, share);
            }
        }
    }

    /// What was read of the index and not handed out.
    pub fn left(&self) -> u64 {
        self.dropped + u64::try_from(self.kept).unwrap_or(u64::MAX)
    }

    fn share_of(&mut self, name: &str) -> Share {
        if let Some(share) = self.by_name.get(name) {
            return *share;
        }
        let share = self.shares.len();
        self.by_name.insert(name.to_owned(), share);
        self.shares.push(Waiting::default());
        share
    }

    fn queue_up(&mut self, lane: usize, share: Share) {
        let waiting = self.shares.get_mut(share);
        let in_round = waiting.and_then(|waiting| waiting.in_round.get_mut(lane));
        if let (Some(round), Some(in_round)) = (self.rounds.get_mut(lane), in_round)
            && !std::mem::replace(in_round, true)
        {
            round.push_back(share);
        }
    }

    fn next_in(&mut self, lane: usize) -> Option<(Turn, Task)> {
        let slots = self.slots.get(lane)?;
        if self.in_work.get(lane)? >= slots {
            return None;
        }
        let round = self.rounds.get_mut(lane)?;
        let equal = (slots / round.len().max(1)).max(1);
        let shares = &mut self.shares;
        let is_next = |share: &Share| {
            let in_work = shares
                .get(*share)
                .and_then(|waiting| waiting.in_work.get(lane));
            in_work.is_some_and(|in_work| *in_work < equal)
        };
        let at = round.iter().position(is_next)?;
        let share = round.remove(at)?;
        let waiting = shares.get_mut(share)?;
        let (task, more) = (waiting.take(lane)?, waiting.has(lane));
        *waiting.in_work.get_mut(lane)? += 1;
        *waiting.in_round.get_mut(lane)? = false;
        self.kept = self.kept.saturating_sub(1);
        if more {
            self.queue_up(lane, share);
        }
        Some((self.turn(Some(share), lane, &task), task))
    }

    fn ask(&mut self) -> (Turn, Task) {
        let rest = self.asking.split_off(self.asking.len().min(BATCH));
        let asked = std::mem::replace(&mut self.asking, rest);
        self.kept = self.kept.saturating_sub(asked.len());
        if self.asking.is_empty() {
            self.asking_since = None;
        }
        let task = Task::Ask(asked);
        (self.turn(None, RUNS, &task), task)
    }

    fn turn(&mut self, share: Option<Share>, lane: usize, task: &Task) -> Turn {
        let reads = matches!(task, Task::Read(_));
        self.reading += usize::from(reads);
        if let Some(in_work) = self.in_work.get_mut(lane) {
            *in_work += 1;
        }
        Turn { share, lane, reads }
    }

    /// Drops the latest keys of those who have the most, if there are too many.
    fn trim(&mut self) {
        if self.kept <= MOST_KEYS {
            return;
        }
        let most = (MOST_KEYS / self.shares.len().max(1)).max(LEAST_KEYS);
        for waiting in &mut self.shares {
            while waiting.unread.len() > most && waiting.unread.pop_last().is_some() {
                self.kept = self.kept.saturating_sub(1);
                self.dropped += 1;
            }
        }
    }
}

impl Waiting {
    fn has(&self, lane: usize) -> bool {
        match lane {
            FAN_OUTS => !self.fan_outs.is_empty(),
            CONTAINMENTS => !self.containments.is_empty(),
            ENTRIES => !self.entries.is_empty(),
            _ => !(self.unread.is_empty() && self.answered.is_empty() && self.resends.is_empty()),
        }
    }

    fn take(&mut self, lane: usize) -> Option<Task> {
        match lane {
            FAN_OUTS => {
                let (owner, id) = self.fan_outs.pop_front()?;
                Some(Task::FanOut(owner, id))
            }
            CONTAINMENTS => {
                let (scope, id) = self.containments.pop_front()?;
                Some(Task::Containment(scope, id))
            }
            ENTRIES => self.entries.pop_front(),
            _ => self.take_run(),
        }
    }

    fn take_run(&mut self) -> Option<Task> {
        if let Some(visit) = self.answered.pop_front() {
            return Some(Task::Visit(visit));
        }
        self.turns += 1;
        let resends = self.turns.is_multiple_of(RESEND_EVERY) || self.unread.is_empty();
        if resends && let Some(visit) = self.resends.pop_front() {
            return Some(Task::Visit(visit));
        }
        let (_, due) = self.unread.pop_first()?;
        Some(Task::Read(due))
    }
}
