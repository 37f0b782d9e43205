//! `openapi`: shows the document that describes the API. API Gateway also sends the requests here
//! that no route takes: those for the [`console`]'s files, and others, which are refused before
//! this handler is asked.

pub mod console;

use sealfleet_api::http::{Answer, Request};
use sealfleet_api::{Code, Problem};

use crate::shared::auth::Anybody;
use crate::shared::fault::Answered;
use crate::shared::route::route;

/// The checked-in document; a test compares it with the code.
const DOCUMENT: &str = include_str!("../../docs/openapi.json");

/// Answers one request.
///
/// # Errors
/// The problem to answer with.
pub async fn handle(request: &Request) -> Result<Answer, Problem> {
    route! { request, &();
        GET_OPENAPI => |caller, ()| show(caller);
    }
}

async fn show(_: Anybody) -> Answered {
    let document: serde_json::Value = serde_json::from_str(DOCUMENT).map_err(|_| {
        Problem::new(
            Code::Internal,
            "the document is damaged; deploy this version again",
        )
    })?;
    Answer::json(200, &document)
}
