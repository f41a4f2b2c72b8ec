//! Tokens in Secrets of the type `kubernetes.io/service-account-token`: they last as long as the Secret that holds them.

use serde::{Deserialize, Serialize};

use super::claims::Bound;
use super::{Problem, TokenKey, jwt};
use crate::auth::User;
use crate::auth::service_account;
use crate::error::Result;

/// The type of such Secrets.
pub(crate) const SECRET_TYPE: &str = "kubernetes.io/service-account-token";
/// The annotations that name the account.
pub(crate) const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
pub(crate) const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";
/// Who issues them, whatever the cluster's issuer is called.
pub(super) const ISSUER: &str = "kubernetes/serviceaccount";

/// What such a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LegacyClaims {
    iss: String,
    #[serde(rename = "kubernetes.io/serviceaccount/namespace")]
    pub(super) namespace: String,
    #[serde(rename = "kubernetes.io/serviceaccount/secret.name")]
    pub(super) secret: String,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.name")]
    pub(super) name: String,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.uid")]
    pub(super) uid: String,
    sub: String,
}

impl LegacyClaims {
    /// Who the token speaks for, when it says the same in all places.
    pub(super) fn user(&self) -> std::result::Result<User, Problem> {
        let user = service_account::user(&self.namespace, &self.name, &self.uid);
        if self.sub == user.name && !self.secret.is_empty() { Ok(user) } else { Err(Problem::Unknown) }
    }
}

/// A token for the Secret `secret` of an account.
pub(crate) fn write(key: &TokenKey, namespace: &str, secret: &str, account: &Bound) -> Result<String> {
    let claims = LegacyClaims {
        iss: ISSUER.to_owned(),
        namespace: namespace.to_owned(),
        secret: secret.to_owned(),
        name: account.name.clone(),
        uid: account.uid.clone(),
        sub: service_account::user_name(namespace, &account.name),
    };
    jwt::write(key, &claims)
}
