use super::*;

fn apps() -> GroupVersion {
    GroupVersion::new("apps", "v1")
}

fn deployments() -> Vec<ResourcePaths> {
    let main = ResourcePaths {
        plural: "deployments".into(),
        subresource: None,
        namespaced: true,
        gv: apps(),
        kind: "Deployment".into(),
        verbs: Verb::ALL.to_vec(),
        schema: None,
    };
    let scale = ResourcePaths {
        subresource: Some("scale".into()),
        gv: GroupVersion::new("autoscaling", "v1"),
        kind: "Scale".into(),
        verbs: vec![Verb::Get, Verb::Update, Verb::Patch],
        ..main.clone()
    };
    vec![main, scale]
}

/// The schema of a field, without its description.
fn field(document: &Value, ty: &str, name: &str) -> Value {
    let mut schema = document["components"]["schemas"][ty]["properties"][name].clone();
    schema.as_object_mut().unwrap().remove("description");
    schema
}

fn document() -> Value {
    v3_document(&apps(), &deployments())
}

#[test]
fn a_resource_has_the_paths_of_upstream() {
    let document = document();
    let paths: Vec<_> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        paths,
        [
            "/apis/apps/v1/",
            "/apis/apps/v1/deployments",
            "/apis/apps/v1/namespaces/{namespace}/deployments",
            "/apis/apps/v1/namespaces/{namespace}/deployments/{name}",
            "/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale",
        ]
    );
    let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(
        patch["x-kubernetes-group-version-kind"],
        json!({"group":"apps","version":"v1","kind":"Deployment"})
    );
    assert_eq!(patch["x-kubernetes-action"], "patch");
    let names: Vec<_> =
        patch["parameters"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["dryRun", "fieldManager", "fieldValidation", "force"]);
    assert!(patch["requestBody"]["content"].get("application/strategic-merge-patch+json").is_some());
}

/// From upstream's documents.
#[test]
fn what_all_operations_of_a_path_take_stands_beside_them() {
    let document = document();
    let names = |place: &Value| -> Vec<String> {
        place["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let everywhere = &document["paths"]["/apis/apps/v1/deployments"];
    assert!(names(everywhere).contains(&"labelSelector".to_owned()) && names(&everywhere["get"]).is_empty());
    let one = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"];
    assert_eq!(names(one), ["name", "namespace", "pretty"]);
    let resources = &document["paths"]["/apis/apps/v1/"]["get"];
    assert_eq!(resources["operationId"], "getAppsV1APIResources");
}

#[test]
fn schemas_carry_what_clients_merge_and_explain_by() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    assert_eq!(
        schemas["io.k8s.api.apps.v1.Deployment"]["x-kubernetes-group-version-kind"],
        json!([{"group":"apps","version":"v1","kind":"Deployment"}])
    );
    let container = &schemas["io.k8s.api.core.v1.Container"];
    assert_eq!(container["required"], json!(["name"]));
    assert_eq!(
        field(&document, "io.k8s.api.core.v1.Container", "ports"),
        json!({"type":"array","items":{"allOf":[{"$ref":"#/components/schemas/io.k8s.api.core.v1.ContainerPort"}],"default":{}},
            "x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["containerPort","protocol"],
            "x-kubernetes-patch-strategy":"merge","x-kubernetes-patch-merge-key":"containerPort"})
    );
    assert_eq!(
        field(&document, "io.k8s.api.core.v1.ContainerPort", "protocol"),
        json!({"type":"string","default":"TCP","enum":["SCTP","TCP","UDP"]})
    );
    assert_eq!(
        field(&document, "io.k8s.api.apps.v1.DeploymentSpec", "strategy"),
        json!({"allOf":[{"$ref":"#/components/schemas/io.k8s.api.apps.v1.DeploymentStrategy"}],"default":{},
            "x-kubernetes-patch-strategy":"retainKeys"})
    );
}

#[test]
fn every_reference_leads_somewhere() {
    fn walk(value: &Value, seen: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(target)) = map.get("$ref") {
                    seen.push(target.trim_start_matches("#/components/schemas/").to_owned());
                }
                map.values().for_each(|value| walk(value, seen));
            }
            Value::Array(items) => items.iter().for_each(|value| walk(value, seen)),
            _ => {}
        }
    }
    let crds = ResourcePaths {
        plural: "customresourcedefinitions".into(),
        subresource: None,
        namespaced: false,
        gv: GroupVersion::new("apiextensions.k8s.io", "v1"),
        kind: "CustomResourceDefinition".into(),
        verbs: Verb::ALL.to_vec(),
        schema: None,
    };
    for document in [document(), v3_document(&crds.gv.clone(), &[crds])] {
        let mut targets = Vec::new();
        walk(&document, &mut targets);
        assert!(targets.len() > 30);
        for target in targets {
            assert!(document["components"]["schemas"].get(&target).is_some(), "{target}");
        }
    }
}

#[test]
fn a_kind_without_type_is_described_as_free() {
    let gadgets = ResourcePaths {
        plural: "gadgets".into(),
        subresource: None,
        namespaced: false,
        gv: GroupVersion::new("things.example.com", "v1"),
        kind: "Gadget".into(),
        verbs: vec![Verb::Patch],
        schema: None,
    };
    let document = v3_document(&gadgets.gv.clone(), &[gadgets]);
    let gadget = &document["components"]["schemas"]["com.example.things.v1.Gadget"];
    assert_eq!(gadget["x-kubernetes-preserve-unknown-fields"], true);
    let patch = &document["paths"]["/apis/things.example.com/v1/gadgets/{name}"]["patch"];
    let types = patch["requestBody"]["content"].as_object().unwrap();
    assert!(types.contains_key("application/merge-patch+json"));
    assert!(!types.contains_key("application/strategic-merge-patch+json"));
}

#[test]
fn the_index_names_every_document_with_a_hash_that_follows_its_content() {
    let resources = deployments();
    let index = v3_index([(&apps(), resources.as_slice())]);
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap();
    assert_eq!(url, format!("/openapi/v3/apis/apps/v1?hash={}", document_hash(&apps(), &resources)));
    assert_ne!(document_hash(&apps(), &resources), document_hash(&apps(), &resources[..1]));
}

#[cfg(feature = "descriptions")]
#[test]
fn fields_are_described() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    for (ty, field) in
        [("io.k8s.api.apps.v1.DeploymentSpec", "strategy"), ("io.k8s.api.core.v1.Container", "image")]
    {
        assert!(schemas[ty]["description"].as_str().is_some_and(|text| text.len() > 10), "{ty}");
        assert!(
            schemas[ty]["properties"][field]["description"].as_str().is_some_and(|text| text.len() > 10),
            "{field}"
        );
    }
}
