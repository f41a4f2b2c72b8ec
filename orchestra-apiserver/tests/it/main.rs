//! The server from outside: through `kube::Api` in process, and through the real kubectl over TLS.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod access;
mod admission;
mod aggregation;
mod apply;
mod audit;
mod collections;
mod consistency;
mod content;
mod custom;
mod devices;
mod extension;
mod flaws;
mod harness;
mod hook;
mod kubectl;
mod limits;
mod malformed;
mod metrics;
mod mutating_policies;
mod node_restriction;
mod nodes;
mod objects;
mod openapi;
mod options;
mod parts;
mod plugins;
mod pod_status;
mod policies;
mod reads;
mod request_metrics;
mod rights;
mod rules;
mod shutdown;
mod socket;
mod streams;
mod surface;
mod tokens;
mod watches;
mod web_sockets;
mod webhooks;
