//! What came out of steps: `run logs`, `run result`, and the output that `run exec` follows.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use clap::{Args, ValueEnum};
use sealfleet_client::Client;
use sealfleet_client::types::{OutputPage, OutputPlace, RunView};
use sealfleet_domain::output::{Piece, Stream};
use sealfleet_domain::text::{acts, one_line};
use sealfleet_domain::{RunId, StepId};

use super::super::connection::Connection;
use super::super::failure::Failure;
use super::super::output::{Output, answer, json_line, note};
use super::{Pauses, show};

/// The longest pause before asking again for output that may have come.
const LONGEST_PAUSE: Duration = Duration::from_millis(700);

#[derive(Args)]
pub struct Logs {
    /// Id of the run
    run_id: RunId,
    /// Step whose output to print; needed if the run has several
    #[arg(long)]
    step: Option<StepId>,
    /// Print only this stream [default: both, each to the stream of the same name]
    #[arg(long, value_enum)]
    stream: Option<Only>,
    /// Go on until the step ends
    #[arg(short, long)]
    follow: bool,
}

#[derive(Args)]
pub struct ResultOf {
    /// Id of the run
    run_id: RunId,
    /// Step whose result to print; needed if the run has several
    #[arg(long)]
    step: Option<StepId>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Only {
    Stdout,
    Stderr,
}

pub(super) async fn logs(logs: Logs, connection: &Connection) -> Result<(), Failure> {
    let client = connection.client()?;
    let step = the_step(&client, logs.run_id, logs.step).await?;
    let reader = Reader {
        client: &client,
        run_id: logs.run_id,
        step: &step,
        stream: logs.stream.map(|only| match only {
            Only::Stdout => Stream::Stdout,
            Only::Stderr => Stream::Stderr,
        }),
        follow: logs.follow,
    };
    reader.print(connection.output).await
}

pub(super) async fn result(of: ResultOf, connection: &Connection) -> Result<(), Failure> {
    let client = connection.client()?;
    let step = the_step(&client, of.run_id, of.step).await?;
    let view = client.get_result(of.run_id, &step).await?;
    match (&view.result, &view.place) {
        (None, Some(place)) if connection.output == Output::Text => {
            let place = show::place(place);
            let bytes = view.bytes;
            Err(Failure::Other(format!(
                "the result, {bytes} bytes, lies beside the output: {place}"
            )))
        }
        _ => answer(connection.output, &view, || {
            let text = view.result.as_ref().map(serde_json::to_string_pretty);
            let text = text.and_then(Result::ok).unwrap_or_default();
            format!("{text}\n")
        }),
    }
}

/// The step that is meant: the one that is named, or the only one.
pub(super) async fn the_step(
    client: &Client,
    run_id: RunId,
    named: Option<StepId>,
) -> Result<StepId, Failure> {
    if let Some(step) = named {
        return Ok(step);
    }
    let RunView { steps, .. } = client.get_run(run_id).await?;
    match steps.as_slice() {
        [only] => Ok(only.id.clone()),
        several => {
            let names: Vec<String> = several.iter().map(|step| step.id.to_string()).collect();
            Err(Failure::Usage(format!(
                "name one of the run's steps with `--step`: {}",
                names.join(", ")
            )))
        }
    }
}

/// Reads a step's output from its beginning.
pub(super) struct Reader<'a> {
    pub client: &'a Client,
    pub run_id: RunId,
    pub step: &'a StepId,
    pub stream: Option<Stream>,
    /// Whether to go on until the step ends.
    pub follow: bool,
}

impl Reader<'_> {
    /// Prints what there is, or all until the step ends: each stream on its own, or each answer of
    /// the API as a line of JSON.
    pub(super) async fn print(&self, output: Output) -> Result<(), Failure> {
        let (mut fence, mut known) = (None, String::new());
        let mut cursor: Option<String> = None;
        let mut pauses = Pauses::up_to(LONGEST_PAUSE);
        loop {
            let page = self
                .client
                .get_output(self.run_id, self.step, self.stream, cursor.as_deref())
                .await?;
            let news = !page.items.is_empty();
            if output == Output::Json {
                if news || page.next_cursor.is_none() {
                    json_line(&page)?;
                }
            } else {
                if fence.is_some_and(|fence| fence != page.fence) && news {
                    note(&format!("the step is tried again: fence {}\n", page.fence));
                }
                for piece in &page.items {
                    print(piece)?;
                }
            }
            if news {
                fence = Some(page.fence);
            }
            let may_come = news || self.follow && page.goes_on;
            if page.next_cursor.is_none() || !may_come {
                return elsewhere(&page, output, fence.is_some());
            }
            // A task has a place long before it runs.
            let waits = matches!(page.place, None | Some(OutputPlace::Task { .. }));
            let tells = waits && fence.is_none() && output == Output::Text;
            if tells && self.tell(&mut known).await? {
                pauses.begin_again();
            }
            cursor.clone_from(&page.next_cursor);
            if news {
                pauses.begin_again();
            } else {
                pauses.next().await;
            }
        }
    }
}

impl Reader<'_> {
    /// Says how the step stands that has not begun, and answers whether that is new.
    async fn tell(&self, known: &mut String) -> Result<bool, Failure> {
        let view = self.client.get_run(self.run_id).await?;
        let step = view.steps.iter().find(|step| step.id == *self.step);
        let now = step.map(show::line).unwrap_or_default();
        let new = *known != now;
        if new {
            note(&format!("{}  {}\n", self.run_id, one_line(&now)));
            *known = now;
        }
        Ok(new)
    }
}

/// Says where output lies that is not read here.
fn elsewhere(page: &OutputPage, output: Output, some: bool) -> Result<(), Failure> {
    match &page.place {
        Some(place @ OutputPlace::Worker { .. }) if !some && output == Output::Text => {
            let place = show::place(place);
            note(&format!(
                "the output does not come here; it lies at {place}\n"
            ));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Prints a piece on the stream of its name. A terminal gets it escaped.
fn print(piece: &Piece) -> Result<(), Failure> {
    if piece.missing_bytes > 0 {
        note(&format!(
            "[{} bytes of output are missing here]\n",
            piece.missing_bytes
        ));
    }
    let written = match piece.stream {
        Stream::Stdout => put(
            &mut io::stdout().lock(),
            io::stdout().is_terminal(),
            &piece.text,
        ),
        Stream::Stderr => put(
            &mut io::stderr().lock(),
            io::stderr().is_terminal(),
            &piece.text,
        ),
    };
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::other(error)),
        _ => Ok(()),
    }
}

fn put(to: &mut impl io::Write, is_terminal: bool, text: &str) -> io::Result<()> {
    if is_terminal {
        to.write_all(shown(text).as_bytes())?;
    } else {
        to.write_all(text.as_bytes())?;
    }
    to.flush()
}

/// The text with what a terminal acts on escaped, but for newlines and tabs. A carriage return
/// before a newline is left out.
fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\n' | '\t' => shown.push(letter),
            '\r' if letters.peek() == Some(&'\n') => {}
            letter if acts(letter) => shown += &format!("\\u{:04x}", u32::from(letter)),
            letter => shown.push(letter),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_shows_output_and_does_nothing_else() {
        assert_eq!(
            shown("a\tb\r\nc\rd\u{1b}[31m\u{202e}ä\n"),
            "a\tb\nc\\u000dd\\u001b[31m\\u202eä\n"
        );
    }
}
