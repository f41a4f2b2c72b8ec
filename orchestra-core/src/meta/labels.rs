//! Keys of labels, annotations, taints and finalizers that more than one component writes or reads.

/// Which application an object belongs to.
pub const APP_NAME: &str = "app.kubernetes.io/name";
/// What made an object, if not a person.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// A node's name.
pub const HOSTNAME: &str = "kubernetes.io/hostname";
/// A node's operating system.
pub const OS: &str = "kubernetes.io/os";
/// A node's processor architecture.
pub const ARCH: &str = "kubernetes.io/arch";
/// A node's zone.
pub const ZONE: &str = "topology.kubernetes.io/zone";
/// A node's region.
pub const REGION: &str = "topology.kubernetes.io/region";
/// A node's sort of machine.
pub const INSTANCE_TYPE: &str = "node.kubernetes.io/instance-type";
/// The name of a namespace, on itself.
pub const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";
/// Which pod template a ReplicaSet and its pods were made of.
pub const POD_TEMPLATE_HASH: &str = "pod-template-hash";
/// Which revision a pod of a StatefulSet or DaemonSet is of.
pub const CONTROLLER_REVISION_HASH: &str = "controller-revision-hash";
/// Which pod of a StatefulSet one is.
pub const STATEFULSET_POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
/// The number of a pod of a StatefulSet.
pub const POD_INDEX: &str = "apps.kubernetes.io/pod-index";
/// The Service an EndpointSlice belongs to.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Who writes an EndpointSlice.
pub const ENDPOINT_SLICE_MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// That a Service or its slices have no address of their own.
pub const HEADLESS_SERVICE: &str = "service.kubernetes.io/headless";

/// The revision of a Deployment and of its ReplicaSets.
pub const DEPLOYMENT_REVISION: &str = "deployment.kubernetes.io/revision";
/// Earlier revisions a ReplicaSet stood for.
pub const DEPLOYMENT_REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// How many replicas the Deployment of a ReplicaSet wants.
pub const DEPLOYMENT_DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
/// How many replicas the Deployment of a ReplicaSet may have for a while.
pub const DEPLOYMENT_MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";
/// Why a rollout was made.
pub const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";
/// What `kubectl apply` sent last.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The node a claim's volume shall be made on.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// That a StorageClass is taken where a claim names none.
pub const DEFAULT_STORAGE_CLASS: &str = "storageclass.kubernetes.io/is-default-class";

/// Taint of a node that is not ready.
pub const TAINT_NOT_READY: &str = "node.kubernetes.io/not-ready";
/// Taint of a node that says nothing any more.
pub const TAINT_UNREACHABLE: &str = "node.kubernetes.io/unreachable";
/// Taint of a node that shall take no pods.
pub const TAINT_UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Taint of a node short of memory.
pub const TAINT_MEMORY_PRESSURE: &str = "node.kubernetes.io/memory-pressure";
/// Taint of a node short of disk.
pub const TAINT_DISK_PRESSURE: &str = "node.kubernetes.io/disk-pressure";
/// Taint of a node short of process numbers.
pub const TAINT_PID_PRESSURE: &str = "node.kubernetes.io/pid-pressure";

/// Finalizer: dependents are to be orphaned before the object goes.
pub const FINALIZER_ORPHAN: &str = "orphan";
/// Finalizer: dependents are to be deleted before the object goes.
pub const FINALIZER_FOREGROUND: &str = "foregroundDeletion";
/// Finalizer of claims that pods use.
pub const FINALIZER_PVC_PROTECTION: &str = "kubernetes.io/pvc-protection";
/// Finalizer of volumes that are bound.
pub const FINALIZER_PV_PROTECTION: &str = "kubernetes.io/pv-protection";
