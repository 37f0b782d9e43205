//! The Messages API of Anthropic.

use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use crate::{Answer, Asked, Fault, Turn, arguments, dropped, events, problem};

pub(crate) fn turns(body: &Value) -> usize {
    let messages = body.get("messages").and_then(Value::as_array);
    let calls = |message: &Value| {
        let parts = message.get("content").and_then(Value::as_array);
        let calls = parts.into_iter().flatten();
        calls
            .filter(|part| part.get("type") == Some(&json!("tool_use")))
            .count()
    };
    messages.into_iter().flatten().map(calls).sum()
}

pub(crate) fn tools(body: &Value) -> Vec<String> {
    let tools = body.get("tools").and_then(Value::as_array);
    let name = |tool: &Value| tool.get("name")?.as_str().map(str::to_owned);
    tools.into_iter().flatten().filter_map(name).collect()
}

pub(crate) fn answer(asked: &Asked, turn: &Turn) -> Response {
    let (content, stop) = match &turn.answer {
        Answer::Fail(fault) => return fail(*fault),
        Answer::Shell(command) if let Some(shell) = &asked.shell => {
            let id = format!("toolu_{:04}", asked.turn);
            let input = arguments(shell, command);
            (
                json!({ "type": "tool_use", "id": id, "name": shell, "input": input }),
                "tool_use",
            )
        }
        Answer::Shell(_) => (
            json!({ "type": "text", "text": "no shell is offered" }),
            "end_turn",
        ),
        Answer::Say(text) => (json!({ "type": "text", "text": text }), "end_turn"),
    };
    let usage = json!({
        "input_tokens": turn.usage.input.saturating_sub(turn.usage.cached),
        "cache_read_input_tokens": turn.usage.cached,
        "cache_creation_input_tokens": 0,
        "output_tokens": turn.usage.output,
    });
    let message = |content: Value, stop: Value| {
        json!({
            "id": format!("msg_{:04}", asked.turn), "type": "message", "role": "assistant",
            "model": asked.model, "content": content, "stop_reason": stop, "stop_sequence": null,
            "usage": usage,
        })
    };
    if !asked.stream {
        return axum::Json(message(json!([content]), json!(stop))).into_response();
    }
    let (empty, delta) = if stop == "tool_use" {
        let mut empty = content.clone();
        if let Some(input) = empty.get_mut("input") {
            *input = json!({});
        }
        let input = content.get("input").map(Value::to_string);
        (
            empty,
            json!({ "type": "input_json_delta", "partial_json": input }),
        )
    } else {
        let text = content.get("text");
        (
            json!({ "type": "text", "text": "" }),
            json!({ "type": "text_delta", "text": text }),
        )
    };
    events(
        &[
            json!({ "type": "message_start", "message": message(json!([]), Value::Null) }),
            json!({ "type": "content_block_start", "index": 0, "content_block": empty }),
            json!({ "type": "content_block_delta", "index": 0, "delta": delta }),
            json!({ "type": "content_block_stop", "index": 0 }),
            json!({
                "type": "message_delta", "delta": { "stop_reason": stop, "stop_sequence": null },
                "usage": { "output_tokens": turn.usage.output },
            }),
            json!({ "type": "message_stop" }),
        ]
        .each_ref()
        .map(|event| (event.get("type").and_then(Value::as_str), event.clone())),
    )
}

fn fail(fault: Fault) -> Response {
    let (status, kind, message) = match fault {
        Fault::Drop => return dropped(),
        Fault::RateLimit => (
            429,
            "rate_limit_error",
            "This request would exceed your rate limit.",
        ),
        Fault::Auth => (401, "authentication_error", "invalid x-api-key"),
        Fault::Context => (
            400,
            "invalid_request_error",
            "prompt is too long: 250000 tokens > 200000 maximum",
        ),
        Fault::Server => (500, "api_error", "Internal server error"),
    };
    problem(
        status,
        json!({ "type": "error", "error": { "type": kind, "message": message } }),
    )
}
