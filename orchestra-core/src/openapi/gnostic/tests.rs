use serde_json::json;

use super::*;
use crate::protobuf::wire::{Reader, Wire};

/// The fields of a message, as they come.
fn fields(bytes: &[u8]) -> Vec<(u64, Wire<'_>)> {
    let mut reader = Reader::new(bytes);
    let mut found = Vec::new();
    while let Some(field) = reader.next().unwrap() {
        found.push(field);
    }
    found
}

/// The bytes of every field of that number.
fn all(bytes: &[u8], number: u64) -> Vec<&[u8]> {
    let found = fields(bytes).into_iter().filter(|(field, _)| *field == number);
    found.filter_map(|(_, wire)| if let Wire::Bytes(bytes) = wire { Some(bytes) } else { None }).collect()
}

fn one(bytes: &[u8], number: u64) -> Option<&[u8]> {
    let found = all(bytes, number);
    assert!(found.len() < 2, "field {number} is there {} times", found.len());
    found.first().copied()
}

fn text(bytes: &[u8], number: u64) -> Option<&str> {
    one(bytes, number).map(|bytes| std::str::from_utf8(bytes).unwrap())
}

/// Names and values of a message that is a map, or of the extensions of another.
fn named(bytes: &[u8], number: u64) -> Vec<(&str, &[u8])> {
    let pairs = all(bytes, number).into_iter();
    pairs.map(|pair| (text(pair, 1).unwrap_or_default(), one(pair, 2).unwrap())).collect()
}

/// What `Any` holds.
fn any(bytes: &[u8]) -> Value {
    assert_eq!(one(bytes, 1), None, "no value but YAML");
    serde_yaml::from_str(text(bytes, 2).unwrap()).unwrap()
}

/// A schema read back by the numbers of gnostic's own file, which are not those of the table under test.
fn schema(bytes: &[u8]) -> Value {
    let mut out = Map::new();
    for (number, wire) in fields(bytes) {
        let string = |wire: Wire<'_>| match wire {
            Wire::Bytes(bytes) => Value::from(std::str::from_utf8(bytes).unwrap()),
            other => panic!("{number}: {other:?}"),
        };
        let (key, value) = match (number, wire) {
            (1, wire) => ("$ref", string(wire)),
            (2, wire) => ("format", string(wire)),
            (4, wire) => ("description", string(wire)),
            (5, Wire::Bytes(bytes)) => ("default", any(bytes)),
            (7, Wire::Fixed64(bits)) => ("maximum", f64::from_bits(bits).into()),
            (9, Wire::Fixed64(bits)) => ("minimum", f64::from_bits(bits).into()),
            (11, Wire::Varint(number)) => ("maxLength", number.into()),
            (13, wire) => ("pattern", string(wire)),
            (16, Wire::Varint(1)) => ("uniqueItems", true.into()),
            (19, _) => {
                ("required", all(bytes, 19).into_iter().map(|bytes| string(Wire::Bytes(bytes))).collect())
            }
            (20, _) => ("enum", all(bytes, 20).into_iter().map(any).collect()),
            (21, Wire::Bytes(item)) => match fields(item)[..] {
                [(1, Wire::Bytes(bytes))] => ("additionalProperties", schema(bytes)),
                [(2, Wire::Varint(flag))] => ("additionalProperties", (flag == 1).into()),
                ref other => panic!("{other:?}"),
            },
            (22, Wire::Bytes(types)) => ("type", text(types, 1).unwrap().into()),
            (23, Wire::Bytes(items)) => ("items", schema(one(items, 1).unwrap())),
            (24, _) => ("allOf", all(bytes, 24).into_iter().map(schema).collect()),
            (25, Wire::Bytes(properties)) => ("properties", definitions(properties)),
            (31, _) => {
                out.extend(named(bytes, 31).into_iter().map(|(name, value)| (name.to_owned(), any(value))));
                continue;
            }
            other => panic!("a field that is not expected: {other:?}"),
        };
        out.insert(key.to_owned(), value);
    }
    out.into()
}

fn definitions(bytes: &[u8]) -> Value {
    named(bytes, 1).into_iter().map(|(name, value)| (name, schema(value))).collect()
}

#[test]
fn every_definition_reads_back_as_it_was() {
    let document = crate::openapi::swagger::tests::document();
    let bytes = v2_protobuf(&document);
    assert_eq!(text(&bytes, 1), Some("2.0"));
    let info = one(&bytes, 2).unwrap();
    assert_eq!((text(info, 1), text(info, 2)), (Some("Kubernetes"), Some("v1.36.0")));
    let read = definitions(one(&bytes, 9).unwrap());
    let expected = document["definitions"].as_object().unwrap();
    assert!(expected.len() > 400, "{}", expected.len());
    assert_eq!(read.as_object().unwrap().len(), expected.len());
    for (name, expected) in expected {
        // Numbers that are no integers in the message come back as such.
        let text = expected.to_string().replace("\"minimum\":1", "\"minimum\":1.0");
        let expected: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read[name], expected, "{name}");
    }
}

#[test]
fn every_operation_reads_back_by_its_names() {
    const METHODS: [(&str, u64); 5] = [("get", 2), ("put", 3), ("post", 4), ("delete", 5), ("patch", 8)];
    let document = crate::openapi::swagger::tests::document();
    let bytes = v2_protobuf(&document);
    let paths = named(one(&bytes, 8).unwrap(), 2);
    assert_eq!(paths.len(), document["paths"].as_object().unwrap().len());
    for (path, item) in paths {
        let expected = &document["paths"][path];
        assert_eq!(names(&all(item, 9)), names_in(&expected["parameters"]), "{path}");
        for (method, number) in METHODS {
            let expected = &expected[method];
            let Some(operation) = one(item, number) else {
                assert!(expected.is_null(), "{method} {path}");
                continue;
            };
            assert_eq!(text(operation, 5), expected["operationId"].as_str());
            assert_eq!(names(&all(operation, 8)), names_in(&expected["parameters"]), "{method} {path}");
            for (key, number) in [("tags", 1), ("produces", 6), ("consumes", 7), ("schemes", 10)] {
                let found: Value = all(operation, number)
                    .into_iter()
                    .map(|bytes| std::str::from_utf8(bytes).unwrap())
                    .collect();
                assert_eq!(found, expected[key], "{method} {path}: {key}");
            }
            let extensions: Map<String, Value> =
                named(operation, 13).into_iter().map(|(name, value)| (name.to_owned(), any(value))).collect();
            let gvk = extensions.get("x-kubernetes-group-version-kind").cloned().unwrap_or_default();
            assert_eq!(gvk, expected["x-kubernetes-group-version-kind"]);
            for (code, value) in named(one(operation, 9).unwrap(), 1) {
                let response = one(value, 1).unwrap();
                let expected = &expected["responses"][code];
                assert_eq!(text(response, 1), expected["description"].as_str());
                let found = one(response, 2).map(|item| schema(one(item, 1).unwrap()));
                assert_eq!(found.unwrap_or_default(), expected["schema"], "{method} {path}: {code}");
            }
        }
    }
}

/// The names of parameters, or what they refer to.
fn names(items: &[&[u8]]) -> Vec<String> {
    let name = |item: &&[u8]| match fields(item)[..] {
        [(2, Wire::Bytes(reference))] => text(reference, 1).unwrap().to_owned(),
        [(1, Wire::Bytes(parameter))] => match fields(parameter)[..] {
            [(1, Wire::Bytes(body))] => {
                assert_eq!(text(body, 3), Some("body"));
                assert!(schema(one(body, 5).unwrap())["$ref"].is_string());
                text(body, 2).unwrap().to_owned()
            }
            [(2, Wire::Bytes(other))] => match fields(other)[..] {
                [(3, Wire::Bytes(query))] => {
                    assert_eq!((text(query, 2), text(query, 6).is_some()), (Some("query"), true));
                    text(query, 4).unwrap().to_owned()
                }
                [(4, Wire::Bytes(path))] => {
                    assert_eq!((text(path, 2), text(path, 5)), (Some("path"), Some("string")));
                    text(path, 4).unwrap().to_owned()
                }
                ref other => panic!("{other:?}"),
            },
            ref other => panic!("{other:?}"),
        },
        ref other => panic!("{other:?}"),
    };
    items.iter().map(name).collect()
}

fn names_in(parameters: &Value) -> Vec<String> {
    let name = |own: &Value| own.get("$ref").unwrap_or(&own["name"]).as_str().unwrap().to_owned();
    parameters.as_array().into_iter().flatten().map(name).collect()
}

#[test]
fn a_parameter_a_token_and_a_requirement_have_these_bytes() {
    let document = json!({
        "parameters": {"p": {"name": "p", "in": "query", "type": "string", "uniqueItems": true}},
        "security": [{"T": []}],
        "securityDefinitions": {"T": {"type": "apiKey", "name": "n", "in": "header"}},
    });
    let query = b"\x12\x05query\x22\x01p\x32\x06string\xa0\x01\x01";
    let parameter = [b"\x52\x20\x0a\x1e\x0a\x01p\x12\x19\x12\x17\x1a\x15".as_slice(), query].concat();
    let security = b"\x62\x07\x0a\x05\x0a\x01T\x12\x00";
    let token = b"\x6a\x1c\x0a\x1a\x0a\x01T\x12\x15\x12\x13\x0a\x06apiKey\x12\x01n\x1a\x06header";
    assert_eq!(v2_protobuf(&document), [&parameter, security.as_slice(), token].concat());
}

#[test]
fn one_of_several_is_there_even_as_zero_and_other_zeros_are_not() {
    let closed = v2_protobuf(
        &json!({"definitions": {"A": {"additionalProperties": false, "minimum": 0, "uniqueItems": false}}}),
    );
    let read = definitions(one(&closed, 9).unwrap());
    assert_eq!(read, json!({"A": {"additionalProperties": false}}));
    let empty = v2_protobuf(&json!({"definitions": {"A": {"type": "object", "properties": {}}}}));
    assert_eq!(definitions(one(&empty, 9).unwrap()), json!({"A": {"type": "object", "properties": {}}}));
}

#[test]
fn values_of_no_fixed_form_are_yaml_in_blocks() {
    let bytes =
        v2_protobuf(&json!({"x-list": [{"group": "", "kind": "Pod", "version": "v1"}], "x-text": "true"}));
    let found: Vec<(&str, &str)> =
        named(&bytes, 16).into_iter().map(|(name, value)| (name, text(value, 2).unwrap())).collect();
    assert_eq!(found, [("x-list", "- group: \"\"\n  kind: Pod\n  version: v1\n"), ("x-text", "\"true\"\n")]);
}

#[test]
fn what_the_message_has_no_place_for_is_left_out() {
    let broken = [
        json!(null),
        json!([1]),
        json!({"swagger": 2, "info": [], "paths": {"/": 1, "x-own": 1}, "security": {"T": []}, "tags": [1]}),
        json!({"definitions": {"A": null, "B": {"type": 1, "items": [], "properties": 3, "oneOf": [{}], "required": [1]}}}),
        json!({"paths": {"/a": {"get": {"parameters": [{"in": "moon"}, 1], "responses": {"200": null}}}}}),
    ];
    for document in broken {
        // It reads as a message; what is in it is another matter.
        fields(&v2_protobuf(&document));
    }
    let unknown =
        v2_protobuf(&json!({"definitions": {"A": {"type": "object", "oneOf": [{}], "nullable": true}}}));
    assert_eq!(definitions(one(&unknown, 9).unwrap()), json!({"A": {"type": "object"}}));
}
