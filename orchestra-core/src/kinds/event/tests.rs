use serde_json::{Value, json};

use crate::kinds::frame::testing::{said, served};

fn event() -> Value {
    json!({
        "apiVersion": "v1", "metadata": {"name": "p.1", "namespace": "n"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "n"},
        "type": "Normal", "reason": "Started", "message": "it runs\n",
        "source": {"component": "kubelet", "host": "node-1"},
        "firstTimestamp": "1970-01-01T00:00:00Z", "lastTimestamp": "1970-01-01T00:01:00Z", "count": 2,
    })
}

#[test]
fn both_forms_print_the_same_row() {
    let expected = ["60s", "Normal", "Started", "pod/p", "", "kubelet, node-1", "it runs", "2m"];
    let row = served(super::core_kind()).row(&event(), 120);
    assert_eq!(row[..8], expected.map(Value::from));
    assert_eq!(row[8], 2);
    let other = super::from_core(event());
    assert_eq!((&other["note"], &other["apiVersion"]), (&json!("it runs\n"), &json!("events.k8s.io/v1")));
    assert_eq!(served(super::events_kind()).row(&other, 120), row);
    assert_eq!(super::to_core(other), event());
}

#[test]
fn an_event_lives_beside_its_object() {
    let mut away = event();
    away["metadata"]["namespace"] = "m".into();
    assert_eq!(
        said(super::core_kind(), away),
        [r#"involvedObject.namespace: Invalid value: "n": does not match event.namespace"#]
    );
    assert_eq!(said(super::core_kind(), event()), [""; 0]);
}

#[test]
fn the_new_form_asks_for_more() {
    let said = said(super::events_kind(), super::from_core(event()));
    assert_eq!(
        said,
        [
            "eventTime: Required value",
            "reportingController: Required value",
            "reportingInstance: Required value",
            "action: Required value",
        ]
    );
}

#[test]
fn events_are_selected_by_what_they_tell_of() {
    let kind = served(super::core_kind());
    let event = event();
    assert_eq!(kind.field_value(&event, "involvedObject.name"), "p");
    assert_eq!(kind.field_value(&event, "source"), "kubelet");
    assert_eq!(kind.field_value(&event, "reason"), "Started");
}
