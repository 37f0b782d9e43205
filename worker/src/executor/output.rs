//! The output of steps, in one file for each claim on this host, and on its way to the project's
//! outputs, unless nothing may leave this host. It never goes through the control plane.
//!
//! Of an output that is too long, its beginning and its end are kept, for the end says why a step
//! failed. The beginning goes into the file itself. What follows goes into a second file beside it,
//! and, once that is full, into a third; then the second one begins anew, and so on. At the step's
//! end the two are appended, the older one first, behind a line that says how much is missing.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sealfleet_client::types::Claim;
use sealfleet_domain::output::{RESULT, Stream};
use sealfleet_outputs::{FileStore, Upload};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::outputs::Stores;
use sealfleet_outputs::artifacts::Collection;

/// Where output goes: `DIRECTORY/RUN/STEP.FENCE.log`.
#[derive(Clone)]
pub struct Logs {
    pub directory: PathBuf,
    /// Bytes to keep of one claim's output: half of it for the beginning. The rest is read and
    /// discarded.
    pub most_bytes: u64,
    /// Where output goes besides. None: nothing leaves this host.
    pub outputs: Option<Arc<dyn Stores>>,
}

impl std::fmt::Debug for Logs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logs")
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

/// The output of one claim.
#[derive(Clone)]
pub struct StepLog {
    file: Arc<Mutex<Bounded>>,
    upload: Option<Arc<Upload>>,
    store: Option<Arc<dyn FileStore>>,
}

struct Bounded {
    path: PathBuf,
    beginning: Part,
    /// The older of the two parts of the end, and the one that grows.
    end: Option<(Part, Part)>,
    most_bytes: u64,
    cut_bytes: u64,
    /// Whether somebody was told that a write failed.
    told: bool,
    copies: Vec<JoinHandle<()>>,
}

/// A file with room for so many bytes more.
struct Part {
    file: File,
    left: u64,
}

impl Part {
    /// Writes as much of `bytes` as there is room for, and answers the rest.
    fn write<'a>(&mut self, bytes: &'a [u8]) -> io::Result<&'a [u8]> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX);
        let (kept, rest) = bytes.split_at(bytes.len().min(room));
        self.file.write_all(kept)?;
        self.left -= kept.len() as u64;
        Ok(rest)
    }
}

impl Logs {
    /// Makes the file of a claim, readable by this user only. Needs a runtime.
    ///
    /// # Errors
    /// The system's answer.
    pub fn open(&self, claim: &Claim) -> io::Result<StepLog> {
        let directory = self.directory.join(claim.run_id.to_string());
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)?;
        let path = directory.join(format!("{}.{}.log", claim.step_id, claim.fence));
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)?;
        let beginning = Part {
            file,
            left: self.most_bytes.div_ceil(2),
        };
        let store = self.outputs.as_ref().map(|outputs| outputs.of(claim));
        let upload = store.clone().map(|store| {
            let upload = Upload::begin(store, self.most_bytes);
            Arc::new(upload)
        });
        let file = Arc::new(Mutex::new(Bounded {
            path,
            beginning,
            end: None,
            most_bytes: self.most_bytes,
            cut_bytes: 0,
            told: false,
            copies: Vec::new(),
        }));
        Ok(StepLog {
            file,
            upload,
            store,
        })
    }
}

impl StepLog {
    /// Its file.
    pub(super) fn path(&self) -> PathBuf {
        self.lock().path.clone()
    }

    /// Whether it goes to the project's outputs, too.
    pub(super) const fn uploads(&self) -> bool {
        self.upload.is_some()
    }

    /// Copies `reader`, if there is one, until it ends.
    pub(super) fn follow(
        &self,
        stream: Stream,
        reader: Option<impl AsyncRead + Send + Unpin + 'static>,
    ) {
        let Some(mut reader) = reader else { return };
        let log = self.clone();
        let copy = tokio::spawn(async move {
            // Wiped: a step may print a secret.
            let mut buffer = Zeroizing::new(vec![0; 16 * 1024]);
            while let Ok(read @ 1..) = reader.read(&mut buffer).await {
                let bytes = buffer.get(..read).unwrap_or_default();
                log.lock().write(bytes);
                if let Some(upload) = &log.upload {
                    upload.write(stream, bytes);
                }
            }
        });
        self.lock().copies.push(copy);
    }

    /// Waits until all output has arrived, `patience` at most, puts the file in order, and has the
    /// rest stored.
    pub(super) async fn finish(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let copies = std::mem::take(&mut self.lock().copies);
        for mut copy in copies {
            if tokio::time::timeout_at(deadline, &mut copy).await.is_err() {
                copy.abort();
            }
        }
        self.lock().finish();
        if let Some(upload) = &self.upload {
            upload.finish().await;
        }
    }

    /// Keeps a step's result: beside the file, and in the project's outputs.
    ///
    /// # Errors
    /// Why it is not kept, for people.
    pub(super) async fn keep_result(&self, json: &[u8]) -> Result<(), String> {
        let path = self.path().with_extension("result.json");
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)
            .and_then(|mut file| file.write_all(json));
        written.map_err(|error| format!("the worker cannot keep the result: {error}"))?;
        match &self.upload {
            None => Ok(()),
            Some(upload) => upload
                .keep(RESULT, json)
                .await
                .map_err(|error| format!("the result could not be stored: {error}")),
        }
    }

    /// Begins to take what a step leaves, beside the file.
    pub(super) fn artifacts(&self, claim: &Claim) -> Option<Collection> {
        let directory = self.path().with_extension("artifacts");
        (!claim.artifacts.is_empty()).then(|| Collection::new(&claim.artifacts, directory))
    }

    /// Where what comes out of the step goes besides, if it does.
    pub(super) fn store(&self) -> Option<&dyn FileStore> {
        self.store.as_deref()
    }

    /// How many bytes of the output are not in the project's outputs.
    pub(super) fn missing_bytes(&self) -> u64 {
        self.upload
            .as_ref()
            .map_or(0, |upload| upload.missing_bytes())
    }

    /// How many bytes of the output are not in the file.
    pub(super) fn cut_bytes(&self) -> u64 {
        self.lock().cut_bytes
    }

    fn lock(&self) -> MutexGuard<'_, Bounded> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bounded {
    fn write(&mut self, bytes: &[u8]) {
        // What of it is written before an error is not counted as kept: the count may be too high
        // by one buffer, and is never too low.
        if let Err(error) = self.keep(bytes) {
            self.cut_bytes += bytes.len() as u64;
            self.tell(&error);
        }
    }

    /// Warns once for each step: a full disk refuses every line.
    fn tell(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.told, true) {
            let file = self.path.display();
            tracing::warn!(%error, %file, "cannot write a step's output; what follows may be missing");
        }
    }

    fn keep(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = self.beginning.write(bytes)?;
        while !rest.is_empty() {
            if self.end.is_none() {
                self.end = Some((self.part("tail-1")?, self.part("tail-2")?));
            }
            let Some((older, newer)) = &mut self.end else {
                return Ok(());
            };
            if newer.left == 0 {
                self.cut_bytes += older.file.metadata()?.len();
                older.file.set_len(0)?;
                older.file.rewind()?;
                older.left = newer.file.metadata()?.len();
                std::mem::swap(older, newer);
            }
            if newer.left == 0 {
                // There is no room at all for the end.
                self.cut_bytes += rest.len() as u64;
                return Ok(());
            }
            rest = newer.write(rest)?;
        }
        Ok(())
    }

    fn part(&self, name: &str) -> io::Result<Part> {
        let path = self.path.with_extension(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        Ok(Part {
            file,
            left: self.most_bytes / 4,
        })
    }

    fn finish(&mut self) {
        let Some((older, newer)) = self.end.take() else {
            return;
        };
        if let Err(error) = self.append([older.file, newer.file]) {
            self.tell(&error);
        }
    }

    /// Appends the end to the beginning, and removes its parts.
    fn append(&mut self, parts: [File; 2]) -> io::Result<()> {
        if self.cut_bytes > 0 {
            let (cut, most) = (self.cut_bytes, self.most_bytes);
            writeln!(
                self.beginning.file,
                "\n[{cut} bytes of output are cut out here; the worker keeps {most} bytes of a step]"
            )?;
        }
        for mut part in parts {
            part.rewind()?;
            io::copy(&mut part, &mut self.beginning.file)?;
        }
        for name in ["tail-1", "tail-2"] {
            std::fs::remove_file(self.path.with_extension(name))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn claim() -> Claim {
        serde_json::from_value(serde_json::json!({
            "project": "healthcare", "run_id": "run_0198c0de-0000-7000-8000-00000000000a", "step_id": "a", "fence": 2,
            "attempt": 1, "lease_seconds": 30, "mode": "bare", "command": ["true"], "env": {}, "timeout_seconds": 5
        }))
        .expect("a claim")
    }

    /// The text that is kept of `output`, and the count of what is not.
    async fn kept(most_bytes: u64, output: &[&'static [u8]]) -> (String, u64) {
        let place = tempfile::tempdir().expect("a directory");
        let logs = Logs {
            directory: place.path().join("logs"),
            most_bytes,
            outputs: None,
        };
        let log = logs.open(&claim()).expect("opened");
        for &piece in output {
            log.lock().write(piece);
        }
        log.finish(Duration::ZERO).await;
        let folder = place
            .path()
            .join("logs/run_0198c0de-0000-7000-8000-00000000000a");
        let files: Vec<_> = std::fs::read_dir(&folder).expect("there").collect();
        assert_eq!(files.len(), 1, "{files:?}");
        let path = folder.join("a.2.log");
        let mode = std::fs::metadata(&path).expect("there").permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        (
            std::fs::read_to_string(path).expect("text"),
            log.cut_bytes(),
        )
    }

    #[tokio::test]
    async fn beginning_and_end_are_kept_and_the_cut_is_marked() {
        let mark = |cut| {
            format!(
                "\n[{cut} bytes of output are cut out here; the worker keeps 16 bytes of a step]\n"
            )
        };
        assert_eq!(kept(16, &[b"0123456789"]).await, ("0123456789".into(), 0));
        let just_full = kept(16, &[b"0123456789", b"abcdef"]).await;
        assert_eq!(just_full, ("0123456789abcdef".into(), 0));
        // The end has two parts of four bytes; the older one is given up as a whole.
        let (text, cut) = kept(16, &[b"0123456789", b"abcdefg"]).await;
        assert_eq!((text, cut), (format!("01234567{}cdefg", mark(4)), 4));
        let (text, cut) = kept(16, &[b"0123456789abcdefghijklmnopqrstuvwxyz"]).await;
        assert_eq!((text, cut), (format!("01234567{}stuvwxyz", mark(20)), 20));
        let pieces: Vec<&'static [u8]> = vec![b"x"; 100_000];
        let (text, cut) = kept(1000, &pieces).await;
        let letters = text.matches('x').count() as u64;
        assert!((750..=1000).contains(&letters), "{letters}");
        assert_eq!(letters + cut, 100_000);
        assert_eq!(
            kept(0, &[b"abc"]).await,
            (
                String::from(
                    "\n[3 bytes of output are cut out here; the worker keeps 0 bytes of a step]\n"
                ),
                3
            )
        );
    }

    /// Counts warnings.
    #[derive(Clone, Default)]
    struct Warnings(Arc<std::sync::atomic::AtomicUsize>);

    impl io::Write for Warnings {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_full_disk_is_told_once_and_counted() {
        let warnings = Warnings::default();
        let writer = warnings.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone());
        let subscriber = subscriber.finish();
        let _set = tracing::subscriber::set_default(subscriber);
        let place = tempfile::tempdir().expect("a directory");
        let logs = Logs {
            directory: place.path().join("logs"),
            most_bytes: 1000,
            outputs: None,
        };
        let log = logs.open(&claim()).expect("opened");
        log.lock().beginning.file = OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .expect("every Linux has it");
        for _ in 0..10 {
            log.lock().write(b"line\n");
        }
        log.finish(Duration::ZERO).await;
        assert_eq!(log.cut_bytes(), 50);
        assert_eq!(warnings.0.load(std::sync::atomic::Ordering::SeqCst), 1);
    }
}
