//! The frame every built-in kind hangs in: what they all need, so that a kind's own file states only its rules.
//!
//! Nothing in here knows a kind by name.

pub(crate) mod builtin;
pub(crate) mod cells;
pub(crate) mod check;
pub(crate) mod fill;
mod place;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod view;

pub(crate) use builtin::{Builtin, Generation};
pub(crate) use cells::{Show, column};
pub(crate) use fill::{Fill, Object};
pub(crate) use view::View;
