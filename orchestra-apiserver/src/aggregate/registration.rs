//! `APIService` objects of custom groups: each version that a definition puts into force has one as long as it is in force, as
//! upstream registers them by itself. One that leads to another server is left alone.

use std::collections::BTreeSet;

use async_trait::async_trait;
use orchestra_core::gvk::GroupVersion;
use serde_json::{Value, json};

use crate::state::State;
use crate::status::StatusError;
use crate::storage::meta;
use crate::storage::writer::{Edit, Effect, Step};

const AUTOMANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";

/// Makes what is missing of `wanted`, and removes what was made here and is wanted no more.
pub(crate) async fn keep(state: &State, wanted: &BTreeSet<GroupVersion>) -> Result<(), StatusError> {
    let place = GroupVersion::new("apiregistration.k8s.io", "v1");
    let Some(services) = state.catalog.find(&place, "apiservices") else { return Ok(()) };
    let (collection, _) = state.feed.fresh(&services).await?;
    let mut known = BTreeSet::new();
    for object in collection.snapshot("", "", usize::MAX, None).objects {
        let object: Value = serde_json::from_slice(&object.encoded.json()).map_err(StatusError::internal)?;
        let name = meta::name(&object);
        if is_ours(&object) && !wanted.iter().any(|gv| name_of(gv) == name) {
            let key = services.key(None, name);
            match state.writer.update(&services, key, name, Effect::Real, &Remove).await {
                Ok(_) => {}
                Err(gone) if gone.reason() == "NotFound" => {}
                Err(problem) => return Err(problem),
            }
        } else {
            known.insert(name.to_owned());
        }
    }
    for gv in wanted.iter().filter(|gv| !known.contains(&name_of(gv))) {
        let mut object = service(gv);
        meta::set(&mut object, "uid", state.chance.uuid());
        meta::set(&mut object, "creationTimestamp", state.stamp());
        services.kind.default(&mut object);
        services.complete(&mut object);
        services.kind.prepare_create(&mut object);
        services.complete(&mut object);
        // Another server on the same store may have made it.
        let _made = state.writer.create(&services, &object, Effect::Real).await?;
    }
    Ok(())
}

fn name_of(gv: &GroupVersion) -> String {
    format!("{}.{}", gv.version, gv.group)
}

/// Custom groups come behind upstream's own.
fn service(gv: &GroupVersion) -> Value {
    json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": name_of(gv), "labels": {AUTOMANAGED: "true"}},
        "spec": {"group": gv.group, "version": gv.version, "groupPriorityMinimum": 1000, "versionPriority": 100},
    })
}

fn is_ours(object: &Value) -> bool {
    let labels = meta::metadata(object).and_then(|metadata| metadata.get("labels"));
    let said = labels.and_then(|labels| labels.get(AUTOMANAGED)).and_then(Value::as_str);
    said == Some("true") && object.pointer("/spec/service").is_none_or(Value::is_null)
}

struct Remove;

#[async_trait]
impl Edit for Remove {
    async fn edit(&self, current: &Value) -> Result<Step, StatusError> {
        Ok(if is_ours(current) { Step::Remove } else { Step::Keep })
    }

    async fn create(&self) -> Result<Option<Value>, StatusError> {
        Ok(None)
    }
}
