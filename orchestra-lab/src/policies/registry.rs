//! Policies by name.

use std::sync::Arc;

use orchestra_scheduler::{Profile, Scheduler, Strategy};

use super::fgd::Typical;
use super::{BestFit, DotProduct, FairShare, Fgd, GpuClustering, GpuPacking, Random, WorstFit};
use crate::run::Decider;

/// What a policy is made for.
#[derive(Clone, Debug, Default)]
pub struct Setting {
    /// Where chance comes from.
    pub seed: u64,
    /// What is typical of the workload; only fragmentation gradient descent looks at it.
    pub typical: Typical,
}

/// A policy that can be named.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    name: &'static str,
    about: &'static str,
    make: Make,
}

#[derive(Clone, Copy, Debug)]
enum Make {
    Profile(fn(&Setting) -> Profile),
    Strategy(fn(&Setting) -> Arc<dyn Strategy>),
}

const POLICIES: &[Policy] = &[
    plugins("default", "the default plugins of Kubernetes 1.36", |_| Profile::default()),
    plugins("bestfit", "the node on which the least would be left", |_| BestFit::profile()),
    plugins("worstfit", "the node on which the most would be left", |_| WorstFit::profile()),
    plugins("dotprod", "the node whose free resources are least like the request", |_| DotProduct::profile()),
    plugins("gpupacking", "devices in use before free ones, nodes in use before free ones", |_| {
        GpuPacking::profile()
    }),
    plugins("gpuclustering", "pods that want the same number of devices together", |_| {
        GpuClustering::profile()
    }),
    plugins("fgd", "the node whose devices are fragmented least (ATC'23)", |setting| {
        Fgd::profile(&setting.typical)
    }),
    plugins("random", "any node that will do", |setting| Random::profile(setting.seed)),
    Policy {
        name: "fairshare",
        about: "the namespace with the smallest dominant share first, gangs all or nothing",
        make: Make::Strategy(|_| Arc::new(FairShare)),
    },
];

const fn plugins(name: &'static str, about: &'static str, make: fn(&Setting) -> Profile) -> Policy {
    Policy { name, about, make: Make::Profile(make) }
}

/// All policies.
pub fn all() -> impl Iterator<Item = &'static Policy> {
    POLICIES.iter()
}

/// The policy of this name.
///
/// ```
/// use orchestra_lab::policies::{self, Setting};
///
/// let policy = policies::named("bestfit").ok_or("there is no such policy")?;
/// let decider = policy.decider(&Setting { seed: 42, ..Setting::default() });
/// # Ok::<(), &str>(())
/// ```
#[must_use]
pub fn named(name: &str) -> Option<&'static Policy> {
    POLICIES.iter().find(|policy| policy.name == name)
}

impl Policy {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What it does, in a line.
    #[must_use]
    pub fn about(&self) -> &'static str {
        self.about
    }

    /// The policy itself, with nothing decided yet; two of them share nothing.
    #[must_use]
    pub fn decider(&self, setting: &Setting) -> Decider {
        match self.make {
            Make::Profile(make) => {
                let scheduler = Scheduler::default().profiles(vec![make(setting)]).seed(setting.seed);
                Decider::Scheduler(Box::new(scheduler))
            }
            Make::Strategy(make) => Decider::Strategy(make(setting)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_is_found_by_its_name_and_can_be_made() {
        for policy in all() {
            let found = named(policy.name()).expect("a policy that is listed is found");
            assert_eq!(found.about(), policy.about());
            let _ = found.decider(&Setting::default());
        }
        assert!(named("no such policy").is_none());
    }
}
