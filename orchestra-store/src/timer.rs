//! Whether the runtime has a timer.
//!
//! Tokio's is there unless a program built its runtime without it, or calls a store from outside of any; then tokio ends in a panic where
//! it is asked to wait. A store finds out before: what can do without waits by other means, and the rest is refused.

use std::panic;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::store::{Error, Result};

/// Whether tokio can wait here.
pub(crate) fn is_there() -> bool {
    // There is no other way to ask. Where it is missing, the panic is told on standard error before it is caught.
    Handle::try_current().is_ok() && panic::catch_unwind(|| drop(tokio::time::sleep(Duration::ZERO))).is_ok()
}

/// Refuses what needs a timer where there is none.
pub(crate) fn demand() -> Result<()> {
    match is_there() {
        true => Ok(()),
        false => Err(Error::Unavailable(
            "leases run out by tokio's timer: build the runtime with `enable_time`, and call from inside it"
                .to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::revision::Revision;
    use crate::store::{Error, Store};
    use crate::txn::Txn;
    use crate::{DurableStore, MemoryStore};

    async fn goes_on_without_leases(store: &dyn Store) {
        for n in 0..1000_u32 {
            store.commit(Txn::new().put("k".into(), n.to_string())).await.unwrap();
        }
        store.compact(Revision(1001)).await.unwrap();
        assert_eq!(store.status().await.unwrap().compacted, Revision(1001));
        let outcome = store.grant(Duration::from_secs(1)).await;
        let Err(Error::Unavailable(why)) = outcome else { panic!("{outcome:?}") };
        assert!(why.contains("enable_time"), "{why}");
        assert_eq!(store.status().await.unwrap().leases, 0);
        store.commit(Txn::new().put("k".into(), "last")).await.unwrap();
    }

    #[test]
    fn a_store_works_in_a_runtime_without_a_timer_and_outside_of_any_but_for_leases() {
        let dir = tempfile::tempdir().unwrap();
        let without = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        without().block_on(goes_on_without_leases(&MemoryStore::new()));
        futures::executor::block_on(goes_on_without_leases(&MemoryStore::new()));
        let durable = DurableStore::open(dir.path()).unwrap();
        without().block_on(goes_on_without_leases(&durable));
        drop(durable);
        let durable = DurableStore::open(dir.path()).unwrap();
        assert_eq!(futures::executor::block_on(durable.status()).unwrap().keys, 1);
    }
}
