//! Pools: all the slices of one edition, and what of them a node can use.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::in_use::id;
use crate::view::{ClusterView, DeviceSliceView, DeviceView, NodeFacts, NodeName, Reach};

type PoolKey = (Arc<str>, Arc<str>);

/// All slices, in order.
#[derive(Debug, Default)]
pub(crate) struct Offers {
    by_node: HashMap<NodeName, Vec<Arc<DeviceSliceView>>>,
    shared: Vec<Arc<DeviceSliceView>>,
    by_pool: HashMap<PoolKey, Vec<Arc<DeviceSliceView>>>,
}

/// What of a pool a node can use.
pub(super) struct Pool<'a> {
    pub(super) name: String,
    pub(super) state: State,
    /// All slices of the edition in force; those the node cannot use count for what is left of counters.
    pub(super) whole: Vec<&'a DeviceSliceView>,
    /// The slices that matter to the node.
    near: Vec<&'a DeviceSliceView>,
}

/// Whether devices of a pool can be given away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Usable,
    /// Its driver is in the middle of publishing it.
    Incomplete,
    /// It contradicts itself.
    Invalid,
}

/// A device that a node may use.
pub(super) struct Candidate<'a> {
    pub(super) id: Box<str>,
    pub(super) pool: usize,
    pub(super) slice: &'a DeviceSliceView,
    pub(super) device: &'a DeviceView,
}

impl Offers {
    /// What drivers offer in a cluster.
    pub(crate) fn of(cluster: &ClusterView) -> Self {
        let mut offers = Self::default();
        for slice in cluster.all::<DeviceSliceView>() {
            match &slice.reach {
                Some(Reach::Node(name)) => {
                    offers.by_node.entry(name.clone()).or_default().push(slice.clone())
                }
                _ => offers.shared.push(slice.clone()),
            }
            let key = (slice.driver.clone(), slice.pool.clone());
            offers.by_pool.entry(key).or_default().push(slice.clone());
        }
        offers
    }

    /// The pools a node can use something of: by driver and name, and those last whose devices have to be prepared. `parts`: whether
    /// slices with parts of devices are known.
    pub(super) fn pools<'a>(&'a self, node: &NodeFacts, parts: bool) -> Vec<Pool<'a>> {
        let mut near: BTreeMap<(&str, &str), Vec<&'a DeviceSliceView>> = BTreeMap::new();
        let own = self.by_node.get(&node.name).into_iter().flatten();
        let known = |slice: &&DeviceSliceView| parts || (slice.counters.is_empty() && slice.reach.is_some());
        let slices = own.chain(&self.shared).map(AsRef::as_ref).filter(known);
        for slice in slices.filter(|slice| slice.matters_to(node)) {
            let pool = near.entry((&*slice.driver, &*slice.pool)).or_default();
            match pool.first().map(|first| first.generation) {
                Some(newer) if newer > slice.generation => {}
                Some(older) if older < slice.generation => *pool = vec![slice],
                _ => pool.push(slice),
            }
        }
        let pools = near.into_iter().filter_map(|((driver, pool), near)| self.pool(driver, pool, near));
        let (last, mut first): (Vec<_>, Vec<_>) = pools.partition(Pool::needs_preparation);
        first.extend(last);
        first
    }

    /// `None` for an edition that a newer one has taken the place of.
    fn pool<'a>(&'a self, driver: &str, name: &str, mut near: Vec<&'a DeviceSliceView>) -> Option<Pool<'a>> {
        near.sort_unstable_by(|left, right| left.name.cmp(&right.name));
        let first = near.first()?;
        let (generation, slices) = (first.generation, usize::try_from(first.slices).unwrap_or(usize::MAX));
        let label = format!("{driver}/{name}");
        let whole = if near.len() == slices {
            near.clone()
        } else {
            let all = self.by_pool.get(&(driver.into(), name.into()))?;
            if all.iter().any(|slice| slice.generation > generation) {
                return None;
            }
            all.iter().map(AsRef::as_ref).filter(|slice| slice.generation == generation).collect()
        };
        let state = match () {
            () if whole.len() != slices => State::Incomplete,
            () if is_consistent(&near, &whole) => State::Usable,
            () => State::Invalid,
        };
        Some(Pool { name: label, state, whole, near })
    }
}

impl<'a> Pool<'a> {
    fn needs_preparation(&self) -> bool {
        let devices = self.near.iter().flat_map(|slice| &slice.devices);
        self.state == State::Usable && devices.into_iter().any(|one| one.device.binding_conditions.is_some())
    }

    /// The devices, in order; whether the node can use each is for the search to ask.
    pub(super) fn candidates(&self, pool: usize) -> impl Iterator<Item = Candidate<'a>> {
        let usable = self.state == State::Usable;
        self.near.iter().filter(move |_| usable).flat_map(move |slice| {
            slice.devices.iter().map(move |device| Candidate {
                id: id(&slice.driver, &slice.pool, &device.device.name),
                pool,
                slice,
                device,
            })
        })
    }
}

/// Whether names are given once, and counters that are used up exist.
fn is_consistent(near: &[&DeviceSliceView], whole: &[&DeviceSliceView]) -> bool {
    let mut names = BTreeSet::new();
    if !near.iter().flat_map(|slice| &slice.devices).all(|one| names.insert(one.device.name.as_str())) {
        return false;
    }
    let mut sets = BTreeMap::new();
    for set in whole.iter().flat_map(|slice| &slice.counters) {
        if sets.insert(set.name.as_str(), &set.counters).is_some() {
            return false;
        }
    }
    let used = whole
        .iter()
        .flat_map(|slice| &slice.devices)
        .flat_map(|one| one.device.consumes_counters.iter().flatten());
    used.into_iter().all(|used| {
        let set = sets.get(used.counter_set.as_str());
        set.is_some_and(|set| used.counters.keys().all(|counter| set.contains_key(counter)))
    })
}
