//! The store on real etcd. Where there is none, these tests say so and pass, except where `CI` is set: there they fail.

mod cluster;
mod conformance;
mod faults;
mod restore;
mod server;
mod shared;
