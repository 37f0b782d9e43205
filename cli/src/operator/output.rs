//! Prints answers: as tables for people, or as the API's own JSON.

use std::io::{self, Write as _};

use sealfleet_domain::identity::ProfileUse;
use serde::Serialize;

use super::connection::Output;
use super::failure::Failure;

/// A heading and rows. Every row has as many cells as the heading.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new<const N: usize>(heading: [&str; N]) -> Self {
        Self {
            rows: vec![heading.map(str::to_owned).to_vec()],
        }
    }

    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| one_line(&cell)).to_vec());
    }

    pub(super) fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or_default()
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:<width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
        };
        self.rows.iter().map(line).collect()
    }
}

/// Prints one answer: the API's JSON unchanged, or `text`.
pub(super) fn answer(
    output: Output,
    value: &impl Serialize,
    text: impl FnOnce() -> String,
) -> Result<(), Failure> {
    match output {
        Output::Json => document(value),
        Output::Text => write(&text()),
    }
}

/// Prints a list: one JSON array, or a table.
pub(super) fn list<T: Serialize>(
    output: Output,
    items: &[T],
    table: impl FnOnce() -> Table,
) -> Result<(), Failure> {
    answer(output, &items, || table().text())
}

/// Prints JSON over several lines.
pub(super) fn document(value: &impl Serialize) -> Result<(), Failure> {
    write(&(serde_json::to_string_pretty(value).map_err(Failure::other)? + "\n"))
}

/// Prints one line of JSON.
pub(super) fn json_line(value: &impl Serialize) -> Result<(), Failure> {
    write(&(serde_json::to_string(value).map_err(Failure::other)? + "\n"))
}

/// Prints text. Succeeds when the reader has closed the pipe (`| head`).
pub(super) fn write(text: &str) -> Result<(), Failure> {
    let text = printable(text);
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::other(error)),
        _ => Ok(()),
    }
}

/// Text that a terminal only shows. What would move its cursor, change it or reorder its letters is
/// escaped as JSON escapes it, so that JSON stays the same document.
pub(super) fn printable(text: &str) -> String {
    let acts = |letter: char| {
        let reorders = matches!(letter,
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        reorders || (letter.is_control() && letter != '\n')
    };
    let mut printable = String::with_capacity(text.len());
    for letter in text.chars() {
        if acts(letter) {
            printable += &format!("\\u{:04x}", u32::from(letter));
        } else {
            printable.push(letter);
        }
    }
    printable
}

/// The same, on one line.
pub(super) fn one_line(text: &str) -> String {
    printable(text).replace('\n', "\\u000a")
}

/// The string that a unit variant or a plain value serialises to, without quotes.
pub(super) fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}

/// `key=value,…`, or `-` when there are none.
pub(super) fn pairs<'a, V: std::fmt::Display + 'a>(
    items: impl IntoIterator<Item = (&'a String, &'a V)>,
) -> String {
    joined(
        items
            .into_iter()
            .map(|(key, value)| format!("{key}={value}")),
    )
}

/// `a,b,…`, or `-` when there are none.
pub(super) fn joined(items: impl IntoIterator<Item = impl std::fmt::Display>) -> String {
    let text = items
        .into_iter()
        .map(|item| item.to_string())
        .collect::<Vec<_>>()
        .join(",");
    or_dash(Some(text).filter(|text| !text.is_empty()))
}

/// The profiles of a cascade, lowest level first: `system:system/base@3,run:crm@1`.
pub(super) fn levels(profiles: &[ProfileUse]) -> String {
    joined(
        profiles
            .iter()
            .map(|used| format!("{}:{}@{}", word(&used.level), used.profile, used.version)),
    )
}

/// The value, or `-` when it is absent.
pub(super) fn or_dash(value: Option<impl std::fmt::Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Lines of `name  value`, with the values aligned.
pub(super) fn lines<const N: usize>(pairs: [(&str, String); N]) -> String {
    let width = pairs
        .iter()
        .map(|(name, _)| name.len())
        .max()
        .unwrap_or_default();
    pairs
        .iter()
        .map(|(name, value)| format!("{name:<width$}  {}\n", one_line(value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_escaped_and_json_stays_the_same() {
        let hostile = "a\u{1b}[2J\u{9b}31m\u{7f}\u{202e}\r\tä\u{1f600}";
        let text = format!("{hostile}\n");
        let shown = printable(&text);
        assert_eq!(
            shown,
            "a\\u001b[2J\\u009b31m\\u007f\\u202e\\u000d\\u0009ä\u{1f600}\n"
        );
        let json = serde_json::to_string_pretty(&[hostile]).unwrap_or_default();
        let read: Option<Vec<String>> = serde_json::from_str(&printable(&json)).ok();
        assert_eq!(read, Some(vec![hostile.to_owned()]));
        let mut table = Table::new(["WHY"]);
        table.row(["no\nsecond\u{1b}c".to_owned()]);
        assert_eq!(table.text(), "WHY\nno\\u000asecond\\u001bc\n");
    }

    #[test]
    fn columns_stand_below_each_other() {
        let mut table = Table::new(["NAME", "STATE"]);
        table.row(["long-name".to_owned(), "x".to_owned()]);
        table.row(["ä".to_owned(), "-".to_owned()]);
        assert_eq!(
            table.text(),
            "NAME       STATE\nlong-name  x\nä          -\n"
        );
    }
}
