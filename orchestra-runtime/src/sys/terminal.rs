//! Gives a command a terminal of its own.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// The side of a terminal that the person sits at.
#[derive(Debug)]
pub(crate) struct Terminal(OwnedFd);

impl Terminal {
    /// Sets the number of characters in a line and of lines.
    pub(crate) fn resize(&self, columns: u16, rows: u16) -> io::Result<()> {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.0, size).map_err(Into::into)
    }

    /// One more descriptor for the terminal.
    pub(crate) fn another(&self) -> io::Result<OwnedFd> {
        self.0.try_clone()
    }

    /// The same terminal for one more owner.
    pub(crate) fn share(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Makes reads and writes return at once, of every descriptor.
    pub(crate) fn set_nonblocking(&self) -> io::Result<()> {
        let flags = fcntl_getfl(&self.0)?;
        fcntl_setfl(&self.0, flags | OFlags::NONBLOCK).map_err(Into::into)
    }
}

impl AsFd for Terminal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Makes `command` the leader of a session whose terminal all its streams are. Drop the command after it was spawned: it
/// holds the terminal open.
pub(crate) fn with_terminal(command: &mut Command) -> io::Result<Terminal> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = openpt(flags)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let its = ioctl_tiocgptpeer(&ours, flags)?;
    command.stdin(its.try_clone()?).stdout(its.try_clone()?).stderr(its);
    // SAFETY: the closure runs in the forked child and makes two system calls on constants; the borrowed descriptor is
    // the child's standard input, which is open at that point.
    unsafe {
        command.pre_exec(|| {
            rustix::process::setsid()?;
            rustix::process::ioctl_tiocsctty(BorrowedFd::borrow_raw(0)).map_err(Into::into)
        });
    }
    Ok(Terminal(ours))
}
