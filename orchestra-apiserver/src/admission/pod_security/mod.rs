//! `PodSecurity`: pods keep the Pod Security Standards that their namespace asks for.
//!
//! Labels of the namespace choose a level (`privileged`, `baseline`, `restricted`) and a version for each of three modes: what
//! breaks the one of `enforce` is refused, of `audit` noted, of `warn` told to whoever asks. Deployments and their
//! like are never refused for their templates, only told of. After `k8s.io/pod-security-admission`.

mod checks;
mod policy;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use orchestra_core::gvk::GroupVersion;
use orchestra_core::violation::Violations;
use serde_json::{Map, Value};

use self::checks::{Finding, Pod};
pub use self::policy::Level;
use self::policy::{Policy, Standard};
use super::{Admission, AdmissionRequest, Operation, Phases};
use crate::cache::feed::Feed;
use crate::catalog::Catalog;
use crate::metrics::{PodSecurityMetrics, Subject};
use crate::status::StatusError;
use crate::storage::meta;
use crate::storage::resource::Resource;

const CORE: GroupVersion = GroupVersion::new("", "v1");
/// How many pods of a namespace are looked at when its level is raised.
const MOST_PODS: usize = 3000;
/// Below pods, what is no pod.
const NO_PODS: [&str; 8] = ["exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status"];
/// What makes pods, and where it keeps their template.
const MAKERS: [(&str, &str, &str); 8] = [
    ("", "podtemplates", "/template"),
    ("", "replicationcontrollers", "/spec/template"),
    ("apps", "daemonsets", "/spec/template"),
    ("apps", "deployments", "/spec/template"),
    ("apps", "replicasets", "/spec/template"),
    ("apps", "statefulsets", "/spec/template"),
    ("batch", "jobs", "/spec/template"),
    ("batch", "cronjobs", "/spec/jobTemplate/spec/template"),
];

/// What holds where a namespace's labels say nothing, and who is exempt: upstream's `PodSecurityConfiguration`.
#[derive(Clone, Debug, Default)]
pub struct PodSecurityOptions {
    defaults: Policy,
    usernames: HashSet<String>,
    runtime_classes: HashSet<String>,
    namespaces: HashSet<String>,
}

impl PodSecurityOptions {
    /// Upstream's: everything is allowed where no label says otherwise, and nobody is exempt.
    pub fn new() -> Self {
        Self::default()
    }

    /// Refuses pods that break the latest version of this level.
    #[must_use]
    pub fn enforce(mut self, level: Level) -> Self {
        self.defaults.enforce = Standard { level, version: None };
        self
    }

    /// Notes in the audit log what breaks the latest version of this level.
    #[must_use]
    pub fn audit(mut self, level: Level) -> Self {
        self.defaults.audit = Standard { level, version: None };
        self
    }

    /// Warns of what breaks the latest version of this level.
    #[must_use]
    pub fn warn(mut self, level: Level) -> Self {
        self.defaults.warn = Standard { level, version: None };
        self
    }

    /// Lets these users do as they like. Pods that a controller makes are the controller's.
    #[must_use]
    pub fn exempt_users(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.usernames.extend(names);
        self
    }

    /// Asks nothing of pods in these namespaces.
    #[must_use]
    pub fn exempt_namespaces(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.namespaces.extend(names);
        self
    }

    /// Asks nothing of pods of these runtime classes.
    #[must_use]
    pub fn exempt_runtime_classes(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.runtime_classes.extend(names);
        self
    }

    fn is_exempt_class(&self, spec: &Value) -> bool {
        let class = spec.get("runtimeClassName").and_then(Value::as_str).unwrap_or_default();
        !class.is_empty() && self.runtime_classes.contains(class)
    }
}

pub(super) struct PodSecurity {
    options: PodSecurityOptions,
    metrics: PodSecurityMetrics,
    feed: Arc<Feed>,
    namespaces: Arc<Resource>,
}

impl std::fmt::Debug for PodSecurity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PodSecurity")
    }
}

impl PodSecurity {
    pub(super) fn new(
        (options, metrics): (PodSecurityOptions, PodSecurityMetrics),
        feed: &Arc<Feed>,
        catalog: &Catalog,
    ) -> Option<Self> {
        Some(Self { options, metrics, feed: feed.clone(), namespaces: catalog.find(&CORE, "namespaces")? })
    }

    fn read(&self, labels: Option<&Map<String, Value>>) -> (Policy, Violations) {
        Policy::read(labels, self.options.defaults)
    }

    /// The policy of the request's namespace.
    async fn policy(&self, request: &AdmissionRequest<'_>) -> Result<(Policy, Violations), StatusError> {
        let known = self.feed.collection(&self.namespaces).await?.get(request.namespace);
        if let Some(namespace) = known {
            return Ok(self.read(namespace.labels(&self.namespaces)));
        }
        // The cache may be a moment behind.
        let namespace = request.reader.get(&CORE, "namespaces", "", request.namespace).await?;
        let missing = || StatusError::internal(format!("failed to lookup namespace {}", request.namespace));
        Ok(self.read(labels(&namespace.ok_or_else(missing)?)))
    }

    fn exemption(&self, request: &AdmissionRequest<'_>, spec: &Value) -> Option<&'static str> {
        if self.options.namespaces.contains(request.namespace) {
            return Some("namespace");
        }
        if self.options.usernames.contains(&request.user.name) {
            return Some("user");
        }
        self.options.is_exempt_class(spec).then_some("runtimeClass")
    }

    async fn check_namespace(&self, request: &AdmissionRequest<'_>, new: &Value) -> Result<(), StatusError> {
        let (policy, wrong) = self.read(labels(new));
        let refuse = || StatusError::invalid("", "Namespace", meta::name(new), &wrong);
        let Some(old) = request.old else {
            return if wrong.is_empty() { Ok(()) } else { Err(refuse()) };
        };
        let (before, was_wrong) = self.read(labels(old));
        if !wrong.is_empty() && wrong != was_wrong {
            return Err(refuse());
        }
        let (now, then) = (policy.enforce, before.enforce);
        let is_relaxed = now.version == then.version && now.level <= then.level;
        if now == then || now.level == Level::Privileged || is_relaxed {
            return Ok(());
        }
        if self.options.namespaces.contains(meta::name(new)) {
            self.metrics.exempted(subject(request));
            return Ok(());
        }
        self.warn_of_pods(request, meta::name(new), now).await
    }

    /// Says which pods that are there would be refused now.
    async fn warn_of_pods(
        &self,
        request: &AdmissionRequest<'_>,
        namespace: &str,
        standard: Standard,
    ) -> Result<(), StatusError> {
        let pods = first_of_each(request.reader.list(&CORE, "pods", Some(namespace)).await?);
        let pods: Vec<&Value> =
            pods.iter().filter(|pod| !self.options.is_exempt_class(&pod["spec"])).collect();
        if pods.len() > MOST_PODS {
            request.warn(format!(
                "new PodSecurity enforce level only checked against the first {MOST_PODS} of {} existing pods",
                pods.len()
            ));
        }
        let mut found: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for pod in pods.into_iter().take(MOST_PODS) {
            let findings =
                checks::findings(standard, Pod { annotations: annotations(pod), spec: &pod["spec"] });
            if !findings.is_empty() {
                found.entry(checks::in_short(&findings)).or_default().push(meta::name(pod));
            }
        }
        if found.is_empty() {
            return Ok(());
        }
        request.warn(format!(
            "existing pods in namespace {namespace:?} violate the new PodSecurity enforce level \"{standard}\""
        ));
        let mut lines: Vec<String> = found.into_iter().map(|(what, names)| line(&what, &names)).collect();
        lines.sort();
        lines.into_iter().for_each(|line| request.warn(line));
        Ok(())
    }

    fn check(
        &self,
        request: &AdmissionRequest<'_>,
        (policy, wrong): (Policy, Violations),
        pod: Pod<'_>,
        is_pod: bool,
    ) -> Result<(), StatusError> {
        let annotate = |key: &str, value: String| {
            request.annotate(format!("pod-security.kubernetes.io/{key}"), value);
        };
        if !wrong.is_empty() {
            self.metrics.failed(subject(request));
            let wrong: Vec<String> = wrong.iter().map(ToString::to_string).collect();
            annotate("error", format!("Failed to parse policy: {}", wrong.join(", ")));
        }
        let broken = |standard: Standard| {
            let findings: Vec<Finding> = checks::findings(standard, pod);
            (!findings.is_empty())
                .then(|| format!("violate PodSecurity \"{standard}\": {}", checks::in_detail(&findings)))
        };
        let evaluated = |mode: &'static str, standard: Standard, is_allowed: bool| {
            self.metrics.evaluated(subject(request), mode, standard.label(), is_allowed);
        };
        let enforced = if is_pod {
            annotate("enforce-policy", policy.enforce.to_string());
            let what = broken(policy.enforce);
            evaluated("enforce", policy.enforce, what.is_none());
            what
        } else {
            None
        };
        if let Some(what) = broken(policy.audit) {
            evaluated("audit", policy.audit, false);
            annotate("audit-violations", format!("would {what}"));
        }
        if let Some(what) = enforced {
            return Err(request.refuse(what.replacen("violate", "violates", 1)));
        }
        if let Some(what) = broken(policy.warn) {
            evaluated("warn", policy.warn, false);
            request.warn(format!("would {what}"));
        }
        Ok(())
    }
}

/// The request in the words of the counts.
fn subject(request: &AdmissionRequest<'_>) -> Subject {
    let about = request.request;
    let resource = (about.gv.group.as_ref(), about.resource.as_str());
    Subject::new(request.operation, resource, about.subresource.as_deref())
}

fn labels(object: &Value) -> Option<&Map<String, Value>> {
    meta::metadata(object)?.get("labels")?.as_object()
}

fn annotations(object: &Value) -> Option<&Map<String, Value>> {
    meta::metadata(object)?.get("annotations")?.as_object()
}

/// One pod of each controller before all others of it: they are alike.
fn first_of_each(pods: Vec<Value>) -> Vec<Value> {
    let mut seen = HashSet::new();
    let (mut first, others): (Vec<Value>, Vec<Value>) = pods.into_iter().partition(|pod| {
        let owners =
            meta::metadata(pod).and_then(|m| m.get("ownerReferences")?.as_array()).into_iter().flatten();
        let controller = owners.filter(|owner| owner.get("controller") == Some(&Value::Bool(true)));
        let uid = controller.filter_map(|owner| owner.get("uid")?.as_str()).next();
        uid.is_none_or(|uid| seen.insert(uid.to_owned()))
    });
    first.extend(others);
    first
}

fn line(what: &str, names: &[&str]) -> String {
    let first = names.iter().min().copied().unwrap_or_default();
    match names.len() {
        0 | 1 => format!("{first}: {what}"),
        2 => format!("{first} (and 1 other pod): {what}"),
        many => format!("{first} (and {} other pods): {what}", many - 1),
    }
}

/// Whether a change of a pod could break a control: containers come or get another image.
fn is_significant(new: &Value, old: &Value) -> bool {
    let list = |pod: &Value, field: &str| -> Vec<(String, Value)> {
        let list = pod.pointer(&format!("/spec/{field}")).and_then(Value::as_array).into_iter().flatten();
        list.map(|c| (c["name"].as_str().unwrap_or_default().to_owned(), c["image"].clone())).collect()
    };
    let images = |pod: &Value, field: &str| -> Vec<Value> {
        list(pod, field).into_iter().map(|(_, image)| image).collect()
    };
    if ["containers", "initContainers"].iter().any(|field| images(new, field) != images(old, field)) {
        return true;
    }
    let before = list(old, "ephemeralContainers");
    list(new, "ephemeralContainers").iter().any(|container| !before.contains(container))
}

#[async_trait]
impl Admission for PodSecurity {
    fn name(&self) -> &str {
        "PodSecurity"
    }

    fn phases(&self) -> Phases {
        Phases::Validation
    }

    fn concerns(&self, request: &AdmissionRequest<'_>) -> bool {
        let (group, plural) = (request.request.gv.group.as_ref(), request.request.resource.as_str());
        let is_known = MAKERS.iter().any(|(of, kind, _)| (*of, *kind) == (group, plural));
        matches!(request.operation, Operation::Create | Operation::Update)
            && (is_known || matches!((group, plural), ("", "pods" | "namespaces")))
    }

    async fn validate(&self, request: &AdmissionRequest<'_>, object: &Value) -> Result<(), StatusError> {
        let (group, plural) = (request.request.gv.group.as_ref(), request.request.resource.as_str());
        let below = request.request.subresource.as_deref();
        let is_pod = (group, plural) == ("", "pods");
        let (metadata, spec) = if is_pod {
            if below.is_some_and(|below| NO_PODS.contains(&below))
                || request.old.is_some_and(|old| !is_significant(object, old))
            {
                return Ok(());
            }
            (Some(object), object.get("spec"))
        } else if below.is_some() {
            return Ok(());
        } else if (group, plural) == ("", "namespaces") {
            return self.check_namespace(request, object).await;
        } else {
            let maker = MAKERS.iter().find(|(of, kind, _)| (*of, *kind) == (group, plural));
            let template = maker.and_then(|(_, _, at)| object.pointer(at));
            (template, template.and_then(|template| template.get("spec")))
        };
        let (Some(metadata), Some(spec)) = (metadata, spec) else { return Ok(()) };
        let (policy, wrong) = self.policy(request).await?;
        let levels = [policy.warn.level, policy.audit.level];
        let is_free = levels.iter().all(|level| *level == Level::Privileged)
            && (!is_pod || policy.enforce.level == Level::Privileged);
        if let Some(why) = self.exemption(request, spec) {
            self.metrics.exempted(subject(request));
            request.annotate("pod-security.kubernetes.io/exempt", why);
            return Ok(());
        }
        if is_free && wrong.is_empty() {
            if is_pod {
                self.metrics.evaluated(subject(request), "enforce", policy.enforce.label(), true);
                request.annotate("pod-security.kubernetes.io/enforce-policy", policy.enforce.to_string());
            }
            return Ok(());
        }
        self.check(request, (policy, wrong), Pod { annotations: annotations(metadata), spec }, is_pod)
    }
}
