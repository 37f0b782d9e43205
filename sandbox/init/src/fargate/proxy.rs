//! The egress proxy of a task: its second container, which shares the first one's loopback, and
//! neither its processes nor its files.
//!
//! The secrets that it delivers are in its environment, and in that of no other container. The
//! step's init connects to it before there is a command, once: from then on nobody listens there
//! any more. So the command, which has the same user and the same loopback, has nothing to speak to
//! but the proxy's port.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::time::Duration;

use sealfleet_channel::{
    Channel as _, ChannelError, Descriptors, ProxyOrder, Socket, ToProxy, ToStep,
};
use sealfleet_egress::Proxy;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::environment::Environment;
use super::injected;
use crate::Failure;
use crate::egress::{self, PORT, Proxying};
use crate::supervise::Stops;

/// Where the proxy waits for the step's init.
const STEP_PORT: u16 = 3127;
/// How long a proxy whose container has started may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(50);
/// Networks that the operators lend to policies, separated by commas.
const NETWORKS: &str = "SEALFLEET_EGRESS_NETWORKS";

/// Runs the proxy until the step's init has gone, and answers the exit code for this process. ECS
/// asks all containers of a task to end at once; the step may still need its proxy then.
pub(super) async fn run(mut environment: Environment) -> i32 {
    let begun = async {
        let mut stops =
            Stops::listen().map_err(|error| format!("signals cannot be watched: {error}"))?;
        tokio::select! {
            proxying = begin(&mut environment) => Ok(proxying?),
            signal = stops.next() => Err(Failure::Stopped(128 + signal.as_raw())),
        }
    };
    match begun.await {
        Ok(proxying) => proxying.run_alone().await,
        Err(failure) => failure.exit_code(),
    }
}

/// The step's side of the connection.
///
/// # Errors
/// That there is no proxy; for people.
pub(super) async fn connect() -> Result<Socket<ToProxy, ToStep>, String> {
    let start = Instant::now();
    loop {
        match TcpStream::connect(loopback(STEP_PORT)).await {
            Ok(stream) => return Socket::connected_to_proxy(stream).map_err(unusable),
            Err(_) if start.elapsed() < PATIENCE => tokio::time::sleep(PAUSE).await,
            Err(error) => return Err(format!("the task has no egress proxy: {error}")),
        }
    }
}

async fn begin(own: &mut Environment) -> Result<Proxying, String> {
    let taken =
        |port: u16| move |error| format!("port {port} of the egress proxy cannot be had: {error}");
    let listener = StdListener::bind(loopback(PORT)).map_err(taken(PORT))?;
    let waiting = TcpListener::bind(loopback(STEP_PORT)).await;
    let waiting = waiting.map_err(taken(STEP_PORT))?;
    let (step, _) = waiting.accept().await.map_err(unusable)?;
    drop(waiting);
    let mut step = Socket::accepted_from_step(step).map_err(unusable)?;
    let lost = |error: ChannelError| format!("the step cannot be understood: {error}");
    let (ToProxy::Order(order), _) = step.receive().await.map_err(lost)? else {
        return Err("the step did not say first what it may reach".to_owned());
    };
    let (ToProxy::Begin(placeholders), _) = step.receive().await.map_err(lost)? else {
        return Err("the step asks before it begins".to_owned());
    };
    match proxy(*order, &placeholders, own) {
        Ok(proxy) => Proxying::ready(proxy, listener, step).await,
        Err(why) => {
            let refused = ToStep::Refused(why.clone());
            step.send(&refused, Descriptors::new())
                .await
                .map_err(lost)?;
            Err(why)
        }
    }
}

/// A proxy with the secrets that its order names: no other of this process's.
fn proxy(
    order: ProxyOrder,
    placeholders: &BTreeMap<String, String>,
    own: &mut Environment,
) -> Result<Proxy, String> {
    let (names, bound) = order.secrets.into_iter().unzip();
    let secrets = injected(own, names, &[])?;
    let credentials = egress::credentials(secrets, bound, placeholders)?;
    let lent = own.text(NETWORKS).into_iter();
    let networks = egress::networks(lent.flat_map(|lent| lent.split(',')))?;
    let proxy = egress::proxy(order.policy, networks)?;
    proxy.with_credentials(credentials).map_err(|error| {
        let (key, what) = (error.key, error.what);
        format!("`{key}` cannot be delivered at egress: {what}")
    })
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn unusable(error: std::io::Error) -> String {
    format!("the socket between the step and its egress proxy cannot be used: {error}")
}
