//! The key that signs tokens.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PublicKeyData as _};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// Length of a coordinate of the curve.
const COORDINATE: usize = 32;

/// A key of the curve P-256 that signs the tokens of service accounts (ES256).
///
/// Every API server of a cluster needs the same one; [`pki::token_key`](crate::pki::token_key) keeps it on disk.
pub struct TokenKey {
    pair: EcdsaKeyPair,
    pem: String,
    id: String,
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key is nobody's business.
        f.debug_struct("TokenKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl TokenKey {
    /// A new key, for a cluster whose tokens end with the program.
    ///
    /// # Errors
    /// When the machine has no randomness to give.
    pub fn generate() -> Result<Self> {
        let pair = KeyPair::generate()
            .map_err(|problem| Error::pki("the key of service accounts cannot be made", problem))?;
        Self::of(&pair)
    }

    /// Reads a private key of the curve P-256, PEM in PKCS#8.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_pem(pem: &str) -> Result<Self> {
        let pair = KeyPair::from_pem(pem)
            .map_err(|problem| Error::pki("the key of service accounts cannot be read", problem))?;
        Self::of(&pair)
    }

    fn of(pair: &KeyPair) -> Result<Self> {
        // As upstream names keys: the hash of the public key in its standard form.
        let id = URL_SAFE_NO_PAD.encode(Sha256::digest(pair.subject_public_key_info()));
        let own = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pair.serialized_der()).map_err(
            |problem| Error::pki("the key of service accounts is not of the curve P-256", problem),
        )?;
        Ok(Self { pair: own, pem: pair.serialize_pem(), id })
    }

    /// The private key, PEM.
    pub fn to_pem(&self) -> &str {
        &self.pem
    }

    /// What tells the key from others.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let signature = self.pair.sign(&SystemRandom::new(), message);
        signature
            .map(|signature| signature.as_ref().to_vec())
            .map_err(|problem| Error::pki("a token cannot be signed", problem))
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.pair.public_key().as_ref());
        public.verify(message, signature).is_ok()
    }

    /// The public half as a JSON Web Key.
    pub(super) fn jwk(&self) -> Value {
        // A point is one byte that says it is not compressed, then its two coordinates.
        let point = self.pair.public_key().as_ref().get(1..).unwrap_or_default();
        let (x, y) = point.split_at_checked(COORDINATE).unwrap_or_default();
        json!({
            "use": "sig", "kty": "EC", "kid": self.id, "crv": "P-256", "alg": "ES256",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_read_back_verifies_what_it_signed() {
        let key = TokenKey::generate().unwrap();
        let again = TokenKey::from_pem(key.to_pem()).unwrap();
        let signature = key.sign(b"message").unwrap();
        assert_eq!(signature.len(), 2 * COORDINATE);
        assert!(again.verifies(b"message", &signature) && !again.verifies(b"massage", &signature));
        assert_eq!((key.id(), key.jwk()), (again.id(), again.jwk()));
        assert!(!TokenKey::generate().unwrap().verifies(b"message", &signature));
        assert!(!format!("{key:?}").contains("PRIVATE"));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        assert!(TokenKey::from_pem("nonsense").is_err());
    }
}
