//! The pods of the node: a worker for each, and what an earlier agent left.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, ResourceExt};
use orchestra_core::light::Light;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::{Error, Result, is_over};
use crate::event::Severity;
use crate::pauses::Pauses;
use crate::pod::ports;
use crate::pod::recall::recall;
use crate::pod::spec::grace_seconds;
use crate::pod::state::{Stop, StopReason};
use crate::pod::worker::{Note, Shown, Worker};
use crate::runtime::{ContainerEvent, ContainerState, ContainerStatus, SandboxStatus};

/// What the service knows of a pod.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    pub(super) pod: Arc<Pod>,
    pub(super) shown: watch::Receiver<Shown>,
}

/// The pods of the node by uid, for those who serve requests about them.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pods: Arc<Mutex<HashMap<String, Listed>>>,
}

impl Table {
    /// The pod of that name; the newest, should there be two lives of it.
    pub(super) fn find(&self, namespace: &str, name: &str) -> Option<Listed> {
        let pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        let called = |l: &&Listed| {
            l.pod.metadata.namespace.as_deref() == Some(namespace)
                && l.pod.metadata.name.as_deref() == Some(name)
        };
        pods.values().filter(called).max_by_key(|l| l.pod.metadata.creation_timestamp.clone()).cloned()
    }

    fn put(&self, uid: &str, listed: Option<Listed>) {
        let mut pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        match listed {
            Some(listed) => pods.insert(uid.to_owned(), listed),
            None => pods.remove(uid),
        };
    }
}

/// Runs the workers.
pub(super) struct Pods {
    context: Arc<Context>,
    table: Table,
    /// In order, so that what is told to all is told in the same order each time.
    workers: BTreeMap<String, Handle>,
    /// Pods that are over and done with, of which the watch is still to say so: what it says of them before is old.
    over: HashSet<String>,
    tasks: JoinSet<String>,
    /// Seen since the watch began anew.
    listing: HashSet<String>,
    left: Option<Found>,
}

struct Handle {
    notes: mpsc::UnboundedSender<Note>,
    shown: watch::Receiver<Shown>,
    /// The watch has said that the pod is gone.
    has_vanished: bool,
}

impl Handle {
    fn vanish(&mut self) {
        self.has_vanished = true;
        // A worker that is gone needs no telling.
        let _ = self.notes.send(Note::Vanished);
    }
}

/// What the runtime had when the agent started.
#[derive(Default)]
struct Found {
    sandboxes: Vec<SandboxStatus>,
    containers: Vec<ContainerStatus>,
}

impl Pods {
    pub(super) fn new(context: Arc<Context>, table: Table) -> Self {
        Self {
            context,
            table,
            workers: BTreeMap::new(),
            over: HashSet::new(),
            tasks: JoinSet::new(),
            listing: HashSet::new(),
            left: None,
        }
    }

    /// Follows the pods of `node` until `shutdown`.
    pub(super) async fn run(mut self, node: &str, shutdown: &CancellationToken) -> Result<Self> {
        let failed = |e: crate::runtime::Error| Error::Runtime(e.describe());
        // First the stream, then the list: nothing ends unseen in between.
        let mut events = self.context.runtime.events();
        self.left = Some(Found {
            sandboxes: self.context.runtime.list_sandboxes().await.map_err(failed)?,
            containers: self.context.runtime.list_containers().await.map_err(failed)?,
        });
        let api: Api<Light<Pod>> = Api::all(self.context.client.clone());
        let config = watcher::Config::default().fields(&format!("spec.nodeName={node}"));
        let mut pods = watcher(api, config).backoff(Pauses::of(node)).boxed();
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(self),
                Some(done) = self.tasks.join_next() => self.gone(done),
                event = events.next() => match event {
                    Some(event) => self.ended(event),
                    None => {
                        events = self.context.runtime.events();
                        self.look_again().await;
                    }
                },
                event = pods.next() => match event {
                    Some(Ok(event)) => self.watched(event).await,
                    Some(Err(error)) => tracing::warn!(%error, "watching pods failed"),
                    None => return Ok(self),
                },
            }
        }
    }

    /// Stops all pods and waits until they are.
    pub(super) async fn stop(mut self) {
        for worker in self.workers.values() {
            // A worker that is gone needs no telling.
            let _ = worker.notes.send(Note::Shutdown);
        }
        let mut events = self.context.runtime.events();
        self.look_again().await;
        while !self.tasks.is_empty() {
            tokio::select! {
                biased;
                Some(done) = self.tasks.join_next() => self.gone(done),
                event = events.next() => match event {
                    Some(event) => self.ended(event),
                    None => {
                        events = self.context.runtime.events();
                        self.look_again().await;
                    }
                },
            }
        }
    }

    async fn watched(&mut self, event: Event<Light<Pod>>) {
        match event {
            Event::Init => self.listing.clear(),
            Event::InitApply(Light(pod)) => {
                self.listing.extend(pod.uid());
                self.applied(pod);
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listing);
                self.over.retain(|uid| listed.contains(uid));
                for (_, worker) in self.workers.iter_mut().filter(|(uid, _)| !listed.contains(*uid)) {
                    worker.vanish();
                }
                if let Some(left) = self.left.take() {
                    self.clear(left, &listed).await;
                }
            }
            Event::Apply(Light(pod)) => self.applied(pod),
            Event::Delete(Light(pod)) => {
                let Some(uid) = pod.uid() else { return };
                self.over.remove(&uid);
                if let Some(worker) = self.workers.get_mut(&uid) {
                    worker.vanish();
                }
            }
        }
    }

    fn applied(&mut self, pod: Pod) {
        let Some(uid) = pod.uid().filter(|uid| !self.over.contains(uid)) else { return };
        let pod = Arc::new(pod);
        if let Some(worker) = self.workers.get(&uid) {
            self.table.put(&uid, Some(Listed { pod: pod.clone(), shown: worker.shown.clone() }));
            let _ = worker.notes.send(Note::Pod(pod));
            return;
        }
        let empty = Found::default();
        let found = self.left.as_ref().unwrap_or(&empty);
        let sandboxes: Vec<_> = found.sandboxes.iter().filter(|s| s.config.pod.uid == uid).cloned().collect();
        let containers: Vec<_> = found.containers.iter().filter(|c| c.pod.uid == uid).cloned().collect();
        let mut state = recall(&pod, &sandboxes, &containers, self.context.clock.now());
        // Nothing of an ended pod is held any more, unless its sandbox was found.
        state.released = is_over(&pod) && sandboxes.is_empty();
        // What runs already has its ports, whoever else wants them.
        if !is_over(&pod) && !self.context.ports.take(&uid, &pod) && sandboxes.is_empty() {
            self.context.recorder.note(&pod, None, Severity::Warning, ports::REASON, ports::MESSAGE);
            let (since, grace_seconds) = (self.context.clock.now(), grace_seconds(&pod));
            state.stop = Some(Stop { since, grace_seconds, why: StopReason::Rejected });
        }
        let (sender, inbox) = mpsc::unbounded_channel();
        let (publish, shown) = watch::channel(Shown::default());
        self.table.put(&uid, Some(Listed { pod: pod.clone(), shown: shown.clone() }));
        // By itself, so that it is not moved about within the task.
        let worker =
            Box::new(Worker::new(self.context.clone(), pod, state, (sender.clone(), inbox), publish));
        self.workers.insert(uid.clone(), Handle { notes: sender, shown, has_vanished: false });
        self.tasks.spawn(async move {
            worker.run().await;
            uid
        });
    }

    fn ended(&mut self, event: ContainerEvent) {
        if let Some(worker) = self.workers.get(&event.pod.uid) {
            let _ = worker.notes.send(Note::Ended { id: event.id, exit: event.exit });
        } else if let Some(left) = &mut self.left
            && let Some(container) = left.containers.iter_mut().find(|container| container.id == event.id)
        {
            // The worker comes with the list of pods, and begins with what is found here.
            container.state = ContainerState::Exited(event.exit);
        }
    }

    /// Tells the workers of every container that has ended: those who know it already do not care.
    async fn look_again(&mut self) {
        for container in self.context.runtime.list_containers().await.unwrap_or_default() {
            if let ContainerState::Exited(exit) = container.state {
                self.ended(ContainerEvent { id: container.id, pod: container.pod, exit });
            }
        }
    }

    fn gone(&mut self, done: std::result::Result<String, tokio::task::JoinError>) {
        match done {
            Ok(uid) => {
                self.table.put(&uid, None);
                if self.workers.remove(&uid).is_some_and(|worker| !worker.has_vanished) {
                    self.over.insert(uid);
                }
            }
            Err(error) if error.is_cancelled() => {}
            Err(error) => tracing::error!(%error, "the worker of a pod failed"),
        }
    }

    /// Removes what an earlier agent left of pods that are not in the API any more.
    async fn clear(&self, left: Found, listed: &HashSet<String>) {
        let mut orphans = HashSet::new();
        for sandbox in left.sandboxes.iter().filter(|s| !listed.contains(&s.config.pod.uid)) {
            tracing::info!(pod = sandbox.config.pod.name, "removing a pod that is not in the API any more");
            if let Err(error) = self.context.runtime.remove_sandbox(&sandbox.id).await {
                tracing::warn!(error = error.describe(), "a sandbox could not be removed");
            }
            orphans.insert(sandbox.config.pod.clone());
        }
        for pod in orphans {
            for done in [
                crate::volume::tear_down(&self.context.data, &pod.uid),
                std::fs::remove_dir_all(self.context.log_dir(&pod)),
            ] {
                if let Err(error) = done {
                    tracing::debug!(pod = pod.name, %error, "something of a pod could not be removed");
                }
            }
        }
    }
}
