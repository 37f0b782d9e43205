//! The process that makes a mediated call, by `/proc`. Nothing here needs a privilege: init and the
//! command have one user, and the command is a descendant of init.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{
    AtFlags, Mode, OFlags, ResolveFlags, StatxFlags, openat, openat2, readlinkat, statx,
};
use rustix::io::{Errno, pread};

use crate::listener::{Call, Listener};

/// A thread that waits in a call.
#[derive(Debug)]
pub(crate) struct Caller {
    /// Its directory in `/proc`. Stays its own: once it has ended, nothing is found there.
    directory: OwnedFd,
}

impl Caller {
    /// # Errors
    /// [`Errno::SRCH`]: it no longer waits in this call, and its number may be another thread's.
    pub fn of(listener: &Listener, call: &Call) -> Result<Self, Errno> {
        let path = format!("/proc/{}", call.thread);
        let directory = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        if !listener.is_waiting(call.id) {
            return Err(Errno::SRCH);
        }
        Ok(Self {
            directory: directory?,
        })
    }

    /// Reads at most `LENGTH` bytes of its memory, once.
    ///
    /// # Errors
    /// [`Errno::FAULT`]: there is no such memory. [`Errno::ACCESS`]: it cannot be read.
    pub fn memory<const LENGTH: usize>(&self, from: u64, length: usize) -> Result<Vec<u8>, Errno> {
        let memory = self.open("mem", OFlags::RDONLY)?;
        let mut bytes = [0; LENGTH];
        let wanted = bytes.get_mut(..length).ok_or(Errno::INVAL)?;
        let read = pread(memory, &mut *wanted, from).map_err(|_| Errno::FAULT)?;
        if read < length {
            return Err(Errno::FAULT);
        }
        Ok(wanted.to_vec())
    }

    /// The inode of the socket that a descriptor of its is.
    ///
    /// # Errors
    /// What the kernel would answer to a call on this descriptor, or [`Errno::ACCESS`].
    pub fn socket(&self, descriptor: i32) -> Result<u64, Errno> {
        let link = readlinkat(&self.directory, format!("fd/{descriptor}"), Vec::new());
        let link = link.map_err(|error| match error {
            Errno::NOENT => Errno::BADF,
            other => other,
        })?;
        inode_of_socket(link.to_bytes()).ok_or(Errno::NOTSOCK)
    }

    /// The file that it means by `path`. The file is held, so that a later rename changes nothing.
    ///
    /// # Errors
    /// What the kernel would answer. [`Errno::LOOP`] also for links of `/proc`, which here would
    /// mean files of this process.
    pub fn resolve(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let directory = OFlags::PATH | OFlags::DIRECTORY;
        let root = self.open("root", directory)?;
        let (from, scope) = if path.starts_with(b"/") {
            (root, ResolveFlags::IN_ROOT)
        } else if is_our_root(&root)? {
            (self.open("cwd", directory)?, ResolveFlags::empty())
        } else {
            // `..` might lead out of its root.
            return Err(Errno::ACCESS);
        };
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let scope = scope | ResolveFlags::NO_MAGICLINKS;
        openat2(from, OsStr::from_bytes(path), flags, Mode::empty(), scope)
    }

    /// Whether this process may do no more with files than it may: it may have given up groups or
    /// capabilities.
    ///
    /// # Errors
    /// It has ended.
    pub fn may_what_we_may(&self, ours: &Rights) -> Result<bool, Errno> {
        let its = Rights::read(self.open("status", OFlags::RDONLY)?)?;
        Ok(ours.ids == its.ids && ours.capabilities & !its.capabilities == 0)
    }

    fn open(&self, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        openat(
            &self.directory,
            name,
            flags | OFlags::CLOEXEC,
            Mode::empty(),
        )
    }
}

/// `socket:[123]`, as links below `/proc/PID/fd` say it.
pub(crate) fn inode_of_socket(link: &[u8]) -> Option<u64> {
    let number = link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// The same directory of the same mount.
fn is_our_root(root: &OwnedFd) -> Result<bool, Errno> {
    let wanted = StatxFlags::INO | StatxFlags::MNT_ID;
    let its = statx(root, "", AtFlags::EMPTY_PATH, wanted)?;
    let ours = statx(rustix::fs::CWD, "/", AtFlags::empty(), wanted)?;
    let place = |stat: &rustix::fs::Statx| {
        let known = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::MNT_ID);
        known.then_some((stat.stx_mnt_id, stat.stx_ino))
    };
    Ok(place(&its).is_some() && place(&its) == place(&ours))
}

/// What decides on access to files (proc_pid_status(5)).
#[derive(Debug)]
pub(crate) struct Rights {
    /// The lines of user, groups and further groups.
    ids: Vec<String>,
    capabilities: u64,
}

impl Rights {
    /// Of this thread.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn own() -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let status = rustix::fs::open("/proc/thread-self/status", flags, Mode::empty())?;
        Self::read(status)
    }

    fn read(status: OwnedFd) -> Result<Self, Errno> {
        let text = std::io::read_to_string(std::fs::File::from(status)).map_err(|_| Errno::SRCH)?;
        let ids = |line: &&str| {
            ["Uid:", "Gid:", "Groups:"]
                .iter()
                .any(|key| line.starts_with(key))
        };
        let capabilities = text
            .lines()
            .find_map(|line| line.strip_prefix("CapEff:"))
            .and_then(|value| u64::from_str_radix(value.trim(), 16).ok());
        Ok(Self {
            ids: text.lines().filter(ids).map(str::to_owned).collect(),
            capabilities: capabilities.ok_or(Errno::SRCH)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;
    use std::sync::mpsc;

    use rustix::net::{AddressFamily, SocketType, socket};

    use super::*;
    use crate::{filter, listener};

    /// A thread under the filter that makes one socket, tells what came of it, and lives on.
    fn subject() -> (
        Listener,
        mpsc::Receiver<Result<(), Errno>>,
        mpsc::Sender<()>,
    ) {
        let (listeners, listener) = mpsc::channel();
        let (results, result) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        std::thread::spawn(move || {
            listeners
                .send(listener::install(&filter::program()).unwrap())
                .unwrap();
            let made = socket(AddressFamily::UNIX, SocketType::STREAM, None);
            results.send(made.map(drop)).unwrap();
            assert!(ended.recv().is_err());
        });
        (Listener::new(listener.recv().unwrap()), result, end)
    }

    #[test]
    fn a_caller_counts_only_while_it_waits() {
        let (listener, result, _end) = subject();
        let call = listener.receive().unwrap().unwrap();
        assert!(Caller::of(&listener, &call).is_ok());
        let (pipe, _) = rustix::pipe::pipe().unwrap();
        listener.give(call.id, pipe.as_fd(), true).unwrap();
        assert_eq!(result.recv().unwrap(), Ok(()));
        // The thread is there, and its number could as well be another's by now.
        assert_eq!(Caller::of(&listener, &call).unwrap_err(), Errno::SRCH);
    }

    #[test]
    fn without_a_mediator_calls_fail() {
        let (listener, result, _end) = subject();
        let call = listener.receive().unwrap().unwrap();
        drop(listener);
        assert_eq!(result.recv().unwrap(), Err(Errno::NOSYS), "{call:?}");
    }
}
