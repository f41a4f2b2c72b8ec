//! Tells users: events, and the `PodScheduled` condition.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use futures::future::join;
use futures::stream::{self, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use orchestra_core::unread::Unread;
use serde_json::json;
use tokio::sync::{Mutex, mpsc};

use super::act::words;
use super::event::{Happening, compose, refusal};
use super::feed::Refused;
use crate::dispatcher::{Eviction, Report, ReportReason};
use crate::scheduler::Clock;
use crate::verdict::Announcement;
use crate::view::{NodeName, PodUid, PodView};

/// How many pods without a node are reported on at a time.
const PARALLEL: usize = 16;
/// How many events are written at a time: few, so that a burst of bindings is not held up by the telling.
const PARALLEL_EVENTS: usize = 4;
/// With more events than this behind, further ones are left out, as upstream's broadcaster does with a thousand; conditions never
/// are. The API server lets bindings go first, so that what is to be told of a large Deployment waits until all of it is bound.
const BACKLOG: usize = 16 << 10;
/// For how many pods the last failure is remembered, to count it up instead of repeating it.
const REMEMBERED: usize = 1024;

/// What users should hear of.
#[derive(Debug)]
pub(super) enum News {
    /// A pod was bound.
    Bound { pod: Arc<PodView>, node: NodeName },
    /// A pod waits for something before it can be bound.
    Announced { pod: Arc<PodView>, notice: Announcement },
    /// A pod was not.
    Failed(Report),
    /// A pod had to go.
    Preempted(Eviction),
    /// Something cannot be scheduled with.
    Refused(Refused),
}

/// Brings news to the reporter.
pub(super) struct Herald {
    conditions: mpsc::UnboundedSender<Report>,
    events: mpsc::Sender<(Timestamp, News)>,
    clock: Clock,
}

/// Where news arrive: what has to be said of a pod, and what is left out when there is too much of it, with its time.
pub(super) struct Incoming {
    conditions: mpsc::UnboundedReceiver<Report>,
    events: mpsc::Receiver<(Timestamp, News)>,
}

/// Both ends of the way of news.
pub(super) fn channels(clock: Clock) -> (Herald, Incoming) {
    let (conditions, incoming_conditions) = mpsc::unbounded_channel();
    let (events, incoming_events) = mpsc::channel(BACKLOG);
    let incoming = Incoming { conditions: incoming_conditions, events: incoming_events };
    (Herald { conditions, events, clock }, incoming)
}

impl Herald {
    pub(super) fn tell(&self, news: News) {
        let mut is_heard = true;
        if let News::Failed(report) = &news {
            is_heard = self.conditions.send(report.clone()).is_ok();
            if report.reason == ReportReason::Displaced {
                return;
            }
        }
        is_heard &= self.events.try_send((self.clock.now(), news)).is_ok();
        if !is_heard {
            tracing::debug!("an event is left out");
        }
    }
}

/// Writes news to the API. A write that fails is logged and left: the next attempt reports anew.
pub(super) struct Reporter {
    client: Client,
    clock: Clock,
    repeated: Mutex<Repeated>,
}

/// The last failure event of some pods.
#[derive(Default)]
struct Repeated {
    last: HashMap<PodUid, Last>,
    order: VecDeque<PodUid>,
    made: u64,
}

#[derive(Clone)]
struct Last {
    event: String,
    note: String,
    count: i32,
}

impl Reporter {
    pub(super) fn new(client: Client, clock: Clock) -> Self {
        Self { client, clock, repeated: Mutex::default() }
    }

    /// Reports until the herald is gone.
    pub(super) async fn run(self, incoming: Incoming) {
        join(self.write_conditions(incoming.conditions), self.write_events(incoming.events)).await;
    }

    async fn write_conditions(&self, incoming: mpsc::UnboundedReceiver<Report>) {
        let reports = stream::unfold(incoming, |mut incoming| async move {
            let report = incoming.recv().await?;
            Some((report, incoming))
        });
        reports.for_each_concurrent(PARALLEL, |report| self.condition(report)).await;
    }

    async fn write_events(&self, incoming: mpsc::Receiver<(Timestamp, News)>) {
        let news = stream::unfold(incoming, |mut incoming| async move {
            let news = incoming.recv().await?;
            Some((news, incoming))
        });
        news.for_each_concurrent(PARALLEL_EVENTS, |(at, news)| self.one(at, news)).await;
    }

    async fn one(&self, at: Timestamp, news: News) {
        match news {
            News::Bound { pod, node } => {
                let note = format!("Successfully assigned {} to {node}", pod.key);
                self.event(at, &pod, Happening::Scheduled, note).await;
            }
            News::Announced { pod, notice } => {
                self.event(at, &pod, Happening::Announced { reason: notice.reason }, notice.note).await;
            }
            News::Preempted(eviction) => {
                let remark = if eviction.in_memory { " (in kube-scheduler memory)." } else { "" };
                let note =
                    format!("Preempted by pod {} on node {}{remark}", eviction.preemptor.uid, eviction.node);
                let happening = Happening::Preempted { by: &eviction.preemptor };
                self.event(at, &eviction.victim, happening, note).await;
            }
            News::Refused(refused) => self.refusal(at, &refused).await,
            News::Failed(report) => {
                self.event(at, &report.pod, Happening::FailedScheduling, report.message).await;
            }
        }
    }

    async fn refusal(&self, at: Timestamp, refused: &Refused) {
        let event = Unread(refusal(refused, at, self.serial().await));
        let namespace = event.0.metadata.namespace.clone().unwrap_or_default();
        let events: Api<Unread<Event>> = Api::namespaced(self.client.clone(), &namespace);
        if let Err(error) = events.create(&PostParams::default(), &event).await {
            tracing::debug!(name = refused.name, error = words(&error), "event not written");
        }
    }

    async fn condition(&self, report: Report) {
        let reason = match report.reason {
            ReportReason::Unschedulable => "Unschedulable",
            ReportReason::SchedulerError => "SchedulerError",
            ReportReason::Deleting => return,
            ReportReason::Displaced => return self.displaced(&report.pod).await,
        };
        let pod = &report.pod;
        let before = pod.reported.as_deref();
        let told = before.is_some_and(|condition| {
            &*condition.status == "False"
                && &*condition.reason == reason
                && *condition.message == *report.message
                && condition.observed_generation == pod.generation
        });
        if told && report.nominated == pod.nominated {
            return;
        }
        let mut condition = json!({
            "type": "PodScheduled",
            "status": "False",
            "reason": reason,
            "message": report.message,
            "lastProbeTime": null,
        });
        if let Some(generation) = pod.generation {
            condition["observedGeneration"] = generation.into();
        }
        if before.is_none_or(|condition| &*condition.status != "False") {
            condition["lastTransitionTime"] =
                self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into();
        }
        let mut status = json!({"conditions": [condition]});
        if report.nominated != pod.nominated {
            status["nominatedNodeName"] = report.nominated.as_deref().into();
        }
        // The uid keeps this from a namesake made meanwhile.
        let patch = Patch::Strategic(json!({"metadata": {"uid": &*pod.uid}, "status": status}));
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &pod.key.namespace);
        if let Err(error) = pods.patch_status(&pod.key.name, &PatchParams::default(), &patch).await {
            tracing::debug!(pod = %pod.key, error = words(&error), "condition not written");
        }
    }

    async fn displaced(&self, pod: &PodView) {
        let patch =
            Patch::Strategic(json!({"metadata": {"uid": &*pod.uid}, "status": {"nominatedNodeName": null}}));
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &pod.key.namespace);
        if let Err(error) = pods.patch_status(&pod.key.name, &PatchParams::default(), &patch).await {
            tracing::debug!(pod = %pod.key, error = words(&error), "nomination not taken back");
        }
    }

    async fn event(&self, at: Timestamp, pod: &PodView, happening: Happening<'_>, note: String) {
        let events: Api<Unread<Event>> = Api::namespaced(self.client.clone(), &pod.key.namespace);
        let result = match self.repeats(pod, happening, &note).await {
            Some(last) => {
                let series = json!({"series": {"count": last.count, "lastObservedTime": micros(at)}});
                let patch = Patch::Merge(series);
                events.patch(&last.event, &PatchParams::default(), &patch).await.map(drop)
            }
            None => {
                let event = Unread(compose(pod, happening, &note, at, self.serial().await));
                let name = event.0.metadata.name.clone().unwrap_or_default();
                let created = events.create(&PostParams::default(), &event).await.map(drop);
                if created.is_ok() && matches!(happening, Happening::FailedScheduling) {
                    self.remember(pod, Last { event: name, note, count: 1 }).await;
                }
                created
            }
        };
        if let Err(error) = result {
            tracing::debug!(pod = %pod.key, error = words(&error), "event not written");
            self.repeated.lock().await.last.remove(&pod.uid);
        }
    }

    async fn serial(&self) -> u64 {
        let mut repeated = self.repeated.lock().await;
        repeated.made += 1;
        repeated.made
    }

    /// The event to count up, if this pod failed in the same way the last time.
    async fn repeats(&self, pod: &PodView, happening: Happening<'_>, note: &str) -> Option<Last> {
        let mut repeated = self.repeated.lock().await;
        if !matches!(happening, Happening::FailedScheduling) {
            repeated.last.remove(&pod.uid);
            return None;
        }
        let last = repeated.last.get_mut(&pod.uid).filter(|last| last.note == note)?;
        last.count = last.count.saturating_add(1);
        Some(last.clone())
    }

    async fn remember(&self, pod: &PodView, last: Last) {
        let mut repeated = self.repeated.lock().await;
        if repeated.last.insert(pod.uid.clone(), last).is_none() {
            repeated.order.push_back(pod.uid.clone());
        }
        while repeated.order.len() > REMEMBERED {
            if let Some(oldest) = repeated.order.pop_front() {
                repeated.last.remove(&oldest);
            }
        }
    }
}

/// A time with microseconds, as events state it.
fn micros(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}
