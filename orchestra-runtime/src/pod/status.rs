//! A pod's status, from what is known of its containers. Pure; words as upstream's kubelet uses them.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    HostIP, Pod, PodCondition, PodIP, PodStatus, VolumeMountStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::spec::{Member, Role, full_name, members};
use super::state::{self, Ended, Life, Outcome, PodState, Sandbox, StopReason, crash_loop, outcome};
use super::{ports, resize};

/// How long a failure to pull shows as such before it shows as waiting.
pub(crate) const TELL_FAILURE: SignedDuration = SignedDuration::from_secs(2);

/// What the status needs to know about the node.
#[derive(Clone, Debug)]
pub(crate) struct NodeFacts {
    pub(crate) address: String,
    /// The scheme of container ids.
    pub(crate) runtime: String,
}

/// API times have whole seconds.
pub(crate) fn time(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}

/// A pod, and what was said of it last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) last: Option<&'a PodStatus>,
}

impl<'a> From<&'a Pod> for Told<'a> {
    fn from(pod: &'a Pod) -> Self {
        Self { pod, last: pod.status.as_ref() }
    }
}

impl<'a> Told<'a> {
    fn conditions(self) -> &'a [PodCondition] {
        self.last.and_then(|last| last.conditions.as_deref()).unwrap_or_default()
    }
}

/// The status to report, given the one reported last.
pub(crate) fn status<'a>(
    told: impl Into<Told<'a>>,
    state: &PodState,
    node: &NodeFacts,
    now: Timestamp,
) -> PodStatus {
    let told @ Told { pod, last } = told.into();
    let members = members(pod);
    let statuses = |roles: &[Role]| -> Vec<ContainerStatus> {
        let chosen = members.iter().filter(|m| roles.contains(&m.role));
        chosen.map(|m| container_status(pod, m, state, node, now)).collect()
    };
    let (inits, mains) = (statuses(&[Role::Init, Role::Sidecar]), statuses(&[Role::Main]));
    let added = statuses(&[Role::Ephemeral]);
    let phase = phase(told, &members, state, &inits, &mains);
    let addresses = match &state.sandbox {
        Sandbox::Ready { addresses, .. } => addresses.iter().map(ToString::to_string).collect(),
        // An ended pod keeps telling the address it had.
        _ => last
            .and_then(|last| last.pod_ips.as_ref())
            .into_iter()
            .flatten()
            .map(|ip| ip.ip.clone())
            .collect::<Vec<_>>(),
    };
    let mut status = PodStatus {
        conditions: Some(conditions(told, &members, state, phase, &inits, &mains, now)),
        pod_ip: addresses.first().cloned(),
        pod_ips: (!addresses.is_empty()).then(|| addresses.into_iter().map(|ip| PodIP { ip }).collect()),
        host_ip: Some(node.address.clone()),
        host_ips: Some(vec![HostIP { ip: node.address.clone() }]),
        start_time: last.and_then(|last| last.start_time.clone()).or_else(|| state.start_time.map(time)),
        phase: Some(phase.to_owned()),
        observed_generation: pod.metadata.generation,
        container_statuses: Some(mains),
        ephemeral_container_statuses: (!added.is_empty()).then_some(added),
        init_container_statuses: (!inits.is_empty()).then_some(inits),
        qos_class: last.and_then(|last| last.qos_class.clone()),
        reason: last.and_then(|last| last.reason.clone()),
        message: last.and_then(|last| last.message.clone()),
        ..PodStatus::default()
    };
    match state.stop.as_ref().map(|stop| stop.why) {
        Some(StopReason::Deadline) => {
            status.reason = Some("DeadlineExceeded".to_owned());
            status.message = Some("Pod was active on the node longer than the specified deadline".to_owned());
        }
        Some(StopReason::Rejected) => {
            status.reason = Some(ports::REASON.to_owned());
            status.message = Some(format!("Pod was rejected: {}", ports::MESSAGE));
        }
        _ => {}
    }
    status
}

fn phase(
    Told { pod, last }: Told<'_>,
    members: &[Member<'_>],
    state: &PodState,
    inits: &[ContainerStatus],
    mains: &[ContainerStatus],
) -> &'static str {
    match last.and_then(|last| last.phase.as_deref()) {
        Some("Succeeded") => return "Succeeded",
        Some("Failed") => return "Failed",
        _ => {}
    }
    let ending = state.stop.as_ref().map(|s| s.why);
    if matches!(ending, Some(StopReason::Deadline | StopReason::Rejected)) {
        return "Failed";
    }
    match outcome(pod, state) {
        Some(Outcome::Succeeded) => return "Succeeded",
        Some(Outcome::Failed) => return "Failed",
        None => {}
    }
    // A pod that was deleted ends as its containers did, whatever its restart policy.
    let all_ended = members
        .iter()
        .filter(|m| m.role == Role::Main)
        .all(|m| state.containers.get(&m.container.name).is_some_and(|c| c.exit().is_some()));
    if matches!(ending, Some(StopReason::Deleted)) && all_ended {
        let good = mains.iter().all(|s| terminated(s).is_some_and(|t| t.exit_code == 0));
        return if good { "Succeeded" } else { "Failed" };
    }
    if !state.initialized && inits.iter().zip(members).any(|(s, m)| !initialized(s, m)) {
        return "Pending";
    }
    let never_ran = |s: &&ContainerStatus| {
        let waiting = s.state.as_ref().is_none_or(|s| s.waiting.is_some());
        waiting && s.last_state.as_ref().is_none_or(|l| l.terminated.is_none())
    };
    if mains.iter().any(|s| never_ran(&s)) { "Pending" } else { "Running" }
}

fn terminated(status: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    status.state.as_ref()?.terminated.as_ref()
}

fn initialized(status: &ContainerStatus, member: &Member<'_>) -> bool {
    match member.role {
        Role::Sidecar => status.started == Some(true),
        _ => terminated(status).is_some_and(|t| t.exit_code == 0),
    }
}

fn container_status(
    pod: &Pod,
    member: &Member<'_>,
    state: &PodState,
    node: &NodeFacts,
    now: Timestamp,
) -> ContainerStatus {
    let spec = &*member.container;
    let mut status = ContainerStatus {
        name: spec.name.clone(),
        image: spec.image.clone().unwrap_or_default(),
        // Nobody waits for a container that was added.
        started: (member.role != Role::Ephemeral).then_some(false),
        state: Some(waiting(first_reason(pod, member, state), None)),
        last_state: Some(ContainerState::default()),
        ..ContainerStatus::default()
    };
    let mounts = spec.volume_mounts.iter().flatten().map(|m| VolumeMountStatus {
        name: m.name.clone(),
        mount_path: m.mount_path.clone(),
        read_only: m.read_only,
        recursive_read_only: m.read_only.filter(|r| *r).map(|_| "Disabled".to_owned()),
        ..VolumeMountStatus::default()
    });
    status.volume_mounts = spec.volume_mounts.as_ref().map(|_| mounts.collect());
    if member.role != Role::Ephemeral {
        status.resources = state.given.get(&spec.name).cloned().or_else(|| spec.resources.clone());
        status.allocated_resources = status.resources.as_ref().and_then(|r| r.requests.clone());
    }
    let Some(container) = state.containers.get(&spec.name) else { return status };
    status.restart_count = container.restarts;
    status.image_id.clone_from(&container.image_ref);
    let id = |id: &crate::runtime::ContainerId| Some(format!("{}://{id}", node.runtime));
    let ended = |e: &Ended| ContainerState {
        terminated: Some(termination(e, &node.runtime)),
        ..ContainerState::default()
    };
    status.last_state = Some(container.last.as_ref().map(&ended).unwrap_or_default());
    if let Some(last) = &container.last {
        status.container_id = last.id.as_ref().and_then(id);
    }
    match &container.life {
        Life::Starting => {
            if container.last.is_some() {
                // Until it runs again, what is known is how it ended.
                status.state = status.last_state.take();
                status.last_state = Some(ContainerState::default());
            }
        }
        Life::Waiting { reason, message, since, .. } => {
            let (reason, message) = told(reason, message, spec.image.as_deref(), *since, now);
            status.state = Some(waiting(&reason, Some(message)));
        }
        Life::Running { id: of, started_at, .. } | Life::Stopping { id: of, started_at } => {
            status.container_id = id(of);
            status.state = Some(ContainerState {
                running: Some(ContainerStateRunning { started_at: Some(time(*started_at)) }),
                ..ContainerState::default()
            });
            // A container that is being stopped still answers, as long as its probes say so.
            let stopping = matches!(container.life, Life::Stopping { .. }) && container.started;
            let running = state::is_started(container) || stopping;
            if member.role != Role::Ephemeral {
                status.started = Some(running);
                status.ready = running && container.ready;
            }
        }
        Life::Ended(end) => {
            status.container_id = end.id.as_ref().and_then(id);
            status.state = Some(ended(end));
            status.ready = member.role == Role::Init && end.exit.code == 0;
            if state.stop.is_none()
                && let Some(delay) = crash_loop(member, container, now)
            {
                status.last_state = status.state.take();
                let message = format!(
                    "back-off {} restarting failed container={} pod={}",
                    go_duration(delay),
                    spec.name,
                    full_name(pod)
                );
                status.state = Some(waiting("CrashLoopBackOff", Some(message)));
            }
        }
    }
    status
}

fn first_reason(pod: &Pod, member: &Member<'_>, state: &PodState) -> &'static str {
    let has_inits =
        pod.spec.as_ref().is_some_and(|s| s.init_containers.as_ref().is_some_and(|i| !i.is_empty()));
    let waits = match member.role {
        Role::Main => !state.initialized,
        Role::Init | Role::Sidecar => true,
        Role::Ephemeral => false,
    };
    if has_inits && waits { "PodInitializing" } else { "ContainerCreating" }
}

/// A failed pull is told as such at first, then as waiting for the next attempt.
fn told(
    reason: &str,
    message: &str,
    image: Option<&str>,
    since: Timestamp,
    now: Timestamp,
) -> (String, String) {
    if reason == "ErrImagePull" && now.duration_since(since) >= TELL_FAILURE {
        let image = image.unwrap_or_default();
        return (
            "ImagePullBackOff".to_owned(),
            format!("Back-off pulling image {image:?}: ErrImagePull: {message}"),
        );
    }
    (reason.to_owned(), message.to_owned())
}

fn waiting(reason: &str, message: Option<String>) -> ContainerState {
    ContainerState {
        waiting: Some(ContainerStateWaiting { reason: Some(reason.to_owned()), message }),
        ..ContainerState::default()
    }
}

fn termination(ended: &Ended, runtime: &str) -> ContainerStateTerminated {
    let exit = &ended.exit;
    let plain = if exit.code == 0 { "Completed" } else { "Error" };
    ContainerStateTerminated {
        container_id: ended.id.as_ref().map(|id| format!("{runtime}://{id}")),
        exit_code: exit.code,
        signal: None,
        reason: Some(exit.reason.clone().unwrap_or_else(|| plain.to_owned())),
        message: exit.message.clone(),
        started_at: Some(exit.started_at.map_or(time(exit.finished_at), time)),
        finished_at: Some(time(exit.finished_at)),
    }
}

/// `10s`, `1m20s`, `5m0s`: how Go prints a duration.
fn go_duration(delay: SignedDuration) -> String {
    match (delay.as_secs() / 60, delay.as_secs() % 60) {
        (0, seconds) => format!("{seconds}s"),
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    }
}

/// A condition before its times are known.
struct Finding {
    kind: &'static str,
    holds: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

fn conditions(
    told: Told<'_>,
    members: &[Member<'_>],
    state: &PodState,
    phase: &str,
    inits: &[ContainerStatus],
    mains: &[ContainerStatus],
    now: Timestamp,
) -> Vec<PodCondition> {
    let plain = |kind, holds| Finding { kind, holds, reason: None, message: None };
    let because = |kind, reason, message| Finding { kind, holds: false, reason: Some(reason), message };
    let done = phase == "Succeeded";
    let sandboxed = matches!(state.sandbox, Sandbox::Ready { .. }) && !state.released;

    let incomplete: Vec<&str> = inits
        .iter()
        .zip(members)
        .filter(|(s, m)| !(initialized(s, m) || state.initialized && m.role == Role::Init))
        .map(|(s, _)| s.name.as_str())
        .collect();
    let initial = if done {
        Finding { kind: "Initialized", holds: true, reason: Some("PodCompleted"), message: None }
    } else if incomplete.is_empty() || state.initialized {
        plain("Initialized", true)
    } else {
        let message = format!("containers with incomplete status: [{}]", incomplete.join(" "));
        because("Initialized", "ContainersNotInitialized", Some(message))
    };

    let sidecars = inits.iter().zip(members).filter(|(_, m)| m.role == Role::Sidecar).map(|(s, _)| s);
    let unready: Vec<&str> = sidecars.chain(mains).filter(|s| !s.ready).map(|s| s.name.as_str()).collect();
    let containers = |kind| {
        if done {
            because(kind, "PodCompleted", None)
        } else if phase == "Failed" {
            because(kind, "PodFailed", None)
        } else if unready.is_empty() {
            plain(kind, true)
        } else {
            let message = format!("containers with unready status: [{}]", unready.join(" "));
            because(kind, "ContainersNotReady", Some(message))
        }
    };
    let mut ready = containers("Ready");
    if ready.holds
        && let Some(message) = gates(told)
    {
        ready = because("Ready", "ReadinessGatesNotReady", Some(message));
    }
    let mut findings = vec![
        plain("PodReadyToStartContainers", sandboxed),
        initial,
        ready,
        containers("ContainersReady"),
        plain("PodScheduled", true),
    ];
    if let Some(pending) = &state.pending {
        let (reason, message) = (Some(pending.reason), Some(pending.message.clone()));
        findings.push(Finding { kind: resize::PENDING, holds: true, reason, message });
    }
    if state.containers.values().any(|container| container.resized) {
        findings.push(plain(resize::IN_PROGRESS, true));
    }
    let ours = |kind: &str| {
        findings.iter().any(|f| f.kind == kind) || matches!(kind, resize::PENDING | resize::IN_PROGRESS)
    };
    let old = told.conditions();
    let foreign = old.iter().filter(|c| !ours(&c.type_)).cloned();
    let ours = findings.iter().map(|f| finding(told.pod, f, old, now));
    ours.chain(foreign).collect()
}

fn finding(pod: &Pod, finding: &Finding, old: &[PodCondition], now: Timestamp) -> PodCondition {
    let status = if finding.holds { "True" } else { "False" };
    let before = old.iter().find(|c| c.type_ == finding.kind && c.status == status);
    PodCondition {
        type_: finding.kind.to_owned(),
        status: status.to_owned(),
        reason: finding.reason.map(str::to_owned),
        message: finding.message.clone(),
        last_transition_time: before.and_then(|c| c.last_transition_time.clone()).or_else(|| Some(time(now))),
        observed_generation: pod.metadata.generation,
        last_probe_time: None,
    }
}

/// What the pod's readiness gates miss.
fn gates(told: Told<'_>) -> Option<String> {
    let problems: Vec<String> = told
        .pod
        .spec
        .iter()
        .flat_map(|s| s.readiness_gates.iter().flatten())
        .filter_map(|gate| {
            let kind = &gate.condition_type;
            match told.conditions().iter().find(|c| c.type_ == *kind) {
                None => {
                    Some(format!("corresponding condition of pod readiness gate {kind:?} does not exist."))
                }
                Some(c) if c.status != "True" => Some(format!(
                    "the status of pod readiness gate {kind:?} is not \"True\", but {}",
                    c.status
                )),
                Some(_) => None,
            }
        })
        .collect();
    (!problems.is_empty()).then(|| problems.join(", "))
}
