//! What is wrong with the rules of a schema, in the order and the words of `apiextensions/validation`.

use orchestra_cel::Declared;
use serde_json::Value;

use super::declared::{self, MAX_REQUEST};
use super::place;
use super::rule::{Compiled, Rule};
use crate::structural::{Additional, ListKind, Structural, Type};
use crate::violation::{FieldPath, Reason, Violation, Violations};

/// What a rule may cost by its estimate, as often as it may be asked for one object; and all rules of a schema.
const RULE_LIMIT: u64 = 10_000_000;
const SCHEMA_LIMIT: u64 = 100_000_000;
const REASONS: [&str; 4] =
    ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];
/// So many of the dearest rules are named.
const NAMED: usize = 4;

/// The rules as they are written. `path` leads to the schema.
pub(crate) fn written(schema: &Value, path: &FieldPath, out: &mut Violations) {
    each_below(schema, path, &mut |below, _, at| written(below, at, out));
    let rules = Rule::all(schema);
    if rules.is_empty() {
        return;
    }
    let structural = Structural::read(schema);
    for (index, rule) in rules.iter().enumerate() {
        one(rule, &structural, &path.child("x-kubernetes-validations").index(index), out);
    }
}

fn one(rule: &Rule, schema: &Structural, path: &FieldPath, out: &mut Violations) {
    let has_lines = |text: &str| text.contains(['\n', '\r']);
    let message = rule.message.trim();
    if rule.rule.trim().is_empty() {
        out.push(Violation::required(&path.child("rule"), "rule is not specified"));
    } else if !rule.message.is_empty() && message.is_empty() {
        let why = "must be non-empty if specified";
        out.push(Violation::invalid(&path.child("message"), rule.message.as_str(), why));
    } else if has_lines(message) {
        let why = "must not contain line breaks";
        out.push(Violation::invalid(&path.child("message"), rule.message.as_str(), why));
    } else if has_lines(rule.rule.trim()) && message.is_empty() {
        let why = "message must be specified if rule contains line breaks";
        out.push(Violation::required(&path.child("message"), why));
    }
    if !rule.message_expression.is_empty() && rule.message_expression.trim().is_empty() {
        let why = "messageExpression must be non-empty if specified";
        out.push(Violation::required(&path.child("messageExpression"), why));
    }
    if let Some(reason) = rule.reason.as_deref().filter(|reason| !REASONS.contains(reason)) {
        out.push(Violation::not_supported(&path.child("reason"), reason, &REASONS));
    }
    let field = rule.field_path.as_str();
    let mut refuse = |why: &str| out.push(Violation::invalid(&path.child("fieldPath"), field, why));
    if !field.is_empty() && field.trim().is_empty() {
        refuse("must be non-empty if specified");
    }
    if has_lines(field) {
        refuse("must not contain line breaks");
    }
    if !field.is_empty() && place::place(field, schema).is_err() {
        refuse("must be a valid path");
    }
}

/// How one comes from a schema to one below it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step<'v> {
    Values,
    Property(&'v str),
    Items,
}

fn each_below<'v>(schema: &'v Value, path: &FieldPath, see: &mut dyn FnMut(&'v Value, Step<'v>, &FieldPath)) {
    let object = |field: &str| schema.get(field).filter(|below| below.is_object());
    if let Some(below) = object("additionalProperties") {
        see(below, Step::Values, &path.child("additionalProperties"));
    }
    for (key, below) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        see(below, Step::Property(key), &path.child("properties").key(key));
    }
    if let Some(below) = object("items") {
        see(below, Step::Items, &path.child("items"));
    }
}

/// The rules compiled: whether they fit the schema, and what they can cost. For schemas with nothing else wrong.
pub(crate) fn compiled(schema: &Value, path: &FieldPath, out: &mut Violations) {
    let structural = Structural::read(schema);
    let mut walk = Walk { out, total: 0, dearest: Vec::new() };
    let root = Node {
        source: schema,
        schema: &structural,
        is_root: true,
        cardinality: Some(1),
        uncorrelatable: None,
    };
    walk.node(&root, None, path);
    let Walk { total, mut dearest, .. } = walk;
    if total > SCHEMA_LIMIT {
        dearest.sort_by_key(|(_, cost)| std::cmp::Reverse(*cost));
        for (place, _) in dearest.into_iter().take(NAMED) {
            let why =
                "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
            out.push(Violation::forbidden(&place, why));
        }
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        out.push(Violation::forbidden(path, too_dear(what, total, SCHEMA_LIMIT)));
    }
}

fn too_dear(what: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let factor = if factor > 100.0 {
        "more than 100x".to_owned()
    } else if factor < 1.5 {
        format!("{factor:.6}x")
    } else {
        format!("{factor:.1}x")
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and \
         maxLength where arrays, maps, and strings are declared)"
    )
}

/// What is known of a field of an object.
fn field(declared: Option<&Declared>, key: &str) -> Option<Declared> {
    let orchestra_cel::Type::Object(object) = &declared?.ty else { return None };
    object.fields.get(&orchestra_cel::escape(key)?).cloned()
}

/// A place of the schema.
struct Node<'s> {
    source: &'s Value,
    schema: &'s Structural,
    is_root: bool,
    /// How many such values one object can have; `None` for as many as fit.
    cardinality: Option<u64>,
    /// The place above whose items cannot be found again after a change.
    uncorrelatable: Option<FieldPath>,
}

struct Walk<'o> {
    out: &'o mut Violations,
    total: u64,
    dearest: Vec<(FieldPath, u64)>,
}

impl Walk<'_> {
    fn node(&mut self, node: &Node<'_>, known: Option<Declared>, path: &FieldPath) {
        let rules = Rule::all(node.source);
        // Types are worked out where a rule stands; what stands below has them from there.
        let declared = match known {
            Some(known) => Some(known),
            None if rules.is_empty() => None,
            None => declared::declared(node.schema, node.is_root, "selfType"),
        };
        self.below(node, declared.as_ref(), path);
        if rules.is_empty() {
            return;
        }
        let at = path.child("x-kubernetes-validations");
        let Some(declared) = declared else {
            let why = "internal error: failed to construct type information for x-kubernetes-validations rules: unable \
                       to convert structural schema to CEL declarations";
            self.out.push(Violation::invalid(&at, "", why));
            return;
        };
        let times = node.cardinality.unwrap_or(MAX_REQUEST / (declared.min_json + 1));
        for (index, compiled) in Compiled::all(&rules, node.schema, &declared).iter().enumerate() {
            self.rule(compiled, times, node.uncorrelatable.as_ref(), &at.index(index));
        }
    }

    fn below(&mut self, node: &Node<'_>, declared: Option<&Declared>, path: &FieldPath) {
        let schema = node.schema;
        let item = || declared.and_then(|declared| declared.item.as_deref().cloned());
        let most = match schema.ty {
            Some(Type::Array) => schema.checks.max_items,
            Some(Type::Object) if schema.additional.is_some() => schema.checks.max_properties,
            _ => Some(1),
        };
        let cardinality = node.cardinality.zip(most).map(|(times, most)| times.saturating_mul(most));
        each_below(node.source, path, &mut |source, step, at| {
            let (below, known) = match step {
                Step::Values => (schema.additional.as_ref().and_then(Additional::schema), item()),
                Step::Items => (schema.items.as_deref(), item()),
                Step::Property(key) => (schema.properties.get(key), field(declared, key)),
            };
            let Some(below) = below else { return };
            let uncorrelatable =
                match (&node.uncorrelatable, step == Step::Items && schema.list != ListKind::Map) {
                    (None, true) => Some(path.clone()),
                    (known, _) => known.clone(),
                };
            let is_root = below.embedded;
            let node = Node { source, schema: below, is_root, cardinality, uncorrelatable };
            self.node(&node, known, at);
        });
    }

    fn rule(
        &mut self,
        compiled: &Compiled,
        times: u64,
        uncorrelatable: Option<&FieldPath>,
        path: &FieldPath,
    ) {
        let rule = &compiled.rule;
        match &compiled.program {
            Err(why) => self.refuse(&path.child("rule"), rule, why),
            Ok(program) => {
                let cost = program.estimated_cost().saturating_mul(times);
                self.spend("estimated rule cost", cost, &path.child("rule"));
            }
        }
        match &compiled.message {
            Some(Err(why)) => {
                self.refuse(&path.child("messageExpression"), rule, why);
            }
            Some(Ok(program)) => {
                let place = path.child("messageExpression");
                self.spend("estimated messageExpression cost", program.estimated_cost(), &place);
            }
            None => {}
        }
        if compiled.uses_old() {
            if let Some(above) = uncorrelatable {
                let why = format!(
                    "oldSelf cannot be used on the uncorrelatable portion of the schema within {above}"
                );
                self.out.push(Violation::invalid(&path.child("rule"), rule.rule.as_str(), why));
            }
        } else if let Some(flag) = rule.optional_old_self {
            let why = "may not be set if oldSelf is not used in rule";
            self.out.push(Violation::invalid(&path.child("optionalOldSelf"), flag, why));
        }
    }

    fn refuse(&mut self, path: &FieldPath, rule: &Rule, why: &str) {
        let detail = format!("{}: {why}", rule.shown());
        let path = path.clone();
        self.out.push(Violation { path, reason: Reason::Invalid, value: None, detail });
    }

    fn spend(&mut self, what: &str, cost: u64, path: &FieldPath) {
        if cost > RULE_LIMIT {
            self.out.push(Violation::forbidden(path, too_dear(what, cost, RULE_LIMIT)));
        }
        self.total = self.total.saturating_add(cost);
        if cost >= SCHEMA_LIMIT / 100 {
            self.dearest.push((path.clone(), cost));
        }
    }
}
