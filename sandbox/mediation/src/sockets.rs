//! The sockets that were made for the command and are not in use yet.
//!
//! The command's descriptor and ours are one socket: what it sets on its own holds for both, and a
//! connection that is made on ours is there on its own, wherever it was copied to or is waited for.
//! Ours has to be closed in time, or the socket would outlive the command's last descriptor: once
//! it is connected or listens. A socket that the command closes before that is noticed by a look at
//! the command's descriptors ([`Sockets::sweep`]).

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;

use rustix::fs::fstat;
use rustix::io::Errno;

use crate::listening::held;

/// More are not held. Each is one descriptor of this process, which may have 1024.
const MOST: usize = 256;

#[derive(Debug)]
pub(crate) struct Socket {
    pub descriptor: OwnedFd,
    /// The thread that it was made for.
    maker: u32,
    /// Others notice whether it is open: it has a name or port, or was to be connected.
    pub noticed: bool,
    /// It is connected, but the command has not heard so, since a signal came between.
    pub connected: bool,
}

/// By inode.
#[derive(Debug, Default)]
pub(crate) struct Sockets(BTreeMap<u64, Socket>);

impl Sockets {
    /// # Errors
    /// [`Errno::NFILE`]: the command has too many sockets that are not connected.
    pub fn make_room(&mut self) -> Result<(), Errno> {
        if self.0.len() >= MOST {
            self.sweep(|_| true);
        }
        if self.0.len() >= MOST {
            Err(Errno::NFILE)
        } else {
            Ok(())
        }
    }

    pub fn hold(&mut self, descriptor: OwnedFd, maker: u32) {
        // Of an open descriptor it does not fail. If it did, connecting would be refused.
        if let Ok(stat) = fstat(&descriptor) {
            let socket = Socket {
                descriptor,
                maker,
                noticed: false,
                connected: false,
            };
            self.0.insert(stat.st_ino, socket);
        }
    }

    pub fn find(&mut self, inode: u64) -> Option<&mut Socket> {
        self.0.get_mut(&inode)
    }

    pub fn release(&mut self, inode: u64) {
        self.0.remove(&inode);
    }

    /// Releases all that were made for a thread.
    pub fn release_of(&mut self, maker: u32) {
        self.0.retain(|_, socket| socket.maker != maker);
    }

    pub fn note_bound(&mut self, inode: u64) {
        if let Some(socket) = self.0.get_mut(&inode) {
            socket.noticed = true;
        }
    }

    pub fn any_noticed(&self) -> bool {
        self.0.values().any(|socket| socket.noticed)
    }

    /// Releases those that others notice, and the command has closed.
    pub fn sweep_noticed(&mut self) {
        if self.any_noticed() {
            self.sweep(|socket| socket.noticed);
        }
    }

    /// A socket that is under way in a message, and one of a process that cannot be read, counts as
    /// closed: connecting it is refused then.
    fn sweep(&mut self, which: impl Fn(&Socket) -> bool) {
        let asked: BTreeSet<u64> = self
            .0
            .iter()
            .filter(|(_, socket)| which(socket))
            .map(|(inode, _)| *inode)
            .collect();
        let held = held(&asked);
        self.0
            .retain(|inode, _| !asked.contains(inode) || held.contains(inode));
    }
}
