//! What one attempt to place a pod came to, and the sentence that tells the user.

mod refusals;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::effect::Effect;
use crate::verdict::{Reasons, Rejection, RejectionKind};
use crate::view::{NodeName, PodView};

pub use refusals::{Refusals, Refused};

/// The result of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A node was found.
    Chosen(Choice),
    /// No node will do.
    Rejected(Diagnosis),
    /// There are no nodes at all.
    NoNodes,
    /// Something broke; the pod is tried again later.
    Failed(Failure),
}

/// The node found, and how much was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The node.
    pub node: NodeName,
    /// How many nodes were looked at.
    pub evaluated: usize,
    /// How many of them would have done.
    pub feasible: usize,
}

/// An error inside an attempt, as upstream words it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The plugin at fault, if it was one.
    pub plugin: Option<String>,
    /// In words; names the plugin.
    pub message: String,
}

/// Why one node was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRejection {
    /// The node.
    pub node: NodeName,
    /// The plugin that refused it.
    pub plugin: String,
    /// Why.
    pub rejection: Rejection,
}

/// Why no node will do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnosis {
    /// How many nodes there are.
    pub node_count: usize,
    /// The pod was refused before any node was looked at.
    pub pre_filter: Option<Rejection>,
    /// The nodes refused, one by one.
    pub nodes: Refusals,
    /// How many nodes were left out by a narrowing before filtering, and why.
    pub excluded: Option<Box<Exclusion>>,
    /// What the attempt to help left to say.
    pub post_filter: Reasons,
    /// Plugins that refused something; changes they care about bring the pod back.
    pub plugins: BTreeSet<String>,
    /// The node on which room is being made.
    pub nominated: Option<NodeName>,
    /// The pods that have to go for that, the most important first.
    pub victims: Vec<Arc<PodView>>,
    /// What was promised to the pod earlier is void.
    pub withdrawn: bool,
    /// What may help it, to be done without waiting for it.
    pub repairs: Vec<Effect>,
}

/// Nodes that a plugin ruled out before filtering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exclusion {
    /// How many.
    pub count: usize,
    /// The reason counted for each.
    pub reason: String,
}

impl Diagnosis {
    /// A single refusal of a node that was already chosen (upstream counts one node then).
    #[must_use]
    pub fn after_choice(node: NodeName, plugin: &str, rejection: Rejection) -> Self {
        Self {
            node_count: 1,
            plugins: BTreeSet::from([plugin.to_owned()]),
            nodes: Refusals::from_iter([NodeRejection { node, plugin: plugin.to_owned(), rejection }]),
            ..Self::default()
        }
    }

    /// Whether preemption could help on some node.
    #[must_use]
    pub fn is_resolvable(&self) -> bool {
        match &self.pre_filter {
            Some(rejection) => rejection.kind == RejectionKind::Unschedulable,
            None => self.nodes.alike().any(|(_, why, _)| why.kind == RejectionKind::Unschedulable),
        }
    }

    /// The text of the `PodScheduled` condition and the `FailedScheduling` event.
    #[must_use]
    pub fn message(&self) -> String {
        let mut message = format!("0/{} nodes are available:", self.node_count);
        let listed = match &self.pre_filter {
            Some(rejection) => rejection.reasons.join(", "),
            None => self.counted_reasons(),
        };
        if !listed.is_empty() {
            message.push_str(&format!(" {listed}."));
        }
        if !self.post_filter.is_empty() {
            message.push_str(&format!(" {}", self.post_filter.join(", ")));
        }
        message
    }

    fn counted_reasons(&self) -> String {
        let mut counts: BTreeMap<Cow<'_, str>, usize> = BTreeMap::new();
        for (_, rejection, nodes) in self.nodes.alike() {
            for reason in &rejection.reasons {
                *counts.entry(Cow::Borrowed(reason)).or_default() += nodes;
            }
        }
        if let Some(exclusion) = self.excluded.as_ref().filter(|exclusion| exclusion.count > 0) {
            *counts.entry(Cow::Borrowed(&exclusion.reason)).or_default() += exclusion.count;
        }
        let mut entries: Vec<String> =
            counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        entries.sort_unstable();
        entries.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusals(groups: &[(usize, &[&'static str])]) -> Diagnosis {
        let nodes = groups.iter().flat_map(|(count, reasons)| {
            std::iter::repeat_n(reasons, *count).map(|reasons| NodeRejection {
                node: NodeName::from("n"),
                plugin: "p".into(),
                rejection: Rejection {
                    kind: RejectionKind::Unschedulable,
                    reasons: reasons.iter().map(|reason| Cow::Borrowed(*reason)).collect(),
                },
            })
        });
        let nodes: Refusals = nodes.collect();
        Diagnosis { node_count: nodes.len(), nodes, ..Diagnosis::default() }
    }

    #[test]
    fn reasons_are_counted_per_node_and_sorted_as_plain_text() {
        let diagnosis = refusals(&[(2, &["y"]), (10, &["x"])]);
        assert_eq!(diagnosis.message(), "0/12 nodes are available: 10 x, 2 y.");
    }

    #[test]
    fn a_node_may_add_several_reasons() {
        let diagnosis = refusals(&[(1, &["Insufficient cpu", "Insufficient memory"])]);
        assert_eq!(
            diagnosis.message(),
            "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory."
        );
    }

    #[test]
    fn what_the_post_filter_says_follows_without_a_full_stop() {
        let mut diagnosis =
            refusals(&[(2, &["node(s) had untolerated taint(s)"]), (3, &["Insufficient cpu"])]);
        diagnosis.post_filter = vec!["no new claims to deallocate".into(), "preemption: x".into()];
        assert_eq!(
            diagnosis.message(),
            "0/5 nodes are available: 2 node(s) had untolerated taint(s), 3 Insufficient cpu. \
             no new claims to deallocate, preemption: x"
        );
    }

    #[test]
    fn a_refusal_before_filtering_is_told_without_a_count() {
        let rejection = Rejection::unresolvable("pod has unbound immediate PersistentVolumeClaims");
        let diagnosis = Diagnosis { node_count: 5, pre_filter: Some(rejection), ..Diagnosis::default() };
        assert_eq!(
            diagnosis.message(),
            "0/5 nodes are available: pod has unbound immediate PersistentVolumeClaims."
        );
    }

    #[test]
    fn excluded_nodes_are_counted_with_the_reason_of_the_node_set() {
        let mut diagnosis = refusals(&[(1, &["Too many pods"])]);
        diagnosis.node_count = 3;
        diagnosis.excluded =
            Some(Box::new(Exclusion { count: 2, reason: "node(s) didn't satisfy plugin(s) [A]".into() }));
        assert_eq!(
            diagnosis.message(),
            "0/3 nodes are available: 1 Too many pods, 2 node(s) didn't satisfy plugin(s) [A]."
        );
    }
}
