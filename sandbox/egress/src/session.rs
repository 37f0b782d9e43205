//! One connection of a program in the sandbox.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use crate::Shared;
use crate::forward::{self, Body};
use crate::metered::Metered;
use crate::refusal::Refusal;
use crate::target::Target;
use crate::tunnel::{To, Tunnel};
use crate::upstream::Upstream;

/// What the requests of one connection share.
pub struct Session {
    pub shared: Arc<Shared>,
    /// The host of the tunnel that this is inside of.
    pub inside: Option<Upstream>,
    /// What the connection becomes after its last answer.
    tunnel: Mutex<Option<Tunnel>>,
}

/// Serves one connection. All that belongs to it ends with this future, at the latest when nothing
/// has moved for so long that its host was given up before.
pub async fn serve(shared: Arc<Shared>, client: TcpStream) {
    if client.set_nodelay(true).is_err() {
        return;
    }
    let limits = shared.limits;
    let client = Metered::new(client, Arc::default());
    let pulse = client.pulse();
    tokio::select! {
        () = answer_all(shared, client) => {}
        () = pulse.stopped(limits.idle + limits.head) => {}
    }
}

/// Answers requests one after the other, and becomes a tunnel if one asks for it.
async fn answer_all(shared: Arc<Shared>, client: Metered) {
    let limits = shared.limits;
    let session = Arc::new(Session {
        shared: Arc::clone(&shared),
        inside: None,
        tunnel: Mutex::default(),
    });
    let service = service_fn(|request| {
        let session = Arc::clone(&session);
        async move { Ok::<_, Infallible>(session.answer(request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_header_size(limits.head_bytes)
        .serve_connection(TokioIo::new(client), service)
        .with_upgrades()
        .await;
    let tunnel = session.take_tunnel();
    if let (Ok(()), Some(tunnel)) = (served, tunnel) {
        tunnel.run(shared).await;
    }
}

impl Session {
    /// Of the requests in a tunnel to this host.
    pub fn inside(shared: Arc<Shared>, target: Target) -> Self {
        Self {
            shared,
            inside: Some(Upstream::new(target)),
            tunnel: Mutex::default(),
        }
    }

    pub async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let answer = if request.method() == Method::CONNECT {
            self.connect(request).await
        } else {
            forward::forward(self, request).await
        };
        answer.unwrap_or_else(|refusal| refusal.answer())
    }

    /// `CONNECT` (RFC 9110, 9.3.6).
    async fn connect(&self, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
        if self.inside.is_some() {
            return Err(Refusal::Request(
                "this is a tunnel already; ask for another outside",
            ));
        }
        let target = Target::of_connect(request.uri())?;
        let headers = request.headers();
        if headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING) {
            return Err(Refusal::Request("CONNECT has no content"));
        }
        let to = if self.shared.reads(&target) {
            self.shared.gate.admit(&target)?;
            To::Requests(target)
        } else {
            To::Host(self.shared.gate.open(&target).await?, target)
        };
        self.become_tunnel(Tunnel {
            client: hyper::upgrade::on(request),
            to,
        });
        let nothing = Empty::new().map_err(|never| match never {});
        Ok(Response::new(nothing.boxed()))
    }

    pub fn become_tunnel(&self, tunnel: Tunnel) {
        let mut next = self.tunnel.lock().unwrap_or_else(PoisonError::into_inner);
        *next = Some(tunnel);
    }

    pub fn take_tunnel(&self) -> Option<Tunnel> {
        let mut next = self.tunnel.lock().unwrap_or_else(PoisonError::into_inner);
        next.take()
    }
}
