//! Encrypted stores: the suite, and what it cannot ask.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use orchestra_store::encryption::{Encrypted, EncryptionRules, Keyring, Policy, SealingKey};
use orchestra_store::{
    Committed, DurableStore, Entry, Error, Event, Key, KeyRange, Lease, LeaseId, LeaseStatus, MemoryStore,
    Outcome, Page, RangeOptions, ReadAt, Result, Revision, Snapshot, Store, StoreStatus, Txn, Versioned,
    WatchMessage, WatchStream,
};
use tempfile::TempDir;

fn key(n: u8) -> SealingKey {
    SealingKey::from_bytes(&[n; 32]).unwrap()
}

pub(crate) fn everything() -> EncryptionRules {
    EncryptionRules::new().with("", Policy::Sealed)
}

pub(crate) fn keyring() -> Keyring {
    Keyring::new(key(1))
}

/// An encrypted store whose snapshots are plain, as the suite compares them with what it reads.
#[derive(Debug)]
pub(crate) struct Plain<S>(pub(crate) Encrypted<S>);

#[async_trait]
impl<S: Store> Store for Plain<S> {
    async fn get(&self, key: &Key, at: ReadAt) -> Result<Versioned<Option<Entry>>> {
        self.0.get(key, at).await
    }

    async fn range(&self, range: KeyRange, options: RangeOptions) -> Result<Versioned<Page>> {
        self.0.range(range, options).await
    }

    async fn commit(&self, txn: Txn) -> Result<Committed> {
        self.0.commit(txn).await
    }

    async fn watch(&self, range: KeyRange, from: Revision) -> Result<WatchStream> {
        self.0.watch(range, from).await
    }

    async fn compact(&self, to: Revision) -> Result<()> {
        self.0.compact(to).await
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease> {
        self.0.grant(ttl).await
    }

    async fn renew(&self, lease: LeaseId) -> Result<Duration> {
        self.0.renew(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<Revision> {
        self.0.revoke(lease).await
    }

    async fn leases(&self) -> Result<Versioned<Vec<LeaseStatus>>> {
        self.0.leases().await
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        Ok(self.0.unsealed(self.0.snapshot().await?))
    }

    async fn status(&self) -> Result<StoreStatus> {
        self.0.status().await
    }
}

mod memory {
    use super::*;

    async fn build() -> (Plain<MemoryStore>, ()) {
        (Plain(Encrypted::new(MemoryStore::new(), everything(), Keyring::new(key(1)))), ())
    }

    orchestra_store::store_conformance!(build);
    orchestra_store::store_expiry!(paused build);
}

mod durable {
    use super::*;

    fn place() -> TempDir {
        tempfile::tempdir().unwrap()
    }

    async fn open(place: &TempDir) -> Plain<DurableStore> {
        let inner = DurableStore::open(place.path()).unwrap();
        Plain(Encrypted::new(inner, everything(), Keyring::new(key(1))))
    }

    async fn build() -> (Plain<DurableStore>, TempDir) {
        let place = place();
        (open(&place).await, place)
    }

    orchestra_store::store_conformance!(build);
    orchestra_store::store_expiry!(paused build);
    orchestra_store::store_durability!(place, open);
    orchestra_store::store_expiry_durability!(paused place, open);
}

const SECRETS: &str = "/secrets/";

fn rules(policy: Policy) -> EncryptionRules {
    EncryptionRules::new().with(SECRETS, policy)
}

/// A store and its backend, for looking and reaching behind it.
fn pair(policy: Policy) -> (Encrypted<MemoryStore>, MemoryStore) {
    let inner = MemoryStore::new();
    (Encrypted::new(inner.clone(), rules(policy), Keyring::new(key(1))), inner)
}

async fn put(store: &dyn Store, key: &str, value: impl Into<bytes::Bytes>) -> Revision {
    store.commit(Txn::new().put(key.into(), value)).await.unwrap().revision
}

async fn get(store: &dyn Store, key: &str) -> Result<Option<bytes::Bytes>> {
    Ok(store.get(&key.into(), ReadAt::Latest).await?.value.map(|entry| entry.value))
}

async fn stored(inner: &MemoryStore, key: &str) -> bytes::Bytes {
    get(inner, key).await.unwrap().unwrap()
}

/// It names the key in the store, and tells nothing of the value.
#[track_caller]
fn is_damaged<T: std::fmt::Debug>(result: Result<T>, name: &str) {
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Corrupt(_) | Error::KeyMissing { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(name) && !text.contains("hunter"), "{text}");
}

#[tokio::test]
async fn only_what_the_rules_name_is_encrypted() {
    let (store, inner) = pair(Policy::Sealed);
    store
        .commit(Txn::new().put("/secrets/a".into(), "hunter2").put("/pods/a".into(), "plain"))
        .await
        .unwrap();
    assert!(!stored(&inner, "/secrets/a").await.windows(6).any(|window| window == b"hunter"));
    assert_eq!(stored(&inner, "/pods/a").await, "plain");
    assert_eq!(get(&store, "/secrets/a").await.unwrap().unwrap(), "hunter2");
    // A value that looks sealed is nobody's business elsewhere.
    put(&store, "/pods/a", "orch-enc").await;
    assert_eq!(get(&store, "/pods/a").await.unwrap().unwrap(), "orch-enc");
}

#[tokio::test]
async fn a_flipped_byte_is_an_error_wherever_it_is_met() {
    let (store, inner) = pair(Policy::Sealed);
    let created = put(&store, "/secrets/a", "hunter2").await;
    let good = stored(&inner, "/secrets/a").await;
    let mut revision = created;
    for at in 0..good.len() {
        let mut flipped = good.to_vec();
        flipped[at] ^= 0x20;
        let before = revision;
        revision = put(&inner, "/secrets/a", flipped).await;
        is_damaged(store.get(&"/secrets/a".into(), ReadAt::Latest).await, "/secrets/a");
        is_damaged(store.get(&"/secrets/a".into(), ReadAt::Exactly(revision)).await, "/secrets/a");
        is_damaged(store.range(KeyRange::prefix("/sec"), RangeOptions::new()).await, "/secrets/a");
        let refused = Txn::new().when("/secrets/a".into(), before).put("/secrets/a".into(), "x");
        is_damaged(store.commit(refused).await, "/secrets/a");
    }
    assert_eq!(
        store.status().await.unwrap().revision,
        revision,
        "a refusal that cannot be told wrote nothing"
    );
    let past = store.get(&"/secrets/a".into(), ReadAt::Exactly(created)).await.unwrap();
    assert_eq!(past.value.unwrap().value, "hunter2", "what is whole still reads");
}

#[tokio::test]
async fn a_watch_ends_at_a_damaged_value_also_when_it_is_the_previous_one() {
    let (store, inner) = pair(Policy::Sealed);
    let good = put(&store, "/secrets/a", "hunter2").await;
    let bad = put(&inner, "/secrets/a", "orch-enc and no more").await;
    let after = put(&store, "/secrets/a", "hunter3").await;
    inner.commit(Txn::new().delete("/secrets/a".into())).await.unwrap();
    let mut watch = store.watch(KeyRange::all(), good).await.unwrap();
    let Some(Ok(WatchMessage::Events { revision, .. })) = watch.next().await else { panic!("no event") };
    assert_eq!(revision, good);
    is_damaged(watch.next().await.unwrap(), "/secrets/a");
    assert!(watch.next().await.is_none(), "an error is the last item");
    let mut watch = store.watch(KeyRange::prefix("/secrets/"), after).await.unwrap();
    is_damaged(watch.next().await.unwrap(), "/secrets/a");
    assert!(watch.next().await.is_none());
    // Elsewhere it disturbs nobody.
    let elsewhere = put(&store, "/pods/a", "x").await;
    let mut watch = store.watch(KeyRange::prefix("/pods/"), bad).await.unwrap();
    let Some(Ok(WatchMessage::Events { revision, .. })) = watch.next().await else { panic!("no event") };
    assert_eq!(revision, elsewhere);
}

#[tokio::test]
async fn a_value_that_is_moved_to_another_key_is_an_error() {
    let (store, inner) = pair(Policy::Sealed);
    for name in ["/secrets/mine/a", "/secrets/mine/b", "/secrets/yours/a"] {
        put(&store, name, format!("hunter {name}")).await;
    }
    let [a, b] = [stored(&inner, "/secrets/mine/a").await, stored(&inner, "/secrets/mine/b").await];
    inner
        .commit(Txn::new().put("/secrets/mine/a".into(), b).put("/secrets/mine/b".into(), a.clone()))
        .await
        .unwrap();
    put(&inner, "/secrets/yours/a", a.clone()).await;
    put(&inner, "/secrets/new", a.clone()).await;
    for name in ["/secrets/mine/a", "/secrets/mine/b", "/secrets/yours/a", "/secrets/new"] {
        is_damaged(get(&store, name).await, name);
    }
    // Across the prefix it is not opened either.
    put(&inner, "/pods/a", a.clone()).await;
    assert_eq!(get(&store, "/pods/a").await.unwrap().unwrap(), a);
    // Put back, it is as it was.
    put(&inner, "/secrets/mine/a", a).await;
    assert_eq!(get(&store, "/secrets/mine/a").await.unwrap().unwrap(), "hunter /secrets/mine/a");
}

#[tokio::test]
async fn a_plain_value_among_encrypted_ones_is_read_only_where_it_may_be() {
    for (policy, readable) in [(Policy::Sealed, false), (Policy::Sealing, true), (Policy::Plain, true)] {
        let (store, inner) = pair(policy);
        put(&inner, "/secrets/a", "hunter2").await;
        match get(&store, "/secrets/a").await {
            Ok(value) => assert!(readable && value.unwrap() == "hunter2"),
            refused => {
                assert!(!readable);
                is_damaged(refused, "/secrets/a");
            }
        }
    }
}

#[tokio::test]
async fn where_encryption_is_switched_off_nothing_is_taken_for_encrypted() {
    let (store, inner) = pair(Policy::Plain);
    put(&store, "/secrets/a", "plain").await;
    assert_eq!(stored(&inner, "/secrets/a").await, "plain");
    // It looks sealed, and so it is sealed.
    put(&store, "/secrets/b", "orch-enc").await;
    assert_eq!(get(&store, "/secrets/b").await.unwrap().unwrap(), "orch-enc");
}

#[tokio::test]
async fn a_refusal_tells_the_plain_value() {
    let (store, _) = pair(Policy::Sealed);
    put(&store, "/secrets/a", "hunter2").await;
    let txn = Txn::new().when("/secrets/a".into(), Revision::NONE).when("/pods/a".into(), Revision::NONE);
    let Outcome::Refused(found) = store.commit(txn).await.unwrap().outcome else { panic!("not refused") };
    assert_eq!(found[0].as_ref().unwrap().value, "hunter2");
    assert_eq!(found[1], None);
}

#[tokio::test]
async fn a_snapshot_holds_nothing_plain_and_its_copy_reads_with_the_keys() {
    let (store, _) = pair(Policy::Sealed);
    put(&store, "/secrets/a", "hunter2").await;
    put(&store, "/pods/a", "x").await;
    let bytes: Vec<_> = store.snapshot().await.unwrap().into_bytes().collect().await;
    let bytes = bytes.into_iter().collect::<Result<Vec<_>>>().unwrap().concat();
    assert!(!bytes.windows(6).any(|window| window == b"hunter"));
    let inner = MemoryStore::restore(store.snapshot().await.unwrap()).await.unwrap();
    let copy = Encrypted::new(inner.clone(), rules(Policy::Sealed), Keyring::new(key(1)));
    assert_eq!(get(&copy, "/secrets/a").await.unwrap().unwrap(), "hunter2");
    let stranger = Encrypted::new(inner, rules(Policy::Sealed), Keyring::new(key(2)));
    is_damaged(get(&stranger, "/secrets/a").await, "/secrets/a");
    let mut plain = copy.unsealed(copy.snapshot().await.unwrap());
    let entries = plain.next().await.unwrap().unwrap();
    assert_eq!(entries.iter().map(|entry| &entry.value[..]).collect::<Vec<_>>(), [&b"x"[..], b"hunter2"]);
}

#[tokio::test]
async fn a_value_that_would_grow_beyond_the_limit_is_refused() {
    let (store, inner) = pair(Policy::Sealed);
    let limit = orchestra_store::limits::MAX_VALUE_BYTES;
    let refused = store.commit(Txn::new().put("/secrets/a".into(), vec![0; limit])).await;
    assert!(matches!(refused, Err(Error::TooLarge { actual, .. }) if actual == limit), "{refused:?}");
    assert_eq!(inner.status().await.unwrap().revision, Revision(1));
    put(&store, "/pods/a", vec![0; limit]).await;
}

/// What the audit says is sealed by each key, as counts.
async fn audited<S: Store>(store: &Encrypted<S>) -> (BTreeMap<String, u64>, u64) {
    let audit = store.audit().await.unwrap();
    (audit.sealed.iter().map(|(id, count)| (id.to_string(), *count)).collect(), audit.plain)
}

#[tokio::test]
async fn rewriting_brings_everything_under_the_newest_key_while_others_write() {
    let (store, inner) = pair(Policy::Sealing);
    for n in 0..700 {
        let plain: &dyn Store = if n % 3 == 0 { &inner } else { &store };
        put(plain, &format!("/secrets/{n:04}"), format!("hunter {n}")).await;
    }
    put(&inner, "/pods/a", "plain").await;
    store.set_keyring(store.keyring().rotated(key(2))).await;
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (store, stop) = (store.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut written = BTreeMap::new();
                for round in 0.. {
                    let name = format!("/secrets/{:04}", (round * 4 + writer) % 700);
                    let held = store.get(&name.as_str().into(), ReadAt::Latest).await.unwrap().value.unwrap();
                    let value = format!("new {writer} {round}");
                    let txn =
                        Txn::new().when(held.key.clone(), held.mod_revision).put(held.key, value.clone());
                    if store.commit(txn).await.unwrap().outcome == Outcome::Applied {
                        written.insert(name, value);
                    }
                    if stop.load(std::sync::atomic::Ordering::Relaxed) {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                written
            })
        })
        .collect();
    let done = store.rewrite().await.unwrap();
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!((done.seen, done.unreadable), (700, 0));
    assert!(done.rewritten > 0);
    for writer in writers {
        for (name, value) in writer.await.unwrap() {
            assert_eq!(get(&store, &name).await.unwrap().unwrap(), value, "a write was lost at {name}");
        }
    }
    assert_eq!(audited(&store).await, (BTreeMap::from([(key(2).id().to_string(), 700)]), 0));
    assert_eq!(store.rewrite().await.unwrap().rewritten, 0, "done is done");
    assert_eq!(stored(&inner, "/pods/a").await, "plain");
    // The older key has done its work.
    store.set_keyring(Keyring::new(key(2))).await;
    assert_eq!(
        store.range(KeyRange::prefix(SECRETS), RangeOptions::new()).await.unwrap().value.entries.len(),
        700
    );
}

#[tokio::test]
async fn rewriting_takes_nothing_for_good_that_may_not_be_read() {
    let (store, inner) = pair(Policy::Sealed);
    put(&store, "/secrets/good", "hunter2").await;
    put(&inner, "/secrets/slipped-in", "hunter3").await;
    put(&inner, "/secrets/torn", "orch-enc").await;
    store.set_keyring(store.keyring().rotated(key(2))).await;
    let done = store.rewrite().await.unwrap();
    assert_eq!((done.seen, done.rewritten, done.unreadable), (3, 1, 2));
    assert!(done.problems.iter().any(|problem| problem.contains("/secrets/slipped-in is not encrypted")));
    assert_eq!(stored(&inner, "/secrets/slipped-in").await, "hunter3");
    let audit = store.audit().await.unwrap();
    assert_eq!((audit.plain, audit.damaged), (1, 1));
}

#[tokio::test]
async fn rewriting_leaves_leases_as_they_are() {
    let (store, inner) = pair(Policy::Sealed);
    let lease = store.grant(Duration::from_secs(60)).await.unwrap().id;
    let txn =
        Txn::new().put_leased("/secrets/leased".into(), "hunter2", lease).put("/secrets/free".into(), "x");
    store.commit(txn).await.unwrap();
    store.set_keyring(store.keyring().rotated(key(2))).await;
    assert_eq!(store.rewrite().await.unwrap().rewritten, 2);
    let leases = inner.leases().await.unwrap().value;
    assert_eq!(leases[0].keys, ["/secrets/leased".into()]);
    store.revoke(lease).await.unwrap();
    let left = store.range(KeyRange::all(), RangeOptions::new()).await.unwrap().value.entries;
    assert_eq!(left.len(), 1);
}

#[tokio::test]
async fn switched_off_everything_is_written_plain_again() {
    let (store, inner) = pair(Policy::Sealed);
    for n in 0..40 {
        put(&store, &format!("/secrets/{n}"), "hunter2").await;
    }
    let off = Encrypted::new(inner.clone(), rules(Policy::Plain), Keyring::new(key(1)));
    assert_eq!(off.audit().await.unwrap().superfluous, 40);
    assert_eq!(off.rewrite().await.unwrap().rewritten, 40);
    assert_eq!(off.audit().await.unwrap().sealed.len(), 0);
    assert_eq!(stored(&inner, "/secrets/7").await, "hunter2");
}

#[tokio::test]
async fn deletions_and_previous_values_are_plain_in_a_watch() {
    let (store, _) = pair(Policy::Sealed);
    let from = put(&store, "/secrets/a", "hunter1").await;
    put(&store, "/secrets/a", "hunter2").await;
    store.commit(Txn::new().delete("/secrets/a".into())).await.unwrap();
    let seen: Vec<_> = store.watch(KeyRange::all(), from).await.unwrap().take(3).collect().await;
    let events: Vec<Event> = seen
        .into_iter()
        .flat_map(|message| match message.unwrap() {
            WatchMessage::Events { events, .. } => events.to_vec(),
            WatchMessage::Progress(_) => Vec::new(),
        })
        .collect();
    assert!(matches!(&events[1], Event::Put { entry, previous: Some(previous) }
        if entry.value == "hunter2" && previous.value == "hunter1"));
    assert!(matches!(&events[2], Event::Delete { previous, .. } if previous.value == "hunter2"));
}
