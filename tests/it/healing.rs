//! What breaks comes back.

use std::collections::BTreeMap;
use std::fs;

use crate::harness::{Cluster, get, post, processes_with, signal, until};

const PODS: [&str; 5] = ["get", "pods", "-n", "guestbook", "-o"];

/// The processes of a pod's containers: those that were told its address.
fn processes_of(address: &str) -> Vec<u32> {
    processes_with(&format!("POD_IP={address}"))
        .into_iter()
        // Not what the processes were started by, which passes the address on in its arguments.
        .filter(|pid| {
            fs::read_to_string(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| line.contains("frontend") || line.contains("store"))
        })
        .collect()
}

fn column(cluster: &Cluster, selector: &str, path: &str) -> Vec<String> {
    let path = format!("jsonpath={{range .items[*]}}{{{path}}}{{\"\\n\"}}{{end}}");
    let arguments: Vec<&str> = PODS.iter().copied().chain([path.as_str(), "-l", selector]).collect();
    cluster.kubectl(&arguments).lines().map(str::to_owned).collect()
}

#[test]
fn a_killed_process_is_started_again_counted_and_backed_off() {
    let cluster = Cluster::with_guestbook();
    let address = &column(&cluster, "app=store", ".status.podIP")[0];
    let kill = || {
        let pids = processes_of(address);
        assert!(!pids.is_empty());
        pids.into_iter().for_each(|pid| signal(pid, "KILL"));
    };
    let restarts = || column(&cluster, "app=store", ".status.containerStatuses[0].restartCount")[0].clone();
    kill();
    until(
        "a first restart",
        || restarts() == "1" && !processes_of(address).is_empty(),
        || column(&cluster, "app=store", ".status"),
    );
    assert_eq!(
        column(&cluster, "app=store", ".status.containerStatuses[0].lastState.terminated.exitCode"),
        ["137"]
    );
    kill();
    cluster.eventually(&["get", "pods", "-n", "guestbook"], |table| table.contains("CrashLoopBackOff"));
    cluster.eventually(&["get", "events", "-n", "guestbook"], |table| {
        table.contains("Back-off restarting failed container")
    });
    until("a second restart", || restarts() == "2", || column(&cluster, "app=store", ".status"));
}

#[test]
fn a_deleted_pod_is_replaced_and_the_service_follows() {
    let cluster = Cluster::with_guestbook();
    let before: BTreeMap<_, _> = names_and_addresses(&cluster);
    let (victim, address) = before.iter().next().unwrap();
    cluster.kubectl(&["delete", "pod", "-n", "guestbook", victim]);
    until(
        "a replacement",
        || {
            let now = names_and_addresses(&cluster);
            now.len() == 2 && !now.contains_key(victim) && now.values().all(|address| !address.is_empty())
        },
        || names_and_addresses(&cluster),
    );
    assert!(
        names_and_addresses(&cluster).values().all(|new| new != address),
        "the new pod has an address of its own"
    );
    let slices = [
        "get",
        "endpointslices",
        "-n",
        "guestbook",
        "-l",
        "kubernetes.io/service-name=frontend",
        "-o",
        "jsonpath={.items[*].endpoints[*].addresses[0]}",
    ];
    cluster.eventually(&slices, |addresses| {
        addresses.split_whitespace().count() == 2 && !addresses.contains(address.as_str())
    });
    cluster.kubectl(&[
        "wait",
        "--for=condition=Ready",
        "pod",
        "-n",
        "guestbook",
        "-l",
        "app=frontend",
        "--timeout=60s",
    ]);
    let frontend = cluster.service("guestbook/frontend");
    for _ in 0..20 {
        assert_eq!(get(&frontend, &frontend, "/").unwrap().0, 200);
    }
}

fn names_and_addresses(cluster: &Cluster) -> BTreeMap<String, String> {
    column(cluster, "app=frontend", ".metadata.name")
        .into_iter()
        .zip(column(cluster, "app=frontend", ".status.podIP"))
        .collect()
}

#[test]
fn after_a_kill_everything_is_there_what_runs_is_adopted_and_what_died_is_started_again() {
    let mut cluster = Cluster::with_guestbook();
    let frontend = cluster.service("guestbook/frontend");
    assert_eq!(post(&frontend, "/", "entry=before+the+crash").unwrap().0, 303);
    let objects = |cluster: &Cluster| {
        let kinds = "namespaces,configmaps,secrets,services,deployments,replicasets,statefulsets,daemonsets,pvc,pv,ingresses,pods";
        cluster.kubectl(&["get", kinds, "-A", "-o", "name"])
    };
    let (known, addresses) = (objects(&cluster), names_and_addresses(&cluster));
    let addresses: Vec<_> = addresses.into_values().collect();
    let (stays, dies) = (processes_of(&addresses[0]), processes_of(&addresses[1]));
    assert_eq!((stays.len(), dies.len()), (1, 1));

    cluster.kill();
    signal(dies[0], "KILL");
    cluster.start_again();

    assert_eq!(objects(&cluster), known);
    until(
        "the dead pod runs again",
        || {
            let now = processes_of(&addresses[1]);
            now.len() == 1 && now != dies
        },
        || processes_of(&addresses[1]),
    );
    assert_eq!(processes_of(&addresses[0]), stays, "what still ran was not started twice");
    let restarts = || {
        let path = ".status.containerStatuses[0].restartCount";
        let mut counts = column(&cluster, "app=frontend", path);
        counts.sort();
        counts
    };
    until("restarts are told apart", || restarts() == ["0", "1"], restarts);
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod", "--all", "-n", "guestbook", "--timeout=60s"]);
    until(
        "the front end answers",
        || get(&frontend, &frontend, "/").is_ok_and(|(status, _)| status == 200),
        || (),
    );
    assert!(get(&frontend, &frontend, "/").unwrap().1.contains("before the crash"));
}

#[test]
fn stopping_ends_every_pod_and_starting_again_carries_on() {
    let mut cluster = Cluster::with_guestbook();
    let frontend = cluster.service("guestbook/frontend");
    assert_eq!(post(&frontend, "/", "entry=kept").unwrap().0, 303);
    let mark = cluster.folder.path().display().to_string();
    assert_eq!(cluster.stop(), Some(0));
    assert_eq!(processes_with(&mark), Vec::<u32>::new(), "nothing is left behind");
    cluster.start_again();
    until(
        "the front end answers again",
        || get(&frontend, &frontend, "/").is_ok_and(|(status, page)| status == 200 && page.contains("kept")),
        || (),
    );
}
