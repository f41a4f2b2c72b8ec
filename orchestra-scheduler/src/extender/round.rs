//! Asks the extenders of a profile, one after the other, and holds them to what they may answer.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rand::RngCore;
use rand::rngs::SmallRng;

use super::{EXTENDER, Extender, Proposal, is_interested};
use crate::guard::guarded;
use crate::outcome::{Failure, NodeRejection};
use crate::unit::Points;
use crate::verdict::{Rejection, RejectionKind};
use crate::view::{ClusterView, NodeName, NodeView, PodView};

/// The most points an extender gives.
const MOST_POINTS: i64 = 10;

/// An answer, or the error in words; a panic is one.
fn ask<T>(
    extender: &dyn Extender,
    point: &'static str,
    call: impl FnOnce() -> Result<T, String>,
) -> Result<T, String> {
    match guarded(extender.name(), point, call) {
        Ok(answer) => answer,
        Err(failure) => Err(failure.message),
    }
}

fn failed(extender: &dyn Extender, message: String) -> Failure {
    Failure { plugin: Some(extender.name().to_owned()), message }
}

/// Those of the nodes that all extenders let pass; `refused` hears of the others.
pub(crate) fn filter<'a>(
    extenders: &[Arc<dyn Extender>],
    pod: &PodView,
    mut nodes: Vec<&'a NodeView>,
    mut refused: impl FnMut(NodeRejection),
) -> Result<Vec<&'a NodeView>, Failure> {
    for extender in extenders.iter().map(AsRef::as_ref) {
        if nodes.is_empty() {
            break;
        }
        if !extender.options().filters || !is_interested(extender, pod) {
            continue;
        }
        let answer = ask(extender, "Filter", || extender.filter(pod, &nodes)).and_then(|passed| {
            let known: HashSet<&NodeName> = nodes.iter().map(|node| node.name()).collect();
            match passed.nodes.iter().find(|name| !known.contains(name)) {
                None => Ok(passed),
                Some(stranger) => Err(format!(
                    "extender {:?} claims a filtered node {:?} which is not found in the input node list",
                    extender.name(),
                    &**stranger
                )),
            }
        });
        let passed = match answer {
            Ok(passed) => passed,
            Err(error) if extender.options().ignorable => {
                tracing::info!(extender = extender.name(), error, "an extender that can be ignored failed");
                continue;
            }
            Err(error) => return Err(failed(extender, error)),
        };
        let mut reject = |name: &String, reason: &String, kind: RejectionKind| {
            refused(NodeRejection {
                node: NodeName::from(name.as_str()),
                plugin: EXTENDER.to_owned(),
                rejection: Rejection { kind, reasons: vec![reason.clone().into()] },
            });
        };
        // Of nodes that are both, the worse counts.
        passed.hopeless.iter().for_each(|(name, why)| reject(name, why, RejectionKind::Unresolvable));
        let only_failed = passed.failed.iter().filter(|(name, _)| !passed.hopeless.contains_key(*name));
        only_failed.for_each(|(name, why)| reject(name, why, RejectionKind::Unschedulable));
        let by_name: HashMap<&NodeName, &'a NodeView> =
            nodes.iter().map(|node| (node.name(), *node)).collect();
        nodes = passed.nodes.iter().filter_map(|name| by_name.get(name).copied()).collect();
    }
    Ok(nodes)
}

/// Adds the points that extenders give. What they scored wins ties by chance, so the totals come back as places in an
/// order in which no two such nodes are equal; `None` if no extender gave points.
pub(crate) fn prioritize(
    extenders: &[Arc<dyn Extender>],
    pod: &PodView,
    nodes: &[&NodeView],
    totals: &mut [i64],
    random: &mut SmallRng,
) -> Option<Vec<i64>> {
    let mut scored: HashSet<usize> = HashSet::new();
    let mut asked = false;
    for extender in extenders.iter().map(AsRef::as_ref) {
        let weight = i64::from(extender.options().weight);
        if weight == 0 || !is_interested(extender, pod) {
            continue;
        }
        match ask(extender, "Prioritize", || extender.prioritize(pod, nodes)) {
            Ok(points) => {
                asked = true;
                let place: HashMap<&str, usize> =
                    nodes.iter().enumerate().map(|(at, node)| (&**node.name(), at)).collect();
                for (name, points) in points {
                    let Some(at) = place.get(name.as_str()).copied() else { continue };
                    let worth = points.saturating_mul(weight).saturating_mul(Points::MAX.0 / MOST_POINTS);
                    if let Some(total) = totals.get_mut(at) {
                        *total = total.saturating_add(worth);
                    }
                    scored.insert(at);
                }
            }
            // As upstream has it: whoever has nothing to say about priorities does not stop the pod.
            Err(error) => tracing::warn!(extender = extender.name(), error, "an extender gave no points"),
        }
    }
    asked.then(|| {
        let keyed: Vec<(i64, u32)> = totals
            .iter()
            .enumerate()
            .map(|(at, total)| (*total, if scored.contains(&at) { random.next_u32().max(1) } else { 0 }))
            .collect();
        let mut sorted = keyed.clone();
        sorted.sort_unstable();
        sorted.dedup();
        let place = |key| i64::try_from(sorted.partition_point(|other| *other < key)).unwrap_or(i64::MAX);
        keyed.into_iter().map(place).collect()
    })
}

/// Those of the proposals that all extenders agree to, with the victims they want.
pub(crate) fn preempt(
    extenders: &[Arc<dyn Extender>],
    cluster: &ClusterView,
    pod: &PodView,
    mut proposals: Vec<Proposal>,
) -> Result<Vec<Proposal>, String> {
    for extender in extenders.iter().map(AsRef::as_ref) {
        if proposals.is_empty() {
            break;
        }
        if !extender.options().preempts || !is_interested(extender, pod) {
            continue;
        }
        let ignorable = extender.options().ignorable;
        let answer = ask(extender, "Preempt", || extender.preempt(pod, &proposals));
        let answer = answer.and_then(|agreed| {
            let agreed = agreed.into_iter().map(|(node, victims, violations)| {
                let view = cluster.node(&node).ok_or_else(|| format!("node {:?} not found", &*node))?;
                let find = |uid: &crate::view::PodUid| {
                    view.pods().iter().find(|pod| pod.uid == *uid).cloned().ok_or_else(|| {
                        format!(
                            "extender: {} claims to preempt pod (UID: {uid}) on node: {node}, but the pod is not found on that node",
                            extender.name()
                        )
                    })
                };
                let victims: Vec<_> = victims.iter().map(find).collect::<Result<_, _>>()?;
                Ok(Proposal { node, victims, violations })
            });
            agreed.collect::<Result<Vec<_>, String>>()
        });
        let answer = answer.and_then(|mut agreed| {
            if let Some(empty) = agreed.iter().find(|one| one.victims.is_empty()).filter(|_| !ignorable) {
                return Err(format!("expected at least one victim pod on node {:?}", &*empty.node));
            }
            agreed.retain(|one| !one.victims.is_empty());
            Ok(agreed)
        });
        match answer {
            Ok(agreed) => proposals = agreed,
            Err(error) if ignorable => {
                tracing::info!(extender = extender.name(), error, "an extender that can be ignored failed");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(proposals)
}
