//! The deterministic test world and its storms.

mod bugs;
mod replay;
mod storms;
