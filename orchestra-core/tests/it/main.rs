//! What the crate says and does, against facts that come from elsewhere.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

mod facts;
