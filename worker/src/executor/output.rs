//! The output of steps, in one file for each claim on this host. The worker never sends it to the
//! control plane.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use sealfleet_client::types::Claim;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

/// Where output goes: `DIRECTORY/RUN/STEP.FENCE.log`.
#[derive(Clone, Debug)]
pub struct Logs {
    pub directory: PathBuf,
    /// Bytes to keep of one claim's output. The rest is read and discarded.
    pub most_bytes: u64,
}

/// The file of one claim.
#[derive(Clone)]
pub struct StepLog(Arc<Mutex<Bounded>>);

struct Bounded {
    file: File,
    left: u64,
}

impl Logs {
    /// Makes the file of a claim, readable by this user only.
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
            .open(path)?;
        Ok(StepLog(Arc::new(Mutex::new(Bounded {
            file,
            left: self.most_bytes,
        }))))
    }
}

impl StepLog {
    /// Copies `reader` into the file until it ends.
    pub(super) fn follow(&self, reader: impl AsyncRead + Send + Unpin + 'static) -> JoinHandle<()> {
        let log = self.clone();
        tokio::spawn(async move {
            let mut reader = reader;
            // Wiped: a step may print a secret.
            let mut buffer = Zeroizing::new(vec![0; 16 * 1024]);
            while let Ok(read @ 1..) = reader.read(&mut buffer).await {
                if let Err(error) = log.write(buffer.get(..read).unwrap_or_default()) {
                    tracing::warn!(%error, "cannot write a step's output");
                }
            }
        })
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if log.left == 0 {
            return Ok(());
        }
        let kept = bytes
            .len()
            .min(usize::try_from(log.left).unwrap_or(usize::MAX));
        log.file.write_all(bytes.get(..kept).unwrap_or_default())?;
        log.left = log.left.saturating_sub(kept as u64);
        if log.left == 0 {
            log.file
                .write_all(b"\n[the output is longer; what follows is not kept]\n")?;
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

    #[tokio::test]
    async fn output_is_kept_up_to_its_bound_and_private() {
        let place = tempfile::tempdir().expect("a directory");
        let logs = Logs {
            directory: place.path().join("logs"),
            most_bytes: 10,
        };
        let log = logs.open(&claim()).expect("opened");
        log.follow(&b"0123456789abc"[..]).await.expect("copied");
        log.follow(&b"more"[..]).await.expect("copied");
        let path = place
            .path()
            .join("logs/run_0198c0de-0000-7000-8000-00000000000a/a.2.log");
        let text = std::fs::read_to_string(&path).expect("there");
        assert!(
            text.starts_with("0123456789\n[") && !text.contains("abc") && !text.contains("more"),
            "{text}"
        );
        assert_eq!(
            std::fs::metadata(&path)
                .expect("there")
                .permissions()
                .mode()
                & 0o777,
            0o600
        );
    }
}
