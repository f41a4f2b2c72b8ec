//! JSON Web Tokens: whatever is sent, only what the key signed counts, and what it signed can be read.
#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use serde_json::json;

mod error {
    pub type Result<T> = std::result::Result<T, std::convert::Infallible>;
}

// Only this file of the server: the rest of it takes minutes to build.
#[path = "../../orchestra-apiserver/src/auth/token/jwt.rs"]
mod jwt;

/// A key whose signature is what was signed, turned round: enough to see which bytes are verified.
struct TokenKey;

impl TokenKey {
    fn id(&self) -> &str {
        "k"
    }

    fn sign(&self, bytes: &[u8]) -> error::Result<Vec<u8>> {
        Ok(bytes.iter().rev().copied().collect())
    }

    fn verifies(&self, bytes: &[u8], signature: &[u8]) -> bool {
        bytes.iter().rev().eq(signature)
    }
}

fuzz_target!(
    init: orchestra_fuzz::plant("token", seeds()),
    |text: &str| {
        let key = TokenKey;
        let claims = jwt::unverified(text);
        if jwt::is_signed_by(text, &key) && claims.is_some() {
            // One that counts names the one algorithm there is, and nothing that must be understood.
            let header = text.split('.').next().expect("a token has parts");
            let header: serde_json::Value =
                serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).expect("base64")).expect("JSON");
            assert_eq!(header["alg"], "ES256");
            assert!(header["crit"].is_null());
        }
        let Ok(written) = jwt::write(&key, &json!({"sub": text}));
        assert!(jwt::is_signed_by(&written, &key));
        if let Some(read) = jwt::unverified(&written) {
            assert_eq!(read["sub"], text);
        }
    }
);

fn seeds() -> Vec<Vec<u8>> {
    let Ok(good) = jwt::write(&TokenKey, &json!({"sub": "system:serviceaccount:a:b", "exp": 1}));
    let forged = format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), URL_SAFE_NO_PAD.encode("{}"));
    [good, forged, "a.b.c".to_owned()].into_iter().map(String::into_bytes).collect()
}
