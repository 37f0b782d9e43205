//! Requests under the task role: to the control plane, and for what they need.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use reqwest::{Client, ClientBuilder, Method, RequestBuilder, StatusCode};
use rustix::fs::{Mode, OFlags, open};
use sealfleet_channel::{Bearer, NoToken};
use sealfleet_domain::agent::Agent;
use sealfleet_domain::artifact::Artifact;
use sealfleet_domain::cause::chain;
use sealfleet_domain::command::Word;
use sealfleet_domain::delivery::{AtEgress, Kind};
use sealfleet_domain::egress::{Denials, Policy};
use sealfleet_domain::hash::{ContentHash, Hasher};
use sealfleet_domain::inputs::{InputPlace, Inputs};
use sealfleet_domain::workload::Audience;
use sealfleet_domain::{Clock as _, Timestamp};
use sealfleet_outputs::StoreError;
use sealfleet_system::SystemClock;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::bucket::OutputKey;
use super::environment::Environment;
use super::report::Report;
use crate::tokens::{Issued, Source};

/// How long to ask for the step while the answer may still change.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to tell the step's end. ECS runs, and bills, the task so much longer at most.
const LAST_PATIENCE: Duration = Duration::from_secs(300);
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// Bytes of a file that are read at once.
const PIECE: usize = 64 * 1024;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// Where ECS serves a task's credentials (ECS developer guide, "Task IAM role").
const CREDENTIALS_HOST: &str = "http://169.254.170.2";

/// What to run.
#[derive(Deserialize)]
pub(super) struct Step {
    pub(super) command: Vec<Word>,
    #[serde(default)]
    pub(super) agent: Option<Agent>,
    #[serde(default)]
    pub(super) env: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) secret_names: Vec<String>,
    #[serde(default)]
    pub(super) inputs: Inputs,
    #[serde(default)]
    pub(super) tty: bool,
    /// Those of them whose values stay in output.
    #[serde(default)]
    pub(super) unredacted: Vec<String>,
    /// Those of them that the command gets in files.
    #[serde(default)]
    pub(super) in_files: BTreeSet<String>,
    /// The hosts that the command may reach, where a profile says.
    #[serde(default)]
    pub(super) egress: Option<Policy>,
    /// Secrets that its egress proxy has in its place, by environment variable.
    #[serde(default)]
    pub(super) at_egress: BTreeMap<String, AtEgress>,
    pub(super) timeout_seconds: u32,
    #[serde(default)]
    pub(super) outputs: Option<OutputKey>,
    #[serde(default)]
    pub(super) brings: Option<Brings>,
    #[serde(default)]
    pub(super) artifacts: Vec<Artifact>,
    /// Who the command may have identity tokens for.
    #[serde(default)]
    pub(super) audiences: BTreeSet<Audience>,
}

/// A part of what has to be brought to a step.
#[derive(Deserialize)]
pub(super) struct Brings {
    pub(super) items: VecDeque<Input>,
    /// Whether there is more.
    #[serde(default)]
    pub(super) next: Option<u32>,
}

/// Something to bring to a step.
#[derive(Deserialize)]
pub(super) struct Input {
    pub(super) place: InputPlace,
    url: String,
    bytes: u64,
    #[serde(default)]
    sha256: Option<ContentHash>,
}

/// Why content was not got.
pub(super) enum Ungot {
    /// The URL has expired: ask for another one.
    Expired,
    Unheard(Unheard),
}

/// The claim that this task was launched for.
#[derive(Serialize)]
struct Lease {
    project: String,
    run_id: String,
    step_id: String,
    fence: u64,
}

/// The question for the step.
#[derive(Serialize)]
struct StepAsked<'a> {
    #[serde(flatten)]
    lease: &'a Lease,
    /// How many inputs have come.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<u32>,
    /// The strictest way in which this program delivers secrets.
    delivery: Kind,
    /// That it can hold the step to an egress policy.
    egress: bool,
}

/// The answer to what was told of a step that runs.
#[derive(Deserialize)]
pub(super) struct Beat {
    /// Secrets that its proxy must deliver no more.
    #[serde(default)]
    pub(super) revoked: BTreeSet<String>,
    /// The denials are on record.
    #[serde(default)]
    pub(super) denials_recorded: bool,
}

/// Why nobody heard.
pub(super) enum Unheard {
    /// Worth a retry.
    Passing(String),
    Refused(String),
}

impl From<Unheard> for String {
    fn from(unheard: Unheard) -> Self {
        match unheard {
            Unheard::Passing(why) | Unheard::Refused(why) => why,
        }
    }
}

impl From<Unheard> for StoreError {
    fn from(unheard: Unheard) -> Self {
        match unheard {
            Unheard::Passing(why) => Self::Passing(why),
            Unheard::Refused(why) => Self::Refused(why),
        }
    }
}

/// The document of the credentials endpoint.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TaskRole {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
}

/// The control plane, for one task.
pub(super) struct Api {
    url: String,
    lease: Lease,
    region: String,
    credentials_url: String,
    authorization: Option<String>,
    client: Client,
    clock: SystemClock,
}

#[async_trait]
impl Source for Arc<Api> {
    async fn token(&mut self, audience: &Audience) -> Result<Issued, NoToken> {
        let issued = self.identity_token(audience).await;
        issued.map_err(|unheard| match unheard {
            Unheard::Passing(why) => NoToken::Passing(why),
            Unheard::Refused(why) => NoToken::Refused(why),
        })
    }
}

impl Api {
    pub(super) fn of(environment: &Environment) -> Result<Self, String> {
        let url = environment.needed("SEALFLEET_API_URL")?;
        let url = url.trim_end_matches('/').to_owned();
        let fence = environment.needed("SEALFLEET_FENCE")?;
        let fence = fence.parse().map_err(|_| {
            format!("the environment variable `SEALFLEET_FENCE` is `{fence}`, not a number")
        })?;
        let lease = Lease {
            project: environment.needed("SEALFLEET_PROJECT")?,
            run_id: environment.needed("SEALFLEET_RUN")?,
            step_id: environment.needed("SEALFLEET_STEP")?,
            fence,
        };
        let full = environment
            .text("AWS_CONTAINER_CREDENTIALS_FULL_URI")
            .map(str::to_owned);
        let relative = environment
            .text("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
            .map(|path| format!("{CREDENTIALS_HOST}{path}"));
        let credentials_url = full.or(relative).ok_or_else(|| {
            "neither `AWS_CONTAINER_CREDENTIALS_FULL_URI` nor `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` is set: the task needs a task role"
                .to_owned()
        })?;
        let mut builder = builder();
        if !url.starts_with("https://") && !credentials_url.starts_with("https://") {
            // There is no TLS, so an image without certificates works.
            builder = builder.tls_certs_only([]);
        }
        let client = builder.build().map_err(|error| {
            format!(
                "HTTPS cannot be used (are CA certificates installed in the image?): {}",
                chain(&error)
            )
        })?;
        Ok(Self {
            url,
            lease,
            region: environment.needed("SEALFLEET_REGION")?,
            credentials_url,
            authorization: environment
                .text("AWS_CONTAINER_AUTHORIZATION_TOKEN")
                .map(str::to_owned),
            client,
            clock: SystemClock,
        })
    }

    /// Fetches the step. Retries while it is not there yet (409: its dispatch is being recorded),
    /// the server fails or the connection breaks.
    pub(super) async fn step(&self) -> Result<Step, String> {
        Ok(self.ask_step(None, PATIENCE).await?)
    }

    async fn ask_step(&self, from: Option<u32>, patience: Duration) -> Result<Step, Unheard> {
        let asked = StepAsked {
            lease: &self.lease,
            from,
            delivery: Kind::Egress,
            egress: true,
        };
        let body = self.ask("step", &asked, patience).await?;
        serde_json::from_slice(&body)
            .map_err(|error| Unheard::Refused(format!("the step could not be read: {error}")))
    }

    /// Asks for what has to be brought to the step after so much of it.
    pub(super) async fn brings_after(&self, had: u32) -> Result<Option<Brings>, String> {
        Ok(self.ask_step(Some(had), PATIENCE).await?.brings)
    }

    /// Gets content into a file without a name, which is at its beginning. It is what was meant: of
    /// this size, and with this SHA-256 where that is known.
    pub(super) async fn fetch(&self, input: &Input) -> Result<File, Ungot> {
        let start = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            match self.fetch_once(input).await {
                Err(Ungot::Unheard(Unheard::Passing(_))) if start.elapsed() < PATIENCE => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                answer => return answer,
            }
        }
    }

    async fn fetch_once(&self, input: &Input) -> Result<File, Ungot> {
        let refused = |why: String| Ungot::Unheard(Unheard::Refused(why));
        let passing = |error: reqwest::Error| {
            let why = chain(&error.without_url());
            Ungot::Unheard(Unheard::Passing(format!(
                "the store does not answer: {why}"
            )))
        };
        let here = |error: std::io::Error| refused(format!("it cannot be kept: {error}"));
        let get = self.client.get(&input.url).timeout(longest(input.bytes));
        let mut answer = get.send().await.map_err(passing)?;
        match answer.status() {
            status if status.is_success() => {}
            StatusCode::FORBIDDEN => return Err(Ungot::Expired),
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                let why = format!("the store answers with HTTP status {}", status.as_u16());
                return Err(Ungot::Unheard(Unheard::Passing(why)));
            }
            status => {
                return Err(refused(format!(
                    "the store refuses with HTTP status {}",
                    status.as_u16()
                )));
            }
        }
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let opened = open(std::env::temp_dir(), flags, Mode::RUSR | Mode::WUSR);
        let mut file = File::from(opened.map_err(|error| here(error.into()))?);
        let (mut hasher, mut bytes) = (Hasher::default(), 0_u64);
        while let Some(piece) = answer.chunk().await.map_err(passing)? {
            bytes += piece.len() as u64;
            if bytes > input.bytes {
                break;
            }
            hasher.update(&piece);
            file.write_all(&piece).map_err(here)?;
        }
        let hash = hasher.finish();
        if bytes != input.bytes || input.sha256.is_some_and(|meant| meant != hash) {
            return Err(refused("it is not the content that was meant".to_owned()));
        }
        file.rewind().map_err(here)?;
        Ok(file)
    }

    /// Fetches a key to the step's outputs, which comes with the step.
    pub(super) async fn output_key(&self) -> Result<OutputKey, StoreError> {
        let step = self.ask_step(None, Duration::ZERO).await?;
        let none = || StoreError::Passing("there are no credentials for outputs now".to_owned());
        step.outputs.ok_or_else(none)
    }

    async fn identity_token(&self, audience: &Audience) -> Result<Issued, Unheard> {
        #[derive(Serialize)]
        struct Ask<'a> {
            #[serde(flatten)]
            lease: &'a Lease,
            audience: &'a Audience,
        }
        #[derive(Deserialize)]
        struct Answer {
            token: Bearer,
            expires_at: Timestamp,
        }
        let ask = Ask {
            lease: &self.lease,
            audience,
        };
        let body = self.ask("token", &ask, Duration::ZERO).await?;
        let answer: Answer = serde_json::from_slice(&body)
            .map_err(|_| Unheard::Refused("the answer could not be read".to_owned()))?;
        Ok(Issued {
            token: answer.token,
            expires_at: answer.expires_at,
        })
    }

    /// Tells which hosts the step was kept from, and hears which of its keys are revoked. Once: the
    /// next one comes soon.
    pub(super) async fn heartbeat(&self, egress_denied: &Denials) -> Result<Beat, Unheard> {
        #[derive(Serialize)]
        struct Tell<'a> {
            #[serde(flatten)]
            lease: &'a Lease,
            #[serde(skip_serializing_if = "Denials::is_empty")]
            egress_denied: &'a Denials,
        }
        let tell = Tell {
            lease: &self.lease,
            egress_denied,
        };
        let body = self.ask("heartbeat", &tell, Duration::ZERO).await?;
        serde_json::from_slice(&body)
            .map_err(|_| Unheard::Refused("the answer could not be read".to_owned()))
    }

    /// Tells how the step ended.
    pub(super) async fn end(&self, report: &Report) -> Result<(), Unheard> {
        #[derive(Serialize)]
        struct End<'a> {
            project: &'a str,
            report: Claimed<'a>,
        }
        #[derive(Serialize)]
        struct Claimed<'a> {
            run_id: &'a str,
            step_id: &'a str,
            fence: u64,
            #[serde(flatten)]
            report: &'a Report,
        }
        let Lease {
            project,
            run_id,
            step_id,
            fence,
        } = &self.lease;
        let end = End {
            project,
            report: Claimed {
                run_id,
                step_id,
                fence: *fence,
                report,
            },
        };
        self.ask("end", &end, LAST_PATIENCE).await.map(drop)
    }

    /// Writes an object that is not there yet.
    pub(super) async fn put(
        &self,
        key: &OutputKey,
        name: &str,
        content: Content<'_>,
    ) -> Result<(), StoreError> {
        let OutputKey {
            endpoint,
            bucket,
            prefix,
            ..
        } = key;
        // Path style: one address for all objects, which a firewall can name.
        let url = format!("{}/{bucket}/{prefix}{name}", endpoint.trim_end_matches('/'));
        let credentials = Credentials::new(
            &key.access_key_id,
            &key.secret_access_key,
            Some(key.session_token.clone()),
            None,
            "sealfleet-outputs",
        );
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let headers = [("content-type", content.kind()), ("if-none-match", "*")];
        let request = Signed {
            method: Method::PUT,
            url: &url,
            headers: &headers,
            service: "s3",
            region: &key.region,
            settings,
        };
        let request = self
            .sign(request, credentials, content)
            .map_err(StoreError::Refused)?;
        match answer(request, "an object of the outputs").await {
            Err((Some(StatusCode::PRECONDITION_FAILED), _)) => Ok(()),
            // A key that is refused may have expired.
            Err((_, Unheard::Refused(why) | Unheard::Passing(why))) => {
                Err(StoreError::Passing(why))
            }
            Ok(_) => Ok(()),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Calls a route of sandboxes, again and again for so long.
    async fn ask(
        &self,
        route: &str,
        body: &impl Serialize,
        patience: Duration,
    ) -> Result<Vec<u8>, Unheard> {
        let refused = |error: serde_json::Error| Unheard::Refused(error.to_string());
        let body = serde_json::to_vec(body).map_err(refused)?;
        let (start, mut pause) = (Instant::now(), FIRST_PAUSE);
        loop {
            let message = match self.ask_once(route, body.clone()).await {
                Err(Unheard::Passing(message)) => message,
                answer => return answer,
            };
            if start.elapsed() + pause > patience {
                let seconds = patience.as_secs();
                return Err(Unheard::Passing(format!(
                    "{message}; given up after {seconds} seconds"
                )));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn ask_once(&self, route: &str, body: Vec<u8>) -> Result<Vec<u8>, Unheard> {
        let mut request = self.client.get(&self.credentials_url);
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let what = "the task role's credentials";
        let role = answer(request, what).await.map_err(|(_, why)| why)?;
        let role: TaskRole = serde_json::from_slice(&role)
            .map_err(|error| Unheard::Refused(format!("{what} could not be read: {error}")))?;
        let credentials = Credentials::new(
            role.access_key_id,
            role.secret_access_key,
            role.token,
            None,
            "ecs-task-role",
        );
        let url = format!("{}/v1/sandbox/{route}", self.url);
        let request = Signed {
            method: Method::POST,
            url: &url,
            headers: &[("content-type", "application/json")],
            service: "execute-api",
            region: &self.region,
            settings: SigningSettings::default(),
        };
        let signed = self
            .sign(request, credentials, Content::Json(body))
            .map_err(Unheard::Refused)?;
        let what = match route {
            "end" => "the step's end",
            "heartbeat" => "what the step was kept from",
            _ => "the step",
        };
        answer(signed, what).await.map_err(|(_, why)| why)
    }

    /// Signs a request (SigV4).
    fn sign(
        &self,
        request: Signed<'_>,
        credentials: Credentials,
        content: Content<'_>,
    ) -> Result<RequestBuilder, String> {
        let failed =
            |error: &dyn std::error::Error| format!("the request cannot be signed: {error}");
        let identity = credentials.into();
        let millis = u64::try_from(self.now().millis()).unwrap_or_default();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(request.region)
            .name(request.service)
            .time(SystemTime::UNIX_EPOCH + Duration::from_millis(millis))
            .settings(request.settings)
            .build()
            .map_err(|error| failed(&error))?
            .into();
        let signable = SignableRequest::new(
            request.method.as_str(),
            request.url,
            request.headers.iter().copied(),
            content.signable(),
        )
        .map_err(|error| failed(&error))?;
        let (instructions, _) = sign(signable, &parameters)
            .map_err(|error| failed(&error))?
            .into_parts();
        let signed = self.client.request(request.method, request.url);
        let mut signed = content.sent_with(signed)?;
        for (name, value) in request
            .headers
            .iter()
            .copied()
            .chain(instructions.headers())
        {
            signed = signed.header(name, value);
        }
        Ok(signed)
    }
}

/// What a request carries.
pub(super) enum Content<'a> {
    Json(Vec<u8>),
    /// A file, with its SHA-256.
    File(&'a Path, ContentHash),
}

impl Content<'_> {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Json(_) => "application/json",
            Self::File(..) => "application/octet-stream",
        }
    }

    /// What the signature covers: S3 compares the content with it.
    fn signable(&self) -> SignableBody<'_> {
        match self {
            Self::Json(bytes) => SignableBody::Bytes(bytes),
            Self::File(_, sha256) => SignableBody::Precomputed(sha256.to_string()),
        }
    }

    fn sent_with(self, request: RequestBuilder) -> Result<RequestBuilder, String> {
        let path = match self {
            Self::Json(bytes) => return Ok(request.body(bytes)),
            Self::File(path, _) => path,
        };
        let body = FileBody::open(path).map_err(|error| format!("it cannot be read: {error}"))?;
        let time = longest(body.left);
        Ok(request.body(reqwest::Body::wrap(body)).timeout(time))
    }
}

/// How long content may take, at the least rate of 64 KiB a second.
fn longest(bytes: u64) -> Duration {
    REQUEST_TIME * 3 + Duration::from_secs(bytes / (64 * 1024))
}

/// A file as a request's body, read as it goes.
struct FileBody {
    file: Mutex<File>,
    left: u64,
}

impl FileBody {
    fn open(path: &Path) -> std::io::Result<Self> {
        let file = File::open(path)?;
        let left = file.metadata()?.len();
        Ok(Self {
            file: Mutex::new(file),
            left,
        })
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        let room = usize::try_from(self.left).unwrap_or(PIECE).min(PIECE);
        if room == 0 {
            return Poll::Ready(None);
        }
        let mut piece = vec![0; room];
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let read = file.read_exact(&mut piece);
        drop(file);
        self.left -= room as u64;
        Poll::Ready(Some(read.map(|()| Frame::data(piece.into()))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// A request to be signed, but for its body.
struct Signed<'a> {
    method: Method,
    url: &'a str,
    headers: &'a [(&'a str, &'a str)],
    service: &'a str,
    region: &'a str,
    settings: SigningSettings,
}

fn builder() -> ClientBuilder {
    // Fails if a provider is installed: it is the same one.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(REQUEST_TIME)
}

/// Why the control plane could not be called by HTTPS here, if so.
pub(crate) fn https_fault() -> Option<String> {
    builder().build().err().map(|error| chain(&error))
}

/// Sends `request` and answers the body of a success, or the status of a refusal. Messages hold
/// neither the request nor a body, only the `code` of problem+json.
async fn answer(
    request: RequestBuilder,
    what: &str,
) -> Result<Vec<u8>, (Option<StatusCode>, Unheard)> {
    let passing = |error: reqwest::Error| {
        let why = chain(&error.without_url());
        let message = format!("no answer about {what}: {why}");
        (None, Unheard::Passing(message))
    };
    let response = request.send().await.map_err(passing)?;
    let status = response.status();
    let body = response.bytes().await.map_err(passing)?;
    if status.is_success() {
        return Ok(body.to_vec());
    }
    let problem: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
    let code = problem
        .as_ref()
        .and_then(|problem| problem.get("code")?.as_str())
        .unwrap_or("no code");
    let message = format!(
        "{what} was refused with HTTP status {} ({code})",
        status.as_u16()
    );
    // The only conflict worth a retry: a stale claim stays stale.
    let not_ready = status == StatusCode::CONFLICT && code == "not_ready";
    let passes = status.is_server_error() || not_ready || status == StatusCode::TOO_MANY_REQUESTS;
    let unheard = match passes {
        true => Unheard::Passing(message),
        false => Unheard::Refused(message),
    };
    Err((Some(status), unheard))
}
