//! B: the one counter.

use std::sync::Arc;

use super::support::{all_at, commit, current, delete, get, put, refused, write};
use crate::key::KeyRange;
use crate::revision::Revision;
use crate::store::{Error, RangeOptions, ReadAt, Store};
use crate::txn::Txn;

/// B1, also among concurrent writers: no number is left out and none is given twice.
pub async fn b1_each_writing_transaction_takes_the_next_revision(store: Arc<dyn Store>) {
    let base = current(&*store).await;
    let writers = (0..16).map(|writer| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let mut mine = Vec::new();
            for n in 0..10 {
                mine.push(write(&*store, put(&format!("{writer}/{n}"), "x")).await);
            }
            assert!(mine.is_sorted(), "one writer's revisions rise");
            mine
        })
    });
    let mut all = Vec::new();
    for mine in futures::future::join_all(writers).await {
        all.extend(mine.expect("a writer did not panic"));
    }
    all.sort();
    let expected: Vec<Revision> = (1..=160).map(|n| Revision(base.0 + n)).collect();
    assert_eq!(all, expected);
    assert_eq!(current(&*store).await, Revision(base.0 + 160));
}

/// B2.
pub async fn b2_what_changes_nothing_takes_no_revision(store: Arc<dyn Store>) {
    let base = write(&*store, put("a", "1")).await;
    let none = [Txn::new(), delete("missing"), Txn::new().when("a".into(), base)];
    for txn in none {
        assert_eq!(write(&*store, txn).await, base);
    }
    assert_eq!(refused(&*store, put("a", "2").when("a".into(), Revision::NONE)).await.0, base);
    get(&*store, "a").await;
    all_at(&*store, base).await;
    assert_eq!(current(&*store).await, base);
    // Writing the same value again is a change, for whoever watches cannot know that it is the same.
    assert_eq!(write(&*store, put("a", "1")).await, base.next());
    // A transaction in which anything changes takes one, whatever else it does in vain.
    assert_eq!(write(&*store, delete("missing").put("b".into(), "1")).await, base.next().next());
}

/// B4.
pub async fn b4_a_life_has_one_create_revision_and_counts_its_writes(store: Arc<dyn Store>) {
    for _life in 0..3 {
        let mut created = Revision::NONE;
        for version in 1..=4 {
            let revision = write(&*store, put("k", version.to_string())).await;
            if version == 1 {
                created = revision;
            }
            let entry = get(&*store, "k").await.expect("the key was written");
            assert_eq!(
                (entry.create_revision, entry.mod_revision, entry.version),
                (created, revision, version)
            );
        }
        write(&*store, delete("k")).await;
        assert_eq!(get(&*store, "k").await, None);
    }
}

/// B5.
pub async fn b5_answers_carry_revisions_that_never_fall(store: Arc<dyn Store>) {
    let busy = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for n in 0..200 {
                write(&*store, put("busy", n.to_string())).await;
            }
        })
    };
    let mut last = Revision::NONE;
    while !busy.is_finished() {
        let read = store.get(&"busy".into(), ReadAt::Latest).await.expect("the latest can always be read");
        let listed =
            store.range(KeyRange::all(), RangeOptions::new()).await.expect("the latest can always be read");
        let asked = commit(&*store, Txn::new().when("never".into(), Revision(u64::MAX))).await;
        let status = current(&*store).await;
        for revision in [read.revision, listed.revision, asked.revision, status] {
            assert!(revision >= last, "{revision} after {last}");
            last = revision;
        }
        assert!(read.value.is_none_or(|entry| entry.mod_revision <= read.revision));
    }
    busy.await.expect("the writer did not panic");
}

/// B6.
pub async fn b6_an_empty_store_is_at_one_and_zero_is_never_readable(store: Arc<dyn Store>) {
    assert_eq!(current(&*store).await, Revision(1));
    assert!(all_at(&*store, Revision(1)).await.is_empty());
    let zero = store.get(&"a".into(), ReadAt::Exactly(Revision::NONE)).await;
    assert!(matches!(zero, Err(Error::Compacted(_))), "{zero:?}");
    assert_eq!(write(&*store, put("a", "1")).await, Revision(2));
}
