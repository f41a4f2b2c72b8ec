//! The rules in CEL of a schema (`x-kubernetes-validations`): checked when a definition is written
//! (`definition`), asked whenever an object is.
//!
//! Follows `k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel`, its words, its budgets, and what it lets pass: a rule
//! that does not look at `oldSelf` does not refuse what was there before and has not changed. What upstream then warns of is
//! passed in silence here.

mod declared;
pub(super) mod definition;
mod place;
mod rule;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use orchestra_cel::{Declared, Fault, OptionalValue, Program, Scope, Value as Cel, values};
use serde_json::Value;

use super::lists::keys_of;
use super::model::{Additional, ListKind, Structural};
use crate::violation::{FieldPath, Reason, Violation, Violations};
pub(crate) use declared::declared;
use rule::{Compiled, Rule};

/// What one rule may cost, and all rules together for one object.
const CALL_LIMIT: u64 = 1_000_000;
const OBJECT_BUDGET: u64 = 10_000_000;
/// The longest message a rule may make, in bytes.
const MAX_MESSAGE: usize = 5 * 1024;

/// The rules at a place of a schema and below.
#[derive(Debug)]
pub struct Rules {
    here: Vec<Compiled>,
    declared: Declared,
    ty: &'static str,
    items: Option<Box<Rules>>,
    values: Option<Box<Rules>>,
    properties: BTreeMap<String, Rules>,
    /// How the items of a list are found again.
    keys: Option<Box<Structural>>,
}

impl Rules {
    /// Compiles the rules of a schema; `None` if there are none. `source` is the schema as it was written.
    pub fn compile(source: &Value, schema: &Structural) -> Option<Self> {
        Self::at(source, schema, true, declared::declared(schema, true, "selfType"))
    }

    fn at(source: &Value, schema: &Structural, is_root: bool, declared: Option<Declared>) -> Option<Self> {
        let declared = declared.or_else(|| declared::declared(schema, is_root, "selfType"))?;
        let item = || declared.item.as_deref().cloned();
        let items = match (source.get("items"), &schema.items) {
            (Some(source), Some(schema)) => Self::at(source, schema, schema.embedded, item()),
            _ => None,
        };
        let values = match (
            source.get("additionalProperties"),
            schema.additional.as_ref().and_then(Additional::schema),
        ) {
            (Some(source), Some(schema)) => Self::at(source, schema, schema.embedded, item()),
            _ => None,
        };
        let mut properties = BTreeMap::new();
        for (key, property) in &schema.properties {
            let Some(source) = source.get("properties").and_then(|properties| properties.get(key)) else {
                continue;
            };
            if let Some(rules) = Self::at(source, property, property.embedded, None) {
                properties.insert(key.clone(), rules);
            }
        }
        let rules = Rule::all(source);
        if rules.is_empty() && items.is_none() && values.is_none() && properties.is_empty() {
            return None;
        }
        let keys = (schema.list == ListKind::Map && items.is_some()).then(|| {
            Box::new(Structural {
                list: schema.list,
                list_keys: schema.list_keys.clone(),
                ..Structural::default()
            })
        });
        Some(Self {
            here: Compiled::all(&rules, schema, &declared),
            declared,
            ty: schema.ty.map_or("", super::Type::as_str),
            items: items.map(Box::new),
            values: values.map(Box::new),
            properties,
            keys,
        })
    }

    /// What of an object the rules refuse.
    pub fn validate(&self, object: &Value, old: Option<&Value>) -> Violations {
        let mut run = Run { left: Some(OBJECT_BUDGET), found: Violations::new() };
        let correlation = Correlation { current: old.map(|old| (object, old)), ..Correlation::default() };
        run.node(self, object, old, &FieldPath::root(), correlation);
        run.found
    }
}

/// Where the value of a place stood before, for what has not changed.
#[derive(Clone, Copy, Default)]
struct Correlation<'v> {
    current: Option<(&'v Value, &'v Value)>,
    /// Of the nearest place above that had one.
    above: Option<(&'v Value, &'v Value)>,
}

impl<'v> Correlation<'v> {
    fn is_unchanged(self) -> bool {
        self.current.or(self.above).is_some_and(|(new, old)| new == old)
    }

    fn below(self, find: impl FnOnce(&'v Value, &'v Value) -> Option<(&'v Value, &'v Value)>) -> Self {
        match self.current {
            None => self,
            Some((new, old)) => Self { current: find(new, old), above: self.current },
        }
    }

    fn key(self, key: &str) -> Self {
        if self.current.is_some() && self.above.is_none() && matches!(key, "apiVersion" | "kind") {
            return Self::default();
        }
        self.below(|new, old| Some((new.get(key)?, old.get(key)?)))
    }
}

struct Variables<'v> {
    this: &'v Cel,
    old: Option<&'v Cel>,
}

impl Scope for Variables<'_> {
    fn get(&self, name: &str) -> Option<Cel> {
        match name {
            "self" => Some(self.this.clone()),
            "oldSelf" => self.old.cloned(),
            _ => None,
        }
    }
}

/// One object and what is left to spend on it; nothing once it was not enough.
struct Run {
    left: Option<u64>,
    found: Violations,
}

impl Run {
    fn node(
        &mut self,
        rules: &Rules,
        value: &Value,
        old: Option<&Value>,
        path: &FieldPath,
        at: Correlation<'_>,
    ) {
        if value.is_null() {
            return;
        }
        let old = old.filter(|old| !old.is_null());
        if !rules.here.is_empty() {
            self.here(rules, value, old, path, at);
        }
        match value {
            Value::Object(map) => {
                for (key, below) in map {
                    if self.left.is_none() {
                        return;
                    }
                    let before = old.and_then(|old| old.get(key));
                    if let Some(rules) = rules.properties.get(key) {
                        self.node(rules, below, before, &path.child(key), at.key(key));
                    } else if let Some(rules) = &rules.values {
                        self.node(rules, below, before, &path.key(key), at.key(key));
                    }
                }
            }
            Value::Array(items) => {
                let Some(below) = &rules.items else { return };
                let before = old.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
                let known = rules.keys.as_deref().map(|schema| (schema, index(before, schema)));
                for (number, item) in items.iter().enumerate() {
                    if self.left.is_none() {
                        return;
                    }
                    let previous = known
                        .as_ref()
                        .and_then(|(schema, known)| known.get(&keys_of(item, schema).to_string()).copied());
                    let at = at.below(|_, _| Some((item, previous?)));
                    self.node(below, item, previous, &path.index(number), at);
                }
            }
            _ => {}
        }
    }

    fn here(
        &mut self,
        rules: &Rules,
        value: &Value,
        old: Option<&Value>,
        path: &FieldPath,
        at: Correlation<'_>,
    ) {
        let this = values::from_declared(value, &rules.declared);
        let before = old.map(|old| values::from_declared(old, &rules.declared));
        let optional = {
            let inner = before.clone().map_or_else(OptionalValue::none, OptionalValue::of);
            Cel::Opaque(std::sync::Arc::new(inner))
        };
        let plain = Variables { this: &this, old: before.as_ref() };
        for compiled in &rules.here {
            let program = match &compiled.program {
                Ok(program) => program,
                Err(why) => {
                    let why = format!("rule compile error: {why}");
                    self.found.push(Violation::invalid(path, rules.ty, why));
                    continue;
                }
            };
            let is_optional = compiled.rule.optional_old_self == Some(true);
            if compiled.uses_old() && old.is_none() && !is_optional {
                continue;
            }
            let scope = if is_optional {
                Variables { this: &this, old: Some(&optional) }
            } else {
                Variables { ..plain }
            };
            match self.ask(program, &scope, &compiled.rule, rules.ty, path) {
                None => return,
                Some(true) => {}
                Some(false) => {
                    let Some(violation) = self.refusal(compiled, value, &plain, rules.ty, path) else {
                        return;
                    };
                    if compiled.uses_old() || !at.is_unchanged() {
                        self.found.push(violation);
                    }
                }
            }
        }
    }

    /// Whether a rule holds. A rule that fails is told of and does not count as broken; `None` once all is spent.
    fn ask(
        &mut self,
        program: &Program,
        scope: &dyn Scope,
        rule: &Rule,
        ty: &str,
        path: &FieldPath,
    ) -> Option<bool> {
        let left = self.left?;
        let outcome = program.evaluate(scope, CALL_LIMIT);
        if outcome.result != Err(Fault::Cost) && outcome.cost > left || left == 0 {
            let why = "validation failed due to running out of cost budget, no further validation rules will be run";
            self.found.push(Violation::invalid(path, ty, why));
            self.left = None;
            return None;
        }
        self.left = Some(left.saturating_sub(outcome.cost));
        let name = rule.name();
        let why = match outcome.result {
            Ok(value) => return Some(value == Cel::Bool(true)),
            Err(fault @ Fault::Cost) => {
                self.left = None;
                let why = "no further validation rules will be run due to call cost exceeds limit for rule";
                self.found.push(Violation::invalid(path, ty, format!("'{fault}': {why}: {name}")));
                return None;
            }
            Err(fault) if fault.to_string().starts_with("no such overload") => format!(
                "'{fault}': call arguments did not match a supported operator, function or macro signature for \
                 rule: {name}"
            ),
            Err(fault) => format!("{fault} evaluating rule: {name}"),
        };
        self.found.push(Violation::invalid(path, ty, why));
        Some(true)
    }

    /// What is said of a broken rule; `None` once all is spent.
    fn refusal(
        &mut self,
        compiled: &Compiled,
        value: &Value,
        scope: &dyn Scope,
        ty: &str,
        path: &FieldPath,
    ) -> Option<Violation> {
        let path = compiled.place(path);
        let rule = &compiled.rule;
        let mut detail = None;
        if let Some(Ok(program)) = &compiled.message {
            let left = self.left?;
            let outcome = program.evaluate(scope, CALL_LIMIT);
            if outcome.result == Err(Fault::Cost) {
                self.left = None;
                let why = format!(
                    "no further validation rules will be run due to call cost exceeds limit for messageExpression: \
                     {:?}",
                    rule.message_expression
                );
                self.found.push(Violation::invalid(&path, ty, why));
                return None;
            }
            if outcome.cost > left {
                self.left = None;
                let why = "messageExpression evaluation failed due to running out of cost budget, no further \
                           validation rules will be run";
                self.found.push(Violation::invalid(&path, ty, why));
                return None;
            }
            self.left = Some(left - outcome.cost);
            detail = match outcome.result {
                Ok(Cel::String(text)) => Some(text.trim().to_owned())
                    .filter(|text| !text.is_empty() && text.len() <= MAX_MESSAGE && !text.contains('\n')),
                _ => None,
            };
        }
        let detail = detail.unwrap_or_else(|| {
            if rule.message.is_empty() {
                format!("failed rule: {}", rule.name())
            } else {
                rule.message.trim().to_owned()
            }
        });
        let shown = (!matches!(ty, "object" | "array")).then(|| value.clone());
        let reason = match rule.reason.as_deref() {
            Some("FieldValueForbidden") => Reason::Forbidden,
            Some("FieldValueRequired") => Reason::Required,
            Some("FieldValueDuplicate") => Reason::Duplicate,
            _ => Reason::Invalid,
        };
        Some(match reason {
            Reason::Duplicate => Violation { path, reason, value: shown, detail: String::new() },
            Reason::Invalid => Violation { path, reason, value: shown, detail },
            _ => Violation { path, reason, value: None, detail },
        })
    }
}

fn index<'v>(items: &'v [Value], schema: &Structural) -> BTreeMap<String, &'v Value> {
    items.iter().map(|item| (keys_of(item, schema).to_string(), item)).collect()
}
