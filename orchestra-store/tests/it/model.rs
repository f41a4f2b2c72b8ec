//! Random histories against a plain map, shrunk to the smallest that fails.

use std::future::Future;

use orchestra_store::conformance::model::{Change, Model, Step};
use orchestra_store::{DurableOptions, DurableStore, MemoryStore};
use proptest::prelude::*;

fn change() -> impl Strategy<Value = Change> {
    (0..6_u8, prop::option::weighted(0.7, any::<u8>())).prop_map(|(key, value)| Change { key, value })
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
    ]
}

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn memory_agrees_with_a_plain_map(steps in prop::collection::vec(step(), 1..60)) {
        block_on(async {
            let (store, mut model) = (MemoryStore::new(), Model::new());
            for step in &steps {
                model.step(&store, step).await;
            }
            model.check(&store).await;
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn a_disk_agrees_with_a_plain_map_across_restarts(
        lives in prop::collection::vec(prop::collection::vec(step(), 0..20), 1..4),
        checkpoint_bytes in prop_oneof![Just(64 * 1024), 100..2000_u64],
    ) {
        block_on(async {
            let (dir, mut model) = (tempfile::tempdir().unwrap(), Model::new());
            let options = DurableOptions::new().checkpoint_bytes(checkpoint_bytes);
            for steps in &lives {
                let store = DurableStore::open_with(dir.path(), options).unwrap();
                model.check(&store).await;
                for step in steps {
                    model.step(&store, step).await;
                }
            }
            model.check(&DurableStore::open_with(dir.path(), options).unwrap()).await;
        });
    }
}
