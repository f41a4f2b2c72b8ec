//! The pod of a workload as the API has it: one container, because scheduling looks at sums only.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as api;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// A pod whose one container asks for `requests`; what else is to be said of it is in `metadata` and `spec`.
pub(crate) fn with_one_container(
    metadata: ObjectMeta,
    requests: Option<BTreeMap<String, Quantity>>,
    spec: api::PodSpec,
) -> api::Pod {
    let container = api::Container {
        name: "main".to_owned(),
        resources: Some(api::ResourceRequirements { requests, ..api::ResourceRequirements::default() }),
        ..api::Container::default()
    };
    api::Pod { metadata, spec: Some(api::PodSpec { containers: vec![container], ..spec }), status: None }
}
