//! What things cost. One unit is about what a look at a field takes; text counts a tenth for each character.
//!
//! The same numbers serve before an expression is evaluated, with the largest sizes there can be, and while it is.

use kube_cel::cel::Value;

use crate::ast::FoldKind;
use crate::check::Known;

/// Making a list, a map, a message, and what `optMap` does around its body.
pub(crate) const LIST: u64 = 10;
pub(crate) const MAP: u64 = 30;
pub(crate) const MESSAGE: u64 = 40;
pub(crate) const OPT_MAP: u64 = 13;

/// A character of text.
const CHARACTER: f64 = 0.1;
/// A character of a pattern.
const PATTERN: f64 = 0.25;
/// The longest text of a number, a date or a length of time.
const WRITTEN: u64 = 40;
/// Asking an authorizer: two fit into an expression.
const AUTHORIZATION: u64 = 350_000;

/// What a fold costs for each item beside its body and its filter.
pub(crate) fn step(kind: FoldKind) -> u64 {
    match kind {
        FoldKind::All => 3,
        FoldKind::Exists => 4,
        FoldKind::ExistsOne => 2,
        FoldKind::Filter => 13,
        FoldKind::List | FoldKind::SortBy => 12,
        FoldKind::Map => 3,
        FoldKind::Entries => 2,
    }
}

/// What a fold costs once.
pub(crate) fn around(kind: FoldKind) -> u64 {
    match kind {
        FoldKind::All | FoldKind::Exists => 1,
        FoldKind::ExistsOne => 2,
        FoldKind::Filter | FoldKind::List => 11,
        FoldKind::Map | FoldKind::Entries => 31,
        FoldKind::SortBy => 23,
    }
}

fn times(size: u64, factor: f64) -> u64 {
    (size as f64 * factor).ceil() as u64
}

/// What a call costs at most, and how large its result gets.
pub(crate) struct Estimate {
    pub(crate) cost: u64,
    pub(crate) size: Option<u64>,
}

/// The most a call can cost, beside its operands. `operands` begin with the target of a method.
pub(crate) fn estimate(name: &str, is_method: bool, operands: &[&Known]) -> Estimate {
    let size = |at: usize| operands.get(at).map_or(0, |operand| operand.size());
    let plain = |cost: u64| Estimate { cost, size: None };
    let sized = |cost: u64, size: u64| Estimate { cost, size: Some(size) };
    let holds_text = || {
        use crate::declared::Type;
        operands.first().is_some_and(
            |list| matches!(&list.ty, Type::List(item) if matches!(**item, Type::String | Type::Bytes)),
        )
    };
    let is_text = operands.first().is_some_and(|target| {
        matches!(target.ty, crate::declared::Type::String | crate::declared::Type::Bytes)
    });
    match name {
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" if !is_text => {
            let of_text = operands
                .first()
                .filter(|_| holds_text())
                .map_or(0, |list| times(list.item_size(), CHARACTER));
            plain(size(0).saturating_mul(of_text.saturating_add(1)))
        }
        "lowerAscii" | "upperAscii" | "substring" | "trim" => sized(times(size(0), CHARACTER), size(0)),
        "replace" => {
            let largest = size(0).saturating_add(1).saturating_mul(size(2)).saturating_add(size(0));
            sized(times(size(0), 2.0 * CHARACTER), largest)
        }
        "split" => sized(times(size(0), 2.0 * CHARACTER), size(0)),
        "join" => {
            let item = operands.first().map_or(0, |list| list.item_size());
            let all = size(0).saturating_mul(item.saturating_add(size(1)));
            sized(times(all, CHARACTER), all)
        }
        "find" | "findAll" | "matches" => {
            let text = times(size(0).saturating_add(1), CHARACTER);
            let cost = text.saturating_mul(times(size(1), PATTERN));
            if name == "matches" { plain(cost) } else { sized(cost, size(0)) }
        }
        "contains" => plain(times(size(0), CHARACTER).saturating_mul(times(size(1), CHARACTER))),
        "_+_" if is_text => {
            let all = size(0).saturating_add(size(1));
            sized(times(all, CHARACTER), all)
        }
        "_+_" => sized(1, size(0).saturating_add(size(1))),
        "_==_" | "_!=_" | "_<_" | "_<=_" | "_>_" | "_>=_" => plain(times(size(0).min(size(1)), CHARACTER)),
        "@in" if matches!(operands.get(1).map(|list| &list.ty), Some(crate::declared::Type::List(_))) => {
            plain(size(1))
        }
        "sets.contains" | "sets.intersects" => plain(size(0).saturating_mul(size(1))),
        "sets.equivalent" => plain(size(0).saturating_mul(size(1)).saturating_mul(2)),
        "distinct" => sized(size(0).saturating_mul(size(0)), size(0)),
        "reverse" | "sort" | "slice" => sized(size(0), size(0)),
        "flatten" => plain(size(0)),
        "string" if operands.first().is_some_and(|operand| operand.ty.is_scalar()) => sized(1, WRITTEN),
        "check" if is_method => plain(AUTHORIZATION),
        _ if traverses(name) => plain(times(size(0), CHARACTER)),
        _ => plain(1),
    }
}

/// Functions that go through their first operand's text once.
fn traverses(name: &str) -> bool {
    matches!(
        name,
        "startsWith"
            | "endsWith"
            | "bytes"
            | "url"
            | "isURL"
            | "cidr"
            | "isIP"
            | "isCIDR"
            | "ip"
            | "ip.isCanonical"
            | "quantity"
            | "isQuantity"
            | "semver"
            | "isSemver"
            | "validate"
            | "strings.quote"
            | "format"
            | "indexOf"
            | "lastIndexOf"
            | "reverse"
            | "jsonpatch.escapeKey"
    )
}

/// How large a value is, as costs count it.
pub(crate) fn size(value: &Value) -> u64 {
    let size = match value {
        Value::String(text) => text.chars().count(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(items) => items.len(),
        Value::Map(map) => map.map.len(),
        _ => 1,
    };
    size as u64
}

/// What a call costs, by what it is given. `sizes` are those of its operands.
pub(crate) fn actual(name: &str, operands: &[Value]) -> u64 {
    let size = |at: usize| operands.get(at).map_or(0, size);
    let is_text = matches!(operands.first(), Some(Value::String(_) | Value::Bytes(_)));
    match name {
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" | "flatten" | "sort" | "slice"
            if !is_text =>
        {
            size(0)
        }
        "reverse" if !is_text => size(0),
        "lowerAscii" | "upperAscii" | "substring" | "trim" | "format" => times(size(0), CHARACTER),
        "replace" | "split" => times(size(0), 2.0 * CHARACTER),
        "find" | "findAll" | "matches" => {
            times(size(0).saturating_add(1), CHARACTER).saturating_mul(times(size(1), PATTERN))
        }
        "contains" => times(size(0), CHARACTER).saturating_mul(times(size(1), CHARACTER)),
        "_+_" if is_text => times(size(0).saturating_add(size(1)), CHARACTER),
        "_==_" | "_!=_" | "_<_" | "_<=_" | "_>_" | "_>=_" => times(size(0).min(size(1)), CHARACTER),
        "@in" if matches!(operands.get(1), Some(Value::List(_))) => size(1),
        "sets.contains" | "sets.intersects" => size(0).saturating_mul(size(1)),
        "sets.equivalent" => size(0).saturating_mul(size(1)).saturating_mul(2),
        "distinct" => size(0).saturating_mul(size(0)),
        "check" => AUTHORIZATION,
        _ if is_text && traverses(name) => times(size(0), CHARACTER),
        _ => 1,
    }
}
