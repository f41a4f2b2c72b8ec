//! Histories across kill -9: the process with the store dies at a random instant under its clients, again and again.

use std::sync::Arc;
use std::time::Duration;

use orchestra_store::conformance::Chance;
use orchestra_store::{Revision, Store};

use super::clients::{Mix, Target, work};
use super::history::{History, Watched};
use super::remote::{Remote, open};
use super::{CLIENTS, register, world};

/// A history of so many lives of a store, each but the last ended by a kill.
async fn killed_history(kills: u64, calls: u64, mix: Mix, seed: u64) -> History {
    let dir = tempfile::tempdir().unwrap();
    let (mut history, mut chance) = (Arc::new(History::default()), Chance(seed));
    for life in 0..=kills {
        let remote = Arc::new(Remote::start(dir.path()));
        let target: Arc<dyn Target> = Arc::clone(&remote) as _;
        let calls = if life < kills { u64::MAX } else { calls };
        let instant = Duration::from_micros(chance.below(12_000));
        let clients = work(&target, &history, CLIENTS, calls, mix, seed << 8 | life);
        if life < kills {
            let (_, ()) = tokio::join!(clients, async {
                tokio::time::sleep(instant).await;
                remote.kill();
            });
        } else {
            clients.await;
            remote.kill();
        }
        // Nobody has the store now, so what is there is what its clients' unanswered calls came to.
        history.killed(open(dir.path()).status().await.unwrap().revision);
    }
    let watched = Watched::of(&open(dir.path()), Revision(2)).await;
    Arc::get_mut(&mut history).unwrap().follow(watched);
    Arc::into_inner(history).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_goes_on_in_one_order_across_kills() {
    let history = killed_history(12, 20, Mix::Everything, 1).await;
    println!("{} moments, {} revisions", history.all().len(), history.watched().last());
    assert!(world::fits(&history) && world::search_fits(&history));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_key_is_a_register_across_kills() {
    assert!(register::fits(&killed_history(12, 20, Mix::SingleKeys, 2).await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: cargo nextest run -p orchestra-store --run-ignored only histories_go_on_in_one_order_across_many_kills"]
async fn histories_go_on_in_one_order_across_many_kills() {
    for seed in 0..40 {
        let history = killed_history(25, 20, Mix::Everything, seed).await;
        assert!(world::fits(&history), "seed {seed}");
        assert!(register::fits(&killed_history(25, 20, Mix::SingleKeys, seed).await), "seed {seed}");
    }
}
