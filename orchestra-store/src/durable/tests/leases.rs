//! Leases in the files of a store.

use std::time::Duration;

use super::segment::Segment;
use super::*;
use crate::durable::disk::tape::{Fault, Kind, Recording};
use crate::lease::{Lease, LeaseId, LeasedKeys};
use crate::mvcc::{Change, Write};

const TTL: Duration = Duration::from_secs(3600);

async fn leases(store: &DurableStore) -> Vec<LeasedKeys> {
    let told = store.leases().await.unwrap().value;
    told.into_iter().map(|status| LeasedKeys { lease: status.lease, keys: status.keys }).collect()
}

/// Every kind of step with leases, and what the store holds and how long its log is after each.
async fn steps(dir: &Path) -> Vec<(u64, Versioned<Page>, Vec<LeasedKeys>)> {
    let store = DurableStore::open(dir).unwrap();
    let mut seen = Vec::new();
    let look = async |seen: &mut Vec<_>| {
        let length = fs::metadata(last_log(dir)).unwrap().len();
        seen.push((length, everything(&store).await, leases(&store).await));
    };
    look(&mut seen).await;
    let mut granted: Vec<Lease> = Vec::new();
    for n in 0..3 {
        granted.push(store.grant(TTL * (n + 1)).await.unwrap());
        look(&mut seen).await;
    }
    let [a, b, c] = [granted[0].id, granted[1].id, granted[2].id];
    for txn in [
        put("plain", "v").put_leased("a/1".into(), "v", a).put_leased("a/2".into(), "v", a),
        Txn::new().put_leased("b/1".into(), "v", b).put_leased("c".into(), "v", c),
        Txn::new().put_leased("a/2".into(), "moved", b).put("c".into(), "freed"),
        Txn::new().delete("b/1".into()),
    ] {
        store.commit(txn).await.unwrap();
        look(&mut seen).await;
    }
    for id in [a, c] {
        store.revoke(id).await.unwrap();
        look(&mut seen).await;
    }
    seen
}

#[tokio::test]
async fn a_log_of_leases_cut_at_any_byte_opens_with_exactly_its_whole_steps() {
    let dir = tempfile::tempdir().unwrap();
    let steps = steps(dir.path()).await;
    let log = fs::read(last_log(dir.path())).unwrap();
    for length in steps[0].0..=log.len() as u64 {
        let cut = TempDir::new().unwrap();
        fs::write(segment::path(cut.path(), 1), &log[..length as usize]).unwrap();
        let (_, page, expected) = steps.iter().rev().find(|(end, ..)| *end <= length).unwrap();
        for _again in 0..2 {
            let store = DurableStore::open(cut.path()).unwrap();
            assert_eq!(
                (&everything(&store).await, &leases(&store).await),
                (page, expected),
                "cut at {length}"
            );
        }
    }
}

#[tokio::test]
async fn a_log_that_tells_nonsense_of_leases_is_refused() {
    let id = |n| LeaseId::new(n).unwrap();
    let lease = |n| Lease { id: id(n), ttl: TTL };
    let leased = |revision| Write {
        revision: Revision(revision),
        changes: vec![Change {
            key: "k".into(),
            create_revision: Revision(revision),
            version: 1,
            value: Some("v".into()),
            lease: Some(id(1)),
        }],
    };
    let items = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = vec![0; Segment::ROOM];
        write(&mut frame);
        frame
    };
    let nonsense = [
        items(&|frame| codec::put_revoke(frame, id(1))),
        items(&|frame| codec::put_write(frame, &leased(2))),
        items(&|frame| {
            codec::put_grant(frame, lease(2));
            codec::put_grant(frame, lease(2));
        }),
        items(&|frame| {
            codec::put_grant(frame, lease(1));
            codec::put_write(frame, &leased(2));
            codec::put_revoke(frame, id(1));
        }),
        items(&|frame| codec::put_lease(frame, &LeasedKeys { lease: lease(1), keys: Vec::new() })),
    ];
    for (n, mut frame) in nonsense.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let mut segment = Segment::create(dir.path(), 1, Revision(1), Revision::NONE).unwrap();
        segment.append(&mut frame, || false).unwrap();
        let opened = DurableStore::open(dir.path());
        assert!(matches!(opened, Err(Error::Corrupt(_))), "{n}: {opened:?}");
    }
}

#[tokio::test]
async fn without_a_disk_no_lease_is_granted_renewed_or_ended() {
    let dir = tempfile::tempdir().unwrap();
    let store = DurableStore::open(dir.path()).unwrap();
    let lease = store.grant(TTL).await.unwrap().id;
    store.commit(Txn::new().put_leased("k".into(), "v", lease)).await.unwrap();
    let full = Fault { kind: Kind::Write, after: 0, times: usize::MAX, errno: 28 };
    let _tape = Recording::of(dir.path(), Some(full));
    for _ in 0..2 {
        assert!(matches!(store.revoke(lease).await, Err(Error::Unavailable(_))));
        assert!(matches!(store.grant(TTL).await, Err(Error::Unavailable(_))));
        assert!(matches!(store.renew(lease).await, Err(Error::Unavailable(_))));
    }
    assert_eq!(leases(&store).await[0].keys, ["k".into()], "what is not on disk has not happened");
}
