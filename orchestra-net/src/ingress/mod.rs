//! HTTP from outside, routed by host and path to services.
//!
//! [`plan`] turns Ingress objects into a table of routes and answers which route a request takes; [`server`] accepts
//! connections and carries requests. TLS is not terminated yet: `spec.tls` is ignored.

pub mod plan;
pub mod server;

pub use plan::Routes;
pub use server::IngressServer;
