//! The deterministic test world and its storms.

mod bugs;
mod found;
mod replay;
mod storms;
