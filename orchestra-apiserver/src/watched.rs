//! A value that many wait for, woken in the order of their arrival.
//!
//! As `tokio::sync::watch`, which spreads its waiters by chance so that they do not meet on one lock. Here they are spread in
//! turn: as many locks, and a simulated cluster replays exactly.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Notify;

/// How many locks the waiters are spread over.
const LOCKS: usize = 8;

#[derive(Debug)]
struct Shared<T> {
    value: RwLock<T>,
    /// Rises with every change.
    version: AtomicU64,
    closed: AtomicBool,
    waiters: [Notify; LOCKS],
    next: AtomicUsize,
}

/// Holds the value. When it is dropped, whoever waits is told.
#[derive(Debug)]
pub(crate) struct Sender<T>(Arc<Shared<T>>);

/// Waits for changes of the value.
#[derive(Debug)]
pub(crate) struct Receiver<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
    lock: usize,
}

/// The sender is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

impl<T: Clone> Shared<T> {
    fn value(&self) -> T {
        // What changes the value cannot panic halfway.
        self.value.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<T> Shared<T> {
    fn wake(&self) {
        self.waiters.iter().for_each(Notify::notify_waiters);
    }
}

impl<T: Clone> Sender<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Arc::new(Shared {
            value: RwLock::new(value),
            version: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            waiters: Default::default(),
            next: AtomicUsize::new(0),
        }))
    }

    /// The value as it is.
    pub(crate) fn value(&self) -> T {
        self.0.value()
    }

    /// Changes the value and wakes everybody, if `change` says that it did.
    pub(crate) fn send_if_modified(&self, change: impl FnOnce(&mut T) -> bool) {
        {
            let mut value = self.0.value.write().unwrap_or_else(PoisonError::into_inner);
            if !change(&mut value) {
                return;
            }
            self.0.version.fetch_add(1, Ordering::SeqCst);
        }
        self.0.wake();
    }

    /// Changes the value and wakes everybody.
    pub(crate) fn send_modify(&self, change: impl FnOnce(&mut T)) {
        self.send_if_modified(|value| {
            change(value);
            true
        });
    }

    /// Replaces the value and wakes everybody.
    pub(crate) fn send_replace(&self, new: T) {
        self.send_modify(|value| *value = new);
    }

    /// How many wait, or could.
    pub(crate) fn receivers(&self) -> usize {
        Arc::strong_count(&self.0).saturating_sub(1)
    }

    /// A receiver that has seen the present value.
    pub(crate) fn subscribe(&self) -> Receiver<T> {
        let lock = self.0.next.fetch_add(1, Ordering::Relaxed) % LOCKS;
        Receiver { shared: self.0.clone(), seen: self.0.version.load(Ordering::SeqCst), lock }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::SeqCst);
        self.0.wake();
    }
}

impl<T: Clone> Receiver<T> {
    /// What has been seen of the value so far is all of it.
    pub(crate) fn mark_seen(&mut self) {
        self.seen = self.shared.version.load(Ordering::SeqCst);
    }

    /// Waits until the value has changed since it was last seen.
    pub(crate) async fn changed(&mut self) -> Result<(), Closed> {
        let seen = self.seen;
        let version = wait(&self.shared, self.lock, |shared| {
            let version = shared.version.load(Ordering::SeqCst);
            (version != seen).then_some(version)
        });
        self.seen = version.await?;
        Ok(())
    }

    /// Waits until the value is as wanted.
    pub(crate) async fn wait_for(&mut self, wanted: impl Fn(&T) -> bool) -> Result<T, Closed> {
        wait(&self.shared, self.lock, |shared| {
            let value = shared.value();
            wanted(&value).then_some(value)
        })
        .await
    }
}

fn wait<'a, T, R>(
    shared: &'a Shared<T>,
    lock: usize,
    look: impl Fn(&Shared<T>) -> Option<R> + 'a,
) -> impl Future<Output = Result<R, Closed>> + 'a {
    let waiters = &shared.waiters[lock % LOCKS];
    async move {
        loop {
            let mut woken = std::pin::pin!(waiters.notified());
            // Before the look, so that no change falls in between.
            woken.as_mut().enable();
            if let Some(found) = look(shared) {
                return Ok(found);
            }
            if shared.closed.load(Ordering::SeqCst) {
                return Err(Closed);
            }
            woken.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn waiters_are_woken_in_the_same_order_each_time() {
        let run = async || {
            let (sender, order) = (Sender::new(0), Arc::new(Mutex::new(Vec::new())));
            let waiting: Vec<_> = (0..40)
                .map(|number| {
                    let (mut receiver, order) = (sender.subscribe(), order.clone());
                    tokio::spawn(async move {
                        assert_eq!(receiver.wait_for(|value| *value == 7).await, Ok(7));
                        order.lock().unwrap().push(number);
                    })
                })
                .collect();
            tokio::task::yield_now().await;
            sender.send_replace(7);
            for waiting in waiting {
                waiting.await.unwrap();
            }
            Arc::into_inner(order).unwrap().into_inner().unwrap()
        };
        let first = run().await;
        assert_eq!(first.len(), 40);
        for _ in 0..8 {
            assert_eq!(run().await, first);
        }
    }

    #[tokio::test]
    async fn a_change_is_told_once_and_an_end_for_ever() {
        let sender = Sender::new(1);
        let mut receiver = sender.subscribe();
        sender.send_if_modified(|_| false);
        sender.send_modify(|value| *value += 1);
        assert_eq!((receiver.changed().await, sender.value()), (Ok(()), 2));
        sender.send_replace(2);
        receiver.mark_seen();
        let next = tokio::spawn(async move { (receiver.changed().await, receiver.changed().await) });
        tokio::task::yield_now().await;
        drop(sender);
        assert_eq!(next.await.unwrap(), (Err(Closed), Err(Closed)));
    }
}
