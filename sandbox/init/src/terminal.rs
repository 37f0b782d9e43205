//! A terminal for a command that asks for one.
//!
//! This process holds one end of a pseudo-terminal and reads it as it reads a pipe. The other end
//! is the command's standard input, output and error, and the controlling terminal of its session
//! (pty(7)). So the command's output is one stream.
//!
//! Nobody types: the first read finds the end of the input. Nothing is echoed, and lines end as
//! they do without a terminal, so that what follows, redaction first, sees the command's own bytes.

use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::{ioctl_tiocsctty, setsid};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{
    LocalModes, OptionalActions, OutputModes, SpecialCodeIndex, Winsize, tcgetattr, tcsetattr,
    tcsetwinsize,
};

/// The kind of terminal that a command is told of, unless its step says otherwise: one that shows
/// text and nothing else.
pub const KIND: &str = "dumb";

/// What programs expect of a terminal that says nothing.
const SIZE: Winsize = Winsize {
    ws_row: 24,
    ws_col: 80,
    ws_xpixel: 0,
    ws_ypixel: 0,
};

/// A pseudo-terminal, before its command starts.
pub struct Terminal {
    own: OwnedFd,
    of_command: OwnedFd,
}

impl Terminal {
    /// Opens one.
    ///
    /// # Errors
    /// The system's answer.
    pub fn open() -> io::Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let own = openpt(flags)?;
        grantpt(&own)?;
        unlockpt(&own)?;
        // Whatever is mounted at /dev/pts.
        let of_command = ioctl_tiocgptpeer(&own, flags)?;
        let mut modes = tcgetattr(&of_command)?;
        modes.output_modes.remove(OutputModes::ONLCR);
        modes.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&of_command, OptionalActions::Now, &modes)?;
        tcsetwinsize(&of_command, SIZE)?;
        let end_of_input = modes.special_codes[SpecialCodeIndex::VEOF];
        rustix::io::write(&own, &[end_of_input])?;
        Ok(Self { own, of_command })
    }

    /// Makes it the terminal of a command that has not started, in a session of its own.
    ///
    /// # Errors
    /// The system's answer.
    #[expect(
        unsafe_code,
        reason = "the standard library has no other way to begin a session"
    )]
    pub fn give(&self, command: &mut Command) -> io::Result<()> {
        command
            .stdin(self.of_command.try_clone()?)
            .stdout(self.of_command.try_clone()?)
            .stderr(self.of_command.try_clone()?);
        let begin_session = || {
            setsid()?;
            // SAFETY: the standard input was set above, and is open until the command closes it.
            let terminal = unsafe { BorrowedFd::borrow_raw(0) };
            Ok(ioctl_tiocsctty(terminal)?)
        };
        // SAFETY: two system calls, which may stand between fork and exec.
        unsafe { command.pre_exec(begin_session) };
        Ok(())
    }

    /// What the command writes. Ends once no process has the terminal any more.
    pub fn output(self) -> File {
        File::from(self.own)
    }
}
