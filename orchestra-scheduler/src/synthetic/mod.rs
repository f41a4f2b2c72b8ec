//! Made-up clusters and pods that use every feature the engines know, and a judge that holds engines equal on them.
//!
//! Everything comes from a seed: the same seed makes the same objects in the same order. The objects are those of the
//! API, so they can be fed to a simulator or to an API server as well.

mod compare;
mod device;
mod history;
mod profiles;
mod storage;
mod world;

pub use compare::{Campaign, Difference, compare};
pub use history::{Happening, History};
pub use profiles::ProfileChoice;
pub use world::World;
