use super::*;

fn pod(spec: serde_json::Value) -> Pod {
    serde_json::from_value(serde_json::json!({
        "metadata": {"name": "p", "namespace": "ns", "uid": "u", "labels": {"app": "x"}},
        "spec": {"nodeName": "n", "containers": [spec]},
    }))
    .unwrap()
}

fn env(container: serde_json::Value, around: &Surroundings) -> Result<Vec<(String, String)>, String> {
    let pod = pod(container);
    build(&pod, &pod.spec.as_ref().unwrap().containers[0], around)
}

fn around() -> Surroundings {
    let object = |pairs: &[(&str, &str)]| {
        std::sync::Arc::new(pairs.iter().map(|(k, v)| ((*k).into(), v.as_bytes().to_vec())).collect())
    };
    Surroundings {
        objects: [
            (Reference::new(Kind::ConfigMap, "cm"), object(&[("a", "1"), ("b=", "x")])),
            (Reference::new(Kind::Secret, "s"), object(&[("k", "hidden")])),
        ]
        .into(),
        addresses: field::Addresses { pod: vec!["127.64.0.2".into()], host: "127.0.0.1".into() },
        ..Default::default()
    }
}

fn get<'a>(env: &'a [(String, String)], name: &str) -> &'a str {
    env.iter().rev().find(|(n, _)| n == name).map_or("(none)", |(_, v)| v)
}

#[test]
fn values_come_from_where_they_are_said_to_come_from() {
    let container = serde_json::json!({"name": "c", "resources": {"limits": {"cpu": "1500m", "memory": "1Mi"}},
    "envFrom": [{"prefix": "P_", "configMapRef": {"name": "cm"}}],
    "env": [
        {"name": "A", "value": "a"},
        {"name": "B", "value": "$(A)-$(P_a)-$(NONE)-$$(A)"},
        {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "a"}}},
        {"name": "D", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        {"name": "E", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "F", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
        {"name": "G", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        {"name": "H", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Ki"}}},
        {"name": "I", "valueFrom": {"secretKeyRef": {"name": "gone", "key": "k", "optional": true}}},
    ]});
    let env = env(container, &around()).unwrap();
    let want = [
        ("A", "a"),
        ("B", "a-1-$(NONE)-$(A)"),
        ("C", "1"),
        ("D", "hidden"),
        ("E", "127.64.0.2"),
        ("F", "x"),
        ("G", "2"),
        ("H", "1024"),
        ("I", "(none)"),
        ("P_a", "1"),
        ("P_b=", "(none)"),
    ];
    for (name, value) in want {
        assert_eq!(get(&env, name), value, "{name}");
    }
}

#[test]
fn what_is_missing_is_named_as_upstream_names_it() {
    let from = |source: serde_json::Value| {
        env(serde_json::json!({"name": "c", "env": [{"name": "X", "valueFrom": source}]}), &around())
            .unwrap_err()
    };
    assert_eq!(
        from(serde_json::json!({"configMapKeyRef": {"name": "no", "key": "k"}})),
        "configmap \"no\" not found"
    );
    assert_eq!(
        from(serde_json::json!({"secretKeyRef": {"name": "no", "key": "k"}})),
        "secret \"no\" not found"
    );
    assert_eq!(
        from(serde_json::json!({"secretKeyRef": {"name": "s", "key": "no"}})),
        "couldn't find key no in Secret ns/s"
    );
}

#[test]
fn services_are_announced() {
    let mut around = around();
    around.services = serde_json::from_value(serde_json::json!([
        {"metadata": {"name": "my-db", "namespace": "ns"},
         "spec": {"clusterIP": "10.0.0.1", "ports": [{"name": "sql", "port": 5432, "protocol": "TCP"}]}},
        {"metadata": {"name": "headless", "namespace": "ns"}, "spec": {"clusterIP": "None", "ports": [{"port": 1}]}},
    ]))
    .unwrap();
    let env =
        env(serde_json::json!({"name": "c", "env": [{"name": "U", "value": "$(MY_DB_PORT)"}]}), &around)
            .unwrap();
    for (name, value) in [
        ("MY_DB_SERVICE_HOST", "10.0.0.1"),
        ("MY_DB_SERVICE_PORT_SQL", "5432"),
        ("MY_DB_PORT_5432_TCP_ADDR", "10.0.0.1"),
        ("U", "tcp://10.0.0.1:5432"),
        ("HEADLESS_SERVICE_HOST", "(none)"),
    ] {
        assert_eq!(get(&env, name), value, "{name}");
    }
}
