//! JSON Web Tokens in the compact form: three parts in base64, joined by dots. Pure but for the signature's randomness.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::TokenKey;
use crate::error::Result;

/// No token of ours is nearly as long.
const MAX_LENGTH: usize = 16 << 10;

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: String,
    /// Extensions that must be understood; none is.
    #[serde(default)]
    crit: Option<Value>,
}

/// Signs `claims`.
pub(super) fn write(key: &TokenKey, claims: &impl serde::Serialize) -> Result<String> {
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    // Claims are texts and numbers, which always serialise.
    let claims = serde_json::to_vec(claims).unwrap_or_default();
    let header = json!({"alg": "ES256", "kid": key.id()}).to_string();
    let signed = format!("{}.{}", part(header.as_bytes()), part(&claims));
    let signature = part(&key.sign(signed.as_bytes())?);
    Ok(format!("{signed}.{signature}"))
}

/// The claims of a token that looks like one, whoever signed it.
pub(super) fn unverified(token: &str) -> Option<Value> {
    if token.len() > MAX_LENGTH {
        return None;
    }
    let mut parts = token.split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
}

/// Whether `key` signed the token, by the one algorithm that there is: a token cannot choose another.
pub(super) fn is_signed_by(token: &str, key: &TokenKey) -> bool {
    let signed = || -> Option<bool> {
        let (signed, signature) = token.rsplit_once('.')?;
        let header = URL_SAFE_NO_PAD.decode(signed.split_once('.')?.0).ok()?;
        let header: Header = serde_json::from_slice(&header).ok()?;
        let ours = header.alg == "ES256"
            && header.crit.is_none()
            && (header.kid.is_empty() || header.kid == key.id());
        Some(ours && key.verifies(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).ok()?))
    };
    signed().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_key_signed_counts() {
        let (key, other) = (TokenKey::generate().unwrap(), TokenKey::generate().unwrap());
        let token = write(&key, &json!({"sub": "a"})).unwrap();
        assert_eq!(unverified(&token), Some(json!({"sub": "a"})));
        assert!(is_signed_by(&token, &key) && !is_signed_by(&token, &other));
        let parts: Vec<&str> = token.split('.').collect();
        let forge = |header: Value, claims: &str, signature: &str| {
            format!("{}.{claims}.{signature}", URL_SAFE_NO_PAD.encode(header.to_string()))
        };
        let changed = URL_SAFE_NO_PAD.encode(json!({"sub": "b"}).to_string());
        for bad in [
            forge(json!({"alg": "none"}), parts[1], ""),
            forge(json!({"alg": "HS256", "kid": key.id()}), parts[1], parts[2]),
            forge(json!({"alg": "ES256", "kid": "x"}), parts[1], parts[2]),
            forge(json!({"alg": "ES256", "crit": ["b64"]}), parts[1], parts[2]),
            format!("{}.{changed}.{}", parts[0], parts[2]),
            format!("{}.{}.", parts[0], parts[1]),
            format!("{token}="),
        ] {
            assert!(!is_signed_by(&bad, &key), "{bad}");
        }
        for shape in ["", "a.b", "a.b.c.d", "a.!.c", &"x".repeat(MAX_LENGTH + 1)] {
            assert_eq!(unverified(shape), None, "{shape:.20}");
        }
    }
}
