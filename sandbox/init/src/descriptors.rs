//! Which descriptors come in with this process, and which the command inherits.

use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::{FdFlags, fcntl_setfd};

/// Takes descriptor `number` over, so that it is closed when dropped and never inherited.
///
/// Call it at the start of the program, once for each number.
///
/// # Errors
/// The descriptor is not open.
#[expect(
    unsafe_code,
    reason = "only the number says that the descriptor is ours"
)]
pub fn take(number: RawFd) -> Result<OwnedFd, String> {
    let not_open = || {
        format!(
            "descriptor {number} is not open: the program that starts `sealfleet-init` must pass it"
        )
    };
    // SAFETY: a plain system call on a number.
    if number < 3 || unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return Err(not_open());
    }
    // SAFETY: it is open, and nothing in this program owns it: it was inherited and is taken once.
    let owned = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl_setfd(owned.as_fd(), FdFlags::CLOEXEC).map_err(|_| not_open())?;
    Ok(owned)
}

/// Makes sure that a command inherits its three standard streams only, whatever else is open.
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
