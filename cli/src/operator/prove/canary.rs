//! Values that cannot occur by chance, and the search for them in every form that something could
//! have written them in.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use aho_corasick::AhoCorasick;
use sealfleet_domain::encodings;
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
            for (form, pattern) in encodings::forms(encodings::middle(canary.value.as_bytes())) {
                names.push((canary.name, form));
                forms.push(pattern);
            }
        }
        let matcher = AhoCorasick::new(&forms).map_err(|error| error.to_string())?;
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

    /// `asked` says whose answer it is, as `GET /v1/runs`.
    pub fn hear(&self, asked: &str, answer: &[u8]) {
        self.answers.fetch_add(1, Ordering::Relaxed);
        let found = self.needle.find(answer);
        let found = found.map(|found| format!("{asked}: {found}"));
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
    fn a_canary_is_found_by_its_name_and_form() {
        let (a, b) = (Canary::new("canary A"), Canary::new("canary B"));
        let needle = Needle::of(&[&a, &b]).expect("a needle");
        let found = |text: String| needle.find(text.as_bytes());
        assert_eq!(
            found(format!("before {} behind", a.value())),
            Some("canary A in plain text".to_owned())
        );
        for (form, written) in encodings::forms(b.value().as_bytes()) {
            assert_eq!(needle.find(&written), Some(format!("canary B in {form}")));
        }
        assert_eq!(found(Canary::new("another").value().to_owned()), None);
        assert_eq!(found(a.sha256()), None);
    }

    #[test]
    fn an_answer_that_holds_a_canary_is_heard() {
        let canary = Canary::new("canary A");
        let ear = Ear::new(Needle::of(&[&canary]).expect("a needle"));
        ear.hear("GET /v1/runs", b"{}");
        assert_eq!(ear.heard(), (1, Vec::new()));
        let answer = format!("{{\"note\":\"{}\"}}", canary.value());
        ear.hear("GET /v1/tokens", answer.as_bytes());
        let found = "GET /v1/tokens: canary A in plain text";
        assert_eq!(ear.heard(), (2, vec![found.to_owned()]));
    }
}
