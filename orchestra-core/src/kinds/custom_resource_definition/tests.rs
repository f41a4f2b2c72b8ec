use serde_json::{Value, json};

use super::kind;
use crate::kinds::frame::testing::{defaulted, said, said_of_change, served};

fn definition(schema: Value) -> Value {
    json!({
        "metadata": {"name": "crontabs.stable.example.com"},
        "spec": {
            "group": "stable.example.com", "scope": "Namespaced",
            "names": {"plural": "crontabs", "kind": "CronTab"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    })
}

fn plain() -> Value {
    definition(json!({"type": "object", "properties": {"spec": {"type": "object"}}}))
}

#[test]
fn names_are_filled_in_and_the_storage_version_is_remembered() {
    let whole = defaulted(kind(), plain());
    assert_eq!(
        whole["spec"]["names"],
        json!({"plural": "crontabs", "kind": "CronTab", "singular": "crontab", "listKind": "CronTabList"})
    );
    assert_eq!(whole["spec"]["conversion"], json!({"strategy": "None"}));
    let mut made = whole.clone();
    made["status"] = json!({"conditions": [{"type": "Established", "status": "True"}]});
    served(kind()).prepare_create(&mut made);
    assert_eq!(made["status"], json!({"storedVersions": ["v1"]}));
    assert_eq!(said(kind(), plain()), [""; 0]);
}

#[test]
fn a_new_storage_version_joins_the_stored_ones() {
    let mut old = defaulted(kind(), plain());
    served(kind()).prepare_create(&mut old);
    let mut new = old.clone();
    new["spec"]["versions"][0]["storage"] = false.into();
    let mut second = old["spec"]["versions"][0].clone();
    second["name"] = "v2".into();
    new["spec"]["versions"].as_array_mut().unwrap().push(second);
    served(kind()).prepare_update(&mut new, &old);
    assert_eq!(new["status"]["storedVersions"], json!(["v1", "v2"]));
    assert_eq!(new["metadata"]["generation"], 2);
}

#[test]
fn the_name_says_plural_and_group() {
    let mut other = plain();
    other["metadata"]["name"] = "x.example.com".into();
    assert_eq!(
        said(kind(), other),
        [r#"metadata.name: Invalid value: "x.example.com": must be spec.names.plural+"."+spec.group"#]
    );
}

#[test]
fn there_is_exactly_one_storage_version() {
    let mut none = plain();
    none["spec"]["versions"][0]["storage"] = false.into();
    none["status"] = json!({"storedVersions": ["v1"]});
    let said = said(kind(), none);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].ends_with("must have exactly one version marked as storage version"), "{said:?}");
}

#[test]
fn a_group_is_a_domain_and_that_of_the_project_needs_leave() {
    let mut flat = plain();
    flat["spec"]["group"] = "example".into();
    flat["metadata"]["name"] = "crontabs.example".into();
    assert_eq!(
        said(kind(), flat),
        [r#"spec.group: Invalid value: "example": should be a domain with at least one dot"#]
    );
    let mut ours = plain();
    ours["spec"]["group"] = "x.k8s.io".into();
    ours["metadata"]["name"] = "crontabs.x.k8s.io".into();
    assert!(said(kind(), ours.clone())[0].contains("protected groups must have approval annotation"));
    ours["metadata"]["annotations"] = json!({"api-approved.kubernetes.io": "unapproved, a test"});
    assert_eq!(said(kind(), ours), [""; 0]);
}

#[test]
fn what_identifies_served_objects_does_not_change() {
    let mut old = defaulted(kind(), plain());
    served(kind()).prepare_create(&mut old);
    old["metadata"]["resourceVersion"] = "1".into();
    old["status"]["conditions"] = json!([{"type": "Established", "status": "True"}]);
    let mut new = old.clone();
    new["spec"]["scope"] = "Cluster".into();
    new["spec"]["names"]["kind"] = "Other".into();
    assert_eq!(
        said_of_change(kind(), &new, &old),
        [
            r#"spec.scope: Invalid value: "Cluster": field is immutable"#,
            r#"spec.names.kind: Invalid value: "Other": field is immutable"#
        ]
    );
}

#[test]
fn a_schema_must_be_structural() {
    for (schema, expected) in [
        (json!({}), "spec.validation.openAPIV3Schema.type: Required value: must not be empty at the root"),
        (
            json!({"type": "object", "properties": {"a": {}}}),
            "spec.validation.openAPIV3Schema.properties[a].type: Required value: must not be empty for specified \
             object fields",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "array"}}}),
            "spec.validation.openAPIV3Schema.properties[a].items: Required value: must be specified",
        ),
        (
            json!({"type": "object", "anyOf": [{"properties": {"a": {"type": "string"}}}]}),
            "spec.validation.openAPIV3Schema.anyOf[0].properties[a].type: Forbidden: must be empty to be structural",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}}),
            "spec.validation.openAPIV3Schema.properties[a].pattern: Invalid value: \"(\": must be a valid regular \
             expression, but isn't: error parsing regexp: unclosed group: `(`",
        ),
        (
            json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}}),
            "spec.validation.openAPIV3Schema.properties[metadata]: Forbidden: must not specify anything other than \
             name and generateName, but metadata is implicitly specified",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "integer", "default": "x"}}}),
            "spec.validation.openAPIV3Schema.properties[a].default: Invalid value: \"string\":  in body must be of \
             type integer: \"string\"",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "object", "default": {"b": 1}}}}),
            "spec.validation.openAPIV3Schema.properties[a].default: Invalid value: {\"b\":1}: must not have unknown \
             fields",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "array", "uniqueItems": true, "items": {"type": "string"}}}}),
            "spec.validation.openAPIV3Schema.properties[a].uniqueItems: Forbidden: uniqueItems cannot be set to true \
             since the runtime complexity becomes quadratic",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "array", "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["k"], "items": {"type": "object", "properties": {"k": {"type": "string"}}}}}}),
            "spec.validation.openAPIV3Schema.properties[a].items.properties[k].default: Required value: this property \
             is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "odd"}}}),
            "spec.validation.openAPIV3Schema.properties[a].type: Unsupported value: \"odd\": supported values: \
             \"array\", \"boolean\", \"integer\", \"number\", \"object\", \"string\"",
        ),
    ] {
        assert_eq!(said(kind(), definition(schema.clone())), [expected], "{schema}");
    }
}

#[test]
fn columns_scale_and_selectable_fields_are_paths_that_lead_somewhere() {
    let mut crd = definition(json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {"n": {"type": "integer"}, "o": {"type": "object"}}}}}));
    let version = &mut crd["spec"]["versions"][0];
    version["additionalPrinterColumns"] = json!([{"name": "N", "type": "text", "jsonPath": "spec"}]);
    version["subresources"] =
        json!({"scale": {"specReplicasPath": ".status.n", "statusReplicasPath": ".status.n"}});
    version["selectableFields"] =
        json!([{"jsonPath": ".spec.n"}, {"jsonPath": ".spec.o"}, {"jsonPath": ".spec.missing"}]);
    assert_eq!(
        said(kind(), crd),
        [
            r#"spec.subresources.scale.specReplicasPath: Invalid value: ".status.n": should be a json path under .spec"#,
            r#"spec.additionalPrinterColumns[0].type: Invalid value: "text": must be one of boolean,date,integer,number,string"#,
            r#"spec.additionalPrinterColumns[0].JSONPath: Invalid value: "spec": must be a simple json path starting with ."#,
            r#"spec.selectableFields[1].jsonPath: Invalid value: ".spec.o": must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed."#,
            r#"spec.selectableFields[2].jsonPath: Invalid value: ".spec.missing": is an invalid path: does not refer to a valid field"#,
        ]
    );
}

#[test]
fn a_conversion_webhook_says_where_it_is() {
    let mut crd = plain();
    crd["spec"]["conversion"] = json!({"strategy": "Webhook"});
    assert_eq!(
        said(kind(), crd.clone()),
        [
            "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook",
            "spec.conversion.conversionReviewVersions: Required value",
        ]
    );
    crd["spec"]["conversion"]["webhook"] = json!({
        "conversionReviewVersions": ["v1"], "clientConfig": {"url": "http://example.com/x?y"}});
    assert_eq!(
        said(kind(), crd),
        [
            r#"spec.conversion.webhookClientConfig.url: Invalid value: "http://example.com/x?y": 'https' is the only allowed URL scheme; got "http"; desired format: https://host[/path]"#,
            r#"spec.conversion.webhookClientConfig.url: Invalid value: "http://example.com/x?y": "y": query parameters are not permitted in the URL"#,
        ]
    );
}

#[test]
fn a_schema_nested_without_end_is_refused() {
    let mut schema = json!({"type": "object"});
    for _ in 0..100 {
        schema = json!({"type": "object", "properties": {"a": schema}});
    }
    let said = said(kind(), definition(schema));
    assert!(said.iter().any(|what| what.contains("must not be nested more than")), "{said:?}");
}
