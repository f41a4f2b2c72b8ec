//! A store together with the file of its keys: what a server opens when it starts, and rotates while it runs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::Mutex;

use super::encrypted::Encrypted;
use super::file::{Extent, KeyFile};
use super::key::{KeyId, Keyring, SealingKey};
use super::rewrite::{Audit, Rewritten};
use super::rules::{EncryptionRules, Policy};
use crate::key::Key;
use crate::revision::Revision;
use crate::store::{Error, ReadAt, Result, Store};
use crate::txn::Txn;

/// A value that every ring of keys for this store can open. It tells a server with other keys before that one writes anything.
pub(super) const MARKER: &str = "/orchestra/encryption";
const MARKED: &str = "sealed by orchestra";

/// Whether others may have the store open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Nobody else: what is not stored as wanted is written anew at once, and from then on nothing else is accepted.
    Alone,
    /// Perhaps: others may write plain values as yet. What is not stored as wanted waits for [`Encryption::rewrite`].
    Shared,
}

/// An encrypted store whose keys are kept in a file.
///
/// ```
/// use std::sync::Arc;
/// use orchestra_store::encryption::{Encryption, Sharing};
/// use orchestra_store::{DurableStore, Txn, Store};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> orchestra_store::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// let store = Arc::new(DurableStore::open(dir.path().join("store"))?);
/// let keys = dir.path().join("encryption.keys");
/// let encryption = Encryption::open(store, &keys, &["/secrets/"], Sharing::Alone).await?.unwrap();
/// encryption.store().commit(Txn::new().put("/secrets/a".into(), "hunter2")).await?;
///
/// let rotated = encryption.rotate().await?;
/// assert_eq!(rotated.rewritten.unreadable, 0);
/// assert_eq!(encryption.prune().await?.dropped.len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Encryption {
    store: Encrypted<Arc<dyn Store>>,
    /// Locked while keys or their file are changed.
    keys: Mutex<Keys>,
}

#[derive(Debug)]
enum Keys {
    File(KeyFile),
    /// From elsewhere, and changed there.
    Given(PathBuf),
}

/// How a store is encrypted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EncryptionStatus {
    /// The file that holds the keys.
    pub path: PathBuf,
    /// The keys, the newest first.
    pub keys: Vec<KeyId>,
    /// The prefixes that have a policy.
    pub rules: EncryptionRules,
    /// What is stored.
    pub audit: Audit,
}

/// What a rotation came to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Rotated {
    /// The new key.
    pub key: KeyId,
    /// What was brought under it.
    pub rewritten: Rewritten,
}

/// What became of old keys.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Pruned {
    /// They sealed nothing any more, and are gone from the file.
    pub dropped: Vec<KeyId>,
    /// They still seal values, and so are kept.
    pub kept: Vec<KeyId>,
}

impl Encryption {
    /// Encrypts in front of `store` what is written under `prefixes`, with the keys in the file `path`, which is made when it is
    /// not there. `None` when nothing is to be encrypted and nothing ever was.
    ///
    /// A prefix that was encrypted earlier and is not named any more stays readable, and is written plain.
    ///
    /// # Errors
    /// [`Error::KeyFile`] when the file cannot be used, or lacks the key that the store is sealed with; then nothing was
    /// written. Otherwise those of the store.
    pub async fn open(
        store: Arc<dyn Store>,
        path: impl AsRef<Path>,
        prefixes: &[&str],
        sharing: Sharing,
    ) -> Result<Option<Self>> {
        let path = path.as_ref();
        let wanted: BTreeSet<String> = prefixes.iter().map(|&prefix| prefix.to_owned()).collect();
        if let Some(bad) = wanted.iter().find(|prefix| prefix.contains('\n')) {
            tracing::debug!(?bad, "a prefix that the file of keys cannot hold");
            return Err(Error::Invalid("a prefix to be encrypted contains a line break"));
        }
        let mut file = match KeyFile::load(path)? {
            Some(file) => file,
            None => {
                refuse_sealed(&store, path, &wanted).await?;
                if wanted.is_empty() {
                    return Ok(None);
                }
                // Both are on disk before anything is sealed, so that no crash can come between a value and its key.
                KeyFile::create(path, fresh_extent(&store, &wanted).await?)?
            }
        };
        let extent = file.extent().towards(&wanted);
        if extent != *file.extent() {
            file.replace(file.keyring().clone(), extent)?;
        }
        let mut guarded = Self::over(store, file, &wanted);
        guarded.agree().await?;
        if sharing == Sharing::Alone {
            guarded = guarded.settle(&wanted).await?;
        }
        Ok(Some(guarded))
    }

    /// Encrypts in front of `store` by `rules`, with keys that come from the file `origin` of somebody else's making.
    /// [`rotate`](Self::rotate) and [`prune`](Self::prune) are not for them.
    ///
    /// # Errors
    /// [`Error::KeyFile`] when the store is sealed with a key that is not there. Otherwise those of the store.
    pub async fn with_keys(
        store: Arc<dyn Store>,
        rules: EncryptionRules,
        keyring: Keyring,
        origin: impl Into<PathBuf>,
    ) -> Result<Self> {
        let rules =
            rules.iter().fold(marked(), |marked, (prefix, policy)| marked.with(prefix.to_vec(), policy));
        let store = Encrypted::new(store, rules, keyring);
        let guarded = Self { store, keys: Mutex::new(Keys::Given(origin.into())) };
        guarded.agree().await?;
        Ok(guarded)
    }

    fn over(store: Arc<dyn Store>, file: KeyFile, wanted: &BTreeSet<String>) -> Self {
        let rules = file.extent().rules(wanted);
        Self {
            store: Encrypted::new(store, rules, file.keyring().clone()),
            keys: Mutex::new(Keys::File(file)),
        }
    }

    /// The store, for everybody who reads and writes.
    pub fn store(&self) -> Encrypted<Arc<dyn Store>> {
        self.store.clone()
    }

    /// How things are.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn status(&self) -> Result<EncryptionStatus> {
        let path = self.keys.lock().await.path().to_owned();
        let keys = self.store.keyring().keys().map(SealingKey::id).collect();
        Ok(EncryptionStatus {
            path,
            keys,
            rules: self.store.rules().clone(),
            audit: self.store.audit().await?,
        })
    }

    /// Makes a new key, keeps it in the file, seals with it from then on, and brings everything under it. The older keys stay,
    /// because snapshots and the recent past need them.
    ///
    /// When it is broken off, the new key is in use and [`rewrite`](Self::rewrite) does the rest.
    ///
    /// # Errors
    /// [`Error::KeyFile`], and those of the store.
    pub async fn rotate(&self) -> Result<Rotated> {
        let key = SealingKey::generate()?;
        let id = key.id();
        {
            let mut keys = self.keys.lock().await;
            let file = keys.file()?;
            let extent = file.extent().clone();
            file.replace(file.keyring().rotated(key), extent)?;
            self.store.set_keyring(file.keyring().clone()).await;
        }
        Ok(Rotated { key: id, rewritten: self.rewrite().await? })
    }

    /// Brings everything under the newest key, and writes plain what is not to be encrypted any more. Others may write meanwhile.
    /// Plain values are accepted until the next start after a run that left none; that is remembered in the file.
    ///
    /// # Errors
    /// Those of the store, and [`Error::KeyFile`].
    pub async fn rewrite(&self) -> Result<Rewritten> {
        let rewritten = self.store.rewrite().await?;
        let mut keys = self.keys.lock().await;
        if let Keys::File(file) = &mut *keys
            && rewritten.unreadable == 0
            && !file.extent().mixed.is_empty()
        {
            // The past may hold what is refused from now on.
            self.forget_past().await?;
            let extent = file.extent().settled(self.store.rules());
            file.replace(file.keyring().clone(), extent)?;
        }
        Ok(rewritten)
    }

    /// Drops every key that seals nothing any more, from memory and from the file. The past of the store goes with them, as by
    /// [`Store::compact`]. Snapshots that were saved with these keys can be read no more, unless a copy of the file is kept.
    ///
    /// # Errors
    /// [`Error::KeyFile`], and those of the store.
    pub async fn prune(&self) -> Result<Pruned> {
        let mut keys = self.keys.lock().await;
        let file = keys.file()?;
        // Whatever the past still holds afterwards was there when it was looked at, or was written with the newest key.
        self.mark().await?;
        let audit = self.store.audit().await?;
        self.forget_past().await?;
        let keyring = file.keyring().retaining(|id| audit.sealed.contains_key(&id));
        let newest = keyring.newest().id();
        let kept = keyring.keys().map(SealingKey::id).filter(|id| *id != newest).collect();
        let gone = file.keyring().keys().map(SealingKey::id).filter(|id| keyring.get(*id).is_none());
        let dropped: Vec<KeyId> = gone.collect();
        if !dropped.is_empty() {
            let extent = file.extent().clone();
            file.replace(keyring.clone(), extent)?;
            self.store.set_keyring(keyring).await;
        }
        Ok(Pruned { dropped, kept })
    }

    /// Makes sure that whoever shares the store has a key of ours, and we one of theirs.
    async fn agree(&self) -> Result<()> {
        let key = Key::from(MARKER);
        let path = self.keys.lock().await.path().to_owned();
        loop {
            match self.store.get(&key, ReadAt::Latest).await {
                Ok(read) if read.value.is_some() => return Ok(()),
                Ok(_) => {}
                Err(Error::KeyMissing { key, .. }) => {
                    let problem = format!(
                        "the store is sealed with key {key}, which is not among them: take the file that was made with it"
                    );
                    return Err(Error::KeyFile { path, problem });
                }
                Err(error) => return Err(error),
            }
            // Refused when another server is at it, whose key is then looked at.
            self.store.commit(Txn::new().when(key.clone(), Revision::NONE).put(key.clone(), MARKED)).await?;
        }
    }

    /// Brings everything into the wanted form, while nobody else is there.
    async fn settle(self, wanted: &BTreeSet<String>) -> Result<Self> {
        let is_settled = match &*self.keys.lock().await {
            Keys::File(file) => file.extent().mixed.is_empty(),
            Keys::Given(_) => true,
        };
        if is_settled {
            return Ok(self);
        }
        let Rewritten { rewritten, unreadable, problems, .. } = self.rewrite().await?;
        tracing::info!(rewritten, "values were brought into the form that encryption at rest asks for");
        if unreadable > 0 {
            tracing::warn!(
                unreadable,
                ?problems,
                "some values cannot be read; plain ones are accepted as yet"
            );
        }
        // With the rules that hold now that it is done.
        let Self { store, keys } = self;
        match keys.into_inner() {
            Keys::File(file) => Ok(Self::over(store.inner, file, wanted)),
            given @ Keys::Given(_) => Ok(Self { store, keys: Mutex::new(given) }),
        }
    }

    /// Seals the marker with the newest key, as a change of its own.
    async fn mark(&self) -> Result<Revision> {
        Ok(self.store.commit(Txn::new().put(MARKER.into(), MARKED)).await?.revision)
    }

    /// Drops all values that were replaced. The last change of the past keeps what it replaced, so that one is the marker's.
    async fn forget_past(&self) -> Result<()> {
        let marked = self.mark().await?;
        self.store.compact(Revision(marked.0.saturating_sub(1))).await
    }
}

impl Keys {
    fn path(&self) -> &Path {
        match self {
            Self::File(file) => file.path(),
            Self::Given(path) => path,
        }
    }

    /// The file, where it is ours to change.
    fn file(&mut self) -> Result<&mut KeyFile> {
        match self {
            Self::File(file) => Ok(file),
            Self::Given(_) => Err(Error::Invalid(
                "the encryption keys come from a configuration: put a new key first in it, start again, then rewrite",
            )),
        }
    }
}

/// The rule for the marker alone.
fn marked() -> EncryptionRules {
    EncryptionRules::new().with(MARKER, Policy::Sealed)
}

/// Stops when the store holds sealed values, for which new keys would be of no use.
async fn refuse_sealed(store: &Arc<dyn Store>, path: &Path, wanted: &BTreeSet<String>) -> Result<()> {
    let rules = wanted.iter().fold(marked(), |rules, prefix| rules.with(prefix.clone(), Policy::Sealing));
    let audit =
        Encrypted::new(Arc::clone(store), rules, Keyring::new(SealingKey::generate()?)).audit().await?;
    match audit.sealed.keys().next() {
        None => Ok(()),
        Some(id) => Err(Error::KeyFile {
            path: path.to_owned(),
            problem: format!(
                "is missing, but the store is sealed with key {id}: bring back the copy that was kept of it"
            ),
        }),
    }
}

/// What is known of a store that nothing was sealed in: where nothing is, everything is sealed.
async fn fresh_extent(store: &Arc<dyn Store>, wanted: &BTreeSet<String>) -> Result<Extent> {
    let mut extent = Extent::default();
    for prefix in wanted {
        let options = crate::store::RangeOptions::new().limit(1);
        let page = store.range(crate::key::KeyRange::prefix(prefix), options).await?.value;
        let known = if page.entries.is_empty() { &mut extent.sealed } else { &mut extent.mixed };
        known.insert(prefix.clone());
    }
    Ok(extent)
}

impl Extent {
    /// What is to be remembered before anything is written by a server that wants `wanted` encrypted.
    fn towards(&self, wanted: &BTreeSet<String>) -> Self {
        let (sealed, opened): (BTreeSet<String>, BTreeSet<String>) =
            self.sealed.iter().cloned().partition(|prefix| covers(wanted, prefix));
        let new = wanted.iter().filter(|prefix| !covers(&sealed, prefix)).cloned();
        let mixed =
            self.mixed.iter().cloned().chain(opened).chain(new).filter(|prefix| !covers(&sealed, prefix));
        Self { mixed: mixed.collect(), sealed }
    }

    /// What is known after everything was brought into the form that `rules` ask for.
    fn settled(&self, rules: &EncryptionRules) -> Self {
        let wanted = self.mixed.iter().filter(|prefix| {
            rules.policy(&Key::from(prefix.as_str())).is_some_and(|policy| policy != Policy::Plain)
        });
        Self { sealed: self.sealed.iter().chain(wanted).cloned().collect(), mixed: BTreeSet::new() }
    }

    /// The rules for a server that wants `wanted` encrypted: the longest prefix first.
    fn rules(&self, wanted: &BTreeSet<String>) -> EncryptionRules {
        let mut prefixes: Vec<&String> = self.sealed.iter().chain(&self.mixed).chain(wanted).collect();
        prefixes.sort_by_key(|prefix| std::cmp::Reverse(prefix.len()));
        prefixes.into_iter().fold(marked(), |rules, prefix| {
            let policy = match (covers(wanted, prefix), covers(&self.sealed, prefix)) {
                (true, true) => Policy::Sealed,
                (true, false) => Policy::Sealing,
                (false, _) => Policy::Plain,
            };
            rules.with(prefix.clone(), policy)
        })
    }
}

fn covers(prefixes: &BTreeSet<String>, prefix: &str) -> bool {
    prefixes.iter().any(|known| prefix.starts_with(known.as_str()))
}
