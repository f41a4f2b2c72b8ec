use serde_json::{Value, json};

use super::{Structural, default, prune, validate_embedded, validate_lists};
use crate::violation::FieldPath;

fn said(schema: Value, value: &Value) -> Vec<String> {
    let found = Structural::read(&schema).validate(value, None, &FieldPath::root());
    found.iter().map(ToString::to_string).collect()
}

fn of_field(schema: Value, value: Value) -> Vec<String> {
    let root =
        json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"a": schema}}}});
    said(root, &json!({"spec": {"a": value}}))
}

#[test]
fn values_are_refused_in_upstreams_words() {
    for (schema, value, expected) in [
        (
            json!({"type": "integer"}),
            json!("x"),
            "spec.a: Invalid value: \"string\": spec.a in body must be of type integer: \"string\"",
        ),
        (
            json!({"type": "string"}),
            Value::Null,
            "spec.a: Invalid value: \"null\": spec.a in body must be of type string: \"null\"",
        ),
        (
            json!({"type": "integer", "minimum": 1}),
            json!(0),
            "spec.a: Invalid value: 0: spec.a in body should be greater than or equal to 1",
        ),
        (
            json!({"type": "integer", "maximum": 9, "exclusiveMaximum": true}),
            json!(9),
            "spec.a: Invalid value: 9: spec.a in body should be less than 9",
        ),
        (
            json!({"type": "number", "multipleOf": 0.5}),
            json!(0.7),
            "spec.a: Invalid value: 0.7: spec.a in body should be a multiple of 0.5",
        ),
        (
            json!({"type": "string", "enum": ["A", "B"]}),
            json!("C"),
            "spec.a: Unsupported value: \"C\": supported values: \"A\", \"B\"",
        ),
        (
            json!({"type": "string", "pattern": "^a+$"}),
            json!("b"),
            "spec.a: Invalid value: \"b\": spec.a in body should match '^a+$'",
        ),
        (
            json!({"type": "string", "maxLength": 1}),
            json!("ab"),
            "spec.a: Too long: may not be more than 1 bytes",
        ),
        (
            json!({"type": "string", "minLength": 1}),
            json!(""),
            "spec.a: Invalid value: \"\": spec.a in body should be at least 1 chars long",
        ),
        (
            json!({"type": "string", "format": "date-time"}),
            json!("x"),
            "spec.a: Invalid value: \"x\": spec.a in body must be of type date-time: \"x\"",
        ),
        (
            json!({"type": "array", "maxItems": 1, "items": {"type": "string"}}),
            json!(["a", "b"]),
            "spec.a: Too many: 2: must have at most 1 items",
        ),
        (
            json!({"type": "array", "minItems": 1, "items": {"type": "string"}}),
            json!([]),
            "spec.a: Invalid value: 0: spec.a in body should have at least 1 items",
        ),
        (
            json!({"type": "array", "items": {"type": "string"}}),
            json!([1]),
            "spec.a[0]: Invalid value: \"integer\": spec.a[0] in body must be of type string: \"integer\"",
        ),
        (
            json!({"type": "object", "maxProperties": 1, "additionalProperties": {"type": "string"}}),
            json!({"x": "", "y": ""}),
            "spec.a: Too many: 2: must have at most 1 items",
        ),
        (json!({"type": "object", "required": ["b"]}), json!({}), "spec.a.b: Required value"),
        (
            json!({"x-kubernetes-int-or-string": true}),
            json!(true),
            "spec.a: Invalid value: \"boolean\": spec.a in body must be of type integer,string: \"boolean\"",
        ),
        (
            json!({"type": "object", "not": {"required": ["b"]}}),
            json!({"b": 1}),
            "<nil>: Invalid value: \"\": \"spec.a\" must not validate the schema (not)",
        ),
        (
            json!({"type": "object", "oneOf": [{"required": ["b"]}, {"required": ["c"]}]}),
            json!({"b": 1, "c": 1}),
            "<nil>: Invalid value: \"\": \"spec.a\" must validate one and only one schema (oneOf). Found 2 valid alternatives",
        ),
    ] {
        assert_eq!(of_field(schema.clone(), value.clone()), [expected], "{schema} {value}");
    }
    let any = json!({"type": "object", "anyOf": [{"required": ["b"]}, {"required": ["c"]}]});
    assert_eq!(
        of_field(any, json!({})),
        [
            "<nil>: Invalid value: \"\": \"spec.a\" must validate at least one schema (anyOf)",
            "spec.a.b: Required value"
        ]
    );
}

#[test]
fn values_that_fit_pass() {
    for (schema, value) in [
        (json!({"type": "integer"}), json!(1.0)),
        (json!({"type": "number"}), json!(1)),
        (json!({"type": "string", "nullable": true}), Value::Null),
        (json!({"x-kubernetes-int-or-string": true}), json!("25%")),
        (json!({"type": "integer", "minimum": 9_007_199_254_740_993_i64}), json!(9_007_199_254_740_993_i64)),
        (json!({"type": "string", "format": "unheard-of"}), json!("x")),
        (json!({"type": "string", "maxLength": 2}), json!("äö")),
        (json!({"type": "object", "additionalProperties": {"type": "integer"}}), json!({"x": 1})),
    ] {
        assert_eq!(of_field(schema.clone(), value), [""; 0], "{schema}");
    }
}

#[test]
fn what_was_wrong_before_and_has_not_changed_passes() {
    let schema = Structural::read(&json!({"type": "object", "properties": {
        "a": {"type": "string", "maxLength": 1},
        "b": {"type": "string"},
        "list": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "string", "maxLength": 1}}}},
    }}));
    let old = json!({"a": "long", "b": "x", "list": [{"k": "1", "v": "long"}]});
    let new = json!({"a": "long", "b": "y", "list": [{"k": "0", "v": "s"}, {"k": "1", "v": "long"}]});
    assert_eq!(schema.validate(&new, Some(&old), &FieldPath::root()), []);
    let worse = json!({"a": "longer", "b": "x", "list": [{"k": "2", "v": "long"}]});
    assert_eq!(schema.validate(&worse, Some(&old), &FieldPath::root()).len(), 2);
}

#[test]
fn unknown_fields_go_and_are_named() {
    let schema = Structural::read(&json!({"type": "object", "properties": {
    "spec": {"type": "object", "properties": {
        "known": {"type": "string"},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
            "properties": {"shut": {"type": "object"}}},
        "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"a": {"type": "string"}}}},
        "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}},
        "pod": {"type": "object", "x-kubernetes-embedded-resource": true,
            "properties": {"spec": {"type": "object"}}},
    }}}}));
    let mut object = json!({
    "apiVersion": "v1", "kind": "K", "metadata": {"name": "x"}, "more": 1,
    "spec": {
        "known": "a", "unknown": 1, "free": {"x": {"y": 1}, "shut": {"z": 1}},
        "map": {"k": {"a": "", "b": ""}}, "list": [{"a": ""}, {"b": ""}],
        "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"x": 1}, "spec": {"n": 1}},
    }});
    assert_eq!(
        prune::prune(&mut object, &schema),
        ["more", "spec.free.shut.z", "spec.list[1].b", "spec.map.k.b", "spec.pod.spec.n", "spec.unknown"]
    );
    assert_eq!(
        object["spec"],
        json!({"known": "a", "free": {"x": {"y": 1}, "shut": {}}, "map": {"k": {"a": ""}},
            "list": [{"a": ""}, {}],
            "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"x": 1}, "spec": {}}})
    );
}

#[test]
fn defaults_reach_into_defaults_and_stay_as_they_are() {
    let schema = Structural::read(&json!({"type": "object", "properties": {
        "spec": {"type": "object", "default": {}, "properties": {
            "n": {"type": "integer", "default": 3},
            "nil": {"type": "string", "nullable": true, "default": "x"},
        }},
        "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string", "default": "d"}}}},
        "plain": {"type": "string"},
    }}));
    let mut object = json!({"list": [{}, {"a": null}], "plain": null, "spec": {"nil": null}});
    default::drop_nulls(&mut object, &schema);
    default::default(&mut object, &schema);
    let whole = json!({"spec": {"n": 3, "nil": null}, "list": [{"a": "d"}, {"a": "d"}]});
    assert_eq!(object, whole);
    default::default(&mut object, &schema);
    assert_eq!(object, whole);
    let mut empty = json!({});
    default::default(&mut empty, &schema);
    assert_eq!(empty, json!({"spec": {"n": 3, "nil": "x"}}));
}

#[test]
fn sets_and_maps_hold_nothing_twice() {
    let schema = Structural::read(&json!({"type": "object", "properties": {
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a"],
            "items": {"type": "object", "properties": {"a": {"type": "string"}}}},
    }}));
    let found = validate_lists(
        &json!({"set": ["x", "y", "x", "x"], "map": [{"a": "1"}, {"a": "1", "b": 2}]}),
        &schema,
    );
    let said: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(said, [r#"map[1]: Duplicate value: {"a":"1"}"#, r#"set[2]: Duplicate value: "x""#]);
}

#[test]
fn an_embedded_object_is_one_of_the_api() {
    let schema = Structural::read(&json!({"type": "object", "properties": {
        "pod": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true}}}));
    let said = |pod: Value| -> Vec<String> {
        validate_embedded(&json!({ "pod": pod }), &schema).iter().map(ToString::to_string).collect()
    };
    assert_eq!(said(json!({})), ["pod.apiVersion: Required value", "pod.kind: Required value"]);
    assert_eq!(said(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"a": "b"}}})), [""; 0]);
    assert_eq!(said(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"a": "?"}}})).len(), 1);
}

#[test]
fn alternatives_within_a_long_list_come_to_an_end() {
    let alternatives: Vec<Value> = (0..2000).map(|n| json!({"enum": [n]})).collect();
    let schema = json!({"type": "array", "items": {"type": "integer", "anyOf": alternatives}});
    let value: Value = (0..50_000).map(|_| Value::from(-1)).collect();
    let found = Structural::read(&schema).validate(&value, None, &FieldPath::root());
    assert!(found.last().is_some_and(|last| last.detail.contains("comparisons with the schema")));
}
