//! A deterministic test world: a whole cluster in virtual time that replays byte for byte from one seed.
//!
//! A [`World`] has a store in memory, the API server, all controllers, the scheduler and simulated nodes in one thread, on
//! tokio's paused clock: minutes pass in milliseconds. Controllers of your own join as [components](WorldBuilder::component).
//! Every component reaches the API server over a line of its own on which requests and watches are late, get lost and
//! break, as the [`Weather`] has it; and it can be killed between any two of its writes. The log of all writes is the
//! witness: two runs of a seed write the same bytes at the same times.
//!
//! ```
//! use k8s_openapi::api::core::v1::ConfigMap;
//! use kube::Api;
//! use orchestra::world::World;
//!
//! let run = || {
//!     World::seeded(7).nodes(1).run(async |world| {
//!         let maps: Api<ConfigMap> = Api::default_namespaced(world.client());
//!         let map = serde_json::from_value(serde_json::json!({"metadata": {"generateName": "m-"}})).unwrap();
//!         maps.create(&Default::default(), &map).await.unwrap().metadata.name
//!     })
//! };
//! let (first, second) = (run(), run());
//! assert_eq!(first.value, second.value);
//! assert_eq!(first.witness(), second.witness());
//! ```
//!
//! Invariant: nothing in a world asks the machine for time or chance. What would: threads, `spawn_blocking`, a
//! `select!` without `biased`, the order of a `HashMap`, a static counter. Controllers of your own have to keep to that too.

mod builder;
mod chance;
mod component;
pub mod invariant;
mod ledger;
mod log;
mod node;
mod provisioner;
mod running;
pub mod storm;
mod wire;

pub use builder::WorldBuilder;
pub use chance::Chance;
pub use component::{CONTROLLERS, Life, SCHEDULER, component_of};
pub use ledger::{Happening, Invariant, Violation};
pub use log::{Change, Object, Write, WriteLog};
pub use running::{Outcome, Restless, World};
pub use wire::{Death, Deed, Tamper, Tampered, Weather};
