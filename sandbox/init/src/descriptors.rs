//! Descriptors the parent process left open for us.

use std::fs::File;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::{FdFlags, fcntl_setfd};

/// A descriptor number that is not open.
#[derive(Debug, thiserror::Error)]
#[error("descriptor {0} is not open: the program that starts `sealfleet-init` must pass it")]
pub struct NotOpen(pub RawFd);

/// Takes descriptor `number` over, so that it is closed when dropped and never inherited.
///
/// To be called at the start of the program, once for each number.
#[expect(
    unsafe_code,
    reason = "only the number says that the descriptor is ours"
)]
pub fn take(number: RawFd) -> Result<File, NotOpen> {
    // SAFETY: a plain system call on a number.
    if number < 3 || unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return Err(NotOpen(number));
    }
    // SAFETY: it is open, and nothing in this program owns it: it was inherited and is taken once.
    let owned = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl_setfd(owned.as_fd(), FdFlags::CLOEXEC).map_err(|_| NotOpen(number))?;
    Ok(owned.into())
}

/// Sees to it that a command inherits nothing but its three standard streams, whatever else is
/// open.
///
/// # Errors
/// The system's answer.
#[expect(unsafe_code, reason = "no safe crate offers close_range")]
pub fn inherit_none() -> std::io::Result<()> {
    // SAFETY: a plain system call; nothing is closed here, only marked.
    match unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}
