//! The node agent: its Node object, and what it answers when the API server asks.
//!
//! It speaks to the cluster through the Kubernetes API only. Nothing here remembers anything over a restart.

mod log_query;
mod machine;
mod node_object;
mod registration;
mod service;

pub use machine::{Capacity, Machine, MachineError, SystemInfo};
pub use node_object::NodeFacts;
pub use registration::Registration;
pub use service::{AgentService, Instance, LogFile, LogSource, LogTarget, Refusal};
