//! Making, reading, changing and removing objects.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Service};
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::harness::{delete, get, patch, post, put, server};

fn config_map(name: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() },
        data: Some([("a".to_owned(), "b".to_owned())].into()),
        ..ConfigMap::default()
    }
}

fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": "nginx", "env": [{"name": "A", "value": "1"}]}]},
            },
        },
    })
}

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "nginx"}]},
    })
}

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const PODS: &str = "/api/v1/namespaces/default/pods";
const SERVICES: &str = "/api/v1/namespaces/default/services";
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn an_object_lives_through_kube() {
    let server = server().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client("default"));
    let made = maps.create(&PostParams::default(), &config_map("x")).await.unwrap();
    assert!(made.uid().is_some());
    assert_eq!(maps.list(&ListParams::default()).await.unwrap().items.len(), 1);

    let mut changed = made.clone();
    changed.data = Some([("a".to_owned(), "c".to_owned())].into());
    let changed = maps.replace("x", &PostParams::default(), &changed).await.unwrap();
    assert_ne!(changed.resource_version(), made.resource_version());
    let stale = maps.replace("x", &PostParams::default(), &made).await.unwrap_err();
    let kube::Error::Api(status) = stale else { panic!("{stale}") };
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
    assert_eq!(
        status.message,
        "Operation cannot be fulfilled on configmaps \"x\": the object has been modified; please apply your \
         changes to the latest version and try again"
    );

    let merge = Patch::Merge(json!({"data": {"d": "e"}}));
    let patched = maps.patch("x", &PatchParams::default(), &merge).await.unwrap();
    assert_eq!(patched.data.unwrap().len(), 2);
    maps.delete("x", &DeleteParams::default()).await.unwrap();
    let gone = maps.get("x").await.unwrap_err();
    let kube::Error::Api(status) = gone else { panic!("{gone}") };
    assert_eq!((status.code, status.message.as_str()), (404, "configmaps \"x\" not found"));
}

#[tokio::test]
async fn a_deployment_is_defaulted_and_counts_its_generations() {
    let server = server().await;
    let api: Api<Deployment> = Api::default_namespaced(server.client("default"));
    let made = api
        .create(&PostParams::default(), &serde_json::from_value(deployment("web")).unwrap())
        .await
        .unwrap();
    let spec = made.spec.clone().unwrap();
    assert_eq!(spec.revision_history_limit, Some(10));
    assert_eq!(made.metadata.generation, Some(1));
    let replace = json!([{"op": "replace", "path": "/spec/replicas", "value": 5}]);
    let (_, changed) =
        patch(&server, &format!("{DEPLOYMENTS}/web"), "application/json-patch+json", &replace).await;
    assert_eq!(changed["metadata"]["generation"], 2, "{changed}");
    let labelled = Patch::Strategic(json!({"metadata": {"labels": {"x": "y"}}}));
    let labelled = api.patch("web", &PatchParams::default(), &labelled).await.unwrap();
    assert_eq!(labelled.metadata.generation, Some(2));
}

#[tokio::test]
async fn a_strategic_patch_knows_the_keys_of_lists() {
    let server = server().await;
    post(&server, DEPLOYMENTS, &deployment("web")).await;
    let change = json!({"spec": {"template": {"spec": {
        "$setElementOrder/containers": [{"name": "c"}],
        "containers": [{"name": "c", "image": "nginx:2"}],
    }}}});
    let (code, web) =
        patch(&server, &format!("{DEPLOYMENTS}/web"), "application/strategic-merge-patch+json", &change)
            .await;
    assert_eq!(code, 200, "{web}");
    let container = &web["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "nginx:2");
    assert_eq!(container["env"][0]["name"], "A");
}

#[tokio::test]
async fn a_write_that_changes_nothing_keeps_the_version() {
    let server = server().await;
    let (_, made) = post(&server, DEPLOYMENTS, &deployment("web")).await;
    let (_, again) = put(&server, &format!("{DEPLOYMENTS}/web"), &deployment("web")).await;
    assert_eq!(made, again);
    let (_, patched) = patch(
        &server,
        &format!("{DEPLOYMENTS}/web"),
        "application/merge-patch+json",
        &json!({"spec": {"replicas": 2}}),
    )
    .await;
    assert_eq!(made, patched);
}

#[tokio::test]
async fn names_are_generated() {
    let server = server().await;
    let mut object = json!({"metadata": {"generateName": "x-"}});
    let (code, made) = post(&server, CONFIG_MAPS, &object).await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(made["metadata"]["name"].as_str().unwrap().len(), 7);
    object["metadata"] = json!({});
    let (code, status) = post(&server, CONFIG_MAPS, &object).await;
    assert_eq!((code, &status["reason"]), (422, &json!("Invalid")), "{status}");
}

#[tokio::test]
async fn refusals_read_as_upstream_words_them() {
    let server = server().await;
    let (code, status) = get(&server, &format!("{DEPLOYMENTS}/x")).await;
    assert_eq!((code, &status["message"]), (404, &json!("deployments.apps \"x\" not found")));
    assert_eq!(status["details"], json!({"name": "x", "group": "apps", "kind": "deployments"}));
    let (code, status) = get(&server, "/apis/apps/v1/namespaces/default/foos").await;
    assert_eq!((code, &status["message"]), (404, &json!("the server could not find the requested resource")));
    post(&server, CONFIG_MAPS, &json!({"metadata": {"name": "x"}})).await;
    let (code, status) = post(&server, CONFIG_MAPS, &json!({"metadata": {"name": "x"}})).await;
    assert_eq!((code, &status["message"]), (409, &json!("configmaps \"x\" already exists")));
    let (code, status) =
        post(&server, "/api/v1/namespaces/nowhere/configmaps", &json!({"metadata": {"name": "x"}})).await;
    assert_eq!((code, &status["message"]), (404, &json!("namespaces \"nowhere\" not found")));
    let (code, status) =
        post(&server, CONFIG_MAPS, &json!({"metadata": {"name": "x", "namespace": "other"}})).await;
    assert_eq!(code, 400, "{status}");
}

#[tokio::test]
async fn strict_validation_names_unknown_fields_and_stores_nothing() {
    let server = server().await;
    let object = json!({"metadata": {"name": "x"}, "dat": {}});
    let (code, status) = post(&server, &format!("{CONFIG_MAPS}?fieldValidation=Strict"), &object).await;
    assert_eq!(code, 400);
    assert_eq!(
        status["message"],
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"dat\""
    );
    assert_eq!(get(&server, &format!("{CONFIG_MAPS}/x")).await.0, 404);
    let request = http::Request::post(CONFIG_MAPS).header("content-type", "application/json");
    let response = crate::harness::send(&server, request, object.to_string()).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["warning"]),
        (201, &"299 - \"unknown field \\\"dat\\\"\"".parse().unwrap())
    );
}

#[tokio::test]
async fn a_dry_run_stores_nothing() {
    let server = server().await;
    let (code, _) =
        post(&server, &format!("{CONFIG_MAPS}?dryRun=All"), &json!({"metadata": {"name": "x"}})).await;
    assert_eq!(code, 201);
    assert_eq!(get(&server, &format!("{CONFIG_MAPS}/x")).await.0, 404);
}

#[tokio::test]
async fn a_bound_pod_goes_in_two_steps() {
    let server = server().await;
    let (code, made) = post(&server, PODS, &pod("p")).await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(made["spec"]["serviceAccountName"], "default");
    assert_eq!(made["spec"]["priority"], 0);
    assert_eq!(made["spec"]["tolerations"].as_array().unwrap().len(), 2);
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}});
    assert_eq!(post(&server, &format!("{PODS}/p/binding"), &binding).await.0, 201);
    let (code, status) = post(&server, &format!("{PODS}/p/binding"), &binding).await;
    assert_eq!((code, &status["reason"]), (409, &json!("Conflict")));
    let (_, bound) = get(&server, &format!("{PODS}/p")).await;
    assert_eq!(bound["status"]["conditions"][0]["type"], "PodScheduled");

    let (code, going) = delete(&server, &format!("{PODS}/p")).await;
    assert_eq!(code, 200);
    assert_eq!(going["metadata"]["deletionGracePeriodSeconds"], 30);
    assert_eq!(get(&server, &format!("{PODS}/p")).await.0, 200);
    assert_eq!(delete(&server, &format!("{PODS}/p?gracePeriodSeconds=0")).await.0, 200);
    assert_eq!(get(&server, &format!("{PODS}/p")).await.0, 404);
}

/// As upstream's plugins, which know updates too: who writes a pod need not repeat what it was given.
#[tokio::test]
async fn a_pod_written_anew_keeps_its_priority_and_the_tolerations_of_every_pod() {
    let server = server().await;
    let (_, made) = post(&server, PODS, &pod("p")).await;
    let own = json!({"key": "foo", "operator": "Equal", "value": "bar", "effect": "NoSchedule"});
    let mut anew = made.clone();
    for given in ["priority", "preemptionPolicy"] {
        anew["spec"].as_object_mut().unwrap().remove(given);
    }
    anew["spec"]["tolerations"] = json!([own]);
    let (code, written) = put(&server, &format!("{PODS}/p"), &anew).await;
    assert_eq!(code, 200, "{written}");
    let mut wanted = vec![own];
    wanted.extend(made["spec"]["tolerations"].as_array().unwrap().iter().cloned());
    assert_eq!(written["spec"]["tolerations"], json!(wanted));
    for given in ["priority", "preemptionPolicy"] {
        assert_eq!(written["spec"][given], made["spec"][given]);
    }
}

#[tokio::test]
async fn a_finalizer_holds_an_object_until_it_is_removed() {
    let server = server().await;
    post(&server, CONFIG_MAPS, &json!({"metadata": {"name": "x", "finalizers": ["a.b/c"]}})).await;
    let (code, going) = delete(&server, &format!("{CONFIG_MAPS}/x")).await;
    assert_eq!(code, 200);
    assert!(going["metadata"]["deletionTimestamp"].is_string());
    let release = json!({"metadata": {"finalizers": null}});
    let (code, _) =
        patch(&server, &format!("{CONFIG_MAPS}/x"), "application/merge-patch+json", &release).await;
    assert_eq!(code, 200);
    assert_eq!(get(&server, &format!("{CONFIG_MAPS}/x")).await.0, 404);
}

#[tokio::test]
async fn a_namespace_ends_when_it_is_finalized() {
    let server = server().await;
    let (code, made) = post(&server, "/api/v1/namespaces", &json!({"metadata": {"name": "n"}})).await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(made["spec"]["finalizers"], json!(["kubernetes"]));
    let (code, mut going) = delete(&server, "/api/v1/namespaces/n").await;
    assert_eq!((code, &going["status"]["phase"]), (200, &json!("Terminating")));
    let (code, status) =
        post(&server, "/api/v1/namespaces/n/configmaps", &json!({"metadata": {"name": "x"}})).await;
    assert_eq!(code, 403, "{status}");
    going["spec"]["finalizers"] = json!([]);
    let (code, status) = put(&server, "/api/v1/namespaces/n/finalize", &going).await;
    assert_eq!(code, 200, "{status}");
    assert_eq!(get(&server, "/api/v1/namespaces/n").await.0, 404);
    let (code, _) = delete(&server, "/api/v1/namespaces/default").await;
    assert_eq!(code, 403);
}

#[tokio::test]
async fn status_and_spec_are_written_apart() {
    let server = server().await;
    let (_, mut web) = post(&server, DEPLOYMENTS, &deployment("web")).await;
    web["status"] = json!({"replicas": 2});
    web["spec"]["replicas"] = 9.into();
    let (code, written) = put(&server, &format!("{DEPLOYMENTS}/web/status"), &web).await;
    assert_eq!(code, 200, "{written}");
    assert_eq!((&written["spec"]["replicas"], &written["status"]["replicas"]), (&json!(2), &json!(2)));
    let (code, scale) = get(&server, &format!("{DEPLOYMENTS}/web/scale")).await;
    assert_eq!(code, 200);
    assert_eq!(scale["spec"]["replicas"], 2);
    assert_eq!(scale["status"], json!({"replicas": 2, "selector": "app=web"}));
    let (code, scale) = patch(
        &server,
        &format!("{DEPLOYMENTS}/web/scale"),
        "application/merge-patch+json",
        &json!({"spec": {"replicas": 7}}),
    )
    .await;
    assert_eq!((code, &scale["spec"]["replicas"]), (200, &json!(7)), "{scale}");
}

#[tokio::test]
async fn services_get_addresses_of_their_own() {
    let server = server().await;
    let service = |name: &str, ip: Option<&str>| {
        let mut s = json!({"metadata": {"name": name}, "spec": {"type": "NodePort", "ports": [{"port": 80}], "selector": {"a": "b"}}});
        if let Some(ip) = ip {
            s["spec"]["clusterIP"] = ip.into();
        }
        s
    };
    let (code, one) = post(&server, SERVICES, &service("one", None)).await;
    assert_eq!(code, 201, "{one}");
    let ip = one["spec"]["clusterIP"].as_str().unwrap().to_owned();
    assert!(one["spec"]["ports"][0]["nodePort"].as_u64().unwrap() >= 30000);
    let (code, status) = post(&server, SERVICES, &service("two", Some(&ip))).await;
    assert_eq!(code, 422);
    assert!(status["message"].as_str().unwrap().contains("provided IP is already allocated"), "{status}");
    assert_eq!(delete(&server, &format!("{SERVICES}/one")).await.0, 200);
    let (code, two) = post(&server, SERVICES, &service("two", Some(&ip))).await;
    assert_eq!(code, 201, "{two}");
    let api: Api<Service> = Api::default_namespaced(server.client("default"));
    let kubernetes = api.get("kubernetes").await.unwrap();
    assert_eq!(kubernetes.spec.unwrap().cluster_ip.as_deref(), Some("10.96.0.1"));
}

#[tokio::test]
async fn rivals_never_get_the_same_address() {
    let server = server().await;
    let make = |n: usize| {
        let server = server.clone();
        async move {
            let service = json!({"metadata": {"name": format!("s{n}")}, "spec": {"ports": [{"port": 80}]}});
            post(&server, SERVICES, &service).await.1["spec"]["clusterIP"].as_str().unwrap().to_owned()
        }
    };
    let ips = futures::future::join_all((0..40).map(make)).await;
    let distinct: std::collections::BTreeSet<_> = ips.iter().collect();
    assert_eq!(distinct.len(), 40);
}

#[tokio::test]
async fn lists_page_at_one_version() {
    let server = server().await;
    for name in ["a", "b", "c", "d", "e"] {
        post(&server, CONFIG_MAPS, &json!({"metadata": {"name": name, "labels": {"x": name}}})).await;
    }
    let (_, first) = get(&server, &format!("{CONFIG_MAPS}?limit=2")).await;
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    post(&server, CONFIG_MAPS, &json!({"metadata": {"name": "cc"}})).await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    let (code, second) = get(&server, &format!("{CONFIG_MAPS}?limit=2&continue={token}")).await;
    assert_eq!(code, 200, "{second}");
    let names: Vec<&str> =
        second["items"].as_array().unwrap().iter().map(|i| i["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["c", "d"]);
    assert_eq!(first["metadata"]["resourceVersion"], second["metadata"]["resourceVersion"]);
    let version = first["metadata"]["resourceVersion"].as_str().unwrap();
    for query in ["limit=9", "resourceVersionMatch=Exact"] {
        let (_, then) = get(&server, &format!("{CONFIG_MAPS}?resourceVersion={version}&{query}")).await;
        assert_eq!(then["items"].as_array().unwrap().len(), 5, "{query}");
    }
    let (_, now) = get(&server, CONFIG_MAPS).await;
    assert_eq!(now["items"].as_array().unwrap().len(), 6);
    let (_, selected) = get(&server, &format!("{CONFIG_MAPS}?labelSelector=x%20in%20(a,e)")).await;
    assert_eq!(selected["items"].as_array().unwrap().len(), 2);
    let (_, selected) = get(&server, &format!("{CONFIG_MAPS}?fieldSelector=metadata.name%3Db")).await;
    assert_eq!(selected["items"].as_array().unwrap().len(), 1);
    for (query, message) in [
        (
            "fieldSelector=data.a%3Db",
            "\"data.a\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
        ),
        (
            "labelSelector=a%20b",
            "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
        ),
    ] {
        let (code, status) = get(&server, &format!("{CONFIG_MAPS}?{query}")).await;
        assert_eq!((code, &status["message"]), (400, &json!(message)));
    }
    assert_eq!(get(&server, &format!("{CONFIG_MAPS}?resourceVersion=x")).await.0, 400);
}

#[tokio::test]
async fn every_built_in_resource_can_be_listed() {
    let server = server().await;
    let client = server.client("default");
    let discovery = kube::discovery::Discovery::new(client.clone()).run().await.unwrap();
    let mut seen = 0;
    for group in discovery.groups() {
        for (resource, capabilities) in group.recommended_resources() {
            if !capabilities.supports_operation(kube::discovery::verbs::LIST) {
                continue;
            }
            let api: Api<kube::core::DynamicObject> = Api::all_with(client.clone(), &resource);
            api.list(&ListParams::default())
                .await
                .unwrap_or_else(|error| panic!("{}: {error}", resource.plural));
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen}");
}

#[tokio::test]
async fn a_node_and_its_pods_are_found_by_field() {
    let server = server().await;
    let nodes: Api<Node> = Api::all(server.client("default"));
    let node =
        Node { metadata: ObjectMeta { name: Some("n1".into()), ..ObjectMeta::default() }, ..Node::default() };
    nodes.create(&PostParams::default(), &node).await.unwrap();
    let mut bound = pod("p");
    bound["spec"]["nodeName"] = "n1".into();
    post(&server, PODS, &bound).await;
    post(&server, PODS, &pod("q")).await;
    let pods: Api<Pod> = Api::all(server.client("default"));
    let on_node = pods.list(&ListParams::default().fields("spec.nodeName=n1")).await.unwrap();
    assert_eq!(on_node.items.iter().map(|p| p.name_any()).collect::<Vec<_>>(), ["p"]);
    let (code, status) = crate::harness::delete(&server, &format!("{PODS}?labelSelector=a%3Db")).await;
    assert_eq!((code, status["items"].as_array().unwrap().len()), (200, 0));
}

#[tokio::test]
async fn events_are_one_set_under_two_names() {
    let server = server().await;
    let event = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e", "namespace": "default"},
        "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "c", "reportingInstance": "i",
        "action": "Binding", "reason": "Scheduled", "note": "hello", "type": "Normal",
        "regarding": {"kind": "Pod", "name": "p", "namespace": "default", "apiVersion": "v1"},
    });
    let (_, list) = get(&server, "/api/v1/namespaces/default/events").await;
    assert_eq!(list["items"], json!([]));
    let (code, made) = post(&server, "/apis/events.k8s.io/v1/namespaces/default/events", &event).await;
    assert_eq!((code, &made["note"]), (201, &json!("hello")), "{made}");
    let path = "/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dp";
    let (_, list) = get(&server, path).await;
    assert_eq!(list["items"][0]["message"], "hello", "{list}");
    assert_eq!(list["items"][0]["involvedObject"]["kind"], "Pod");
    let (_, list) = get(&server, "/apis/events.k8s.io/v1/events").await;
    assert_eq!(list["items"][0]["regarding"]["kind"], "Pod", "{list}");
}

#[tokio::test]
async fn a_patch_whose_outcome_does_not_fit_the_kind_is_invalid() {
    let server = server().await;
    post(&server, CONFIG_MAPS, &json!({"metadata": {"name": "x"}})).await;
    let path = format!("{CONFIG_MAPS}/x");
    let cases = [
        (
            "application/strategic-merge-patch+json",
            json!({"data": {"a": 1}}),
            "",
            " \"\" is invalid: patch: Invalid value: \"map[data:map[a:1]]\": cannot convert int64 to string",
        ),
        (
            "application/strategic-merge-patch+json",
            json!({"dat": {}}),
            "?fieldValidation=Strict",
            " \"\" is invalid: patch: Invalid value: \"map[dat:map[]]\": strict decoding error: unknown field \"dat\"",
        ),
        (
            "application/merge-patch+json",
            json!({"data": {"a": 1}}),
            "",
            "json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
        ),
        (
            "application/json-patch+json",
            json!([{"op": "add", "path": "/dat", "value": 1}]),
            "?fieldValidation=Strict",
            "strict decoding error: unknown field \"dat\"",
        ),
    ];
    for (media, change, query, message) in cases {
        let (code, status) = patch(&server, &format!("{path}{query}"), media, &change).await;
        assert_eq!((code, &status["reason"]), (422, &json!("Invalid")), "{status}");
        assert_eq!(status["details"]["causes"][0]["field"], "patch", "{status}");
        assert!(status["message"].as_str().unwrap().ends_with(message), "{status}");
    }
}
