//! The schemas of custom resources, and what the server does with objects by them.
//!
//! A schema comes as JSON (`JSONSchemaProps`) in a `CustomResourceDefinition`. [`Structural::read`] makes a tree of it,
//! once for each change of the definition, and everything else is a function of that tree and an object:
//!
//! * [`prune`](prune::prune) takes away what no schema names and says what that was;
//! * [`default`](default::default) fills in what is left out;
//! * [`Structural::validate`] says what is wrong, in upstream's words, and lets pass on an update what was wrong before
//!   and has not changed;
//! * [`rules`] are what it says in CEL;
//! * [`definition`] says what is wrong with a schema itself: whether it is structural;
//! * [`publish`] turns it into what OpenAPI documents show.
//!
//! Follows `k8s.io/apiextensions-apiserver/pkg/apiserver/{schema,validation}` and, for words and order,
//! `k8s.io/kube-openapi/pkg/validation`. Depth is bounded by the reader of bodies (128 levels of JSON), so recursion is;
//! patterns are bounded in size and run in time linear in the text.

pub mod default;
pub mod definition;
mod embedded;
mod format;
mod lists;
mod model;
mod pattern;
pub mod prune;
pub mod publish;
mod read;
pub mod rules;
mod validate;

#[cfg(test)]
mod tests;

pub use embedded::{coerce_metadata, validate_embedded};
pub use lists::validate_lists;
pub use model::{Additional, Checks, ListKind, Structural, Type};
pub use pattern::Pattern;
