//! What a model answers, turn by turn.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Scripts by the name of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scripts {
    /// For every model that has no script of its own.
    #[serde(default)]
    pub default: Script,
    #[serde(default)]
    pub models: BTreeMap<String, Script>,
}

/// The turns of every conversation with a model. The last one repeats for ever.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Script(pub Vec<Turn>);

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    pub answer: Answer,
    #[serde(default)]
    pub usage: Usage,
    /// How long it takes.
    #[serde(default)]
    pub delay_ms: u64,
}

/// What an answer holds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// A text, which ends the agent's work.
    Say(String),
    /// A call of the agent's shell tool, with this command.
    Shell(String),
    /// An error.
    Fail(Fault),
}

/// An error of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// 429.
    RateLimit,
    /// The key is refused.
    Auth,
    /// The conversation is longer than the model's context.
    Context,
    /// The connection breaks within the answer.
    Drop,
    /// The provider fails: 500.
    Server,
}

/// Tokens of one answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// All that were sent, with those that the cache had.
    pub input: u64,
    /// Those of `input` that the cache had.
    #[serde(default)]
    pub cached: u64,
    pub output: u64,
}

impl Scripts {
    /// The same turns for every model.
    #[must_use]
    pub fn all(turns: impl Into<Vec<Turn>>) -> Self {
        Self {
            default: Script(turns.into()),
            models: BTreeMap::new(),
        }
    }

    /// And these for one model.
    #[must_use]
    pub fn and(mut self, model: &str, turns: impl Into<Vec<Turn>>) -> Self {
        self.models.insert(model.to_owned(), Script(turns.into()));
        self
    }

    pub(crate) fn of(&self, model: &str) -> &Script {
        self.models.get(model).unwrap_or(&self.default)
    }
}

impl Script {
    pub(crate) fn turn(&self, number: usize) -> Turn {
        let turn = self.0.get(number).or(self.0.last());
        turn.cloned().unwrap_or_else(|| Turn::say("Done."))
    }
}

impl Turn {
    #[must_use]
    pub fn say(text: &str) -> Self {
        Answer::Say(text.to_owned()).into()
    }

    #[must_use]
    pub fn shell(command: &str) -> Self {
        Answer::Shell(command.to_owned()).into()
    }

    #[must_use]
    pub fn fail(fault: Fault) -> Self {
        Answer::Fail(fault).into()
    }

    #[must_use]
    pub const fn costs(mut self, input: u64, cached: u64, output: u64) -> Self {
        self.usage = Usage {
            input,
            cached,
            output,
        };
        self
    }
}

impl From<Answer> for Turn {
    fn from(answer: Answer) -> Self {
        Self {
            answer,
            usage: Usage::default(),
            delay_ms: 0,
        }
    }
}
