//! Removing objects: at once, after a grace period, or when their finalizers are done.

use async_trait::async_trait;
use http::{Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::body::{self, Body};
use crate::clock::stamp;
use crate::custom;
use crate::negotiate::decode;
use crate::state::{Call, State};
use crate::status::{GroupResource, StatusError};
use crate::storage::meta;
use crate::storage::writer::{Edit, Step, Written};

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";
const DEFAULT_POD_GRACE: i64 = 30;

/// Resources whose removal is answered with the object and not with a Status, as upstream has it.
const RETURNS_OBJECT: &[(&str, &str)] = &[
    ("", "pods"),
    ("", "podtemplates"),
    ("", "persistentvolumes"),
    ("", "persistentvolumeclaims"),
    ("", "resourcequotas"),
    ("", "serviceaccounts"),
    ("", "services"),
    ("storage.k8s.io", "storageclasses"),
];

/// What becomes of the objects that an object owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum Propagation {
    Orphan,
    Background,
    Foreground,
}

/// What must hold for the object to be removed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Preconditions {
    uid: Option<String>,
    resource_version: Option<String>,
}

/// `metav1.DeleteOptions`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DeleteOptions {
    pub(crate) grace_period_seconds: Option<i64>,
    pub(crate) preconditions: Option<Preconditions>,
    pub(crate) propagation_policy: Option<Propagation>,
    pub(crate) orphan_dependents: Option<bool>,
    pub(crate) dry_run: Vec<String>,
}

impl DeleteOptions {
    /// Reads them from the body, or from the query when there is none.
    pub(crate) fn read(call: &Call) -> Result<Self, StatusError> {
        if call.body.is_empty() {
            let policy = call.query.get("propagationPolicy").map(|text| serde_json::from_value(text.into()));
            let grace = call.query.get("gracePeriodSeconds").map(str::parse::<i64>);
            return Ok(Self {
                grace_period_seconds: grace
                    .transpose()
                    .map_err(|error| StatusError::bad_request(format!("gracePeriodSeconds: {error}")))?,
                propagation_policy: policy
                    .transpose()
                    .map_err(|error| StatusError::bad_request(format!("propagationPolicy: {error}")))?,
                orphan_dependents: call.query.get("orphanDependents").map(|text| text == "true"),
                ..Self::default()
            });
        }
        let value = decode::options(&call.headers, &call.body)?;
        Self::from_value(value)
    }

    pub(crate) fn from_value(value: Value) -> Result<Self, StatusError> {
        if value.is_null() {
            return Ok(Self::default());
        }
        serde_json::from_value(value)
            .map_err(|error| StatusError::bad_request(format!("DeleteOptions: {error}")))
    }

    /// As clients write them.
    pub(crate) fn to_json(&self, dry_run: bool) -> Value {
        let mut out = json!({"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1"});
        if let Some(seconds) = self.grace_period_seconds {
            out["gracePeriodSeconds"] = seconds.into();
        }
        if let Some(wanted) = &self.preconditions {
            out["preconditions"] = json!({});
            let fields = [("uid", &wanted.uid), ("resourceVersion", &wanted.resource_version)];
            for (field, wish) in fields {
                if let Some(wish) = wish {
                    out["preconditions"][field] = wish.as_str().into();
                }
            }
        }
        if let Some(orphan) = self.orphan_dependents {
            out["orphanDependents"] = orphan.into();
        }
        if let Some(policy) = self.propagation_policy {
            out["propagationPolicy"] = format!("{policy:?}").into();
        }
        if dry_run || self.is_dry_run() {
            out["dryRun"] = json!(["All"]);
        }
        out
    }

    pub(crate) fn is_dry_run(&self) -> bool {
        self.dry_run.iter().any(|stage| stage == "All")
    }

    /// Refuses an object that is not the one that is meant.
    pub(crate) fn check(&self, gr: &GroupResource, name: &str, current: &Value) -> Result<(), StatusError> {
        let Some(wanted) = &self.preconditions else { return Ok(()) };
        let checks =
            [("UID", "uid", &wanted.uid), ("ResourceVersion", "resourceVersion", &wanted.resource_version)];
        for (title, field, wish) in checks {
            let is = meta::text(current, field);
            if let Some(wish) = wish.as_deref().filter(|wish| *wish != is) {
                let why = format!(
                    "Precondition failed: {title} in precondition: {wish}, {title} in object meta: {is}"
                );
                return Err(StatusError::conflict(gr, name, why));
            }
        }
        Ok(())
    }

    /// Whether only one version of the object is meant.
    pub(crate) fn names_version(&self) -> bool {
        self.preconditions.as_ref().is_some_and(|wanted| wanted.resource_version.is_some())
    }

    /// Removes the object only as it is at this version.
    pub(crate) fn at_version(mut self, version: String) -> Self {
        self.preconditions.get_or_insert_default().resource_version = Some(version);
        self
    }
}

/// DELETE of an object.
pub(crate) async fn delete(state: &State, call: &Call) -> Result<Response<Body>, StatusError> {
    let options = DeleteOptions::read(call)?;
    match remove(state, call, &options).await? {
        Written::Removed(last) => {
            let gr = &call.resource.gr;
            if RETURNS_OBJECT.contains(&(gr.group.as_str(), gr.resource.as_str())) {
                return call.renderer(state).object(StatusCode::OK, last.json());
            }
            let object: Value = serde_json::from_slice(&last.json()).map_err(StatusError::internal)?;
            let mut details =
                json!({"name": call.name(), "kind": gr.resource, "uid": meta::text(&object, "uid")});
            if !gr.group.is_empty() {
                details["group"] = gr.group.as_str().into();
            }
            Ok(body::tree(
                StatusCode::OK,
                &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}),
            ))
        }
        Written::Stored(pending) | Written::Created(pending) => {
            let waits_for_owned = options.propagation_policy == Some(Propagation::Foreground)
                || options.orphan_dependents == Some(false);
            let code = if waits_for_owned { StatusCode::ACCEPTED } else { StatusCode::OK };
            call.renderer(state).object(code, pending.json())
        }
    }
}

/// Removes the object the path names, or starts its removal.
pub(crate) async fn remove(
    state: &State,
    call: &Call,
    options: &DeleteOptions,
) -> Result<Written, StatusError> {
    let effect = (call.options.dry_run || options.is_dry_run()).into();
    let key = call.resource.key(call.namespace(), call.name());
    let edit = DeleteEdit { state, call, options };
    state.writer.update(&call.resource, key, call.name(), effect, &edit).await
}

struct DeleteEdit<'a> {
    state: &'a State,
    call: &'a Call,
    options: &'a DeleteOptions,
}

#[async_trait]
impl Edit for DeleteEdit<'_> {
    async fn edit(&self, current: &Value) -> Result<Step, StatusError> {
        self.options.check(&self.call.resource.gr, self.call.name(), current)?;
        // What an eviction removes was admitted as an eviction.
        if self.call.request.subresource.is_none() {
            self.call.check_removal(self.state, self.options, current).await?;
        }
        let now = self.state.clock.now();
        let gr = &self.call.resource.gr;
        let grace = self.call.resource.is("", "pods").then(|| pod_grace(current, self.options));
        let default_orphan = matches!(
            (gr.group.as_str(), gr.resource.as_str()),
            ("batch", "jobs") | ("", "replicationcontrollers")
        );
        if gr.group == "apiextensions.k8s.io"
            && let Some(going) = custom::begin_removal(current, now)
        {
            return Ok(Step::Put(going));
        }
        let is_namespace = self.call.resource.is("", "namespaces");
        if is_namespace && meta::is_terminating(current) && has_spec_finalizers(current) {
            return Err(StatusError::conflict(
                gr,
                self.call.name(),
                "The system is ensuring all content is removed from this namespace.  Upon completion, this namespace \
                 will automatically be purged by the system.",
            ));
        }
        Ok(plan(current, self.options, grace, default_orphan, now))
    }

    async fn create(&self) -> Result<Option<Value>, StatusError> {
        Ok(None)
    }
}

fn has_spec_finalizers(namespace: &Value) -> bool {
    namespace.pointer("/spec/finalizers").and_then(Value::as_array).is_some_and(|list| !list.is_empty())
}

/// How long a pod is given: none when no node runs it, or nothing in it runs any more.
fn pod_grace(pod: &Value, options: &DeleteOptions) -> i64 {
    let text = |at: &str| pod.pointer(at).and_then(Value::as_str).unwrap_or_default();
    if text("/spec/nodeName").is_empty() || matches!(text("/status/phase"), "Succeeded" | "Failed") {
        return 0;
    }
    let own = pod.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_i64);
    let grace = options.grace_period_seconds.or(own).unwrap_or(DEFAULT_POD_GRACE);
    // A negative period means "as short as possible, but let it end".
    if grace < 0 { 1 } else { grace }
}

/// What a request for removal makes of an object. `grace` is `None` for kinds that know no grace period.
fn plan(
    current: &Value,
    options: &DeleteOptions,
    grace: Option<i64>,
    default_orphan: bool,
    now: Timestamp,
) -> Step {
    let mut new = current.clone();
    let finalizers = finalizers_after(current, options, default_orphan);
    let pending = !finalizers.is_empty() || has_spec_finalizers_of_namespace(current);
    meta::set_finalizers(&mut new, finalizers);
    match grace {
        Some(grace) if meta::is_terminating(current) => {
            let before = meta::number(current, "deletionGracePeriodSeconds").unwrap_or(0);
            // A second request can only hasten.
            let shorter = options.grace_period_seconds.is_some() && grace < before;
            if !shorter {
                return if grace == 0 && before == 0 && !pending { Step::Remove } else { Step::Keep };
            }
            if grace == 0 && !pending {
                return Step::Remove;
            }
            let end = meta::text(current, "deletionTimestamp").parse::<Timestamp>().unwrap_or(now);
            let end = end.saturating_add(SignedDuration::from_secs(grace - before)).unwrap_or(now);
            meta::set(&mut new, "deletionTimestamp", stamp(end));
            meta::set(&mut new, "deletionGracePeriodSeconds", grace);
        }
        _ if !pending && grace.unwrap_or(0) == 0 => return Step::Remove,
        _ if meta::is_terminating(current) => {}
        _ => {
            let grace = grace.unwrap_or(0);
            let end = now.saturating_add(SignedDuration::from_secs(grace)).unwrap_or(now);
            meta::set(&mut new, "deletionTimestamp", stamp(end));
            meta::set(&mut new, "deletionGracePeriodSeconds", grace);
            if let Some(generation) = meta::number(current, "generation").filter(|g| *g > 0) {
                meta::set(&mut new, "generation", generation + 1);
            }
            if has_spec_finalizers_of_namespace(current) {
                // Namespaces show their going in the phase and have no grace period.
                meta::remove(&mut new, "deletionGracePeriodSeconds");
                new["status"]["phase"] = "Terminating".into();
            }
        }
    }
    Step::Put(new)
}

fn has_spec_finalizers_of_namespace(object: &Value) -> bool {
    object.get("kind").and_then(Value::as_str) == Some("Namespace") && has_spec_finalizers(object)
}

/// The finalizers through which the garbage collector learns what to do with owned objects.
fn finalizers_after(current: &Value, options: &DeleteOptions, default_orphan: bool) -> Vec<String> {
    let has = |wanted: &str| meta::finalizers(current).any(|f| f == wanted);
    let (orphan, foreground) = match (options.propagation_policy, options.orphan_dependents) {
        (Some(policy), _) => (policy == Propagation::Orphan, policy == Propagation::Foreground),
        (None, Some(orphan)) => (orphan, false),
        (None, None) => (has(ORPHAN) || (default_orphan && !has(FOREGROUND)), has(FOREGROUND)),
    };
    let others = meta::finalizers(current).filter(|f| *f != ORPHAN && *f != FOREGROUND).map(str::to_owned);
    let mut out: Vec<String> = others.collect();
    if orphan {
        out.push(ORPHAN.to_owned());
    }
    if foreground {
        out.push(FOREGROUND.to_owned());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Value {
        json!({"kind": "Pod", "metadata": {"name": "p"}, "spec": {"nodeName": "n"}})
    }

    fn options(grace: Option<i64>) -> DeleteOptions {
        DeleteOptions { grace_period_seconds: grace, ..DeleteOptions::default() }
    }

    fn plan_pod(pod: &Value, options: &DeleteOptions) -> Step {
        plan(pod, options, Some(pod_grace(pod, options)), false, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_running_pod_gets_its_grace_and_then_goes() {
        let Step::Put(going) = plan_pod(&pod(), &options(None)) else { panic!() };
        assert_eq!(going["metadata"]["deletionTimestamp"], "1970-01-01T00:00:30Z");
        assert_eq!(going["metadata"]["deletionGracePeriodSeconds"], 30);
        assert!(matches!(plan_pod(&going, &options(None)), Step::Keep));
        let Step::Put(sooner) = plan_pod(&going, &options(Some(5))) else { panic!() };
        assert_eq!(sooner["metadata"]["deletionTimestamp"], "1970-01-01T00:00:05Z");
        assert!(matches!(plan_pod(&sooner, &options(Some(20))), Step::Keep));
        assert!(matches!(plan_pod(&sooner, &options(Some(0))), Step::Remove));
    }

    #[test]
    fn a_pod_that_nobody_runs_goes_at_once() {
        let waiting = json!({"kind": "Pod", "metadata": {"name": "p"}, "spec": {}});
        assert!(matches!(plan_pod(&waiting, &options(None)), Step::Remove));
        let mut ended = pod();
        ended["status"] = json!({"phase": "Succeeded"});
        assert!(matches!(plan_pod(&ended, &options(None)), Step::Remove));
    }

    #[test]
    fn a_finalizer_holds_an_object() {
        let held = json!({"kind": "ConfigMap", "metadata": {"name": "c", "finalizers": ["a/b"]}});
        let Step::Put(going) = plan(&held, &options(None), None, false, Timestamp::UNIX_EPOCH) else {
            panic!()
        };
        assert_eq!(going["metadata"]["deletionGracePeriodSeconds"], 0);
        assert_eq!(going["metadata"]["finalizers"], json!(["a/b"]));
    }

    #[test]
    fn propagation_becomes_a_finalizer() {
        let object = json!({"kind": "Deployment", "metadata": {"name": "d", "generation": 3}});
        let foreground =
            DeleteOptions { propagation_policy: Some(Propagation::Foreground), ..DeleteOptions::default() };
        let Step::Put(going) = plan(&object, &foreground, None, false, Timestamp::UNIX_EPOCH) else {
            panic!()
        };
        assert_eq!(going["metadata"]["finalizers"], json!(["foregroundDeletion"]));
        assert_eq!(going["metadata"]["generation"], 4);
        let background =
            DeleteOptions { propagation_policy: Some(Propagation::Background), ..DeleteOptions::default() };
        assert!(matches!(plan(&object, &background, None, false, Timestamp::UNIX_EPOCH), Step::Remove));
    }
}
