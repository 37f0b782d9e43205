//! A tunnel whose TLS the proxy ends, because it has a reason to read the requests in it: a rule
//! with methods or paths, or a secret that it puts in.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::server::Acceptor;
use sealfleet_domain::egress::Denied;
use tokio::io::{self, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::Shared;
use crate::authority::ALPN_H2;
use crate::hello::{HANDSHAKE, UNRECOGNIZED_NAME, is_named};
use crate::refusal::Refusal;
use crate::session::Session;
use crate::target::Target;
use crate::tasks::Tasks;

/// Requests of one HTTP/2 connection at once. Each may need a connection to its host.
const STREAMS: u32 = 64;

/// Answers the requests in a tunnel, and becomes a WebSocket if one asks for it.
pub async fn serve(
    shared: Arc<Shared>,
    target: Target,
    client: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) {
    let Some(client) = accept(&shared, &target, client).await else {
        return;
    };
    let is_http2 = client.get_ref().1.alpn_protocol() == Some(ALPN_H2);
    let limits = shared.limits;
    let session = Arc::new(Session::inside(Arc::clone(&shared), target));
    let service = service_fn(|request| {
        let session = Arc::clone(&session);
        async move { Ok::<_, Infallible>(session.answer(request).await) }
    });
    let io = TokioIo::new(client);
    if is_http2 {
        let tasks = Tasks::default();
        let _ = http2::Builder::new(tasks.starter())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
            .serve_connection(io, service)
            .await;
        return;
    }
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_header_size(limits.head_bytes)
        .serve_connection(io, service)
        .with_upgrades()
        .await;
    let tunnel = session.take_tunnel();
    if let (Ok(()), Some(tunnel)) = (served, tunnel) {
        tunnel.run(shared).await;
    }
}

/// TLS with a program. It has as long for it as for the head of a request.
async fn accept<T: AsyncRead + AsyncWrite + Unpin>(
    shared: &Shared,
    target: &Target,
    mut client: T,
) -> Option<TlsStream<Began<T>>> {
    let deadline = Instant::now() + shared.limits.head;
    let first = timeout_at(deadline, client.read_u8()).await.ok()?.ok()?;
    if first != HANDSHAKE {
        let refusal = Refusal::NeedsTls(target.clone());
        let _ = client.write_all(refusal.text().as_bytes()).await;
        let _ = client.shutdown().await;
        return None;
    }
    let client = Began {
        first: Some(first),
        inner: client,
    };
    let acceptor = LazyConfigAcceptor::new(Acceptor::default(), client);
    let hello = timeout_at(deadline, acceptor).await.ok()?.ok()?;
    if !is_named(&target.host, hello.client_hello().server_name()) {
        shared.record.denied(target, Denied::Sni);
        let mut client = hello.io;
        let _ = client.write_all(&UNRECOGNIZED_NAME).await;
        let _ = client.shutdown().await;
        return None;
    }
    let config = shared.authority.of(&target.host).ok()?;
    timeout_at(deadline, hello.into_stream(config))
        .await
        .ok()?
        .ok()
}

/// A connection of which a byte has been read already.
struct Began<T> {
    first: Option<u8>,
    inner: T,
}

impl<T: AsyncRead + Unpin> AsyncRead for Began<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() > 0
            && let Some(first) = self.first.take()
        {
            buf.put_slice(&[first]);
            return Poll::Ready(Ok(()));
        }
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Began<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
