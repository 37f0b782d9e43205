//! The AWS APIs of the local stack, called as the account root unless other keys are given.
//!
//! One signed JSON call serves every service: what a search must read is then the answer's very
//! bytes, and no SDK that can read a secret's value is linked here. Only S3, which speaks XML, has
//! its SDK.

use aws_credential_types::Credentials;
use aws_sdk_s3::primitives::ByteStream;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use serde_json::{Value, json};

use crate::{Failure, Outcome, ensure};

/// Where `sealfleet-local` puts the functions' package.
const CODE_BUCKET: &str = "sealfleet-local-code";

/// The AWS APIs of a stack.
#[derive(Clone)]
pub struct Aws {
    http: reqwest::Client,
    endpoint: String,
    ecs_endpoint: String,
    region: String,
    root: Keys,
    s3: aws_sdk_s3::Client,
}

#[derive(Clone)]
pub struct Keys {
    pub access_key_id: String,
    pub secret_access_key: String,
    /// Session token of temporary credentials.
    pub session_token: Option<String>,
}

/// A service of the JSON protocols, by the prefix of its `X-Amz-Target`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    DynamoDb,
    Streams,
    Sqs,
    /// Secrets Manager. Only writes are made here.
    SecretsManager,
    Logs,
    Kms,
    Ecs,
    Events,
}

/// An answer of AWS.
pub struct AwsReply {
    pub status: u16,
    pub bytes: Vec<u8>,
    /// The body as JSON; null when it is none.
    pub body: Value,
}

/// The answer of an invoked function.
#[derive(Debug)]
pub struct Invoked {
    pub payload: Value,
    /// The kind of its error, if it ended with one.
    pub function_error: Option<String>,
}

impl Service {
    const fn signed_as(self) -> &'static str {
        match self {
            Self::DynamoDb | Self::Streams => "dynamodb",
            Self::Sqs => "sqs",
            Self::SecretsManager => "secretsmanager",
            Self::Logs => "logs",
            Self::Kms => "kms",
            Self::Ecs => "ecs",
            Self::Events => "events",
        }
    }

    const fn target(self) -> &'static str {
        match self {
            Self::DynamoDb => "DynamoDB_20120810",
            Self::Streams => "DynamoDBStreams_20120810",
            Self::Sqs => "AmazonSQS",
            Self::SecretsManager => "secretsmanager",
            Self::Logs => "Logs_20140328",
            Self::Kms => "TrentService",
            Self::Ecs => "AmazonEC2ContainerServiceV20141113",
            Self::Events => "AWSEvents",
        }
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::DynamoDb | Self::Streams | Self::Sqs => "application/x-amz-json-1.0",
            Self::SecretsManager | Self::Logs | Self::Kms | Self::Ecs | Self::Events => {
                "application/x-amz-json-1.1"
            }
        }
    }
}

impl AwsReply {
    /// The error's code without its namespace, `AccessDeniedException`; empty for a success.
    pub fn error(&self) -> &str {
        let kind = self.body["__type"]
            .as_str()
            .or_else(|| self.body["Code"].as_str())
            .unwrap_or_default();
        if self.status < 400 {
            ""
        } else {
            kind.rsplit('#').next().unwrap_or(kind)
        }
    }

    /// Whether IAM refused it.
    pub fn denied(&self) -> bool {
        self.status >= 400 && self.error().starts_with("AccessDenied")
    }

    /// Its error message, in either protocol.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    fn accepted(self, what: &str) -> Outcome<Value> {
        let text = String::from_utf8_lossy(&self.bytes);
        ensure!(
            self.status < 300,
            "{what}: {} {}",
            self.status,
            text.chars().take(600).collect::<String>()
        );
        Ok(self.body)
    }
}

impl Aws {
    pub(crate) fn new(
        http: &reqwest::Client,
        endpoint: &str,
        ecs_endpoint: &str,
        region: &str,
        root: Keys,
    ) -> Self {
        let credentials = Credentials::new(
            &root.access_key_id,
            &root.secret_access_key,
            None,
            None,
            "tests",
        );
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(aws_sdk_s3::config::BehaviorVersion::latest())
            .region(aws_sdk_s3::config::Region::new(region.to_owned()))
            .credentials_provider(credentials)
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .endpoint_url(endpoint)
            .force_path_style(true);
        Self {
            http: http.clone(),
            endpoint: endpoint.to_owned(),
            ecs_endpoint: ecs_endpoint.to_owned(),
            region: region.to_owned(),
            root,
            s3: aws_sdk_s3::Client::from_conf(config.build()),
        }
    }

    /// Calls an operation as the account root.
    pub async fn call(&self, service: Service, operation: &str, body: Value) -> Outcome<Value> {
        self.call_as(&self.root, service, operation, body)
            .await?
            .accepted(operation)
    }

    /// Calls an operation with other keys; a refusal is an answer.
    pub async fn call_as(
        &self,
        keys: &Keys,
        service: Service,
        operation: &str,
        body: Value,
    ) -> Outcome<AwsReply> {
        let target = format!("{}.{operation}", service.target());
        let headers = [
            ("content-type", service.content_type()),
            ("x-amz-target", target.as_str()),
        ];
        let endpoint = if service == Service::Ecs {
            &self.ecs_endpoint
        } else {
            &self.endpoint
        };
        let request = Signed {
            keys,
            service: service.signed_as(),
            method: "POST",
            url: format!("{endpoint}/"),
            headers: &headers,
        };
        self.send(request, body.to_string().into_bytes()).await
    }

    /// Makes any signed request to the endpoint of everything but ECS; a refusal is an answer.
    ///
    /// `service` is the name to sign for, `path` begins with a slash and may have a query.
    pub async fn ask_as(
        &self,
        keys: &Keys,
        service: &str,
        (method, path): (&str, &str),
        headers: &[(&str, &str)],
        body: &str,
    ) -> Outcome<AwsReply> {
        let url = format!("{}{path}", self.endpoint);
        self.send(
            Signed {
                keys,
                service,
                method,
                url,
                headers,
            },
            body.as_bytes().to_vec(),
        )
        .await
    }

    /// Keys of a role, as the account root gets them: every trust policy admits it on the local
    /// stack.
    pub async fn assume(&self, role_arn: &str) -> Outcome<Keys> {
        let body = format!(
            "Action=AssumeRole&Version=2011-06-15&RoleSessionName=tests&RoleArn={role_arn}"
        );
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let text = self
            .ask_as(&self.root, "sts", ("POST", "/"), &headers, &body)
            .await?
            .text();
        let field = |name: &str| -> Outcome<String> {
            let value = text
                .split_once(&format!("<{name}>"))
                .and_then(|(_, rest)| rest.split_once("</"));
            value
                .map(|(value, _)| value.to_owned())
                .ok_or_else(|| Failure::new(format!("AssumeRole `{role_arn}`: {text}")))
        };
        Ok(Keys {
            access_key_id: field("AccessKeyId")?,
            secret_access_key: field("SecretAccessKey")?,
            session_token: Some(field("SessionToken")?),
        })
    }

    /// As [`Aws::call`], all pages; each page's raw bytes go to `read` as well.
    ///
    /// `cursor` names the member of the answer that goes on, and the member of the request it is
    /// sent in.
    pub async fn pages(
        &self,
        service: Service,
        operation: &str,
        mut body: Value,
        cursor: (&str, &str),
        mut read: impl FnMut(&Value, &[u8]),
    ) -> Outcome {
        let (from, to) = cursor;
        loop {
            let page = self
                .call_as(&self.root, service, operation, body.clone())
                .await?;
            let bytes = page.bytes.clone();
            let page = page.accepted(operation)?;
            read(&page, &bytes);
            match page
                .get(from)
                .filter(|next| !next.is_null() && **next != body[to])
            {
                Some(next) => body[to] = next.clone(),
                None => return Ok(()),
            }
        }
    }

    /// Invokes a function and waits for its answer.
    pub async fn invoke(&self, function: &str, event: &Value) -> Outcome<Invoked> {
        let url = format!(
            "{}/2015-03-31/functions/{function}/invocations",
            self.endpoint
        );
        let request = Signed {
            keys: &self.root,
            service: "lambda",
            method: "POST",
            url,
            headers: &[],
        };
        let request = self.sign(&request, &event.to_string().into_bytes())?;
        let answer = request.send().await?;
        let header = answer
            .headers()
            .get("x-amz-function-error")
            .and_then(|value| value.to_str().ok());
        let function_error = header.map(str::to_owned);
        let status = answer.status();
        let bytes = answer.bytes().await?;
        ensure!(
            status.is_success(),
            "invoking `{function}`: {status} {}",
            String::from_utf8_lossy(&bytes)
        );
        Ok(Invoked {
            payload: serde_json::from_slice(&bytes).unwrap_or_default(),
            function_error,
        })
    }

    /// Makes a copy of a deployed function with other environment variables beside its own.
    pub async fn copy_function(
        &self,
        name: &str,
        copy: &str,
        environment: &[(&str, &str)],
    ) -> Outcome {
        let url = format!("{}/2015-03-31/functions/{name}", self.endpoint);
        let get = Signed {
            keys: &self.root,
            service: "lambda",
            method: "GET",
            url,
            headers: &[],
        };
        let function = self.send(get, Vec::new()).await?.accepted(name)?;
        let key = self
            .keys(CODE_BUCKET, "")
            .await?
            .into_iter()
            .find(|key| key.ends_with(".zip"));
        let configuration = &function["Configuration"];
        let mut variables = configuration["Environment"]["Variables"].clone();
        for (name, value) in environment {
            variables[*name] = json!(value);
        }
        let body = json!({
            "FunctionName": copy,
            "Runtime": configuration["Runtime"],
            "Role": configuration["Role"],
            "Handler": configuration["Handler"],
            "Timeout": configuration["Timeout"],
            "MemorySize": configuration["MemorySize"],
            "Environment": { "Variables": variables },
            "Code": { "S3Bucket": CODE_BUCKET, "S3Key": key },
        });
        let url = format!("{}/2015-03-31/functions", self.endpoint);
        let headers = [("content-type", "application/json")];
        let create = Signed {
            keys: &self.root,
            service: "lambda",
            method: "POST",
            url,
            headers: &headers,
        };
        self.send(create, body.to_string().into_bytes())
            .await?
            .accepted(copy)?;
        Ok(())
    }

    pub async fn delete_function(&self, name: &str) -> Outcome {
        let url = format!("{}/2015-03-31/functions/{name}", self.endpoint);
        let delete = Signed {
            keys: &self.root,
            service: "lambda",
            method: "DELETE",
            url,
            headers: &[],
        };
        self.send(delete, Vec::new()).await?.accepted(name)?;
        Ok(())
    }

    /// Puts a policy of its own on a role, or replaces it.
    pub async fn put_role_policy(&self, role: &str, name: &str, policy: &Value) -> Outcome {
        let policy = policy.to_string();
        self.iam(&[
            ("Action", "PutRolePolicy"),
            ("RoleName", role),
            ("PolicyName", name),
            ("PolicyDocument", &policy),
        ])
        .await
    }

    /// Takes a policy of its own from a role.
    pub async fn delete_role_policy(&self, role: &str, name: &str) -> Outcome {
        self.iam(&[
            ("Action", "DeleteRolePolicy"),
            ("RoleName", role),
            ("PolicyName", name),
        ])
        .await
    }

    /// Makes a role that this policy lets others assume.
    pub async fn create_role(&self, role: &str, trust: &Value) -> Outcome {
        let trust = trust.to_string();
        self.iam(&[
            ("Action", "CreateRole"),
            ("RoleName", role),
            ("AssumeRolePolicyDocument", &trust),
        ])
        .await
    }

    /// Asks for keys of a role by a token of an OIDC issuer; a refusal is an answer.
    pub async fn assume_by_token(&self, role_arn: &str, token: &str) -> Outcome<AwsReply> {
        let parameters = [
            ("Action", "AssumeRoleWithWebIdentity"),
            ("RoleArn", role_arn),
            ("RoleSessionName", "tests"),
            ("WebIdentityToken", token),
        ];
        self.form("sts", "2011-06-15", &parameters).await
    }

    async fn iam(&self, parameters: &[(&str, &str)]) -> Outcome {
        self.form("iam", "2010-05-08", parameters)
            .await?
            .accepted("a role")
            .map(|_| ())
    }

    async fn form(
        &self,
        service: &str,
        version: &str,
        parameters: &[(&str, &str)],
    ) -> Outcome<AwsReply> {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let url = format!("{}/", self.endpoint);
        let request = Signed {
            keys: &self.root,
            service,
            method: "POST",
            url,
            headers: &headers,
        };
        let mut body = reqwest::Url::parse("http://aws/")?;
        body.query_pairs_mut()
            .append_pair("Version", version)
            .extend_pairs(parameters);
        let body = body.query().unwrap_or_default().as_bytes().to_vec();
        self.send(request, body).await
    }

    pub async fn buckets(&self) -> Outcome<Vec<String>> {
        let listed = self.s3.list_buckets().send().await?;
        Ok(listed
            .buckets()
            .iter()
            .filter_map(|bucket| bucket.name().map(str::to_owned))
            .collect())
    }

    /// All keys of a bucket below a prefix, in order.
    pub async fn keys(&self, bucket: &str, prefix: &str) -> Outcome<Vec<String>> {
        let mut keys = Vec::new();
        let mut pages = self
            .s3
            .list_objects_v2()
            .bucket(bucket)
            .prefix(prefix)
            .into_paginator()
            .send();
        while let Some(page) = pages.next().await {
            keys.extend(
                page?
                    .contents()
                    .iter()
                    .filter_map(|object| object.key().map(str::to_owned)),
            );
        }
        keys.sort();
        Ok(keys)
    }

    /// An object's bytes. `None` if it does not exist.
    pub async fn object(&self, bucket: &str, key: &str) -> Outcome<Option<Vec<u8>>> {
        match self.s3.get_object().bucket(bucket).key(key).send().await {
            Ok(object) => Ok(Some(object.body.collect().await?.into_bytes().to_vec())),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_no_such_key()) =>
            {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// How many versions an object has.
    pub async fn versions(&self, bucket: &str, key: &str) -> Outcome<usize> {
        let listed = self
            .s3
            .list_object_versions()
            .bucket(bucket)
            .prefix(key)
            .send()
            .await?;
        Ok(listed
            .versions()
            .iter()
            .filter(|version| version.key() == Some(key))
            .count())
    }

    pub async fn put_object(&self, bucket: &str, key: &str, bytes: &[u8]) -> Outcome {
        self.s3
            .put_object()
            .bucket(bucket)
            .key(key)
            .body(ByteStream::from(bytes.to_vec()))
            .send()
            .await?;
        Ok(())
    }

    pub async fn create_bucket(&self, bucket: &str) -> Outcome {
        self.s3.create_bucket().bucket(bucket).send().await?;
        Ok(())
    }

    /// Removes a bucket and the object in it.
    pub async fn delete_bucket(&self, bucket: &str, key: &str) -> Outcome {
        self.s3
            .delete_object()
            .bucket(bucket)
            .key(key)
            .send()
            .await?;
        self.s3.delete_bucket().bucket(bucket).send().await?;
        Ok(())
    }

    async fn send(&self, request: Signed<'_>, body: Vec<u8>) -> Outcome<AwsReply> {
        let answer = self.sign(&request, &body)?.send().await?;
        let status = answer.status().as_u16();
        let bytes = answer.bytes().await?.to_vec();
        let body = serde_json::from_slice(&bytes).unwrap_or_default();
        Ok(AwsReply {
            status,
            bytes,
            body,
        })
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a signature holds the time at which it is made"
    )]
    fn sign(&self, request: &Signed<'_>, body: &[u8]) -> Outcome<reqwest::RequestBuilder> {
        let keys = request.keys;
        let credentials = Credentials::new(
            &keys.access_key_id,
            &keys.secret_access_key,
            keys.session_token.clone(),
            None,
            "tests",
        );
        let identity = credentials.into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(request.service)
            .time(std::time::SystemTime::now())
            .settings(SigningSettings::default())
            .build()?
            .into();
        let signable = SignableRequest::new(
            request.method,
            request.url.as_str(),
            request.headers.iter().copied(),
            SignableBody::Bytes(body),
        )?;
        let (instructions, _) = sign(signable, &params)?.into_parts();
        let method = reqwest::Method::from_bytes(request.method.as_bytes())
            .map_err(|_| Failure::new("the method is none of HTTP"))?;
        let mut http = self.http.request(method, &request.url).body(body.to_vec());
        for (name, value) in request
            .headers
            .iter()
            .copied()
            .chain(instructions.headers())
        {
            http = http.header(name, value);
        }
        Ok(http)
    }
}

struct Signed<'a> {
    keys: &'a Keys,
    service: &'a str,
    method: &'a str,
    url: String,
    headers: &'a [(&'a str, &'a str)],
}
