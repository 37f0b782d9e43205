//! Values that cannot occur by chance, and the search for them in every form that something could
//! have written them in.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use aho_corasick::AhoCorasick;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use sealfleet_domain::hash::sha256_hex;
use uuid::Uuid;
use zeroize::Zeroizing;

/// A secret's value, made here and known to nobody else. It is never printed.
pub struct Canary {
    /// How the report calls it.
    pub name: &'static str,
    value: Zeroizing<String>,
}

impl Canary {
    pub fn new(name: &'static str) -> Self {
        let half = || Uuid::new_v4().simple().to_string();
        Self {
            name,
            value: Zeroizing::new(format!("{}+/=&%{}", half(), half())),
        }
    }

    /// The value, to be stored and for nothing else.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// What a step compares with what it finds in its environment.
    pub fn sha256(&self) -> String {
        sha256_hex(self.value.as_bytes())
    }
}

/// Finds canaries in bytes.
pub struct Needle {
    forms: Vec<(&'static str, &'static str)>,
    matcher: AhoCorasick,
}

impl Needle {
    /// Looks for the middle half of each value: what cuts off an end of it hides nothing.
    pub fn of(canaries: &[&Canary]) -> Result<Self, String> {
        let mut names = Vec::new();
        let mut forms = Vec::new();
        for canary in canaries {
            let bytes = canary.value.as_bytes();
            let quarter = bytes.len() / 4;
            let middle = bytes
                .get(quarter..bytes.len() - quarter)
                .unwrap_or_default();
            for (form, pattern) in written(middle) {
                names.push((canary.name, form));
                forms.push(pattern);
            }
        }
        let matcher = AhoCorasick::new(&*forms).map_err(|error| error.to_string())?;
        Ok(Self {
            forms: names,
            matcher,
        })
    }

    /// `canary A in base64`, if one of them stands in these bytes.
    pub fn find(&self, bytes: &[u8]) -> Option<String> {
        let found = self.matcher.find(bytes)?;
        let (canary, form) = self.forms.get(found.pattern().as_usize())?;
        Some(format!("{canary} in {form}"))
    }
}

/// Every form that these bytes may have been written in.
fn written(middle: &[u8]) -> Vec<(&'static str, Zeroizing<Vec<u8>>)> {
    let hex: String = middle.iter().map(|byte| format!("{byte:02x}")).collect();
    let encoded = |upper: bool| -> String {
        let one = |byte: &u8| match byte {
            byte if byte.is_ascii_alphanumeric() => char::from(*byte).to_string(),
            byte if upper => format!("%{byte:02X}"),
            byte => format!("%{byte:02x}"),
        };
        middle.iter().map(one).collect()
    };
    let mut forms = vec![
        ("plain text", middle.to_vec()),
        ("hexadecimal", hex.to_uppercase().into_bytes()),
        ("hexadecimal", hex.into_bytes()),
        ("URL encoding", encoded(true).into_bytes()),
        ("URL encoding", encoded(false).into_bytes()),
        (
            "UTF-16",
            middle.iter().flat_map(|byte| [*byte, 0]).collect(),
        ),
    ];
    // The value may stand anywhere in what was encoded: three ways to fall on base64's groups of
    // three bytes. The first and the last group also hold neighbours, so they are left out.
    for skipped in 0..3 {
        let rest = middle.get(skipped..).unwrap_or_default();
        let groups = rest.get(..rest.len() / 3 * 3).unwrap_or_default();
        forms.push(("base64", STANDARD_NO_PAD.encode(groups).into_bytes()));
        forms.push(("base64", URL_SAFE_NO_PAD.encode(groups).into_bytes()));
    }
    let forms = forms.into_iter();
    forms
        .map(|(name, form)| (name, Zeroizing::new(form)))
        .collect()
}

/// Listens to the answers of the API, and keeps nothing of them.
pub struct Ear {
    needle: Needle,
    answers: AtomicUsize,
    found: Mutex<Vec<String>>,
}

impl Ear {
    pub fn new(needle: Needle) -> Self {
        Self {
            needle,
            answers: AtomicUsize::new(0),
            found: Mutex::default(),
        }
    }

    pub fn hear(&self, answer: &[u8]) {
        self.answers.fetch_add(1, Ordering::Relaxed);
        let found = self.needle.find(answer);
        let mut all = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(found);
    }

    /// How many answers there were, and what was found in them.
    pub fn heard(&self) -> (usize, Vec<String>) {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        (self.answers.load(Ordering::Relaxed), found.clone())
    }

    pub const fn needle(&self) -> &Needle {
        &self.needle
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_is_found_in_every_form_and_by_its_name() {
        let (a, b) = (Canary::new("canary A"), Canary::new("canary B"));
        let needle = Needle::of(&[&a, &b]).expect("a needle");
        let url: String = a
            .value()
            .bytes()
            .map(|byte| format!("%{byte:02X}"))
            .collect();
        let escaped = |byte: u8| match byte {
            byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        };
        let url_of_a: String = a.value().bytes().map(escaped).collect();
        let hex: String = a
            .value()
            .bytes()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        for (form, text) in [
            ("plain text", format!("before {} behind", a.value())),
            ("hexadecimal", hex.to_uppercase()),
            ("hexadecimal", hex),
            ("URL encoding", url_of_a),
            ("base64", STANDARD_NO_PAD.encode(a.value())),
            ("base64", STANDARD_NO_PAD.encode(format!("x{}y", a.value()))),
            ("base64", URL_SAFE_NO_PAD.encode(format!("xy{}", a.value()))),
        ] {
            let expected = Some(format!("canary A in {form}"));
            assert_eq!(needle.find(text.as_bytes()), expected);
        }
        assert!(needle.find(url.as_bytes()).is_none());
        assert_eq!(
            needle.find(b.value().as_bytes()),
            Some("canary B in plain text".to_owned())
        );
        let other = Canary::new("another");
        assert_eq!(needle.find(other.value().as_bytes()), None);
        assert_eq!(needle.find(a.sha256().as_bytes()), None);
    }

    #[test]
    fn an_answer_that_holds_a_canary_is_heard() {
        let canary = Canary::new("canary A");
        let ear = Ear::new(Needle::of(&[&canary]).expect("a needle"));
        ear.hear(b"{}");
        assert_eq!(ear.heard(), (1, Vec::new()));
        ear.hear(format!("{{\"note\":\"{}\"}}", canary.value()).as_bytes());
        assert_eq!(ear.heard(), (2, vec!["canary A in plain text".to_owned()]));
    }
}
