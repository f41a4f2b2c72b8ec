//! Requests whose connection changes its protocol: exec, attach, port-forward, and what a proxy passes on.
//!
//! The server speaks none of these protocols. It finds out who may do it and which node it concerns, passes the request
//! on, and once the node has agreed, copies bytes between the two connections. Two rules make that safe:
//!
//! - The connection becomes a tunnel only by an answer of 101 to a request that asked for it. Whatever else a node
//!   answers is an ordinary answer, after which the client still talks to this server (CVE-2018-1002105).
//! - Redirects are never followed (CVE-2020-8559), and of the client's headers only those of the handshake go on.

pub(crate) mod pod;
pub(crate) mod proxy;
mod target;
mod upgrade;
