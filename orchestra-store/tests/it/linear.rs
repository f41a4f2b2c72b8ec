//! A4: whatever many clients do at once, and whatever is killed meanwhile, what they were told fits one order that agrees
//! with real time; revisions, versions and refusals included.
//!
//! Clients of a store note what they call and what they are told. A checker (Wing & Gong's search with Lowe's memory, from the crate
//! `todc-utils`) then looks for an order in which a plain sequential store would have said the same. There are two
//! such stores: [`world`] is the whole of it with every number, and [`register`] a single key without any
//! number, so that wrong numbers cannot hide wrong values. With the numbers there is nothing to search for, which [`order`] makes use
//! of: it says what the search says, in no time.

mod checker;
mod clients;
mod durable;
mod etcd;
mod history;
mod order;
mod register;
mod remote;
mod world;

use std::sync::Arc;

use orchestra_store::{DurableStore, MemoryStore, Revision, Store};

use clients::{Broken, Bug, Mix, Target, work};
use history::{History, Watched};

/// Clients that work at once.
const CLIENTS: u64 = 12;

/// A history of so many calls of each client.
async fn history_of(target: &Arc<dyn Target>, calls: u64, mix: Mix, seed: u64) -> History {
    let history = Arc::new(History::default());
    work(target, &history, CLIENTS, calls, mix, seed).await;
    Arc::into_inner(history).unwrap()
}

async fn is_linearizable(store: Arc<dyn Store>, seed: u64) {
    let target: Arc<dyn Target> = Arc::new(Arc::clone(&store));
    let begin = store.status().await.unwrap().revision;
    assert_eq!(begin, Revision(1), "the model begins with an empty store");
    let mut history = history_of(&target, 60, Mix::Everything, seed).await;
    history.follow(Watched::of(&*store, begin.next()).await);
    assert!(world::fits(&history) && world::search_fits(&history), "seed {seed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_clients_of_a_memory_store_are_told_fits_one_order() {
    for seed in 0..3 {
        is_linearizable(Arc::new(MemoryStore::new()), seed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_clients_of_a_durable_store_are_told_fits_one_order() {
    for seed in 0..3 {
        let dir = tempfile::tempdir().unwrap();
        is_linearizable(Arc::new(DurableStore::open(dir.path()).unwrap()), seed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_key_of_a_memory_store_is_a_register_whatever_its_numbers_say() {
    let target: Arc<dyn Target> = Arc::new(Arc::new(MemoryStore::new()) as Arc<dyn Store>);
    let history = history_of(&target, 250, Mix::SingleKeys, 1).await;
    assert!(register::fits(&history));
}

/// The checks can fail: they do for a store with a bug.
async fn finds(bug: Bug) -> (bool, bool) {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let target: Arc<dyn Target> = Arc::new(Broken::new(Arc::clone(&store), bug));
    let mut history = history_of(&target, 60, Mix::SingleKeys, 7).await;
    history.follow(Watched::of(&*store, Revision(2)).await);
    assert_eq!(world::fits(&history), world::search_fits(&history), "two ways to the same");
    (!world::fits(&history), !register::fits(&history))
}

macro_rules! found {
    ($($name:ident: $bug:ident by $checks:expr;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            assert_eq!(finds(Bug::$bug).await, $checks);
        }
    )*};
}

found! {
    a_lost_write_is_found: LosesWrites by (true, true);
    a_stale_read_is_found: ReadsStale by (true, true);
    a_stale_read_that_admits_its_age_is_found: ReadsStaleAndSaysSo by (true, true);
    two_winners_of_one_compare_are_found: IgnoresCompares by (true, true);
    // Only the numbers are wrong, so only the check of the numbers can see it.
    a_revision_given_out_twice_is_found: RepeatsRevisions by (true, false);
}
