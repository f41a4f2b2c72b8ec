//! The part of SPDY/3.1 that Kubernetes clients use: streams that the client opens, with a few headers each.
//!
//! [`frame`] and [`header`] are the codec, from bytes to values; [`connection`] runs it on a connection. There is no flow
//! control: Go's clients have none either, and the connection's own does for all streams together.

pub(crate) mod connection;
mod frame;
mod header;
