//! Fetches an issuer's published documents with the HTTP client of the AWS SDK. Size and time are
//! bounded, and redirects are not followed.

use std::sync::OnceLock;
use std::time::Duration;

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::byte_stream::ByteStream;
use sealfleet_domain::oidc::{Issuer, is_trustworthy_url};
use serde::Deserialize;

use crate::keys::Keys;

/// Most bytes of a document.
const MOST_BYTES: usize = 256 * 1024;
/// Longest time to fetch one document.
const TIME: Duration = Duration::from_secs(3);

/// The HTTP client. Created when it is first needed, because most functions never get a JWT.
#[derive(Default)]
pub(crate) struct Fetcher(OnceLock<Connector>);

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

impl Fetcher {
    pub(crate) async fn keys(&self, issuer: &Issuer) -> Result<Keys, String> {
        let discovery = self.get(&issuer.discovery_url()).await?;
        let discovery: Discovery = serde_json::from_slice(&discovery)
            .map_err(|_| "its discovery document names no `jwks_uri`".to_owned())?;
        // OpenID Connect Discovery 1.0, section 4.3. Otherwise one issuer could publish keys for
        // another.
        if discovery.issuer != issuer.issuer {
            return Err("its discovery document names another issuer".to_owned());
        }
        let plain_issuer = issuer.issuer.starts_with("http://");
        if !is_trustworthy_url(&discovery.jwks_uri)
            || (!plain_issuer && discovery.jwks_uri.starts_with("http://"))
        {
            return Err("its `jwks_uri` is not an `https` address".to_owned());
        }
        Keys::parse(&self.get(&discovery.jwks_uri).await?)
    }

    async fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        tokio::time::timeout(TIME, self.fetch(url))
            .await
            .unwrap_or_else(|_| Err("it took too long to answer".to_owned()))
    }

    async fn fetch(&self, url: &str) -> Result<Vec<u8>, String> {
        let connector = self.0.get_or_init(|| {
            Connector::builder()
                .tls_provider(Provider::Rustls(CryptoMode::Ring))
                .build()
        });
        let mut request = HttpRequest::get(url).map_err(|error| error.to_string())?;
        request.headers_mut().insert("accept", "application/json");
        let response = connector
            .call(request)
            .await
            .map_err(|error| format!("it does not answer ({error})"))?;
        if response.status().as_u16() != 200 {
            return Err(format!(
                "it answers with HTTP status {}",
                response.status().as_u16()
            ));
        }
        let mut body = ByteStream::new(response.into_body());
        let mut bytes = Vec::new();
        while let Some(chunk) = body.next().await {
            bytes.extend_from_slice(
                &chunk.map_err(|error| format!("its answer broke off ({error})"))?,
            );
            if bytes.len() > MOST_BYTES {
                return Err(format!("its answer is longer than {MOST_BYTES} bytes"));
            }
        }
        Ok(bytes)
    }
}
