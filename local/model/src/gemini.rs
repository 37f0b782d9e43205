//! The Gemini API of Google.

use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use crate::{Answer, Asked, Fault, Turn, arguments, dropped, events, problem};

pub(crate) fn turns(body: &Value) -> usize {
    let contents = body.get("contents").and_then(Value::as_array);
    let calls = |content: &Value| {
        let parts = content.get("parts").and_then(Value::as_array);
        let calls = parts.into_iter().flatten();
        calls
            .filter(|part| part.get("functionCall").is_some())
            .count()
    };
    contents.into_iter().flatten().map(calls).sum()
}

pub(crate) fn tools(body: &Value) -> Vec<String> {
    let tools = body.get("tools").and_then(Value::as_array);
    let functions = tools
        .into_iter()
        .flatten()
        .filter_map(|tool| tool.get("functionDeclarations")?.as_array());
    let name = |function: &Value| function.get("name")?.as_str().map(str::to_owned);
    functions.flatten().filter_map(name).collect()
}

pub(crate) fn answer(asked: &Asked, turn: &Turn) -> Response {
    let part = match (&turn.answer, &asked.shell) {
        (Answer::Fail(fault), _) => return fail(*fault),
        (Answer::Shell(command), Some(shell)) => {
            json!({ "functionCall": { "name": shell, "args": arguments(shell, command) } })
        }
        (Answer::Shell(_), None) => json!({ "text": "no shell is offered" }),
        (Answer::Say(text), _) => json!({ "text": text }),
    };
    let answer = json!({
        "candidates": [{
            "index": 0, "finishReason": "STOP", "content": { "role": "model", "parts": [part] },
        }],
        "modelVersion": asked.model,
        "usageMetadata": {
            "promptTokenCount": turn.usage.input,
            "cachedContentTokenCount": turn.usage.cached,
            "candidatesTokenCount": turn.usage.output,
            "totalTokenCount": turn.usage.input + turn.usage.output,
        },
    });
    if asked.stream {
        events(&[(None, answer)])
    } else {
        axum::Json(answer).into_response()
    }
}

fn fail(fault: Fault) -> Response {
    let (status, kind, message) = match fault {
        Fault::Drop => return dropped(),
        Fault::RateLimit => (
            429,
            "RESOURCE_EXHAUSTED",
            "You exceeded your current quota.",
        ),
        Fault::Auth => (
            400,
            "INVALID_ARGUMENT",
            "API key not valid. Please pass a valid API key.",
        ),
        Fault::Context => (
            400,
            "INVALID_ARGUMENT",
            "The input token count (2000000) exceeds the maximum number of tokens allowed (1048576).",
        ),
        Fault::Server => (500, "INTERNAL", "An internal error has occurred."),
    };
    problem(
        status,
        json!({ "error": { "code": status, "message": message, "status": kind } }),
    )
}
