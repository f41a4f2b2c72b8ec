//! Encryption at rest: values that only the owner of a key can read, and that nobody can exchange unseen.
//!
//! [`Encrypted`] stands before any store. It seals values under chosen prefixes with XAES-256-GCM, each bound to its
//! key in the store, and opens them again. `docs/encryption.md` tells how the pieces are used, and what they do not do.

mod cipher;
mod encrypted;
mod extent;
mod file;
mod format;
mod frame;
mod guarded;
mod key;
mod rewrite;
mod rules;
mod sealed_snapshot;
mod sealer;
mod source;

pub use encrypted::Encrypted;
pub use extent::Extent;
pub use file::KeyFile;
pub use guarded::{Encryption, EncryptionStatus, Pruned, Rotated, Sharing};
pub use key::{KeyId, Keyring, SealingKey};
pub use rewrite::{Audit, Rewritten};
pub use rules::{EncryptionRules, Policy};
pub use sealed_snapshot::snapshot_key;
