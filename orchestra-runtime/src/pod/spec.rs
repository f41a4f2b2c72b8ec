//! Readings of a pod's specification that everything here shares.

use std::ops::Deref;

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod};

use crate::runtime::{Exit, PodMeta};

/// What part a container plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Runs to its end before the next one.
    Init,
    /// An init container that goes on running (`restartPolicy: Always`).
    Sidecar,
    /// One of the pod's containers.
    Main,
    /// Added to a pod that runs, for a look at it: started once, and of no account for the pod.
    Ephemeral,
}

/// When a container that ended is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RestartPolicy {
    Always,
    OnFailure,
    Never,
}

impl RestartPolicy {
    fn parse(text: Option<&str>) -> Self {
        match text {
            Some("OnFailure") => Self::OnFailure,
            Some("Never") => Self::Never,
            _ => Self::Always,
        }
    }
}

/// The reason of containers that the agent ended because it was asked to stop: not their own doing.
pub(crate) const NODE_SHUTDOWN: &str = "NodeShutdown";

/// A container as the pod's specification has it, or made of what it has. Small either way: members are asked for often, and a
/// container takes the room of a thousand letters.
#[derive(Clone, Debug)]
pub(crate) enum Spec<'a> {
    Given(&'a Container),
    Made(Box<Container>),
}

impl Spec<'_> {
    pub(crate) fn into_owned(self) -> Container {
        match self {
            Self::Given(container) => container.clone(),
            Self::Made(container) => *container,
        }
    }
}

impl Deref for Spec<'_> {
    type Target = Container;

    fn deref(&self) -> &Container {
        match self {
            Self::Given(container) => container,
            Self::Made(container) => container,
        }
    }
}

/// A container of a pod with its part.
#[derive(Clone, Debug)]
pub(crate) struct Member<'a> {
    pub(crate) role: Role,
    pub(crate) container: Spec<'a>,
    pub(crate) policy: RestartPolicy,
}

impl Member<'_> {
    /// Whether it is started again after `exit`.
    pub(crate) fn restarts_after(&self, exit: &Exit) -> bool {
        if exit.reason.as_deref() == Some(NODE_SHUTDOWN) {
            return true;
        }
        if self.role != Role::Sidecar {
            for rule in self.container.restart_policy_rules.iter().flatten() {
                let Some(codes) = rule.exit_codes.as_ref().filter(|_| rule.action == "Restart") else {
                    continue;
                };
                let listed = codes.values.iter().flatten().any(|v| *v == exit.code);
                if listed == (codes.operator == "In") {
                    return true;
                }
            }
        }
        match self.policy {
            RestartPolicy::Always => self.role != Role::Init || exit.code != 0,
            RestartPolicy::OnFailure => exit.code != 0,
            RestartPolicy::Never => false,
        }
    }
}

/// Every container of the pod, in the order in which they start.
pub(crate) fn members(pod: &Pod) -> Vec<Member<'_>> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let of_pod = spec.restart_policy.as_deref();
    let policy = |c: &Container| RestartPolicy::parse(c.restart_policy.as_deref().or(of_pod));
    let inits = spec.init_containers.iter().flatten().map(|container| {
        let sidecar = container.restart_policy.as_deref() == Some("Always");
        let role = if sidecar { Role::Sidecar } else { Role::Init };
        Member { role, policy: policy(container), container: Spec::Given(container) }
    });
    let mains = spec.containers.iter().map(|container| Member {
        role: Role::Main,
        policy: policy(container),
        container: Spec::Given(container),
    });
    let added = spec.ephemeral_containers.iter().flatten().map(|container| Member {
        role: Role::Ephemeral,
        policy: RestartPolicy::Never,
        container: Spec::Made(Box::new(ordinary(container))),
    });
    inits.chain(mains).chain(added).collect()
}

/// A container that was added to a pod, as a container like others. What it may not have is left out.
fn ordinary(added: &EphemeralContainer) -> Container {
    let added = added.clone();
    Container {
        args: added.args,
        command: added.command,
        env: added.env,
        env_from: added.env_from,
        image: added.image,
        image_pull_policy: added.image_pull_policy,
        name: added.name,
        security_context: added.security_context,
        stdin: added.stdin,
        stdin_once: added.stdin_once,
        termination_message_path: added.termination_message_path,
        termination_message_policy: added.termination_message_policy,
        tty: added.tty,
        volume_devices: added.volume_devices,
        volume_mounts: added.volume_mounts,
        working_dir: added.working_dir,
        ..Container::default()
    }
}

/// The container called `name`.
pub(crate) fn member<'a>(pod: &'a Pod, name: &str) -> Option<Member<'a>> {
    members(pod).into_iter().find(|m| m.container.name == name)
}

/// Whose pod this is, for the runtime.
pub(crate) fn meta(pod: &Pod) -> PodMeta {
    PodMeta {
        namespace: pod.metadata.namespace.clone().unwrap_or_default(),
        name: pod.metadata.name.clone().unwrap_or_default(),
        uid: pod.metadata.uid.clone().unwrap_or_default(),
    }
}

/// `name_namespace(uid)`, as upstream names pods in messages.
pub(crate) fn full_name(pod: &Pod) -> String {
    let meta = meta(pod);
    format!("{}_{}({})", meta.name, meta.namespace, meta.uid)
}

/// The grace the pod asks for when it is stopped.
pub(crate) fn grace_seconds(pod: &Pod) -> i64 {
    let of_spec = pod.spec.as_ref().and_then(|s| s.termination_grace_period_seconds).unwrap_or(30);
    pod.metadata.deletion_grace_period_seconds.unwrap_or(of_spec).max(0)
}
