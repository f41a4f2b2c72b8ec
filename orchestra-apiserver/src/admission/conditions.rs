//! `matchConditions`: expressions that say which requests a webhook is asked about.

use serde_json::Value;

use super::AdmissionRequest;

/// Whether a webhook is to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "what an expression can answer, before there is an engine for them")]
pub(crate) enum Matched {
    /// Every condition holds.
    Yes,
    /// One does not.
    No,
    /// None is false, and one cannot be evaluated, for this reason.
    Failed(String),
}

/// The conditions of one webhook.
#[derive(Clone, Debug)]
pub(crate) struct MatchConditions {
    is_empty: bool,
}

impl MatchConditions {
    /// Reads the list as the object has it; what cannot be read fails when it is asked.
    pub(crate) fn compile(conditions: &Value) -> Self {
        Self { is_empty: conditions.as_array().is_none_or(Vec::is_empty) }
    }

    /// Asks about a request; `object` is `None` when something is removed.
    pub(crate) async fn ask(&self, _request: &AdmissionRequest<'_>, _object: Option<&Value>) -> Matched {
        if self.is_empty {
            return Matched::Yes;
        }
        Matched::Failed("match conditions are not evaluated by this server".to_owned())
    }
}
