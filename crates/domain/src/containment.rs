//! Containments: everything that stops a project's work, as one operation.
//!
//! A containment goes through its [`Stage`]s in the order that protects most, first, and through
//! all of them again for what came up meanwhile, until a [round](Position::round) finds nothing.
//! [`Containment::after`] decides what comes next. Where it has come is stored, so whoever goes on
//! with it skips nothing and begins nowhere again.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::ContainmentId;

/// Rounds after which it gives up because new work keeps coming.
const ROUNDS: u32 = 10;
/// Seconds after its beginning for which it tries again what it could not stop.
const TRIED_SECONDS: i64 = 3600;
/// Seconds until it tries that again.
const AGAIN_SECONDS: i64 = 30;

/// What of a project is stopped, in the order in which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Keys of its profiles are revoked hard: nothing starts with them, and what holds one is
    /// aborted.
    Keys,
    /// Workers are revoked, and hosted pools drained: nobody claims anything.
    Workers,
    /// Enrolment keys are revoked: no worker registers.
    EnrolmentKeys,
    /// API tokens are revoked, if that was asked for: nobody enqueues anything.
    Tokens,
    /// Runs that have not ended are cancelled.
    Runs,
}

impl Stage {
    /// All stages, in their order.
    pub const ALL: [Self; 5] = [
        Self::Keys,
        Self::Workers,
        Self::EnrolmentKeys,
        Self::Tokens,
        Self::Runs,
    ];

    const fn next(self) -> Option<Self> {
        match self {
            Self::Keys => Some(Self::Workers),
            Self::Workers => Some(Self::EnrolmentKeys),
            Self::EnrolmentKeys => Some(Self::Tokens),
            Self::Tokens => Some(Self::Runs),
            Self::Runs => None,
        }
    }
}

/// How many of each were stopped, or are there to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Tally {
    /// Keys of profiles, revoked hard.
    pub keys: u64,
    /// Workers, revoked, and hosted pools, drained.
    pub workers: u64,
    /// Enrolment keys, revoked.
    pub enrolment_keys: u64,
    /// API tokens, revoked. Only if that was asked for.
    pub tokens: u64,
    /// Runs: cancelled, or aborted because they held one of the keys.
    pub runs: u64,
}

impl Tally {
    /// Counts what was stopped in a stage.
    pub const fn add(&mut self, stage: Stage, count: u64) {
        let counted = match stage {
            Stage::Keys => &mut self.keys,
            Stage::Workers => &mut self.workers,
            Stage::EnrolmentKeys => &mut self.enrolment_keys,
            Stage::Tokens => &mut self.tokens,
            Stage::Runs => &mut self.runs,
        };
        *counted = counted.saturating_add(count);
    }
}

/// A containment of a project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Containment {
    pub containment_id: ContainmentId,
    /// Why, in the words of the actor.
    pub reason: String,
    /// Whether API tokens are revoked, too: all but the actor's own.
    pub tokens: bool,
    /// Who asked for it, as `kind:id`.
    pub actor: String,
    pub started_at: Timestamp,
    pub position: Position,
    /// How it ended, once it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
}

/// How far a containment has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// From 1.
    pub round: u32,
    pub stage: Stage,
    /// The last row of the stage that is done, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Whether this round has stopped something.
    pub found: bool,
    /// Whether it could not stop something that it found.
    pub failed: bool,
}

impl Position {
    /// The beginning of a round.
    #[must_use]
    pub const fn begin(round: u32) -> Self {
        Self {
            round,
            stage: Stage::Keys,
            after: None,
            found: false,
            failed: false,
        }
    }
}

/// The end of a containment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    pub at: Timestamp,
    /// Whether the last round found nothing. If not, there is still something to stop.
    pub complete: bool,
    /// What it has stopped.
    pub stopped: Tally,
}

/// What became of a page of a stage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageDone {
    /// Whether something was stopped.
    pub found: bool,
    /// Whether something could not be.
    pub failed: bool,
    /// The last row of the page, if the stage has more.
    pub after: Option<String>,
}

/// What comes after a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// The next page, at once.
    GoOn(Position),
    /// The next round, but not before this time: something could not be stopped.
    Again(Position, Timestamp),
    /// The round found nothing.
    Quiet,
    /// There is still something to stop: new work keeps coming, or something cannot be stopped.
    GiveUp,
}

impl Containment {
    /// What comes after a page of the stage that it is in.
    #[must_use]
    pub fn after(&self, page: PageDone, now: Timestamp) -> Next {
        let at = &self.position;
        let (found, failed) = (at.found || page.found, at.failed || page.failed);
        let stage = match page.after {
            Some(_) => Some(at.stage),
            None => at.stage.next(),
        };
        if let Some(stage) = stage {
            return Next::GoOn(Position {
                round: at.round,
                stage,
                after: page.after,
                found,
                failed,
            });
        }
        if failed {
            // Its rounds are for new work: what fails does not use them up.
            return if now >= self.started_at.plus_seconds(TRIED_SECONDS) {
                Next::GiveUp
            } else {
                Next::Again(Position::begin(at.round), now.plus_seconds(AGAIN_SECONDS))
            };
        }
        match (found, at.round.saturating_add(1)) {
            (false, _) => Next::Quiet,
            (true, round) if round > ROUNDS => Next::GiveUp,
            (true, round) => Next::GoOn(Position::begin(round)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn containment(position: Position) -> Containment {
        Containment {
            containment_id: "con_0198c0de-0000-7000-8000-00000000000c"
                .parse()
                .expect("an id"),
            reason: "leaked".to_owned(),
            tokens: true,
            actor: "token:x".to_owned(),
            started_at: Timestamp::from_millis(0),
            position,
            ended: None,
        }
    }

    /// Goes through rounds whose stages find or fail as told, until something else follows.
    fn rounds(
        found: impl Fn(&Position) -> bool,
        failed: impl Fn(&Position) -> bool,
    ) -> (u32, Next) {
        let mut at = containment(Position::begin(1));
        loop {
            let page = PageDone {
                found: found(&at.position),
                failed: failed(&at.position),
                after: None,
            };
            match at.after(page, Timestamp::from_millis(1)) {
                Next::GoOn(position) => at.position = position,
                other => return (at.position.round, other),
            }
        }
    }

    #[test]
    fn it_ends_with_a_round_that_finds_nothing() {
        assert_eq!(rounds(|_| false, |_| false), (1, Next::Quiet));
        let twice = |at: &Position| at.round < 3 && at.stage == Stage::Workers;
        assert_eq!(rounds(twice, |_| false), (3, Next::Quiet));
    }

    #[test]
    fn it_gives_up_when_new_work_keeps_coming() {
        let always = |at: &Position| at.stage == Stage::Runs;
        assert_eq!(rounds(always, |_| false), (ROUNDS, Next::GiveUp));
    }

    #[test]
    fn what_cannot_be_stopped_keeps_nothing_else_from_being_stopped_and_is_tried_again() {
        let (round, next) = rounds(|_| true, |at| at.stage == Stage::Keys);
        let Next::Again(position, at) = next else {
            panic!("{next:?}");
        };
        assert_eq!((round, position), (1, Position::begin(1)));
        assert_eq!(at.millis(), 1 + AGAIN_SECONDS * 1000);
        // For an hour.
        let mut last = Position::begin(1);
        (last.stage, last.failed) = (Stage::Runs, true);
        let late = Timestamp::from_millis(0).plus_seconds(TRIED_SECONDS);
        let next = containment(last).after(PageDone::default(), late);
        assert_eq!(next, Next::GiveUp);
    }

    #[test]
    fn a_stage_with_more_goes_on_after_its_page() {
        let page = PageDone {
            found: true,
            failed: false,
            after: Some("x".to_owned()),
        };
        let next = containment(Position::begin(1)).after(page, Timestamp::from_millis(1));
        let on = Position {
            after: Some("x".to_owned()),
            found: true,
            ..Position::begin(1)
        };
        assert_eq!(next, Next::GoOn(on));
    }
}
