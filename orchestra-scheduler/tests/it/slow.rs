//! A server that is slow to bind, and one that refuses at first: no more at once than allowed, and nothing is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use orchestra_scheduler::Scheduler;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::cluster::{Cluster, node_of};

/// How long the server takes to bind, by a clock that moves on when there is nothing else to do.
const SLOW: Duration = Duration::from_secs(1);

/// What bindings came to the server.
#[derive(Debug, Default)]
struct Seen {
    under_way: usize,
    most: usize,
    refused: BTreeSet<String>,
    bound: BTreeMap<String, usize>,
}

/// A server that takes its time over each binding, and `refuses` some at first.
fn slow(
    inner: Client,
    seen: Arc<Mutex<Seen>>,
    refuses: impl Fn(&str) -> bool + Clone + Send + 'static,
) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let (inner, seen, refuses) = (inner.clone(), seen.clone(), refuses.clone());
        async move {
            let path = request.uri().path().to_owned();
            let Some(name) = path.strip_suffix("/binding").and_then(|pod| pod.rsplit('/').next()) else {
                return inner.send(request).await;
            };
            let is_refused = {
                let mut seen = seen.lock().unwrap();
                seen.under_way += 1;
                seen.most = seen.most.max(seen.under_way);
                refuses(name) && seen.refused.insert(name.to_owned())
            };
            tokio::time::sleep(SLOW).await;
            let answer = match is_refused {
                true => {
                    let refusal = Response::builder().status(StatusCode::SERVICE_UNAVAILABLE);
                    Ok(refusal.body(Body::empty()).unwrap())
                }
                false => inner.send(request).await,
            };
            let mut seen = seen.lock().unwrap();
            seen.under_way -= 1;
            if answer.as_ref().is_ok_and(|answer| answer.status().is_success()) {
                *seen.bound.entry(name.to_owned()).or_default() += 1;
            }
            answer
        }
    });
    Client::new(service, "default")
}

async fn binds_all_once(refuses: impl Fn(&str) -> bool + Clone + Send + 'static) -> Seen {
    let (cluster, seen) = (Cluster::with_nodes(&["a", "b"]).await, Arc::default());
    let names: Vec<String> = (0..22).map(|number| format!("p{number}")).collect();
    for name in &names {
        cluster.pod(name, json!({})).await;
    }
    let client = slow(cluster.client(), Arc::clone(&seen), refuses);
    let scheduler = Scheduler::default().parallel_bindings(4);
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(scheduler.run(client, shutdown.clone()));
    for name in &names {
        cluster.until(name, |pod| node_of(pod).is_some()).await;
    }
    shutdown.cancel();
    running.await.unwrap().unwrap();
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    assert_eq!(seen.bound.len(), names.len());
    assert!(seen.bound.values().all(|times| *times == 1), "{:?}", seen.bound);
    seen
}

#[tokio::test(start_paused = true)]
async fn a_server_slow_to_bind_gets_as_many_bindings_at_once_as_allowed_and_no_more() {
    let seen = binds_all_once(|_| false).await;
    assert_eq!(seen.most, 4);
}

#[tokio::test(start_paused = true)]
async fn bindings_that_a_server_is_too_busy_for_are_tried_again_and_none_is_lost() {
    let seen = binds_all_once(|name| name.ends_with(['0', '3', '7'])).await;
    assert_eq!((seen.most, seen.refused.len()), (4, 7));
}
