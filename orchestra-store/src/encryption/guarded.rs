//! A store together with the file of its keys: what a server opens when it starts, and rotates while it runs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::Mutex;

use super::encrypted::Encrypted;
use super::extent::Extent;
use super::file::KeyFile;
use super::key::{KeyId, Keyring, SealingKey};
use super::rewrite::{Audit, Rewritten};
use super::rules::{EncryptionRules, Policy};
use super::source::Source;
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
    /// Whether it is known what is to become of plain values.
    wish: Wish,
}

/// What is to become of values that are not stored as they might be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Known,
    Unknown,
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
    /// The key that was prepared to be the newest.
    pub next: Option<KeyId>,
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
        let mut file = match find(&store, path, &wanted).await? {
            Some(file) => file,
            None if wanted.is_empty() => return Ok(None),
            // Both are on disk before anything is sealed, so that no crash can come between a value and its key.
            None => match KeyFile::create(path, fresh_extent(&store, &wanted).await?) {
                // Another process was faster: its keys are as good.
                Err(Error::HoldsData(_)) => KeyFile::load(path)?.ok_or_else(|| gone(path))?,
                made => made?,
            },
        };
        if file.extent().towards(&wanted) != *file.extent() {
            file.change(|keyring, extent| Ok((keyring.clone(), extent.towards(&wanted))))?;
        }
        let mut guarded = Self::over(store, file, path, &wanted);
        guarded.agree().await?;
        if sharing == Sharing::Alone {
            guarded = guarded.settle(path, &wanted).await?;
        }
        Ok(Some(guarded))
    }

    /// The encryption of a store that no server uses, by what the file `path` says of it; `None` when nothing was ever encrypted.
    /// Which values should be encrypted is not known here, so nothing is made plain or sealed that was not.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn reopen(store: Arc<dyn Store>, path: impl AsRef<Path>) -> Result<Option<Self>> {
        let path = path.as_ref();
        let Some(file) = find(&store, path, &BTreeSet::new()).await? else {
            return Ok(None);
        };
        let all = file.extent().all();
        let guarded = Self { wish: Wish::Unknown, ..Self::over(store, file, path, &all) };
        if !guarded.knows_the_marker().await? {
            let problem = "the store was never sealed with any of them: is it the right one?".to_owned();
            return Err(Error::KeyFile { path: path.to_owned(), problem });
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
        let keys = Mutex::new(Keys::Given(origin.into()));
        let guarded = Self { store, keys, wish: Wish::Known };
        guarded.agree().await?;
        Ok(guarded)
    }

    fn over(store: Arc<dyn Store>, file: KeyFile, path: &Path, wanted: &BTreeSet<String>) -> Self {
        let rules = file.extent().rules(wanted);
        Self {
            store: Encrypted::reading(store, rules, file.keyring().clone(), Source::new(path)),
            keys: Mutex::new(Keys::File(file)),
            wish: Wish::Known,
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
        let keyring = self.store.keyring();
        Ok(EncryptionStatus {
            path,
            keys: keyring.keys().map(SealingKey::id).collect(),
            next: keyring.next().map(SealingKey::id),
            rules: self.store.rules().clone(),
            audit: self.store.audit().await?,
        })
    }

    /// Makes the key that the next rotation will seal with, and keeps it in the file; when there is one already, it stays. Once the file
    /// is where every server of the store finds it, a rotation finds none of them without the key.
    ///
    /// # Errors
    /// [`Error::KeyFile`].
    pub async fn prepare(&self) -> Result<KeyId> {
        let key = SealingKey::generate()?;
        let mut id = key.id();
        let mut keys = self.keys.lock().await;
        let keyring = self.change(&mut keys, |keyring, extent| {
            let next = keyring.next().cloned().unwrap_or(key);
            id = next.id();
            Ok((keyring.clone().with_next(next), extent.clone()))
        })?;
        self.store.set_keyring(keyring).await;
        Ok(id)
    }

    /// Seals with another key from now on, and brings everything under it: with the one that was [prepared](Self::prepare), or with a new
    /// one, which is in the file before it is used. The older keys stay, because snapshots and the recent past need them.
    ///
    /// When it is broken off, the new key is in use and [`rewrite`](Self::rewrite) does the rest. Others who share the store
    /// look into their file when they meet the new key, and then seal with it, too.
    ///
    /// # Errors
    /// [`Error::KeyFile`], and those of the store.
    pub async fn rotate(&self) -> Result<Rotated> {
        self.refuse_the_unknown().await?;
        let key = SealingKey::generate()?;
        let id = {
            let mut keys = self.keys.lock().await;
            let keyring = self.change(&mut keys, |keyring, extent| {
                Ok((keyring.promoted().unwrap_or_else(|| keyring.rotated(key)), extent.clone()))
            })?;
            let id = keyring.newest().id();
            self.store.set_keyring(keyring).await;
            id
        };
        Ok(Rotated { key: id, rewritten: self.rewrite().await? })
    }

    /// Brings everything under the newest key, and writes plain what is not to be encrypted any more. Others may write meanwhile.
    /// Plain values are accepted until the next start after a run that left none; that is remembered in the file.
    ///
    /// # Errors
    /// Those of the store, and [`Error::KeyFile`].
    pub async fn rewrite(&self) -> Result<Rewritten> {
        self.refuse_the_unknown().await?;
        let before = self.keys.lock().await.mixed();
        let rewritten = self.store.rewrite().await?;
        let mut keys = self.keys.lock().await;
        if rewritten.unreadable == 0 && !before.is_empty() {
            // The past may hold what is refused from now on.
            self.forget_past().await?;
            self.change(&mut keys, |keyring, extent| {
                Ok((keyring.clone(), extent.settled(&before, self.store.rules())))
            })?;
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
        let before = keys.file()?.keyring().reconciled((*self.store.keyring()).clone());
        // Whatever the past still holds afterwards was there when it was looked at, or was written with the newest key.
        self.mark().await?;
        let audit = self.store.audit().await?;
        self.forget_past().await?;
        let mut pruned = Pruned { dropped: Vec::new(), kept: Vec::new() };
        let keyring = self.change(&mut keys, |keyring, extent| {
            // What came into the file meanwhile may be in use by now.
            let rest = keyring.retaining(|id| audit.sealed.contains_key(&id) || before.get(id).is_none());
            let gone = |key: &&SealingKey| rest.get(key.id()).is_none();
            pruned.dropped = keyring.keys().filter(gone).map(SealingKey::id).collect();
            pruned.kept = rest.keys().skip(1).map(SealingKey::id).collect();
            Ok((rest, extent.clone()))
        })?;
        if !pruned.dropped.is_empty() {
            self.store.set_keyring(keyring).await;
        }
        Ok(pruned)
    }

    /// Changes the file, to which the keys in use belong, and tells the keys that are in it then.
    fn change(
        &self,
        keys: &mut Keys,
        edit: impl FnOnce(&Keyring, &Extent) -> Result<(Keyring, Extent)>,
    ) -> Result<Keyring> {
        let file = keys.file()?;
        // Others may have rotated, which was followed without writing it down.
        file.hold((*self.store.keyring()).clone());
        file.change(edit)?;
        Ok(file.keyring().clone())
    }

    /// Where a plain value may be one that should be sealed, or one that should be plain.
    async fn refuse_the_unknown(&self) -> Result<()> {
        if self.wish == Wish::Unknown && !self.keys.lock().await.mixed().is_empty() {
            return Err(Error::Invalid(
                "some values may be plain, and whether they should be is known to the server only: start it, and let it rewrite first",
            ));
        }
        Ok(())
    }

    /// Makes sure that whoever shares the store has a key of ours, and we one of theirs.
    async fn agree(&self) -> Result<()> {
        let key = Key::from(MARKER);
        while !self.knows_the_marker().await? {
            // Refused when another server is at it, whose key is then looked at.
            self.store.commit(Txn::new().when(key.clone(), Revision::NONE).put(key.clone(), MARKED)).await?;
        }
        Ok(())
    }

    /// Whether there is a marker; one that we cannot open is an error.
    async fn knows_the_marker(&self) -> Result<bool> {
        match self.store.get(&Key::from(MARKER), ReadAt::Latest).await {
            Ok(read) => Ok(read.value.is_some()),
            Err(Error::KeyMissing { key, .. }) => {
                let path = self.keys.lock().await.path().to_owned();
                let problem = format!(
                    "the store is sealed with key {key}, which is not among them: take the file that was made with it"
                );
                Err(Error::KeyFile { path, problem })
            }
            Err(error) => Err(error),
        }
    }

    /// Brings everything into the wanted form, while nobody else is there.
    async fn settle(self, path: &Path, wanted: &BTreeSet<String>) -> Result<Self> {
        if self.keys.lock().await.mixed().is_empty() {
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
        let Self { store, keys, wish } = self;
        match keys.into_inner() {
            Keys::File(file) => Ok(Self::over(store.inner, file, path, wanted)),
            given @ Keys::Given(_) => Ok(Self { store, keys: Mutex::new(given), wish }),
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

    /// The prefixes under which some values may be plain.
    fn mixed(&self) -> BTreeSet<String> {
        match self {
            Self::File(file) => file.extent().mixed.clone(),
            Self::Given(_) => BTreeSet::new(),
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

fn gone(path: &Path) -> Error {
    Error::KeyFile { path: path.to_owned(), problem: "was there and is not any more".to_owned() }
}

/// The rule for the marker alone.
pub(super) fn marked() -> EncryptionRules {
    EncryptionRules::new().with(MARKER, Policy::Sealed)
}

/// The file of keys, which must be there when anything in the store is sealed.
async fn find(store: &Arc<dyn Store>, path: &Path, wanted: &BTreeSet<String>) -> Result<Option<KeyFile>> {
    if let Some(file) = KeyFile::load(path)? {
        return Ok(Some(file));
    }
    let Err(sealed) = refuse_sealed(store, path, wanted).await else { return Ok(None) };
    // Another process may have made the file and sealed with it since we looked: the file always comes first.
    KeyFile::load(path)?.map(Some).ok_or(sealed)
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
