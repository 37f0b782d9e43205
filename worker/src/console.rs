//! All that the worker prints. What it prints holds texts of others: a terminal shows them and does
//! nothing else.

use std::io::{self, Write};

use sealfleet_domain::text::printable;

/// Prints a line on standard error.
#[expect(clippy::print_stderr, reason = "all messages are printed here")]
pub fn note(text: &str) {
    eprintln!("{}", printable(text));
}

/// Prints a line on standard output.
#[expect(clippy::print_stdout, reason = "all answers are printed here")]
pub fn answer(text: &str) {
    println!("{}", printable(text));
}

/// Where log lines go: standard error, escaped. JSON stays the same document.
pub struct Log<W>(pub W);

impl<W: Write> Write for Log<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = printable(&String::from_utf8_lossy(line));
        self.0.write_all(text.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_holds_nothing_that_acts_on_a_terminal() {
        let mut log = Log(Vec::new());
        let line = "{\"error\":\"a\u{9b}31m\u{202e}\u{7f}\"}\n";
        log.write_all(line.as_bytes()).expect("written");
        let printed = String::from_utf8(log.0).expect("text");
        assert_eq!(printed, "{\"error\":\"a\\u009b31m\\u202e\\u007f\"}\n");
        let of = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
        assert_eq!(of(&printed), of(line));
    }
}
