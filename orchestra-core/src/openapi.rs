//! OpenAPI documents, built from the table of types when a client asks: of 3.0 one for each group and version, of 2.0
//! one of everything, which is made of the former and can be written as protobuf.
//!
//! Clients of Go validate, explain and apply by them: `kubectl apply` takes the merge keys from the schemas, `kubectl
//! create` looks whether a path takes `fieldValidation`, `kubectl explain` prints the fields. The form is that of
//! upstream's documents: references with siblings in `allOf`, and the same extensions.
//!
//! Descriptions are not part of the table. With the cargo feature `descriptions` they are taken from `k8s-openapi` while
//! a document is built; without it documents have none, which `kubectl explain` shows as `<no description>`.
//!
//! Nothing is kept: whoever serves a document caches its bytes, those of 3.0 under [`document_hash`].

#[cfg(feature = "descriptions")]
mod descriptions;
mod document;
mod downgrade;
mod field;
mod gnostic;
mod merge;
mod naming;
mod operation;
mod resource;
mod schemas;
mod swagger;

pub use document::{document_hash, v3_document, v3_index};
pub use gnostic::v2_protobuf;
pub use merge::Part;
pub use resource::{ResourcePaths, Verb};
pub use swagger::v2_document;
