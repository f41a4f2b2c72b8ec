//! The scheduler ends after any of its writes, before it hears of it, and another one goes on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::resource::v1::ResourceClaim;
use kube::client::Body;
use kube::{Api, Client};
use orchestra_scheduler::Scheduler;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::cluster::node_of;
use crate::devices::{asking_for_one, made_of, using, with_one_device};

/// How often each pod was bound.
pub(crate) type Bound = Arc<Mutex<BTreeMap<String, usize>>>;

/// A client that dies with its `last` write: that is carried out, and nothing comes back any more.
pub(crate) fn dying(inner: Client, bound: Bound, last: usize, death: CancellationToken) -> Client {
    let writes = Arc::new(Mutex::new(0));
    let service = tower::service_fn(move |request: Request<Body>| {
        let (inner, bound, death, writes) = (inner.clone(), bound.clone(), death.clone(), writes.clone());
        async move {
            if death.is_cancelled() {
                return std::future::pending().await;
            }
            let (is_read, path) = (request.method() == Method::GET, request.uri().path().to_owned());
            let number = {
                let mut writes = writes.lock().unwrap();
                *writes += usize::from(!is_read);
                *writes
            };
            if !is_read && number > last {
                return std::future::pending().await;
            }
            let answer: Result<Response<Body>, kube::Error> = inner.send(request).await;
            if let Some(pod) = path.strip_suffix("/binding")
                && answer.as_ref().is_ok_and(|answer| answer.status().is_success())
            {
                let name = pod.rsplit('/').next().unwrap().to_owned();
                *bound.lock().unwrap().entry(name).or_default() += 1;
            }
            if !is_read && number == last {
                death.cancel();
                return std::future::pending().await;
            }
            answer
        }
    });
    Client::new(service, "default")
}

#[tokio::test]
async fn killed_after_any_write_it_goes_on_and_binds_every_pod_once() {
    for last in 1..=14 {
        let (cluster, bound) = (with_one_device().await, Bound::default());
        for name in ["x", "y"] {
            cluster.pod(name, using("first")).await;
        }
        cluster.pod("z", json!({})).await;
        let all = async || {
            for name in ["x", "y", "z"] {
                cluster.until(name, |pod: &Pod| node_of(pod).is_some()).await;
            }
        };
        let death = CancellationToken::new();
        let first = dying(cluster.client(), bound.clone(), last, death.clone());
        tokio::select! {
            ended = Scheduler::default().run(first, death.clone()) => ended.unwrap(),
            () = all() => {}
        }
        let second = dying(cluster.client(), bound.clone(), usize::MAX, CancellationToken::new());
        tokio::select! {
            ended = Scheduler::default().run(second, CancellationToken::new()) => ended.unwrap(),
            () = all() => {}
        }
        let bound = bound.lock().unwrap();
        let each_once = ["x", "y", "z"].iter().all(|name| bound.get(*name) == Some(&1));
        assert!(each_once, "killed after write {last}: {bound:?}");
    }
}

#[tokio::test]
async fn killed_after_any_write_one_claim_is_left_of_extended_resources_and_the_pod_names_it() {
    for last in 1..=7 {
        let (cluster, bound) = (with_one_device().await, Bound::default());
        cluster.pod("x", asking_for_one()).await;
        let is_bound = async || cluster.until("x", |pod: &Pod| node_of(pod).is_some()).await;
        let death = CancellationToken::new();
        let first = dying(cluster.client(), bound.clone(), last, death.clone());
        tokio::select! {
            ended = Scheduler::default().run(first, death.clone()) => ended.unwrap(),
            _ = is_bound() => {}
        }
        let second = dying(cluster.client(), bound.clone(), usize::MAX, CancellationToken::new());
        let pod = tokio::select! {
            ended = Scheduler::default().run(second, CancellationToken::new()) => panic!("{ended:?}"),
            pod = is_bound() => pod,
        };
        let claims: Api<ResourceClaim> = Api::default_namespaced(cluster.client());
        let listed = claims.list(&Default::default()).await.unwrap();
        let made = listed.iter().filter(|claim| claim.metadata.annotations.is_some());
        let named: Vec<_> = made.map(|claim| claim.metadata.name.as_deref()).collect();
        let told = made_of(&pod).map(|made| made.resource_claim_name.as_str());
        assert_eq!(named, [told], "killed after write {last}");
        assert_eq!(bound.lock().unwrap().get("x"), Some(&1), "killed after write {last}");
    }
}
