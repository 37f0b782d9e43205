//! Requests that the proxy reads: those for `http://` addresses, and those in tunnels whose TLS it
//! ends.
//!
//! What a program sends is read as HTTP, and what the host gets is written anew: nothing passes
//! that the two could read differently. A request for an `http://` address gets a connection of its
//! own to its host.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, Entry, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE, VIA,
};
use hyper::http::Extensions;
use hyper::http::uri::Scheme;
use hyper::{Method, Request, Response, StatusCode, Version};

use crate::record::Record;
use crate::refusal::Refusal;
use crate::secrets;
use crate::session::Session;
use crate::target::Target;
use crate::tunnel::{To, Tunnel};
use crate::upstream::{self, Answered, Passing, Wants};
use crate::usage::{Call, Reader};

pub type Body = BoxBody<Bytes, hyper::Error>;

/// Fields that belong to one connection (RFC 9110, 7.6.1, and 11.7), beside those that its
/// `Connection` field names.
const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// Forwards a request and its answer.
pub async fn forward(
    session: &Session,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let shared = &session.shared;
    let target = match &session.inside {
        None => Target::of_absolute(request.uri())?,
        Some(host) => {
            check_authority(&request, &host.target)?;
            host.target.clone()
        }
    };
    check_framing(&request)?;
    shared.gate.judge(&target, &request)?;
    let wants = Wants {
        websocket: asks_for_websocket(&request)?,
        trailers: tokens(request.headers(), &TE).any(|token| token == "trailers"),
    };
    let client = hyper::upgrade::on(&mut request);
    let call = Call::of(&target, &request);
    let is_call = call.is_some();
    let answered = match &session.inside {
        None => {
            secrets::refuse_any(shared, &target, &request)?;
            let mut request = request.map(|body| body.boxed());
            rewrite(&mut request, wants);
            if is_call {
                Call::ask_plainly(request.headers_mut());
            }
            request.headers_mut().append(VIA, via());
            let wants = Wants {
                trailers: false,
                ..wants
            };
            upstream::send_plainly(shared, &target, request, wants).await?
        }
        Some(host) => {
            let rewrite = |request: &mut Request<Body>| {
                rewrite(request, wants);
                if is_call {
                    Call::ask_plainly(request.headers_mut());
                }
            };
            let request = secrets::put_in(shared, &target, request, rewrite).await?;
            host.send(shared, request, wants).await?
        }
    };
    let Answered { mut response, over } = answered;
    let is_upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if !is_unambiguous(response.headers()) || is_upgraded && !wants.websocket {
        return Err(Refusal::Answer(target));
    }
    strip(response.headers_mut());
    *response.version_mut() = Version::HTTP_11;
    if session.inside.is_none() {
        response.headers_mut().append(VIA, via());
    }
    if is_upgraded {
        become_websocket(response.headers_mut());
        let host = To::Upgraded(hyper::upgrade::on(&mut response), over);
        session.become_tunnel(Tunnel { client, to: host });
        return Ok(response.map(|nothing| nothing.boxed()));
    }
    let reader = call.and_then(|call| call.reader(&response));
    Ok(response.map(|body| {
        let body = Passing::new(body, over);
        match reader {
            None => body.boxed(),
            Some(reader) => Counted::new(body, reader, Arc::clone(&shared.record)).boxed(),
        }
    }))
}

/// Refuses a request that names another host than the tunnel that it came in. HTTP/1.1 has the name
/// in `Host`, HTTP/2 in its target, and both may have it in both places.
fn check_authority(request: &Request<Incoming>, target: &Target) -> Result<(), Refusal> {
    let uri = request.uri();
    let is_https = uri.scheme().is_none_or(|scheme| *scheme == Scheme::HTTPS);
    let in_target = uri.authority().map(|authority| Some(authority.as_str()));
    let in_fields = request.headers().get_all(HOST).iter();
    let in_fields = in_fields.map(|host| host.to_str().ok());
    let mut named = in_target.into_iter().chain(in_fields);
    if !is_https || !named.all(|name| name.is_some_and(|name| target.is_https(name))) {
        return Err(Refusal::Misdirected(target.clone()));
    }
    let names_none = uri.authority().is_none() && !request.headers().contains_key(HOST);
    if names_none && request.version() != Version::HTTP_10 {
        return Err(Refusal::Request("a request names its host"));
    }
    Ok(())
}

/// Refuses what one server reads in one way and another in another way.
fn check_framing(request: &Request<Incoming>) -> Result<(), Refusal> {
    // RFC 9112, 3.2.
    if request.headers().get_all(HOST).iter().count() > 1 {
        return Err(Refusal::Request("a request has one Host header"));
    }
    if !is_unambiguous(request.headers()) {
        return Err(Refusal::Request(
            "a body has one Content-Length, or the transfer coding `chunked` and no other",
        ));
    }
    Ok(())
}

fn is_unambiguous(headers: &HeaderMap) -> bool {
    let codings: Vec<&HeaderValue> = headers.get_all(TRANSFER_ENCODING).iter().collect();
    let lengths = headers.get_all(CONTENT_LENGTH).iter().count();
    match codings.as_slice() {
        [] => lengths <= 1,
        [coding] => lengths == 0 && coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        _ => false,
    }
}

/// Leaves out of a request what is for this connection. Its body decides about its length.
fn rewrite(request: &mut Request<Body>, wants: Wants) {
    let length = request.body().size_hint().exact();
    *request.extensions_mut() = Extensions::new();
    let headers = request.headers_mut();
    strip(headers);
    // Who reads the body here has sent the program on.
    headers.remove(EXPECT);
    if let (Some(_), Some(length)) = (headers.remove(CONTENT_LENGTH), length) {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    if wants.websocket {
        become_websocket(headers);
    }
}

/// Removes the fields that belong to the connection on which they came.
fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = tokens(headers, &CONNECTION)
        .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        if let Entry::Occupied(field) = headers.entry(name) {
            field.remove_entry_mult();
        }
    }
}

/// RFC 6455, 4.1. No other protocol is let through: each would be a tunnel that nobody asked for.
fn asks_for_websocket(request: &Request<Incoming>) -> Result<bool, Refusal> {
    let has = |name, token| tokens(request.headers(), name).any(|it| it == token);
    let asks = request.version() == Version::HTTP_11
        && request.method() == Method::GET
        && has(&CONNECTION, "upgrade")
        && has(&UPGRADE, "websocket");
    if asks && !request.body().is_end_stream() {
        return Err(Refusal::Request(
            "a request that asks for a WebSocket has no body",
        ));
    }
    Ok(asks)
}

fn become_websocket(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, WEBSOCKET);
}

/// The members of a list, in lower case.
fn tokens(headers: &HeaderMap, name: &HeaderName) -> impl Iterator<Item = String> {
    let lists = headers.get_all(name).iter();
    let lists = lists.filter_map(|list| list.to_str().ok());
    let tokens = lists.flat_map(|list| list.split(','));
    tokens.map(|token| token.trim().to_ascii_lowercase())
}

/// RFC 9110, 7.6.3.
fn via() -> HeaderValue {
    HeaderValue::from_static("1.1 sealfleet")
}

/// The body of a model's answer, read while it passes. However it ends, what it said is counted.
struct Counted {
    body: Passing,
    reader: Option<Reader>,
    record: Arc<Record>,
}

impl Counted {
    const fn new(body: Passing, reader: Reader, record: Arc<Record>) -> Self {
        Self {
            body,
            reader: Some(reader),
            record,
        }
    }
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let (Some(Ok(frame)), Some(reader)) = (&frame, &mut self.reader)
            && let Some(bytes) = frame.data_ref()
        {
            reader.read(bytes);
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

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(reader) = self.reader.take() {
            self.record.answered(reader.end());
        }
    }
}
