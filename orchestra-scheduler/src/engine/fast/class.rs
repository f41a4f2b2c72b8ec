//! Pods that no plugin of the index can tell apart.

use std::any::Any;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::answers::AllAnswers;
use super::around::Around;
use super::index::Index;
use super::judge::Judge;
use super::plan::{Plan, is_about_others};
use super::table::Table;
use crate::engine::narrow::pre_filter_of;
use crate::plugin::Cycle;
use crate::plugin::Plugin as _;
use crate::profile::{Profile, Scorer};
use crate::unit::{NonZero, Resources};
use crate::verdict::PreScored;
use crate::view::{ClusterView, Demand, HostPort, Labels, NodeName, PlacementRules, PodAffinity, PodView};

/// In which ways other pods matter to a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Company {
    /// It is spread with others of its group.
    pub(super) spread: bool,
    /// It may want others near or away, or be wanted so.
    pub(super) near: bool,
}

impl Company {
    /// Whether no other pod matters.
    pub(super) fn is_alone(self) -> bool {
        self == Self::default()
    }
}

/// What local plugins look at; equal traits, equal answers.
#[derive(PartialEq, Eq)]
struct Traits<'a> {
    node: &'a Option<NodeName>,
    requests: &'a Resources,
    scored: NonZero,
    host_ports: &'a [HostPort],
    rules: &'a PlacementRules,
    /// Where and by what others find the pod, if it is in company.
    found_by: Option<(&'a Arc<str>, &'a Labels)>,
    affinity: Option<&'a Arc<PodAffinity>>,
}

impl<'a> Traits<'a> {
    fn of(pod: &'a PodView, company: Company) -> Self {
        // Field by field, so that whoever adds one has to say here whether a plugin of the index looks at it.
        let PodView {
            node,
            demand,
            rules,
            key,
            labels,
            affinity,
            // Volumes take nodes away for one pod: see `mounted`.
            mounts: _,
            group: _,
            uid: _,
            scheduler: _,
            generation: _,
            nominated: _,
            priority: _,
            started: _,
            preempted: _,
            terminating: _,
            finished: _,
            reported: _,
        } = pod;
        let Demand { requests, scored, host_ports, occupied: _ } = &**demand;
        let found_by = (!company.is_alone()).then_some((&key.namespace, &**labels));
        let affinity = company.near.then_some(affinity);
        Self { node, requests, scored: *scored, host_ports, rules, found_by, affinity }
    }
}

/// A number that pods of one class share, and pods of different classes seldom do.
pub(super) fn fingerprint(pod: &PodView, company: Company) -> u64 {
    let (mut hasher, rules) = (DefaultHasher::new(), &pod.rules);
    (&pod.node, &pod.demand.requests, pod.demand.scored, &pod.demand.host_ports).hash(&mut hasher);
    (&rules.node_selector, &rules.required_affinity, &rules.preferred_affinity).hash(&mut hasher);
    (&rules.tolerations, &rules.owner, &rules.images, rules.spread.len()).hash(&mut hasher);
    company.hash(&mut hasher);
    if !company.is_alone() {
        (&pod.key.namespace, &pod.labels).hash(&mut hasher);
    }
    hasher.finish()
}

/// Whether devices may stand for what the pod asks for. What classes stand for changes without the nodes: as long as some
/// class does, the pod is not looked for in the index, and what the index says of pods like it holds again afterwards.
pub(super) fn wants_devices(cluster: &ClusterView, pod: &PodView) -> bool {
    pod.class_resources(cluster).next().is_some()
}

/// Whether nothing but nodes, volumes and other pods matters to the pod.
pub(super) fn is_tractable(pod: &PodView) -> bool {
    let requests = &pod.demand.requests;
    let native = [requests.cpu.0, requests.memory.0, requests.ephemeral_storage.0];
    // Below nothing, sums and scores leave the range in which the index can be trusted to keep them.
    let negative = native.iter().chain(requests.scalars.values()).any(|amount| *amount < 0)
        || pod.demand.scored.cpu.0 < 0
        || pod.demand.scored.memory.0 < 0;
    !negative && pod.rules.device_claims.is_empty()
}

/// How pods of a class are placed.
#[derive(Debug)]
pub(super) enum Treatment {
    /// By the reference engine: the index cannot speak for them.
    Reference,
    /// From the index.
    Index(Box<Index>),
}

/// A class of pods.
#[derive(Debug)]
pub(super) struct Class {
    exemplar: PodView,
    pub(super) company: Company,
    pub(super) treatment: Treatment,
    /// When it was last asked for.
    pub(super) used: u64,
}

impl Class {
    /// The class of `pod`, with nothing known yet of any node.
    pub(super) fn of(
        plan: &Plan,
        profile: &Profile,
        cluster: &ClusterView,
        pod: &PodView,
        company: Company,
    ) -> Self {
        let exemplar = PodView { mounts: Arc::default(), ..pod.clone() };
        let treatment = Treatment::of(plan, profile, cluster, &exemplar, company);
        Self { exemplar, company, treatment, used: 0 }
    }

    /// Whether `pod` is of this class.
    pub(super) fn contains(&self, pod: &PodView, company: Company) -> bool {
        self.company == company && Traits::of(&self.exemplar, company) == Traits::of(pod, company)
    }

    /// The number of the answers it shares with others, if it shares any.
    pub(super) fn answers(&self) -> Option<u64> {
        match &self.treatment {
            Treatment::Reference => None,
            Treatment::Index(index) => index.answers(),
        }
    }

    /// The index, up to date with the table and the cluster it was synced with.
    pub(super) fn index(
        &mut self,
        plan: &Plan,
        profile: &Profile,
        cluster: &ClusterView,
        table: &Table,
        answers: &mut AllAnswers,
    ) -> Option<&mut Index> {
        let Treatment::Index(index) = &mut self.treatment else { return None };
        let judge = Judge { plan, profile, cycle: Cycle::new(cluster), pod: &self.exemplar };
        if index.answers() == Some(AllAnswers::UNKNOWN) {
            index.find_answers(answers, &self.exemplar);
        }
        let answers = index.answers().and_then(|number| answers.get(number));
        index.sync(&judge, table, answers);
        Some(index)
    }
}

impl Treatment {
    fn of(plan: &Plan, profile: &Profile, cluster: &ClusterView, pod: &PodView, company: Company) -> Self {
        if !is_tractable(pod) {
            return Self::Reference;
        }
        let mut cycle = Cycle::new(cluster);
        // Those that look at other pods look at all nodes only to find that there is nothing to say.
        let speaks = |plugin: &dyn Any| !company.is_alone() || !is_about_others(plugin);
        let narrowed = match pre_filter_of(profile, &mut cycle, pod, |plugin| speaks(plugin)) {
            Ok(narrowed) if !narrowed.refused => narrowed,
            Ok(_) | Err(_) => return Self::Reference,
        };
        if narrowed.only.is_some() {
            return Self::Reference;
        }
        let mut silent = Vec::new();
        for plugin in &profile.pre_score {
            if !speaks(&**plugin) {
                silent.push(plugin.name());
                continue;
            }
            match plugin.pre_score(&mut cycle, pod, &[]) {
                PreScored::Score => {}
                PreScored::Skip => silent.push(plugin.name()),
                PreScored::Fail(_) => return Self::Reference,
            }
        }
        let around = match company.is_alone() {
            true => None,
            false => {
                let Some(around) = Around::of(plan, cluster, pod, company) else { return Self::Reference };
                silent.extend(plan.scorers_around(company));
                Some(around)
            }
        };
        let heard = |scorer: &Scorer| !silent.contains(&scorer.plugin.name());
        let active: Vec<_> = profile.score.iter().map(heard).collect();
        let by_load = plan.by_load.and_then(|places| places.for_class(profile, pod, &active));
        Self::Index(Box::new(Index::new(plan, narrowed, active, around, by_load)))
    }
}
