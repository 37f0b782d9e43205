//! What steps use: time in sandboxes, tokens of models, bytes over the network, and what that
//! costs.
//!
//! Every attempt at a step counts, however it ended. It is counted by the transition that ends its
//! hold ([`count`]): the step keeps the sums of its attempts, and the ledger adds what the
//! transition has added to the rows of the day in the same write. So the rows are the sum of the
//! steps, and a report that comes again adds nothing, because it ends no hold.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::agent::{Answers, ModelsUsed, Usage};
use crate::clock::Timestamp;
use crate::egress::{Reached, Traffic};
use crate::limits;
use crate::names::StepId;
use crate::prices::{self, Prices};
use crate::run::{Hold, Run, StepSpec};

/// What is counted of work that no model did.
pub const NO_MODEL: &str = "";
/// The model that stands for further ones where too many are named.
pub const OTHER_MODELS: &str = "other/other";
/// Models of which a step, and one transition, keep sums of their own.
pub const MODELS: usize = 16;

macro_rules! sums {
    ($($(#[doc = $doc:literal])* $name:ident $stored:literal;)*) => {
        /// Sums that are only ever added to, in whole units.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub struct Sums {
            $($(#[doc = $doc])* #[serde(rename = $stored, default, skip_serializing_if = "is_zero")] pub $name: u64,)*
        }

        impl Sums {
            /// Each sum that is not zero, under the name by which it is stored.
            #[must_use]
            pub fn stored(&self) -> Vec<(&'static str, u64)> {
                let all = [$(($stored, self.$name)),*];
                all.into_iter().filter(|(_, sum)| *sum > 0).collect()
            }

            /// The sums that `stored` finds under their names.
            pub fn of_stored(stored: impl Fn(&str) -> Option<u64>) -> Self {
                Self { $($name: stored($stored).unwrap_or_default(),)* }
            }

            /// These sums and others.
            #[must_use]
            pub const fn plus(self, more: &Self) -> Self {
                Self { $($name: self.$name.saturating_add(more.$name),)* }
            }

            /// What was added to `before` to make these.
            #[must_use]
            pub const fn since(self, before: &Self) -> Self {
                Self { $($name: self.$name.saturating_sub(before.$name),)* }
            }
        }
    };
}

sums! {
    /// Attempts at steps.
    attempts "n";
    /// Milliseconds from their claims to their ends.
    wall_ms "w";
    /// Milliseconds of hosted sandboxes, times their virtual CPUs.
    vcpu_ms "c";
    /// Milliseconds of hosted sandboxes, times their gigabytes of 1,024 MiB.
    gb_ms "g";
    /// Hosted attempts whose time is the control plane's own: their host has not told of their end.
    estimated "est";
    /// Bytes that steps sent through their egress proxies.
    sent "tx";
    /// Bytes that they received.
    received "rx";
    /// Tokens that models were sent, as they are charged: those that caches had included.
    input "i";
    /// Those of them that caches had.
    cached "h";
    /// Tokens that models wrote, as they are charged.
    output "o";
    /// `input`, as the agents' own CLIs say.
    agent_input "ai";
    /// `cached`, as the agents' own CLIs say.
    agent_cached "ah";
    /// `output`, as the agents' own CLIs say.
    agent_output "ao";
    /// `input`, as the egress proxies have counted.
    proxy_input "pi";
    /// `cached`, as the egress proxies have counted.
    proxy_cached "ph";
    /// `output`, as the egress proxies have counted.
    proxy_output "po";
    /// Billionths of a US dollar for hosted sandboxes.
    sandbox_nanos "sn";
    /// Billionths of a US dollar for the tokens of models whose prices are known.
    model_nanos "mn";
    /// Attempts with tokens that have a price.
    priced "p";
    /// Attempts with tokens of a model without a known price.
    unpriced "u";
    /// Attempts of agents of which nobody has told what they used.
    untold "t";
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_zero(sum: &u64) -> bool {
    *sum == 0
}

/// Sums by model, as `PROVIDER/MODEL`. Of work without a model: [`NO_MODEL`].
pub type ByModel = BTreeMap<String, Sums>;

/// The size of a hosted sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// CPU units, 1,024 for each virtual CPU.
    pub cpu: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
}

/// For how long a hosted sandbox ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ran {
    pub size: Size,
    pub started_at: Timestamp,
    pub stopped_at: Timestamp,
}

impl Ran {
    /// Milliseconds, times virtual CPUs.
    #[must_use]
    pub fn vcpu_ms(&self) -> u64 {
        self.ms() * u64::from(self.size.cpu) / 1024
    }

    /// Milliseconds, times gigabytes of 1,024 MiB.
    #[must_use]
    pub fn gb_ms(&self) -> u64 {
        self.ms() * u64::from(self.size.memory_mib) / 1024
    }

    /// Milliseconds, at most a month of them.
    #[must_use]
    pub fn ms(&self) -> u64 {
        ms(self.started_at, self.stopped_at)
    }
}

/// Milliseconds from one moment to another: none if the clocks disagree.
fn ms(from: Timestamp, to: Timestamp) -> u64 {
    u64::from(u32::try_from(to.millis_since(from).max(0)).unwrap_or(u32::MAX))
}

/// What is known of an attempt when it ends, beside its hold and its agent's own report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// For how long its host has run it.
    pub ran: Option<Ran>,
    /// Tokens that its egress proxy has counted.
    pub counted: ModelsUsed,
    /// Bytes from the step to hosts.
    pub sent: u64,
    /// Bytes from hosts to the step.
    pub received: u64,
}

impl Measured {
    /// What whoever ran it tells.
    #[must_use]
    pub fn of_told(reached: &Reached, counted: &ModelsUsed) -> Self {
        let each = reached.rows.iter().map(|row| &row.traffic);
        let sum = |of: fn(&Traffic) -> u64| {
            let all = each.clone().chain([&reached.others]);
            all.map(of).fold(0, u64::saturating_add)
        };
        Self {
            ran: None,
            counted: counted.clone(),
            sent: sum(|traffic| traffic.sent),
            received: sum(|traffic| traffic.received),
        }
    }
}

/// Counts the attempts that a transition from `before` to `run` has ended.
pub fn count(
    before: &Run,
    run: &mut Run,
    measured: Option<&(StepId, Measured)>,
    prices: &Prices,
    now: Timestamp,
) {
    let nothing = Measured::default();
    let mut named = BTreeSet::new();
    for (step_id, step) in &mut run.steps {
        let was = before.steps.get(step_id).and_then(|was| was.state.hold());
        let Some(hold) = was.filter(|_| step.state.hold().is_none()) else {
            continue;
        };
        let measured = measured.filter(|(of, _)| of == step_id);
        let measured = measured.map_or(&nothing, |(_, measured)| measured);
        let agent = step.agent.as_ref().and_then(|agent| agent.usage);
        for (model, sums) in used(&step.spec, hold, (measured, agent), prices, now) {
            let is_known = |known: usize, is_in: bool| is_in || known < MODELS;
            let fits = is_known(step.used.len(), step.used.contains_key(&model))
                && is_known(named.len(), named.contains(&model));
            let model = if fits { model } else { OTHER_MODELS.to_owned() };
            let all = step.used.entry(model.clone()).or_default();
            *all = all.plus(&sums);
            named.insert(model);
        }
    }
}

/// What the steps of a run have used since it was as `before`, by model.
#[must_use]
pub fn added(before: &Run, run: &Run) -> ByModel {
    let mut added = ByModel::new();
    for (step_id, step) in &run.steps {
        let was = before.steps.get(step_id).map(|was| &was.used);
        for (model, sums) in &step.used {
            let was = was.and_then(|was| was.get(model)).copied();
            let more = sums.since(&was.unwrap_or_default());
            if more != Sums::default() {
                let all = added.entry(model.clone()).or_default();
                *all = all.plus(&more);
            }
        }
    }
    added
}

/// What one attempt has used, by model.
fn used(
    spec: &StepSpec,
    hold: &Hold,
    (measured, agent): (&Measured, Option<Usage>),
    prices: &Prices,
    now: Timestamp,
) -> ByModel {
    let mut own = Sums {
        attempts: 1,
        wall_ms: ms(hold.since, now),
        sent: measured.sent,
        received: measured.received,
        ..Sums::default()
    };
    let guessed = || {
        let size = hold.size.filter(|_| hold.handle.is_some())?;
        Some(Ran {
            size,
            started_at: hold.since,
            stopped_at: now,
        })
    };
    if let Some(ran) = measured.ran.or_else(guessed) {
        own.estimated = u64::from(measured.ran.is_none());
        own.vcpu_ms = ran.vcpu_ms();
        own.gb_ms = ran.gb_ms();
        own.sandbox_nanos = prices.sandbox(&ran);
    }
    let mut models = ByModel::new();
    for (model, answers) in by_name(&measured.counted) {
        let usage = answers.usage.bounded();
        let sums = Sums {
            proxy_input: usage.input_tokens,
            proxy_cached: usage.cached_input_tokens,
            proxy_output: usage.output_tokens,
            ..charged(&model, &usage, answers.cache_write_tokens, prices)
        };
        let all = models.entry(model).or_default();
        *all = all.plus(&sums);
    }
    let main = main_model(spec);
    if let Some(usage) = agent.map(Usage::bounded) {
        own.agent_input = usage.input_tokens;
        own.agent_cached = usage.cached_input_tokens;
        own.agent_output = usage.output_tokens;
        // One of the two counts: the proxy's, which nobody inside the sandbox can change.
        if models.is_empty() {
            own = own.plus(&charged(&main, &usage, 0, prices));
        }
    } else if models.is_empty() && spec.agent.is_some() {
        own.untold = 1;
    }
    if measured.counted.unread > 0 {
        own.untold = 1;
    }
    let all = models.entry(main).or_default();
    *all = all.plus(&own);
    models
}

/// What an egress proxy has counted, by `PROVIDER/MODEL`. The names are a model's own words: what
/// cannot be one is of no model by name.
fn by_name(counted: &ModelsUsed) -> impl Iterator<Item = (String, Answers)> {
    let others = (!counted.others.is_none()).then(|| (OTHER_MODELS.to_owned(), counted.others));
    let named = counted.rows.iter().map(|row| {
        let name = format!("{}/{}", row.provider, row.model);
        let fits = name.len() <= limits::MODEL_BYTES && !name.contains(crate::text::acts);
        let name = if fits { name } else { OTHER_MODELS.to_owned() };
        (name, row.of)
    });
    named.chain(others)
}

/// Tokens as they are charged, of which `written` were put into a cache.
fn charged(model: &str, usage: &Usage, written: u64, prices: &Prices) -> Sums {
    let nanos = prices.model(model, usage, written);
    Sums {
        input: usage.input_tokens,
        cached: usage.cached_input_tokens,
        output: usage.output_tokens,
        model_nanos: nanos.unwrap_or_default(),
        priced: u64::from(nanos.is_some()),
        unpriced: u64::from(nanos.is_none()),
        ..Sums::default()
    }
}

/// The model that a step is about: its agent's, or the one that its worker must reach.
fn main_model(spec: &StepSpec) -> String {
    let Some(agent) = &spec.agent else {
        let named = spec.model.as_deref();
        return named.map_or_else(|| NO_MODEL.to_owned(), |model| whole_name(model, None));
    };
    // The CLI's own choice has no name here.
    let model = agent.model.as_deref().unwrap_or("default");
    whole_name(model, agent.cli.provider())
}

/// A model as `PROVIDER/MODEL`.
fn whole_name(model: &str, otherwise: Option<&str>) -> String {
    if model.contains('/') {
        return model.to_owned();
    }
    let listed = prices::of(model).map(|price| price.provider);
    let provider = listed.or(otherwise).unwrap_or("unknown");
    format!("{provider}/{model}")
}

#[cfg(test)]
mod tests;
