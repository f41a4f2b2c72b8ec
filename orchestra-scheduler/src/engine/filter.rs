//! `Filter` on one node, as it is and as it might be, and `PostFilter`.

use std::sync::Arc;

use rand::RngCore;
use rand::rngs::SmallRng;

use super::explain::{FilterSaid, FilterVerdict};
use super::narrow::Skipped;
use crate::guard::{failure, guarded};
use crate::outcome::{Diagnosis, Failure, NodeRejection, Outcome};
use crate::plugin::{Cycle, Filter, PostFilter, Refilter, Trial};
use crate::profile::Profile;
use crate::verdict::{Nomination, Verdict};
use crate::view::{NodeView, PodUid, PodView};

/// The filters of a profile for one pod.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filters<'a> {
    pub(super) profile: &'a Profile,
    pub(super) pod: &'a PodView,
    pub(super) skipped: &'a Skipped,
}

impl<'a> Filters<'a> {
    /// Runs the filters on one node; with pods nominated for it, both with and without them.
    pub(super) fn run(self, cycle: &Cycle<'_>, node: &NodeView) -> Result<Option<NodeRejection>, Failure> {
        if let Some((crowded, thought)) = self.crowded(cycle, node)?
            && let Some(rejected) = self.run_as_is(&thought, &crowded)?
        {
            return Ok(Some(rejected));
        }
        self.run_as_is(cycle, node)
    }

    /// The node with the pods on it that are promised room there and come first, if there are any.
    fn crowded<'c>(
        self,
        cycle: &Cycle<'c>,
        node: &NodeView,
    ) -> Result<Option<(NodeView, Cycle<'c>)>, Failure> {
        let promised = cycle.cluster().nominated(node.name()).iter();
        let rivals: Vec<_> = promised
            .filter(|other| other.priority >= self.pod.priority && other.uid != self.pod.uid)
            .collect();
        if rivals.is_empty() {
            return Ok(None);
        }
        let (mut crowded, mut thought) = (node.clone(), cycle.fork());
        for rival in rivals {
            crowded.add(rival.clone());
            self.added(&mut thought, rival, &crowded)?;
        }
        Ok(Some((crowded, thought)))
    }

    /// What every filter says of one node, also those that are not asked any more once another refused it.
    pub(super) fn verdicts(self, cycle: &Cycle<'_>, node: &NodeView) -> Vec<FilterVerdict<'a>> {
        let crowded = self.crowded(cycle, node);
        let ask = |plugin: &dyn Filter, cycle: &Cycle<'_>, node: &NodeView| {
            let verdict = guarded(plugin.name(), "Filter", || plugin.filter(cycle, self.pod, node));
            verdict.unwrap_or_else(|failure| Verdict::Fail(failure.message))
        };
        let say = |(plugin, skipped): (&'a Arc<dyn Filter>, &bool)| {
            let beside = || match &crowded {
                Ok(Some((crowded, thought))) => ask(&**plugin, thought, crowded),
                Ok(None) => Verdict::Pass,
                Err(failure) => Verdict::Fail(failure.message.clone()),
            };
            let said = match *skipped {
                true => FilterSaid::Skipped,
                false => match beside() {
                    Verdict::Reject(rejection) => FilterSaid::RefusedBesidePromised(rejection),
                    Verdict::Fail(message) => FilterSaid::Failed(message),
                    Verdict::Pass => match ask(&**plugin, cycle, node) {
                        Verdict::Pass => FilterSaid::Passed,
                        Verdict::Reject(rejection) => FilterSaid::Refused(rejection),
                        Verdict::Fail(message) => FilterSaid::Failed(message),
                    },
                },
            };
            FilterVerdict { plugin: plugin.name(), said }
        };
        self.profile.filter.iter().zip(&self.skipped.filters).map(say).collect()
    }

    /// Runs the filters on one node, whoever it has been promised to.
    pub(super) fn run_as_is(
        self,
        cycle: &Cycle<'_>,
        node: &NodeView,
    ) -> Result<Option<NodeRejection>, Failure> {
        for (plugin, _) in self.profile.filter.iter().zip(&self.skipped.filters).filter(|(_, skip)| !**skip) {
            let name = plugin.name();
            match guarded(name, "Filter", || plugin.filter(cycle, self.pod, node))? {
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

    fn added(self, cycle: &mut Cycle<'_>, added: &PodView, node: &NodeView) -> Result<(), Failure> {
        for (plugin, _) in self.profile.adjust.iter().zip(&self.skipped.adjusters).filter(|(_, skip)| !**skip)
        {
            guarded(plugin.name(), "AddPod", || plugin.added(cycle, self.pod, added, node))?;
        }
        Ok(())
    }

    fn removed(self, cycle: &mut Cycle<'_>, removed: &PodView, node: &NodeView) -> Result<(), Failure> {
        for (plugin, _) in self.profile.adjust.iter().zip(&self.skipped.adjusters).filter(|(_, skip)| !**skip)
        {
            guarded(plugin.name(), "RemovePod", || plugin.removed(cycle, self.pod, removed, node))?;
        }
        Ok(())
    }
}

/// The filters for one pod, for those who try nodes as they might be.
pub(super) struct Again<'a> {
    pub(super) filters: Filters<'a>,
    pub(super) cycle: &'a Cycle<'a>,
    pub(super) chance: u32,
}

impl Refilter for Again<'_> {
    fn trial<'t>(&'t self, node: &'t NodeView) -> Box<dyn Trial + 't> {
        Box::new(Tried { filters: self.filters, cycle: self.cycle.fork(), node: node.clone(), broken: None })
    }

    fn chance(&self, end: usize) -> usize {
        // Multiplied and cut, so that every number has the same share of the range.
        let scaled = (u128::from(self.chance) * end as u128) >> u32::BITS;
        usize::try_from(scaled).unwrap_or(0)
    }
}

struct Tried<'a> {
    filters: Filters<'a>,
    cycle: Cycle<'a>,
    node: NodeView,
    /// A plugin that broke while pods came and went.
    broken: Option<Failure>,
}

impl Trial for Tried<'_> {
    fn node(&self) -> &NodeView {
        &self.node
    }

    fn add(&mut self, pod: Arc<PodView>) {
        self.node.add(pod.clone());
        let told = self.filters.added(&mut self.cycle, &pod, &self.node);
        self.broken = self.broken.take().or(told.err());
    }

    fn remove(&mut self, uid: &PodUid) {
        let Some(pod) = self.node.remove(uid) else { return };
        let told = self.filters.removed(&mut self.cycle, &pod, &self.node);
        self.broken = self.broken.take().or(told.err());
    }

    fn refusal(&self) -> Result<Option<NodeRejection>, Failure> {
        match &self.broken {
            Some(failure) => Err(failure.clone()),
            None => self.filters.run(&self.cycle, &self.node),
        }
    }
}

/// Runs `PostFilter`: asks one plugin after the other to help the pod.
pub(super) fn post_filter(
    filters: Filters<'_>,
    cycle: &Cycle<'_>,
    diagnosis: Diagnosis,
    random: &mut SmallRng,
) -> Result<Outcome, Failure> {
    post_filter_asking(filters, cycle, diagnosis, random, |plugin, diagnosis, again| {
        plugin.post_filter(cycle, filters.pod, diagnosis, again)
    })
}

/// The same where `ask` asks the plugins.
pub(super) fn post_filter_asking(
    filters: Filters<'_>,
    cycle: &Cycle<'_>,
    mut diagnosis: Diagnosis,
    random: &mut SmallRng,
    mut ask: impl FnMut(&dyn PostFilter, &Diagnosis, &Again<'_>) -> Nomination,
) -> Result<Outcome, Failure> {
    if filters.profile.post_filter.is_empty() {
        return Ok(Outcome::Rejected(diagnosis));
    }
    let again = Again { filters, cycle, chance: random.next_u32() };
    for plugin in &filters.profile.post_filter {
        let name = plugin.name();
        match guarded(name, "PostFilter", || ask(&**plugin, &diagnosis, &again))? {
            Nomination::Node(node) => {
                diagnosis.nominated = Some(node);
                diagnosis.post_filter.clear();
                break;
            }
            Nomination::Preempt { node, victims } => {
                diagnosis.nominated = Some(node);
                diagnosis.victims = victims;
                diagnosis.post_filter.clear();
                break;
            }
            Nomination::Void(reasons) => {
                diagnosis.withdrawn = true;
                diagnosis.post_filter.extend(reasons);
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
