//! Follows paths through objects.

use std::cmp::Ordering;

use serde_json::Value;

use super::{Comparison, Filter, JsonPathError, Missing, Node, Step};
use crate::go;

// A few steps down a deep object could otherwise give more results than memory holds.
const MAX_RESULTS: usize = 1_000_000;

type Result<T, E = JsonPathError> = std::result::Result<T, E>;

pub(super) fn render(nodes: &[Node], object: &Value, missing: Missing, out: &mut String) -> Result<()> {
    for node in nodes {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Path(path) => {
                for (i, value) in values(path, object, missing)?.into_iter().enumerate() {
                    if i > 0 {
                        out.push(' ');
                    }
                    out.push_str(&printed(value));
                }
            }
            Node::Range { over, body } => {
                for item in values(over, object, missing)? {
                    render(body, item, missing, out)?;
                }
            }
        }
    }
    Ok(())
}

fn printed(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "<nil>".to_owned(),
        // Go's encoder of JSON escapes what HTML could take for its own, and two line breaks of Unicode.
        other => other
            .to_string()
            .replace('<', "\\u003c")
            .replace('>', "\\u003e")
            .replace('&', "\\u0026")
            .replace('\u{2028}', "\\u2028")
            .replace('\u{2029}', "\\u2029"),
    }
}

pub(super) fn values<'v>(path: &'v [Step], object: &'v Value, missing: Missing) -> Result<Vec<&'v Value>> {
    walk(path, vec![object], missing)
}

fn walk<'v>(path: &'v [Step], mut found: Vec<&'v Value>, missing: Missing) -> Result<Vec<&'v Value>> {
    for step in path {
        found = follow(step, found, missing)?;
        if found.len() > MAX_RESULTS {
            return Err(JsonPathError(format!("more than {MAX_RESULTS} results")));
        }
    }
    Ok(found)
}

fn follow<'v>(step: &'v Step, from: Vec<&'v Value>, missing: Missing) -> Result<Vec<&'v Value>> {
    match step {
        Step::Literal(value) => Ok(vec![value]),
        Step::Field(name) => {
            let found: Vec<&Value> =
                from.into_iter().filter_map(|value| value.as_object()?.get(name)).collect();
            if found.is_empty() && missing == Missing::Refused {
                return Err(JsonPathError(format!("{name} is not found")));
            }
            Ok(found)
        }
        Step::Wildcard => Ok(from.into_iter().flat_map(parts).collect()),
        Step::Descendants => {
            let mut found = Vec::new();
            for value in from {
                descend(value, &mut found)?;
            }
            Ok(found)
        }
        Step::Index(index) => {
            let mut found = Vec::new();
            for items in lists(from)? {
                let at = if *index < 0 { *index + length(items) } else { *index };
                let item = usize::try_from(at).ok().and_then(|at| items.get(at));
                found.push(item.ok_or_else(|| out_of_bounds(at, items))?);
            }
            Ok(found)
        }
        Step::Slice { start, end, step } => {
            let mut found = Vec::new();
            for items in lists(from)? {
                found.extend(slice(items, *start, *end, *step)?);
            }
            Ok(found)
        }
        Step::Union(paths) => {
            let mut found = Vec::new();
            for path in paths {
                found.extend(walk(path, from.clone(), missing)?);
            }
            Ok(found)
        }
        Step::Filter(filter) => {
            let mut found = Vec::new();
            for value in from.into_iter().filter(|value| !value.is_null()) {
                let Value::Array(items) = value else {
                    let value = printed(value);
                    return Err(JsonPathError(format!(
                        "{value} is not array or slice and cannot be filtered"
                    )));
                };
                for item in items {
                    if holds(filter, item, missing)? {
                        found.push(item);
                    }
                }
            }
            Ok(found)
        }
    }
}

fn parts(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(map) => map.values().collect(),
        _ => Vec::new(),
    }
}

fn descend<'v>(value: &'v Value, found: &mut Vec<&'v Value>) -> Result<()> {
    let parts = parts(value);
    if parts.is_empty() {
        return Ok(());
    }
    if found.len() > MAX_RESULTS {
        return Err(JsonPathError(format!("more than {MAX_RESULTS} results")));
    }
    found.push(value);
    parts.into_iter().try_for_each(|part| descend(part, found))
}

fn lists(from: Vec<&Value>) -> Result<Vec<&Vec<Value>>> {
    let mut lists = Vec::with_capacity(from.len());
    for value in from.into_iter().filter(|value| !value.is_null()) {
        match value {
            Value::Array(items) => lists.push(items),
            other => return Err(JsonPathError(format!("{} is not array or slice", go::type_of(other)))),
        }
    }
    Ok(lists)
}

fn length(items: &[Value]) -> i64 {
    i64::try_from(items.len()).unwrap_or(i64::MAX)
}

fn out_of_bounds(index: i64, items: &[Value]) -> JsonPathError {
    JsonPathError(format!("array index out of bounds: index {index}, length {}", items.len()))
}

fn slice(items: &[Value], start: Option<i64>, end: Option<i64>, step: Option<i64>) -> Result<Vec<&Value>> {
    let from_end = |index: i64| if index < 0 { index.saturating_add(length(items)) } else { index };
    let start = start.map_or(0, from_end);
    let end = end.map_or(length(items), from_end);
    let step = usize::try_from(step.unwrap_or(1)).ok().filter(|step| *step > 0);
    let step = step.ok_or_else(|| JsonPathError("step must be > 0".to_owned()))?;
    if start == end {
        return Ok(Vec::new());
    }
    let bound = |index: i64, most: i64| {
        usize::try_from(index).ok().filter(|_| index <= most).ok_or_else(|| out_of_bounds(index, items))
    };
    let first = bound(start, length(items) - 1)?;
    let last = bound(end, length(items)).map_err(|_| out_of_bounds(end - 1, items))?;
    if first > last {
        return Err(JsonPathError(format!("starting index {start} is greater than ending index {end}")));
    }
    Ok(items.iter().take(last).skip(first).step_by(step).collect())
}

fn holds(filter: &Filter, item: &Value, missing: Missing) -> Result<bool> {
    match filter {
        // An absent field is what this asks for, not a mistake.
        Filter::Exists(path) => Ok(values(path, item, Missing::Skipped).is_ok_and(|found| !found.is_empty())),
        Filter::Compare { left, operator, right } => {
            let left = values(left, item, missing)?;
            let right = values(right, item, missing)?;
            match (&left[..], &right[..]) {
                ([], _) | (_, []) => Ok(false),
                ([left], [right]) => compare(left, *operator, right),
                _ => Err(JsonPathError("can only compare one element at a time".to_owned())),
            }
        }
    }
}

fn compare(left: &Value, operator: Comparison, right: &Value) -> Result<bool> {
    let order = order(left, right);
    match operator {
        Comparison::Equal => Ok(order == Some(Ordering::Equal) || left == right),
        Comparison::NotEqual => Ok(order != Some(Ordering::Equal) && left != right),
        _ => {
            let order = order.ok_or_else(|| {
                JsonPathError(format!(
                    "incompatible types for comparison: {} and {}",
                    printed(left),
                    printed(right)
                ))
            })?;
            Ok(match operator {
                Comparison::Less => order.is_lt(),
                Comparison::LessOrEqual => order.is_le(),
                Comparison::Greater => order.is_gt(),
                _ => order.is_ge(),
            })
        }
    }
}

fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        (Value::Number(left), Value::Number(right)) => match (left.as_i64(), right.as_i64()) {
            (Some(left), Some(right)) => Some(left.cmp(&right)),
            _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
        },
        _ => None,
    }
}
