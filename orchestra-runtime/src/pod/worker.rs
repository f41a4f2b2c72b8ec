//! Performs what [`state`](super::state) decides for one pod.
//!
//! One task owns everything of the pod. Whatever takes time is a job of its own that reports back with a [`Note`], so the
//! worker is always free to take the next one; after each note it decides again.

mod notes;
mod overwritten;
mod probes;
mod report;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use self::overwritten::Heard;
use self::report::Written;
use super::probe::{ProbeKind, Verdict};
use super::resize::{self, Notice};
use super::spec::{Role, grace_seconds, member, members, meta};
use super::start::{self, Failure, Home, StartedContainer};
use super::state::{Action, Container, Life, PodState, Sandbox, Stop, StopReason, decide, init_done};
use super::{env, lifecycle};
use crate::agent::context::Context;
use crate::event::Severity;
use crate::metrics::{Round, Sort};
use crate::runtime::{ContainerId, Exit, SandboxId};
use crate::source::{Held, Reference};
use crate::volume;

/// After how long room that others had is looked for again.
const RESIZE_AGAIN: SignedDuration = SignedDuration::from_secs(3);

/// For how long a status is kept back that is about to be another one: a pod that starts faster is reported once, as it runs, and
/// one that ends faster once, as it ended.
const HOLD: SignedDuration = SignedDuration::from_millis(50);

/// Something happened.
#[derive(Debug)]
pub(crate) enum Note {
    /// The pod changed in the API.
    Pod(Arc<Pod>),
    /// The pod is not in the API any more.
    Vanished,
    /// The agent stops and takes its pods along.
    Shutdown,
    /// A container ended.
    Ended {
        id: ContainerId,
        exit: Exit,
    },
    SandboxUp(Result<(SandboxId, Home), (&'static str, String)>),
    Settled(Home),
    Started {
        name: String,
        result: Result<StartedContainer, Failure>,
    },
    Hooked {
        name: String,
        id: ContainerId,
        result: Result<(), String>,
    },
    Stopped {
        id: ContainerId,
        error: Option<String>,
    },
    Probe {
        name: String,
        id: ContainerId,
        kind: ProbeKind,
        verdict: Verdict,
    },
    Reported {
        status: Box<PodStatus>,
        written: Written,
    },
}

/// What others may know about a pod's containers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) containers: BTreeMap<String, ShownContainer>,
}

/// What others may know about a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShownContainer {
    /// Which life its newest log is of.
    pub(crate) attempt: u32,
    /// Whether it may still write there.
    pub(crate) live: bool,
    /// Why there is no log yet.
    pub(crate) waiting: Option<String>,
}

/// The worker of one pod.
pub(crate) struct Worker {
    context: Arc<Context>,
    /// As the API has it. Its status there may be older than ours.
    pod: Arc<Pod>,
    /// What was said of it last, with what others have added.
    status: Option<PodStatus>,
    state: PodState,
    /// Addresses and volumes, once they are there.
    home: Option<Home>,
    /// What its containers and volumes name.
    references: BTreeSet<Reference>,
    held: Arc<Held>,
    changes: BoxStream<'static, ()>,
    inbox: mpsc::UnboundedReceiver<Note>,
    sender: mpsc::UnboundedSender<Note>,
    jobs: JoinSet<()>,
    probes: HashMap<String, Vec<AbortHandle>>,
    /// Exits that were told before the start that belongs to them.
    early: HashMap<ContainerId, Exit>,
    reporting: bool,
    heard: Heard,
    /// Something was begun that takes a moment; until then its outcome is waited for before a status is reported.
    held_until: Option<Timestamp>,
    /// Reporting failed and is tried again then.
    report_again: Option<Timestamp>,
    sandbox_attempts: u32,
    sandbox_failures: u32,
    shown: watch::Sender<Shown>,
    seen: Instant,
    round: Round,
    has_run: bool,
}

impl Worker {
    /// A worker for `pod`, of which `state` is known.
    pub(crate) fn new(
        context: Arc<Context>,
        pod: Arc<Pod>,
        state: PodState,
        channel: (mpsc::UnboundedSender<Note>, mpsc::UnboundedReceiver<Note>),
        shown: watch::Sender<Shown>,
    ) -> Self {
        let references = references(&pod);
        let held = hold(&context, &pod, &references);
        let changes = held.changes();
        let (sender, inbox) = channel;
        let mut worker = Self {
            context,
            status: pod.status.clone(),
            pod,
            state,
            home: None,
            references,
            held: Arc::new(held),
            changes,
            inbox,
            sender,
            jobs: JoinSet::new(),
            probes: HashMap::new(),
            early: HashMap::new(),
            reporting: false,
            heard: Heard::default(),
            held_until: None,
            report_again: None,
            sandbox_attempts: 0,
            sandbox_failures: 0,
            shown,
            seen: Instant::now(),
            round: Round::Create,
            has_run: false,
        };
        worker.resize();
        worker
    }

    /// Gives the pod what it asks for, where the node has room.
    fn resize(&mut self) {
        let uid = self.pod.metadata.uid.clone().unwrap_or_default();
        let ledger = &self.context.ledger;
        let notice =
            resize::settle(&self.pod, &mut self.state, &self.context.allocatable, ledger.others(&uid));
        let is_over = self.state.released || self.state.stop.is_some();
        ledger.note(&uid, (!is_over).then(|| resize::given(&self.pod, &self.state)));
        self.tell(notice.filter(|_| !is_over));
    }

    fn tell(&self, notice: Option<Notice>) {
        let Some(Notice { severity, reason, message }) = notice else { return };
        self.context.recorder.note(&self.pod, None, severity, reason, message);
    }

    /// When what the pod waits for may be there.
    fn retry_resize(&self, now: Timestamp) -> Option<Timestamp> {
        let waits = self.state.pending.as_ref().is_some_and(resize::Pending::may_pass);
        waits.then(|| now.checked_add(RESIZE_AGAIN).ok())?
    }

    /// Looks after the pod until nothing is left of it on this node.
    pub(crate) async fn run(mut self: Box<Self>) {
        Box::pin(self.adopt()).await;
        loop {
            let begun = Instant::now();
            let (finish, wake) = self.step();
            let round = std::mem::replace(&mut self.round, Round::Sync);
            self.context.metrics.looked(round, begun.elapsed());
            self.note_start();
            if finish {
                // By itself: else every worker had room for its end all its life.
                return Box::pin(self.finish()).await;
            }
            self.report();
            self.show();
            let now = self.context.clock.now();
            self.wait(wake.map(|at| until(at, now))).await;
        }
    }

    /// Waits until there is something to decide again.
    async fn wait(&mut self, pause: Option<Duration>) {
        let mut pause = pin!(sleep(pause));
        loop {
            tokio::select! {
                biased;
                Some(note) = self.inbox.recv() => {
                    self.take(note);
                    while let Ok(note) = self.inbox.try_recv() {
                        self.take(note);
                    }
                }
                () = &mut pause => {
                    if self.renewal().is_some_and(|at| at <= self.context.clock.now()) {
                        Box::pin(self.refresh()).await;
                    }
                }
                Some(()) = self.changes.next() => Box::pin(self.refresh()).await,
                // What came of it was told in a note.
                Some(_) = self.jobs.join_next() => continue,
            }
            return;
        }
    }

    /// Takes over a pod that was found running.
    async fn adopt(&mut self) {
        let Sandbox::Ready { addresses, .. } = &self.state.sandbox else { return };
        let keep = addresses.first().copied();
        match start::settle(&self.context, &self.pod, &self.held, keep).await {
            Ok((home, _)) => self.home = Some(home),
            // It runs; what it misses is looked for again when one of its containers has to be started.
            Err((reason, message)) => {
                self.context.recorder.note(&self.pod, None, Severity::Warning, reason, message);
            }
        }
        let running: Vec<(String, ContainerId)> = self
            .state
            .containers
            .iter()
            .filter_map(|(name, c)| match &c.life {
                Life::Running { id, .. } => Some((name.clone(), id.clone())),
                _ => None,
            })
            .collect();
        for (name, id) in running {
            self.probe(&name, &id);
            self.has_run = true;
        }
    }

    /// Counts how long it took until the whole pod ran; not for one that was found running.
    fn note_start(&mut self) {
        if self.has_run {
            return;
        }
        let main = self.pod.spec.iter().flat_map(|spec| &spec.containers);
        let runs = |name: &str| {
            let container = self.state.containers.get(name);
            container.is_some_and(|container| matches!(container.life, Life::Running { .. }))
        };
        self.has_run = main.clone().next().is_some() && main.into_iter().all(|spec| runs(&spec.name));
        if self.has_run {
            self.context.metrics.pod_runs(self.seen.elapsed());
        }
    }

    /// Decides and begins until nothing is left to begin. Whether the end has come, and when to look again.
    fn step(&mut self) -> (bool, Option<Timestamp>) {
        loop {
            let now = self.context.clock.now();
            self.state.start_time.get_or_insert(now);
            self.note_ends(now);
            if self.state.pending.is_some() {
                self.resize();
            }
            let completed = resize::complete(&self.pod, &mut self.state);
            self.tell(completed);
            if !self.state.initialized
                && matches!(self.state.sandbox, Sandbox::Ready { .. })
                && init_done(&self.pod, &self.state)
            {
                self.state.initialized = true;
            }
            let decision = decide(&self.pod, &self.state, now);
            if decision.actions.is_empty() {
                let times = [
                    decision.wake,
                    self.deadline(),
                    self.held_until.filter(|at| *at > now),
                    self.report_again,
                    self.renewal(),
                    self.retry_resize(now),
                ];
                return (false, times.into_iter().flatten().min());
            }
            for action in decision.actions {
                if action == Action::Finish {
                    return (true, None);
                }
                self.perform(action, now);
            }
        }
    }

    /// Notes that the pod has to end, where that is so.
    fn note_ends(&mut self, now: Timestamp) {
        let grace_seconds = grace_seconds(&self.pod);
        let why = if self.pod.metadata.deletion_timestamp.is_some() {
            StopReason::Deleted
        } else if self.deadline().is_some_and(|at| at <= now) {
            StopReason::Deadline
        } else {
            return;
        };
        match &mut self.state.stop {
            Some(stop) if matches!(stop.why, StopReason::Deleted | StopReason::Vanished) => {}
            Some(Stop { why: StopReason::Shutdown, .. }) => {}
            Some(Stop { why: StopReason::Deadline, .. }) if why == StopReason::Deadline => {}
            stop => *stop = Some(Stop { since: now, grace_seconds, why }),
        }
    }

    /// When the pod has run too long.
    fn deadline(&self) -> Option<Timestamp> {
        if self.state.stop.is_some() || self.state.released {
            return None;
        }
        let seconds = self.pod.spec.as_ref()?.active_deadline_seconds?;
        self.state.start_time?.checked_add(SignedDuration::from_secs(seconds)).ok()
    }

    /// When one of the pod's tokens has to be renewed.
    fn renewal(&self) -> Option<Timestamp> {
        if self.home.is_none() || self.state.released {
            return None;
        }
        self.context.tokens.renewal(self.pod.metadata.uid.as_deref().unwrap_or_default())
    }

    fn perform(&mut self, action: Action, now: Timestamp) {
        match action {
            Action::RunSandbox => self.run_sandbox(),
            Action::Start(name) => self.start(&name, now),
            Action::Stop { name, grace_seconds, message } => self.stop(&name, grace_seconds, &message),
            Action::Release => self.release(),
            Action::Finish => {}
        }
    }

    /// Waits a moment with the report, from when the first of several things was begun.
    fn hold(&mut self) {
        let now = self.context.clock.now();
        if self.held_until.is_none() {
            self.held_until = now.checked_add(HOLD).ok();
        }
    }

    fn job(&mut self, job: impl Future<Output = Note> + Send + 'static) {
        let sender = self.sender.clone();
        // In a place of its own: tasks are copied as a whole, more than once.
        self.jobs.spawn(Box::pin(job).map(move |note| {
            // The worker only goes away together with its jobs.
            let _ = sender.send(note);
        }));
    }

    fn run_sandbox(&mut self) {
        self.hold();
        self.state.sandbox = Sandbox::Starting;
        self.state.initialized = false;
        let attempt = self.sandbox_attempts;
        self.sandbox_attempts += 1;
        let (context, pod, held) = (self.context.clone(), self.pod.clone(), self.held.clone());
        self.job(async move { Note::SandboxUp(start::run_sandbox(&context, &pod, &held, attempt).await) });
    }

    fn start(&mut self, name: &str, now: Timestamp) {
        let Some(member) = member(&self.pod, name) else { return };
        let Sandbox::Ready { id: sandbox, .. } = self.state.sandbox.clone() else { return };
        let (spec, role) = (member.container.into_owned(), member.role);
        let container = self.state.containers.entry(name.to_owned()).or_insert_with(Container::new);
        if let Life::Ended(ended) = &container.life {
            container.backoff.step(ended.exit.finished_at, now);
            container.restarts = container.restarts.saturating_add(1);
            container.last = Some(ended.clone());
        }
        let is_first = container.last.is_none();
        container.life = Life::Starting;
        container.image = spec.image.clone().unwrap_or_default();
        container.started = spec.startup_probe.is_none();
        container.ready = spec.readiness_probe.is_none();
        container.condemned = None;
        container.resized = false;
        let attempt = u32::try_from(container.restarts).unwrap_or(0);
        if is_first {
            self.hold();
        }
        let sort = match role {
            Role::Init | Role::Sidecar => Sort::Init,
            Role::Main => Sort::Container,
            Role::Ephemeral => Sort::Ephemeral,
        };
        self.context.metrics.container_starts(sort);
        let (context, pod, held, home) =
            (self.context.clone(), self.pod.clone(), self.held.clone(), self.home.clone());
        let sender = self.sender.clone();
        let name = name.to_owned();
        self.job(async move {
            let home = match home {
                Some(home) => home,
                None => match start::settle(&context, &pod, &held, None).await {
                    Ok((home, _)) => {
                        let _ = sender.send(Note::Settled(home.clone()));
                        home
                    }
                    Err((_, message)) => {
                        let result = Err(Failure::Waits { reason: "CreateContainerConfigError", message });
                        return Note::Started { name, result };
                    }
                },
            };
            let result = start::container(&context, &pod, &spec, attempt, &sandbox, &home, &held).await;
            Note::Started { name, result }
        });
    }

    fn stop(&mut self, name: &str, grace_seconds: i64, message: &str) {
        self.stop_probes(name);
        let Some(container) = self.state.containers.get_mut(name) else { return };
        let Life::Running { id, started_at, .. } = &container.life else { return };
        let (id, started_at) = (id.clone(), *started_at);
        container.life = Life::Stopping { id: id.clone(), started_at };
        if self.state.stop.is_some() {
            self.hold();
        }
        self.context.recorder.note(&self.pod, Some(name), Severity::Normal, "Killing", message);
        let Some(spec) = member(&self.pod, name).map(|m| m.container.into_owned()) else { return };
        let grace = Duration::from_secs(u64::try_from(grace_seconds).unwrap_or(0));
        let (context, pod, address) = (self.context.clone(), self.pod.clone(), self.address());
        self.job(async move {
            let done = lifecycle::stop(&context, &pod, &spec, &id, &address, grace).await;
            Note::Stopped { id, error: done.err().map(|e| e.describe()) }
        });
    }

    /// Ends what is being stopped already within a shorter grace than it was given.
    fn hurry(&mut self, grace_seconds: i64) {
        let grace = Duration::from_secs(u64::try_from(grace_seconds).unwrap_or(0));
        let stopping: Vec<ContainerId> = self
            .state
            .containers
            .values()
            .filter_map(|c| match &c.life {
                Life::Stopping { id, .. } => Some(id.clone()),
                _ => None,
            })
            .collect();
        for id in stopping {
            let context = self.context.clone();
            self.job(async move {
                let done = context.runtime.stop_container(&id, grace).await;
                Note::Stopped { id, error: done.err().map(|e| e.describe()) }
            });
        }
    }

    /// Gives back what an ended pod needs no more; its containers stay for their logs.
    fn release(&mut self) {
        self.state.released = true;
        let uid = self.pod.metadata.uid.as_deref().unwrap_or_default();
        self.context.ledger.note(uid, None);
        self.context.ports.release(uid);
        let (context, pod) = (self.context.clone(), self.pod.clone());
        let sandbox = match &self.state.sandbox {
            Sandbox::Ready { id, .. } => Some(id.clone()),
            _ => None,
        };
        self.jobs.spawn(async move {
            if let Some(id) = sandbox
                && let Err(error) = context.runtime.stop_sandbox(&id).await
            {
                tracing::warn!(error = error.describe(), "a sandbox could not be stopped");
            }
            start::leave_network(&context, &pod).await;
            context.tokens.forget(&meta(&pod).uid);
            if let Err(error) = volume::tear_down(&context.data, &meta(&pod).uid) {
                tracing::warn!(%error, "volumes could not be removed");
            }
        });
    }

    /// The pod's address, as its containers and probes are told.
    fn address(&self) -> String {
        match &self.state.sandbox {
            Sandbox::Ready { addresses, .. } => {
                addresses.first().map(ToString::to_string).unwrap_or_default()
            }
            _ => String::new(),
        }
    }

    /// Writes what changed in ConfigMaps and Secrets into the volumes, and tries again what missed one.
    async fn refresh(&mut self) {
        let now = self.context.clock.now();
        for container in self.state.containers.values_mut() {
            if let Life::Waiting { reason, retry_at, .. } = &mut container.life
                && reason == "CreateContainerConfigError"
            {
                *retry_at = now;
            }
        }
        if let Sandbox::Failed { retry_at, .. } = &mut self.state.sandbox {
            *retry_at = now;
        }
        if let Some(home) = &self.home {
            let material = start::material(&self.context, &self.pod, &self.held, &home.addresses).await;
            // Something that was there is gone: the files stay as they are, as upstream leaves them.
            if let Err(error) = volume::refresh(&self.context.data, &self.pod, &material) {
                tracing::debug!(error, "a volume could not be refreshed");
            }
        }
    }
}

fn references(pod: &Pod) -> BTreeSet<Reference> {
    let mut references = volume::references(pod);
    references.extend(members(pod).iter().flat_map(|m| env::references(&m.container)));
    references
}

fn hold(context: &Context, pod: &Pod, references: &BTreeSet<Reference>) -> Held {
    if context.simulation {
        return Held::default();
    }
    context.sources.hold(pod.metadata.namespace.as_deref().unwrap_or_default(), references)
}

fn until(at: Timestamp, now: Timestamp) -> Duration {
    // A millisecond more, so that the moment has certainly come.
    Duration::try_from(at.duration_since(now)).unwrap_or_default() + Duration::from_millis(1)
}

async fn sleep(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}
