//! One measure, wanted or seen, in the words of either version.

use serde_json::{Map, Value};

type Object = Map<String, Value>;

/// The types of measures, and the field that has the rest.
const SOURCES: [&str; 5] = ["object", "pods", "resource", "containerResource", "external"];

/// What a measure says: what is wanted, or how it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sense {
    Wanted,
    Seen,
}

/// A number of a measure: its name within `target` or `current` of `v2`, and the type of a target with it.
struct Number {
    plain: &'static str,
    kind: &'static str,
}

const NUMBERS: [Number; 3] = [
    Number { plain: "averageUtilization", kind: "Utilization" },
    Number { plain: "averageValue", kind: "AverageValue" },
    Number { plain: "value", kind: "Value" },
];

impl Number {
    /// The name in `v1`.
    fn flat(&self, source: &str, sense: Sense) -> String {
        if source == "object" && self.plain == "averageValue" {
            return self.plain.to_owned();
        }
        let prefix = if sense == Sense::Wanted { "target" } else { "current" };
        let (first, rest) = self.plain.split_at(1);
        format!("{prefix}{}{rest}", first.to_ascii_uppercase())
    }
}

fn holder(sense: Sense) -> &'static str {
    if sense == Sense::Wanted { "target" } else { "current" }
}

fn selector(source: &str) -> &'static str {
    if source == "external" { "metricSelector" } else { "selector" }
}

/// Whether this is the one measure that `v1` has fields for.
pub(super) fn is_processor(metric: &Value) -> bool {
    metric.get("type").and_then(Value::as_str) == Some("Resource")
        && metric.pointer("/resource/name").and_then(Value::as_str) == Some("cpu")
}

/// A measure of `v1` as one of `v2`.
pub(super) fn to_v2(metric: &Value, sense: Sense) -> Value {
    each(metric, |source, flat| {
        let mut out = Object::new();
        copy(flat, "name", &mut out, "name");
        copy(flat, "container", &mut out, "container");
        if source == "object" {
            copy(flat, "target", &mut out, "describedObject");
        }
        let mut measured = Object::new();
        copy(flat, "metricName", &mut measured, "name");
        copy(flat, selector(source), &mut measured, "selector");
        if !measured.is_empty() {
            out.insert("metric".to_owned(), measured.into());
        }
        let mut numbers = Object::new();
        for number in &NUMBERS {
            let flat_name = number.flat(source, sense);
            if flat.get(&flat_name).is_none_or(Value::is_null) {
                continue;
            }
            // Beside an average, a whole value is only there because it must be.
            if sense == Sense::Wanted && !numbers.is_empty() {
                continue;
            }
            copy(flat, &flat_name, &mut numbers, number.plain);
            if sense == Sense::Wanted {
                numbers.insert("type".to_owned(), number.kind.into());
            }
        }
        out.insert(holder(sense).to_owned(), numbers.into());
        out
    })
}

/// A measure of `v2` as one of `v1`.
pub(super) fn to_v1(metric: &Value, sense: Sense) -> Value {
    each(metric, |source, nested| {
        let mut out = Object::new();
        copy(nested, "name", &mut out, "name");
        copy(nested, "container", &mut out, "container");
        if source == "object" {
            copy(nested, "describedObject", &mut out, "target");
        }
        if let Some(measured) = nested.get("metric").and_then(Value::as_object) {
            copy(measured, "name", &mut out, "metricName");
            copy(measured, "selector", &mut out, selector(source));
        }
        let numbers = nested.get(holder(sense)).and_then(Value::as_object).cloned().unwrap_or_default();
        for number in &NUMBERS {
            copy(&numbers, number.plain, &mut out, &number.flat(source, sense));
        }
        for needed in needed(source, sense) {
            out.entry(*needed).or_insert_with(|| "0".into());
        }
        out
    })
}

/// The numbers that `v1` always has.
fn needed(source: &str, sense: Sense) -> &'static [&'static str] {
    match (source, sense) {
        ("object", Sense::Wanted) => &["targetValue"],
        ("pods", Sense::Wanted) => &["targetAverageValue"],
        ("object" | "external", Sense::Seen) => &["currentValue"],
        ("pods" | "resource" | "containerResource", Sense::Seen) => &["currentAverageValue"],
        _ => &[],
    }
}

/// The same metric with its sources changed.
fn each(metric: &Value, change: impl Fn(&str, &Object) -> Object) -> Value {
    let mut out = Object::new();
    if let Some(kind) = metric.get("type") {
        out.insert("type".to_owned(), kind.clone());
    }
    for source in SOURCES {
        if let Some(fields) = metric.get(source).and_then(Value::as_object) {
            out.insert(source.to_owned(), change(source, fields).into());
        }
    }
    out.into()
}

fn copy(from: &Object, name: &str, to: &mut Object, renamed: &str) {
    if let Some(value) = from.get(name).filter(|value| !value.is_null()) {
        to.insert(renamed.to_owned(), value.clone());
    }
}
