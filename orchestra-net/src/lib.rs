//! An address for each pod and each service, and a way in.

pub mod network;
