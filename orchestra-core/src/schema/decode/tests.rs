use serde_json::json;

use super::*;
use crate::schema::{by_name, complete, complete_only};

fn deployment() -> &'static ObjectType {
    by_name("io.k8s.api.apps.v1.Deployment").unwrap()
}

fn pod() -> &'static ObjectType {
    by_name("io.k8s.api.core.v1.Pod").unwrap()
}

fn read(ty: &'static ObjectType, body: &str) -> Decoded {
    decode(body.as_bytes(), Format::Json, ty).unwrap()
}

fn problems(ty: &'static ObjectType, body: &str) -> Vec<String> {
    read(ty, body).problems.iter().map(ToString::to_string).collect()
}

fn error(ty: &'static ObjectType, body: &str) -> String {
    decode(body.as_bytes(), Format::Json, ty).unwrap_err().to_string()
}

#[test]
fn unknown_fields_are_reported_in_document_order_and_pruned() {
    let body = r#"{"zoo":1,"spec":{"foo":{"a":1},"template":{"spec":{"containers":[{"name":"a"},{"name":"b","imag":"x"}]}}},"metadata":{"names":1}}"#;
    assert_eq!(
        problems(deployment(), body),
        [
            r#"unknown field "zoo""#,
            r#"unknown field "spec.foo""#,
            r#"unknown field "spec.template.spec.containers[1].imag""#,
            r#"unknown field "metadata.names""#
        ]
    );
    let value = read(deployment(), body).value;
    assert_eq!(value, json!({"spec":{"template":{"spec":{"containers":[{"name":"a"},{"name":"b"}]}}}}));
}

#[test]
fn duplicates_are_reported_and_the_last_one_wins() {
    let body = r#"{"metadata":{"name":"a","name":"b","labels":{"x":"1","x":"2"}},"metadata":{"name":"c"}}"#;
    assert_eq!(
        problems(pod(), body),
        [
            r#"duplicate field "metadata.name""#,
            r#"duplicate field "metadata.labels.x""#,
            r#"duplicate field "metadata""#
        ]
    );
    assert_eq!(read(pod(), body).value["metadata"]["name"], "c");
}

#[test]
fn names_of_fields_are_case_sensitive() {
    assert_eq!(problems(pod(), r#"{"Spec":{}}"#), [r#"unknown field "Spec""#]);
}

#[test]
fn a_wrong_type_is_worded_as_upstream_words_it() {
    for (body, message) in [
        (
            r#"{"spec":{"replicas":"3"}}"#,
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            r#"{"spec":{"replicas":1.5}}"#,
            "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            r#"{"spec":{"replicas":4294967296}}"#,
            "json: cannot unmarshal number 4294967296 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            r#"{"spec":{"paused":"no"}}"#,
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.paused of type bool",
        ),
        (
            r#"{"metadata":{"labels":{"a":1}}}"#,
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        (
            r#"{"metadata":{"labels":["a"]}}"#,
            "json: cannot unmarshal array into Go struct field ObjectMeta.metadata.labels of type map[string]string",
        ),
        (
            r#"{"spec":[]}"#,
            "json: cannot unmarshal array into Go struct field Deployment.spec of type v1.DeploymentSpec",
        ),
        (
            r#"{"spec":{"template":{"spec":{"containers":{}}}}}"#,
            "json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container",
        ),
        (
            r#"{"spec":{"template":{"spec":{"containers":["a"]}}}}"#,
            "json: cannot unmarshal string into Go struct field PodSpec.spec.template.spec.containers of type v1.Container",
        ),
        (
            r#"{"spec":{"template":{"spec":{"containers":[{"imagePullPolicy":true}]}}}}"#,
            "json: cannot unmarshal bool into Go struct field Container.spec.template.spec.containers.imagePullPolicy of type v1.PullPolicy",
        ),
        (
            r#"{"spec":{"strategy":{"rollingUpdate":{"maxSurge":[]}}}}"#,
            "json: cannot unmarshal array into Go struct field RollingUpdateDeployment.spec.strategy.rollingUpdate.maxSurge of type int32",
        ),
        (
            r#"{"metadata":{"creationTimestamp":5}}"#,
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.creationTimestamp of type string",
        ),
        (r#"[]"#, "json: cannot unmarshal array into Go value of type v1.Deployment"),
    ] {
        assert_eq!(error(deployment(), body), message, "{body}");
    }
}

#[test]
fn the_first_wrong_type_is_the_error_even_when_fields_are_unknown() {
    let body = r#"{"foo":1,"spec":{"replicas":"3","paused":1}}"#;
    assert!(error(deployment(), body).ends_with("spec.replicas of type int32"));
}

#[test]
fn bytes_must_be_base64() {
    let secret = by_name("io.k8s.api.core.v1.Secret").unwrap();
    assert_eq!(error(secret, r#"{"data":{"a":"b!"}}"#), "illegal base64 data at input byte 1");
    assert_eq!(read(secret, r#"{"data":{"a":"aGk="}}"#).value, json!({"data":{"a":"aGk="}}));
    assert_eq!(read(secret, r#"{"data":{"a":"aG\nk="}}"#).value, json!({"data":{"a":"aGk="}}));
}

#[test]
fn absent_zero_and_null_are_one_where_go_has_no_pointer() {
    let body = r#"{"metadata":{"name":"a","labels":{},"creationTimestamp":null},"spec":{"replicas":0,"paused":false,
        "minReadySeconds":0,"selector":{},"strategy":{},"template":{"metadata":{},"spec":{"containers":[],"hostNetwork":false,
        "securityContext":{},"enableServiceLinks":false,"nodeName":""}}},"status":null}"#;
    assert_eq!(
        read(deployment(), body).value,
        json!({"metadata":{"name":"a"},"spec":{"replicas":0,"selector":{},
            "template":{"spec":{"securityContext":{},"enableServiceLinks":false}}}})
    );
}

#[test]
fn null_in_a_map_or_list_is_the_zero_value() {
    let body = r#"{"metadata":{"labels":{"a":null}},"spec":{"containers":[null]}}"#;
    assert_eq!(read(pod(), body).value, json!({"metadata":{"labels":{"a":""}},"spec":{"containers":[{}]}}));
}

#[test]
fn completing_adds_what_go_always_writes() {
    let mut value =
        json!({"spec":{"template":{"spec":{"containers":[{"name":"a","ports":[{"containerPort":80}]}]}}}});
    complete(&mut value, deployment());
    assert_eq!(
        value,
        json!({"metadata":{},"spec":{"selector":null,"strategy":{},"template":{"metadata":{},"spec":{"containers":[
            {"name":"a","resources":{},"ports":[{"containerPort":80}]}]}}},"status":{}})
    );
    let mut again = value.clone();
    complete(&mut again, deployment());
    assert_eq!(again, value);
}

#[test]
fn completing_some_fields_leaves_the_others() {
    let mut value = json!({"spec":{"template":{}}});
    complete_only(&mut value, deployment(), &["metadata", "status"]);
    assert_eq!(value, json!({"metadata":{},"spec":{"template":{}},"status":{}}));
}

#[test]
fn completing_writes_unset_times_and_empty_lists_as_null() {
    let mut event = json!({});
    complete(&mut event, by_name("io.k8s.api.core.v1.Event").unwrap());
    assert_eq!(
        event,
        json!({"metadata":{},"involvedObject":{},"source":{},"firstTimestamp":null,"lastTimestamp":null,"eventTime":null,
            "reportingComponent":"","reportingInstance":""})
    );
    let mut slice = json!({});
    complete(&mut slice, by_name("io.k8s.api.discovery.v1.EndpointSlice").unwrap());
    assert_eq!(slice, json!({"metadata":{},"addressType":"","endpoints":null,"ports":null}));
}

#[test]
fn times_are_written_in_utc() {
    let body = r#"{"metadata":{"creationTimestamp":"2026-01-02T03:04:05.999+01:00"}}"#;
    assert_eq!(read(pod(), body).value["metadata"]["creationTimestamp"], "2026-01-02T02:04:05Z");
    let lease = by_name("io.k8s.api.coordination.v1.Lease").unwrap();
    let body = r#"{"spec":{"renewTime":"2026-01-02T03:04:05.000000Z"}}"#;
    assert_eq!(read(lease, body).value["spec"]["renewTime"], "2026-01-02T03:04:05.000000Z");
    assert!(
        error(pod(), r#"{"metadata":{"creationTimestamp":"today"}}"#)
            .starts_with("parsing time \"today\" as")
    );
}

#[test]
fn yaml_is_read_like_json_and_its_duplicates_are_found() {
    let body = b"metadata:\n  name: a\n  name: b\nspec:\n  replicas: 0x10\n  foo: 1\n";
    let decoded = decode(body, Format::Yaml, deployment()).unwrap();
    assert_eq!(decoded.value, json!({"metadata":{"name":"b"},"spec":{"replicas":16}}));
    let problems: Vec<_> = decoded.problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems, [r#"duplicate field "metadata.name""#, r#"unknown field "spec.foo""#]);
}

#[test]
fn bombs_are_refused() {
    let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for level in 1..10 {
        let previous = format!("*a{}", level - 1);
        bomb += &format!("a{level}: &a{level} [{}]\n", [previous.as_str(); 10].join(","));
    }
    assert!(matches!(decode_untyped(bomb.as_bytes(), Format::Yaml), Err(DecodeError::Syntax(_))));
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), ["*a"; 50].join(","));
    assert!(matches!(decode_untyped(long.as_bytes(), Format::Yaml), Err(DecodeError::Syntax(_))));
    let steep: String = (0..2000).map(|level| " ".repeat(level) + "a:\n").collect();
    assert!(matches!(decode_untyped(steep.as_bytes(), Format::Yaml), Err(DecodeError::Syntax(_))));
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    assert!(matches!(decode_untyped(deep.as_bytes(), Format::Json), Err(DecodeError::Syntax(_))));
    assert!(matches!(decode_untyped(deep.as_bytes(), Format::Yaml), Err(DecodeError::Syntax(_))));
}

#[test]
fn a_tree_without_schema_is_searched_for_duplicates() {
    let decoded = decode_untyped(br#"{"spec":{"a":[{"b":1,"b":2}]}}"#, Format::Json).unwrap();
    assert_eq!(decoded.problems, [Problem::DuplicateField("spec.a[0].b".into())]);
    assert_eq!(decoded.value, json!({"spec":{"a":[{"b":2}]}}));
}

#[test]
fn schemas_of_custom_resources_may_be_booleans_or_lists() {
    let crd =
        by_name("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceValidation").unwrap();
    let body = r#"{"openAPIV3Schema":{"type":"object","additionalProperties":false,"properties":{"a":{"items":{"type":"string"},"default":{"x":1}}}}}"#;
    assert_eq!(read(crd, body).value, serde_json::from_str::<Value>(body).unwrap());
    let body = r#"{"openAPIV3Schema":{"additionalProperties":1}}"#;
    assert_eq!(error(crd, body), "boolean or JSON schema expected");
}

#[test]
fn quantities_are_written_in_their_canonical_form() {
    let quota = by_name("io.k8s.api.core.v1.ResourceQuota").unwrap();
    let body = r#"{"spec":{"hard":{"cpu":0.5,"memory":"1024Mi","pods":"1000m"}}}"#;
    assert_eq!(read(quota, body).value, json!({"spec":{"hard":{"cpu":"500m","memory":"1Gi","pods":"1"}}}));
    let message =
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
    for bad in [r#"{"spec":{"hard":{"cpu":"much"}}}"#, r#"{"spec":{"hard":{"cpu":true}}}"#] {
        assert_eq!(error(quota, bad), message);
    }
    assert_eq!(error(quota, r#"{"spec":{"hard":{"cpu":"1KK"}}}"#), "unable to parse quantity's suffix");
}

#[test]
fn a_second_yaml_document_is_passed_over() {
    let value = json!({"metadata":{"name":"a"}});
    for body in ["metadata: {name: a}\n---\nspec: {}\n", "# note\n---\nmetadata:\n  name: a\n---\n: :\n"] {
        assert_eq!(decode(body.as_bytes(), Format::Yaml, pod()).unwrap().value, value, "{body}");
    }
}

#[test]
fn many_unknown_fields_under_a_long_path_cost_little() {
    let unknown: Vec<String> = (0..50_000).map(|_| r#""x":1"#.to_owned()).collect();
    let body = format!(r#"{{"properties":{{"{}":{{{}}}}}}}"#, "k".repeat(1 << 20), unknown.join(","));
    let props = by_name("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps").unwrap();
    assert_eq!(read(props, &body).problems.len(), 1);
}

#[test]
fn the_result_of_a_strategic_merge_is_refused_in_the_words_of_its_converter() {
    use crate::schema::conform_merged;
    for (mut tree, message) in [
        (json!({"spec":{"replicas":"3"}}), "unrecognized type: int32"),
        (json!({"spec":{"replicas":1.5}}), "cannot convert float64 to int32"),
        (json!({"spec":{"paused":1}}), "unrecognized type: bool"),
        (json!({"metadata":{"labels":{"a":1}}}), "cannot convert int64 to string"),
        (json!({"metadata":{"labels":{"a":true}}}), "unrecognized type: string"),
        (json!({"metadata":{"labels":[]}}), "cannot restore map from slice"),
        (json!({"spec":"x"}), "cannot restore struct from: string"),
        (json!({"spec":{"template":{"spec":{"containers":{}}}}}), "cannot restore slice from map"),
        (
            json!({"metadata":{"creationTimestamp":1}}),
            "json: cannot unmarshal number into Go value of type string",
        ),
    ] {
        assert_eq!(conform_merged(&mut tree, deployment()).unwrap_err().to_string(), message);
    }
    let mut tree = json!({"zoo":1,"spec":{"foo":1},"metadata":{"b":1}});
    let problems: Vec<_> =
        conform_merged(&mut tree, deployment()).unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [r#"unknown field "metadata.b""#, r#"unknown field "spec.foo""#, r#"unknown field "zoo""#]
    );
}

#[test]
fn a_number_that_was_written_is_read_as_the_same_number() {
    for number in [-1.111_111_111_111_111_2e111, 0.1 + 0.2, 2.638_344_616_030_823e-256, f64::MAX, 5e-324] {
        let text = json!({ "a": number }).to_string();
        for format in [Format::Json, Format::Yaml] {
            let read = decode_untyped(text.as_bytes(), format).unwrap().value;
            assert_eq!(read["a"].as_f64(), Some(number), "{text} as {format:?}");
        }
    }
}
