//! The built-in kinds, one file each, and the registry that holds them.
//!
//! A kind's file returns a `Builtin`: its description, its defaults, its rules and its columns. Adding a kind is
//! one such file and its line in the list below. Rules that kinds share stand in files of their own beside them.

mod admission_policy;
mod api_service;
mod binding;
mod certificate_signing_request;
mod component_status;
mod condition;
mod config_map;
mod controller_revision;
mod cron_job;
mod csi_driver;
mod csi_node;
mod csi_storage_capacity;
mod custom_resource_definition;
mod daemon_set;
mod deployment;
mod device;
mod endpoint_slice;
mod endpoints;
pub mod event;
pub mod flow_control;
pub(crate) mod frame;
pub mod horizontal_pod_autoscaler;
mod ingress;
mod ingress_class;
mod ip;
mod ip_address;
mod job;
mod job_policy;
mod labels;
mod lease;
mod limit_range;
mod meta;
mod namespace;
mod network_policy;
mod node;
mod persistent_volume;
mod persistent_volume_claim;
mod pod;
mod pod_disruption_budget;
mod pod_spec;
mod pod_template;
mod priority_class;
mod rbac;
mod registry;
mod replica_set;
mod replication_controller;
pub mod resource_metrics;
mod resource_quota;
mod runtime_class;
mod secret;
mod service;
mod service_account;
mod service_cidr;
mod stateful_set;
mod storage_class;
mod storage_system;
mod volume_attachment;
mod volume_attributes_class;
mod workload;

pub use ip::is_loopback_violation;
pub use registry::Registry;

/// Every built-in kind, in the order of upstream's discovery.
fn builtin_kinds() -> Vec<frame::Builtin> {
    vec![
        namespace::kind(),
        node::kind(),
        pod::kind(),
        pod_template::kind(),
        replication_controller::kind(),
        service::kind(),
        endpoints::kind(),
        config_map::kind(),
        secret::kind(),
        service_account::kind(),
        persistent_volume::kind(),
        persistent_volume_claim::kind(),
        event::core_kind(),
        limit_range::kind(),
        resource_quota::kind(),
        binding::kind(),
        component_status::kind(),
        deployment::kind(),
        replica_set::kind(),
        stateful_set::kind(),
        daemon_set::kind(),
        controller_revision::kind(),
        job::kind(),
        cron_job::kind(),
        endpoint_slice::kind(),
        ingress::kind(),
        ingress_class::kind(),
        network_policy::kind(),
        ip_address::kind(),
        service_cidr::kind(),
        storage_class::kind(),
        csi_driver::kind(),
        csi_node::kind(),
        csi_storage_capacity::kind(),
        volume_attachment::kind(),
        volume_attributes_class::kind(),
        lease::kind(),
        event::events_kind(),
        priority_class::kind(),
        runtime_class::kind(),
        certificate_signing_request::kind(),
        flow_control::flow_schema(),
        flow_control::priority_level(),
        admission_policy::mutating_webhooks(),
        admission_policy::validating_webhooks(),
        admission_policy::mutating_policy(),
        admission_policy::mutating_binding(),
        admission_policy::validating_policy(),
        admission_policy::validating_binding(),
        api_service::kind(),
        device::class(),
        device::claim(),
        device::template(),
        device::slice(),
        pod_disruption_budget::kind(),
        rbac::role(),
        rbac::role_binding(),
        rbac::cluster_role(),
        rbac::cluster_role_binding(),
        horizontal_pod_autoscaler::kind(),
        horizontal_pod_autoscaler::v1_kind(),
        custom_resource_definition::kind(),
    ]
}

#[cfg(test)]
mod stability;
#[cfg(test)]
mod tests;
