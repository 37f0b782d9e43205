//! What needs a network of its own: a test runs itself once more, inside of one that has loopback
//! only.

use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use sealfleet_egress::{Limits, Names, SystemNames};

use crate::host::Host;
use crate::world::{Book, LOOPBACK, World, allow};

/// Holds what the outer part tells the inner part.
const TOLD: &str = "SEALFLEET_TEST_INSIDE";

/// The same test in a network namespace of its own.
fn inside(test: &str, told: &str, more: &[&str]) -> Command {
    let mut command = Command::new("bwrap");
    command
        .args([
            "--bind",
            "/",
            "/",
            "--dev",
            "/dev",
            "--unshare-net",
            "--die-with-parent",
        ])
        .args(["--cap-add", "CAP_NET_BIND_SERVICE"])
        .args(more)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(TOLD, told)
        .stdin(Stdio::null());
    command
}

fn told() -> Option<String> {
    std::env::var_os(TOLD).map(|told| told.into_string().unwrap())
}

/// The step's own listener, which the proxy was handed: it is reached where it was made, and the
/// proxy connects from where it runs.
#[test]
fn a_listener_of_another_network_is_served() {
    if let Some(told) = told() {
        return hand_over_and_use(&told);
    }
    let host = Host::echo();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let socket = UnixListener::bind(&path).unwrap();
    let told = format!("{} {}", host.port(), path.display());
    let test = "inside::a_listener_of_another_network_is_served";
    let mut step = inside(test, &told, &[]).spawn().unwrap();
    let (handing, _) = socket.accept().unwrap();
    let world = World::serving(
        TcpListener::from(receive(&handing)),
        &allow(&[("a.test", host.port())]),
        LOOPBACK,
        Book::default().with("a.test", &[&["127.0.0.1"]]),
        Limits::default(),
    );
    assert!(step.wait().unwrap().success());
    assert_eq!(host.connections(), 1);
    assert_eq!(world.proxy.reached().rows[0].traffic.connections, 1);
}

fn hand_over_and_use(told: &str) {
    let (port, path) = told.split_once(' ').unwrap();
    let here = TcpStream::connect(("127.0.0.1", port.parse::<u16>().unwrap()));
    assert!(here.is_err(), "the host is on another network");
    let listener = TcpListener::bind("127.0.0.1:3128").unwrap();
    send(&UnixStream::connect(Path::new(path)).unwrap(), &listener);
    drop(listener);
    let mut proxy = TcpStream::connect("127.0.0.1:3128").unwrap();
    write!(proxy, "CONNECT a.test:{port} HTTP/1.1\r\n\r\n").unwrap();
    assert!(crate::world::read_head(&mut proxy).starts_with("HTTP/1.1 200"));
    proxy.write_all(b"hello").unwrap();
    let mut back = [0; 5];
    proxy.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"hello");
}

fn send(socket: &UnixStream, listener: &TcpListener) {
    let files = [listener.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut buffer = SendAncillaryBuffer::new(&mut space);
    assert!(buffer.push(SendAncillaryMessage::ScmRights(&files)));
    let data = [IoSlice::new(b"x")];
    rustix::net::sendmsg(socket, &data, &mut buffer, SendFlags::empty()).unwrap();
}

fn receive(socket: &UnixStream) -> OwnedFd {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut buffer = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut data = [IoSliceMut::new(&mut byte)];
    rustix::net::recvmsg(socket, &mut data, &mut buffer, RecvFlags::CMSG_CLOEXEC).unwrap();
    let mut messages = buffer.drain();
    match messages.next() {
        Some(RecvAncillaryMessage::ScmRights(mut files)) => files.next().unwrap(),
        _ => panic!("no descriptor came"),
    }
}

/// A search list would make another name of the one that a policy allows.
#[test]
fn dns_is_asked_for_complete_names() {
    if told().is_some() {
        return ask_own_dns();
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("resolv.conf");
    let settings = "nameserver 127.0.0.1\nsearch search.test\noptions ndots:5 timeout:1\n";
    std::fs::write(&file, settings).unwrap();
    // It may be a link.
    let place = std::fs::canonicalize("/etc/resolv.conf").unwrap();
    let bind = ["--ro-bind", file.to_str().unwrap(), place.to_str().unwrap()];
    let test = "inside::dns_is_asked_for_complete_names";
    let inner = inside(test, "go", &bind).status().unwrap();
    assert!(inner.success());
}

fn ask_own_dns() {
    let asked = start_dns();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let names = SystemNames::default();
    let found = runtime.block_on(names.addresses("a.test")).unwrap();
    assert_eq!(found, ["192.0.2.7".parse::<std::net::IpAddr>().unwrap()]);
    assert!(runtime.block_on(names.addresses("b.test")).is_err());
    assert!(runtime.block_on(names.addresses("short")).is_err());
    let mut asked = asked.lock().unwrap().clone();
    asked.sort_unstable();
    asked.dedup();
    assert_eq!(asked, ["a.test", "b.test", "short"]);
}

/// A DNS (RFC 1035, 4.1) that knows `a.test` and writes down all that it is asked.
fn start_dns() -> Arc<Mutex<Vec<String>>> {
    let socket = UdpSocket::bind("127.0.0.1:53").unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let questions = Arc::clone(&asked);
    std::thread::spawn(move || {
        let mut question = [0; 512];
        loop {
            let (length, from) = socket.recv_from(&mut question).unwrap();
            let (name, end) = name_of(&question[..length]);
            let is_ipv4 = question[end..end + 2] == [0, 1];
            let (code, answers) = match name.as_str() {
                "a.test" => (0, u8::from(is_ipv4)),
                _ => (3, 0),
            };
            questions.lock().unwrap().push(name);
            let mut answer = question[..2].to_vec();
            answer.extend([0x81, 0x80 | code, 0, 1, 0, answers, 0, 0, 0, 0]);
            answer.extend(&question[12..end + 4]);
            if answers == 1 {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 192, 0, 2, 7]);
            }
            socket.send_to(&answer, from).unwrap();
        }
    });
    asked
}

/// The name of a question, and where it ends.
fn name_of(question: &[u8]) -> (String, usize) {
    let (mut labels, mut at) = (Vec::new(), 12);
    while question[at] > 0 {
        let end = at + 1 + usize::from(question[at]);
        labels.push(String::from_utf8(question[at + 1..end].to_vec()).unwrap());
        at = end;
    }
    (labels.join("."), at + 1)
}
