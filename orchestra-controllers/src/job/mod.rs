//! Jobs: pods that run to their end, each counted exactly once.
//!
//! A pod of a Job carries the finalizer `batch.kubernetes.io/job-tracking` until the Job's status has counted it. The
//! status is written twice for that: first the pod's uid stands among the uncounted ones, then, when the finalizer is
//! gone, the number goes up and the uid leaves. Whatever step a controller dies at, the next one finds out from the
//! status and the finalizers alone how far the counting had come.

mod backoff;
mod indexes;
mod manage;
mod orphan;
mod plan;
mod policy;
mod spec;
mod template;
mod track;

mod shell;

pub(crate) use orphan::setup as setup_orphans;
pub use plan::{Action, Fate, Observed, plan};
pub(crate) use shell::setup;
pub(crate) use spec::{FINALIZER, ending, finished_condition};
