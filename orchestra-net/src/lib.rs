//! An address for each pod and each service, and a way in.
//!
//! The seams are [`PodNetwork`], which gives pods their addresses, and [`ServiceProxy`](proxy::ServiceProxy), which makes
//! the addresses of services answer. Both have one backend so far, [`local`]: no privileges, loopback addresses, and
//! connections carried in user space. [`ingress`] routes HTTP by host and path to services.
//!
//! Decisions (which address to give out, which listeners a set of services needs, which backend a request belongs to) are
//! functions from values to values; only [`proxy::userspace`], [`ingress::server`] and the drivers touch a socket or the
//! API.

pub mod driver;
pub mod ingress;
pub mod ipam;
pub mod local;
mod metrics;
pub mod network;
pub mod proxy;

pub use metrics::NetworkMetrics;
pub use network::{Attachment, PodNetwork, PodRef};
