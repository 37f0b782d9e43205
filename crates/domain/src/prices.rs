//! What models and hosted sandboxes cost.
//!
//! Models: the list prices of their providers, by which budgets are kept, too. A budget needs a
//! model of this table. Prices are those of a request without discount, with the shortest cache
//! lifetime and below the provider's threshold for long prompts: a CLI that passes the threshold
//! spends more than this table says. To add a model, add its row and move the date.
//!
//! Usage is charged by [`Prices`]: this table, and what the deployment says instead. A model that
//! neither knows has no price, and its cost is not known.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::agent::{Usage, Usd};
use crate::text::Line;
use crate::usage::Ran;

/// When the rows were last compared with their sources.
pub const DATE: &str = "2026-11-29";

/// Millionths of a US dollar for a million tokens, which is the same number as US dollars for a
/// million million: `3_000_000` is $3 for a million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// Who offers it.
    pub provider: &'static str,
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

/// A provider, and where its prices stand.
type Provider = (&'static str, &'static str);

const ANTHROPIC: Provider = (
    "anthropic",
    "https://platform.claude.com/docs/en/about-claude/pricing",
);
const OPENAI: Provider = ("openai", "https://platform.openai.com/docs/pricing");

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

const fn row((provider, source): Provider, model: &'static str, price: [u64; 4]) -> Price {
    let [input, cached, cache_write, output] = price;
    Price {
        provider,
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
    /// What a million tokens cost: sent, from the cache, into the cache, and written.
    #[must_use]
    pub const fn of_tokens(&self) -> [Usd; 4] {
        [
            Usd::millionths(self.input),
            Usd::millionths(self.cached),
            Usd::millionths(self.cache_write),
            Usd::millionths(self.output),
        ]
    }

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

/// The milliseconds that a hosted sandbox is charged for at least.
const LEAST_MS: u64 = 60_000;

/// What an hour of a virtual CPU and of a gigabyte cost: on AWS Fargate, Linux/x86, in us-east-1.
const VCPU_HOUR: Usd = Usd::millionths(40_480);
const GB_HOUR: Usd = Usd::millionths(4_445);
const SANDBOX_SOURCE: &str = "https://www.vantage.sh/blog/fargate-pricing";
const SANDBOX_DATE: &str = "2026-11-28";

/// The prices that usage is charged by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prices(OwnPrices);

/// Prices of a deployment, which go before the list prices. In US dollars.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnPrices {
    #[serde(default)]
    sandboxes: Option<OwnSandboxPrice>,
    /// By `PROVIDER/MODEL`, or the model alone.
    #[serde(default)]
    models: BTreeMap<String, OwnModelPrice>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnSandboxPrice {
    vcpu_hour: Usd,
    gb_hour: Usd,
    source: Line,
    date: Line,
}

/// Of a million tokens.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnModelPrice {
    input: Usd,
    cached: Usd,
    /// As `input` if absent.
    #[serde(default)]
    cache_write: Option<Usd>,
    output: Usd,
    source: Line,
    date: Line,
}

/// One price, as people read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct PriceTag {
    /// US dollars, by what they are for: of a million tokens, or of an hour of a virtual CPU and of
    /// a gigabyte.
    #[cfg_attr(feature = "openapi", schemars(with = "BTreeMap<String, f64>"))]
    pub usd: BTreeMap<String, Usd>,
    /// Where the price stands.
    pub source: String,
    /// When it was read there.
    pub date: String,
}

impl Prices {
    /// The list prices, and before them what a deployment says: JSON, or nothing.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn with(text: &str) -> Result<Self, serde_json::Error> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_str(text).map(Self)
    }

    /// Billionths of a US dollar for a hosted sandbox, which is charged for a minute at least.
    #[must_use]
    pub fn sandbox(&self, ran: &Ran) -> u64 {
        let own = self.0.sandboxes.as_ref();
        let (vcpu_hour, gb_hour) =
            own.map_or((VCPU_HOUR, GB_HOUR), |own| (own.vcpu_hour, own.gb_hour));
        let ms = u128::from(ran.ms().max(LEAST_MS));
        let part = |size: u32, hour: Usd| ms * u128::from(size) * u128::from(hour.as_millionths());
        let parts = part(ran.size.cpu, vcpu_hour) + part(ran.size.memory_mib, gb_hour);
        // Milliseconds, 1,024ths and millionths an hour: to billionths.
        u64::try_from((parts * 1000).div_ceil(1024 * 3_600_000)).unwrap_or(u64::MAX)
    }

    /// Billionths of a US dollar for tokens of `PROVIDER/MODEL`, with `written` of the sent ones
    /// put into the cache. `None`: nobody knows its price.
    #[must_use]
    pub fn model(&self, model: &str, usage: &Usage, written: u64) -> Option<u64> {
        let own = self.own(model).map(OwnModelPrice::of_tokens);
        let [input, cached, cache_write, output] = own.or_else(|| Some(of(model)?.of_tokens()))?;
        let from_cache = usage.cached_input_tokens;
        let not_cached = usage.input_tokens.saturating_sub(from_cache);
        let written = written.min(not_cached);
        let parts = [
            (not_cached - written, input),
            (from_cache, cached),
            (written, cache_write),
            (usage.output_tokens, output),
        ];
        let part =
            |(tokens, price): &(u64, Usd)| u128::from(*tokens) * u128::from(price.as_millionths());
        let total: u128 = parts.iter().map(part).sum();
        // Millionths for a million tokens: to billionths.
        Some(u64::try_from(total.div_ceil(1000)).unwrap_or(u64::MAX))
    }

    fn own(&self, model: &str) -> Option<&OwnModelPrice> {
        let models = &self.0.models;
        let name = model.rsplit('/').next().unwrap_or(model);
        models.get(model).or_else(|| models.get(name))
    }

    /// The prices of models, for who asks how a cost came about: by their names.
    #[must_use]
    pub fn tags_of_models(&self) -> BTreeMap<String, PriceTag> {
        let tag = |prices: [Usd; 4], source: &str, date: &str| {
            let [input, cached, cache_write, output] = prices;
            let usd = [
                ("input", input),
                ("cached", cached),
                ("cache_write", cache_write),
                ("output", output),
            ];
            PriceTag::of(usd, source, date)
        };
        let listed = MODELS.iter().map(|listed| {
            let name = format!("{}/{}", listed.provider, listed.model);
            (name, tag(listed.of_tokens(), listed.source, DATE))
        });
        let listed = listed.filter(|(name, _)| self.own(name).is_none());
        let own = self.0.models.iter().map(|(name, own)| {
            let tag = tag(own.of_tokens(), &own.source, &own.date);
            (name.clone(), tag)
        });
        listed.chain(own).collect()
    }

    /// The price of hosted sandboxes.
    #[must_use]
    pub fn tag_of_sandboxes(&self) -> PriceTag {
        let usd = |vcpu_hour, gb_hour| [("vcpu_hour", vcpu_hour), ("gb_hour", gb_hour)];
        match &self.0.sandboxes {
            Some(own) => PriceTag::of(usd(own.vcpu_hour, own.gb_hour), &own.source, &own.date),
            None => PriceTag::of(usd(VCPU_HOUR, GB_HOUR), SANDBOX_SOURCE, SANDBOX_DATE),
        }
    }
}

impl OwnModelPrice {
    fn of_tokens(&self) -> [Usd; 4] {
        let cache_write = self.cache_write.unwrap_or(self.input);
        [self.input, self.cached, cache_write, self.output]
    }
}

impl PriceTag {
    fn of<const N: usize>(usd: [(&str, Usd); N], source: &str, date: &str) -> Self {
        Self {
            usd: usd.map(|(what, price)| (what.to_owned(), price)).into(),
            source: source.to_owned(),
            date: date.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::Size;

    const USAGE: Usage = Usage {
        input_tokens: 1_000_000,
        cached_input_tokens: 400_000,
        output_tokens: 100_000,
    };

    #[test]
    fn a_deployments_own_price_goes_before_the_list_price() {
        let listed = Prices::default();
        // 0.6 M plain, 0.4 M cached, 0.1 M of output.
        let nanos = 1_800_000_000 + 120_000_000 + 1_500_000_000;
        assert_eq!(
            listed.model("anthropic/claude-sonnet-4-5", &USAGE, 0),
            Some(nanos)
        );
        // 0.2 M of them put into the cache.
        let written = listed.model("anthropic/claude-sonnet-4-5", &USAGE, 200_000);
        assert_eq!(written, Some(nanos - 600_000_000 + 750_000_000));
        let own = r#"{ "models": {
            "acme/claude-sonnet-4-5": { "input": 1, "cached": 0, "output": 2, "source": "contract", "date": "2026-11-01" },
            "house-model": { "input": 0.001, "cached": 0, "output": 0, "source": "ours", "date": "2026-11-01" }
        } }"#;
        let own = Prices::with(own).expect("prices");
        assert_eq!(
            own.model("acme/claude-sonnet-4-5", &USAGE, 0),
            Some(800_000_000)
        );
        assert_eq!(
            own.model("anthropic/claude-sonnet-4-5", &USAGE, 0),
            Some(nanos)
        );
        assert_eq!(own.model("x/house-model", &USAGE, 0), Some(600_000));
        let tags = own.tags_of_models();
        let of = |name: &str| (tags[name].source.as_str(), tags[name].date.as_str());
        assert_eq!(of("acme/claude-sonnet-4-5"), ("contract", "2026-11-01"));
        assert_eq!(of("anthropic/claude-sonnet-4-5").1, DATE);
        assert_eq!(tags.len(), MODELS.len() + 2);
    }

    #[test]
    fn a_model_that_nobody_knows_has_no_price() {
        let prices = Prices::default();
        assert_eq!(prices.model("acme/unheard-of", &USAGE, 0), None);
    }

    #[test]
    fn a_hosted_sandbox_is_charged_for_a_minute_at_least() {
        let at = crate::Timestamp::from_millis(0);
        let ran = |seconds| Ran {
            size: Size {
                cpu: 1024,
                memory_mib: 2048,
            },
            started_at: at,
            stopped_at: at.plus_seconds(seconds),
        };
        let prices = Prices::default();
        // $0.04048 and twice $0.004445 an hour.
        assert_eq!(prices.sandbox(&ran(3600)), 49_370_000);
        assert_eq!(prices.sandbox(&ran(5)), prices.sandbox(&ran(60)));
        assert!(prices.sandbox(&ran(61)) > prices.sandbox(&ran(60)));
    }

    #[test]
    fn what_is_no_price_is_refused() {
        for text in [
            "no JSON",
            r#"{ "model": {} }"#,
            r#"{ "models": { "a": { "input": 1 } } }"#,
            r#"{ "models": { "a": { "input": -1, "cached": 0, "output": 0, "source": "", "date": "" } } }"#,
        ] {
            assert!(Prices::with(text).is_err(), "{text}");
        }
        assert_eq!(Prices::with(" ").ok(), Some(Prices::default()));
    }
}
