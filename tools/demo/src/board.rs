//! The demo's progress messages, and the table of checks at its end.
//!
//! Progress goes to stderr, the table to stdout. A terminal that is gone is no reason to stop
//! half-way: it is not written to, and what was started is still taken down.

use std::fmt::Write as _;
use std::future::Future;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use sealfleet_test_stack::Outcome;

/// The checks so far.
pub struct Board {
    started: Instant,
    act: usize,
    checks: Vec<Check>,
    left_out: Vec<String>,
    is_colourful: bool,
}

struct Check {
    act: usize,
    name: String,
    passed: bool,
    told: String,
}

const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const BOLD: &str = "\x1b[1m";

impl Board {
    /// An empty board; time runs from now.
    pub fn new() -> Self {
        let is_colourful = std::io::stderr().is_terminal() && std::io::stdout().is_terminal();
        Self {
            started: Instant::now(),
            act: 0,
            checks: Vec::new(),
            left_out: Vec::new(),
            is_colourful,
        }
    }

    /// Since the demo began.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Opens the next act.
    pub fn act(&mut self, title: &str) {
        self.act += 1;
        let heading = format!("{}. {title}", self.act);
        tell(&format!(
            "\n[{:>3} s] {}",
            self.elapsed().as_secs(),
            self.painted(BOLD, &heading)
        ));
    }

    /// Prints a progress message.
    #[expect(
        clippy::unused_self,
        reason = "the story is told by the board, wherever it goes"
    )]
    pub fn say(&self, text: &str) {
        for line in text.lines() {
            tell(&format!("        {line}"));
        }
    }

    /// Makes a check: passed when `check` ends well, with what it has seen. A check that fails does
    /// not end the demo.
    pub async fn check(&mut self, name: &str, check: impl Future<Output = Outcome<String>>) {
        let outcome = check.await;
        let (passed, told) = match outcome {
            Ok(seen) => (true, seen),
            Err(failure) => (false, failure.to_string()),
        };
        let mark = if passed {
            self.painted(GREEN, "ok  ")
        } else {
            self.painted(RED, "FAIL")
        };
        tell(&format!("   {mark} {name}"));
        self.say(&told);
        self.checks.push(Check {
            act: self.act,
            name: name.to_owned(),
            passed,
            told,
        });
    }

    /// An act that is not played on this machine.
    pub fn leave_out(&mut self, what: &str) {
        tell(&format!("\n   left out: {what}"));
        self.left_out.push(what.to_owned());
    }

    /// A check that could not be made, because an earlier step has failed.
    pub fn broke_off(&mut self, why: String) {
        tell(&format!(
            "   {} the demo cannot go on",
            self.painted(RED, "FAIL")
        ));
        self.say(&why);
        self.checks.push(Check {
            act: self.act,
            name: "the demo reaches its end".to_owned(),
            passed: false,
            told: why,
        });
    }

    /// Whether there were checks, and each one passed.
    pub fn all_passed(&self) -> bool {
        !self.checks.is_empty() && self.checks.iter().all(|check| check.passed)
    }

    /// Prints the table of all checks.
    pub fn conclude(&self) {
        let width = self
            .checks
            .iter()
            .map(|check| check.name.chars().count())
            .max()
            .unwrap_or_default();
        let mut table = format!("\n act  {:<width$}  result\n", "check");
        let _ = writeln!(table, " ---  {}  ------", "-".repeat(width));
        for check in &self.checks {
            let result = if check.passed {
                self.painted(GREEN, "pass")
            } else {
                self.painted(RED, "FAIL")
            };
            let _ = writeln!(table, " {:>3}  {:<width$}  {result}", check.act, check.name);
        }
        let failed: Vec<&Check> = self.checks.iter().filter(|check| !check.passed).collect();
        let _ = writeln!(
            table,
            "\n {} of {} checks passed in {} s.",
            self.checks.len() - failed.len(),
            self.checks.len(),
            self.elapsed().as_secs()
        );
        for what in &self.left_out {
            let _ = writeln!(table, " Left out: {what}.");
        }
        for check in failed {
            let _ = writeln!(
                table,
                "\n {}: {}\n   {}",
                self.painted(RED, "FAIL"),
                check.name,
                check.told.replace('\n', "\n   ")
            );
        }
        let _ = std::io::stdout().write_all(table.as_bytes());
    }

    fn painted(&self, colour: &str, text: &str) -> String {
        if self.is_colourful {
            format!("{colour}{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// A line on stderr.
pub fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
