//! `Event`, served under two names: `v1`, and `events.k8s.io/v1` with other names for some fields.
//!
//! They are one set of objects. A server stores the `v1` form and translates with [`to_core`] and [`from_core`].

mod core;
mod events;
mod show;
mod translate;

pub(super) use core::kind as core_kind;
pub(super) use events::kind as events_kind;
pub use translate::{from_core, to_core};

#[cfg(test)]
mod tests;
