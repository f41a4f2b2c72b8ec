//! Taking care of the store while the cluster runs.

use std::sync::Arc;
use std::time::Duration;

use orchestra_store::Store;
use orchestra_store::compactor::{KEEP_PAST, compact_behind};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::builder::chain;

/// How often the store is asked whether it is well.
const CHECK: Duration = Duration::from_secs(10);

/// Whose the store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tenure {
    /// This cluster's alone. What fails in it stays so.
    Own,
    /// Elsewhere: what fails may pass.
    Shared,
}

/// Looks now and then whether the store still takes writes. One's own that does not ends this with what it says; of another one
/// it is told when it goes and when it is back.
pub(super) async fn watch_over(
    store: Arc<dyn Store>,
    tenure: Tenure,
    shutdown: CancellationToken,
) -> Result<(), String> {
    let mut was_well = true;
    loop {
        let status = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            status = async { sleep(CHECK).await; store.status().await } => status,
        };
        let is_well = match status {
            Ok(_) => true,
            Err(problem) if tenure == Tenure::Own => return Err(chain(&problem)),
            Err(problem) => {
                tracing::warn!(problem = chain(&problem), "the store is away");
                false
            }
        };
        if is_well && !was_well {
            tracing::info!("the store is back");
        }
        was_well = is_well;
    }
}

/// Gives up the store's past when it is old.
pub(super) async fn forget_the_past(
    store: Arc<dyn Store>,
    tenure: Tenure,
    shutdown: CancellationToken,
) -> Result<(), String> {
    loop {
        let problem = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            Err(problem) = compact_behind(&*store, KEEP_PAST) => chain(&problem),
        };
        if tenure == Tenure::Own {
            return Err(problem);
        }
        tracing::warn!(problem, "the store cannot be compacted; trying again");
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = sleep(CHECK) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use orchestra_store::MemoryStore;

    use super::*;

    #[tokio::test]
    async fn it_ends_when_it_is_told_to() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let shutdown = CancellationToken::new();
        let watching = tokio::spawn(watch_over(store.clone(), Tenure::Own, shutdown.clone()));
        let forgetting = tokio::spawn(forget_the_past(store, Tenure::Shared, shutdown.clone()));
        shutdown.cancel();
        assert_eq!((watching.await.unwrap(), forgetting.await.unwrap()), (Ok(()), Ok(())));
    }
}
