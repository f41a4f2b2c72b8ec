//! Typed Kubernetes resources and the machinery every one of them shares.
//!
//! Wire types are [`k8s_openapi`]'s. What they lack lives here: what a kind is called and how it is served
//! ([`kind`]), its defaults and validation ([`kinds`]), and the problems found in an object ([`violation`]); the shape
//! of every type, with which trees are read, pruned and completed ([`schema`]), carried in protobuf ([`protobuf`]) and
//! described to clients ([`openapi`]).
//!
//! A kind made at run time, by a `CustomResourceDefinition`, is a [`custom::CustomKind`]; its schema is one of [`structural`].
//!
//! Everything in this crate is a function from values to values: no clock, no I/O, no async.
//!
//! # Features
//! * `certificate`: what requests for certificates ask for ([`certificate`]).
//! * `descriptions`: documents of [`openapi`] describe types and fields, for `kubectl explain`. About 2.4 MB of program.

#[macro_use]
mod wrapper;

#[cfg(feature = "certificate")]
pub mod certificate;
pub mod cron;
pub mod custom;
pub mod duration;
pub mod go;
pub mod gvk;
pub mod jsonpath;
pub mod kind;
pub mod kinds;
pub mod light;
pub mod manifest;
pub mod meta;
pub mod openapi;
pub mod patch;
pub mod policy;
pub mod protobuf;
pub mod quantity;
pub mod quota;
pub mod schema;
pub mod selector;
pub mod structural;
pub mod table;
pub mod unread;
pub mod violation;
