//! Objects in the store: keys, encoding, and the transactions that change them.

pub(crate) mod claims;
pub(crate) mod codec;
pub(crate) mod meta;
pub(crate) mod narrow;
pub(crate) mod resource;
mod shared_lease;
pub(crate) mod writer;
