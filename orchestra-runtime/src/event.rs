//! Events about pods, written beside the work and never in its way.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use orchestra_core::unread::Unread;
use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::pod::status::time;

/// Events waiting to be written; more are dropped.
const QUEUE: usize = 1024;
/// Events remembered, so that repetitions are counted instead of written again.
const REMEMBERED: usize = 4096;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Severity {
    Normal,
    Warning,
}

/// Writes events.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    queue: mpsc::Sender<Noted>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug)]
struct Noted {
    /// When it happened, which may be long before it can be written.
    at: Timestamp,
    about: ObjectReference,
    severity: Severity,
    reason: &'static str,
    message: String,
}

impl Recorder {
    /// A recorder and the task that writes for it, as the node `host`.
    pub(crate) fn new(
        client: Client,
        host: String,
        clock: Arc<dyn Clock>,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (queue, inbox) = mpsc::channel(QUEUE);
        (Self { queue, clock }, write(client, host, inbox))
    }

    /// Notes something about `pod`, and about one of its containers when `container` is given.
    pub(crate) fn note(
        &self,
        pod: &Pod,
        container: Option<&str>,
        severity: Severity,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        let is_init = |name: &str| {
            pod.spec.iter().flat_map(|s| s.init_containers.iter().flatten()).any(|c| c.name == name)
        };
        let field = container.map(|name| {
            let list = if is_init(name) { "initContainers" } else { "containers" };
            format!("spec.{list}{{{name}}}")
        });
        let about = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
            resource_version: pod.metadata.resource_version.clone(),
            field_path: field,
        };
        let mut message = message.into();
        if message.len() > 1024 {
            let end = (0..=1021).rev().find(|i| message.is_char_boundary(*i)).unwrap_or(0);
            message.truncate(end);
            message.push_str("...");
        }
        if self.queue.try_send(Noted { at: self.clock.now(), about, severity, reason, message }).is_err() {
            tracing::debug!(reason, "an event was dropped");
        }
    }
}

type Key = (Option<String>, Option<String>, Severity, &'static str, String);

async fn write(client: Client, host: String, mut inbox: mpsc::Receiver<Noted>) {
    let mut written: HashMap<Key, (String, i32)> = HashMap::new();
    // Tells events of the same instant apart, without chance.
    let mut sequence = 0_u8;
    while let Some(noted) = inbox.recv().await {
        let namespace = noted.about.namespace.clone().unwrap_or_default();
        let api: Api<Unread<Event>> = Api::namespaced(client.clone(), &namespace);
        let key = (
            noted.about.uid.clone(),
            noted.about.field_path.clone(),
            noted.severity,
            noted.reason,
            noted.message.clone(),
        );
        if let Some((name, count)) = written.get_mut(&key) {
            *count += 1;
            let again = serde_json::json!({"count": *count, "lastTimestamp": time(noted.at)});
            if api.patch(name, &PatchParams::default(), &Patch::Merge(&again)).await.is_ok() {
                continue;
            }
        }
        if written.len() >= REMEMBERED {
            written.clear();
        }
        sequence = sequence.wrapping_add(1);
        let event = Unread(event(&noted, &host, sequence));
        let name = event.0.metadata.name.clone().unwrap_or_default();
        match api.create(&PostParams::default(), &event).await {
            Ok(_) => {
                written.insert(key, (name, 1));
            }
            // A namespace on its way out takes no more events.
            Err(error) => tracing::debug!(reason = noted.reason, %error, "an event could not be written"),
        }
    }
}

fn event(noted: &Noted, host: &str, sequence: u8) -> Event {
    let about = noted.about.name.clone().unwrap_or_default();
    let stamp = u64::try_from(noted.at.as_nanosecond()).unwrap_or_default();
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{about}.{stamp:x}{sequence:02x}")),
            namespace: noted.about.namespace.clone(),
            ..ObjectMeta::default()
        },
        involved_object: noted.about.clone(),
        reason: Some(noted.reason.to_owned()),
        message: Some(noted.message.clone()),
        type_: Some(format!("{:?}", noted.severity)),
        first_timestamp: Some(time(noted.at)),
        last_timestamp: Some(time(noted.at)),
        count: Some(1),
        source: Some(EventSource { component: Some("kubelet".to_owned()), host: Some(host.to_owned()) }),
        reporting_component: Some("kubelet".to_owned()),
        reporting_instance: Some(host.to_owned()),
        ..Event::default()
    }
}
