//! D: watches.

use std::sync::Arc;

use futures::{StreamExt, future};

use super::support::{
    compact, current, delete, events_through, next, next_events, patiently, put, watch, watch_error, write,
};
use crate::key::{Key, KeyRange};
use crate::limits::MAX_TXN_OPS;
use crate::revision::Revision;
use crate::store::{Error, Store};
use crate::txn::Txn;
use crate::watch::{Event, WatchMessage};

fn keys_of(events: &[Event]) -> Vec<Key> {
    events.iter().map(|event| event.key().clone()).collect()
}

/// D1, live and replayed.
pub async fn d1_events_come_in_order_of_revision_and_transaction(store: Arc<dyn Store>) {
    let from = current(&*store).await.next();
    let mut live = watch(&*store, KeyRange::all(), from).await;
    let mut last = from;
    for n in 0..20 {
        let keys = [format!("z{n}"), format!("a{n}"), "same".to_owned(), format!("m{n}")];
        last = write(&*store, keys.into_iter().fold(Txn::new(), |txn, key| txn.put(key.into(), "x"))).await;
    }
    let mut replayed = watch(&*store, KeyRange::all(), from).await;
    let seen = events_through(&mut live, last).await;
    assert_eq!(events_through(&mut replayed, last).await, seen);
    assert_eq!(seen.len(), 20);
    for (n, (revision, events)) in seen.iter().enumerate() {
        assert_eq!(*revision, Revision(from.0 + n as u64));
        let expected = [format!("z{n}"), format!("a{n}"), "same".to_owned(), format!("m{n}")].map(Key::from);
        assert_eq!(keys_of(events), expected);
    }
}

/// D2 and D3: watches that begin in the past while writers run see every revision once.
pub async fn d2_d3_no_event_is_lost_or_doubled_while_joining(store: Arc<dyn Store>) {
    let base = current(&*store).await;
    let writers = (0..8).map(|writer| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for n in 0..40 {
                write(&*store, put(&format!("in/{writer}"), n.to_string())).await;
                write(&*store, put(&format!("out/{writer}"), n.to_string())).await;
            }
        })
    });
    let writers = future::join_all(writers);
    let last = Revision(base.0 + 8 * 40 * 2);
    let watchers = (0..8).map(|_| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            write(&*store, put("joined", "x")).await;
            let mut stream = watch(&*store, KeyRange::prefix("in/"), base.next()).await;
            events_through(&mut stream, last).await
        })
    });
    let (_, watched) = future::join(writers, future::join_all(watchers)).await;
    for seen in watched {
        let seen = seen.expect("a watcher did not panic");
        assert!(seen.is_sorted_by(|a, b| a.0 < b.0), "revisions rise and none comes twice");
        // The values of each writer count up, so that a gap shows.
        let mut counts = [0; 8];
        for event in seen.iter().flat_map(|(_, events)| events) {
            let Event::Put { entry, .. } = event else { panic!("nothing was removed: {event:?}") };
            let writer = entry.key.as_bytes().last().map_or(0, |digit| usize::from(digit - b'0'));
            assert_eq!(entry.value, counts[writer].to_string());
            counts[writer] += 1;
        }
        // What came last may lie behind the revision at which the watcher stopped.
        assert!(counts.iter().sum::<i32>() >= 8 * 40 - 8, "{counts:?}");
    }
}

/// D4.
pub async fn d4_one_revision_is_one_message(store: Arc<dyn Store>) {
    let from = current(&*store).await.next();
    let mut live = watch(&*store, KeyRange::prefix("in/"), from).await;
    let names = |side: &str| (0..30).map(|n| format!("{side}/{n}")).collect::<Vec<_>>();
    let txn = names("in")
        .iter()
        .chain(&names("out"))
        .fold(Txn::new(), |txn, key| txn.put(key.as_str().into(), "x"));
    let revision = write(&*store, txn).await;
    let removal = (0..30).fold(Txn::new(), |txn, n| txn.delete(format!("in/{n}").into()));
    let removed = write(&*store, removal).await;
    let mut replayed = watch(&*store, KeyRange::prefix("in/"), from).await;
    for stream in [&mut live, &mut replayed] {
        for expected in [revision, removed] {
            let (at, events) = next_events(stream).await;
            assert_eq!((at, events.len()), (expected, 30));
        }
    }
}

/// D5.
pub async fn d5_a_watch_resumes_behind_the_last_seen_revision(store: Arc<dyn Store>) {
    let from = current(&*store).await.next();
    let mut written = Vec::new();
    for n in 0..10 {
        written.push(write(&*store, put(&format!("k{}", n % 3), n.to_string())).await);
        written.push(write(&*store, put("k", n.to_string())).await);
        write(&*store, put("other", "x")).await;
    }
    let last = current(&*store).await;
    let mut whole = watch(&*store, KeyRange::prefix("k"), from).await;
    let expected = events_through(&mut whole, last).await;
    assert_eq!(expected.iter().map(|(revision, _)| *revision).collect::<Vec<_>>(), written);
    let mut resumed = Vec::new();
    let mut begin = from;
    while resumed.len() < expected.len() {
        // Broken off after every message.
        let mut stream = watch(&*store, KeyRange::prefix("k"), begin).await;
        let (revision, events) = next_events(&mut stream).await;
        begin = revision.next();
        resumed.push((revision, events));
    }
    assert_eq!(resumed, expected);
}

/// D5, too late.
pub async fn d5_a_watch_into_the_compacted_past_ends_with_the_reason(store: Arc<dyn Store>) {
    for n in 0..6 {
        write(&*store, put("k", n.to_string())).await;
    }
    let compacted = Revision(current(&*store).await.0 - 3);
    compact(&*store, compacted).await;
    for from in [Revision::NONE, Revision(1), compacted] {
        match watch_error(&*store, KeyRange::all(), from).await {
            Error::Compacted(at) => assert_eq!(at, compacted),
            other => panic!("a watch from {from} ended with {other:?}"),
        }
    }
    let mut stream = watch(&*store, KeyRange::all(), compacted.next()).await;
    assert_eq!(next_events(&mut stream).await.0, compacted.next());
}

/// D6, also for a removal right above the compacted past.
pub async fn d6_a_watch_begins_exactly_where_asked(store: Arc<dyn Store>) {
    let first = write(&*store, put("k", "1").put("other".into(), "1")).await;
    let second = write(&*store, put("k", "2")).await;
    let removed = write(&*store, delete("k")).await;
    let last = write(&*store, put("k", "4")).await;
    for from in [first, second, removed, last] {
        let mut stream = watch(&*store, KeyRange::all(), from).await;
        assert_eq!(next_events(&mut stream).await.0, from);
    }
    compact(&*store, second).await;
    let mut stream = watch(&*store, KeyRange::prefix("k"), removed).await;
    match &next_events(&mut stream).await.1[..] {
        [Event::Delete { revision, previous, .. }] => {
            assert_eq!((*revision, &previous.value[..]), (removed, &b"2"[..]))
        }
        other => panic!("expected the removal, got {other:?}"),
    }
}

/// D6.
pub async fn d6_nothing_comes_before_a_future_start(store: Arc<dyn Store>) {
    let from = Revision(current(&*store).await.0 + 4);
    let mut stream = watch(&*store, KeyRange::prefix("k"), from).await;
    for n in 0..3 {
        write(&*store, put(&format!("k{n}"), "early")).await;
        let early = futures::poll!(stream.next());
        assert!(early.is_pending(), "before its start a watch is silent, but it said {early:?}");
    }
    write(&*store, put("k", "on time")).await;
    match next(&mut stream).await {
        WatchMessage::Events { revision, .. } => assert_eq!(revision, from),
        WatchMessage::Progress(revision) => panic!("progress {revision} although {from} changed something"),
    }
}

/// D7 and D8.
pub async fn d7_progress_follows_the_replay_and_unrelated_writes(store: Arc<dyn Store>) {
    let first = write(&*store, put("k", "1")).await;
    write(&*store, put("other", "1")).await;
    let mut stream = watch(&*store, KeyRange::prefix("k"), first).await;
    let base = current(&*store).await;
    assert_eq!(events_through(&mut stream, base).await.len(), 1);
    for _ in 0..5 {
        let revision = write(&*store, put("other", "2")).await;
        assert!(events_through(&mut stream, revision).await.is_empty(), "nothing in the range changed");
    }
}

/// D8: whoever begins a watch after an acknowledged write, however far back, is told that it has come at least as far as
/// that, and without another write.
pub async fn d8_a_mark_asked_for_after_a_write_is_not_before_it(store: Arc<dyn Store>) {
    let first = write(&*store, put("k", "1")).await;
    for n in 0..20 {
        let revision = write(&*store, put("other", n.to_string())).await;
        let mut stream = watch(&*store, KeyRange::prefix("k"), first).await;
        assert_eq!(next_events(&mut stream).await.0, first);
        match next(&mut stream).await {
            WatchMessage::Progress(mark) => {
                assert!(mark >= revision, "{mark} was told after a write at {revision}")
            }
            other => panic!("a mark expected: {other:?}"),
        }
    }
}

/// D7, among writers inside and outside the range.
pub async fn d7_nothing_at_or_below_a_progress_mark_follows_it(store: Arc<dyn Store>) {
    let from = current(&*store).await.next();
    let mut stream = watch(&*store, KeyRange::prefix("in/"), from).await;
    let writers = (0..4).map(|writer| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for n in 0..50 {
                let side = if (n + writer) % 3 == 0 { "in" } else { "out" };
                write(&*store, put(&format!("{side}/{writer}"), n.to_string())).await;
            }
        })
    });
    let last = Revision(from.0 - 1 + 4 * 50);
    let watching = async {
        let mut at = Revision(from.0 - 1);
        while at < last {
            let (revision, is_new) = match next(&mut stream).await {
                WatchMessage::Events { revision, .. } => (revision, revision > at),
                WatchMessage::Progress(revision) => (revision, revision >= at),
            };
            assert!(is_new, "{revision} after {at}");
            at = revision;
        }
    };
    future::join(watching, future::join_all(writers)).await;
}

/// D9.
pub async fn d9_events_arrive_without_further_writes(store: Arc<dyn Store>) {
    let from = current(&*store).await.next();
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(watch(&*store, KeyRange::prefix("k"), from).await);
    }
    for n in 0..20 {
        let revision = write(&*store, put("k", n.to_string())).await;
        for stream in &mut streams {
            assert_eq!(next_events(stream).await.0, revision);
        }
    }
}

/// D10.
pub async fn d10_a_sleeping_watcher_disturbs_nobody_and_is_never_thinned(store: Arc<dyn Store>) {
    let from = current(&*store).await.next();
    let mut sleeping = watch(&*store, KeyRange::all(), from).await;
    let mut awake = watch(&*store, KeyRange::all(), from).await;
    let rounds = 400;
    let mut next_expected = from;
    for round in 0..rounds {
        let txn =
            (0..MAX_TXN_OPS).fold(Txn::new(), |txn, n| txn.put(format!("{n}").into(), round.to_string()));
        assert_eq!(write(&*store, txn).await, next_expected);
        let (revision, events) = next_events(&mut awake).await;
        assert_eq!((revision, events.len()), (next_expected, MAX_TXN_OPS));
        next_expected = next_expected.next();
    }
    // Now it wakes up: everything without a gap up to the end, or to the error that says it was too slow.
    let mut expected = from;
    while expected < next_expected {
        match patiently("a message for a slow watcher", sleeping.next()).await {
            Some(Ok(WatchMessage::Events { revision, events })) => {
                assert_eq!(
                    (revision, events.len()),
                    (expected, MAX_TXN_OPS),
                    "a slow watcher is never thinned"
                );
                expected = expected.next();
            }
            Some(Ok(WatchMessage::Progress(revision))) => assert!(revision < expected),
            Some(Err(Error::SlowWatcher | Error::Compacted(_))) => {
                assert!(
                    patiently("the end of a watch", sleeping.next()).await.is_none(),
                    "an error is the last item"
                );
                return;
            }
            other => panic!("a slow watcher was told {other:?}"),
        }
    }
}

/// D11 and D12, live and replayed.
pub async fn d11_events_carry_what_was_there_before(store: Arc<dyn Store>) {
    let from = current(&*store).await.next();
    let mut live = watch(&*store, KeyRange::all(), from).await;
    let mut expected = Vec::new();
    let mut before: Option<String> = None;
    for n in 0..12 {
        let now = (n % 4 != 3).then(|| n.to_string());
        let txn = now.as_ref().map_or_else(|| delete("k"), |value| put("k", value.as_str()));
        expected.push((write(&*store, txn).await, before, now.clone()));
        before = now;
    }
    let mut replayed = watch(&*store, KeyRange::all(), from).await;
    for stream in [&mut live, &mut replayed] {
        for (revision, before, now) in &expected {
            let (at, events) = next_events(stream).await;
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let seen = match &events[..] {
                [Event::Put { entry, previous }] => {
                    (previous.as_ref().map(|previous| text(&previous.value)), Some(text(&entry.value)))
                }
                [Event::Delete { previous, .. }] => (Some(text(&previous.value)), None),
                other => panic!("expected one event, got {other:?}"),
            };
            assert_eq!((at, seen), (*revision, (before.clone(), now.clone())));
        }
    }
}

/// A store that is gone leaves no watcher waiting for ever.
pub async fn a_watch_ends_with_its_store(store: Arc<dyn Store>) {
    let from = current(&*store).await.next();
    let mut stream = watch(&*store, KeyRange::prefix("k"), from).await;
    let revision = write(&*store, put("k", "1")).await;
    drop(store);
    assert_eq!(next_events(&mut stream).await.0, revision, "what was committed is delivered first");
    match patiently("the end of a watch", stream.next()).await {
        Some(Err(Error::Unavailable(_))) => {}
        other => panic!("a watch of a store that is gone says {other:?}"),
    }
    assert!(patiently("the end of a watch", stream.next()).await.is_none(), "an error is the last item");
}
