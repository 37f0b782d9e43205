//! What an agent has said so far, and whether it may go on.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use sealfleet_domain::agent::{Agent, AgentReport, Usd};
use sealfleet_domain::prices;
use serde_json::Value;

use crate::adapters::{Adapter, adapter};
use crate::fault::Fault;
use crate::lines::Lines;
use crate::tokens::Tally;

/// Bytes of the final message to keep. As JSON it has at most six times as many, which is less than
/// a step's result may have.
pub const MESSAGE_BYTES: usize = 32 * 1024;
/// Answers whose tokens are kept apart. What comes after them is not counted.
const ANSWERS: usize = 64 * 1024;

/// What an agent prints, read while it runs.
pub struct Stream {
    adapter: &'static Adapter,
    price: Option<&'static prices::Price>,
    max_turns: Option<u32>,
    budget: Option<Usd>,
    lines: Lines,
    said: Said,
}

/// The limit that an agent has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    Turns,
    Budget,
}

/// What an agent has said by its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Its final message, unescaped: data, never a terminal's.
    pub message: Option<String>,
    /// Whether the message is longer than what is kept of it.
    pub cut: bool,
    pub report: AgentReport,
    pub fault: Option<Fault>,
}

/// What the readers of events gather.
#[derive(Debug, Default)]
pub(crate) struct Said {
    message: String,
    cut: bool,
    session_id: Option<String>,
    pub fault: Option<Fault>,
    /// Tokens of all answers, as the CLI sums them up at its end.
    pub total: Option<Tally>,
    /// The cost, as the CLI tells it.
    pub cost: Option<Usd>,
    /// Answers by the hash of their id.
    answers: BTreeMap<u64, Tally>,
    /// Logs that sum up by themselves: how many answers, and their sum.
    sums: BTreeMap<usize, (u32, Tally)>,
}

impl Stream {
    /// Reads for `agent`.
    #[must_use]
    pub fn new(agent: &Agent) -> Self {
        Self {
            adapter: adapter(agent.cli),
            price: agent.model.as_deref().and_then(prices::of),
            max_turns: agent.max_turns,
            budget: agent.budget_usd,
            lines: Lines::default(),
            said: Said::default(),
        }
    }

    /// Takes what the agent has printed to its standard output.
    pub fn output(&mut self, bytes: &[u8]) {
        let Some(event) = self.adapter.event else {
            self.said.end_of_text(bytes);
            return;
        };
        let said = &mut self.said;
        self.lines
            .feed(bytes, |line| read(line, |value| event(said, value)));
    }

    /// Takes a whole line of the session's log with this number.
    pub fn logged(&mut self, log: usize, line: &[u8]) {
        let said = &mut self.said;
        read(line, |value| (self.adapter.logged)(said, log, value));
    }

    /// The limit that it has passed, if any.
    #[must_use]
    pub fn over(&self) -> Option<Over> {
        let turns = self.said.turns().unwrap_or_default();
        if self.max_turns.is_some_and(|most| turns > most) {
            return Some(Over::Turns);
        }
        let cost = self.cost().unwrap_or_default();
        self.budget
            .is_some_and(|most| cost > most)
            .then_some(Over::Budget)
    }

    /// The greater of what the CLI says and what the list prices say: a CLI that does not know its
    /// model says less.
    fn cost(&self) -> Option<Usd> {
        let tally = self.said.tally();
        let listed = self.price.zip(tally);
        let listed = listed.map(|(price, tally)| price.cost(&tally.usage, tally.written));
        self.said.cost.into_iter().chain(listed).max()
    }

    /// All that it has said.
    #[must_use]
    pub fn end(mut self) -> Ended {
        if let Some(event) = self.adapter.event {
            let said = &mut self.said;
            self.lines
                .finish(|line| read(line, |value| event(said, value)));
        }
        let over = self.over().map(|over| match over {
            Over::Turns => Fault::Turns,
            Over::Budget => Fault::Budget,
        });
        let cost_usd = self.cost();
        let Said {
            ref message,
            cut,
            ref session_id,
            fault,
            ..
        } = self.said;
        Ended {
            message: (!message.is_empty()).then(|| message.clone()),
            cut,
            report: AgentReport {
                usage: self.said.tally().map(|tally| tally.usage),
                cost_usd,
                turns: self.said.turns(),
                session_id: session_id.clone(),
            },
            fault: over.or(fault),
        }
    }
}

fn read(line: &[u8], mut event: impl FnMut(&Value)) {
    if let Ok(value) = serde_json::from_slice::<Value>(line) {
        event(&value);
    }
}

impl Said {
    /// The newest message replaces the one before.
    pub fn message(&mut self, text: &str) {
        self.message.clear();
        self.cut = false;
        self.more(text);
    }

    /// Adds to the newest message.
    pub fn more(&mut self, text: &str) {
        for letter in text.chars() {
            if self.message.len() + letter.len_utf8() > MESSAGE_BYTES {
                self.cut = true;
                return;
            }
            self.message.push(letter);
        }
    }

    /// The end of a text is the message.
    fn end_of_text(&mut self, bytes: &[u8]) {
        self.message.push_str(&String::from_utf8_lossy(bytes));
        if self.message.len() > MESSAGE_BYTES {
            self.cut = true;
            let mut from = self.message.len() - MESSAGE_BYTES;
            while !self.message.is_char_boundary(from) {
                from += 1;
            }
            self.message.drain(..from);
        }
    }

    pub fn session(&mut self, id: Option<&Value>) {
        let id = id.and_then(Value::as_str);
        if let Some(id) = id.filter(|id| is_session_id(id)) {
            self.session_id = Some(id.to_owned());
        }
    }

    /// An answer, told once or more often.
    pub fn answer(&mut self, id: &str, tally: Tally) {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        let id = hasher.finish();
        if self.answers.len() < ANSWERS || self.answers.contains_key(&id) {
            self.answers.insert(id, tally);
        }
    }

    /// The sum of a log so far, told after each answer or more often.
    pub fn sum(&mut self, log: usize, sum: Tally) {
        let (turns, before) = self.sums.entry(log).or_default();
        if *before != sum {
            *turns = turns.saturating_add(1);
            *before = sum;
        }
    }

    /// Answers of the model, if any is known.
    fn turns(&self) -> Option<u32> {
        let told = u32::try_from(self.answers.len()).unwrap_or(u32::MAX);
        let summed = self.sums.values().map(|(turns, _)| *turns);
        let turns = summed.fold(told, u32::saturating_add);
        (turns > 0).then_some(turns)
    }

    fn tally(&self) -> Option<Tally> {
        let parts = self.sums.values().map(|(_, tally)| tally);
        let parts = self.answers.values().chain(parts);
        self.total.or_else(|| parts.copied().reduce(Tally::plus))
    }
}

/// A UUID, or `ses_` and letters and digits: the ids of these CLIs. Whatever else a CLI prints in
/// their place stays inside.
fn is_session_id(id: &str) -> bool {
    let uuid = || {
        let parts: Vec<&str> = id.split('-').collect();
        parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12])
            && parts.concat().bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let named = || {
        let rest = id.strip_prefix("ses_").unwrap_or_default();
        (1..=32).contains(&rest.len()) && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    uuid() || named()
}
