//! What a terminating namespace needs done: the pure part.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition, NamespaceStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// The finalizer in the spec of a namespace that stands for its content.
pub(crate) const FINALIZER: &str = "kubernetes";

/// What a namespace still holds of one resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finding {
    /// `plural.group`.
    pub resource: String,
    /// How many objects are left.
    pub left: usize,
    /// How many of them wait for each finalizer.
    pub finalizers: BTreeMap<String, usize>,
}

/// What came of an attempt to empty a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// Why the resources could not be found out.
    pub undiscovered: Option<String>,
    /// Deletions that failed, in words.
    pub failures: Vec<String>,
    /// What is left.
    pub remaining: Vec<Finding>,
}

impl Sweep {
    /// Whether the namespace is known to be empty.
    pub fn is_clean(&self) -> bool {
        self.undiscovered.is_none() && self.failures.is_empty() && self.remaining.is_empty()
    }
}

/// What is known when a namespace is planned.
#[derive(Debug)]
pub struct Observed<'a> {
    /// The namespace.
    pub namespace: &'a Namespace,
    /// What came of emptying it, once that was tried.
    pub sweep: Option<&'a Sweep>,
    /// The present moment.
    pub now: Timestamp,
}

/// The next thing to do for a namespace.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Delete what it holds, and plan again.
    Sweep,
    /// Write this status.
    SetStatus(Box<NamespaceStatus>),
    /// Let it go: these finalizers stay in its spec.
    Finalize(Vec<String>),
}

/// What a namespace needs next. Nothing, unless it is being deleted and its content is still ours to remove.
pub fn plan(observed: &Observed<'_>) -> Option<Action> {
    let namespace = observed.namespace;
    namespace.metadata.deletion_timestamp.as_ref()?;
    let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.clone()).unwrap_or_default();
    if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
        return None;
    }
    let Some(sweep) = observed.sweep else { return Some(Action::Sweep) };
    if sweep.is_clean() {
        let kept = finalizers.into_iter().filter(|finalizer| finalizer != FINALIZER);
        return Some(Action::Finalize(kept.collect()));
    }
    let status = status(namespace, sweep, observed.now);
    (Some(&status) != namespace.status.as_ref()).then(|| Action::SetStatus(Box::new(status)))
}

fn status(namespace: &Namespace, sweep: &Sweep, now: Timestamp) -> NamespaceStatus {
    let mut conditions =
        namespace.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    for news in news(sweep) {
        let (status, reason, message) = news.said;
        let held = conditions.iter_mut().find(|held| held.type_ == news.type_);
        let since = match &held {
            Some(held) if held.status == status => held.last_transition_time.clone(),
            _ => Some(Time(now)),
        };
        let condition = NamespaceCondition {
            type_: news.type_.into(),
            status: status.into(),
            reason: Some(reason.into()),
            message: Some(message),
            last_transition_time: since,
        };
        match held {
            Some(held) => *held = condition,
            None => conditions.push(condition),
        }
    }
    NamespaceStatus { phase: Some("Terminating".into()), conditions: Some(conditions) }
}

struct News {
    type_: &'static str,
    /// Status, reason and message.
    said: (&'static str, &'static str, String),
}

/// The five conditions, with upstream's reasons and words, which tools match on.
fn news(sweep: &Sweep) -> [News; 5] {
    let news = |type_, trouble: Option<(&'static str, String)>, fine: (&'static str, &str)| News {
        type_,
        said: match trouble {
            Some((reason, message)) => ("True", reason, message),
            None => ("False", fine.0, fine.1.to_owned()),
        },
    };
    let failed = (!sweep.failures.is_empty()).then(|| {
        let text = sweep.failures.join(", ");
        (
            "ContentDeletionFailed",
            format!("Failed to delete all resource types, {} remaining: {text}", sweep.failures.len()),
        )
    });
    let left = (!sweep.remaining.is_empty()).then(|| {
        let each = |found: &Finding| format!("{}. has {} resource instances", found.resource, found.left);
        let text = sweep.remaining.iter().map(each).collect::<Vec<_>>().join(", ");
        ("SomeResourcesRemain", format!("Some resources are remaining: {text}"))
    });
    let mut finalizers: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, count) in sweep.remaining.iter().flat_map(|found| &found.finalizers) {
        *finalizers.entry(name).or_default() += count;
    }
    let held = (!finalizers.is_empty()).then(|| {
        let each = |(name, count)| format!("{name} in {count} resource instances");
        let text = finalizers.into_iter().map(each).collect::<Vec<_>>().join(", ");
        ("SomeFinalizersRemain", format!("Some content in the namespace has finalizers remaining: {text}"))
    });
    let undiscovered = sweep
        .undiscovered
        .as_ref()
        .map(|error| ("DiscoveryFailed", format!("Discovery failed for some groups, 1 failing: {error}")));
    [
        news(
            "NamespaceDeletionDiscoveryFailure",
            undiscovered,
            ("ResourcesDiscovered", "All resources successfully discovered"),
        ),
        news(
            "NamespaceDeletionGroupVersionParsingFailure",
            None,
            ("ParsedGroupVersions", "All legacy kube types successfully parsed"),
        ),
        news(
            "NamespaceDeletionContentFailure",
            failed,
            ("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
        ),
        news("NamespaceContentRemaining", left, ("ContentRemoved", "All content successfully removed")),
        news(
            "NamespaceFinalizersRemaining",
            held,
            ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn namespace(terminating: bool, finalizers: &[&str]) -> Namespace {
        let stamp = terminating.then_some("2026-01-01T00:00:00Z");
        serde_json::from_value(json!({
            "metadata": {"name": "n", "deletionTimestamp": stamp}, "spec": {"finalizers": finalizers},
        }))
        .unwrap()
    }

    fn plan_for(namespace: &Namespace, sweep: Option<&Sweep>) -> Option<Action> {
        plan(&Observed { namespace, sweep, now: Timestamp::UNIX_EPOCH })
    }

    fn with_pods() -> Sweep {
        let finalizers = BTreeMap::from([("a/b".to_owned(), 1)]);
        let finding = Finding { resource: "pods".into(), left: 2, finalizers };
        Sweep { remaining: vec![finding], ..Sweep::default() }
    }

    #[test]
    fn a_living_namespace_is_left_alone() {
        assert_eq!(plan_for(&namespace(false, &[FINALIZER]), None), None);
    }

    #[test]
    fn a_terminating_namespace_is_swept_and_then_let_go() {
        let namespace = namespace(true, &[FINALIZER, "x/y"]);
        assert_eq!(plan_for(&namespace, None), Some(Action::Sweep));
        let clean = Sweep::default();
        assert_eq!(plan_for(&namespace, Some(&clean)), Some(Action::Finalize(vec!["x/y".into()])));
    }

    #[test]
    fn a_namespace_that_waits_for_others_is_done_with() {
        assert_eq!(plan_for(&namespace(true, &["x/y"]), None), None);
    }

    #[test]
    fn what_remains_is_told_once() {
        let mut namespace = namespace(true, &[FINALIZER]);
        let Some(Action::SetStatus(status)) = plan_for(&namespace, Some(&with_pods())) else { panic!() };
        let message = |type_: &str| {
            let conditions = status.conditions.as_ref().unwrap();
            conditions.iter().find(|c| c.type_ == type_).and_then(|c| c.message.clone()).unwrap()
        };
        assert_eq!(
            message("NamespaceContentRemaining"),
            "Some resources are remaining: pods. has 2 resource instances"
        );
        assert_eq!(
            message("NamespaceFinalizersRemaining"),
            "Some content in the namespace has finalizers remaining: a/b in 1 resource instances"
        );
        namespace.status = Some(*status);
        assert_eq!(plan_for(&namespace, Some(&with_pods())), None);
    }

    #[test]
    fn a_failure_keeps_the_namespace() {
        let failed = Sweep { failures: vec!["no".into()], ..Sweep::default() };
        assert!(matches!(
            plan_for(&namespace(true, &[FINALIZER]), Some(&failed)),
            Some(Action::SetStatus(_))
        ));
    }
}
