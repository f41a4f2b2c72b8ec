use serde_json::{Value, json};

use crate::kinds::frame::testing::{said, served};

fn pod(spec: Value) -> Value {
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n", "resourceVersion": "1"}, "spec": spec});
    served(super::kind()).default(&mut pod);
    pod
}

fn messages(pod: &Value) -> Vec<String> {
    said(super::kind(), pod.clone())
}

#[test]
fn a_bare_pod_gets_what_upstream_gives_it() {
    let pod = pod(json!({"containers": [{"name": "c", "image": "nginx"}]}));
    assert_eq!(
        pod["spec"],
        json!({
            "containers": [{
                "name": "c", "image": "nginx", "imagePullPolicy": "Always", "resources": {},
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            }],
            "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler",
            "terminationGracePeriodSeconds": 30, "securityContext": {}, "enableServiceLinks": true,
        })
    );
    assert_eq!(messages(&pod), [""; 0]);
}

#[test]
fn parts_of_a_container_get_their_defaults() {
    let pod = pod(json!({
        "serviceAccountName": "robot",
        "volumes": [
            {"name": "scratch"},
            {"name": "c", "configMap": {"name": "c"}},
            {"name": "h", "hostPath": {"path": "/x"}},
        ],
        "containers": [{
            "name": "c", "image": "nginx:1.27",
            "ports": [{"containerPort": 80}],
            "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
            "resources": {"limits": {"cpu": 1, "memory": "64Mi"}, "requests": {"cpu": "0.1"}},
            "livenessProbe": {"httpGet": {"port": 80}},
            "lifecycle": {"preStop": {"httpGet": {"port": "http"}}},
        }],
    }));
    let container = &pod["spec"]["containers"][0];
    assert_eq!(container["imagePullPolicy"], "IfNotPresent");
    assert_eq!(container["ports"][0]["protocol"], "TCP");
    assert_eq!(container["env"][0]["valueFrom"]["fieldRef"]["apiVersion"], "v1");
    assert_eq!(
        container["resources"],
        json!({"limits": {"cpu": "1", "memory": "64Mi"}, "requests": {"cpu": "100m", "memory": "64Mi"}})
    );
    assert_eq!(
        container["livenessProbe"],
        json!({
            "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
            "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3,
        })
    );
    assert_eq!(container["lifecycle"]["preStop"]["httpGet"]["path"], "/");
    assert_eq!(pod["spec"]["serviceAccount"], "robot");
    assert_eq!(pod["spec"]["volumes"][0], json!({"name": "scratch", "emptyDir": {}}));
    assert_eq!(pod["spec"]["volumes"][1]["configMap"]["defaultMode"], 420);
    assert_eq!(pod["spec"]["volumes"][2]["hostPath"]["type"], "");
}

#[test]
fn on_the_hosts_network_a_containers_port_is_the_hosts() {
    let ports =
        json!([{"containerPort": 80}, {"containerPort": 81, "hostPort": 8081}, {"containerPort": 0}, {}]);
    let mut pod =
        pod(json!({"hostNetwork": true, "containers": [{"name": "c", "image": "i:1", "ports": ports}]}));
    let host_ports = |pod: &Value| {
        let ports = pod["spec"]["containers"][0]["ports"].as_array().unwrap().clone();
        ports.iter().map(|port| port.get("hostPort").cloned()).collect::<Vec<_>>()
    };
    assert_eq!(host_ports(&pod), [Some(json!(80)), Some(json!(8081)), None, None]);
    served(super::kind()).default(&mut pod);
    assert_eq!(host_ports(&pod), [Some(json!(80)), Some(json!(8081)), None, None]);
}

#[test]
fn bad_pods_are_refused_with_upstreams_words() {
    let with = |container: Value| {
        let mut whole = json!({"name": "c", "image": "i:1"});
        whole.as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
        json!({"containers": [whole], "volumes": [{"name": "v"}]})
    };
    let cases: Vec<(Value, Vec<&str>)> = vec![
        (json!({}), vec!["spec.containers: Required value"]),
        (json!({"containers": [{"name": "c"}]}), vec!["spec.containers[0].image: Required value"]),
        (
            json!({"containers": [{"name": "c", "image": "i"}, {"name": "c", "image": "i"}]}),
            vec![r#"spec.containers[1].name: Duplicate value: "c""#],
        ),
        (
            with(json!({"imagePullPolicy": "Sometimes"})),
            vec![
                r#"spec.containers[0].imagePullPolicy: Unsupported value: "Sometimes": supported values: "Always", "IfNotPresent", "Never""#,
            ],
        ),
        (
            with(json!({"ports": [{"containerPort": 70000}]})),
            vec![
                "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
            ],
        ),
        (with(json!({"ports": [{}]})), vec!["spec.containers[0].ports[0].containerPort: Required value"]),
        (
            with(
                json!({"volumeMounts": [{"name": "w", "mountPath": "/a"}, {"name": "v", "mountPath": "/a"}]}),
            ),
            vec![
                r#"spec.containers[0].volumeMounts[0].name: Not found: "w""#,
                r#"spec.containers[0].volumeMounts[1].mountPath: Invalid value: "/a": must be unique"#,
            ],
        ),
        (
            with(
                json!({"env": [{"name": "A", "value": "x", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}}]}),
            ),
            vec![
                r#"spec.containers[0].env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty"#,
            ],
        ),
        (
            with(json!({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}})),
            vec![
                r#"spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1"#,
            ],
        ),
        (
            with(json!({"livenessProbe": {"periodSeconds": -1}})),
            vec![
                "spec.containers[0].livenessProbe: Required value: must specify a handler type",
                "spec.containers[0].livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0",
            ],
        ),
        (
            json!({"containers": [{"name": "c", "image": "i"}], "restartPolicy": "Maybe"}),
            vec![
                r#"spec.restartPolicy: Unsupported value: "Maybe": supported values: "Always", "OnFailure", "Never""#,
            ],
        ),
        (
            json!({"containers": [{"name": "c", "image": "i"}], "volumes": [{"name": "v"}, {"name": "v"}]}),
            vec![r#"spec.volumes[1].name: Duplicate value: "v""#],
        ),
        (
            json!({"containers": [{"name": "c", "image": "i"}], "initContainers": [{"name": "i", "image": "i", "readinessProbe": {"exec": {"command": ["x"]}}}]}),
            vec![
                "spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
            ],
        ),
        (
            json!({"containers": [{"name": "c", "image": "i"}], "tolerations": [{"operator": "Equal"}]}),
            vec![
                r#"spec.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, which means "match all values and all keys""#,
            ],
        ),
    ];
    for (spec, expected) in cases {
        assert_eq!(messages(&pod(spec.clone())), expected, "{spec}");
    }
}

#[test]
fn a_running_pod_changes_little() {
    let kind = served(super::kind());
    let old = pod(json!({"containers": [{"name": "c", "image": "i:1"}]}));
    let mut image = old.clone();
    image["spec"]["containers"][0]["image"] = "i:2".into();
    assert_eq!(kind.validate_update(&image, &old), []);
    let mut node = old.clone();
    node["spec"]["nodeName"] = "n".into();
    let found = kind.validate_update(&node, &old);
    assert!(found[0].to_string().starts_with(
        "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`"
    ));
    let mut more = old.clone();
    more["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "d", "image": "i"}));
    assert_eq!(
        kind.validate_update(&more, &old)[0].to_string(),
        "spec.containers: Forbidden: pod updates may not add or remove containers"
    );
}

#[test]
fn a_new_pod_is_pending_with_its_class_and_first_generation() {
    let mut pod =
        pod(json!({"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}]}));
    pod["status"] = json!({"phase": "Running", "podIP": "1.2.3.4"});
    served(super::kind()).prepare_create(&mut pod);
    assert_eq!(pod["status"], json!({"phase": "Pending", "qosClass": "Burstable"}));
    assert_eq!(pod["metadata"]["generation"], 1);
}

#[test]
fn a_change_of_the_spec_raises_the_generation_and_keeps_the_status() {
    let kind = served(super::kind());
    let mut old = pod(json!({"containers": [{"name": "c", "image": "i:1"}]}));
    kind.prepare_create(&mut old);
    let mut new = old.clone();
    new["spec"]["containers"][0]["image"] = "i:2".into();
    new["status"]["phase"] = "Running".into();
    kind.prepare_update(&mut new, &old);
    assert_eq!((&new["metadata"]["generation"], &new["status"]["phase"]), (&json!(2), &json!("Pending")));
    let mut status = old.clone();
    status["status"] = json!({"phase": "Running"});
    status["spec"]["nodeName"] = "x".into();
    kind.prepare_status_update(&mut status, &old);
    assert_eq!(status["spec"], old["spec"]);
    assert_eq!(status["status"], json!({"phase": "Running", "qosClass": "BestEffort"}));
    assert_eq!(status["metadata"]["generation"], 1);
}

/// Ready, Status and Restarts of a pod.
fn row(spec: Value, status: Value, deleted: bool) -> [String; 3] {
    let mut pod = json!({
        "metadata": {"name": "p", "creationTimestamp": "1970-01-01T00:00:00Z"}, "spec": spec, "status": status,
    });
    if deleted {
        pod["metadata"]["deletionTimestamp"] = "1970-01-01T00:10:00Z".into();
    }
    let row = served(super::kind()).row(&pod, 600);
    assert_eq!((&row[0], &row[4]), (&json!("p"), &json!("10m")));
    [1, 2, 3].map(|cell: usize| row[cell].as_str().unwrap().to_owned())
}

#[test]
fn rows_tell_in_one_word_what_a_pod_does() {
    let two = json!({"containers": [{"name": "a"}, {"name": "b"}]});
    let run = json!({"ready": true, "restartCount": 0, "state": {"running": {}}});
    assert_eq!(row(two.clone(), json!({"phase": "Pending"}), false), ["0/2", "Pending", "0"]);
    let running = json!({"phase": "Running", "containerStatuses": [run, run]});
    assert_eq!(row(two.clone(), running.clone(), false), ["2/2", "Running", "0"]);
    assert_eq!(row(two.clone(), running, true), ["2/2", "Terminating", "0"]);
    let crashed = json!({
        "ready": false, "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 1, "finishedAt": "1970-01-01T00:05:00Z"}},
    });
    let looping = json!({"phase": "Running", "containerStatuses": [crashed, run]});
    assert_eq!(row(two.clone(), looping, false), ["1/2", "CrashLoopBackOff", "3 (5m ago)"]);
    let done = json!({"ready": false, "restartCount": 0, "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}});
    let complete = json!({"phase": "Succeeded", "containerStatuses": [done, done]});
    assert_eq!(row(two.clone(), complete, false), ["0/2", "Completed", "0"]);
    let half = json!({"phase": "Running", "containerStatuses": [done, run]});
    assert_eq!(row(two, half, false), ["1/2", "NotReady", "0"]);
}

#[test]
fn rows_tell_how_far_initialisation_is() {
    let spec = json!({"containers": [{"name": "a"}], "initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}]});
    let wait = json!({"name": "i", "restartCount": 0, "state": {"waiting": {"reason": "PodInitializing"}}});
    let status = json!({"phase": "Pending", "initContainerStatuses": [wait]});
    assert_eq!(row(spec.clone(), status, false), ["0/2", "Init:0/2", "0"]);
    let failed = json!({"name": "i", "restartCount": 1, "state": {"terminated": {"exitCode": 7}}});
    let status = json!({"phase": "Pending", "initContainerStatuses": [failed]});
    assert_eq!(row(spec, status, false), ["0/2", "Init:ExitCode:7", "1"]);
}

#[test]
fn fields_of_a_pod_can_be_selected() {
    let kind = served(super::kind());
    let pod = json!({"spec": {"nodeName": "n"}, "status": {"podIP": "1.2.3.4"}});
    assert_eq!(kind.field_value(&pod, "spec.nodeName"), "n");
    assert_eq!(kind.field_value(&pod, "spec.hostNetwork"), "false");
    assert_eq!(kind.field_value(&pod, "status.podIP"), "1.2.3.4");
    assert_eq!(kind.field_value(&pod, "status.phase"), "");
}
