//! The answers as a table that people read.

use std::fmt::Write as _;

use sealfleet_domain::access::{Action, Kind, Place};

use crate::evaluate::{Answers, Policies};

/// Columns: what a reader calls them, and who they are.
const COLUMNS: [(&str, &[Kind]); 7] = [
    ("operator", &[Kind::Operator]),
    ("admin", &[Kind::TokenAdmin, Kind::OidcAdmin]),
    ("member", &[Kind::TokenMember, Kind::OidcMember]),
    ("viewer", &[Kind::TokenViewer, Kind::OidcViewer]),
    ("worker", &[Kind::Worker]),
    ("enrolment key", &[Kind::EnrolmentKey]),
    ("sandbox", &[Kind::Sandbox]),
];

/// The generated part of the document.
pub fn tables(answers: &Answers, policies: &Policies) -> String {
    let mut text = String::new();
    let places = [
        (
            Place::Project,
            "In the caller's own project",
            "Operators have no project of their own: theirs is any.",
        ),
        (
            Place::System,
            "In the system scope",
            "Profiles that operators own, and that every project's cascade may build on.",
        ),
        (Place::Platform, "Above projects", ""),
        (
            Place::AnotherProject,
            "In another project",
            "Everybody but an operator is answered as if it did not exist.",
        ),
    ];
    for (place, title, note) in places {
        let _ = write!(text, "\n### {title}\n\n");
        if !note.is_empty() {
            let _ = write!(text, "{note}\n\n");
        }
        table(&mut text, answers, place);
    }
    text.push_str("\n### The policies\n\n| policy | | what it says |\n|---|---|---|\n");
    for (id, permits, description) in policies.described() {
        let _ = writeln!(
            text,
            "| `{id}` | {} | {description} |",
            if permits { "permits" } else { "forbids" }
        );
    }
    text.push('\n');
    text
}

fn table(text: &mut String, answers: &Answers, place: Place) {
    let rows: Vec<(&Action, Vec<String>)> = Action::ALL
        .iter()
        .map(|action| {
            (
                action,
                COLUMNS
                    .iter()
                    .map(|(_, kinds)| cell(answers, kinds, *action, place))
                    .collect(),
            )
        })
        .filter(|(_, cells): &(&Action, Vec<String>)| cells.iter().any(|cell| !cell.is_empty()))
        .collect();
    if rows.is_empty() {
        text.push_str("Nobody may do anything.\n");
        return;
    }
    let names: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
    let _ = writeln!(
        text,
        "| may … | {} |\n|---|{}",
        names.join(" | "),
        "---|".repeat(names.len())
    );
    for (action, cells) in rows {
        let _ = writeln!(text, "| {} | {} |", action.phrase(), cells.join(" | "));
    }
}

/// `yes`, nothing, or who of those that the column stands for.
fn cell(answers: &Answers, kinds: &[Kind], action: Action, place: Place) -> String {
    let may: Vec<String> = kinds
        .iter()
        .filter(|kind| answers.may(**kind, Some(action), place))
        .map(|kind| format!("{kind:?}"))
        .collect();
    if may.len() == kinds.len() {
        "yes".to_owned()
    } else {
        may.join(", ")
    }
}
