//! A: transactions, compares and limits.

use std::sync::Arc;

use super::support::{all_at, commit, compact, current, delete, get, put, range, refused, value, write};
use crate::key::{Key, KeyRange};
use crate::limits::{LAYER_BYTES, MAX_KEY_BYTES, MAX_TXN_BYTES, MAX_TXN_OPS, MAX_VALUE_BYTES};
use crate::revision::Revision;
use crate::store::{Error, RangeOptions, Store};
use crate::txn::{Outcome, Txn};

/// A3.
pub async fn a3_all_writes_of_a_transaction_share_one_revision(store: Arc<dyn Store>) {
    write(&*store, put("gone", "x")).await;
    let txn = put("a", "1").put("b".into(), "2").delete("gone".into()).put("c".into(), "3");
    let revision = write(&*store, txn).await;
    let entries = all_at(&*store, revision).await;
    assert_eq!(entries.len(), 3);
    assert!(entries.iter().all(|entry| entry.mod_revision == revision));
    let refused_txn = put("a", "9").put("d".into(), "9").delete("b".into()).when("c".into(), Revision::NONE);
    refused(&*store, refused_txn).await;
    assert_eq!(all_at(&*store, revision).await, entries);
    assert_eq!(get(&*store, "d").await, None);
}

/// A3, with readers while writers run.
pub async fn a3_a_reader_never_sees_half_a_transaction(store: Arc<dyn Store>) {
    let writer = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for n in 0..200 {
                let txn = put("pair/left", n.to_string()).put("pair/right".into(), n.to_string());
                let txn = if n % 10 == 9 { delete("pair/left").delete("pair/right".into()) } else { txn };
                write(&*store, txn).await;
            }
        })
    };
    while !writer.is_finished() {
        let entries = range(&*store, KeyRange::prefix("pair/"), RangeOptions::new()).await.entries;
        match &entries[..] {
            [] => {}
            [left, right] => assert_eq!((&left.value, left.mod_revision), (&right.value, right.mod_revision)),
            other => panic!("half a transaction: {other:?}"),
        }
        tokio::task::yield_now().await;
    }
    writer.await.expect("the writer did not panic");
}

/// A4 and C1: whoever asks after the acknowledgement sees the write, on any thread.
pub async fn a4_an_acknowledged_write_is_read_at_once(store: Arc<dyn Store>) {
    for n in 0..50 {
        let revision = write(&*store, put("k", n.to_string())).await;
        let other = Arc::clone(&store);
        let seen =
            tokio::spawn(async move { get(&*other, "k").await }).await.expect("the reader did not panic");
        let seen = seen.expect("the key was written");
        assert_eq!((seen.value, seen.mod_revision), (n.to_string().into(), revision));
    }
}

/// A5.
pub async fn a5_of_many_rivals_one_wins(store: Arc<dyn Store>) {
    let mut expected = Revision::NONE;
    for round in 0..10 {
        let rivals = (0..16).map(|rival| {
            let store = Arc::clone(&store);
            let txn = put("crown", format!("{round}/{rival}")).when("crown".into(), expected);
            tokio::spawn(async move { commit(&*store, txn).await })
        });
        let answers = futures::future::join_all(rivals).await;
        let mut winners = Vec::new();
        for answer in answers {
            let committed = answer.expect("a rival did not panic");
            if committed.outcome == Outcome::Applied {
                winners.push(committed.revision);
            }
        }
        let [winner] = winners[..] else { panic!("{} rivals won", winners.len()) };
        expected = winner;
    }
}

/// A5, for creation.
pub async fn a5_revision_none_means_absent_also_after_delete_and_compaction(store: Arc<dyn Store>) {
    let create = || put("k", "new").when("k".into(), Revision::NONE);
    write(&*store, create()).await;
    refused(&*store, create()).await;
    write(&*store, delete("k")).await;
    let recreated = write(&*store, create()).await;
    refused(&*store, put("k", "x").when("k".into(), Revision(recreated.0 - 1))).await;
    let deleted = write(&*store, delete("k")).await;
    compact(&*store, deleted).await;
    let (_, found) = refused(&*store, put("k", "x").when("k".into(), recreated)).await;
    assert_eq!(found, [None]);
    let revision = write(&*store, create()).await;
    let entry = get(&*store, "k").await.expect("the key was created");
    assert_eq!((entry.create_revision, entry.version), (revision, 1));
}

/// A5: the losing side learns why it lost, as of the revision that is named.
pub async fn a5_a_refusal_tells_what_each_compared_key_holds(store: Arc<dyn Store>) {
    let a = write(&*store, put("a", "1")).await;
    let b = write(&*store, put("b", "2")).await;
    let txn = put("c", "3").when("b".into(), a).when("missing".into(), a).when("a".into(), a);
    let (revision, found) = refused(&*store, txn).await;
    assert_eq!(revision, b);
    let found: Vec<_> = found
        .iter()
        .map(|entry| entry.as_ref().map(|entry| (&entry.value[..], entry.mod_revision)))
        .collect();
    assert_eq!(found, [Some((&b"2"[..], b)), None, Some((&b"1"[..], a))]);
    // Compares alone are a question.
    write(&*store, Txn::new().when("a".into(), a).when("missing".into(), Revision::NONE)).await;
    refused(&*store, Txn::new().when("a".into(), b)).await;
    assert_eq!(current(&*store).await, b);
}

/// A6: a caller that goes away leaves a write that happens once or never.
pub async fn a6_a_dropped_commit_takes_effect_once_or_never(store: Arc<dyn Store>) {
    for n in 0..50 {
        let key = format!("dropped/{n}");
        {
            let mut commit = store.commit(put(&key, "x"));
            let _either = futures::poll!(&mut commit);
        }
        // Whatever it did, it did before this.
        write(&*store, put("fence", n.to_string())).await;
        let version = get(&*store, &key).await.map_or(0, |entry| entry.version);
        write(&*store, put("fence", n.to_string())).await;
        assert!(version <= 1, "{key} was written {version} times");
        assert_eq!(get(&*store, &key).await.map_or(0, |entry| entry.version), version, "it took effect late");
    }
}

/// A8: limits are typed, and hold before anything happens.
pub async fn a8_what_is_too_large_is_refused_before_any_effect(store: Arc<dyn Store>) {
    let before = write(&*store, put("a", "1")).await;
    let long = |bytes: usize| Key::new(vec![b'k'; bytes]);
    let half = vec![0; MAX_VALUE_BYTES];
    let big = (0..=MAX_TXN_BYTES / MAX_VALUE_BYTES)
        .fold(Txn::new(), |txn, n| txn.put(format!("{n}").into(), half.clone()));
    let many = (0..=MAX_TXN_OPS).fold(Txn::new(), |txn, n| txn.put(format!("{n}").into(), "x"));
    let asking = (0..=MAX_TXN_OPS).fold(Txn::new(), |txn, n| txn.when(format!("{n}").into(), Revision::NONE));
    let too_large = [
        put("a", vec![0; MAX_VALUE_BYTES + 1]),
        Txn::new().put(long(MAX_KEY_BYTES + 1), "x"),
        Txn::new().delete(long(MAX_KEY_BYTES + 1)),
        Txn::new().when(long(MAX_KEY_BYTES + 1), Revision::NONE),
        put("a", "2").put("b".into(), vec![0; MAX_VALUE_BYTES + 1]),
        big,
        many,
        asking,
    ];
    for txn in too_large {
        match store.commit(txn).await {
            Err(Error::TooLarge { actual, limit, .. }) => assert!(actual > limit),
            other => panic!("expected that it is too large, got {other:?}"),
        }
    }
    assert_eq!(current(&*store).await, before);
    assert_eq!(value(&*store, "a").await.as_deref(), Some(&b"1"[..]));
    write(&*store, Txn::new().put(long(MAX_KEY_BYTES - LAYER_BYTES), vec![7; MAX_VALUE_BYTES - LAYER_BYTES]))
        .await;
    write(&*store, (0..MAX_TXN_OPS).fold(Txn::new(), |txn, n| txn.put(format!("{n}").into(), "x"))).await;
}

/// A8: what no state could make right.
pub async fn a8_a_transaction_without_sense_is_refused(store: Arc<dyn Store>) {
    let before = current(&*store).await;
    for txn in
        [put("a", "1").put("a".into(), "2"), put("a", "1").delete("a".into()), put("", "1"), delete("")]
    {
        assert!(matches!(store.commit(txn).await, Err(Error::Invalid(_))));
    }
    assert_eq!(current(&*store).await, before);
}
