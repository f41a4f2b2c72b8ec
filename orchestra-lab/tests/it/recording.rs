//! What an API server said over a live run, as a workload and as decisions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use orchestra_lab::SimTime;
use orchestra_lab::workload::{NodePlan, PodPlan, Stay, Workload};
use orchestra_scheduler::view::{NodeFacts, PodView};

/// One thing that was said.
pub(crate) enum Recorded {
    Pod(Box<Pod>),
    PodGone(Box<Pod>),
    Node(Box<Node>),
    NodeGone(Box<Node>),
}

/// A decision that could be seen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Decided {
    pub(crate) at: SimTime,
    pub(crate) pod: String,
    /// The node, or why there is none.
    pub(crate) said: String,
}

pub(crate) struct Recording {
    seen: Vec<(SimTime, Recorded)>,
    end: SimTime,
}

impl Recording {
    pub(crate) fn new(seen: Vec<(SimTime, Recorded)>, end: SimTime) -> Self {
        Self { seen, end }
    }

    /// When nodes and pods came and went; what the scheduler wrote is left out.
    pub(crate) fn workload(&self) -> Workload {
        let mut workload = Workload::default();
        let mut pods = BTreeMap::new();
        for (at, one) in &self.seen {
            match one {
                Recorded::Node(node)
                    if node.status.as_ref().is_some_and(|status| status.allocatable.is_some()) =>
                {
                    let facts = Arc::new(NodeFacts::from_api(node).unwrap());
                    workload.nodes.push(NodePlan { facts, from: *at, until: None });
                }
                Recorded::Node(_) => {}
                Recorded::NodeGone(gone) => {
                    let name = gone.metadata.name.as_deref().unwrap();
                    let plan = workload.nodes.iter_mut().find(|plan| &*plan.facts.name == name).unwrap();
                    plan.until = Some(*at);
                }
                Recorded::Pod(pod) => {
                    let name = pod.metadata.name.clone().unwrap();
                    if !pods.contains_key(&name) {
                        pods.insert(name.clone(), workload.pods.len());
                        workload.classes.push(PodView::from_api(pod).unwrap());
                        let class = workload.classes.len() - 1;
                        workload.pods.push(PodPlan {
                            name: name.into(),
                            class,
                            at: *at,
                            stay: Stay::Until(self.end),
                        });
                    }
                }
                Recorded::PodGone(pod) => {
                    let index = pods[pod.metadata.name.as_deref().unwrap()];
                    workload.pods[index].stay = Stay::Until(*at);
                }
            }
        }
        workload
    }

    /// Where pods were bound, and what they were told when they were not.
    pub(crate) fn decisions(&self) -> Vec<Decided> {
        let mut decided = Vec::new();
        for (at, one) in &self.seen {
            let Recorded::Pod(pod) = one else { continue };
            let name = pod.metadata.name.clone().unwrap();
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
            let mut conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
            let refused = conditions.find(|one| one.type_ == "PodScheduled" && one.status == "False");
            let said = node.map(|node| format!("on {node}")).or(refused.and_then(|one| one.message.clone()));
            decided.extend(said.map(|said| Decided { at: *at, pod: name, said }));
        }
        settled(decided)
    }
}

/// Without what was said before, and in an order for what was said at one moment.
pub(crate) fn settled(decided: Vec<Decided>) -> Vec<Decided> {
    let mut last = BTreeMap::new();
    let mut news = |one: &Decided| last.insert(one.pod.clone(), one.said.clone()).as_ref() != Some(&one.said);
    let news: BTreeSet<Decided> = decided.into_iter().filter(|one| news(one)).collect();
    news.into_iter().collect()
}

/// Of what was said to a pod at one moment, the last: a live node comes in two steps, bare and then with what it offers, and a pod may be
/// refused in between. A node is said after all refusals.
pub(crate) fn last_words(decided: Vec<Decided>) -> Vec<Decided> {
    let mut last: Vec<Decided> = Vec::new();
    for one in decided {
        match last.last_mut().filter(|before| before.at == one.at && before.pod == one.pod) {
            Some(before) => *before = one,
            None => last.push(one),
        }
    }
    last
}
