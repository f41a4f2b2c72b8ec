//! Descriptions of types and fields, as `k8s-openapi` carries them in its JSON schemas.
//!
//! They are looked up while a document is built and not kept. The dependency generates them from upstream's documents,
//! so the texts are upstream's without being part of this repository.

use k8s_openapi::api;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions;
use k8s_openapi::apimachinery::pkg::apis::meta;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration;
use schemars::SchemaGenerator;
use serde_json::{Map, Value};

use super::field::beside_reference;
use crate::gvk::GroupVersion;

const DESCRIPTION: &str = "description";

/// Fills in the descriptions of all `schemas` that kinds of the groups and versions lead to.
pub(super) fn fill<'a>(versions: impl Iterator<Item = &'a GroupVersion>, schemas: &mut Map<String, Value>) {
    let mut generator = SchemaGenerator::default();
    versions.for_each(|gv| register(gv, &mut generator));
    let mut described = generator.take_definitions(true);
    for (name, schema) in schemas {
        let (Some(schema), Some(Value::Object(source))) = (schema.as_object_mut(), described.get_mut(name))
        else {
            continue;
        };
        copy(source, schema);
        let (Some(Value::Object(fields)), Some(Value::Object(sources))) =
            (schema.get_mut("properties"), source.get_mut("properties"))
        else {
            continue;
        };
        for (name, field) in fields {
            if let (Value::Object(field), Some(Value::Object(source))) = (field, sources.get_mut(name)) {
                copy(source, field);
            }
        }
    }
}

fn copy(from: &mut Map<String, Value>, to: &mut Map<String, Value>) {
    if let Some(text) = from.remove(DESCRIPTION) {
        beside_reference(to);
        to.insert(DESCRIPTION.to_owned(), text);
    }
}

macro_rules! add {
    ($generator:ident: $($module:ident)::+ { $($kind:ident),+ $(,)? }) => {{
        use $($module)::+ as kinds;
        $( $generator.subschema_for::<kinds::$kind>(); )+
    }};
}

/// Has the generator visit every kind of the group and version, and with it all they lead to.
fn register(gv: &GroupVersion, g: &mut SchemaGenerator) {
    add!(g: meta::v1 { DeleteOptions, Status, APIResourceList, ObjectMeta, ListMeta });
    match (&*gv.group, &*gv.version) {
        ("", "v1") => {
            add!(g: api::core::v1 {
                Binding, ComponentStatus, ConfigMap, Endpoints, Event, LimitRange, Namespace, Node, PersistentVolume,
                PersistentVolumeClaim, Pod, PodTemplate, ReplicationController, ResourceQuota, Secret, Service,
                ServiceAccount,
            });
            add!(g: api::policy::v1 { Eviction });
            add!(g: api::autoscaling::v1 { Scale });
            add!(g: api::authentication::v1 { TokenRequest });
        }
        ("admissionregistration.k8s.io", "v1") => {
            add!(g: api::admissionregistration::v1 {
                MutatingWebhookConfiguration, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
                ValidatingWebhookConfiguration,
            });
            k8s_openapi::k8s_if_ge_1_36! {
                add!(g: api::admissionregistration::v1 { MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding });
            }
        }
        ("apiextensions.k8s.io", "v1") => add!(g: apiextensions::v1 { CustomResourceDefinition }),
        ("apiregistration.k8s.io", "v1") => add!(g: apiregistration::v1 { APIService }),
        ("apps", "v1") => {
            add!(g: api::apps::v1 { ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet });
            add!(g: api::autoscaling::v1 { Scale });
        }
        ("authentication.k8s.io", "v1") => {
            add!(g: api::authentication::v1 { SelfSubjectReview, TokenRequest, TokenReview });
        }
        ("authorization.k8s.io", "v1") => add!(g: api::authorization::v1 {
            LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview,
        }),
        ("autoscaling", "v1") => add!(g: api::autoscaling::v1 { HorizontalPodAutoscaler, Scale }),
        ("autoscaling", "v2") => add!(g: api::autoscaling::v2 { HorizontalPodAutoscaler }),
        ("batch", "v1") => add!(g: api::batch::v1 { CronJob, Job }),
        ("certificates.k8s.io", "v1") => add!(g: api::certificates::v1 { CertificateSigningRequest }),
        ("coordination.k8s.io", "v1") => add!(g: api::coordination::v1 { Lease }),
        ("discovery.k8s.io", "v1") => add!(g: api::discovery::v1 { EndpointSlice }),
        ("events.k8s.io", "v1") => add!(g: api::events::v1 { Event }),
        ("flowcontrol.apiserver.k8s.io", "v1") => {
            add!(g: api::flowcontrol::v1 { FlowSchema, PriorityLevelConfiguration });
        }
        ("networking.k8s.io", "v1") => add!(g: api::networking::v1 {
            IPAddress, Ingress, IngressClass, NetworkPolicy, ServiceCIDR,
        }),
        ("node.k8s.io", "v1") => add!(g: api::node::v1 { RuntimeClass }),
        ("policy", "v1") => add!(g: api::policy::v1 { Eviction, PodDisruptionBudget }),
        ("rbac.authorization.k8s.io", "v1") => {
            add!(g: api::rbac::v1 { ClusterRole, ClusterRoleBinding, Role, RoleBinding });
        }
        ("resource.k8s.io", "v1") => {
            k8s_openapi::k8s_if_ge_1_34! {
                add!(g: api::resource::v1 { DeviceClass, ResourceClaim, ResourceClaimTemplate, ResourceSlice });
            }
        }
        ("scheduling.k8s.io", "v1") => add!(g: api::scheduling::v1 { PriorityClass }),
        ("storage.k8s.io", "v1") => {
            add!(g: api::storage::v1 { CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment });
            k8s_openapi::k8s_if_ge_1_34! {
                add!(g: api::storage::v1 { VolumeAttributesClass });
            }
        }
        _ => {}
    }
}
