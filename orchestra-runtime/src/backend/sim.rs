//! Pods that live by a script, on Tokio's time: thousands of nodes in one process, faster than real time when the clock
//! is paused.
//!
//! A container's script comes from a function of its configuration; the default one reads annotations of the pod:
//! `sim.orchestra.dev/start-delay`, `/exit-after` and `/ready-after` (seconds, fractions allowed), `/exit-code`, and
//! `/fail-starts`, how many of the first starts fail; `/cpu` and `/memory`, what the container says it uses, in the API's
//! notation.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Probe;
use orchestra_core::quantity::Quantity;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

use crate::clock::{Clock, SystemClock};
use crate::runtime::{
    Connection, ContainerConfig, ContainerEvent, ContainerId, ContainerRuntime, ContainerState,
    ContainerStats, ContainerStatus, Error, ExecOutput, Exit, Image, ProbeResult, ProbeTarget, Prober,
    Result, SandboxConfig, SandboxId, SandboxState, SandboxStatus, Streams, Version,
};

/// How a simulated container lives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Script {
    /// How long starting takes.
    pub start_delay: Duration,
    /// How long after its start probes begin to succeed.
    pub ready_after: Duration,
    /// When it ends by itself; `None`: never.
    pub exit_after: Option<Duration>,
    /// With which exit code.
    pub exit_code: i32,
    /// How many of the first starts fail.
    pub fail_starts: u32,
    /// How much of a processor it says it uses, in billionths.
    pub nano_cores: u64,
    /// How many bytes of memory it says it uses.
    pub memory: u64,
}

impl Script {
    /// Runs until it is stopped, ready at once.
    pub fn forever() -> Self {
        Self::default()
    }

    /// Ends with `code` after `delay`.
    pub fn ending(delay: Duration, code: i32) -> Self {
        Self { exit_after: Some(delay), exit_code: code, ..Self::default() }
    }

    /// Answers probes from `delay` after its start.
    #[must_use]
    pub fn ready_after(mut self, delay: Duration) -> Self {
        self.ready_after = delay;
        self
    }

    /// Says it uses so much of a processor, in billionths, and so many bytes of memory.
    #[must_use]
    pub fn using(mut self, nano_cores: u64, memory: u64) -> Self {
        (self.nano_cores, self.memory) = (nano_cores, memory);
        self
    }

    /// What the annotations of a pod say; see the [module](self).
    pub fn from_annotations(annotations: &BTreeMap<String, String>) -> Self {
        let text = |key: &str| annotations.get(&format!("sim.orchestra.dev/{key}"));
        let seconds = |key: &str| {
            let parsed = text(key)?.parse::<f64>().ok()?;
            Duration::try_from_secs_f64(parsed).ok()
        };
        // In thousandths.
        let amount = |key: &str| {
            let quantity = Quantity::parse(text(key)?).ok()?;
            u64::try_from(quantity.milli_value()).ok()
        };
        Self {
            start_delay: seconds("start-delay").unwrap_or_default(),
            ready_after: seconds("ready-after").unwrap_or_default(),
            exit_after: seconds("exit-after"),
            exit_code: text("exit-code").and_then(|t| t.parse().ok()).unwrap_or(0),
            fail_starts: text("fail-starts").and_then(|t| t.parse().ok()).unwrap_or(0),
            nano_cores: amount("cpu").map_or(0, |cpu| cpu.saturating_mul(1_000_000)),
            memory: amount("memory").map_or(0, |memory| memory / 1000),
        }
    }
}

/// How many exits a reader may be behind: somewhat more than a node has pods. The room for them is taken from the start, and
/// nodes may be thousands.
const EVENTS: usize = 128;

type Scripts = dyn Fn(&ContainerConfig) -> Script + Send + Sync;

/// A runtime whose containers are entries in a table.
#[derive(Clone)]
pub struct SimRuntime {
    inner: Arc<Inner>,
}

struct Inner {
    scripts: Box<Scripts>,
    clock: Arc<dyn Clock>,
    tables: Mutex<Tables>,
    events: broadcast::Sender<ContainerEvent>,
}

#[derive(Default)]
struct Tables {
    next: u64,
    sandboxes: BTreeMap<SandboxId, SandboxStatus>,
    containers: BTreeMap<ContainerId, Simulated>,
}

struct Simulated {
    status: ContainerStatus,
    script: Script,
    started: Option<Instant>,
    state: watch::Sender<bool>,
}

impl Default for SimRuntime {
    fn default() -> Self {
        Self::new(Arc::new(SystemClock), |config| Script::from_annotations(&config.annotations))
    }
}

impl fmt::Debug for SimRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimRuntime")
            .field("containers", &self.tables().containers.len())
            .finish_non_exhaustive()
    }
}

impl SimRuntime {
    /// Containers live by what `scripts` says; times in their states are `clock`'s.
    pub fn new(
        clock: Arc<dyn Clock>,
        scripts: impl Fn(&ContainerConfig) -> Script + Send + Sync + 'static,
    ) -> Self {
        let inner = Inner {
            scripts: Box::new(scripts),
            clock,
            tables: Mutex::default(),
            events: broadcast::Sender::new(EVENTS),
        };
        Self { inner: Arc::new(inner) }
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.inner.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a running container, as if its program had.
    pub fn end(&self, id: &ContainerId, code: i32) {
        let finished_at = self.inner.clock.now();
        let mut tables = self.tables();
        let Some(container) = tables.containers.get_mut(id) else { return };
        let ContainerState::Running { started_at } = container.status.state else { return };
        let exit = Exit {
            code,
            signal: (code > 128).then(|| code - 128),
            started_at: Some(started_at),
            finished_at,
            reason: None,
            message: None,
        };
        container.status.state = ContainerState::Exited(exit.clone());
        container.state.send_replace(true);
        let event = ContainerEvent { id: id.clone(), pod: container.status.pod.clone(), exit };
        // Nobody listening is fine: whoever comes later lists.
        let _ = self.inner.events.send(event);
    }

    fn started_at(&self) -> Timestamp {
        self.inner.clock.now()
    }
}

fn no_container(id: &ContainerId) -> Error {
    Error::NotFound { what: "container", id: id.0.clone() }
}

#[async_trait]
impl ContainerRuntime for SimRuntime {
    fn version(&self) -> Version {
        Version { name: "sim".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() }
    }

    async fn ready(&self) -> Result<()> {
        Ok(())
    }

    async fn run_sandbox(&self, config: &SandboxConfig) -> Result<SandboxId> {
        let created_at = self.inner.clock.now();
        let mut tables = self.tables();
        tables.next += 1;
        let id = SandboxId(format!("{:032x}", tables.next));
        let state = SandboxState::Ready;
        let status = SandboxStatus { id: id.clone(), config: config.clone(), state, created_at };
        tables.sandboxes.insert(id.clone(), status);
        Ok(id)
    }

    async fn stop_sandbox(&self, id: &SandboxId) -> Result<()> {
        let inside: Vec<ContainerId> = {
            let mut tables = self.tables();
            if let Some(sandbox) = tables.sandboxes.get_mut(id) {
                sandbox.state = SandboxState::NotReady;
            }
            tables
                .containers
                .values()
                .filter(|c| c.status.sandbox == *id)
                .map(|c| c.status.id.clone())
                .collect()
        };
        for container in inside {
            self.end(&container, 137);
        }
        Ok(())
    }

    async fn remove_sandbox(&self, id: &SandboxId) -> Result<()> {
        self.stop_sandbox(id).await?;
        let mut tables = self.tables();
        tables.containers.retain(|_, c| c.status.sandbox != *id);
        tables.sandboxes.remove(id);
        Ok(())
    }

    async fn list_sandboxes(&self) -> Result<Vec<SandboxStatus>> {
        Ok(self.tables().sandboxes.values().cloned().collect())
    }

    async fn create_container(&self, sandbox: &SandboxId, config: &ContainerConfig) -> Result<ContainerId> {
        let created_at = self.inner.clock.now();
        let mut tables = self.tables();
        let inside = tables.sandboxes.get(sandbox).filter(|s| s.state == SandboxState::Ready);
        let inside =
            inside.ok_or_else(|| Error::NotFound { what: "sandbox", id: sandbox.0.clone() })?.config.clone();
        tables.next += 1;
        let id = ContainerId(format!("{:032x}", tables.next));
        let status = ContainerStatus {
            id: id.clone(),
            sandbox: sandbox.clone(),
            pod: inside.pod,
            image_ref: format!("sim://{}", config.image),
            created_at,
            state: ContainerState::Created,
            config: config.clone(),
        };
        let script = (self.inner.scripts)(config);
        let container = Simulated { status, script, started: None, state: watch::Sender::new(false) };
        tables.containers.insert(id.clone(), container);
        Ok(id)
    }

    async fn start_container(&self, id: &ContainerId) -> Result<()> {
        let script = {
            let tables = self.tables();
            let container = tables.containers.get(id).ok_or_else(|| no_container(id))?;
            if container.status.state != ContainerState::Created {
                return Err(Error::State(format!("container {id} was started before")));
            }
            if container.status.config.attempt < container.script.fail_starts {
                return Err(Error::Start("the script says so".to_owned()));
            }
            container.script.clone()
        };
        if !script.start_delay.is_zero() {
            tokio::time::sleep(script.start_delay).await;
        }
        let mut ended = {
            let started_at = self.started_at();
            let mut tables = self.tables();
            let container = tables.containers.get_mut(id).ok_or_else(|| no_container(id))?;
            container.status.state = ContainerState::Running { started_at };
            container.started = Some(Instant::now());
            container.state.subscribe()
        };
        if let Some(after) = script.exit_after {
            let (runtime, id) = (self.clone(), id.clone());
            tokio::spawn(async move {
                tokio::select! {
                    biased;
                    () = tokio::time::sleep(after) => runtime.end(&id, script.exit_code),
                    // Stopped, or forgotten.
                    _ = ended.wait_for(|ended| *ended) => {}
                }
            });
        }
        Ok(())
    }

    async fn stop_container(&self, id: &ContainerId, grace: Duration) -> Result<()> {
        self.tables().containers.get(id).ok_or_else(|| no_container(id))?;
        self.end(id, if grace.is_zero() { 137 } else { 143 });
        Ok(())
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<()> {
        let mut tables = self.tables();
        let running = |c: &Simulated| matches!(c.status.state, ContainerState::Running { .. });
        if tables.containers.get(id).is_some_and(running) {
            return Err(Error::State(format!("container {id} is running")));
        }
        tables.containers.remove(id);
        Ok(())
    }

    async fn list_containers(&self) -> Result<Vec<ContainerStatus>> {
        Ok(self.tables().containers.values().map(|c| c.status.clone()).collect())
    }

    async fn container_status(&self, id: &ContainerId) -> Result<ContainerStatus> {
        self.tables().containers.get(id).map(|c| c.status.clone()).ok_or_else(|| no_container(id))
    }

    async fn container_stats(&self) -> Result<Vec<ContainerStats>> {
        let stats = |container: &Simulated| {
            let (status, script) = (&container.status, &container.script);
            let ContainerState::Running { started_at } = status.state else { return None };
            let nanos =
                container.started?.elapsed().as_nanos() * u128::from(script.nano_cores) / 1_000_000_000;
            Some(ContainerStats {
                id: status.id.clone(),
                pod: status.pod.clone(),
                name: status.config.name.clone(),
                started_at,
                cpu: Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)),
                nano_cores: Some(script.nano_cores),
                memory: script.memory,
            })
        };
        Ok(self.tables().containers.values().filter_map(stats).collect())
    }

    async fn image_status(&self, image: &str) -> Result<Option<Image>> {
        Ok(Some(Image { reference: format!("sim://{image}"), size: 0 }))
    }

    async fn pull_image(&self, image: &str) -> Result<Image> {
        Ok(Image { reference: format!("sim://{image}"), size: 0 })
    }

    async fn exec_sync(&self, id: &ContainerId, _: &[String], _: Duration) -> Result<ExecOutput> {
        self.tables().containers.get(id).ok_or_else(|| no_container(id))?;
        Ok(ExecOutput { code: 0, stdout: Vec::new(), stderr: Vec::new() })
    }

    async fn exec(&self, id: &ContainerId, _: &[String], mut streams: Streams) -> Result<i32> {
        self.tables().containers.get(id).ok_or_else(|| no_container(id))?;
        // What comes is given back, so that whoever tests the way to a container has something to see.
        if let (Some(from), Some(to)) = (&mut streams.stdin, &mut streams.stdout) {
            tokio::io::copy(from, to).await.map_err(Error::system("echoing"))?;
        }
        Ok(0)
    }

    async fn attach(&self, id: &ContainerId, mut streams: Streams) -> Result<()> {
        let mut ended = {
            let tables = self.tables();
            let container = tables.containers.get(id).ok_or_else(|| no_container(id))?;
            container.state.subscribe()
        };
        let echo = async {
            if let (Some(from), Some(to)) = (&mut streams.stdin, &mut streams.stdout) {
                tokio::io::copy(from, to).await.map_err(Error::system("echoing"))?;
            }
            std::future::pending().await
        };
        tokio::select! {
            biased;
            // A container that is forgotten has ended, too.
            _ = ended.wait_for(|ended| *ended) => Ok(()),
            failed = echo => failed,
        }
    }

    async fn port_forward(&self, sandbox: &SandboxId, _: u16) -> Result<Box<dyn Connection>> {
        Err(Error::State(format!("sandbox {sandbox} is simulated and has no network")))
    }

    fn simulation(&self) -> Option<Arc<dyn Prober>> {
        Some(Arc::new(self.clone()))
    }

    fn events(&self) -> BoxStream<'static, ContainerEvent> {
        let events = self.inner.events.subscribe();
        futures::stream::unfold(events, |mut events| async move {
            // A reader that fell behind is told by the end of the stream.
            events.recv().await.ok().map(|event| (event, events))
        })
        .boxed()
    }
}

#[async_trait]
impl Prober for SimRuntime {
    async fn probe(&self, target: &ProbeTarget, _: &Probe, _: Duration) -> ProbeResult {
        let tables = self.tables();
        let Some(container) = tables.containers.get(&target.id) else {
            return ProbeResult::Failure("no such container".to_owned());
        };
        match container.started {
            Some(started) if started.elapsed() >= container.script.ready_after => ProbeResult::Success,
            _ => ProbeResult::Failure("the script says so".to_owned()),
        }
    }
}
