//! The classes of one profile: found by their traits, forgotten when they are too many.

use std::collections::HashMap;

use super::answers::AllAnswers;
use super::class::{Class, Company, fingerprint};
use super::index::Index;
use super::plan::Plan;
use super::table::Table;
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
    /// What classes with the same rules share.
    answers: AllAnswers,
}

impl Classes {
    /// The index of the class of `pod`, up to date with the table and the cluster it was synced with; `None` when it is
    /// left to the reference engine.
    pub(super) fn index(
        &mut self,
        plan: &Plan,
        profile: &Profile,
        cluster: &ClusterView,
        table: &Table,
        pod: &PodView,
        company: Company,
    ) -> Option<&mut Index> {
        let print = fingerprint(pod, company);
        let place = self.place(print, plan, profile, cluster, pod, company);
        let class = self.by_fingerprint.get_mut(&print)?.get_mut(place)?;
        class.index(plan, profile, cluster, table, &mut self.answers)
    }

    /// The place of the class of `pod` among those of this fingerprint.
    fn place(
        &mut self,
        print: u64,
        plan: &Plan,
        profile: &Profile,
        cluster: &ClusterView,
        pod: &PodView,
        company: Company,
    ) -> usize {
        self.clock += 1;
        let known = self.by_fingerprint.get(&print);
        let place = known.and_then(|alike| alike.iter().position(|class| class.contains(pod, company)));
        if place.is_none() {
            self.make_room(cluster.node_count());
        }
        let alike = self.by_fingerprint.entry(print).or_default();
        let place = place.unwrap_or_else(|| {
            self.weight += weight(company);
            alike.push(Class::of(plan, profile, cluster, pod, company));
            alike.len() - 1
        });
        alike[place].used = self.clock;
        place
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
        self.answers.keep(&self.by_fingerprint.values().flatten().filter_map(Class::answers).collect());
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
        let alone = Company::default();
        let place = |classes: &mut Classes, pod: &PodView, company| {
            classes.place(fingerprint(pod, company), &plan, &profile, &cluster, pod, company)
        };
        for name in ["a", "b"] {
            place(&mut classes, &asking(name, "1", "1"), alone);
        }
        assert_eq!(classes.weight, 1);
        for memory in 0..KEPT_CLASSES {
            place(&mut classes, &asking("p", "2", &memory.to_string()), alone);
        }
        assert!(classes.weight <= KEPT_CLASSES / 2 + 1, "{}", classes.weight);
        let newest = asking("q", "2", &(KEPT_CLASSES - 1).to_string());
        let before = classes.weight;
        place(&mut classes, &newest, alone);
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
            let pod = asking("p", "2", &memory.to_string());
            classes.place(fingerprint(&pod, near), &plan, &profile, &cluster, &pod, near);
        }
        let kept: usize = classes.by_fingerprint.values().map(Vec::len).sum();
        assert!(kept <= KEPT_CLASSES / WEIGHT_IN_COMPANY, "{kept}");
        assert_eq!(classes.weight, kept * WEIGHT_IN_COMPANY);
    }
}
