//! `matchConditions`: expressions that say which requests a webhook is asked about.

use std::sync::Arc;

use orchestra_core::policy::access::Authority;
use orchestra_core::policy::{Conditions, Inputs};
use serde_json::Value;

use super::AdmissionRequest;
use super::matching::Target;
use crate::auth::Authorizer;
use crate::policy::about;
use crate::policy::access::Access;

pub(crate) use orchestra_core::policy::Matched;

/// The conditions of one webhook.
#[derive(Clone, Debug)]
pub(crate) struct MatchConditions(Conditions);

impl MatchConditions {
    /// Reads the list as the object has it; what cannot be read fails when it is asked.
    pub(crate) fn compile(conditions: &Value) -> Self {
        Self(Conditions::compile(conditions, false))
    }

    /// Asks about a request; `object` is `None` when something is removed.
    pub(crate) async fn ask(
        &self,
        request: &AdmissionRequest<'_>,
        object: Option<&Value>,
        authorizer: &Arc<dyn Authorizer>,
    ) -> Matched {
        if self.0.is_empty() {
            return Matched::Yes;
        }
        let review = about::request(request, &Target::own(request));
        let access = Access::new(authorizer, request.user);
        let ask = |authority: &Authority| {
            self.0.ask(&Inputs::new(&review, object, request.old).authority(authority))
        };
        access.settle(ask).await
    }
}
