//! The command's output on its way out of the sandbox.
//!
//! The command writes into two pipes of this process, or into its terminal, and nothing else leads
//! out: this process redacts what comes and writes it to its own streams. So whoever reads those, a
//! worker or CloudWatch, sees redacted output only. A thread for each stream keeps its order. It
//! holds back what may be the beginning of a value, and no more ([`sealfleet_redaction`]).
//!
//! A reader that is slow holds up the command, as it would without this process between. One that
//! has gone away ends the pipe, so that the command is told in the usual way.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::fd::AsFd;
use std::process::{Child, ChildStderr, ChildStdout};
use std::sync::PoisonError;
use std::time::Duration;

use sealfleet_domain::output;
use sealfleet_domain::redaction::{self, Redaction, Stream};
use sealfleet_identity::SecretValue;
use sealfleet_redaction::{Matches, Redactor, Secret};
use tokio::sync::oneshot::{self, Receiver};
use tokio::time::{Instant, timeout_at};

use crate::supervise::{Copied, Tap};
use crate::terminal::Terminal;

/// How long what is left may take to be written once every process of the command has ended.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// Bytes that are read at once: what a pipe holds (pipe(7)).
const PIECE: usize = 64 * 1024;

/// The streams of a command.
pub struct Output {
    streams: Vec<(Stream, Receiver<Matches>)>,
}

/// Where what a command prints can be read.
pub(crate) enum Printed {
    /// Its two pipes, if it has them.
    Pipes(Option<ChildStdout>, Option<ChildStderr>),
    /// Its terminal, which is both streams in one.
    Terminal(File),
}

impl Printed {
    /// What `child` prints, which has this terminal or none.
    pub(crate) fn by(child: &mut Child, terminal: Option<Terminal>) -> Self {
        match terminal {
            Some(terminal) => Self::Terminal(terminal.output()),
            None => Self::Pipes(child.stdout.take(), child.stderr.take()),
        }
    }
}

impl Output {
    /// Redacts what a command prints from now on. `tap` reads its standard output along, and
    /// `copied` takes all of it, redacted.
    ///
    /// # Errors
    /// The system's answer.
    pub(crate) fn of(
        printed: Printed,
        redactor: &Redactor,
        tap: Option<Tap>,
        copied: Option<Copied>,
    ) -> io::Result<Self> {
        let read = |stream, tap| Readers {
            stream,
            tap,
            copied: copied.clone(),
        };
        let out = read(output::Stream::Stdout, tap);
        let err = read(output::Stream::Stderr, None);
        let streams = match printed {
            Printed::Terminal(terminal) => {
                let out = follow(terminal, &io::stdout(), redactor, out)?;
                vec![(Stream::Stdout, out)]
            }
            Printed::Pipes(stdout, stderr) => {
                let stdout = stdout.ok_or(io::ErrorKind::NotFound)?;
                let stderr = stderr.ok_or(io::ErrorKind::NotFound)?;
                let out = follow(stdout, &io::stdout(), redactor, out)?;
                let err = follow(stderr, &io::stderr(), redactor, err)?;
                vec![(Stream::Stdout, out), (Stream::Stderr, err)]
            }
        };
        Ok(Self { streams })
    }

    /// Waits until all of it is written, for a time. Answers what was taken out of it.
    pub(crate) async fn end(self, say: impl Fn(String)) -> Vec<Redaction> {
        let deadline = Instant::now() + LAST_WORDS;
        let mut redactions = Vec::new();
        for (stream, end) in self.streams {
            let Ok(Ok(matches)) = timeout_at(deadline, end).await else {
                say("the end of the output could not be written".to_owned());
                continue;
            };
            redactions.extend(rows(stream, &matches));
        }
        redaction::reported(redactions)
    }
}

/// What was found in `stream`, as it is told.
pub(crate) fn rows(stream: Stream, matches: &Matches) -> Vec<Redaction> {
    let row = |(key, encoding, count): (&str, _, _)| Redaction {
        key: key.to_owned(),
        stream,
        encoding,
        count,
    };
    matches.iter().map(row).collect()
}

/// A secret that the command gets.
pub(crate) struct Injected {
    /// Its variable.
    pub name: String,
    /// Where its value is kept, if this process knows.
    pub reference: Option<String>,
    pub value: SecretValue,
    /// Whether the value is taken out of the command's output.
    pub redact: bool,
}

/// Searches for the values of these secrets.
///
/// # Errors
/// Which value cannot be redacted, and what to do: the command must not run with it.
pub(crate) fn redactor(secrets: &[Injected]) -> Result<Redactor, String> {
    let wanted: Vec<Secret<'_>> = secrets
        .iter()
        .filter(|secret| secret.redact)
        .map(|secret| Secret {
            key: &secret.name,
            value: secret.value.expose(),
        })
        .collect();
    Redactor::new(&wanted).map_err(|refusal| {
        let reference = |key: &str| {
            let mut all = secrets.iter();
            let found = all.find(|secret| secret.name == key);
            found.and_then(|secret| secret.reference.as_deref())
        };
        let mut told = refusal.to_string();
        if let Some((key, uri)) = refusal.key().and_then(|key| Some((key, reference(key)?))) {
            told = told.replacen(&format!("`{key}`"), &format!("`{key}` (`{uri}`)"), 1);
        }
        format!(
            "{told}: use another value, or let it stay in output by `?redact=false` behind its reference in the profile"
        )
    })
}

/// A message without the values of these secrets.
pub(crate) fn without_values(message: &str, secrets: &[Injected]) -> String {
    match redactor(secrets) {
        Ok(redactor) => redactor.text(message).content,
        Err(_) => "the reason is withheld: it cannot be redacted".to_owned(),
    }
}

/// Who reads a stream besides whoever holds this process's own.
struct Readers {
    stream: output::Stream,
    tap: Option<Tap>,
    copied: Option<Copied>,
}

impl Readers {
    fn show(&self, bytes: &[u8]) {
        if let Some(tap) = &self.tap {
            let mut tap = tap.lock().unwrap_or_else(PoisonError::into_inner);
            tap.output(bytes);
        }
        if let Some(copied) = &self.copied {
            copied(self.stream, bytes);
        }
    }
}

fn follow(
    from: impl Read + Send + 'static,
    to: &impl AsFd,
    redactor: &Redactor,
    readers: Readers,
) -> io::Result<Receiver<Matches>> {
    // Unbuffered: what is decided is written at once.
    let mut to = File::from(to.as_fd().try_clone_to_owned()?);
    let stream = redactor.stream();
    let (tell, end) = oneshot::channel();
    std::thread::Builder::new()
        .name("output".to_owned())
        .spawn(move || {
            // Fails if nobody waits any more.
            drop(tell.send(copy(from, &mut to, stream, &readers)));
        })?;
    Ok(end)
}

/// Copies until `from` ends, or `to` takes no more. A terminal that no process has any more ends
/// with an error.
fn copy(
    mut from: impl Read,
    to: &mut File,
    mut stream: sealfleet_redaction::Stream,
    readers: &Readers,
) -> Matches {
    let mut piece = vec![0; PIECE];
    let mut out = Vec::with_capacity(2 * PIECE);
    loop {
        let read = match from.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        stream.push(piece.get(..read).unwrap_or_default(), &mut out);
        readers.show(&out);
        if to.write_all(&out).is_err() {
            return stream.finish(&mut Vec::new());
        }
        out.clear();
    }
    let matches = stream.finish(&mut out);
    readers.show(&out);
    // Nobody reads it any more if this fails.
    drop(to.write_all(&out));
    matches
}
