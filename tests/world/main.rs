//! The deterministic test world and its storms.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

mod bugs;
mod found;
mod replay;
mod storms;
