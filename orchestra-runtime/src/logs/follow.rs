//! Goes on reading a log while it is written.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::unix::AsyncFd;

use super::read::{LogOptions, Progress, Reader};

/// The log from `options` on, until `ended` says that nobody writes there any more and everything was read.
pub fn follow(
    path: &Path,
    options: &LogOptions,
    ended: impl Future<Output = ()> + Send + 'static,
) -> io::Result<BoxStream<'static, io::Result<Bytes>>> {
    // Watched first, so that nothing is written unseen between reading and watching.
    let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    inotify::add_watch(&fd, path, WatchFlags::MODIFY)?;
    let state = Following {
        reader: Reader::open(path, options)?,
        changes: crate::sys::readable(fd)?,
        ended: Box::pin(ended),
        over: false,
    };
    Ok(futures::stream::unfold(state, |mut state| async move {
        match state.next().await {
            Ok(Some(bytes)) => Some((Ok(bytes), state)),
            Ok(None) => None,
            Err(error) => {
                state.over = true;
                Some((Err(error), state))
            }
        }
    })
    .boxed())
}

struct Following {
    reader: Reader,
    changes: AsyncFd<OwnedFd>,
    ended: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
    over: bool,
}

impl Following {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let mut out = Vec::new();
        loop {
            match self.reader.more(&mut out)? {
                Progress::Done => return Ok(None),
                Progress::Read if out.is_empty() => {}
                Progress::Read => return Ok(Some(Bytes::from(out))),
                Progress::AtEnd if self.over => return Ok(None),
                Progress::AtEnd => tokio::select! {
                    changed = self.changes.readable() => {
                        let mut guard = changed?;
                        drain(guard.get_inner())?;
                        guard.clear_ready();
                    }
                    // What was written before the end is read still.
                    () = &mut self.ended => self.over = true,
                },
            }
        }
    }
}

/// Forgets what changed: that something did is all that matters.
fn drain(fd: &OwnedFd) -> io::Result<()> {
    let mut buffer = [0u8; 1024];
    loop {
        match rustix::io::read(fd, &mut buffer) {
            Ok(0) | Err(rustix::io::Errno::AGAIN) => return Ok(()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[tokio::test]
    async fn lines_come_as_they_are_written_and_the_end_ends_the_stream() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let line = |text: &str| format!("2026-01-01T00:00:00Z stdout F {text}\n");
        file.write_all(line("one").as_bytes()).unwrap();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let ended = async {
            let _ = ended.await;
        };
        let mut stream = follow(file.path(), &LogOptions::default(), ended).unwrap();
        assert_eq!(stream.next().await.unwrap().unwrap(), "one\n");
        file.write_all(line("two").as_bytes()).unwrap();
        assert_eq!(stream.next().await.unwrap().unwrap(), "two\n");
        file.write_all(line("three").as_bytes()).unwrap();
        end.send(()).unwrap();
        assert_eq!(stream.next().await.unwrap().unwrap(), "three\n");
        assert!(stream.next().await.is_none());
    }
}
