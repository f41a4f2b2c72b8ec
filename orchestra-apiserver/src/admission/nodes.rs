//! What new nodes, and pods on nodes, get from what is known of nodes.

use std::sync::Arc;

use async_trait::async_trait;
use orchestra_core::gvk::GroupVersion;
use serde_json::{Value, json};

use super::{Admission, AdmissionRequest, Operation, Phases};
use crate::cache::feed::Feed;
use crate::catalog::Catalog;
use crate::status::StatusError;
use crate::storage::meta;
use crate::storage::resource::Resource;

const CORE: GroupVersion = GroupVersion::new("", "v1");

/// `TaintNodesByCondition`: nothing is placed on a new node before it is known to be ready.
#[derive(Debug)]
pub(super) struct TaintNodesByCondition;

#[async_trait]
impl Admission for TaintNodesByCondition {
    fn name(&self) -> &str {
        "TaintNodesByCondition"
    }

    fn phases(&self) -> Phases {
        Phases::Mutation
    }

    fn concerns(&self, request: &AdmissionRequest<'_>) -> bool {
        request.operation == Operation::Create && request.is("", "nodes")
    }

    async fn mutate(&self, _request: &AdmissionRequest<'_>, object: &mut Value) -> Result<(), StatusError> {
        const KEY: &str = "node.kubernetes.io/not-ready";
        let Some(node) = object.as_object_mut() else { return Ok(()) };
        let spec = node.entry("spec").or_insert_with(|| json!({}));
        if !spec.is_object() {
            return Ok(());
        }
        let taints = &mut spec["taints"];
        if !taints.is_array() {
            *taints = json!([]);
        }
        let Some(taints) = taints.as_array_mut() else { return Ok(()) };
        if !taints.iter().any(|taint| taint["key"] == KEY && taint["effect"] == "NoSchedule") {
            taints.push(json!({"key": KEY, "effect": "NoSchedule"}));
        }
        Ok(())
    }
}

/// `PodTopologyLabels`: a pod on a node says in which zone and region it is.
pub(super) struct PodTopologyLabels {
    feed: Arc<Feed>,
    nodes: Arc<Resource>,
}

impl std::fmt::Debug for PodTopologyLabels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PodTopologyLabels")
    }
}

impl PodTopologyLabels {
    pub(super) fn new(feed: &Arc<Feed>, catalog: &Catalog) -> Option<Self> {
        Some(Self { feed: feed.clone(), nodes: catalog.find(&CORE, "nodes")? })
    }
}

#[async_trait]
impl Admission for PodTopologyLabels {
    fn name(&self) -> &str {
        "PodTopologyLabels"
    }

    fn phases(&self) -> Phases {
        Phases::Mutation
    }

    fn concerns(&self, request: &AdmissionRequest<'_>) -> bool {
        let is_placed = request.is("", "pods") || request.is_subresource("", "pods", "binding");
        request.operation == Operation::Create && is_placed
    }

    async fn mutate(&self, request: &AdmissionRequest<'_>, object: &mut Value) -> Result<(), StatusError> {
        let text = |section: &str, field: &str| {
            meta::below(object, section, field).and_then(Value::as_str).unwrap_or_default()
        };
        let node = match request.request.subresource {
            None => text("spec", "nodeName"),
            Some(_) if text("target", "kind") == "Node" => text("target", "name"),
            Some(_) => "",
        };
        if node.is_empty() {
            return Ok(());
        }
        let Some(node) = self.feed.collection(&self.nodes).await?.get(node) else { return Ok(()) };
        let Some(metadata) = meta::metadata_mut(object) else { return Ok(()) };
        for key in ["topology.kubernetes.io/region", "topology.kubernetes.io/zone"] {
            let Some(value) = node.labels(&self.nodes).and_then(|labels| labels.get(key)) else { continue };
            let labels = metadata.entry("labels").or_insert_with(|| json!({}));
            if labels.is_null() {
                *labels = json!({});
            }
            if let Some(labels) = labels.as_object_mut() {
                labels.entry(key).or_insert_with(|| value.clone());
            }
        }
        Ok(())
    }
}
