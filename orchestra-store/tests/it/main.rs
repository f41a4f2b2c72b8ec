//! The stores of this crate against the suite, a model, faults and kill -9.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

mod conformance;
mod encryption;
mod encryption_keys;
mod etcd;
mod faulty;
mod format;
mod kill;
mod kill_leases;
mod kill_restore;
mod linear;
mod metrics;
mod model;
mod prefixed;
mod promises;
