//! `LimitRanger`: what containers, pods and claims of a namespace may ask for, and what they get that ask for nothing.
//!
//! After upstream's `plugin/pkg/admission/limitranger`.

mod bounds;
mod defaults;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{LimitRange, LimitRangeSpec};
use orchestra_core::gvk::GroupVersion;
use serde_json::Value;

use super::followed::Followed;
use super::{Admission, AdmissionRequest, Operation};
use crate::cache::feed::Feed;
use crate::catalog::Catalog;
use crate::status::StatusError;
use crate::storage::meta;

const CORE: GroupVersion = GroupVersion::new("", "v1");

/// The limit ranges of each namespace, by their names.
type Ranges = HashMap<String, Vec<LimitRangeSpec>>;

#[derive(Debug)]
pub(super) struct LimitRanger {
    ranges: Followed<Ranges>,
}

impl LimitRanger {
    pub(super) fn new(feed: &Arc<Feed>, catalog: &Catalog) -> Option<Self> {
        Some(Self { ranges: Followed::new(feed, catalog, &CORE, "limitranges")? })
    }

    /// What applies to the object of a request; nothing to one that is on its way out.
    async fn ranges(&self, request: &AdmissionRequest<'_>) -> Result<Vec<LimitRangeSpec>, StatusError> {
        if request.old.is_some_and(meta::is_terminating) {
            return Ok(Vec::new());
        }
        let all = self.ranges.get(arranged).await?;
        Ok(all.get(request.namespace).cloned().unwrap_or_default())
    }
}

fn arranged(objects: Vec<Value>) -> Ranges {
    let mut out = Ranges::new();
    for object in objects {
        match serde_json::from_value::<LimitRange>(object) {
            Ok(LimitRange { metadata, spec: Some(spec), .. }) => {
                out.entry(metadata.namespace.unwrap_or_default()).or_default().push(spec);
            }
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "a LimitRange cannot be read and limits nothing"),
        }
    }
    out
}

fn is_new_pod(request: &AdmissionRequest<'_>) -> bool {
    request.operation == Operation::Create && request.is("", "pods")
}

/// A pod that is to have more or less while it runs.
fn is_resize(request: &AdmissionRequest<'_>) -> bool {
    request.operation == Operation::Update && request.is_subresource("", "pods", "resize")
}

fn is_claim(request: &AdmissionRequest<'_>) -> bool {
    matches!(request.operation, Operation::Create | Operation::Update)
        && request.is("", "persistentvolumeclaims")
}

#[async_trait]
impl Admission for LimitRanger {
    fn name(&self) -> &str {
        "LimitRanger"
    }

    fn concerns(&self, request: &AdmissionRequest<'_>) -> bool {
        is_new_pod(request) || is_resize(request) || is_claim(request)
    }

    async fn mutate(&self, request: &AdmissionRequest<'_>, object: &mut Value) -> Result<(), StatusError> {
        if is_new_pod(request) {
            for range in self.ranges(request).await? {
                defaults::fill(&range, object);
            }
        }
        Ok(())
    }

    async fn validate(&self, request: &AdmissionRequest<'_>, object: &Value) -> Result<(), StatusError> {
        let check: fn(&LimitRangeSpec, &Value) -> Vec<String> = if is_new_pod(request) || is_resize(request) {
            bounds::of_pod
        } else if is_claim(request) {
            bounds::of_claim
        } else {
            return Ok(());
        };
        for range in self.ranges(request).await? {
            let wrong = check(&range, object);
            match wrong.as_slice() {
                [] => {}
                [one] => return Err(request.refuse(one)),
                many => return Err(request.refuse(format!("[{}]", many.join(", ")))),
            }
        }
        Ok(())
    }
}
