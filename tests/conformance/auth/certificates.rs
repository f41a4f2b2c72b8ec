//! Requests for certificates.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::kind::{Kind, items, name, version};
use crate::world::world;

const SIGNER: &str = "example.com/e2e-conformance";
const SELECTOR: &str = "fieldSelector=spec.signerName%3Dexample.com/e2e-conformance";

#[tokio::test]
async fn certificates_api_should_support_csr_api_operations() {
    let world = world().await;
    let kind = Kind::cluster(
        &world,
        "certificates.k8s.io/v1",
        "CertificateSigningRequest",
        "certificatesigningrequests",
    );
    kind.is_discovered(&["approval", "status"]).await;
    let request = json!({
        "metadata": { "generateName": "e2e-example-csr-" },
        "spec": {
            "request": STANDARD.encode(include_str!("data/request.pem")),
            "signerName": SIGNER,
            "expirationSeconds": 3600,
            "usages": ["digital signature", "key encipherment", "server auth"],
        },
    });
    kind.create(request.clone()).await;
    kind.create(request.clone()).await;
    let created = kind.create(request).await;
    let name = name(&created);
    let found = kind.get(name).await;
    assert_eq!(found["metadata"]["uid"], created["metadata"]["uid"]);
    assert_eq!(found["spec"]["expirationSeconds"], 3600);
    let list = kind.list(SELECTOR).await;
    assert_eq!(items(&list).len(), 3);
    let named = format!("fieldSelector=metadata.name%3D{name}");
    let path = format!("{}?watch=true&resourceVersion={}&{named}", kind.collection(), version(&list));
    let mut watch = world.watch(&path).await;

    let mut patched = kind.merge(name, json!({ "metadata": { "annotations": { "patched": "true" } } })).await;
    assert_eq!(patched["metadata"]["annotations"]["patched"], "true");
    patched["metadata"]["annotations"]["updated"] = "true".into();
    let updated = world.put(&kind.path(name), patched).await;
    assert_eq!(updated["metadata"]["annotations"]["updated"], "true");
    for _ in 0..2 {
        let seen = watch.expect_named("MODIFIED", name).await;
        assert_eq!(seen["metadata"]["annotations"]["patched"], "true");
    }

    let approval = format!("{name}/approval");
    is_the_request(&kind.get(&approval).await, &created);
    let mut patched = kind
        .merge(
            &approval,
            json!({
                "metadata": { "annotations": { "patchedapproval": "true" } },
                "status": { "conditions": [{ "type": "ApprovalPatch", "status": "True", "reason": "e2e" }] },
            }),
        )
        .await;
    assert_eq!(types(&patched), ["ApprovalPatch"]);
    assert_eq!(patched["metadata"]["annotations"]["patchedapproval"], "true");
    add(&mut patched, "Approved");
    let updated = world.put(&kind.path(&approval), patched).await;
    assert_eq!(types(&updated), ["ApprovalPatch", "Approved"]);

    let status = format!("{name}/status");
    is_the_request(&kind.get(&status).await, &created);
    let certificate = STANDARD.encode(include_str!("data/certificate.pem"));
    let mut patched = kind
        .merge(
            &status,
            json!({
                "metadata": { "annotations": { "patchedstatus": "true" } },
                "status": { "certificate": certificate },
            }),
        )
        .await;
    assert_eq!(patched["status"]["certificate"], certificate.as_str());
    assert_eq!(patched["metadata"]["annotations"]["patchedstatus"], "true");
    add(&mut patched, "StatusUpdate");
    let updated = world.put(&kind.path(&status), patched).await;
    assert_eq!(types(&updated), ["ApprovalPatch", "Approved", "StatusUpdate"]);

    kind.removal(name, SELECTOR).await;
    world.end().await;
}

fn is_the_request(found: &Value, created: &Value) {
    assert_eq!(found["kind"], "CertificateSigningRequest");
    assert_eq!(found["apiVersion"], "certificates.k8s.io/v1");
    assert_eq!(found["metadata"]["uid"], created["metadata"]["uid"]);
}

fn types(request: &Value) -> Vec<&str> {
    let conditions = request["status"]["conditions"].as_array().expect("conditions");
    conditions.iter().map(|condition| condition["type"].as_str().expect("a type")).collect()
}

fn add(request: &mut Value, condition: &str) {
    let conditions = request["status"]["conditions"].as_array_mut().expect("conditions");
    conditions
        .push(json!({ "type": condition, "status": "True", "reason": "E2E", "message": "Set from a test" }));
}
