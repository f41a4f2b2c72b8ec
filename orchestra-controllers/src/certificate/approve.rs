//! Approves the requests of nodes for their own client certificates, if whoever asks may have them approved.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition, CertificateSigningRequestSpec,
};
use kube::Api;
use orchestra_core::certificate::Request;

use super::judge::{NODE_CLIENT, node_client};
use super::{APPROVED, DENIED, certificate, has};
use crate::controller::{Next, Reconcile};
use crate::error::{Result, unless_gone};
use crate::key::Key;
use crate::queue::Queue;
use crate::world::{World, post_params};

/// When a request is looked at again whose sender had not the right: roles may come.
const AGAIN: Duration = Duration::from_secs(60);

/// A right by which a request is approved, and what is said then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ground {
    /// The verb `create` is needed on this part of requests.
    subresource: &'static str,
    message: &'static str,
}

const OWN: Ground = Ground {
    subresource: "selfnodeclient",
    message: "Auto approving self kubelet client certificate after SubjectAccessReview.",
};
const OTHER: Ground = Ground {
    subresource: "nodeclient",
    message: "Auto approving kubelet client certificate after SubjectAccessReview.",
};

/// The rights of which any one is enough; none where the request is not for this controller to approve.
fn grounds(spec: &CertificateSigningRequestSpec, request: &Request) -> Vec<Ground> {
    let usages = spec.usages.as_deref().unwrap_or_default();
    if spec.signer_name != NODE_CLIENT || node_client(request, usages).is_err() {
        return Vec::new();
    }
    if spec.username.as_deref() == Some(&request.common_name) { vec![OWN, OTHER] } else { vec![OTHER] }
}

pub(crate) struct Approver {
    world: Arc<World>,
}

/// Connects the controller to the world. Keys are requests.
pub(crate) fn setup(world: &Arc<World>) -> (Arc<Approver>, Arc<Queue<Key>>) {
    let queue = Arc::new(Queue::new());
    world.requests.on_change({
        let queue = queue.clone();
        move |change| {
            if let Some(request) = change.new.filter(|request| is_open(request)) {
                queue.add(Key::of(&request.metadata));
            }
        }
    });
    (Arc::new(Approver { world: world.clone() }), queue)
}

fn is_open(request: &CertificateSigningRequest) -> bool {
    certificate(request).is_none() && !has(request, APPROVED) && !has(request, DENIED)
}

impl Reconcile for Approver {
    type Key = Key;

    fn name(&self) -> &'static str {
        "csrapproving"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next> {
        let Some(held) = self.world.requests.get(key).filter(|held| is_open(held)) else {
            return Ok(Next::Wait);
        };
        // What cannot be read is somebody else's to refuse.
        let Ok(request) = Request::parse(&held.spec.request.0) else { return Ok(Next::Wait) };
        let grounds = grounds(&held.spec, &request);
        for ground in &grounds {
            if !self.is_allowed(&held.spec, ground.subresource).await? {
                continue;
            }
            let mut approved = (*held).clone();
            let conditions = approved.status.get_or_insert_default().conditions.get_or_insert_default();
            conditions.push(CertificateSigningRequestCondition {
                type_: APPROVED.to_owned(),
                status: "True".to_owned(),
                reason: Some("AutoApproved".to_owned()),
                message: Some(ground.message.to_owned()),
                ..CertificateSigningRequestCondition::default()
            });
            let api: Api<CertificateSigningRequest> = Api::all(self.world.client.clone());
            unless_gone(api.replace_subresource("approval", &key.name, &post_params(), &approved).await)?;
            return Ok(Next::Wait);
        }
        Ok(if grounds.is_empty() { Next::Wait } else { Next::After(AGAIN) })
    }
}

impl Approver {
    async fn is_allowed(&self, spec: &CertificateSigningRequestSpec, subresource: &str) -> Result<bool> {
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: spec.username.clone(),
                uid: spec.uid.clone(),
                groups: spec.groups.clone(),
                extra: spec.extra.clone().map(|extra| extra.into_iter().collect::<BTreeMap<_, _>>()),
                resource_attributes: Some(ResourceAttributes {
                    group: Some("certificates.k8s.io".to_owned()),
                    resource: Some("certificatesigningrequests".to_owned()),
                    verb: Some("create".to_owned()),
                    subresource: Some(subresource.to_owned()),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let api: Api<SubjectAccessReview> = Api::all(self.world.client.clone());
        let answer = api.create(&post_params(), &review).await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_client_certificates_of_nodes_are_approved_and_ones_own_by_either_right() {
        let request = Request {
            common_name: "system:node:n".into(),
            organizations: vec!["system:nodes".into()],
            ..Request::default()
        };
        let spec = |signer: &str, user: &str| CertificateSigningRequestSpec {
            signer_name: signer.into(),
            username: Some(user.into()),
            usages: Some(vec!["digital signature".into(), "client auth".into()]),
            ..CertificateSigningRequestSpec::default()
        };
        assert_eq!(grounds(&spec(NODE_CLIENT, "system:node:n"), &request), [OWN, OTHER]);
        assert_eq!(grounds(&spec(NODE_CLIENT, "system:bootstrap:abcdef"), &request), [OTHER]);
        assert_eq!(grounds(&spec("kubernetes.io/kubelet-serving", "system:node:n"), &request), []);
        let master = Request { organizations: vec!["system:masters".into()], ..request };
        assert_eq!(grounds(&spec(NODE_CLIENT, "system:node:n"), &master), []);
    }
}
