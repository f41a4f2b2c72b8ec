use serde_json::{Value, json};

use super::Rules;
use crate::structural::{Structural, definition};
use crate::violation::FieldPath;

fn refused(schema: &Value, object: &Value, old: Option<&Value>) -> Vec<String> {
    let rules = Rules::compile(schema, &Structural::read(schema)).unwrap();
    rules.validate(object, old).iter().map(ToString::to_string).collect()
}

fn wrong(schema: &Value) -> Vec<String> {
    definition::validate(schema, &FieldPath::new("schema")).iter().map(ToString::to_string).collect()
}

fn spec(properties: Value, rules: Value) -> Value {
    json!({"type": "object", "properties": {"spec": {
        "type": "object", "properties": properties, "x-kubernetes-validations": rules,
    }}})
}

#[test]
fn a_broken_rule_is_told_with_its_message_its_reason_and_its_field() {
    let schema = spec(
        json!({"min": {"type": "integer"}, "max": {"type": "integer"}}),
        json!([
            {"rule": "self.min <= self.max"},
            {"rule": "self.min > 0", "message": "min must be positive", "fieldPath": ".min", "reason": "FieldValueForbidden"},
            {"rule": "self.max < 10", "messageExpression": "'max is ' + string(self.max)", "message": "too large"},
            {"rule": "self.max < 10", "messageExpression": "''", "message": " too large "},
        ]),
    );
    assert_eq!(wrong(&schema), Vec::<String>::new());
    assert_eq!(
        refused(&schema, &json!({"spec": {"min": 0, "max": -1}}), None),
        [
            "spec: Invalid value: failed rule: self.min <= self.max",
            "spec.min: Forbidden: min must be positive",
        ]
    );
    assert_eq!(
        refused(&schema, &json!({"spec": {"min": 5, "max": 20}}), None),
        ["spec: Invalid value: max is 20", "spec: Invalid value: too large"]
    );
    assert_eq!(
        refused(&schema, &json!({"spec": {"min": 5}}), None).first().unwrap(),
        "spec: Invalid value: \"object\": no such key: max evaluating rule: self.min <= self.max"
    );
}

#[test]
fn rules_stand_at_every_level_and_know_the_name() {
    let schema = json!({"type": "object",
    "x-kubernetes-validations": [{"rule": "self.metadata.name.startsWith('a')"}],
    "properties": {
        "size": {"type": "integer", "x-kubernetes-validations": [{"rule": "self % 2 == 0", "message": "odd"}]},
        "names": {"type": "array", "maxItems": 5, "items": {"type": "string", "maxLength": 9,
            "x-kubernetes-validations": [{"rule": "self != 'x'"}]}},
        "ports": {"type": "object", "maxProperties": 5, "additionalProperties": {"x-kubernetes-int-or-string": true,
            "x-kubernetes-validations": [{"rule": "type(self) == int ? self > 0 : self != ''"}]}},
        "until": {"type": "string", "format": "date-time",
            "x-kubernetes-validations": [{"rule": "self > timestamp('2020-01-01T00:00:00Z')"}]},
        "for": {"type": "string", "format": "duration",
            "x-kubernetes-validations": [{"rule": "self < duration('1h')"}]},
    }});
    assert_eq!(wrong(&schema), Vec::<String>::new());
    let object = json!({"metadata": {"name": "b"}, "size": 3, "names": ["y", "x"], "ports": {"a": 0, "b": "", "c": 1},
        "until": "2019-01-01T00:00:00Z", "for": "90m"});
    assert_eq!(
        refused(&schema, &object, None),
        [
            "<nil>: Invalid value: failed rule: self.metadata.name.startsWith('a')",
            "for: Invalid value: \"90m\": failed rule: self < duration('1h')",
            "names[1]: Invalid value: \"x\": failed rule: self != 'x'",
            "ports[a]: Invalid value: 0: failed rule: type(self) == int ? self > 0 : self != ''",
            "ports[b]: Invalid value: \"\": failed rule: type(self) == int ? self > 0 : self != ''",
            "size: Invalid value: 3: odd",
            "until: Invalid value: \"2019-01-01T00:00:00Z\": failed rule: self > timestamp('2020-01-01T00:00:00Z')",
        ]
    );
}

#[test]
fn a_rule_about_a_change_is_asked_where_there_was_something() {
    let item = json!({"type": "object", "required": ["name"], "properties": {
        "name": {"type": "string", "maxLength": 10},
        "size": {"type": "integer", "x-kubernetes-validations": [{"rule": "self >= oldSelf", "message": "no shrinking"}]}}});
    let schema = spec(
        json!({"disks": {"type": "array", "maxItems": 10, "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"], "items": item},
            "class": {"type": "string", "maxLength": 10, "x-kubernetes-validations": [
                {"rule": "!oldSelf.hasValue() || self == oldSelf.value()", "optionalOldSelf": true, "message": "fixed"}]}}),
        json!([{"rule": "has(self.class) || !has(oldSelf.class)"}]),
    );
    assert_eq!(wrong(&schema), Vec::<String>::new());
    let old = json!({"spec": {"class": "a", "disks": [{"name": "x", "size": 5}, {"name": "y", "size": 5}]}});
    assert_eq!(refused(&schema, &old, None), Vec::<String>::new());
    let new = json!({"spec": {"class": "b", "disks": [{"name": "z", "size": 1}, {"name": "y", "size": 4}]}});
    assert_eq!(
        refused(&schema, &new, Some(&old)),
        ["spec.class: Invalid value: \"b\": fixed", "spec.disks[1].size: Invalid value: 4: no shrinking"]
    );
    assert_eq!(
        refused(&schema, &json!({"spec": {}}), Some(&old)),
        ["spec: Invalid value: failed rule: has(self.class) || !has(oldSelf.class)"]
    );
}

#[test]
fn what_was_wrong_before_and_has_not_changed_passes() {
    let schema = spec(
        json!({"a": {"type": "integer", "x-kubernetes-validations": [{"rule": "self < 5"}]}, "b": {"type": "integer"}}),
        json!([{"rule": "self.b < 5"}]),
    );
    let old = json!({"spec": {"a": 9, "b": 1}});
    assert_eq!(refused(&schema, &json!({"spec": {"a": 9, "b": 2}}), Some(&old)), Vec::<String>::new());
    assert_eq!(
        refused(&schema, &json!({"spec": {"a": 8, "b": 9}}), Some(&old)),
        ["spec: Invalid value: failed rule: self.b < 5", "spec.a: Invalid value: 8: failed rule: self < 5"]
    );
    let old = json!({"spec": {"a": 1, "b": 9}});
    assert_eq!(refused(&schema, &old, Some(&old)), Vec::<String>::new());
}

#[test]
fn rules_that_do_not_fit_are_refused_with_the_definition() {
    let schema = spec(
        json!({"a": {"type": "integer"}}),
        json!([
            {"rule": "self.b > 0"},
            {"rule": "self.a"},
            {"rule": "self.a > 0", "messageExpression": "self.a"},
            {"rule": "self.a > 0", "optionalOldSelf": true},
        ]),
    );
    let at = "schema.properties[spec].x-kubernetes-validations";
    let shown = |rule: &str, message: &str, flag: &str| {
        format!(
            r#"{{"Rule":"{rule}","Message":"","MessageExpression":"{message}","Reason":null,"FieldPath":"","OptionalOldSelf":{flag}}}"#
        )
    };
    assert_eq!(
        wrong(&schema),
        [
            format!(
                "{at}[0].rule: Invalid value: {}: compilation failed: ERROR: <input>:1:5: undefined field 'b'\n | self.b > \
                 0\n | ....^",
                shown("self.b > 0", "", "null")
            ),
            format!(
                "{at}[1].rule: Invalid value: {}: cel expression must evaluate to a bool",
                shown("self.a", "", "null")
            ),
            format!(
                "{at}[2].messageExpression: Invalid value: {}: messageExpression must evaluate to a string",
                shown("self.a > 0", "self.a", "null")
            ),
            format!(
                "{at}[3].optionalOldSelf: Invalid value: true: may not be set if oldSelf is not used in rule"
            ),
        ]
    );
    let schema = spec(
        json!({"a": {"type": "integer"}}),
        json!([
            {"rule": " "},
            {"rule": "true", "message": " "},
            {"rule": "true\n&& true"},
            {"rule": "true", "reason": "Other"},
            {"rule": "true", "fieldPath": ".b"},
            {"rule": "true", "fieldPath": "['a']", "messageExpression": " "},
        ]),
    );
    assert_eq!(
        wrong(&schema),
        [
            format!("{at}[0].rule: Required value: rule is not specified"),
            format!("{at}[1].message: Invalid value: \" \": must be non-empty if specified"),
            format!(
                "{at}[2].message: Required value: message must be specified if rule contains line breaks"
            ),
            format!(
                "{at}[3].reason: Unsupported value: \"Other\": supported values: \"FieldValueDuplicate\", \
                 \"FieldValueForbidden\", \"FieldValueInvalid\", \"FieldValueRequired\""
            ),
            format!("{at}[4].fieldPath: Invalid value: \".b\": must be a valid path"),
            format!(
                "{at}[5].messageExpression: Required value: messageExpression must be non-empty if specified"
            ),
        ]
    );
}

#[test]
fn what_cannot_be_found_again_has_no_rules_about_changes() {
    let schema = json!({"type": "object", "properties": {"names": {"type": "array", "maxItems": 5, "items": {
        "type": "string", "maxLength": 5, "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}}}});
    assert_eq!(
        wrong(&schema),
        [
            "schema.properties[names].items.x-kubernetes-validations[0].rule: Invalid value: \"self == oldSelf\": oldSelf \
          cannot be used on the uncorrelatable portion of the schema within schema.properties[names]"
        ]
    );
}

#[test]
fn rules_that_could_cost_too_much_are_refused_with_the_definition() {
    let schema = spec(
        json!({"names": {"type": "array", "items": {"type": "string"}}}),
        json!([{"rule": "self.names.all(a, self.names.all(b, a == b))"}]),
    );
    let advice = "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and \
                  strings are declared)";
    let at = "schema.properties[spec].x-kubernetes-validations[0].rule";
    assert_eq!(
        wrong(&schema),
        [
            format!(
                "{at}: Forbidden: estimated rule cost exceeds budget by factor of more than 100x {advice}"
            ),
            format!(
                "{at}: Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
            ),
            format!(
                "schema: Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds \
                 budget by factor of more than 100x {advice}"
            ),
        ]
    );
}

#[test]
fn a_rule_that_costs_too_much_ends_and_says_so() {
    let schema = json!({"type": "object", "properties": {"n": {"type": "array", "items": {"type": "integer"}}},
        "x-kubernetes-validations": [
            {"rule": "self.n.all(a, self.n.all(b, self.n.all(c, self.n.all(d, a + b + c + d >= 0))))"},
            {"rule": "false"}]});
    let numbers: Vec<u32> = (0..500).collect();
    assert_eq!(
        refused(&schema, &json!({"n": numbers}), None),
        [
            "<nil>: Invalid value: \"object\": 'operation cancelled: actual cost limit exceeded': no further validation \
          rules will be run due to call cost exceeds limit for rule: self.n.all(a, self.n.all(b, self.n.all(c, \
          self.n.all(d, a + b + c + d >= 0))))"
        ]
    );
    // Each alone may; all of them together may not.
    let schema = json!({"type": "object", "properties": {"n": {"type": "array", "items": {"type": "integer",
        "x-kubernetes-validations": [{"rule": "lists.range(1000).all(a, [a, self].all(b, b >= 0))"}]}}}});
    let found = refused(&schema, &json!({"n": numbers}), None);
    assert_eq!(found.len(), 1);
    assert!(
        found.first().unwrap().ends_with(
            "Invalid value: \"integer\": validation failed due to running out of cost budget, no further validation rules \
             will be run"
        ),
        "{found:?}"
    );
}
