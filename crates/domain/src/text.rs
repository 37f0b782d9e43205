//! Free text that one person sends and another reads at a terminal.
//!
//! A letter can act on a terminal: it moves the cursor, changes colours, or reorders what stands
//! beside it. The API refuses such letters in every text of a request, but for the newline and the
//! tab of values that may have several lines: environment variables and words of commands. What has
//! one line is a [`Line`]. Whoever prints a text escapes it once more with [`printable`].

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

/// Whether a terminal acts on a letter: a control character, or one that changes the direction of
/// writing (Unicode Standard Annex 9, section 2).
#[must_use]
pub fn acts(letter: char) -> bool {
    let reorders = matches!(letter,
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    reorders || letter.is_control()
}

/// Checks a text that may have several lines.
///
/// # Errors
/// [`Unprintable`] for a letter that a terminal acts on, but for newlines and tabs.
pub fn check(text: &str) -> Result<(), Unprintable> {
    let refused = |letter| acts(letter) && !matches!(letter, '\n' | '\t');
    if text.chars().any(refused) {
        return Err(Unprintable);
    }
    Ok(())
}

/// The text with letters that a terminal acts on escaped as JSON escapes them, so that JSON stays
/// the same document. Newlines stay.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for letter in text.chars() {
        if acts(letter) && letter != '\n' {
            printable += &format!("\\u{:04x}", u32::from(letter));
        } else {
            printable.push(letter);
        }
    }
    printable
}

/// The same, on one line.
#[must_use]
pub fn one_line(text: &str) -> String {
    printable(text).replace('\n', "\\u000a")
}

/// A text with a letter that a terminal acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the text has a control character, or one that changes the direction of writing; leave it out"
)]
pub struct Unprintable;

/// A text of one line, without letters that a terminal acts on.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Line(String);

impl Line {
    /// The text on one line, with what acts on a terminal escaped.
    #[must_use]
    pub fn escaped(text: &str) -> Self {
        Self(one_line(text))
    }
}

impl FromStr for Line {
    type Err = Unprintable;

    fn from_str(text: &str) -> Result<Self, Unprintable> {
        if text.chars().any(acts) {
            return Err(Unprintable);
        }
        Ok(Self(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl Deref for Line {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<Line> for String {
    fn from(line: Line) -> Self {
        line.0
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of each kind: C0, DEL, C1, and what changes the direction of writing.
    const HOSTILE: [char; 9] = [
        '\0', '\u{7}', '\u{1b}', '\r', '\u{7f}', '\u{9b}', '\u{202e}', '\u{2066}', '\u{061c}',
    ];

    #[test]
    fn a_line_and_a_text_hold_nothing_that_acts_on_a_terminal() {
        for letter in HOSTILE {
            let text = format!("a{letter}b");
            assert_eq!(text.parse::<Line>(), Err(Unprintable), "{letter:?}");
            assert_eq!(check(&text), Err(Unprintable), "{letter:?}");
        }
        for letter in ['\n', '\t'] {
            let text = format!("a{letter}b");
            assert_eq!(text.parse::<Line>(), Err(Unprintable), "{letter:?}");
            assert_eq!(check(&text), Ok(()), "{letter:?}");
        }
        assert!("Zürich 北京 🙂 مرحبا".parse::<Line>().is_ok());
    }

    #[test]
    fn what_acts_on_a_terminal_is_escaped_and_json_stays_the_same() {
        let hostile = "a\u{1b}[2J\u{9b}31m\u{7f}\u{202e}\r\tä\u{1f600}";
        assert_eq!(
            printable(&format!("{hostile}\n")),
            "a\\u001b[2J\\u009b31m\\u007f\\u202e\\u000d\\u0009ä\u{1f600}\n"
        );
        assert_eq!(one_line("a\nb"), "a\\u000ab");
        let json = serde_json::to_string_pretty(&[hostile]).unwrap_or_default();
        let read: Option<Vec<String>> = serde_json::from_str(&printable(&json)).ok();
        assert_eq!(read, Some(vec![hostile.to_owned()]));
    }
}
