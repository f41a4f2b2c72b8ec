//! Mirrors of Endpoints: reads, asks the plan, writes.

use std::sync::Arc;

use super::plan::{MANAGER, Observed, plan};
use crate::controller::{Next, Reconcile};
use crate::endpointslice::SliceControl;
use crate::error::Result;
use crate::key::Key;
use crate::queue::Queue;
use crate::world::World;

pub(crate) struct Mirrors {
    world: Arc<World>,
    control: SliceControl,
}

/// Connects the controller to the world: which change concerns which Endpoints.
pub(crate) fn setup(world: &Arc<World>) -> (Arc<Mirrors>, Arc<Queue<Key>>) {
    let queue = Arc::new(Queue::new());
    world.services.on_change({
        let queue = queue.clone();
        move |change| {
            if let Some(service) = change.object() {
                queue.add(Key::of(&service.metadata));
            }
        }
    });
    world.endpoints.on_change({
        let queue = queue.clone();
        move |change| {
            if let Some(endpoints) = change.object() {
                queue.add(Key::of(&endpoints.metadata));
            }
        }
    });
    let control = SliceControl::new(world, &queue, MANAGER);
    (Arc::new(Mirrors { world: world.clone(), control }), queue)
}

impl Reconcile for Mirrors {
    type Key = Key;

    fn name(&self) -> &'static str {
        "endpointslicemirroring"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next> {
        let (service, endpoints) = (self.world.services.get(key), self.world.endpoints.get(key));
        let slices = self.control.slices(key);
        if endpoints.is_none() && slices.is_empty() {
            self.control.forget(key);
        }
        let observed = Observed {
            service: service.as_deref(),
            endpoints: endpoints.as_deref(),
            slices: &slices,
            settled: self.control.is_settled(key),
        };
        for action in plan(&observed) {
            self.control.perform(key, action).await?;
        }
        Ok(self.control.lapse(key))
    }
}
