//! Published experiments, run again on the real scheduler.

pub mod atc23;
pub mod go_random;
