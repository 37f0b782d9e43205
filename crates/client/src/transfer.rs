//! Content that does not go through the API: to where an upload says, and from signed URLs.
//!
//! Neither errors nor logs hold such a URL: its signature is all that it takes to use it.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use sealfleet_api::types::{CreateUpload, SignedUrl, UploadCreated};
use sealfleet_domain::UploadId;
use sealfleet_domain::hash::{ContentHash, Hasher};

use crate::client::{Client, is_this_machine};
use crate::error::{Error, is_passing};
use crate::retry;

/// How long the other side may say nothing.
const SILENCE: Duration = Duration::from_secs(30);
/// How long content may take, at the least rate of 64 KiB a second.
const SLOWEST: u64 = 64 * 1024;
const RETRIES: u32 = 3;
const PIECE: usize = 64 * 1024;

/// "Precondition failed": something is there already.
const WRITTEN_BEFORE: u16 = 412;

/// Why content did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error(transparent)]
    Api(#[from] Error),
    /// The content cannot be read or written here.
    #[error("{0}")]
    Here(#[from] io::Error),
    /// The store does not answer.
    #[error("the store at `{host}` does not answer: {reason}")]
    Transport { host: String, reason: String },
    /// The store refuses.
    #[error("the store refuses with HTTP status {0}")]
    Refused(u16),
    /// What arrived is something else.
    #[error("{0}")]
    Other(String),
    /// The URL is no address that may be called.
    #[error("the store's address is not `https`, and not on this machine")]
    Address,
}

impl TransferError {
    /// Whether it may go well if it is tried again.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Api(error) => error.is_passing(),
            Self::Transport { .. } => true,
            Self::Refused(status) => is_passing(*status),
            Self::Here(_) | Self::Other(_) | Self::Address => false,
        }
    }
}

impl Client {
    /// Uploads a file from its beginning. `told` hears how many bytes have gone.
    ///
    /// # Errors
    /// The content is not there.
    pub async fn upload(
        &self,
        mut file: File,
        told: impl Fn(u64) + Send + Sync + 'static,
    ) -> Result<UploadId, TransferError> {
        let (bytes, sha256) = measured(&mut file)?;
        let told: Told = Arc::new(told);
        let mut attempt = 0;
        let created = self.create_upload(&CreateUpload { bytes, sha256 }).await?;
        loop {
            match self.put(&created, &file, bytes, &told).await {
                Ok(()) => return Ok(created.upload_id),
                Err(error) if error.is_passing() && attempt < RETRIES => {
                    tokio::time::sleep(retry::pause(attempt)).await;
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn put(
        &self,
        to: &UploadCreated,
        file: &File,
        bytes: u64,
        told: &Told,
    ) -> Result<(), TransferError> {
        let mut file = file.try_clone()?;
        file.rewind()?;
        let body = FileBody {
            file: Mutex::new(file),
            left: bytes,
            gone: 0,
            told: Arc::clone(told),
        };
        let url = checked(&to.url)?;
        let mut request = self.http().put(url).body(reqwest::Body::wrap(body));
        for (name, value) in &to.headers {
            request = request.header(name, value);
        }
        let answer = request.timeout(longest(bytes)).send().await;
        let status = answer.map_err(transport)?.status().as_u16();
        match status {
            // This very content, whose answer was lost: the signature lets nothing else in.
            200..=299 | WRITTEN_BEFORE => Ok(()),
            status => Err(TransferError::Refused(status)),
        }
    }

    /// Reads what lies at a signed URL into `sink`, from its beginning. It must have this size, and
    /// this SHA-256 if that is known.
    ///
    /// # Errors
    /// It is not there, or is something else. The sink may have a part of it.
    pub async fn fetch(
        &self,
        url: &SignedUrl,
        bytes: u64,
        sha256: Option<ContentHash>,
        sink: &mut (impl io::Write + Send),
    ) -> Result<(), TransferError> {
        let get = self.http().get(checked(url)?).timeout(longest(bytes));
        let mut answer = get.send().await.map_err(transport)?;
        if !answer.status().is_success() {
            return Err(TransferError::Refused(answer.status().as_u16()));
        }
        let (mut hasher, mut left) = (Hasher::default(), bytes);
        loop {
            let piece = tokio::time::timeout(SILENCE, answer.chunk()).await;
            let piece = piece.map_err(|_| TransferError::Transport {
                host: host(&answer),
                reason: "it has stopped sending".to_owned(),
            })?;
            let Some(piece) = piece.map_err(transport)? else {
                break;
            };
            left = left.checked_sub(piece.len() as u64).ok_or_else(|| {
                TransferError::Other(format!(
                    "more than the {bytes} bytes that were promised came"
                ))
            })?;
            hasher.update(&piece);
            sink.write_all(&piece)?;
        }
        if left > 0 {
            return Err(TransferError::Other(format!(
                "{} of {bytes} bytes came",
                bytes - left
            )));
        }
        if sha256.is_some_and(|sha256| hasher.finish() != sha256) {
            return Err(TransferError::Other(
                "its SHA-256 is not the one that was promised".to_owned(),
            ));
        }
        Ok(())
    }
}

type Told = Arc<dyn Fn(u64) + Send + Sync>;

/// Size and SHA-256 of a whole file.
fn measured(file: &mut File) -> io::Result<(u64, ContentHash)> {
    file.rewind()?;
    let (mut hasher, mut bytes, mut piece) = (Hasher::default(), 0, vec![0; PIECE]);
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok((bytes, hasher.finish()));
        }
        bytes += read as u64;
        hasher.update(piece.get(..read).unwrap_or_default());
    }
}

/// Content goes by TLS, except to this machine.
fn checked(url: &SignedUrl) -> Result<&str, TransferError> {
    let url = url.expose();
    if url.starts_with("https://") || (url.starts_with("http://") && is_this_machine(url)) {
        Ok(url)
    } else {
        Err(TransferError::Address)
    }
}

fn longest(bytes: u64) -> Duration {
    SILENCE + Duration::from_secs(bytes / SLOWEST)
}

fn transport(error: reqwest::Error) -> TransferError {
    let host = error.url().and_then(reqwest::Url::host_str);
    let host = host.unwrap_or("unknown host").to_owned();
    let reason = if error.is_timeout() {
        "no answer in time".to_owned()
    } else {
        let error = error.without_url();
        let mut innermost: &dyn std::error::Error = &error;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        innermost.to_string()
    };
    TransferError::Transport { host, reason }
}

fn host(answer: &reqwest::Response) -> String {
    answer.url().host_str().unwrap_or_default().to_owned()
}

/// A file on its way.
struct FileBody {
    file: Mutex<File>,
    left: u64,
    gone: u64,
    told: Told,
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let mut piece = vec![0; PIECE.min(usize::try_from(self.left).unwrap_or(PIECE))];
        let file = self.file.get_mut().unwrap_or_else(PoisonError::into_inner);
        let read = match file.read(&mut piece) {
            Ok(0) => return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
            Ok(read) => read,
            Err(error) => return Poll::Ready(Some(Err(error))),
        };
        piece.truncate(read);
        self.left -= read as u64;
        self.gone += read as u64;
        (self.told)(self.gone);
        Poll::Ready(Some(Ok(Frame::data(piece.into()))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
