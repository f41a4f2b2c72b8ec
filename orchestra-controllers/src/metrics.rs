//! What controllers count, under upstream's names: of every queue, and of Jobs, EndpointSlices and nodes.
//!
//! How deep a queue is and what is being worked on is looked up when it is asked for; all else costs atomics.

mod endpointslice;
mod job;
mod node;
mod queue;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

pub(crate) use endpointslice::EndpointSliceMetrics;
pub(crate) use job::{JobMetrics, Mode, Sync};
pub(crate) use node::NodeMetrics;
pub(crate) use queue::{QueueCounts, Queued, Working};

/// What controllers count. Clones count the same; a cluster has one, given to [`crate::Controllers::metrics`] and shown by
/// the registry it is registered with.
#[derive(Clone, Debug, Default)]
pub struct ControllerMetrics {
    queues: Arc<Mutex<Vec<Entry>>>,
    pub(crate) jobs: JobMetrics,
    pub(crate) slices: EndpointSliceMetrics,
    pub(crate) nodes: NodeMetrics,
}

/// A queue by its name.
#[derive(Clone, Debug)]
struct Entry {
    name: &'static str,
    counts: Arc<QueueCounts>,
    queue: Weak<dyn Queued>,
}

impl ControllerMetrics {
    /// Shows them in `registry`, under upstream's names.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(self.clone()));
    }

    /// Where the queue of a controller counts. One that starts again goes on with the counts of the one before.
    pub(crate) fn queue(&self, controller: &'static str, queue: Weak<dyn Queued>) -> Arc<QueueCounts> {
        let name = queue::name_of(controller);
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = queues.iter_mut().find(|entry| entry.name == name) {
            entry.queue = queue;
            return Arc::clone(&entry.counts);
        }
        let counts = Arc::new(QueueCounts::default());
        queues.push(Entry { name, counts: Arc::clone(&counts), queue });
        counts
    }
}

impl Collector for ControllerMetrics {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut out;
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner).clone();
        queues.sort_by_key(|entry| entry.name);
        let now = Instant::now();
        let queues: Vec<_> = queues
            .iter()
            .map(|Entry { name, counts, queue }| {
                let working = queue.upgrade().map(|queue| queue.working(now)).unwrap_or_default();
                (*name, &**counts, working)
            })
            .collect();
        queue::encode(out, &queues)?;
        self.jobs.encode(out)?;
        self.slices.encode(out)?;
        self.nodes.encode(out)
    }
}
