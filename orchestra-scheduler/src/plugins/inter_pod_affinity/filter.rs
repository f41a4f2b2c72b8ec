//! What is required: by the incoming pod of its neighbours, and by those that are there already.

use super::{Bond, ByDomain, InterPodAffinity, Newcomer, domain};
use crate::plugin::{Adjust, Cycle, Filter, PreFilter};
use crate::verdict::{PreFiltered, Verdict};
use crate::view::{NodeView, PodView};

const NO_FRIENDS: &str = "node(s) didn't match pod affinity rules";
const OWN_FOES: &str = "node(s) didn't match pod anti-affinity rules";
const FOES_OF_OTHERS: &str = "node(s) didn't satisfy existing pods anti-affinity rules";

/// Who is where, as far as the required terms go.
#[derive(Clone, Debug)]
struct Neighbours {
    newcomer: Newcomer,
    /// Pods that want the incoming pod away, by the domain they want it away from.
    averse: ByDomain,
    /// Pods that match all its affinity terms, by the domains of those terms.
    friends: ByDomain,
    /// Pods that match one of its anti-affinity terms, by the domain of that term.
    foes: ByDomain,
}

impl Neighbours {
    /// A pod is on a node (`by` 1) or is not any more (−1).
    fn shift(&mut self, pod: &PodView, other: &PodView, node: &NodeView, by: i64) {
        let Self { newcomer, averse, friends, foes } = self;
        newcomer.bonds(pod, other, |bond, key| {
            let counts = match bond {
                Bond::Averse => &mut *averse,
                Bond::Friend => &mut *friends,
                Bond::Foe => &mut *foes,
            };
            let Some(domain) = domain(node.facts(), key) else { return };
            let count = counts.entry(domain.clone()).or_default();
            *count += by;
            if *count == 0 {
                counts.remove(&domain);
            }
        });
    }
}

impl PreFilter for InterPodAffinity {
    fn pre_filter(&self, cycle: &mut Cycle<'_>, pod: &PodView) -> PreFiltered {
        let cluster = cycle.cluster();
        let mut neighbours = Neighbours {
            newcomer: Newcomer::of(cluster, pod),
            averse: ByDomain::new(),
            friends: ByDomain::new(),
            foes: ByDomain::new(),
        };
        let indifferent = pod.affinity.required.is_empty() && pod.affinity.required_anti.is_empty();
        for node in cluster.nodes() {
            let others = if indifferent { node.pods_with_affinity() } else { node.pods() };
            others.iter().for_each(|other| neighbours.shift(pod, other, node, 1));
        }
        let own = &neighbours.newcomer.own;
        if neighbours.averse.is_empty() && own.required.is_empty() && own.required_anti.is_empty() {
            return PreFiltered::Skip;
        }
        cycle.note(neighbours);
        PreFiltered::All
    }
}

impl Adjust for InterPodAffinity {
    fn added(&self, cycle: &mut Cycle<'_>, pod: &PodView, added: &PodView, node: &NodeView) {
        if let Some(neighbours) = cycle.noted_mut::<Neighbours>() {
            neighbours.shift(pod, added, node, 1);
        }
    }

    fn removed(&self, cycle: &mut Cycle<'_>, pod: &PodView, removed: &PodView, node: &NodeView) {
        if let Some(neighbours) = cycle.noted_mut::<Neighbours>() {
            neighbours.shift(pod, removed, node, -1);
        }
    }
}

impl Filter for InterPodAffinity {
    fn filter(&self, cycle: &Cycle<'_>, pod: &PodView, node: &NodeView) -> Verdict {
        let Some(neighbours) = cycle.noted::<Neighbours>() else { return Verdict::Pass };
        if !has_friends(neighbours, pod, node) {
            return Verdict::unresolvable(NO_FRIENDS);
        }
        let facts = node.facts();
        let met = |counts: &ByDomain, key: &str| {
            domain(facts, key).is_some_and(|domain| counts.get(&domain).is_some_and(|count| *count > 0))
        };
        if neighbours.newcomer.own.required_anti.iter().any(|term| met(&neighbours.foes, &term.topology_key))
        {
            return Verdict::unschedulable(OWN_FOES);
        }
        let averse = |((key, value), count): (&(Box<str>, String), &i64)| {
            *count > 0 && facts.labels.get(&**key) == Some(value)
        };
        if neighbours.averse.iter().any(averse) {
            return Verdict::unschedulable(FOES_OF_OTHERS);
        }
        Verdict::Pass
    }
}

/// Whether every affinity term is fulfilled on a node. The first pod of a group finds nobody anywhere and is let in if
/// it would fulfil its own terms.
fn has_friends(neighbours: &Neighbours, pod: &PodView, node: &NodeView) -> bool {
    let mut all_met = true;
    for term in &neighbours.newcomer.own.required {
        let Some(domain) = domain(node.facts(), &term.topology_key) else { return false };
        all_met &= neighbours.friends.get(&domain).is_some_and(|count| *count > 0);
    }
    all_met || (neighbours.friends.is_empty() && neighbours.newcomer.is_a_friend_of_its_own(pod))
}
