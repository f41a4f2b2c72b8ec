//! One `ValidatingAdmissionPolicy`, compiled.

use orchestra_cel::{Program, Value as Cel};
use serde_json::Value;

use super::conditions::{Conditions, Matched};
use super::environment::{Wanted, compile, environment};
use super::variables::{Variable, Variables, compile_all, items, text};
use super::{Failed, Inputs, OUT_OF_BUDGET, POLICY_BUDGET, evaluate};

/// The longest message an expression may make, and the longest annotation.
const MAX_MESSAGE: usize = 5 * 1024;
const MAX_ANNOTATION: usize = 10 * 1024;

/// What a policy says of a request by one of its validations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing against it.
    Admit,
    /// It could not be asked, which the policy says is not to matter.
    Ignore {
        /// Why not.
        message: String,
    },
    /// It is refused.
    Deny {
        /// Why.
        message: String,
        /// The reason of the status, such as `Invalid`.
        reason: String,
    },
}

/// All that a policy says of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// One for each validation, in order.
    pub decisions: Vec<Decision>,
    /// What the audit event is to say.
    pub annotations: Vec<(String, String)>,
    /// Annotations that could not be made, where that refuses the request.
    pub failures: Vec<String>,
}

#[derive(Clone, Debug)]
struct Validation {
    expression: String,
    program: Result<Program, String>,
    message: String,
    message_expression: Option<(String, Result<Program, String>)>,
    reason: String,
}

/// A policy whose expressions can be asked.
#[derive(Clone, Debug)]
pub struct Policy {
    conditions: Conditions,
    variables: Vec<Variable>,
    validations: Vec<Validation>,
    annotations: Vec<(String, String, Result<Program, String>)>,
    fails_open: bool,
}

impl Policy {
    /// Compiles the `spec` of a policy; what cannot be compiled fails when it is asked.
    pub fn compile(spec: &Value) -> Self {
        let has_params = spec.get("paramKind").is_some_and(|kind| !kind.is_null());
        let (variables, environment) = compile_all(spec, &environment(has_params));
        let validation = |validation: &Value| {
            let expression = text(validation, "expression");
            let message = text(validation, "messageExpression");
            Validation {
                expression: expression.to_owned(),
                program: compile(&environment, expression, Wanted::Bool),
                message: text(validation, "message").trim().to_owned(),
                message_expression: (!message.is_empty())
                    .then(|| (message.to_owned(), compile(&environment, message, Wanted::Text))),
                reason: match text(validation, "reason") {
                    "" => "Invalid".to_owned(),
                    reason => reason.to_owned(),
                },
            }
        };
        let annotation = |annotation: &Value| {
            let expression = text(annotation, "valueExpression");
            let program = compile(&environment, expression, Wanted::TextOrNull);
            (text(annotation, "key").to_owned(), expression.to_owned(), program)
        };
        Self {
            conditions: Conditions::compile(spec.get("matchConditions").unwrap_or(&Value::Null), has_params),
            validations: items(spec, "validations").iter().map(validation).collect(),
            annotations: items(spec, "auditAnnotations").iter().map(annotation).collect(),
            fails_open: text(spec, "failurePolicy") == "Ignore",
            variables,
        }
    }

    /// What is wrong with the expressions of a `spec`: the path of each below it, the expression, and why.
    pub fn problems(spec: &Value) -> Vec<(String, String, String)> {
        let policy = Self::compile(spec);
        let mut out = Vec::new();
        let mut see = |path: String, expression: &str, program: &Result<Program, String>| {
            if let Err(why) = program
                && !expression.trim().is_empty()
            {
                out.push((path, expression.to_owned(), why.clone()));
            }
        };
        for (index, (_, program)) in policy.variables.iter().enumerate() {
            let expression =
                items(spec, "variables").get(index).map(|v| text(v, "expression")).unwrap_or_default();
            see(format!("variables[{index}].expression"), expression, program);
        }
        for (index, validation) in policy.validations.iter().enumerate() {
            see(format!("validations[{index}].expression"), &validation.expression, &validation.program);
            if let Some((expression, program)) = &validation.message_expression {
                see(format!("validations[{index}].messageExpression"), expression, program);
            }
        }
        for (index, (_, expression, program)) in policy.annotations.iter().enumerate() {
            see(format!("auditAnnotations[{index}].valueExpression"), expression, program);
        }
        out
    }

    /// Whether a failure lets requests pass.
    pub fn fails_open(&self) -> bool {
        self.fails_open
    }

    fn failed(&self, message: String) -> Decision {
        if self.fails_open {
            Decision::Ignore { message }
        } else {
            Decision::Deny { message, reason: "Invalid".to_owned() }
        }
    }

    /// What the policy says of a request; nothing if its conditions do not hold.
    pub fn ask(&self, inputs: &Inputs<'_>) -> Verdict {
        match self.conditions.ask(inputs) {
            Matched::Yes => {}
            Matched::No => return Verdict::default(),
            Matched::Failed(why) => {
                return Verdict { decisions: vec![self.failed(why)], ..Verdict::default() };
            }
        }
        let scope = Variables::new(inputs, &self.variables);
        let mut budget = POLICY_BUDGET;
        let mut results = Vec::new();
        for validation in &self.validations {
            match evaluate(&validation.expression, &validation.program, &scope, &mut budget) {
                Err(Failed::Budget) => {
                    let decisions = vec![self.failed(OUT_OF_BUDGET.to_owned())];
                    return Verdict { decisions, ..Verdict::default() };
                }
                result => results.push((validation, result)),
            }
        }
        let mut verdict = Verdict::default();
        for (validation, result) in results {
            verdict.decisions.push(match result {
                Ok(Cel::Bool(true)) => Decision::Admit,
                Ok(_) => Decision::Deny {
                    message: validation.refusal(&scope, &mut budget),
                    reason: validation.reason.clone(),
                },
                Err(Failed::Here(why)) => self.failed(why),
                Err(Failed::Budget) => self.failed(OUT_OF_BUDGET.to_owned()),
            });
        }
        let mut budget = POLICY_BUDGET;
        for (key, expression, program) in &self.annotations {
            match evaluate(expression, program, &scope, &mut budget) {
                Ok(Cel::String(value)) => {
                    let value = value.trim();
                    let end =
                        (0..=value.len().min(MAX_ANNOTATION)).rev().find(|end| value.is_char_boundary(*end));
                    if !value.is_empty() {
                        let value = value.get(..end.unwrap_or_default()).unwrap_or_default();
                        verdict.annotations.push((key.clone(), value.to_owned()));
                    }
                }
                Ok(_) => {}
                Err(_) if self.fails_open => {}
                Err(Failed::Here(why)) => verdict.failures.push(why),
                Err(Failed::Budget) => verdict.failures.push(OUT_OF_BUDGET.to_owned()),
            }
        }
        verdict
    }
}

impl Validation {
    fn refusal(&self, scope: &Variables<'_>, budget: &mut u64) -> String {
        let made = self.message_expression.as_ref().and_then(|(expression, program)| {
            match evaluate(expression, program, scope, budget) {
                Ok(Cel::String(text)) => Some(text.trim().to_owned())
                    .filter(|text| !text.is_empty() && text.len() <= MAX_MESSAGE && !text.contains('\n')),
                _ => None,
            }
        });
        made.unwrap_or_else(|| match self.message.as_str() {
            "" => format!("failed expression: {}", self.expression.trim()),
            message => message.to_owned(),
        })
    }
}
