//! Clients side by side, each sending its next request when the last is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Incoming;

use crate::process::Server;
use crate::wire::{Connection, Wire};

/// What is kept of a list: more than stands before its items.
const HEAD_BYTES: usize = 1024;

/// How the load is made.
pub(crate) struct Load<'a> {
    pub(crate) wire: &'a Wire,
    pub(crate) server: &'a Server,
    pub(crate) connections: usize,
}

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) took: Duration,
    pub(crate) latencies: Vec<Duration>,
    /// The server's CPU time, where it is a process of its own.
    pub(crate) cpu: Option<Duration>,
    /// Bytes of all answers.
    pub(crate) bytes: usize,
}

/// A request: how, where, with what.
type Call = (Method, String, Vec<u8>);

impl Load<'_> {
    /// Makes `count` requests, the n-th of which `request` makes, on all connections together.
    pub(crate) async fn run(&self, count: usize, request: impl Fn(usize) -> Call) -> Outcome {
        let connections = join_all((0..self.connections).map(|_| self.wire.connect())).await;
        // Made before the clock starts: what it costs to write a request is not the server's.
        let calls: Arc<Vec<Call>> = Arc::new((0..count).map(request).collect());
        let next = Arc::new(AtomicUsize::new(0));
        let (cpu, begin) = (self.server.cpu(), Instant::now());
        let clients = connections
            .into_iter()
            .map(|connection| tokio::spawn(client(connection, calls.clone(), next.clone())));
        let mut outcome =
            Outcome { took: Duration::ZERO, latencies: Vec::with_capacity(count), cpu: None, bytes: 0 };
        for ended in join_all(clients).await {
            let (latencies, bytes) = ended.expect("a client that did not fail");
            outcome.latencies.extend(latencies);
            outcome.bytes += bytes;
        }
        outcome.took = begin.elapsed();
        outcome.cpu = Some(self.server.cpu() - cpu);
        outcome
    }

    /// Lists `path` from its first page to its last, `count` times over; a latency is that of a whole list.
    pub(crate) async fn paged(&self, count: usize, path: &str, limit: usize) -> Outcome {
        let mut connection = self.wire.connect().await;
        let (cpu, begin) = (self.server.cpu(), Instant::now());
        let (mut latencies, mut bytes) = (Vec::new(), 0);
        for _ in 0..count {
            let begin = Instant::now();
            let mut token = String::new();
            loop {
                let page = format!("{path}?limit={limit}&continue={token}");
                let answer = connection.send(Method::GET, &page, Vec::new()).await.into_body();
                let (head, length) = take(answer).await;
                bytes += length;
                match next_page(&head) {
                    Some(next) => token = next,
                    None => break,
                }
            }
            latencies.push(begin.elapsed());
        }
        Outcome { took: begin.elapsed(), latencies, cpu: Some(self.server.cpu() - cpu), bytes }
    }
}

async fn client(
    mut connection: Connection,
    calls: Arc<Vec<Call>>,
    next: Arc<AtomicUsize>,
) -> (Vec<Duration>, usize) {
    let (mut latencies, mut bytes) = (Vec::new(), 0);
    while let Some((method, path, body)) = calls.get(next.fetch_add(1, Ordering::Relaxed)) {
        let begin = Instant::now();
        let answer = connection.send(method.clone(), path, body.clone()).await.into_body();
        bytes += take(answer).await.1;
        latencies.push(begin.elapsed());
    }
    (latencies, bytes)
}

/// How an answer begins, and how long it is. The rest is not kept: what the load does with it is not the server's.
async fn take(mut body: Incoming) -> (Vec<u8>, usize) {
    let (mut head, mut length) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.expect("a whole answer");
        let Some(data) = frame.data_ref() else { continue };
        length += data.len();
        head.extend_from_slice(&data[..data.len().min(HEAD_BYTES.saturating_sub(head.len()))]);
    }
    (head, length)
}

/// The continue token of a list, whose metadata stands before its items.
fn next_page(head: &[u8]) -> Option<String> {
    let mark = br#""continue":""#;
    let from = head.windows(mark.len()).position(|window| window == mark)? + mark.len();
    let length = head[from..].iter().position(|byte| *byte == b'"')?;
    Some(String::from_utf8(head[from..from + length].to_vec()).expect("text"))
}
