//! The controller manager: which controllers run, and with what.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::ReplicationController;
use kube::Client;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::certificate::CertificateSigner;
use crate::clock::Clock;
use crate::controller::{Reconcile, drive};
use crate::error::{Error, Result};
use crate::events::Recorder;
use crate::metrics::{ControllerMetrics, Queued};
use crate::nodeipam::NodeRanges;
use crate::queue::Queue;
use crate::world::World;

/// The controllers of this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Controller {
    /// Gathers the rules of cluster roles that are made of others.
    ClusterRoleAggregation,
    /// Signs what machines that join read first, with the tokens by which they know the cluster.
    BootstrapSigner,
    /// Removes bootstrap tokens whose time is over.
    BootstrapToken,
    /// Approves the requests of nodes for certificates, signs approved ones where there is a signer, and removes old ones.
    Certificate,
    /// Makes a Job each time the schedule of a CronJob comes round.
    CronJob,
    /// Keeps one pod of a DaemonSet on every node that should have one.
    DaemonSet,
    /// Rolls Deployments out over ReplicaSets.
    Deployment,
    /// Counts how many pods each disruption budget lets be evicted.
    Disruption,
    /// Lists the pods that answer for a Service, in one object.
    Endpoints,
    /// Lists the pods that answer for a Service, in slices.
    EndpointSlice,
    /// Makes slices of Endpoints that are kept by hand.
    EndpointSliceMirroring,
    /// Makes the claims that pods bring with them.
    EphemeralVolume,
    /// Deletes what nobody owns any more.
    GarbageCollector,
    /// Gives its target as many replicas as its metrics ask for.
    HorizontalPodAutoscaler,
    /// Runs the pods of Jobs to their end, and counts them.
    Job,
    /// Empties namespaces that are being deleted.
    Namespace,
    /// Gives each node a range of addresses for its pods, where there are [`NodeRanges`].
    NodeAddresses,
    /// Notices nodes that fall silent, and taints those in trouble.
    NodeLifecycle,
    /// Tells nodes for how long they may keep what they have read.
    NodeTtl,
    /// Removes pods that no node will ever end.
    PodGarbageCollector,
    /// Keeps as many pods as a ReplicaSet says.
    ReplicaSet,
    /// Keeps as many pods as a ReplicationController says.
    ReplicationController,
    /// Makes the device claims that pods bring as templates, and gives back what nobody uses any more.
    ResourceClaim,
    /// Counts what is used of resource quotas.
    ResourceQuota,
    /// Gives every namespace its default ServiceAccount and the cluster's root certificate.
    ServiceAccount,
    /// Removes the tokens of ServiceAccounts that are gone.
    ServiceAccountToken,
    /// Keeps the numbered pods of StatefulSets.
    StatefulSet,
    /// Evicts pods from nodes whose taints they do not tolerate.
    TaintEviction,
    /// Removes finished Jobs when their time to live is over.
    TtlAfterFinished,
    /// Tells in the status of validating policies what does not fit in their expressions.
    ValidatingPolicyStatus,
    /// Binds claims to volumes, makes volumes for claims, and reclaims them.
    Volume,
}

impl Controller {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::BootstrapSigner,
        Self::BootstrapToken,
        Self::Certificate,
        Self::ClusterRoleAggregation,
        Self::CronJob,
        Self::DaemonSet,
        Self::Deployment,
        Self::Disruption,
        Self::Endpoints,
        Self::EndpointSlice,
        Self::EndpointSliceMirroring,
        Self::EphemeralVolume,
        Self::GarbageCollector,
        Self::HorizontalPodAutoscaler,
        Self::Job,
        Self::Namespace,
        Self::NodeAddresses,
        Self::NodeLifecycle,
        Self::NodeTtl,
        Self::PodGarbageCollector,
        Self::ReplicaSet,
        Self::ReplicationController,
        Self::ResourceClaim,
        Self::ResourceQuota,
        Self::ServiceAccount,
        Self::ServiceAccountToken,
        Self::StatefulSet,
        Self::TaintEviction,
        Self::TtlAfterFinished,
        Self::ValidatingPolicyStatus,
        Self::Volume,
    ];
}

/// A set of controllers and what they are told. Cheap to build; nothing happens before [`Controllers::run`].
#[derive(Clone, Debug)]
pub struct Controllers {
    chosen: BTreeSet<Controller>,
    clock: Clock,
    certificate: Option<String>,
    volumes: Option<PathBuf>,
    signer: Option<Arc<dyn CertificateSigner>>,
    ranges: Option<NodeRanges>,
    metrics: ControllerMetrics,
}

impl Controllers {
    /// Every controller.
    pub fn all() -> Self {
        Self::only(Controller::ALL.iter().copied())
    }

    /// These controllers and no others.
    pub fn only(chosen: impl IntoIterator<Item = Controller>) -> Self {
        Self {
            chosen: chosen.into_iter().collect(),
            clock: Clock::system(),
            certificate: None,
            volumes: None,
            signer: None,
            ranges: None,
            metrics: ControllerMetrics::default(),
        }
    }

    /// All chosen so far but this one.
    #[must_use]
    pub fn without(mut self, controller: Controller) -> Self {
        self.chosen.remove(&controller);
        self
    }

    /// Counts into `metrics` what the controllers do.
    ///
    /// ```
    /// use orchestra_controllers::{ControllerMetrics, Controllers};
    /// use prometheus_client::registry::Registry;
    ///
    /// let (mut registry, metrics) = (Registry::default(), ControllerMetrics::default());
    /// metrics.register(&mut registry);
    /// let controllers = Controllers::all().metrics(metrics);
    /// ```
    #[must_use]
    pub fn metrics(mut self, metrics: ControllerMetrics) -> Self {
        self.metrics = metrics;
        self
    }

    /// The clock that stamps objects and measures ages.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The cluster's certificate authority in PEM, which every namespace gets as `kube-root-ca.crt`.
    #[must_use]
    pub fn cluster_ca(mut self, pem: impl Into<String>) -> Self {
        self.certificate = Some(pem.into());
        self
    }

    /// Lets approved requests for certificates be signed; without, they are approved and stay as they are.
    #[must_use]
    pub fn certificate_signer(mut self, signer: impl CertificateSigner) -> Self {
        self.signer = Some(Arc::new(signer));
        self
    }

    /// Gives each node a piece of these ranges for its pods, as upstream's `--allocate-node-cidrs`; without, nodes are left alone.
    #[must_use]
    pub fn node_ranges(mut self, ranges: NodeRanges) -> Self {
        self.ranges = Some(ranges);
        self
    }

    /// Lets volumes be made for claims: directories of this machine below `base`, by the StorageClass `standard`, which
    /// is created at the start if it is absent. `base` itself is made when the first volume is used.
    #[must_use]
    pub fn provision_volumes_in(mut self, base: impl Into<PathBuf>) -> Self {
        self.volumes = Some(base.into());
        self
    }

    /// Runs the controllers until `shutdown` is cancelled. Writes under way are finished first.
    ///
    /// # Errors
    /// Only if a background task ends by a panic; whatever the server answers is retried.
    pub async fn run(self, client: Client, shutdown: CancellationToken) -> Result<()> {
        // Whatever ends this future also ends its parts.
        let shutdown = shutdown.child_token();
        let _ends = shutdown.clone().drop_guard();
        let (recorder, writer) = Recorder::new(self.clock.clone());
        let world = World::new(client.clone(), self.clock.clone(), recorder, self.metrics.clone());
        let mut tasks = JoinSet::new();
        for controller in &self.chosen {
            match controller {
                Controller::DaemonSet => {
                    launch(&mut tasks, &world, &shutdown, crate::daemonset::setup(&world))
                }
                Controller::StatefulSet => {
                    launch(&mut tasks, &world, &shutdown, crate::statefulset::setup(&world))
                }
                Controller::NodeLifecycle => {
                    launch(&mut tasks, &world, &shutdown, crate::nodelifecycle::setup(&world))
                }
                Controller::TaintEviction => {
                    launch(&mut tasks, &world, &shutdown, crate::tainteviction::setup(&world))
                }
                Controller::PodGarbageCollector => {
                    launch(&mut tasks, &world, &shutdown, crate::podgc::setup(&world))
                }
                Controller::Deployment => {
                    launch(&mut tasks, &world, &shutdown, crate::deployment::setup(&world))
                }
                Controller::EndpointSlice => {
                    launch(&mut tasks, &world, &shutdown, crate::endpointslice::setup(&world))
                }
                Controller::GarbageCollector => {
                    launch(&mut tasks, &world, &shutdown, crate::garbage::setup(&world))
                }
                Controller::Namespace => {
                    launch(&mut tasks, &world, &shutdown, crate::namespace::setup(&world))
                }
                Controller::ServiceAccount => {
                    let parts = crate::serviceaccount::setup(&world, self.certificate.clone());
                    launch(&mut tasks, &world, &shutdown, parts);
                }
                Controller::EphemeralVolume => {
                    launch(&mut tasks, &world, &shutdown, crate::ephemeralvolume::setup(&world))
                }
                Controller::Volume => {
                    let parts = crate::volume::setup(&world, self.volumes.as_deref());
                    launch(&mut tasks, &world, &shutdown, parts);
                }
                Controller::Disruption => {
                    launch(&mut tasks, &world, &shutdown, crate::disruption::setup(&world))
                }
                Controller::CronJob => launch(&mut tasks, &world, &shutdown, crate::cronjob::setup(&world)),
                Controller::TtlAfterFinished => {
                    launch(&mut tasks, &world, &shutdown, crate::ttl::setup(&world))
                }
                Controller::HorizontalPodAutoscaler => {
                    launch(&mut tasks, &world, &shutdown, crate::podautoscaler::setup(&world))
                }
                Controller::Job => {
                    launch(&mut tasks, &world, &shutdown, crate::job::setup(&world));
                    launch(&mut tasks, &world, &shutdown, crate::job::setup_orphans(&world));
                }
                Controller::ReplicaSet => {
                    launch(&mut tasks, &world, &shutdown, crate::replicaset::setup::<ReplicaSet>(&world))
                }
                Controller::ReplicationController => {
                    let parts = crate::replicaset::setup::<ReplicationController>(&world);
                    launch(&mut tasks, &world, &shutdown, parts);
                }
                Controller::BootstrapSigner => {
                    launch(&mut tasks, &world, &shutdown, crate::bootstrapsigner::setup(&world))
                }
                Controller::Certificate => {
                    launch(&mut tasks, &world, &shutdown, crate::certificate::setup_approver(&world));
                    launch(&mut tasks, &world, &shutdown, crate::certificate::setup_cleaner(&world));
                    if let Some(signer) = &self.signer {
                        let parts = crate::certificate::setup_signer(&world, signer.clone());
                        launch(&mut tasks, &world, &shutdown, parts);
                    }
                }
                Controller::NodeAddresses => {
                    if let Some(ranges) = &self.ranges {
                        launch(&mut tasks, &world, &shutdown, crate::nodeipam::setup(&world, ranges));
                    }
                }
                Controller::NodeTtl => launch(&mut tasks, &world, &shutdown, crate::nodettl::setup(&world)),
                Controller::BootstrapToken => {
                    launch(&mut tasks, &world, &shutdown, crate::bootstraptoken::setup(&world))
                }
                Controller::ServiceAccountToken => {
                    launch(&mut tasks, &world, &shutdown, crate::accounttoken::setup(&world))
                }
                Controller::ResourceClaim => {
                    launch(&mut tasks, &world, &shutdown, crate::resourceclaim::setup(&world))
                }
                Controller::ResourceQuota => {
                    launch(&mut tasks, &world, &shutdown, crate::resourcequota::setup(&world))
                }
                Controller::ClusterRoleAggregation => {
                    launch(&mut tasks, &world, &shutdown, crate::clusterrole::setup(&world))
                }
                Controller::ValidatingPolicyStatus => {
                    launch(&mut tasks, &world, &shutdown, crate::policystatus::setup(&world))
                }
                Controller::Endpoints => {
                    launch(&mut tasks, &world, &shutdown, crate::endpoints::setup(&world))
                }
                Controller::EndpointSliceMirroring => {
                    launch(&mut tasks, &world, &shutdown, crate::endpointslicemirroring::setup(&world))
                }
            }
        }
        world.start(&mut tasks, &shutdown);
        tasks.spawn(writer.run(client, shutdown.clone()));
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended
                && error.is_panic()
            {
                return Err(Error::Panicked(error.to_string()));
            }
        }
        Ok(())
    }
}

/// Lets a controller begin once the world has been seen.
fn launch<R: Reconcile>(
    tasks: &mut JoinSet<()>,
    world: &Arc<World>,
    shutdown: &CancellationToken,
    (controller, queue): (Arc<R>, Arc<Queue<R::Key>>),
) {
    let as_queued: Weak<dyn Queued> = Arc::<Queue<R::Key>>::downgrade(&queue);
    queue.count_into(world.metrics.queue(controller.name(), as_queued));
    let (world, shutdown) = (world.clone(), shutdown.clone());
    tasks.spawn(async move {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            () = world.synced() => {}
        }
        drive(controller, queue, shutdown).await;
    });
}
