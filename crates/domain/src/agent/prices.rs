//! What models cost: the list prices of their providers, by which budgets are kept.
//!
//! A budget needs a model of this table. Prices are those of a request without discount, with the
//! shortest cache lifetime and below the provider's threshold for long prompts: a CLI that passes
//! the threshold spends more than this table says. To add a model, add its row and move the date.

use super::{Usage, Usd};

/// When the rows were last compared with their sources.
pub const DATE: &str = "2026-11-29";

/// Millionths of a US dollar for a million tokens, which is the same number as US dollars for a
/// million million: `3_000_000` is $3 for a million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// The model's name. A longer name that goes on with a date is the same model.
    pub model: &'static str,
    /// Tokens that are sent.
    pub input: u64,
    /// Tokens that are sent and that the cache has.
    pub cached: u64,
    /// Tokens that the cache keeps from now on.
    pub cache_write: u64,
    /// Tokens that the model writes.
    pub output: u64,
    /// Where the price stands.
    pub source: &'static str,
}

const ANTHROPIC: &str = "https://platform.claude.com/docs/en/about-claude/pricing";
const OPENAI: &str = "https://platform.openai.com/docs/pricing";

/// All prices.
pub static MODELS: [Price; 12] = [
    row(
        ANTHROPIC,
        "claude-opus-5-5",
        [4_000_000, 200_000, 5_000_000, 20_000_000],
    ),
    row(
        ANTHROPIC,
        "claude-opus-5",
        [5_000_000, 500_000, 6_250_000, 25_000_000],
    ),
    row(
        ANTHROPIC,
        "claude-opus-4-8",
        [5_000_000, 500_000, 6_250_000, 25_000_000],
    ),
    row(
        ANTHROPIC,
        "claude-opus-4-5",
        [5_000_000, 500_000, 6_250_000, 25_000_000],
    ),
    row(
        ANTHROPIC,
        "claude-sonnet-5-5",
        [2_000_000, 100_000, 2_500_000, 10_000_000],
    ),
    row(
        ANTHROPIC,
        "claude-sonnet-4-5",
        [3_000_000, 300_000, 3_750_000, 15_000_000],
    ),
    row(
        ANTHROPIC,
        "claude-haiku-4-5",
        [1_000_000, 100_000, 1_250_000, 5_000_000],
    ),
    row(
        OPENAI,
        "gpt-5.1-codex",
        [1_250_000, 125_000, 1_250_000, 10_000_000],
    ),
    row(
        OPENAI,
        "gpt-5.1-codex-max",
        [1_250_000, 125_000, 1_250_000, 10_000_000],
    ),
    row(
        OPENAI,
        "gpt-5.1-codex-mini",
        [250_000, 25_000, 250_000, 2_000_000],
    ),
    row(
        OPENAI,
        "gpt-5.2-codex",
        [1_750_000, 175_000, 1_750_000, 14_000_000],
    ),
    row(
        OPENAI,
        "gpt-5.3-codex",
        [1_750_000, 175_000, 1_750_000, 14_000_000],
    ),
];

const fn row(source: &'static str, model: &'static str, price: [u64; 4]) -> Price {
    let [input, cached, cache_write, output] = price;
    Price {
        model,
        input,
        cached,
        cache_write,
        output,
        source,
    }
}

/// The price of a model: with its provider before it (`anthropic/claude-opus-5-5`) or not, and
/// with a date behind it or not.
#[must_use]
pub fn of(model: &str) -> Option<&'static Price> {
    let name = model.rsplit('/').next().unwrap_or(model);
    let is = |price: &&Price| {
        name.strip_prefix(price.model).is_some_and(|rest| {
            let date = rest.strip_prefix('-').unwrap_or_default();
            rest.is_empty() || (date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit()))
        })
    };
    MODELS.iter().find(is)
}

impl Price {
    /// What these tokens cost, with `written` of the sent ones put into the cache. Rounded up.
    #[must_use]
    pub fn cost(&self, usage: &Usage, written: u64) -> Usd {
        let plain = usage
            .input_tokens
            .saturating_sub(usage.cached_input_tokens)
            .saturating_sub(written);
        let parts = [
            (plain, self.input),
            (usage.cached_input_tokens, self.cached),
            (written, self.cache_write),
            (usage.output_tokens, self.output),
        ];
        let total: u128 = parts
            .iter()
            .map(|(tokens, price)| u128::from(*tokens) * u128::from(*price))
            .sum();
        Usd::millionths(u64::try_from(total.div_ceil(1_000_000)).unwrap_or(u64::MAX))
    }
}
