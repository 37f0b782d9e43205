//! The part `aws` of `docs/who-may-do-what.md`: what the policies answer to the matrix, for
//! readers.

use std::fmt::Write as _;

use crate::account::{Account, Shape};
use crate::matrix::{Answer, Matrix, Observed, Only, Row, Word};

pub const PAGE: &str = "docs/who-may-do-what.md";
const BEGIN: &str = "<!-- begin aws -->";
const END: &str = "<!-- end aws -->";

pub fn render(matrix: &Matrix, accounts: &[Account; 2]) -> Result<String, String> {
    let mut out = String::new();
    for section in &matrix.sections {
        let _ = writeln!(
            out,
            "### {}\n\n| what | functions of the control plane | ECS, starting a project's sandbox | a worker's sandbox, reading secrets | code in a project's sandbox | queue credentials of a project's worker | session of the role of outputs |\n|---|---|---|---|---|---|---|",
            section.title
        );
        for row in &section.rows {
            let Observed {
                functions,
                execution,
                reader,
                sandbox,
                queue,
                upload,
                download,
                slot,
                look,
                bring,
            } = observe(matrix, accounts, row)?;
            let why = row
                .why
                .as_ref()
                .map(|why| format!("<br>_{why}_"))
                .unwrap_or_default();
            let _ = writeln!(
                out,
                "| {}{}{why} | {} | {} | {} | {} | {} | {} |",
                row.what,
                row.only.map_or("", |only| match only {
                    Only::Small => " (with a network of yours)",
                    Only::Large => " (with a network made here, or a key of yours)",
                }),
                cell(&functions, "own only"),
                cell(&execution, "own project only"),
                cell(&reader, "own project only"),
                cell(&sandbox, "own project only"),
                cell(&queue, "own project only"),
                outputs(&[
                    ("a worker's", &upload, "own claim only"),
                    ("that of `runs`", &download, "own claim only"),
                    ("that of an upload", &slot, "own upload only"),
                    ("that of `enqueue`", &look, "own project only"),
                    (
                        "that of a step's inputs",
                        &bring,
                        "own run and project only"
                    ),
                ]),
            );
        }
        out.push('\n');
    }
    out.push_str("### The functions\n\n| function | what it does | what it may, of the above |\n|---|---|---|\n");
    for (name, does) in &matrix.functions {
        let mut may = Vec::new();
        for row in matrix.rows() {
            let answer = observe(matrix, accounts, row)?.functions;
            let has = match &answer {
                Answer::Word(word) => matches!(word, Word::Yes | Word::Own),
                Answer::Only(names) => names.contains(name),
            };
            if has {
                may.push(lower_first(&row.what));
            }
        }
        let _ = writeln!(out, "| `{name}` | {does} | {} |", may.join("; "));
    }
    Ok(out)
}

/// What the larger deployment answers, if the row is about it.
fn observe(matrix: &Matrix, [small, large]: &[Account; 2], row: &Row) -> Result<Observed, String> {
    let account = if row.is_about(Shape::Large) {
        large
    } else {
        small
    };
    matrix
        .observe(account, row)
        .map_err(|error| format!("`{}`: {error}", row.what))
}

/// The page with its part `aws` made anew.
pub fn written_into(page: &str, part: &str) -> Result<String, String> {
    let (before, rest) = page
        .split_once(BEGIN)
        .ok_or_else(|| format!("`{PAGE}` has no `{BEGIN}`"))?;
    let (_, after) = rest
        .split_once(END)
        .ok_or_else(|| format!("`{PAGE}` has no `{END}`"))?;
    Ok(format!(
        "{before}{BEGIN}\n{}\n{END}{after}",
        part.trim_end()
    ))
}

fn cell(answer: &Answer, own: &str) -> String {
    match answer {
        Answer::Word(Word::Yes) => "**yes**".to_owned(),
        Answer::Word(Word::No) => "no".to_owned(),
        Answer::Word(Word::Never) => "never".to_owned(),
        Answer::Word(Word::Own) => format!("**{own}**"),
        Answer::Only(names) => {
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            format!("**only** {}", names.join(", "))
        }
    }
}

/// The answers of the sessions of the role of outputs.
fn outputs(sessions: &[(&str, &Answer, &str)]) -> String {
    let no = Answer::Word(Word::No);
    let may = sessions.iter().filter(|(_, answer, _)| **answer != no);
    let may: Vec<String> = may
        .map(|(whose, answer, own)| format!("{whose}: {}", cell(answer, own)))
        .collect();
    if may.is_empty() {
        return "no".to_owned();
    }
    may.join("; ")
}

fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    characters
        .next()
        .map(|first| first.to_lowercase().chain(characters).collect())
        .unwrap_or_default()
}
