//! The plugins a configuration can name, and how each is made from its arguments.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::arguments;
use crate::plugins;
use crate::profile::{PluginSet, Version};

/// Arguments a plugin does not understand: which field of them, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct ArgumentError {
    /// The path below `args`; empty for the whole.
    pub field: String,
    /// What is wrong.
    pub problem: String,
}

impl ArgumentError {
    /// An error in a field of the arguments.
    #[must_use]
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }
}

type Make = Arc<dyn Fn(&Value) -> Result<PluginSet, ArgumentError> + Send + Sync>;

/// Plugins by name.
#[derive(Clone)]
pub struct PluginRegistry(BTreeMap<String, Make>);

impl fmt::Debug for PluginRegistry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.0.keys()).finish()
    }
}

impl Default for PluginRegistry {
    /// The plugins of this crate, as of Kubernetes 1.36.
    fn default() -> Self {
        let version = Version::default();
        Self(BTreeMap::new())
            .plain("SchedulingGates", plugins::gates)
            .plain("PrioritySort", plugins::sort)
            .plain("NodeUnschedulable", plugins::unschedulable)
            .plain("NodeName", plugins::node_name)
            .plain("TaintToleration", move || plugins::taints(version))
            .plain("NodePorts", plugins::ports)
            .plain("DefaultBinder", plugins::binder)
            .plain("VolumeRestrictions", plugins::restrictions)
            .plain("NodeVolumeLimits", plugins::limits)
            .plain("VolumeZone", plugins::zones)
            .plain("GangScheduling", plugins::gangs)
            .plain("NodeDeclaredFeatures", plugins::features)
            .with("DynamicResources", |args| arguments::devices(args).map(plugins::devices))
            .plain("ImageLocality", move || plugins::images(version))
            .with("InterPodAffinity", move |args| arguments::peers(args, version).map(plugins::peers))
            .with("NodeAffinity", |args| arguments::affinity(args).map(plugins::affinity))
            .with("NodeResourcesFit", |args| arguments::fit(args).map(plugins::fit))
            .with("NodeResourcesBalancedAllocation", move |args| {
                arguments::balanced(args, version).map(plugins::balanced)
            })
            .with("DefaultPreemption", |args| arguments::preemption(args).map(plugins::preemption))
            .with("PodTopologySpread", |args| arguments::spread(args).map(plugins::spread))
            .with("VolumeBinding", |args| arguments::volumes(args).map(plugins::volumes))
    }
}

impl PluginRegistry {
    /// Adds a plugin under a name; `make` is given the `args` of the configuration, or null.
    #[must_use]
    pub fn with(
        mut self,
        name: &str,
        make: impl Fn(&Value) -> Result<PluginSet, ArgumentError> + Send + Sync + 'static,
    ) -> Self {
        self.0.insert(name.to_owned(), Arc::new(make));
        self
    }

    /// The names known.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The plugin of this name; `None` if there is none.
    pub(super) fn make(&self, name: &str, args: &Value) -> Option<Result<PluginSet, ArgumentError>> {
        self.0.get(name).map(|make| make(args))
    }

    /// Adds a plugin without arguments.
    fn plain(self, name: &str, make: impl Fn() -> PluginSet + Send + Sync + 'static) -> Self {
        self.with(name, move |args| {
            let fields = args.as_object().into_iter().flatten().map(|(field, _)| field.as_str());
            match fields.into_iter().find(|field| !arguments::is_header(field)) {
                Some(field) => Err(ArgumentError::new(field, "this plugin takes no arguments")),
                None => Ok(make()),
            }
        })
    }
}
