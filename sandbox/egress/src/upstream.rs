//! Connections to hosts, and requests over them.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use http_body::{Frame, SizeHint};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::header::{CONNECTION, COOKIE, HOST, HeaderValue, TE};
use hyper::http::uri::{PathAndQuery, Scheme};
use hyper::{Request, Response, Uri, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use rustls::{CertificateError, Error as TlsError};
use sealfleet_domain::egress::{HTTPS, HostName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::Shared;
use crate::authority::ALPN_H2;
use crate::forward::Body;
use crate::metered::Pulse;
use crate::refusal::Refusal;
use crate::target::{HTTP, Target};
use crate::tasks::{Running, Tasks};

/// How a request is to be sent.
#[derive(Clone, Copy)]
pub struct Wants {
    /// It asks to change the protocol to WebSocket.
    pub websocket: bool,
    /// Its program reads trailers.
    pub trailers: bool,
}

/// An answer, and the connection that it comes over.
pub struct Answered {
    pub response: Response<Incoming>,
    pub over: Over,
}

/// A connection while an answer comes over it.
pub enum Over {
    /// It is for this answer alone.
    Alone { _running: Running },
    /// It is for the next request when this one has its answer.
    Again { connection: Http1, idle: Idle },
    /// It is for many at once.
    Shared,
}

type Idle = Arc<Mutex<Vec<Http1>>>;

/// A connection that has HTTP/1.1.
pub struct Http1 {
    sender: http1::SendRequest<Body>,
    pulse: Pulse,
    running: Running,
}

/// A connection that has HTTP/2.
struct Http2 {
    sender: http2::SendRequest<Body>,
    pulse: Pulse,
    _running: Running,
    _tasks: Tasks,
}

enum Connection {
    Http1(Http1),
    Http2(Http2),
}

/// Sends a request to an `http://` host.
pub async fn send_plainly(
    shared: &Shared,
    target: &Target,
    mut request: Request<Body>,
    wants: Wants,
) -> Result<Answered, Refusal> {
    let host = shared.gate.open(target).await?;
    let pulse = host.pulse();
    let connection = handshake(shared, target, host, pulse).await?;
    written_for_http1(&mut request, target, HTTP, wants)?;
    if !wants.websocket {
        let close = HeaderValue::from_static("close");
        request.headers_mut().insert(CONNECTION, close);
    }
    connection.send_alone(shared, target, request).await
}

/// The host behind a connection whose TLS the proxy ends. It is connected to when a first request
/// needs it, and as often as its protocol needs.
pub struct Upstream {
    pub target: Target,
    http2: Mutex<Option<Http2>>,
    idle: Idle,
    /// One connects at a time: the others may find that it speaks HTTP/2.
    connecting: tokio::sync::Mutex<()>,
}

impl Upstream {
    pub fn new(target: Target) -> Self {
        Self {
            target,
            http2: Mutex::default(),
            idle: Idle::default(),
            connecting: tokio::sync::Mutex::default(),
        }
    }

    /// Sends a request. What was not sent because a connection had ended is sent over another.
    pub async fn send(
        &self,
        shared: &Shared,
        mut request: Request<Body>,
        wants: Wants,
    ) -> Result<Answered, Refusal> {
        if wants.websocket {
            let Connection::Http1(connection) = self.connect(shared, true).await? else {
                return Err(Refusal::Answer(self.target.clone()));
            };
            written_for_http1(&mut request, &self.target, HTTPS, wants)?;
            return connection.send_alone(shared, &self.target, request).await;
        }
        loop {
            let (connection, is_new) = self.connection(shared).await?;
            let unsent = match connection {
                Ready::Http1(connection) => {
                    written_for_http1(&mut request, &self.target, HTTPS, wants)?;
                    self.over_http1(shared, connection, request).await
                }
                Ready::Http2(sender, pulse) => {
                    written_for_http2(&mut request, &self.target, wants)?;
                    over_http2(shared, &self.target, sender, pulse, request).await
                }
            };
            request = match unsent {
                Ok(answered) => return Ok(answered),
                Err(Unsent::Refused(refusal)) => return Err(refusal),
                Err(Unsent::Whole(_)) if is_new => {
                    return Err(Refusal::Broken(self.target.clone()));
                }
                Err(Unsent::Whole(request)) => *request,
            };
        }
    }

    /// A connection that can take a request, and whether it was made for it.
    async fn connection(&self, shared: &Shared) -> Result<(Ready, bool), Refusal> {
        if let Some(ready) = self.has().await {
            return Ok((ready, false));
        }
        let _connecting = self.connecting.lock().await;
        if let Some(ready) = self.has().await {
            return Ok((ready, false));
        }
        let ready = match self.connect(shared, false).await? {
            Connection::Http1(connection) => Ready::Http1(connection),
            Connection::Http2(connection) => {
                let ready = Ready::Http2(connection.sender.clone(), connection.pulse.clone());
                *self.http2.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
                ready
            }
        };
        Ok((ready, true))
    }

    async fn has(&self) -> Option<Ready> {
        if let Some(connection) = &*self.http2.lock().unwrap_or_else(PoisonError::into_inner)
            && !connection.sender.is_closed()
        {
            let sender = connection.sender.clone();
            return Some(Ready::Http2(sender, connection.pulse.clone()));
        }
        loop {
            let idle = self
                .idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop();
            let mut connection = idle?;
            if connection.sender.ready().await.is_ok() {
                return Some(Ready::Http1(connection));
            }
        }
    }

    /// Connects to the host, and finds out that it is the one.
    async fn connect(&self, shared: &Shared, only_http1: bool) -> Result<Connection, Refusal> {
        let target = &self.target;
        let tls = || Refusal::Tls(target.clone());
        let name = match &target.host {
            HostName::Name(name) => ServerName::try_from(name.clone()).map_err(|_| tls())?,
            HostName::Address(address) => ServerName::IpAddress((*address).into()),
        };
        let config = shared.roots.config(only_http1).map_err(|_| tls())?;
        let host = shared.gate.open(target).await?;
        let pulse = host.pulse();
        let connecting = TlsConnector::from(config).connect(name, host);
        let stream = timeout(shared.limits.connect, connecting)
            .await
            .map_err(|_| Refusal::ConnectTime(target.clone()))?
            .map_err(|error| of_tls(target, &error))?;
        if stream.get_ref().1.alpn_protocol() != Some(ALPN_H2) {
            let connection = handshake(shared, target, stream, pulse).await?;
            return Ok(Connection::Http1(connection));
        }
        let tasks = Tasks::default();
        let handshake = http2::Builder::new(tasks.starter())
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(shared.limits.head_bytes).unwrap_or(u32::MAX))
            .handshake(TokioIo::new(stream))
            .await;
        let (sender, connection) = handshake.map_err(|_| Refusal::Broken(target.clone()))?;
        let (ends, idle) = (pulse.clone(), shared.limits.idle);
        let running = Running::start(async move {
            tokio::select! {
                _ = connection => {}
                () = ends.stopped(idle) => {}
            }
        });
        Ok(Connection::Http2(Http2 {
            sender,
            pulse,
            _running: running,
            _tasks: tasks,
        }))
    }

    async fn over_http1(
        &self,
        shared: &Shared,
        mut connection: Http1,
        request: Request<Body>,
    ) -> Result<Answered, Unsent> {
        match connection.sender.try_send_request(request).await {
            Ok(response) => Ok(Answered {
                response,
                over: Over::Again {
                    connection,
                    idle: Arc::clone(&self.idle),
                },
            }),
            Err(mut error) => Err(match error.take_message() {
                Some(request) => Unsent::Whole(Box::new(request)),
                None => {
                    let error = error.into_error();
                    Unsent::Refused(of_http(shared, &self.target, &connection.pulse, &error))
                }
            }),
        }
    }
}

enum Ready {
    Http1(Http1),
    Http2(http2::SendRequest<Body>, Pulse),
}

/// Why there is no answer.
enum Unsent {
    /// Nothing of the request was sent.
    Whole(Box<Request<Body>>),
    Refused(Refusal),
}

async fn over_http2(
    shared: &Shared,
    target: &Target,
    mut sender: http2::SendRequest<Body>,
    pulse: Pulse,
    request: Request<Body>,
) -> Result<Answered, Unsent> {
    match sender.try_send_request(request).await {
        Ok(response) => Ok(Answered {
            response,
            over: Over::Shared,
        }),
        Err(mut error) => Err(match error.take_message() {
            Some(request) => Unsent::Whole(Box::new(request)),
            None => Unsent::Refused(of_http(shared, target, &pulse, &error.into_error())),
        }),
    }
}

async fn handshake(
    shared: &Shared,
    target: &Target,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    pulse: Pulse,
) -> Result<Http1, Refusal> {
    let handshake = http1::Builder::new()
        .max_header_size(shared.limits.head_bytes)
        .handshake(TokioIo::new(stream))
        .await;
    let (sender, connection) = handshake.map_err(|_| Refusal::Broken(target.clone()))?;
    let (ends, idle) = (pulse.clone(), shared.limits.idle);
    let running = Running::start(async move {
        tokio::select! {
            _ = connection.with_upgrades() => {}
            () = ends.stopped(idle) => {}
        }
    });
    Ok(Http1 {
        sender,
        pulse,
        running,
    })
}

impl Http1 {
    async fn send_alone(
        mut self,
        shared: &Shared,
        target: &Target,
        request: Request<Body>,
    ) -> Result<Answered, Refusal> {
        let answer = self.sender.send_request(request).await;
        Ok(Answered {
            response: answer.map_err(|error| of_http(shared, target, &self.pulse, &error))?,
            over: Over::Alone {
                _running: self.running,
            },
        })
    }
}

fn of_http(shared: &Shared, target: &Target, pulse: &Pulse, error: &hyper::Error) -> Refusal {
    match error {
        error if error.is_parse() || error.is_parse_too_large() => Refusal::Answer(target.clone()),
        _ if pulse.quiet() >= shared.limits.idle => Refusal::AnswerTime(target.clone()),
        _ => Refusal::Broken(target.clone()),
    }
}

/// Why a host is not the one that it should be.
fn of_tls(target: &Target, error: &io::Error) -> Refusal {
    let cause = error.get_ref().and_then(|error| error.downcast_ref());
    let Some(TlsError::InvalidCertificate(error)) = cause else {
        return Refusal::Tls(target.clone());
    };
    let why = match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is for another host"
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "is not signed by an authority that the proxy knows"
        }
        CertificateError::Revoked => "has been revoked",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "is not for servers"
        }
        _ => "cannot be verified",
    };
    Refusal::Certificate(target.clone(), why)
}

/// Writes a request as HTTP/1.1 has it. The target decides about its `Host`.
fn written_for_http1(
    request: &mut Request<Body>,
    target: &Target,
    default: u16,
    wants: Wants,
) -> Result<(), Refusal> {
    *request.uri_mut() = Uri::from(path_of(request.uri()));
    *request.version_mut() = Version::HTTP_11;
    let headers = request.headers_mut();
    let host = HeaderValue::try_from(target.host_header(default));
    let host = host.map_err(|_| Refusal::Request("the host cannot stand in a header"))?;
    headers.insert(HOST, host);
    // HTTP/2 may have many of them, HTTP/1.1 has one (RFC 9113, 8.2.3).
    let cookies: Vec<&[u8]> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if cookies.len() > 1
        && let Ok(mut all) = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
    {
        all.set_sensitive(true);
        headers.insert(COOKIE, all);
    }
    if wants.trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    Ok(())
}

/// Writes a request as HTTP/2 has it.
fn written_for_http2(
    request: &mut Request<Body>,
    target: &Target,
    wants: Wants,
) -> Result<(), Refusal> {
    let uri = Uri::builder()
        .scheme(Scheme::HTTPS)
        .authority(target.host_header(HTTPS))
        .path_and_query(path_of(request.uri()))
        .build();
    *request.uri_mut() = uri.map_err(|_| Refusal::Request("the host cannot stand in a header"))?;
    *request.version_mut() = Version::HTTP_2;
    let headers = request.headers_mut();
    headers.remove(HOST);
    headers.remove(CONNECTION);
    headers.remove(TE);
    if wants.trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    Ok(())
}

fn path_of(uri: &Uri) -> PathAndQuery {
    let path = uri.path_and_query().cloned();
    path.unwrap_or(PathAndQuery::from_static("/"))
}

/// The body of an answer, and what its connection is for when it has ended.
pub struct Passing {
    body: Incoming,
    over: Option<Over>,
}

impl Passing {
    pub const fn new(body: Incoming, over: Over) -> Self {
        Self {
            body,
            over: Some(over),
        }
    }

    fn ended(&mut self) {
        if let Some(Over::Again { connection, idle }) = self.over.take() {
            idle.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(connection);
        }
    }
}

impl http_body::Body for Passing {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() {
            self.ended();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        if self.body.is_end_stream() {
            self.ended();
        }
    }
}
