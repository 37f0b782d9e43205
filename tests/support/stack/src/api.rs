//! Callers of the HTTP API: by the typed client, or request by request where the wire itself is
//! looked at.

use reqwest::Method;
use sealfleet_api::operations;
use sealfleet_client::types::TokenCreated;
use sealfleet_client::{Client, Credential};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Failure, Outcome, PATIENCE, ensure};

/// Somebody who calls the API, with or without a credential.
#[derive(Clone)]
pub struct Caller {
    http: reqwest::Client,
    base_url: String,
    credential: Option<String>,
    client: Client,
}

/// An answer, kept as it came.
#[derive(Debug, Clone)]
pub struct Reply {
    /// What was asked, `POST /v1/runs`.
    pub asked: String,
    pub status: u16,
    /// The `etag` header; empty when there is none.
    pub etag: String,
    /// The `retry-after` header; empty when there is none.
    pub retry_after: String,
    /// The `content-type` header.
    pub content_type: String,
    pub bytes: Vec<u8>,
    /// The body as JSON; null when it is none.
    pub body: Value,
}

impl Caller {
    /// A caller without a credential.
    pub fn anonymous(http: &reqwest::Client, base_url: &str) -> Outcome<Self> {
        let client = Client::new(base_url, None)?.with_timeout(PATIENCE);
        Ok(Self {
            http: http.clone(),
            base_url: base_url.to_owned(),
            credential: None,
            client,
        })
    }

    /// The same caller with a credential to send as `Bearer`.
    pub fn with(&self, credential: &str) -> Outcome<Self> {
        let client =
            Client::new(&self.base_url, Some(Credential::new(credential)))?.with_timeout(PATIENCE);
        Ok(Self {
            credential: Some(credential.to_owned()),
            client,
            ..self.clone()
        })
    }

    /// The typed client, which repeats what may be repeated.
    pub const fn client(&self) -> &Client {
        &self.client
    }

    pub fn credential(&self) -> &str {
        self.credential.as_deref().unwrap_or_default()
    }

    /// Makes a token: `{"role": .., "project"?, "note"?, "expires_in_seconds"?}`.
    pub async fn token(&self, request: &Value) -> Outcome<TokenCreated> {
        Ok(self.client.create_token(&typed(request)?).await?)
    }

    /// `GET`.
    pub async fn get(&self, path: &str) -> Outcome<Reply> {
        self.send(Method::GET, path, None, &[]).await
    }

    /// `DELETE`.
    pub async fn delete(&self, path: &str) -> Outcome<Reply> {
        self.send(Method::DELETE, path, None, &[]).await
    }

    /// `PUT` of a JSON body, in place of what has this entity tag.
    pub async fn put(&self, path: &str, etag: Option<&str>, body: &Value) -> Outcome<Reply> {
        let headers: Vec<_> = etag.map(|etag| ("if-match", etag)).into_iter().collect();
        self.send(
            Method::PUT,
            path,
            Some(body.to_string().into_bytes()),
            &headers,
        )
        .await
    }

    /// `POST` of a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Outcome<Reply> {
        self.post_bytes(path, body.to_string().into_bytes(), &[])
            .await
    }

    /// `POST` of a JSON body with an `Idempotency-Key`.
    pub async fn post_once(
        &self,
        path: &str,
        idempotency_key: &str,
        body: &Value,
    ) -> Outcome<Reply> {
        self.post_bytes(
            path,
            body.to_string().into_bytes(),
            &[("idempotency-key", idempotency_key)],
        )
        .await
    }

    /// `POST` of any bytes, said to be JSON.
    pub async fn post_bytes(
        &self,
        path: &str,
        body: Vec<u8>,
        headers: &[(&str, &str)],
    ) -> Outcome<Reply> {
        self.send(Method::POST, path, Some(body), headers).await
    }

    /// All items of a list, page by page.
    pub async fn list(&self, path: &str) -> Outcome<Vec<Value>> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let joint = if path.contains('?') { '&' } else { '?' };
            let page = match &cursor {
                Some(cursor) => self.get(&format!("{path}{joint}cursor={cursor}")).await?,
                None => self.get(path).await?,
            }
            .accepted()?;
            items.extend(page["items"].as_array().cloned().unwrap_or_default());
            cursor = page["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                return Ok(items);
            }
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        headers: &[(&str, &str)],
    ) -> Outcome<Reply> {
        let asked = format!("{method} {path}");
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.base_url));
        if let Some(credential) = &self.credential {
            request = request.bearer_auth(credential);
        }
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let header = |name: &str| {
            let value = answer
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let (content_type, etag, retry_after) = (
            header("content-type"),
            header("etag"),
            header("retry-after"),
        );
        let bytes = answer.bytes().await?.to_vec();
        let body = serde_json::from_slice(&bytes).unwrap_or_default();
        let reply = Reply {
            asked,
            status,
            etag,
            retry_after,
            content_type,
            bytes,
            body,
        };
        reply.is_documented().map(|()| reply)
    }
}

impl Reply {
    /// Whether the API's own description of the operation has this answer. What API Gateway answers
    /// by itself is not of the API, nor is what the emulator says of a function that was killed,
    /// nor what no operation takes.
    fn is_documented(&self) -> Outcome {
        let (method, target) = self.asked.split_once(' ').unwrap_or_default();
        let path = target.split('?').next().unwrap_or_default();
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let Some(operation) = operations::find(method, &parts) else {
            return Ok(());
        };
        let code = serde_json::from_value(self.body["code"].clone()).ok();
        let by_gateway = self.status >= 400 && self.body.get("message").is_some()
            || self.status == 502
                && self.body["errorType"]
                    .as_str()
                    .is_some_and(|kind| kind.starts_with("Runtime."));
        if by_gateway || operation.answers_with(self.status, code) {
            return Ok(());
        }
        Err(self.unexpected(&format!("an answer that `{}` documents", operation.id)))
    }

    /// The body of a 2xx answer.
    pub fn accepted(self) -> Outcome<Value> {
        if (200..300).contains(&self.status) {
            Ok(self.body)
        } else {
            Err(self.unexpected("2xx"))
        }
    }

    /// Whether this is a well-formed problem of this status and code; its `detail`.
    pub fn refused(&self, status: u16, code: &str) -> Outcome<String> {
        if self.status != status || self.body["code"] != code {
            return Err(self.unexpected(&format!("{status} `{code}`")));
        }
        self.is_problem()
    }

    /// Whether this is problem+json of RFC 9457 that says what to do; its `detail`.
    pub fn is_problem(&self) -> Outcome<String> {
        let told = |name: &str| {
            self.body[name]
                .as_str()
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        ensure!(
            self.content_type.starts_with("application/problem+json"),
            "{}",
            self.unexpected("problem+json")
        );
        ensure!(
            self.body["status"] == self.status,
            "{}",
            self.unexpected("its own status in the body")
        );
        let kind = told("code").map(|code| format!("urn:sealfleet:problem:{code}"));
        ensure!(
            kind.is_some() && told("type") == kind,
            "{}",
            self.unexpected("a `type` that names its code")
        );
        ensure!(told("title").is_some(), "{}", self.unexpected("a title"));
        told("detail").ok_or_else(|| self.unexpected("a detail"))
    }

    fn unexpected(&self, wanted: &str) -> Failure {
        let text = String::from_utf8_lossy(&self.bytes);
        let text: String = text.chars().take(600).collect();
        Failure::new(format!(
            "{}: expected {wanted}, got {} {text}",
            self.asked, self.status
        ))
    }
}

/// The typed request that a test writes as JSON.
pub fn typed<T: DeserializeOwned>(request: &Value) -> Outcome<T> {
    T::deserialize(request).map_err(|error| Failure::new(format!("{error}: {request}")))
}

/// A text member of a JSON object.
pub fn text(value: &Value, member: &str) -> Outcome<String> {
    value[member]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| Failure::new(format!("no `{member}` in {value}")))
}
