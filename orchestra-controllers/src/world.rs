//! What all controllers see: one copy of each kind, the client, the clock and the recorder of events.

use std::sync::Arc;

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod,
    ReplicationController, ResourceQuota, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::api::resource::v1::{DeviceClass, ResourceClaim, ResourceClaimTemplate};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::Client;
use kube::api::{DeleteParams, PatchParams, PostParams, Preconditions};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::census::Census;
use crate::clock::Clock;
use crate::events::Recorder;
use crate::informer::{Habits, Index, Informer};
use crate::metrics::ControllerMetrics;

/// The name under which the controllers' writes stand in managedFields. Upstream's own, because tools that tell
/// apart what people and what controllers set look for it.
pub(crate) const FIELD_MANAGER: &str = "kube-controller-manager";

pub(crate) fn patch_params() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() }
}

pub(crate) fn post_params() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() }
}

/// Deletes only the object of this uid, whatever has taken its name since.
pub(crate) fn exactly(uid: &str) -> DeleteParams {
    let preconditions = Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None });
    DeleteParams { preconditions, ..DeleteParams::default() }
}

macro_rules! world {
    ($($(#[$doc:meta])* $field:ident: $kind:ty = $habits:expr,)*) => {
        /// What all controllers see.
        pub(crate) struct World {
            pub(crate) client: Client,
            pub(crate) clock: Clock,
            pub(crate) recorder: Recorder,
            pub(crate) census: Arc<Census>,
            pub(crate) metrics: ControllerMetrics,
            $(pub(crate) $field: Informer<$kind>,)*
        }

        impl World {
            pub(crate) fn new(
                client: Client,
                clock: Clock,
                recorder: Recorder,
                metrics: ControllerMetrics,
            ) -> Arc<Self> {
                Arc::new(Self { client, clock, recorder, census: Arc::default(), metrics, $($field: Informer::new($habits),)* })
            }

            /// Starts to keep every copy that some controller asked for.
            pub(crate) fn start(self: &Arc<Self>, tasks: &mut JoinSet<()>, shutdown: &CancellationToken) {
                $(if self.$field.is_wanted() {
                    let (world, shutdown) = (self.clone(), shutdown.clone());
                    tasks.spawn(async move { world.$field.run(world.client.clone(), shutdown).await });
                })*
                if self.census.is_wanted() {
                    tasks.spawn(self.census.clone().run(self.client.clone(), shutdown.clone()));
                }
            }

            /// Resolves once every copy holds what existed when it started.
            pub(crate) async fn synced(&self) {
                $(self.$field.synced().await;)*
            }
        }
    };
}

world! {
    pods: Pod = Habits { trim: trim_pod, index: |pod| {
        let node = pod.spec.as_ref()?.node_name.clone()?;
        (!node.is_empty()).then_some(Index::Node(node))
    }},
    nodes: Node = Habits { trim: |node| if let Some(status) = &mut node.status { status.images = None }, ..Habits::default() },
    leases: Lease = Habits::default(),
    namespaces: Namespace = Habits::default(),
    service_accounts: ServiceAccount = Habits::default(),
    config_maps: ConfigMap = Habits::default(),
    services: Service = Habits::default(),
    slices: EndpointSlice = Habits::default(),
    endpoints: Endpoints = Habits::default(),
    replication_controllers: ReplicationController = Habits::default(),
    cluster_roles: ClusterRole = Habits::default(),
    validating_policies: ValidatingAdmissionPolicy = Habits::default(),
    quotas: ResourceQuota = Habits::default(),
    account_tokens: Secret = Habits { trim: |secret| secret.data = None, ..Habits::default() },
    bootstrap_tokens: Secret = Habits { trim: |secret| if let Some(data) = &mut secret.data {
        data.retain(|key, _| ["expiration", "token-id", "token-secret", "usage-bootstrap-signing"].contains(&key.as_str()));
    }, ..Habits::default() },
    cluster_info: ConfigMap = Habits::default(),
    requests: CertificateSigningRequest = Habits::default(),
    replica_sets: ReplicaSet = Habits::default(),
    deployments: Deployment = Habits::default(),
    stateful_sets: StatefulSet = Habits::default(),
    daemon_sets: DaemonSet = Habits::default(),
    jobs: Job = Habits::default(),
    cron_jobs: CronJob = Habits::default(),
    budgets: PodDisruptionBudget = Habits::default(),
    autoscalers: HorizontalPodAutoscaler = Habits::default(),
    revisions: ControllerRevision = Habits::default(),
    claims: PersistentVolumeClaim = Habits::default(),
    volumes: PersistentVolume = Habits::default(),
    classes: StorageClass = Habits::default(),
    device_claims: ResourceClaim = Habits::default(),
    device_classes: DeviceClass = Habits::default(),
    claim_templates: ResourceClaimTemplate = Habits::default(),
}

/// Drops what no controller reads of a pod: most of what its containers are told to do.
fn trim_pod(pod: &mut Pod) {
    let Some(spec) = &mut pod.spec else { return };
    let init = spec.init_containers.iter_mut().flatten();
    for container in spec.containers.iter_mut().chain(init) {
        container.args = None;
        container.command = None;
        container.env = None;
        container.env_from = None;
        container.lifecycle = None;
        container.liveness_probe = None;
        container.readiness_probe = None;
        container.startup_probe = None;
        container.security_context = None;
        container.volume_mounts = None;
    }
    if let Some(annotations) = &mut pod.metadata.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
}
