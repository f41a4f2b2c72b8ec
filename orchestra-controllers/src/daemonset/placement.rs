//! Which nodes a DaemonSet's pods belong on, and the pod for a node.

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{
    Affinity, Node, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec,
    Taint, Toleration,
};

use crate::node_selector;
use crate::ownership::controller_reference;
use crate::pod;
use crate::toleration::{NO_EXECUTE, NO_SCHEDULE, taints, tolerates};

pub(super) const REVISION: &str = "controller-revision-hash";
const GENERATION: &str = "pod-template-generation";
const GENERATION_ANNOTATION: &str = "deprecated.daemonset.template.generation";

/// What a node means to a DaemonSet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// It should run a pod.
    Runs,
    /// It should not get one, but may keep the one it has.
    Keeps,
    /// It should have none.
    Refuses,
}

pub(super) fn fit(set: &DaemonSet, node: &Node) -> Fit {
    let template = set.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let Some(spec) = template else { return Fit::Refuses };
    let named = spec.node_name.as_deref().filter(|name| !name.is_empty());
    if named.is_some_and(|name| node.metadata.name.as_deref() != Some(name)) || !is_chosen(spec, node) {
        return Fit::Refuses;
    }
    let tolerations = tolerations(spec);
    let repels = |taint: &&Taint| !tolerations.iter().any(|toleration| tolerates(toleration, taint));
    let effects: Vec<_> = taints(node).iter().filter(repels).map(|taint| taint.effect.as_str()).collect();
    if effects.contains(&NO_EXECUTE) {
        Fit::Refuses
    } else if effects.contains(&NO_SCHEDULE) {
        Fit::Keeps
    } else {
        Fit::Runs
    }
}

fn is_chosen(spec: &PodSpec, node: &Node) -> bool {
    let label = |key: &String| node.metadata.labels.as_ref().and_then(|labels| labels.get(key));
    let selected = spec.node_selector.iter().flatten().all(|(key, value)| label(key) == Some(value));
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    selected && required.is_none_or(|required| node_selector::matches(required, node))
}

/// The template's tolerations and those that every daemon pod has: it stays on nodes that are in trouble.
fn tolerations(spec: &PodSpec) -> Vec<Toleration> {
    let mut all = spec.tolerations.clone().unwrap_or_default();
    let mut always = vec![
        ("node.kubernetes.io/not-ready", "NoExecute"),
        ("node.kubernetes.io/unreachable", "NoExecute"),
        ("node.kubernetes.io/disk-pressure", "NoSchedule"),
        ("node.kubernetes.io/memory-pressure", "NoSchedule"),
        ("node.kubernetes.io/pid-pressure", "NoSchedule"),
        ("node.kubernetes.io/unschedulable", "NoSchedule"),
    ];
    if spec.host_network == Some(true) {
        always.push(("node.kubernetes.io/network-unavailable", "NoSchedule"));
    }
    for (key, effect) in always {
        let toleration = Toleration {
            key: Some(key.into()),
            operator: Some("Exists".into()),
            effect: Some(effect.into()),
            ..Toleration::default()
        };
        if !all.contains(&toleration) {
            all.push(toleration);
        }
    }
    all
}

/// The pod for a node: bound to it by affinity on its name, which leaves the binding to the scheduler.
pub(super) fn new_pod(set: &DaemonSet, node: &str, hash: &str) -> Option<Pod> {
    let template = &set.spec.as_ref()?.template;
    let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
    let mut pod = pod::from_template(template, namespace, controller_reference(set));
    pod.metadata.generate_name = Some(format!("{}-", set.metadata.name.as_deref().unwrap_or_default()));
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(REVISION.into(), hash.to_owned());
    if let Some(generation) =
        set.metadata.annotations.as_ref().and_then(|held| held.get(GENERATION_ANNOTATION))
    {
        labels.insert(GENERATION.into(), generation.clone());
    }
    let spec = pod.spec.get_or_insert_default();
    spec.tolerations = Some(tolerations(spec));
    let field = NodeSelectorRequirement {
        key: "metadata.name".into(),
        operator: "In".into(),
        values: Some(vec![node.to_owned()]),
    };
    let affinity: &mut Affinity = spec.affinity.get_or_insert_default();
    let affinity: &mut NodeAffinity = affinity.node_affinity.get_or_insert_default();
    let required: &mut NodeSelector =
        affinity.required_during_scheduling_ignored_during_execution.get_or_insert_default();
    if required.node_selector_terms.is_empty() {
        required.node_selector_terms.push(NodeSelectorTerm::default());
    }
    for term in &mut required.node_selector_terms {
        term.match_fields = Some(vec![field.clone()]);
    }
    Some(pod)
}

/// The node a pod is on, or is meant for.
pub(super) fn target(pod: &Pod) -> Option<&str> {
    if let Some(node) = pod::node_name(pod) {
        return Some(node);
    }
    let affinity = pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()?;
    let required = affinity.required_during_scheduling_ignored_during_execution.as_ref()?;
    let mut fields = required.node_selector_terms.iter().flat_map(|term| term.match_fields.iter().flatten());
    let named = fields.find(|field| field.key == "metadata.name" && field.operator == "In")?;
    named.values.as_ref()?.first().map(String::as_str)
}

/// The hash of the revision that a pod was made from.
pub(super) fn revision(pod: &Pod) -> &str {
    pod.metadata.labels.as_ref().and_then(|labels| labels.get(REVISION)).map_or("", String::as_str)
}
