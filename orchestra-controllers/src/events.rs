//! Events, as `kubectl describe` shows them: recorded in the background, repeated ones counted instead of multiplied,
//! similar ones combined, floods held back.
//!
//! Recording never waits and never fails for the caller: events are hints for people, not state.

mod correlator;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::Patch;
use kube::{Api, Client, Resource};
use orchestra_core::unread::Unread;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use self::correlator::{Correlator, Fate, Told};
use crate::clock::Clock;
use crate::world::{patch_params, post_params};

const WAITING: usize = 4096;

/// Whether an event tells of the normal course of things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Mood {
    Normal,
    Warning,
}

/// Where controllers put their events.
#[derive(Clone)]
pub(crate) struct Recorder {
    sender: mpsc::Sender<Note>,
    clock: Clock,
    numbers: Arc<AtomicU64>,
}

struct Note {
    /// When it happened, which may be long before it can be written.
    at: Timestamp,
    about: ObjectReference,
    component: Cow<'static, str>,
    mood: Mood,
    reason: Cow<'static, str>,
    message: String,
}

/// The other end of a [`Recorder`].
pub(crate) struct Writer {
    notes: mpsc::Receiver<Note>,
    numbers: Arc<AtomicU64>,
    correlator: Correlator,
}

impl Recorder {
    pub(crate) fn new(clock: Clock) -> (Self, Writer) {
        let (sender, notes) = mpsc::channel(WAITING);
        let numbers = Arc::new(AtomicU64::new(0));
        let writer = Writer { notes, numbers: numbers.clone(), correlator: Correlator::default() };
        (Self { sender, clock, numbers }, writer)
    }

    /// Records that something happened to `about`.
    pub(crate) fn record<K: Resource<DynamicType = ()>>(
        &self,
        component: impl Into<Cow<'static, str>>,
        about: &K,
        mood: Mood,
        reason: impl Into<Cow<'static, str>>,
        message: String,
    ) {
        let (component, reason) = (component.into(), reason.into());
        let meta = about.meta();
        let about = ObjectReference {
            api_version: Some(K::api_version(&()).into_owned()),
            kind: Some(K::kind(&()).into_owned()),
            name: meta.name.clone(),
            namespace: meta.namespace.clone(),
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
            field_path: None,
        };
        let note = Note { at: self.clock.now(), about, component, mood, reason, message };
        if let Err(refused) = self.sender.try_send(note) {
            let component = refused.into_inner().component;
            debug!(%component, "too many events are waiting; dropped one");
        }
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let named = self.numbers.load(Ordering::Relaxed);
        f.debug_struct("Recorder").field("clock", &self.clock).field("named", &named).finish_non_exhaustive()
    }
}

impl Writer {
    /// Writes what is recorded until cancelled.
    pub(crate) async fn run(mut self, client: Client, shutdown: CancellationToken) {
        loop {
            let note = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                note = self.notes.recv() => note,
            };
            let Some(note) = note else { return };
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = self.write(&client, note) => {}
            }
        }
    }

    async fn write(&mut self, client: &Client, note: Note) {
        let told = Told {
            component: &note.component,
            about: &note.about,
            mood: note.mood,
            reason: &note.reason,
            message: &note.message,
        };
        let verdict = self.correlator.judge(&told, Instant::now());
        let namespace = note.about.namespace.clone().unwrap_or_else(|| "default".into());
        let api: Api<Unread<Event>> = Api::namespaced(client.clone(), &namespace);
        match verdict.fate {
            Fate::Held => return,
            Fate::Counted { name, count } => {
                let patch = json!({
                    "count": count, "message": verdict.message, "lastTimestamp": Time(note.at),
                });
                match api.patch(&name, &patch_params(), &Patch::Merge(patch)).await {
                    Ok(_) => return,
                    Err(error) => debug!(%error, "cannot count an event; writing it anew"),
                }
            }
            Fate::New => {}
        }
        let event = Unread(self.event(note, verdict.message, &namespace));
        let name = event.0.metadata.name.clone().unwrap_or_default();
        match api.create(&post_params(), &event).await {
            Ok(_) => self.correlator.written(verdict.same, name),
            Err(error) => debug!(%error, "cannot write an event"),
        }
    }

    fn event(&self, note: Note, message: String, namespace: &str) -> Event {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let stamp = note.at.as_nanosecond().saturating_add(i128::from(number));
        let name = format!("{}.{stamp:x}", note.about.name.as_deref().unwrap_or_default());
        let time = Time(note.at);
        Event {
            metadata: ObjectMeta {
                name: Some(name),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            involved_object: note.about,
            reason: Some(note.reason.into_owned()),
            message: Some(message),
            type_: Some(note.mood.name().into()),
            count: Some(1),
            first_timestamp: Some(time.clone()),
            last_timestamp: Some(time),
            source: Some(EventSource { component: Some(note.component.to_string()), host: None }),
            reporting_component: Some(note.component.into_owned()),
            reporting_instance: Some(String::new()),
            ..Event::default()
        }
    }
}

impl Mood {
    fn name(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}
