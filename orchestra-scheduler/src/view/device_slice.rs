//! Resource slices: the devices that drivers offer, and from which nodes they can be used.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::resource::v1::{CounterSet, Device, ResourceSlice};

use super::catalog::{Catalog, shelf};
use super::kept::{Kept, Shelf};
use super::{NodeFacts, NodeName, NodeSelector};
use crate::event::ClusterEvent;

/// From which nodes devices can be used.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Reach {
    /// From one.
    Node(NodeName),
    /// From every one.
    All,
    /// From those that are selected; as it is read, and as it is written.
    Selected(NodeSelector, core::NodeSelector),
}

impl Reach {
    /// The reach these fields state; `None` if none of them says anything.
    fn from_api(
        name: Option<&String>,
        all: Option<bool>,
        selector: Option<&core::NodeSelector>,
    ) -> Option<Self> {
        match (name, all, selector) {
            (Some(name), ..) if !name.is_empty() => Some(Self::Node(NodeName::from(name.as_str()))),
            (_, Some(true), _) => Some(Self::All),
            (.., Some(selector)) => Some(Self::Selected(NodeSelector::from_api(selector), selector.clone())),
            _ => None,
        }
    }

    /// Whether a node is within reach.
    #[must_use]
    pub fn covers(&self, node: &NodeFacts) -> bool {
        match self {
            Self::Node(name) => *name == node.name,
            Self::All => true,
            Self::Selected(selector, _) => selector.matches(&node.labels, &node.name),
        }
    }
}

/// What an expression said of a device: kept, because nothing but the device matters.
pub(crate) type Said = Result<bool, Arc<str>>;

/// As many expressions are remembered for each device.
const REMEMBERED: usize = 64;

/// What expressions said of one device. A copy starts anew, and all are equal: it changes nothing but the time it takes.
#[derive(Debug, Default)]
pub(crate) struct Memory(Mutex<HashMap<Arc<str>, Said>>);

impl Clone for Memory {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Memory {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Memory {
    /// What the expression said before, or says now.
    pub(crate) fn recall(&self, expression: &Arc<str>, ask: impl FnOnce() -> Said) -> Said {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(said) = known.get(expression) {
            return said.clone();
        }
        let said = ask();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(expression.clone(), said.clone());
        said
    }
}

/// A device of a slice.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DeviceView {
    /// What the driver says of it.
    pub device: Device,
    /// From where it can be used; `None` is from nowhere.
    pub reach: Option<Reach>,
    pub(crate) memory: Memory,
}

/// A ResourceSlice.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DeviceSliceView {
    /// `metadata.name`.
    pub name: Arc<str>,
    /// Whose devices they are.
    pub driver: Arc<str>,
    /// The pool they belong to.
    pub pool: Arc<str>,
    /// The edition of the pool; only the highest counts.
    pub generation: i64,
    /// How many slices this edition of the pool has.
    pub slices: i64,
    /// From where its devices can be used; `None` where each device says so itself.
    pub reach: Option<Reach>,
    /// The devices.
    pub devices: Vec<DeviceView>,
    /// What devices of the pool have in common and use up.
    pub counters: Vec<CounterSet>,
}

impl DeviceSliceView {
    /// Reads a resource slice of the API.
    #[must_use]
    pub fn from_api(slice: &ResourceSlice) -> Self {
        let spec = &slice.spec;
        let reach = Reach::from_api(spec.node_name.as_ref(), spec.all_nodes, spec.node_selector.as_ref());
        let apart = reach.is_none() && spec.per_device_node_selection == Some(true);
        let devices = spec.devices.iter().flatten().map(|device| DeviceView {
            reach: match apart {
                true => Reach::from_api(
                    device.node_name.as_ref(),
                    device.all_nodes,
                    device.node_selector.as_ref(),
                ),
                false => reach.clone(),
            },
            device: device.clone(),
            memory: Memory::default(),
        });
        Self {
            name: slice.metadata.name.as_deref().unwrap_or_default().into(),
            driver: spec.driver.as_str().into(),
            pool: spec.pool.name.as_str().into(),
            generation: spec.pool.generation,
            slices: spec.pool.resource_slice_count,
            devices: devices.collect(),
            counters: spec.shared_counters.clone().unwrap_or_default(),
            reach,
        }
    }

    /// Whether the slice matters to a node: some device can be used there, or counters have to be known.
    #[must_use]
    pub fn matters_to(&self, node: &NodeFacts) -> bool {
        let covers = |reach: &Option<Reach>| reach.as_ref().is_some_and(|reach| reach.covers(node));
        !self.counters.is_empty()
            || covers(&self.reach)
            || self.devices.iter().any(|device| covers(&device.reach))
    }
}

impl Kept for DeviceSliceView {
    type Key = Arc<str>;
    shelf!(device_slices);

    fn key(&self) -> Arc<str> {
        self.name.clone()
    }

    fn applied(_: Option<Arc<Self>>, _: Arc<Self>) -> Option<ClusterEvent> {
        Some(ClusterEvent::DevicesChanged)
    }

    fn deleted(_: Arc<Self>) -> Option<ClusterEvent> {
        // A pool may be whole without it.
        Some(ClusterEvent::DevicesChanged)
    }
}
