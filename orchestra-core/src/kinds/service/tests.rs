use serde_json::{Value, json};

use crate::kinds::frame::testing::{defaulted, said, said_of_change, served};

fn service(spec: Value) -> Value {
    let object = json!({"metadata": {"name": "s", "namespace": "n", "resourceVersion": "1"}, "spec": spec});
    defaulted(super::kind(), object)
}

#[test]
fn a_bare_service_gets_what_upstream_gives_it() {
    let service = service(
        json!({"selector": {"a": "b"}, "ports": [{"port": 80}, {"name": "x", "port": 81, "targetPort": "web"}]}),
    );
    assert_eq!(
        service["spec"],
        json!({
            "selector": {"a": "b"}, "type": "ClusterIP", "sessionAffinity": "None",
            "ports": [
                {"port": 80, "protocol": "TCP", "targetPort": 80},
                {"name": "x", "port": 81, "protocol": "TCP", "targetPort": "web"},
            ],
            "internalTrafficPolicy": "Cluster", "ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"],
        })
    );
    assert_eq!(service["status"], json!({"loadBalancer": {}}));
}

#[test]
fn types_have_defaults_of_their_own() {
    let node = service(json!({"type": "NodePort", "ports": [{"port": 80}]}));
    assert_eq!(node["spec"]["externalTrafficPolicy"], "Cluster");
    let balanced = service(json!({"type": "LoadBalancer", "ports": [{"port": 80}]}));
    assert_eq!(balanced["spec"]["allocateLoadBalancerNodePorts"], true);
    let named = service(json!({"type": "ExternalName", "externalName": "example.com"}));
    assert_eq!(
        named["spec"],
        json!({"type": "ExternalName", "externalName": "example.com", "sessionAffinity": "None"})
    );
    let headless = service(json!({"clusterIP": "None"}));
    assert_eq!(headless["spec"]["clusterIPs"], json!(["None"]));
    assert_eq!(headless["spec"]["ipFamilyPolicy"], "RequireDualStack");
    let sticky = service(json!({"sessionAffinity": "ClientIP", "ports": [{"port": 80}]}));
    assert_eq!(sticky["spec"]["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"], 10800);
}

#[test]
fn bad_services_are_refused_with_upstreams_words() {
    let cases: [(Value, &[&str]); 8] = [
        (json!({"selector": {"a": "b"}}), &["spec.ports: Required value"]),
        (
            json!({"ports": [{"port": 80}, {"name": "b", "port": 81}]}),
            &["spec.ports[0].name: Required value"],
        ),
        (
            json!({"ports": [{"port": 0}]}),
            &[
                "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive",
            ],
        ),
        (
            json!({"ports": [{"port": 80, "nodePort": 30080}]}),
            &["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
        ),
        (
            json!({"type": "Magic", "ports": [{"port": 80}]}),
            &[
                r#"spec.type: Unsupported value: "Magic": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort""#,
            ],
        ),
        (json!({"type": "ExternalName"}), &["spec.externalName: Required value"]),
        (
            json!({"externalIPs": ["127.0.0.1"], "ports": [{"port": 80}]}),
            &[
                r#"spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)"#,
            ],
        ),
        (
            json!({"clusterIP": "ten", "ports": [{"port": 80}]}),
            &[
                r#"spec.clusterIPs[0]: Invalid value: "ten": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"#,
            ],
        ),
    ];
    for (spec, expected) in cases {
        assert_eq!(said(super::kind(), service(spec.clone())), expected, "{spec}");
    }
    let named = json!({"metadata": {"name": "1s", "namespace": "n"}, "spec": {"ports": [{"port": 1}]}});
    assert!(
        said(super::kind(), named)[0].starts_with(r#"metadata.name: Invalid value: "1s": a DNS-1035 label"#)
    );
}

#[test]
fn the_address_stays() {
    let old = service(json!({"clusterIP": "10.0.0.1", "ports": [{"port": 80}]}));
    let mut new = service(json!({"ports": [{"port": 80}]}));
    served(super::kind()).prepare_update(&mut new, &old);
    assert_eq!(new["spec"]["clusterIP"], "10.0.0.1");
    assert_eq!(new["spec"]["clusterIPs"], json!(["10.0.0.1"]));
    assert_eq!(said_of_change(super::kind(), &new, &old), [""; 0]);
    let moved = service(json!({"clusterIP": "10.0.0.2", "ports": [{"port": 80}]}));
    assert_eq!(
        said_of_change(super::kind(), &moved, &old),
        [r#"spec.clusterIPs[0]: Invalid value: ["10.0.0.2"]: may not change once set"#]
    );
}

#[test]
fn a_change_of_type_drops_what_the_old_one_had() {
    let kind = served(super::kind());
    let old = service(
        json!({"type": "NodePort", "clusterIP": "10.0.0.1", "ports": [{"port": 80, "nodePort": 30080}]}),
    );
    let mut new = old.clone();
    new["spec"]["type"] = "ClusterIP".into();
    kind.prepare_update(&mut new, &old);
    assert_eq!(new["spec"]["ports"][0].get("nodePort"), None);
    assert_eq!(new["spec"].get("externalTrafficPolicy"), None);
    assert_eq!(said_of_change(super::kind(), &new, &old), [""; 0]);
    let mut named = old.clone();
    named["spec"]["type"] = "ExternalName".into();
    named["spec"]["externalName"] = "example.com".into();
    kind.prepare_update(&mut named, &old);
    assert_eq!(said_of_change(super::kind(), &named, &old), [""; 0]);
    assert_eq!(named["spec"].get("clusterIP"), None);
    let mut same = service(json!({"type": "NodePort", "ports": [{"port": 80}]}));
    kind.prepare_update(&mut same, &old);
    assert_eq!(same["spec"]["ports"][0]["nodePort"], 30080);
}

#[test]
fn a_row_shows_where_a_service_is() {
    let row = |spec: Value| served(super::kind()).row(&service(spec), 0)[1..5].to_vec();
    assert_eq!(
        row(
            json!({"clusterIP": "10.0.0.1", "type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}, {"port": 53, "protocol": "UDP"}]})
        ),
        ["NodePort", "10.0.0.1", "<none>", "80:30080/TCP,53/UDP"]
    );
    assert_eq!(
        row(json!({"type": "ExternalName", "externalName": "example.com"})),
        ["ExternalName", "<none>", "example.com", "<none>"]
    );
    assert_eq!(row(json!({"type": "LoadBalancer", "clusterIP": "10.0.0.1"}))[2], "<pending>");
}
