//! Horizontal pod autoscalers: as many replicas as it takes to bring each metric to its target.
//!
//! Every fifteen seconds the shell reads the target's scale and the metrics, and the [`plan`](fn@plan) says what the status is
//! to be and whether to rescale. Resource metrics come from `metrics.k8s.io`, those of pods and objects from
//! `custom.metrics.k8s.io`, others from `external.metrics.k8s.io`; whoever serves these groups can be anybody.
//!
//! How a number of replicas is proposed, limited and stabilised, with every reason and message, is upstream's
//! (`pkg/controller/podautoscaler`, described at
//! <https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/>). As there, earlier recommendations and
//! rescales are only [remembered](Memory): who restarts begins with the replicas that there are. Other than there, a new
//! autoscaler is looked at when it is seen, not fifteen seconds later.

mod behavior;
mod memory;
mod plan;
#[cfg(test)]
mod plan_tests;
mod proposal;
mod readings;
mod shell;
mod sources;

pub use memory::Memory;
pub use plan::{Decision, Observed, Rescale, Target, done, is_measured, plan, refused};
pub use readings::{PodReading, Reading};
pub(crate) use shell::setup;
