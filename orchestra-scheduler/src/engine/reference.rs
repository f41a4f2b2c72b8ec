//! The plain reading of upstream's scheduling cycle: look at one node after the other, then score what is left.

use std::collections::BTreeSet;
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::Engine;
use super::select::{nodes_to_find, winner};
use crate::guard::{failure, guarded};
use crate::outcome::{Choice, Diagnosis, Exclusion, Failure, NodeRejection, Outcome};
use crate::plugin::{Cycle, Refilter};
use crate::profile::Profile;
use crate::unit::Points;
use crate::verdict::{Nomination, PreFiltered, PreScored, Rejection, RejectionKind, Verdict};
use crate::view::{NodeName, NodeView, PodView};

/// The engine that scans.
#[derive(Debug)]
pub struct ReferenceEngine {
    pub(super) next_start: usize,
    pub(super) random: SmallRng,
}

impl ReferenceEngine {
    /// An engine whose chance comes from `seed`.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self { next_start: 0, random: SmallRng::seed_from_u64(seed) }
    }
}

impl Engine for ReferenceEngine {
    fn place(&mut self, profile: &Profile, cycle: &mut Cycle<'_>, pod: &PodView) -> Outcome {
        match self.attempt(profile, cycle, pod) {
            Ok(outcome) => outcome,
            Err(failure) => Outcome::Failed(failure),
        }
    }
}

/// What the plugins said before any node was looked at.
#[derive(Debug, Default)]
pub(super) struct Narrowed {
    /// Filters, by position in the profile, that have nothing to say.
    pub(super) skipped: Vec<bool>,
    pub(super) only: Option<BTreeSet<NodeName>>,
    narrowing: Vec<String>,
}

/// The nodes that passed, and why the others did not.
struct Searched<'a> {
    feasible: Vec<&'a NodeView>,
    rejected: Vec<NodeRejection>,
}

impl ReferenceEngine {
    fn attempt(
        &mut self,
        profile: &Profile,
        cycle: &mut Cycle<'_>,
        pod: &PodView,
    ) -> Result<Outcome, Failure> {
        if cycle.cluster().node_count() == 0 {
            return Ok(Outcome::NoNodes);
        }
        let mut diagnosis = Diagnosis { node_count: cycle.cluster().node_count(), ..Diagnosis::default() };
        let Some(narrowed) = pre_filter(profile, cycle, pod, &mut diagnosis)? else {
            return post_filter(profile, cycle, pod, &vec![false; profile.filter.len()], diagnosis);
        };
        let listed: Vec<&NodeView> = cycle
            .cluster()
            .nodes()
            .map(Arc::as_ref)
            .filter(|node| narrowed.only.as_ref().is_none_or(|only| only.contains(node.name())))
            .collect();
        self.decide(profile, cycle, pod, &narrowed, &listed, diagnosis)
    }

    /// Searches the nodes that are left after `PreFilter`, in their order, and chooses.
    pub(super) fn decide<'a>(
        &mut self,
        profile: &Profile,
        cycle: &mut Cycle<'a>,
        pod: &PodView,
        narrowed: &Narrowed,
        listed: &[&'a NodeView],
        mut diagnosis: Diagnosis,
    ) -> Result<Outcome, Failure> {
        let searched = self.search(profile, cycle, pod, narrowed, listed)?;
        let evaluated = searched.feasible.len() + searched.rejected.len();
        if searched.feasible.is_empty() {
            diagnosis.plugins.extend(searched.rejected.iter().map(|rejected| rejected.plugin.clone()));
            diagnosis.nodes = searched.rejected;
            if narrowed.only.is_some() {
                diagnosis.plugins.extend(narrowed.narrowing.iter().cloned());
                diagnosis.excluded = Some(Exclusion {
                    count: diagnosis.node_count - listed.len(),
                    reason: format!("node(s) didn't satisfy plugin(s) [{}]", narrowed.narrowing.join(" ")),
                });
            }
            return post_filter(profile, cycle, pod, &narrowed.skipped, diagnosis);
        }
        let index = match searched.feasible.len() {
            1 => Some(0),
            _ => {
                let totals = score(profile, cycle, pod, &searched.feasible)?;
                winner(&totals, profile.tie_break, &mut self.random)
            }
        };
        let chosen = index.and_then(|index| searched.feasible.get(index)).copied();
        let chosen =
            chosen.ok_or_else(|| Failure { plugin: None, message: "no node was selected".to_owned() })?;
        let feasible = searched.feasible.len();
        Ok(Outcome::Chosen(Choice { node: chosen.name().clone(), evaluated, feasible }))
    }

    fn search<'a>(
        &mut self,
        profile: &Profile,
        cycle: &mut Cycle<'a>,
        pod: &PodView,
        narrowed: &Narrowed,
        listed: &[&'a NodeView],
    ) -> Result<Searched<'a>, Failure> {
        let cluster = cycle.cluster();
        let mut searched = Searched { feasible: Vec::new(), rejected: Vec::new() };
        let mut nominated = None;
        if let Some(node) = pod.nominated.as_ref().and_then(|name| cluster.node(name)) {
            match filter(profile, cycle, pod, node, &narrowed.skipped)? {
                None => {
                    searched.feasible.push(node);
                    return Ok(searched);
                }
                Some(rejected) => nominated = Some(rejected),
            }
        }
        let wanted = if profile.score.is_empty() { 1 } else { nodes_to_find(profile.sampling, listed.len()) };
        let start = if listed.is_empty() { 0 } else { self.next_start % listed.len() };
        for node in listed.iter().cycle().skip(start).take(listed.len()) {
            match filter(profile, cycle, pod, node, &narrowed.skipped)? {
                Some(rejected) => searched.rejected.push(rejected),
                None if searched.feasible.len() == wanted => break,
                None => searched.feasible.push(node),
            }
        }
        if let Some(nominated) = nominated
            && !searched.rejected.iter().any(|rejected| rejected.node == nominated.node)
        {
            searched.rejected.push(nominated);
        }
        let processed = searched.feasible.len() + searched.rejected.len();
        self.next_start = (self.next_start + processed) % cluster.node_count().max(1);
        Ok(searched)
    }
}

/// Runs `PreFilter`; `None` when the pod was refused, with the reason in `diagnosis`.
pub(super) fn pre_filter(
    profile: &Profile,
    cycle: &mut Cycle<'_>,
    pod: &PodView,
    diagnosis: &mut Diagnosis,
) -> Result<Option<Narrowed>, Failure> {
    let mut narrowed = Narrowed { skipped: vec![false; profile.filter.len()], ..Narrowed::default() };
    let mut refused: Option<Rejection> = None;
    for plugin in &profile.pre_filter {
        let name = plugin.name();
        match guarded(name, "PreFilter", || plugin.pre_filter(cycle, pod))? {
            PreFiltered::All => {}
            PreFiltered::Only(nodes) => {
                narrowed.narrowing.push(name.to_owned());
                narrowed.only = Some(match narrowed.only.take() {
                    Some(only) => only.intersection(&nodes).cloned().collect(),
                    None => nodes,
                });
                if narrowed.only.as_ref().is_some_and(BTreeSet::is_empty) {
                    let text = match narrowed.narrowing.as_slice() {
                        [one] => format!("node(s) didn't satisfy plugin {one}"),
                        many => {
                            format!("node(s) didn't satisfy plugin(s) [{}] simultaneously", many.join(" "))
                        }
                    };
                    diagnosis.plugins.extend(narrowed.narrowing);
                    diagnosis.pre_filter = Some(Rejection::unresolvable(text));
                    return Ok(None);
                }
            }
            PreFiltered::Skip => {
                for (skip, filter) in narrowed.skipped.iter_mut().zip(&profile.filter) {
                    *skip |= filter.name() == name;
                }
            }
            PreFiltered::Reject(rejection) => {
                diagnosis.plugins.insert(name.to_owned());
                let hopeless = rejection.kind == RejectionKind::Unresolvable;
                refused = Some(rejection);
                if hopeless {
                    break;
                }
            }
            PreFiltered::Fail(error) => {
                return Err(failure(name, format!("running PreFilter plugin {name:?}: {error}")));
            }
        }
    }
    diagnosis.pre_filter = refused;
    Ok(diagnosis.pre_filter.is_none().then_some(narrowed))
}

/// Runs the filters on one node; with pods nominated for it, both with and without them.
pub(super) fn filter(
    profile: &Profile,
    cycle: &Cycle<'_>,
    pod: &PodView,
    node: &NodeView,
    skipped: &[bool],
) -> Result<Option<NodeRejection>, Failure> {
    let promised = cycle.cluster().nominated(node.name()).iter();
    let rivals: Vec<_> =
        promised.filter(|other| other.priority >= pod.priority && other.uid != pod.uid).collect();
    if !rivals.is_empty() {
        let mut crowded = node.clone();
        for rival in rivals {
            crowded.add(rival.clone());
        }
        if let Some(rejected) = filter_as_is(profile, cycle, pod, &crowded, skipped)? {
            return Ok(Some(rejected));
        }
    }
    filter_as_is(profile, cycle, pod, node, skipped)
}

pub(super) fn filter_as_is(
    profile: &Profile,
    cycle: &Cycle<'_>,
    pod: &PodView,
    node: &NodeView,
    skipped: &[bool],
) -> Result<Option<NodeRejection>, Failure> {
    for (plugin, skip) in profile.filter.iter().zip(skipped) {
        if *skip {
            continue;
        }
        let name = plugin.name();
        match guarded(name, "Filter", || plugin.filter(cycle, pod, node))? {
            Verdict::Pass => {}
            Verdict::Reject(rejection) => {
                return Ok(Some(NodeRejection {
                    node: node.name().clone(),
                    plugin: name.to_owned(),
                    rejection,
                }));
            }
            Verdict::Fail(error) => {
                return Err(failure(name, format!("running {name:?} filter plugin: {error}")));
            }
        }
    }
    Ok(None)
}

/// The filters for one pod, for those who try nodes as they might be.
struct Again<'a> {
    profile: &'a Profile,
    cycle: &'a Cycle<'a>,
    pod: &'a PodView,
    skipped: &'a [bool],
}

impl Refilter for Again<'_> {
    fn passes(&self, node: &NodeView) -> bool {
        matches!(filter(self.profile, self.cycle, self.pod, node, self.skipped), Ok(None))
    }
}

fn post_filter(
    profile: &Profile,
    cycle: &Cycle<'_>,
    pod: &PodView,
    skipped: &[bool],
    mut diagnosis: Diagnosis,
) -> Result<Outcome, Failure> {
    let filters = Again { profile, cycle, pod, skipped };
    for plugin in &profile.post_filter {
        let name = plugin.name();
        match guarded(name, "PostFilter", || plugin.post_filter(cycle, pod, &diagnosis, &filters))? {
            Nomination::Node(node) => {
                diagnosis.nominated = Some(node);
                diagnosis.post_filter.clear();
                break;
            }
            Nomination::Nothing(reasons) => diagnosis.post_filter.extend(reasons),
            Nomination::Hopeless(reasons) => {
                diagnosis.post_filter.extend(reasons);
                break;
            }
            Nomination::Fail(error) => {
                diagnosis.post_filter = vec![error.into()];
                break;
            }
        }
    }
    Ok(Outcome::Rejected(diagnosis))
}

/// The weighted sum of all scores for each feasible node.
pub(super) fn score(
    profile: &Profile,
    cycle: &mut Cycle<'_>,
    pod: &PodView,
    nodes: &[&NodeView],
) -> Result<Vec<i64>, Failure> {
    let mut skipped = BTreeSet::new();
    for plugin in &profile.pre_score {
        let name = plugin.name();
        match guarded(name, "PreScore", || plugin.pre_score(cycle, pod, nodes))? {
            PreScored::Score => {}
            PreScored::Skip => {
                skipped.insert(name);
            }
            PreScored::Fail(error) => {
                return Err(failure(name, format!("running PreScore plugin {name:?}: {error}")));
            }
        }
    }
    let mut totals = vec![0_i64; nodes.len()];
    for scorer in profile.score.iter().filter(|scorer| !skipped.contains(scorer.plugin.name())) {
        let name = scorer.plugin.name();
        let mut points = Vec::with_capacity(nodes.len());
        for node in nodes {
            points.push(guarded(name, "Score", || scorer.plugin.score(cycle, pod, node))?);
        }
        if let Some(plugin) = &scorer.normalise {
            guarded(name, "NormalizeScore", || plugin.normalise(cycle, pod, nodes, &mut points))?;
        }
        for (total, points) in totals.iter_mut().zip(&points) {
            if !(Points::MIN..=Points::MAX).contains(points) {
                return Err(failure(
                    name,
                    format!(
                        "plugin {name:?} returns an invalid score {}, it should in the range of [{}, {}] after normalizing",
                        points.0,
                        Points::MIN.0,
                        Points::MAX.0
                    ),
                ));
            }
            *total = total.saturating_add(points.0.saturating_mul(i64::from(scorer.weight)));
        }
    }
    Ok(totals)
}

#[cfg(test)]
mod tests;
