//! A local stand-in for Amazon ECS on Fargate and its agent, for developers' machines and tests.
//!
//! It serves the ECS calls that the product makes and runs each task as a real bubblewrap sandbox.
//! The same parts decide as in AWS. The task's execution role is assumed at the local STS and reads
//! the definition's `secrets`, so IAM allows or denies it. Output goes to CloudWatch Logs under the
//! same role. Only the sandbox gets the task role's credentials. Every change of a task becomes an
//! "ECS Task State Change" event for the observer. After a kill, the journal lets the tasks that
//! were running end as STOPPED at the next start.
//!
//! Intended differences from AWS:
//! - ECS calls are neither authenticated nor authorised, but sandboxes may make none ([`server`]).
//! - Sandboxes share the host's network and get `AWS_ENDPOINT_URL` ([`sandbox`], [`agent`]).
//! - Only one image exists ([`agent::Image`]). Its root is always read-only, and volumes are in
//!   memory. A volume is of one container ([`definition`]).
//! - Of the tasks with several containers, one runs at a time ([`agent`]).
//! - Every well-formed cluster name is an active cluster. There are no services, capacity or
//!   placement.
//!
//! No other crate links this one. It may read values of secrets because it stands in for the ECS
//! agent, and it is never deployed.

mod agent;
mod aws;
mod clock;
mod cloud;
mod cluster;
mod credentials;
mod definition;
mod error;
mod events;
mod faults;
mod journal;
mod logs;
mod peer;
mod random;
mod reference;
mod sandbox;
mod secrets;
mod server;
mod task;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use sealfleet_bubblewrap::{Launcher, LauncherConfig};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::agent::{Agent, Image, Surroundings};
use crate::aws::{Aws, AwsSettings};
use crate::cloud::Cloud;
use crate::cluster::{Cluster, Location};
use crate::credentials::CredentialPaths;
use crate::peer::SandboxUids;
use crate::sandbox::Bubblewrap;

/// How long a shutdown waits for tasks: the longest `stopTimeout`, plus time for the last log
/// lines.
const CLOSE_LIMIT: Duration = Duration::from_secs(140);
/// How long a shutdown waits for events. Events that are not accepted by then are delivered at the
/// next start.
const EVENTS_LIMIT: Duration = Duration::from_secs(3);

/// Local stand-in for Amazon ECS on Fargate
///
/// Credentials for the local AWS endpoint come from `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`
/// and, if set, `AWS_SESSION_TOKEN`. Prints `ready` when it listens.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Port on 127.0.0.1
    #[arg(long)]
    port: u16,
    /// URL of the local AWS endpoint (STS, Secrets Manager, CloudWatch Logs, Lambda)
    #[arg(long)]
    aws_endpoint: String,
    #[arg(long, default_value = "us-east-1")]
    region: String,
    /// Account id for generated ARNs
    #[arg(long, default_value = "000000000000")]
    account_id: String,
    /// Root file system of the image, with `sealfleet-init` at its top
    #[arg(long)]
    rootfs: PathBuf,
    /// Function that receives the "ECS Task State Change" events
    #[arg(long, default_value = "sealfleet-observe")]
    observe_function: String,
    /// Directory of the journal; only one process can use it at a time
    #[arg(long)]
    state_dir: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sealfleet-local-ecs: {}", with_causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let image = Image::new(&options.rootfs);
    image.reference().map_err(|error| {
        format!(
            "`{}` must hold `sealfleet-init`: {error}",
            options.rootfs.display()
        )
    })?;
    let cloud: Arc<dyn Cloud> = Arc::new(Aws::new(AwsSettings {
        endpoint: options.aws_endpoint.clone(),
        region: options.region.clone(),
        access_key_id: environment("AWS_ACCESS_KEY_ID")?,
        secret_access_key: Zeroizing::new(environment("AWS_SECRET_ACCESS_KEY")?),
        session_token: environment("AWS_SESSION_TOKEN")
            .ok()
            .filter(|token| !token.is_empty()),
        observe_function: options.observe_function,
    }));
    let launcher = Launcher::detect(LauncherConfig::new(&options.rootfs)).await?;
    tracing::info!("sandboxes: {}", launcher.report());
    let sandboxes = launcher.report().host_uids.clone().map(SandboxUids);

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port))
        .await
        .map_err(|error| format!("cannot listen on port `{}`: {error}", options.port))?;
    let own_url = format!("http://{}", listener.local_addr()?);
    let mut stop = StopSignals::new()?;
    let place = Location {
        region: options.region.clone(),
        account: options.account_id,
    };
    let (cluster, work) =
        Cluster::open(place, &options.state_dir, Arc::clone(&cloud)).map_err(|error| {
            format!(
                "cannot use the state directory `{}`: {error}",
                options.state_dir.display()
            )
        })?;
    let agent = Arc::new(Agent {
        cluster: Arc::clone(&cluster),
        cloud,
        runtime: Arc::new(Bubblewrap { launcher }),
        credentials: Arc::new(CredentialPaths::default()),
        image,
        surroundings: Surroundings {
            region: options.region,
            aws_endpoint: options.aws_endpoint,
            own_url,
        },
        loopback: Semaphore::new(1),
    });
    tokio::spawn(Arc::clone(&agent).run(work));
    let serving = tokio::spawn(server::serve(listener, agent, sandboxes));
    writeln!(std::io::stdout(), "ready")?;

    stop.next().await;
    // Keep serving until all tasks have ended: their sandboxes may need credentials to end cleanly.
    tokio::select! {
        () = close(&cluster) => {}
        () = stop.next() => tracing::warn!("second signal: ending at once"),
    }
    serving.abort();
    Ok(())
}

async fn close(cluster: &Cluster) {
    cluster.close(CLOSE_LIMIT).await;
    cluster.events().settle(EVENTS_LIMIT).await;
}

struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "only the program's start reads its environment"
)]
fn environment(name: &str) -> Result<String, String> {
    std::env::var(name).map_err(|_| format!("set `{name}` for the local AWS endpoint"))
}

fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}
