//! From plain to sealed and back, for everything that goes through a store.

use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;

use super::frame::{self, OVERHEAD};
use super::key::{Keyring, SealingKey};
use super::rules::{EncryptionRules, Policy};
use super::source::Source;
use crate::key::Key;
use crate::limits::{self, MAX_VALUE_BYTES};
use crate::store::{Entry, Error, Result};
use crate::txn::{Op, Outcome, Txn};
use crate::watch::{Event, WatchMessage};

/// The rules, and the keys as they are at the moment.
#[derive(Debug)]
pub(super) struct Sealer {
    rules: EncryptionRules,
    /// Replaced as a whole, and held for moments only.
    keyring: RwLock<Arc<Keyring>>,
    /// Where keys may be found that came later.
    source: Option<Source>,
}

impl Sealer {
    pub(super) fn new(rules: EncryptionRules, keyring: Keyring) -> Self {
        Self { rules, keyring: RwLock::new(Arc::new(keyring)), source: None }
    }

    /// The same, which looks for keys it lacks.
    pub(super) fn with_source(self, source: Source) -> Self {
        Self { source: Some(source), ..self }
    }

    pub(super) fn rules(&self) -> &EncryptionRules {
        &self.rules
    }

    pub(super) fn keyring(&self) -> Arc<Keyring> {
        // A pointer is whole whoever panicked.
        Arc::clone(&self.keyring.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set_keyring(&self, keyring: Keyring) {
        self.change_keyring(|_| Some(keyring));
    }

    fn change_keyring(&self, change: impl FnOnce(&Keyring) -> Option<Keyring>) {
        let mut keyring = self.keyring.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(changed) = change(&keyring) {
            *keyring = Arc::new(changed);
        }
    }

    /// What is stored for the value of `key`.
    pub(super) fn seal(&self, key: &Key, value: Bytes) -> Result<Bytes> {
        let sealing = match self.rules.policy(key) {
            Some(Policy::Sealed | Policy::Sealing) => true,
            // It would be taken for what it looks like.
            Some(Policy::Plain) => frame::is_sealed(&value),
            None => false,
        };
        if !sealing {
            return Ok(value);
        }
        limits::within("value size in bytes", value.len(), MAX_VALUE_BYTES - OVERHEAD)?;
        frame::seal(key, &value, self.keyring().newest())
    }

    /// The value of `key` of which `stored` is stored.
    pub(super) fn open(&self, key: &Key, stored: Bytes) -> Result<Bytes> {
        match self.rules.policy(key) {
            None => Ok(stored),
            Some(Policy::Sealing | Policy::Plain) if !frame::is_sealed(&stored) => Ok(stored),
            Some(_) => self.open_sealed(key, &stored),
        }
    }

    fn open_sealed(&self, key: &Key, stored: &[u8]) -> Result<Bytes> {
        let keyring = self.keyring();
        match frame::open(key, stored, &keyring) {
            Err(missing @ Error::KeyMissing { .. }) => {
                let Some(source) = &self.source else { return Err(missing) };
                // Somebody else has rotated. What is in use is not given up for an older file.
                source.look(|found| self.change_keyring(|keyring| Some(keyring.reconciled(found))));
                let now = self.keyring();
                if Arc::ptr_eq(&keyring, &now) {
                    return Err(missing);
                }
                frame::open(key, stored, &now).inspect(|_| self.follow(&now, key, stored))
            }
            opened => opened.inspect(|_| self.follow(&keyring, key, stored)),
        }
    }

    /// Seals with the next key from now on, when a value shows that somebody else does.
    fn follow(&self, keyring: &Keyring, key: &Key, stored: &[u8]) {
        let Some(next) = keyring.next().map(SealingKey::id) else { return };
        if frame::sealed_with(key, stored).is_ok_and(|id| id == next) {
            self.change_keyring(|keyring| {
                let is_next = keyring.next().is_some_and(|key| key.id() == next);
                is_next.then(|| keyring.promoted()).flatten()
            });
        }
    }

    pub(super) fn open_entry(&self, entry: Entry) -> Result<Entry> {
        let value = self.open(&entry.key, entry.value)?;
        Ok(Entry { value, ..entry })
    }

    pub(super) fn open_all(&self, entries: Vec<Entry>) -> Result<Vec<Entry>> {
        entries.into_iter().map(|entry| self.open_entry(entry)).collect()
    }

    pub(super) fn seal_txn(&self, mut txn: Txn) -> Result<Txn> {
        for op in &mut txn.ops {
            if let Op::Put { key, value, .. } = op {
                *value = self.seal(key, std::mem::take(value))?;
            }
        }
        Ok(txn)
    }

    pub(super) fn open_outcome(&self, outcome: Outcome) -> Result<Outcome> {
        match outcome {
            Outcome::Applied => Ok(Outcome::Applied),
            Outcome::Refused(found) => {
                let open = |found: Option<Entry>| found.map(|entry| self.open_entry(entry)).transpose();
                found.into_iter().map(open).collect::<Result<_>>().map(Outcome::Refused)
            }
        }
    }

    pub(super) fn open_message(&self, message: WatchMessage) -> Result<WatchMessage> {
        match message {
            WatchMessage::Progress(revision) => Ok(WatchMessage::Progress(revision)),
            WatchMessage::Events { revision, events } => {
                let is_ruled = |event: &Event| self.rules.policy(event.key()).is_some();
                if !events.iter().any(is_ruled) {
                    return Ok(WatchMessage::Events { revision, events });
                }
                let opened =
                    events.iter().map(|event| self.open_event(event.clone())).collect::<Result<_>>()?;
                Ok(WatchMessage::Events { revision, events: opened })
            }
        }
    }

    fn open_event(&self, event: Event) -> Result<Event> {
        Ok(match event {
            Event::Put { entry, previous } => Event::Put {
                entry: self.open_entry(entry)?,
                previous: previous.map(|entry| self.open_entry(entry)).transpose()?,
            },
            Event::Delete { key, revision, previous } => {
                Event::Delete { key, revision, previous: self.open_entry(previous)? }
            }
        })
    }
}
