//! Webhooks of admission, behind a service as the suite deploys them. The suite's webhook program is here a server on
//! loopback that answers as that program does.

mod configurations;
mod custom;
mod objects;

use orchestra::Cluster;
use serde_json::{Value, json};

use crate::hook::{Hook, Said, allow, patched};
use crate::world::{self, MERGE_PATCH, World};

const SERVICE: &str = "e2e-test-webhook";
const PORT: u16 = 8443;
const VALIDATING: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
const MUTATING: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
const MAPS: &str = "/api/v1/namespaces/conformance/configmaps";
const MARKERS: &str = "/api/v1/namespaces/markers/configmaps";

/// A cluster, the webhook program, and the service in front of it.
struct Hooked {
    world: World,
    hook: Hook,
}

/// A cluster without nodes.
async fn hooked() -> Hooked {
    deploy(world::world().await).await
}

/// Puts the webhook program behind its service, and makes the namespaces that the suite makes.
async fn deploy(world: World) -> Hooked {
    let hook = Hook::start(&[&format!("{SERVICE}.conformance.svc")], answer).await;
    serve(&world, SERVICE, &hook).await;
    let label = json!({"metadata": {"labels": {"unique": "true"}}});
    world.patch("/api/v1/namespaces/conformance", MERGE_PATCH, label).await;
    world.make_namespace("markers").await;
    let label = json!({"metadata": {"labels": {"unique-markers": "true"}}});
    world.patch("/api/v1/namespaces/markers", MERGE_PATCH, label).await;
    Hooked { world, hook }
}

/// Makes a service in the test's namespace whose endpoint is this server.
pub(super) async fn serve(world: &World, name: &str, hook: &Hook) {
    let service = json!({
        "metadata": {"name": name},
        "spec": {"ports": [{"protocol": "TCP", "port": PORT, "targetPort": hook.address.port()}]},
    });
    world.post("/api/v1/namespaces/conformance/services", service).await;
    let slice = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [{"name": "", "port": hook.address.port()}],
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": true}}],
    });
    world.post("/apis/discovery.k8s.io/v1/namespaces/conformance/endpointslices", slice).await;
}

/// A cluster with a node, which kubectl reaches.
async fn with_node() -> World {
    world::with(Cluster::builder().listen(([127, 0, 0, 1], 0).into())).await
}

/// What the program says at each of its paths.
fn answer(asked: &Value) -> Said {
    let uri = asked["uri"].as_str().unwrap();
    let (path, query) = uri.split_once('?').unwrap();
    let (object, old) = (&asked["object"], &asked["oldObject"]);
    let unwanted = |object: &Value, value: &str| object["data"]["webhook-e2e-test"] == value;
    match path {
        "/always-deny" => deny("this webhook denies all requests"),
        // It takes longer than a second, and less than ten.
        "/always-allow-delay-5s" if query == "timeout=1s" => Said::Silence,
        "/always-allow-delay-5s" => allow(),
        "/pods" if object["metadata"]["labels"]["webhook-e2e-test"] == "wait-forever" => Said::Silence,
        "/pods" => {
            let label = object["metadata"]["labels"]["webhook-e2e-test"] == "webhook-disallow";
            let container = object["spec"]["containers"][0]["name"] == "webhook-disallow";
            match (label, container) {
                (false, false) => allow(),
                _ => deny("the pod contains unwanted label; the pod contains unwanted container name;"),
            }
        }
        "/pods/attach" => deny("attaching to pod 'to-be-attached-pod' is not allowed"),
        "/configmaps" if unwanted(object, "webhook-disallow") => {
            deny("the configmap contains unwanted key and value")
        }
        "/custom-resource" if unwanted(object, "webhook-disallow") => {
            deny("the custom resource contains unwanted data")
        }
        "/custom-resource" if asked["operation"] == "DELETE" && unwanted(old, "webhook-nondeletable") => {
            deny("the custom resource cannot be deleted because it contains unwanted key and value")
        }
        "/configmaps" | "/custom-resource" => allow(),
        "/mutating-configmaps" | "/mutating-custom-resource" => {
            if object["data"]["mutation-stage-1"] == "yes" {
                add("/data/mutation-stage-2", &json!("yes"))
            } else if object["data"]["mutation-start"] == "yes" {
                add("/data/mutation-stage-1", &json!("yes"))
            } else {
                allow()
            }
        }
        "/mutating-pods" => {
            let container = json!({"image": "webhook-added-image", "name": "webhook-added-init-container", "resources": {}});
            add("/spec/initContainers", &json!([container]))
        }
        "/add-label" => add("/metadata/labels", &json!({"added-label": "yes"})),
        "/crd" if object["metadata"]["labels"]["webhook-e2e-test"] == "webhook-disallow" => {
            deny("the crd contains unwanted label")
        }
        "/crd" => allow(),
        _ => Said::Raw(404, format!("nothing at {path}")),
    }
}

fn deny(message: &str) -> Said {
    Said::Response(json!({"allowed": false, "status": {"message": message}}))
}

fn add(path: &str, value: &Value) -> Said {
    patched(&json!([{"op": "add", "path": path, "value": value}]))
}

impl Hooked {
    /// A webhook of this name at a path of the program, asked of these operations on these resources of `group/version`,
    /// in the test's namespace.
    fn webhook(&self, name: &str, path: &str, operations: &[&str], about: (&str, &str, &[&str])) -> Value {
        let (group, version, resources) = about;
        json!({
            "name": name,
            "rules": [{
                "operations": operations, "apiGroups": [group], "apiVersions": [version], "resources": resources,
            }],
            "clientConfig": {
                "service": {"namespace": "conformance", "name": SERVICE, "path": path, "port": PORT},
                "caBundle": self.hook.ca,
            },
            "sideEffects": "None",
            "admissionReviewVersions": ["v1", "v1beta1"],
            "namespaceSelector": {"matchLabels": {"unique": "true"}},
        })
    }

    fn about_maps(&self, name: &str, path: &str, operations: &[&str]) -> Value {
        self.webhook(name, path, operations, ("", "v1", &["configmaps"]))
    }

    /// The webhook that shows that a configuration is in force.
    fn marker(&self) -> Value {
        let mut marker =
            self.about_maps("is-webhook-configuration-ready.k8s.io", "/always-deny", &["CREATE"]);
        marker["failurePolicy"] = "Ignore".into();
        marker["namespaceSelector"] = json!({"matchLabels": {"unique-markers": "true"}});
        marker["objectSelector"] = json!({"matchLabels": {"unique": "true"}});
        marker
    }

    /// Creates a configuration of these webhooks, and waits until it is in force.
    async fn register(&self, collection: &str, name: &str, mut webhooks: Vec<Value>) -> Value {
        webhooks.push(self.marker());
        let made =
            self.world.post(collection, json!({"metadata": {"name": name}, "webhooks": webhooks})).await;
        self.in_force().await;
        made
    }

    /// Sends markers until one is denied.
    async fn in_force(&self) {
        let marker = json!({"metadata": {"generateName": "marker-", "labels": {"unique": "true"}}});
        loop {
            let (status, answer) = self.world.ask("POST", MARKERS, marker.clone()).await;
            if status != 201 {
                assert!(message(&answer).contains("denied"), "{answer}");
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// The message with which a request is refused.
    async fn refused(&self, method: &str, path: &str, body: Value) -> String {
        let (status, answer) = self.world.ask(method, path, body).await;
        assert!(status >= 400, "{method} {path}: {answer}");
        message(&answer).to_owned()
    }

    /// Creates ConfigMaps that the webhooks do not want until they are refused, or until they are not.
    async fn until_unwanted_maps_are_refused(&self, refused: bool) {
        loop {
            let (status, answer) = self.world.ask("POST", MAPS, unwanted_map("random")).await;
            if status == 201 {
                self.world.delete(&format!("{MAPS}/random")).await;
            } else {
                assert!(message(&answer).contains("denied"), "{answer}");
            }
            if (status != 201) == refused {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Creates ConfigMaps that the webhooks change until they are changed, or until they are not.
    async fn until_maps_are_mutated(&self, mutated: bool) {
        loop {
            let made = self.world.post(MAPS, started_map("random")).await;
            self.world.delete(&format!("{MAPS}/random")).await;
            if made["data"].get("mutation-stage-1").is_some() == mutated {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

fn message(status: &Value) -> &str {
    status["message"].as_str().unwrap_or_default()
}

fn unwanted_map(name: &str) -> Value {
    json!({"metadata": {"name": name}, "data": {"webhook-e2e-test": "webhook-disallow"}})
}

fn started_map(name: &str) -> Value {
    json!({"metadata": {"name": name}, "data": {"mutation-start": "yes"}})
}
