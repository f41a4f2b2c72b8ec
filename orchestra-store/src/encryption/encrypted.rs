//! The store whose backend sees only sealed values.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use tokio::sync::RwLock;

use super::key::Keyring;
use super::rules::EncryptionRules;
use super::sealer::Sealer;
use super::source::Source;
use crate::key::{Key, KeyRange};
use crate::lease::{Lease, LeaseId, LeaseStatus};
use crate::limits;
use crate::revision::{Revision, Versioned};
use crate::snapshot::Snapshot;
use crate::store::{Entry, Page, RangeOptions, ReadAt, Result, Store, StoreStatus};
use crate::txn::{Committed, Txn};
use crate::watch::WatchStream;

/// A store that encrypts the values under chosen prefixes before `S` sees them.
///
/// Everything else is as in `S`: revisions, compares, order. Whoever reads, watches or loses a compare gets plain values.
/// A value that is not what was sealed under its key, by a flipped bit or because somebody moved it there, is
/// [`Error::Corrupt`](crate::Error::Corrupt), and one whose encryption key is not there
/// [`Error::KeyMissing`](crate::Error::KeyMissing): both name the key in the store, and no part of the value is given out.
/// A watch ends with such an error.
///
/// What it does not hide: keys in the store, sizes, and when something changes. What it cannot find: that an old value
/// of the same key was put back.
///
/// [`Store::snapshot`] gives the values as they are stored, so that a file of them holds nothing plain: keep the encryption
/// keys with it. [`Encrypted::unsealed`] makes a plain one.
///
/// ```
/// use orchestra_store::encryption::{Encrypted, EncryptionRules, Keyring, Policy, SealingKey};
/// use orchestra_store::{MemoryStore, ReadAt, Store, Txn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> orchestra_store::Result<()> {
/// let inner = MemoryStore::new();
/// let rules = EncryptionRules::new().with("/secrets/", Policy::Sealed);
/// let store = Encrypted::new(inner.clone(), rules, Keyring::new(SealingKey::generate()?));
/// store.commit(Txn::new().put("/secrets/a".into(), "hunter2").put("/pods/a".into(), "v1")).await?;
///
/// let value = async |store: &dyn Store, key: &str| {
///     store.get(&key.into(), ReadAt::Latest).await.map(|read| read.value.unwrap().value)
/// };
/// assert_eq!(value(&store, "/secrets/a").await?, "hunter2");
/// assert!(value(&inner, "/secrets/a").await?.starts_with(b"orch-enc"));
/// assert_eq!(value(&inner, "/pods/a").await?, "v1");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Encrypted<S> {
    pub(super) inner: S,
    pub(super) sealer: Arc<Sealer>,
    /// Held for reading while something that was sealed is on its way.
    under_way: Arc<RwLock<()>>,
}

impl<S: Store> Encrypted<S> {
    /// Encrypts in front of `inner` what `rules` name, with the newest key of `keyring`.
    pub fn new(inner: S, rules: EncryptionRules, keyring: Keyring) -> Self {
        Self { inner, sealer: Arc::new(Sealer::new(rules, keyring)), under_way: Arc::default() }
    }

    /// The same, which looks for keys it lacks.
    pub(super) fn reading(inner: S, rules: EncryptionRules, keyring: Keyring, source: Source) -> Self {
        let sealer = Sealer::new(rules, keyring).with_source(source);
        Self { inner, sealer: Arc::new(sealer), under_way: Arc::default() }
    }

    /// The keys in use.
    pub fn keyring(&self) -> Arc<Keyring> {
        self.sealer.keyring()
    }

    /// Uses other keys from now on, also in clones and in watches that run. Afterwards nothing is on its way any more that was
    /// sealed with earlier ones. Make sure first that the keys are kept somewhere.
    pub async fn set_keyring(&self, keyring: Keyring) {
        self.sealer.set_keyring(keyring);
        drop(self.under_way.write().await);
    }

    /// Which values are encrypted.
    pub fn rules(&self) -> &EncryptionRules {
        self.sealer.rules()
    }

    /// The store behind, where values lie as they are stored.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// A snapshot of this store with plain values.
    pub fn unsealed(&self, snapshot: Snapshot) -> Snapshot {
        let sealer = Arc::clone(&self.sealer);
        snapshot.map_entries(move |entries| sealer.open_all(entries))
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<S: Store> Store for Encrypted<S> {
    async fn get(&self, key: &Key, at: ReadAt) -> Result<Versioned<Option<Entry>>> {
        let Versioned { revision, value } = self.inner.get(key, at).await?;
        let value = value.map(|entry| self.sealer.open_entry(entry)).transpose()?;
        Ok(Versioned { revision, value })
    }

    async fn range(&self, range: KeyRange, options: RangeOptions) -> Result<Versioned<Page>> {
        let is_ruled = self.sealer.rules().touch(&range);
        let mut read = self.inner.range(range, options).await?;
        if is_ruled {
            for entry in &mut read.value.entries {
                // A long page must not hold up the thread.
                tokio::task::coop::consume_budget().await;
                entry.value = self.sealer.open(&entry.key, std::mem::take(&mut entry.value))?;
            }
        }
        Ok(read)
    }

    async fn commit(&self, txn: Txn) -> Result<Committed> {
        limits::check(&txn)?;
        let seals = txn.ops.iter().any(|op| self.rules().policy(op.key()).is_some());
        let _under_way = if seals { Some(self.under_way.read().await) } else { None };
        let Committed { revision, outcome } = self.inner.commit(self.sealer.seal_txn(txn)?).await?;
        Ok(Committed { revision, outcome: self.sealer.open_outcome(outcome)? })
    }

    async fn watch(&self, range: KeyRange, from: Revision) -> Result<WatchStream> {
        let is_ruled = self.sealer.rules().touch(&range);
        let stream = self.inner.watch(range, from).await?;
        if !is_ruled {
            return Ok(stream);
        }
        let sealer = Arc::clone(&self.sealer);
        let opened = stream.map(move |message| sealer.open_message(message?));
        // An error is the last item.
        let whole = opened.scan(false, |has_ended, item| {
            let ended = std::mem::replace(has_ended, item.is_err());
            ready((!ended).then_some(item))
        });
        Ok(whole.boxed())
    }

    async fn compact(&self, to: Revision) -> Result<()> {
        self.inner.compact(to).await
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease> {
        self.inner.grant(ttl).await
    }

    async fn renew(&self, lease: LeaseId) -> Result<Duration> {
        self.inner.renew(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<Revision> {
        self.inner.revoke(lease).await
    }

    async fn leases(&self) -> Result<Versioned<Vec<LeaseStatus>>> {
        self.inner.leases().await
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        self.inner.snapshot().await
    }

    async fn status(&self) -> Result<StoreStatus> {
        self.inner.status().await
    }
}
