//! The cluster at one moment: nodes with their pods, claims, volumes, classes.
//!
//! A clone is a fork: everything is shared until one side changes it, so a fork costs a few counters whatever the size of the
//! cluster, and a change in it what it touches and about the square root of the number of nodes.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use super::catalog::Catalog;
use super::change::{Bookmark, ChangeLog, Stamp};
use super::kept::Kept;
use super::shared::{SharedList, SharedMap};
use super::{
    AttachmentKey, AttachmentView, ClaimKey, ClaimView, ClassView, Labels, NodeFacts, NodeName, NodeView,
    PodUid, PodView, Promise, VolumeView,
};

/// Everything a decision may look at.
#[derive(Clone, Debug)]
pub struct ClusterView {
    slots: SharedList<Option<Arc<NodeView>>>,
    by_name: SharedMap<NodeName, usize>,
    zones: Arc<Vec<Zone>>,
    order: OnceLock<Arc<[usize]>>,
    order_stamp: Stamp,
    log: ChangeLog,
    placed: SharedMap<PodUid, NodeName>,
    /// Pods bound to nodes that are not known (yet, or any more).
    strays: Arc<HashMap<NodeName, Vec<Arc<PodView>>>>,
    nominated: Arc<HashMap<NodeName, Promised>>,
    nominations: Arc<HashMap<PodUid, NodeName>>,
    catalog: Catalog,
    catalog_stamp: Stamp,
    images: Arc<HashMap<Box<str>, ImageSpread>>,
    pub(super) promises: Vec<Promise>,
}

/// How far an image has spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageSpread {
    /// Its size in bytes, as the first node that had it stated it.
    pub size: i64,
    /// How many nodes have it.
    pub nodes: usize,
}

/// Who is promised room on a node, and the name of that state.
#[derive(Clone, Debug)]
struct Promised {
    pods: Vec<Arc<PodView>>,
    stamp: Stamp,
}

#[derive(Clone, Debug)]
struct Zone {
    key: (String, String),
    slots: Vec<usize>,
}

impl Default for ClusterView {
    fn default() -> Self {
        Self {
            slots: SharedList::default(),
            by_name: SharedMap::default(),
            zones: Arc::default(),
            order: OnceLock::new(),
            order_stamp: Stamp::fresh(),
            log: ChangeLog::default(),
            placed: SharedMap::default(),
            strays: Arc::default(),
            nominated: Arc::default(),
            nominations: Arc::default(),
            catalog: Catalog::default(),
            catalog_stamp: Stamp::fresh(),
            images: Arc::default(),
            promises: Vec::new(),
        }
    }
}

impl ClusterView {
    /// How many nodes there are.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.by_name.len()
    }

    /// How many pods have a node, assumed ones too.
    #[must_use]
    pub fn pod_count(&self) -> usize {
        self.placed.len()
    }

    /// The nodes in the order upstream's snapshot lists them: the first of each zone, the second of each, and
    /// so on, zones and nodes in the order they appeared.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<NodeView>> {
        self.order().iter().filter_map(|slot| self.slots.get(*slot)?.as_ref())
    }

    /// The node at a position of the order of [`ClusterView::nodes`].
    #[must_use]
    pub fn node_at(&self, position: usize) -> Option<&Arc<NodeView>> {
        self.slots.get(*self.order().get(position)?)?.as_ref()
    }

    /// Names the order of the nodes.
    pub(crate) fn order_stamp(&self) -> Stamp {
        self.order_stamp
    }

    /// The slot of the node at each position of the order; a node keeps its slot while the order stays.
    pub(crate) fn slots_in_order(&self) -> &[usize] {
        self.order()
    }

    /// The slot of the node of this name.
    pub(crate) fn slot_of(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// Names the state of everything that is kept besides nodes and pods.
    pub(crate) fn catalog_stamp(&self) -> Stamp {
        self.catalog_stamp
    }

    /// How far nodes have been changed.
    pub(crate) fn bookmark(&self) -> Bookmark {
        self.log.bookmark()
    }

    /// The slots of nodes changed since `bookmark`; `None` when that is not known (any more).
    pub(crate) fn changed_since(&self, bookmark: Bookmark) -> Option<&[usize]> {
        self.log.since(bookmark)
    }

    /// The node of this name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&Arc<NodeView>> {
        self.slots.get(*self.by_name.get(name)?)?.as_ref()
    }

    /// The node a pod is on, or is assumed to be on.
    #[must_use]
    pub fn node_of(&self, pod: &PodUid) -> Option<&NodeName> {
        self.placed.get(pod)
    }

    /// A pod bound to a node that is not known.
    pub(crate) fn stray(&self, node: &str, uid: &PodUid) -> Option<Arc<PodView>> {
        self.strays.get(node)?.iter().find(|pod| pod.uid == *uid).cloned()
    }

    /// Pods that are promised room on a node and not yet on it.
    #[must_use]
    pub fn nominated(&self, node: &str) -> &[Arc<PodView>] {
        self.nominated.get(node).map_or(&[], |promised| &promised.pods)
    }

    /// Names the state of the promises made on a node; `None` where there are none.
    pub(crate) fn promised_state(&self, node: &str) -> Option<Stamp> {
        if self.nominated.is_empty() { None } else { self.nominated.get(node).map(|promised| promised.stamp) }
    }

    /// The nodes that have been promised to pods, with those pods.
    pub(crate) fn promises(&self) -> impl Iterator<Item = (&NodeName, &[Arc<PodView>])> {
        self.nominated.iter().map(|(node, promised)| (node, promised.pods.as_slice()))
    }

    pub(super) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The claim of this name.
    #[must_use]
    pub fn claim(&self, key: &ClaimKey) -> Option<&Arc<ClaimView>> {
        self.catalog.claims.get(key)
    }

    /// The volume of this name.
    #[must_use]
    pub fn volume(&self, name: &str) -> Option<&Arc<VolumeView>> {
        self.catalog.volumes.get(name)
    }

    /// The storage class of this name.
    #[must_use]
    pub fn class(&self, name: &str) -> Option<&Arc<ClassView>> {
        self.catalog.classes.get(name)
    }

    /// Whether any node has said what images it has.
    pub(crate) fn knows_images(&self) -> bool {
        !self.images.is_empty()
    }

    /// How far the image of this name has spread; `None` if no node has it.
    #[must_use]
    pub fn image(&self, name: &str) -> Option<ImageSpread> {
        self.images.get(name).copied()
    }

    fn take_stock(&mut self, before: Option<&NodeFacts>, now: Option<&NodeFacts>) {
        let of = |facts: Option<&NodeFacts>| facts.is_none_or(|facts| facts.images.is_empty());
        if before.map(|facts| &facts.images) == now.map(|facts| &facts.images) || (of(before) && of(now)) {
            return;
        }
        let images = Arc::make_mut(&mut self.images);
        for name in before.iter().flat_map(|facts| facts.images.keys()) {
            match images.get_mut(name) {
                Some(spread) if spread.nodes > 1 => spread.nodes -= 1,
                _ => drop(images.remove(name)),
            }
        }
        for (name, size) in now.iter().flat_map(|facts| &facts.images) {
            images.entry(name.clone()).or_insert(ImageSpread { size: *size, nodes: 0 }).nodes += 1;
        }
    }

    /// Adds a node, or takes note of what it says now; returns what it said before.
    pub fn set_node(&mut self, facts: Arc<NodeFacts>) -> Option<Arc<NodeFacts>> {
        if let Some(slot) = self.slot_of(&facts.name) {
            self.log.touch(slot, self.slots.len());
        }
        if let Some(slot) = self.slot_of(&facts.name)
            && let Some(node) = self.slots.get_mut(slot).and_then(Option::as_mut)
        {
            let before = node.facts().clone();
            Arc::make_mut(node).set_facts(facts.clone());
            if before.zone() != facts.zone() {
                self.leave_zone(slot);
                self.join_zone(facts.zone(), slot);
            }
            self.take_stock(Some(&before), Some(&facts));
            return Some(before);
        }
        self.take_stock(None, Some(&facts));
        let slot = self.slots.len();
        let mut node = NodeView::new(facts.clone());
        if self.strays.contains_key(&facts.name) {
            for pod in Arc::make_mut(&mut self.strays).remove(&facts.name).into_iter().flatten() {
                node.add(pod);
            }
        }
        self.slots.push(Some(Arc::new(node)));
        self.by_name.insert(facts.name.clone(), slot);
        self.join_zone(facts.zone(), slot);
        None
    }

    /// Forgets a node; pods bound to it are remembered in case it comes back.
    pub fn remove_node(&mut self, name: &str) -> Option<Arc<NodeView>> {
        let slot = self.by_name.remove(name)?;
        let node = self.slots.get_mut(slot)?.take()?;
        self.leave_zone(slot);
        self.take_stock(Some(node.facts()), None);
        if !node.pods().is_empty() {
            Arc::make_mut(&mut self.strays).insert(node.name().clone(), node.pods().to_vec());
        }
        if self.slots.len() > 64 && self.by_name.len() * 2 < self.slots.len() {
            self.compact();
        }
        Some(node)
    }

    /// Puts a pod on a node, moving it if it was on another and replacing an older view of it.
    pub fn place(&mut self, pod: Arc<PodView>, node: &NodeName) {
        self.take(&pod.uid);
        self.placed.insert(pod.uid.clone(), node.clone());
        match self.node_mut(node) {
            Some(view) => view.add(pod),
            None => Arc::make_mut(&mut self.strays).entry(node.clone()).or_default().push(pod),
        }
    }

    /// Takes a pod off its node.
    pub fn take(&mut self, uid: &PodUid) -> Option<Arc<PodView>> {
        let name = self.placed.remove(uid)?;
        if let Some(node) = self.node_mut(&name) {
            return node.remove(uid);
        }
        let all = Arc::make_mut(&mut self.strays);
        let strays = all.get_mut(&name)?;
        let index = strays.iter().position(|pod| pod.uid == *uid)?;
        let pod = strays.swap_remove(index);
        if strays.is_empty() {
            all.remove(&name);
        }
        Some(pod)
    }

    /// The node on which a pod is promised room: here, or else by its own status.
    #[must_use]
    pub fn nomination<'a>(&'a self, pod: &'a PodView) -> Option<&'a NodeName> {
        self.nominations.get(&pod.uid).or(pod.nominated.as_ref())
    }

    /// Promises a pod room on a node; any earlier promise to it ends.
    pub fn nominate(&mut self, pod: Arc<PodView>, node: &NodeName) {
        self.withdraw(&pod);
        Arc::make_mut(&mut self.nominations).insert(pod.uid.clone(), node.clone());
        let promised = Arc::make_mut(&mut self.nominated).entry(node.clone());
        let promised = promised.or_insert_with(|| Promised { pods: Vec::new(), stamp: Stamp::fresh() });
        promised.pods.push(pod);
        promised.stamp = Stamp::fresh();
        self.touch(node);
    }

    /// The node that a pod was promised room on in this view.
    pub(crate) fn promised(&self, uid: &PodUid) -> Option<&NodeName> {
        self.nominations.get(uid)
    }

    /// Ends the promise made to a pod.
    pub fn withdraw(&mut self, pod: &PodView) {
        if !self.nominations.contains_key(&pod.uid) {
            return;
        }
        let Some(node) = Arc::make_mut(&mut self.nominations).remove(&pod.uid) else { return };
        let nominated = Arc::make_mut(&mut self.nominated);
        if let Some(promised) = nominated.get_mut(&node) {
            promised.pods.retain(|other| other.uid != pod.uid);
            promised.stamp = Stamp::fresh();
            if promised.pods.is_empty() {
                nominated.remove(&node);
            }
        }
        self.touch(&node);
    }

    /// Takes note of an object; returns what it was before.
    pub fn keep<T: Kept>(&mut self, object: Arc<T>) -> Option<Arc<T>> {
        self.catalog_stamp = Stamp::fresh();
        self.spoken_of(object.node());
        T::shelf_mut(&mut self.catalog).insert(object.key(), object)
    }

    /// Forgets an object.
    pub fn forget<T: Kept>(&mut self, key: &T::Key) -> Option<Arc<T>> {
        self.catalog_stamp = Stamp::fresh();
        let gone = T::shelf_mut(&mut self.catalog).remove(key)?;
        self.spoken_of(gone.node());
        Some(gone)
    }

    /// Something else is said of a node than before.
    fn spoken_of(&mut self, node: Option<&NodeName>) {
        if let Some(node) = node.and_then(|name| self.node_mut(name)) {
            node.is_another();
        }
    }

    /// The volumes attached to a node.
    pub(crate) fn attachments(&self, node: &NodeName) -> impl Iterator<Item = &Arc<AttachmentView>> {
        let first = AttachmentKey { node: node.clone(), name: Arc::default() };
        self.catalog.attachments.starting_at(first).take_while(move |one| one.node == *node)
    }

    /// The object of one kind with this key.
    #[must_use]
    pub fn kept<T: Kept>(&self, key: &T::Key) -> Option<&Arc<T>> {
        T::shelf(&self.catalog).get(key)
    }

    /// All objects of one kind, in the order of their keys.
    pub fn all<T: Kept>(&self) -> impl Iterator<Item = &Arc<T>> {
        T::shelf(&self.catalog).values()
    }

    /// The labels of a namespace; none if it is not known.
    #[must_use]
    pub fn namespace_labels(&self, name: &str) -> &Labels {
        static NONE: Labels = Labels::new();
        self.catalog.namespaces.get(name).map_or(&NONE, |namespace| &namespace.labels)
    }

    /// Takes note that something about the node of this name is not what it was.
    fn touch(&mut self, name: &str) -> Option<usize> {
        let slot = self.slot_of(name)?;
        self.log.touch(slot, self.slots.len());
        Some(slot)
    }

    fn node_mut(&mut self, name: &str) -> Option<&mut NodeView> {
        let slot = self.touch(name)?;
        self.slots.get_mut(slot)?.as_mut().map(Arc::make_mut)
    }

    /// Becomes what `earlier` is, from which everything since `bookmark` followed. Whoever keeps an index of this view has to
    /// look only at the nodes that were touched in between, if nodes neither came nor went.
    pub(crate) fn go_back(&mut self, earlier: Self, bookmark: Bookmark) {
        let here = std::mem::replace(self, earlier);
        if here.order_stamp != self.order_stamp {
            return;
        }
        if let Some(touched) = here.log.since(bookmark).map(<[usize]>::to_vec) {
            self.log = here.log;
            touched.into_iter().for_each(|slot| self.log.touch(slot, self.slots.len()));
        }
    }

    fn join_zone(&mut self, key: (String, String), slot: usize) {
        self.reorder();
        let zones = Arc::make_mut(&mut self.zones);
        match zones.iter_mut().find(|zone| zone.key == key) {
            Some(zone) => zone.slots.push(slot),
            None => zones.push(Zone { key, slots: vec![slot] }),
        }
    }

    fn leave_zone(&mut self, slot: usize) {
        self.reorder();
        let zones = Arc::make_mut(&mut self.zones);
        for zone in &mut *zones {
            zone.slots.retain(|other| *other != slot);
        }
        zones.retain(|zone| !zone.slots.is_empty());
    }

    fn reorder(&mut self) {
        self.order = OnceLock::new();
        self.order_stamp = Stamp::fresh();
    }

    fn order(&self) -> &[usize] {
        self.order.get_or_init(|| {
            let longest = self.zones.iter().map(|zone| zone.slots.len()).max().unwrap_or(0);
            (0..longest)
                .flat_map(|round| self.zones.iter().filter_map(move |zone| zone.slots.get(round).copied()))
                .collect()
        })
    }

    /// Gives nodes new slots so that lost nodes leave no holes.
    fn compact(&mut self) {
        let mut moved = vec![0; self.slots.len()];
        let mut kept = SharedList::default();
        for (slot, node) in self.slots.iter().enumerate() {
            if let Some(node) = node {
                moved[slot] = kept.len();
                self.by_name.insert(node.name().clone(), kept.len());
                kept.push(Some(node.clone()));
            }
        }
        self.slots = kept;
        for slot in Arc::make_mut(&mut self.zones).iter_mut().flat_map(|zone| &mut zone.slots) {
            *slot = moved[*slot];
        }
        self.reorder();
        self.log.restart();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{node, pod};
    use serde_json::json;

    fn zoned(name: &str, zone: &str) -> Arc<NodeFacts> {
        node(json!({"metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": zone}}}))
    }

    fn names(cluster: &ClusterView) -> Vec<&str> {
        cluster.nodes().map(|node| &**node.name()).collect()
    }

    #[test]
    fn snapshot_order_is_round_robin_over_zones_in_insertion_order() {
        let mut cluster = ClusterView::default();
        for (name, zone) in [("a1", "a"), ("a2", "a"), ("a3", "a"), ("b1", "b"), ("c1", "c"), ("c2", "c")] {
            cluster.set_node(zoned(name, zone));
        }
        assert_eq!(names(&cluster), ["a1", "b1", "c1", "a2", "c2", "a3"]);
        cluster.remove_node("a1");
        assert_eq!(names(&cluster), ["a2", "b1", "c1", "a3", "c2"]);
    }

    #[test]
    fn removing_many_nodes_keeps_the_order_of_the_rest() {
        let mut cluster = ClusterView::default();
        for index in 0..200 {
            cluster.set_node(zoned(&format!("n{index}"), if index % 2 == 0 { "even" } else { "odd" }));
        }
        for index in 0..190 {
            cluster.remove_node(&format!("n{index}"));
        }
        assert_eq!(
            names(&cluster),
            ["n190", "n191", "n192", "n193", "n194", "n195", "n196", "n197", "n198", "n199"]
        );
        assert!(cluster.node("n195").is_some() && cluster.node("n3").is_none());
    }

    #[test]
    fn pods_of_an_unknown_node_count_once_it_appears() {
        let mut cluster = ClusterView::default();
        let pod =
            pod(json!({"metadata": {"name": "p", "uid": "p"}, "spec": {"nodeName": "n", "containers": [
            {"name": "c", "resources": {"requests": {"cpu": "1"}}}]}}));
        cluster.place(pod, &NodeName::from("n"));
        cluster.set_node(zoned("n", ""));
        assert_eq!(cluster.node("n").unwrap().requested().cpu.0, 1000);
        cluster.remove_node("n");
        cluster.set_node(zoned("n", ""));
        assert_eq!(cluster.node("n").unwrap().requested().cpu.0, 1000);
        assert!(cluster.take(&PodUid::from("p")).is_some());
        assert_eq!(cluster.node("n").unwrap().requested().cpu.0, 0);
    }

    #[test]
    fn a_fork_does_not_change_what_it_was_forked_from() {
        let mut cluster = ClusterView::default();
        cluster.set_node(zoned("n", ""));
        let mut fork = cluster.clone();
        fork.place(pod(json!({"metadata": {"name": "p", "uid": "p"}})), &NodeName::from("n"));
        assert_eq!(fork.node("n").unwrap().pods().len(), 1);
        assert!(cluster.node("n").unwrap().pods().is_empty());
    }
}
