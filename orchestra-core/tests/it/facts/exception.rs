//! What the server states and does not hold to, or reports elsewhere, each with its reason.

use orchestra_core::violation::Violation;

use super::behaviour;
use super::route::Route;

/// What becomes of a statement that is not simply held to.
#[derive(Clone, Copy)]
enum Instead {
    /// Nothing is checked.
    Unchecked,
    /// The violation has a path that ends like this.
    At(&'static str),
}
use Instead::{At, Unchecked};

/// The field as `Type.field` or the place as `Kind path`, either with stars; the value it is about, empty for any.
struct Exception {
    of: &'static str,
    value: &'static str,
    instead: Instead,
    used: bool,
}

/// A list of them, which notices those that are none any more.
pub(super) struct Exceptions(Vec<Exception>);

type Row = (&'static str, &'static str, Instead);

/// Where the same is true of whatever stands there.
const PLACES: [Row; 6] = [
    // Upstream leaves the template of a set to its pods, which are checked when they are made, and its claims likewise.
    ("StatefulSet spec.template.spec.*", "", Unchecked),
    ("StatefulSet spec.volumeClaimTemplates*", "", Unchecked),
    // These containers may have no handlers, so what is in them is not looked at.
    ("*spec.ephemeralContainers[0].lifecycle*", "", At(".lifecycle")),
    ("*spec.ephemeralContainers[0].*Probe.*", "", At("Probe")),
    ("*spec.initContainers[0].lifecycle*", "", At(".lifecycle")),
    ("*spec.initContainers[0].*Probe.*", "", At("Probe")),
];

const ENUMERATIONS: [Row; 15] = [
    // The whole strategy is named, and called invalid.
    ("apps.v1.StatefulSetUpdateStrategy.type", "Bogus", At("spec.updateStrategy")),
    // Comparing tolerations is behind a gate that 1.36 has off.
    ("core.v1.Toleration.operator", "Gt", Unchecked),
    ("core.v1.Toleration.operator", "Lt", Unchecked),
    // What runs for good is always restarted, what runs to its end never.
    ("ReplicationController spec.template.spec.restartPolicy", "Never", Unchecked),
    ("ReplicationController spec.template.spec.restartPolicy", "OnFailure", Unchecked),
    ("Deployment spec.template.spec.restartPolicy", "", Unchecked),
    ("ReplicaSet spec.template.spec.restartPolicy", "", Unchecked),
    ("DaemonSet spec.template.spec.restartPolicy", "", Unchecked),
    ("Job spec.template.spec.restartPolicy", "Always", Unchecked),
    ("CronJob spec.jobTemplate.spec.template.spec.restartPolicy", "Always", Unchecked),
    // Read alone: version 1 of the webhooks refuses side effects that were allowed before it.
    ("admissionregistration.v1.*Webhook.sideEffects", "Some", Unchecked),
    ("admissionregistration.v1.*Webhook.sideEffects", "Unknown", Unchecked),
    // Volumes of a class are made and deleted, never scrubbed.
    ("storage.v1.StorageClass.reclaimPolicy", "Recycle", Unchecked),
    // The list is named and not the item.
    ("core.v1.ScopedResourceSelectorRequirement.*", "Bogus", At("spec.scopeSelector.matchExpressions.*")),
    ("*apiextensions.v1.ValidationRule.reason", "Bogus", At("x-kubernetes-validations[0].reason")),
];

const REQUIRED: [Row; 32] = [
    // Owners are named as one list.
    ("*meta.v1.OwnerReference.apiVersion", "", At("metadata.ownerReferences.apiVersion")),
    ("*meta.v1.OwnerReference.kind", "", At("metadata.ownerReferences.kind")),
    ("*meta.v1.OwnerReference.name", "", At("metadata.ownerReferences.name")),
    ("*meta.v1.OwnerReference.uid", "", At("metadata.ownerReferences.uid")),
    // What is made from a template has the owner that makes it.
    (
        "*.volumeClaimTemplate.metadata.ownerReferences*",
        "",
        At(".volumeClaimTemplate.metadata.ownerReferences"),
    ),
    ("ResourceClaimTemplate spec.metadata.ownerReferences*", "", At("spec.metadata.ownerReferences")),
    ("*emplate.metadata.ownerReferences*", "", Unchecked),
    ("core.v1.ContainerResizePolicy.*", "", At(".resizePolicy")),
    ("*.ephemeralContainers[0].restartPolicyRules*", "", At(".restartPolicyRules")),
    (
        "core.v1.ScopedResourceSelectorRequirement.scopeName",
        "",
        At("spec.scopeSelector.matchExpressions.scopeName"),
    ),
    (
        "core.v1.ScopedResourceSelectorRequirement.operator",
        "",
        At("spec.scopeSelector.matchExpressions.operator"),
    ),
    // Devices are asked for by containers.
    ("*spec.resources.claims[0].name", "", At("spec.resources.claims")),
    // Kept for old clients: the feature is gone and nothing reads it.
    ("Node spec.configSource*", "", Unchecked),
    // Those who answer for a measure read it.
    ("HorizontalPodAutoscaler spec.metrics[0].*.metric.selector.*", "", Unchecked),
    // Empty says something here.
    ("core.v1.HTTPHeader.value", "", Unchecked),
    ("core.v1.Sysctl.value", "", Unchecked),
    ("core.v1.LimitRangeSpec.limits", "", Unchecked),
    ("batch.v1.PodFailurePolicy.rules", "", Unchecked),
    ("storage.v1.TokenRequest.audience", "", Unchecked),
    ("storage.v1.CSINodeSpec.drivers", "", Unchecked),
    ("discovery.v1.ForNode.name", "", Unchecked),
    ("discovery.v1.ForZone.name", "", Unchecked),
    // A driver that left the tree; nobody asked for its secret but itself.
    ("core.v1.ScaleIO*VolumeSource.secretRef", "", Unchecked),
    // Objects of this kind are made by the server and never written.
    ("core.v1.ComponentCondition.*", "", Unchecked),
    // What all versions of a definition say alike is named once, above them.
    ("*apiextensions.v1.CustomResourceColumnDefinition.*", "", At("spec.additionalPrinterColumns[0].*")),
    ("*apiextensions.v1.SelectableField.jsonPath", "", At("spec.selectableFields[0].jsonPath")),
    ("*apiextensions.v1.CustomResourceSubresourceScale.*", "", At("spec.subresources.scale.*")),
    ("*apiextensions.v1.ValidationRule.rule", "", At("x-kubernetes-validations[0].rule")),
    // Upstream's own form of the object, which it names, has the webhook one level higher.
    ("*apiextensions.v1.ServiceReference.name", "", At("spec.conversion.webhookClientConfig.service.name")),
    (
        "*apiextensions.v1.ServiceReference.namespace",
        "",
        At("spec.conversion.webhookClientConfig.service.namespace"),
    ),
    (
        "*apiextensions.v1.WebhookConversion.conversionReviewVersions",
        "",
        At("spec.conversion.conversionReviewVersions"),
    ),
    // It has a default.
    ("*apiextensions.v1.CustomResourceConversion.strategy", "", Unchecked),
];

impl Exceptions {
    pub(super) fn to_enumerations() -> Self {
        Self::new(&ENUMERATIONS)
    }

    pub(super) fn to_required_fields() -> Self {
        Self::new(&REQUIRED)
    }

    fn new(own: &[Row]) -> Self {
        let all = PLACES.iter().chain(own).copied();
        Self(all.map(|(of, value, instead)| Exception { of, value, instead, used: false }).collect())
    }

    /// Whether what was `found` is what is to be expected: something said of the field, or what an exception says.
    pub(super) fn expect(&mut self, route: &Route, value: &str, found: &[Violation]) -> bool {
        // Statuses are written by controllers and agents, and upstream trusts them but for a few numbers.
        if behaviour::about(route, found).next().is_some() || route.is_in_status() {
            return true;
        }
        self.except(route, value, found)
    }

    /// Whether an exception holds.
    pub(super) fn except(&mut self, route: &Route, value: &str, found: &[Violation]) -> bool {
        let (name, place) = (route.name(), format!("{} {}", route.kind.description().kind, route.path()));
        let exception = self.0.iter_mut().find(|exception| {
            (fits(exception.of, &name) || fits(exception.of, &place))
                && (exception.value.is_empty() || exception.value == value)
                && match exception.instead {
                    Unchecked => true,
                    At(end) => {
                        found.iter().any(|violation| fits(&format!("*{end}"), violation.path.as_str()))
                    }
                }
        });
        exception.map(|exception| exception.used = true).is_some()
    }

    /// Those that nothing needs.
    pub(super) fn idle(&self) -> impl Iterator<Item = String> {
        let idle = self.0.iter().filter(|exception| !exception.used);
        idle.map(|exception| format!("{} {}: is no exception any more", exception.of, exception.value))
    }
}

/// Whether a text is as the pattern says, in which a star stands for anything.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => text == pattern,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            (0..=text.len()).any(|at| text.get(at..).is_some_and(|text| fits(rest, text)))
        }),
    }
}
