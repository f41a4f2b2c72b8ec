//! New versions without an interruption, and back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::harness::{Cluster, get, until};

const DEPLOYMENT: &str = "deployment/frontend";

fn version(address: &str) -> String {
    get(address, address, "/version").map(|(_, body)| body.trim().to_owned()).unwrap_or_default()
}

#[test]
fn a_rolling_update_and_its_undo_never_fail_a_request() {
    let cluster = Cluster::with_guestbook();
    let frontend = cluster.service("guestbook/frontend");
    let kubectl = |arguments: &[&str]| cluster.kubectl(&[&["-n", "guestbook"], arguments].concat());

    let stop = Arc::new(AtomicBool::new(false));
    let (asked, failed) = (Arc::new(AtomicU64::new(0)), Arc::new(std::sync::Mutex::new(Vec::new())));
    let client = {
        let (stop, asked, failed, frontend) = (stop.clone(), asked.clone(), failed.clone(), frontend.clone());
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                match get(&frontend, &frontend, "/") {
                    Ok((200, _)) => {}
                    other => failed.lock().unwrap().push(format!("{other:?}")),
                }
                asked.fetch_add(1, Ordering::Relaxed);
            }
        })
    };

    assert_eq!(version(&frontend), "version 1");
    kubectl(&["set", "env", DEPLOYMENT, "VERSION=version 2"]);
    kubectl(&["rollout", "status", DEPLOYMENT, "--timeout=60s"]);
    until("only the new version answers", || version(&frontend) == "version 2", || version(&frontend));
    kubectl(&["set", "image", DEPLOYMENT, "frontend=orchestra/guestbook:v2"]);
    let told = kubectl(&["rollout", "status", DEPLOYMENT, "--timeout=60s"]);
    assert!(told.ends_with("deployment \"frontend\" successfully rolled out\n"), "{told}");
    let history = kubectl(&["rollout", "history", DEPLOYMENT]);
    let revisions: Vec<_> =
        history.lines().filter_map(|line| line.split_whitespace().next()?.parse::<u32>().ok()).collect();
    assert_eq!(revisions, [1, 2, 3], "{history}");
    kubectl(&["rollout", "undo", DEPLOYMENT, "--to-revision=1"]);
    kubectl(&["rollout", "status", DEPLOYMENT, "--timeout=60s"]);
    until("the first version answers again", || version(&frontend) == "version 1", || version(&frontend));

    stop.store(true, Ordering::Relaxed);
    client.join().unwrap();
    assert_eq!(
        *failed.lock().unwrap(),
        Vec::<String>::new(),
        "of {} requests",
        asked.load(Ordering::Relaxed)
    );
    assert!(asked.load(Ordering::Relaxed) > 20);
    let sets = kubectl(&["get", "replicasets", "-l", "app=frontend", "-o", "name"]);
    assert_eq!(sets.lines().count(), 3, "an undone template reuses its replica set: {sets}");
}

#[test]
fn a_paused_deployment_keeps_its_pods_until_it_is_resumed() {
    let cluster = Cluster::with_guestbook();
    let kubectl = |arguments: &[&str]| cluster.kubectl(&[&["-n", "guestbook"], arguments].concat());
    let sets = || kubectl(&["get", "replicasets", "-l", "app=frontend", "-o", "name"]).lines().count();
    kubectl(&["rollout", "pause", DEPLOYMENT]);
    kubectl(&["set", "image", DEPLOYMENT, "frontend=orchestra/guestbook:v2"]);
    cluster.eventually(
        &[
            "get",
            DEPLOYMENT,
            "-n",
            "guestbook",
            "-o",
            "jsonpath={.metadata.generation} {.status.observedGeneration}",
        ],
        |seen| seen.split_once(' ').is_some_and(|(wanted, seen)| wanted == seen),
    );
    assert_eq!(sets(), 1, "nothing rolls while paused");
    kubectl(&["rollout", "resume", DEPLOYMENT]);
    kubectl(&["rollout", "status", DEPLOYMENT, "--timeout=60s"]);
    assert_eq!(sets(), 2);
    let images = kubectl(&[
        "get",
        "pods",
        "-l",
        "app=frontend",
        "-o",
        "jsonpath={.items[*].spec.containers[0].image}",
    ]);
    assert!(images.contains("v2"), "{images}");
}

#[test]
fn scaling_is_followed_by_pods_and_service() {
    let cluster = Cluster::with_guestbook();
    cluster.kubectl(&["scale", DEPLOYMENT, "-n", "guestbook", "--replicas=4"]);
    let slices = [
        "get",
        "endpointslices",
        "-n",
        "guestbook",
        "-l",
        "kubernetes.io/service-name=frontend",
        "-o",
        "jsonpath={.items[*].endpoints[?(@.conditions.ready==true)].addresses[0]}",
    ];
    cluster.eventually(&slices, |addresses| addresses.split_whitespace().count() == 4);
    cluster.kubectl(&["scale", DEPLOYMENT, "-n", "guestbook", "--replicas=1"]);
    cluster.eventually(&slices, |addresses| addresses.split_whitespace().count() == 1);
}

#[test]
fn stateful_sets_and_daemon_sets_roll_and_come_back() {
    let cluster = Cluster::with_guestbook();
    let kubectl = |arguments: &[&str]| cluster.kubectl(&[&["-n", "guestbook"], arguments].concat());
    for (set, container, pods) in
        [("statefulset/store", "store", "app=store"), ("daemonset/monitor", "monitor", "app=monitor")]
    {
        let image = format!("{container}=orchestra/guestbook:v2");
        let images =
            || kubectl(&["get", "pods", "-l", pods, "-o", "jsonpath={.items[*].spec.containers[0].image}"]);
        kubectl(&["set", "image", set, &image]);
        kubectl(&["rollout", "status", set, "--timeout=60s"]);
        assert_eq!(images(), "orchestra/guestbook:v2", "{set}");
        let history = kubectl(&["rollout", "history", set]);
        let revisions: Vec<_> =
            history.lines().filter_map(|line| line.split_whitespace().next()?.parse::<u32>().ok()).collect();
        assert_eq!(revisions, [1, 2], "{set}: {history}");
        kubectl(&["rollout", "undo", set]);
        kubectl(&["rollout", "status", set, "--timeout=60s"]);
        assert_eq!(images(), "orchestra/guestbook:v1", "{set}");
    }
    kubectl(&["rollout", "restart", "statefulset/store"]);
    kubectl(&["rollout", "status", "statefulset/store", "--timeout=60s"]);
    let frontend = cluster.service("guestbook/frontend");
    until(
        "the front end reads from the new store",
        || get(&frontend, &frontend, "/").is_ok_and(|(status, _)| status == 200),
        || (),
    );
}
