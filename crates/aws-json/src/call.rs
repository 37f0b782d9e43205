//! One call: request, signature, answer.

use aws_config::{BehaviorVersion, SdkConfig};
use aws_runtime::auth::{SigV4OperationSigningConfig, sigv4};
use aws_runtime::retries::classifiers::AwsErrorCodeClassifier;
use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime::client::retries::classifiers::{
    HttpStatusCodeClassifier, TransientErrorClassifier,
};
use aws_smithy_runtime_api::client::auth::AuthSchemeOptionResolverParams;
use aws_smithy_runtime_api::client::auth::static_resolver::StaticAuthSchemeOptionResolver;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::result::{ConnectorError, SdkError};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponentsBuilder;
use aws_smithy_runtime_api::client::runtime_plugin::StaticRuntimePlugin;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::Layer;
use aws_smithy_types::error::metadata::{ErrorMetadata, ProvideErrorMetadata};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SigningName;
use aws_types::region::{Region, SigningRegion};
use aws_types::service_config::ServiceConfigKey;
use serde_json::Value;

/// Why a call failed.
pub type CallError = SdkError<Refused, HttpResponse>;

/// The service answered with an error.
#[derive(Debug)]
pub struct Refused(ErrorMetadata);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Refused {}

impl ProvideErrorMetadata for Refused {
    fn meta(&self) -> &ErrorMetadata {
        &self.0
    }
}

/// A `POST`.
#[derive(Debug)]
pub(crate) struct Request {
    /// Percent-encoded.
    pub path: String,
    pub headers: Vec<(&'static str, &'static str)>,
    pub body: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    /// Lambda's `X-Amz-Function-Error`.
    pub function_error: Option<String>,
    pub body: Vec<u8>,
}

/// A service in one region.
#[derive(Clone, Debug)]
pub(crate) struct Service(Operation<Request, Answer, Refused>);

impl Service {
    /// `name` is the service's signing name and the first label of its host; `id` is the name that
    /// the SDK's configuration knows it by.
    pub fn new(
        config: &SdkConfig,
        name: &'static str,
        id: &'static str,
    ) -> Result<Self, Box<CallError>> {
        let missing = |what: &str| {
            Box::new(CallError::construction_failure(format!(
                "{what} is missing"
            )))
        };
        let region = config.region().ok_or_else(|| missing("a region"))?;
        let signed_for = if name == IAM {
            Region::new(home_of_iam(region.as_ref()))
        } else {
            region.clone()
        };
        let credentials = config
            .credentials_provider()
            .ok_or_else(|| missing("a provider of credentials"))?;
        let http = config
            .http_client()
            .ok_or_else(|| missing("an HTTP client"))?;

        let mut signing = Layer::new("signing");
        signing.store_put(SigningName::from_static(name));
        signing.store_put(SigningRegion::from(signed_for));
        signing.store_put(SigV4OperationSigningConfig::default());
        signing.store_put(AuthSchemeOptionResolverParams::new(()));
        let mut components = RuntimeComponentsBuilder::new("signing")
            .with_auth_scheme(sigv4::SigV4AuthScheme::new())
            .with_auth_scheme_option_resolver(Some(StaticAuthSchemeOptionResolver::new(vec![
                sigv4::SCHEME_ID,
            ])))
            .with_retry_classifier(HttpStatusCodeClassifier::default())
            .with_retry_classifier(TransientErrorClassifier::<Refused>::new())
            .with_retry_classifier(AwsErrorCodeClassifier::<Refused>::default());
        components.set_identity_resolver(sigv4::SCHEME_ID, credentials);
        if let Some(cache) = config.identity_cache() {
            components.set_identity_cache(Some(cache));
        }
        let signing = StaticRuntimePlugin::new()
            .with_config(signing.freeze())
            .with_runtime_components(components);

        let retries = config.retry_config().cloned();
        let limits = config.timeout_config().cloned();
        let operation = Operation::builder()
            .service_name(name)
            .operation_name("call")
            .behavior_version(BehaviorVersion::latest())
            .http_client(http)
            .endpoint_url(&endpoint(config, name, id, region))
            .standard_retry(&retries.unwrap_or_else(RetryConfig::standard))
            .timeout_config(limits.unwrap_or_else(TimeoutConfig::disabled))
            .serializer(serialize)
            .deserializer(deserialize)
            .runtime_plugin(signing);
        Ok(Self(operation.build()))
    }

    pub async fn post(&self, request: Request) -> Result<Answer, CallError> {
        self.0.invoke(request).await
    }

    /// Calls an operation of a service that speaks the AWS JSON 1.1 protocol. An empty answer is
    /// null.
    ///
    /// # Errors
    /// When the service refuses, does not answer, or answers with what is not JSON.
    pub async fn json(&self, target: &'static str, body: &Value) -> Result<Value, CallError> {
        let request = Request {
            path: "/".to_owned(),
            headers: vec![
                ("content-type", "application/x-amz-json-1.1"),
                ("x-amz-target", target),
            ],
            body: body.to_string().into_bytes(),
        };
        let answer = self.post(request).await?;
        if answer.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&answer.body).map_err(|error| {
            let why = format!("the answer to {target} is not JSON: {error}");
            CallError::dispatch_failure(ConnectorError::other(why.into(), None))
        })
    }
}

/// As for every client of the SDK: what `AWS_ENDPOINT_URL_<SERVICE>`, `AWS_ENDPOINT_URL` or the
/// profile name, or else the service's host in the region.
fn endpoint(config: &SdkConfig, name: &str, id: &str, region: &Region) -> String {
    let key = ServiceConfigKey::builder()
        .service_id(id)
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build();
    let of_service = key
        .ok()
        .and_then(|key| config.service_config()?.load_config(key));
    of_service
        .or_else(|| config.endpoint_url().map(str::to_owned))
        .unwrap_or_else(|| {
            let fips = config.use_fips() == Some(true);
            host(name, region.as_ref(), fips)
        })
}

/// The service with one endpoint for all regions of a partition.
const IAM: &str = "iam";

/// The region that calls of IAM are signed for ("AWS Identity and Access Management endpoints and
/// quotas", AWS General Reference).
fn home_of_iam(region: &str) -> &'static str {
    match region {
        china if china.starts_with("cn-") => "cn-north-1",
        government if government.starts_with("us-gov-") => "us-gov-west-1",
        _ => "us-east-1",
    }
}

fn host(name: &str, region: &str, fips: bool) -> String {
    let fips = if fips { "-fips" } else { "" };
    let china = if region.starts_with("cn-") { ".cn" } else { "" };
    if name == IAM {
        return match home_of_iam(region) {
            "us-gov-west-1" => "https://iam.us-gov.amazonaws.com".to_owned(),
            "cn-north-1" => "https://iam.cn-north-1.amazonaws.com.cn".to_owned(),
            _ => format!("https://iam{fips}.amazonaws.com"),
        };
    }
    format!("https://{name}{fips}.{region}.amazonaws.com{china}")
}

fn serialize(request: Request) -> Result<HttpRequest, Box<dyn std::error::Error + Send + Sync>> {
    let mut http = HttpRequest::new(SdkBody::from(request.body));
    http.set_method("POST")?;
    http.set_uri(request.path)?;
    for (name, value) in request.headers {
        http.headers_mut().try_insert(name, value)?;
    }
    Ok(http)
}

fn deserialize(response: &HttpResponse) -> Result<Answer, OrchestratorError<Refused>> {
    let body = response.body().bytes().unwrap_or_default();
    let header = |name| response.headers().get(name).map(str::to_owned);
    if response.status().is_success() {
        return Ok(Answer {
            function_error: header("x-amz-function-error"),
            body: body.to_vec(),
        });
    }
    let document: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |names: [&str; 2]| {
        let found = names.iter().find_map(|name| document.get(name)?.as_str());
        found.map(str::to_owned)
    };
    let element = |name: &str| element(&String::from_utf8_lossy(body), name);
    let code = header("x-amzn-errortype")
        .or_else(|| text(["__type", "code"]))
        .or_else(|| element("Code"))
        .unwrap_or_else(|| format!("HTTP status {}", response.status().as_u16()));
    let mut metadata = ErrorMetadata::builder().code(bare(&code));
    let message = text(["message", "Message"]).or_else(|| element("Message"));
    if let Some(message) = message {
        metadata = metadata.message(message);
    }
    Err(OrchestratorError::operation(Refused(metadata.build())))
}

/// The text of the first element of this name in an XML document, as the query protocol answers.
pub(crate) fn element(document: &str, name: &str) -> Option<String> {
    let (_, rest) = document.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text.to_owned())
}

/// The code without the namespace before it and the address behind it
/// (<https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html>, "Operation error
/// serialization").
fn bare(code: &str) -> &str {
    let code = code.split(':').next().unwrap_or(code);
    code.rsplit('#').next().unwrap_or(code)
}

/// A path's segment, percent-encoded as RFC 3986 asks.
pub(crate) fn segment(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_has_a_host() {
        assert_eq!(
            host("lambda", "eu-west-1", false),
            "https://lambda.eu-west-1.amazonaws.com"
        );
        assert_eq!(
            host("lambda", "us-gov-west-1", true),
            "https://lambda-fips.us-gov-west-1.amazonaws.com"
        );
        assert_eq!(
            host("lambda", "cn-north-1", false),
            "https://lambda.cn-north-1.amazonaws.com.cn"
        );
        for (region, url) in [
            ("eu-west-1", "https://iam.amazonaws.com"),
            ("cn-northwest-1", "https://iam.cn-north-1.amazonaws.com.cn"),
            ("us-gov-east-1", "https://iam.us-gov.amazonaws.com"),
        ] {
            assert_eq!(host("iam", region, false), url);
        }
    }
}
