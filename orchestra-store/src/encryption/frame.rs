//! A sealed value: what stands in the store instead of a plain one.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `orch-enc` |
//! | 1 | format, 1 |
//! | 8 | name of the key |
//! | 24 | nonce, drawn for each write |
//! | as the value | cipher text |
//! | 16 | tag |
//!
//! The tag is over all of it but the nonce, which it depends on too, and over the key in the store under which the value
//! lies: a value that is moved to another key opens no more.

use aws_lc_rs::rand;
use bytes::Bytes;

use super::cipher::{NONCE_BYTES, TAG_BYTES};
use super::key::{KeyId, Keyring, SealingKey, no_randomness};
use crate::key::Key;
use crate::store::{Error, Result};

const MAGIC: &[u8; 8] = b"orch-enc";
const FORMAT: u8 = 1;
const HEAD: usize = MAGIC.len() + 1 + 8;
/// What sealing adds to a value.
pub(super) const OVERHEAD: usize = HEAD + NONCE_BYTES + TAG_BYTES;

/// Whether a value is a sealed one, of any format.
pub(super) fn is_sealed(value: &[u8]) -> bool {
    value.starts_with(MAGIC)
}

/// Seals the value of `name`.
pub(super) fn seal(name: &Key, value: &[u8], key: &SealingKey) -> Result<Bytes> {
    let mut nonce = [0; NONCE_BYTES];
    rand::fill(&mut nonce).map_err(|_| no_randomness())?;
    let mut sealed = Vec::with_capacity(value.len() + OVERHEAD);
    sealed.extend_from_slice(MAGIC);
    sealed.push(FORMAT);
    sealed.extend_from_slice(&key.id().0);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(value);
    let (head, text) = sealed.split_at_mut(HEAD + NONCE_BYTES);
    let bound = bound(&head[..HEAD], name);
    let tag = key.cipher().seal(&nonce, &bound, text).map_err(|_| damaged(name, "cannot be encrypted"))?;
    sealed.extend_from_slice(&tag);
    Ok(sealed.into())
}

/// The key that sealed a value.
pub(super) fn sealed_with(name: &Key, sealed: &[u8]) -> Result<KeyId> {
    Ok(parts(name, sealed)?.id)
}

/// The plain value of `name`.
pub(super) fn open(name: &Key, sealed: &[u8], keyring: &Keyring) -> Result<Bytes> {
    let Parts { head, id, nonce, text } = parts(name, sealed)?;
    let key = keyring.get(id).ok_or_else(|| Error::KeyMissing { name: shown(name), key: id.to_string() })?;
    let plain = key.cipher().open(nonce, &bound(head, name), text);
    plain.map(Bytes::from).map_err(|_| damaged(name, "is not what was sealed under this key"))
}

struct Parts<'a> {
    head: &'a [u8],
    id: KeyId,
    nonce: &'a [u8; NONCE_BYTES],
    text: &'a [u8],
}

fn parts<'a>(name: &Key, sealed: &'a [u8]) -> Result<Parts<'a>> {
    let cut = || damaged(name, "is cut short");
    let rest = sealed.strip_prefix(MAGIC).ok_or_else(|| damaged(name, "is not encrypted"))?;
    let (format, rest) = rest.split_first().ok_or_else(cut)?;
    if *format != FORMAT {
        return Err(damaged(name, &format!("has format {format}, which this version does not know")));
    }
    let (id, rest) = rest.split_first_chunk().ok_or_else(cut)?;
    let (nonce, text) = rest.split_first_chunk().ok_or_else(cut)?;
    if text.len() < TAG_BYTES {
        return Err(cut());
    }
    Ok(Parts { head: &sealed[..HEAD], id: KeyId(*id), nonce, text })
}

/// What is sealed along with the value: its head, which has one length, and its name.
fn bound(head: &[u8], name: &Key) -> Vec<u8> {
    [head, name.as_bytes()].concat()
}

/// Says which value it is, and never what is in it.
pub(super) fn damaged(name: &Key, what: &str) -> Error {
    Error::Corrupt(format!("the value of {} {what}", shown(name)))
}

fn shown(name: &Key) -> String {
    name.as_bytes().escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ring() -> Keyring {
        Keyring::new(SealingKey::from_bytes(&[7; 32]).unwrap())
    }

    fn bytes(longest: usize) -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..longest)
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens_under_its_name_only(name in bytes(40), other in bytes(40), value in bytes(300)) {
            let (ring, name) = (ring(), Key::new(name));
            let sealed = seal(&name, &value, ring.newest()).unwrap();
            prop_assert_eq!(sealed.len(), value.len() + OVERHEAD);
            prop_assert_eq!(&open(&name, &sealed, &ring).unwrap()[..], &value[..]);
            let other = Key::new(other);
            prop_assert_eq!(open(&other, &sealed, &ring).is_ok(), other == name);
        }

        #[test]
        fn whatever_stands_there_is_an_error_and_no_panic(name in bytes(9), rest in bytes(100)) {
            let sealed = [&MAGIC[..], &[FORMAT], &rest].concat();
            prop_assert!(open(&Key::new(name.clone()), &sealed, &ring()).is_err());
            prop_assert!(open(&Key::new(name), &rest, &ring()).is_err());
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let (ring, name) = (ring(), Key::from("/registry/core/secrets/ns/a"));
        let sealed = seal(&name, b"hunter2", ring.newest()).unwrap();
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut flipped = sealed.to_vec();
                flipped[at] ^= 1 << bit;
                let error = open(&name, &flipped, &ring).unwrap_err();
                assert!(matches!(error, Error::Corrupt(_) | Error::KeyMissing { .. }), "{error}");
                assert!(error.to_string().contains("secrets/ns/a"), "{error}");
                assert!(!error.to_string().contains("hunter2"), "{error}");
            }
            assert!(matches!(open(&name, &sealed[..at], &ring), Err(Error::Corrupt(_))), "cut at {at}");
        }
        assert!(open(&name, &[&sealed[..], b"x"].concat(), &ring).is_err());
    }

    #[test]
    fn a_missing_key_is_named() {
        let (ring, name) = (ring(), Key::from("a\n"));
        let lost = SealingKey::generate().unwrap();
        let sealed = seal(&name, b"x", &lost).unwrap();
        assert_eq!(sealed_with(&name, &sealed).unwrap(), lost.id());
        let error = open(&name, &sealed, &ring).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("the value of a\\n is sealed with encryption key {}, which is missing", lost.id())
        );
    }

    #[test]
    fn no_two_seals_are_alike() {
        let ring = ring();
        let seals: std::collections::HashSet<_> =
            (0..1000).map(|_| seal(&"a".into(), b"x", ring.newest()).unwrap()).collect();
        assert_eq!(seals.len(), 1000);
    }
}
