//! The `awslogs` driver: sends lines of a container's output in batches to one CloudWatch Logs
//! stream.
//!
//! As in the driver's default mode, a full buffer blocks the container instead of losing lines.
//! Lines are lost only when the service refuses a batch several times in a row: with one warning,
//! and a line in their place that says how many.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::clock;
use crate::cloud::{Cloud, CloudError, LogLine, RoleSession};
use crate::sandbox::Output;

/// Most bytes of one event, without its overhead.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html>
const MAX_LINE: usize = 256 * 1024 - OVERHEAD;
const OVERHEAD: usize = 26;
/// Room for the line about lost ones.
const MARK: usize = 128;
const MAX_BATCH_BYTES: usize = 1_048_576 - MARK;
const MAX_BATCH_LINES: usize = 10_000 - 1;
const BATCH_EVERY: Duration = Duration::from_millis(200);
const BUFFERED_LINES: usize = 4096;
const ATTEMPTS: u32 = 6;

/// An existing log stream, written to under a task's execution role.
pub struct LogStream {
    cloud: Arc<dyn Cloud>,
    role: Arc<RoleSession>,
    group: String,
    name: String,
}

impl LogStream {
    /// Creates the stream.
    ///
    /// # Errors
    /// The error of CloudWatch Logs, for example for a missing group.
    pub async fn create(
        cloud: Arc<dyn Cloud>,
        role: Arc<RoleSession>,
        group: &str,
        name: String,
    ) -> Result<Self, CloudError> {
        cloud
            .create_log_stream(&role.credentials().await?, group, &name)
            .await?;
        Ok(Self {
            cloud,
            role,
            group: group.to_owned(),
            name,
        })
    }

    /// Writes all lines until the outputs end.
    pub async fn copy(self, outputs: Vec<Output>) {
        let (lines, mut inbox) = mpsc::channel(BUFFERED_LINES);
        let mut readers = JoinSet::new();
        for output in outputs {
            readers.spawn(read_lines(output, lines.clone()));
        }
        drop(lines);
        let mut carried = None;
        let mut lost = 0;
        loop {
            let first = match carried.take() {
                Some(line) => line,
                None => match inbox.recv().await {
                    Some(line) => line,
                    None => return,
                },
            };
            let (mut batch, next) = fill_batch(first, &mut inbox).await;
            carried = next;
            batch.sort_by_key(|line| line.at);
            self.put_or_lose(batch, &mut lost).await;
        }
    }

    /// Writes `batch`, behind a line about those that were lost before it.
    async fn put_or_lose(&self, mut batch: Vec<LogLine>, lost: &mut usize) {
        let lines = batch.len();
        let at = batch.first().map(|line| line.at);
        if let (1.., Some(at)) = (*lost, at) {
            let text = format!("[{lost} lines of output were lost here]");
            batch.insert(0, LogLine { at, text });
        }
        match self.put(&batch).await {
            Ok(()) => *lost = 0,
            Err(error) => {
                if *lost == 0 {
                    tracing::warn!(stream = self.name, %error, "log lines lost; the log says how many");
                }
                *lost += lines;
            }
        }
    }

    async fn put(&self, batch: &[LogLine]) -> Result<(), CloudError> {
        let mut pause = Duration::from_millis(100);
        for attempt in 1..=ATTEMPTS {
            match self.try_put(batch).await {
                Err(error) if attempt == ATTEMPTS => return Err(error),
                Ok(()) => return Ok(()),
                Err(_) => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
            }
        }
        Ok(())
    }

    async fn try_put(&self, batch: &[LogLine]) -> Result<(), CloudError> {
        let role = self.role.credentials().await?;
        self.cloud
            .put_log_lines(&role, &self.group, &self.name, batch)
            .await
    }
}

/// Reads outputs to their end and discards them, for definitions without a log configuration.
pub async fn discard(outputs: Vec<Output>) {
    let mut readers = JoinSet::new();
    for mut output in outputs {
        readers.spawn(async move { tokio::io::copy(&mut output, &mut tokio::io::sink()).await });
    }
    while readers.join_next().await.is_some() {}
}

/// Collects lines for one call: those that arrive within the batch time and fit. Also returns the
/// line that did not fit.
async fn fill_batch(
    first: LogLine,
    inbox: &mut mpsc::Receiver<LogLine>,
) -> (Vec<LogLine>, Option<LogLine>) {
    let size = |line: &LogLine| line.text.len() + OVERHEAD;
    let until = tokio::time::Instant::now() + BATCH_EVERY;
    let mut bytes = size(&first);
    let mut batch = vec![first];
    while batch.len() < MAX_BATCH_LINES {
        let Ok(Some(line)) = tokio::time::timeout_at(until, inbox.recv()).await else {
            break;
        };
        bytes += size(&line);
        if bytes > MAX_BATCH_BYTES {
            return (batch, Some(line));
        }
        batch.push(line);
    }
    (batch, None)
}

async fn read_lines(mut output: impl AsyncRead + Unpin, lines: mpsc::Sender<LogLine>) {
    let mut chunk = vec![0; 16 * 1024];
    let mut pending: Vec<u8> = Vec::new();
    loop {
        let read = output.read(&mut chunk).await.unwrap_or(0);
        pending.extend_from_slice(chunk.get(..read).unwrap_or_default());
        let ended = read == 0;
        while let Some(line) = take_line(&mut pending, ended) {
            // CloudWatch Logs rejects empty messages.
            if !line.is_empty()
                && lines
                    .send(LogLine {
                        at: clock::now(),
                        text: line,
                    })
                    .await
                    .is_err()
            {
                return;
            }
        }
        if ended {
            return;
        }
    }
}

/// Takes the first line out of `pending`. Cuts a line that is too long, between characters if
/// possible.
fn take_line(pending: &mut Vec<u8>, ended: bool) -> Option<String> {
    let newline = pending
        .iter()
        .take(MAX_LINE + 1)
        .position(|byte| *byte == b'\n');
    let (taken, skipped) = match newline {
        Some(at) => (at, 1),
        None if pending.len() > MAX_LINE => (character_boundary(pending), 0),
        None if ended && !pending.is_empty() => (pending.len(), 0),
        None => return None,
    };
    let text = pending
        .get(..taken)
        .map(String::from_utf8_lossy)
        .unwrap_or_default()
        .into_owned();
    pending.drain(..taken + skipped);
    Some(text.strip_suffix('\r').map(str::to_owned).unwrap_or(text))
}

fn character_boundary(bytes: &[u8]) -> usize {
    let continuation = |at: &usize| {
        bytes
            .get(*at)
            .is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000)
    };
    (MAX_LINE - 3..=MAX_LINE)
        .rev()
        .find(|at| !continuation(at))
        .unwrap_or(MAX_LINE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut pending: Vec<u8>) -> Vec<String> {
        std::iter::from_fn(|| take_line(&mut pending, true)).collect()
    }

    #[test]
    fn output_is_cut_into_lines() {
        assert_eq!(
            all(b"one\r\n\ntwo\nlast".to_vec()),
            ["one", "", "two", "last"]
        );
        let mut open = b"no end yet".to_vec();
        assert_eq!(take_line(&mut open, false), None);
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let text = "é".repeat(MAX_LINE);
        let parts = all(text.clone().into_bytes());
        assert!(parts.iter().all(|part| part.len() <= MAX_LINE));
        assert_eq!(parts.concat(), text);
    }
}
