//! Random values, in random encodings, in random text, cut at random places.
//!
//! `SEALFLEET_REDACTION_CASES=N` plays N cases instead of a few.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::splits::written;
use crate::{in_pieces, oracle, redactor_of};

#[expect(clippy::disallowed_methods, reason = "a test's own switch")]
fn cases() -> u32 {
    let wanted = std::env::var("SEALFLEET_REDACTION_CASES").ok();
    wanted.map_or(48, |wanted| wanted.parse().unwrap())
}

/// Text that can be a value: all kinds of letters, but its ends are plain.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9+/=_-]{10,60}",
        "[a-z][ -~]{8,40}[a-z]",
        "[a-z][ -~é€\n]{10,80}[a-z]",
        "[ab]{8,20}",
    ]
    .prop_filter("8 bytes that are not blank at the ends", |value| {
        value.trim().len() >= 9 && !value.ends_with(['"', '\\']) && !value.starts_with('"')
    })
}

#[test]
fn no_value_is_seen_however_it_is_written_and_cut() {
    let mut runner = TestRunner::new(Config::with_cases(cases()));
    let inputs = (
        prop::collection::vec(value(), 1..4),
        prop::collection::vec(
            (
                any::<prop::sample::Index>(),
                any::<prop::sample::Index>(),
                "[ -~\n]{0,12}",
            ),
            1..5,
        ),
        prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    );
    runner
        .run(&inputs, |(values, places, cuts)| {
            let redactor = redactor_of(&values);
            let mut text = Vec::new();
            for (which, how, between) in &places {
                let value: &String = which.get(&values);
                let forms = written(value);
                text.extend_from_slice(between.as_bytes());
                text.extend_from_slice(b" | ");
                text.extend_from_slice(&how.get(&forms).1);
                text.extend_from_slice(b" | ");
            }
            let whole = redactor.bytes(&text).content;
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len())).collect();
            cuts.sort_unstable();
            prop_assert_eq!(in_pieces(&redactor, &text, &cuts), whole.clone());
            let between: Vec<u8> = places
                .iter()
                .flat_map(|(_, _, between)| between.bytes())
                .collect();
            for value in &values {
                // Innocent text may hold a piece by chance.
                if !oracle::finds(&between, value.as_bytes()) {
                    prop_assert!(
                        !oracle::finds(&whole, value.as_bytes()),
                        "{}",
                        String::from_utf8_lossy(&whole)
                    );
                }
            }
            Ok(())
        })
        .unwrap();
}

/// The search against one that looks everywhere.
#[test]
fn every_needle_is_found_wherever_it_stands() {
    let mut runner = TestRunner::new(Config::with_cases(cases() * 20));
    let inputs = (
        prop::collection::vec("[ab]{8,12}", 1..5),
        "[abc]{0,80}",
        any::<prop::sample::Index>(),
    );
    runner
        .run(&inputs, |(values, text, cut)| {
            let redactor = redactor_of(&values);
            // Which bytes a value covers.
            let mut covered = vec![false; text.len()];
            for value in &values {
                for start in 0..text.len() {
                    if text[start..].starts_with(value.as_str()) {
                        covered[start..start + value.len()].fill(true);
                    }
                }
            }
            let mut expected = String::new();
            for (index, letter) in text.chars().enumerate() {
                if !covered[index] {
                    expected.push(letter);
                }
            }
            let out = in_pieces(&redactor, text.as_bytes(), &[cut.index(text.len() + 1)]);
            let out = String::from_utf8(out).unwrap();
            prop_assert_eq!(out.replace("<redacted:K>", ""), expected);
            Ok(())
        })
        .unwrap();
}
