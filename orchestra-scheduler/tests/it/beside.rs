//! Several schedulers on one cluster: of different names, of the same name, and candidates for one lead.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use orchestra_controllers::election::{Election, Timing};
use orchestra_scheduler::{Profile, Scheduler};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::cluster::{Cluster, node_of, pod_scheduled};
use crate::killed::{Bound, dying};

fn asking(cpu: &str, scheduler: &str) -> Value {
    json!({"schedulerName": scheduler, "containers": [
        {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}]})
}

#[tokio::test]
async fn schedulers_of_different_names_place_their_own_pods_and_count_those_of_the_others() {
    let cluster = Cluster::with_nodes(&["n"]).await;
    let named = |name| Scheduler::default().profiles(vec![Profile::default().named(name)]);
    let (ones, others) = (Bound::default(), Bound::default());
    let one = dying(cluster.client(), ones.clone(), usize::MAX, CancellationToken::new());
    let other = dying(cluster.client(), others.clone(), usize::MAX, CancellationToken::new());
    let test = async {
        cluster.pod("mine", asking("3", "one")).await;
        cluster.until("mine", |pod| node_of(pod) == Some("n")).await;
        // A CPU is left, which only who knows of the first pod can know.
        cluster.pod("large", asking("2", "other")).await;
        let large = cluster.until("large", |pod| pod_scheduled(pod).is_some()).await;
        let message = pod_scheduled(&large).unwrap().message.clone().unwrap();
        assert!(message.starts_with("0/1 nodes are available: 1 Insufficient cpu."), "{message}");
        cluster.pod("small", asking("1", "other")).await;
        cluster.until("small", |pod| node_of(pod) == Some("n")).await;
    };
    tokio::select! {
        ended = named("one").run(one, CancellationToken::new()) => ended.unwrap(),
        ended = named("other").run(other, CancellationToken::new()) => ended.unwrap(),
        () = test => {}
    }
    assert_eq!(Vec::from_iter(ones.lock().unwrap().clone()), [("mine".to_owned(), 1)]);
    assert_eq!(Vec::from_iter(others.lock().unwrap().clone()), [("small".to_owned(), 1)]);
}

/// What pods are there, and that each of them was bound by one binding.
async fn bound_once(cluster: &Cluster, bound: &Bound, names: &[String]) {
    for name in names {
        cluster.until(name, |pod: &Pod| node_of(pod).is_some()).await;
    }
    let bound = bound.lock().unwrap();
    assert!(names.iter().all(|name| bound.get(name) == Some(&1)), "{bound:?}");
}

#[tokio::test]
async fn two_schedulers_of_one_name_never_bind_a_pod_twice() {
    let (cluster, bound) = (Cluster::with_nodes(&["a", "b", "c"]).await, Bound::default());
    let names: Vec<String> = (0..40).map(|number| format!("p{number}")).collect();
    for name in &names {
        cluster.pod(name, json!({})).await;
    }
    let client = || dying(cluster.client(), bound.clone(), usize::MAX, CancellationToken::new());
    tokio::select! {
        ended = Scheduler::default().seed(1).run(client(), CancellationToken::new()) => ended.unwrap(),
        ended = Scheduler::default().seed(2).run(client(), CancellationToken::new()) => ended.unwrap(),
        () = bound_once(&cluster, &bound, &names) => {}
    }
}

#[tokio::test(start_paused = true)]
async fn when_the_leading_scheduler_is_killed_the_other_takes_over_and_binds_no_pod_again() {
    let (cluster, bound) = (Cluster::with_nodes(&["a", "b"]).await, Bound::default());
    let timing =
        Timing::new(Duration::from_secs(4), Duration::from_secs(3), Duration::from_millis(500)).unwrap();
    let candidate = |name: &str| Election::new("kube-scheduler", name).timing(timing);
    let names: Vec<String> = (0..12).map(|number| format!("p{number}")).collect();
    let death = CancellationToken::new();
    // The Lease, two writes for each of some pods, and then it is gone without a word, in the middle of a binding or an event.
    let first = dying(cluster.client(), bound.clone(), 14, death.clone());
    let second = dying(cluster.client(), bound.clone(), usize::MAX, CancellationToken::new());
    let scheduler = || Scheduler::default().parallel_bindings(2);
    let leads = candidate("first");
    let follows = candidate("second");
    let run = |client: kube::Client| move |shutdown| scheduler().run(client.clone(), shutdown);
    let first = async {
        tokio::select! {
            ended = leads.run(first.clone(), CancellationToken::new(), run(first.clone())) => ended.unwrap().unwrap(),
            () = death.cancelled() => {}
        }
        std::future::pending().await
    };
    let test = async {
        // So that the first is elected, and is at work, before the second stands.
        cluster.pod("before", json!({})).await;
        cluster.until("before", |pod| node_of(pod).is_some()).await;
        assert!(!death.is_cancelled());
        let rest = async {
            for name in &names {
                cluster.pod(name, json!({})).await;
            }
            death.cancelled().await;
            assert!(bound.lock().unwrap().len() < names.len(), "it was killed too late");
            bound_once(&cluster, &bound, &names).await;
        };
        tokio::select! {
            ended = follows.run(second.clone(), CancellationToken::new(), run(second.clone())) => ended.unwrap().unwrap(),
            () = rest => {}
        }
    };
    tokio::select! {
        () = first => {}
        () = test => {}
    }
}
