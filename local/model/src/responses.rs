//! The Responses API of OpenAI.

use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use crate::{Answer, Asked, Fault, Turn, arguments, dropped, events, problem};

pub(crate) fn turns(body: &Value) -> usize {
    let items = body.get("input").and_then(Value::as_array);
    let call = |item: &&Value| item.get("type") == Some(&json!("function_call"));
    items.into_iter().flatten().filter(call).count()
}

pub(crate) fn tools(body: &Value) -> Vec<String> {
    let tools = body.get("tools").and_then(Value::as_array);
    let name = |tool: &Value| tool.get("name")?.as_str().map(str::to_owned);
    tools.into_iter().flatten().filter_map(name).collect()
}

pub(crate) fn answer(asked: &Asked, turn: &Turn) -> Response {
    let id = format!("resp_{:04}", asked.turn);
    let say = |text: &str| {
        json!({
            "type": "message", "id": format!("msg_{:04}", asked.turn), "role": "assistant",
            "status": "completed",
            "content": [{ "type": "output_text", "text": text, "annotations": [] }],
        })
    };
    let item = match &turn.answer {
        Answer::Fail(fault) => return fail(*fault, asked, &id),
        Answer::Shell(command) => asked.shell.as_deref().map_or_else(
            || say("no shell is offered"),
            |shell| {
                json!({
                    "type": "function_call", "id": format!("fc_{:04}", asked.turn),
                    "call_id": format!("call_{:04}", asked.turn), "name": shell,
                    "arguments": arguments(shell, command).to_string(), "status": "completed",
                })
            },
        ),
        Answer::Say(text) => say(text),
    };
    let response = json!({
        "id": id, "object": "response", "model": asked.model, "status": "completed",
        "output": [item],
        "usage": {
            "input_tokens": turn.usage.input,
            "input_tokens_details": { "cached_tokens": turn.usage.cached },
            "output_tokens": turn.usage.output,
            "output_tokens_details": { "reasoning_tokens": 0 },
            "total_tokens": turn.usage.input + turn.usage.output,
        },
    });
    if !asked.stream {
        return axum::Json(response).into_response();
    }
    stream(&[
        json!({ "type": "response.created", "response": { "id": id, "status": "in_progress" } }),
        json!({ "type": "response.output_item.done", "output_index": 0, "item": item }),
        json!({ "type": "response.completed", "response": response }),
    ])
}

fn stream(list: &[Value]) -> Response {
    let named = |event: &Value| event.get("type").and_then(Value::as_str).map(str::to_owned);
    let names: Vec<Option<String>> = list.iter().map(named).collect();
    let list: Vec<(Option<&str>, Value)> = names
        .iter()
        .zip(list)
        .map(|(name, event)| (name.as_deref(), event.clone()))
        .collect();
    events(&list)
}

fn fail(fault: Fault, asked: &Asked, id: &str) -> Response {
    let (status, kind, code, message) = match fault {
        Fault::Drop => return dropped(),
        Fault::RateLimit => (
            429,
            "requests",
            "rate_limit_exceeded",
            "Rate limit reached for requests. Try again in 20s.",
        ),
        Fault::Auth => (
            401,
            "invalid_request_error",
            "invalid_api_key",
            "Incorrect API key provided.",
        ),
        Fault::Context => (
            400,
            "invalid_request_error",
            "context_length_exceeded",
            "Your input exceeds the context window of this model. Please adjust your input and try again.",
        ),
        Fault::Server => (
            500,
            "server_error",
            "server_error",
            "The server had an error.",
        ),
    };
    // A stream has begun when the API finds out how long the context is.
    if fault == Fault::Context && asked.stream {
        let error = json!({ "code": code, "message": message });
        return stream(&[
            json!({ "type": "response.created", "response": { "id": id, "status": "in_progress" } }),
            json!({
                "type": "response.failed",
                "response": { "id": id, "status": "failed", "error": error },
            }),
        ]);
    }
    let error = json!({ "message": message, "type": kind, "param": null, "code": code });
    problem(status, json!({ "error": error }))
}
