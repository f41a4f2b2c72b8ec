//! What an engine thinks of every node for one pod; engines are held against each other by it.

use super::filter::Filters;
use super::narrow::pre_filter;
use super::reference::ReferenceEngine;
use super::score::score;
use crate::outcome::{Diagnosis, Failure};
use crate::plugin::Cycle;
use crate::profile::Profile;
use crate::view::{NodeName, NodeView, PodView};

/// The nodes that would do, in the order of the cluster, each with its weighted sum of scores.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// Node and total.
    pub feasible: Vec<(NodeName, i64)>,
}

impl ReferenceEngine {
    /// What this engine thinks of every node for `pod`, were all of them looked at and scored. Decides nothing.
    ///
    /// # Errors
    /// When a plugin fails.
    pub fn explain(profile: &Profile, cycle: &mut Cycle<'_>, pod: &PodView) -> Result<Explanation, Failure> {
        let narrowed = pre_filter(profile, cycle, pod, &mut Diagnosis::default())?;
        if narrowed.refused {
            return Ok(Explanation::default());
        }
        let filters = Filters { profile, pod, skipped: &narrowed.skipped };
        let mut nodes: Vec<&NodeView> = Vec::new();
        for node in cycle.cluster().nodes() {
            let listed = narrowed.only.as_ref().is_none_or(|only| only.contains(node.name()));
            if listed && filters.run(cycle, node)?.is_none() {
                nodes.push(node);
            }
        }
        let totals = score(profile, cycle, pod, &nodes)?;
        let named = nodes.into_iter().map(|node| node.name().clone());
        Ok(Explanation { feasible: named.zip(totals).collect() })
    }
}
