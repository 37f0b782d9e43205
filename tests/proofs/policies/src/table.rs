//! The answers as Rust source.

use std::fmt::Write as _;

use sealfleet_domain::access::{Kind, Place};

use crate::evaluate::Answers;

/// All of the source file.
pub fn source(answers: &Answers, hash: &str) -> String {
    let mut text = format!(
        "//! The decisions of the policies in infra/policies. Generated: change the policies, then run
//! `cargo run --manifest-path tests/proofs/policies/Cargo.toml -- --write`. Never edit this file; a
//! test compares it.

use super::{{Action as A, Kind as K, Place as P}};

/// SHA-256 of the policies and their schema.
pub const POLICIES: &str = \"{hash}\";

/// The actions that a principal may do to a resource.
#[rustfmt::skip]
pub(super) const fn allowed(kind: K, place: P) -> &'static [A] {{
    match (kind, place) {{
"
    );
    let mut rows: Vec<(String, Vec<String>)> = Vec::new();
    for place in Place::ALL {
        for kind in Kind::ALL {
            let actions: Vec<String> = answers
                .allowed(kind, place)
                .iter()
                .map(|action| format!("A::{}", action.name()))
                .collect();
            add(
                &mut rows,
                actions.join(",\n            "),
                format!("(K::{kind:?}, P::{place:?})"),
            );
        }
    }
    for (actions, asked) in &rows {
        let asked = asked.join("\n        | ");
        let actions = if actions.is_empty() {
            "&[]".to_owned()
        } else {
            format!("&[\n            {actions},\n        ]")
        };
        let _ = writeln!(text, "        {asked} => {actions},");
    }
    text.push_str(
        "    }
}

/// Whether a principal may know that a resource exists. If not, the answer is the same as if it did
/// not exist.
#[rustfmt::skip]
pub(super) const fn may_know_of(kind: K, place: P) -> bool {
    match (kind, place) {
",
    );
    let mut known: Vec<(String, Vec<String>)> = Vec::new();
    for place in Place::ALL {
        for kind in Kind::ALL {
            add(
                &mut known,
                answers.may(kind, None, place).to_string(),
                format!("(K::{kind:?}, P::{place:?})"),
            );
        }
    }
    for (may, asked) in &known {
        let _ = writeln!(text, "        {} => {may},", asked.join("\n        | "));
    }
    text.push_str("    }\n}\n");
    text
}

/// Adds a question to those that have the same answer.
fn add(rows: &mut Vec<(String, Vec<String>)>, answer: String, asked: String) {
    match rows.iter_mut().find(|(other, _)| *other == answer) {
        Some((_, all)) => all.push(asked),
        None => rows.push((answer, vec![asked])),
    }
}
