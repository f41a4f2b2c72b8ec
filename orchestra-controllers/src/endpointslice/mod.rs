//! EndpointSlices: which pods answer for a Service.

mod control;
pub(crate) mod desired;
mod plan;
mod shell;

pub(crate) use control::SliceControl;
pub use plan::{Action, Observed, plan};
pub(crate) use plan::{HEADLESS, MANAGED_BY, SERVICE_NAME};
pub(crate) use shell::{pod_changed, selects, setup};
