//! Many watchers of one resource, and how soon each sees a change.

use std::time::{Duration, Instant};

use futures::future::join_all;
use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Incoming;
use serde_json::Value;

use crate::lines::Lines;
use crate::load::Outcome;
use crate::objects;
use crate::process::Server;
use crate::wire::Wire;

/// Who writes while they watch.
const WRITERS: usize = 8;
/// Makes the n-th object.
pub(crate) type Make = fn(usize) -> Vec<u8>;

/// What events are of: how it is called, its resource, and what makes the n-th object.
pub(crate) const KINDS: [(&str, &str, Make); 2] =
    [("ConfigMaps", "configmaps", objects::config_map), ("Pods", "pods", objects::pod)];
/// Where the watched objects are created; prepared by who calls.
pub(crate) const NAMESPACE: &str = "watched";

/// `count` objects are created while `watchers` connections watch; an event's latency counts from before its object was
/// sent until the watcher has read its line. Fails when a watcher is cut off.
pub(crate) async fn run(
    wire: &Wire,
    server: &Server,
    resource: &str,
    object: Make,
    watchers: usize,
    count: usize,
) -> Outcome {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/{resource}");
    let watch = format!("{path}?watch=true&resourceVersion=0");
    let streams = join_all((0..watchers).map(async |_| Lines::ask(wire.open().await, &watch).await)).await;

    let (cpu, begin) = (server.cpu(), Instant::now());
    let readers: Vec<_> =
        streams.into_iter().map(|stream| tokio::spawn(seen(stream, begin, count))).collect();
    let writers = (0..WRITERS).map(|writer| {
        let path = path.clone();
        let mine = (writer..count).step_by(WRITERS);
        async move {
            let mut connection = wire.connect().await;
            let mut sent = Vec::new();
            for at in mine {
                sent.push((at, begin.elapsed()));
                drain(connection.send(Method::POST, &path, object(at)).await.into_body()).await;
            }
            sent
        }
    });
    let mut sent = vec![Duration::ZERO; count];
    for (at, when) in join_all(writers).await.into_iter().flatten() {
        sent[at] = when;
    }
    let mut outcome = Outcome { took: Duration::ZERO, latencies: Vec::new(), cpu: None, bytes: 0 };
    // Lines arrive in the order of writing, which eight writers do not agree on beforehand: the n-th line is held against
    // the n-th request in the order of sending, which differs by at most the writers.
    sent.sort_unstable();
    for reader in readers {
        let seen = reader.await.expect("a watcher that was not cut off");
        outcome.latencies.extend(seen.iter().zip(&sent).map(|(seen, sent)| seen.saturating_sub(*sent)));
        outcome.took = outcome.took.max(*seen.last().expect("events"));
    }
    outcome.cpu = Some(server.cpu() - cpu);
    outcome
}

/// `watchers` connections ask at once for the `count` events behind revision `behind`, which are there already. An event's
/// latency counts from before the watches were asked for.
pub(crate) async fn catch_up(
    wire: &Wire,
    server: &Server,
    resource: &str,
    behind: &str,
    watchers: usize,
    count: usize,
) -> Outcome {
    let watch = format!("/api/v1/namespaces/{NAMESPACE}/{resource}?watch=true&resourceVersion={behind}");
    let connections = join_all((0..watchers).map(|_| wire.open())).await;
    let (cpu, begin) = (server.cpu(), Instant::now());
    let readers = connections.into_iter().map(|connection| {
        let watch = watch.clone();
        tokio::spawn(async move { seen(Lines::ask(connection, &watch).await, begin, count).await })
    });
    let mut latencies = Vec::with_capacity(watchers * count);
    for seen in join_all(readers).await {
        latencies.extend(seen.expect("a watcher that was not cut off"));
    }
    let took = latencies.iter().max().copied().unwrap_or_default();
    Outcome { took, latencies, cpu: Some(server.cpu() - cpu), bytes: 0 }
}

/// The revision of a resource as it is now.
pub(crate) async fn revision(wire: &Wire, resource: &str) -> String {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/{resource}?limit=1");
    let body = wire.connect().await.send(Method::GET, &path, Vec::new()).await.into_body();
    let list: Value =
        serde_json::from_slice(&body.collect().await.expect("a list").to_bytes()).expect("JSON");
    list["metadata"]["resourceVersion"].as_str().expect("a revision").to_owned()
}

/// When each of the first `count` lines was there.
async fn seen(mut stream: Lines, begin: Instant, count: usize) -> Vec<Duration> {
    let mut seen = Vec::with_capacity(count);
    while seen.len() < count {
        let more = stream.more().await;
        seen.extend(std::iter::repeat_n(begin.elapsed(), more));
    }
    seen
}

async fn drain(mut body: Incoming) {
    while let Some(frame) = body.frame().await {
        frame.expect("a whole answer");
    }
}
