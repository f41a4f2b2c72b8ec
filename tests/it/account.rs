//! Programs in pods speak to the API as their service accounts.

use crate::harness::Cluster;

#[test]
fn a_program_in_a_pod_speaks_to_the_api_as_its_account() {
    let cluster = Cluster::start();
    cluster.kubectl(&[
        "create",
        "rolebinding",
        "see",
        "--clusterrole=view",
        "--serviceaccount=default:default",
    ]);
    // What every in-cluster client does, by hand.
    let script = "d=/var/run/secrets/kubernetes.io/serviceaccount; \
        ask() { curl --silent --show-error --max-time 30 --cacert $d/ca.crt -H \"Authorization: Bearer $(cat $d/token)\" \
        https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT/api/v1/namespaces/$(cat $d/namespace)/$1 -o $2 \
        --write-out '%{http_code}\\n'; }; \
        ask pods/caller /dev/null; ask secrets /dev/null";
    cluster.kubectl(&["run", "caller", "--image=host", "--restart=Never", "--", "sh", "-c", script]);
    cluster.eventually(&["get", "pod", "caller", "-o", "jsonpath={.status.phase}"], |phase| {
        phase == "Succeeded"
    });
    assert_eq!(cluster.kubectl(&["logs", "caller"]), "200\n403\n");
    let volume = cluster.kubectl(&["get", "pod", "caller", "-o", "jsonpath={.spec.volumes[0].name}"]);
    assert!(volume.starts_with("kube-api-access-"), "{volume}");
}

#[test]
fn a_pod_of_an_account_that_is_not_there_is_refused() {
    let cluster = Cluster::start();
    let pod = r#"{"spec": {"serviceAccountName": "nobody"}}"#;
    let refused = cluster.kubectl_fails(&["run", "p", "--image=host", "--overrides", pod]);
    assert_eq!(
        refused.trim(),
        "Error from server (Forbidden): pods \"p\" is forbidden: error looking up service account default/nobody: \
         serviceaccount \"nobody\" not found"
    );
}
