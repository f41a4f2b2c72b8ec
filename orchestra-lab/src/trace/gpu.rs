//! How GPUs that pods may share look in the API.
//!
//! Kubernetes counts whole devices only. Here a node offers thousandths of its devices, and labels say how they are cut.

/// The resource: thousandths of a device; a node with two devices has 2000.
pub const GPU_RESOURCE: &str = "gpu.orchestra.dev/milli";
/// Label of a node and of a pod: how many devices it has, or wants.
pub const GPU_COUNT: &str = "gpu.orchestra.dev/count";
/// Label of a pod: how many thousandths it wants of each device.
pub const GPU_MILLI: &str = "gpu.orchestra.dev/milli";
/// Label of a node: what devices it has.
pub const GPU_MODEL: &str = "gpu.orchestra.dev/model";
