//! Two API servers, in processes of their own, on one etcd.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};

use tempfile::TempDir;

use crate::etcd::Etcd;
use crate::harness::{Cluster, text};

/// What two servers have in common beside the store: the cluster's authority, and the keys that Secrets are sealed with.
fn share(from: &Path, to: &TempDir) {
    fs::create_dir(to.path().join("pki")).unwrap();
    for file in fs::read_dir(from.join("pki")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.path().join("pki").join(file.file_name())).unwrap();
    }
    fs::copy(from.join("encryption.keys"), to.path().join("encryption.keys")).unwrap();
}

fn pair(etcd: &Etcd) -> [Cluster; 2] {
    let url = etcd.url();
    // The controllers and the scheduler run once. Short times, so that the death of a leader is noticed soon.
    let arguments = [
        "--store",
        &url,
        "--leader-elect-lease-duration=4s",
        "--leader-elect-renew-deadline=3s",
        "--leader-elect-retry-period=500ms",
    ];
    let one = Cluster::run("server", tempfile::tempdir().unwrap(), &arguments);
    let folder = tempfile::tempdir().unwrap();
    share(one.folder.path(), &folder);
    let two = Cluster::run("server", folder, &arguments);
    [one, two]
}

fn begin(server: &Cluster, arguments: &[&str]) -> Child {
    let mut command = server.kubectl_command();
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Whether it succeeded, and what it complained of.
fn end(child: Child) -> (bool, String) {
    let output = child.wait_with_output().unwrap();
    (output.status.success(), text(&output.stderr))
}

#[test]
fn what_one_server_writes_the_other_shows_by_get_and_by_watch() {
    let Some(etcd) = Etcd::start() else { return };
    let servers = pair(&etcd);
    for (n, (writer, reader)) in
        [(&servers[0], &servers[1]), (&servers[1], &servers[0])].into_iter().enumerate()
    {
        let name = format!("note-{n}");
        let object = format!("configmap/{name}");
        let watching = begin(reader, &["wait", "--for=create", &object, "--timeout=60s"]);
        writer.kubectl(&["create", "configmap", &name, "--from-literal=k=1"]);
        assert_eq!(end(watching), (true, String::new()));
        for value in 2..6 {
            let patch = format!(r#"{{"data":{{"k":"{value}"}}}}"#);
            let condition = format!("--for=jsonpath={{.data.k}}={value}");
            let watching = begin(reader, &["wait", &condition, &object, "--timeout=60s"]);
            writer.kubectl(&["patch", &object, "-p", &patch]);
            // Acknowledged there, so seen here, at once and in lists.
            assert_eq!(reader.kubectl(&["get", &object, "-o", "jsonpath={.data.k}"]), value.to_string());
            let listed = reader.kubectl(&["get", "configmap", "-o", "jsonpath={.items[*].data.k}"]);
            assert!(listed.split(' ').any(|listed| listed == value.to_string()), "{listed}");
            assert_eq!(end(watching), (true, String::new()));
        }
        writer.kubectl(&["delete", &object]);
        reader.kubectl_fails(&["get", &object]);
    }
    // Both know the same certificates and the same sealed Secrets.
    servers[0].kubectl(&["create", "secret", "generic", "s", "--from-literal=k=v"]);
    assert_eq!(servers[1].kubectl(&["get", "secret", "s", "-o", "jsonpath={.data.k}"]), "dg==");
}

#[test]
fn of_two_rivals_at_two_servers_one_wins() {
    let Some(etcd) = Etcd::start() else { return };
    let servers = pair(&etcd);
    servers[0].kubectl(&["create", "configmap", "crown", "--from-literal=k=0"]);
    for round in 0..8 {
        let crown = servers[round % 2].kubectl(&["get", "configmap", "crown", "-o", "yaml"]);
        let rivals = [0, 1].map(|side: usize| {
            // Both begin from what was read before.
            let claimed: Vec<String> =
                crown
                    .lines()
                    .map(|line| {
                        if line.starts_with("  k: ") {
                            format!("  k: {round}-{side}")
                        } else {
                            line.to_owned()
                        }
                    })
                    .collect();
            let file = servers[side].folder.path().join("crown.yaml");
            fs::write(&file, claimed.join("\n")).unwrap();
            begin(&servers[side], &["replace", "-f", file.to_str().unwrap()])
        });
        let outcomes = rivals.map(end);
        let won: Vec<usize> = (0..2).filter(|&side| outcomes[side].0).collect();
        let [winner] = won[..] else { panic!("{outcomes:?}") };
        assert!(outcomes[1 - winner].1.contains("the object has been modified"), "{outcomes:?}");
        for server in &servers {
            let worn = server.kubectl(&["get", "configmap", "crown", "-o", "jsonpath={.data.k}"]);
            assert_eq!(worn, format!("{round}-{winner}"));
        }
        // A name is given out once.
        let name = format!("throne-{round}");
        let rivals = [&servers[0], &servers[1]].map(|server| begin(server, &["create", "configmap", &name]));
        let outcomes = rivals.map(end);
        assert_eq!(outcomes.iter().filter(|(success, _)| *success).count(), 1, "{outcomes:?}");
        assert!(outcomes.iter().any(|(_, why)| why.contains("already exists")), "{outcomes:?}");
    }
}

#[test]
fn no_address_and_no_port_is_given_out_twice() {
    let Some(etcd) = Etcd::start() else { return };
    let servers = pair(&etcd);
    let services = |side: usize| {
        (0..40).fold(String::new(), |text, n| {
            text + &format!(
                "apiVersion: v1\nkind: Service\nmetadata: {{name: s{side}-{n}}}\n\
                 spec: {{type: NodePort, ports: [{{port: 80}}]}}\n---\n"
            )
        })
    };
    let creating = [0, 1].map(|side| {
        let file = servers[side].folder.path().join("services.yaml");
        fs::write(&file, services(side)).unwrap();
        begin(&servers[side], &["create", "-f", file.to_str().unwrap()])
    });
    for outcome in creating.map(end) {
        assert_eq!(outcome, (true, String::new()));
    }
    for server in &servers {
        let all = |path: &str| {
            let found = server.kubectl(&["get", "services", "-o", &format!("jsonpath={{.items[*].{path}}}")]);
            let found: Vec<String> = found.split_whitespace().map(str::to_owned).collect();
            (found.len(), found.into_iter().collect::<BTreeSet<_>>().len())
        };
        assert_eq!(all("spec.clusterIP"), (81, 81));
        assert_eq!(all("spec.ports[*].nodePort"), (80, 80));
    }
}

const LEASES: [&str; 2] = ["kube-controller-manager", "kube-scheduler"];

/// Who holds the two Leases, when both are held.
fn leaders(server: &Cluster) -> [String; 2] {
    LEASES.map(|lease| {
        let holder = ["get", "lease", lease, "-n", "kube-system", "-o", "jsonpath={.spec.holderIdentity}"];
        server.eventually(&holder, |holder| !holder.is_empty())
    })
}

/// A ReplicaSet, and a node for its pods that has room.
fn begin_work(server: &Cluster) {
    let work = "
apiVersion: v1
kind: Node
metadata: {name: somewhere}
status: {capacity: {cpu: '8', memory: 8Gi, pods: '50'}, allocatable: {cpu: '8', memory: 8Gi, pods: '50'}}
---
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: work}
spec:
  replicas: 4
  selector: {matchLabels: {app: work}}
  template:
    metadata: {labels: {app: work}}
    spec:
      tolerations: [{operator: Exists}]
      containers: [{name: c, image: i}]
";
    assert!(server.kubectl_with(&["create", "-f", "-"], work.as_bytes()).status.success());
}

/// Waits until so many pods have a node; nobody may have made more. Says what the events tell of it.
fn all_placed(server: &Cluster, count: usize) {
    let nodes = ["get", "pods", "-o", "jsonpath={.items[*].spec.nodeName}"];
    server.eventually(&nodes, |nodes| nodes.split_whitespace().count() == count);
    let names = server.kubectl(&["get", "pods", "-o", "name"]);
    assert_eq!(names.lines().count(), count, "{names}");
    // One that was made too often and removed again leaves its event.
    let created = ["get", "events", "--field-selector", "reason=SuccessfulCreate", "-o", "name"];
    let created = server.eventually(&created, |events| events.lines().count() >= count);
    assert_eq!(created.lines().count(), count, "{created}");
}

#[test]
fn when_the_leader_is_killed_the_other_server_carries_on_and_nothing_is_done_twice() {
    let Some(etcd) = Etcd::start() else { return };
    let [mut one, two] = pair(&etcd);
    let before = leaders(&two);
    begin_work(&two);
    all_placed(&two, 4);
    assert_eq!(leaders(&two), before, "the first to stand leads, and the other waits");

    one.kill();
    two.kubectl(&["scale", "rs/work", "--replicas=7"]);
    all_placed(&two, 7);
    let after = leaders(&two);
    for (lease, (before, after)) in LEASES.iter().zip(before.iter().zip(&after)) {
        assert_ne!(before, after);
        let transitions =
            ["get", "lease", lease, "-n", "kube-system", "-o", "jsonpath={.spec.leaseTransitions}"];
        assert_eq!(two.kubectl(&transitions), "1");
        let of_lease = format!("involvedObject.name={lease},reason=LeaderElection");
        let said = ["get", "events", "-n", "kube-system", "--field-selector", &of_lease, "-o"];
        let said = [&said[..], &["jsonpath={.items[*].message}"]].concat();
        two.eventually(&said, |said| {
            said.contains(&format!("{before} became leader"))
                && said.contains(&format!("{after} became leader"))
        });
    }

    // One that is told to stop leaves nothing to wait for.
    let folder = std::mem::replace(&mut one.folder, tempfile::tempdir().unwrap());
    let url = etcd.url();
    let one = Cluster::run("server", folder, &["--store", &url]);
    assert_eq!(leaders(&one), after);
    let mut two = two;
    assert_eq!(two.stop(), Some(0));
    one.kubectl(&["scale", "rs/work", "--replicas=9"]);
    all_placed(&one, 9);
}

#[test]
fn a_server_alone_that_was_killed_leads_again_at_once() {
    let mut alone = Cluster::run("server", tempfile::tempdir().unwrap(), &[]);
    let before = leaders(&alone);
    alone.kill();
    let folder = std::mem::replace(&mut alone.folder, tempfile::tempdir().unwrap());
    let again = Cluster::run("server", folder, &[]);
    begin_work(&again);
    all_placed(&again, 4);
    assert_eq!(leaders(&again), before);
    for lease in LEASES {
        let transitions =
            ["get", "lease", lease, "-n", "kube-system", "-o", "jsonpath={.spec.leaseTransitions}"];
        assert_eq!(again.kubectl(&transitions), "0");
    }
}
