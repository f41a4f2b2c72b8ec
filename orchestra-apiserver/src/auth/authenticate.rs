//! Who asks.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use http::request::Parts;
use serde_json::{Value, json};

use crate::status::StatusError;

/// The group whose members may do everything.
pub(crate) const MASTERS: &str = "system:masters";
/// The group of everybody who is known.
pub(crate) const AUTHENTICATED: &str = "system:authenticated";
/// The group of everybody who is not.
pub(crate) const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The name of everybody who is not known.
pub(crate) const ANONYMOUS: &str = "system:anonymous";

/// Who sent a request.
///
/// A request that carries a `User` among its extensions is believed: only code in this process can put one there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct User {
    /// The name.
    pub name: String,
    /// The groups.
    pub groups: Vec<String>,
    /// What tells this user from others of the same name, earlier or later; may be empty.
    pub uid: String,
    /// What else the credentials said.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// A user who is in `groups`, and in `system:authenticated`.
    pub fn new(name: impl Into<String>, groups: impl IntoIterator<Item = String>) -> Self {
        let mut groups: Vec<String> = groups.into_iter().collect();
        groups.push(AUTHENTICATED.to_owned());
        Self { name: name.into(), groups, uid: String::new(), extra: BTreeMap::new() }
    }

    /// The administrator inside the process.
    pub fn admin() -> Self {
        Self::new("system:admin", [MASTERS.to_owned()])
    }

    /// Nobody known; may see health and version only.
    pub fn anonymous() -> Self {
        Self {
            name: ANONYMOUS.to_owned(),
            groups: vec![UNAUTHENTICATED.to_owned()],
            uid: String::new(),
            extra: BTreeMap::new(),
        }
    }

    /// As `authentication.k8s.io/v1` shows a user.
    pub(crate) fn info(&self) -> Value {
        let mut info = json!({"username": self.name, "groups": self.groups});
        if !self.uid.is_empty() {
            info["uid"] = self.uid.as_str().into();
        }
        if !self.extra.is_empty() {
            info["extra"] = json!(self.extra);
        }
        info
    }

    /// Whether the user is in a group.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }
}

/// Finds out who sent a request.
///
/// # Contract
/// 1. Authenticators are asked in order, those of one's own first, then client certificates, then tokens of service accounts;
///    the first that knows the user ends the search. When none does, a request with a bearer token is refused with 401, and
///    one without goes on as `system:anonymous`.
/// 2. A credential that is there but bad is `None`, so that others are asked; an error ends the search.
/// 3. Only headers, path and extensions are seen, never the body.
#[async_trait]
pub trait Authenticator: Debug + Send + Sync + 'static {
    /// The user, or `None` when the request carries nothing this authenticator knows. An error refuses the request.
    async fn authenticate(&self, request: &Parts) -> Result<Option<User>, StatusError>;
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<T: Authenticator + ?Sized> Authenticator for Arc<T> {
    async fn authenticate(&self, request: &Parts) -> Result<Option<User>, StatusError> {
        self.as_ref().authenticate(request).await
    }
}

/// The client certificate of a connection, verified against the cluster's CA; a request extension.
#[derive(Clone, Debug)]
pub struct PeerCertificate {
    /// The subject's common name: the user.
    pub common_name: String,
    /// The subject's organisations: the groups.
    pub organizations: Vec<String>,
}

/// Believes verified client certificates. One without a common name, or with an empty one, names nobody, as upstream sees it: whoever
/// shows it is asked for something else.
#[derive(Clone, Copy, Debug, Default)]
pub struct CertificateAuthenticator;

#[async_trait]
impl Authenticator for CertificateAuthenticator {
    async fn authenticate(&self, request: &Parts) -> Result<Option<User>, StatusError> {
        let certificate = request.extensions.get::<PeerCertificate>().filter(|c| !c.common_name.is_empty());
        Ok(certificate.map(|c| User::new(c.common_name.clone(), c.organizations.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_certificate_without_a_name_is_nobodys() {
        let user = async |common_name: &str| {
            let organizations = vec![MASTERS.to_owned()];
            let certificate = PeerCertificate { common_name: common_name.to_owned(), organizations };
            let request = http::Request::builder().extension(certificate).body(()).unwrap();
            CertificateAuthenticator.authenticate(&request.into_parts().0).await.unwrap()
        };
        assert_eq!(user("").await, None);
        assert_eq!(user("ann").await, Some(User::new("ann", [MASTERS.to_owned()])));
    }
}
