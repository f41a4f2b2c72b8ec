//! Tells when a log file grows, so that a follower sleeps until then.

use std::path::Path;
use std::time::Duration;

/// How long a follower sleeps where the kernel cannot tell it: elsewhere than on Linux, and when the user's inotify
/// instances are used up.
const UNTOLD: Duration = Duration::from_secs(1);

/// Watches one file, which need not exist yet.
pub(super) struct Changes {
    #[cfg(target_os = "linux")]
    kernel: Option<inotify::Watch>,
}

impl Changes {
    /// Watches `path` from now on. Call inside a Tokio runtime.
    pub(super) fn of(path: &Path) -> Self {
        #[cfg(target_os = "linux")]
        {
            let kernel = inotify::Watch::of(path)
                .inspect_err(|error| tracing::debug!(path = %path.display(), %error, "cannot watch a log"))
                .ok();
            Self { kernel }
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = path;
            Self {}
        }
    }

    /// Waits until the file may have changed since the last call, or the beginning.
    pub(super) async fn next(&mut self) {
        #[cfg(target_os = "linux")]
        if let Some(watch) = &mut self.kernel {
            match watch.next().await {
                Ok(()) => return,
                Err(error) => {
                    tracing::debug!(%error, "cannot watch a log any longer");
                    self.kernel = None;
                }
            }
        }
        tokio::time::sleep(UNTOLD).await;
    }
}

#[cfg(target_os = "linux")]
mod inotify {
    use std::ffi::OsString;
    use std::io;
    use std::mem::MaybeUninit;
    use std::os::fd::OwnedFd;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init};
    use rustix::io::Errno;
    use tokio::io::unix::AsyncFd;

    /// The folder is watched, because the file may be created or replaced.
    pub(super) struct Watch {
        events: AsyncFd<OwnedFd>,
        name: OsString,
    }

    impl Watch {
        pub(super) fn of(path: &Path) -> io::Result<Self> {
            let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let fd = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
            add_watch(&fd, folder, WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO)?;
            let name = path.file_name().unwrap_or(path.as_os_str()).to_owned();
            Ok(Self { events: crate::sys::readable(fd)?, name })
        }

        pub(super) async fn next(&mut self) -> io::Result<()> {
            loop {
                let mut ready = self.events.readable().await?;
                let mut mine = false;
                let mut space = [MaybeUninit::uninit(); 4096];
                let mut reader = Reader::new(ready.get_inner(), &mut space);
                loop {
                    match reader.next() {
                        // An event without a name says that events were lost.
                        Ok(event) => {
                            mine |= event.file_name().is_none_or(|n| n.to_bytes() == self.name.as_bytes());
                        }
                        Err(Errno::AGAIN) => break,
                        Err(Errno::INTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                ready.clear_ready();
                if mine {
                    return Ok(());
                }
            }
        }
    }
}
