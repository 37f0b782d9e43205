//! `openapi`: shows the document that describes the API. Requests that no route takes arrive here
//! too, and are told so before this handler is asked.

use sealfleet_api::http::{Answer, Request};
use sealfleet_api::{Code, Problem};

/// The checked-in document; a test compares it with the code.
const DOCUMENT: &str = include_str!("../../docs/openapi.json");

/// Answers one request.
///
/// # Errors
/// The problem to answer with.
pub fn handle(request: &Request) -> Result<Answer, Problem> {
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    match (request.method.as_str(), path.as_slice()) {
        ("GET", ["v1", "openapi.json"]) => show(),
        // An operation of another function, that API Gateway did not route there.
        _ => Err(Problem::not_found()),
    }
}

fn show() -> Result<Answer, Problem> {
    let document: serde_json::Value = serde_json::from_str(DOCUMENT).map_err(|_| {
        Problem::new(
            Code::Internal,
            "the document is damaged; deploy this version again",
        )
    })?;
    Answer::json(200, &document)
}
