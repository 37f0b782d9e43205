//! Why an agent failed. Only the kind leaves the sandbox: the CLI's words are in its output.

/// Why an agent failed, as far as its CLI tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The provider accepts no more requests at present.
    RateLimit,
    /// The provider refuses the key.
    Auth,
    /// The conversation is longer than the model accepts.
    Context,
    /// The model cannot be reached, or fails.
    Network,
    /// More answers than the agent may have.
    Turns,
    /// More money than the agent may spend.
    Budget,
    Other,
}

impl Fault {
    /// By the HTTP status of the provider's answer, if the CLI tells it, and by the words.
    pub(crate) fn of(status: Option<u64>, words: &str) -> Self {
        kind(status.or_else(|| status_in(words)), words)
    }
}

fn kind(status: Option<u64>, words: &str) -> Fault {
    let words = words.to_lowercase();
    let says = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
    // The length first: providers refuse it with the status of any bad request.
    if says(&[
        "context window",
        "context length",
        "context_length",
        "prompt is too long",
        "input token count",
    ]) {
        return Fault::Context;
    }
    match status {
        Some(429 | 529) => return Fault::RateLimit,
        Some(401 | 403) => return Fault::Auth,
        Some(500..=599 | 408) => return Fault::Network,
        _ => {}
    }
    if says(&[
        "rate limit",
        "rate_limit",
        "quota",
        "resource_exhausted",
        "too many requests",
    ]) {
        Fault::RateLimit
    } else if says(&[
        "api key",
        "api_key",
        "x-api-key",
        "authentication",
        "unauthorized",
    ]) {
        Fault::Auth
    } else if says(&[
        "stream disconnected",
        "error sending request",
        "connection",
        "unable to connect",
        "econn",
        "enotfound",
        "fetch failed",
        "socket",
        "network",
        "timed out",
        "terminated",
    ]) {
        Fault::Network
    } else {
        Fault::Other
    }
}

/// The HTTP status in words such as `unexpected status 401 Unauthorized` or `last status: 429`.
fn status_in(words: &str) -> Option<u64> {
    let (_, after) = words.split_once("status")?;
    let digits = after.trim_start_matches([':', ' ']);
    let end = digits.find(|letter: char| !letter.is_ascii_digit());
    let digits = digits.get(..end.unwrap_or(digits.len()))?;
    digits
        .parse()
        .ok()
        .filter(|status| (400..600).contains(status))
}
