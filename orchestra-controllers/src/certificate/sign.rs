//! Signs approved requests for the signers of the cluster itself.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use orchestra_core::certificate::Request;

use super::judge::judge;
use super::{APPROVED, CertificateSigner, DENIED, FAILED, Validity, certificate, has};
use crate::controller::{Next, Reconcile};
use crate::error::{Error, Result, unless_gone};
use crate::key::Key;
use crate::queue::Queue;
use crate::world::{World, post_params};

/// How long a certificate is good at most, and where nothing is said, as upstream's `--cluster-signing-duration`.
const LONGEST: SignedDuration = SignedDuration::from_hours(365 * 24);
const SHORTEST: SignedDuration = SignedDuration::from_mins(10);
/// Clocks may be behind.
const BACKDATE: SignedDuration = SignedDuration::from_mins(5);
/// What is shorter is not shortened by the time it begins early.
const SHORT: SignedDuration = SignedDuration::from_hours(8);

/// From when until when a certificate is good for which so many seconds are asked.
fn validity(seconds: Option<i32>, now: Timestamp) -> Validity {
    let wanted = seconds.map_or(LONGEST, |seconds| SignedDuration::from_secs(seconds.into()));
    let wanted = wanted.clamp(SHORTEST, LONGEST);
    let ends = if wanted < SHORT { wanted } else { wanted - BACKDATE };
    let at = |offset: SignedDuration| now.checked_add(offset).unwrap_or(now);
    Validity { from: at(-BACKDATE), until: at(ends) }
}

pub(crate) struct Signing {
    world: Arc<World>,
    signer: Arc<dyn CertificateSigner>,
}

/// Connects the controller to the world. Keys are requests.
pub(crate) fn setup(
    world: &Arc<World>,
    signer: Arc<dyn CertificateSigner>,
) -> (Arc<Signing>, Arc<Queue<Key>>) {
    let queue = Arc::new(Queue::new());
    world.requests.on_change({
        let queue = queue.clone();
        move |change| {
            if let Some(request) = change.new.filter(|request| is_due(request)) {
                queue.add(Key::of(&request.metadata));
            }
        }
    });
    (Arc::new(Signing { world: world.clone(), signer }), queue)
}

fn is_due(request: &CertificateSigningRequest) -> bool {
    has(request, APPROVED) && !has(request, DENIED) && !has(request, FAILED) && certificate(request).is_none()
}

impl Reconcile for Signing {
    type Key = Key;

    fn name(&self) -> &'static str {
        "csrsigning"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next> {
        let Some(held) = self.world.requests.get(key).filter(|held| is_due(held)) else {
            return Ok(Next::Wait);
        };
        let (spec, now) = (&held.spec, self.world.clock.now());
        let usages = spec.usages.as_deref().unwrap_or_default();
        let read = Request::parse(&spec.request.0)
            .map_err(|problem| Error::Malformed(format!("unable to parse csr {:?}: {problem}", key.name)))?;
        let Some(judged) = judge(&read, &spec.signer_name, usages) else { return Ok(Next::Wait) };
        let mut next = (*held).clone();
        let status = next.status.get_or_insert_default();
        match judged {
            Ok(()) => {
                let signed =
                    self.signer.sign(&spec.request.0, usages, validity(spec.expiration_seconds, now));
                let signed = signed
                    .map_err(|problem| Error::Malformed(format!("error auto signing csr: {problem}")))?;
                status.certificate = Some(ByteString(signed.into_bytes()));
            }
            Err(problem) => {
                status.conditions.get_or_insert_default().push(CertificateSigningRequestCondition {
                    type_: FAILED.to_owned(),
                    status: "True".to_owned(),
                    reason: Some("SignerValidationFailure".to_owned()),
                    message: Some(problem),
                    last_update_time: Some(Time(now)),
                    ..CertificateSigningRequestCondition::default()
                });
            }
        }
        let api: Api<CertificateSigningRequest> = Api::all(self.world.client.clone());
        unless_gone(api.replace_status(&key.name, &post_params(), &next).await)?;
        Ok(Next::Wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_for_less_time_is_heard_and_one_for_more_is_not() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let lasts = |seconds| {
            let Validity { from, until } = validity(seconds, now);
            assert_eq!(from.to_string(), "2025-12-31T23:55:00Z");
            until.to_string()
        };
        assert_eq!(lasts(None), "2026-12-31T23:55:00Z");
        assert_eq!(lasts(Some(i32::MAX)), "2026-12-31T23:55:00Z");
        assert_eq!(lasts(Some(3600)), "2026-01-01T01:00:00Z");
        assert_eq!(lasts(Some(8 * 3600)), "2026-01-01T07:55:00Z");
        assert_eq!(lasts(Some(1)), "2026-01-01T00:10:00Z");
    }
}
