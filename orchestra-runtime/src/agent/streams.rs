//! `exec`, `attach` and `port-forward` on the kubelet's paths: which container is meant, and the change of protocol.

use std::fmt;
use std::sync::Arc;

use futures::FutureExt;
use http::{HeaderMap, Method, Request, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{DuplexStream, copy_bidirectional};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::log_query::{self, BadQuery};
use super::pods::{Listed, Table};
use crate::pod::spec::member;
use crate::runtime::{ContainerId, ContainerRuntime, ContainerState, SandboxId, SandboxState, Streams};
use crate::stream::command::{self, Wanted};
use crate::stream::forward::{self, Connect};
use crate::stream::upgrade::{self, Agreed, Protocol, Purpose, Refused};
use crate::stream::{Duplex, tunnel};

/// The most streams that are open at once on one node: each holds a few pipes in memory.
pub(super) const MAX_STREAMS: usize = 1024;
/// The most ports that fit on the channels of a WebSocket.
const MAX_PORTS: usize = 100;

/// Why streams are refused, as a status and a text.
#[derive(Debug)]
pub(super) struct Denied {
    pub(super) status: StatusCode,
    pub(super) text: String,
    pub(super) headers: Box<HeaderMap>,
}

impl Denied {
    fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), headers: Box::default() }
    }
}

impl From<Refused> for Denied {
    fn from(refused: Refused) -> Self {
        let mut denied = Self::new(refused.status, refused.message.clone());
        refused.headers(&mut denied.headers);
        denied
    }
}

impl From<BadQuery> for Denied {
    fn from(bad: BadQuery) -> Self {
        Self::new(bad.status(), bad.message())
    }
}

/// What streams are opened to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target<'a> {
    /// A command beside a container's program.
    Exec { namespace: &'a str, pod: &'a str, container: &'a str },
    /// A container's program itself.
    Attach { namespace: &'a str, pod: &'a str, container: &'a str },
    /// Ports of a pod.
    Ports { namespace: &'a str, pod: &'a str },
}

/// Streams to the pods this agent runs.
#[derive(Clone)]
pub(super) struct PodStreams {
    context: Arc<Context>,
    table: Table,
    /// Ends streams with the agent.
    stop: CancellationToken,
    places: Arc<Semaphore>,
}

impl fmt::Debug for PodStreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PodStreams").finish_non_exhaustive()
    }
}

impl PodStreams {
    pub(super) fn new(
        context: Arc<Context>,
        table: Table,
        stop: CancellationToken,
        places: Arc<Semaphore>,
    ) -> Self {
        Self { context, table, stop, places }
    }

    /// Agrees on a protocol; everything after that happens on the upgraded connection, in a task of its own.
    pub(super) async fn open<B>(
        &self,
        target: Target<'_>,
        mut request: Request<B>,
    ) -> Result<Agreed, Denied> {
        let query = log_query::pairs(request.uri().query().unwrap_or_default())?;
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            let why = "too many open streams on this node, please try again later";
            Denied::new(StatusCode::TOO_MANY_REQUESTS, why)
        })?;
        let agree = |purpose, method: &Method, headers: &HeaderMap| {
            upgrade::negotiate(purpose, method, headers).map_err(Denied::from)
        };
        match target {
            Target::Exec { namespace, pod, container } => {
                let wanted = wanted(&query, false)?;
                let id = self.container(namespace, pod, container, &missing(container)).await?;
                let line: Vec<String> =
                    query.into_iter().filter(|(key, _)| key == "command").map(|(_, part)| part).collect();
                let agreed = agree(Purpose::Command, request.method(), request.headers())?;
                let runtime = self.context.runtime.clone();
                let protocol = agreed.protocol;
                let run = move |streams| async move { runtime.exec(&id, &line, streams).await };
                self.upgraded(place, hyper::upgrade::on(&mut request), move |io| {
                    serve(io, protocol, wanted, run)
                });
                Ok(agreed)
            }
            Target::Attach { namespace, pod, container } => {
                let listed = self.pod(namespace, pod)?;
                let has_terminal = member(&listed.pod, container).and_then(|m| m.container.tty) == Some(true);
                let wanted = wanted(&query, has_terminal)?;
                let gone = format!("container {container} not found in pod {pod}_{namespace}");
                let id = self.container(namespace, pod, container, &gone).await?;
                let agreed = agree(Purpose::Command, request.method(), request.headers())?;
                let runtime = self.context.runtime.clone();
                let protocol = agreed.protocol;
                // How the program ended is in the pod's status; the connection only tells that it is over.
                let run = move |streams| async move { runtime.attach(&id, streams).await.map(|()| 0) };
                self.upgraded(place, hyper::upgrade::on(&mut request), move |io| {
                    serve(io, protocol, wanted, run)
                });
                Ok(agreed)
            }
            Target::Ports { namespace, pod } => {
                let ports = ports(&query)?;
                let sandbox = self.sandbox(namespace, pod).await?;
                let agreed = agree(Purpose::Forward, request.method(), request.headers())?;
                if matches!(agreed.protocol, Protocol::Channels(..)) && ports.is_empty() {
                    return Err(Denied::new(StatusCode::BAD_REQUEST, "query parameter \"port\" is required"));
                }
                let connect = connector(self.context.runtime.clone(), sandbox, pod.to_owned());
                let protocol = agreed.protocol;
                self.upgraded(place, hyper::upgrade::on(&mut request), move |io| {
                    forward(io, protocol, ports, connect)
                });
                Ok(agreed)
            }
        }
    }

    fn upgraded<F, S>(&self, place: OwnedSemaphorePermit, upgrade: OnUpgrade, serve: S)
    where
        S: FnOnce(TokioIo<hyper::upgrade::Upgraded>) -> F + Send + 'static,
        F: Future<Output = ()> + Send,
    {
        let stop = self.stop.clone();
        tokio::spawn(async move {
            let io = match upgrade.await {
                Ok(upgraded) => TokioIo::new(upgraded),
                Err(problem) => return tracing::debug!(%problem, "a connection was not upgraded"),
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = serve(io) => {}
            }
            drop(place);
        });
    }

    fn pod(&self, namespace: &str, pod: &str) -> Result<Listed, Denied> {
        let found = self.table.find(namespace, pod);
        found.ok_or_else(|| Denied::new(StatusCode::NOT_FOUND, "pod does not exist"))
    }

    /// The running container of that name; `absent` says that there is none.
    async fn container(
        &self,
        namespace: &str,
        pod: &str,
        name: &str,
        absent: &str,
    ) -> Result<ContainerId, Denied> {
        let listed = self.pod(namespace, pod)?;
        let failed = |why: String| Denied::new(StatusCode::INTERNAL_SERVER_ERROR, why);
        let missing = || failed(absent.to_owned());
        member(&listed.pod, name).ok_or_else(missing)?;
        let uid = listed.pod.metadata.uid.as_deref().unwrap_or_default();
        let all = self.context.runtime.list_containers().await.map_err(|e| failed(e.describe()))?;
        let its = |c: &&crate::runtime::ContainerStatus| c.pod.uid == uid && c.config.name == name;
        let running = all
            .iter()
            .filter(its)
            .find(|container| matches!(container.state, ContainerState::Running { .. }));
        running.map(|container| container.id.clone()).ok_or_else(missing)
    }

    async fn sandbox(&self, namespace: &str, pod: &str) -> Result<SandboxId, Denied> {
        let listed = self.pod(namespace, pod)?;
        let failed = |why: String| Denied::new(StatusCode::INTERNAL_SERVER_ERROR, why);
        let uid = listed.pod.metadata.uid.as_deref().unwrap_or_default();
        let all = self.context.runtime.list_sandboxes().await.map_err(|e| failed(e.describe()))?;
        let ready = all.iter().filter(|s| s.config.pod.uid == uid && s.state == SandboxState::Ready);
        let newest = ready.max_by_key(|sandbox| sandbox.created_at);
        newest.map(|sandbox| sandbox.id.clone()).ok_or_else(|| failed(format!("pod not found ({pod:?})")))
    }
}

fn ports(query: &[(String, String)]) -> Result<Vec<u16>, Denied> {
    let all = query.iter().filter(|(key, _)| key == "port").flat_map(|(_, list)| list.split(','));
    let ports: Vec<u16> = all
        .map(|text| match text.parse::<u16>() {
            Ok(port @ 1..) => Ok(port),
            _ => Err(Denied::new(StatusCode::BAD_REQUEST, format!("unable to parse {text:?} as a port"))),
        })
        .collect::<Result<_, _>>()?;
    if ports.len() > MAX_PORTS {
        let why = format!("at most {MAX_PORTS} ports can be forwarded over one connection");
        return Err(Denied::new(StatusCode::BAD_REQUEST, why));
    }
    Ok(ports)
}

fn missing(container: &str) -> String {
    format!("container not found ({container:?})")
}

/// The streams a query asks for.
fn wanted(query: &[(String, String)], has_terminal: bool) -> Result<Wanted, Denied> {
    let is_set = |key: &str| query.iter().any(|(k, v)| k == key && v == "1");
    let tty = is_set("tty");
    let wanted = Wanted {
        stdin: is_set("input"),
        stdout: is_set("output"),
        // A terminal has one output.
        stderr: is_set("error") && !tty && !has_terminal,
        tty,
    };
    if !(wanted.stdin || wanted.stdout || wanted.stderr) {
        let why = "you must specify at least 1 of stdin, stdout, stderr";
        return Err(Denied::new(StatusCode::BAD_REQUEST, why));
    }
    Ok(wanted)
}

/// Runs something on the streams of an upgraded connection.
async fn serve<F>(io: impl Duplex, protocol: Protocol, wanted: Wanted, run: impl FnOnce(Streams) -> F + Send)
where
    F: Future<Output = crate::runtime::Result<i32>> + Send,
{
    match protocol {
        Protocol::Channels(version, codec) => {
            command::over_channels(io, (version, codec), wanted, run).await;
        }
        Protocol::Spdy(version) => command::over_spdy(io, version, wanted, run).await,
        // Not among the protocols of commands.
        Protocol::TunnelledSpdy => {}
    }
}

async fn forward(io: impl Duplex, protocol: Protocol, ports: Vec<u16>, connect: Connect) {
    match protocol {
        Protocol::Channels(_, codec) => forward::over_channels(io, codec, &ports, connect).await,
        Protocol::Spdy(_) => forward::over_spdy(io, connect).await,
        Protocol::TunnelledSpdy => {
            let (inner, carry) = tunnel::open(io);
            tokio::join!(carry, forward::over_spdy(inner, connect));
        }
    }
}

/// Connects to ports of a sandbox and copies, each direction to its own end.
fn connector(runtime: Arc<dyn ContainerRuntime>, sandbox: SandboxId, pod: String) -> Connect {
    Arc::new(move |port, mut client: DuplexStream| {
        let (runtime, sandbox, pod) = (runtime.clone(), sandbox.clone(), pod.clone());
        async move {
            let told = |why: String| format!("error forwarding port {port} to pod {pod}: {why}");
            let mut connection =
                runtime.port_forward(&sandbox, port).await.map_err(|e| told(e.describe()))?;
            match copy_bidirectional(&mut client, &mut connection).await {
                Ok(_) => Ok(()),
                // The client closed both ways at once.
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
                Err(error) => Err(told(error.to_string())),
            }
        }
        .boxed()
    })
}
