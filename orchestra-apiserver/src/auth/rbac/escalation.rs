//! Nobody gives away more than they have.
//!
//! Whoever writes a role must hold everything it allows, or the verb `escalate` on it; whoever writes a binding must hold
//! everything its role allows, or the verb `bind` on that role. After upstream's
//! `pkg/registry/rbac/*/policybased` and `ConfirmNoEscalation`.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use orchestra_core::gvk::GroupVersion;
use serde_json::Value;

use super::rule::{Rule, missing, quoted};
use super::{GROUP, Rbac, is_master};
use crate::admission::{Admission, AdmissionRequest, Operation, Phases};
use crate::auth::User;
use crate::auth::authorize::{AccessRequest, Authorizer, Decision};
use crate::request::{RequestInfo, ResourceRequest, Verb};
use crate::status::{GroupResource, StatusError};

/// The rule about roles and bindings that are written.
#[derive(Debug)]
pub(crate) struct Escalation {
    rbac: Arc<Rbac>,
    authorizer: Arc<dyn Authorizer>,
}

impl Escalation {
    /// Compares with what `rbac` knows; `authorizer` is asked about `escalate` and `bind`.
    pub(crate) fn new(rbac: Arc<Rbac>, authorizer: Arc<dyn Authorizer>) -> Self {
        Self { rbac, authorizer }
    }

    async fn may(
        &self,
        user: &User,
        verb: &str,
        resource: &str,
        namespace: &str,
        name: &str,
    ) -> Result<bool, StatusError> {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let info = RequestInfo::Resource(ResourceRequest {
            // Authorizers go by the word beside this.
            verb: Verb::Get,
            gv: GroupVersion { group: Cow::Borrowed(GROUP), version: Cow::Borrowed("*") },
            resource: resource.to_owned(),
            namespace: some(namespace),
            name: some(name),
            subresource: None,
            tail: String::new(),
        });
        let asked = AccessRequest::new(user, verb, &info, "");
        Ok(matches!(self.authorizer.authorize(asked).await?, Decision::Allow(_)))
    }

    /// Why `wanted` may not be given away; `None` when the user holds all of it.
    async fn objection(
        &self,
        request: &AdmissionRequest<'_>,
        wanted: &[Rule],
    ) -> Result<Option<String>, StatusError> {
        let held = self.rbac.policy().await?.rules(request.user, request.namespace);
        let missing = missing(&held.rules, wanted);
        if missing.is_empty() {
            return Ok(None);
        }
        let mut lines: Vec<String> = missing.iter().map(ToString::to_string).collect();
        lines.sort();
        let problem = match held.problem.as_str() {
            "" => String::new(),
            problem => format!("; resolution errors: [{problem}]"),
        };
        Ok(Some(format!(
            "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}{problem}",
            request.user.name,
            quoted(&request.user.groups),
            lines.join("\n"),
        )))
    }

    async fn confirm(&self, request: &AdmissionRequest<'_>, wanted: &[Rule]) -> Result<(), StatusError> {
        match self.objection(request, wanted).await? {
            Some(why) => Err(request.refuse(why)),
            None => Ok(()),
        }
    }

    async fn check_role(&self, request: &AdmissionRequest<'_>, role: &Value) -> Result<(), StatusError> {
        let same = |at: &str| request.old.is_some_and(|old| old.pointer(at) == role.pointer(at));
        // Labels count too: by them other roles gather the rules of this one.
        if same("/rules") && same("/aggregationRule") && same("/metadata/labels") {
            return Ok(());
        }
        let plural = request.request.resource.as_str();
        if self.may(request.user, "escalate", plural, request.namespace, request.name).await? {
            return Ok(());
        }
        let gathers = |role: &Value| role.get("aggregationRule").is_some_and(Value::is_object);
        if (gathers(role) || request.old.is_some_and(gathers))
            && let Some(why) = self.objection(request, &Rule::everything()).await?
        {
            let why = format!("must have cluster-admin privileges to use an aggregationRule: {why}");
            return Err(request.refuse(why));
        }
        self.confirm(request, &rules_of(role)).await
    }

    async fn check_binding(
        &self,
        request: &AdmissionRequest<'_>,
        binding: &Value,
    ) -> Result<(), StatusError> {
        let same = |field: &str| request.old.is_some_and(|old| old.get(field) == binding.get(field));
        if same("roleRef") && same("subjects") {
            return Ok(());
        }
        let text = |at: &str| binding.pointer(at).and_then(Value::as_str).unwrap_or_default();
        let name = text("/roleRef/name");
        let (plural, of) =
            if text("/roleRef/kind") == "Role" { ("roles", request.namespace) } else { ("clusterroles", "") };
        if self.may(request.user, "bind", plural, request.namespace, name).await? {
            return Ok(());
        }
        let policy = self.rbac.policy().await?;
        match policy.role(of, name) {
            Some(rules) => self.confirm(request, rules).await,
            None => Err(StatusError::not_found(&GroupResource::new(GROUP, plural), name)),
        }
    }
}

fn rules_of(role: &Value) -> Vec<Rule> {
    let rules = role.get("rules").and_then(Value::as_array).into_iter().flatten();
    // The kind has checked their form.
    rules.filter_map(|rule| serde_json::from_value(rule.clone()).ok()).collect()
}

#[async_trait]
impl Admission for Escalation {
    fn name(&self) -> &str {
        "Escalation"
    }

    fn phases(&self) -> Phases {
        Phases::Validation
    }

    fn concerns(&self, request: &AdmissionRequest<'_>) -> bool {
        let is_right = |plural| request.is(GROUP, plural);
        let is_about_rights =
            ["roles", "clusterroles", "rolebindings", "clusterrolebindings"].into_iter().any(is_right);
        is_about_rights && request.operation != Operation::Delete && !is_master(request.user)
    }

    async fn validate(&self, request: &AdmissionRequest<'_>, object: &Value) -> Result<(), StatusError> {
        if request.is(GROUP, "roles") || request.is(GROUP, "clusterroles") {
            self.check_role(request, object).await
        } else {
            self.check_binding(request, object).await
        }
    }
}
