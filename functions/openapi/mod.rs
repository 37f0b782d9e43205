//! `openapi`: shows the document that describes the API. Requests that no route takes arrive here too, and are told so
//! before this handler is asked.

use sealfleet_api::http::Answer;
use sealfleet_api::{Code, Problem};

/// The checked-in document; a test compares it with the code.
const DOCUMENT: &str = include_str!("../../docs/openapi.json");

/// Answers one request.
///
/// # Errors
/// None in practice: the document is part of the program.
pub fn handle() -> Result<Answer, Problem> {
    let document: serde_json::Value = serde_json::from_str(DOCUMENT)
        .map_err(|_| Problem::new(Code::Internal, "the document is damaged; deploy this version again"))?;
    Answer::json(200, &document)
}
