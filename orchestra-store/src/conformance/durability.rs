//! What must still hold after a store was closed and opened again.

use super::model::{Model, Step, random_step};
use super::support::{
    Chance, all_at, compact, current, delete, events_through, is_compacted, put, refused, watch, write,
};
use crate::key::KeyRange;
use crate::revision::Revision;
use crate::store::{ReadAt, Store};

/// A1, C3 and B4.
pub async fn a1_c3_everything_acknowledged_is_there_again_and_reads_the_same<S: Store>(
    open: impl AsyncFn() -> S,
) {
    let store = open().await;
    let base = current(&store).await;
    for n in 0..10 {
        write(&store, put(&format!("k{}", n % 3), n.to_string()).put("same".into(), n.to_string())).await;
    }
    let last = write(&store, delete("k0")).await;
    let mut before = Vec::new();
    for revision in base.0..=last.0 {
        before.push(all_at(&store, Revision(revision)).await);
    }
    drop(store);
    for _again in 0..2 {
        drop(open().await);
    }
    let store = open().await;
    for (revision, expected) in (base.0..=last.0).zip(before) {
        assert_eq!(all_at(&store, Revision(revision)).await, expected);
    }
}

/// B3.
pub async fn b3_revisions_go_on_where_they_were<S: Store>(open: impl AsyncFn() -> S) {
    let mut last = Revision::NONE;
    for round in 0..5 {
        let store = open().await;
        let base = current(&store).await;
        assert!(base >= last, "revision {base} after {last}");
        last = write(&store, put("k", round.to_string())).await;
        assert_eq!(last, base.next());
        last = write(&store, delete("k")).await;
        refused(&store, put("k", "x").when("k".into(), base.next())).await;
        compact(&store, last).await;
    }
}

/// D5.
pub async fn d5_a_watch_resumes_after_reopening<S: Store>(open: impl AsyncFn() -> S) {
    let store = open().await;
    let from = current(&store).await.next();
    let mut last = from;
    for n in 0..10 {
        last = write(&store, put("b", n.to_string()).put("a".into(), n.to_string()).delete("c".into())).await;
        write(&store, put("c", "x")).await;
    }
    let mut stream = watch(&store, KeyRange::all(), from).await;
    let before = events_through(&mut stream, last).await;
    drop(stream);
    drop(store);
    let store = open().await;
    let mut stream = watch(&store, KeyRange::all(), from).await;
    assert_eq!(events_through(&mut stream, last).await, before);
    let middle = Revision((from.0 + last.0) / 2);
    let mut stream = watch(&store, KeyRange::all(), middle).await;
    let resumed = events_through(&mut stream, last).await;
    assert_eq!(resumed[..], before[before.len() - resumed.len()..]);
    assert_eq!(resumed.first().map(|(at, _)| *at), Some(middle));
}

/// E3, as far as an orderly end goes.
pub async fn e3_a_compaction_holds_after_reopening<S: Store>(open: impl AsyncFn() -> S) {
    let store = open().await;
    for n in 0..10 {
        write(&store, put("k", n.to_string())).await;
    }
    let now = current(&store).await;
    let compacted = Revision(now.0 - 4);
    compact(&store, compacted).await;
    let kept = all_at(&store, compacted.next()).await;
    drop(store);
    let store = open().await;
    is_compacted(store.get(&"k".into(), ReadAt::Exactly(compacted)).await, compacted);
    assert_eq!(all_at(&store, compacted.next()).await, kept);
}

/// G6, with restarts in between.
pub async fn g6_random_histories_survive_reopening<S: Store>(open: impl AsyncFn() -> S) {
    let mut model = Model::new();
    let mut chance = Chance(66);
    for round in 0..6 {
        let store = open().await;
        model.check(&store).await;
        for _ in 0..30 {
            model.step(&store, &random_step(&mut chance)).await;
        }
        if round % 3 == 2 {
            model.step(&store, &Step::Compact(chance.below(20))).await;
        }
    }
    model.check(&open().await).await;
}
