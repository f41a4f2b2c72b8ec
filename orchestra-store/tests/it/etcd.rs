//! The store on real etcd. Where there is none, these tests say so and pass, except where `CI` is set: there they fail.

mod access;
mod cluster;
mod conformance;
mod faults;
mod lease;
mod restore;
mod server;
mod shared;
