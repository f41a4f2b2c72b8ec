//! Tables.

use serde_json::{Value, json};

use crate::world;

#[tokio::test]
async fn servers_with_support_for_table_transformation_should_return_a_406_for_a_backend_which_does_not_implement_metadata()
 {
    let world = world::world().await;
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}},
    });
    let headers =
        [("content-type", "application/json"), ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let (status, body) = world.raw("POST", path, &headers, &review.to_string()).await;
    assert_eq!(status, 406);
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&answer["kind"], &answer["code"]), (&json!("Status"), &json!(406)));
    world.end().await;
}
