//! The thin shell around every controller: take a key, let it be reconciled, retry what failed.

use std::fmt::{Debug, Display};
use std::future::Future;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::error::{Error, Result};
use crate::queue::Queue;

/// How many objects one controller works on at a time.
const WORKERS: usize = 16;

/// What a reconciliation leaves to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing, until something changes.
    Wait,
    /// Look again after this long, because time itself will change something.
    After(Duration),
}

/// A controller, as its driver sees it.
pub(crate) trait Reconcile: Send + Sync + 'static {
    /// By what its objects are queued.
    type Key: Clone + Debug + Display + Eq + Hash + Ord + Send + Sync + 'static;

    /// Its name, for logs.
    fn name(&self) -> &'static str;

    /// Brings the object of this key nearer to what it should be.
    fn reconcile(&self, key: &Self::Key) -> impl Future<Output = Result<Next>> + Send;
}

/// Lets `controller` work off `queue` until cancelled. What is under way then is finished first.
pub(crate) async fn drive<R: Reconcile>(
    controller: Arc<R>,
    queue: Arc<Queue<R::Key>>,
    shutdown: CancellationToken,
) {
    let mut working = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(()) = working.next() => {}
            key = queue.next(), if working.len() < WORKERS => working.push(work(&*controller, &queue, key)),
        }
    }
    while working.next().await.is_some() {}
}

async fn work<R: Reconcile>(controller: &R, queue: &Queue<R::Key>, key: R::Key) {
    let outcome = AssertUnwindSafe(controller.reconcile(&key)).catch_unwind().await;
    match outcome {
        Ok(Ok(next)) => {
            queue.forget(&key);
            if let Next::After(delay) = next {
                queue.add_after(key.clone(), delay);
            }
        }
        Ok(Err(Error::Conflict(_))) => {
            debug!(controller = controller.name(), %key, "changed meanwhile; trying again");
            queue.retry(key.clone());
        }
        Ok(Err(problem)) => {
            let said = problem.said();
            warn!(controller = controller.name(), %key, problem = %said, "trying again later");
            queue.retry(key.clone());
        }
        Err(_) => {
            error!(controller = controller.name(), %key, "panicked; trying again later");
            queue.retry(key.clone());
        }
    }
    queue.done(&key);
}
