//! What kubectl does without a server.

use std::fs;

use crate::harness::{Cluster, text};

#[test]
fn commands_without_a_server_work_on_what_it_wrote() {
    let cluster = Cluster::start();
    let copy = cluster.folder.path().join("copy.kubeconfig");
    fs::copy(cluster.folder.path().join("admin.kubeconfig"), &copy).unwrap();
    let run = |arguments: &[&str]| {
        let output = cluster.kubectl_command().env("KUBECONFIG", &copy).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        text(&output.stdout)
    };
    let config = |line: &str| run(&[&["config"], &line.split(' ').collect::<Vec<_>>()[..]].concat());
    let context = config("current-context").trim().to_owned();
    assert!(config("view").contains(&format!("current-context: {context}")), "{}", config("view"));
    let server = config("view --minify -o jsonpath={.clusters[0].cluster.server}");
    config(&format!("rename-context {context} mine"));
    assert_eq!(config("current-context"), "mine\n");
    config("set-cluster other --server=https://127.0.0.1:1");
    config("set-credentials jane --token=secret");
    config("set-context theirs --cluster=other --user=jane --namespace=shop");
    config("set clusters.other.tls-server-name shop.localhost");
    config("use-context theirs");
    assert_eq!(config("get-contexts -o name"), "mine\ntheirs\n");
    assert!(config("get-clusters").contains("other") && config("get-users").contains("jane"));
    assert_eq!(config("view --minify -o jsonpath={..namespace}"), "shop");
    config("unset clusters.other.tls-server-name");
    config("use-context mine");
    config("delete-context theirs");
    config("delete-user jane");
    config("delete-cluster other");
    assert_eq!(config("view --minify -o jsonpath={.clusters[0].cluster.server}"), server);
    // What is left of it still opens the door.
    assert_eq!(run(&["get", "namespace", "default", "-o", "name"]), "namespace/default\n");

    assert!(run(&["completion", "bash"]).contains("__start_kubectl"));
    let plugins = cluster.kubectl_command().args(["plugin", "list"]).output().unwrap();
    let said = text(&plugins.stdout) + &text(&plugins.stderr);
    assert!(said.contains("plugins"), "{said}");
}
