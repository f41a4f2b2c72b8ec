//! Policies and what puts them in force: which are meant by a request, and with which parameters.

use serde_json::Value;

use super::constraints::Constraints;
use super::params;
use crate::admission::AdmissionRequest;
use crate::admission::matching::Target;
use crate::admission::versions::Versions;
use crate::storage::meta;

/// A policy, compiled as a `P`.
#[derive(Debug)]
pub(super) struct Definition<P> {
    pub(super) name: String,
    constraints: Constraints,
    pub(super) param_kind: Option<Value>,
    pub(super) policy: P,
}

/// What puts a policy in force, and where.
#[derive(Debug)]
pub(super) struct Binding {
    pub(super) name: String,
    policy: String,
    constraints: Option<Constraints>,
    param_ref: Option<Value>,
    /// What follows from a refusal, of those that refuse.
    pub(super) actions: Vec<String>,
}

fn part(object: &Value, pointer: &str) -> Option<Value> {
    object.pointer(pointer).filter(|value| !value.is_null()).cloned()
}

impl<P> Definition<P> {
    pub(super) fn read(object: &Value, compile: impl Fn(&Value) -> P) -> Self {
        let spec = object.get("spec").unwrap_or(&Value::Null);
        Self {
            name: meta::name(object).to_owned(),
            constraints: Constraints::read(spec.get("matchConstraints").unwrap_or(&Value::Null)),
            param_kind: part(object, "/spec/paramKind"),
            policy: compile(spec),
        }
    }

    /// Those bindings of the policy that mean a request; `None` if the policy does not.
    pub(super) async fn bound<'p>(
        &self,
        bindings: &'p [Binding],
        request: &AdmissionRequest<'_>,
        object: Option<&Value>,
        versions: &Versions,
    ) -> Option<Bound<'p>> {
        let mut bound = Bound { target: Target::own(request), with: Vec::new(), wrong: Vec::new() };
        match self.constraints.matches(request, object, versions).await {
            Ok(target) => bound.target = target?,
            Err(error) => {
                bound.wrong.push((None, error.to_string()));
                return Some(bound);
            }
        }
        for binding in bindings.iter().filter(|binding| binding.policy == self.name) {
            if let Some(constraints) = &binding.constraints {
                match constraints.matches(request, object, versions).await {
                    Ok(Some(_)) => {}
                    Ok(None) => continue,
                    Err(error) => {
                        bound.wrong.push((Some(binding), error.to_string()));
                        continue;
                    }
                }
            }
            let (kind, reference) = (self.param_kind.as_ref(), binding.param_ref.as_ref());
            match params::collect(versions.catalog(), request, kind, reference).await {
                Ok(params) => bound.with.push((binding, params)),
                Err(why) => bound.wrong.push((Some(binding), why)),
            }
        }
        Some(bound)
    }
}

impl Binding {
    pub(super) fn read(object: &Value) -> Self {
        let actions = object.pointer("/spec/validationActions").and_then(Value::as_array);
        let actions = actions.into_iter().flatten().filter_map(Value::as_str);
        Self {
            name: meta::name(object).to_owned(),
            policy: object.pointer("/spec/policyName").and_then(Value::as_str).unwrap_or_default().to_owned(),
            constraints: part(object, "/spec/matchResources").as_ref().map(Constraints::read),
            param_ref: part(object, "/spec/paramRef"),
            actions: actions.map(str::to_owned).collect(),
        }
    }
}

/// The bindings of a policy that mean a request.
#[derive(Debug)]
pub(super) struct Bound<'p> {
    /// As what the policy sees the request.
    pub(super) target: Target,
    /// Each with the parameters to ask with, one after the other; `None` stands for no parameters.
    pub(super) with: Vec<(&'p Binding, Vec<Option<Value>>)>,
    /// What is wrong with the policy, or with a binding.
    pub(super) wrong: Vec<(Option<&'p Binding>, String)>,
}

/// What a client is told of a policy or a binding that cannot be used.
pub(super) fn misconfigured(binding: Option<&Binding>, why: &str) -> String {
    let what = if binding.is_some() { "binding" } else { "policy" };
    format!("failed to configure {what}: {why}")
}
