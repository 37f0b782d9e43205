//! Holds a command to one way out of its sandbox, without any privilege.
//!
//! Where a sandbox has no network namespace of its own, as on Fargate and Lambda, the host's
//! addresses cannot be blocked from outside. So the command runs under a [filter] that leaves three
//! things to this process (seccomp_unotify(2)):
//!
//! - `socket`: the command has no TCP and no unix socket that this process has not made. Other
//!   kinds of sockets are refused.
//! - `connect`: this process reads the address, once, judges its copy, and connects the socket by
//!   the copy. The kernel never acts on the command's memory, so nothing can change between check
//!   and use.
//! - `bind` and `listen` are made by the kernel; this process only hears of them.
//!
//! The socket stays the same object that the command has, with its options, its places in epoll and
//! all its descriptors. What may be reached is a [`Policy`].
//!
//! It fails closed: without this process the calls fail with `ENOSYS`, and [`Mediation::new`] says
//! in words why a host cannot do this. It needs Linux 5.9. Before 5.19 a signal interrupts a call
//! that is being answered: `connect` then tells what came of it when it is made again. Before 5.14,
//! a `socket` that is interrupted can leave a descriptor in the command that nobody uses.
//!
//! The command must not be able to reach into this process: this one must not be dumpable
//! ([`libc::PR_SET_DUMPABLE`]), and it should be PID 1, which no signal from inside ends.
//!
//! What it does not hold back: connections from outside to ports on which the command listens, and
//! datagrams to unix sockets (`sendto`). A process that is not dumpable cannot connect.
//! [Decision 052](../../../docs/decisions/052-init-makes-a-commands-sockets.md) has the reasons.

mod address;
mod caller;
mod filter;
mod listener;
mod listening;
mod mediator;
mod probe;
mod refusals;
mod sockets;

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use libc::sock_filter;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

pub use probe::Unsupported;
pub use refusals::{Refusals, Refused};

use listener::Listener;
use mediator::Server;

/// What a command may connect to. Besides this: unix sockets that are files, with the rights that
/// it has anyway, and abstract unix sockets of its own.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Where the proxy listens. Write IPv4 as IPv4; the command may write it as IPv6.
    pub proxies: Vec<SocketAddr>,
    /// Whether it may connect to ports of loopback on which processes of its own listen, as a test
    /// with a server does. Refused as long as anybody else listens on the same port.
    pub own_listeners: bool,
    /// Unix sockets that the sandbox itself uses, and the command must not.
    pub withheld: Vec<PathBuf>,
}

impl Policy {
    fn permits(&self, address: SocketAddr) -> bool {
        self.proxies.contains(&address)
            || (self.own_listeners
                && address.ip().is_loopback()
                && listening::is_our_commands(address))
    }
}

/// Commands can be started under mediation here.
#[derive(Debug)]
pub struct Mediation {
    policy: Policy,
    program: Arc<[sock_filter]>,
}

/// Why a command did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The program itself: it is missing, for example.
    #[error("{0}")]
    Command(#[source] io::Error),
    /// It was not started, since nothing would have mediated its calls.
    #[error("the command's calls cannot be mediated: {0}")]
    Mediation(#[source] io::Error),
}

impl Mediation {
    /// Tries whether this host can mediate.
    ///
    /// # Errors
    /// It cannot. No command must be started then.
    pub fn new(policy: Policy) -> Result<Self, Unsupported> {
        let program: Arc<[sock_filter]> = filter::program().into();
        probe::probe(&program)?;
        Ok(Self { policy, program })
    }

    /// Starts `command` under mediation; use `command` for nothing else after that. It and all that
    /// it starts stay under it, for ever.
    ///
    /// # Errors
    /// It did not start.
    pub fn start(self, command: &mut Command) -> Result<(Child, Mediator), StartError> {
        let (ours, its) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(|error| StartError::Mediation(error.into()))?;
        let program = Arc::clone(&self.program);
        before_exec(command, move || {
            let listener = listener::install(&program)?;
            hand_over(&its, &listener)
        });
        let spawned = command.spawn();
        let received = receive(&ours);
        let (child, listener) = match (spawned, received) {
            (Ok(child), Ok(listener)) => (child, listener),
            (Ok(child), Err(error)) => {
                give_up(child);
                return Err(StartError::Mediation(error));
            }
            // The filter was in place; what failed came after it.
            (Err(error), Ok(_)) => return Err(StartError::Command(error)),
            (Err(error), Err(_)) => return Err(StartError::Mediation(error)),
        };
        let refusals = Arc::new(Mutex::new(Refusals::default()));
        let server = Server::new(Listener::new(listener), self.policy, Arc::clone(&refusals));
        let serving = server.and_then(|server| {
            let thread = std::thread::Builder::new().name("mediator".to_owned());
            thread.spawn(move || server.run())
        });
        match serving {
            Ok(serving) => Ok((child, Mediator { refusals, serving })),
            Err(error) => {
                give_up(child);
                Err(StartError::Mediation(error))
            }
        }
    }
}

/// Mediates on a thread of its own, until the last process of the command has ended.
#[derive(Debug)]
pub struct Mediator {
    refusals: Arc<Mutex<Refusals>>,
    serving: JoinHandle<io::Result<()>>,
}

impl Mediator {
    /// What was refused since this was last asked.
    #[must_use]
    pub fn refusals(&self) -> Refusals {
        take(&self.refusals)
    }

    /// Waits until the last process of the command has ended, and answers what was refused since
    /// it was last asked.
    ///
    /// # Errors
    /// Mediation has stopped before that. From then on the command could not connect.
    pub fn end(self) -> io::Result<Refusals> {
        let Self { refusals, serving } = self;
        let panicked = |_| io::Error::other("the mediator has panicked");
        serving.join().map_err(panicked)??;
        Ok(take(&refusals))
    }
}

fn take(refusals: &Mutex<Refusals>) -> Refusals {
    std::mem::take(&mut *refusals.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A command whose calls nobody would answer.
fn give_up(mut child: Child) {
    // Fails only if it has ended.
    drop(child.kill());
    drop(child.wait());
}

#[expect(
    unsafe_code,
    reason = "code between fork and exec must be async-signal-safe"
)]
fn before_exec(command: &mut Command, run: impl FnMut() -> io::Result<()> + Send + Sync + 'static) {
    // SAFETY: `run` makes system calls with what was made before the fork; it allocates nothing and
    // takes no lock.
    unsafe { command.pre_exec(run) };
}

/// Sends the listener to this process's parent. Allocates nothing.
fn hand_over(to: &OwnedFd, listener: &OwnedFd) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [listener.as_fd()];
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(
        to,
        &[io::IoSlice::new(b"l")],
        &mut control,
        SendFlags::empty(),
    )?;
    Ok(())
}

/// It has been sent by now, or never will be.
fn receive(from: &OwnedFd) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    recvmsg(
        from,
        &mut [io::IoSliceMut::new(&mut byte)],
        &mut control,
        flags,
    )?;
    control
        .drain()
        .find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        })
        .ok_or_else(|| Errno::BADMSG.into())
}
