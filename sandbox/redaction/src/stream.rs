//! One stream on its way.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use aho_corasick::automaton::StateID;
use sealfleet_domain::redaction::Encoding;
use zeroize::Zeroizing;

use crate::search::{Needle, Search};

/// What was taken out of a text: how often each key, in each encoding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matches(BTreeMap<(String, Encoding), u64>);

impl Matches {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each key with an encoding, and how often it was found.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Encoding, u64)> {
        self.0
            .iter()
            .map(|((key, encoding), count)| (key.as_str(), *encoding, *count))
    }
}

/// Redacts a stream, piece by piece.
///
/// Push what arrives, and write what comes out. At the stream's end call [`Stream::finish`].
pub struct Stream {
    /// What to search for, and where it is. `None`: nothing.
    reading: Option<Reading>,
}

struct Reading {
    search: Arc<Search>,
    state: StateID,
    /// What has been read and not let through.
    held: Zeroizing<Vec<u8>>,
    /// The place of the first held byte in the stream.
    base: u64,
    /// All before this place has been let through or replaced. May lie beyond what is held back.
    done: u64,
    /// The needles that were found and end after `done`.
    found: Vec<Found>,
    /// The key whose placeholder ends right before `done`, if one does.
    last: Option<usize>,
    /// How often each key, by its number, was found in each encoding.
    counts: BTreeMap<(usize, Encoding), u64>,
}

/// A needle in the stream.
#[derive(Clone, Copy)]
struct Found {
    start: u64,
    end: u64,
    needle: Needle,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("held_back", &self.held_back())
            .finish_non_exhaustive()
    }
}

impl Stream {
    pub(crate) fn new(search: Option<Arc<Search>>) -> Self {
        let reading = search.map(|search| Reading {
            state: search.start(),
            search,
            held: Zeroizing::new(Vec::new()),
            base: 0,
            done: 0,
            found: Vec::new(),
            last: None,
            counts: BTreeMap::new(),
        });
        Self { reading }
    }

    /// Reads the next bytes, and appends to `out` all that is decided: everything but an end of
    /// the stream that may be the beginning of a needle.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let Some(reading) = &mut self.reading else {
            return out.extend_from_slice(bytes);
        };
        let undecided = reading.read(bytes);
        let end = reading.end() - undecided as u64;
        reading.release(end, out);
    }

    /// How many bytes are held back: fewer than the longest needle has.
    #[must_use]
    pub fn held_back(&self) -> usize {
        self.reading
            .as_ref()
            .map_or(0, |reading| reading.held.len())
    }

    /// The stream has ended: nothing that is held back will become a needle. Answers what was taken
    /// out of the stream.
    pub fn finish(self, out: &mut Vec<u8>) -> Matches {
        let Some(mut reading) = self.reading else {
            return Matches::default();
        };
        reading.release(reading.end(), out);
        let named = |((key, encoding), count)| {
            let key = reading.search.key(key).to_owned();
            ((key, encoding), count)
        };
        Matches(
            std::mem::take(&mut reading.counts)
                .into_iter()
                .map(named)
                .collect(),
        )
    }
}

impl Reading {
    fn end(&self) -> u64 {
        self.base + self.held.len() as u64
    }

    /// Answers how many of the last bytes are undecided.
    fn read(&mut self, bytes: &[u8]) -> usize {
        let from = self.held.len();
        self.held.extend_from_slice(bytes);
        let (base, found) = (self.base, &mut self.found);
        self.state = self
            .search
            .read(&self.held, from, self.state, |end, needle| {
                let end = base + end as u64;
                found.push(Found {
                    start: end - needle.length as u64,
                    end,
                    needle,
                });
            });
        self.search.depth(self.state)
    }

    /// Lets go of all before `decided`: nothing will be found any more that begins there.
    fn release(&mut self, decided: u64, out: &mut Vec<u8>) {
        // Of those that begin at one place, the longest comes first.
        self.found
            .sort_unstable_by_key(|found| (found.start, u64::MAX - found.end));
        let found = std::mem::take(&mut self.found);
        let mut next = found.iter().copied().peekable();
        while self.done < decided {
            // Of those that begin inside of what was replaced, the one that goes on the longest.
            let mut longest: Option<Found> = None;
            while let Some(inside) = next.next_if(|next| next.start < self.done) {
                let end = longest.map_or(self.done, |longest| longest.end);
                if inside.end > end {
                    longest = Some(inside);
                }
            }
            if let Some(found) = longest {
                self.replace(found, out);
                continue;
            }
            let start = next.peek().map_or(decided, |next| next.start.min(decided));
            if start > self.done {
                self.let_through(start, out);
            } else if let Some(found) = next.next() {
                self.replace(found, out);
            }
        }
        let done = self.done;
        self.found = found;
        self.found.retain(|found| found.end > done);
        let gone = usize::try_from(decided - self.base).unwrap_or(usize::MAX);
        let gone = gone.min(self.held.len());
        self.held.drain(..gone);
        self.base = decided;
    }

    /// Up to `end`.
    fn let_through(&mut self, end: u64, out: &mut Vec<u8>) {
        let place = |at: u64| usize::try_from(at - self.base).ok();
        let range = place(self.done).zip(place(end));
        let plain = range.and_then(|(from, to)| self.held.get(from..to));
        out.extend_from_slice(plain.unwrap_or_default());
        (self.done, self.last) = (end, None);
    }

    fn replace(&mut self, found: Found, out: &mut Vec<u8>) {
        let Needle { key, encoding, .. } = found.needle;
        // One that overlaps the one before it, of the same key, is the same text to a reader.
        let goes_on = found.start < self.done && self.last == Some(key);
        if !goes_on {
            out.extend_from_slice(b"<redacted:");
            out.extend_from_slice(self.search.key(key).as_bytes());
            out.push(b'>');
            *self.counts.entry((key, encoding)).or_default() += 1;
        }
        (self.done, self.last) = (found.end, Some(key));
    }
}
