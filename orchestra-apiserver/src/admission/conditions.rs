//! `matchConditions`: expressions that say which requests a webhook is asked about.

use std::sync::Arc;

use orchestra_core::policy::access::Authority;
use orchestra_core::policy::{Conditions, Inputs};
use serde_json::Value;

use super::AdmissionRequest;
use super::matching::Target;
use super::versions::Versions;
use crate::auth::Authorizer;
use crate::policy::about;
use crate::policy::access::Access;
use crate::status::StatusError;

pub(crate) use orchestra_core::policy::Matched;

/// The conditions of one webhook.
#[derive(Clone, Debug)]
pub(crate) struct MatchConditions(Conditions);

impl MatchConditions {
    /// Reads the list as the object has it; what cannot be read fails when it is asked.
    pub(crate) fn compile(conditions: &Value) -> Self {
        Self(Conditions::compile(conditions, false))
    }

    /// Asks about a request that is seen as one about `target`; `object` is `None` when something is removed.
    pub(crate) async fn ask(
        &self,
        (request, target): (&AdmissionRequest<'_>, &Target),
        object: Option<&Value>,
        versions: &Versions,
        authorizer: &Arc<dyn Authorizer>,
    ) -> Result<Matched, StatusError> {
        if self.0.is_empty() {
            return Ok(Matched::Yes);
        }
        let mut review = about::request(request, &Target::own(request));
        review["kind"] = about::seen_as(request, target);
        let object = versions.seen(request, target, object).await?;
        let old = versions.seen(request, target, request.old).await?;
        let access = Access::new(authorizer, request.user);
        let ask = |authority: &Authority| {
            self.0.ask(&Inputs::new(&review, object.as_deref(), old.as_deref()).authority(authority))
        };
        Ok(access.settle(ask).await)
    }
}
