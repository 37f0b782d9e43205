//! A server between a program and the stack, which changes what either tells the other.
//!
//! With it a test takes a boundary out of a stack that others use as well: what the program sees is
//! then what it would see of a stack without that boundary.

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::{Failure, Outcome, PATIENCE};

/// A request of the program.
pub struct Asked {
    pub method: Method,
    /// With the query.
    pub path: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

pub struct Answer {
    pub status: u16,
    headers: HeaderMap,
    pub body: Vec<u8>,
}

/// What happens on the way.
pub trait Between: Send + Sync + 'static {
    /// May change a request before it goes on, or answer it in the stack's place.
    fn before(&self, asked: &mut Asked) -> impl Future<Output = Outcome<Option<Answer>>> + Send;

    /// May change an answer before it comes back.
    fn after(&self, asked: &Asked, answer: &mut Answer);
}

/// Serves until it is dropped.
pub struct Proxy {
    /// `http://127.0.0.1:PORT`
    pub url: String,
    serving: JoinHandle<()>,
}

struct Way<B> {
    upstream: String,
    http: reqwest::Client,
    between: Arc<B>,
}

impl Asked {
    /// A request of the query protocol, as if it had come.
    pub fn form(authorization: &str, body: &str) -> Outcome<Self> {
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        let mut asked = Self {
            method: Method::POST,
            path: "/".to_owned(),
            headers: HeaderMap::from_iter([(header::CONTENT_TYPE, kind)]),
            body: body.as_bytes().to_vec(),
        };
        asked.call_as(authorization)?;
        Ok(asked)
    }

    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub fn set_json(&mut self, body: &Value) {
        self.body = body.to_string().into_bytes();
    }

    /// Calls in the name of whoever has this credential.
    pub fn call_as(&mut self, authorization: &str) -> Outcome {
        let value = HeaderValue::from_str(authorization)?;
        self.headers.insert(header::AUTHORIZATION, value);
        Ok(())
    }
}

impl Answer {
    pub fn new(status: u16, content_type: &'static str, body: Vec<u8>) -> Self {
        let content_type = HeaderValue::from_static(content_type);
        Self {
            status,
            headers: HeaderMap::from_iter([(header::CONTENT_TYPE, content_type)]),
            body,
        }
    }

    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Another answer, with the content type that this one has.
    pub fn set(&mut self, status: u16, body: Vec<u8>) {
        self.status = status;
        self.body = body;
        // A checksum is of the body that was sent.
        let names: Vec<HeaderName> = self.headers.keys().cloned().collect();
        for name in names {
            if name.as_str().starts_with("x-amz-c") {
                self.headers.remove(name);
            }
        }
    }

    pub fn set_json(&mut self, status: u16, body: &Value) {
        self.set(status, body.to_string().into_bytes());
    }
}

impl Proxy {
    /// Starts a server before `upstream`, an address without a path.
    pub async fn start(upstream: &str, between: Arc<impl Between>) -> Outcome<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let way = Arc::new(Way {
            upstream: upstream.trim_end_matches('/').to_owned(),
            http: reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .timeout(PATIENCE)
                .build()?,
            between,
        });
        let routes = Router::new().fallback(pass).with_state(way);
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, routes).await {
                eprintln!("proxy: {error}");
            }
        });
        Ok(Self { url, serving })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn pass<B: Between>(State(way): State<Arc<Way<B>>>, request: Request) -> Response {
    let answer = match way.answer(request).await {
        Ok(answer) => answer,
        Err(failure) => {
            eprintln!("proxy: {failure}");
            Answer::new(502, "text/plain", failure.to_string().into_bytes())
        }
    };
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
    *response.headers_mut() = answer.headers;
    response
}

impl<B: Between> Way<B> {
    async fn answer(&self, request: Request) -> Outcome<Answer> {
        let (head, body) = request.into_parts();
        let path = head.uri.path_and_query();
        let path = path.ok_or_else(|| Failure::new("a request without a path"))?;
        let mut asked = Asked {
            method: head.method,
            path: path.to_string(),
            headers: without_the_connections(head.headers),
            body: axum::body::to_bytes(body, usize::MAX).await?.to_vec(),
        };
        let mut answer = match self.between.before(&mut asked).await? {
            Some(answer) => return Ok(answer),
            None => self.upstream(&asked).await?,
        };
        self.between.after(&asked, &mut answer);
        Ok(answer)
    }

    /// With the program's own `Host`, which its signature covers.
    async fn upstream(&self, asked: &Asked) -> Outcome<Answer> {
        let url = format!("{}{}", self.upstream, asked.path);
        let request = self.http.request(asked.method.clone(), url);
        let request = request
            .headers(asked.headers.clone())
            .body(asked.body.clone());
        let answer = request.send().await?;
        Ok(Answer {
            status: answer.status().as_u16(),
            headers: without_the_connections(answer.headers().clone()),
            body: answer.bytes().await?.to_vec(),
        })
    }
}

/// Headers that are about one connection (RFC 9110, section 7.6.1), or that follow from the body.
fn without_the_connections(mut headers: HeaderMap) -> HeaderMap {
    for name in [
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::CONTENT_LENGTH,
        header::TE,
        header::UPGRADE,
    ] {
        headers.remove(name);
    }
    headers.remove("keep-alive");
    headers
}
