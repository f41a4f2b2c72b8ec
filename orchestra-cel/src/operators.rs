//! Operators, and the functions that must not be left to a library because what they do has to be counted: equality of
//! what nests, and what makes more text than it is given.

use std::cmp::Ordering;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, TimeDelta};
use kube_cel::cel::Value;
use kube_cel::cel::objects::{Key, OptionalValue};

use crate::eval::{Evaluated, Evaluator, Fault, key_of, none, optional_of, some};
use crate::message::Message;

/// How many digits a number may be written with.
const MAX_PRECISION: usize = 100;

/// What a function gives; `None` for one that is not here.
pub(crate) fn apply(evaluator: &mut Evaluator<'_>, function: &str, operands: &[Value]) -> Option<Evaluated> {
    Some(match (function, operands) {
        ("_==_", [a, b]) => equal(evaluator, a, b).map(Value::Bool),
        ("_!=_", [a, b]) => equal(evaluator, a, b).map(|same| Value::Bool(!same)),
        ("_<_", [a, b]) => compare(a, b).map(|order| Value::Bool(order == Some(Ordering::Less))),
        ("_<=_", [a, b]) => compare(a, b).map(|order| Value::Bool(order.is_some_and(Ordering::is_le))),
        ("_>_", [a, b]) => compare(a, b).map(|order| Value::Bool(order == Some(Ordering::Greater))),
        ("_>=_", [a, b]) => compare(a, b).map(|order| Value::Bool(order.is_some_and(Ordering::is_ge))),
        ("@in", [item, range]) => contains(evaluator, item, range),
        ("!_", [Value::Bool(flag)]) => Ok(Value::Bool(!flag)),
        ("-_", [Value::Int(number)]) => checked(number.checked_neg().map(Value::Int)),
        ("-_", [Value::Float(number)]) => Ok(Value::Float(-number)),
        ("!_" | "-_", _) => Err(Fault::no_overload()),
        ("_+_" | "_-_" | "_*_" | "_/_" | "_%_", [a, b]) => arithmetic(evaluator, function, a, b),
        ("_[_]", [range, index]) => index_of(range, index, false),
        ("_[?_]", [range, index]) => index_of(range, index, true),
        ("size", [value]) => size(value),
        ("dyn", [value]) => Ok(value.clone()),
        ("type", [value]) => Ok(Value::Function(Arc::new(type_name(value)), None)),
        ("bool", [Value::Bool(flag)]) => Ok(Value::Bool(*flag)),
        ("bool", [Value::String(text)]) => match text.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            _ => Err(Fault::new(format!("type conversion error from '{text}' to 'bool'"))),
        },
        ("string", [Value::Bool(flag)]) => Ok(string(flag.to_string())),
        ("string", [Value::Timestamp(time)]) => Ok(string(rfc3339(time))),
        ("string", [Value::Duration(length)]) => Ok(string(seconds(*length))),
        ("timestamp", [Value::Int(seconds)]) => match DateTime::from_timestamp(*seconds, 0) {
            Some(time) => Ok(Value::Timestamp(time.fixed_offset())),
            None => Err(Fault::new("timestamp overflow")),
        },
        ("timestamp", [Value::Timestamp(_)]) | ("duration", [Value::Duration(_)]) => {
            operands.first().cloned().ok_or_else(Fault::no_overload)
        }
        ("duration", [Value::Int(nanos)]) => Ok(Value::Duration(TimeDelta::nanoseconds(*nanos))),
        ("int", [Value::Timestamp(time)]) => Ok(Value::Int(time.timestamp())),
        ("int", [Value::Duration(length)]) => checked(length.num_nanoseconds().map(Value::Int)),
        ("contains", [Value::String(text), Value::String(part)]) => {
            Ok(Value::Bool(text.contains(part.as_str())))
        }
        ("startsWith", [Value::String(text), Value::String(part)]) => {
            Ok(Value::Bool(text.starts_with(part.as_str())))
        }
        ("endsWith", [Value::String(text), Value::String(part)]) => {
            Ok(Value::Bool(text.ends_with(part.as_str())))
        }
        ("matches", [Value::String(text), Value::String(pattern)]) => {
            evaluator.regex(pattern).map(|regex| Value::Bool(regex.is_match(text)))
        }
        ("find", [Value::String(text), Value::String(pattern)]) => evaluator
            .regex(pattern)
            .map(|regex| string(regex.find(text).map(|found| found.as_str().to_owned()).unwrap_or_default())),
        ("findAll", [Value::String(text), Value::String(pattern), rest @ ..]) => {
            find_all(evaluator, text, pattern, rest.first())
        }
        ("contains" | "startsWith" | "endsWith" | "matches" | "find" | "findAll", _) => {
            Err(Fault::no_overload())
        }
        ("join", [Value::List(items), rest @ ..]) => join(evaluator, items, rest.first()),
        ("replace", [Value::String(text), Value::String(from), Value::String(to), rest @ ..]) => {
            replace(evaluator, text, from, to, rest.first())
        }
        ("lists.range", [Value::Int(count)]) => range(evaluator, *count),
        ("format", [Value::String(text), ..]) if precision(text) > MAX_PRECISION => {
            Err(Fault::new(format!("precision must not be more than {MAX_PRECISION}")))
        }
        ("optional.of", [value]) => Ok(some(value.clone())),
        ("optional.ofNonZeroValue", [value]) => Ok(if is_zero(value) { none() } else { some(value.clone()) }),
        ("optional.none", []) => Ok(none()),
        ("value" | "hasValue" | "or" | "orValue", [target, rest @ ..]) => {
            optional(function, target, rest.first())
        }
        ("min" | "max", [Value::List(items)]) => extreme(items, function == "min"),
        ("sort", [Value::List(items)]) => sort(items),
        ("distinct", [Value::List(items)]) => distinct(evaluator, items),
        _ => return None,
    })
}

fn string(text: String) -> Value {
    Value::String(Arc::new(text))
}

fn checked(value: Option<Value>) -> Evaluated {
    value.ok_or_else(|| Fault::new("integer overflow"))
}

fn rfc3339(time: &DateTime<chrono::FixedOffset>) -> String {
    let text = time.to_utc().to_rfc3339_opts(SecondsFormat::Nanos, true);
    let trimmed = text.trim_end_matches('Z').trim_end_matches('0').trim_end_matches('.');
    format!("{trimmed}Z")
}

fn seconds(length: TimeDelta) -> String {
    let nanos = length.num_nanoseconds().unwrap_or(i64::MAX);
    let (whole, part) = (nanos.unsigned_abs() / 1_000_000_000, nanos.unsigned_abs() % 1_000_000_000);
    let part = format!("{part:09}");
    let part = part.trim_end_matches('0');
    let sign = if nanos < 0 { "-" } else { "" };
    if part.is_empty() { format!("{sign}{whole}s") } else { format!("{sign}{whole}.{part}s") }
}

/// Whether two values are the same. What nests is counted while it is gone through: lists can hold one list many times.
pub(crate) fn equal(evaluator: &mut Evaluator<'_>, a: &Value, b: &Value) -> Result<bool, Fault> {
    match (a, b) {
        (Value::List(a), Value::List(b)) => {
            if a.len() != b.len() {
                return Ok(false);
            }
            evaluator.visit(a.len())?;
            for (a, b) in a.iter().zip(b.iter()) {
                if !equal(evaluator, a, b)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Value::Map(a), Value::Map(b)) => {
            if a.map.len() != b.map.len() {
                return Ok(false);
            }
            evaluator.visit(a.map.len())?;
            for (key, a) in a.map.iter() {
                let Some(b) = b.map.get(key) else { return Ok(false) };
                if !equal(evaluator, a, b)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Value::Opaque(_), Value::Opaque(_)) => match (optional_of(a), optional_of(b)) {
            (Some(Some(a)), Some(Some(b))) => {
                evaluator.charge(1)?;
                equal(evaluator, a, b)
            }
            (Some(a), Some(b)) => Ok(a.is_none() && b.is_none()),
            _ => match (Message::of(a), Message::of(b)) {
                (Some(a), Some(b)) => same_message(evaluator, a, b),
                _ => Ok(a == b),
            },
        },
        _ => Ok(a == b),
    }
}

fn same_message(evaluator: &mut Evaluator<'_>, a: &Message, b: &Message) -> Result<bool, Fault> {
    if a.name != b.name || a.fields.len() != b.fields.len() {
        return Ok(false);
    }
    evaluator.visit(a.fields.len())?;
    for (name, a) in &a.fields {
        let Some(b) = b.fields.get(name) else { return Ok(false) };
        if !equal(evaluator, a, b)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_zero(value: &Value) -> bool {
    Message::of(value).map_or_else(|| value.is_zero(), |message| message.fields.is_empty())
}

fn compare(a: &Value, b: &Value) -> Result<Option<Ordering>, Fault> {
    match (a, b) {
        (Value::Bytes(a), Value::Bytes(b)) => Ok(Some(a.cmp(b))),
        (Value::Float(a), _) if a.is_nan() => Ok(None),
        (_, Value::Float(b)) if b.is_nan() => Ok(None),
        (Value::Null | Value::List(_) | Value::Map(_) | Value::Opaque(_), _) => Err(Fault::no_overload()),
        _ => a.partial_cmp(b).map(Some).ok_or_else(Fault::no_overload),
    }
}

fn contains(evaluator: &mut Evaluator<'_>, item: &Value, range: &Value) -> Evaluated {
    match range {
        Value::List(items) => {
            for other in items.iter() {
                if equal(evaluator, item, other)? {
                    return Ok(Value::Bool(true));
                }
            }
            Ok(Value::Bool(false))
        }
        Value::Map(map) => Ok(Value::Bool(key_of(item.clone()).is_ok_and(|key| map.map.contains_key(&key)))),
        _ => Err(Fault::no_overload()),
    }
}

fn arithmetic(evaluator: &mut Evaluator<'_>, function: &str, a: &Value, b: &Value) -> Evaluated {
    let of_uints =
        |value: Option<u64>| value.map(Value::UInt).ok_or_else(|| Fault::new("unsigned integer overflow"));
    match (function, a, b) {
        ("_+_", Value::Int(a), Value::Int(b)) => checked(a.checked_add(*b).map(Value::Int)),
        ("_-_", Value::Int(a), Value::Int(b)) => checked(a.checked_sub(*b).map(Value::Int)),
        ("_*_", Value::Int(a), Value::Int(b)) => checked(a.checked_mul(*b).map(Value::Int)),
        ("_/_", Value::Int(_), Value::Int(0)) | ("_/_", Value::UInt(_), Value::UInt(0)) => {
            Err(Fault::new("division by zero"))
        }
        ("_%_", Value::Int(_), Value::Int(0)) | ("_%_", Value::UInt(_), Value::UInt(0)) => {
            Err(Fault::new("modulus by zero"))
        }
        ("_/_", Value::Int(a), Value::Int(b)) => checked(a.checked_div(*b).map(Value::Int)),
        ("_%_", Value::Int(a), Value::Int(b)) => checked(a.checked_rem(*b).map(Value::Int)),
        ("_+_", Value::UInt(a), Value::UInt(b)) => of_uints(a.checked_add(*b)),
        ("_-_", Value::UInt(a), Value::UInt(b)) => of_uints(a.checked_sub(*b)),
        ("_*_", Value::UInt(a), Value::UInt(b)) => of_uints(a.checked_mul(*b)),
        ("_/_", Value::UInt(a), Value::UInt(b)) => of_uints(a.checked_div(*b)),
        ("_%_", Value::UInt(a), Value::UInt(b)) => of_uints(a.checked_rem(*b)),
        ("_+_", Value::Float(a), Value::Float(b)) => Ok(Value::Float(a + b)),
        ("_-_", Value::Float(a), Value::Float(b)) => Ok(Value::Float(a - b)),
        ("_*_", Value::Float(a), Value::Float(b)) => Ok(Value::Float(a * b)),
        ("_/_", Value::Float(a), Value::Float(b)) => Ok(Value::Float(a / b)),
        ("_+_", Value::String(a), Value::String(b)) => Ok(string(format!("{a}{b}"))),
        ("_+_", Value::Bytes(a), Value::Bytes(b)) => {
            Ok(Value::Bytes(Arc::new(a.iter().chain(b.iter()).copied().collect())))
        }
        ("_+_", Value::List(a), Value::List(b)) => {
            // Upstream strings lists together without copying; here it is a copy, and counts as one.
            evaluator.charge((a.len() + b.len()) as u64 / 10)?;
            Ok(Value::List(Arc::new(a.iter().chain(b.iter()).cloned().collect())))
        }
        ("_+_", Value::Timestamp(time), Value::Duration(length))
        | ("_+_", Value::Duration(length), Value::Timestamp(time)) => time
            .checked_add_signed(*length)
            .map(Value::Timestamp)
            .ok_or_else(|| Fault::new("timestamp overflow")),
        ("_-_", Value::Timestamp(time), Value::Duration(length)) => time
            .checked_sub_signed(*length)
            .map(Value::Timestamp)
            .ok_or_else(|| Fault::new("timestamp overflow")),
        ("_-_", Value::Timestamp(a), Value::Timestamp(b)) => Ok(Value::Duration(a.signed_duration_since(*b))),
        ("_+_", Value::Duration(a), Value::Duration(b)) => {
            a.checked_add(b).map(Value::Duration).ok_or_else(|| Fault::new("duration overflow"))
        }
        ("_-_", Value::Duration(a), Value::Duration(b)) => {
            a.checked_sub(b).map(Value::Duration).ok_or_else(|| Fault::new("duration overflow"))
        }
        _ => Err(Fault::no_overload()),
    }
}

fn index_of(range: &Value, index: &Value, optional: bool) -> Evaluated {
    let (range, is_optional) = match optional_of(range) {
        Some(None) => return Ok(none()),
        Some(Some(inner)) => (inner, true),
        None => (range, optional),
    };
    let found = match range {
        Value::List(items) => {
            let at = match index {
                Value::Int(at) => usize::try_from(*at).ok(),
                Value::UInt(at) => usize::try_from(*at).ok(),
                Value::Float(at) if at.fract() == 0.0 && *at >= 0.0 => Some(*at as usize),
                _ => return Err(Fault::new("unsupported index type")),
            };
            at.and_then(|at| items.get(at)).cloned().ok_or_else(|| {
                let shown = match index {
                    Value::Int(at) => at.to_string(),
                    Value::UInt(at) => at.to_string(),
                    _ => String::new(),
                };
                Fault::new(format!("index out of bounds: {shown}"))
            })
        }
        Value::Map(map) => {
            let key = match index {
                Value::Float(key) if key.fract() == 0.0 => Key::Int(*key as i64),
                other => key_of(other.clone())?,
            };
            map.map.get(&key).cloned().ok_or_else(|| Fault::new(format!("no such key: {key}")))
        }
        _ => return Err(Fault::no_overload()),
    };
    match found {
        Ok(value) if is_optional => Ok(some(value)),
        Err(_) if is_optional => Ok(none()),
        found => found,
    }
}

fn size(value: &Value) -> Evaluated {
    match value {
        Value::String(_) | Value::Bytes(_) | Value::List(_) | Value::Map(_) => {
            Ok(Value::Int(i64::try_from(crate::cost::size(value)).unwrap_or(i64::MAX)))
        }
        _ => Err(Fault::no_overload()),
    }
}

/// The name of a value's type, which is what `type(x)` is compared by.
pub(crate) fn type_name(value: &Value) -> String {
    match value {
        Value::List(_) => "list",
        Value::Map(_) => "map",
        Value::Function(..) => "type",
        Value::Int(_) => "int",
        Value::UInt(_) => "uint",
        Value::Float(_) => "double",
        Value::String(_) => "string",
        Value::Bytes(_) => "bytes",
        Value::Bool(_) => "bool",
        Value::Duration(_) => "google.protobuf.Duration",
        Value::Timestamp(_) => "google.protobuf.Timestamp",
        Value::Opaque(opaque) => opaque.runtime_type_name(),
        Value::Null => "null_type",
    }
    .to_owned()
}

fn find_all(
    evaluator: &mut Evaluator<'_>,
    text: &str,
    pattern: &Arc<String>,
    limit: Option<&Value>,
) -> Evaluated {
    let limit = match limit {
        Some(Value::Int(limit)) if *limit >= 0 => usize::try_from(*limit).unwrap_or(usize::MAX),
        _ => usize::MAX,
    };
    let regex = evaluator.regex(pattern)?;
    let found: Vec<Value> =
        regex.find_iter(text).take(limit).map(|found| string(found.as_str().to_owned())).collect();
    evaluator.charge(found.len() as u64)?;
    Ok(Value::List(Arc::new(found)))
}

fn join(evaluator: &mut Evaluator<'_>, items: &[Value], separator: Option<&Value>) -> Evaluated {
    let separator = match separator {
        None => "",
        Some(Value::String(separator)) => separator.as_str(),
        Some(_) => return Err(Fault::no_overload()),
    };
    let mut texts = Vec::with_capacity(items.len());
    let mut length = separator.len().saturating_mul(items.len().saturating_sub(1));
    for item in items {
        let Value::String(text) = item else { return Err(Fault::no_overload()) };
        length = length.saturating_add(text.len());
        texts.push(text.as_str());
    }
    evaluator.charge(length as u64 / 5)?;
    Ok(string(texts.join(separator)))
}

fn replace(
    evaluator: &mut Evaluator<'_>,
    text: &str,
    from: &str,
    to: &str,
    limit: Option<&Value>,
) -> Evaluated {
    let most = if from.is_empty() { text.len() + 1 } else { text.len() / from.len() };
    let most = match limit {
        None => most,
        Some(Value::Int(limit)) if *limit < 0 => most,
        Some(Value::Int(limit)) => most.min(usize::try_from(*limit).unwrap_or(usize::MAX)),
        Some(_) => return Err(Fault::no_overload()),
    };
    let found = if from.is_empty() { most } else { text.matches(from).take(most).count() };
    let grown = found.saturating_mul(to.len()).saturating_add(text.len());
    evaluator.charge(grown as u64 / 10)?;
    Ok(string(text.replacen(from, to, most)))
}

fn range(evaluator: &mut Evaluator<'_>, count: i64) -> Evaluated {
    let length = u64::try_from(count).unwrap_or_default();
    evaluator.charge(length)?;
    Ok(Value::List(Arc::new((0..count.max(0)).map(Value::Int).collect())))
}

/// The largest precision a format asks for.
fn precision(text: &str) -> usize {
    let after = text.split("%.").skip(1);
    let digits = after.map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
    digits
        .map(|digits| if digits.is_empty() { 0 } else { digits.parse().unwrap_or(usize::MAX) })
        .max()
        .unwrap_or(0)
}

fn optional(function: &str, target: &Value, other: Option<&Value>) -> Evaluated {
    let Value::Opaque(opaque) = target else { return Err(Fault::no_overload()) };
    let inner = opaque.downcast_ref::<OptionalValue>().ok_or_else(Fault::no_overload)?.value();
    match (function, inner, other) {
        ("hasValue", inner, None) => Ok(Value::Bool(inner.is_some())),
        ("value", Some(inner), None) => Ok(inner.clone()),
        ("value", None, None) => Err(Fault::new("optional.none() dereference")),
        ("orValue", Some(inner), Some(_)) => Ok(inner.clone()),
        ("orValue", None, Some(other)) => Ok(other.clone()),
        ("or", Some(_), Some(_)) => Ok(target.clone()),
        ("or", None, Some(other)) => Ok(other.clone()),
        _ => Err(Fault::no_overload()),
    }
}

fn extreme(items: &[Value], smallest: bool) -> Evaluated {
    let mut best: Option<&Value> = None;
    for item in items {
        let better = match best {
            None => true,
            Some(best) => match compare(item, best)? {
                Some(Ordering::Less) => smallest,
                Some(Ordering::Greater) => !smallest,
                _ => false,
            },
        };
        if better {
            best = Some(item);
        }
    }
    let name = if smallest { "min" } else { "max" };
    best.cloned().ok_or_else(|| Fault::new(format!("{name} called on empty list")))
}

fn sort(items: &[Value]) -> Evaluated {
    let mut out = items.to_vec();
    let mut fault = None;
    out.sort_by(|a, b| match compare(a, b) {
        Ok(order) => order.unwrap_or(Ordering::Equal),
        Err(why) => {
            fault = Some(why);
            Ordering::Equal
        }
    });
    fault.map_or(Ok(Value::List(Arc::new(out))), Err)
}

fn distinct(evaluator: &mut Evaluator<'_>, items: &[Value]) -> Evaluated {
    let mut out: Vec<Value> = Vec::new();
    for item in items {
        let mut is_new = true;
        for other in &out {
            if equal(evaluator, item, other)? {
                is_new = false;
                break;
            }
        }
        if is_new {
            out.push(item.clone());
        }
    }
    Ok(Value::List(Arc::new(out)))
}
