//! What each CLI prints, event by event. Recorded streams of the real ones stand in
//! `tests/recorded`.

use sealfleet_domain::agent::{Usage, Usd};
use serde_json::Value;

use crate::fault::Fault;
use crate::said::Said;
use crate::tokens::{Tally, number, of_messages};

fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    value
        .pointer(path)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn usd(value: &Value, path: &str) -> Option<Usd> {
    Usd::dollars(value.pointer(path)?.as_f64()?).filter(|cost| *cost > Usd::default())
}

/// `codex exec --json`. Its sums are those of the session's log, told once at the end.
pub(crate) fn codex(said: &mut Said, event: &Value) {
    match text(event, "/type") {
        "thread.started" => said.session(event.get("thread_id")),
        "item.completed" if text(event, "/item/type") == "agent_message" => {
            said.message(text(event, "/item/text"));
        }
        "turn.completed" => {
            said.total = event.get("usage").map(codex_tally);
            said.fault = None;
        }
        // `error` events before it are tries that are repeated.
        "turn.failed" => said.fault = Some(Fault::of(None, text(event, "/error/message"))),
        _ => {}
    }
}

/// `~/.codex/sessions/YYYY/MM/DD/rollout-*.jsonl`.
pub(crate) fn codex_log(said: &mut Said, log: usize, event: &Value) {
    if text(event, "/payload/type") == "token_count"
        && let Some(sum) = event.pointer("/payload/info/total_token_usage")
    {
        said.sum(log, codex_tally(sum));
    }
}

fn codex_tally(usage: &Value) -> Tally {
    Tally {
        usage: Usage {
            input_tokens: number(usage, "/input_tokens"),
            cached_input_tokens: number(usage, "/cached_input_tokens"),
            output_tokens: number(usage, "/output_tokens"),
        },
        written: number(usage, "/cache_write_input_tokens"),
    }
}

/// `claude -p --output-format stream-json --verbose`.
pub(crate) fn claude_code(said: &mut Said, event: &Value) {
    match text(event, "/type") {
        "system" if text(event, "/subtype") == "init" => said.session(event.get("session_id")),
        // The CLI's own words have the model `<synthetic>`.
        "assistant" if !text(event, "/message/model").starts_with('<') => {
            let usage = event.pointer("/message/usage").map(of_messages);
            said.answer(text(event, "/message/id"), usage.unwrap_or_default());
            let parts = event.pointer("/message/content").and_then(Value::as_array);
            let written = |part: &&Value| text(part, "/type") == "text";
            if let Some(part) = parts.into_iter().flatten().rfind(written) {
                said.message(text(part, "/text"));
            }
        }
        "result" => claude_result(said, event),
        _ => {}
    }
}

fn claude_result(said: &mut Said, event: &Value) {
    said.total = event.get("usage").map(of_messages);
    said.cost = usd(event, "/total_cost_usd");
    let failed = event.get("is_error") == Some(&Value::Bool(true));
    let words = text(event, "/result");
    said.fault = match text(event, "/subtype") {
        "error_max_turns" => Some(Fault::Turns),
        "error_max_budget_usd" => Some(Fault::Budget),
        "success" if !failed => {
            said.message(words);
            None
        }
        _ if text(event, "/api_error") == "connection_failed" => Some(Fault::Network),
        _ => {
            let status = event.get("api_error_status").and_then(Value::as_u64);
            Some(Fault::of(status, words))
        }
    };
}

/// `gemini --output-format stream-json`.
pub(crate) fn gemini(said: &mut Said, event: &Value) {
    match text(event, "/type") {
        "init" => said.session(event.get("session_id")),
        // What it writes after a tool's end is a new message.
        "tool_use" => said.message(""),
        "message" if text(event, "/role") == "assistant" => said.more(text(event, "/content")),
        "result" => {
            said.total = event.get("stats").map(|stats| Tally {
                usage: Usage {
                    input_tokens: number(stats, "/input_tokens"),
                    cached_input_tokens: number(stats, "/cached"),
                    output_tokens: number(stats, "/output_tokens"),
                },
                written: 0,
            });
            said.fault = match (text(event, "/status"), text(event, "/error/type")) {
                ("success", _) => None,
                (_, "FatalTurnLimitedError") => Some(Fault::Turns),
                _ => Some(Fault::of(None, text(event, "/error/message"))),
            };
        }
        _ => {}
    }
}

/// `~/.gemini/tmp/PROJECT/chats/session-*.jsonl`: each answer, more than once.
pub(crate) fn gemini_log(said: &mut Said, _: usize, event: &Value) {
    if text(event, "/type") != "gemini" {
        return;
    }
    let Some(tokens) = event.get("tokens") else {
        return;
    };
    let written = number(tokens, "/output").saturating_add(number(tokens, "/thoughts"));
    let tally = Tally {
        usage: Usage {
            input_tokens: number(tokens, "/input"),
            cached_input_tokens: number(tokens, "/cached"),
            output_tokens: written,
        },
        written: 0,
    };
    said.answer(text(event, "/id"), tally);
}

/// `opencode run --format json`.
pub(crate) fn opencode(said: &mut Said, event: &Value) {
    said.session(event.get("sessionID"));
    match text(event, "/type") {
        // `synthetic` text is its own, to the model.
        "text" if event.pointer("/part/synthetic") != Some(&Value::Bool(true)) => {
            said.message(text(event, "/part/text"));
        }
        "step_finish" => {
            let (read, written) = (
                number(event, "/part/tokens/cache/read"),
                number(event, "/part/tokens/cache/write"),
            );
            let sent = number(event, "/part/tokens/input");
            let output = number(event, "/part/tokens/output");
            let tally = Tally {
                usage: Usage {
                    input_tokens: sent.saturating_add(read).saturating_add(written),
                    cached_input_tokens: read,
                    output_tokens: output.saturating_add(number(event, "/part/tokens/reasoning")),
                },
                written,
            };
            said.answer(text(event, "/part/id"), tally);
            if let Some(cost) = usd(event, "/part/cost") {
                said.cost = Some(said.cost.unwrap_or_default() + cost);
            }
            // It went on after the error.
            said.fault = None;
        }
        "error" => {
            let status = event
                .pointer("/error/data/statusCode")
                .and_then(Value::as_u64);
            let words = text(event, "/error/data/message");
            said.fault = Some(if text(event, "/error/name") == "ContextOverflowError" {
                Fault::Context
            } else {
                Fault::of(status, words)
            });
        }
        _ => {}
    }
}
