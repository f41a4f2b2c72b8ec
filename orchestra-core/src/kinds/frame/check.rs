//! Checks that many kinds share, each with upstream's wording.

use serde_json::Value;

use super::view::View;
use crate::meta::name;
use crate::violation::{Violation, Violations};

/// What a change of a field that must stay says.
pub(crate) const IMMUTABLE: &str = "field is immutable";
/// What a number below zero says.
pub(crate) const NEGATIVE: &str = "must be greater than or equal to 0";

/// Reports `detail` about the value.
pub(crate) fn refuse(out: &mut Violations, view: &View, detail: impl Into<String>) {
    out.push(Violation::invalid(view.path(), view.json(), detail));
}

/// Reports each of the messages about the value.
pub(crate) fn refuse_all(out: &mut Violations, view: &View, messages: Vec<String>) {
    for message in messages {
        refuse(out, view, message);
    }
}

/// A text or list that must be there and not be empty. Says whether it is.
pub(crate) fn required(out: &mut Violations, view: &View) -> bool {
    required_because(out, view, "")
}

/// As [`required`], with upstream's reason.
pub(crate) fn required_because(out: &mut Violations, view: &View, detail: &str) -> bool {
    let there = !view.is_empty();
    if !there {
        out.push(Violation::required(view.path(), detail));
    }
    there
}

/// A text that must be there and pass `check`.
pub(crate) fn required_name(out: &mut Violations, view: &View, check: fn(&str) -> Vec<String>) {
    if required(out, view) {
        refuse_all(out, view, check(view.text()));
    }
}

/// A text that must pass `check` if it is there.
pub(crate) fn optional_name(out: &mut Violations, view: &View, check: fn(&str) -> Vec<String>) {
    if !view.is_empty() {
        refuse_all(out, view, check(view.text()));
    }
}

/// A text that must be one of `allowed`, if it is there.
pub(crate) fn one_of(out: &mut Violations, view: &View, allowed: &[&str]) {
    if view.is_set() && !allowed.contains(&view.text()) {
        out.push(Violation::not_supported(view.path(), view.json(), allowed));
    }
}

/// A text that must be there and be one of `allowed`.
pub(crate) fn required_one_of(out: &mut Violations, view: &View, allowed: &[&str]) {
    if required(out, view) {
        one_of(out, view, allowed);
    }
}

/// A number that must not be below zero, if it is there.
pub(crate) fn not_negative(out: &mut Violations, view: &View) {
    if view.int().is_some_and(|number| number < 0) {
        refuse(out, view, NEGATIVE);
    }
}

/// A number that must lie between `low` and `high`, if it is there.
pub(crate) fn in_range(out: &mut Violations, view: &View, low: i64, high: i64) {
    if let Some(number) = view.int() {
        refuse_all(out, view, name::is_in_range(number, low, high));
    }
}

/// A port number that must be there.
pub(crate) fn port_number(out: &mut Violations, view: &View) {
    refuse_all(out, view, name::is_port_number(view.int().unwrap_or_default()));
}

/// A port given by number or by name.
pub(crate) fn port_number_or_name(out: &mut Violations, view: &View) {
    match view.value() {
        Some(Value::String(text)) => refuse_all(out, view, name::is_port_name(text)),
        _ => port_number(out, view),
    }
}

/// A field that must be what it was. Says whether it is.
pub(crate) fn unchanged(out: &mut Violations, new: &View, old: &View) -> bool {
    let same = new == old;
    if !same {
        // A text that is gone is empty; of anything else Go shows the missing pointer, in quotes.
        let gone = if old.value().is_some_and(Value::is_string) { "" } else { "null" };
        let shown = if new.is_set() { new.json() } else { gone.into() };
        out.push(Violation::invalid(new.path(), shown, IMMUTABLE));
    }
    same
}

/// A number of things, given as such or as a share of a whole, that is not below zero.
pub(crate) fn count_or_percent(out: &mut Violations, view: &View) {
    match view.value() {
        Some(Value::String(text)) => refuse_all(out, view, name::is_percent(text)),
        _ => not_negative(out, view),
    }
}

/// The share that a text such as `25%` names.
pub(crate) fn percent(view: &View) -> Option<i64> {
    view.value()
        .and_then(Value::as_str)
        .and_then(|text| text.strip_suffix('%'))
        .and_then(|text| text.parse().ok())
}

/// A share must not be above the whole.
pub(crate) fn at_most_whole(out: &mut Violations, view: &View) {
    if percent(view).is_some_and(|share| share > 100) {
        refuse(out, view, "must not be greater than 100%");
    }
}
