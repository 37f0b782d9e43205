//! The first bytes of a tunnel.
//!
//! A tunnel goes to the host that the policy allows, and TLS inside of it names a host once more.
//! Behind many addresses there are many hosts, and the second name decides. So it must be the
//! first one. Other protocols pass: they name no host before they are encrypted, or start TLS where
//! nobody sees it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::server::Acceptor;
use sealfleet_domain::egress::HostName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The type of a TLS record that begins a handshake (RFC 8446, 5.1).
pub const HANDSHAKE: u8 = 22;
/// A fatal alert `unrecognized_name` (RFC 6066, 3).
pub const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// Bytes that are read at once.
const PIECE: usize = 4096;

/// Whether a program may name this host in TLS. Addresses are not named there (RFC 6066, 3).
pub fn is_named(host: &HostName, named: Option<&str>) -> bool {
    match (host, named) {
        (HostName::Address(_), None) => true,
        (HostName::Name(_), Some(named)) => {
            named.parse().is_ok_and(|named: HostName| named == *host)
        }
        _ => false,
    }
}

/// The program's side of a tunnel. It ends if a ClientHello comes first and names another host. Its
/// bytes wait here until they are a whole one: rustls takes 64 KiB of them at most.
pub struct Guarded<T> {
    inner: T,
    host: HostName,
    /// What came until it was clear what it is, and how much of it has been passed on.
    first: Vec<u8>,
    passed: usize,
    state: State,
}

enum State {
    Waiting,
    Reading(Box<Acceptor>),
    Open,
    Refused,
}

impl<T> Guarded<T> {
    pub const fn new(inner: T, host: HostName) -> Self {
        Self {
            inner,
            host,
            first: Vec::new(),
            passed: 0,
            state: State::Waiting,
        }
    }

    /// The connection, if it was ended because of its ClientHello.
    pub fn refused(self) -> Option<T> {
        matches!(self.state, State::Refused).then_some(self.inner)
    }

    /// Looks at the next bytes.
    fn judge(&mut self, mut bytes: &[u8]) {
        self.first.extend_from_slice(bytes);
        if matches!(self.state, State::Waiting) {
            self.state = match bytes.first() {
                Some(&HANDSHAKE) => State::Reading(Box::default()),
                _ => State::Open,
            };
        }
        let State::Reading(acceptor) = &mut self.state else {
            return;
        };
        while !bytes.is_empty() {
            let read = acceptor.read_tls(&mut bytes).map(|_| acceptor.accept());
            self.state = match read {
                Ok(Ok(None)) => continue,
                Ok(Ok(Some(hello))) if is_named(&self.host, hello.client_hello().server_name()) => {
                    State::Open
                }
                _ => State::Refused,
            };
            return;
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Guarded<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while matches!(this.state, State::Waiting | State::Reading(_)) {
            let mut piece = [0; PIECE];
            let mut piece = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut piece))?;
            if piece.filled().is_empty() {
                this.state = State::Open;
            } else {
                this.judge(piece.filled());
            }
        }
        if matches!(this.state, State::Refused) {
            return Poll::Ready(Err(io::ErrorKind::PermissionDenied.into()));
        }
        let rest = this.first.get(this.passed..).unwrap_or_default();
        if rest.is_empty() {
            this.first = Vec::new();
            this.passed = 0;
            return Pin::new(&mut this.inner).poll_read(cx, buf);
        }
        let some = rest
            .get(..rest.len().min(buf.remaining()))
            .unwrap_or_default();
        buf.put_slice(some);
        this.passed += some.len();
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Guarded<T> {
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
