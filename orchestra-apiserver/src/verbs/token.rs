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

    /// What a client sent, or what is wrong with it, as upstream says it.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        const WRONG: &str = "continue key is not valid";
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|error| format!("{WRONG}: {error}"))?;
        let token: Self = serde_json::from_slice(&bytes).map_err(|error| format!("{WRONG}: {error}"))?;
        if token.v != VERSION {
            return Err(format!("{WRONG}: server does not recognize this encoded version {}", token.v));
        }
        if token.rv == 0 {
            return Err(format!("{WRONG}: incorrect encoded start resourceVersion (version {VERSION})"));
        }
        if token.start.is_empty() {
            return Err(format!("{WRONG}: encoded start key empty (version {VERSION})"));
        }
        // A key that leads out of the resource's own keys must lead nowhere.
        let path = token.start.strip_prefix('/').unwrap_or(&token.start);
        if path.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
            return Err(format!("{WRONG}: {}", token.start));
        }
        Ok(Self { start: path.to_owned(), ..token })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_as_it_was_sent() {
        let token = Token::behind(7, "default/x");
        assert_eq!(Token::read(&token.write()).unwrap(), token);
    }

    #[test]
    fn what_no_server_made_is_refused() {
        let said = |v: &str, rv: i64, start: &str| {
            let token = Token { v: v.to_owned(), rv, start: start.to_owned() };
            Token::read(&token.write()).unwrap_err()
        };
        assert_eq!(
            said(VERSION, 0, "a"),
            "continue key is not valid: incorrect encoded start resourceVersion (version meta.k8s.io/v1)"
        );
        assert_eq!(
            said(VERSION, 1, ""),
            "continue key is not valid: encoded start key empty (version meta.k8s.io/v1)"
        );
        assert_eq!(
            said("v9", 1, "a"),
            "continue key is not valid: server does not recognize this encoded version v9"
        );
        for start in ["../secrets/a", "a/../../b", "a//b", "./a", "a/"] {
            assert_eq!(said(VERSION, 1, start), format!("continue key is not valid: {start}"));
        }
        assert!(Token::read("%").unwrap_err().starts_with("continue key is not valid: "));
    }
}
