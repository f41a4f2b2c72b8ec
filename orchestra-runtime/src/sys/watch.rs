//! Descriptors that Tokio watches for us: pidfds and inotify.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Has Tokio's reactor watch `fd` for being readable. Call inside a Tokio runtime.
pub(crate) fn readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is one open descriptor, always the same, until it is dropped, and nobody outside `AsyncFd`
    // can replace or close it: only shared references leave it, and `get_mut` is used nowhere.
    let watched = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
    watched.map_err(|error| error.into_parts().1)
}
