//! The classes of one profile: found by their traits, forgotten when they are too many.

use std::collections::HashMap;

use super::class::{Class, Company, fingerprint};
use super::plan::Plan;
use crate::profile::Profile;
use crate::view::{ClusterView, PodView};

/// How many totals, of all classes and nodes together, are kept: some 256 MiB.
const KEPT_TOTALS: usize = 1 << 26;

/// How many classes are kept even where nodes are few.
const KEPT_CLASSES: usize = 8192;

/// What a class to whom other pods matter counts for: beside a total it keeps for each node who is there, and its domains.
const WEIGHT_IN_COMPANY: usize = 32;

/// Room for two of these, however many nodes there are.
const LEAST_KEPT: usize = 2 * WEIGHT_IN_COMPANY;

/// The classes seen of late.
#[derive(Debug, Default)]
pub(super) struct Classes {
    by_fingerprint: HashMap<u64, Vec<Class>>,
    /// What all of them weigh; one that stands alone weighs one.
    weight: usize,
    clock: u64,
}

impl Classes {
    /// The class of `pod`.
    pub(super) fn of(
        &mut self,
        plan: &Plan,
        profile: &Profile,
        cluster: &ClusterView,
        pod: &PodView,
        company: Company,
    ) -> &mut Class {
        self.clock += 1;
        let print = fingerprint(pod, company);
        let known = self.by_fingerprint.get(&print);
        let index = known.and_then(|alike| alike.iter().position(|class| class.contains(pod, company)));
        if index.is_none() {
            self.make_room(cluster.node_count());
        }
        let alike = self.by_fingerprint.entry(print).or_default();
        let index = index.unwrap_or_else(|| {
            self.weight += weight(company);
            alike.push(Class::of(plan, profile, cluster, pod, company));
            alike.len() - 1
        });
        let class = &mut alike[index];
        class.used = self.clock;
        class
    }

    /// Forgets the half of the classes that was not asked for longest, if there are too many.
    fn make_room(&mut self, nodes: usize) {
        let limit = (KEPT_TOTALS / nodes.max(1)).clamp(LEAST_KEPT, KEPT_CLASSES);
        if self.weight < limit {
            return;
        }
        let mut used: Vec<_> = self.by_fingerprint.values().flatten().map(|class| class.used).collect();
        let middle = used.len() / 2;
        let cut = *used.select_nth_unstable(middle).1;
        self.by_fingerprint.retain(|_, alike| {
            alike.retain(|class| class.used > cut);
            !alike.is_empty()
        });
        self.weight = self.by_fingerprint.values().flatten().map(|class| weight(class.company)).sum();
    }
}

fn weight(company: Company) -> usize {
    if company.is_alone() { 1 } else { WEIGHT_IN_COMPANY }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{asking, cluster};
    use serde_json::json;

    #[test]
    fn pods_that_ask_for_the_same_share_a_class_and_old_classes_are_forgotten() {
        let cluster = cluster([json!({})]);
        let profile = Profile::default();
        let plan = Plan::of(&profile).unwrap();
        let mut classes = Classes::default();
        for name in ["a", "b"] {
            classes.of(&plan, &profile, &cluster, &asking(name, "1", "1"), Company::default());
        }
        assert_eq!(classes.weight, 1);
        for memory in 0..KEPT_CLASSES {
            classes.of(&plan, &profile, &cluster, &asking("p", "2", &memory.to_string()), Company::default());
        }
        assert!(classes.weight <= KEPT_CLASSES / 2 + 1, "{}", classes.weight);
        let newest = asking("q", "2", &(KEPT_CLASSES - 1).to_string());
        let before = classes.weight;
        classes.of(&plan, &profile, &cluster, &newest, Company::default());
        assert_eq!(classes.weight, before);
    }

    #[test]
    fn fewer_classes_are_kept_of_pods_to_whom_others_matter() {
        let cluster = cluster([json!({})]);
        let profile = Profile::default();
        let plan = Plan::of(&profile).unwrap();
        let mut classes = Classes::default();
        let near = Company { near: true, ..Company::default() };
        for memory in 0..2 * KEPT_CLASSES / WEIGHT_IN_COMPANY {
            classes.of(&plan, &profile, &cluster, &asking("p", "2", &memory.to_string()), near);
        }
        let kept: usize = classes.by_fingerprint.values().map(Vec::len).sum();
        assert!(kept <= KEPT_CLASSES / WEIGHT_IN_COMPANY, "{kept}");
        assert_eq!(classes.weight, kept * WEIGHT_IN_COMPANY);
    }
}
