//! A socket whose other side must take what it is sent.
//!
//! A client that stops reading keeps in memory whatever is to be written to it. So while a write waits, some of it has to go in
//! every window of time; who takes less loses the connection. A client that is merely slow does not come near the bound.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Duration, Instant, Sleep, sleep_until};

/// What has to go in one window.
const LEAST: usize = 8 * 1024;

/// A socket under watch.
#[derive(Debug)]
pub(super) struct Paced<S> {
    inner: S,
    window: Duration,
    /// Since a write had to wait: the end of the window, and what has gone in it.
    waiting: Option<(Pin<Box<Sleep>>, usize)>,
}

impl<S> Paced<S> {
    pub(super) fn new(inner: S, window: Duration) -> Self {
        Self { inner, window, waiting: None }
    }

    /// Some bytes went.
    fn went(&mut self, bytes: usize) {
        if let Some((_, gone)) = &mut self.waiting {
            *gone += bytes;
            if *gone >= LEAST {
                self.waiting = None;
            }
        }
    }

    /// Nothing can go now.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let window = self.window;
        let (end, _) =
            self.waiting.get_or_insert_with(|| (Box::pin(sleep_until(Instant::now() + window)), 0));
        ready!(end.as_mut().poll(cx));
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "the other side does not read"))
    }

    fn judge<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match polled {
            Poll::Pending => self.wait(cx).map(Err),
            ready => ready,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = polled {
            self.went(count);
        }
        self.judge(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, pieces);
        if let Poll::Ready(Ok(count)) = polled {
            self.went(count);
        }
        self.judge(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Whoever flushes has nothing left that waits.
        self.waiting = None;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::advance;

    use super::*;

    const WINDOW: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_given_up_after_a_window() {
        let (mine, _theirs) = duplex(1024);
        let mut paced = Paced::new(mine, WINDOW);
        let begun = Instant::now();
        let problem = paced.write_all(&[0; 4096]).await.unwrap_err();
        assert_eq!((problem.kind(), begun.elapsed()), (io::ErrorKind::TimedOut, WINDOW));
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_a_byte_now_and_then_is_given_up_and_who_is_slow_is_not() {
        for (taken, survives) in [(1, false), (LEAST / 8, true)] {
            let (mine, mut theirs) = duplex(1024);
            let mut paced = Paced::new(mine, WINDOW);
            let reading = tokio::spawn(async move {
                let mut buffer = vec![0; taken];
                while theirs.read_exact(&mut buffer).await.is_ok() {
                    advance(WINDOW / 16).await;
                }
            });
            let written = paced.write_all(&vec![0; 20 * LEAST]).await;
            assert_eq!(written.is_ok(), survives, "{taken}: {written:?}");
            drop(paced);
            reading.await.unwrap();
        }
    }
}
