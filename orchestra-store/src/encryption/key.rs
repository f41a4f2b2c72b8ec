//! Keys, and which of them is used.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::rand;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::cipher::{Cipher, KEY_BYTES};
use crate::store::{Error, Result};

/// Names a key without telling it: the beginning of its SHA-256. It stands in every value that the key seals.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub(super) [u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for KeyId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        unhex(text).map(Self).ok_or(Error::Invalid("the name of a key is 16 hexadecimal digits"))
    }
}

/// Bytes of exactly this many hexadecimal digits.
pub(super) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digits = std::str::from_utf8(digits).ok()?;
        *byte = u8::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))?;
    }
    Some(bytes)
}

/// A key for sealing values. Its bytes are never shown, and gone from memory with it.
#[derive(Clone)]
pub struct SealingKey(Arc<Inner>);

struct Inner {
    id: KeyId,
    bytes: Zeroizing<[u8; KEY_BYTES]>,
    cipher: Cipher,
}

impl SealingKey {
    /// A new key, drawn at random.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the machine has no randomness to give.
    pub fn generate() -> Result<Self> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        rand::fill(&mut *bytes).map_err(|_| no_randomness())?;
        Self::new(bytes)
    }

    /// The key of these bytes, which must have been drawn at random.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there are not 32 of them.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let bytes = bytes.try_into().map_err(|_| Error::Invalid("an encryption key has 32 bytes"))?;
        Self::new(Zeroizing::new(bytes))
    }

    fn new(bytes: Zeroizing<[u8; KEY_BYTES]>) -> Result<Self> {
        // Hashed behind a label, so that the name is of no use where somebody else hashes keys.
        let digest = Sha256::new().chain_update("orchestra sealing key\0").chain_update(*bytes).finalize();
        let mut id = [0; 8];
        id.copy_from_slice(&digest[..8]);
        let cipher = Cipher::new(&bytes).map_err(|_| Error::Invalid("the encryption key cannot be used"))?;
        Ok(Self(Arc::new(Inner { id: KeyId(id), bytes, cipher })))
    }

    /// Its name.
    pub fn id(&self) -> KeyId {
        self.0.id
    }

    /// Its bytes, for the file it is kept in.
    pub(super) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0.bytes
    }

    pub(super) fn cipher(&self) -> &Cipher {
        &self.0.cipher
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SealingKey").field(&self.0.id).finish()
    }
}

pub(super) fn no_randomness() -> Error {
    Error::Unavailable("the machine gave no random numbers".to_owned())
}

/// Keys, the newest first: it seals, all open.
///
/// There may be one more, the *next*: it opens, and seals from the moment on at which it is known that somebody seals with it. So a
/// key can be given to all who share a store before the first of them uses it.
#[derive(Clone, Debug)]
pub struct Keyring {
    newest: SealingKey,
    older: Vec<SealingKey>,
    next: Option<SealingKey>,
}

impl Keyring {
    /// A ring with one key.
    pub fn new(key: SealingKey) -> Self {
        Self { newest: key, older: Vec::new(), next: None }
    }

    /// Adds a key that only opens, behind all others.
    #[must_use]
    pub fn with_older(mut self, key: SealingKey) -> Self {
        if self.get(key.id()).is_none() {
            self.older.push(key);
        }
        self
    }

    /// The same keys behind `key`, which seals from now on.
    #[must_use]
    pub fn rotated(&self, key: SealingKey) -> Self {
        let next = self.next.clone().filter(|next| next.id() != key.id());
        let older = self.keys().filter(|known| known.id() != key.id()).cloned().collect();
        Self { newest: key, older, next }
    }

    /// Adds a key that opens, and is the one to seal with when it is its turn. There is one such key at most.
    #[must_use]
    pub fn with_next(mut self, key: SealingKey) -> Self {
        if self.get(key.id()).is_none() {
            self.next = Some(key);
        }
        self
    }

    /// The key whose turn it will be.
    pub fn next(&self) -> Option<&SealingKey> {
        self.next.as_ref()
    }

    /// The same keys when it is the next one's turn; `None` when there is none.
    pub(super) fn promoted(&self) -> Option<Self> {
        self.next.clone().map(|next| self.rotated(next))
    }

    /// The keys to go on with, when these are in use and `found` is what a file holds now. It decides, unless it is older than these:
    /// a copy that was put back must not take away the key that seals.
    pub(super) fn reconciled(&self, found: Self) -> Self {
        let newest = self.newest.id();
        if found.next.as_ref().is_some_and(|next| next.id() == newest) {
            return found.rotated(self.newest.clone());
        }
        if found.get(newest).is_some() {
            return found;
        }
        let all = found.keys().chain(&self.older).cloned();
        let all = all.fold(Self::new(self.newest.clone()), Self::with_older);
        found.next.or_else(|| self.next.clone()).into_iter().fold(all, Self::with_next)
    }

    /// The newest key and those of the others that `keep` names.
    #[must_use]
    pub(super) fn retaining(&self, keep: impl Fn(KeyId) -> bool) -> Self {
        let older = self.older.iter().filter(|key| keep(key.id())).cloned().collect();
        Self { newest: self.newest.clone(), older, next: self.next.clone() }
    }

    /// The key that seals.
    pub fn newest(&self) -> &SealingKey {
        &self.newest
    }

    /// The newest, and those that were the newest before.
    pub fn keys(&self) -> impl Iterator<Item = &SealingKey> {
        std::iter::once(&self.newest).chain(&self.older)
    }

    /// The key with a name.
    pub fn get(&self, id: KeyId) -> Option<&SealingKey> {
        self.keys().chain(&self.next).find(|key| key.id() == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_shown() {
        let key = SealingKey::from_bytes(&[0xab; 32]).unwrap();
        let shown = format!("{key:?} {:?}", Keyring::new(key.clone()));
        assert!(shown.contains(&key.id().to_string()));
        assert!(!shown.to_lowercase().contains("abab") && !shown.contains("171"), "{shown}");
    }

    #[test]
    fn names_are_read_as_they_are_shown() {
        let id = SealingKey::generate().unwrap().id();
        assert_eq!(id.to_string().parse::<KeyId>().unwrap(), id);
        for wrong in ["", "12", "zzzzzzzzzzzzzzzz", "+1+1+1+1+1+1+1+1", "00000000000000000", "ééééé000000"]
        {
            assert!(wrong.parse::<KeyId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_newest_seals_and_none_is_there_twice() {
        let [a, b] = [SealingKey::generate().unwrap(), SealingKey::generate().unwrap()];
        let ring = Keyring::new(a.clone()).rotated(b.clone()).with_older(a.clone()).with_older(b.clone());
        assert_eq!(ring.keys().map(SealingKey::id).collect::<Vec<_>>(), [b.id(), a.id()]);
        assert_eq!(ring.rotated(a.clone()).newest().id(), a.id());
        assert_eq!(ring.rotated(a).keys().count(), 2);
    }

    #[test]
    fn a_file_decides_which_keys_there_are_unless_it_is_an_old_one() {
        let [a, b, c, d] = [1, 2, 3, 4].map(|n| SealingKey::from_bytes(&[n; 32]).unwrap());
        let ring = |keys: &[&SealingKey]| {
            let older = keys[1..].iter().map(|&key| key.clone());
            older.fold(Keyring::new(keys[0].clone()), Keyring::with_older)
        };
        let ids = |ring: &Keyring| ring.keys().map(SealingKey::id).collect::<Vec<_>>();
        let in_use = ring(&[&b, &a]);
        // Somebody rotated, and somebody dropped what nothing needs.
        assert_eq!(ids(&in_use.reconciled(ring(&[&c, &b]))), [c.id(), b.id()]);
        // An old copy was put back, or one of somebody who rotated by himself: nothing is lost, and what seals goes on to seal.
        assert_eq!(ids(&in_use.reconciled(ring(&[&a]))), [b.id(), a.id()]);
        assert_eq!(ids(&in_use.reconciled(ring(&[&c, &a]))), [b.id(), c.id(), a.id()]);
        // The next key waits for its turn, which has come when it is in use.
        let waiting = ring(&[&a]).with_next(b.clone());
        assert_eq!((ids(&waiting), waiting.get(b.id()).is_some()), (vec![a.id()], true));
        assert_eq!(ids(&in_use.reconciled(waiting.clone())), [b.id(), a.id()]);
        assert!(in_use.reconciled(waiting.clone()).next().is_none());
        assert_eq!(ids(&waiting.promoted().unwrap()), [b.id(), a.id()]);
        assert_eq!(waiting.rotated(d.clone()).next().map(SealingKey::id), Some(b.id()));
        assert!(waiting.with_next(a.clone()).next().is_some_and(|next| next.id() == b.id()));
    }
}
