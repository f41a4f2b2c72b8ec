//! The life of a pod on its node.
//!
//! [`state`] decides: a function from the pod, what is known of its containers and the time to actions and a status.
//! [`worker`] performs: one task for each pod, which starts, stops and probes, and asks `state` after everything that
//! happened. Nothing but [`state::PodState`] is remembered, and a new agent rebuilds that from the runtime and the API.

pub(crate) mod backoff;
pub(crate) mod env;
pub(crate) mod field;
pub(crate) mod http;
pub(crate) mod lifecycle;
pub(crate) mod ports;
pub(crate) mod probe;
pub(crate) mod prober;
pub(crate) mod recall;
pub(crate) mod resize;
pub(crate) mod spec;
pub(crate) mod start;
pub(crate) mod state;
pub(crate) mod status;
pub(crate) mod worker;
