//! `aws-sm://NAME[#KEY]`: a secret of AWS Secrets Manager, or a value in one that is JSON.
//!
//! A worker's sandbox logs in by the step's own token, as its project's reader role
//! ([`Login`]). Each secret is read in a session of its own, whose policy leaves that one secret in
//! that one version. The worker says by ARN which secret a name means; the control plane has looked
//! it up.
//!
//! API: "`GetSecretValue`", AWS Secrets Manager API Reference.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use sealfleet_identity::{
    Context, IdentityBackend, IdentityError, Readable, Resolved, SecretValue,
};
use sealfleet_identity_aws::Login;
use sealfleet_identity_web::{Answer, Late, Service, fault};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::{Mutex, OnceCell};
use zeroize::Zeroizing;

/// The scheme of its references.
pub const SCHEME: &str = "aws-sm";

const SECRETS_MANAGER: Service = Service("AWS Secrets Manager");

/// The backend of one step.
struct SecretsManager {
    login: Login,
    address: Url,
    /// ARNs by name.
    arns: BTreeMap<String, String>,
    /// Several keys of one secret are one read.
    read: Mutex<BTreeMap<Asked, Arc<OnceCell<Stored>>>>,
}

/// An ARN and a version.
type Asked = (String, Option<String>);

/// What is stored in a version.
struct Stored {
    content: Zeroizing<Vec<u8>>,
    /// It was stored as text.
    is_text: bool,
    version: String,
    request_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Found {
    version_id: String,
    secret_string: Option<String>,
    secret_binary: Option<String>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(rename = "__type", default)]
    kind: String,
    #[serde(alias = "Message", default)]
    message: String,
}

/// The backend, for the [`Registry`](sealfleet_identity::Registry).
///
/// Settings: `role`, `region`, and `address` and `sts`, where the services are; `arn.NAME`, the ARN
/// of each secret.
#[must_use]
pub fn open(context: Context) -> Box<dyn IdentityBackend> {
    Box::new(Late::new(context, SecretsManager::of))
}

impl SecretsManager {
    fn of(context: &mut Context) -> Result<Self, IdentityError> {
        let address = SECRETS_MANAGER.setting(context, "address")?;
        let arns = context.settings.iter().filter_map(|(name, arn)| {
            let name = name.strip_prefix("arn.")?;
            Some((name.to_owned(), arn.clone()))
        });
        Ok(Self {
            arns: arns.collect(),
            login: Login::of(SECRETS_MANAGER, context, &[&address])?,
            address: Url::parse(&address).map_err(|_| SECRETS_MANAGER.not_configured())?,
            read: Mutex::default(),
        })
    }

    async fn read(
        &self,
        name: &str,
        arn: &str,
        version: Option<&str>,
    ) -> Result<Stored, IdentityError> {
        let session = self.login.assume(&policy(arn, version)).await?;
        let asked = match version {
            Some(version) => json!({ "SecretId": arn, "VersionId": version }),
            None => json!({ "SecretId": arn }),
        };
        let headers = headers("secretsmanager.GetSecretValue");
        let answer = self
            .login
            .ask(&session, "secretsmanager", &self.address, &headers, &asked);
        let answer = answer.await?;
        match answer.status.as_u16() {
            200 => Stored::of(name, &answer),
            _ => Err(refused(name, version, &answer)),
        }
    }
}

#[async_trait]
impl IdentityBackend for SecretsManager {
    async fn readable(&self) -> Result<Option<Vec<Readable>>, IdentityError> {
        let headers = headers("secretsmanager.DescribeSecret");
        let nobodys = json!({ "SecretId": "sealfleet" });
        self.login.knock(&self.address, &headers, &nobodys).await?;
        let nothing = json!({ "Version": "2012-10-17", "Statement": [
            { "Effect": "Deny", "Action": "*", "Resource": "*" },
        ] });
        self.login.assume(&nothing).await?;
        // A reader role may not ask what it may read.
        Ok(None)
    }

    async fn resolve(&self, name: &str, version: Option<&str>) -> Result<Resolved, IdentityError> {
        let (secret, key) = match name.split_once('#') {
            Some((secret, key)) => (secret, Some(key)),
            None => (name, None),
        };
        let arn = self.arns.get(secret).ok_or_else(|| {
            fault(
                "unknown_secret",
                format!("`{SCHEME}://{secret}` has no ARN in the claim of this step"),
            )
        })?;
        let asked = (arn.clone(), version.map(str::to_owned));
        let cell = Arc::clone(self.read.lock().await.entry(asked).or_default());
        let read = || self.read(secret, arn, version);
        let stored = cell.get_or_try_init(read).await?;
        stored.value(secret, key)
    }
}

fn headers(target: &str) -> [(&str, &str); 2] {
    [
        ("content-type", "application/x-amz-json-1.1"),
        ("x-amz-target", target),
    ]
}

/// What a session may do: read this secret in this version, and have it decrypted.
fn policy(arn: &str, version: Option<&str>) -> Value {
    let pinned = match version {
        Some(version) => json!({ "StringEquals": { "secretsmanager:VersionId": version } }),
        None => json!({}),
    };
    let read = json!({
        "Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": arn,
        "Condition": pinned,
    });
    let decrypt = json!({
        "Effect": "Allow", "Action": "kms:Decrypt", "Resource": "*",
        "Condition": { "StringEquals": { "kms:EncryptionContext:SecretARN": arn } },
    });
    json!({ "Version": "2012-10-17", "Statement": [read, decrypt] })
}

impl Stored {
    fn of(name: &str, answer: &Answer) -> Result<Self, IdentityError> {
        let found: Found = answer.read()?;
        let (content, is_text) = match (found.secret_string, found.secret_binary) {
            (Some(text), _) => (Zeroizing::new(text.into_bytes()), true),
            (None, Some(binary)) => {
                let bytes = STANDARD.decode(Zeroizing::new(binary).as_bytes());
                let bytes = bytes.map_err(|_| SECRETS_MANAGER.no_sense())?;
                (Zeroizing::new(bytes), false)
            }
            (None, None) => {
                let message = format!("`{SCHEME}://{name}` has no value in this version");
                return Err(fault("unknown_secret", message));
            }
        };
        Ok(Self {
            content,
            is_text,
            version: found.version_id,
            request_id: answer.request_id.clone(),
        })
    }

    /// The value at a key, or all that is stored.
    fn value(&self, name: &str, key: Option<&str>) -> Result<Resolved, IdentityError> {
        let value = match key {
            None => self.content.to_vec(),
            Some(key) => self.at(name, key)?,
        };
        Ok(Resolved {
            value: SecretValue::new(value),
            version: self.version.clone(),
            request_id: self.request_id.clone(),
            leased: false,
        })
    }

    fn at(&self, name: &str, key: &str) -> Result<Vec<u8>, IdentityError> {
        let uri = format!("`{SCHEME}://{name}#{key}`");
        let unusable = |what: &str| fault("unusable_value", format!("{uri}: {what}"));
        if !self.is_text {
            return Err(unusable("the secret is stored as binary, not as JSON"));
        }
        let object: Map<String, Value> = serde_json::from_slice(&self.content)
            .map_err(|_| unusable("the secret is no JSON object"))?;
        match object.get(key) {
            Some(Value::String(text)) => Ok(text.clone().into_bytes()),
            Some(Value::Number(number)) => Ok(number.to_string().into_bytes()),
            Some(Value::Bool(truth)) => Ok(truth.to_string().into_bytes()),
            Some(_) => Err(unusable("it is neither a text, a number nor a truth value")),
            None => Err(fault(
                "unknown_secret",
                format!("{uri}: the secret is there and has no such key"),
            )),
        }
    }
}

/// What an error of the API means ("Common errors" and "`GetSecretValue`").
fn refused(name: &str, version: Option<&str>, answer: &Answer) -> IdentityError {
    let Ok(Refusal { kind, message }) = answer.read() else {
        return answer.refused(&format!("`{SCHEME}://{name}`"));
    };
    // Some answers have a namespace before it.
    let kind = kind.rsplit('#').next().unwrap_or_default();
    match (kind, version) {
        ("ResourceNotFoundException", Some(version)) if !message.ends_with("specified secret.") => {
            fault(
                "unknown_version",
                format!("`{SCHEME}://{name}` has no version `{version}`, or it is deleted"),
            )
        }
        ("ResourceNotFoundException", _) => fault(
            "unknown_secret",
            format!("`{SCHEME}://{name}` is not there, or has no value"),
        ),
        ("InvalidRequestException", _) => fault(
            "unknown_secret",
            format!("`{SCHEME}://{name}` is to be deleted; restore it, or name another"),
        ),
        ("AccessDeniedException" | "DecryptionFailure", _) => fault(
            "denied",
            format!(
                "AWS does not let the reader role read `{SCHEME}://{name}`: look at the secret's tag `sealfleet:project`, its key and its policy"
            ),
        ),
        (
            "UnrecognizedClientException"
            | "ExpiredTokenException"
            | "InvalidSignatureException"
            | "InvalidClientTokenId",
            _,
        ) => fault(
            "wrong_credential",
            "AWS Secrets Manager refuses the session of this step: look at the clock of the worker's host",
        ),
        ("ThrottlingException" | "InternalServiceError", _) => fault(
            "unavailable",
            format!("AWS Secrets Manager does not answer for `{SCHEME}://{name}` now"),
        ),
        _ => answer.refused(&format!("`{SCHEME}://{name}`")),
    }
}
