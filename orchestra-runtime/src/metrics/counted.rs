//! A container runtime whose calls are counted, and what runs in it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::time::Instant;

use super::NodeMetrics;
use crate::runtime::{
    Connection, ContainerConfig, ContainerEvent, ContainerId, ContainerRuntime, ContainerState,
    ContainerStats, ContainerStatus, ExecOutput, Image, Prober, Result, SandboxConfig, SandboxId,
    SandboxState, SandboxStatus, Streams, Version,
};

/// Counts what is asked of a runtime; everything else is as in it. What runs is known from the answers, so nothing more is
/// asked for the sake of counting.
#[derive(Debug)]
pub(crate) struct Counted {
    runtime: Arc<dyn ContainerRuntime>,
    metrics: NodeMetrics,
    running: Arc<Mutex<Running>>,
}

#[derive(Debug, Default)]
struct Running {
    sandboxes: HashSet<SandboxId>,
    containers: HashSet<ContainerId>,
}

impl Counted {
    pub(crate) fn new(runtime: Arc<dyn ContainerRuntime>, metrics: NodeMetrics) -> Self {
        Self { runtime, metrics, running: Arc::default() }
    }

    async fn timed<T>(&self, operation: &'static str, call: impl Future<Output = Result<T>>) -> Result<T> {
        let begun = Instant::now();
        let outcome = call.await;
        self.metrics.asked(operation, outcome.is_ok(), begun.elapsed());
        outcome
    }

    fn change(&self, change: impl FnOnce(&mut Running)) {
        changed(&self.metrics, &self.running, change);
    }
}

fn lock(running: &Mutex<Running>) -> MutexGuard<'_, Running> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Changes what runs, and the gauges by the difference, because other agents may share them.
fn changed(metrics: &NodeMetrics, running: &Mutex<Running>, change: impl FnOnce(&mut Running)) {
    let sizes = |running: &Running| [running.sandboxes.len(), running.containers.len()];
    let mut running = lock(running);
    let before = sizes(&running);
    change(&mut running);
    let after = sizes(&running);
    for (gauge, (before, after)) in [&metrics.0.running_pods, &metrics.0.running_containers]
        .into_iter()
        .zip(before.into_iter().zip(after))
    {
        let whole = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        gauge.inc_by(whole(after) - whole(before));
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.change(|running| *running = Running::default());
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl ContainerRuntime for Counted {
    fn version(&self) -> Version {
        self.runtime.version()
    }

    async fn ready(&self) -> Result<()> {
        self.timed("status", self.runtime.ready()).await
    }

    async fn run_sandbox(&self, config: &SandboxConfig) -> Result<SandboxId> {
        let outcome = self.timed("run_podsandbox", self.runtime.run_sandbox(config)).await;
        self.metrics.sandbox_tried(outcome.is_ok());
        if let Ok(id) = &outcome {
            self.change(|running| {
                running.sandboxes.insert(id.clone());
            });
        }
        outcome
    }

    async fn stop_sandbox(&self, id: &SandboxId) -> Result<()> {
        let outcome = self.timed("stop_podsandbox", self.runtime.stop_sandbox(id)).await;
        if outcome.is_ok() {
            self.change(|running| {
                running.sandboxes.remove(id);
            });
        }
        outcome
    }

    async fn remove_sandbox(&self, id: &SandboxId) -> Result<()> {
        let outcome = self.timed("remove_podsandbox", self.runtime.remove_sandbox(id)).await;
        if outcome.is_ok() {
            self.change(|running| {
                running.sandboxes.remove(id);
            });
        }
        outcome
    }

    async fn list_sandboxes(&self) -> Result<Vec<SandboxStatus>> {
        let outcome = self.timed("list_podsandbox", self.runtime.list_sandboxes()).await;
        if let Ok(listed) = &outcome {
            let ready = listed.iter().filter(|sandbox| sandbox.state == SandboxState::Ready);
            let ready: HashSet<_> = ready.map(|sandbox| sandbox.id.clone()).collect();
            self.change(|running| running.sandboxes = ready);
        }
        outcome
    }

    async fn create_container(&self, sandbox: &SandboxId, config: &ContainerConfig) -> Result<ContainerId> {
        self.timed("create_container", self.runtime.create_container(sandbox, config)).await
    }

    async fn start_container(&self, id: &ContainerId) -> Result<()> {
        // Before the call, so that an end that is told before its answer finds it here.
        self.change(|running| {
            running.containers.insert(id.clone());
        });
        let outcome = self.timed("start_container", self.runtime.start_container(id)).await;
        if outcome.is_err() {
            self.change(|running| {
                running.containers.remove(id);
            });
        }
        outcome
    }

    async fn stop_container(&self, id: &ContainerId, grace: Duration) -> Result<()> {
        let outcome = self.timed("stop_container", self.runtime.stop_container(id, grace)).await;
        if outcome.is_ok() {
            self.change(|running| {
                running.containers.remove(id);
            });
        }
        outcome
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<()> {
        self.timed("remove_container", self.runtime.remove_container(id)).await
    }

    async fn list_containers(&self) -> Result<Vec<ContainerStatus>> {
        let outcome = self.timed("list_containers", self.runtime.list_containers()).await;
        if let Ok(listed) = &outcome {
            let runs =
                |container: &&ContainerStatus| matches!(container.state, ContainerState::Running { .. });
            let ids: HashSet<_> = listed.iter().filter(runs).map(|container| container.id.clone()).collect();
            self.change(|running| running.containers = ids);
        }
        outcome
    }

    async fn container_status(&self, id: &ContainerId) -> Result<ContainerStatus> {
        self.timed("container_status", self.runtime.container_status(id)).await
    }

    async fn container_stats(&self) -> Result<Vec<ContainerStats>> {
        self.timed("list_container_stats", self.runtime.container_stats()).await
    }

    async fn image_status(&self, image: &str) -> Result<Option<Image>> {
        self.timed("image_status", self.runtime.image_status(image)).await
    }

    async fn pull_image(&self, image: &str) -> Result<Image> {
        self.timed("pull_image", self.runtime.pull_image(image)).await
    }

    async fn exec(&self, id: &ContainerId, command: &[String], streams: Streams) -> Result<i32> {
        self.timed("exec", self.runtime.exec(id, command, streams)).await
    }

    async fn attach(&self, id: &ContainerId, streams: Streams) -> Result<()> {
        self.timed("attach", self.runtime.attach(id, streams)).await
    }

    async fn port_forward(&self, sandbox: &SandboxId, port: u16) -> Result<Box<dyn Connection>> {
        self.timed("port_forward", self.runtime.port_forward(sandbox, port)).await
    }

    async fn exec_sync(&self, id: &ContainerId, command: &[String], timeout: Duration) -> Result<ExecOutput> {
        self.timed("exec_sync", self.runtime.exec_sync(id, command, timeout)).await
    }

    fn simulation(&self) -> Option<Arc<dyn Prober>> {
        self.runtime.simulation()
    }

    fn events(&self) -> BoxStream<'static, ContainerEvent> {
        let (metrics, running) = (self.metrics.clone(), Arc::clone(&self.running));
        let events = self.runtime.events().inspect(move |event| {
            changed(&metrics, &running, |running| {
                running.containers.remove(&event.id);
            });
        });
        events.boxed()
    }
}
