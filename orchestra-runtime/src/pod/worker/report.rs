//! What a worker tells the API server, and the end of its pod.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodStatus};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::Request;
use kube::{Api, Resource};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Note, Shown, ShownContainer, Worker};
use crate::agent::context::Context;
use crate::pod::resize;
use crate::pod::spec::{grace_seconds, members, meta};
use crate::pod::start::leave_network;
use crate::pod::state::{Container, Life, Sandbox, StopReason, outcome};
use crate::pod::status::{Told, status};
use crate::volume;

/// The conditions the node agent owns.
const OURS: [&str; 7] = [
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
    resize::PENDING,
    resize::IN_PROGRESS,
];

/// How long after a failure a status is sent again.
const AGAIN: SignedDuration = SignedDuration::from_secs(1);

impl Worker {
    /// Reports the status if it changed and no report is under way.
    pub(super) fn report(&mut self) {
        let now = self.context.clock.now();
        if self.reporting || self.report_again.is_some_and(|at| at > now) {
            return;
        }
        if (self.is_starting() || self.is_stopping()) && self.held_until.is_some_and(|at| at > now) {
            return;
        }
        self.held_until = None;
        let gone = self.state.stop.as_ref().is_some_and(|s| s.why == StopReason::Vanished);
        let status = self.status(now);
        if gone || self.status.as_ref() == Some(&status) {
            return;
        }
        self.reporting = true;
        self.report_again = None;
        let (context, pod) = (self.context.clone(), self.pod.clone());
        self.job(async move {
            let written = write(&context, &pod, &status).await;
            Note::Reported { status: Box::new(status), written }
        });
    }

    /// What there is to say of the pod.
    fn status(&self, now: Timestamp) -> PodStatus {
        let told = Told { pod: &self.pod, last: self.status.as_ref() };
        status(told, &self.state, &self.context.facts, now)
    }

    /// Whether what the pod needs next is being made.
    fn is_starting(&self) -> bool {
        let starting = |container: &Container| matches!(container.life, Life::Starting);
        self.state.stop.is_none()
            && (matches!(self.state.sandbox, Sandbox::Starting)
                || self.state.containers.values().any(starting))
    }

    /// Whether the whole pod ends and some container is still to.
    fn is_stopping(&self) -> bool {
        let stopping = |container: &Container| matches!(container.life, Life::Stopping { .. });
        self.state.stop.is_some() && self.state.containers.values().any(stopping)
    }

    pub(super) fn reported(&mut self, mut status: PodStatus, written: Written) {
        self.reporting = false;
        match written {
            Written::As(version) => self.heard.said(version.as_deref()),
            Written::ToNobody => {}
            Written::Not => {
                self.report_again = self.context.clock.now().checked_add(AGAIN).ok();
                return;
            }
        }
        if let Some(conditions) = &mut status.conditions {
            self.heard.overwrite(conditions);
        }
        self.status = Some(status);
    }

    /// The pod changed in the API. Its status there may be older than ours; only what others add to it is taken, and what they
    /// have written over our last report.
    pub(super) fn changed(&mut self, pod: Arc<Pod>) {
        self.heard.seen(&pod);
        self.pod = pod;
        let asked = grace_seconds(&self.pod);
        if let Some(stop) = self.state.stop.as_mut().filter(|s| asked < s.grace_seconds) {
            stop.grace_seconds = asked;
            self.hurry(asked);
        }
        self.retry_changed();
        self.resize();
        let references = super::references(&self.pod);
        if references != self.references {
            let held = super::hold(&self.context, &self.pod, &references);
            (self.changes, self.references, self.held) = (held.changes(), references, Arc::new(held));
        }
        self.status = match (self.status.take(), &self.pod.status) {
            (Some(ours), Some(theirs)) => Some(self.with_theirs(ours, theirs)),
            (_, theirs) => theirs.clone(),
        };
    }

    /// Our status with what others have added to theirs, and have written over ours.
    fn with_theirs(&self, mut ours: PodStatus, theirs: &PodStatus) -> PodStatus {
        let foreign = |c: &&PodCondition| !OURS.contains(&c.type_.as_str());
        let mut conditions = ours.conditions.take().unwrap_or_default();
        conditions.retain(|c| !foreign(&c));
        self.heard.overwrite(&mut conditions);
        conditions.extend(theirs.conditions.iter().flatten().filter(foreign).cloned());
        ours.conditions = Some(conditions);
        ours.qos_class.clone_from(&theirs.qos_class);
        ours
    }

    /// A container that could not be started with its old image is tried with the new one at once.
    fn retry_changed(&mut self) {
        let now = self.context.clock.now();
        for member in members(&self.pod) {
            let image = member.container.image.as_deref().unwrap_or_default();
            if let Some(container) = self.state.containers.get_mut(&member.container.name)
                && container.image != image
                && let Life::Waiting { retry_at, .. } = &mut container.life
            {
                *retry_at = now;
            }
        }
    }

    /// Shows the containers to those who serve logs.
    pub(super) fn show(&self) {
        let containers = self.state.containers.iter().map(|(name, c)| {
            let waiting = match &c.life {
                Life::Starting if c.restarts == 0 => Some("ContainerCreating".to_owned()),
                Life::Waiting { reason, .. } if c.restarts == 0 && c.last.is_none() => Some(reason.clone()),
                _ => None,
            };
            let attempt = u32::try_from(c.restarts).unwrap_or(0);
            let live = matches!(c.life, Life::Running { .. } | Life::Stopping { .. });
            (name.clone(), ShownContainer { attempt, live, waiting })
        });
        let shown = Shown { containers: containers.collect() };
        self.shown.send_if_modified(|old| {
            let changed = *old != shown;
            if changed {
                *old = shown;
            }
            changed
        });
    }

    /// The end: the last status, everything of the pod on this node removed, and then the pod itself.
    pub(super) async fn finish(mut self: Box<Self>) {
        self.show();
        self.held = Default::default();
        let uid = self.pod.metadata.uid.as_deref().unwrap_or_default();
        self.context.ledger.note(uid, None);
        self.context.ports.release(uid);
        while self.reporting {
            match self.inbox.recv().await {
                Some(Note::Reported { status, written }) => self.reported(*status, written),
                Some(_) => {}
                None => break,
            }
        }
        for (_, probes) in self.probes.drain() {
            probes.iter().for_each(tokio::task::AbortHandle::abort);
        }
        // Hooks of containers that are gone, perhaps; what else could be under way is done again below.
        self.jobs.shutdown().await;
        let why = self.state.stop.as_ref().map(|s| s.why);
        let last = self.status(self.context.clock.now());
        let shutdown = why == Some(StopReason::Shutdown);
        if why != Some(StopReason::Vanished) && self.status.as_ref() != Some(&last) {
            let mut tries = 0;
            // A cluster that stops as a whole does not wait for its API for ever.
            while matches!(write(&self.context, &self.pod, &last).await, Written::Not)
                && !(shutdown && tries >= 3)
            {
                tries += 1;
                tokio::time::sleep(Duration::from_millis(100 << tries.min(6))).await;
            }
        }
        if shutdown {
            if outcome(&self.pod, &self.state).is_none() {
                remove_sandboxes(&self.context, &self.pod).await;
                leave_network(&self.context, &self.pod).await;
            }
            return;
        }
        remove_sandboxes(&self.context, &self.pod).await;
        leave_network(&self.context, &self.pod).await;
        let meta = meta(&self.pod);
        self.context.tokens.forget(&meta.uid);
        for (what, done) in [
            ("volumes", volume::tear_down(&self.context.data, &meta.uid)),
            ("logs", remove_dir(&self.context.log_dir(&meta))),
        ] {
            if let Err(error) = done {
                tracing::warn!(pod = meta.name, %error, "{what} of a pod could not be removed");
            }
        }
        self.state.sandbox = Sandbox::Absent;
        if why == Some(StopReason::Deleted) {
            delete(&self.context, &self.pod).await;
        }
    }
}

fn remove_dir(dir: &std::path::Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Removes every sandbox of a pod with its containers.
pub(crate) async fn remove_sandboxes(context: &Context, pod: &Pod) {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let sandboxes = context.runtime.list_sandboxes().await.unwrap_or_default();
    for sandbox in sandboxes.into_iter().filter(|s| s.config.pod.uid == uid) {
        if let Err(error) = context.runtime.remove_sandbox(&sandbox.id).await {
            tracing::warn!(error = error.describe(), "a sandbox could not be removed");
        }
    }
}

fn api(context: &Context, pod: &Pod) -> Api<Pod> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    Api::namespaced(context.client.clone(), namespace)
}

/// What came of a report.
#[derive(Debug)]
pub(crate) enum Written {
    /// The pod has this version now.
    As(Option<String>),
    /// There is nobody any more whom it is about.
    ToNobody,
    /// It is to be tried again.
    Not,
}

/// Of the pod that a server answers with, what is read. It is everything that was sent and much more.
#[derive(Debug, Deserialize)]
struct Answer {
    metadata: Versioned,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Versioned {
    resource_version: Option<String>,
}

/// Writes a status.
async fn write(context: &Context, pod: &Pod, status: &PodStatus) -> Written {
    // Nobody closes it, so this is always a turn.
    let _turn = context.reports.acquire().await;
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let Ok(status) = serde_json::to_value(status) else { return Written::ToNobody };
    let mut body = json!({"metadata": {"uid": pod.metadata.uid}});
    // Not within the macro, which would copy it.
    body["status"] = patch(status);
    let request = Request::new(Pod::url_path(&(), pod.metadata.namespace.as_deref()));
    let asked =
        match request.patch_subresource("status", name, &PatchParams::default(), &Patch::Strategic(&body)) {
            Ok(request) => context.client.request::<Answer>(request).await,
            Err(error) => Err(kube::Error::BuildRequest(error)),
        };
    match asked {
        Ok(answer) => Written::As(answer.metadata.resource_version),
        Err(kube::Error::Api(refused)) if refused.code == 404 => Written::ToNobody,
        // Another pod has the name by now; or somebody else wrote at the same time, and it is to be tried again.
        Err(kube::Error::Api(refused)) if refused.code == 409 => {
            if is_another(context, pod).await {
                Written::ToNobody
            } else {
                Written::Not
            }
        }
        Err(error) => {
            tracing::warn!(pod = name, %error, "the status of a pod could not be written");
            Written::Not
        }
    }
}

/// Whether the name is another pod's by now, or nobody's.
async fn is_another(context: &Context, pod: &Pod) -> bool {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    match api(context, pod).get_metadata_opt(name).await {
        Ok(found) => found.is_none_or(|found| found.metadata.uid != pod.metadata.uid),
        // A node may read pods of its own alone: it is on another.
        Err(kube::Error::Api(refused)) if refused.code == 403 => true,
        // Not known: it is asked again together with the next attempt.
        Err(_) => false,
    }
}

/// A strategic merge patch that leaves others' conditions alone and nothing of ours behind.
fn patch(mut status: Value) -> Value {
    let mut conditions = status.get_mut("conditions").and_then(Value::as_array_mut);
    if let Some(conditions) = &mut conditions {
        conditions.retain(|c| c["type"].as_str().is_some_and(|t| OURS.contains(&t)));
    }
    // These two go when there is nothing more to tell.
    for kind in [resize::PENDING, resize::IN_PROGRESS] {
        if let Some(conditions) = &mut conditions
            && !conditions.iter().any(|condition| condition["type"] == kind)
        {
            conditions.push(json!({"type": kind, "$patch": "delete"}));
        }
    }
    let told = conditions.into_iter().flatten().filter(|condition| condition.get("$patch").is_none());
    for condition in told {
        if let Some(condition) = condition.as_object_mut() {
            for field in ["reason", "message"] {
                condition.entry(field).or_insert(Value::Null);
            }
        }
    }
    // Lists that are merged by key: old addresses must not stay.
    for list in ["podIPs", "hostIPs"] {
        if let Some(list) = status.get_mut(list).and_then(Value::as_array_mut) {
            list.push(json!({"$patch": "replace"}));
        }
    }
    status
}

/// Takes the pod out of the API, now that nothing of it is left.
async fn delete(context: &Context, pod: &Pod) {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let params = DeleteParams::default().grace_period(0);
    let params =
        params.preconditions(Preconditions { uid: pod.metadata.uid.clone(), resource_version: None });
    let mut wait = Duration::from_millis(100);
    loop {
        let request = Request::new(Pod::url_path(&(), pod.metadata.namespace.as_deref()));
        let asked = match request.delete(name, &params) {
            // What the answer shows of the pod is not read.
            Ok(request) => context.client.request_text(request).await,
            Err(error) => Err(kube::Error::BuildRequest(error)),
        };
        match asked {
            Ok(_) => return,
            Err(kube::Error::Api(refused)) if refused.code == 404 => return,
            Err(kube::Error::Api(refused)) if refused.code == 409 => {
                if is_another(context, pod).await {
                    return;
                }
            }
            Err(error) => tracing::warn!(pod = name, %error, "a pod could not be deleted"),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(Duration::from_secs(30));
    }
}
