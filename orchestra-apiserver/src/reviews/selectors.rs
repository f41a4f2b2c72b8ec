//! The selectors of an access review, in the form in which a request would have brought them.
//!
//! Follows upstream's `pkg/registry/authorization/util`: what cannot be read is left out, which asks for more and so allows no
//! more, and the answer says so.

use orchestra_core::selector::{
    FieldOperator, FieldRequirement, FieldSelector, LabelSelector, Operator, Requirement,
};
use serde_json::Value;

/// What a review selects from the resource it is about.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Selectors {
    /// A field selector, or empty.
    pub(super) fields: String,
    /// A label selector, or empty.
    pub(super) labels: String,
    /// What was left out; empty when nothing was.
    pub(super) problem: String,
}

impl Selectors {
    /// Reads those of `resourceAttributes`.
    pub(super) fn read(about: &Value) -> Self {
        let mut problems = Vec::new();
        let mut read = |field: &str, parse: fn(&str) -> bool, term: fn(&Value) -> Option<String>| {
            let holder = about.get(field).unwrap_or(&Value::Null);
            let raw = text(holder, "rawSelector");
            let terms = holder.get("requirements").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let (selector, is_whole) = if terms.is_empty() {
                if parse(raw) { (raw.to_owned(), true) } else { (String::new(), false) }
            } else {
                let read: Vec<String> = terms.iter().filter_map(term).collect();
                (read.join(","), read.len() == terms.len())
            };
            if !is_whole {
                let how = if selector.is_empty() { "ignored" } else { "partially ignored" };
                problems.push(format!("spec.resourceAttributes.{field} {how} due to parse error"));
            }
            selector
        };
        let fields = read("fieldSelector", |raw| FieldSelector::parse(raw).is_ok(), field_term);
        let labels = read("labelSelector", |raw| LabelSelector::parse(raw).is_ok(), label_term);
        Self { fields, labels, problem: problems.join("; ") }
    }
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn values(term: &Value) -> Vec<String> {
    let list = term.get("values").and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Fields are equal to one value, or are not: there is no text for more.
fn field_term(term: &Value) -> Option<String> {
    let operator = match text(term, "operator") {
        "In" => FieldOperator::Equals,
        "NotIn" => FieldOperator::NotEquals,
        _ => return None,
    };
    let [value] = <[String; 1]>::try_from(values(term)).ok()?;
    let requirement = FieldRequirement { field: text(term, "key").to_owned(), operator, value };
    // A key that is none would make other requirements of the text.
    let shown = requirement.to_string();
    let same = FieldSelector::parse(&shown).ok()?;
    (same.requirements() == [requirement]).then_some(shown)
}

fn label_term(term: &Value) -> Option<String> {
    let operator = match text(term, "operator") {
        "In" => Operator::In,
        "NotIn" => Operator::NotIn,
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        _ => return None,
    };
    let requirement = Requirement::new(text(term, "key"), operator, values(term)).ok()?;
    Some(requirement.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn requirements_become_the_text_that_a_request_would_have_had() {
        let read = Selectors::read(&json!({
            "fieldSelector": {"requirements": [
                {"key": "spec.nodeName", "operator": "In", "values": ["a,b"]},
                {"key": "status.phase", "operator": "NotIn", "values": ["Failed"]},
            ]},
            "labelSelector": {"requirements": [
                {"key": "app", "operator": "In", "values": ["x", "y"]},
                {"key": "old", "operator": "DoesNotExist"},
            ]},
        }));
        assert_eq!(read.fields, "spec.nodeName=a\\,b,status.phase!=Failed");
        assert_eq!((read.labels.as_str(), read.problem.as_str()), ("app in (x,y),!old", ""));
    }

    #[test]
    fn what_cannot_be_read_is_left_out_and_said() {
        let read = Selectors::read(&json!({
            "fieldSelector": {"rawSelector": "a"},
            "labelSelector": {"requirements": [
                {"key": "app", "operator": "Near", "values": ["x"]}, {"key": "app", "operator": "Exists"},
            ]},
        }));
        assert_eq!((read.fields.as_str(), read.labels.as_str()), ("", "app"));
        assert_eq!(
            read.problem,
            "spec.resourceAttributes.fieldSelector ignored due to parse error; \
             spec.resourceAttributes.labelSelector partially ignored due to parse error"
        );
        let smuggled = json!({"fieldSelector": {"requirements": [
            {"key": "a=b,spec.nodeName", "operator": "In", "values": ["mine"]}]}});
        assert_eq!(Selectors::read(&smuggled).fields, "");
        assert_eq!(Selectors::read(&Value::Null), Selectors::default());
    }
}
