use super::*;

fn lowered(source: Value) -> Value {
    schema(source)
}

#[test]
fn what_stands_around_a_reference_in_3_0_stands_beside_it() {
    let source = json!({"type": "object", "properties": {
        "a": {"allOf": [{"$ref": "#/components/schemas/x.A"}], "default": {}, "description": "why"},
        "b": {"type": "array", "x-kubernetes-list-type": "atomic",
            "items": {"allOf": [{"$ref": "#/components/schemas/x.A"}], "default": {}}},
        "c": {"type": "object", "additionalProperties": {"$ref": "#/components/schemas/x.A"}},
        "d": {"type": "object", "additionalProperties": true},
    }});
    let target = json!({"$ref": "#/definitions/x.A"});
    let expected = json!({"type": "object", "properties": {
        "a": {"$ref": "#/definitions/x.A", "description": "why"},
        "b": {"type": "array", "x-kubernetes-list-type": "atomic", "items": target},
        "c": {"type": "object", "additionalProperties": target},
        "d": {"type": "object", "additionalProperties": true},
    }});
    assert_eq!(lowered(source), expected);
}

#[test]
fn what_2_0_cannot_say_is_said_as_upstream_does() {
    let quantity = json!({"oneOf": [{"type": "string"}, {"type": "number"}]});
    assert_eq!(lowered(quantity), json!({"type": "string"}));
    let port = json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]});
    assert_eq!(lowered(port), json!({"type": "string", "format": "int-or-string"}));
    let several =
        json!({"allOf": [{"minimum": 1, "default": 2}, {"maximum": 3}], "nullable": true, "not": {}});
    assert_eq!(lowered(several), json!({"allOf": [{"minimum": 1}, {"maximum": 3}]}));
    assert_eq!(lowered(json!({"anyOf": [{"minimum": 1}]})), json!({}));
}

/// The schema of schemas has properties of these names.
#[test]
fn a_property_called_like_a_keyword_stays() {
    let source = json!({"properties": {
        "default": {"type": "string", "default": ""}, "$ref": {"type": "string"}, "allOf": {"type": "array", "items": {}},
        "not": {"type": "object"}, "nullable": {"type": "boolean"}, "oneOf": {"type": "array", "items": {}},
    }});
    let mut expected = source.clone();
    expected["properties"]["default"] = json!({"type": "string"});
    assert_eq!(lowered(source), expected);
}

fn things() -> Value {
    let answer = |media: &[&str]| -> Map<String, Value> {
        let schema = json!({"schema": {"$ref": "#/components/schemas/x.Thing"}});
        media.iter().map(|media| ((*media).to_owned(), schema.clone())).collect()
    };
    let query =
        |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}});
    json!({
        "openapi": "3.0.0", "info": {"title": "T", "version": "v"},
        "paths": {"/things/{name}": {
            "parameters": [query("pretty"),
                {"name": "name", "in": "path", "required": true, "schema": {"type": "string", "uniqueItems": true}}],
            "get": {"operationId": "a", "responses": {
                "200": {"description": "OK", "content": answer(&["application/json", "application/yaml"])},
                "401": {"description": "Unauthorized"},
            }},
            "put": {"operationId": "b", "x-kubernetes-action": "put", "parameters": [query("fieldValidation"), query("force")],
                "requestBody": {"content": answer(&["*/*"]), "required": true},
                "responses": {"200": {"description": "OK", "content": answer(&["application/json"])}}},
            "delete": {"operationId": "c",
                "requestBody": {"content": {"*/*": {"schema": {"$ref": "#/components/schemas/io.k8s.apimachinery.D"}}}},
                "responses": {}},
        }},
        "components": {
            "schemas": {"x.Thing": {"type": "object"}},
            "securitySchemes": {"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header"}},
        },
    })
}

#[test]
fn operations_have_the_form_of_2_0() {
    let document = downgraded(things());
    let item = &document["paths"]["/things/{name}"];
    let thing = json!({"$ref": "#/definitions/x.Thing"});
    assert_eq!(
        item["get"],
        json!({"operationId": "a", "consumes": ["*/*"], "produces": ["application/json", "application/yaml"],
            "schemes": ["https"],
            "responses": {"200": {"description": "OK", "schema": thing}, "401": {"description": "Unauthorized"}}})
    );
    let put = &item["put"];
    assert_eq!(put["consumes"], json!(["*/*"]));
    assert_eq!(put.get("requestBody"), None);
    assert_eq!(put["x-kubernetes-action"], "put");
    let parameters = put["parameters"].as_array().unwrap();
    assert_eq!(parameters[0], json!({"name": "body", "in": "body", "required": true, "schema": thing}));
    assert_eq!(
        parameters[1],
        json!({"name": "fieldValidation", "in": "query", "type": "string", "uniqueItems": true}),
        "old clients of kubectl look for it right here"
    );
    assert_eq!(document["security"], json!([{"BearerToken": []}]));
    assert_eq!(document["securityDefinitions"]["BearerToken"]["in"], "header");
    assert_eq!(document["swagger"], "2.0");
    assert!(document.get("components").is_none() && document.get("openapi").is_none());
}

#[test]
fn parameters_are_shared_unless_they_are_about_one_kind() {
    let document = downgraded(things());
    let item = &document["paths"]["/things/{name}"];
    let behind = |parameter: &Value| {
        let name = parameter["$ref"].as_str().and_then(|text| text.strip_prefix("#/parameters/")).unwrap();
        assert_eq!(name.split_once('-').unwrap().1.len(), 8, "{name}");
        document["parameters"][name].clone()
    };
    assert_eq!(item["parameters"][0]["name"], "name");
    let pretty = behind(&item["parameters"][1]);
    assert_eq!(pretty, json!({"name": "pretty", "in": "query", "type": "string", "uniqueItems": true}));
    assert_eq!(behind(&item["put"]["parameters"][2])["name"], "force");
    let body = behind(&item["delete"]["parameters"][0]);
    assert_eq!(body["schema"]["$ref"], "#/definitions/io.k8s.apimachinery.D");
    assert_eq!(document["parameters"].as_object().unwrap().len(), 3);
}

#[test]
fn what_is_no_document_becomes_an_empty_one() {
    for broken in [
        json!(null),
        json!([]),
        json!({"paths": 1, "components": {"schemas": []}}),
        json!({"paths": {"/": 1}}),
    ] {
        let document = downgraded(broken);
        assert_eq!(document["definitions"], json!({}));
    }
}
