//! CLI agents: what a step of mode `full` asks of one, and what comes back.
//!
//! How each CLI is called and read is the sandbox's business (`sealfleet-agent`). Here stand only
//! the names, the limits, and what an agent may spend.

use serde::{Deserialize, Serialize};

use crate::names::ToolName;
use crate::{limits, prices};

/// A CLI that Sealfleet can call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Cli {
    Codex,
    ClaudeCode,
    Gemini,
    Opencode,
    /// A program that reads the prompt from its standard input; `args` names it.
    Custom,
}

/// All CLIs.
pub const CLIS: [Cli; 5] = [
    Cli::Codex,
    Cli::ClaudeCode,
    Cli::Gemini,
    Cli::Opencode,
    Cli::Custom,
];

impl Cli {
    /// Its name, as documents write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Codex => "codex",
            Self::ClaudeCode => "claude-code",
            Self::Gemini => "gemini",
            Self::Opencode => "opencode",
            Self::Custom => "custom",
        }
    }

    /// Whose models it calls, unless its model's name says otherwise.
    #[must_use]
    pub const fn provider(self) -> Option<&'static str> {
        match self {
            Self::Codex => Some("openai"),
            Self::ClaudeCode => Some("anthropic"),
            Self::Gemini => Some("google"),
            Self::Opencode | Self::Custom => None,
        }
    }

    /// The tool that a step is if it names none: access lists are per CLI.
    #[must_use]
    pub fn tool(self) -> Option<ToolName> {
        self.name().parse().ok()
    }

    /// Whether its model calls can be counted while it runs.
    #[must_use]
    pub const fn counts_turns(self) -> bool {
        !matches!(self, Self::Custom)
    }
}

impl std::fmt::Display for Cli {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// An agent to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Agent {
    pub cli: Cli,
    /// What it is to do. Either this or `prompt_file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(schema_with = "crate::schema::prompt"))]
    pub prompt: Option<String>,
    /// The file that says what it is to do: a path below `/workspace`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schemars(schema_with = "crate::schema::workspace_path")
    )]
    pub prompt_file: Option<String>,
    /// The model that it is to use, as the CLI names it: the CLI's own choice if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(schema_with = "crate::schema::model"))]
    pub model: Option<String>,
    /// The most answers of the model. An agent that needs more is stopped, and its step fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schemars(schema_with = "crate::schema::max_turns")
    )]
    pub max_turns: Option<u32>,
    /// The most US dollars. An agent that spends more is stopped, and its step fails. Needs a
    /// `model` whose prices are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(schema_with = "crate::schema::budget"))]
    pub budget_usd: Option<Usd>,
    /// Further arguments of the CLI; for `custom`, the program and its arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        feature = "openapi",
        schemars(schema_with = "crate::schema::arguments")
    )]
    pub args: Vec<String>,
}

impl Agent {
    /// Whether it can be run and its limits can be kept.
    ///
    /// # Errors
    /// The field that is wrong, from `agent` on, and what to do.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        match (&self.prompt, &self.prompt_file) {
            (Some(prompt), None) => check_prompt(prompt)?,
            (None, Some(path)) => check_path(path).map_err(|text| ("prompt_file", text))?,
            _ => {
                let text = "say what the agent is to do: either `prompt` or `prompt_file`";
                return Err(("prompt", text.to_owned()));
            }
        }
        let model = self.model.as_deref();
        let fits = |model: &str| (1..=limits::MODEL_BYTES).contains(&model.len());
        if !model.is_none_or(|model| fits(model) && !model.starts_with('-')) {
            let most = limits::MODEL_BYTES;
            let text = format!("a model's name has 1 to {most} bytes and does not begin with `-`");
            return Err(("model", text));
        }
        self.check_args()?;
        if !self.cli.counts_turns() {
            let nobody = "nothing tells what a `custom` agent does; leave it out, or use one of the other CLIs";
            for (field, given) in [
                ("model", self.model.is_some()),
                ("max_turns", self.max_turns.is_some()),
                ("budget_usd", self.budget_usd.is_some()),
            ] {
                if given {
                    return Err((field, nobody.to_owned()));
                }
            }
        }
        let turns = 1..=limits::AGENT_TURNS;
        if !self.max_turns.is_none_or(|most| turns.contains(&most)) {
            let text = format!("use a number from 1 to {}", limits::AGENT_TURNS);
            return Err(("max_turns", text));
        }
        self.check_budget()
    }

    fn check_args(&self) -> Result<(), (&'static str, String)> {
        let bytes: usize = self.args.iter().map(String::len).sum();
        let nul = self.args.iter().any(|word| word.contains('\0'));
        if self.args.len() > limits::COMMAND_WORDS || bytes > limits::COMMAND_BYTES || nul {
            let text = format!(
                "{} words of {} bytes together at most",
                limits::COMMAND_WORDS,
                limits::COMMAND_BYTES
            );
            return Err(("args", text));
        }
        if self.cli == Cli::Custom && self.args.first().is_none_or(String::is_empty) {
            let text = "name the program of the `custom` agent, and its arguments";
            return Err(("args", text.to_owned()));
        }
        Ok(())
    }

    fn check_budget(&self) -> Result<(), (&'static str, String)> {
        let Some(budget) = self.budget_usd else {
            return Ok(());
        };
        if budget == Usd::default() || budget > Usd::LARGEST_BUDGET {
            let text = format!(
                "use an amount above 0 and of {} at most",
                Usd::LARGEST_BUDGET
            );
            return Err(("budget_usd", text));
        }
        let Some(model) = &self.model else {
            let text = "a budget can be kept only for a known model: name it as `model`, or use `max_turns`";
            return Err(("budget_usd", text.to_owned()));
        };
        if prices::of(model).is_none() {
            let known: Vec<String> = prices::MODELS
                .iter()
                .map(|price| format!("`{}`", price.model))
                .collect();
            let text = format!(
                "the price of this model is not known, so the budget cannot be kept; use `max_turns`, or one of {}",
                known.join(", ")
            );
            return Err(("budget_usd", text));
        }
        Ok(())
    }
}

fn check_prompt(prompt: &str) -> Result<(), (&'static str, String)> {
    let most = limits::PROMPT_BYTES;
    if prompt.is_empty() || prompt.len() > most || prompt.contains('\0') {
        let text = format!(
            "a prompt has 1 to {most} bytes and no NUL; a longer one goes into a file that `prompt_file` names"
        );
        return Err(("prompt", text));
    }
    Ok(())
}

/// A path below the sandbox's `/workspace`, which cannot lead out of it by its text.
///
/// # Errors
/// What to write.
pub fn check_path(path: &str) -> Result<(), String> {
    let inside = path.strip_prefix("/workspace/").unwrap_or(path);
    let part = |part: &str| !part.is_empty() && part != "." && part != "..";
    let fits = inside.len() <= limits::PATH_BYTES && !inside.contains(crate::text::acts);
    if fits && inside.split('/').all(part) {
        return Ok(());
    }
    Err(format!(
        "name a file below `/workspace`, such as `task.md`, without `..`, in {} bytes at most",
        limits::PATH_BYTES
    ))
}

/// An amount of US dollars, in millionths. JSON writes it as a number of dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Usd(u64);

impl Usd {
    /// The largest budget of a step.
    pub const LARGEST_BUDGET: Self = Self(10_000_000_000);

    /// An amount in millionths of a dollar.
    #[must_use]
    pub const fn millionths(amount: u64) -> Self {
        Self(amount)
    }

    /// An amount that a program wrote, rounded to millionths. None if it is negative, no number or
    /// too large.
    #[must_use]
    pub fn dollars(amount: f64) -> Option<Self> {
        let millionths = (amount * 1e6).round();
        // Every whole number up to this one has an exact `f64`.
        let most = 9_007_199_254_740_992.0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "within the range, and rounded"
        )]
        (0.0..most)
            .contains(&millionths)
            .then_some(Self(millionths as u64))
    }

    /// The amount in millionths of a dollar.
    #[must_use]
    pub const fn as_millionths(self) -> u64 {
        self.0
    }

    /// The amount in dollars.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "amounts that are shown are far below 2^53 millionths"
    )]
    pub fn as_dollars(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl std::ops::Add for Usd {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// As people write it: `$0.25`.
impl std::fmt::Display for Usd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "${}", self.as_dollars())
    }
}

impl Serialize for Usd {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.as_dollars())
    }
}

impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let dollars = f64::deserialize(deserializer)?;
        Self::dollars(dollars)
            .ok_or_else(|| serde::de::Error::custom("not an amount of US dollars, such as 0.25"))
    }
}

/// Tokens that a model was sent and has written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// All that were sent, those that the provider's cache had included.
    pub input_tokens: u64,
    /// Those of them that the provider's cache had.
    pub cached_input_tokens: u64,
    /// Those that the model wrote, its reasoning included.
    pub output_tokens: u64,
}

impl Usage {
    /// More tokens than this no step can have used.
    const MOST: u64 = 1_000_000_000_000;

    /// The same, as far as it is possible: sums of many such numbers do not overflow, and no more
    /// tokens come from a cache than were sent.
    #[must_use]
    pub fn bounded(self) -> Self {
        let input_tokens = self.input_tokens.min(Self::MOST);
        Self {
            input_tokens,
            cached_input_tokens: self.cached_input_tokens.min(input_tokens),
            output_tokens: self.output_tokens.min(Self::MOST),
        }
    }
}

/// Tokens of some answers of models, as the models' APIs said in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(rename = "ModelAnswerSums"))]
pub struct Answers {
    /// How many answers.
    pub answers: u64,
    pub usage: Usage,
    /// Of the sent tokens, those that the provider put into its cache.
    pub cache_write_tokens: u64,
}

/// Answers of one model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ModelAnswers {
    /// `anthropic`, `openai`, or the host that answered.
    #[cfg_attr(feature = "openapi", schemars(with = "crate::text::Line"))]
    pub provider: String,
    /// As the API names it.
    #[cfg_attr(feature = "openapi", schemars(with = "crate::text::Line"))]
    pub model: String,
    #[serde(flatten)]
    pub of: Answers,
}

/// What a step's egress proxy read in the answers of models: [`limits::EGRESS_MODELS`] rows at
/// most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ModelsUsed {
    /// By provider and model, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schemars(length(max = limits::EGRESS_MODELS)))]
    pub rows: Vec<ModelAnswers>,
    /// Models that have no row.
    #[serde(default, skip_serializing_if = "Answers::is_none")]
    pub others: Answers,
    /// Answers of models that say no usage, or not in a way that the proxy can read.
    #[serde(default, skip_serializing_if = "crate::run::is_zero")]
    pub unread: u64,
}

impl Answers {
    fn add(&mut self, more: &Self) {
        let add = u64::saturating_add;
        self.answers = add(self.answers, more.answers);
        self.usage.input_tokens = add(self.usage.input_tokens, more.usage.input_tokens);
        self.usage.cached_input_tokens = add(
            self.usage.cached_input_tokens,
            more.usage.cached_input_tokens,
        );
        self.usage.output_tokens = add(self.usage.output_tokens, more.usage.output_tokens);
        self.cache_write_tokens = add(self.cache_write_tokens, more.cache_write_tokens);
    }

    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl ModelsUsed {
    /// Without the names of models that are `hidden`: their answers count among the others. What
    /// has too many rows keeps the first.
    #[must_use]
    pub fn without(self, hidden: impl Fn(&ModelAnswers) -> bool) -> Self {
        let mut others = self.others;
        let mut rows = Vec::new();
        for row in self.rows {
            if hidden(&row) || rows.len() == limits::EGRESS_MODELS {
                others.add(&row.of);
            } else {
                rows.push(row);
            }
        }
        Self {
            rows,
            others,
            unread: self.unread,
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.others.is_none() && self.unread == 0
    }
}

/// What an agent said of its work. It is the CLI's word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AgentReport {
    /// Tokens of all its models together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// What that cost, as the CLI says, or else by the list prices of its model. An estimate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(schema_with = "crate::schema::cost"))]
    pub cost_usd: Option<Usd>,
    /// Answers of the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns: Option<u32>,
    /// The CLI's own id of the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(schema_with = "crate::schema::session"))]
    pub session_id: Option<String>,
}

impl AgentReport {
    /// Whether it may be stored.
    ///
    /// # Errors
    /// The field that is wrong, and what to do.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let most = limits::SESSION_BYTES;
        let fits = |id: &String| id.len() <= most && !id.contains(crate::text::acts);
        if self.session_id.as_ref().is_none_or(fits) {
            return Ok(());
        }
        let text = format!("one line of {most} printable bytes at most");
        Err(("session_id", text))
    }
}

#[cfg(test)]
mod tests;
