//! Histories on real etcd: of one member that is killed, and of three that are killed and cut off, through a store at each.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use orchestra_store::conformance::Chance;
use orchestra_store::{Revision, Store};

use super::clients::{Mix, Target, work};
use super::history::{Call, History, Reply, Watched};
use super::world;
use crate::etcd::cluster::Cluster;
use crate::etcd::server::{Single, available, connect};

const CLIENTS: u64 = 9;

/// Several stores on one etcd, as several API servers have them; each call goes to the next one.
struct Several {
    stores: Vec<Arc<dyn Store>>,
    next: AtomicUsize,
}

impl Several {
    fn of(stores: Vec<Arc<dyn Store>>) -> Arc<dyn Target> {
        Arc::new(Self { stores, next: AtomicUsize::new(0) })
    }
}

#[async_trait]
impl Target for Several {
    async fn call(&self, call: &Call) -> Option<Reply> {
        let nth = self.next.fetch_add(1, Ordering::Relaxed) % self.stores.len();
        self.stores[nth].call(call).await
    }

    fn is_gone(&self) -> bool {
        false
    }
}

/// Has clients work while `trouble` is made, again and again, and looks for an order in what they were told.
async fn troubled(
    stores: Vec<Arc<dyn Store>>,
    calls: u64,
    seed: u64,
    mut trouble: impl AsyncFnMut(&mut Chance),
) {
    let (mut history, mut chance) = (Arc::new(History::default()), Chance(seed));
    let target = Several::of(stores.clone());
    let mut clients = Box::pin(work(&target, &history, CLIENTS, calls, Mix::Everything, seed));
    loop {
        tokio::select! {
            () = &mut clients => break,
            () = tokio::time::sleep(Duration::from_millis(100 + chance.below(400))) => {}
        }
        trouble(&mut chance).await;
    }
    drop(clients);
    // Calls without an answer may still happen; what the watch does not show by now, no client was told of.
    let watched = Watched::of(&*stores[0], Revision(2)).await;
    Arc::get_mut(&mut history).unwrap().follow(watched);
    println!("{} moments, {} revisions", history.all().len(), history.watched().last());
    assert!(world::fits(&history), "seed {seed}");
}

async fn single(calls: u64, seed: u64) {
    let mut etcd = Single::start();
    let store: Arc<dyn Store> = Arc::new(etcd.store().await);
    troubled(vec![store], calls, seed, async |_| etcd.restart()).await;
}

async fn three(calls: u64, seed: u64) {
    let mut cluster = Cluster::start().await;
    let mut stores: Vec<Arc<dyn Store>> = Vec::new();
    for first in 0..3 {
        stores.push(Arc::new(connect(cluster.options(first)).await));
    }
    troubled(stores, calls, seed, async |chance| {
        let member = chance.below(3) as usize;
        if chance.below(2) == 0 {
            cluster.kill(member);
            tokio::time::sleep(Duration::from_millis(chance.below(600))).await;
            cluster.start_again(member);
        } else {
            cluster.isolate(Some(member));
            tokio::time::sleep(Duration::from_millis(chance.below(600))).await;
            cluster.isolate(None);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_clients_of_an_etcd_that_is_killed_are_told_fits_one_order() {
    if available() {
        single(40, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_clients_of_three_members_killed_and_cut_off_are_told_fits_one_order() {
    if available() {
        three(40, 2).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: cargo nextest run -p orchestra-store --run-ignored only long_histories_on_etcd"]
async fn long_histories_on_etcd_fit_one_order() {
    assert!(available(), "without etcd this shows nothing");
    for seed in 0..10 {
        single(80, seed).await;
        three(80, seed).await;
    }
}
