//! The application a newcomer starts first.

use crate::harness::{Cluster, get, post};

#[test]
fn the_guestbook_is_written_and_read_through_its_services() {
    let cluster = Cluster::with_guestbook();
    let frontend = cluster.service("guestbook/frontend");
    assert!(cluster.said("api").starts_with("https://127.0.0.1:"));
    assert!(cluster.said("kubeconfig").ends_with("/admin.kubeconfig"));

    let (status, _) = post(&frontend, "/", "entry=Hello+from+a+test").unwrap();
    assert_eq!(status, 303);
    let (status, page) = get(&frontend, &frontend, "/").unwrap();
    assert_eq!(status, 200);
    assert!(page.contains("<li>Hello from a test</li>"), "{page}");
    assert!(page.contains("<h1>Guestbook</h1>"), "the title comes from the ConfigMap: {page}");
    let quotes = ["Well begun is half done.", "Many hands make light work.", "Still waters run deep."];
    assert!(quotes.iter().any(|quote| page.contains(quote)), "a quote comes from a mounted file: {page}");

    // The ingress leads to the same page, for its host only.
    let address = cluster.eventually(
        &[
            "get",
            "ingress",
            "-n",
            "guestbook",
            "guestbook",
            "-o",
            "jsonpath={.status.loadBalancer.ingress[0].ip}:{.status.loadBalancer.ingress[0].ports[0].port}",
        ],
        |address| address.contains("127."),
    );
    let (status, page) = get(&address, "guestbook.localhost", "/").unwrap();
    assert_eq!(status, 200);
    assert!(page.contains("Hello from a test"));
    assert_eq!(get(&address, "another.host", "/").unwrap().0, 404);

    // The store believes only who has the Secret.
    let store = cluster.service("guestbook/store");
    assert_eq!(post(&store, "/entries", "spam").unwrap().0, 401);
}

#[test]
fn every_kind_of_the_guestbook_is_listed_as_kubectl_shows_it() {
    let cluster = Cluster::with_guestbook();
    let shown = |kind: &str| cluster.kubectl(&["get", kind, "-n", "guestbook"]);
    let header = |kind: &str| {
        shown(kind).lines().next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(header("pods"), "NAME READY STATUS RESTARTS AGE");
    assert_eq!(header("deployments"), "NAME READY UP-TO-DATE AVAILABLE AGE");
    assert_eq!(header("statefulsets"), "NAME READY AGE");
    assert_eq!(header("daemonsets"), "NAME DESIRED CURRENT READY UP-TO-DATE AVAILABLE NODE SELECTOR AGE");
    assert_eq!(header("services"), "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE");
    assert_eq!(header("ingresses"), "NAME CLASS HOSTS ADDRESS PORTS AGE");
    assert_eq!(header("configmaps"), "NAME DATA AGE");
    assert_eq!(header("secrets"), "NAME TYPE DATA AGE");
    assert_eq!(
        header("persistentvolumeclaims"),
        "NAME STATUS VOLUME CAPACITY ACCESS MODES STORAGECLASS VOLUMEATTRIBUTESCLASS AGE"
    );
    let row = |kind: &str, name: &str| {
        let table = shown(kind);
        let row = table
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_else(|| panic!("no {name} in {table}"));
        row.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(row("deployments", "frontend")[1..4], ["2/2", "2", "2"]);
    assert_eq!(row("statefulsets", "store")[1], "1/1");
    assert_eq!(row("daemonsets", "monitor")[1..6], ["1", "1", "1", "1", "1"]);
    assert_eq!(row("persistentvolumeclaims", "entries-store-0")[1], "Bound");
    assert_eq!(row("pods", "store-0")[1..4], ["1/1", "Running", "0"]);
    assert!(cluster.kubectl(&["get", "all", "-n", "guestbook"]).contains("replicaset.apps/frontend-"));
}

#[test]
fn values_reach_the_process_as_environment_and_as_files() {
    let cluster = Cluster::start();
    let manifest = r"
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: teal, motto.txt: 'slow and steady'}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {password: s3cret}
---
apiVersion: v1
kind: Pod
metadata: {name: reader, labels: {app: reader}}
spec:
  restartPolicy: Never
  containers:
  - name: reader
    image: host
    command: [sh, -c]
    args: ['echo colour=$COLOUR password=$PASSWORD node=$NODE all=$colour $(GREETING); cat /etc/settings/motto.txt /etc/keys/password /etc/podinfo/labels; echo; echo kept > /scratch/file; cat /scratch/file']
    env:
    - {name: COLOUR, valueFrom: {configMapKeyRef: {name: settings, key: colour}}}
    - {name: PASSWORD, valueFrom: {secretKeyRef: {name: keys, key: password}}}
    - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
    - {name: GREETING, value: hello-$(COLOUR)}
    envFrom: [{configMapRef: {name: settings}}]
    volumeMounts:
    - {name: settings, mountPath: /etc/settings}
    - {name: keys, mountPath: /etc/keys, readOnly: true}
    - {name: info, mountPath: /etc/podinfo}
    - {name: scratch, mountPath: /scratch}
  volumes:
  - {name: settings, configMap: {name: settings}}
  - {name: keys, secret: {secretName: keys}}
  - {name: info, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}
  - {name: scratch, emptyDir: {}}
";
    let output = cluster.kubectl_with(&["apply", "-f", "-"], manifest.as_bytes());
    assert!(output.status.success(), "{output:?}");
    cluster.eventually(&["get", "pod", "reader"], |row| row.contains("Completed"));
    let node = cluster.kubectl(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]);
    let log = cluster.kubectl(&["logs", "reader"]);
    assert!(
        log.starts_with(&format!("colour=teal password=s3cret node={node} all=teal hello-teal\n")),
        "{log}"
    );
    assert!(log.contains("slow and steadys3cretapp=\"reader\"\nkept\n"), "{log}");
    assert!(!std::path::Path::new("/etc/settings").exists(), "the machine's own files are untouched");
}
