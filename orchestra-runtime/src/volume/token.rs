//! Tokens by which a pod's programs speak to the API: asked for when a volume shows one, and again before they run out.
//!
//! A token is asked for again when a fifth of its life is left, or when it is a day old, as upstream's kubelet does.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount, ServiceAccountTokenProjection};
use kube::api::PostParams;
use kube::{Api, Client};

use crate::clock::Clock;

/// How long a token is asked for when the pod does not say.
const DEFAULT_SECONDS: i64 = 60 * 60;
/// However long a token lasts, a day later there is a new one.
const MAX_AGE: SignedDuration = SignedDuration::from_hours(24);
/// When a new one could not be had, the next attempt is that much later.
const RETRY: SignedDuration = SignedDuration::from_secs(10);

/// For whom a token is (nobody said: the API server), and for how long.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wanted {
    audience: String,
    seconds: i64,
}

impl Wanted {
    pub(super) fn of(projection: &ServiceAccountTokenProjection) -> Self {
        Self {
            audience: projection.audience.clone().unwrap_or_default(),
            seconds: projection.expiration_seconds.unwrap_or(DEFAULT_SECONDS),
        }
    }
}

/// The tokens of one pod, or why one could not be had.
pub(crate) type PodTokens = BTreeMap<Wanted, Result<String, String>>;

#[derive(Clone, Debug)]
struct Issued {
    token: String,
    expires: Timestamp,
    renew_at: Timestamp,
}

/// The tokens of all pods of a node.
pub(crate) struct Tokens {
    client: Client,
    clock: Arc<dyn Clock>,
    /// By the pod's uid.
    issued: Mutex<BTreeMap<String, BTreeMap<Wanted, Issued>>>,
}

impl Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

impl Tokens {
    pub(crate) fn new(client: Client, clock: Arc<dyn Clock>) -> Self {
        Self { client, clock, issued: Mutex::default() }
    }

    fn issued(&self) -> MutexGuard<'_, BTreeMap<String, BTreeMap<Wanted, Issued>>> {
        // The map is never left half-changed.
        self.issued.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All tokens that the volumes of `pod` show, as fresh as they have to be.
    pub(crate) async fn of(&self, pod: &Pod) -> PodTokens {
        let mut tokens = PodTokens::new();
        for wanted in wanted(pod) {
            let token = self.get(pod, &wanted).await;
            tokens.insert(wanted, token);
        }
        tokens
    }

    /// When one of the pod's tokens has to be asked for again.
    pub(crate) fn renewal(&self, uid: &str) -> Option<Timestamp> {
        self.issued().get(uid)?.values().map(|issued| issued.renew_at).min()
    }

    /// Forgets a pod that is gone.
    pub(crate) fn forget(&self, uid: &str) {
        self.issued().remove(uid);
    }

    async fn get(&self, pod: &Pod, wanted: &Wanted) -> Result<String, String> {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let known = self.issued().get(&uid).and_then(|tokens| tokens.get(wanted)).cloned();
        let now = self.clock.now();
        if let Some(issued) = known.as_ref().filter(|issued| now < issued.renew_at) {
            return Ok(issued.token.clone());
        }
        let issued = match (self.ask(pod, wanted).await, known) {
            (Ok(issued), _) => issued,
            // The old one still counts for a while.
            (Err(problem), Some(old)) if now < old.expires => {
                tracing::warn!(pod = pod.metadata.name, problem, "a token could not be renewed");
                Issued { renew_at: later(now, RETRY), ..old }
            }
            (Err(problem), _) => return Err(problem),
        };
        let token = issued.token.clone();
        self.issued().entry(uid).or_default().insert(wanted.clone(), issued);
        Ok(token)
    }

    async fn ask(&self, pod: &Pod, wanted: &Wanted) -> Result<Issued, String> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref());
        let account = account.filter(|name| !name.is_empty()).unwrap_or("default");
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: Some(
                    Some(wanted.audience.clone()).filter(|a| !a.is_empty()).into_iter().collect(),
                ),
                expiration_seconds: Some(wanted.seconds),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: pod.metadata.name.clone(),
                    uid: pod.metadata.uid.clone(),
                }),
            }),
            ..TokenRequest::default()
        };
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        let asked_at = self.clock.now();
        let answer = accounts.create_token_request(account, &PostParams::default(), &request).await;
        let answer = answer.map_err(|error| format!("failed to fetch token: {error}"))?;
        let seconds = answer.spec.and_then(|spec| spec.expiration_seconds).unwrap_or(wanted.seconds);
        let token = answer.status.and_then(|status| status.token);
        let token = token.ok_or("failed to fetch token: there is none in the answer")?;
        // By the node's own clock, which need not be the server's.
        let life = SignedDuration::from_secs(seconds);
        let renew_at = later(asked_at, MAX_AGE.min(life / 5 * 4));
        Ok(Issued { token, expires: later(asked_at, life), renew_at })
    }
}

fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.saturating_add(by).unwrap_or(Timestamp::MAX)
}

/// The tokens that a pod's volumes show.
fn wanted(pod: &Pod) -> Vec<Wanted> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let sources = volumes.flat_map(|v| v.projected.iter()).flat_map(|p| p.sources.iter().flatten());
    sources.filter_map(|source| source.service_account_token.as_ref()).map(Wanted::of).collect()
}
