//! Encryption at rest as the API server's operator sees it: resources instead of prefixes, and a way to rotate keys.
//!
//! The work is done by [`orchestra_store::encryption`]; this translates.

mod config;
mod endpoint;
mod resources;

pub use config::EncryptionConfig;
pub(crate) use endpoint::answer;
pub use endpoint::{Command, perform};
pub use resources::{BadResource, storage_prefix};
