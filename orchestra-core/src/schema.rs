//! The shape of every built-in API type, as data, and what can be done with a JSON tree once its shape is known.
//!
//! The API server works on JSON trees, not on typed structs, because a round trip through structs is not neutral. So
//! it needs to know of every field its type, whether Go writes it when it is empty, how lists merge, and its number in
//! protobuf. All of it stands in one table, `data/api-1.36.tsv`, read once when it is first asked for.
//!
//! * [`of_kind`] and [`by_name`] find a type;
//! * [`decode`] reads a request body, reporting unknown and duplicate fields and refusing wrong types in upstream's
//!   words; [`conform`] does the same for a tree that is already parsed, such as the result of a patch;
//! * [`complete`] fills in what Go's encoder always writes.
//!
//! This module refuses to default or validate: that is the business of [`crate::kinds`].
//!
//! # Empty and absent
//!
//! A typed server decodes into Go structs, and there an absent field that is no pointer and its zero value are one.
//! [`decode`] and [`conform`] return the *lean* form of a tree, in which that is true as well: fields whose Go type
//! has no presence (strings, numbers, booleans, structs, lists, maps) are absent when they are zero or empty; `null`
//! is absent; pointers keep what they point to, `0`, `false`, `""` and `{}` included. Defaulting works on the lean form,
//! so "absent" is all it has to look for. [`complete`] then adds what Go's encoder writes in spite of being empty:
//!
//! * fields without `omitempty`: `""`, `0`, `false`, and `null` for empty lists and maps (`endpoints: null`; the
//!   storage format of upstream, protobuf, cannot tell an empty list from none);
//! * structs that are not pointers, `omitempty` or not (`status: {}`, `resources: {}`, `metadata: {}`), and `null` for
//!   unset times that are not pointers (`lastProbeTime: null`, `eventTime: null`), but not where the tag
//!   says `omitzero` (`creationTimestamp`).
//!
//! The order for a write is therefore: [`decode`] (or patch and [`conform`]), default, [`complete`], validate, store.

mod complete;
mod conform;
mod decode;
mod go_type;
mod index;
mod lean;
mod model;
mod patch;
mod problem;
mod repeated;
#[cfg(test)]
pub(crate) mod sample;
mod scalar;
mod syntax;
mod tree;

pub use complete::{complete, complete_only};
pub use conform::{conform, conform_merged};
pub use decode::{Decoded, Format, decode, decode_untyped};
pub use index::{by_name, of_kind, types};
pub use model::{Default, Field, Item, ListType, Number, ObjectType, PatchStrategy, Scalar, Shape};
pub use problem::{DecodeError, Problem, strict_error};
pub use repeated::repeated_keys;

pub(crate) use index::json_schema_props;
pub(crate) use scalar::{BASE64, format_micro_time, format_time};
