//! Commits whose callers went away.
//!
//! A request that was begun may reach etcd whatever becomes of its caller. So it runs on, and later commits of the same
//! store wait for its end: what an abandoned commit does, it does before them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// How many commits run on without their callers.
#[derive(Debug)]
pub(super) struct Orphans(watch::Sender<usize>);

impl Default for Orphans {
    fn default() -> Self {
        Self(watch::channel(0).0)
    }
}

impl Orphans {
    /// Waits until there are none.
    pub(super) async fn settled(&self) {
        if *self.0.borrow() > 0 {
            // The sender is in `self`, so it is there.
            let mut running = self.0.subscribe();
            let _none = running.wait_for(|&running| running == 0).await;
        }
    }
}

/// One that runs on; counted until it ends, however it does.
struct Counted(Arc<Orphans>);

impl Counted {
    fn new(orphans: Arc<Orphans>) -> Self {
        orphans.0.send_modify(|running| *running += 1);
        Self(orphans)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.send_modify(|running| *running -= 1);
    }
}

/// A future that, once begun, comes to its end even when it is dropped.
pub(super) struct Finishing<T: Send + 'static> {
    orphans: Arc<Orphans>,
    begun: bool,
    work: Option<BoxFuture<'static, T>>,
}

impl<T: Send + 'static> Finishing<T> {
    pub(super) fn new(orphans: Arc<Orphans>, work: BoxFuture<'static, T>) -> Self {
        Self { orphans, begun: false, work: Some(work) }
    }
}

impl<T: Send + 'static> Future for Finishing<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        self.begun = true;
        let Some(work) = &mut self.work else { return Poll::Pending };
        let output = std::task::ready!(work.as_mut().poll(context));
        self.work = None;
        Poll::Ready(output)
    }
}

impl<T: Send + 'static> Drop for Finishing<T> {
    fn drop(&mut self) {
        let Some(work) = self.work.take().filter(|_| self.begun) else { return };
        // Without a runtime nothing runs on, and nothing comes after it either.
        let Ok(runtime) = Handle::try_current() else { return };
        let counted = Counted::new(Arc::clone(&self.orphans));
        runtime.spawn(async move {
            work.await;
            drop(counted);
        });
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_was_begun_comes_to_its_end_and_is_waited_for() {
        let orphans = Arc::new(Orphans::default());
        let (finish, finished) = oneshot::channel::<()>();
        let (done, mut is_done) = oneshot::channel();
        let work = async move {
            finished.await.unwrap();
            done.send(()).unwrap();
        };
        let mut abandoned = Finishing::new(Arc::clone(&orphans), work.boxed());
        assert!(futures::poll!(&mut abandoned).is_pending());
        drop(abandoned);
        assert!(futures::poll!(Box::pin(orphans.settled())).is_pending());
        finish.send(()).unwrap();
        orphans.settled().await;
        assert_eq!(is_done.try_recv(), Ok(()));
    }

    #[tokio::test]
    async fn what_was_not_begun_is_not_done() {
        let orphans = Arc::new(Orphans::default());
        drop(Finishing::new(Arc::clone(&orphans), async { panic!("done") }.boxed()));
        assert_eq!(*orphans.0.borrow(), 0);
    }
}
