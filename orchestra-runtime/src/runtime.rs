//! The seam between the node agent and whatever really runs containers, in the shape of the Container Runtime
//! Interface (CRI): sandboxes, containers, images, exec, and files for logs.
//!
//! The agent decides what should run; a runtime only does as told, and can tell at any time what it runs, because the
//! agent remembers nothing over a restart. Pods, restart policies, probes and volumes are none of a runtime's business.

mod config;
mod error;
mod io;
mod observed;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;

pub use crate::pod::probe::{ProbeResult, ProbeTarget, Prober};
pub use config::{ContainerConfig, Mount, PodMeta, SandboxConfig, User};
pub use error::{Error, Result};
pub use io::{Connection, Input, Output, Streams, TerminalSize};
pub use observed::{
    ContainerEvent, ContainerId, ContainerState, ContainerStats, ContainerStatus, ExecOutput, Exit, Image,
    SandboxId, SandboxState, SandboxStatus, Version,
};

/// Runs containers on one node.
///
/// # Contract
/// 1. *Found again*: everything created is listed by [`list_sandboxes`](Self::list_sandboxes) and
///    [`list_containers`](Self::list_containers) until it is removed, also by a new value opened on the same state
///    after the program that made it was killed, as far as the backend outlives its embedder at all.
/// 2. *Exactly once*: [`start_container`](Self::start_container) starts a created container once; for a container that
///    runs or has ended it is an error.
/// 3. *Told, not asked*: every container that ends yields one [`ContainerEvent`] on every stream
///    [`events`](Self::events) gave out before. Once the event is out, `container_status` tells the exit.
/// 4. *Gone means gone*: when [`stop_container`](Self::stop_container) returns, the container has ended. Stopping what
///    has ended and removing what is not there succeed.
/// 5. *Logs*: what a container writes is in the file `log_path` of its configuration, in CRI's log format.
///
/// # Cancellation
/// Dropping a future may leave the call done or undone, never half done: a created container is listed, or it is not.
///
/// # Errors
/// [`Error::NotFound`] for unknown ids; [`Error::Image`] for images that cannot be had; [`Error::Config`] when the
/// configuration itself cannot work; [`Error::Start`] when the program cannot be executed.
///
/// # Implementing
/// Forward every method when wrapping a runtime.
#[async_trait]
pub trait ContainerRuntime: Debug + Send + Sync + 'static {
    /// What runs the containers.
    fn version(&self) -> Version;

    /// Whether it can run containers now; the error says what is missing.
    async fn ready(&self) -> Result<()>;

    /// Makes the place the containers of a pod will share.
    async fn run_sandbox(&self, config: &SandboxConfig) -> Result<SandboxId>;

    /// Ends what still runs in a sandbox.
    async fn stop_sandbox(&self, id: &SandboxId) -> Result<()>;

    /// Forgets a sandbox and its containers.
    async fn remove_sandbox(&self, id: &SandboxId) -> Result<()>;

    /// Every sandbox there is.
    async fn list_sandboxes(&self) -> Result<Vec<SandboxStatus>>;

    /// Makes a container ready to start.
    async fn create_container(&self, sandbox: &SandboxId, config: &ContainerConfig) -> Result<ContainerId>;

    /// Starts a created container.
    async fn start_container(&self, id: &ContainerId) -> Result<()>;

    /// Ends a container: asks politely, and after `grace` kills it.
    async fn stop_container(&self, id: &ContainerId, grace: Duration) -> Result<()>;

    /// Forgets a container that does not run.
    async fn remove_container(&self, id: &ContainerId) -> Result<()>;

    /// Every container there is.
    async fn list_containers(&self) -> Result<Vec<ContainerStatus>>;

    /// One container.
    async fn container_status(&self, id: &ContainerId) -> Result<ContainerStatus>;

    /// What each running container uses; one of which it cannot be told is left out.
    async fn container_stats(&self) -> Result<Vec<ContainerStats>>;

    /// The image, if it is here.
    async fn image_status(&self, image: &str) -> Result<Option<Image>>;

    /// Fetches an image.
    async fn pull_image(&self, image: &str) -> Result<Image>;

    /// Runs a command beside a running container's program, in the same surroundings, and waits for its end.
    async fn exec_sync(&self, id: &ContainerId, command: &[String], timeout: Duration) -> Result<ExecOutput>;

    /// Runs a command beside a running container's program, in the same surroundings, on the client's streams, with a
    /// terminal if the streams have one. Returns the exit code, once everything the command wrote was taken. Dropping
    /// the future ends the command: its client is gone.
    async fn exec(&self, id: &ContainerId, command: &[String], streams: Streams) -> Result<i32>;

    /// Connects the client's streams to a running container: its output from now on, its input where it has one, the
    /// size of its terminal. Returns once the container has ended and the client has taken its output. Dropping the
    /// future detaches.
    async fn attach(&self, id: &ContainerId, streams: Streams) -> Result<()>;

    /// Connects to a TCP port of a pod.
    async fn port_forward(&self, sandbox: &SandboxId, port: u16) -> Result<Box<dyn Connection>>;

    /// Answers probes in place of the network, for a runtime whose containers are not real: they have no files, no
    /// environment and no ports either, and the agent spares itself the work for them. `None` for all others.
    fn simulation(&self) -> Option<Arc<dyn Prober>>;

    /// Ends of containers from now on. A stream that falls behind ends; its reader lists and asks for a new one.
    fn events(&self) -> BoxStream<'static, ContainerEvent>;
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: ContainerRuntime + ?Sized> ContainerRuntime for Arc<T> {
    fn version(&self) -> Version {
        (**self).version()
    }
    async fn ready(&self) -> Result<()> {
        (**self).ready().await
    }
    async fn run_sandbox(&self, config: &SandboxConfig) -> Result<SandboxId> {
        (**self).run_sandbox(config).await
    }
    async fn stop_sandbox(&self, id: &SandboxId) -> Result<()> {
        (**self).stop_sandbox(id).await
    }
    async fn remove_sandbox(&self, id: &SandboxId) -> Result<()> {
        (**self).remove_sandbox(id).await
    }
    async fn list_sandboxes(&self) -> Result<Vec<SandboxStatus>> {
        (**self).list_sandboxes().await
    }
    async fn create_container(&self, sandbox: &SandboxId, config: &ContainerConfig) -> Result<ContainerId> {
        (**self).create_container(sandbox, config).await
    }
    async fn start_container(&self, id: &ContainerId) -> Result<()> {
        (**self).start_container(id).await
    }
    async fn stop_container(&self, id: &ContainerId, grace: Duration) -> Result<()> {
        (**self).stop_container(id, grace).await
    }
    async fn remove_container(&self, id: &ContainerId) -> Result<()> {
        (**self).remove_container(id).await
    }
    async fn list_containers(&self) -> Result<Vec<ContainerStatus>> {
        (**self).list_containers().await
    }
    async fn container_status(&self, id: &ContainerId) -> Result<ContainerStatus> {
        (**self).container_status(id).await
    }
    async fn container_stats(&self) -> Result<Vec<ContainerStats>> {
        (**self).container_stats().await
    }
    async fn image_status(&self, image: &str) -> Result<Option<Image>> {
        (**self).image_status(image).await
    }
    async fn pull_image(&self, image: &str) -> Result<Image> {
        (**self).pull_image(image).await
    }
    async fn exec_sync(&self, id: &ContainerId, command: &[String], timeout: Duration) -> Result<ExecOutput> {
        (**self).exec_sync(id, command, timeout).await
    }
    async fn exec(&self, id: &ContainerId, command: &[String], streams: Streams) -> Result<i32> {
        (**self).exec(id, command, streams).await
    }
    async fn attach(&self, id: &ContainerId, streams: Streams) -> Result<()> {
        (**self).attach(id, streams).await
    }
    async fn port_forward(&self, sandbox: &SandboxId, port: u16) -> Result<Box<dyn Connection>> {
        (**self).port_forward(sandbox, port).await
    }
    fn simulation(&self) -> Option<Arc<dyn Prober>> {
        (**self).simulation()
    }
    fn events(&self) -> BoxStream<'static, ContainerEvent> {
        (**self).events()
    }
}
