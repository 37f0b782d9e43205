//! The network of a step that may reach hosts: a listener inside of its sandbox, which has no other
//! way out, and the proxy behind it, in a second sandbox.
//!
//! The step's init makes the listener and gives it away; a socket keeps the network namespace that
//! it was made in. So the proxy accepts what comes from the step's loopback, while its own
//! connections leave from the host's network. It also makes the pair of sockets on which it asks
//! the proxy what the step has done. Whoever carries both between the two sees nothing of what goes
//! through them. In a task of Fargate nobody carries anything: `fargate` says how it is there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::pin::pin;
use std::time::Duration;

use ipnet::IpNet;
use sealfleet_channel::{
    Bearer, Channel, ChannelError, Descriptors, EGRESS_LISTENER, EGRESS_PEER, Egress, EgressOrder,
    PlaceholderRequest, ResolvedSecret, SecretAtEgress, Socket, ToHost, ToInit, ToProxy, ToStep,
};
use sealfleet_domain::IdSource as _;
use sealfleet_domain::acl::sees;
use sealfleet_domain::agent::ModelsUsed;
use sealfleet_domain::delivery::{self, AtEgress};
use sealfleet_domain::egress::{Denials, HostName, Policy, Reached};
use sealfleet_egress::{Credential, How, Limits, Proxy};
use sealfleet_identity::{Given, Held, IdentityError, Registry, SecretValue};
use sealfleet_redaction::Redactor;
use sealfleet_system::SystemIds;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::exec::{bad_step, values_of};
use crate::output::{self, Injected};
use crate::supervise::Stops;
use crate::{Failure, tokens, trust};

/// The port of a step's loopback that its proxy accepts on.
pub(crate) const PORT: u16 = 3128;
/// What placeholders begin with, behind the prefix that a profile states.
const PLACEHOLDER: &str = "sealfleet-placeholder-";
/// Random bytes behind that, as hexadecimal digits.
const RANDOM_BYTES: usize = 16;
/// How often the worker is told what the step has done.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// How long the host may take to have a proxy for the identity backends.
const PROXY_TIME: Duration = Duration::from_secs(20);
/// How long the proxy may take to answer.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// How long what identity backends hold may take to end. The worker waits a little longer.
const RELEASE_TIME: Duration = Duration::from_secs(8);
/// The exit code of a proxy that could not end it.
const HELD: i32 = 122;

/// What tells the programs of a step where its proxy is. Programs know either way of writing it.
pub(crate) fn variables() -> Vec<(String, String)> {
    let url = format!("http://127.0.0.1:{PORT}");
    let here = "localhost,127.0.0.1,::1";
    let both = |name: &str, value: &str| {
        [name.to_owned(), name.to_lowercase()].map(|name| (name, value.to_owned()))
    };
    let mut all: Vec<_> = [
        both("HTTP_PROXY", &url),
        both("HTTPS_PROXY", &url),
        both("ALL_PROXY", &url),
        both("NO_PROXY", here),
    ]
    .into_iter()
    .flatten()
    .collect();
    // Without it, Node.js looks at none of them.
    all.push(("NODE_USE_ENV_PROXY".to_owned(), "1".to_owned()));
    all
}

/// Does `work`, and `act` each time that `every` has passed meanwhile. What has begun is brought to
/// its end: half of a message would be the end of its channel, and what was told and is not known
/// to be would be told twice.
pub(crate) async fn meanwhile<T>(
    work: impl Future<Output = T>,
    every: Duration,
    mut act: impl AsyncFnMut(),
) -> T {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(every) => {}
        }
        let mut acting = pin!(act());
        let done = tokio::select! {
            done = &mut work => done,
            () = &mut acting => continue,
        };
        acting.await;
        return done;
    }
}

/// A step's side of its proxy.
pub(crate) struct Peer {
    /// None once the proxy has not answered as it must.
    socket: Option<Socket<ToProxy, ToStep>>,
    hosts: Hosts,
    /// What the step has reached, as last heard.
    reached: Reached,
    /// What it has used of models, as last heard.
    models_used: ModelsUsed,
}

impl Peer {
    /// For a step with these secrets. Answers also what its proxy gets.
    ///
    /// # Errors
    /// The system's answer; for people.
    pub(crate) async fn open(
        secrets: &[Injected],
        redactor: &Redactor,
        placeholders: BTreeMap<String, String>,
    ) -> Result<(Self, Descriptors), String> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT))
            .map_err(|error| format!("the egress proxy's port {PORT} cannot be had: {error}"))?;
        let (mut socket, proxys) = Socket::to_proxy()
            .map_err(|error| format!("no socket for the egress proxy can be had: {error}"))?;
        // It fits into the socket, and waits there for the proxy.
        tell(&mut socket, &ToProxy::Begin(placeholders)).await?;
        let given = [
            (EGRESS_LISTENER.to_owned(), listener.into()),
            (EGRESS_PEER.to_owned(), proxys),
        ];
        Ok((Self::over(socket, secrets, redactor)?, given.into()))
    }

    /// For a step with these secrets, whose proxy is connected and has begun.
    ///
    /// # Errors
    /// A value that cannot be searched for; for people.
    pub(crate) fn over(
        socket: Socket<ToProxy, ToStep>,
        secrets: &[Injected],
        redactor: &Redactor,
    ) -> Result<Self, String> {
        Ok(Self {
            socket: Some(socket),
            hosts: Hosts::of(secrets, redactor)?,
            reached: Reached::default(),
            models_used: ModelsUsed::default(),
        })
    }

    /// Hears from the proxy that it is ready, and lets programs trust it. Answers the variables
    /// that tell them.
    ///
    /// # Errors
    /// That it is not; for people.
    pub(crate) async fn trusted(&mut self) -> Result<Vec<(String, SecretValue)>, String> {
        let socket = self.socket.as_mut().ok_or("the egress proxy is lost")?;
        match timeout(ANSWER_TIME, socket.receive()).await {
            Ok(Ok((ToStep::Ready(ca), _))) => trust::add(&ca),
            Ok(Ok((ToStep::Refused(why), _))) => Err(why),
            Ok(Ok(_)) => Err("the egress proxy is not ready".to_owned()),
            Ok(Err(error)) => Err(format!("the egress proxy is not ready: {error}")),
            Err(_) => Err("the egress proxy was not ready in time".to_owned()),
        }
    }

    /// Does `work`, and tells the worker meanwhile what the step does.
    pub(crate) async fn tell_while<T>(
        &mut self,
        channel: &Mutex<&mut Socket<ToHost, ToInit>>,
        work: impl Future<Output = T>,
    ) -> T {
        meanwhile(work, TELL_EVERY, async || self.tell(channel).await).await
    }

    async fn tell(&mut self, channel: &Mutex<&mut Socket<ToHost, ToInit>>) {
        let before = self.reached.clone();
        let egress = self.seen().await;
        if egress.denied.is_empty() && egress.reached == before {
            return;
        }
        let mut channel = channel.lock().await;
        let told = channel
            .send(&ToHost::Egress(egress), Descriptors::new())
            .await;
        if let Err(error) = told {
            eprintln!("sealfleet-init: the worker was not told what the step reaches: {error}");
        }
    }

    /// Lets the proxy deliver these secrets no more. If it cannot be told, it is left alone, and
    /// ends.
    pub(crate) async fn withdraw(&mut self, keys: BTreeSet<String>) {
        let Some(mut socket) = self.socket.take() else {
            return;
        };
        match tell(&mut socket, &ToProxy::Withdraw(keys)).await {
            Ok(()) => self.socket = Some(socket),
            Err(why) => eprintln!("sealfleet-init: {why}"),
        }
    }

    /// What the step has done since this was last asked, without values of its secrets.
    pub(crate) async fn seen(&mut self) -> Egress {
        let mut denied = Denials::default();
        if let Some(mut socket) = self.socket.take() {
            match timeout(ANSWER_TIME, asked(&mut socket)).await {
                Ok(Ok(told)) => {
                    let hidden = |host: &HostName| self.hosts.hold_a_value(host);
                    denied = Denials::default().with(told.denied).without(hidden);
                    self.reached = told.reached.bounded().without(hidden);
                    self.models_used = told.models_used.without(|row| {
                        let names = [&row.provider, &row.model];
                        names.iter().any(|name| self.hosts.hold_in(name))
                    });
                    self.socket = Some(socket);
                }
                Ok(Err(error)) => {
                    eprintln!("sealfleet-init: the egress proxy cannot be asked: {error}");
                }
                Err(_) => eprintln!("sealfleet-init: the egress proxy did not answer in time"),
            }
        }
        Egress {
            denied,
            reached: self.reached.clone(),
            models_used: self.models_used.clone(),
        }
    }
}

/// Tells the proxy something that it takes at once.
pub(crate) async fn tell(
    socket: &mut Socket<ToProxy, ToStep>,
    message: &ToProxy,
) -> Result<(), String> {
    let told = timeout(ANSWER_TIME, socket.send(message, Descriptors::new())).await;
    told.map_err(|_| "it takes nothing".to_owned())
        .and_then(|sent| sent.map_err(|error| error.to_string()))
        .map_err(|error| format!("the egress proxy cannot be told: {error}"))
}

async fn asked(socket: &mut Socket<ToProxy, ToStep>) -> Result<Egress, ChannelError> {
    socket.send(&ToProxy::Ask, Descriptors::new()).await?;
    match socket.receive().await? {
        (ToStep::Egress(egress), _) => Ok(egress),
        (ToStep::Ready(_) | ToStep::Refused(_) | ToStep::Keeping, _) => Err(ChannelError::Closed),
    }
}

/// What stands in the place of a secret that the proxy delivers: by chance, so it says nothing of
/// the value, and by its form, so that people know one when they see it.
pub(crate) fn placeholder(request: PlaceholderRequest) -> Injected {
    let random = SystemIds.secret().into_iter().take(RANDOM_BYTES);
    let random: String = random.map(|byte| format!("{byte:02x}")).collect();
    let text = format!("{}{PLACEHOLDER}{random}", request.prefix);
    Injected {
        name: request.name,
        reference: None,
        value: SecretValue::new(text.into_bytes()),
        redact: request.redact,
    }
}

/// Knows the hosts whose names hold values of secrets: a program can ask for one.
struct Hosts {
    as_written: Redactor,
    /// Names of hosts are told in lower case.
    in_lower_case: Redactor,
}

impl Hosts {
    fn of(secrets: &[Injected], redactor: &Redactor) -> Result<Self, String> {
        let lower = |secret: &Injected| Injected {
            name: secret.name.clone(),
            reference: None,
            value: SecretValue::new(secret.value.expose().to_ascii_lowercase()),
            redact: secret.redact,
        };
        let lower: Vec<Injected> = secrets.iter().map(lower).collect();
        Ok(Self {
            as_written: redactor.clone(),
            in_lower_case: output::redactor(&lower)?,
        })
    }

    fn hold_a_value(&self, host: &HostName) -> bool {
        self.hold_in(&host.to_string())
    }

    /// Whether a name that the proxy tells holds a value.
    fn hold_in(&self, name: &str) -> bool {
        [&self.as_written, &self.in_lower_case]
            .iter()
            .any(|redactor| redactor.finds(name.as_bytes()))
    }
}

/// The way to identity backends on the network, for as long as secrets are resolved. Its proxy ends
/// when this is dropped.
pub(crate) struct WayOut {
    /// Where the proxy accepts.
    pub(crate) address: SocketAddr,
    socket: Socket<ToProxy, ToStep>,
}

/// What leads out no more, and ends what identity backends hold once this is dropped, or the
/// process has ended in whatever way.
pub(crate) struct Keeper(#[expect(dead_code, reason = "it is open")] Socket<ToProxy, ToStep>);

impl WayOut {
    /// Asks the host for a proxy, and waits for it.
    ///
    /// # Errors
    /// That there is none; for people.
    pub(crate) async fn open<C: Channel<ToHost, ToInit>>(host: &mut C) -> Result<Self, String> {
        let failed = |error: &dyn std::fmt::Display| {
            format!("the identity backends cannot be reached: {error}")
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listener = listener.map_err(|error| failed(&error))?;
        let address = listener.local_addr().map_err(|error| failed(&error))?;
        let (mut socket, proxys) = Socket::to_proxy().map_err(|error| failed(&error))?;
        let begin = ToProxy::Begin(BTreeMap::new());
        let begun = socket.send(&begin, Descriptors::new()).await;
        begun.map_err(|error| failed(&error))?;
        let given = [
            (EGRESS_LISTENER.to_owned(), listener.into()),
            (EGRESS_PEER.to_owned(), proxys),
        ];
        let asked = host.send(&ToHost::ProxyAsked, given.into()).await;
        asked.map_err(|error| failed(&error))?;
        match timeout(PROXY_TIME, socket.receive()).await {
            Ok(Ok((ToStep::Ready(_), _))) => Ok(Self { address, socket }),
            Ok(Ok(_)) => Err(failed(&"their proxy is not ready")),
            Ok(Err(error)) => Err(failed(&error)),
            Err(_) => Err(failed(&"their proxy was not ready in time")),
        }
    }

    /// Ends it. What is held for the step, its proxy keeps, and lets nobody through.
    ///
    /// # Errors
    /// It does not keep it; for people.
    pub(crate) async fn end(mut self, held: Held) -> Result<Option<Keeper>, String> {
        if held.is_empty() {
            return Ok(None);
        }
        let bearer =
            |held: SecretValue| Bearer(String::from_utf8_lossy(held.expose()).into_owned());
        let held = held
            .0
            .into_iter()
            .map(|(scheme, held)| (scheme, bearer(held)));
        let kept = async {
            let keep = ToProxy::Keep(held.collect());
            self.socket.send(&keep, Descriptors::new()).await?;
            match self.socket.receive().await? {
                (ToStep::Keeping, _) => Ok(()),
                _ => Err(ChannelError::Closed),
            }
        };
        match timeout(ANSWER_TIME, kept).await {
            Ok(Ok(())) => Ok(Some(Keeper(self.socket))),
            Ok(Err(error)) => Err(format!("nobody keeps what is lent to the step: {error}")),
            Err(_) => Err("nobody keeps what is lent to the step: no answer in time".to_owned()),
        }
    }
}

/// A proxy that can start.
pub(crate) struct Proxying {
    proxy: Proxy,
    listener: TcpListener,
    /// To the init of its step.
    step: Socket<ToStep, ToProxy>,
    /// What its own backends hold.
    held: Held,
}

impl Proxying {
    /// Resolves the secrets of the order. Answers also their versions. Descriptors and keys of the
    /// backends are gone when this returns.
    ///
    /// # Errors
    /// What is wrong with the order, or which secret has no value.
    pub(crate) async fn of(
        order: EgressOrder,
        mut carried: Descriptors,
        backends: &Registry,
        host: &mut impl Channel<ToHost, ToInit>,
    ) -> Result<(Self, Vec<ResolvedSecret>), IdentityError> {
        let mut take = |name: &str| {
            let descriptor = carried.remove(name);
            descriptor
                .ok_or_else(|| bad_step(format!("the egress order came without its `{name}`")))
        };
        let listener = TcpListener::from(take(EGRESS_LISTENER)?);
        let mut step = Socket::to_step(take(EGRESS_PEER)?)
            .map_err(|error| bad_step(format!("the step's socket cannot be used: {error}")))?;
        let networks = networks(order.networks.iter().map(String::as_str)).map_err(bad_step)?;
        let placeholders = begun(&mut step).await.map_err(bad_step)?;

        let granted = |asked: &SecretAtEgress| {
            sees(
                order.tools.as_ref(),
                order.tool.as_ref(),
                &asked.secret.name,
            )
        };
        let asked = order.secrets.into_iter().filter(granted);
        let (asked, bound): (Vec<_>, Vec<_>) = asked.map(|one| (one.secret, one.bound)).unzip();
        let files = carried.into_iter();
        let files = files.map(|(name, descriptor)| (name, descriptor.into()));
        // This sandbox has the network of its host.
        let given = Given {
            project: order.project,
            files: files.collect(),
            settings: order.backends.settings,
            tokens: tokens::logins(&order.backends.audiences, host).await?,
            proxy: None,
            lasts: Duration::from_secs(order.lasts_seconds),
        };
        let opened = backends.open(given, Duration::from_millis(order.resolve_millis));
        let resolved = values_of(asked, &opened).await;
        let held = opened.close().await;
        let ready = async {
            let (secrets, versions) = resolved?;
            let credentials = credentials(secrets, bound, &placeholders).map_err(bad_step)?;
            let mut proxy = proxy(order.policy, networks).map_err(bad_step)?;
            if let Some(pem) = &order.authorities {
                proxy = proxy
                    .with_roots(pem.as_bytes())
                    .map_err(|error| bad_step(format!("`--egress-ca` cannot be used: {error}")))?;
            }
            let proxy = proxy.with_credentials(credentials).map_err(|error| {
                let of = versions.iter().find(|secret| secret.name == error.key);
                let uri = of.map_or("", |secret| &secret.uri);
                IdentityError {
                    code: "unusable_value",
                    message: format!(
                        "`{}` (`{uri}`) cannot be delivered at egress: {}",
                        error.key, error.what
                    ),
                }
            })?;
            let proxying = Self::ready(proxy, listener, step).await;
            Ok((proxying.map_err(bad_step)?, versions))
        };
        match ready.await {
            Ok((proxying, versions)) => Ok((Self { held, ..proxying }, versions)),
            Err(error) => {
                // It lasts as long as its store lets it, if that does not hear of it.
                drop(backends.release(held, RELEASE_TIME).await);
                Err(error)
            }
        }
    }

    /// Tells the step that its proxy is ready.
    ///
    /// # Errors
    /// That it was not told; for people.
    pub(crate) async fn ready(
        proxy: Proxy,
        listener: TcpListener,
        mut step: Socket<ToStep, ToProxy>,
    ) -> Result<Self, String> {
        let ready = ToStep::Ready(proxy.ca_pem().to_owned());
        let told = step.send(&ready, Descriptors::new()).await;
        told.map_err(|error| format!("the step was not told: {error}"))?;
        Ok(Self {
            proxy,
            listener,
            step,
            held: Held::default(),
        })
    }

    /// Lets through what the order allows, until a signal comes, the worker closes the channel, or
    /// the step's init has gone. Then ends what is held for the step.
    pub(crate) async fn run(
        self,
        backends: &Registry,
        mut channel: Socket<ToHost, ToInit>,
        stops: &mut Stops,
    ) -> i32 {
        let Self {
            proxy,
            listener,
            step,
            mut held,
        } = self;
        let code = tokio::select! {
            code = serve(&proxy, listener, step, &mut held) => code,
            ended = obey(&proxy, &mut channel) => said(ended, "the worker"),
            signal = stops.next() => 128 + signal.as_raw(),
        };
        if held.is_empty() {
            return code;
        }
        match backends.release(held, RELEASE_TIME).await {
            Ok(()) => 0,
            Err(_) => HELD,
        }
    }

    /// Lets through what it may, until the step's init has gone.
    pub(crate) async fn run_alone(self) -> i32 {
        let mut held = self.held;
        serve(&self.proxy, self.listener, self.step, &mut held).await
    }
}

async fn serve(
    proxy: &Proxy,
    listener: TcpListener,
    mut step: Socket<ToStep, ToProxy>,
    held: &mut Held,
) -> i32 {
    // The listener and its connections are gone when this has ended.
    let asked = tokio::select! {
        Err(error) = proxy.serve(listener) => {
            return Failure::Error(format!("the egress listener cannot be used: {error}")).exit_code();
        }
        asked = answer(proxy, &mut step) => asked,
    };
    let ended = match asked {
        Ok(kept) => {
            held.0.extend(kept.0);
            keep(&mut step).await
        }
        Err(ended) => ended,
    };
    said(ended, "the step")
}

/// Is there until the step has ended.
async fn keep(step: &mut Socket<ToStep, ToProxy>) -> ChannelError {
    match step.send(&ToStep::Keeping, Descriptors::new()).await {
        Ok(()) => step.receive().await.err().unwrap_or(ChannelError::Closed),
        Err(error) => error,
    }
}

fn said(ended: ChannelError, by: &str) -> i32 {
    match ended {
        ChannelError::Closed => 0,
        error => Failure::Error(format!("{by} cannot be understood: {error}")).exit_code(),
    }
}

/// Networks that are lent to a step's policy, as people write them.
pub(crate) fn networks<'a>(all: impl Iterator<Item = &'a str>) -> Result<Vec<IpNet>, String> {
    let read = |network: &str| {
        let network = network.trim();
        network
            .parse()
            .map_err(|error| format!("`{network}`: {error}"))
    };
    all.map(read).collect()
}

pub(crate) fn proxy(policy: Policy, networks: Vec<IpNet>) -> Result<Proxy, String> {
    Proxy::new(policy, networks, Limits::default())
        .map_err(|error| format!("the egress proxy cannot be used: {error}"))
}

/// The placeholders that the step's init has made.
async fn begun(step: &mut Socket<ToStep, ToProxy>) -> Result<BTreeMap<String, String>, String> {
    match timeout(ANSWER_TIME, step.receive()).await {
        Ok(Ok((ToProxy::Begin(placeholders), _))) => Ok(placeholders),
        Ok(Ok(_)) => Err("the step asks before it begins".to_owned()),
        Ok(Err(error)) => Err(format!("the step did not begin: {error}")),
        Err(_) => Err("the step did not begin in time".to_owned()),
    }
}

/// Each secret with its own placeholder: as many as there are secrets, and none that could stand
/// for two.
pub(crate) fn credentials(
    secrets: Vec<Injected>,
    bound: Vec<AtEgress>,
    placeholders: &BTreeMap<String, String>,
) -> Result<Vec<Credential>, String> {
    if placeholders.len() != secrets.len() {
        return Err("the step made placeholders of other secrets than its proxy has".to_owned());
    }
    let mut random = BTreeSet::new();
    let mut all = Vec::with_capacity(secrets.len());
    for (secret, bound) in secrets.into_iter().zip(bound) {
        let placeholder = placeholders.get(&secret.name).filter(|text| {
            let own = text.strip_prefix(&bound.prefix);
            let own = own.and_then(|text| text.strip_prefix(PLACEHOLDER));
            let is_hex = |text: &str| text.bytes().all(|c| c.is_ascii_hexdigit());
            own.is_some_and(|own| {
                own.len() == 2 * RANDOM_BYTES && is_hex(own) && random.insert(own.to_owned())
            })
        });
        let placeholder = placeholder
            .ok_or_else(|| format!("the step made no placeholder for `{}`", secret.name))?;
        let how = match bound.how {
            delivery::How::Header => How::Header,
            delivery::How::Sigv4(by) => {
                // As programs have it.
                let id = placeholders.get(&by.access_key_id);
                let access_key_id = id.cloned().unwrap_or(by.access_key_id);
                How::SigV4 { access_key_id }
            }
        };
        all.push(Credential {
            key: secret.name,
            placeholder: placeholder.clone(),
            value: secret.value,
            to: bound.to,
            how,
        });
    }
    Ok(all)
}

/// Answers what the step's init asks, until it asks no more, or to keep what is held for the step.
async fn answer(proxy: &Proxy, step: &mut Socket<ToStep, ToProxy>) -> Result<Held, ChannelError> {
    loop {
        match step.receive().await?.0 {
            ToProxy::Ask => {}
            ToProxy::Withdraw(keys) => {
                keys.iter().for_each(|key| proxy.withdraw(key));
                continue;
            }
            ToProxy::Keep(held) => {
                let held = held.into_iter();
                let held =
                    held.map(|(scheme, Bearer(held))| (scheme, SecretValue::new(held.into())));
                return Ok(Held(held.collect()));
            }
            ToProxy::Order(_) | ToProxy::Begin(_) => return Err(ChannelError::Closed),
        }
        let egress = Egress {
            denied: proxy.take_denials(),
            reached: proxy.reached(),
            models_used: proxy.usage(),
        };
        let answer = ToStep::Egress(egress);
        step.send(&answer, Descriptors::new()).await?;
    }
}

/// Does what the worker says, until it says no more.
async fn obey(proxy: &Proxy, channel: &mut Socket<ToHost, ToInit>) -> ChannelError {
    loop {
        match channel.receive().await {
            Ok((ToInit::Withdraw(keys), _)) => keys.iter().for_each(|key| proxy.withdraw(key)),
            Ok(_) => return ChannelError::Closed,
            Err(error) => return error,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use sealfleet_domain::egress::{Denial, Denied, Reach, Traffic};
    use sealfleet_domain::limits::EGRESS_ROWS;
    use tokio::time::Instant;

    use sealfleet_domain::agent::{Answers, ModelAnswers};

    use super::*;

    const VALUE: &str = "Canary-In-Mixed-Case-9876543210";

    fn denial(host: &str) -> Denial {
        Denial {
            host: host.parse().unwrap(),
            port: 443,
            reason: Denied::NoRule,
            key: None,
            count: 1,
        }
    }

    fn reach(host: &str) -> Reach {
        Reach {
            host: host.parse().unwrap(),
            port: 443,
            traffic: Traffic {
                connections: 1,
                sent: 2,
                received: 3,
            },
        }
    }

    /// The side of a step with one secret, and that of its proxy.
    fn pair() -> (Peer, Socket<ToStep, ToProxy>) {
        let secrets = [Injected {
            name: "API_KEY".to_owned(),
            reference: None,
            value: SecretValue::new(VALUE.into()),
            redact: true,
        }];
        let redactor = output::redactor(&secrets).unwrap();
        let (socket, proxys) = Socket::to_proxy().unwrap();
        let peer = Peer {
            socket: Some(socket),
            hosts: Hosts::of(&secrets, &redactor).unwrap(),
            reached: Reached::default(),
            models_used: ModelsUsed::default(),
        };
        (peer, Socket::to_step(proxys).unwrap())
    }

    fn answers(model: &str) -> ModelAnswers {
        ModelAnswers {
            provider: "openai".to_owned(),
            model: model.to_owned(),
            of: Answers {
                answers: 2,
                cache_write_tokens: 1,
                ..Answers::default()
            },
        }
    }

    async fn answer_with(proxy: &mut Socket<ToStep, ToProxy>, egress: Egress) {
        assert_eq!(proxy.receive().await.unwrap().0, ToProxy::Ask);
        let answer = ToStep::Egress(egress);
        proxy.send(&answer, Descriptors::new()).await.unwrap();
    }

    fn injected(name: &str) -> Injected {
        Injected {
            name: name.to_owned(),
            reference: None,
            value: SecretValue::new(VALUE.into()),
            redact: true,
        }
    }

    fn at_egress(more: &str) -> AtEgress {
        let json = format!(r#"{{"to":[{{"host":"a.example"}}]{more}}}"#);
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn a_placeholder_is_random_and_tells_what_it_is() {
        let asked = |prefix: &str| PlaceholderRequest {
            name: "API_KEY".to_owned(),
            prefix: prefix.to_owned(),
            redact: true,
        };
        let (one, two) = (placeholder(asked("")), placeholder(asked("sk-ant-")));
        let text = |one: &Injected| String::from_utf8(one.value.expose().to_vec()).unwrap();
        let (one, two) = (text(&one), text(&two));
        let random = one.strip_prefix("sealfleet-placeholder-").unwrap();
        assert_eq!(random.len(), 32, "{one}");
        assert!(two.starts_with("sk-ant-sealfleet-placeholder-") && !two.ends_with(random));
    }

    #[test]
    fn each_secret_has_a_placeholder_of_its_own() {
        let (one, two) = ("0".repeat(32), "1".repeat(32));
        let of = |placeholders: &[(&str, String)]| {
            let own = placeholders.iter();
            let own = own.map(|(name, text)| ((*name).to_owned(), text.clone()));
            let secrets = vec![injected("KEY"), injected("ID")];
            let signed = at_egress(r#","how":{"sigv4":{"access_key_id":"ID"}}"#);
            let bound = vec![signed, at_egress(r#","prefix":"AKIA-""#)];
            credentials(secrets, bound, &own.collect())
        };
        let plain = |random: &str| format!("{PLACEHOLDER}{random}");
        let id = |random: &str| format!("AKIA-{PLACEHOLDER}{random}");
        let good = of(&[("KEY", plain(&one)), ("ID", id(&two))]).unwrap();
        // Programs know the id by its placeholder.
        let How::SigV4 { access_key_id } = &good[0].how else {
            panic!("signed")
        };
        assert_eq!(*access_key_id, id(&two));
        for bad in [
            vec![("KEY", plain(&one))],
            vec![("KEY", plain(&one)), ("OTHER", id(&two))],
            vec![("KEY", plain(&one)), ("ID", plain(&two))],
            vec![("KEY", plain(&one)), ("ID", id(&one))],
            vec![("KEY", plain(&one)), ("ID", id("short"))],
            vec![("KEY", plain(&one)), ("ID", id(&"g".repeat(32)))],
            vec![("KEY", "e".to_owned()), ("ID", id(&two))],
            vec![
                ("KEY", plain(&one)),
                ("ID", id(&two)),
                ("MORE", plain(&two)),
            ],
        ] {
            assert!(of(&bad).is_err(), "{bad:?}");
        }
    }

    #[tokio::test]
    async fn no_host_that_holds_a_value_has_a_name() {
        let (mut peer, mut proxy) = pair();
        let lower = format!("{}.example", VALUE.to_lowercase());
        let egress = Egress {
            denied: Denials {
                rows: vec![denial(&lower), denial("plain.example")],
                others: 4,
            },
            reached: Reached {
                rows: vec![reach("plain.example"), reach(&lower)],
                others: Traffic::default(),
            },
            models_used: ModelsUsed {
                rows: vec![answers("gpt-5.1-codex"), answers(VALUE)],
                ..ModelsUsed::default()
            },
        };
        let (seen, ()) = tokio::join!(peer.seen(), answer_with(&mut proxy, egress));
        assert_eq!(seen.denied.rows, [denial("plain.example")]);
        assert_eq!(seen.denied.others, 5);
        assert_eq!(seen.reached.rows, [reach("plain.example")]);
        assert_eq!(seen.reached.others, reach("x.example").traffic);
        assert_eq!(seen.models_used.rows, [answers("gpt-5.1-codex")]);
        assert_eq!(seen.models_used.others, answers("x").of);
    }

    #[tokio::test(start_paused = true)]
    async fn a_proxy_that_misbehaves_holds_up_nothing() {
        let many = (0..4 * EGRESS_ROWS).map(|at| format!("h{at}.example"));
        let many = Egress {
            denied: Denials {
                rows: many.clone().map(|host| denial(&host)).collect(),
                others: 0,
            },
            reached: Reached {
                rows: many.map(|host| reach(&host)).collect(),
                others: Traffic::default(),
            },
            ..Egress::default()
        };
        let (mut peer, mut proxy) = pair();
        let (seen, ()) = tokio::join!(peer.seen(), answer_with(&mut proxy, many));
        let rows = (seen.denied.rows.len(), seen.reached.rows.len());
        assert_eq!(rows, (EGRESS_ROWS, EGRESS_ROWS));
        assert_eq!(seen.denied.others, 3 * EGRESS_ROWS as u64);
        // Silent from now on: what it said before stays, and it is asked once.
        let began = Instant::now();
        for _ in 0..2 {
            let again = peer.seen().await;
            assert!(again.denied.is_empty());
            assert_eq!(again.reached, seen.reached);
        }
        assert_eq!(began.elapsed(), ANSWER_TIME);
    }

    #[tokio::test(start_paused = true)]
    async fn the_worker_is_told_every_ten_seconds_what_is_new() {
        let (mut peer, mut proxy) = pair();
        let asked = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            loop {
                let number = count.load(Ordering::Relaxed);
                let rows = if number == 1 {
                    vec![denial("a.example")]
                } else {
                    Vec::new()
                };
                let denied = Denials { rows, others: 0 };
                let egress = Egress {
                    denied,
                    ..Egress::default()
                };
                answer_with(&mut proxy, egress).await;
                count.store(number + 1, Ordering::Relaxed);
            }
        });
        let (mut host, init) = Socket::<ToInit, ToHost>::pair().unwrap();
        let mut channel = Socket::<ToHost, ToInit>::inherited(init).unwrap();
        let work = tokio::time::sleep(TELL_EVERY * 5 + Duration::from_secs(5));
        peer.tell_while(&Mutex::new(&mut channel), work).await;
        assert_eq!(asked.load(Ordering::Relaxed), 5);
        let (told, _) = host.receive().await.unwrap();
        let ToHost::Egress(told) = told else {
            panic!("{told:?}")
        };
        assert_eq!(told.denied.rows, [denial("a.example")]);
        drop(channel);
        assert!(host.receive().await.is_err(), "told of nothing");
    }

    /// A way out, and what its proxy has of it.
    fn way_out() -> (WayOut, Socket<ToStep, ToProxy>, TcpListener) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (socket, other) = Socket::to_proxy().unwrap();
        (
            WayOut { address, socket },
            Socket::to_step(other).unwrap(),
            listener,
        )
    }

    #[tokio::test]
    async fn a_way_out_ends_with_the_resolution() {
        let (way_out, mut step, _listener) = way_out();
        let keeper = way_out.end(Held::default()).await.unwrap();
        assert!(keeper.is_none());
        let ended = timeout(ANSWER_TIME, step.receive()).await.unwrap();
        assert!(matches!(ended, Err(ChannelError::Closed)), "{ended:?}");
    }

    #[tokio::test]
    async fn a_proxy_that_keeps_lets_nobody_through_and_ends_with_its_step() {
        let (way_out, step, listener) = way_out();
        let address = way_out.address;
        let connects = async || tokio::net::TcpStream::connect(address).await.is_ok();
        let serving = tokio::spawn(async move {
            let proxy = proxy(Policy::None, Vec::new()).unwrap();
            let mut held = Held::default();
            let code = serve(&proxy, listener, step, &mut held).await;
            (code, held)
        });
        assert!(connects().await, "the way out is there");
        let session = SecretValue::new(b"session".to_vec());
        let held = Held(BTreeMap::from([("vault".to_owned(), session)]));
        let keeper = way_out.end(held).await.unwrap();
        assert!(!connects().await, "it lets somebody through");
        assert!(!serving.is_finished(), "it does not keep");
        drop(keeper);
        let (code, held) = timeout(ANSWER_TIME, serving).await.unwrap().unwrap();
        assert_eq!(code, 0);
        let session = held.0.get("vault").map(SecretValue::expose);
        assert_eq!(session, Some(b"session".as_slice()), "it has it to end it");
    }
}
