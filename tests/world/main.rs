//! The deterministic test world and its storms.

mod replay;
mod storms;
