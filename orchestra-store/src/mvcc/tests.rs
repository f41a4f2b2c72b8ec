//! What the core keeps and what it frees.

use super::*;
use crate::txn::Txn;

fn commit(state: &mut Mvcc, txn: Txn) -> Vec<Event> {
    match plan(txn, state) {
        Ok(Plan::Write(write)) => state.apply_and_tell(&write),
        _ => Vec::new(),
    }
}

fn put(state: &mut Mvcc, key: &str, value: usize) {
    commit(state, Txn::new().put(key.into(), vec![0; value]));
}

fn versions(state: &Mvcc) -> usize {
    state.versions.len()
}

fn trim_all(state: &mut Mvcc) {
    while state.trim(&mut Share { changes: 7, bytes: 0 }).has_more {}
}

#[test]
fn compaction_to_the_present_leaves_one_version_of_each_live_key_and_no_log() {
    let mut state = Mvcc::default();
    for n in 0..100 {
        put(&mut state, &format!("{}", n % 7), n);
    }
    commit(&mut state, Txn::new().delete("3".into()));
    state.compact(state.revision()).unwrap();
    trim_all(&mut state);
    assert_eq!((state.versions.keys(), versions(&state), state.log.len(), state.live()), (6, 6, 0, 6));
    assert_eq!(state.versions.past_bytes(), 0);
}

#[test]
fn what_is_kept_of_the_past_is_counted_to_the_byte_and_freed_to_zero() {
    let mut state = Mvcc::default();
    let mut model = 0;
    for n in 0..500_usize {
        let key = format!("{}", n % 11);
        if n % 5 == 4 {
            commit(&mut state, Txn::new().delete(key.as_str().into()));
        } else {
            put(&mut state, &key, n % 50);
        }
        if n % 50 == 0 {
            state.compact(Revision(state.revision().0 - state.revision().0 / 3)).unwrap();
            trim_all(&mut state);
        }
        model = state.versions.count_past_bytes();
        assert_eq!(state.versions.past_bytes(), model, "after {n}");
    }
    assert!(model > 0);
    state.compact(state.revision()).unwrap();
    trim_all(&mut state);
    assert_eq!(state.versions.past_bytes(), 0);
}

#[test]
fn a_pin_keeps_the_past_and_letting_go_frees_it() {
    let mut state = Mvcc::default();
    for n in 0..10 {
        put(&mut state, "k", n);
    }
    state.pin();
    let (pinned, at) = (versions(&state), Revision(5));
    put(&mut state, "k", 99);
    state.compact(state.revision()).unwrap();
    trim_all(&mut state);
    assert_eq!(versions(&state), pinned + 1);
    assert_eq!(state.entries_behind(None, at, 10).into_entries()[0].mod_revision, at);
    assert_eq!(state.writes_behind(at, Revision(7), 100).len(), 2);
    state.unpin();
    trim_all(&mut state);
    assert_eq!(versions(&state), 1);
}

#[test]
fn retention_bounds_the_past_by_count_and_by_bytes_under_endless_rewriting() {
    for (keep, size) in [(Retention::new().changes(100), 10), (Retention::new().bytes(64 * 1024), 1024)] {
        let mut state = Mvcc::default();
        for n in 0..5_000 {
            let Ok(Plan::Write(write)) =
                plan(Txn::new().put(format!("{}", n % 3).into(), vec![0; size]), &state)
            else {
                panic!("a put changes something")
            };
            let mut share = write.trim_share();
            state.apply(&write);
            if let Some(to) = state.overdue(keep) {
                state.compact(to).unwrap();
            }
            while share != Share::default() && state.trim(&mut share).has_more {}
            assert!(state.log.len() <= keep.changes + keep.changes / 4, "{} changes", state.log.len());
            assert!(
                state.versions.past_bytes() <= keep.bytes + keep.bytes / 4,
                "{} bytes",
                state.versions.past_bytes()
            );
        }
        assert!(state.log.len() >= 20, "it keeps what it may");
    }
}

#[test]
fn large_values_free_a_long_past_of_small_ones_in_time() {
    let keep = Retention::new().bytes(8 * 1024 * 1024);
    let mut state = Mvcc::default();
    for n in 0..50_000 {
        put(&mut state, &format!("{}", n % 100), 10);
    }
    for _ in 0..100 {
        let Ok(Plan::Write(write)) = plan(Txn::new().put("big".into(), vec![0; 1024 * 1024]), &state) else {
            panic!("a put changes something")
        };
        let mut share = write.trim_share();
        state.apply(&write);
        if let Some(to) = state.overdue(keep) {
            state.compact(to).unwrap();
        }
        while share != Share::default() && state.trim(&mut share).has_more {}
    }
    assert!(state.versions.past_bytes() < 80 * 1024 * 1024, "{} bytes", state.versions.past_bytes());
    assert!(state.log.len() < 10_000);
}

#[test]
fn replay_takes_along_a_bounded_size_of_values() {
    let mut state = Mvcc::default();
    for _ in 0..10 {
        put(&mut state, "k", 1000);
    }
    let replay = state.replay(&KeyRange::all(), Revision(2), 100, 5000).unwrap();
    // The first event has one value, those behind it the one before too.
    assert_eq!(replay.messages.len(), 3);
    assert_eq!(replay.next, Some(Revision(5)));
}

#[test]
fn replay_in_pieces_never_splits_a_revision() {
    let mut state = Mvcc::default();
    for _ in 0..10 {
        let txn = (0..7).fold(Txn::new(), |txn, n| txn.put(format!("{n}").into(), "x"));
        commit(&mut state, txn);
    }
    for piece in 1..30 {
        let (mut next, mut seen) = (Some(Revision(2)), Vec::new());
        while let Some(from) = next {
            let replay = state.replay(&KeyRange::all(), from, piece, usize::MAX).unwrap();
            seen.extend(replay.messages);
            next = replay.next;
        }
        assert_eq!(seen.len(), 10);
        let whole = |message: &WatchMessage| matches!(message, WatchMessage::Events { events, .. } if events.len() == 7);
        assert!(seen.iter().all(whole));
    }
}
