//! Brings up a pod's surroundings and its containers.

use std::collections::BTreeMap;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, Service, VolumeMount};
use kube::Api;
use kube::api::ListParams;
use orchestra_net::PodRef;

use super::env::{self, Surroundings};
use super::field::Addresses;
use super::spec::meta;
use crate::agent::context::Context;
use crate::event::Severity;
use crate::logs;
use crate::runtime::{
    ContainerConfig, ContainerId, ContainerState, Error, Mount, SandboxConfig, SandboxId, User,
};
use crate::source::Held;
use crate::volume::{self, Material, Ready};

/// The volume that admission gives to every pod, and where its containers see it.
const TOKEN_VOLUME: &str = "kube-api-access-";
const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Where a pod's containers live.
#[derive(Clone, Debug, Default)]
pub(crate) struct Home {
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) volumes: Arc<BTreeMap<String, Ready>>,
}

/// A container that was started.
#[derive(Clone, Debug)]
pub(crate) struct StartedContainer {
    pub(crate) id: ContainerId,
    pub(crate) started_at: Timestamp,
    pub(crate) image_ref: String,
}

/// Why a container was not started.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// It waits, with this reason and message, and is tried again.
    Waits { reason: &'static str, message: String },
    /// It was made and could not run: that counts as an exit.
    Start { id: Option<ContainerId>, image_ref: String, message: String },
}

fn pod_ref(pod: &Pod) -> PodRef {
    let meta = meta(pod);
    PodRef { namespace: meta.namespace, name: meta.name, uid: meta.uid }
}

/// Addresses and volumes. `keep` is the address of a pod that was found running.
pub(crate) async fn settle(
    context: &Context,
    pod: &Pod,
    held: &Held,
    keep: Option<IpAddr>,
) -> Result<(Home, Option<PathBuf>), (&'static str, String)> {
    let on_host = pod.spec.as_ref().and_then(|s| s.host_network) == Some(true);
    let (addresses, namespace) = if on_host {
        (context.facts.address.parse().into_iter().collect(), None)
    } else {
        let attached = context.network.attach(&pod_ref(pod), keep).await.map_err(|e| {
            ("FailedCreatePodSandBox", format!("Failed to create pod sandbox: setting up the network: {e}"))
        })?;
        (attached.addresses, attached.namespace)
    };
    let volumes = if context.simulation {
        BTreeMap::new()
    } else {
        let material = material(context, pod, held, &addresses).await;
        let made = volume::set_up(&context.client, &context.data, pod, &material).await;
        made.map_err(|why| ("FailedMount", why))?
    };
    Ok((Home { addresses, volumes: Arc::new(volumes) }, namespace))
}

/// What volumes are made of, as of now.
pub(crate) async fn material(context: &Context, pod: &Pod, held: &Held, addresses: &[IpAddr]) -> Material {
    Material {
        objects: held.objects().await,
        tokens: context.tokens.of(pod).await,
        allocatable: context.allocatable.clone(),
        addresses: spoken(context, addresses),
    }
}

fn spoken(context: &Context, addresses: &[IpAddr]) -> Addresses {
    Addresses {
        pod: addresses.iter().map(ToString::to_string).collect(),
        host: context.facts.address.clone(),
    }
}

/// The sandbox of a pod that has none.
pub(crate) async fn run_sandbox(
    context: &Context,
    pod: &Pod,
    held: &Held,
    attempt: u32,
) -> Result<(SandboxId, Home), (&'static str, String)> {
    let (home, namespace) = settle(context, pod, held, None).await?;
    let spec = pod.spec.as_ref();
    let name = pod.metadata.name.clone().unwrap_or_default();
    let config = SandboxConfig {
        pod: meta(pod),
        attempt,
        hostname: spec.and_then(|s| s.hostname.clone()).unwrap_or(name),
        addresses: home.addresses.clone(),
        network_namespace: namespace,
        labels: pod.metadata.labels.clone().unwrap_or_default(),
        annotations: pod.metadata.annotations.clone().unwrap_or_default(),
    };
    let made = context.runtime.run_sandbox(&config).await;
    let id = made
        .map_err(|e| ("FailedCreatePodSandBox", format!("Failed to create pod sandbox: {}", e.describe())))?;
    Ok((id, home))
}

/// Gives the pod's address back.
pub(crate) async fn leave_network(context: &Context, pod: &Pod) {
    if let Err(error) = context.network.detach(&pod_ref(pod)).await {
        tracing::warn!(%error, "an address could not be given back");
    }
}

/// Starts a container.
pub(crate) async fn container(
    context: &Context,
    pod: &Pod,
    container: &Container,
    attempt: u32,
    sandbox: &SandboxId,
    home: &Home,
    held: &Held,
) -> Result<StartedContainer, Failure> {
    let note = |severity, reason, message: String| {
        context.recorder.note(pod, Some(&container.name), severity, reason, message);
    };
    let image_ref = pull(context, container, &note).await?;
    if !context.simulation {
        check_ports(container, &home.addresses)?;
    }
    let config = config(context, pod, container, attempt, home, held).await.map_err(|message| {
        note(Severity::Warning, "Failed", format!("Error: {message}"));
        Failure::Waits { reason: "CreateContainerConfigError", message }
    })?;
    let id = context.runtime.create_container(sandbox, &config).await.map_err(|error| {
        let message = error.describe();
        note(Severity::Warning, "Failed", format!("Error: {message}"));
        let reason = match error {
            Error::Config(_) => "CreateContainerConfigError",
            _ => "CreateContainerError",
        };
        Failure::Waits { reason, message }
    })?;
    note(Severity::Normal, "Created", format!("Created container: {}", container.name));
    if let Err(error) = context.runtime.start_container(&id).await {
        let message = error.describe();
        if message.starts_with("cannot mount") && shows_token(container) {
            // The pod did not ask for it, so where the host lets nothing be mounted it does without, as it would without an API.
            note(Severity::Warning, "FailedMount", format!("the account's token is not shown: {message}"));
            let _ = context.runtime.remove_container(&id).await;
            let container = without_token(container);
            return Box::pin(self::container(context, pod, &container, attempt, sandbox, home, held)).await;
        }
        note(Severity::Warning, "Failed", format!("Error: {message}"));
        if message.starts_with("cannot mount") {
            // Not the program's doing: the container could not be made as asked for.
            let _ = context.runtime.remove_container(&id).await;
            return Err(Failure::Waits { reason: "CreateContainerError", message });
        }
        return Err(Failure::Start { id: Some(id), image_ref, message });
    }
    note(Severity::Normal, "Started", format!("Started container {}", container.name));
    let started_at = match context.runtime.container_status(&id).await.map(|s| s.state) {
        Ok(ContainerState::Running { started_at }) => started_at,
        Ok(ContainerState::Exited(exit)) => exit.started_at.unwrap_or(exit.finished_at),
        _ => context.clock.now(),
    };
    clear_old(context, pod, &container.name, attempt).await;
    Ok(StartedContainer { id, started_at, image_ref })
}

/// Whether a container has the mount that admission gives to every container.
fn shows_token(container: &Container) -> bool {
    container.volume_mounts.iter().flatten().any(is_token)
}

fn is_token(mount: &VolumeMount) -> bool {
    mount.mount_path == TOKEN_PATH && mount.name.starts_with(TOKEN_VOLUME)
}

fn without_token(container: &Container) -> Container {
    let mut container = container.clone();
    container.volume_mounts.get_or_insert_default().retain(|mount| !is_token(mount));
    container
}

async fn pull(
    context: &Context,
    container: &Container,
    note: &(dyn Fn(Severity, &'static str, String) + Sync),
) -> Result<String, Failure> {
    let image = container.image.clone().unwrap_or_default();
    let failed = |reason: &'static str, message: String| {
        note(Severity::Warning, "Failed", format!("Failed to pull image {image:?}: {message}"));
        note(Severity::Warning, "Failed", format!("Error: {reason}"));
        Failure::Waits { reason, message }
    };
    let here = match context.runtime.image_status(&image).await {
        Ok(here) => here,
        Err(Error::InvalidImageName(message)) => {
            note(
                Severity::Warning,
                "InspectFailed",
                format!("Failed to apply default image tag {image:?}: {message}"),
            );
            note(Severity::Warning, "Failed", "Error: InvalidImageName".to_owned());
            return Err(Failure::Waits { reason: "InvalidImageName", message });
        }
        Err(error) => return Err(failed("ErrImagePull", error.describe())),
    };
    let policy = container.image_pull_policy.as_deref().unwrap_or("IfNotPresent");
    match here {
        Some(present) if policy != "Always" => {
            note(Severity::Normal, "Pulled", format!("Container image {image:?} already present on machine"));
            return Ok(present.reference);
        }
        None if policy == "Never" => {
            let message = format!("Container image {image:?} is not present with pull policy of Never");
            note(Severity::Warning, "ErrImageNeverPull", message.clone());
            return Err(Failure::Waits { reason: "ErrImageNeverPull", message });
        }
        _ => {}
    }
    note(Severity::Normal, "Pulling", format!("Pulling image {image:?}"));
    let begun = tokio::time::Instant::now();
    let pulled =
        context.runtime.pull_image(&image).await.map_err(|e| failed("ErrImagePull", e.describe()))?;
    let took = begun.elapsed().as_millis();
    note(
        Severity::Normal,
        "Pulled",
        format!(
            "Successfully pulled image {image:?} in {took}ms ({took}ms including waiting). Image size: {} bytes.",
            pulled.size
        ),
    );
    Ok(pulled.reference)
}

/// Whether the ports a container declares can be had on the pod's address, which pods without a network namespace share
/// with the rest of the machine.
fn check_ports(container: &Container, addresses: &[IpAddr]) -> Result<(), Failure> {
    let Some(address) = addresses.first().filter(|a| a.is_loopback()) else { return Ok(()) };
    for port in container.ports.iter().flatten() {
        let Ok(number) = u16::try_from(port.container_port) else { continue };
        let free = match port.protocol.as_deref().unwrap_or("TCP") {
            "TCP" => TcpListener::bind((*address, number)).map(drop),
            "UDP" => UdpSocket::bind((*address, number)).map(drop),
            _ => Ok(()),
        };
        if let Err(error) = free {
            let message = format!("port {number} of {address} cannot be had: {error}");
            return Err(Failure::Waits { reason: "PortUnavailable", message });
        }
    }
    Ok(())
}

async fn config(
    context: &Context,
    pod: &Pod,
    container: &Container,
    attempt: u32,
    home: &Home,
    held: &Held,
) -> Result<ContainerConfig, String> {
    let env = if context.simulation {
        Vec::new()
    } else {
        let around = Surroundings {
            objects: held.objects().await,
            services: services(context, pod).await?,
            allocatable: context.allocatable.clone(),
            addresses: spoken(context, &home.addresses),
        };
        env::build(pod, container, &around)?
    };
    let known = |name: &str| env.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.clone());
    let expand = |line: &Option<Vec<String>>| -> Vec<String> {
        line.iter().flatten().map(|word| env::expand(word, &known)).collect()
    };
    let mounts = if context.simulation { Vec::new() } else { mounts(context, pod, container, home, &known)? };
    Ok(ContainerConfig {
        name: container.name.clone(),
        attempt,
        image: container.image.clone().unwrap_or_default(),
        command: expand(&container.command),
        args: expand(&container.args),
        working_dir: container.working_dir.as_deref().filter(|d| !d.is_empty()).map(PathBuf::from),
        mounts,
        log_path: context.log_path(&meta(pod), &container.name, attempt),
        log_limit: Some(context.log_limit),
        user: user(pod, container)?,
        stdin: container.stdin == Some(true),
        stdin_once: container.stdin_once == Some(true),
        tty: container.tty == Some(true),
        labels: pod.metadata.labels.clone().unwrap_or_default(),
        annotations: pod.metadata.annotations.clone().unwrap_or_default(),
        env,
    })
}

/// The services a container is told of.
async fn services(context: &Context, pod: &Pod) -> Result<Vec<Service>, String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let links = pod.spec.as_ref().and_then(|s| s.enable_service_links).unwrap_or(true);
    let mut found = Vec::new();
    if links {
        let api: Api<Service> = Api::namespaced(context.client.clone(), namespace);
        let listed = api.list(&ListParams::default()).await;
        found = listed.map_err(|e| format!("services have not yet been read at least once: {e}"))?.items;
    }
    if namespace != "default" || !links {
        let api: Api<Service> = Api::namespaced(context.client.clone(), "default");
        let master = api.get_opt("kubernetes").await;
        found.extend(master.map_err(|e| format!("services have not yet been read at least once: {e}"))?);
    }
    Ok(found)
}

fn mounts(
    context: &Context,
    pod: &Pod,
    container: &Container,
    home: &Home,
    known: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<Mount>, String> {
    let mut mounts = Vec::new();
    for mount in container.volume_mounts.iter().flatten() {
        let volume =
            home.volumes.get(&mount.name).ok_or_else(|| format!("volume {:?} not found", mount.name))?;
        let sub = match (&mount.sub_path, &mount.sub_path_expr) {
            (Some(sub), _) if !sub.is_empty() => Some(sub.clone()),
            (_, Some(expr)) if !expr.is_empty() => Some(env::expand(expr, known)),
            _ => None,
        };
        let host_path = match sub {
            Some(sub) => volume::resolve_sub_path(&volume.path, &sub)?,
            None => volume.path.clone(),
        };
        mounts.push(Mount {
            host_path,
            container_path: PathBuf::from(&mount.mount_path),
            read_only: volume.read_only || mount.read_only == Some(true),
        });
    }
    if let Some(inside) = own_message_path(container) {
        let host_path = context.message_path(&meta(pod).uid, &container.name);
        if let Some(parent) = host_path.parent() {
            std::fs::create_dir_all(parent).map_err(|e| e.to_string())?;
        }
        std::fs::write(&host_path, b"").map_err(|e| e.to_string())?;
        // Whoever the program runs as must be able to write it, as upstream has it.
        let all = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        std::fs::set_permissions(&host_path, all).map_err(|e| e.to_string())?;
        mounts.push(Mount { host_path, container_path: PathBuf::from(inside), read_only: false });
    }
    Ok(mounts)
}

/// The path of the termination message, where a file can be shown there at a fair price: for the default path, in the
/// machine's own `/dev`, every container would need a mount namespace and a copy of `/dev`.
pub(crate) fn own_message_path(container: &Container) -> Option<&str> {
    container.termination_message_path.as_deref().filter(|p| !p.is_empty() && *p != "/dev/termination-log")
}

fn user(pod: &Pod, container: &Container) -> Result<Option<User>, String> {
    let of_pod = pod.spec.as_ref().and_then(|s| s.security_context.as_ref());
    let own = container.security_context.as_ref();
    let uid = own.and_then(|s| s.run_as_user).or(of_pod.and_then(|s| s.run_as_user));
    let gid = own.and_then(|s| s.run_as_group).or(of_pod.and_then(|s| s.run_as_group));
    let non_root = own.and_then(|s| s.run_as_non_root).or(of_pod.and_then(|s| s.run_as_non_root));
    if non_root == Some(true) && (uid == Some(0) || uid.is_none() && rustix::process::geteuid().is_root()) {
        return Err("container has runAsNonRoot and image will run as root".to_owned());
    }
    let number = |n: i64| u32::try_from(n).map_err(|_| format!("invalid user or group id {n}"));
    match (uid, gid) {
        (None, None) => Ok(None),
        (uid, gid) => {
            let own = rustix::process::geteuid().as_raw();
            let uid = uid.map_or(Ok(own), number)?;
            Ok(Some(User {
                uid,
                gid: gid
                    .map_or(Ok(if uid == own { rustix::process::getegid().as_raw() } else { 0 }), number)?,
            }))
        }
    }
}

/// Removes all earlier lives of a container but the last, with their logs.
async fn clear_old(context: &Context, pod: &Pod, name: &str, attempt: u32) {
    if attempt < 2 {
        return;
    }
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let Ok(all) = context.runtime.list_containers().await else { return };
    for old in all {
        let same = old.pod.uid == uid && old.config.name == name;
        if same && old.config.attempt + 1 < attempt {
            if let Err(error) = context.runtime.remove_container(&old.id).await {
                tracing::debug!(error = error.describe(), "an old container could not be removed");
            }
            if let Err(error) = logs::remove(&old.config.log_path) {
                tracing::debug!(%error, "an old log could not be removed");
            }
        }
    }
}
