//! How devices that pods may share look in the API.

/// The extended resource: thousandths of devices. Up to 999 is a share of one device, a multiple of 1000 so many whole ones.
pub(crate) const MILLI: &str = "alibabacloud.com/gpu-milli";
/// The label of a node that says which model its devices are.
pub(crate) const MODEL: &str = "alibabacloud.com/gpu-card-model";
