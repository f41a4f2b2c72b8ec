//! Kinds made at run time: what a `CustomResourceDefinition` says, as a [`Kind`](crate::kind::Kind).
//!
//! A definition becomes one [`CustomKind`] for each version, all sharing what the definition says of names and storage.
//! They are values: whoever serves them makes new ones when the definition changes.
//!
//! ```
//! use orchestra_core::custom::CustomKind;
//! use orchestra_core::kind::Kind;
//! use serde_json::json;
//!
//! let definition = json!({"spec": {
//!     "group": "example.com", "scope": "Namespaced",
//!     "names": {"plural": "lamps", "singular": "lamp", "kind": "Lamp", "listKind": "LampList"},
//!     "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
//!         "type": "object",
//!         "properties": {"spec": {"type": "object", "properties": {"lit": {"type": "boolean", "default": false}}}},
//!     }}}],
//! }});
//! let kinds = CustomKind::of_definition(&definition);
//! let mut lamp = json!({"metadata": {"name": "desk"}, "spec": {"colour": "red"}});
//! assert_eq!(kinds[0].conform(&mut lamp)?.len(), 1); // spec.colour is unknown
//! kinds[0].default(&mut lamp);
//! assert_eq!(lamp["spec"], json!({"lit": false}));
//! # Ok::<(), orchestra_core::schema::DecodeError>(())
//! ```

mod columns;
mod kind;
mod version_order;

#[cfg(test)]
mod tests;

pub use kind::CustomKind;
pub use version_order::version_order;
