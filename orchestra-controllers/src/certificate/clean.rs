//! Removes requests that nobody needs any more: an hour after they were decided, a day after they were made.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::Api;
use x509_parser::pem::parse_x509_pem;

use super::{APPROVED, DENIED, FAILED, certificate};
use crate::controller::{Next, Reconcile};
use crate::error::{Result, unless_gone};
use crate::key::Key;
use crate::queue::Queue;
use crate::world::{World, exactly};

const DECIDED: SignedDuration = SignedDuration::from_hours(1);
const PENDING: SignedDuration = SignedDuration::from_hours(24);

/// How long a request may stay; nothing if that is not known, zero if its time is over.
fn plan(request: &CertificateSigningRequest, now: Timestamp) -> Option<Duration> {
    let issued = certificate(request);
    let conditions = request.status.as_ref().and_then(|status| status.conditions.as_deref());
    let conditions = conditions.unwrap_or_default();
    let mut ends = Vec::new();
    for condition in conditions {
        let is_decided = match condition.type_.as_str() {
            APPROVED => issued.is_some(),
            DENIED | FAILED => true,
            _ => false,
        };
        if let (true, Some(since)) = (is_decided, &condition.last_update_time) {
            ends.extend(since.0.checked_add(DECIDED).ok());
        }
    }
    if conditions.is_empty() {
        let made = request.metadata.creation_timestamp.as_ref();
        ends.extend(made.and_then(|made| made.0.checked_add(PENDING).ok()));
    }
    if conditions.iter().any(|condition| condition.type_ == APPROVED) {
        ends.extend(issued.and_then(expiry));
    }
    let left = ends.into_iter().min()?.duration_since(now);
    Some(Duration::try_from(left).unwrap_or(Duration::ZERO))
}

/// When a certificate, PEM, ends.
fn expiry(pem: &[u8]) -> Option<Timestamp> {
    let (_, pem) = parse_x509_pem(pem).ok()?;
    let certificate = pem.parse_x509().ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}

pub(crate) struct Cleaner {
    world: Arc<World>,
}

/// Connects the controller to the world. Keys are requests.
pub(crate) fn setup(world: &Arc<World>) -> (Arc<Cleaner>, Arc<Queue<Key>>) {
    let queue = Arc::new(Queue::new());
    world.requests.on_change({
        let (queue, clock) = (queue.clone(), world.clock.clone());
        move |change| {
            let Some(request) = change.new else { return };
            if let Some(left) = plan(request, clock.now()) {
                queue.add_after(Key::of(&request.metadata), left);
            }
        }
    });
    (Arc::new(Cleaner { world: world.clone() }), queue)
}

impl Reconcile for Cleaner {
    type Key = Key;

    fn name(&self) -> &'static str {
        "csrcleaner"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next> {
        let Some(request) = self.world.requests.get(key) else { return Ok(Next::Wait) };
        match plan(&request, self.world.clock.now()) {
            None => Ok(Next::Wait),
            Some(Duration::ZERO) => {
                let api: Api<CertificateSigningRequest> = Api::all(self.world.client.clone());
                let uid = request.metadata.uid.as_deref().unwrap_or_default();
                unless_gone(api.delete(&key.name, &exactly(uid)).await).map(|_| Next::Wait)
            }
            Some(left) => Ok(Next::After(left)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_stays_an_hour_after_its_decision_and_a_day_without_one() {
        let now: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        let left = |type_: Option<&str>, certificate: Option<&str>| {
            let conditions: Vec<_> = type_
                .map(|type_| json!({"type": type_, "status": "True", "lastUpdateTime": "2026-01-01T23:30:00Z"}))
                .into_iter()
                .collect();
            let request = serde_json::from_value(json!({
                "metadata": {"creationTimestamp": "2026-01-01T01:00:00Z"},
                "spec": {"request": "", "signerName": "s"},
                "status": {"conditions": conditions, "certificate": certificate},
            }));
            plan(&request.unwrap(), now).map(|left| left.as_secs())
        };
        assert_eq!(left(None, None), Some(3600));
        assert_eq!((left(Some("Denied"), None), left(Some("Failed"), None)), (Some(1800), Some(1800)));
        // Approved, and not signed yet.
        assert_eq!(left(Some("Approved"), None), None);
        assert_eq!(left(Some("Approved"), Some("cnViYmlzaA==")), Some(1800));
        assert_eq!(left(Some("Other"), None), None);
    }
}
