//! `matchConditions`: which requests a webhook or a policy is about.

use orchestra_cel::{Program, Value as Cel};
use serde_json::Value;

use super::environment::{Wanted, compile, environment};
use super::{CONDITIONS_BUDGET, Failed, Inputs, OUT_OF_BUDGET, Variables, evaluate};

/// Whether a request is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matched {
    /// Every condition holds.
    Yes,
    /// One does not.
    No,
    /// None is false, and one cannot be evaluated, for this reason.
    Failed(String),
}

/// The conditions of one webhook or policy.
#[derive(Clone, Debug, Default)]
pub struct Conditions(Vec<(String, Result<Program, String>)>);

impl Conditions {
    /// Reads the list as the object has it; what cannot be compiled fails when it is asked.
    pub fn compile(conditions: &Value, has_params: bool) -> Self {
        let environment = environment(has_params);
        let all = conditions.as_array().into_iter().flatten();
        let read = |condition: &Value| {
            let expression = condition.get("expression").and_then(Value::as_str).unwrap_or_default();
            (expression.to_owned(), compile(&environment, expression, Wanted::Bool))
        };
        Self(all.map(read).collect())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Asks about a request. One that does not hold decides, whatever fails before it.
    pub fn ask(&self, inputs: &Inputs<'_>) -> Matched {
        let scope = Variables::new(inputs, &[]);
        let mut budget = CONDITIONS_BUDGET;
        let mut failures = Vec::new();
        for (expression, program) in &self.0 {
            match evaluate(expression, program, &scope, &mut budget) {
                Ok(Cel::Bool(true)) => {}
                Ok(Cel::Bool(false)) => return Matched::No,
                Ok(_) => {
                    failures.push(format!("expression '{expression}' resulted in error: no such overload"))
                }
                Err(Failed::Here(why)) => failures.push(why),
                Err(Failed::Budget) => return Matched::Failed(OUT_OF_BUDGET.to_owned()),
            }
        }
        match failures.as_slice() {
            [] => Matched::Yes,
            [one] => Matched::Failed(one.clone()),
            several => Matched::Failed(format!("[{}]", several.join(", "))),
        }
    }
}
