//! The deterministic test world and its storms.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

mod bugs;
mod found;
mod replay;
mod storms;

/// The program's own: storms are many.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
