//! Admission policies and match conditions: expressions about requests, compiled once and asked for each. Pure: whoever
//! asks brings the request, the object, its parameters and its namespace.
//!
//! Follows `k8s.io/apiserver/pkg/admission/plugin/{cel,policy}`. What expressions ask `authorizer` is kept for whoever asks
//! them, see [`access`]; without an [`access::Authority`] such an expression fails, and the failure policy decides.

pub mod access;
mod conditions;
mod environment;
mod mutating;
pub mod typecheck;
mod validating;
mod variables;

#[cfg(test)]
mod tests;

use std::cell::OnceCell;

use orchestra_cel::{Fault, Program, Scope, Value as Cel, values};
use serde_json::Value;

use access::Authority;
use variables::Variables;

pub use conditions::{Conditions, Matched};
pub use environment::{Wanted, compile, environment};
pub use mutating::{MutatingPolicy, Mutation, Unmade};
pub use validating::{Decision, Policy, Verdict};

/// What one expression may cost; what a policy may for one request; and what match conditions may together.
const CALL_LIMIT: u64 = 1_000_000;
const POLICY_BUDGET: u64 = 10_000_000;
const CONDITIONS_BUDGET: u64 = 2_500_000;

/// What expressions are about. JSON becomes values when it is looked at, and once.
#[derive(Debug)]
pub struct Inputs<'v> {
    object: Lazy<'v>,
    old: Lazy<'v>,
    request: Lazy<'v>,
    namespace: Lazy<'v>,
    params: Option<Lazy<'v>>,
    authority: Option<&'v Authority>,
}

#[derive(Debug)]
struct Lazy<'v>(Option<&'v Value>, OnceCell<Cel>);

impl<'v> Lazy<'v> {
    fn new(value: Option<&'v Value>) -> Self {
        Self(value, OnceCell::new())
    }

    fn get(&self) -> Cel {
        self.1.get_or_init(|| self.0.map_or(Cel::Null, values::from_json)).clone()
    }
}

impl<'v> Inputs<'v> {
    /// `request` is an `AdmissionRequest` without its objects.
    pub fn new(request: &'v Value, object: Option<&'v Value>, old: Option<&'v Value>) -> Self {
        Self {
            object: Lazy::new(object),
            old: Lazy::new(old),
            request: Lazy::new(Some(request)),
            namespace: Lazy::new(None),
            params: None,
            authority: None,
        }
    }

    /// With the namespace of the object.
    #[must_use]
    pub fn namespace(mut self, namespace: Option<&'v Value>) -> Self {
        self.namespace = Lazy::new(namespace);
        self
    }

    /// With somebody who can be asked what the user may.
    #[must_use]
    pub fn authority(mut self, authority: &'v Authority) -> Self {
        self.authority = Some(authority);
        self
    }

    /// With parameters, which may be none.
    #[must_use]
    pub fn params(mut self, params: Option<&'v Value>) -> Self {
        self.params = Some(Lazy::new(params));
        self
    }
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Failed {
    /// This one.
    Here(String),
    /// Nothing is left for this one and those after it.
    Budget,
}

const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// Evaluates one expression of several that share a budget.
fn evaluate(
    expression: &str,
    program: &Result<Program, String>,
    scope: &dyn Scope,
    budget: &mut u64,
) -> Result<Cel, Failed> {
    let program = match program {
        Ok(program) => program,
        Err(why) => return Err(Failed::Here(format!("compilation error: {why}"))),
    };
    let outcome = program.evaluate(scope, CALL_LIMIT);
    if outcome.cost > *budget {
        *budget = 0;
        return Err(Failed::Budget);
    }
    *budget -= outcome.cost;
    outcome.result.map_err(|fault| match fault {
        Fault::Cost => Failed::Here(format!(
            "operation cancelled: actual cost limit exceeded for expression {expression:?}"
        )),
        fault => Failed::Here(format!("expression '{expression}' resulted in error: {fault}")),
    })
}
