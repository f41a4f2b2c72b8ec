//! Decides what a pod needs next. Pure: no clock, no I/O.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, ResourceRequirements};

use super::backoff::Backoff;
use super::resize::Pending;
use super::spec::{Member, Role, members};
use crate::runtime::{ContainerId, Exit, SandboxId};

/// Everything known about a pod beside its object.
#[derive(Clone, Debug, Default)]
pub(crate) struct PodState {
    pub(crate) sandbox: Sandbox,
    /// By name; absent means never started.
    pub(crate) containers: BTreeMap<String, Container>,
    /// Whether the volumes and the sandbox of an ended pod were given back.
    pub(crate) released: bool,
    /// When the agent first saw the pod.
    pub(crate) start_time: Option<Timestamp>,
    /// Set once the pod has to end.
    pub(crate) stop: Option<Stop>,
    /// What its containers were given, by name.
    pub(crate) given: BTreeMap<String, ResourceRequirements>,
    /// Why they do not have yet what the pod asks for now.
    pub(crate) pending: Option<Pending>,
    /// Of which generation the pod was when it was given more or less, until all containers run with that.
    pub(crate) resizing: Option<i64>,
    /// Whether the init containers once were all done; they do not run again in the same sandbox.
    pub(crate) initialized: bool,
}

/// Why and since when a pod is being stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stop {
    pub(crate) since: Timestamp,
    pub(crate) grace_seconds: i64,
    pub(crate) why: StopReason,
}

/// Why a pod is being stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopReason {
    /// It is being deleted.
    Deleted,
    /// It is not in the API any more.
    Vanished,
    /// It ran longer than `activeDeadlineSeconds`.
    Deadline,
    /// It wants ports of the node that another pod has.
    Rejected,
    /// The agent stops, and takes its pods along.
    Shutdown,
}

/// The place of the containers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sandbox {
    #[default]
    Absent,
    Starting,
    Failed {
        message: String,
        retry_at: Timestamp,
    },
    Ready {
        id: SandboxId,
        addresses: Vec<IpAddr>,
    },
}

/// One container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Container {
    pub(crate) life: Life,
    /// How often it was started again.
    pub(crate) restarts: i32,
    /// How the life before this one ended.
    pub(crate) last: Option<Ended>,
    pub(crate) backoff: Backoff,
    /// Attempts to start it that came to nothing.
    pub(crate) attempts: Backoff,
    /// The image it was started with, as the pod named it then.
    pub(crate) image: String,
    /// The image's identity, once known.
    pub(crate) image_ref: String,
    /// Whether the startup probe succeeded, where there is one.
    pub(crate) started: bool,
    /// What the readiness probe says, where there is one.
    pub(crate) ready: bool,
    /// The liveness or startup probe wants it restarted, and says why.
    pub(crate) condemned: Option<String>,
    /// It was given more or less, and begins anew with it.
    pub(crate) resized: bool,
}

/// Where a container stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// Being started: image, configuration, creation.
    Starting,
    /// Could not be started; tried again.
    Waiting { reason: String, message: String, since: Timestamp, retry_at: Timestamp },
    /// Runs; `hooked` once the postStart hook is through.
    Running { id: ContainerId, started_at: Timestamp, hooked: bool },
    /// Being stopped.
    Stopping { id: ContainerId, started_at: Timestamp },
    /// Ended.
    Ended(Ended),
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) id: Option<ContainerId>,
    pub(crate) exit: Exit,
}

impl Container {
    /// A container about to be started for the first time.
    pub(crate) fn new() -> Self {
        Self {
            life: Life::Starting,
            restarts: 0,
            last: None,
            backoff: Backoff::default(),
            attempts: Backoff::default(),
            image: String::new(),
            image_ref: String::new(),
            started: false,
            ready: false,
            condemned: None,
            resized: false,
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        matches!(self.life, Life::Running { .. })
    }

    /// Whether something of it may run.
    pub(crate) fn is_active(&self) -> bool {
        matches!(self.life, Life::Starting | Life::Running { .. } | Life::Stopping { .. })
    }

    pub(crate) fn exit(&self) -> Option<&Exit> {
        match &self.life {
            Life::Ended(ended) => Some(&ended.exit),
            _ => None,
        }
    }
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Volumes, address, sandbox.
    RunSandbox,
    /// Start a container, the first time or again.
    Start(String),
    /// Stop a container, its preStop hook first.
    Stop { name: String, grace_seconds: i64, message: String },
    /// Give back sandbox, address and volumes; containers stay for their logs.
    Release,
    /// Remove everything of the pod from the node, and then the pod from the API.
    Finish,
}

/// What `decide` found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) actions: Vec<Action>,
    /// Decide again then, whatever happens.
    pub(crate) wake: Option<Timestamp>,
}

impl Decision {
    fn wake_at(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |w| w.min(at)));
    }
}

/// How a pod as a whole ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Succeeded,
    Failed,
}

/// Whether the pod is over, by its containers.
pub(crate) fn outcome(pod: &Pod, state: &PodState) -> Option<Outcome> {
    let mut all_good = true;
    for member in members(pod) {
        let container = state.containers.get(&member.container.name);
        let exit = container.and_then(Container::exit);
        match member.role {
            Role::Sidecar | Role::Ephemeral => {}
            Role::Init => {
                if let Some(exit) = exit
                    && exit.code != 0
                    && !member.restarts_after(exit)
                {
                    return Some(Outcome::Failed);
                }
            }
            Role::Main => {
                let exit = exit?;
                if member.restarts_after(exit) {
                    return None;
                }
                all_good &= exit.code == 0;
            }
        }
    }
    Some(if all_good { Outcome::Succeeded } else { Outcome::Failed })
}

/// What to do now.
pub(crate) fn decide(pod: &Pod, state: &PodState, now: Timestamp) -> Decision {
    let mut decision = Decision::default();
    let members = members(pod);
    if let Some(stop) = &state.stop {
        let message = |name: &str| format!("Stopping container {name}");
        let quiet = stop_in_order(&members, state, stop, now, &message, &mut decision);
        match stop.why {
            StopReason::Deadline | StopReason::Rejected if quiet && !state.released => {
                decision.actions.push(Action::Release);
            }
            // It stays in the API until somebody deletes it.
            StopReason::Deadline | StopReason::Rejected => {}
            _ if quiet => decision.actions.push(Action::Finish),
            _ => {}
        }
        return decision;
    }
    if outcome(pod, state).is_some() {
        if state.released {
            return decision;
        }
        let grace_seconds = super::spec::grace_seconds(pod);
        let stop = Stop { since: now, grace_seconds, why: StopReason::Deleted };
        let message = |name: &str| format!("Stopping container {name}");
        if stop_in_order(&members, state, &stop, now, &message, &mut decision) {
            decision.actions.push(Action::Release);
        }
        return decision;
    }
    match &state.sandbox {
        Sandbox::Absent => decision.actions.push(Action::RunSandbox),
        Sandbox::Starting => {}
        Sandbox::Failed { retry_at, .. } if *retry_at <= now => decision.actions.push(Action::RunSandbox),
        Sandbox::Failed { retry_at, .. } => decision.wake_at(*retry_at),
        Sandbox::Ready { .. } => keep_running(pod, &members, state, now, &mut decision),
    }
    decision
}

/// Stops what runs, sidecars last and in reverse order. Whether all is quiet.
fn stop_in_order(
    members: &[Member<'_>],
    state: &PodState,
    stop: &Stop,
    now: Timestamp,
    message: &dyn Fn(&str) -> String,
    decision: &mut Decision,
) -> bool {
    let spent = now.duration_since(stop.since).as_secs().max(0);
    let mut stop_one = |member: &Member<'_>| -> bool {
        let name = &member.container.name;
        let Some(container) = state.containers.get(name).filter(|c| c.is_active()) else { return false };
        if container.is_running() {
            // Sidecars get what the others left of the grace, and a moment at least.
            let left = (stop.grace_seconds - spent).max(stop.grace_seconds.min(2));
            let grace_seconds = if member.role == Role::Sidecar { left } else { stop.grace_seconds };
            decision.actions.push(Action::Stop { name: name.clone(), grace_seconds, message: message(name) });
        }
        true
    };
    let mut busy = false;
    for member in members.iter().filter(|m| m.role != Role::Sidecar) {
        busy |= stop_one(member);
    }
    if busy {
        return false;
    }
    !members.iter().rev().filter(|m| m.role == Role::Sidecar).any(stop_one)
}

fn keep_running(
    pod: &Pod,
    members: &[Member<'_>],
    state: &PodState,
    now: Timestamp,
    decision: &mut Decision,
) {
    for member in members.iter().filter(|member| member.role == Role::Ephemeral) {
        keep_one(pod, member, state.containers.get(&member.container.name), now, decision);
    }
    let mut initializing = false;
    for member in members {
        let name = &member.container.name;
        let container = state.containers.get(name);
        match member.role {
            Role::Init if state.initialized => {}
            Role::Init => {
                keep_one(pod, member, container, now, decision);
                if container.and_then(Container::exit).is_none_or(|exit| exit.code != 0) {
                    initializing = true;
                }
            }
            Role::Sidecar => {
                keep_one(pod, member, container, now, decision);
                if !state.initialized && !container.is_some_and(is_started) {
                    initializing = true;
                }
            }
            Role::Main => keep_one(pod, member, container, now, decision),
            Role::Ephemeral => {}
        }
        if initializing {
            return;
        }
    }
}

/// Whether the pod's init containers are through.
pub(crate) fn init_done(pod: &Pod, state: &PodState) -> bool {
    members(pod).iter().all(|member| {
        let container = state.containers.get(&member.container.name);
        match member.role {
            Role::Main | Role::Ephemeral => true,
            Role::Init => container.and_then(Container::exit).is_some_and(|exit| exit.code == 0),
            Role::Sidecar => container.is_some_and(is_started),
        }
    })
}

/// Whether whoever waits for a container may go on.
pub(crate) fn is_started(container: &Container) -> bool {
    matches!(container.life, Life::Running { hooked: true, .. }) && container.started
}

fn keep_one(
    pod: &Pod,
    member: &Member<'_>,
    container: Option<&Container>,
    now: Timestamp,
    decision: &mut Decision,
) {
    let name = &member.container.name;
    let Some(container) = container else {
        decision.actions.push(Action::Start(name.clone()));
        return;
    };
    match &container.life {
        Life::Starting | Life::Stopping { .. } => {}
        Life::Running { .. } => {
            let image = member.container.image.as_deref().unwrap_or_default();
            if !container.image.is_empty() && container.image != image {
                decision.actions.push(Action::Stop {
                    name: name.clone(),
                    grace_seconds: super::spec::grace_seconds(pod),
                    message: format!("Container {name} definition changed, will be restarted"),
                });
            } else if container.resized {
                decision.actions.push(Action::Stop {
                    name: name.clone(),
                    grace_seconds: super::spec::grace_seconds(pod),
                    message: format!("Container {name} resize requires restart"),
                });
            } else if let Some(message) = &container.condemned {
                let probes = [&member.container.liveness_probe, &member.container.startup_probe];
                let of_probe = probes.into_iter().flatten().find_map(|p| p.termination_grace_period_seconds);
                decision.actions.push(Action::Stop {
                    name: name.clone(),
                    grace_seconds: of_probe.unwrap_or_else(|| super::spec::grace_seconds(pod)),
                    message: message.clone(),
                });
            }
        }
        Life::Waiting { since, retry_at, .. } => {
            if *retry_at <= now {
                decision.actions.push(Action::Start(name.clone()));
            } else {
                // The status tells the first failure for a moment before it tells of waiting.
                let told = since.checked_add(super::status::TELL_FAILURE).unwrap_or(*retry_at);
                decision.wake_at(if told > now { told.min(*retry_at) } else { *retry_at });
            }
        }
        Life::Ended(ended) if member.restarts_after(&ended.exit) => {
            let blameless = ended.exit.reason.as_deref() == Some(super::spec::NODE_SHUTDOWN);
            match container.backoff.delay(ended.exit.finished_at) {
                Some((_, until)) if until > now && !blameless => decision.wake_at(until),
                _ => decision.actions.push(Action::Start(name.clone())),
            }
        }
        Life::Ended(_) => {}
    }
}

/// How long a container that crashed has to wait still, for its status.
pub(crate) fn crash_loop(
    member: &Member<'_>,
    container: &Container,
    now: Timestamp,
) -> Option<SignedDuration> {
    let exit = container.exit().filter(|exit| member.restarts_after(exit))?;
    let (delay, until) = container.backoff.delay(exit.finished_at)?;
    (until > now).then_some(delay)
}

#[cfg(test)]
mod tests;
