//! The token by which a client asks for the next page of a list.
//!
//! The form is upstream's, so that tokens look familiar; clients must not read them, and whatever they send is looked at
//! with suspicion. Knows nothing of the rest of the server: the fuzz target builds this file alone.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// Where the next page begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Token {
    v: String,
    /// The revision of the first page; negative when the client chose to go on without consistency.
    pub(crate) rv: i64,
    /// The first key that may be on the page, without the resource's prefix.
    pub(crate) start: String,
}

const VERSION: &str = "meta.k8s.io/v1";

impl Token {
    /// The page at `revision` that begins behind `last`.
    pub(crate) fn behind(revision: i64, last: &str) -> Self {
        Self { v: VERSION.to_owned(), rv: revision, start: format!("{last}\0") }
    }

    /// What is sent to the client.
    pub(crate) fn write(&self) -> String {
        // A struct of two texts and a number always serialises.
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    /// What a client sent, or what is wrong with it.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|error| error.to_string())?;
        let token: Self = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        if token.v != VERSION || token.rv == 0 || token.start.is_empty() {
            return Err("incorrect encoded start resourceVersion or key".to_owned());
        }
        Ok(token)
    }
}
