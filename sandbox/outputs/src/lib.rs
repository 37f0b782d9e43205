//! What comes out of a step, on its way to the project's outputs.
//!
//! An [`Upload`] takes the output of one command and stores it as numbered chunks while the command
//! runs: as soon as a chunk is full, and what there is after two seconds. It keeps nobody waiting:
//! what cannot be stored is counted as missing. Of an output that is too long it stores the
//! beginning as it comes, and the end when the command has ended; between the two it says how much
//! is missing. So it holds no more in memory than these two.
//!
//! Files that it leaves behind are [artifacts].
//!
//! A pull worker does this beside a sandbox, and `sealfleet-init` does it inside of one that the
//! control plane has launched. Each has a [`Store`] of its own.

pub mod artifacts;

use std::collections::VecDeque;
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use sealfleet_domain::hash::ContentHash;
use sealfleet_domain::output::{CHUNK_BYTES, Chunk, PIECE_BYTES, Piece, Stream, chunk_name};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Bytes of one step's output that are stored at most: half of it from the beginning.
pub const MOST_BYTES: u64 = 8 * 1024 * 1024;

/// Bytes of a piece of the end, which is shortened from its front again and again.
const TAIL_PIECE: usize = 32 * 1024;

/// How long a piece of output waits for a chunk to get full.
const FLUSH: Duration = Duration::from_secs(2);

/// How long storing may go on after the output has ended.
const LAST_CHUNKS: Duration = Duration::from_secs(5);

/// How long a result or an artifact may take to be stored, beside the time for its bytes.
const PATIENCE: Duration = Duration::from_secs(60);

/// The pause after the first time that something could not be stored; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Why an object was not stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It may be stored if it is tried again.
    #[error("{0}")]
    Passing(String),
    /// It would be refused again.
    #[error("{0}")]
    Refused(String),
}

/// Where the objects of one claim go. Each name is stored once.
#[async_trait]
pub trait Store: Send + Sync {
    async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), StoreError>;
}

/// A store that takes files, too.
#[async_trait]
pub trait FileStore: Store {
    /// Stores a file as it is now, which must have this SHA-256.
    async fn put_file(
        &self,
        name: &str,
        path: &Path,
        sha256: ContentHash,
    ) -> Result<(), StoreError>;
}

/// Tries for a while what may go well later.
///
/// # Errors
/// Why it is not stored.
pub async fn insist<F: Future<Output = Result<(), StoreError>>>(
    put: impl Fn() -> F,
) -> Result<(), StoreError> {
    let (deadline, mut pause) = (Instant::now() + PATIENCE, FIRST_PAUSE);
    loop {
        match put().await {
            Err(StoreError::Passing(_)) if Instant::now() < deadline => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

/// The output of one command on its way.
pub struct Upload {
    state: Arc<Shared>,
    store: Arc<dyn Store>,
    task: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    output: Mutex<Pending>,
    changed: Notify,
}

#[derive(Default)]
struct Pending {
    /// What is to be stored next.
    pieces: VecDeque<Piece>,
    /// Since when something waits.
    since: Option<Instant>,
    /// Bytes that may still be added to the beginning.
    head_left: usize,
    /// The end of a long output, until it is over.
    tail: VecDeque<Piece>,
    tail_bytes: usize,
    tail_most: usize,
    /// Bytes that fell out between the beginning and the end.
    cut: u64,
    /// Bytes that could not be stored since the chunk before.
    lost: u64,
    /// The beginnings of letters whose rest has not come.
    split: [Vec<u8>; 2],
    written: u64,
    stored: u64,
    ended: bool,
}

impl Upload {
    /// Stores up to `most` bytes of an output in `store`. Needs a runtime.
    #[must_use]
    pub fn begin(store: Arc<dyn Store>, most: u64) -> Self {
        let most = usize::try_from(most.min(MOST_BYTES)).unwrap_or_default();
        let pending = Pending {
            head_left: most.div_ceil(2),
            tail_most: most / 2,
            ..Pending::default()
        };
        let state = Arc::new(Shared {
            output: Mutex::new(pending),
            changed: Notify::new(),
        });
        let task = tokio::spawn(work_off(Arc::clone(&state), Arc::clone(&store)));
        Self {
            state,
            store,
            task: Mutex::new(Some(task)),
        }
    }

    /// Takes what a command has written.
    pub fn write(&self, stream: Stream, bytes: &[u8]) {
        self.state.lock().write(stream, bytes);
        self.state.changed.notify_one();
    }

    /// Stores the rest, for some seconds at most. Nothing is stored after it.
    pub async fn finish(&self) {
        self.state.lock().end();
        self.state.changed.notify_one();
        let task = self
            .task
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(mut task) = task else { return };
        if tokio::time::timeout(LAST_CHUNKS, &mut task).await.is_err() {
            task.abort();
            tracing::warn!(
                "a step's output could not be stored in time; the rest is on this host alone"
            );
        }
    }

    /// Bytes of the output that are not stored. Complete once it has finished.
    pub fn missing_bytes(&self) -> u64 {
        let output = self.state.lock();
        output.written.saturating_sub(output.stored)
    }

    /// Stores an object beside the output, and tries again for a while if it cannot.
    ///
    /// # Errors
    /// Why it is not stored.
    pub async fn keep(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        insist(|| self.store.put(name, bytes.to_vec())).await
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let task = self
            .task
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(task) = task {
            task.abort();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next chunk, once it is full, has waited long enough, or is the last.
    async fn next(&self) -> Option<(Chunk, u64)> {
        loop {
            let waits_until = {
                let mut output = self.lock();
                let due = output.since.map(|since| since + FLUSH);
                let is_due = due.is_some_and(|due| due <= Instant::now());
                if output.ended || is_due || output.is_full() {
                    let chunk = output.take();
                    if chunk.is_some() || output.ended {
                        return chunk;
                    }
                }
                due
            };
            match waits_until {
                None => self.changed.notified().await,
                Some(due) => tokio::select! {
                    () = self.changed.notified() => {}
                    () = tokio::time::sleep_until(due) => {}
                },
            }
        }
    }
}

async fn work_off(state: Arc<Shared>, store: Arc<dyn Store>) {
    let mut refused = false;
    let mut number = 0;
    while let Some((chunk, bytes)) = state.next().await {
        let object = serde_json::to_vec(&chunk).unwrap_or_default();
        let stored = match refused {
            true => false,
            false => match store.put(&chunk_name(number), object).await {
                Ok(()) => true,
                Err(error) => {
                    refused = matches!(error, StoreError::Refused(_));
                    tracing::warn!(%error, "a part of a step's output was not stored; it is on this host alone");
                    false
                }
            },
        };
        number += 1;
        let mut output = state.lock();
        if stored {
            output.stored += bytes;
        } else {
            let before: u64 = chunk.pieces.iter().map(|piece| piece.missing_bytes).sum();
            output.lost += bytes + before;
        }
    }
}

impl Pending {
    fn write(&mut self, stream: Stream, bytes: &[u8]) {
        if self.ended {
            return;
        }
        let split = match stream {
            Stream::Stdout => 0,
            Stream::Stderr => 1,
        };
        let Some(before) = self.split.get_mut(split) else {
            return;
        };
        let mut whole = std::mem::take(before);
        whole.extend_from_slice(bytes);
        let (letters, rest) = whole.split_at(whole_letters(&whole));
        *before = rest.to_vec();
        let text = String::from_utf8_lossy(letters).into_owned();
        self.add(stream, &text);
    }

    fn add(&mut self, stream: Stream, text: &str) {
        self.written += text.len() as u64;
        let (head, rest) = split_text(text, self.head_left);
        if !head.is_empty() {
            self.head_left -= head.len();
            self.since.get_or_insert_with(Instant::now);
            push(&mut self.pieces, stream, head, CHUNK_BYTES);
        }
        if rest.is_empty() {
            return;
        }
        // What follows the first byte that has no room belongs to the end.
        self.head_left = 0;
        push(&mut self.tail, stream, rest, TAIL_PIECE);
        self.tail_bytes += rest.len();
        while self.tail_bytes > self.tail_most {
            let Some(oldest) = self.tail.front_mut() else {
                break;
            };
            let over = self.tail_bytes - self.tail_most;
            let mut gone = over.min(oldest.text.len());
            while !oldest.text.is_char_boundary(gone) {
                gone += 1;
            }
            if gone == oldest.text.len() {
                self.tail.pop_front();
            } else {
                oldest.text.drain(..gone);
            }
            self.tail_bytes -= gone;
            self.cut += gone as u64;
        }
    }

    /// The output is over: what was held back for its rest, and its end, are to be stored.
    fn end(&mut self) {
        if self.ended {
            return;
        }
        for (stream, split) in [(Stream::Stdout, 0), (Stream::Stderr, 1)] {
            let rest = self.split.get_mut(split).map(std::mem::take);
            let rest = rest.unwrap_or_default();
            if !rest.is_empty() {
                self.add(stream, &String::from_utf8_lossy(&rest));
            }
        }
        self.ended = true;
        let mut tail = std::mem::take(&mut self.tail);
        if self.cut > 0 {
            if tail.is_empty() {
                push(&mut tail, Stream::Stdout, "", TAIL_PIECE);
            }
            if let Some(first) = tail.front_mut() {
                first.missing_bytes = self.cut;
            }
        }
        self.pieces.extend(tail);
    }

    fn is_full(&self) -> bool {
        let mut cost = 0;
        self.pieces.iter().any(|piece| {
            cost += piece.text.len() + PIECE_BYTES;
            cost >= CHUNK_BYTES
        })
    }

    /// As much as a chunk holds, and how many bytes of output that is.
    fn take(&mut self) -> Option<(Chunk, u64)> {
        let (mut chunk, mut room, mut bytes) = (Chunk::default(), CHUNK_BYTES, 0);
        while let Some(piece) = self.pieces.front_mut() {
            room = room.saturating_sub(PIECE_BYTES);
            // A letter has four bytes at most: a piece always gets on.
            if room < 4 {
                break;
            }
            let (now, rest) = split_text(&piece.text, room);
            let taken = Piece {
                stream: piece.stream,
                text: now.to_owned(),
                missing_bytes: std::mem::take(&mut piece.missing_bytes),
            };
            let rest = rest.to_owned();
            room -= taken.text.len();
            bytes += taken.text.len() as u64;
            chunk.pieces.push(taken);
            if rest.is_empty() {
                self.pieces.pop_front();
            } else {
                piece.text = rest;
                break;
            }
        }
        let first = chunk.pieces.first_mut()?;
        first.missing_bytes += std::mem::take(&mut self.lost);
        self.since = (!self.pieces.is_empty()).then(Instant::now);
        Some((chunk, bytes))
    }
}

/// Adds text: to the last piece, if that is of the same stream and shorter than `long`.
fn push(pieces: &mut VecDeque<Piece>, stream: Stream, text: &str, long: usize) {
    match pieces.back_mut() {
        Some(last) if last.stream == stream && last.text.len() < long => {
            last.text.push_str(text);
        }
        _ => pieces.push_back(Piece {
            stream,
            text: text.to_owned(),
            missing_bytes: 0,
        }),
    }
}

/// The text's first `most` bytes, or a little less: no letter is split.
fn split_text(text: &str, most: usize) -> (&str, &str) {
    let mut at = most.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    text.split_at(at)
}

/// How many bytes come before a letter of UTF-8 that is not complete.
fn whole_letters(bytes: &[u8]) -> usize {
    for (back, byte) in bytes.iter().rev().take(3).enumerate() {
        let length = match byte {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            0x80..=0xbf => continue,
            _ => return bytes.len(),
        };
        return match length > back + 1 {
            true => bytes.len() - back - 1,
            false => bytes.len(),
        };
    }
    bytes.len()
}
