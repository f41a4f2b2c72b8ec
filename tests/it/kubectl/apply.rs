//! `kubectl apply` in all its forms, and what goes with it.

use std::fs;

use crate::harness::{Cluster, text};

/// Begins with a mark, because kubectl takes what begins with a brace for JSON.
const MAP: &str =
    "---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: m, labels: {set: one}}, data: {a: '1', b: '2'}}";

fn apply(cluster: &Cluster, arguments: &[&str], manifest: &str) -> String {
    let output = cluster.kubectl_with(&[&["apply"], arguments, &["-f", "-"]].concat(), manifest.as_bytes());
    assert!(output.status.success(), "{output:?}");
    text(&output.stdout)
}

#[test]
fn what_was_applied_last_is_shown_set_and_edited() {
    let cluster = Cluster::start();
    apply(&cluster, &[], MAP);
    let view = || cluster.kubectl(&["apply", "view-last-applied", "configmap/m", "-o", "json"]);
    assert!(view().contains(r#""b": "2""#), "{}", view());
    let file = cluster.folder.path().join("m.yaml");
    fs::write(&file, MAP.replace(", b: '2'", "")).unwrap();
    cluster.kubectl(&["apply", "set-last-applied", "-f", file.to_str().unwrap()]);
    assert!(!view().contains(r#""b""#), "{}", view());
    let data = || cluster.kubectl(&["get", "configmap", "m", "-o", "jsonpath={.data}"]);
    assert_eq!(data(), r#"{"a":"1","b":"2"}"#, "the object itself is as it was");
    let edited = cluster
        .kubectl_command()
        .args(["apply", "edit-last-applied", "configmap/m"])
        .env("KUBE_EDITOR", r"sed -i s/a:..1./a:\ three/")
        .output()
        .unwrap();
    assert!(edited.status.success(), "{edited:?}");
    assert!(view().contains(r#""a": "three""#), "{}", view());
}

#[test]
fn appliers_share_an_object_and_conflict_over_a_field() {
    let cluster = Cluster::start();
    let server = |manager: &str| format!("--field-manager={manager}");
    let said = apply(&cluster, &["--server-side", &server("first")], MAP);
    assert_eq!(said, "configmap/m serverside-applied\n");
    let other = MAP.replace("a: '1', b: '2'", "b: '3', c: '4'");
    let arguments = ["apply", "--server-side", "--field-manager=second", "-f", "-"];
    let refused = cluster.kubectl_with(&arguments, other.as_bytes());
    let complaint = text(&refused.stderr);
    assert!(complaint.contains(r#"conflict with "first": .data.b"#), "{complaint}");
    apply(&cluster, &["--server-side", "--force-conflicts", &server("second")], &other);
    let data = || cluster.kubectl(&["get", "configmap", "m", "-o", "jsonpath={.data}"]);
    assert_eq!(data(), r#"{"a":"1","b":"3","c":"4"}"#);
    // What nobody owns any more is gone.
    apply(&cluster, &["--server-side", &server("first")], &MAP.replace("a: '1', b: '2'", ""));
    assert_eq!(data(), r#"{"b":"3","c":"4"}"#);
}

#[test]
fn what_is_no_longer_applied_is_pruned() {
    let cluster = Cluster::start();
    apply(&cluster, &[], &format!("{MAP}\n---\n{}", MAP.replace("name: m", "name: other")));
    let arguments = ["--prune", "-l", "set=one", "--prune-allowlist=core/v1/ConfigMap"];
    let said = apply(&cluster, &arguments, MAP);
    assert_eq!(said, "configmap/m unchanged\nconfigmap/other pruned\n");
    let left = cluster.kubectl(&["get", "configmaps", "-l", "set=one", "-o", "name"]);
    assert_eq!(left, "configmap/m\n");
}

#[test]
fn a_diff_shows_what_an_apply_would_change() {
    let cluster = Cluster::start();
    apply(&cluster, &[], MAP);
    let diff = |arguments: &[&str], manifest: &str| {
        cluster.kubectl_with(&[&["diff"], arguments, &["-f", "-"]].concat(), manifest.as_bytes())
    };
    assert_eq!(diff(&[], MAP).status.code(), Some(0));
    let changed = diff(&[], &MAP.replace("a: '1'", "a: '9'"));
    assert_eq!(changed.status.code(), Some(1), "{changed:?}");
    assert!(text(&changed.stdout).contains("-  a: \"1\"\n+  a: \"9\"\n"), "{changed:?}");
    let changed = diff(&["--server-side", "--force-conflicts"], &MAP.replace("a: '1'", "a: '9'"));
    assert_eq!(changed.status.code(), Some(1), "{changed:?}");
    let data = cluster.kubectl(&["get", "configmap", "m", "-o", "jsonpath={.data.a}"]);
    assert_eq!(data, "1", "nothing was written");
}

#[test]
fn a_kustomization_is_built_and_applied() {
    let cluster = Cluster::start();
    let folder = cluster.folder.path().join("kustomization");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("map.yaml"), MAP).unwrap();
    let kustomization = "resources: [map.yaml]\nnamePrefix: my-\nnamespace: default\n";
    fs::write(folder.join("kustomization.yaml"), kustomization).unwrap();
    let folder = folder.to_str().unwrap();
    let built = cluster.kubectl(&["kustomize", folder]);
    assert!(built.contains("name: my-m\n"), "{built}");
    assert_eq!(cluster.kubectl(&["apply", "-k", folder]), "configmap/my-m created\n");
    assert_eq!(cluster.kubectl(&["delete", "-k", folder]), "configmap \"my-m\" deleted\n");
}
