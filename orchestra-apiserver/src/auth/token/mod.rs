//! Tokens of service accounts: signed statements of who a program in the cluster is, for how long, and as part of what.
//!
//! The server signs them when `serviceaccounts/token` is asked for ([`TokenIssuer::issue`]) and believes them when they come
//! back ([`TokenIssuer::verify`]). A token is worth what it is bound to: when the account, or the pod, Secret or node it names is
//! gone, or another has its name, it is void at once. Claims, words and times are those of upstream's `pkg/serviceaccount`;
//! signatures are ES256.

pub(crate) mod claims;
pub(crate) mod discovery;
mod issuer;
mod jwt;
mod key;
pub(crate) mod legacy;
mod problem;

pub(crate) use issuer::TokenIssuer;
pub use key::TokenKey;
pub(crate) use problem::Problem;

use http::HeaderMap;
use http::header::AUTHORIZATION;

/// The token of `Authorization: Bearer …`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    let token = token.trim_start();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
