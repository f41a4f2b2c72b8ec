//! Who asks, told from server to server: the headers that a front proxy writes, and who believes them.

use std::collections::BTreeMap;

use async_trait::async_trait;
use http::header::HeaderName;
use http::request::Parts;
use http::{HeaderMap, HeaderValue};

use crate::auth::{Authenticator, PeerCertificate, User};
use crate::query::percent_decode;
use crate::status::StatusError;

const USER: HeaderName = HeaderName::from_static("x-remote-user");
const UID: HeaderName = HeaderName::from_static("x-remote-uid");
const GROUP: HeaderName = HeaderName::from_static("x-remote-group");
const EXTRA: &str = "x-remote-extra-";

/// Writes who asks into the headers of a request that goes on; what a client wrote under these names is gone by then.
pub(super) fn introduce(headers: &mut HeaderMap, user: &User) -> Result<(), StatusError> {
    let value = |text: &str| HeaderValue::from_bytes(text.as_bytes()).map_err(StatusError::internal);
    headers.insert(USER, value(&user.name)?);
    if !user.uid.is_empty() {
        headers.insert(UID, value(&user.uid)?);
    }
    for group in &user.groups {
        headers.append(GROUP, value(group)?);
    }
    for (key, values) in &user.extra {
        let name = HeaderName::try_from(format!("{EXTRA}{}", escaped(key))).map_err(StatusError::internal)?;
        for text in values {
            headers.append(name.clone(), value(text)?);
        }
    }
    Ok(())
}

/// A key as a part of a header's name: what may not stand there is percent-encoded.
fn escaped(key: &str) -> String {
    let mut out = String::new();
    for byte in key.to_ascii_lowercase().bytes() {
        match byte {
            b'a'..=b'z'
            | b'0'..=b'9'
            | b'-'
            | b'.'
            | b'_'
            | b'~'
            | b'!'
            | b'#'
            | b'$'
            | b'&'
            | b'\''
            | b'*'
            | b'+'
            | b'^'
            | b'`'
            | b'|' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02x}")),
        }
    }
    out
}

/// Believes what a front proxy says of who asks, in the headers `X-Remote-User`, `X-Remote-Uid`, `X-Remote-Group` and
/// `X-Remote-Extra-*`. For a server that stands behind another one, as an `APIService`.
///
/// Who the front proxy is, its client certificate says. So this is only safe on a server whose TLS accepts client certificates of
/// the front proxies' own authority and of no other: anybody else who could get a certificate of that name could be anybody.
/// The config map `kube-system/extension-apiserver-authentication` of the server in front has that authority's certificate.
#[derive(Clone, Debug)]
pub struct RequestHeaderAuthenticator {
    allowed: Vec<String>,
}

impl RequestHeaderAuthenticator {
    /// Believes certificates of these names; of any, when there are none.
    pub fn new(allowed: impl IntoIterator<Item = String>) -> Self {
        Self { allowed: allowed.into_iter().collect() }
    }
}

#[async_trait]
impl Authenticator for RequestHeaderAuthenticator {
    async fn authenticate(&self, request: &Parts) -> Result<Option<User>, StatusError> {
        let Some(proxy) = request.extensions.get::<PeerCertificate>() else { return Ok(None) };
        if !self.allowed.is_empty() && !self.allowed.contains(&proxy.common_name) {
            return Ok(None);
        }
        let texts = |name: &HeaderName| -> Vec<String> {
            let values = request.headers.get_all(name).iter();
            values.filter_map(|value| std::str::from_utf8(value.as_bytes()).ok()).map(str::to_owned).collect()
        };
        let Some(name) = texts(&USER).into_iter().find(|name| !name.is_empty()) else { return Ok(None) };
        let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for header in request.headers.keys() {
            if let Some(key) = header.as_str().strip_prefix(EXTRA).and_then(percent_decode) {
                extra.insert(key, texts(header));
            }
        }
        let mut user = User::new(name, []);
        user.groups = texts(&GROUP);
        user.uid = texts(&UID).into_iter().next().unwrap_or_default();
        user.extra = extra;
        Ok(Some(user))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_asks_comes_through_and_only_a_front_proxy_is_believed() {
        let mut user = User::new("jäne", ["a b".to_owned()]);
        user.uid = "7".into();
        user.extra.insert("acme.com/Project".into(), vec!["x".into(), "y".into()]);
        let mut headers = HeaderMap::new();
        introduce(&mut headers, &user).unwrap();
        let authenticator = RequestHeaderAuthenticator::new(["front-proxy-client".to_owned()]);
        for (name, expected) in [("front-proxy-client", true), ("jane", false)] {
            let organizations = Vec::new();
            let certificate = PeerCertificate { common_name: name.to_owned(), organizations };
            let mut request = http::Request::builder().extension(certificate).body(()).unwrap();
            request.headers_mut().extend(headers.clone());
            let found = authenticator.authenticate(&request.into_parts().0).await.unwrap();
            let mut told = user.clone();
            // Names of headers have no case.
            told.extra = [("acme.com/project".to_owned(), vec!["x".to_owned(), "y".to_owned()])].into();
            assert_eq!(found, expected.then_some(told), "{name}");
        }
        let bare = http::Request::builder().header(USER, "root").body(()).unwrap();
        assert_eq!(authenticator.authenticate(&bare.into_parts().0).await.unwrap(), None);
    }
}
