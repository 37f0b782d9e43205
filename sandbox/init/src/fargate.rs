//! The first process of an ECS task.
//!
//! ECS has put the secrets' values into this process's environment under the project's execution
//! role. This process fetches the step from the control plane with the task role's credentials
//! (signed with SigV4 for `execute-api`): the task definition and its overrides hold ids only. The
//! command gets the step's environment, the secrets that the step names, and the variables that it
//! needs to use the task role; nothing else of this process's environment.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use reqwest::{Client, ClientBuilder, StatusCode};
use rustix::fs::{Access, access};
use sealfleet_domain::command::Word;
use sealfleet_domain::inputs::Inputs;
use sealfleet_identity::SecretValue;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::inputs::Workspace;
use crate::output::{self, Injected};
use crate::supervise::{self, Stops, Task};
use crate::{Failure, WORKSPACE};

/// How long to retry while the answer may still change.
const PATIENCE: Duration = Duration::from_secs(30);
const REQUEST_TIME: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// Where ECS serves a task's credentials (ECS developer guide, "Task IAM role").
const CREDENTIALS_HOST: &str = "http://169.254.170.2";

/// Variables that the command gets, so that it can use its task role.
const TASK_ROLE: [&str; 5] = [
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
];

/// Runs the step that the environment names and answers the exit code for this process.
pub async fn run(environment: Vec<(OsString, OsString)>) -> i32 {
    match prepare(environment).await {
        // Nobody is told what was redacted: ECS tells of the end, and has no place for it.
        Ok((task, mut stops)) => supervise::run(task, &mut stops).await.0.exit_code(),
        Err(failure) => failure.exit_code(),
    }
}

async fn prepare(environment: Vec<(OsString, OsString)>) -> Result<(Task, Stops), Failure> {
    let mut environment = Environment::new(environment);
    let mut stops =
        Stops::listen().map_err(|error| format!("signals cannot be watched: {error}"))?;
    let target = Target::of(&environment)?;
    let step = tokio::select! {
        step = target.fetch() => step?,
        signal = stops.next() => return Err(Failure::Stopped(128 + signal.as_raw())),
    };
    Ok((step.task(&mut environment)?, stops))
}

/// This process's own environment; values may be secrets.
struct Environment(BTreeMap<String, SecretValue>);

impl Environment {
    fn new(variables: Vec<(OsString, OsString)>) -> Self {
        let named = variables.into_iter().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, SecretValue::new(value.into_vec())))
        });
        Self(named.collect())
    }

    /// A variable that is not a secret.
    fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.0.get(name)?.expose())
            .ok()
            .filter(|text| !text.is_empty())
    }

    /// The home that the image or the container runtime names, if the command can write there.
    fn home(&self) -> &str {
        let writable = |home: &&str| access(*home, Access::WRITE_OK).is_ok();
        self.text("HOME").filter(writable).unwrap_or("/tmp")
    }

    fn needed(&self, name: &str) -> Result<String, String> {
        self.text(name)
            .map(str::to_owned)
            .ok_or_else(|| format!("the environment variable `{name}` is missing"))
    }
}

/// Where to fetch which step.
struct Target {
    url: String,
    body: String,
    region: String,
    credentials_url: String,
    authorization: Option<String>,
}

#[derive(Serialize)]
struct Request<'a> {
    project: &'a str,
    run_id: &'a str,
    step_id: &'a str,
    fence: u64,
}

#[derive(Deserialize)]
struct Step {
    command: Vec<Word>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    secret_names: Vec<String>,
    #[serde(default)]
    inputs: Inputs,
    /// Those of them whose values stay in output.
    #[serde(default)]
    unredacted: Vec<String>,
    timeout_seconds: u64,
}

/// The document of the credentials endpoint.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TaskRole {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
}

enum Problem {
    /// Worth a retry.
    Passing(String),
    Final(String),
}

impl Target {
    fn of(environment: &Environment) -> Result<Self, String> {
        let api = environment.needed("SEALFLEET_API_URL")?;
        let fence = environment.needed("SEALFLEET_FENCE")?;
        let fence = fence.parse().map_err(|_| {
            format!("the environment variable `SEALFLEET_FENCE` is `{fence}`, not a number")
        })?;
        let (project, run, step) = (
            environment.needed("SEALFLEET_PROJECT")?,
            environment.needed("SEALFLEET_RUN")?,
            environment.needed("SEALFLEET_STEP")?,
        );
        let request = Request {
            project: &project,
            run_id: &run,
            step_id: &step,
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
        Ok(Self {
            url: format!("{}/v1/sandbox/step", api.trim_end_matches('/')),
            body: serde_json::to_string(&request).map_err(|error| error.to_string())?,
            region: environment.needed("SEALFLEET_REGION")?,
            credentials_url,
            authorization: environment
                .text("AWS_CONTAINER_AUTHORIZATION_TOKEN")
                .map(str::to_owned),
        })
    }

    /// Fetches the step. Retries for up to [`PATIENCE`] while the step is not there yet (409: its
    /// dispatch is being recorded), the server fails or the connection breaks.
    async fn fetch(&self) -> Result<Step, String> {
        let client = self.client()?;
        let (start, mut pause) = (Instant::now(), FIRST_PAUSE);
        loop {
            let message = match self.ask(&client).await {
                Ok(step) => return Ok(step),
                Err(Problem::Final(message)) => return Err(message),
                Err(Problem::Passing(message)) => message,
            };
            if start.elapsed() + pause > PATIENCE {
                return Err(format!(
                    "{message}; given up after {} seconds",
                    PATIENCE.as_secs()
                ));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn client(&self) -> Result<Client, String> {
        let mut builder = builder();
        if !self.url.starts_with("https://") && !self.credentials_url.starts_with("https://") {
            // There is no TLS, so an image without certificates works.
            builder = builder.tls_certs_only([]);
        }
        builder.build().map_err(|error| {
            format!(
                "HTTPS cannot be used (are CA certificates installed in the image?): {}",
                chain(&error)
            )
        })
    }

    async fn ask(&self, client: &Client) -> Result<Step, Problem> {
        let mut request = client.get(&self.credentials_url);
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let role: TaskRole = answer(request, "the task role's credentials").await?;
        let signed = self.sign(client, role).map_err(Problem::Final)?;
        answer(signed, "the step").await
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a signature holds the time of the request; this is the program's only use of it"
    )]
    fn sign(&self, client: &Client, role: TaskRole) -> Result<reqwest::RequestBuilder, String> {
        let failed =
            |error: &dyn std::error::Error| format!("the request cannot be signed: {error}");
        let identity = Credentials::new(
            role.access_key_id,
            role.secret_access_key,
            role.token,
            None,
            "ecs-task-role",
        )
        .into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("execute-api")
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| failed(&error))?
            .into();
        let headers = [("content-type", "application/json")];
        let signable = SignableRequest::new(
            "POST",
            &self.url,
            headers.into_iter(),
            SignableBody::Bytes(self.body.as_bytes()),
        )
        .map_err(|error| failed(&error))?;
        let (instructions, _) = sign(signable, &parameters)
            .map_err(|error| failed(&error))?
            .into_parts();
        let mut request = client
            .post(&self.url)
            .header("content-type", "application/json")
            .body(self.body.clone());
        for (name, value) in instructions.headers() {
            request = request.header(name, value);
        }
        Ok(request)
    }
}

fn builder() -> ClientBuilder {
    // Fails if a provider is installed: it is the same one.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(REQUEST_TIME)
}

/// Why a step could not be fetched by HTTPS here, if so.
pub(crate) fn https_fault() -> Option<String> {
    builder().build().err().map(|error| chain(&error))
}

/// Sends `request` and answers the body of a success. Messages hold neither the request nor a body,
/// only the `code` of problem+json.
async fn answer<T: serde::de::DeserializeOwned>(
    request: reqwest::RequestBuilder,
    what: &str,
) -> Result<T, Problem> {
    let passing = |error: reqwest::Error| {
        Problem::Passing(format!(
            "{what} could not be fetched: {}",
            chain(&error.without_url())
        ))
    };
    let response = request.send().await.map_err(passing)?;
    let status = response.status();
    let body = response.bytes().await.map_err(passing)?;
    if status.is_success() {
        let unclear =
            |error: serde_json::Error| Problem::Final(format!("{what} could not be read: {error}"));
        return serde_json::from_slice(&body).map_err(unclear);
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
    if status.is_server_error() || not_ready || status == StatusCode::TOO_MANY_REQUESTS {
        Err(Problem::Passing(message))
    } else {
        Err(Problem::Final(message))
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

impl Step {
    fn task(self, own: &mut Environment) -> Result<Task, String> {
        let mut environment = supervise::base_environment(own.home());
        if let Some(path) = own.text("PATH") {
            // The image's own.
            environment.push(supervise::plain("PATH", path));
        }
        let task_role: Vec<_> = TASK_ROLE
            .iter()
            .filter_map(|name| Some(supervise::plain(*name, own.text(name)?)))
            .collect();
        environment.extend(task_role);
        environment.extend(
            self.env
                .into_iter()
                .map(|(name, value)| supervise::plain(name, value)),
        );
        let mut secrets = Vec::with_capacity(self.secret_names.len());
        for name in self.secret_names {
            let value = own.0.remove(&name).ok_or_else(|| {
                format!("the secret `{name}` is not in the task's environment: its task definition must name it under `secrets`")
            })?;
            // ECS gives the variable of a binary secret no value, and says nothing.
            if value.expose().is_empty() {
                return Err(format!(
                    "the secret `{name}` is empty: give it a value; one that is stored as binary is empty here, too"
                ));
            }
            secrets.push(Injected {
                redact: !self.unredacted.contains(&name),
                name,
                reference: None,
                value,
            });
        }
        let redactor = output::redactor(&secrets)?;
        environment.extend(
            secrets
                .into_iter()
                .map(|secret| (secret.name, secret.value)),
        );
        if let Some((name, _)) = environment.iter().find(|(name, value)| {
            name.is_empty() || name.contains(['=', '\0']) || value.expose().contains(&0)
        }) {
            return Err(format!(
                "`{}` or its value cannot be an environment variable",
                name.escape_debug()
            ));
        }
        let workspace = Path::new(WORKSPACE);
        let stdin = Workspace::new(workspace).complete(&self.inputs)?;
        Ok(Task {
            command: sealfleet_workspace::words(workspace, &self.command)?,
            environment,
            stdin,
            time_limit: Some(Duration::from_secs(self.timeout_seconds)),
            tap: None,
            redactor,
        })
    }
}
