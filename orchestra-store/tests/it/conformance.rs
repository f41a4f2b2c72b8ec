//! Every backend passes the suite that is shipped for everyone's backends.

mod memory {
    use orchestra_store::{MemoryStore, Result, Snapshot};

    async fn build() -> (MemoryStore, ()) {
        (MemoryStore::new(), ())
    }

    fn place() {}

    async fn restore((): &(), snapshot: Snapshot) -> Result<MemoryStore> {
        MemoryStore::restore(snapshot).await
    }

    orchestra_store::store_conformance!(build);
    orchestra_store::store_expiry!(paused build);
    orchestra_store::store_restoring!(place, restore);
}

/// Through a pointer, which forwards.
mod shared {
    use std::sync::Arc;

    use orchestra_store::{MemoryStore, Store};

    async fn build() -> (Box<Arc<dyn Store>>, ()) {
        (Box::new(Arc::new(MemoryStore::new())), ())
    }

    orchestra_store::store_conformance!(build);
    orchestra_store::store_expiry!(paused build);
}

mod durable {
    use orchestra_store::{DurableStore, Result, Snapshot};
    use tempfile::TempDir;

    fn place() -> TempDir {
        tempfile::tempdir().unwrap()
    }

    async fn open(place: &TempDir) -> DurableStore {
        DurableStore::open(place.path()).unwrap()
    }

    async fn build() -> (DurableStore, TempDir) {
        let place = place();
        (open(&place).await, place)
    }

    async fn restore(place: &TempDir, snapshot: Snapshot) -> Result<DurableStore> {
        let dir = (0..).map(|n| place.path().join(n.to_string())).find(|dir| !dir.exists()).unwrap();
        DurableStore::restore(&dir, snapshot).await?;
        DurableStore::open(dir)
    }

    orchestra_store::store_conformance!(build);
    orchestra_store::store_expiry!(paused build);
    orchestra_store::store_durability!(place, open);
    orchestra_store::store_expiry_durability!(paused place, open);
    orchestra_store::store_restoring!(place, restore);
}

/// With a checkpoint after nearly every write, so that every case meets them.
mod checkpointing {
    use orchestra_store::{DurableOptions, DurableStore};
    use tempfile::TempDir;

    fn place() -> TempDir {
        tempfile::tempdir().unwrap()
    }

    async fn open(place: &TempDir) -> DurableStore {
        DurableStore::open_with(place.path(), DurableOptions::new().checkpoint_bytes(512)).unwrap()
    }

    async fn build() -> (DurableStore, TempDir) {
        let place = place();
        (open(&place).await, place)
    }

    orchestra_store::store_conformance!(build);
    orchestra_store::store_expiry!(paused build);
    orchestra_store::store_durability!(place, open);
    orchestra_store::store_expiry_durability!(paused place, open);
}
