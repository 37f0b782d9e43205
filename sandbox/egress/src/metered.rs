//! A connection that counts its bytes and knows how long it has been quiet.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::record::Counts;

pub struct Metered {
    stream: TcpStream,
    counts: Arc<Counts>,
    pulse: Pulse,
}

/// When something last went over a connection.
#[derive(Clone)]
pub struct Pulse {
    began: Instant,
    /// Milliseconds from then.
    last: Arc<AtomicU64>,
}

impl Pulse {
    fn beat(&self) {
        let since = self.began.elapsed().as_millis();
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        self.last.store(since, Ordering::Relaxed);
    }

    /// For how long nothing has gone over it.
    pub fn quiet(&self) -> Duration {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        self.began.elapsed().saturating_sub(last)
    }

    /// Returns when nothing has gone over it for so long.
    pub async fn stopped(&self, limit: Duration) {
        loop {
            match limit.saturating_sub(self.quiet()) {
                Duration::ZERO => return,
                rest => tokio::time::sleep(rest).await,
            }
        }
    }
}

impl Metered {
    pub fn new(stream: TcpStream, counts: Arc<Counts>) -> Self {
        let pulse = Pulse {
            began: Instant::now(),
            last: Arc::default(),
        };
        Self {
            stream,
            counts,
            pulse,
        }
    }

    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Counts what was written.
    fn sent(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written {
            self.counts.add_sent(bytes);
            self.pulse.beat();
        }
        written
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        let bytes = buf.filled().len() - before;
        if bytes > 0 {
            self.counts.add_received(bytes);
            self.pulse.beat();
        }
        read
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.sent(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.sent(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
