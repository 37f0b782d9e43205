//! The needles of some secrets, and the automaton that finds them.
//!
//! The automaton is that of Aho and Corasick: its state is the longest end of what was read that is
//! a beginning of a needle. The length of that beginning, the state's *depth*, is what a stream
//! must hold back.
//!
//! Most text has nothing of any needle, so a filter stands before the automaton. Every needle has
//! 8 bytes or more. Of any 8 bytes in a row, groups of 4 that begin at every fifth byte of the text
//! hold at least one whole group. So it is enough to look up each fifth group in a table of the
//! groups that needles begin with.

use aho_corasick::automaton::{Automaton as _, StateID};
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{Anchored, MatchKind};
use sealfleet_domain::redaction::Encoding;

use crate::forms::{self, Bytes};
use crate::{LARGEST_VALUE, MOST_NEEDLE_BYTES, Refusal, SHORTEST, Secret, encodings};

/// What a needle stands for.
#[derive(Clone, Copy, Debug)]
pub struct Needle {
    /// Number of the key.
    pub key: usize,
    pub encoding: Encoding,
    pub length: usize,
}

/// Finds the needles of some secrets.
pub struct Search {
    automaton: NFA,
    start: StateID,
    /// What to hold back in each state but the first, sorted by state.
    depths: Vec<(StateID, usize)>,
    filter: Filter,
    needles: Vec<Needle>,
    keys: Vec<String>,
}

impl Search {
    pub fn new(secrets: &[&Secret<'_>]) -> Result<Self, Refusal> {
        let (texts, needles) = needles(secrets)?;
        let failed = |error: &dyn std::error::Error| Refusal::Automaton(error.to_string());
        let automaton = NFA::builder()
            .match_kind(MatchKind::Standard)
            .prefilter(false)
            .build(texts.iter().map(|text| text.as_slice()))
            .map_err(|error| failed(&error))?;
        let start = automaton.start_state(Anchored::No);
        let start = start.map_err(|error| failed(&error))?;
        let depths = depths(&automaton, start, &texts);
        Ok(Self {
            filter: Filter::new(&texts),
            automaton,
            start,
            depths,
            needles,
            keys: secrets.iter().map(|secret| secret.key.to_owned()).collect(),
        })
    }

    pub const fn start(&self) -> StateID {
        self.start
    }

    pub fn needles(&self) -> usize {
        self.needles.len()
    }

    pub fn key(&self, number: usize) -> &str {
        self.keys.get(number).map_or("", String::as_str)
    }

    /// How many of the last bytes may be the beginning of a needle.
    pub fn depth(&self, state: StateID) -> usize {
        let at = self
            .depths
            .binary_search_by_key(&state, |(state, _)| *state);
        at.ok()
            .and_then(|at| self.depths.get(at))
            .map_or(0, |(_, depth)| *depth)
    }

    /// Reads `text` from `from` on, and tells `found` of the longest needle that ends at each
    /// place. `state` is that before `from`. Answers the state at the end.
    pub fn read(
        &self,
        text: &[u8],
        from: usize,
        mut state: StateID,
        mut found: impl FnMut(usize, Needle),
    ) -> StateID {
        let mut at = from;
        loop {
            if state == self.start {
                at = self.filter.next(text, at);
            }
            let rest = text.get(at..).unwrap_or_default();
            if rest.is_empty() {
                return state;
            }
            for &byte in rest {
                state = self.automaton.next_state(Anchored::No, state, byte);
                at += 1;
                if self.automaton.is_match(state) {
                    if let Some(needle) = self.longest(state) {
                        found(at, needle);
                    }
                } else if state == self.start {
                    break;
                }
            }
        }
    }

    fn longest(&self, state: StateID) -> Option<Needle> {
        let all = 0..self.automaton.match_len(state);
        all.filter_map(|index| {
            let pattern = self.automaton.match_pattern(state, index);
            self.needles.get(pattern.as_usize()).copied()
        })
        .max_by_key(|needle| needle.length)
    }
}

/// The needles, each once, and what they stand for.
fn needles(secrets: &[&Secret<'_>]) -> Result<(Vec<Bytes>, Vec<Needle>), Refusal> {
    let mut all: Vec<(Bytes, Needle)> = Vec::new();
    for (key, secret) in secrets.iter().enumerate() {
        let name = || secret.key.to_owned();
        if is_short(secret.value) {
            return Err(Refusal::TooShort { key: name() });
        }
        if secret.value.len() > LARGEST_VALUE {
            return Err(Refusal::TooLarge { key: name() });
        }
        for form in forms::of(secret.value) {
            let lines = forms::lines(&form.bytes).into_iter();
            let lines: Vec<_> = lines
                .map(|line| (Encoding::Line, Bytes::new(line.to_vec())))
                .collect();
            let encoded = encodings::of(&form.bytes);
            let texts = [(form.encoding, form.bytes)].into_iter();
            for (encoding, text) in texts.chain(lines).chain(encoded) {
                let length = text.len();
                let needle = Needle {
                    key,
                    encoding,
                    length,
                };
                all.push((text, needle));
            }
        }
        all.retain(|(text, _)| text.len() >= SHORTEST);
        // Stable: of equal needles the first one stays.
        all.sort_by(|(one, _), (other, _)| one.as_slice().cmp(other));
        all.dedup_by(|(one, _), (other, _)| one.as_slice() == other.as_slice());
        if all.iter().map(|(text, _)| text.len()).sum::<usize>() > MOST_NEEDLE_BYTES {
            return Err(Refusal::TooMany { key: name() });
        }
    }
    Ok(all.into_iter().unzip())
}

/// Whether so little of a value would be searched for that it is not searched for at all.
pub fn is_short(value: &[u8]) -> bool {
    value.trim_ascii().len() < SHORTEST
}

/// How many bytes to hold back in each state: its depth, if a needle goes on from there. Otherwise
/// that of the longest end of it from which one does.
fn depths(automaton: &NFA, start: StateID, texts: &[Bytes]) -> Vec<(StateID, usize)> {
    // A text is long, and the calls may fail only for an anchored start.
    let step = |state, byte: u8| automaton.next_state(Anchored::No, state, byte);
    let mut states = Vec::with_capacity(texts.iter().map(|text| text.len()).sum());
    for text in texts {
        let mut state = start;
        for (index, &byte) in text.iter().enumerate() {
            state = step(state, byte);
            // Sorts states that go on before the same state as an end.
            states.push((state, index + 1, index + 1 == text.len()));
        }
    }
    states.sort_unstable();
    states.dedup_by_key(|(state, ..)| *state);
    let find = |state: StateID| {
        let at = states.binary_search_by_key(&state, |(state, ..)| *state);
        at.ok().and_then(|at| states.get(at).copied())
    };
    let ends = texts.iter().map(|text| {
        let mut rest = text.as_slice();
        loop {
            let state = rest.iter().fold(start, |state, &byte| step(state, byte));
            match find(state) {
                Some((_, depth, true)) => {
                    let from = rest.len().saturating_sub(depth) + 1;
                    rest = rest.get(from..).unwrap_or_default();
                }
                Some((_, depth, false)) => return depth,
                None => return 0,
            }
        }
    });
    let ends: Vec<usize> = ends.collect();
    let mut depths: Vec<(StateID, usize)> = states
        .iter()
        .filter(|(_, _, is_end)| !is_end)
        .map(|(state, depth, _)| (*state, *depth))
        .collect();
    for (text, depth) in texts.iter().zip(ends) {
        let state = text.iter().fold(start, |state, &byte| step(state, byte));
        if find(state).is_some_and(|(_, _, is_end)| is_end) {
            depths.push((state, depth));
        }
    }
    depths.sort_unstable();
    depths
}

/// A table of the groups of four bytes that needles begin with.
struct Filter(Box<[u64; Filter::WORDS]>);

impl Filter {
    const BITS: u32 = 18;
    const WORDS: usize = 1 << (Self::BITS - 6);
    /// Bytes of a group.
    const GROUP: usize = 4;
    /// From one group that is looked up to the next: each needle has one of them whole.
    const STRIDE: usize = SHORTEST - Self::GROUP + 1;

    fn new(texts: &[Bytes]) -> Self {
        let mut filter = Self(Box::new([0; Self::WORDS]));
        for text in texts {
            for group in text.windows(Self::GROUP).take(Self::STRIDE) {
                let (word, bit) = Self::place(group.first_chunk().unwrap_or(&[0; Self::GROUP]));
                if let Some(word) = filter.0.get_mut(word) {
                    *word |= bit;
                }
            }
        }
        filter
    }

    fn place(group: &[u8; Self::GROUP]) -> (usize, u64) {
        let hash = u32::from_le_bytes(*group).wrapping_mul(0x9E37_79B1) >> (32 - Self::BITS);
        ((hash >> 6) as usize % Self::WORDS, 1 << (hash & 63))
    }

    /// The first place from `from` on where a needle may begin: none begins between the two. Its
    /// groups may lie beyond the end of `text`.
    fn next(&self, text: &[u8], from: usize) -> usize {
        let mut at = from;
        while let Some(group) = text.get(at..).and_then(<[u8]>::first_chunk) {
            let (word, bit) = Self::place(group);
            if self.0.get(word).is_some_and(|word| word & bit != 0) {
                break;
            }
            at += Self::STRIDE;
        }
        // The group before this one excludes all that begin up to its own first byte.
        from.max(at.saturating_sub(Self::STRIDE - 1))
    }
}
