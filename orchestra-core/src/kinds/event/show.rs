//! An event's row, the same for both forms.

use serde_json::Value;

use crate::duration::human;
use crate::kinds::frame::cells::{Show, column, name, number, seconds_since, text};

pub(super) fn columns() -> Vec<Show> {
    vec![
        column("Last Seen", "string", "When it was last seen.", |event, now| last_seen(event, now).into()),
        column("Type", "string", "Normal or Warning.", |event, _| text(event, "/type").into()),
        column("Reason", "string", "What happened, in a word.", |event, _| text(event, "/reason").into()),
        column("Object", "string", "What it happened to.", |event, _| object(event).into()),
        column("Subobject", "string", "The part it happened to.", |event, _| {
            about(event, "/fieldPath").into()
        })
        .wide(),
        column("Source", "string", "Who saw it.", |event, _| reporter(event).into()).wide(),
        column("Message", "string", "What happened.", |event, _| {
            either(event, ["/message", "/note"]).trim().into()
        }),
        column("First Seen", "string", "When it was first seen.", |event, now| first_seen(event, now).into())
            .wide(),
        column("Count", "string", "How often it was seen.", |event, _| count(event).into()).wide(),
        name().wide(),
    ]
}

/// A field under its name in one form or the other.
fn either<'a>(event: &'a Value, names: [&str; 2]) -> &'a str {
    names.into_iter().map(|name| text(event, name)).find(|text| !text.is_empty()).unwrap_or_default()
}

/// A field of the object that the event tells of.
fn about<'a>(event: &'a Value, field: &str) -> &'a str {
    either(event, [&format!("/involvedObject{field}"), &format!("/regarding{field}")])
}

fn ago(time: &str, now: i64) -> String {
    seconds_since(time, now).map_or_else(|| "<unknown>".to_owned(), human)
}

fn first_seen(event: &Value, now: i64) -> String {
    match either(event, ["/firstTimestamp", "/deprecatedFirstTimestamp"]) {
        "" => ago(text(event, "/eventTime"), now),
        time => ago(time, now),
    }
}

fn last_seen(event: &Value, now: i64) -> String {
    let last = either(event, ["/lastTimestamp", "/deprecatedLastTimestamp"]);
    match (text(event, "/series/lastObservedTime"), last) {
        ("", "") => first_seen(event, now),
        ("", time) | (time, _) => ago(time, now),
    }
}

fn count(event: &Value) -> i64 {
    let counted = number(event, "/count").max(number(event, "/deprecatedCount"));
    match (event.pointer("/series/count").and_then(Value::as_i64), counted) {
        (Some(count), _) => count,
        (None, 0) => 1,
        (None, count) => count,
    }
}

fn object(event: &Value) -> String {
    let kind = about(event, "/kind").to_lowercase();
    match about(event, "/name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    }
}

fn reporter(event: &Value) -> String {
    let (component, host) = match either(event, ["/source/component", "/deprecatedSource/component"]) {
        "" => (
            either(event, ["/reportingComponent", "/reportingController"]),
            text(event, "/reportingInstance"),
        ),
        component => (component, either(event, ["/source/host", "/deprecatedSource/host"])),
    };
    if host.is_empty() { component.to_owned() } else { format!("{component}, {host}") }
}
