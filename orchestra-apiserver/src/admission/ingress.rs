//! `DefaultIngressClass`: an ingress that names no class gets the default one.

use async_trait::async_trait;
use orchestra_core::gvk::GroupVersion;
use serde_json::Value;

use super::{Admission, AdmissionRequest, Operation, Phases};
use crate::status::StatusError;
use crate::storage::meta;

const NETWORKING: GroupVersion = GroupVersion::new("networking.k8s.io", "v1");
const IS_DEFAULT: &str = "ingressclass.kubernetes.io/is-default-class";
/// How a class was named before there was a field for it.
const OLD_NAME: &str = "kubernetes.io/ingress.class";

#[derive(Debug)]
pub(super) struct DefaultIngressClass;

#[async_trait]
impl Admission for DefaultIngressClass {
    fn name(&self) -> &str {
        "DefaultIngressClass"
    }

    fn phases(&self) -> Phases {
        Phases::Mutation
    }

    fn concerns(&self, request: &AdmissionRequest<'_>) -> bool {
        request.operation == Operation::Create && request.is("networking.k8s.io", "ingresses")
    }

    async fn mutate(&self, request: &AdmissionRequest<'_>, object: &mut Value) -> Result<(), StatusError> {
        let annotations = object.pointer("/metadata/annotations");
        let is_named = annotations.and_then(|all| all.get(OLD_NAME)).is_some()
            || object.pointer("/spec/ingressClassName").is_some_and(|name| !name.is_null());
        if is_named || !object.get("spec").is_some_and(Value::is_object) {
            return Ok(());
        }
        let mut classes = request.reader.list(&NETWORKING, "ingressclasses", None).await?;
        classes.retain(is_default);
        // The youngest default wins, then the first by name.
        classes.sort_by(|a, b| {
            let age = |class| meta::text(class, "creationTimestamp");
            age(b).cmp(age(a)).then_with(|| meta::name(a).cmp(meta::name(b)))
        });
        if let Some(class) = classes.first() {
            object["spec"]["ingressClassName"] = meta::name(class).into();
        }
        Ok(())
    }
}

fn is_default(class: &Value) -> bool {
    let annotations = class.pointer("/metadata/annotations");
    annotations.and_then(|all| all.get(IS_DEFAULT)).and_then(Value::as_str) == Some("true")
}
