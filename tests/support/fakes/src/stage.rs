//! The stage: the state that ports share, and the turns that their callers wait for.
//!
//! Each call of a port waits for its turn before it takes effect, and sometimes again before its
//! answer arrives. The scheduler gives one turn at a time, with a verdict on what becomes of the
//! call, so two handlers interleave between any two awaits, and the order of all effects is that of
//! the turns.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use sealfleet_domain::run::Fence;
use sealfleet_domain::scope::ClaimTag;
use sealfleet_domain::{RunId, StepId};
use sealfleet_hosts::Template;
use sealfleet_ledger::store::{Table, Write, WriteError};

use crate::archive::Archive;
use crate::ecs::{Ecs, Task};
use crate::memory::{Changed, Tables, write_with};
use crate::queues::Queues;
use crate::random::Random;
use crate::sabotage::Sabotage;
use crate::temper::Temper;

pub use crate::memory::Fault;

/// What becomes of a call whose turn has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub fault: Option<Fault>,
    /// ECS has no room, or refuses for good, where that is asked.
    pub launch: LaunchVerdict,
    /// The answer waits for another turn.
    pub slow: bool,
}

/// What ECS says to a launch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LaunchVerdict {
    #[default]
    Accepted,
    /// It has no room.
    NoCapacity,
    Refused,
}

/// The claim that an invocation speaks of: it must not change any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    pub run_id: RunId,
    pub step_id: StepId,
    pub fence: Fence,
}

/// An invocation whose turn it is.
#[derive(Clone, Debug)]
pub struct Actor {
    pub number: u64,
    /// Its name in the schedule.
    pub name: String,
    /// The claim that it speaks of.
    pub subject: Option<Subject>,
    /// The project that it acts for. `None` for operators and for the control plane's own work.
    pub home: Option<&'static str>,
    /// When it began, as a position in the order of all effects.
    pub began: u64,
    pub began_at: i64,
}

/// When a transaction was made.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Its position in the order of all effects.
    pub effect: u64,
    /// The latest that any clock of the control plane may say.
    pub latest_clock: i64,
}

/// A row of the audit table, as its stream tells it.
#[derive(Clone, Debug)]
pub struct Record {
    pub sequence: u64,
    pub changed: Changed,
}

/// Looks at every effect, and notes what should not have happened.
pub trait Judge: Send + Sized + 'static {
    /// A transaction changed these rows.
    fn committed(&mut self, changed: &[Changed], actor: Option<&Actor>, moment: Moment, ecs: &Ecs);

    /// ECS launched a task.
    fn launched(&mut self, _: &ClaimTag, _: Option<&Template>, _: Option<&Actor>) {}

    /// A task is told to stop.
    fn stopped(&mut self, _: &Task, _: Option<&Actor>) {}

    /// A message is sent to a queue.
    fn sent(&mut self, _: &str, _: &str) {}
}

impl Judge for () {
    fn committed(&mut self, _: &[Changed], _: Option<&Actor>, _: Moment, _: &Ecs) {}
}

/// What a function asks of a table, as IAM sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Access {
    pub function: String,
    /// The action's name in IAM, without `dynamodb:`.
    pub action: &'static str,
    /// Whether it is the table of the trail. Else it is the ledger.
    pub is_of_trail: bool,
    /// The partition, with `x` for each id.
    pub leading_key: String,
}

/// The time that a call is on its way.
pub type Latency = fn() -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// A call that waits for its turn.
struct Waiting {
    turn: u64,
    invocation: u64,
    call: &'static str,
    waker: Waker,
}

/// All that ports and scheduler share.
pub struct World<J> {
    /// Milliseconds since the epoch. Never goes back.
    pub time: i64,
    /// How far off the control plane's clock is.
    pub skew: i64,
    pub random: Random,
    /// How bad the world is. `None`: nothing goes wrong and nobody waits for a turn.
    pub temper: Option<Temper>,
    pub tables: Tables,
    pub queues: Queues,
    pub ecs: Ecs,
    /// Queues that are not there.
    pub undeployed: BTreeSet<String>,
    /// The current version of each secret, by name; 1 where there is none.
    pub secrets: BTreeMap<String, u64>,
    pub judge: J,
    /// The audit table is away: what goes wrong with each write that puts an entry into it.
    pub audit_away: Option<Fault>,
    /// The schedule so far, if it is to be printed.
    pub schedule: Option<Vec<String>>,
    pub effects: u64,
    /// Changes of rows of runs that the `trail` function has not been told of yet, oldest first.
    pub stream: Vec<Changed>,
    /// New rows of the audit table that `export` has not been told of yet, oldest first.
    pub records: Vec<Record>,
    /// The audit bucket.
    pub archive: Archive,
    /// The outputs bucket.
    pub outputs: Archive,
    /// Milliseconds that a call takes while nobody directs the stage.
    pub call_takes: i64,
    /// What each call waits for before it takes effect, if anything.
    pub latency: Option<Latency>,
    /// A promise that this world breaks.
    pub sabotage: Option<Sabotage>,
    /// What functions have asked of the tables, if it is to be told.
    pub accesses: Option<BTreeSet<Access>>,
    recorded: u64,
    actor: Option<Actor>,
    waiting: Vec<Waiting>,
    turns: u64,
    granted: Option<u64>,
    verdict: Verdict,
}

impl<J: Judge> World<J> {
    /// A world over these tables.
    pub fn new(tables: Tables, time: i64, random: Random, judge: J) -> Self {
        Self {
            time,
            skew: 0,
            random,
            temper: None,
            tables,
            queues: Queues::default(),
            ecs: Ecs::default(),
            undeployed: BTreeSet::new(),
            secrets: BTreeMap::new(),
            judge,
            audit_away: None,
            schedule: None,
            effects: 0,
            stream: Vec::new(),
            records: Vec::new(),
            archive: Archive::default(),
            outputs: Archive::default(),
            call_takes: 0,
            latency: None,
            recorded: 0,
            sabotage: None,
            accesses: None,
            actor: None,
            waiting: Vec::new(),
            turns: 0,
            granted: None,
            verdict: Verdict::default(),
        }
    }

    /// Adds a line to the schedule.
    pub fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(schedule) = &mut self.schedule {
            let at = self.time % 100_000_000;
            schedule.push(format!(
                "{:4} {:>9.3}s  {}",
                schedule.len() + 1,
                precise_seconds(at),
                line()
            ));
        }
    }

    /// Adds a line about the invocation whose turn it is.
    pub fn note_effect(&mut self, what: impl FnOnce() -> String) {
        if self.schedule.is_some() {
            let actor = self
                .actor
                .as_ref()
                .map_or_else(|| "-".to_owned(), |actor| actor.name.clone());
            self.note(|| format!("{actor}: {}", what()));
        }
    }

    /// Notes what the function whose turn it is asks of a table, as IAM sees it.
    pub fn note_access(&mut self, action: &'static str, table: Table, leading_key: &str) {
        let (Some(accesses), Some(actor)) = (&mut self.accesses, &self.actor) else {
            return;
        };
        let function = actor.name.split('#').next().unwrap_or_default();
        // An id or a hash is like any other.
        let parts = leading_key.split('#').map(|part| match part.len() {
            0..20 => part,
            _ => "x",
        });
        accesses.insert(Access {
            function: function.to_owned(),
            action,
            is_of_trail: table == Table::Audit,
            leading_key: parts.collect::<Vec<_>>().join("#"),
        });
    }

    /// The judge, the invocation whose turn it is, and a task.
    pub fn judge_of(&mut self, arn: &str) -> (&mut J, Option<&Actor>, Option<&Task>) {
        let task = self.ecs.tasks.get(arn);
        (&mut self.judge, self.actor.as_ref(), task)
    }

    /// The invocation whose turn it is.
    pub const fn actor(&self) -> Option<&Actor> {
        self.actor.as_ref()
    }

    /// The calls of an invocation that wait: their turns, and what they are.
    pub fn waiting(&self, invocation: u64) -> Vec<(u64, &'static str)> {
        let waiting = self
            .waiting
            .iter()
            .filter(|waiting| waiting.invocation == invocation);
        waiting
            .map(|waiting| (waiting.turn, waiting.call))
            .collect()
    }

    /// Gives the next turn to an invocation, and in it to one of its calls, if one waits.
    pub fn enter(&mut self, actor: Actor, turn: Option<u64>, verdict: Verdict) {
        self.actor = Some(actor);
        self.granted = turn;
        self.verdict = verdict;
        if let Some(waiting) = self
            .waiting
            .iter()
            .find(|waiting| Some(waiting.turn) == turn)
        {
            waiting.waker.wake_by_ref();
        }
    }

    pub fn leave(&mut self) {
        self.actor = None;
        self.granted = None;
    }

    /// Writes to the tables, under the eyes of the invariants.
    pub fn write(
        &mut self,
        mut writes: Vec<Write>,
        fault: Option<Fault>,
    ) -> Result<(), WriteError> {
        if self.breaks(Sabotage::TornTransactions) && writes.len() > 1 && self.random.chance(50) {
            writes.pop();
        }
        let recorded = |write: &Write| {
            matches!(
                write,
                Write::Put {
                    table: Table::Audit,
                    ..
                }
            )
        };
        let fault = fault.or(self.audit_away.filter(|_| writes.iter().any(recorded)));
        self.tables.ignores_conditions = self.breaks(Sabotage::IgnoredConditions);
        let (result, changed) = write_with(&mut self.tables, writes, fault);
        let of_run = |change: &&Changed| {
            let pk = &change.key.pk;
            pk.contains("#RUNS#") || pk.contains("#ENTRIES#")
        };
        self.stream.extend(changed.iter().filter(of_run).cloned());
        self.record(&changed);
        if !changed.is_empty() {
            self.effects += 1;
            // The clock may have been set back between a handler's look at it and now.
            let skew = self.temper.as_ref().map_or(0, |temper| temper.skew);
            let moment = Moment {
                effect: self.effects,
                latest_clock: self.time + skew,
            };
            self.judge
                .committed(&changed, self.actor.as_ref(), moment, &self.ecs);
        }
        if self.breaks(Sabotage::LostIndexEntries) && self.random.chance(50) {
            self.tables.forget_unsettled();
        }
        result
    }

    /// Puts new rows of the audit table into its stream.
    fn record(&mut self, changed: &[Changed]) {
        for change in changed.iter().filter(|change| change.table == Table::Audit) {
            self.recorded += 1;
            if self.breaks(Sabotage::LostRecords) && self.random.chance(50) {
                continue;
            }
            self.records.push(Record {
                sequence: self.recorded,
                changed: change.clone(),
            });
        }
    }

    /// Whether the world breaks this promise.
    pub fn breaks(&self, promise: Sabotage) -> bool {
        self.sabotage == Some(promise)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a time of day in milliseconds")]
fn precise_seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}

/// The stage, shared by all ports.
pub struct Stage<J>(Arc<Mutex<World<J>>>);

impl<J> Clone for Stage<J> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<J: Judge> Stage<J> {
    /// A stage for a world.
    pub fn new(world: World<J>) -> Self {
        Self(Arc::new(Mutex::new(world)))
    }

    pub fn lock(&self) -> MutexGuard<'_, World<J>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A port's call: waits for its turn, takes effect, and waits again if its answer is late.
    pub async fn call<T>(
        &self,
        name: &'static str,
        effect: impl FnOnce(&mut World<J>, Verdict) -> T + Send,
    ) -> T
    where
        T: Send,
    {
        let verdict = Turn {
            stage: self,
            call: name,
            turn: None,
        }
        .await;
        let latency = self.lock().latency;
        if let Some(latency) = latency {
            latency().await;
        }
        let result = {
            let mut world = self.lock();
            if world.actor.is_none() {
                world.time += world.call_takes;
            }
            effect(&mut world, verdict)
        };
        if verdict.slow {
            Turn {
                stage: self,
                call: "answer",
                turn: None,
            }
            .await;
        }
        result
    }
}

/// Waits for a turn of the invocation that polls it.
struct Turn<'a, J: Judge> {
    stage: &'a Stage<J>,
    call: &'static str,
    turn: Option<u64>,
}

impl<J: Judge> Future for Turn<'_, J> {
    type Output = Verdict;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Verdict> {
        let mut world = self.stage.lock();
        // Nobody's turn: the world is well, and a call is only a call.
        let Some(invocation) = world.actor.as_ref().map(|actor| actor.number) else {
            return Poll::Ready(Verdict::default());
        };
        if self.turn.is_some() && world.granted == self.turn {
            world.granted = None;
            return Poll::Ready(world.verdict);
        }
        let waker = context.waker().clone();
        match self.turn {
            Some(turn) => {
                if let Some(waiting) = world
                    .waiting
                    .iter_mut()
                    .find(|waiting| waiting.turn == turn)
                {
                    waiting.waker = waker;
                }
            }
            None => {
                world.turns += 1;
                let turn = world.turns;
                world.waiting.push(Waiting {
                    turn,
                    invocation,
                    call: self.call,
                    waker,
                });
                drop(world);
                self.turn = Some(turn);
            }
        }
        Poll::Pending
    }
}

impl<J: Judge> Drop for Turn<'_, J> {
    fn drop(&mut self) {
        if let Some(turn) = self.turn {
            self.stage
                .lock()
                .waiting
                .retain(|waiting| waiting.turn != turn);
        }
    }
}
