//! Tokens, as the APIs of models count them in their answers.

use sealfleet_domain::agent::Usage;
use serde_json::Value;

/// Tokens of one answer, or of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub usage: Usage,
    /// Of the sent ones, those that the provider put into its cache.
    pub written: u64,
}

impl Tally {
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        let (one, two) = (self.usage, other.usage);
        Self {
            usage: Usage {
                input_tokens: one.input_tokens.saturating_add(two.input_tokens),
                cached_input_tokens: one
                    .cached_input_tokens
                    .saturating_add(two.cached_input_tokens),
                output_tokens: one.output_tokens.saturating_add(two.output_tokens),
            },
            written: self.written.saturating_add(other.written),
        }
    }
}

/// The number at a JSON pointer, or zero.
pub(crate) fn number(value: &Value, path: &str) -> u64 {
    value
        .pointer(path)
        .and_then(Value::as_u64)
        .unwrap_or_default()
}

/// `usage` of Anthropic's Messages. It counts apart what the cache had and what was put into it.
/// <https://platform.claude.com/docs/en/api/messages>
#[must_use]
pub fn of_messages(usage: &Value) -> Tally {
    let cached = number(usage, "/cache_read_input_tokens");
    let written = number(usage, "/cache_creation_input_tokens");
    let sent = number(usage, "/input_tokens");
    Tally {
        usage: Usage {
            input_tokens: sent.saturating_add(cached).saturating_add(written),
            cached_input_tokens: cached,
            output_tokens: number(usage, "/output_tokens"),
        },
        written,
    }
}

/// `usage` of OpenAI's Responses.
/// <https://platform.openai.com/docs/api-reference/responses/object>
#[must_use]
pub fn of_responses(usage: &Value) -> Tally {
    Tally {
        usage: Usage {
            input_tokens: number(usage, "/input_tokens"),
            cached_input_tokens: number(usage, "/input_tokens_details/cached_tokens"),
            output_tokens: number(usage, "/output_tokens"),
        },
        written: 0,
    }
}

/// `usage` of OpenAI's Chat Completions, which many gateways speak.
/// <https://platform.openai.com/docs/api-reference/chat/object>
#[must_use]
pub fn of_chat_completions(usage: &Value) -> Tally {
    Tally {
        usage: Usage {
            input_tokens: number(usage, "/prompt_tokens"),
            cached_input_tokens: number(usage, "/prompt_tokens_details/cached_tokens"),
            output_tokens: number(usage, "/completion_tokens"),
        },
        written: 0,
    }
}
