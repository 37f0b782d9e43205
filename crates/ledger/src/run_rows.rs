//! The row of a run, and the conditional write that changes it.
//!
//! | attribute | holds |
//! |---|---|
//! | `f` | number of the row's format |
//! | `plan` | packed: what never changes (workflow, labels, specifications of the steps, identity's hash) |
//! | `s#<step>` | packed: where the step stands |
//! | `e`, `eb` | list of packed audit entries that have not been moved to rows of their own, and their bytes |
//! | `v` | how often the row was written |
//! | `left` | how many steps have not ended |
//! | `n#<step>` | how many of the steps that this one needs have not succeeded |
//! | `moved` | rows of entries that were moved out of `e` |
//! | `state`, `due_shard`, `due_at`, `expires_at` | for lists, for `sweep`, for time to live |
//! | `trail` | marks the row for the `trail` function's filter |
//!
//! A write requires that what its rule decided on is still so, and no more:
//!
//! - Each step that it changes is byte for byte as it was read.
//! - A write that ends steps counts `left` down. It is the last one exactly if the count says so.
//! - A write that lets a step succeed counts the needs of each step that waits for it down. Such a
//!   step becomes ready exactly if the count says so. Those that do not wait are as they were read.
//! - Nobody has written the row since, where a step is put back.
//! - The entries still fit, with the one that it adds.
//!
//! So claims, starts and ends of different steps never refuse one another, and no decision is made
//! on a step that has changed.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use sealfleet_domain::agent::AgentReport;
use sealfleet_domain::approval::{Approval, Asker};
use sealfleet_domain::artifact::Total;
use sealfleet_domain::audit::AuditEntry;
use sealfleet_domain::delivery::Kind;
use sealfleet_domain::labels::{DELIVERY, Labels};
use sealfleet_domain::run::{
    AbortReason, Chosen, Fence, LeaseKey, OutputPlace, RequeueReason, Run, Step, StepSpec,
    StepState, is_zero,
};
use sealfleet_domain::usage::ByModel;
use sealfleet_domain::{ProjectScope, RunId, StepId, Timestamp, WorkerId, WorkflowName};
use serde::{Deserialize, Serialize};

use crate::ended_runs::{EndedRun, EndedStep};
use crate::entries::{self, ENTRIES};
use crate::error::Error;
use crate::format;
use crate::identities::{Hashes, Identities};
use crate::keys;
use crate::packed::{pack, unpack};
use crate::remembered::IdentityHash;
use crate::rows::{n, number, row, text};
use crate::store::{Condition, Edit, Item, Table, Test, Write, WriteError};

/// The attribute that lets a row through the `trail` function's filter, and its value.
const MARK: &str = "trail";
const MARKED: &str = "1";
/// Prefix of the attributes with steps.
const STEP: &str = "s#";
/// Prefix of the attributes that count the needs of steps.
const NEEDS: &str = "n#";
/// Bytes of entries above which they are moved to a row of their own.
pub(crate) const MOVE_BYTES: i64 = 48 * 1024;
/// Bytes of entries at most, whatever is written at once. A row has 400 KB at most; this leaves
/// room for the plan and the steps.
const ENTRY_BYTES: i64 = 160 * 1024;
/// Bytes of a packed plan at most.
pub(crate) const PLAN_BYTES: usize = 128 * 1024;

/// What never changes.
#[derive(Serialize, Deserialize)]
struct Plan {
    workflow: WorkflowName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    workflow_version: Option<u32>,
    created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity: Option<IdentityHash>,
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    labels: Labels,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    chosen: Option<Chosen>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    asker: Option<Asker>,
    steps: BTreeMap<StepId, StepSpec>,
}

/// Where a step stands.
#[derive(Serialize, Deserialize)]
struct StepRow {
    state: StepState,
    attempt: u32,
    fence: Fence,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_holder: Option<WorkerId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lost: Option<RequeueReason>,
    #[serde(default, skip_serializing_if = "is_zero")]
    output_cut_bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    output: Option<OutputPlace>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    agent: Option<AgentReport>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    uploads: bool,
    #[serde(default, skip_serializing_if = "is_zero")]
    output_missing_bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    result_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    artifacts: Option<Total>,
    #[serde(default, skip_serializing_if = "ByModel::is_empty")]
    used: ByModel,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    approval: Option<Approval>,
    /// What the hold's sandbox starts with, if that is not what was resolved at enqueue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity: Option<IdentityHash>,
}

/// The row of a run, unpacked as far as it can be without its identities.
pub struct RunRow {
    run_id: RunId,
    plan: Plan,
    steps: BTreeMap<StepId, StepRow>,
    pub(crate) raw: Raw,
}

/// A row as it was read: what its next write compares with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Raw {
    steps: BTreeMap<StepId, Blob>,
    v: i64,
    state: String,
    pub due_at: Option<Timestamp>,
    expires: bool,
    pub moved: u32,
    pub entries: Vec<AttributeValue>,
    /// Bytes of the entries.
    pub entry_bytes: i64,
    pub hashes: Hashes,
}

impl Raw {
    /// The row after a write of [`Changing`], which names these identities.
    pub fn after(&self, write: &Write, hashes: Hashes) -> Self {
        let mut raw = Self {
            hashes,
            ..self.clone()
        };
        let Write::Update { edits, .. } = write else {
            return raw;
        };
        for (name, edit) in edits {
            let whole = match edit {
                Edit::Set(AttributeValue::N(number)) => number.parse().ok(),
                _ => None,
            };
            match (name.as_str(), edit) {
                ("v", Edit::Increase(by)) => raw.v += by,
                ("eb", Edit::Increase(by)) => raw.entry_bytes += by,
                (ENTRIES, Edit::Append(AttributeValue::L(more))) => {
                    raw.entries.extend_from_slice(more)
                }
                ("state", Edit::Set(AttributeValue::S(state))) => raw.state.clone_from(state),
                ("due_at", _) => raw.due_at = whole.map(Timestamp::from_millis),
                ("expires_at", _) => raw.expires = whole.is_some(),
                (_, Edit::Set(AttributeValue::B(packed))) => {
                    let step_id = name.strip_prefix(STEP).and_then(|id| id.parse().ok());
                    raw.steps
                        .extend(step_id.map(|id: StepId| (id, packed.clone())));
                }
                _ => {}
            }
        }
        raw
    }
}

impl RunRow {
    /// Reads a row, as the table or its stream shows it.
    ///
    /// # Errors
    /// When the row is not a run of a known format.
    pub fn of_image(item: &Item) -> Result<Self, Error> {
        let unreadable = |what: &str| Error::Unreadable(format!("a run without {what}"));
        format::check(item)?;
        let run_id = text(item, "sk")
            .and_then(|sk| sk.parse().ok())
            .ok_or_else(|| unreadable("an id"))?;
        let plan = blob(item, "plan").ok_or_else(|| unreadable("a plan"))?;
        let plan: Plan = unpack(plan.as_ref())?;
        let mut steps = BTreeMap::new();
        let mut raw = Raw {
            v: number(item, "v").ok_or_else(|| unreadable("a version"))?,
            state: text(item, "state").unwrap_or_default().to_owned(),
            due_at: number(item, "due_at").map(Timestamp::from_millis),
            expires: item.contains_key("expires_at"),
            moved: number(item, "moved")
                .and_then(|moved| u32::try_from(moved).ok())
                .unwrap_or_default(),
            entries: entries::list(item).to_vec(),
            entry_bytes: number(item, "eb").unwrap_or_default(),
            steps: BTreeMap::new(),
            hashes: Hashes {
                run: plan.identity.clone(),
                fresh: BTreeMap::new(),
            },
        };
        for step_id in plan.steps.keys() {
            let packed = blob(item, &attribute(step_id)).ok_or_else(|| unreadable("a step"))?;
            let step: StepRow = unpack(packed.as_ref())?;
            let fresh = step.identity.iter().cloned();
            let fresh = fresh.map(|hash| (step_id.clone(), hash));
            raw.hashes.fresh.extend(fresh);
            steps.insert(step_id.clone(), step);
            raw.steps.insert(step_id.clone(), packed.clone());
        }
        Ok(Self {
            run_id,
            plan,
            steps,
            raw,
        })
    }

    /// The identities that the row names.
    #[must_use]
    pub fn names(&self) -> BTreeSet<IdentityHash> {
        let of_steps = self.steps.values().filter_map(|step| step.identity.clone());
        self.plan.identity.iter().cloned().chain(of_steps).collect()
    }

    /// The claims of a worker that a caller ended.
    pub(crate) fn cancelled_of(&self, holder: WorkerId) -> Vec<(RunId, StepId, Fence)> {
        let cancelled = self.steps.iter().filter(|(_, step)| {
            let by_caller = matches!(
                step.state,
                StepState::Aborted {
                    reason: AbortReason::Cancelled,
                    ..
                }
            );
            by_caller && step.last_holder == Some(holder)
        });
        let name =
            |(step_id, step): (&StepId, &StepRow)| (self.run_id, step_id.clone(), step.fence);
        cancelled.map(name).collect()
    }

    /// The claims of a worker whose secrets an egress proxy may deliver: the label of the step says
    /// so, or its identity is another than at its enqueue.
    pub(crate) fn delivering_of(&self, holder: WorkerId) -> Vec<(RunId, StepId, Fence)> {
        let may = |step_id: &StepId, row: &StepRow| {
            let spec = self.plan.steps.get(step_id);
            let labelled = spec.and_then(|spec| spec.requires.get(DELIVERY));
            row.identity.is_some() || labelled == Some(Kind::Egress.text())
        };
        let held = self.steps.iter().filter(|(step_id, row)| {
            let hold = row.state.hold();
            hold.is_some_and(|hold| hold.holder == holder) && may(step_id, row)
        });
        let name = |(step_id, row): (&StepId, &StepRow)| (self.run_id, step_id.clone(), row.fence);
        held.map(name).collect()
    }

    /// What a worker holds of it.
    pub(crate) fn holds_of(&self, holder: WorkerId) -> Vec<LeaseKey> {
        let holds = self.steps.iter().filter_map(|(step_id, step)| {
            let hold = step.state.hold()?;
            (hold.holder == holder).then(|| LeaseKey {
                holder,
                slot: hold.slot,
                fence: hold.fence,
                run_id: self.run_id,
                step_id: step_id.clone(),
            })
        });
        holds.collect()
    }

    /// What a run that has ended tells of itself.
    pub(crate) fn ended(self, scope: ProjectScope) -> Result<EndedRun, Error> {
        let ends = self.steps.values().map(|step| step.state.ended_at());
        let ended_at = ends.collect::<Option<Vec<_>>>();
        let ended_at = ended_at.and_then(|ends| ends.into_iter().max());
        let steps = self.steps.into_iter().map(|(id, step)| EndedStep {
            id,
            state: step.state,
            attempt: step.attempt,
        });
        Ok(EndedRun {
            scope,
            run_id: self.run_id,
            workflow: self.plan.workflow,
            labels: self.plan.labels,
            state: self.raw.state,
            created_at: self.plan.created_at,
            ended_at: ended_at
                .ok_or_else(|| Error::Unreadable("an ended run with a live step".to_owned()))?,
            steps: steps.collect(),
            version: self.raw.v,
        })
    }

    /// The run.
    ///
    /// # Errors
    /// When an identity that the row names is missing.
    pub fn run(self, identities: &Identities) -> Result<Run, Error> {
        let find = |hash: &IdentityHash| {
            let found = identities.get(hash);
            found.ok_or_else(|| Error::Unreadable(format!("a run without its identity {hash}")))
        };
        let identity = self.plan.identity.as_ref().map(find).transpose()?;
        let mut rows = self.steps;
        let mut steps = BTreeMap::new();
        for (step_id, spec) in self.plan.steps {
            let Some(row) = rows.remove(&step_id) else {
                continue;
            };
            let mut state = row.state;
            if let (Some(hold), Some(hash)) = (state.hold_mut(), &row.identity) {
                hold.identity = Some(Box::new(find(hash)?.as_ref().clone()));
            }
            let step = Step {
                spec,
                state,
                attempt: row.attempt,
                fence: row.fence,
                last_holder: row.last_holder,
                lost: row.lost,
                output_cut_bytes: row.output_cut_bytes,
                output: row.output,
                agent: row.agent,
                uploads: row.uploads,
                output_missing_bytes: row.output_missing_bytes,
                result_bytes: row.result_bytes,
                artifacts: row.artifacts,
                used: row.used,
                approval: row.approval,
            };
            steps.insert(step_id, step);
        }
        Ok(Run {
            run_id: self.run_id,
            workflow: self.plan.workflow,
            workflow_version: self.plan.workflow_version,
            identity: identity.map(|identity| identity.as_ref().clone()),
            labels: self.plan.labels,
            chosen: self.plan.chosen,
            asker: self.plan.asker,
            created_at: self.plan.created_at,
            steps,
        })
    }
}

/// The entries that a write added to a run's row, from the row's images before and after it.
pub struct Added {
    run_id: RunId,
    scope: ProjectScope,
    entries: Vec<entries::StoredEntry>,
}

impl Added {
    /// A row of moved entries adds nothing: they were added before.
    ///
    /// # Errors
    /// When a row is neither, when entries that stood there are gone, or when later ones would not
    /// be seen: somebody else than Sealfleet has changed the row.
    pub fn between(before: Option<&Item>, after: &Item) -> Result<Self, Error> {
        let unreadable = |what: &str| Error::Unreadable(what.to_owned());
        if let Some((scope, run_id)) = text(after, "pk").and_then(keys::run_of_moved_entries) {
            if before.is_some_and(|before| before != after) {
                return Err(unreadable("moved entries that were changed"));
            }
            let entries = Vec::new();
            return Ok(Self {
                run_id,
                scope,
                entries,
            });
        }
        let scope = text(after, "pk")
            .and_then(keys::scope_of_run)
            .ok_or_else(|| unreadable("a run with a foreign key"))?;
        let run_id = text(after, "sk")
            .and_then(|sk| sk.parse().ok())
            .ok_or_else(|| unreadable("a run without an id"))?;
        let old = before.map(entries::list).unwrap_or_default();
        let new = entries::list(after);
        let moved = |item: Option<&Item>| item.and_then(|item| number(item, "moved")).unwrap_or(0);
        let (had, has) = (moved(before), moved(Some(after)));
        let added = if had == has && new.starts_with(old) {
            new.get(old.len()..).unwrap_or_default()
        } else if has == had + 1 && new.is_empty() {
            new
        } else {
            return Err(unreadable("a run whose entries were changed"));
        };
        if text(after, MARK) != Some(MARKED) {
            return Err(unreadable("a run that is hidden from the trail"));
        }
        let bytes = new.iter().map(entries::bytes).sum::<i64>();
        if number(after, "eb") != Some(bytes) {
            return Err(unreadable("a run whose entries are counted wrongly"));
        }
        let entries = added.iter().map(entries::read).collect::<Result<_, _>>()?;
        Ok(Self {
            run_id,
            scope,
            entries,
        })
    }

    /// The run's project.
    #[must_use]
    pub const fn scope(&self) -> &ProjectScope {
        &self.scope
    }

    /// The identities that the entries name.
    #[must_use]
    pub fn names(&self) -> BTreeSet<IdentityHash> {
        self.entries
            .iter()
            .flat_map(entries::StoredEntry::names)
            .collect()
    }

    /// The whole entries, in the order in which they were added.
    ///
    /// # Errors
    /// When an identity is missing.
    pub fn entries(self, identities: &Identities) -> Result<Vec<AuditEntry>, Error> {
        let each = self.entries.into_iter();
        each.map(|entry| entry.expand(&self.scope, self.run_id, identities))
            .collect()
    }
}

/// Whether time to live may delete a run: one that has not ended does not expire.
#[must_use]
pub fn may_expire(row: &Item) -> bool {
    number(row, "left") == Some(0)
}

/// The row of a new run, which is looked at by `first_look`.
///
/// # Errors
/// [`WriteError::Refused`] when it cannot be packed.
pub(crate) fn new_row(
    scope: &ProjectScope,
    run: &Run,
    plan: Blob,
    entry: AttributeValue,
    first_look: Option<Timestamp>,
) -> Result<Item, WriteError> {
    let key = keys::run(scope, run.run_id);
    let state = run.state().name().to_owned();
    let attributes = [
        ("v", n(1)),
        ("left", n(left(run))),
        (MARK, AttributeValue::S(MARKED.to_owned())),
        ("plan", AttributeValue::B(plan)),
        ("eb", n(entries::bytes(&entry))),
        (ENTRIES, AttributeValue::L(vec![entry])),
        ("state", AttributeValue::S(state)),
    ];
    let mut item = row(key, attributes);
    for (step_id, step) in &run.steps {
        item.insert(attribute(step_id), step_value(step, None)?);
        if !step.spec.needs.is_empty() {
            item.insert(needs_of(step_id), n(open_needs(run, step)));
        }
    }
    if let Some(due_at) = run.due_at() {
        let due_at = first_look.map_or(due_at, |first| first.min(due_at));
        let shard = keys::due_shard(run.run_id.uuid().into_bytes());
        item.insert("due_shard".to_owned(), AttributeValue::S(shard));
        item.insert("due_at".to_owned(), n(due_at.millis()));
    }
    Ok(item)
}

/// The part of a new run's row that the `trail` function reads, with these entries.
pub(crate) fn with_entries(
    scope: &ProjectScope,
    run_id: RunId,
    elements: Vec<AttributeValue>,
) -> Item {
    let bytes = elements.iter().map(entries::bytes).sum::<i64>();
    let attributes = [
        (MARK, AttributeValue::S(MARKED.to_owned())),
        ("eb", n(bytes)),
        (ENTRIES, AttributeValue::L(elements)),
    ];
    row(keys::run(scope, run_id), attributes)
}

/// What never changes of a run, packed.
pub(crate) fn plan_of(run: &Run, identity: Option<IdentityHash>) -> Result<Blob, WriteError> {
    let specs = run.steps.iter();
    let plan = Plan {
        workflow: run.workflow.clone(),
        workflow_version: run.workflow_version,
        created_at: run.created_at,
        identity,
        labels: run.labels.clone(),
        chosen: run.chosen.clone(),
        asker: run.asker.clone(),
        steps: specs
            .map(|(step_id, step)| (step_id.clone(), step.spec.clone()))
            .collect(),
    };
    Ok(Blob::new(pack(&plan)?))
}

/// The write that takes a run from how it was read to how it is to be.
pub(crate) struct Changing<'a> {
    pub scope: &'a ProjectScope,
    pub before: &'a Run,
    pub after: &'a Run,
    pub raw: &'a Raw,
    pub hashes: &'a Hashes,
    /// When a visit of the due index makes this write.
    pub visit: Option<Timestamp>,
    pub entry: Option<AttributeValue>,
    /// When the row may be deleted, once the run has ended.
    pub expires_at: i64,
}

impl Changing<'_> {
    /// # Errors
    /// [`WriteError::Refused`] when it cannot be packed.
    pub fn write(self) -> Result<Write, WriteError> {
        let raw = self.raw;
        let mut edits: Vec<(String, Edit)> = vec![("v".to_owned(), Edit::Increase(1))];
        let mut tests: Vec<(String, Test)> = Vec::new();
        let mut own_due: Option<Timestamp> = None;
        for (step_id, step) in &self.after.steps {
            if self.before.steps.get(step_id) == Some(step) {
                continue;
            }
            edits.push((
                attribute(step_id),
                Edit::Set(step_value(step, self.hashes.fresh.get(step_id))?),
            ));
            if let Some(read) = raw.steps.get(step_id) {
                tests.push((
                    attribute(step_id),
                    Test::Is(AttributeValue::B(read.clone())),
                ));
            }
            own_due = own_due.into_iter().chain(step.due_at()).min();
        }
        let put_back = self.counts(&mut edits, &mut tests);
        if let Some(entry) = &self.entry {
            let bytes = entries::bytes(entry);
            let entry = AttributeValue::L(vec![entry.clone()]);
            edits.push((ENTRIES.to_owned(), Edit::Append(entry)));
            edits.push(("eb".to_owned(), Edit::Increase(bytes)));
            tests.push(("eb".to_owned(), Test::AtMost(ENTRY_BYTES - bytes)));
        }
        let state = self.after.state();
        if state.name() != raw.state {
            let state = AttributeValue::S(state.name().to_owned());
            edits.push(("state".to_owned(), Edit::Set(state)));
        }
        self.expiry(&mut edits);
        let exact = self.due(own_due, &mut edits, &mut tests);
        // Also where nothing else is tested: an update must not make a row.
        let test = if exact || put_back {
            Test::Is(n(raw.v))
        } else {
            Test::AtLeast(raw.v)
        };
        tests.push(("v".to_owned(), test));
        Ok(Write::Update {
            key: keys::run(self.scope, self.after.run_id),
            edits,
            only_if: Condition::All(tests),
        })
    }

    /// Counts what is left of the run, and of the needs of its steps. Returns whether a step was
    /// put back, which no count is made for.
    fn counts(&self, edits: &mut Vec<(String, Edit)>, tests: &mut Vec<(String, Test)>) -> bool {
        let (before, after) = (left(self.before), left(self.after));
        if self.is_put_back() {
            edits.push(("left".to_owned(), Edit::Set(n(after))));
            for (step_id, step) in &self.after.steps {
                if !step.spec.needs.is_empty() {
                    let open = n(open_needs(self.after, step));
                    edits.push((needs_of(step_id), Edit::Set(open)));
                }
            }
            return true;
        }
        let ended = before - after;
        if ended > 0 {
            count_down("left".to_owned(), ended, after == 0, edits, tests);
        }
        for (step_id, step) in &self.after.steps {
            if !step.spec.needs.iter().any(|need| self.has_ended(need)) {
                continue;
            }
            let was = self.before.steps.get(step_id);
            let waited = was.is_some_and(|was| matches!(was.state, StepState::Blocked));
            if !waited && was == Some(step) {
                tests.extend(self.raw.steps.get(step_id).map(|read| {
                    let read = AttributeValue::B(read.clone());
                    (attribute(step_id), Test::Is(read))
                }));
            }
            let open = was.map_or(0, |was| open_needs(self.before, was));
            let met = open - open_needs(self.after, step);
            if met > 0 {
                let is_ready = matches!(
                    step.state,
                    StepState::Waiting { .. } | StepState::Queued { .. }
                );
                let ready = waited && is_ready;
                if waited && (is_ready || matches!(step.state, StepState::Blocked)) {
                    count_down(needs_of(step_id), met, ready, edits, tests);
                } else {
                    edits.push((needs_of(step_id), Edit::Increase(-met)));
                }
            }
        }
        false
    }

    /// Whether a step that had ended is put back.
    fn is_put_back(&self) -> bool {
        self.before.steps.iter().any(|(step_id, was)| {
            let is = self.after.steps.get(step_id);
            was.state.is_terminal() && is.is_some_and(|is| !is.state.is_terminal())
        })
    }

    /// Whether this write ends a step.
    fn has_ended(&self, step_id: &StepId) -> bool {
        let ended = |run: &Run| {
            let step = run.steps.get(step_id);
            step.is_some_and(|step| step.state.is_terminal())
        };
        !ended(self.before) && ended(self.after)
    }

    /// An ended run expires. One that is put back does not.
    fn expiry(&self, edits: &mut Vec<(String, Edit)>) {
        let ended = left(self.after) == 0;
        if ended && !self.raw.expires {
            edits.push(("expires_at".to_owned(), Edit::Set(n(self.expires_at))));
        } else if !ended && self.raw.expires {
            edits.push(("expires_at".to_owned(), Edit::Remove));
        }
    }

    /// Keeps the run's place in the due index early enough. Returns whether the row must be exactly
    /// as it was read.
    ///
    /// A place that is too early costs one visit. So it stays where it is early enough: moving it
    /// costs two more writes, and most runs end before. It must never be too late, whatever others
    /// write at the same time:
    /// - One that stays must still be early enough for the steps of this write.
    /// - One that moves to an earlier time must be where it was read.
    /// - One that moves to a later time, or goes, must be in a row that nobody has written since.
    fn due(
        &self,
        own_due: Option<Timestamp>,
        edits: &mut Vec<(String, Edit)>,
        tests: &mut Vec<(String, Test)>,
    ) -> bool {
        let set = |due: Timestamp| ("due_at".to_owned(), Edit::Set(n(due.millis())));
        match (self.raw.due_at, self.after.due_at()) {
            (None, None) => false,
            (Some(_), None) => {
                edits.push(("due_at".to_owned(), Edit::Remove));
                edits.push(("due_shard".to_owned(), Edit::Remove));
                true
            }
            (None, Some(next)) => {
                let shard = keys::due_shard(self.after.run_id.uuid().into_bytes());
                edits.push(set(next));
                edits.push(("due_shard".to_owned(), Edit::Set(AttributeValue::S(shard))));
                tests.push(("due_at".to_owned(), Test::Missing));
                false
            }
            (Some(stored), Some(next)) if next < stored => {
                edits.push(set(next));
                tests.push(("due_at".to_owned(), Test::Is(n(stored.millis()))));
                false
            }
            (Some(stored), Some(next)) if self.looked_at(stored, next) => {
                edits.push(set(next));
                true
            }
            (Some(_), Some(_)) => {
                if let Some(own) = own_due {
                    tests.push(("due_at".to_owned(), Test::AtMost(own.millis())));
                }
                false
            }
        }
    }

    /// Whether this write is a visit of a place that has passed: it alone moves the place later.
    fn looked_at(&self, stored: Timestamp, next: Timestamp) -> bool {
        self.visit.is_some_and(|now| stored <= now) && stored < next
    }
}

/// Counts an attribute down by what this write ends. It must come to nothing exactly if the rule
/// found that it does.
fn count_down(
    name: String,
    by: i64,
    to_nothing: bool,
    edits: &mut Vec<(String, Edit)>,
    tests: &mut Vec<(String, Test)>,
) {
    let test = if to_nothing {
        Test::Is(n(by))
    } else {
        Test::AtLeast(by + 1)
    };
    tests.push((name.clone(), test));
    edits.push((name, Edit::Increase(-by)));
}

/// Steps that have not ended.
fn left(run: &Run) -> i64 {
    count(run.steps.values().filter(|step| !step.state.is_terminal()))
}

/// Steps that a step needs and that have not succeeded.
fn open_needs(run: &Run, step: &Step) -> i64 {
    let open = |need: &&StepId| {
        let need = run.steps.get(*need);
        !need.is_some_and(|need| matches!(need.state, StepState::Succeeded { .. }))
    };
    count(step.spec.needs.iter().filter(open))
}

fn count<T>(of: impl Iterator<Item = T>) -> i64 {
    i64::try_from(of.count()).unwrap_or(i64::MAX)
}

fn needs_of(step_id: &StepId) -> String {
    format!("{NEEDS}{step_id}")
}

/// The writes that move a row's entries to a row of their own.
pub(crate) fn move_entries(scope: &ProjectScope, run_id: RunId, raw: &Raw) -> Vec<Write> {
    let key = keys::moved_entries(scope, run_id, raw.moved);
    let attributes = [
        (MARK, AttributeValue::S(MARKED.to_owned())),
        (ENTRIES, AttributeValue::L(raw.entries.clone())),
    ];
    let item = row(key, attributes);
    let moved = raw.moved.saturating_add(1);
    vec![
        Write::Put {
            table: Table::Ledger,
            item,
            only_if: Condition::Absent,
        },
        Write::Update {
            key: keys::run(scope, run_id),
            edits: vec![
                ("v".to_owned(), Edit::Increase(1)),
                ("moved".to_owned(), Edit::Set(n(moved))),
                ("eb".to_owned(), Edit::Set(n(0))),
                (ENTRIES.to_owned(), Edit::Set(AttributeValue::L(Vec::new()))),
            ],
            only_if: Condition::All(vec![("v".to_owned(), Test::Is(n(raw.v)))]),
        },
    ]
}

fn step_value(step: &Step, fresh: Option<&IdentityHash>) -> Result<AttributeValue, WriteError> {
    let mut state = step.state.clone();
    if let Some(hold) = state.hold_mut() {
        hold.identity = None;
    }
    let row = StepRow {
        state,
        attempt: step.attempt,
        fence: step.fence,
        last_holder: step.last_holder,
        lost: step.lost,
        output_cut_bytes: step.output_cut_bytes,
        output: step.output.clone(),
        agent: step.agent.clone(),
        uploads: step.uploads,
        output_missing_bytes: step.output_missing_bytes,
        result_bytes: step.result_bytes,
        artifacts: step.artifacts,
        used: step.used.clone(),
        approval: step.approval.clone(),
        identity: fresh.cloned(),
    };
    Ok(AttributeValue::B(Blob::new(pack(&row)?)))
}

fn attribute(step_id: &StepId) -> String {
    format!("{STEP}{step_id}")
}

fn blob<'a>(item: &'a Item, name: &str) -> Option<&'a Blob> {
    item.get(name)?.as_b().ok()
}
