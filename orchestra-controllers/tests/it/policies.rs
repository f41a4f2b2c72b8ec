use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use serde_json::json;

use crate::cluster::{TestCluster, until};

#[tokio::test(start_paused = true)]
async fn policies_about_custom_kinds_are_checked_against_the_schemas_of_their_definitions() {
    let cluster = TestCluster::start().await;
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    let definition = |plural: &str, kind: &str| {
        serde_json::from_value::<CustomResourceDefinition>(json!({
            "metadata": {"name": format!("{plural}.example.com")},
            "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": plural, "kind": kind},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                    "type": "object", "properties": {"watts": {"type": "integer"}}}}}]},
        }))
        .unwrap()
    };
    for (plural, kind) in [("lamps", "Lamp"), ("limits", "LampLimit")] {
        definitions.create(&Default::default(), &definition(plural, kind)).await.unwrap();
    }
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(cluster.client.clone());
    let policy = serde_json::from_value(json!({
        "metadata": {"name": "p"},
        "spec": {
            "paramKind": {"apiVersion": "example.com/v1", "kind": "LampLimit"},
            "matchConstraints": {"resourceRules": [{
                "apiGroups": ["example.com"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["lamps"]}]},
            "validations": [
                {"expression": "object.watts < params.watts"},
                {"expression": "object.watts < params.volts"},
                {"expression": "object.watts == 'many'"},
            ],
        },
    }))
    .unwrap();
    policies.create(&Default::default(), &policy).await.unwrap();
    let checked = |policy: &ValidatingAdmissionPolicy| policy.status.as_ref()?.type_checking.clone();
    let found =
        until(&policies, "a checked policy", |all| all.iter().any(|one| checked(one).is_some())).await;
    let warnings = checked(&found[0]).unwrap().expression_warnings.unwrap_or_default();
    let fields: Vec<&str> = warnings.iter().map(|warning| warning.field_ref.as_str()).collect();
    assert_eq!(fields, ["spec.validations[1].expression", "spec.validations[2].expression"]);
    assert!(
        warnings[0]
            .warning
            .starts_with("example.com/v1, Kind=Lamp: ERROR: <input>:1:22: undefined field 'volts'")
    );
}
