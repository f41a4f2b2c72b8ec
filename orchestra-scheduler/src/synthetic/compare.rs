//! Lets both engines live through the same history and looks for the first thing they see differently.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::{Happening, History};
use crate::dispatcher::reserve;
use crate::engine::{Engine, FastEngine, ReferenceEngine, Tally};
use crate::outcome::Outcome;
use crate::plugin::Cycle;
use crate::profile::Profile;
use crate::view::{
    AttachmentView, BudgetView, CapacityView, ClaimView, ClassView, ClusterView, CsiDriverView, CsiNodeView,
    DeviceClaimView, DeviceClassView, DeviceSliceView, Kept, NamespaceView, NodeFacts, NodeName, OwnerView,
    PodUid, PodView, Promise, ServiceView, VolumeView,
};

/// Where two engines differ, in the shortest history found.
#[derive(Clone, Debug)]
pub struct Difference {
    /// What has to happen; the last thing is the decision in question.
    pub history: History,
    /// How they differ.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}\nprofile: {:?}\nseed: {}", self.what, self.history.profile, self.history.seed)?;
        self.history.happenings.iter().try_for_each(|one| match one {
            Happening::Node(object) => writeln!(out, "node {object}"),
            Happening::NodeGone(name) => writeln!(out, "node gone {name}"),
            Happening::Object(object) => writeln!(out, "object {object}"),
            Happening::ObjectGone(object) => writeln!(out, "object gone {object}"),
            Happening::Placed(object) => writeln!(out, "placed {object}"),
            Happening::PodGone(uid) => writeln!(out, "pod gone {uid}"),
            Happening::Nominated(object) => writeln!(out, "nominated {object}"),
            Happening::Withdrawn(object) => writeln!(out, "withdrawn {object}"),
            Happening::Pending(object) => writeln!(out, "pending {object}"),
            Happening::Supposed(object) => writeln!(out, "supposed {object}"),
        })
    }
}

/// Of so many decisions one is explained, too, by both engines.
const EXPLAINED: u64 = 5;

/// Of so many evictions one takes long, and the room stays promised.
const LINGERING: u64 = 3;

/// Many histories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Campaign {
    /// How many histories were lived through.
    pub histories: u64,
    /// How many decisions were compared.
    pub decisions: u64,
    /// How many of them the index made.
    pub indexed: u64,
    /// How many pods found a node.
    pub placed: u64,
    /// How many made room for themselves.
    pub preempted: u64,
    /// How many were promised devices for extended resources.
    pub translated: u64,
}

impl Campaign {
    /// Compares the engines on histories from `seed` on, until this many decisions were made.
    ///
    /// # Errors
    /// With the first difference, made as small as possible.
    pub fn run(seed: u64, decisions: u64) -> Result<Self, Box<Difference>> {
        let mut campaign = Self::default();
        while campaign.decisions < decisions {
            let history = History::seeded(seed.wrapping_add(campaign.histories), 120);
            let run =
                live(&history, &fast).map_err(|(at, what)| Box::new(shrunk(&history, &fast, at, what)))?;
            campaign.histories += 1;
            campaign.decisions += run.tally.indexed + run.tally.scanned;
            campaign.indexed += run.tally.indexed;
            campaign.placed += run.placed;
            campaign.preempted += run.preempted;
            campaign.translated += run.translated;
        }
        Ok(campaign)
    }
}

/// Compares an engine with the reference engine on one history.
///
/// # Errors
/// With the first difference, made as small as possible.
pub fn compare(history: &History, engine: &dyn Fn(u64) -> Box<dyn Engine>) -> Result<(), Box<Difference>> {
    let subject = |seed| Subject::Other(engine(seed));
    live(history, &subject).map(|_| ()).map_err(|(at, what)| Box::new(shrunk(history, &subject, at, what)))
}

/// The engine that is held against the reference engine.
enum Subject {
    /// It tells what it knows of every node, too.
    Fast(Box<FastEngine>),
    Other(Box<dyn Engine>),
}

fn fast(seed: u64) -> Subject {
    Subject::Fast(Box::new(FastEngine::seeded(seed)))
}

/// What one history came to.
#[derive(Default)]
struct Lived {
    tally: Tally,
    placed: u64,
    preempted: u64,
    translated: u64,
}

struct Pair {
    profile: Profile,
    subject: Subject,
    reference: ReferenceEngine,
    decided: u64,
    placed: u64,
    preempted: u64,
    translated: u64,
}

impl Pair {
    /// Both decide; in words, how they differ.
    fn decide(&mut self, cluster: &ClusterView, pod: &PodView) -> Result<(Outcome, Vec<Promise>), String> {
        if let Subject::Fast(fast) = &mut self.subject
            && let Some(held) = fast.held(&self.profile, &Cycle::new(cluster), pod)
        {
            let seen = ReferenceEngine::seen(&self.profile, &mut Cycle::new(cluster), pod);
            if seen.as_ref() != Ok(&held) {
                return Err(format!("the index holds {held:?}\nthe reference sees {seen:?}"));
            }
        }
        let subject: &mut dyn Engine = match &mut self.subject {
            Subject::Fast(fast) => &mut **fast,
            Subject::Other(other) => &mut **other,
        };
        self.decided += 1;
        let explained = match self.decided.is_multiple_of(EXPLAINED) {
            true => Some(same_explanation(&self.reference, subject, &self.profile, cluster, pod)?),
            false => None,
        };
        let (mut seen, mut cycle) = (Cycle::new(cluster), Cycle::new(cluster));
        let expected = self.reference.place(&self.profile, &mut seen, pod);
        let outcome = subject.place(&self.profile, &mut cycle, pod);
        let chosen = match &outcome {
            Outcome::Chosen(choice) => Some(choice.node.clone()),
            _ => None,
        };
        if explained.as_ref().is_some_and(|explained| *explained != chosen) {
            return Err(format!("explained: {explained:?}\ndecided: {outcome:?}"));
        }
        if outcome != expected {
            return Err(format!("this engine: {outcome:?}\nreference: {expected:?}"));
        }
        let promises = match &outcome {
            Outcome::Chosen(choice) => {
                let promised = reserve(&self.profile, &mut cycle, pod, &choice.node).ok();
                let expected = reserve(&self.profile, &mut seen, pod, &choice.node).ok();
                if promised != expected {
                    return Err(format!("this engine promises {promised:?}\nthe reference {expected:?}"));
                }
                promised.unwrap_or_default()
            }
            _ => Vec::new(),
        };
        self.placed += u64::from(matches!(outcome, Outcome::Chosen(_)));
        self.translated += u64::from(promises.iter().any(|one| matches!(one, Promise::Resources(_))));
        Ok((outcome, promises))
    }
}

/// Both engines explain the same decision; the node they say it comes to, or how their explanations differ.
fn same_explanation(
    reference: &ReferenceEngine,
    subject: &dyn Engine,
    profile: &Profile,
    cluster: &ClusterView,
    pod: &PodView,
) -> Result<Option<NodeName>, String> {
    let (left, right) = (reference.explain(profile, cluster, pod), subject.explain(profile, cluster, pod));
    let pairs = left.nodes().zip(right.nodes());
    if let Some((left, right)) = pairs.into_iter().find(|(left, right)| left != right) {
        return Err(format!("the reference explains {left:?}\nthis engine {right:?}"));
    }
    if let Some(node) = left.nodes().find(|node| node.chosen != (left.chosen() == Some(node.node.name()))) {
        return Err(format!("chosen is {:?}, and a node says {node:?}", left.chosen()));
    }
    let heads = [&left, &right].map(|one| {
        (one.chosen().cloned(), one.pre_filters().to_vec(), one.failure().cloned(), one.nodes().count())
    });
    match heads {
        [left, right] if left != right => {
            Err(format!("the reference explains {left:?}\nthis engine {right:?}"))
        }
        [(chosen, ..), _] => Ok(chosen),
    }
}

/// Lives through a history; where and how the engines differ, if they do.
fn live(history: &History, subject: &dyn Fn(u64) -> Subject) -> Result<Lived, (usize, String)> {
    let mut cluster = ClusterView::default();
    let mut pair = Pair {
        profile: history.profile.profile(),
        subject: subject(history.seed),
        reference: ReferenceEngine::seeded(history.seed),
        decided: 0,
        placed: 0,
        preempted: 0,
        translated: 0,
    };
    for (at, happening) in history.happenings.iter().enumerate() {
        step(&mut cluster, &mut pair, happening).map_err(|what| (at, what))?;
    }
    let tally = match &pair.subject {
        Subject::Fast(fast) => fast.tally(),
        Subject::Other(_) => Tally::default(),
    };
    Ok(Lived { tally, placed: pair.placed, preempted: pair.preempted, translated: pair.translated })
}

fn step(cluster: &mut ClusterView, pair: &mut Pair, happening: &Happening) -> Result<(), String> {
    match happening {
        Happening::Node(object) => {
            if let Some(facts) = read(object).and_then(|node| NodeFacts::from_api(&node).ok()) {
                cluster.set_node(Arc::new(facts));
            }
        }
        Happening::NodeGone(name) => drop(cluster.remove_node(name)),
        Happening::Object(object) => keep(cluster, object),
        Happening::ObjectGone(object) => forget(cluster, object),
        Happening::Placed(object) => {
            if let Some((pod, node)) = pod(object).and_then(|pod| pod.node.clone().map(|node| (pod, node))) {
                cluster.place(pod, &node);
            }
        }
        Happening::PodGone(uid) => drop(cluster.take(&PodUid::from(uid.as_str()))),
        Happening::Nominated(object) => {
            if let Some((pod, node)) =
                pod(object).and_then(|pod| pod.nominated.clone().map(|node| (pod, node)))
            {
                cluster.nominate(pod, &node);
            }
        }
        Happening::Withdrawn(object) => pod(object).into_iter().for_each(|pod| cluster.withdraw(&pod)),
        Happening::Pending(object) => {
            let Some(pod) = pod(object) else { return Ok(()) };
            let (outcome, promises) = pair.decide(cluster, &pod)?;
            promises.into_iter().for_each(|promise| cluster.promise(promise));
            match outcome {
                Outcome::Chosen(choice) => {
                    cluster.withdraw(&pod);
                    cluster.place(pod, &choice.node);
                }
                Outcome::Rejected(diagnosis) => {
                    let Some(node) = &diagnosis.nominated else { return Ok(()) };
                    if pair.decided.is_multiple_of(LINGERING) {
                        cluster.nominate(pod, node);
                        return Ok(());
                    }
                    for victim in &diagnosis.victims {
                        cluster.take(&victim.uid);
                    }
                    cluster.nominate(pod.clone(), node);
                    pair.preempted += 1;
                    if let (Outcome::Chosen(choice), _) = pair.decide(cluster, &pod)? {
                        cluster.withdraw(&pod);
                        cluster.place(pod, &choice.node);
                    }
                }
                Outcome::NoNodes | Outcome::Failed(_) => {}
            }
        }
        Happening::Supposed(object) => {
            let Some(pod) = pod(object) else { return Ok(()) };
            let mut fork = cluster.clone();
            if let (Outcome::Chosen(choice), _) = pair.decide(&fork, &pod)? {
                fork.place(pod.clone(), &NodeName::from(&*choice.node));
                pair.decide(&fork, &pod)?;
            }
        }
    }
    Ok(())
}

fn keep(cluster: &mut ClusterView, object: &Value) {
    fn put<T: Kept>(cluster: &mut ClusterView, view: Option<T>) {
        view.map(|view| cluster.keep(Arc::new(view)));
    }
    match object["kind"].as_str() {
        Some("Namespace") => put(cluster, read(object).map(|it| NamespaceView::from_api(&it))),
        Some("Service") => put(cluster, read(object).map(|it| ServiceView::from_api(&it))),
        Some("ReplicaSet") => put(cluster, read(object).map(|it| OwnerView::from_replica_set(&it))),
        Some("DeviceClass") => put(cluster, read(object).map(|it| DeviceClassView::from_api(&it))),
        Some("ResourceSlice") => put(cluster, read(object).map(|it| DeviceSliceView::from_api(&it))),
        Some("ResourceClaim") => put(cluster, read(object).map(|it| DeviceClaimView::from_api(&it))),
        Some("PodDisruptionBudget") => put(cluster, read(object).map(|it| BudgetView::from_api(&it))),
        Some("StorageClass") => put(cluster, read(object).map(|it| ClassView::from_api(&it))),
        Some("PersistentVolume") => put(cluster, read(object).and_then(|it| VolumeView::from_api(&it).ok())),
        Some("PersistentVolumeClaim") => {
            put(cluster, read(object).and_then(|it| ClaimView::from_api(&it).ok()))
        }
        Some("CSINode") => put(cluster, read(object).map(|it| CsiNodeView::from_api(&it))),
        Some("CSIDriver") => put(cluster, read(object).map(|it| CsiDriverView::from_api(&it))),
        Some("CSIStorageCapacity") => {
            put(cluster, read(object).and_then(|it| CapacityView::from_api(&it).ok()))
        }
        Some("VolumeAttachment") => put(cluster, read(object).map(|it| AttachmentView::from_api(&it))),
        _ => {}
    }
}

fn forget(cluster: &mut ClusterView, object: &Value) {
    fn drop_it<T: Kept>(cluster: &mut ClusterView, view: Option<T>) {
        view.map(|view| cluster.forget::<T>(&view.key()));
    }
    match object["kind"].as_str() {
        Some("Namespace") => drop_it(cluster, read(object).map(|it| NamespaceView::from_api(&it))),
        Some("Service") => drop_it(cluster, read(object).map(|it| ServiceView::from_api(&it))),
        Some("ReplicaSet") => drop_it(cluster, read(object).map(|it| OwnerView::from_replica_set(&it))),
        Some("DeviceClass") => drop_it(cluster, read(object).map(|it| DeviceClassView::from_api(&it))),
        Some("ResourceSlice") => drop_it(cluster, read(object).map(|it| DeviceSliceView::from_api(&it))),
        Some("ResourceClaim") => drop_it(cluster, read(object).map(|it| DeviceClaimView::from_api(&it))),
        Some("PodDisruptionBudget") => drop_it(cluster, read(object).map(|it| BudgetView::from_api(&it))),
        Some("StorageClass") => drop_it(cluster, read(object).map(|it| ClassView::from_api(&it))),
        Some("PersistentVolume") => {
            drop_it(cluster, read(object).and_then(|it| VolumeView::from_api(&it).ok()))
        }
        Some("PersistentVolumeClaim") => {
            drop_it(cluster, read(object).and_then(|it| ClaimView::from_api(&it).ok()))
        }
        Some("CSINode") => drop_it(cluster, read(object).map(|it| CsiNodeView::from_api(&it))),
        Some("CSIDriver") => drop_it(cluster, read(object).map(|it| CsiDriverView::from_api(&it))),
        Some("CSIStorageCapacity") => {
            drop_it(cluster, read(object).and_then(|it| CapacityView::from_api(&it).ok()))
        }
        Some("VolumeAttachment") => drop_it(cluster, read(object).map(|it| AttachmentView::from_api(&it))),
        _ => {}
    }
}

fn read<T: serde::de::DeserializeOwned>(object: &Value) -> Option<T> {
    serde_json::from_value(object.clone()).ok()
}

fn pod(object: &Value) -> Option<Arc<PodView>> {
    PodView::from_api(&read(object)?).ok().map(Arc::new)
}

/// The smallest history found that still ends in a difference.
fn shrunk(history: &History, subject: &dyn Fn(u64) -> Subject, at: usize, what: String) -> Difference {
    let mut best = history.clone();
    best.happenings.truncate(at + 1);
    let mut what = what;
    let mut attempt = |candidate: History, best: &mut History| match live(&candidate, subject) {
        Err((at, found)) => {
            *best = candidate;
            best.happenings.truncate(at + 1);
            what = found;
            true
        }
        Ok(_) => false,
    };
    let mut chunk = best.happenings.len().div_ceil(2);
    while chunk > 0 {
        let mut from = 0;
        while from < best.happenings.len() {
            let mut candidate = best.clone();
            let to = (from + chunk).min(candidate.happenings.len());
            candidate.happenings.drain(from..to);
            if !attempt(candidate, &mut best) {
                from += chunk;
            }
        }
        chunk /= 2;
    }
    for index in 0..best.happenings.len() {
        let Some(count) = best.happenings.get(index).and_then(object).map(|object| paths(object).len())
        else {
            continue;
        };
        // From the last to the first, so that what is left keeps its number.
        for number in (0..count).rev() {
            let mut candidate = best.clone();
            let Some(object) = candidate.happenings.get_mut(index).and_then(object_mut) else { continue };
            let Some(path) = paths(object).into_iter().nth(number) else { continue };
            remove(object, &path);
            attempt(candidate, &mut best);
        }
    }
    Difference { history: best, what }
}

fn object(happening: &Happening) -> Option<&Value> {
    match happening {
        Happening::NodeGone(_) | Happening::PodGone(_) => None,
        Happening::Node(object)
        | Happening::Object(object)
        | Happening::ObjectGone(object)
        | Happening::Placed(object)
        | Happening::Nominated(object)
        | Happening::Withdrawn(object)
        | Happening::Pending(object)
        | Happening::Supposed(object) => Some(object),
    }
}

fn object_mut(happening: &mut Happening) -> Option<&mut Value> {
    match happening {
        Happening::NodeGone(_) | Happening::PodGone(_) => None,
        Happening::Node(object)
        | Happening::Object(object)
        | Happening::ObjectGone(object)
        | Happening::Placed(object)
        | Happening::Nominated(object)
        | Happening::Withdrawn(object)
        | Happening::Pending(object)
        | Happening::Supposed(object) => Some(object),
    }
}

/// The JSON pointers of everything in an object that could be left out, outer before inner.
fn paths(object: &Value) -> Vec<String> {
    fn walk(value: &Value, at: &str, all: &mut Vec<String>) {
        let inner: Vec<(String, &Value)> = match value {
            Value::Object(map) => {
                map.iter().map(|(key, value)| (key.replace('~', "~0").replace('/', "~1"), value)).collect()
            }
            Value::Array(list) => {
                list.iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect()
            }
            _ => return,
        };
        for (key, value) in inner {
            let path = format!("{at}/{key}");
            all.push(path.clone());
            walk(value, &path, all);
        }
    }
    let mut all = Vec::new();
    walk(object, "", &mut all);
    all.retain(|path| !path.starts_with("/metadata/name") && !path.starts_with("/metadata/uid"));
    all.retain(|path| path != "/metadata");
    all
}

fn remove(object: &mut Value, path: &str) {
    let Some((parent, key)) = path.rsplit_once('/') else { return };
    match object.pointer_mut(parent) {
        Some(Value::Object(map)) => drop(map.remove(&key.replace("~1", "/").replace("~0", "~"))),
        Some(Value::Array(list)) => {
            if let Ok(index) = key.parse::<usize>()
                && index < list.len()
            {
                list.remove(index);
            }
        }
        _ => {}
    }
}
