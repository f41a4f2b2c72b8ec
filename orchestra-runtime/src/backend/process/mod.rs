//! Containers as plain processes of the host: no privileges, no daemon, no downloads.
//!
//! A container is a process group with its own environment, working directory and log; it sees the host's files, with
//! its volumes shown at their mount paths where it has some (the module `mount` tells how). Pods share the node's network
//! and are told their address in `POD_IP`. An image is a name in a table of programs the embedder filled
//! ([`ProcessOptions::with_image`]), or `host`: the container's `command` run from the host's own files.
//!
//! This isolates nothing. It is for programs one trusts as much as any other process of the same user.
//!
//! Containers are supervised by a shim each, which survives the agent, or are children of the embedding program and die
//! with it: [`Supervision`].

mod attach;
mod child;
mod exec;
mod image;
mod input;
mod launch;
mod layout;
mod mount;
mod options;
mod procfs;
mod registry;
mod session;
pub mod shim;
mod shimmed;
mod supervisor;
mod usage;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use jiff::Timestamp;
use rustix::process::Signal;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::runtime::Prober;
use crate::runtime::{
    Connection, ContainerConfig, ContainerEvent, ContainerId, ContainerRuntime, ContainerState,
    ContainerStats, ContainerStatus, Error, ExecOutput, Image, Result, SandboxConfig, SandboxId,
    SandboxState, SandboxStatus, Streams, Version,
};

pub use image::Program;
pub use options::{ProcessOptions, Supervision};

use layout::{ContainerRecord, Layout, SandboxRecord, read_json, write_json};
use registry::{Entry, Registry};
use supervisor::{Adopted, Running, Supervisor};

/// Runs containers as processes of the host.
#[derive(Debug)]
pub struct ProcessRuntime {
    inner: Arc<Inner>,
    /// Ends the tasks that wait for containers; with children, that ends the containers.
    stop: CancellationToken,
}

#[derive(Debug)]
struct Inner {
    layout: Layout,
    images: image::Images,
    supervisor: Box<dyn Supervisor>,
    registry: Registry,
    stop: CancellationToken,
}

impl Drop for ProcessRuntime {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl ProcessRuntime {
    /// Opens the runtime on its state directory and finds what runs. Call inside a Tokio runtime.
    pub fn open(options: ProcessOptions) -> Result<Self> {
        let opening = |dir: &Path| format!("opening {}", dir.display());
        let layout = Layout::create(&options.dir).map_err(Error::system(opening(&options.dir)))?;
        let supervisor: Box<dyn Supervisor> = match options.supervision {
            Supervision::Shim { program, args } => Box::new(shimmed::Shimmed { program, args }),
            Supervision::Child => {
                Box::new(child::Children::new().map_err(Error::system("starting the spawning thread"))?)
            }
        };
        let stop = CancellationToken::new();
        let inner = Arc::new(Inner {
            layout,
            images: options.images,
            supervisor,
            registry: Registry::default(),
            stop: stop.clone(),
        });
        inner.find().map_err(Error::system(opening(&options.dir)))??;
        Ok(Self { inner, stop })
    }
}

impl Inner {
    /// Takes over what an earlier runtime left.
    fn find(self: &Arc<Self>) -> std::io::Result<Result<()>> {
        for sandbox in self.layout.sandboxes()? {
            self.registry.add_sandbox(sandbox);
        }
        for dir in self.layout.containers()? {
            let Some(record) = read_json::<ContainerRecord>(&dir.record())? else {
                std::fs::remove_dir_all(&dir.0)?;
                continue;
            };
            match self.supervisor.adopt(&record, &dir) {
                Ok(Adopted::NeverStarted) => std::fs::remove_dir_all(&dir.0)?,
                Ok(Adopted::Exited(exit)) => {
                    self.registry.add(Entry::new(record, ContainerState::Exited(exit)));
                }
                Ok(Adopted::Running(running)) => {
                    let id = record.id.clone();
                    self.registry.add(Entry::new(record, ContainerState::Created));
                    self.clone().follow(id, running);
                }
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(()))
    }

    /// Keeps the state of a started container true until it ended.
    fn follow(self: Arc<Self>, id: ContainerId, running: Running) {
        self.registry.started(&id, running.process);
        let stop = self.stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                exit = running.exit => self.registry.exited(&id, exit),
                () = stop.cancelled() => {}
            }
        });
    }

    /// The whole environment of a container's program.
    fn environment(sandbox: &SandboxConfig, config: &ContainerConfig) -> Vec<(String, String)> {
        let mut env = vec![
            ("PATH".to_owned(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
            ("HOSTNAME".to_owned(), sandbox.hostname.clone()),
        ];
        env.extend(sandbox.addresses.first().map(|ip| ("POD_IP".to_owned(), ip.to_string())));
        env.extend(config.env.iter().cloned());
        env
    }
}

/// Waits until a container is neither starting nor running.
async fn until_ended(entry: &Entry) {
    let mut state = entry.state.subscribe();
    // The sender lives in the entry, so waiting cannot fail.
    let _ = state.wait_for(|s| !matches!(s, ContainerState::Running { .. })).await;
}

#[async_trait]
impl ContainerRuntime for ProcessRuntime {
    fn version(&self) -> Version {
        Version { name: "process".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() }
    }

    async fn ready(&self) -> Result<()> {
        Ok(())
    }

    async fn run_sandbox(&self, config: &SandboxConfig) -> Result<SandboxId> {
        let record = SandboxRecord {
            id: SandboxId(registry::new_id()),
            config: config.clone(),
            state: SandboxState::Ready,
            created_at: Timestamp::now(),
        };
        let dir = self.inner.layout.sandbox(&record.id);
        let writing = || format!("writing {}", dir.display());
        std::fs::create_dir_all(&dir).map_err(Error::system(writing()))?;
        write_json(&dir.join("sandbox.json"), &record).map_err(Error::system(writing()))?;
        let id = record.id.clone();
        self.inner.registry.add_sandbox(record);
        Ok(id)
    }

    async fn stop_sandbox(&self, id: &SandboxId) -> Result<()> {
        for entry in self.inner.registry.in_sandbox(id) {
            self.stop_container(&entry.record.id, Duration::ZERO).await?;
        }
        if let Some(record) = self.inner.registry.stop_sandbox(id) {
            let path = self.inner.layout.sandbox(id).join("sandbox.json");
            write_json(&path, &record).map_err(Error::system(format!("writing {}", path.display())))?;
        }
        Ok(())
    }

    async fn remove_sandbox(&self, id: &SandboxId) -> Result<()> {
        self.stop_sandbox(id).await?;
        for entry in self.inner.registry.in_sandbox(id) {
            self.remove_container(&entry.record.id).await?;
        }
        remove_dir(&self.inner.layout.sandbox(id))?;
        self.inner.registry.remove_sandbox(id);
        Ok(())
    }

    async fn list_sandboxes(&self) -> Result<Vec<SandboxStatus>> {
        Ok(self.inner.registry.sandboxes())
    }

    async fn create_container(&self, sandbox: &SandboxId, config: &ContainerConfig) -> Result<ContainerId> {
        let inside = self.inner.registry.sandbox(sandbox)?;
        if inside.state != SandboxState::Ready {
            return Err(Error::State(format!("sandbox {sandbox} is not ready")));
        }
        let record = ContainerRecord {
            id: ContainerId(registry::new_id()),
            sandbox: sandbox.clone(),
            pod: inside.config.pod.clone(),
            image_ref: self.inner.images.resolve(&config.image)?.reference,
            created_at: Timestamp::now(),
            command_line: self.inner.images.command_line(config)?,
            env: Inner::environment(&inside.config, config),
            config: config.clone(),
        };
        let dir = self.inner.layout.container(&record.id);
        let writing = || format!("writing {}", dir.0.display());
        std::fs::create_dir_all(&dir.0).map_err(Error::system(writing()))?;
        write_json(&dir.record(), &record).map_err(Error::system(writing()))?;
        let id = record.id.clone();
        self.inner.registry.add(Entry::new(record, ContainerState::Created));
        Ok(id)
    }

    async fn start_container(&self, id: &ContainerId) -> Result<()> {
        let entry = self.inner.registry.container(id)?;
        if !entry.claim() {
            return Err(Error::State(format!("container {id} was started before")));
        }
        // A task of its own: once begun, a start is followed to its end, also when the caller loses interest.
        let inner = self.inner.clone();
        let starting = tokio::spawn(async move {
            let dir = inner.layout.container(&entry.record.id);
            let running = inner.supervisor.start(&entry.record, &dir).await?;
            inner.follow(entry.record.id.clone(), running);
            Ok(())
        });
        starting.await.map_err(|e| Error::State(format!("container {id} was not started: {e}")))?
    }

    async fn stop_container(&self, id: &ContainerId, grace: Duration) -> Result<()> {
        let entry = self.inner.registry.container(id)?;
        let Some(process) = entry.process() else { return Ok(()) };
        if !grace.is_zero() {
            process.process.signal_group(Signal::TERM);
            if tokio::time::timeout(grace, until_ended(&entry)).await.is_ok() {
                return Ok(());
            }
        }
        process.process.signal_group(Signal::KILL);
        until_ended(&entry).await;
        Ok(())
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<()> {
        let Ok(entry) = self.inner.registry.container(id) else { return Ok(()) };
        if matches!(*entry.state.borrow(), ContainerState::Running { .. }) {
            return Err(Error::State(format!("container {id} is running")));
        }
        remove_dir(&self.inner.layout.container(id).0)?;
        self.inner.registry.remove(id);
        Ok(())
    }

    async fn list_containers(&self) -> Result<Vec<ContainerStatus>> {
        Ok(self.inner.registry.containers())
    }

    async fn container_status(&self, id: &ContainerId) -> Result<ContainerStatus> {
        Ok(self.inner.registry.container(id)?.status())
    }

    async fn container_stats(&self) -> Result<Vec<ContainerStats>> {
        let running = self.inner.registry.running();
        if running.is_empty() {
            return Ok(Vec::new());
        }
        let reading = tokio::task::spawn_blocking(move || usage::read(&running)).await;
        reading.map_err(|error| Error::State(format!("what containers use was not read: {error}")))?
    }

    async fn image_status(&self, image: &str) -> Result<Option<Image>> {
        match self.inner.images.resolve(image) {
            Ok(image) => Ok(Some(image)),
            Err(Error::Image(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn pull_image(&self, image: &str) -> Result<Image> {
        self.inner.images.resolve(image)
    }

    async fn exec_sync(&self, id: &ContainerId, command: &[String], timeout: Duration) -> Result<ExecOutput> {
        let entry = self.inner.registry.container(id)?;
        let process =
            entry.process().ok_or_else(|| Error::State(format!("container {id} is not running")))?;
        let dir = self.inner.layout.container(id);
        let command = self.inner.supervisor.exec(&entry.record, &dir, &process, command, false)?;
        exec::run(command, timeout).await
    }

    async fn exec(&self, id: &ContainerId, command: &[String], streams: Streams) -> Result<i32> {
        let entry = self.inner.registry.container(id)?;
        let process =
            entry.process().ok_or_else(|| Error::State(format!("container {id} is not running")))?;
        let dir = self.inner.layout.container(id);
        let terminal = streams.terminal.is_some();
        let command = self.inner.supervisor.exec(&entry.record, &dir, &process, command, terminal)?;
        session::run(command, streams).await
    }

    async fn attach(&self, id: &ContainerId, streams: Streams) -> Result<()> {
        let entry = self.inner.registry.container(id)?;
        entry.process().ok_or_else(|| Error::State(format!("container {id} is not running")))?;
        attach::run(&entry, &self.inner.layout.container(id), streams).await
    }

    async fn port_forward(&self, sandbox: &SandboxId, port: u16) -> Result<Box<dyn Connection>> {
        let inside = self.inner.registry.sandbox(sandbox)?;
        // Pods share the node's network: only the pod's own address tells its ports from those of others.
        let address = inside.config.addresses.first().copied();
        let address =
            address.ok_or_else(|| Error::State(format!("sandbox {sandbox} has no address of its own")))?;
        let connecting = Error::system(format!("connecting to {}", SocketAddr::new(address, port)));
        let connected = TcpStream::connect((address, port)).await.map_err(connecting)?;
        Ok(Box::new(connected))
    }

    fn simulation(&self) -> Option<Arc<dyn Prober>> {
        None
    }

    fn events(&self) -> BoxStream<'static, ContainerEvent> {
        let events = self.inner.registry.subscribe();
        futures::stream::unfold(events, |mut events| async move {
            // A reader that fell behind is told by the end of the stream.
            events.recv().await.ok().map(|event| (event, events))
        })
        .boxed()
    }
}

fn remove_dir(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::System { what: format!("removing {}", path.display()), source: e })
        }
        _ => Ok(()),
    }
}
