//! What webhooks do to pods and ConfigMaps.

use serde_json::{Value, json};

use super::super::command::fail;
use super::{
    Hooked, MAPS, MUTATING, VALIDATING, deploy, hooked, message, started_map, unwanted_map, with_node,
};
use crate::world::STRATEGIC_PATCH;

const PODS: &str = "/api/v1/namespaces/conformance/pods";
const PAUSE: &str = "registry.k8s.io/pause:3.10";

fn pod(name: &str, label: Option<&str>, container: &str) -> Value {
    let mut pod = json!({
        "metadata": {"name": name},
        "spec": {"containers": [{"name": container, "image": PAUSE}]},
    });
    if let Some(label) = label {
        pod["metadata"]["labels"] = json!({"webhook-e2e-test": label});
    }
    pod
}

impl Hooked {
    fn deny_maps(&self) -> Value {
        let mut hook = self.about_maps(
            "deny-unwanted-configmap-data.k8s.io",
            "/configmaps",
            &["CREATE", "UPDATE", "DELETE"],
        );
        hook["namespaceSelector"]["matchExpressions"] =
            json!([{"key": "skip-webhook-admission", "operator": "NotIn", "values": ["yes"]}]);
        hook
    }

    fn mutate_maps(&self, stage: u8) -> Value {
        let name = format!("adding-configmap-data-stage-{stage}.k8s.io");
        self.about_maps(&name, "/mutating-configmaps", &["CREATE"])
    }

    /// A webhook that nobody trusts, so that it cannot be asked.
    fn failing(&self, name: &str, policy: &str) -> Value {
        let mut hook = self.about_maps(name, "/configmaps", &["CREATE"]);
        hook["clientConfig"].as_object_mut().unwrap().remove("caBundle");
        hook["failurePolicy"] = policy.into();
        hook
    }
}

#[tokio::test]
async fn admissionwebhook_should_be_able_to_deny_pod_and_configmap_creation() {
    let hooked = hooked().await;
    let world = &hooked.world;
    let mut pods = hooked.webhook(
        "deny-unwanted-pod-container-name-and-label.k8s.io",
        "/pods",
        &["CREATE"],
        ("", "v1", &["pods"]),
    );
    // The suite waits the ten seconds that are the default.
    pods["timeoutSeconds"] = 1.into();
    let open = hooked.failing("fail-open.k8s.io", "Ignore");
    hooked.register(VALIDATING, "unique", vec![pods, hooked.deny_maps(), open]).await;

    let unwanted = pod("disallowed-pod", Some("webhook-disallow"), "webhook-disallow");
    let said = hooked.refused("POST", PODS, unwanted).await;
    assert!(said.contains("the pod contains unwanted container name"), "{said}");
    assert!(said.contains("the pod contains unwanted label"), "{said}");
    let hanging = pod("hanging-pod", Some("wait-forever"), "wait-forever");
    let said = hooked.refused("POST", PODS, hanging).await;
    assert!(said.contains("webhook") && said.contains("deadline"), "{said}");
    assert_eq!(world.ask("GET", &format!("{PODS}/hanging-pod"), Value::Null).await.0, 404);

    let wanted = "the configmap contains unwanted key and value";
    let said = hooked.refused("POST", MAPS, unwanted_map("disallowed-configmap")).await;
    assert!(said.contains(wanted), "{said}");
    let allowed = json!({"metadata": {"name": "allowed-configmap"}, "data": {"admit": "this"}});
    let mut made = world.post(MAPS, allowed).await;
    let path = format!("{MAPS}/allowed-configmap");
    made["data"]["webhook-e2e-test"] = "webhook-disallow".into();
    let said = hooked.refused("PUT", &path, made).await;
    assert!(said.contains(wanted), "{said}");
    let patch = r#"{"data":{"webhook-e2e-test":"webhook-disallow"}}"#;
    let (status, body) = world.raw("PATCH", &path, &[("content-type", STRATEGIC_PATCH)], patch).await;
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert!(status >= 400 && message(&answer).contains(wanted), "{answer}");

    let skipped = json!({"metadata": {
        "name": "exempted-namespace", "labels": {"skip-webhook-admission": "yes", "unique": "true"},
    }});
    world.post("/api/v1/namespaces", skipped).await;
    let maps = "/api/v1/namespaces/exempted-namespace/configmaps";
    world.post(maps, unwanted_map("disallowed-configmap")).await;
    hooked.world.end().await;
}

#[tokio::test]
async fn admissionwebhook_should_be_able_to_deny_attaching_pod() {
    let hooked = deploy(with_node().await).await;
    let world = &hooked.world;
    let attach = hooked.webhook(
        "deny-attaching-pod.k8s.io",
        "/pods/attach",
        &["CONNECT"],
        ("", "v1", &["pods/attach"]),
    );
    hooked.register(VALIDATING, "unique", vec![attach]).await;
    let mut attached = pod("to-be-attached-pod", None, "container1");
    attached["spec"]["containers"][0]["image"] = "host".into();
    attached["spec"]["containers"][0]["command"] = json!(["sleep", "1000"]);
    attached["spec"]["terminationGracePeriodSeconds"] = 0.into();
    world.post(PODS, attached).await;
    world.eventually(PODS, "to-be-attached-pod", |pod| pod["status"]["phase"] == "Running").await;
    let said = fail(world, &["attach", "to-be-attached-pod", "-i", "-c=container1"], "").await;
    assert!(said.contains("attaching to pod 'to-be-attached-pod' is not allowed"), "{said}");
    hooked.world.end().await;
}

#[tokio::test]
async fn admissionwebhook_should_unconditionally_reject_operations_on_fail_closed_webhook() {
    let hooked = hooked().await;
    let mut closed = hooked.failing("fail-closed.k8s.io", "Fail");
    closed["namespaceSelector"]["matchExpressions"] =
        json!([{"key": "fail-closed-webhook", "operator": "In", "values": ["yes"]}]);
    hooked.register(VALIDATING, "unique", vec![closed]).await;
    let labels = json!({"fail-closed-webhook": "yes", "unique": "true"});
    let namespace = json!({"metadata": {"name": "fail-closed-namespace", "labels": labels}});
    hooked.world.post("/api/v1/namespaces", namespace).await;
    let maps = "/api/v1/namespaces/fail-closed-namespace/configmaps";
    let (status, answer) = hooked.world.ask("POST", maps, json!({"metadata": {"name": "foo"}})).await;
    assert_eq!((status, &answer["reason"]), (500, &json!("InternalError")), "{answer}");
    hooked.world.end().await;
}

#[tokio::test]
async fn admissionwebhook_should_mutate_configmap() {
    let hooked = hooked().await;
    let stages = vec![hooked.mutate_maps(1), hooked.mutate_maps(2)];
    hooked.register(MUTATING, "unique", stages).await;
    let made = hooked.world.post(MAPS, started_map("to-be-mutated")).await;
    let all = json!({"mutation-start": "yes", "mutation-stage-1": "yes", "mutation-stage-2": "yes"});
    assert_eq!(made["data"], all);
    hooked.world.end().await;
}

#[tokio::test]
async fn admissionwebhook_should_mutate_pod_and_apply_defaults_after_mutation() {
    let hooked = hooked().await;
    let pods =
        hooked.webhook("adding-init-container.k8s.io", "/mutating-pods", &["CREATE"], ("", "v1", &["pods"]));
    hooked.register(MUTATING, "unique", vec![pods]).await;
    let made = hooked.world.post(PODS, pod("webhook-to-be-mutated", None, "example")).await;
    let containers = made["spec"]["initContainers"].as_array().unwrap();
    assert_eq!(containers.len(), 1);
    assert_eq!(containers[0]["name"], "webhook-added-init-container");
    assert_eq!(containers[0]["terminationMessagePolicy"], "File");
    hooked.world.end().await;
}

#[tokio::test]
async fn admissionwebhook_should_mutate_everything_except_skip_me_configmaps() {
    let hooked = hooked().await;
    let mut hook = hooked.mutate_maps(1);
    hook["matchConditions"] = json!([{"name": "skip-me", "expression": "object.metadata.name != 'skip-me'"}]);
    hooked.register(MUTATING, "unique", vec![hook]).await;
    let made = hooked.world.post(MAPS, started_map("random")).await;
    assert_eq!(made["data"], json!({"mutation-start": "yes", "mutation-stage-1": "yes"}));
    let skipped = hooked.world.post(MAPS, started_map("skip-me")).await;
    assert_eq!(skipped["data"], json!({"mutation-start": "yes"}));
    hooked.world.end().await;
}

#[tokio::test]
async fn admissionwebhook_should_honor_timeout() {
    let hooked = hooked().await;
    let name = "e2e-test-slow-webhook-configmap";
    let map = json!({"metadata": {"name": name}});
    for (timeout, policy, fails) in [
        (json!(1), "Fail", true),
        (json!(1), "Ignore", false),
        (json!(10), "Fail", false),
        (Value::Null, "Fail", false),
    ] {
        let path = "/always-allow-delay-5s";
        let mut slow = hooked.about_maps("allow-configmap-with-delay-webhook.k8s.io", path, &["CREATE"]);
        slow["failurePolicy"] = policy.into();
        if !timeout.is_null() {
            slow["timeoutSeconds"] = timeout.clone();
        }
        let made = hooked.register(VALIDATING, "unique", vec![slow]).await;
        if timeout.is_null() {
            assert_eq!(made["webhooks"][0]["timeoutSeconds"], 10);
        }
        if fails {
            let said = hooked.refused("POST", MAPS, map.clone()).await;
            assert!(said.contains("context deadline exceeded") || said.contains("timeout"), "{said}");
            assert!(said.contains("/always-allow-delay-5s?timeout=1s"), "{said}");
        } else {
            hooked.world.post(MAPS, map.clone()).await;
            hooked.world.delete(&format!("{MAPS}/{name}")).await;
        }
        hooked.world.delete(&format!("{VALIDATING}/unique")).await;
    }
    hooked.world.end().await;
}

#[tokio::test]
async fn admissionwebhook_patching_updating_a_validating_webhook_should_work() {
    let hooked = hooked().await;
    hooked.register(VALIDATING, "unique", vec![hooked.deny_maps()]).await;
    hooked.until_unwanted_maps_are_refused(true).await;
    change_and_change_back(&hooked, VALIDATING, async |included| {
        hooked.until_unwanted_maps_are_refused(included).await;
    })
    .await;
    hooked.world.end().await;
}

#[tokio::test]
async fn admissionwebhook_patching_updating_a_mutating_webhook_should_work() {
    let hooked = hooked().await;
    hooked.register(MUTATING, "unique", vec![hooked.mutate_maps(1)]).await;
    change_and_change_back(&hooked, MUTATING, async |included| {
        hooked.until_maps_are_mutated(included).await;
    })
    .await;
    hooked.world.end().await;
}

/// Takes creations from the first rule by an update, and puts them into it again by a patch.
async fn change_and_change_back(hooked: &Hooked, collection: &str, until: impl AsyncFn(bool)) {
    let path = format!("{collection}/unique");
    hooked
        .world
        .update(&path, &path, |object| object["webhooks"][0]["rules"][0]["operations"] = json!(["UPDATE"]))
        .await;
    until(false).await;
    let pointer = "/webhooks/0/rules/0/operations";
    let patch = json!([{"op": "replace", "path": pointer, "value": ["CREATE"]}]);
    hooked.world.patch(&path, crate::world::JSON_PATCH, patch).await;
    until(true).await;
}

#[tokio::test]
async fn admissionwebhook_listing_validating_webhooks_should_work() {
    let hooked = hooked().await;
    list(&hooked, VALIDATING, &hooked.deny_maps()).await;
    hooked.until_unwanted_maps_are_refused(true).await;
    hooked.world.delete(&format!("{VALIDATING}?labelSelector=e2e-list-test-uuid%3Dthese")).await;
    hooked.until_unwanted_maps_are_refused(false).await;
    hooked.world.end().await;
}

#[tokio::test]
async fn admissionwebhook_listing_mutating_webhooks_should_work() {
    let hooked = hooked().await;
    list(&hooked, MUTATING, &hooked.mutate_maps(1)).await;
    hooked.until_maps_are_mutated(true).await;
    hooked.world.delete(&format!("{MUTATING}?labelSelector=e2e-list-test-uuid%3Dthese")).await;
    hooked.until_maps_are_mutated(false).await;
    hooked.world.end().await;
}

/// Creates ten configurations with a label, and finds them by it.
async fn list(hooked: &Hooked, collection: &str, webhook: &Value) {
    for number in 0..10 {
        let metadata = json!({"name": format!("unique-{number}"), "labels": {"e2e-list-test-uuid": "these"}});
        let configuration = json!({"metadata": metadata, "webhooks": [webhook, hooked.marker()]});
        hooked.world.post(collection, configuration).await;
    }
    let list = hooked.world.get(&format!("{collection}?labelSelector=e2e-list-test-uuid%3Dthese")).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 10);
    hooked.in_force().await;
}
