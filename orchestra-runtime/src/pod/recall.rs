//! What a new agent knows of a pod that an earlier one started. Pure.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerState as ApiState, ContainerStateTerminated, ContainerStatus as ApiStatus, Pod,
};

use super::backoff::Backoff;
use super::spec::{Role, members};
use super::state::{Container, Ended, Life, PodState, Sandbox};
use crate::runtime::{ContainerId, ContainerState, ContainerStatus, Exit, SandboxState, SandboxStatus};

/// Puts together what the runtime has and what the API remembers.
pub(crate) fn recall(
    pod: &Pod,
    sandboxes: &[SandboxStatus],
    containers: &[ContainerStatus],
    now: Timestamp,
) -> PodState {
    let mut state = PodState::default();
    let status = pod.status.as_ref();
    state.start_time = status.and_then(|s| s.start_time.as_ref()).map(|t| t.0);
    let alive = sandboxes.iter().filter(|s| s.state == SandboxState::Ready).max_by_key(|s| s.config.attempt);
    if let Some(sandbox) = alive {
        let addresses = sandbox.config.addresses.clone();
        state.sandbox = Sandbox::Ready { id: sandbox.id.clone(), addresses };
    }
    let initialized = status
        .and_then(|s| s.conditions.as_ref())
        .is_some_and(|conditions| conditions.iter().any(|c| c.type_ == "Initialized" && c.status == "True"));
    let over = matches!(status.and_then(|s| s.phase.as_deref()), Some("Succeeded" | "Failed"));
    state.initialized = initialized && (alive.is_some() || over);
    for member in members(pod) {
        let name = &member.container.name;
        let told = status.and_then(|s| {
            let all = s.init_container_statuses.iter().chain(s.container_statuses.iter());
            let all = all.chain(s.ephemeral_container_statuses.iter()).flatten();
            all.clone().find(|c| c.name == *name)
        });
        if let Some(given) =
            told.and_then(|told| told.resources.clone()).filter(|_| member.role != Role::Ephemeral)
        {
            state.given.insert(name.clone(), given);
        }
        let mut lives: Vec<&ContainerStatus> = containers
            .iter()
            .filter(|c| c.config.name == *name && alive.is_none_or(|s| s.id == c.sandbox))
            .collect();
        lives.sort_by_key(|c| c.config.attempt);
        // In a new sandbox, the init containers run again.
        if matches!(member.role, Role::Init | Role::Sidecar) && alive.is_none() && !over {
            continue;
        }
        if let Some(container) = recall_one(&lives, told, now) {
            let probes = (&member.container.startup_probe, &member.container.readiness_probe);
            let container = Container {
                started: probes.0.is_none() || told.is_some_and(|t| t.started == Some(true)),
                ready: probes.1.is_none() || told.is_some_and(|t| t.ready),
                ..container
            };
            state.containers.insert(name.clone(), container);
        }
    }
    state
}

fn recall_one(lives: &[&ContainerStatus], told: Option<&ApiStatus>, now: Timestamp) -> Option<Container> {
    let mut container = Container::new();
    container.restarts = told.map_or(0, |t| t.restart_count);
    let told_state = told.and_then(|t| t.state.as_ref());
    let told_last = told.and_then(|t| t.last_state.as_ref());
    let waits_in_loop = told_state
        .and_then(|s| s.waiting.as_ref())
        .is_some_and(|w| w.reason.as_deref() == Some("CrashLoopBackOff"));
    match lives.split_last() {
        Some((newest, older)) => {
            let attempt = i32::try_from(newest.config.attempt).unwrap_or(i32::MAX);
            container.restarts = container.restarts.max(attempt);
            container.image_ref.clone_from(&newest.image_ref);
            container.image.clone_from(&newest.config.image);
            container.life = match &newest.state {
                ContainerState::Running { started_at } => {
                    Life::Running { id: newest.id.clone(), started_at: *started_at, hooked: true }
                }
                ContainerState::Exited(exit) => {
                    Life::Ended(Ended { id: Some(newest.id.clone()), exit: exit.clone() })
                }
                // Made and never started, by an agent that is gone: as if it had never been made.
                ContainerState::Created => return None,
            };
            container.last = older
                .iter()
                .rev()
                .find_map(|c| match &c.state {
                    ContainerState::Exited(exit) => {
                        Some(Ended { id: Some(c.id.clone()), exit: exit.clone() })
                    }
                    _ => None,
                })
                .or_else(|| told_last.and_then(terminated));
        }
        None => {
            let state = told_state?;
            container.image_ref = told.map(|t| t.image_id.clone()).unwrap_or_default();
            let ended = if state.running.is_some() {
                lost(state, now)
            } else if let Some(ended) = terminated(state) {
                container.last = told_last.and_then(terminated);
                ended
            } else {
                told_last.and_then(terminated)?
            };
            container.life = Life::Ended(ended);
        }
    }
    if waits_in_loop && let Some(exit) = container.exit() {
        container.backoff = Backoff::recalled(container.restarts, exit.finished_at);
    }
    Some(container)
}

fn terminated(state: &ApiState) -> Option<Ended> {
    let end: &ContainerStateTerminated = state.terminated.as_ref()?;
    let id = end.container_id.as_deref().and_then(|id| id.split_once("://"));
    Some(Ended {
        id: id.map(|(_, id)| ContainerId(id.to_owned())),
        exit: Exit {
            code: end.exit_code,
            signal: end.signal,
            started_at: end.started_at.as_ref().map(|t| t.0),
            finished_at: end.finished_at.as_ref().map(|t| t.0).unwrap_or_default(),
            reason: end.reason.clone().filter(|r| r != "Completed" && r != "Error"),
            message: end.message.clone(),
        },
    })
}

/// A container that ran when last heard of and is nowhere now, as after a reboot.
fn lost(state: &ApiState, now: Timestamp) -> Ended {
    Ended {
        id: None,
        exit: Exit {
            code: 137,
            signal: None,
            started_at: state.running.as_ref().and_then(|r| r.started_at.as_ref()).map(|t| t.0),
            finished_at: now,
            reason: Some("ContainerStatusUnknown".to_owned()),
            message: Some("The container could not be located when the pod was terminated".to_owned()),
        },
    }
}
