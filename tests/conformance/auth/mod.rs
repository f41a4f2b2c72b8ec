//! Who one is.

mod accounts;
mod certificates;

use serde_json::{Value, json};

use crate::kind::Kind;
use crate::world::world;

#[tokio::test]
async fn subjectreview_should_support_subjectreview_api_operations() {
    let world = world().await;
    let accounts = Kind::namespaced(&world, "v1", "ServiceAccount", "serviceaccounts");
    let account = accounts.create(json!({ "metadata": { "name": "e2e" } })).await;
    let uid = account["metadata"]["uid"].as_str().expect("a uid");
    let user = "system:serviceaccount:conformance:e2e";
    let groups = ["system:authenticated", "system:serviceaccounts", "system:serviceaccounts:conformance"];
    let spec = |user: &str| {
        json!({
            "resourceAttributes": {
                "verb": "list", "resource": "configmaps", "namespace": "conformance", "version": "v1",
            },
            "user": user,
            "groups": groups,
            "uid": uid,
        })
    };
    let reviews =
        Kind::cluster(&world, "authorization.k8s.io/v1", "SubjectAccessReview", "subjectaccessreviews");
    let review = reviews.create(json!({ "spec": spec(user) })).await;
    let allowed = review["status"]["allowed"].as_bool().expect("an answer");

    let headers = [
        ("impersonate-user", user),
        ("impersonate-uid", uid),
        ("impersonate-group", groups[0]),
        ("impersonate-group", groups[1]),
        ("impersonate-group", groups[2]),
    ];
    let (status, body) = world.raw("GET", "/api/v1/namespaces/conformance/configmaps", &headers, "").await;
    let answer: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(status, if allowed { 200 } else { 403 }, "{answer}");
    if !allowed {
        assert_eq!(answer["reason"], "Forbidden");
    }

    let local = Kind::namespaced(
        &world,
        "authorization.k8s.io/v1",
        "LocalSubjectAccessReview",
        "localsubjectaccessreviews",
    );
    let review =
        local.create(json!({ "metadata": { "namespace": "conformance" }, "spec": spec("e2e") })).await;
    assert_eq!(review["status"]["allowed"], allowed);
    world.end().await;
}
