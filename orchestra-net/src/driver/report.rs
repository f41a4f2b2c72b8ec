//! Telling the owner of a service about a port that does not answer.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter as Source};

use crate::proxy::{Frontend, Problem};

/// Writes an event on a service when one of its ports fails, once for as long as it fails the same way.
pub(super) struct Reporter {
    recorder: Recorder,
    known: BTreeMap<Frontend, String>,
}

impl Reporter {
    pub(super) fn new(client: Client) -> Self {
        let source = Source { controller: "kube-proxy".into(), instance: None };
        Self { recorder: Recorder::new(client, source), known: BTreeMap::new() }
    }

    pub(super) fn has_problems(&self) -> bool {
        !self.known.is_empty()
    }

    pub(super) async fn report(&mut self, problems: Vec<Problem>) {
        let mut now = BTreeMap::new();
        for Problem { service, frontend, message } in problems {
            if self.known.get(&frontend) != Some(&message) {
                tracing::info!(namespace = service.namespace, service = service.name, "{message}");
                let reference = ObjectReference {
                    api_version: Some("v1".into()),
                    kind: Some("Service".into()),
                    name: Some(service.name),
                    namespace: Some(service.namespace),
                    ..ObjectReference::default()
                };
                let event = Event {
                    type_: EventType::Warning,
                    reason: "PortUnavailable".into(),
                    note: Some(message.clone()),
                    action: "Listen".into(),
                    secondary: None,
                };
                if let Err(problem) = self.recorder.publish(&event, &reference).await {
                    tracing::debug!(%problem, "could not write an event");
                }
            }
            now.insert(frontend, message);
        }
        self.known = now;
    }
}
