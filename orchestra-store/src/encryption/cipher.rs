//! XAES-256-GCM (C2SP): AES-256-GCM with a key of its own for each message.
//!
//! Plain AES-GCM with nonces drawn at random may seal no more than 2^32 messages with one key, which a busy cluster reaches
//! within a year. Here the first half of a 192-bit nonce leads to the message's key, and 2^80 messages are safe.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cmac;
use aws_lc_rs::error::Unspecified;
use zeroize::Zeroizing;

pub(super) const KEY_BYTES: usize = 32;
pub(super) const NONCE_BYTES: usize = 24;
pub(super) const TAG_BYTES: usize = 16;

/// The half of a nonce that leads to the message's key.
const DERIVING: usize = 12;

/// A key, ready to be used.
#[derive(Debug)]
pub(super) struct Cipher {
    deriving: cmac::Key,
}

impl Cipher {
    pub(super) fn new(key: &[u8; KEY_BYTES]) -> Result<Self, Unspecified> {
        Ok(Self { deriving: cmac::Key::new(cmac::AES_256, key)? })
    }

    /// Encrypts `text` where it is, and returns its tag.
    pub(super) fn seal(
        &self,
        nonce: &[u8; NONCE_BYTES],
        bound: &[u8],
        text: &mut [u8],
    ) -> Result<[u8; TAG_BYTES], Unspecified> {
        let (key, nonce) = self.of_message(nonce)?;
        let tag = key.seal_in_place_separate_tag(nonce, Aad::from(bound), text)?;
        tag.as_ref().try_into().map_err(|_| Unspecified)
    }

    /// The plain text of `sealed`, which ends in its tag.
    pub(super) fn open(
        &self,
        nonce: &[u8; NONCE_BYTES],
        bound: &[u8],
        sealed: &[u8],
    ) -> Result<Vec<u8>, Unspecified> {
        let (text, tag) = sealed.split_last_chunk::<TAG_BYTES>().ok_or(Unspecified)?;
        let (key, nonce) = self.of_message(nonce)?;
        let mut plain = vec![0; text.len()];
        key.open_separate_gather(nonce, Aad::from(bound), text, tag, &mut plain)?;
        Ok(plain)
    }

    fn of_message(&self, nonce: &[u8; NONCE_BYTES]) -> Result<(LessSafeKey, Nonce), Unspecified> {
        let (deriving, rest) = nonce.split_at(DERIVING);
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        for (counter, half) in (1..).zip(key.chunks_exact_mut(16)) {
            // A counter, the label and an empty context: NIST SP 800-108r1 with CMAC.
            let mut block = [0, counter, b'X', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            block[4..].copy_from_slice(deriving);
            half.copy_from_slice(cmac::sign(&self.deriving, &block)?.as_ref());
        }
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*key)?);
        Ok((key, Nonce::try_assume_unique_for_key(rest)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The vectors of the specification, which between them take both ways of its key derivation.
    #[test]
    fn it_is_xaes_256_gcm() {
        let nonce = b"ABCDEFGHIJKLMNOPQRSTUVWX";
        for (key, bound, expected) in [
            ([1; 32], "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"),
            ([3; 32], "c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"),
        ] {
            let cipher = Cipher::new(&key).unwrap();
            let mut text = b"XAES-256-GCM".to_vec();
            let tag = cipher.seal(nonce, bound.as_bytes(), &mut text).unwrap();
            text.extend_from_slice(&tag);
            assert_eq!(hex(&text), expected);
            assert_eq!(cipher.open(nonce, bound.as_bytes(), &text).unwrap(), b"XAES-256-GCM");
        }
    }
}
