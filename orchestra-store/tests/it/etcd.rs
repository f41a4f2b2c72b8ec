//! The store on real etcd. Where there is none, these tests say so and pass, except where `CI` is set: there they fail.

mod access;
pub(crate) mod cluster;
mod conformance;
mod encrypted;
mod faults;
mod lease;
mod restore;
pub(crate) mod server;
mod shared;
