//! Answers the command's mediated calls, one after the other.
//!
//! Nothing here waits for anybody: a connection that is not made at once is tried again, beside the
//! next calls.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl, fstat, stat};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, Protocol, SocketAddrUnix, SocketFlags, SocketType, connect, connect_unspec,
    socket_with,
};

use crate::Policy;
use crate::address::{Address, LONGEST, canonical};
use crate::caller::{Caller, Rights};
use crate::listener::{Call, Listener};
use crate::listening;
use crate::refusals::Refusals;
use crate::sockets::Sockets;

/// Between two attempts at connections that are not made yet.
const AGAIN: Duration = Duration::from_millis(5);
/// Between two looks whether sockets that others notice were closed.
const SWEEP: Duration = Duration::from_secs(1);
/// As many connections may be under way. A further one is answered `EAGAIN`.
const MOST_WAITING: usize = 128;

/// Where a socket is to be connected to. Nothing of it is the command's to change.
#[derive(Debug)]
enum Target {
    Inet(SocketAddr),
    File(OwnedFd),
    Abstract(Vec<u8>),
    Nothing,
}

/// What came of an attempt to connect.
enum Outcome {
    Ended(Result<(), Errno>),
    /// The command waits for it.
    UnderWay,
}

/// A call to `connect` that the command waits in.
#[derive(Debug)]
struct Waiting {
    id: u64,
    inode: u64,
    target: Target,
}

pub(crate) struct Server {
    listener: Listener,
    policy: Policy,
    /// What this process may do with files.
    rights: Rights,
    sockets: Sockets,
    waiting: Vec<Waiting>,
    refusals: Arc<Mutex<Refusals>>,
}

impl Server {
    /// # Errors
    /// `/proc` cannot be read.
    pub fn new(
        listener: Listener,
        policy: Policy,
        refusals: Arc<Mutex<Refusals>>,
    ) -> io::Result<Self> {
        Ok(Self {
            listener,
            policy,
            rights: Rights::own()?,
            sockets: Sockets::default(),
            waiting: Vec::new(),
            refusals,
        })
    }

    /// Returns once no process is left that could ask.
    ///
    /// # Errors
    /// The kernel's answer. All further calls fail then.
    pub fn run(mut self) -> io::Result<()> {
        let mut swept = Instant::now();
        loop {
            let timeout = if !self.waiting.is_empty() {
                Some(AGAIN)
            } else if self.sockets.any_noticed() {
                Some(SWEEP)
            } else {
                None
            };
            let mut polled = [PollFd::new(&self.listener, PollFlags::IN)];
            let timeout = timeout.and_then(|time| Timespec::try_from(time).ok());
            match poll(&mut polled, timeout.as_ref()) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let [polled] = polled;
            let seen = polled.revents();
            if seen.contains(PollFlags::IN) {
                if let Some(call) = self.listener.receive()? {
                    self.handle(&call);
                }
            } else if seen.intersects(PollFlags::HUP | PollFlags::ERR) {
                return Ok(());
            }
            self.try_again();
            if swept.elapsed() > SWEEP {
                self.sockets.sweep_noticed();
                swept = Instant::now();
            }
        }
    }

    fn handle(&mut self, call: &Call) {
        match i64::from(call.number) {
            libc::SYS_socket => self.make(call),
            libc::SYS_connect => {
                if let Err(errno) = self.connect(call) {
                    self.listener.answer(call.id, Err(errno));
                }
            }
            libc::SYS_listen => self.note(call, Sockets::release),
            libc::SYS_bind => {
                self.sockets.sweep_noticed();
                self.note(call, Sockets::note_bound);
            }
            _ => {
                self.listener.answer(call.id, Err(Errno::NOSYS));
            }
        }
    }

    /// Makes a socket for the command. The filter has looked at family, type and protocol.
    fn make(&mut self, call: &Call) {
        let made = self.sockets.make_room().and_then(|()| new_socket(call));
        let cloexec = call.int(1) & libc::SOCK_CLOEXEC != 0;
        let given = made.and_then(|socket| {
            self.listener.give(call.id, socket.as_fd(), cloexec)?;
            Ok(socket)
        });
        match given {
            Ok(socket) => self.sockets.hold(socket, call.thread),
            Err(errno) => {
                self.listener.answer(call.id, Err(errno));
            }
        }
    }

    /// Connects the socket that is meant, if the address that is asked for may be reached. Both are
    /// read once. If the command changes them meanwhile, it gets another socket of its own
    /// connected, or none, but always to the address that was judged here.
    fn connect(&mut self, call: &Call) -> Result<(), Errno> {
        let caller = Caller::of(&self.listener, call)?;
        let inode = caller.socket(call.int(0))?;
        let length = usize::try_from(call.int(2)).map_err(|_| Errno::INVAL)?;
        let address = Address::parse(&caller.memory::<LONGEST>(call.pointer(1), length)?)?;
        let target = self.judge(&caller, address)?;
        self.attempt(Waiting {
            id: call.id,
            inode,
            target,
        });
        Ok(())
    }

    /// # Errors
    /// It may not be reached, or is not there.
    fn judge(&self, caller: &Caller, address: Address) -> Result<Target, Errno> {
        match address {
            Address::Nothing => Ok(Target::Nothing),
            Address::Inet(address) => {
                let meant = canonical(address);
                if self.policy.permits(meant) {
                    return Ok(Target::Inet(address));
                }
                let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
                refusals.note(meant);
                Err(Errno::ACCESS)
            }
            Address::Path(path) => {
                let file = caller.resolve(&path)?;
                if !caller.may_what_we_may(&self.rights)?
                    || is_withheld(&self.policy.withheld, &file)?
                {
                    return Err(Errno::ACCESS);
                }
                Ok(Target::File(file))
            }
            Address::Abstract(name) => {
                if listening::is_our_commands_name(&name) {
                    return Ok(Target::Abstract(name));
                }
                Err(Errno::CONNREFUSED)
            }
        }
    }

    fn attempt(&mut self, waiting: Waiting) {
        let outcome = match self.sockets.find(waiting.inode) {
            Some(socket) if socket.connected => Outcome::Ended(Ok(())),
            Some(socket) => {
                socket.noticed = true;
                start(socket.descriptor.as_fd(), &waiting.target)
            }
            // It was connected before, or listens.
            None => Outcome::Ended(Err(Errno::ISCONN)),
        };
        let result = match outcome {
            Outcome::Ended(result) => result,
            Outcome::UnderWay if self.waiting.len() >= MOST_WAITING => Err(Errno::AGAIN),
            Outcome::UnderWay => {
                self.waiting.push(waiting);
                return;
            }
        };
        let heard = self.listener.answer(waiting.id, result.map(|()| 0));
        let connects = !matches!(waiting.target, Target::Nothing)
            && matches!(result, Ok(()) | Err(Errno::INPROGRESS));
        if connects && heard {
            self.sockets.release(waiting.inode);
        } else if connects && let Some(socket) = self.sockets.find(waiting.inode) {
            socket.connected = result.is_ok();
        }
    }

    fn try_again(&mut self) {
        for waiting in std::mem::take(&mut self.waiting) {
            if self.listener.is_waiting(waiting.id) {
                self.attempt(waiting);
            }
        }
    }

    /// Lets the kernel make a call that decides nothing, once `what` has noted which socket it is
    /// about. Should the command put another socket into the descriptor's place meanwhile, then a
    /// socket of its own is released too early or too late.
    fn note(&mut self, call: &Call, what: impl Fn(&mut Sockets, u64)) {
        match Caller::of(&self.listener, call).and_then(|caller| caller.socket(call.int(0))) {
            Ok(inode) => what(&mut self.sockets, inode),
            // It does not let itself be read, so it cannot connect, either.
            Err(Errno::ACCESS) => self.sockets.release_of(call.thread),
            Err(_) => {}
        }
        self.listener.pass(call.id);
    }
}

fn new_socket(call: &Call) -> Result<OwnedFd, Errno> {
    let family = u16::try_from(call.int(0)).map_err(|_| Errno::AFNOSUPPORT)?;
    let kind = call.int(1).cast_unsigned();
    let protocol = std::num::NonZeroU32::new(call.int(2).cast_unsigned());
    socket_with(
        AddressFamily::from_raw(family),
        SocketType::from_raw(kind & 0xf),
        // Ours is never inherited; the command's is as it asks.
        SocketFlags::from_bits_retain(kind & !0xf) | SocketFlags::CLOEXEC,
        protocol.map(Protocol::from_raw),
    )
}

/// Connects, or starts to, without waiting. A socket on which the command would wait does not wait
/// for this moment, in which it cannot be used for anything else.
fn start(socket: BorrowedFd<'_>, target: &Target) -> Outcome {
    let flags = match fcntl_getfl(socket) {
        Ok(flags) => flags,
        Err(errno) => return Outcome::Ended(Err(errno)),
    };
    if flags.contains(OFlags::NONBLOCK) {
        return Outcome::Ended(connect_to(socket, target));
    }
    let started = fcntl_setfl(socket, flags | OFlags::NONBLOCK).and_then(|()| {
        match connect_to(socket, target) {
            // Over loopback it is made by the time that this has returned.
            Err(Errno::INPROGRESS) => connect_to(socket, target),
            other => other,
        }
    });
    match fcntl_setfl(socket, flags).and(started) {
        Err(Errno::INPROGRESS | Errno::ALREADY | Errno::AGAIN) => Outcome::UnderWay,
        ended => Outcome::Ended(ended),
    }
}

fn connect_to(socket: BorrowedFd<'_>, target: &Target) -> Result<(), Errno> {
    match target {
        Target::Inet(address) => connect(socket, address),
        Target::File(file) => {
            // This way it is the file that was judged, whatever its path means by now.
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            connect(socket, &SocketAddrUnix::new(path)?)
        }
        Target::Abstract(name) => connect(socket, &SocketAddrUnix::new_abstract_name(name)?),
        Target::Nothing => connect_unspec(socket),
    }
}

/// Whether it is one of the sockets that the command may not reach.
fn is_withheld(withheld: &[PathBuf], file: &OwnedFd) -> Result<bool, Errno> {
    let asked = fstat(file)?;
    Ok(withheld
        .iter()
        // Gone: then it is not the one that was found.
        .filter_map(|path| stat(path).ok())
        .any(|own| (own.st_dev, own.st_ino) == (asked.st_dev, asked.st_ino)))
}
