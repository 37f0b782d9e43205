//! The idempotency key of a request.

use sealfleet_api::Problem;
use sealfleet_api::http::Request;
use sealfleet_domain::hash::sha256_hex;
use sealfleet_domain::limits;
use sealfleet_ledger::Idempotency;

/// The key, with a hash of the request that it stands for. `None` when the request has none.
///
/// # Errors
/// A 400 for a key that is not one, or for a body that is no JSON.
pub fn idempotency(request: &Request) -> Result<Option<Idempotency>, Problem> {
    let Some(key) = request.header("idempotency-key")? else {
        return Ok(None);
    };
    let fine = !key.is_empty()
        && key.len() <= limits::IDEMPOTENCY_KEY_BYTES
        && key
            .bytes()
            .all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if !fine {
        return Err(Problem::invalid(
            "Idempotency-Key",
            format!(
                "the key has 1 to {} printable ASCII characters",
                limits::IDEMPOTENCY_KEY_BYTES
            ),
        ));
    }
    // Parsed, so that the same fields in another order are the same request.
    let body: serde_json::Value = request.json()?;
    Ok(Some(Idempotency {
        key: key.to_owned(),
        request: sha256_hex(body.to_string().as_bytes()),
    }))
}
