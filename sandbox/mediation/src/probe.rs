//! Whether this host can mediate, by doing it: on a thread of its own, which is under the filter
//! alone and ends with the try.

use std::io;
use std::os::fd::AsFd as _;
use std::sync::{Arc, mpsc};

use libc::sock_filter;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, socket};

use crate::listener::{Listener, install, sizes_fit};

/// Why commands cannot be mediated here.
#[derive(Debug, thiserror::Error)]
pub enum Unsupported {
    /// This process has not hidden itself.
    #[error(
        "the command could take over this process: make it non-dumpable (PR_SET_DUMPABLE) first"
    )]
    Dumpable,
    /// No filter, or none with user notification.
    #[error(
        "the kernel refuses a filter with user notification ({0}): it needs Linux 5.9 or newer, and \
         a seccomp profile of the container that allows `seccomp`"
    )]
    Filter(#[source] io::Error),
    /// It takes filters, but descriptors cannot be put into another process.
    #[error(
        "the kernel cannot give a descriptor to a process under a filter ({0}): it needs Linux 5.9 or \
         newer"
    )]
    Descriptors(#[source] io::Error),
    /// Yama keeps parents from reading their children.
    #[error(
        "kernel.yama.ptrace_scope is {0}, so the addresses that a command connects to cannot be \
         read: set it to 1 or 0"
    )]
    Unreadable(u8),
}

pub(crate) fn probe(program: &Arc<[sock_filter]>) -> Result<(), Unsupported> {
    use rustix::process::{DumpableBehavior, dumpable_behavior};
    if !matches!(
        dumpable_behavior(),
        Ok(DumpableBehavior::NotDumpable | DumpableBehavior::DumpableReadableOnlyByRoot)
    ) {
        return Err(Unsupported::Dumpable);
    }
    // The kernel may be built without Yama.
    let scope = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope");
    if let Some(scope @ 2..) = scope.ok().and_then(|scope| scope.trim().parse().ok()) {
        return Err(Unsupported::Unreadable(scope));
    }
    if !sizes_fit().map_err(Unsupported::Filter)? {
        let error = "its structures are longer than any that is known";
        return Err(Unsupported::Filter(io::Error::other(error)));
    }
    let (sender, receiver) = mpsc::channel();
    let program = Arc::clone(program);
    let subject = std::thread::Builder::new()
        .name("probe".to_owned())
        .spawn(move || {
            let listener = install(&program);
            let installed = listener.is_ok();
            // The receiver waits for this.
            drop(sender.send(listener));
            // Without the filter it would prove nothing.
            if installed {
                socket(AddressFamily::UNIX, SocketType::STREAM, None)
            } else {
                Err(Errno::NOSYS)
            }
        })
        .map_err(Unsupported::Filter)?;
    let lost = || io::Error::other("the thread that tries it has ended");
    let installed = receiver.recv().map_err(|_| Unsupported::Filter(lost()))?;
    let listener = Listener::new(installed.map_err(Unsupported::Filter)?);
    let given = give_something(&listener);
    // A call that is still unanswered fails now.
    drop(listener);
    let taken = subject
        .join()
        .map_err(|_| Unsupported::Descriptors(lost()))?;
    given.map_err(Unsupported::Descriptors)?;
    let taken = taken.map_err(|errno| Unsupported::Descriptors(errno.into()))?;
    // A pipe in place of the socket that was asked for.
    if rustix::net::sockopt::socket_type(taken.as_fd()) == Err(Errno::NOTSOCK) {
        return Ok(());
    }
    Err(Unsupported::Descriptors(io::Error::other(
        "a call was not mediated",
    )))
}

fn give_something(listener: &Listener) -> io::Result<()> {
    let (something, _) = rustix::pipe::pipe()?;
    loop {
        if let Some(call) = listener.receive()? {
            return Ok(listener.give(call.id, something.as_fd(), true)?);
        }
    }
}
