//! Typed Kubernetes resources and the machinery every one of them shares.
//!
//! Wire types are [`k8s_openapi`]'s. What they lack lives here: what a kind is called and how it is served
//! ([`kind`]), its defaults and validation ([`kinds`]), and the problems found in an object ([`violation`]).
//! Everything in this crate is a function from values to values: no clock, no I/O, no async.

pub mod duration;
pub mod gvk;
pub mod jsonpath;
pub mod kind;
pub mod kinds;
pub mod manifest;
pub mod meta;
pub mod openapi;
pub mod patch;
pub mod protobuf;
pub mod quantity;
pub mod schema;
pub mod selector;
pub mod table;
pub mod violation;
