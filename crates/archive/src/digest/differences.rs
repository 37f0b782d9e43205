//! Finds out what was done to the lines of an object. Compares the hashes of the expected lines
//! with those of the lines found.

use std::collections::HashMap;

use super::fault::Kind;

/// One difference: its kind, its first line and its number of lines. The line number refers to the
/// original object, or, for inserted lines, to the current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    pub kind: Kind,
    pub line: u64,
    pub count: u64,
}

/// Most cells of the comparison table. Larger objects get only the range that was touched.
const MOST_CELLS: usize = 16_000_000;

/// Compares two lists of line hashes. Returns nothing when they are equal.
pub fn differences<H: Copy + Eq + std::hash::Hash>(expected: &[H], found: &[H]) -> Vec<Difference> {
    let before = expected
        .iter()
        .zip(found)
        .take_while(|(a, b)| a == b)
        .count();
    let (expected_rest, found_rest) = (tail(expected, before), tail(found, before));
    let after = expected_rest
        .iter()
        .rev()
        .zip(found_rest.iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    let missing = head(expected_rest, expected_rest.len() - after);
    let extra = head(found_rest, found_rest.len() - after);
    if missing.is_empty() && extra.is_empty() {
        return Vec::new();
    }
    if missing.len() > 1 && counted(missing) == counted(extra) {
        return vec![at(Kind::LinesReordered, before, missing.len())];
    }
    let mut hunks = Vec::new();
    if missing.len().saturating_mul(extra.len()) > MOST_CELLS {
        hunks.push((0..missing.len(), 0..extra.len()));
    } else {
        hunks.extend(apart(missing, extra));
    }
    let mut differences = Vec::new();
    for (gone, new) in hunks {
        let edited = gone.len().min(new.len());
        // Lines that replace others were edited. The rest on either side was deleted or inserted.
        differences
            .extend((0..edited).map(|line| at(Kind::LineEdited, before + gone.start + line, 1)));
        if gone.len() > edited {
            let to_the_end = after == 0 && gone.end == missing.len();
            let kind = if to_the_end {
                Kind::TailDeleted
            } else {
                Kind::LineDeleted
            };
            differences.push(at(kind, before + gone.start + edited, gone.len() - edited));
        }
        if new.len() > edited {
            differences.push(at(
                Kind::LineInserted,
                before + new.start + edited,
                new.len() - edited,
            ));
        }
    }
    differences
}

fn at(kind: Kind, before: usize, count: usize) -> Difference {
    let number = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
    Difference {
        kind,
        line: number(before).saturating_add(1),
        count: number(count),
    }
}

fn head<H>(all: &[H], count: usize) -> &[H] {
    all.get(..count).unwrap_or_default()
}

fn tail<H>(all: &[H], from: usize) -> &[H] {
    all.get(from..).unwrap_or_default()
}

fn counted<H: Copy + Eq + std::hash::Hash>(all: &[H]) -> HashMap<H, usize> {
    let mut counts = HashMap::new();
    for one in all {
        *counts.entry(*one).or_default() += 1;
    }
    counts
}

type Hunk = (std::ops::Range<usize>, std::ops::Range<usize>);

/// The ranges between the lines of a longest common subsequence.
fn apart<H: Copy + Eq>(left: &[H], right: &[H]) -> Vec<Hunk> {
    let width = right.len() + 1;
    let mut lengths = vec![0_u32; (left.len() + 1) * width];
    let read = |lengths: &[u32], row: usize, column: usize| {
        lengths.get(row * width + column).copied().unwrap_or(0)
    };
    for (row, a) in left.iter().enumerate().rev() {
        for (column, b) in right.iter().enumerate().rev() {
            let length = if a == b {
                read(&lengths, row + 1, column + 1) + 1
            } else {
                read(&lengths, row + 1, column).max(read(&lengths, row, column + 1))
            };
            if let Some(cell) = lengths.get_mut(row * width + column) {
                *cell = length;
            }
        }
    }
    let (mut hunks, mut row, mut column) = (Vec::new(), 0, 0);
    let (mut from_row, mut from_column) = (0, 0);
    while let (Some(a), Some(b)) = (left.get(row), right.get(column)) {
        if a == b {
            if row > from_row || column > from_column {
                hunks.push((from_row..row, from_column..column));
            }
            (row, column) = (row + 1, column + 1);
            (from_row, from_column) = (row, column);
        } else if read(&lengths, row + 1, column) >= read(&lengths, row, column + 1) {
            row += 1;
        } else {
            column += 1;
        }
    }
    if from_row < left.len() || from_column < right.len() {
        hunks.push((from_row..left.len(), from_column..right.len()));
    }
    hunks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(found: &[u8]) -> Vec<(Kind, u64, u64)> {
        let found = differences(b"abcdefgh", found);
        found
            .into_iter()
            .map(|difference| (difference.kind, difference.line, difference.count))
            .collect()
    }

    #[test]
    fn each_touch_is_named_with_its_line() {
        assert_eq!(named(b"abcdefgh"), []);
        assert_eq!(named(b"abXdefgh"), [(Kind::LineEdited, 3, 1)]);
        assert_eq!(named(b"abdefgh"), [(Kind::LineDeleted, 3, 1)]);
        assert_eq!(named(b"defgh"), [(Kind::LineDeleted, 1, 3)]);
        assert_eq!(named(b"abcdef"), [(Kind::TailDeleted, 7, 2)]);
        assert_eq!(named(b""), [(Kind::TailDeleted, 1, 8)]);
        assert_eq!(named(b"abXcdefgh"), [(Kind::LineInserted, 3, 1)]);
        assert_eq!(named(b"abcdefghXY"), [(Kind::LineInserted, 9, 2)]);
        assert_eq!(named(b"abfdecgh"), [(Kind::LinesReordered, 3, 4)]);
        assert_eq!(
            named(b"XbcdefgY"),
            [(Kind::LineEdited, 1, 1), (Kind::LineEdited, 8, 1)]
        );
        assert_eq!(
            named(b"XbdefgY"),
            [
                (Kind::LineEdited, 1, 1),
                (Kind::LineDeleted, 3, 1),
                (Kind::LineEdited, 8, 1)
            ]
        );
        assert_eq!(
            named(b"abXcdefg"),
            [(Kind::LineInserted, 3, 1), (Kind::TailDeleted, 8, 1)]
        );
    }
}
