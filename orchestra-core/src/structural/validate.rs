//! What is wrong with a value, in the words of `k8s.io/kube-openapi/pkg/validation`.

use std::cell::Cell;

use serde_json::Value;

use super::format;
use super::lists::keys_of;
use super::model::{Additional, ListKind, Structural, Type};
use crate::violation::{FieldPath, Reason, Violation, Violations};

impl Structural {
    /// What is wrong with a value that errors name by `path`. Where `old` has the same value in the same place,
    /// nothing is: what was let in once does not stand in the way of other changes.
    pub fn validate(&self, value: &Value, old: Option<&Value>, path: &FieldPath) -> Violations {
        let left = Cell::new(MAX_STEPS);
        let mut found = check(value, self, At { base: path, name: "", left: &left }, old).found;
        if left.get() == 0 {
            let why = format!("takes more than {MAX_STEPS} comparisons with the schema");
            found.push(Violation::invalid(path, "", why));
        }
        found
    }
}

/// How many places of schemas one validation may look at. Alternatives within the items of long lists multiply, and both
/// the schema and the object come from outside; upstream has no such limit and takes the time.
const MAX_STEPS: usize = 20_000_000;

/// What a value was found to be.
#[derive(Default)]
struct Outcome {
    found: Violations,
    /// How many rules were looked at: of several schemas of which none holds, the one that came furthest is told.
    looked_at: usize,
}

impl Outcome {
    fn merge(&mut self, other: Self) {
        self.found.extend(other.found);
        self.looked_at += other.looked_at;
    }

    fn is_valid(&self) -> bool {
        self.found.is_empty()
    }
}

/// Where a value stands: the path that fields are told by, and the name that messages use.
#[derive(Clone, Copy)]
struct At<'a> {
    base: &'a FieldPath,
    name: &'a str,
    left: &'a Cell<usize>,
}

impl At<'_> {
    /// Whether so many more places may be looked at.
    fn spend(self, steps: usize) -> bool {
        let left = self.left.get().saturating_sub(steps);
        self.left.set(left);
        left > 0
    }

    fn path(self) -> FieldPath {
        if self.name.is_empty() { self.base.clone() } else { self.base.child(self.name) }
    }

    fn below(self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    fn invalid(self, value: impl Into<Value>, what: impl std::fmt::Display) -> Violation {
        Violation::invalid(&self.path(), value, format!("{} in body {what}", self.name))
    }

    /// `value` is what messages show of it: the name of its type, or its text where a format is wrong.
    fn mistyped(self, value: &str, wanted: &str) -> Violation {
        let detail = format!("{} in body must be of type {wanted}: {}", self.name, Value::from(value));
        Violation { path: self.path(), reason: Reason::TypeInvalid, value: Some(value.into()), detail }
    }

    /// Upstream does not say of what field these are.
    fn composite(self, what: impl std::fmt::Display) -> Violation {
        Violation::invalid(self.base, "", format!("\"{}\" {what}", self.name))
    }
}

fn check(value: &Value, schema: &Structural, at: At<'_>, old: Option<&Value>) -> Outcome {
    if old == Some(value) || !at.spend(1 + schema.checks.enumeration.len()) {
        return Outcome::default();
    }
    let mut out = Outcome { found: Violations::new(), looked_at: 1 };
    out.found.extend(of_type(value, schema, at));
    if value.is_null() {
        out.found.extend(enumeration(value, schema, at));
        return out;
    }
    out.merge(combinations(value, schema, at));
    match value {
        Value::String(text) => {
            out.found.extend(of_text(text, schema, at));
            out.looked_at += 2;
        }
        Value::Number(number) => {
            of_number(value, number.as_f64().unwrap_or_default(), schema, at, &mut out.found);
            out.looked_at += 1;
        }
        Value::Array(items) => out.merge(list(items, schema, at, old)),
        _ => {}
    }
    out.found.extend(enumeration(value, schema, at));
    out.looked_at += 2;
    if let Value::Object(_) = value {
        out.merge(object(value, schema, at, old));
    }
    out
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn is_of(value: &Value, ty: Type) -> bool {
    match value {
        Value::Number(number) => match ty {
            Type::Number => true,
            Type::Integer => number.is_i64() || number.as_f64().is_some_and(|n| n.fract() == 0.0),
            _ => false,
        },
        other => type_name(other) == ty.as_str(),
    }
}

fn of_type(value: &Value, schema: &Structural, at: At<'_>) -> Option<Violation> {
    let (first, wanted) = match (schema.int_or_string, schema.ty) {
        (true, _) => (Type::Integer, "integer,string"),
        (false, Some(ty)) => (ty, ty.as_str()),
        (false, None) => return None,
    };
    let fits = is_of(value, first)
        || (schema.int_or_string && value.is_string())
        || (value.is_null() && schema.nullable);
    (!fits).then(|| at.mistyped(type_name(value), wanted))
}

fn enumeration(value: &Value, schema: &Structural, at: At<'_>) -> Option<Violation> {
    let allowed = &schema.checks.enumeration;
    if allowed.is_empty() || allowed.iter().any(|one| is_same(one, value)) {
        return None;
    }
    let shown: Vec<String> =
        allowed.iter().map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned)).collect();
    let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
    let value = if value.is_null() { "null".into() } else { value.clone() };
    Some(Violation::not_supported(&at.path(), value, &shown))
}

/// Numbers are compared by value: 1 and 1.0 are one.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        _ => one == other,
    }
}

fn of_text(text: &str, schema: &Structural, at: At<'_>) -> Vec<Violation> {
    let checks = &schema.checks;
    let mut out = Vec::new();
    // Counted only where it matters: a text can be long.
    let length = || u64::try_from(text.chars().count()).unwrap_or(u64::MAX);
    if let Some(max) = checks.max_length.filter(|max| length() > *max) {
        out.push(Violation::too_long(&at.path(), usize::try_from(max).unwrap_or(usize::MAX)));
    } else if let Some(min) = checks.min_length.filter(|min| length() < *min) {
        out.push(at.invalid(text, format_args!("should be at least {min} chars long")));
    } else if let Some(pattern) = checks.pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
        out.push(at.invalid(text, format_args!("should match '{}'", pattern.source())));
    }
    if let Some(wanted) = &checks.format
        && format::is_known(wanted, schema.ty.filter(|_| !schema.int_or_string))
        && !format::fits(wanted, text)
    {
        out.push(at.mistyped(text, wanted));
    }
    out
}

fn of_number(value: &Value, number: f64, schema: &Structural, at: At<'_>, out: &mut Violations) {
    let checks = &schema.checks;
    if let Some(factor) = checks.multiple_of {
        let fits = match (value.as_i64(), whole(factor)) {
            (Some(number), Some(factor)) => factor != 0 && number % factor == 0,
            _ => (number / factor).fract() == 0.0,
        };
        if factor <= 0.0 {
            let why = format!("factor MultipleOf declared for {} must be positive: {factor}", at.name);
            out.push(Violation::invalid(&at.path(), value.clone(), why));
        } else if !fits {
            out.push(at.invalid(value.clone(), format_args!("should be a multiple of {factor}")));
        }
    }
    // Whole numbers are compared as such: beyond 2^53 floating point loses what is exact in JSON.
    let order = |limit: f64| match (value.as_i64(), whole(limit)) {
        (Some(number), Some(limit)) => Some(number.cmp(&limit)),
        _ => number.partial_cmp(&limit),
    };
    if let Some(limit) = checks.minimum {
        let low = order(limit).is_none_or(|o| o.is_lt() || (o.is_eq() && checks.exclusive_minimum));
        let equal = if checks.exclusive_minimum { "" } else { " or equal to" };
        if low {
            let than = if equal.is_empty() { "than".to_owned() } else { format!("than{equal}") };
            out.push(at.invalid(value.clone(), format_args!("should be greater {than} {limit}")));
        }
    }
    if let Some(limit) = checks.maximum {
        let high = order(limit).is_none_or(|o| o.is_gt() || (o.is_eq() && checks.exclusive_maximum));
        let equal = if checks.exclusive_maximum { "" } else { " or equal to" };
        if high {
            out.push(at.invalid(value.clone(), format_args!("should be less than{equal} {limit}")));
        }
    }
    let is_narrow = schema.ty == Some(Type::Integer) && checks.format.as_deref() == Some("int32");
    if is_narrow && value.as_i64().is_some_and(|number| i32::try_from(number).is_err()) {
        let why = format!("Checked value must be of type integer with format int32 in {}", at.name);
        out.push(Violation::invalid(at.base, "", why));
    }
}

/// A limit as a whole number, where it is one that floating point holds exactly.
fn whole(limit: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[allow(clippy::cast_possible_truncation, reason = "whole and within the range that is exact")]
    (limit.fract() == 0.0 && limit.abs() <= EXACT).then_some(limit as i64)
}

fn list(items: &[Value], schema: &Structural, at: At<'_>, old: Option<&Value>) -> Outcome {
    let mut out = Outcome { found: Violations::new(), looked_at: 1 };
    if let Some(below) = schema.items.as_deref() {
        let before = Before::new(old, schema);
        for (index, item) in items.iter().enumerate() {
            let name = format!("{}[{index}]", at.name);
            out.merge(check(item, below, At { name: &name, ..at }, before.of(item, schema)));
        }
    }
    let count = u64::try_from(items.len()).unwrap_or(u64::MAX);
    if let Some(min) = schema.checks.min_items.filter(|min| count < *min) {
        out.found.push(at.invalid(count, format_args!("should have at least {min} items")));
    }
    if let Some(max) = schema.checks.max_items.filter(|max| count > *max) {
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        out.found.push(Violation::too_many(&at.path(), items.len(), max));
    }
    out
}

/// The items of a list as they were, where they can be told apart.
struct Before<'a>(std::collections::HashMap<String, &'a Value>);

impl<'a> Before<'a> {
    fn new(old: Option<&'a Value>, schema: &Structural) -> Self {
        let items = old.and_then(Value::as_array).filter(|_| schema.list == ListKind::Map);
        Self(items.into_iter().flatten().map(|item| (keys_of(item, schema).to_string(), item)).collect())
    }

    fn of(&self, item: &Value, schema: &Structural) -> Option<&'a Value> {
        if self.0.is_empty() { None } else { self.0.get(&keys_of(item, schema).to_string()).copied() }
    }
}

fn object(value: &Value, schema: &Structural, at: At<'_>, old: Option<&Value>) -> Outcome {
    let mut out = Outcome { found: Violations::new(), looked_at: 1 };
    let Value::Object(map) = value else { return out };
    let checks = &schema.checks;
    let count = u64::try_from(map.len()).unwrap_or(u64::MAX);
    if let Some(min) = checks.min_properties.filter(|min| count < *min) {
        out.found.push(at.invalid(count, format_args!("should have at least {min} properties")));
        return out;
    }
    if let Some(max) = checks.max_properties.filter(|max| count > *max) {
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        out.found.push(Violation::too_many(&at.path(), map.len(), max));
        return out;
    }
    for (key, value) in map {
        let below = match (schema.properties.get(key), &schema.additional) {
            (Some(below), _) => below,
            (None, Some(Additional::Schema(below))) => &**below,
            (None, Some(Additional::Forbidden)) => {
                let why = format!("{}.{key} in body is a forbidden property", at.name);
                out.found.push(Violation::invalid(&at.path(), key.as_str(), why));
                continue;
            }
            (None, Some(Additional::Allowed) | None) => continue,
        };
        let name = at.below(key);
        let old = old.and_then(|old| old.get(key));
        out.merge(check(value, below, At { name: &name, ..at }, old));
    }
    for key in checks.required.iter().filter(|key| !map.contains_key(*key)) {
        out.found.push(Violation::required(&at.base.child(&at.below(key)), ""));
    }
    out
}

fn combinations(value: &Value, schema: &Structural, at: At<'_>) -> Outcome {
    let checks = &schema.checks;
    let mut out = Outcome { found: Violations::new(), looked_at: 1 };
    if !checks.any_of.is_empty() {
        let mut best: Option<Outcome> = None;
        let holds = checks.any_of.iter().any(|one| try_one(value, one, at, &mut best));
        if !holds {
            out.found.push(at.composite("must validate at least one schema (anyOf)"));
            best.into_iter().for_each(|best| out.merge(best));
        }
    }
    if !checks.one_of.is_empty() {
        let mut best: Option<Outcome> = None;
        let holding = checks.one_of.iter().filter(|one| try_one(value, one, at, &mut best)).count();
        if holding != 1 {
            let found = match holding {
                0 => "Found none valid".to_owned(),
                many => format!("Found {many} valid alternatives"),
            };
            out.found
                .push(at.composite(format_args!("must validate one and only one schema (oneOf). {found}")));
            best.into_iter().filter(|_| holding == 0).for_each(|best| out.merge(best));
        }
    }
    let mut holding = 0;
    for one in &checks.all_of {
        let outcome = check(value, one, at, None);
        holding += usize::from(outcome.is_valid());
        out.merge(outcome);
    }
    if holding != checks.all_of.len() {
        let none = if holding == 0 { ". None validated" } else { "" };
        out.found.push(at.composite(format_args!("must validate all the schemas (allOf){none}")));
    }
    if checks.not.as_deref().is_some_and(|not| check(value, not, at, None).is_valid()) {
        out.found.push(at.composite("must not validate the schema (not)"));
    }
    out
}

/// Whether one of several schemas holds; the failure that came furthest is kept.
fn try_one(value: &Value, schema: &Structural, at: At<'_>, best: &mut Option<Outcome>) -> bool {
    let outcome = check(value, schema, at, None);
    if outcome.is_valid() {
        return true;
    }
    if best.as_ref().is_none_or(|best| outcome.looked_at > best.looked_at) {
        *best = Some(outcome);
    }
    false
}
