//! One rule, as a schema states it, and compiled.

use orchestra_cel::{Declared, Environment, Program, Type};
use serde_json::Value;

use crate::structural::Structural;
use crate::violation::FieldPath;

/// An entry of `x-kubernetes-validations`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rule {
    /// What must hold.
    pub(crate) rule: String,
    /// What is said where it does not.
    pub(crate) message: String,
    /// What makes the message.
    pub(crate) message_expression: String,
    /// The reason of the violation, of four.
    pub(crate) reason: Option<String>,
    /// The field the violation is about, from where the rule stands.
    pub(crate) field_path: String,
    /// Whether the rule holds for what is new, too, and `oldSelf` is an optional.
    pub(crate) optional_old_self: Option<bool>,
}

impl Rule {
    /// The rules of a schema.
    pub(crate) fn all(schema: &Value) -> Vec<Self> {
        let rules = schema.get("x-kubernetes-validations").and_then(Value::as_array);
        rules.into_iter().flatten().map(Self::read).collect()
    }

    fn read(rule: &Value) -> Self {
        let text = |field: &str| rule.get(field).and_then(Value::as_str).map(str::to_owned);
        Self {
            rule: text("rule").unwrap_or_default(),
            message: text("message").unwrap_or_default(),
            message_expression: text("messageExpression").unwrap_or_default(),
            reason: text("reason"),
            field_path: text("fieldPath").unwrap_or_default(),
            optional_old_self: rule.get("optionalOldSelf").and_then(Value::as_bool),
        }
    }

    /// The rule as upstream's messages show it: by the names of Go's fields, in their order.
    pub(crate) fn shown(&self) -> String {
        let json = |value: Value| value.to_string();
        format!(
            r#"{{"Rule":{},"Message":{},"MessageExpression":{},"Reason":{},"FieldPath":{},"OptionalOldSelf":{}}}"#,
            json(self.rule.as_str().into()),
            json(self.message.as_str().into()),
            json(self.message_expression.as_str().into()),
            json(self.reason.clone().into()),
            json(self.field_path.as_str().into()),
            json(self.optional_old_self.into()),
        )
    }

    /// How messages name the rule.
    pub(crate) fn name(&self) -> &str {
        if self.message.is_empty() { self.rule.trim() } else { self.message.trim() }
    }
}

/// A rule that can be asked.
#[derive(Clone, Debug)]
pub(crate) struct Compiled {
    pub(crate) rule: Rule,
    pub(crate) program: Result<Program, String>,
    pub(crate) message: Option<Result<Program, String>>,
    /// The field the violation is about, in the form of violations; empty for the place of the rule.
    pub(crate) field: String,
}

impl Compiled {
    /// Compiles the rules of a schema for values of which `declared` is known.
    pub(crate) fn all(rules: &[Rule], schema: &Structural, declared: &Declared) -> Vec<Self> {
        let with =
            |old: Declared| Environment::new().variable("self", declared.clone()).variable("oldSelf", old);
        let plain = with(declared.clone());
        let optional = {
            let ty = Type::Optional(std::sync::Arc::new(declared.ty.clone()));
            with(Declared::simple(ty, declared.max_size, declared.min_json))
        };
        let compile = |rule: &Rule| {
            let environment = if rule.optional_old_self == Some(true) { &optional } else { &plain };
            let program = match environment.compile(&rule.rule) {
                Err(error) => Err(format!("compilation failed: {error}")),
                Ok(program) if *program.ty() != Type::Bool => {
                    Err("cel expression must evaluate to a bool".to_owned())
                }
                Ok(program) => Ok(program),
            };
            let message = (!rule.message_expression.is_empty() && program.is_ok()).then(|| match environment
                .compile(&rule.message_expression)
            {
                Err(error) => Err(format!("messageExpression compilation failed: {error}")),
                Ok(program) if *program.ty() != Type::String => {
                    Err("messageExpression must evaluate to a string".to_owned())
                }
                Ok(program) => Ok(program),
            });
            let field = super::place::place(&rule.field_path, schema).unwrap_or_default();
            Self { rule: rule.clone(), program, message, field: field.as_str().to_owned() }
        };
        rules.iter().filter(|rule| !rule.rule.trim().is_empty()).map(compile).collect()
    }

    /// Whether it is about a change.
    pub(crate) fn uses_old(&self) -> bool {
        self.program.as_ref().is_ok_and(|program| program.uses("oldSelf"))
    }

    /// The place of a violation of a rule that stands at `path`.
    pub(crate) fn place(&self, path: &FieldPath) -> FieldPath {
        if self.field.is_empty() { path.clone() } else { path.child(&self.field) }
    }
}
