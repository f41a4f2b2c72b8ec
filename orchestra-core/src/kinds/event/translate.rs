//! Between the two forms of an event: names differ, nothing is lost.

use serde_json::Value;

/// Fields by their name in `v1` and in `events.k8s.io/v1`; all others have one name.
const NAMES: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

/// An event of `events.k8s.io/v1` in the form of `v1`.
pub fn to_core(mut event: Value) -> Value {
    rename(&mut event, "v1", |(core, events)| (events, core));
    event
}

/// An event of `v1` in the form of `events.k8s.io/v1`.
pub fn from_core(mut event: Value) -> Value {
    rename(&mut event, "events.k8s.io/v1", |(core, events)| (core, events));
    event
}

type Names = (&'static str, &'static str);

fn rename(event: &mut Value, version: &str, direction: fn(Names) -> Names) {
    let Some(fields) = event.as_object_mut() else { return };
    for (from, to) in NAMES.map(direction) {
        if let Some(value) = fields.remove(from) {
            fields.insert(to.to_owned(), value);
        }
    }
    if fields.contains_key("apiVersion") {
        fields.insert("apiVersion".to_owned(), version.into());
    }
}
