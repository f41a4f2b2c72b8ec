//! Random histories against a plain map, shrunk to the smallest that fails.

use std::future::Future;

use orchestra_store::conformance::model::{Change, Look, Model, Step};
use orchestra_store::{DurableOptions, DurableStore, MemoryStore, Store};
use proptest::prelude::*;

fn change() -> impl Strategy<Value = Change> {
    (0..6_u8, prop::option::weighted(0.7, any::<u8>())).prop_map(|(key, value)| Change { key, value })
}

fn look() -> impl Strategy<Value = Look> {
    prop_oneof![
        (0..30_u64, 0..6_u8, 0..5_u8).prop_map(|(back, from, limit)| Look::Pages { back, from, limit }),
        (0..30_u64, 0..6_u8).prop_map(|(back, key)| Look::Past { back, key }),
        (0..30_u64, 0..6_u8, 0..6_u8).prop_map(|(back, from, to)| Look::Events { back, from, to }),
        Just(Look::Snapshot),
        (0..6_u8).prop_map(Look::TooLarge),
    ]
}

/// How the next life of a store begins.
#[derive(Clone, Copy, Debug)]
enum Begin {
    /// Opened again where it was.
    Opened,
    /// Restored from a snapshot of the life before.
    Restored,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(change(), 0..5).prop_map(Step::Write),
        3 => change().prop_map(Step::Swap),
        1 => change().prop_map(Step::SwapInVain),
        1 => Just(Step::Grant),
        2 => (prop::collection::vec(change(), 0..5), any::<u8>()).prop_map(|(changes, number)| Step::WriteLeased(changes, number)),
        1 => any::<u8>().prop_map(Step::Revoke),
        1 => (0..20_u64).prop_map(Step::Compact),
        4 => look().prop_map(Step::Look),
    ]
}

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn memory_agrees_with_a_plain_map(
        lives in prop::collection::vec(prop::collection::vec(step(), 1..40), 1..3),
    ) {
        block_on(async {
            let (mut store, mut model) = (MemoryStore::new(), Model::new());
            for (life, steps) in lives.iter().enumerate() {
                if life > 0 {
                    store = MemoryStore::restore(store.snapshot().await.unwrap()).await.unwrap();
                    model.restored(store.status().await.unwrap().revision);
                }
                for step in steps {
                    model.step(&store, step).await;
                }
                model.check(&store).await;
            }
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn a_disk_agrees_with_a_plain_map_across_restarts_and_restores(
        lives in prop::collection::vec(
            (prop_oneof![3 => Just(Begin::Opened), 1 => Just(Begin::Restored)], prop::collection::vec(step(), 0..20)),
            1..5,
        ),
        checkpoint_bytes in prop_oneof![Just(64 * 1024), 100..2000_u64],
    ) {
        block_on(async {
            let (place, mut model) = (tempfile::tempdir().unwrap(), Model::new());
            let options = DurableOptions::new().checkpoint_bytes(checkpoint_bytes);
            let mut dir = place.path().join("0");
            for (life, (begin, steps)) in lives.iter().enumerate() {
                let mut store = DurableStore::open_with(&dir, options).unwrap();
                if let Begin::Restored = begin {
                    dir = place.path().join((life + 1).to_string());
                    let revision = DurableStore::restore(&dir, store.snapshot().await.unwrap()).await.unwrap();
                    model.restored(revision);
                    store = DurableStore::open_with(&dir, options).unwrap();
                }
                model.check(&store).await;
                for step in steps {
                    model.step(&store, step).await;
                }
            }
            model.check(&DurableStore::open_with(&dir, options).unwrap()).await;
        });
    }
}
