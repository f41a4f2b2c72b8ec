//! What a user gets wrong: the status, reason and field upstream gives, and nothing stored.

use crate::harness::{Cluster, text};

/// Sends `manifest` with kubectl and without its own validation, so that the server answers.
fn refused(cluster: &Cluster, manifest: &[u8]) -> String {
    for arguments in [&["create", "-f", "-"][..], &["apply", "-f", "-"]] {
        let output = cluster.kubectl_with(arguments, manifest);
        assert!(!output.status.success(), "accepted: {}", text(&output.stdout));
    }
    text(&cluster.kubectl_with(&["create", "-f", "-"], manifest).stderr)
}

fn deployment(spec: &str) -> String {
    format!("apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: broken}}\nspec: {spec}\n")
}

const GOOD_TEMPLATE: &str = "{metadata: {labels: {app: a}}, spec: {containers: [{name: c, image: host}]}}";

#[test]
fn each_mistake_gets_its_own_answer_and_nothing_is_stored() {
    let cluster = Cluster::start();
    let cases: &[(&str, String, &[&str])] = &[
        (
            "an unknown field",
            deployment(&format!(
                "{{selector: {{matchLabels: {{app: a}}}}, replcas: 1, template: {GOOD_TEMPLATE}}}"
            )),
            &["(BadRequest)", "strict decoding error: unknown field \"spec.replcas\""],
        ),
        (
            "a wrong type",
            deployment(&format!(
                "{{selector: {{matchLabels: {{app: a}}}}, replicas: many, template: {GOOD_TEMPLATE}}}"
            )),
            &[
                "(BadRequest)",
                "cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
            ],
        ),
        (
            "an invalid name",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Not_A_Name}\n".into(),
            &[
                "The ConfigMap \"Not_A_Name\" is invalid: metadata.name: Invalid value: \"Not_A_Name\": a lowercase RFC 1123 subdomain",
            ],
        ),
        (
            "a selector that does not match its template",
            deployment(&format!("{{selector: {{matchLabels: {{app: b}}}}, template: {GOOD_TEMPLATE}}}")),
            &[
                "The Deployment \"broken\" is invalid: spec.template.metadata.labels: Invalid value:",
                "`selector` does not match template `labels`",
            ],
        ),
        (
            "an unknown kind",
            "apiVersion: v1\nkind: Gizmo\nmetadata: {name: broken}\n".into(),
            &["no matches for kind \"Gizmo\" in version \"v1\""],
        ),
        (
            "a tab",
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n\tname: broken\n".into(),
            &["yaml: line 4", "found character that cannot start any token"],
        ),
    ];
    for (mistake, manifest, words) in cases {
        let complaint = refused(&cluster, manifest.as_bytes());
        for word in *words {
            assert!(complaint.contains(word), "{mistake}: no {word:?} in {complaint}");
        }
    }
    assert_eq!(
        cluster.kubectl(&[
            "get",
            "deployments,configmaps",
            "-o",
            "name",
            "--field-selector=metadata.name!=kube-root-ca.crt"
        ]),
        ""
    );
}

/// What kubectl would refuse or repair by itself is sent to the server as it is.
fn raw(cluster: &Cluster, kind: &str, body: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body");
    std::fs::write(&file, body).unwrap();
    let address = cluster.said("api");
    let config = cluster.kubectl(&["config", "view", "--raw", "-o", "json"]);
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    let decode = |path: &str| {
        use base64::Engine;
        let encoded =
            config.pointer(path).and_then(serde_json::Value::as_str).unwrap_or_else(|| panic!("{path}"));
        base64::engine::general_purpose::STANDARD.decode(encoded).unwrap()
    };
    let write = |name: &str, path: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, decode(path)).unwrap();
        file
    };
    let output = std::process::Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "30", "-X", "POST", "-H"])
        .arg(format!("Content-Type: {kind}"))
        .arg("--cacert")
        .arg(write("ca", "/clusters/0/cluster/certificate-authority-data"))
        .arg("--cert")
        .arg(write("cert", "/users/0/user/client-certificate-data"))
        .arg("--key")
        .arg(write("key", "/users/0/user/client-key-data"))
        .arg("--data-binary")
        .arg(format!("@{}", file.display()))
        .arg(format!("{address}/api/v1/namespaces/default/configmaps?fieldValidation=Strict"))
        .output()
        .expect("curl is on the PATH");
    text(&output.stdout) + &text(&output.stderr)
}

#[test]
fn bodies_made_to_harm_are_refused_by_the_server() {
    let cluster = Cluster::start();
    let json = |body: &[u8], kind: &str| -> serde_json::Value {
        let answer = raw(&cluster, kind, body);
        serde_json::from_str(&answer).unwrap_or_else(|problem| panic!("{problem}: {answer}"))
    };
    let answer = json(
        br#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"x":"1","x":"2"}}"#,
        "application/json",
    );
    assert_eq!((&answer["code"], &answer["reason"]), (&400.into(), &"BadRequest".into()));
    assert!(answer["message"].as_str().unwrap().contains("duplicate field \"data.x\""), "{answer}");

    let mut bomb = String::from("a: &a [x,x,x,x,x,x,x,x,x]\n");
    for (from, to) in ('a'..'j').zip('b'..='j') {
        bomb += &format!("{to}: &{to} [{}]\n", vec![format!("*{from}"); 9].join(","));
    }
    let answer = json(bomb.as_bytes(), "application/yaml");
    assert_eq!((&answer["code"], &answer["reason"]), (&400.into(), &"BadRequest".into()), "{answer}");

    let huge = format!(
        r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"a"}},"data":{{"x":"{}"}}}}"#,
        "x".repeat(4 << 20)
    );
    let answer = json(huge.as_bytes(), "application/json");
    assert_eq!(
        (&answer["code"], &answer["reason"]),
        (&413.into(), &"RequestEntityTooLarge".into()),
        "{answer}"
    );

    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let answer = json(deep.as_bytes(), "application/json");
    assert_eq!(answer["code"], 400, "{answer}");

    let answer = json(b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n\tname: a\n", "application/yaml");
    assert_eq!(answer["code"], 400, "{answer}");
    assert_eq!(cluster.kubectl(&["get", "configmap", "a", "--ignore-not-found"]), "");
}

#[test]
fn without_a_certificate_nobody_gets_in() {
    let cluster = Cluster::start();
    let ask = |path: &str| {
        let output = std::process::Command::new("curl")
            .args(["--silent", "--insecure", "--max-time", "30", &format!("{}{path}", cluster.said("api"))])
            .output()
            .expect("curl is on the PATH");
        text(&output.stdout)
    };
    for path in ["/api/v1/namespaces", "/apis", "/openapi/v3", "/api/v1/namespaces/default/secrets"] {
        let answer: serde_json::Value = serde_json::from_str(&ask(path)).unwrap();
        assert_eq!((&answer["code"], &answer["reason"]), (&403.into(), &"Forbidden".into()), "{path}");
    }
    assert_eq!(ask("/healthz"), "ok");
}
