//! The process in the place of init: mediates one command, in a network namespace of its own whose
//! loopback has the addresses that must not be reached, with somebody listening at each.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

use sealfleet_local_model::{Model, Scripts, Turn};
use sealfleet_mediation::{Mediation, Mediator, Policy, Refusals, StartError};
use serde::{Deserialize, Serialize};

use crate::proxy;
use crate::sys;

/// The proxy: the only address that may be reached.
pub const PROXY: &str = "127.0.0.1:3128";
/// The model's stand-in, if there is one.
pub const MODEL: &str = "127.0.0.1:3129";

/// Where somebody listens whom nobody may reach. The first can be had in any network namespace.
pub const TRAPS: [&str; 8] = [
    "127.0.0.1:4000",
    "127.0.0.2:3128",
    "[::1]:4001",
    "[::1]:3128",
    "169.254.170.2:80",
    "169.254.169.254:80",
    "10.77.0.1:443",
    "10.77.0.1:3128",
];
/// Likewise, for datagrams.
pub const DATAGRAM_TRAPS: [&str; 2] = ["127.0.0.1:53", "10.77.0.1:53"];
/// Abstract unix socket of the stage.
pub const OUTSIDE: &[u8] = b"sealfleet-outside";
/// Socket files of the stage, in the working directory: one is withheld.
pub const WITHHELD: &str = "withheld.sock";
pub const OPEN: &str = "open.sock";

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Options {
    /// The user that the stage and the command are; its own if absent.
    pub user: Option<u32>,
    pub own_listeners: bool,
    /// Whether the network is that of whoever starts the stage.
    pub no_network: bool,
    /// Whether a [`neighbour`] in that network has the proxy, and listens where nobody may connect.
    pub neighbour: bool,
    /// Whether the kernel plays one of before Linux 5.19.
    pub old_kernel: bool,
    /// Whether the stage stays readable for the command.
    pub dumpable: bool,
    /// Whether the command is started without mediation.
    pub unmediated: bool,
    /// What the proxy serves as files of every host.
    pub files: Option<PathBuf>,
    pub model: bool,
    pub environment: BTreeMap<String, String>,
    /// The working directory.
    pub directory: Option<PathBuf>,
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    /// Why the command did not start.
    pub refused_to_start: Option<String>,
    /// As a shell tells it.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    /// Connections and datagrams that arrived where nothing may, by address.
    pub trapped: BTreeMap<String, usize>,
    /// Connections to the proxy.
    pub proxied: usize,
    /// Refused addresses, with how often, and how many others.
    pub refusals: (BTreeMap<String, u64>, u64),
}

pub fn run(options: &str, command: &[String]) {
    let options: Options = serde_json::from_str(options).unwrap();
    if !options.no_network {
        sys::own_network();
    }
    let listeners: Vec<(String, TcpListener)> = TRAPS
        .iter()
        .filter(|address| !options.neighbour || **address != TRAPS[0])
        .filter_map(|address| match TcpListener::bind(address) {
            Ok(listener) => Some((address.to_string(), listener)),
            // Somebody else's network has not all of the addresses.
            Err(error) => {
                assert!(options.no_network, "{address}: {error}");
                None
            }
        })
        .collect();
    assert!(!listeners.is_empty(), "no trap is set");
    let datagrams: Vec<(String, UdpSocket)> = DATAGRAM_TRAPS
        .iter()
        .filter_map(|address| Some((address.to_string(), UdpSocket::bind(address).ok()?)))
        .collect();
    if let Some(directory) = &options.directory {
        std::env::set_current_dir(directory).unwrap();
    }
    let outside = UnixAddress::from_abstract_name(OUTSIDE).unwrap();
    let mut unix = Vec::new();
    if !options.neighbour {
        unix.push((
            "outside".to_owned(),
            UnixListener::bind_addr(&outside).unwrap(),
        ));
    }
    let mut open = None;
    if options.directory.is_some() {
        // An earlier stage may have worked here.
        for path in [WITHHELD, OPEN] {
            drop(std::fs::remove_file(path));
        }
        unix.push((WITHHELD.to_owned(), UnixListener::bind(WITHHELD).unwrap()));
        open = Some(UnixListener::bind(OPEN).unwrap());
        for path in [WITHHELD, OPEN] {
            std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o666))
                .unwrap();
        }
    }
    let proxy = (!options.neighbour).then(|| TcpListener::bind(PROXY).unwrap());
    let model = options.model.then(|| TcpListener::bind(MODEL).unwrap());
    sys::become_user(options.user);
    if !options.no_network {
        // In a namespace of processes of its own it would be the stage's.
        sys::leave_a_stranger();
    }
    if options.old_kernel {
        sys::play_an_old_kernel();
    }
    if !options.dumpable {
        sys::hide();
    }
    let proxied = proxy.map(|proxy| proxy::serve(proxy, options.files.clone()));
    if let Some(open) = open {
        std::thread::spawn(move || {
            for mut stream in open.incoming().flatten() {
                drop(stream.write_all(b"open"));
            }
        });
    }
    let model = model.map(model_behind);
    sealfleet_processes::adopt().unwrap();
    let report = mediate(&options, command);
    let trapped = listeners
        .iter()
        .map(|(address, listener)| {
            listener.set_nonblocking(true).unwrap();
            (
                address.clone(),
                std::iter::from_fn(|| listener.accept().ok()).count(),
            )
        })
        .chain(datagrams.iter().map(|(address, socket)| {
            socket.set_nonblocking(true).unwrap();
            let count = std::iter::from_fn(|| socket.recv(&mut [0; 8]).ok()).count();
            (format!("udp {address}"), count)
        }))
        .chain(unix.iter().map(|(name, listener)| {
            listener.set_nonblocking(true).unwrap();
            (
                name.clone(),
                std::iter::from_fn(|| listener.accept().ok()).count(),
            )
        }))
        .filter(|(_, count)| *count > 0)
        .collect();
    let report = Report {
        trapped,
        proxied: proxied.map_or(0, |count| count.load(Ordering::SeqCst)),
        ..report
    };
    println!("{}", serde_json::to_string(&report).unwrap());
    drop(model);
}

/// The other container of a task: it has the proxy, and listens where nobody may connect. Says so
/// on its standard output, and, once its input ends, how many connections arrived.
pub fn neighbour() {
    let outside = UnixAddress::from_abstract_name(OUTSIDE).unwrap();
    let unix = UnixListener::bind_addr(&outside).unwrap();
    let trap = TcpListener::bind(TRAPS[0]).unwrap();
    let proxied = proxy::serve(TcpListener::bind(PROXY).unwrap(), None);
    println!("ready");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    trap.set_nonblocking(true).unwrap();
    unix.set_nonblocking(true).unwrap();
    let trapped = std::iter::from_fn(|| trap.accept().ok()).count()
        + std::iter::from_fn(|| unix.accept().ok()).count();
    println!("{} {trapped}", proxied.load(Ordering::SeqCst));
}

fn mediate(options: &Options, command: &[String]) -> Report {
    let mut report = Report {
        refused_to_start: None,
        code: 0,
        stdout: String::new(),
        stderr: String::new(),
        trapped: BTreeMap::new(),
        proxied: 0,
        refusals: (BTreeMap::new(), 0),
    };
    let mut proxies: Vec<SocketAddr> = vec![PROXY.parse().unwrap()];
    proxies.extend(options.model.then(|| MODEL.parse::<SocketAddr>().unwrap()));
    let policy = Policy {
        proxies,
        own_listeners: options.own_listeners,
        withheld: vec![std::env::current_dir().unwrap().join(WITHHELD)],
    };
    let mut program = Command::new(&command[0]);
    program
        .args(&command[1..])
        .envs(&options.environment)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let started = if options.unmediated {
        program
            .spawn()
            .map(|child| (child, None))
            .map_err(|error| error.to_string())
    } else {
        start(policy, &mut program).map(|(child, mediator)| (child, Some(mediator)))
    };
    let (mut child, mediator) = match started {
        Ok(started) => started,
        Err(error) => {
            report.refused_to_start = Some(error);
            return report;
        }
    };
    // Both pipes end when the last process that has them does.
    let mut stderr = child.stderr.take().unwrap();
    let errors = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stderr.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let mut bytes = Vec::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    let status = child.wait().unwrap();
    while !sealfleet_processes::all_ended() {
        // What the command has left behind ends by itself; this only asks.
        std::thread::sleep(Duration::from_millis(2));
    }
    report.code = status
        .code()
        .unwrap_or_else(|| 128 + std::os::unix::process::ExitStatusExt::signal(&status).unwrap());
    report.stdout = String::from_utf8_lossy(&bytes).into_owned();
    report.stderr = String::from_utf8_lossy(&errors.join().unwrap()).into_owned();
    // Ends by itself, since nobody is left.
    let refusals = mediator.map_or_else(Refusals::default, |mediator| mediator.end().unwrap());
    report.refusals = (
        refusals
            .addresses
            .iter()
            .map(|refused| (refused.address.to_string(), refused.count))
            .collect(),
        refusals.others,
    );
    report
}

fn start(policy: Policy, program: &mut Command) -> Result<(Child, Mediator), String> {
    let mediation = Mediation::new(policy).map_err(|error| error.to_string())?;
    mediation.start(program).map_err(|error| match error {
        StartError::Command(error) => format!("command: {error}"),
        StartError::Mediation(error) => format!("mediation: {error}"),
    })
}

/// The model chooses its own port, so its place is taken by a relay.
fn model_behind(front: TcpListener) -> (tokio::runtime::Runtime, Model) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let turns = [
        Turn::shell("echo edited > note.txt && cat note.txt"),
        Turn::say("I wrote the note."),
    ];
    let model = runtime.block_on(Model::start(Scripts::all(turns))).unwrap();
    let behind: SocketAddr = model
        .url()
        .strip_prefix("http://")
        .unwrap()
        .parse()
        .unwrap();
    std::thread::spawn(move || {
        for client in front.incoming() {
            proxy::relay(client.unwrap(), behind);
        }
    });
    (runtime, model)
}

/// The command that is this program. By this path every user reaches it, though the checkout may
/// lie in a directory of root's.
pub const PLAY: [&str; 2] = ["/proc/self/exe", "play"];

/// Starts this program as a stage and answers what it reports.
pub fn play(options: &Options, command: &[&str]) -> Report {
    let own = std::env::current_exe().unwrap();
    let mut stage = Command::new(own);
    stage
        .arg("stage")
        .arg(serde_json::to_string(options).unwrap())
        .args(command);
    said(&mut stage)
}

/// The report of a stage, however it is started.
pub fn said(stage: &mut Command) -> Report {
    let output = stage.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    serde_json::from_str(&text).unwrap_or_else(|error| {
        panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr))
    })
}
