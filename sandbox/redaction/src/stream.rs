//! One stream on its way.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use aho_corasick::automaton::StateID;
use sealfleet_domain::redaction::Encoding;
use zeroize::Zeroizing;

use crate::Later;
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
    /// The same for what came later: it reads what the first one lets through.
    later: Option<Reading>,
    /// Where more may come from.
    source: Arc<Later>,
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
    pub(crate) fn new(search: Option<Arc<Search>>, source: Arc<Later>) -> Self {
        Self {
            reading: search.map(Reading::new),
            later: None,
            source,
        }
    }

    /// Takes over what is searched for by now.
    fn look(&mut self) {
        let Some(search) = self.source.search() else {
            return;
        };
        match &mut self.later {
            None => self.later = Some(Reading::new(search)),
            Some(later) if Arc::ptr_eq(&later.search, &search) => {}
            Some(later) => later.switch(search),
        }
    }

    /// Reads the next bytes, and appends to `out` all that is decided: everything but an end of
    /// the stream that may be the beginning of a needle.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.look();
        match (&mut self.reading, &mut self.later) {
            (None, None) => out.extend_from_slice(bytes),
            (Some(one), None) | (None, Some(one)) => one.push(bytes, out),
            (Some(first), Some(later)) => {
                let mut between = Zeroizing::new(Vec::with_capacity(bytes.len()));
                first.push(bytes, &mut between);
                later.push(&between, out);
            }
        }
    }

    /// How many bytes are held back: fewer than the longest needle has.
    #[must_use]
    pub fn held_back(&self) -> usize {
        let both = self.reading.iter().chain(&self.later);
        both.map(|reading| reading.held.len()).sum()
    }

    /// The stream has ended: nothing that is held back will become a needle. Answers what was taken
    /// out of the stream.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Matches {
        self.look();
        match (self.reading, self.later) {
            (None, None) => Matches::default(),
            (Some(one), None) | (None, Some(one)) => Matches(one.finish(out)),
            (Some(first), Some(mut later)) => {
                let mut between = Zeroizing::new(Vec::new());
                let mut matches = first.finish(&mut between);
                later.push(&between, out);
                for (place, count) in later.finish(out) {
                    *matches.entry(place).or_default() += count;
                }
                Matches(matches)
            }
        }
    }
}

impl Reading {
    fn new(search: Arc<Search>) -> Self {
        Self {
            state: search.start(),
            search,
            held: Zeroizing::new(Vec::new()),
            base: 0,
            done: 0,
            found: Vec::new(),
            last: None,
            counts: BTreeMap::new(),
        }
    }

    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let undecided = self.read(bytes);
        let end = self.end() - undecided as u64;
        self.release(end, out);
    }

    fn finish(mut self, out: &mut Vec<u8>) -> BTreeMap<(String, Encoding), u64> {
        self.release(self.end(), out);
        let mut named = BTreeMap::new();
        for ((key, encoding), count) in std::mem::take(&mut self.counts) {
            let key = self.search.key(key).to_owned();
            *named.entry((key, encoding)).or_default() += count;
        }
        named
    }

    /// Searches with another automaton from here on. All of its needles have the key of the one
    /// before.
    ///
    /// Whatever of a needle of both has been read is still held: it is the beginning of one. So it
    /// is enough to read again what is held. What was found and began before that stays found.
    fn switch(&mut self, search: Arc<Search>) {
        let mut counts = BTreeMap::new();
        for ((_, encoding), count) in std::mem::take(&mut self.counts) {
            *counts.entry((0, encoding)).or_default() += count;
        }
        self.counts = counts;
        self.last = self.last.map(|_| 0);
        self.found.retain(|found| found.start < self.base);
        for found in &mut self.found {
            found.needle.key = 0;
        }
        self.state = search.start();
        self.search = search;
        let held = std::mem::take(&mut *self.held);
        self.read(&Zeroizing::new(held));
        let done = self.done;
        self.found.retain(|found| found.end > done);
    }

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
