//! Redaction from outside. What comes out is judged by an [`oracle`] that knows nothing of needles:
//! it decodes all that it can and searches for the values.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod bugs;
mod later;
mod limits;
mod memory;
mod oracle;
mod random;
mod splits;

use sealfleet_redaction::{Redactor, Secret};

fn redactor(secrets: &[(&str, &str)]) -> Redactor {
    let secrets: Vec<Secret<'_>> = secrets
        .iter()
        .map(|(key, value)| Secret {
            key,
            value: value.as_bytes(),
        })
        .collect();
    Redactor::new(&secrets).unwrap()
}

/// For values that all have the key `K`.
fn redactor_of(values: &[String]) -> Redactor {
    let named: Vec<(&str, &str)> = values.iter().map(|value| ("K", value.as_str())).collect();
    redactor(&named)
}

/// `text` redacted after it was cut at these places.
fn in_pieces(redactor: &Redactor, text: &[u8], cuts: &[usize]) -> Vec<u8> {
    let (mut stream, mut out, mut from) = (redactor.stream(), Vec::new(), 0);
    for &cut in cuts.iter().chain([&text.len()]) {
        stream.push(&text[from..cut], &mut out);
        from = cut;
    }
    stream.finish(&mut out);
    out
}

fn redacted(redactor: &Redactor, text: &str) -> String {
    redactor.text(text).content
}
