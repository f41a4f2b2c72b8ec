//! The policies by name.

use std::sync::Arc;

use orchestra_scheduler::{Profile, Scheduler};

use super::fgd::Typical;
use super::{BestFit, DotProduct, FairShare, Fgd, GpuClustering, GpuPacking, Random, WorstFit};
use crate::run::Decider;
use crate::strategy::{Context, Named};

/// All policies of this crate, under the names that `orchestra simulate --strategy` takes.
#[must_use]
pub fn all() -> Vec<Named> {
    vec![
        plugins("bestfit", |_| BestFit::profile()),
        plugins("worstfit", |_| WorstFit::profile()),
        plugins("dotprod", |_| DotProduct::profile()),
        plugins("gpupacking", |_| GpuPacking::profile()),
        plugins("gpuclustering", |_| GpuClustering::profile()),
        plugins("fgd", |context| Fgd::profile(&Typical::of_workload(context.workload))),
        plugins("random", |context| Random::profile(context.seed)),
        Named::new("fairshare", |_| Decider::Strategy(Arc::new(FairShare))),
    ]
}

fn plugins(name: &str, profile: impl Fn(Context<'_>) -> Profile + Send + Sync + 'static) -> Named {
    Named::new(name, move |context| {
        let scheduler = Scheduler::default().profiles(vec![profile(context)]).seed(context.seed);
        Decider::Scheduler(Box::new(scheduler))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Workload;

    #[test]
    fn every_policy_has_a_name_of_its_own_and_can_be_made() {
        let workload = Workload::default();
        let mut names = Vec::new();
        for policy in all() {
            let decider = policy.decider(Context { workload: &workload, seed: 1 });
            if let Decider::Scheduler(scheduler) = decider {
                assert!(scheduler.dispatcher().is_ok(), "{}", policy.name());
            }
            names.push(policy.name().to_owned());
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all().len());
    }
}
