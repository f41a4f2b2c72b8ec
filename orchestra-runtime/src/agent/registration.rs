//! Keeps the agent's Node and its Lease in the cluster.
//!
//! The Node is created at once with its whole status, or found again after a restart and corrected. From then on the
//! status is written when something changed, and every five minutes otherwise; the Lease says in between that the
//! agent lives. When the agent stops it says nothing, as upstream: silence is what the node lifecycle reacts to.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{Node, NodeStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use kube::api::{GetParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use orchestra_core::light::Light;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::node_object::{self, NodeFacts};
use crate::clock::Clock;
use crate::pauses::spread;

/// Upstream's `nodeLeaseDurationSeconds`; a quarter of it is the time between two renewals.
const LEASE_SECONDS: i32 = 40;
const RENEW_EVERY: Duration = Duration::from_secs(10);
/// Upstream's `nodeStatusUpdateFrequency`: how often the status is compared.
const COMPARE_EVERY: Duration = Duration::from_secs(10);
/// Upstream's `nodeStatusReportFrequency`: how old a written status may become.
const REPORT_EVERY: Duration = Duration::from_secs(5 * 60);
const LEASE_NAMESPACE: &str = "kube-node-lease";

/// Registers a node and keeps it alive.
#[derive(Debug)]
pub struct Registration {
    facts: watch::Receiver<NodeFacts>,
    clock: Arc<dyn Clock>,
}

impl Registration {
    /// Registers the node `facts` tells of, and follows their changes. The name must stay the same. When the sender
    /// is gone, the facts stay as they are.
    pub fn new(facts: watch::Receiver<NodeFacts>, clock: Arc<dyn Clock>) -> Self {
        Self { facts, clock }
    }

    /// Registers, and keeps at it until `shutdown`. What fails is tried again, with growing pauses.
    pub async fn run(self, client: Client, shutdown: CancellationToken) {
        let name = self.facts.borrow().name.clone();
        let agent = Agent {
            nodes: Api::all(client.clone()),
            leases: Api::namespaced(client, LEASE_NAMESPACE),
            spread: spread(&name),
            name,
            facts: self.facts,
            clock: self.clock,
        };
        shutdown.run_until_cancelled(agent.keep()).await;
    }
}

struct Agent {
    name: String,
    nodes: Api<Node>,
    leases: Api<Light<Lease>>,
    facts: watch::Receiver<NodeFacts>,
    clock: Arc<dyn Clock>,
    spread: Duration,
}

impl Agent {
    async fn keep(&self) {
        let mut backoff = Backoff::default();
        while let Err(error) = self.register().await {
            tracing::warn!(node = self.name, %error, "cannot register the node; trying again");
            sleep(backoff.next()).await;
        }
        tokio::join!(self.keep_status(), self.keep_lease());
    }

    async fn register(&self) -> kube::Result<()> {
        let wanted = node_object::node(&self.facts.borrow().clone(), self.clock.now());
        let found = match self.nodes.create(&PostParams::default(), &wanted).await {
            Ok(created) => created,
            Err(kube::Error::Api(status)) if status.is_already_exists() => self.adopt().await?,
            Err(error) => return Err(error),
        };
        self.write_status(found.status.as_ref(), Stale::No).await?;
        Ok(())
    }

    /// Finds the Node of an earlier start, or one an administrator made beforehand.
    async fn adopt(&self) -> kube::Result<Node> {
        let found = self.nodes.get(&self.name).await?;
        let labels = node_object::labels_to_correct(&found, &self.facts.borrow());
        if labels.is_empty() {
            return Ok(found);
        }
        let patch = Patch::Merge(json!({ "metadata": { "labels": labels } }));
        self.nodes.patch(&self.name, &PatchParams::default(), &patch).await
    }

    async fn keep_status(&self) {
        let mut facts = self.facts.clone();
        let mut written = Instant::now();
        let mut backoff = Backoff::default();
        let mut pause = COMPARE_EVERY + self.spread;
        loop {
            tokio::select! {
                biased;
                () = changed(&mut facts) => {}
                () = sleep(pause) => {}
            }
            let stale = if written.elapsed() >= REPORT_EVERY { Stale::Yes } else { Stale::No };
            pause = match self.compare_status(stale).await {
                Ok(wrote) => {
                    if wrote {
                        written = Instant::now();
                    }
                    backoff = Backoff::default();
                    COMPARE_EVERY + self.spread
                }
                Err(error) => {
                    tracing::warn!(node = self.name, %error, "cannot write the node's status; trying again");
                    backoff.next()
                }
            };
        }
    }

    async fn compare_status(&self, stale: Stale) -> kube::Result<bool> {
        // Any version will do: a status that is compared too early is compared again.
        let found = self.nodes.get_with(&self.name, &GetParams::at("0")).await?;
        self.write_status(found.status.as_ref(), stale).await
    }

    /// Writes the status if it has to be; tells whether it did.
    async fn write_status(&self, found: Option<&NodeStatus>, stale: Stale) -> kube::Result<bool> {
        let wanted = node_object::status(&self.facts.borrow(), self.clock.now(), found);
        if stale == Stale::No && !node_object::differs(found, &wanted) {
            return Ok(false);
        }
        let mut patch = json!({ "status": wanted });
        // Addresses are merged by type, of which there may be several: only a whole list is exact.
        if let Some(list) = patch.pointer_mut("/status/addresses").and_then(|list| list.as_array_mut()) {
            list.push(json!({ "$patch": "replace" }));
        }
        self.nodes.patch_status(&self.name, &PatchParams::default(), &Patch::Strategic(patch)).await?;
        Ok(true)
    }

    async fn keep_lease(&self) {
        let mut latest = None;
        let mut backoff = Backoff::default();
        loop {
            let pause = match self.renew(latest.take()).await {
                Ok(lease) => {
                    latest = Some(lease);
                    backoff = Backoff::default();
                    RENEW_EVERY + self.spread
                }
                Err(error) => {
                    tracing::warn!(node = self.name, %error, "cannot renew the node's lease; trying again");
                    backoff.next()
                }
            };
            sleep(pause).await;
        }
    }

    /// Renews the Lease as last seen, or looks for it, or creates it.
    async fn renew(&self, latest: Option<Light<Lease>>) -> kube::Result<Light<Lease>> {
        let found = match latest {
            Some(lease) => Some(lease),
            None => self.leases.get_opt(&self.name).await?,
        };
        let Some(mut lease) = found else {
            let metadata = ObjectMeta { name: Some(self.name.clone()), ..Default::default() };
            let mut lease = Light(Lease { metadata, spec: None });
            self.fill(&mut lease.0).await?;
            return self.leases.create(&PostParams::default(), &lease).await;
        };
        self.fill(&mut lease.0).await?;
        self.leases.replace(&self.name, &PostParams::default(), &lease).await
    }

    async fn fill(&self, lease: &mut Lease) -> kube::Result<()> {
        let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
        spec.holder_identity = Some(self.name.clone());
        spec.lease_duration_seconds = Some(LEASE_SECONDS);
        spec.renew_time = Some(MicroTime(self.clock.now()));
        if lease.metadata.owner_references.as_ref().is_some_and(|owners| !owners.is_empty()) {
            return Ok(());
        }
        // A Lease goes with its Node; while there is no Node it stands alone, as upstream.
        let node = self.nodes.get_opt(&self.name).await?;
        if let Some(uid) = node.and_then(|node| node.metadata.uid) {
            lease.metadata.owner_references = Some(vec![OwnerReference {
                api_version: "v1".to_owned(),
                kind: "Node".to_owned(),
                name: self.name.clone(),
                uid,
                ..Default::default()
            }]);
        }
        Ok(())
    }
}

/// Whether the status as written is too old.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stale {
    Yes,
    No,
}

/// Pauses between attempts: from 100 ms, doubling, to 7 s, as upstream.
struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(Duration::from_millis(100))
    }
}

impl Backoff {
    fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(Duration::from_secs(7));
        pause
    }
}

/// Waits for new facts; for ever when nobody will tell any.
async fn changed(facts: &mut watch::Receiver<NodeFacts>) {
    if facts.changed().await.is_err() {
        pending::<()>().await;
    }
}

#[cfg(test)]
mod tests;
