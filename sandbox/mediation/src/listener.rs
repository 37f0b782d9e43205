//! The kernel's side of user notification: `struct seccomp_notif` and its ioctls
//! (seccomp_unotify(2)).

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use libc::{c_int, c_ulong, seccomp_notif, seccomp_notif_addfd, seccomp_notif_resp, sock_filter};
use rustix::io::Errno;

/// Takes this thread's system calls under `program`, for ever, and answers the descriptor by which
/// they are mediated. Safe between fork and exec: allocates nothing.
///
/// # Errors
/// The kernel's answer.
#[expect(unsafe_code, reason = "no safe crate has these calls")]
pub(crate) fn install(program: &[sock_filter]) -> io::Result<OwnedFd> {
    // SAFETY: the call takes no pointer.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| Errno::TOOBIG)?,
        filter: program.as_ptr().cast_mut(),
    };
    let load = |flags: c_ulong| {
        // SAFETY: the kernel reads `program` and what it points to, both alive here.
        unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                flags,
                &raw const program,
            )
        }
    };
    let listener = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    // Only a signal that kills interrupts a call that is being answered: it is never made twice.
    let mut loaded = load(listener | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
    if loaded < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL) {
        // Before Linux 5.19.
        loaded = load(listener);
    }
    let number = c_int::try_from(loaded).unwrap_or(-1);
    if number < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it for us, close-on-exec.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// The kernel may know longer forms of its structures than we do; it fills or reads its own length.
#[repr(C)]
struct Roomy<T> {
    known: T,
    spare: [u8; 256],
}

impl<T: Copy> Roomy<T> {
    #[expect(unsafe_code, reason = "zeroes are valid for structures of integers")]
    fn zeroed() -> Self {
        // SAFETY: `T` is one of the kernel's structures, which hold integers alone.
        unsafe { MaybeUninit::zeroed().assume_init() }
    }
}

/// Whether the kernel's structures fit into ours.
///
/// # Errors
/// The kernel has no user notification.
#[expect(unsafe_code, reason = "no safe crate has this call")]
pub(crate) fn sizes_fit() -> io::Result<bool> {
    let mut sizes = libc::seccomp_notif_sizes {
        seccomp_notif: 0,
        seccomp_notif_resp: 0,
        seccomp_data: 0,
    };
    // SAFETY: the kernel writes into `sizes`.
    let told = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_GET_NOTIF_SIZES,
            0,
            &raw mut sizes,
        )
    };
    if told != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(
        usize::from(sizes.seccomp_notif) <= size_of::<Roomy<seccomp_notif>>()
            && usize::from(sizes.seccomp_notif_resp) <= size_of::<Roomy<seccomp_notif_resp>>(),
    )
}

/// A system call that waits for its answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub id: u64,
    /// The thread that makes it, as this process numbers it.
    pub thread: u32,
    pub number: c_int,
    pub arguments: [u64; 6],
}

impl Call {
    /// An argument that the kernel takes as `int`, by its index.
    pub fn int(&self, index: usize) -> c_int {
        // The lower half.
        self.arguments.get(index).map_or(0, |value| *value as c_int)
    }

    pub fn pointer(&self, index: usize) -> u64 {
        self.arguments.get(index).copied().unwrap_or(0)
    }
}

/// Where the command's mediated calls come out.
#[derive(Debug)]
pub(crate) struct Listener(OwnedFd);

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Listener {
    pub fn new(descriptor: OwnedFd) -> Self {
        let listener = Self(descriptor);
        // Wakes the other side on the same processor, which is quicker. From Linux 6.6 on.
        let _: Result<(), Errno> = listener.control_by_value(
            libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS,
            1, // SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
        );
        listener
    }

    /// Waits for the next call. `None`: whoever made it is gone already.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn receive(&self) -> Result<Option<Call>, Errno> {
        let mut room = Roomy::<seccomp_notif>::zeroed();
        match self.control(libc::SECCOMP_IOCTL_NOTIF_RECV, &mut room) {
            Ok(_) => {}
            Err(Errno::NOENT | Errno::INTR) => return Ok(None),
            Err(error) => return Err(error),
        }
        let seccomp_notif { id, pid, data, .. } = room.known;
        Ok(Some(Call {
            id,
            thread: pid,
            number: data.nr,
            arguments: data.args,
        }))
    }

    /// Whether the thread still waits in this call. If so, everything opened below its number in
    /// `/proc` before is its own, and not of a later thread with the same number.
    pub fn is_waiting(&self, id: u64) -> bool {
        let mut id = id;
        self.control(libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &mut id)
            .is_ok()
    }

    /// Ends the call. Answers whether it still waited.
    pub fn answer(&self, id: u64, result: Result<i64, Errno>) -> bool {
        let mut room = Roomy::<seccomp_notif_resp>::zeroed();
        room.known = match result {
            Ok(val) => seccomp_notif_resp {
                id,
                val,
                error: 0,
                flags: 0,
            },
            Err(errno) => seccomp_notif_resp {
                id,
                val: 0,
                error: -errno.raw_os_error(),
                flags: 0,
            },
        };
        self.control(libc::SECCOMP_IOCTL_NOTIF_SEND, &mut room)
            .is_ok()
    }

    /// Has the kernel make the call as if nobody had looked. What it does may differ from what was
    /// seen: only for calls that nothing depends on.
    pub fn pass(&self, id: u64) {
        let mut room = Roomy::<seccomp_notif_resp>::zeroed();
        room.known.id = id;
        room.known.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
        // Fails only if the caller is gone.
        let _: Result<c_int, Errno> = self.control(libc::SECCOMP_IOCTL_NOTIF_SEND, &mut room);
    }

    /// Gives the caller a copy of `descriptor` as the result of its call.
    ///
    /// # Errors
    /// It is gone ([`Errno::NOENT`]), or has as many descriptors as it may. The call still waits.
    pub fn give(&self, id: u64, descriptor: BorrowedFd<'_>, cloexec: bool) -> Result<(), Errno> {
        let mut request = seccomp_notif_addfd {
            id,
            flags: libc::SECCOMP_ADDFD_FLAG_SEND as u32,
            srcfd: descriptor.as_raw_fd().cast_unsigned(),
            newfd: 0,
            newfd_flags: if cloexec {
                libc::O_CLOEXEC.cast_unsigned()
            } else {
                0
            },
        };
        match self.control(libc::SECCOMP_IOCTL_NOTIF_ADDFD, &mut request) {
            Ok(_) => Ok(()),
            // Before Linux 5.14.
            Err(Errno::INVAL) => self.give_in_two_steps(request),
            Err(error) => Err(error),
        }
    }

    /// If a signal comes between the steps, the command keeps a descriptor that nobody uses.
    fn give_in_two_steps(&self, request: seccomp_notif_addfd) -> Result<(), Errno> {
        let mut request = request;
        request.flags = 0;
        let number = self.control(libc::SECCOMP_IOCTL_NOTIF_ADDFD, &mut request)?;
        if self.answer(request.id, Ok(i64::from(number))) {
            Ok(())
        } else {
            Err(Errno::NOENT)
        }
    }

    #[expect(unsafe_code, reason = "no safe crate has these requests")]
    fn control<T>(&self, request: libc::Ioctl, argument: &mut T) -> Result<c_int, Errno> {
        // SAFETY: each caller passes the structure that its request reads or writes, with room.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), request, &raw mut *argument) };
        outcome(result)
    }

    #[expect(unsafe_code, reason = "no safe crate has this request")]
    fn control_by_value(&self, request: libc::Ioctl, value: u64) -> Result<(), Errno> {
        // SAFETY: the request takes a number.
        outcome(unsafe { libc::ioctl(self.0.as_raw_fd(), request, value) }).map(drop)
    }
}

fn outcome(result: c_int) -> Result<c_int, Errno> {
    if result < 0 {
        return Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO));
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use rustix::net::{AddressFamily, SocketType, socket};

    use super::*;
    use crate::filter;

    #[test]
    fn a_descriptor_can_be_given_in_two_steps() {
        let (sender, receiver) = mpsc::channel();
        let subject = std::thread::spawn(move || {
            sender.send(install(&filter::program()).unwrap()).unwrap();
            rustix::fs::fstat(socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap())
                .unwrap()
        });
        let listener = Listener::new(receiver.recv().unwrap());
        let (pipe, _) = rustix::pipe::pipe().unwrap();
        let request = seccomp_notif_addfd {
            id: listener.receive().unwrap().unwrap().id,
            flags: 0,
            srcfd: pipe.as_raw_fd().cast_unsigned(),
            newfd: 0,
            newfd_flags: 0,
        };
        listener.give_in_two_steps(request).unwrap();
        assert_eq!(
            subject.join().unwrap().st_ino,
            rustix::fs::fstat(&pipe).unwrap().st_ino
        );
        assert_eq!(listener.give_in_two_steps(request), Err(Errno::NOENT));
    }
}
