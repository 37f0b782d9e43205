//! What the sandboxes of a step are told of its worker's identity backends, and when: by sandboxes
//! in this process, which play `sealfleet-init` and note what comes.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use sealfleet_bubblewrap::Limits;
use sealfleet_channel::{
    Channel as _, CommandEnd, Descriptors, EGRESS_LISTENER, EGRESS_PEER, Egress, ResolvedSecret,
    Socket, ToHost, ToInit,
};
use sealfleet_client::types::Claim;
use sealfleet_domain::egress::{Policy, Rule, Rules};
use sealfleet_domain::workload::Audience;
use sealfleet_sandbox_backend::{
    Exit, Network, Order, Sandbox, SandboxBackend, StartError, Started, StateDirectory,
};
use sealfleet_worker::executor::egress::{Lent, Way};
use sealfleet_worker::executor::sandboxed::Sandboxed;
use sealfleet_worker::executor::{Ended, Executor as _, Logs};
use sealfleet_worker::identity::Identity;
use serde_json::json;
use tokio::sync::watch;

use crate::inputs::Store;

/// What happens, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    /// The step's init is told the step: whom its command gets tokens for, and its backends.
    Step(BTreeSet<Audience>, BTreeSet<String>),
    /// A proxy is told whom to let through.
    Way(Policy),
    /// A proxy is asked to end.
    ProxyEnds,
    /// The command may start.
    Go,
}

/// Sandboxes whose init answers with these secrets, by a way out.
#[derive(Clone)]
struct Rooms {
    resolved: Arc<Vec<ResolvedSecret>>,
    events: Arc<Mutex<Vec<Event>>>,
}

struct Room {
    rooms: Rooms,
    is_proxy: bool,
    ended: watch::Sender<bool>,
}

#[async_trait]
impl SandboxBackend for Rooms {
    fn name(&self) -> &'static str {
        "bubblewrap"
    }

    fn images(&self) -> Vec<String> {
        Vec::new()
    }

    async fn start(&self, order: Order) -> Result<Started, StartError> {
        let (channel, inherited) = Socket::pair()?;
        let room = Room {
            rooms: self.clone(),
            is_proxy: order.network == Network::Host,
            ended: watch::Sender::new(false),
        };
        tokio::spawn(self.clone().init(inherited, room.ended.clone()));
        Ok(Started {
            sandbox: Box::new(room),
            channel,
            stdout: Box::new(tokio::io::empty()),
            stderr: Box::new(tokio::io::empty()),
        })
    }
}

impl Rooms {
    fn note(&self, event: Event) {
        self.events.lock().unwrap().push(event);
    }

    fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }

    async fn init(self, inherited: OwnedFd, ended: watch::Sender<bool>) {
        let mut channel = Socket::inherited(inherited).unwrap();
        while let Ok((message, _)) = channel.receive().await {
            let answer = match message {
                ToInit::Step(step) => {
                    let backends = step.backends.settings.into_keys().collect();
                    self.note(Event::Step(step.audiences, backends));
                    channel.send(&ToHost::ProxyAsked, of_proxy()).await.unwrap();
                    self.until(|event| matches!(event, Event::Way(_))).await;
                    let resolved = self.resolved.iter().map(|secret| ResolvedSecret {
                        name: secret.name.clone(),
                        uri: secret.uri.clone(),
                        version: secret.version.clone(),
                        request_id: None,
                        leased: secret.leased,
                    });
                    ToHost::Resolved(resolved.collect())
                }
                ToInit::Egress(order) => {
                    self.note(Event::Way(order.policy));
                    ToHost::Proxying(Vec::new())
                }
                ToInit::Go => {
                    self.note(Event::Go);
                    ended.send_replace(true);
                    ToHost::Ended {
                        end: CommandEnd::Exited { code: 0 },
                        redactions: Vec::new(),
                        egress: Egress::default(),
                    }
                }
                _ => return,
            };
            channel.send(&answer, Descriptors::new()).await.unwrap();
        }
    }

    /// Waits for an event, for as long as a test may take.
    async fn until(&self, is_it: impl Fn(&Event) -> bool) {
        let seen = async {
            while !self.events().iter().any(&is_it) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(10), seen).await;
        assert!(waited.is_ok(), "{:?}", self.events());
    }
}

#[async_trait]
impl Sandbox for Room {
    fn id(&self) -> &str {
        if self.is_proxy { "proxy" } else { "step" }
    }

    async fn wait(&self) -> Exit {
        let mut ended = self.ended.subscribe();
        drop(ended.wait_for(|ended| *ended).await);
        Exit::Code(0)
    }

    async fn stop(&self, _: Duration) -> Exit {
        if self.is_proxy {
            self.rooms.note(Event::ProxyEnds);
        }
        self.ended.send_replace(true);
        Exit::Code(0)
    }
}

/// What a step's init gives away for its proxy.
fn of_proxy() -> Descriptors {
    let any = || std::fs::File::open("/dev/null").unwrap().into();
    [EGRESS_LISTENER, EGRESS_PEER]
        .map(|name| (name.to_owned(), any()))
        .into()
}

fn host(name: &str) -> Rule {
    serde_json::from_value(json!({ "host": name })).unwrap()
}

fn audience(name: &str) -> Audience {
    name.parse().unwrap()
}

/// A worker with two backends on the network, which log in by tokens of steps.
fn worker(place: &Path, rooms: &Rooms) -> Sandboxed {
    let both = ["vault", "agentcore"];
    let text = |scheme: &str| format!("{scheme}.example");
    let of = |scheme: &str| scheme.to_owned();
    Sandboxed {
        backends: vec![Arc::new(rooms.clone())],
        worker: StateDirectory::open(&place.join("state"))
            .unwrap()
            .enter()
            .unwrap(),
        identity: Identity {
            settings: both.map(|one| (format!("{one}.address"), text(one))).into(),
            audiences: both.map(|one| (of(one), audience(&text(one)))).into(),
            hosts: both.map(|one| (of(one), vec![host(&text(one))])).into(),
            ..Identity::default()
        },
        network: Lent {
            way: Way::Policy,
            networks: Vec::new(),
            authorities: None,
        },
        limits: Limits {
            memory_bytes: 64 << 20,
            scratch_bytes: 32 << 20,
            pids: 50,
            open_files: 500,
        },
        inputs: Store::default().inputs(place),
        logs: Logs {
            outputs: None,
            directory: place.join("logs"),
            most_bytes: 1 << 20,
        },
    }
}

const URI: &str = "vault://kv/healthcare/crm#k";

/// A step of a profile with three audiences and a secret of Vault.
fn claim() -> Claim {
    serde_json::from_value(json!({
        "project": "healthcare", "run_id": "run_0198c0de-0000-7000-8000-00000000000a",
        "step_id": "a", "fence": 1, "attempt": 1, "lease_seconds": 30, "mode": "identity",
        "command": ["true"], "env": {}, "timeout_seconds": 600,
        "secrets": [{ "name": "KEY", "uri": URI, "version": "1", "from": "crm" }],
        "audiences": ["vault.example", "agentcore.example", "other.example"],
    }))
    .unwrap()
}

fn rooms(name: &str, leased: bool) -> Rooms {
    let secret = json!({ "name": name, "uri": URI, "version": "1", "leased": leased });
    Rooms {
        resolved: Arc::new(vec![serde_json::from_value(secret).unwrap()]),
        events: Arc::default(),
    }
}

/// Of a step's secrets come the hosts of the way out, and no others. Its command gets tokens for
/// nobody that a backend of this worker logs in to. The way is closed before the command starts.
#[tokio::test]
async fn a_way_out_leads_to_the_backends_of_a_steps_secrets_until_it_has_them() {
    let place = tempfile::tempdir().unwrap();
    let rooms = rooms("KEY", false);
    let prepared = worker(place.path(), &rooms).prepare(&claim()).await;
    let prepared = prepared.unwrap_or_else(|failure| panic!("{failure:?}"));
    let told = Event::Step(
        BTreeSet::from([audience("other.example")]),
        BTreeSet::from(["vault.address".to_owned()]),
    );
    let way = Event::Way(Policy::Allow(Rules::of([host("vault.example")])));
    let before = vec![told, way, Event::ProxyEnds];
    assert_eq!(rooms.events(), before);
    assert_eq!(
        prepared.resolved(),
        &BTreeMap::from([("KEY".to_owned(), "1".to_owned())])
    );
    let running = prepared.go().await.unwrap();
    assert_eq!(running.wait().await, Ended::Code(0));
    assert_eq!(rooms.events(), [before, vec![Event::Go]].concat());
}

/// The proxy that keeps what a store has lent ends with the command, and not before.
#[tokio::test]
async fn what_is_lent_is_kept_until_the_command_has_ended() {
    let place = tempfile::tempdir().unwrap();
    let rooms = rooms("KEY", true);
    let prepared = worker(place.path(), &rooms).prepare(&claim()).await;
    let prepared = prepared.unwrap_or_else(|failure| panic!("{failure:?}"));
    assert!(!rooms.events().contains(&Event::ProxyEnds), "it is kept");
    let running = prepared.go().await.unwrap();
    assert_eq!(running.wait().await, Ended::Code(0));
    let last = rooms.events().split_off(2);
    assert_eq!(last, [Event::Go, Event::ProxyEnds]);
}

/// It ends as well if the step does not start: it has other secrets than it was granted, or is
/// given up.
#[tokio::test]
async fn what_is_lent_to_a_step_that_does_not_start_is_taken_back() {
    let place = tempfile::tempdir().unwrap();
    let other = rooms("OTHER", true);
    let prepared = worker(place.path(), &other).prepare(&claim()).await;
    assert!(prepared.is_err(), "it has what it was not granted");
    other.until(|event| *event == Event::ProxyEnds).await;

    let place = tempfile::tempdir().unwrap();
    let given_up = rooms("KEY", true);
    let prepared = worker(place.path(), &given_up).prepare(&claim()).await;
    drop(prepared.unwrap_or_else(|failure| panic!("{failure:?}")));
    given_up.until(|event| *event == Event::ProxyEnds).await;
    assert!(!given_up.events().contains(&Event::Go));
}
