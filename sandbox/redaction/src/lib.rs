//! Takes the values of secrets out of text, in whatever common encoding they are written.
//!
//! A [`Redactor`] is made once for the secrets of a step. It searches for *needles*: each value as
//! it is, and as programs print it by accident ([`forms`] and [`encodings`] list how). Where it
//! finds one, the text gets `<redacted:KEY>` instead.
//!
//! - [`Redactor::text`] and [`Redactor::bytes`] redact one whole text.
//! - [`Redactor::stream`] redacts a stream, piece by piece. It holds back only bytes that may be
//!   the beginning of a needle, so it needs no clock: all else is let through at once.
//!
//! # Why nothing of a value is left
//! Every occurrence of every needle is covered, also where occurrences overlap. Of needles that
//! begin at the same place the longest gives its name. A byte is let through only when no needle
//! that is still being read could cover it. So it makes no difference where a stream is cut into
//! pieces: `tests/splits.rs` cuts everywhere.
//!
//! # What it does not find
//! Values that a program cuts up with other text in between, encrypts, compresses, or encodes in
//! ways that are not listed; and values, lines and parts of less than [`SHORTEST`] bytes.
//!
//! # Memory
//! Needles are wiped once the automaton is made. The automaton and what a stream holds back are
//! made of the same bytes: they are freed with the last clone of the redactor, and wiped if the
//! program's allocator wipes what it frees, as that of `sealfleet-init` does. Nothing here prints
//! any of it.

mod encodings;
mod forms;
mod search;
mod stream;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

pub use sealfleet_domain::redaction::Encoding;
use search::Search;
pub use search::is_short;
pub use stream::{Matches, Stream};

/// The fewest bytes that are searched for. Less would be found in innocent text.
pub const SHORTEST: usize = 8;

/// The largest value that can be redacted, in bytes.
pub const LARGEST_VALUE: usize = 32 * 1024;

/// The most bytes that all needles of a redactor may have together. The automaton takes some 20
/// bytes for each, and for a moment some 60.
pub const MOST_NEEDLE_BYTES: usize = 2 * 1024 * 1024;

/// Why values cannot be redacted. Holds names only.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A value of which so little would be searched for that innocent text would be redacted.
    #[error("the value of `{key}` is shorter than {SHORTEST} bytes, so it cannot be redacted")]
    TooShort { key: String },
    #[error("the value of `{key}` is larger than {LARGEST_VALUE} bytes, so it cannot be redacted")]
    TooLarge { key: String },
    #[error(
        "the values together are too large to be redacted, from `{key}` on: their encodings have more than {MOST_NEEDLE_BYTES} bytes"
    )]
    TooMany { key: String },
    /// The automaton could not be made.
    #[error("the values cannot be searched for: {0}")]
    Automaton(String),
}

impl Refusal {
    /// The key that it is about.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::TooShort { key } | Self::TooLarge { key } | Self::TooMany { key } => Some(key),
            Self::Automaton(_) => None,
        }
    }
}

/// A secret to search for.
#[derive(Clone, Copy)]
pub struct Secret<'a> {
    /// Its name, which may be told.
    pub key: &'a str,
    pub value: &'a [u8],
}

impl fmt::Debug for Secret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// Searches for the values of some secrets. Clones share the automaton.
#[derive(Clone, Default)]
pub struct Redactor {
    /// `None`: there is nothing to search for.
    search: Option<Arc<Search>>,
    /// What is searched for besides, by all clones and their streams.
    later: Arc<Later>,
}

/// What came after the redactor was made.
#[derive(Default)]
pub(crate) struct Later(RwLock<Option<Arc<Search>>>);

impl Later {
    pub(crate) fn search(&self) -> Option<Arc<Search>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor")
            .field("needles", &self.needles())
            .finish_non_exhaustive()
    }
}

/// A whole text without the values.
#[derive(Debug)]
pub struct Redacted<T> {
    pub content: T,
    /// What was taken out of it.
    pub matches: Matches,
}

impl Redactor {
    /// For these secrets.
    ///
    /// # Errors
    /// A value, or all of them together, that cannot be redacted: do not run with them.
    pub fn new(secrets: &[Secret<'_>]) -> Result<Self, Refusal> {
        let mut sorted: Vec<&Secret<'_>> = secrets.iter().collect();
        // Of two keys with the same value, the first one gives its name.
        sorted.sort_by_key(|secret| secret.key);
        if sorted.is_empty() {
            return Ok(Self::default());
        }
        let search = Some(Arc::new(Search::new(&sorted)?));
        Ok(Self {
            search,
            later: Arc::default(),
        })
    }

    /// Searches for these values, too, in place of those of the call before: with all clones, and
    /// in streams that are under way, from their next bytes on. Call it before anybody can print
    /// one. All of them are named `key`.
    ///
    /// # Errors
    /// A value, or all of them together, that cannot be redacted. Then nothing has changed.
    pub fn also(&self, key: &str, values: &[&[u8]]) -> Result<(), Refusal> {
        let values = values.iter().copied();
        let secrets: Vec<Secret<'_>> = values.map(|value| Secret { key, value }).collect();
        let search = Search::new(&secrets.iter().collect::<Vec<_>>())?;
        let mut later = self.later.0.write().unwrap_or_else(PoisonError::into_inner);
        *later = Some(Arc::new(search));
        Ok(())
    }

    /// How many needles it searches for.
    #[must_use]
    pub fn needles(&self) -> usize {
        let later = self.later.search();
        let both = self.search.iter().chain(&later);
        both.map(|search| search.needles()).sum()
    }

    /// Redacts a whole text.
    #[must_use]
    pub fn text(&self, text: &str) -> Redacted<String> {
        let Redacted { content, matches } = self.bytes(text.as_bytes());
        // A needle is no part of a character, unless it is of UTF-16 and the text only looks so.
        let content = String::from_utf8(content)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        Redacted { content, matches }
    }

    /// Redacts whole content of any kind.
    #[must_use]
    pub fn bytes(&self, bytes: &[u8]) -> Redacted<Vec<u8>> {
        let mut stream = self.stream();
        let mut content = Vec::with_capacity(bytes.len());
        stream.push(bytes, &mut content);
        let matches = stream.finish(&mut content);
        Redacted { content, matches }
    }

    /// Whether a value, in any encoding, is in `bytes`.
    #[must_use]
    pub fn finds(&self, bytes: &[u8]) -> bool {
        !self.bytes(bytes).matches.is_empty()
    }

    /// A new stream to redact, with a state of its own.
    #[must_use]
    pub fn stream(&self) -> Stream {
        Stream::new(self.search.clone(), Arc::clone(&self.later))
    }
}
