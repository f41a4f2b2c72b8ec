//! The suite that every backend passes.

use orchestra_store::EtcdStore;

use super::server::{Single, available};

async fn build() -> (EtcdStore, Single) {
    let etcd = Single::start();
    (etcd.store().await, etcd)
}

fn place() -> Single {
    Single::start()
}

async fn open(etcd: &Single) -> EtcdStore {
    etcd.store().await
}

orchestra_store::store_conformance!(build, if available);
orchestra_store::store_durability!(place, open, if available);
orchestra_store::store_expiry!(build, if available);
orchestra_store::store_expiry_durability!(place, open, if available);
