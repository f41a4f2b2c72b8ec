//! Who asks, and whether they may.

mod authenticate;
mod authorize;
pub(crate) mod impersonate;
pub(crate) mod rbac;
pub(crate) mod service_account;
pub(crate) mod token;

pub use authenticate::{Authenticator, CertificateAuthenticator, PeerCertificate, User};
pub(crate) use authenticate::{MASTERS, UNAUTHENTICATED};
pub use authorize::{AccessRequest, Authorizer, Decision, DenyAll, RuleSet};
pub use token::TokenKey;
