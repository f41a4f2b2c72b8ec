//! A node of a cluster, before it is started.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use orchestra_runtime::backend::process::{ProcessOptions, ProcessRuntime};
use orchestra_runtime::runtime::ContainerRuntime;

type Open = dyn FnOnce(&Path) -> Result<Arc<dyn ContainerRuntime>, String> + Send;

/// A node of a cluster: a name and what runs its containers.
///
/// ```
/// use orchestra::Node;
/// use orchestra::runtime::backend::sim::SimRuntime;
///
/// let edge = Node::named("edge-1");
/// let simulated = Node::named("sim-1").runtime(SimRuntime::default());
/// ```
pub struct Node {
    pub(super) name: String,
    pub(super) open: Box<Open>,
}

impl Node {
    /// A node whose containers are processes that end with this program.
    pub fn named(name: impl Into<String>) -> Self {
        Self::opened_by(name, |dir| {
            let runtime =
                ProcessRuntime::open(ProcessOptions::new(dir)).map_err(|problem| problem.to_string())?;
            Ok(Arc::new(runtime))
        })
    }

    /// A node whose runtime is opened when the cluster starts, with a directory of its own to keep state in.
    pub fn opened_by<F>(name: impl Into<String>, open: F) -> Self
    where
        F: FnOnce(&Path) -> Result<Arc<dyn ContainerRuntime>, String> + Send + 'static,
    {
        Self { name: name.into(), open: Box::new(open) }
    }

    /// Runs containers with `runtime`.
    #[must_use]
    pub fn runtime(mut self, runtime: impl ContainerRuntime) -> Self {
        self.open = Box::new(move |_| Ok(Arc::new(runtime)));
        self
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("name", &self.name).finish_non_exhaustive()
    }
}
