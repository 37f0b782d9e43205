//! Requests for `http://` addresses.
//!
//! Each gets a connection of its own to its host. What a program sends is read as HTTP/1.1, and
//! what the host gets is written anew: nothing passes that the two could read differently.

use http_body_util::BodyExt as _;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, Entry, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE, VIA,
};
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use hyper_util::rt::TokioIo;
use tokio::task::AbortHandle;

use crate::refusal::Refusal;
use crate::session::Session;
use crate::target::Target;
use crate::tunnel::{To, Tunnel};

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
    let target = Target::of_absolute(request.uri())?;
    check_framing(&request)?;
    let is_websocket = asks_for_websocket(&request);
    let client = hyper::upgrade::on(&mut request);
    rewrite(&mut request, &target, is_websocket)?;

    let host = session.gate.open(&target).await?;
    let (pulse, idle) = (host.pulse(), session.limits.idle);
    let handshake = http1::Builder::new()
        .max_header_size(session.limits.head_bytes)
        .handshake(TokioIo::new(host))
        .await;
    let (mut sender, connection) = handshake.map_err(|_| Refusal::Broken(target.clone()))?;
    let connection = Running::start({
        let pulse = pulse.clone();
        async move {
            tokio::select! {
                _ = connection.with_upgrades() => {}
                () = pulse.stopped(idle) => {}
            }
        }
    });
    let answer = sender.send_request(request).await;
    let mut answer = answer.map_err(|error| match error {
        error if error.is_parse() || error.is_parse_too_large() => Refusal::Answer(target.clone()),
        _ if pulse.quiet() >= idle => Refusal::AnswerTime(target.clone()),
        _ => Refusal::Broken(target.clone()),
    })?;
    let is_upgraded = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
    if !is_unambiguous(answer.headers()) || is_upgraded && !is_websocket {
        return Err(Refusal::Answer(target));
    }
    strip(answer.headers_mut());
    answer.headers_mut().append(VIA, via());
    if is_upgraded {
        become_websocket(answer.headers_mut());
        let host = To::Upgraded(hyper::upgrade::on(&mut answer), connection);
        session.become_tunnel(Tunnel { client, to: host });
        return Ok(answer.map(|nothing| nothing.boxed()));
    }
    Ok(answer.map(|body| {
        let body = body.map_frame(move |frame| {
            let _until_it_ends = &connection;
            frame
        });
        body.boxed()
    }))
}

/// A task that ends with what holds this.
pub struct Running(AbortHandle);

impl Running {
    fn start(task: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(task).abort_handle())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
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

/// Makes the request that the host gets. Its target decides about its `Host`, and its body about
/// its length.
fn rewrite(
    request: &mut Request<Incoming>,
    target: &Target,
    is_websocket: bool,
) -> Result<(), Refusal> {
    let path = request.uri().path_and_query().cloned();
    let path = path.unwrap_or(PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(path);
    *request.version_mut() = Version::HTTP_11;
    let length = request.body().size_hint().exact();
    let headers = request.headers_mut();
    strip(headers);
    if let (Some(_), Some(length)) = (headers.remove(CONTENT_LENGTH), length) {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    let host = HeaderValue::try_from(target.host_header());
    let host = host.map_err(|_| Refusal::Request("the host cannot stand in a header"))?;
    headers.insert(HOST, host);
    headers.append(VIA, via());
    if is_websocket {
        become_websocket(headers);
    } else {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(())
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
fn asks_for_websocket(request: &Request<Incoming>) -> bool {
    let has = |name, token| tokens(request.headers(), name).any(|it| it == token);
    request.version() == Version::HTTP_11
        && request.method() == Method::GET
        && has(&CONNECTION, "upgrade")
        && has(&UPGRADE, "websocket")
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
