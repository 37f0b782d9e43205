//! Prints answers: as tables for people, or as the API's own JSON.

use std::io::{self, Write as _};

use clap::ValueEnum;
use sealfleet_client::types::Page;
use sealfleet_domain::identity::ProfileUse;
use sealfleet_domain::text::{one_line, printable};
use sealfleet_domain::{Clock as _, Timestamp};
use sealfleet_system::SystemClock;
use serde::Serialize;

use super::failure::Failure;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Tables for people
    #[default]
    Text,
    /// One JSON document, as the API answered it
    Json,
}

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

/// Prints a list of the API: its JSON with `next_cursor`, or a table.
pub(super) fn page<T: Serialize>(
    output: Output,
    page: &Page<T>,
    table: impl FnOnce(&[T]) -> Table,
) -> Result<(), Failure> {
    answer(output, page, || table(&page.items).text())?;
    if let (Output::Text, Some(cursor)) = (output, &page.next_cursor) {
        note(&format!(
            "there may be more: use a larger `--limit`, or add `--cursor {cursor}`\n"
        ));
    }
    Ok(())
}

/// Prints JSON over several lines.
pub(super) fn document(value: &impl Serialize) -> Result<(), Failure> {
    write(&(serde_json::to_string_pretty(value).map_err(Failure::other)? + "\n"))
}

/// Prints one line of JSON.
pub(super) fn json_line(value: &impl Serialize) -> Result<(), Failure> {
    write(&(serde_json::to_string(value).map_err(Failure::other)? + "\n"))
}

/// Prints text, escaped: a terminal shows it and does nothing else. Succeeds when the reader has
/// closed the pipe (`| head`).
pub(super) fn write(text: &str) -> Result<(), Failure> {
    raw(printable(text).as_bytes())
}

/// Prints text of this program as it is: tabs of a shell's script must reach the shell.
pub(super) fn raw(text: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::other(error)),
        _ => Ok(()),
    }
}

/// Prints text on standard error, escaped likewise: prompts, progress and failures.
#[expect(
    clippy::print_stderr,
    reason = "all that the command says beside its answer is printed here"
)]
pub(super) fn note(text: &str) {
    eprint!("{}", printable(text));
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

/// How long ago something was, or how long until it is: `3 min ago`, `in 2 d`.
pub(super) fn ago(at: Timestamp) -> String {
    relative(at, SystemClock.now())
}

/// A time with [`ago`].
pub(super) fn moment(at: Timestamp) -> String {
    format!("{at} ({})", ago(at))
}

fn relative(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.millis_since(at) / 1000;
    let length = seconds.unsigned_abs();
    let length = match length {
        0..60 => format!("{length} s"),
        60..3600 => format!("{} min", length / 60),
        3600..86400 => format!("{} h", length / 3600),
        _ => format!("{} d", length / 86400),
    };
    if seconds < 0 {
        format!("in {length}")
    } else {
        format!("{length} ago")
    }
}

/// Lines of `name  value`, with the values aligned.
pub(super) fn lines<'a>(pairs: impl AsRef<[(&'a str, String)]>) -> String {
    let pairs = pairs.as_ref();
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
    fn a_cell_stays_on_its_line() {
        let mut table = Table::new(["WHY"]);
        table.row(["no\nsecond\u{1b}c".to_owned()]);
        assert_eq!(table.text(), "WHY\nno\\u000asecond\\u001bc\n");
        let shown = lines([("note", "a\nb\u{202e}".to_owned())]);
        assert_eq!(shown, "note  a\\u000ab\\u202e\n");
    }

    #[test]
    fn times_are_told_as_people_do() {
        let now = Timestamp::from_millis(1_800_000_000_000);
        for (seconds, told) in [
            (0, "0 s ago"),
            (-59, "59 s ago"),
            (-60, "1 min ago"),
            (-3599, "59 min ago"),
            (-7200, "2 h ago"),
            (-86_400 * 40, "40 d ago"),
            (90, "in 1 min"),
            (86_400 * 90, "in 90 d"),
        ] {
            assert_eq!(relative(now.plus_seconds(seconds), now), told, "{seconds}");
        }
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
