//! What a controller has ordered and not yet seen arrive.
//!
//! A cache lags behind the writes of its own reader. A controller that counts only what it sees would create a second
//! time what it has just created. So it notes every creation and deletion it orders, lowers the note when the event
//! arrives, and orders nothing more for an object whose notes are open. A note that is never met (a watch broke, and
//! the object came and went meanwhile) lapses after five minutes, as upstream.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::controller::Next;
use crate::key::Key;

const LAPSE: Duration = Duration::from_secs(300);

/// Open orders by owner.
#[derive(Debug, Default)]
pub(crate) struct Expectations(Mutex<HashMap<Key, Orders>>);

#[derive(Debug)]
struct Orders {
    creations: usize,
    /// Uids, because one deletion can be seen twice: as a mark and as the end.
    deletions: BTreeSet<String>,
    since: Instant,
}

impl Expectations {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Orders>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with(&self, owner: &Key, change: impl FnOnce(&mut Orders)) {
        let mut all = self.lock();
        let orders = all.entry(owner.clone()).or_insert_with(|| Orders {
            creations: 0,
            deletions: BTreeSet::new(),
            since: Instant::now(),
        });
        orders.since = Instant::now();
        change(orders);
    }

    /// `count` creations are about to be ordered.
    pub(crate) fn expect_creations(&self, owner: &Key, count: usize) {
        self.with(owner, |orders| orders.creations += count);
    }

    /// These objects are about to be deleted.
    pub(crate) fn expect_deletions(&self, owner: &Key, uids: impl IntoIterator<Item = String>) {
        self.with(owner, |orders| orders.deletions.extend(uids));
    }

    /// One ordered creation was seen, or will never be because the order failed.
    pub(crate) fn creation_seen(&self, owner: &Key) {
        self.settle(owner, |orders| orders.creations = orders.creations.saturating_sub(1));
    }

    /// An ordered deletion was seen, or will never be because the order failed.
    pub(crate) fn deletion_seen(&self, owner: &Key, uid: &str) {
        self.settle(owner, |orders| {
            orders.deletions.remove(uid);
        });
    }

    fn settle(&self, owner: &Key, change: impl FnOnce(&mut Orders)) {
        let mut all = self.lock();
        if let Some(orders) = all.get_mut(owner) {
            change(orders);
            if orders.creations == 0 && orders.deletions.is_empty() {
                all.remove(owner);
            }
        }
    }

    /// Whether everything ordered has arrived (or lapsed), so that the cache can be trusted for `owner`.
    pub(crate) fn are_met(&self, owner: &Key) -> bool {
        self.lock().get(owner).is_none_or(|orders| orders.since.elapsed() >= LAPSE)
    }

    /// A look when the open orders lapse: if what was ordered never shows, nothing else would come.
    pub(crate) fn lapse(&self, owner: &Key) -> Next {
        let open = self.lock().get(owner).map(|orders| LAPSE.saturating_sub(orders.since.elapsed()));
        match open {
            Some(left) if !left.is_zero() => Next::After(left),
            _ => Next::Wait,
        }
    }

    /// The owner is gone.
    pub(crate) fn forget(&self, owner: &Key) {
        self.lock().remove(owner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn are_met_when_every_order_was_seen() {
        let (expectations, owner) = (Expectations::default(), Key::new("ns", "rs"));
        assert!(expectations.are_met(&owner));
        expectations.expect_creations(&owner, 2);
        expectations.expect_deletions(&owner, ["u1".to_owned()]);
        expectations.creation_seen(&owner);
        expectations.creation_seen(&owner);
        assert!(!expectations.are_met(&owner));
        expectations.deletion_seen(&owner, "other");
        assert!(!expectations.are_met(&owner));
        expectations.deletion_seen(&owner, "u1");
        assert!(expectations.are_met(&owner));
    }

    #[tokio::test(start_paused = true)]
    async fn lapse_after_five_minutes() {
        let (expectations, owner) = (Expectations::default(), Key::new("ns", "rs"));
        expectations.expect_creations(&owner, 1);
        tokio::time::advance(LAPSE - Duration::from_secs(1)).await;
        assert!(!expectations.are_met(&owner));
        assert_eq!(expectations.lapse(&owner), Next::After(Duration::from_secs(1)));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(expectations.are_met(&owner));
        assert_eq!(expectations.lapse(&owner), Next::Wait, "lapsed, they are waited for no more");
    }
}
