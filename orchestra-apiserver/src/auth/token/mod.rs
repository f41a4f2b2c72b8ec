//! Tokens of service accounts: signed statements of who a program in the cluster is, for how long, and as part of what.
//!
//! The server signs them when `serviceaccounts/token` is asked for ([`TokenIssuer::issue`]) and believes them when they come
//! back ([`TokenIssuer::verify`]). A token is worth what it is bound to: when the account, or the pod, Secret or node it names is
//! gone, or another has its name, it is void at once. Claims, words and times are those of upstream's `pkg/serviceaccount`;
//! signatures are ES256.

mod bootstrap;
pub(crate) mod claims;
pub(crate) mod discovery;
mod issuer;
mod jwt;
mod key;
pub(crate) mod legacy;
mod problem;

pub(crate) use bootstrap::BootstrapTokens;
pub(crate) use issuer::TokenIssuer;
pub use key::TokenKey;
pub(crate) use problem::Problem;

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};

use crate::stream;

/// What a subprotocol begins with that is a token, for browsers, which give WebSockets no other header: see upstream's
/// `authentication/request/websocket/protocol.go`.
pub(crate) const SUBPROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";

/// The token of `Authorization: Bearer …`, or that among the subprotocols of a WebSocket. One that cannot be read there is empty,
/// and speaks for nobody.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    let Some(said) = headers.get(AUTHORIZATION) else { return of_web_socket(headers).map(Cow::Owned) };
    let (scheme, token) = said.to_str().ok()?.trim().split_once(' ')?;
    let token = token.trim_start();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(Cow::Borrowed(token))
}

fn of_web_socket(headers: &HeaderMap) -> Option<String> {
    if !headers.contains_key(SEC_WEBSOCKET_PROTOCOL) || !stream::is_upgrade(headers) {
        return None;
    }
    let (tokens, others): (Vec<&str>, Vec<&str>) =
        stream::offered(headers).partition(|name| name.starts_with(SUBPROTOCOL));
    let encoded = tokens.first()?.strip_prefix(SUBPROTOCOL)?;
    // Another one has to be there, for the answer must name one, and a token is not to be sent back.
    if tokens.len() > 1 || others.is_empty() {
        return Some(String::new());
    }
    let decoded = BASE64_URL_SAFE_NO_PAD.decode(encoded).ok();
    Some(decoded.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default())
}
