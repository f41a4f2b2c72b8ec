//! The client verbs of the binary itself, for people without kubectl.

use std::process::{Output, Stdio};

use crate::harness::{Cluster, guestbook, orchestra, text};

fn run(cluster: &Cluster, arguments: &[&str]) -> Output {
    orchestra()
        .args(arguments)
        .arg("--kubeconfig")
        .arg(cluster.folder.path().join("admin.kubeconfig"))
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[track_caller]
fn said(cluster: &Cluster, arguments: &[&str]) -> String {
    let output = run(cluster, arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn objects_are_shown_as_kubectl_shows_them() {
    let cluster = Cluster::with_guestbook();
    // Everything but ages, which may differ by a second between two calls.
    let words = |table: String| -> Vec<String> {
        let ages = |word: &&str| !word.ends_with('s') || word.trim_end_matches('s').parse::<u32>().is_err();
        table.split_whitespace().filter(ages).map(str::to_owned).collect()
    };
    for arguments in [
        &["get", "pods", "-n", "guestbook"][..],
        &["get", "deploy,svc", "-n", "guestbook", "-o", "wide"],
        &["get", "statefulset/store", "-n", "guestbook"],
        &["get", "nodes"],
        &["get", "pods", "-A", "-l", "app=frontend"],
        &["get", "ingress", "-n", "guestbook", "--no-headers"],
        &["get", "all", "-n", "guestbook", "-o", "name"],
        &["get", "secret", "store-token", "-n", "guestbook", "-o", "yaml"],
        &["get", "cm", "guestbook", "-n", "guestbook", "-o", "json"],
        &["get", "deploy", "-n", "guestbook", "-o", "jsonpath={.items[*].metadata.name}"],
    ] {
        assert_eq!(words(said(&cluster, arguments)), words(cluster.kubectl(arguments)), "{arguments:?}");
    }
}

#[test]
fn manifests_are_applied_and_removed_again() {
    let cluster = Cluster::start();
    let manifest = guestbook();
    let manifest = manifest.to_str().unwrap();
    let first = said(&cluster, &["apply", "-f", manifest]);
    assert!(first.lines().all(|line| line.ends_with(" created")), "{first}");
    assert!(first.starts_with("namespace/guestbook created\n"));
    let again = said(&cluster, &["apply", "-f", manifest]);
    let changed: Vec<&str> = again.lines().filter(|line| !line.ends_with(" unchanged")).collect();
    assert_eq!(changed, Vec::<&str>::new());
    cluster.eventually(&["get", "pods", "-n", "guestbook", "store-0"], |row| row.contains("1/1"));
    assert!(said(&cluster, &["logs", "store-0", "-n", "guestbook"]).contains("listening on 127."));
    assert_eq!(
        said(&cluster, &["delete", "deployment", "frontend", "-n", "guestbook"]),
        "deployment.apps \"frontend\" deleted\n"
    );
    let removed = run(&cluster, &["delete", "-f", manifest]);
    // The deployment is gone already, which is named; everything else goes.
    assert_eq!(removed.status.code(), Some(1));
    assert!(text(&removed.stderr).contains("deployments.apps \"frontend\" not found"), "{removed:?}");
    said(&cluster, &["delete", "-f", manifest, "--ignore-not-found"]);
    cluster.eventually(&["get", "namespaces", "-o", "name"], |names| !names.contains("guestbook"));
}

#[test]
fn mistakes_are_named_and_end_with_the_right_code() {
    let cluster = Cluster::start();
    let missing = run(&cluster, &["get", "pods", "nobody"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(
        text(&missing.stderr).contains("Error from server (NotFound): pods \"nobody\" not found"),
        "{missing:?}"
    );
    let unknown = run(&cluster, &["get", "gizmos"]);
    assert!(
        text(&unknown.stderr).contains("the server doesn't have a resource type \"gizmos\""),
        "{unknown:?}"
    );
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.yaml");
    std::fs::write(&broken, "apiVersion: v1\nkind: ConfigMap\nmetadata:\n\tname: a\n").unwrap();
    let refused = run(&cluster, &["apply", "-f", broken.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("broken.yaml:4"), "{refused:?}");
    std::fs::write(&broken, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndatum: {}\n").unwrap();
    let refused = run(&cluster, &["apply", "-f", broken.to_str().unwrap()]);
    let complaint = text(&refused.stderr);
    assert!(
        complaint.contains("broken.yaml:1") && complaint.contains("unknown field \"datum\""),
        "{complaint}"
    );
}
