//! A webhook as a configuration describes it, made ready.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use tokio::time::Duration;

use crate::admission::conditions::MatchConditions;
use crate::admission::matching::{Rule, Selectors};
use crate::storage::meta;
use crate::webhook::{Client, Endpoint};

/// What happens when a webhook cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailurePolicy {
    /// The request is refused.
    Fail,
    /// It goes on.
    Ignore,
}

/// The form of reviews a webhook reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Review {
    V1,
    V1Beta1,
}

impl Review {
    pub(super) fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "admission.k8s.io/v1",
            Self::V1Beta1 => "admission.k8s.io/v1beta1",
        }
    }
}

/// One webhook.
#[derive(Debug)]
pub(super) struct Hook {
    pub(super) configuration: String,
    pub(super) name: String,
    /// Its place in its configuration tells it from others of its name.
    pub(super) id: String,
    pub(super) rules: Vec<Rule>,
    pub(super) selectors: Selectors,
    pub(super) conditions: MatchConditions,
    pub(super) failure: FailurePolicy,
    /// Whether rules about other versions of a resource are meant, too.
    pub(super) is_equivalent: bool,
    /// Whether it may be asked about what is not going to be stored.
    pub(super) knows_dry_run: bool,
    pub(super) is_reinvoked: bool,
    pub(super) patience: Duration,
    pub(super) review: Option<Review>,
    /// Or why it cannot be asked.
    pub(super) endpoint: Result<Endpoint, String>,
}

fn text<'a>(hook: &'a Value, field: &str) -> &'a str {
    hook.get(field).and_then(Value::as_str).unwrap_or_default()
}

impl Hook {
    fn read(configuration: &str, at: usize, hook: &Value, client: &Client) -> Self {
        let name = text(hook, "name").to_owned();
        let list = |field: &str| hook.get(field).and_then(Value::as_array).into_iter().flatten();
        let review = list("admissionReviewVersions").find_map(|version| match version.as_str() {
            Some("v1") => Some(Review::V1),
            Some("v1beta1") => Some(Review::V1Beta1),
            _ => None,
        });
        let seconds = hook.get("timeoutSeconds").and_then(Value::as_u64).unwrap_or(10);
        Self {
            id: format!("{configuration}/{name}/{at}"),
            configuration: configuration.to_owned(),
            name,
            rules: list("rules").filter_map(|rule| Rule::deserialize(rule).ok()).collect(),
            selectors: Selectors::read(hook),
            conditions: MatchConditions::compile(hook.get("matchConditions").unwrap_or(&Value::Null)),
            failure: match text(hook, "failurePolicy") {
                "Ignore" => FailurePolicy::Ignore,
                _ => FailurePolicy::Fail,
            },
            is_equivalent: text(hook, "matchPolicy") != "Exact",
            knows_dry_run: matches!(text(hook, "sideEffects"), "None" | "NoneOnDryRun"),
            is_reinvoked: text(hook, "reinvocationPolicy") == "IfNeeded",
            patience: Duration::from_secs(seconds.clamp(1, 30)),
            review,
            endpoint: Endpoint::read(hook.get("clientConfig").unwrap_or(&Value::Null), client),
        }
    }
}

/// All webhooks of all configurations, by the configurations' names.
pub(super) fn read_all(configurations: Vec<Value>, client: &Client) -> Vec<Arc<Hook>> {
    let mut hooks = Vec::new();
    for configuration in &configurations {
        let list = configuration.get("webhooks").and_then(Value::as_array).into_iter().flatten();
        for (at, hook) in list.enumerate() {
            hooks.push(Arc::new(Hook::read(meta::name(configuration), at, hook, client)));
        }
    }
    hooks
}
