//! Keeping the past for a time, and no longer.

use std::convert::Infallible;
use std::time::Duration;

use crate::revision::Revision;
use crate::store::{Result, Store};

/// How long Kubernetes keeps the past of its store: the API server of upstream compacts etcd every five minutes.
pub const KEEP_PAST: Duration = Duration::from_secs(5 * 60);

/// Compacts `store` for as long as it is polled, so that what changed within the last `keep` can still be read and watched,
/// and what is older than twice that is gone. A store on which nothing happens is not written to.
///
/// # Errors
/// Whatever the store answers; it does not end otherwise.
pub async fn compact_behind(store: &dyn Store, keep: Duration) -> Result<Infallible> {
    let mut before = store.status().await?.revision;
    loop {
        tokio::time::sleep(keep.max(Duration::from_secs(1))).await;
        let now = store.status().await?.revision;
        // What was current a while ago is what a reader of that time may still page through.
        if let Some(to) = before.0.checked_sub(1) {
            store.compact(Revision(to)).await?;
        }
        before = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemoryStore, ReadAt, Txn};

    #[tokio::test(start_paused = true)]
    async fn the_past_is_kept_for_the_time_asked_and_at_most_twice_that() {
        let store = MemoryStore::new();
        let compactor = store.clone();
        tokio::spawn(async move { compact_behind(&compactor, KEEP_PAST).await });
        let minute = Duration::from_secs(60);
        let mut written = Vec::new();
        for n in 0..60 {
            let revision = store.commit(Txn::new().put("k".into(), n.to_string())).await.unwrap().revision;
            written.push(revision);
            let readable = async |minutes: usize| {
                let revision = written[n - minutes];
                store.get(&"k".into(), ReadAt::Exactly(revision)).await.is_ok()
            };
            if n >= 5 {
                assert!(readable(5).await, "five minutes ago, at minute {n}");
            }
            if n >= 12 {
                assert!(!readable(12).await, "twelve minutes ago, at minute {n}");
            }
            tokio::time::sleep(minute).await;
        }
        assert_eq!(written.last(), Some(&Revision(61)));
    }
}
