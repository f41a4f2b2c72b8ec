//! The verbs of the unmodified kubectl, on the kinds of the guestbook.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::harness::{Cluster, until};

const KINDS: [(&str, &str); 9] = [
    ("configmap", "guestbook"),
    ("secret", "store-token"),
    ("service", "store"),
    ("service", "frontend"),
    ("statefulset", "store"),
    ("deployment", "frontend"),
    ("daemonset", "monitor"),
    ("ingress", "guestbook"),
    ("persistentvolumeclaim", "entries-store-0"),
];

#[test]
fn every_kind_is_got_described_labelled_annotated_patched_and_explained() {
    let cluster = Cluster::with_guestbook();
    let kubectl = |arguments: &[&str]| cluster.kubectl(&[&["-n", "guestbook"], arguments].concat());
    for (kind, name) in KINDS {
        for format in ["wide", "yaml", "json", "name"] {
            assert!(kubectl(&["get", kind, name, "-o", format]).contains(name), "{kind} as {format}");
        }
        let described = kubectl(&["describe", kind, name]);
        assert!(
            described.lines().next().is_some_and(|line| line.starts_with("Name:") && line.ends_with(name)),
            "{described}"
        );
        kubectl(&["label", kind, name, "tier=test"]);
        kubectl(&["annotate", kind, name, "note=seen"]);
        assert!(kubectl(&["get", kind, "-l", "tier=test", "-o", "name"]).contains(&format!("/{name}")));
        let json_patch = r#"[{"op":"add","path":"/metadata/labels/json","value":"1"}]"#;
        kubectl(&["patch", kind, name, "--type=json", "-p", json_patch]);
        kubectl(&[
            "patch",
            kind,
            name,
            "--type=merge",
            "-p",
            r#"{"metadata":{"labels":{"merge":"1","tier":null}}}"#,
        ]);
        kubectl(&[
            "patch",
            kind,
            name,
            "--type=strategic",
            "-p",
            r#"{"metadata":{"labels":{"strategic":"1"}}}"#,
        ]);
        let labels = kubectl(&["get", kind, name, "-o", "jsonpath={.metadata.labels}"]);
        for label in ["json", "merge", "strategic"] {
            assert!(labels.contains(&format!("\"{label}\":\"1\"")), "{kind}: {labels}");
        }
        assert!(!labels.contains("tier"), "{kind}: {labels}");
        let output = cluster
            .kubectl_command()
            .args(["edit", kind, name, "-n", "guestbook"])
            .env("KUBE_EDITOR", "sed -i s/note:.seen/note:\\ edited/")
            .output()
            .unwrap();
        assert!(output.status.success(), "{kind}: {output:?}");
        assert_eq!(
            kubectl(&["get", kind, name, "-o", "jsonpath={.metadata.annotations.note}"]),
            "edited",
            "{kind}"
        );
        let explained = kubectl(&["explain", kind]);
        assert!(explained.contains("FIELDS:") && explained.contains("metadata\t<ObjectMeta>"), "{explained}");
    }
    let explained = kubectl(&["explain", "deployment.spec.strategy.rollingUpdate", "--recursive"]);
    assert!(explained.contains("maxSurge") && explained.contains("maxUnavailable"), "{explained}");
}

#[test]
fn a_strategic_patch_merges_containers_by_name() {
    let cluster = Cluster::with_guestbook();
    let patch = r#"{"spec":{"template":{"spec":{"containers":[{"name":"frontend","env":[{"name":"VERSION","value":"version 9"}]}]}}}}"#;
    cluster.kubectl(&["patch", "deployment", "frontend", "-n", "guestbook", "-p", patch]);
    let path = "jsonpath={range .spec.template.spec.containers[0].env[*]}{.name}={.value} {end}";
    let env = cluster.kubectl(&["get", "deployment", "frontend", "-n", "guestbook", "-o", path]);
    assert!(env.contains("VERSION=version 9") && env.contains("TITLE=") && env.contains("TOKEN="), "{env}");
}

#[test]
fn resources_are_discovered_with_their_short_names() {
    let cluster = Cluster::start();
    let table = cluster.kubectl(&["api-resources"]);
    for words in [
        ["pods", "po", "v1", "true", "Pod"],
        ["deployments", "deploy", "apps/v1", "true", "Deployment"],
        ["ingresses", "ing", "networking.k8s.io/v1", "true", "Ingress"],
        ["namespaces", "ns", "v1", "false", "Namespace"],
    ] {
        assert!(table.lines().any(|line| line.split_whitespace().eq(words)), "{words:?} in {table}");
    }
    let version: serde_json::Value =
        serde_json::from_str(&cluster.kubectl(&["version", "-o", "json"])).unwrap();
    assert_eq!(version["serverVersion"]["major"], "1");
    assert_eq!(version["serverVersion"]["minor"], "36");
}

#[test]
fn objects_are_created_edited_applied_again_and_deleted() {
    let cluster = Cluster::start();
    // kubectl sends these as protobuf.
    cluster.kubectl(&["create", "namespace", "shop"]);
    cluster.kubectl(&["create", "configmap", "settings", "-n", "shop", "--from-literal=colour=teal"]);
    cluster.kubectl(&["create", "secret", "generic", "keys", "-n", "shop", "--from-literal=a=b"]);
    cluster.kubectl(&["create", "serviceaccount", "clerk", "-n", "shop"]);
    cluster.kubectl(&[
        "create",
        "deployment",
        "web",
        "-n",
        "shop",
        "--image=host",
        "--replicas=2",
        "--",
        "sleep",
        "600",
    ]);
    cluster.kubectl(&["rollout", "status", "deployment/web", "-n", "shop", "--timeout=60s"]);
    cluster.kubectl(&["expose", "deployment", "web", "-n", "shop", "--port=8080"]);
    cluster.kubectl(&["create", "ingress", "web", "-n", "shop", "--rule=shop.localhost/*=web:8080"]);

    let output = cluster
        .kubectl_command()
        .args(["edit", "configmap", "settings", "-n", "shop"])
        .env("KUBE_EDITOR", "sed -i s/teal/amber/")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        cluster.kubectl(&["get", "cm", "settings", "-n", "shop", "-o", "jsonpath={.data.colour}"]),
        "amber"
    );

    let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: applied, namespace: shop}\ndata: {a: '1', b: '2'}\n";
    let apply = |manifest: &str| {
        let output = cluster.kubectl_with(&["apply", "-f", "-"], manifest.as_bytes());
        assert!(output.status.success(), "{output:?}");
        crate::harness::text(&output.stdout)
    };
    assert_eq!(apply(manifest), "configmap/applied created\n");
    assert_eq!(apply(manifest), "configmap/applied unchanged\n");
    assert_eq!(apply(&manifest.replace(", b: '2'", "")), "configmap/applied configured\n");
    assert_eq!(
        cluster.kubectl(&["get", "cm", "applied", "-n", "shop", "-o", "jsonpath={.data}"]),
        r#"{"a":"1"}"#
    );

    cluster.kubectl(&["delete", "deployment", "web", "-n", "shop"]);
    cluster.eventually(&["get", "pods,replicasets", "-n", "shop", "-o", "name"], str::is_empty);
    cluster.kubectl(&["delete", "namespace", "shop", "--timeout=60s"]);
    assert!(cluster.kubectl_fails(&["get", "configmap", "settings", "-n", "shop"]).contains("(NotFound)"));
    assert!(cluster.kubectl_fails(&["get", "namespace", "shop"]).contains("namespaces \"shop\" not found"));
}

#[test]
fn the_guestbook_applies_again_without_a_change() {
    let cluster = Cluster::with_guestbook();
    let manifest = crate::harness::guestbook();
    let apply = || cluster.kubectl(&["apply", "-f", manifest.to_str().unwrap()]);
    let versions = || {
        let kinds = "configmaps,secrets,services,statefulsets,daemonsets,ingresses";
        let path =
            "jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.resourceVersion}{\"\\n\"}{end}";
        cluster.kubectl(&["get", kinds, "-n", "guestbook", "-o", path])
    };
    let before = versions();
    // kubectl takes over from `orchestra up -f` and finds everything as it would have left it.
    let again = apply();
    for line in again.lines() {
        // kubectl itself sends some fields every time and says so: a Secret's stringData, which is never read back, and
        // claim templates, a list it does not look into and in which the server has filled in defaults.
        let sent_always =
            ["secret/store-token configured", "statefulset.apps/store configured"].contains(&line);
        assert!(line.ends_with(" unchanged") || sent_always, "{again}");
    }
    assert_eq!(versions(), before, "nothing was written");
}

#[test]
fn every_kind_of_the_guestbook_is_deleted_and_nothing_is_left() {
    let cluster = Cluster::with_guestbook();
    let manifest = crate::harness::guestbook();
    cluster.kubectl(&["delete", "-f", manifest.to_str().unwrap(), "--timeout=80s"]);
    cluster.eventually(&["get", "persistentvolumes", "-o", "name"], str::is_empty);
    let kinds = "pods,services,deployments,replicasets,statefulsets,daemonsets,configmaps,secrets,ingresses,pvc,endpointslices";
    assert_eq!(cluster.kubectl(&["get", kinds, "-n", "guestbook", "-o", "name"]), "");
}

#[test]
fn a_watch_shows_changes_as_they_happen() {
    let cluster = Cluster::start();
    cluster.kubectl(&["create", "configmap", "first"]);
    let mut watch = cluster
        .kubectl_command()
        .args(["get", "configmaps", "-w", "--no-headers"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.starts_with("first")));
    cluster.kubectl(&["create", "configmap", "second"]);
    assert!(lines.any(|line| line.starts_with("second")));
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[test]
fn logs_are_followed_while_they_are_written() {
    let cluster = Cluster::start();
    let manifest = "apiVersion: v1\nkind: Pod\nmetadata: {name: counter}\nspec:\n  containers:\n  - name: c\n    image: host\n    command: [sh, -c, 'i=0; while :; do echo line $i; i=$((i+1)); sleep 0.2; done']\n";
    assert!(cluster.kubectl_with(&["create", "-f", "-"], manifest.as_bytes()).status.success());
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/counter", "--timeout=60s"]);
    let mut follow =
        cluster.kubectl_command().args(["logs", "-f", "counter"]).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(follow.stdout.take().unwrap()).lines().map_while(Result::ok);
    let seen: Vec<_> = lines.take(5).collect();
    assert_eq!(seen, ["line 0", "line 1", "line 2", "line 3", "line 4"]);
    follow.kill().unwrap();
    follow.wait().unwrap();
    let tail = cluster.kubectl(&["logs", "counter", "--tail=1", "--timestamps"]);
    assert_eq!(tail.lines().count(), 1, "{tail}");
    assert!(tail.contains("Z line "), "{tail}");
    cluster.kubectl(&["delete", "pod", "counter", "--grace-period=1"]);
    until("the pod is gone", || cluster.kubectl(&["get", "pods", "-o", "name"]).is_empty(), || ());
}
