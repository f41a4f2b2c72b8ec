//! Rules of the embedding program: closures, the trait, the order, panics.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use http::Request;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use orchestra_apiserver::{
    Admission, AdmissionRequest, ApiServer, ApiServerBuilder, Operation, Phases, StatusError, TypedAdmission,
};
use orchestra_store::MemoryStore;
use serde_json::{Value, json};

use crate::harness::{delete, get, patch, post, put, send};
use crate::metrics::metrics;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn builder() -> ApiServerBuilder {
    ApiServer::builder(Arc::new(MemoryStore::new())).seed(1)
}

fn map(name: &str) -> Value {
    json!({"metadata": {"name": name}})
}

/// Writes down what it is asked.
#[derive(Clone, Debug, Default)]
struct Witness(Arc<Mutex<Vec<String>>>);

impl Witness {
    fn note(&self, phase: &str, request: &AdmissionRequest<'_>, object: &Value) {
        let below = request.request.subresource.as_deref().unwrap_or("-");
        let options = request.options().map(|options| options["kind"].as_str().unwrap().to_owned());
        let line = format!(
            "{phase} {} {}/{} {below} {} old={} dry={} {}",
            request.operation.as_str(),
            request.kind_version,
            request.kind,
            request.name,
            request.old.is_some(),
            request.dry_run,
            options.as_deref().unwrap_or("-"),
        );
        assert!(object.is_object());
        self.0.lock().unwrap().push(line);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

#[async_trait]
impl Admission for Witness {
    fn name(&self) -> &str {
        "Witness"
    }

    async fn mutate(&self, request: &AdmissionRequest<'_>, object: &mut Value) -> Result<(), StatusError> {
        self.note("mutate", request, object);
        Ok(())
    }

    async fn validate(&self, request: &AdmissionRequest<'_>, object: &Value) -> Result<(), StatusError> {
        self.note("validate", request, object);
        Ok(())
    }
}

#[tokio::test]
async fn a_rule_sees_every_write_with_its_operation_kind_options_and_old_object() {
    let witness = Witness::default();
    let server = builder().admission(witness.clone()).build().await.unwrap();
    witness.take();
    post(&server, MAPS, &map("m")).await;
    assert_eq!(
        witness.take(),
        [
            "mutate CREATE v1/ConfigMap - m old=false dry=false CreateOptions",
            "validate CREATE v1/ConfigMap - m old=false dry=false CreateOptions"
        ]
    );
    put(&server, &format!("{MAPS}/m?dryRun=All"), &map("m")).await;
    assert_eq!(
        witness.take(),
        [
            "mutate UPDATE v1/ConfigMap - m old=true dry=true UpdateOptions",
            "validate UPDATE v1/ConfigMap - m old=true dry=true UpdateOptions"
        ]
    );
    let change = json!({"data": {"a": "b"}});
    patch(&server, &format!("{MAPS}/m"), "application/merge-patch+json", &change).await;
    assert_eq!(witness.take()[0], "mutate UPDATE v1/ConfigMap - m old=true dry=false PatchOptions");
    delete(&server, &format!("{MAPS}/m")).await;
    assert_eq!(witness.take(), ["validate DELETE v1/ConfigMap - m old=true dry=false DeleteOptions"]);
    get(&server, &format!("{MAPS}/m")).await;
    assert!(witness.take().is_empty());
}

/// Has nothing to say about maps.
#[derive(Debug)]
struct Unconcerned(Witness);

#[async_trait]
impl Admission for Unconcerned {
    fn name(&self) -> &str {
        "Unconcerned"
    }

    fn concerns(&self, request: &AdmissionRequest<'_>) -> bool {
        !request.is("", "configmaps")
    }

    async fn mutate(&self, request: &AdmissionRequest<'_>, object: &mut Value) -> Result<(), StatusError> {
        self.0.mutate(request, object).await
    }

    async fn validate(&self, request: &AdmissionRequest<'_>, object: &Value) -> Result<(), StatusError> {
        self.0.validate(request, object).await
    }
}

#[tokio::test]
async fn a_rule_that_a_request_does_not_concern_is_not_asked_and_not_counted() {
    let witness = Witness::default();
    let server = builder().admission(Unconcerned(witness.clone())).build().await.unwrap();
    witness.take();
    let is_counted = async || {
        let labels = r#"{name="Unconcerned",operation="DELETE",rejected="false",type="validate"}"#;
        let name = format!("apiserver_admission_controller_admission_duration_seconds_count{labels}");
        metrics(&server).await.contains_key(&name)
    };
    post(&server, MAPS, &map("m")).await;
    delete(&server, &format!("{MAPS}/m")).await;
    assert_eq!((witness.take(), is_counted().await), (Vec::new(), false));
    let secrets = "/api/v1/namespaces/default/secrets";
    post(&server, secrets, &map("s")).await;
    delete(&server, &format!("{secrets}/s")).await;
    assert_eq!((witness.take().len(), is_counted().await), (3, true));
}

/// Has something to do in these phases alone, though it has both methods.
#[derive(Debug)]
struct Within(Witness, Phases);

#[async_trait]
impl Admission for Within {
    fn name(&self) -> &str {
        "Within"
    }

    fn phases(&self) -> Phases {
        self.1
    }

    async fn mutate(&self, request: &AdmissionRequest<'_>, object: &mut Value) -> Result<(), StatusError> {
        self.0.mutate(request, object).await
    }

    async fn validate(&self, request: &AdmissionRequest<'_>, object: &Value) -> Result<(), StatusError> {
        self.0.validate(request, object).await
    }
}

#[tokio::test]
async fn a_rule_is_asked_and_counted_in_the_phases_alone_in_which_it_has_something_to_do() {
    for (phases, asked) in [
        (Phases::Both, &["mutate", "validate"][..]),
        (Phases::Mutation, &["mutate"]),
        (Phases::Validation, &["validate"]),
    ] {
        let witness = Witness::default();
        let server = builder().admission(Within(witness.clone(), phases)).build().await.unwrap();
        witness.take();
        post(&server, MAPS, &map("m")).await;
        let seen = witness.take();
        let seen: Vec<&str> = seen.iter().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(seen, asked, "{phases:?}");
        let counts = metrics(&server).await;
        for (method, phase) in [("mutate", "admit"), ("validate", "validate")] {
            let labels = format!(r#"{{name="Within",operation="CREATE",rejected="false",type="{phase}"}}"#);
            let name = format!("apiserver_admission_controller_admission_duration_seconds_count{labels}");
            assert_eq!(counts.contains_key(&name), asked.contains(&method), "{phases:?} {phase}");
        }
    }
}

#[tokio::test]
async fn bindings_evictions_and_connections_are_admitted_as_what_they_are() {
    let witness = Witness::default();
    let server = builder().admission(witness.clone()).build().await.unwrap();
    let pods = "/api/v1/namespaces/default/pods";
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    assert_eq!(post(&server, pods, &pod).await.0, 201);
    witness.take();
    let binding = json!({"target": {"kind": "Node", "name": "n"}});
    assert_eq!(post(&server, &format!("{pods}/p/binding"), &binding).await.0, 201);
    assert_eq!(
        witness.take(),
        [
            "mutate CREATE v1/Binding binding p old=false dry=false CreateOptions",
            "validate CREATE v1/Binding binding p old=false dry=false CreateOptions"
        ]
    );
    post(&server, &format!("{pods}/p/exec?command=ls&stdout=true"), &json!({})).await;
    let seen = witness.take();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert_eq!(seen[1], "validate CONNECT v1/PodExecOptions exec p old=false dry=false -");
    post(&server, &format!("{pods}/p/eviction"), &json!({})).await;
    assert_eq!(
        witness.take(),
        [
            "mutate CREATE policy/v1/Eviction eviction p old=false dry=false CreateOptions",
            "validate CREATE policy/v1/Eviction eviction p old=false dry=false CreateOptions"
        ]
    );
}

#[tokio::test]
async fn a_closure_that_only_looks_refuses_with_its_name() {
    let small =
        TypedAdmission::validating("small-maps", |map: &ConfigMap, request: &AdmissionRequest<'_>| {
            let before = request.old_as::<ConfigMap>()?.and_then(|map| map.data).map_or(0, |data| data.len());
            let now = map.data.as_ref().map_or(0, |data| data.len());
            if now > before + 1 { Err(format!("{} keys after {before}", now).into()) } else { Ok(()) }
        });
    let server = builder().admission(small).build().await.unwrap();
    let mut wanted = map("m");
    wanted["data"] = json!({"a": "1"});
    assert_eq!(post(&server, MAPS, &wanted).await.0, 201);
    wanted["data"] = json!({"a": "1", "b": "2"});
    assert_eq!(put(&server, &format!("{MAPS}/m"), &wanted).await.0, 200);
    wanted["data"] = json!({"a": "1", "b": "2", "c": "3", "d": "4"});
    let (code, status) = put(&server, &format!("{MAPS}/m"), &wanted).await;
    assert_eq!((code, &status["reason"]), (403, &json!("Forbidden")));
    assert_eq!(
        status["message"],
        "configmaps \"m\" is forbidden: admission plugin \"small-maps\" denied the request: 4 keys after 2"
    );
}

#[tokio::test]
async fn a_closure_is_asked_about_the_operations_it_names() {
    let kept =
        TypedAdmission::validating("kept", |_: &ConfigMap, _: &AdmissionRequest<'_>| Err("kept".into()));
    let server = builder().admission(kept.on([Operation::Delete])).build().await.unwrap();
    assert_eq!(post(&server, MAPS, &map("m")).await.0, 201);
    assert_eq!(delete(&server, &format!("{MAPS}/m")).await.0, 403);
}

#[tokio::test]
async fn fields_that_a_closures_type_does_not_know_survive() {
    let label = |pod: &mut Pod| {
        pod.metadata.labels.get_or_insert_default().insert("a".into(), "b".into());
        Ok(())
    };
    let server = builder().admission(label).build().await.unwrap();
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let (code, made) = post(&server, "/api/v1/namespaces/default/pods", &pod).await;
    assert_eq!((code, &made["metadata"]["labels"]), (201, &json!({"a": "b"})));
    assert_eq!(made["status"], json!({"phase": "Pending", "qosClass": "BestEffort"}));
}

#[tokio::test]
async fn a_rule_that_panics_fails_its_request_and_no_other() {
    let fragile = |map: &ConfigMap| {
        assert!(map.metadata.name.as_deref() != Some("bad"), "this map is too much");
        Ok(())
    };
    let server = builder().admission(fragile).build().await.unwrap();
    let (code, status) = post(&server, MAPS, &map("bad")).await;
    assert_eq!((code, &status["reason"]), (500, &json!("InternalError")));
    assert_eq!(
        status["message"],
        "Internal error occurred: admission plugin \"closure over ConfigMap\" panicked"
    );
    assert_eq!(get(&server, &format!("{MAPS}/bad")).await.0, 404);
    assert_eq!(post(&server, MAPS, &map("good")).await.0, 201);
}

#[tokio::test]
async fn a_warning_of_a_rule_is_a_header_of_the_answer_and_of_a_refusal() {
    let warns = |map: &mut ConfigMap, request: &AdmissionRequest<'_>| {
        request.warn("maps are \"old\"");
        if map.metadata.name.as_deref() == Some("bad") { Err("bad".into()) } else { Ok(()) }
    };
    let server = builder().admission(warns).build().await.unwrap();
    for (name, code) in [("good", 201), ("bad", 403)] {
        let request = Request::post(MAPS).header("content-type", "application/json");
        let answer = send(&server, request, map(name).to_string()).await;
        assert_eq!(answer.status().as_u16(), code);
        let warnings: Vec<_> = answer.headers().get_all("warning").iter().collect();
        assert_eq!(warnings, ["299 - \"maps are \\\"old\\\"\""], "{name}");
    }
}
