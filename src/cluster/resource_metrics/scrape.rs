//! Asking the agents of nodes what they use.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{FutureExt, StreamExt, stream};
use http::Request;
use http_body_util::{BodyExt, Full};
use orchestra_apiserver::{Body, NodeTransport};
use orchestra_runtime::agent::Summary;
use tokio::time::{Instant, timeout};
use tower::BoxError;

/// How long an answer is good. Agents take a reading every ten seconds.
const FRESH: Duration = Duration::from_secs(2);
/// How long an answer is kept at most: nodes come and go.
const KEPT: Duration = Duration::from_secs(60);
/// How long an agent may take, and how much it may say.
const PATIENCE: Duration = Duration::from_secs(5);
const MOST_BYTES: usize = 16 << 20;
/// Agents that are asked at a time.
const AT_ONCE: usize = 64;

/// What agents said last.
#[derive(Debug)]
pub(super) struct Scraper {
    agents: Arc<dyn NodeTransport>,
    fresh: Duration,
    patience: Duration,
    known: Mutex<HashMap<String, (Instant, Arc<Summary>)>>,
}

impl Scraper {
    pub(super) fn new(agents: Arc<dyn NodeTransport>) -> Self {
        Self { agents, fresh: FRESH, patience: PATIENCE, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, (Instant, Arc<Summary>)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What these nodes and their pods use; those that do not answer are left out.
    pub(super) async fn summaries(&self, nodes: impl Iterator<Item = &str>) -> HashMap<String, Arc<Summary>> {
        let wanted: BTreeSet<&str> = nodes.collect();
        let now = Instant::now();
        let mut found: HashMap<String, Arc<Summary>> = {
            let known = self.known();
            let fresh = wanted.iter().filter_map(|node| {
                let (_, summary) = known.get(*node).filter(|(at, _)| now - *at < self.fresh)?;
                Some(((*node).to_owned(), summary.clone()))
            });
            fresh.collect()
        };
        let stale: Vec<String> =
            wanted.into_iter().filter(|node| !found.contains_key(*node)).map(str::to_owned).collect();
        if stale.is_empty() {
            return found;
        }
        let asking = stream::iter(stale).map(|node| tell(self.agents.clone(), node, self.patience).boxed());
        let answers: Vec<_> = asking.buffer_unordered(AT_ONCE).collect().await;
        let now = Instant::now();
        let mut known = self.known();
        known.retain(|_, (at, _)| now - *at < KEPT);
        for (node, answer) in answers {
            match answer {
                Ok(summary) => {
                    let summary = Arc::new(summary);
                    known.insert(node.clone(), (now, summary.clone()));
                    found.insert(node, summary);
                }
                Err(problem) => tracing::debug!(node, %problem, "a node does not tell what it uses"),
            }
        }
        found
    }
}

/// A node, and what its agent says in time.
async fn tell(
    agents: Arc<dyn NodeTransport>,
    node: String,
    patience: Duration,
) -> (String, Result<Summary, String>) {
    let answer = match timeout(patience, ask(&*agents, &node)).await {
        Ok(answer) => answer.map_err(|problem| problem.to_string()),
        Err(_) => Err("it does not answer".to_owned()),
    };
    (node, answer)
}

async fn ask(agents: &dyn NodeTransport, node: &str) -> Result<Summary, BoxError> {
    let nothing = Full::default().map_err(|never| match never {}).boxed_unsync();
    let request = Request::get("/stats/summary").body(nothing)?;
    let answer = agents.send(node, request).await?;
    let code = answer.status();
    let text = read(answer.into_body()).await?;
    if !code.is_success() {
        return Err(format!("{code}: {}", String::from_utf8_lossy(&text)).into());
    }
    Ok(serde_json::from_slice(&text)?)
}

async fn read(mut body: Body) -> Result<Vec<u8>, BoxError> {
    let mut text = Vec::new();
    while let Some(frame) = body.frame().await {
        text.extend_from_slice(&frame?.into_data().unwrap_or_default());
        if text.len() > MOST_BYTES {
            return Err(format!("it says more than {MOST_BYTES} bytes").into());
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use http::Response;
    use serde_json::json;

    use super::*;

    /// Answers for nodes that are named after what they do.
    #[derive(Debug, Default)]
    struct Agents {
        asked: AtomicUsize,
    }

    #[async_trait]
    impl NodeTransport for Agents {
        async fn send(&self, node: &str, _: Request<Body>) -> Result<Response<Body>, BoxError> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let text = match node {
                "gone" => return Err("no such node".into()),
                "silent" => std::future::pending().await,
                "mad" => "{}".to_owned(),
                _ => json!({"node": {"nodeName": node, "startTime": "2026-01-01T00:00:00Z"}}).to_string(),
            };
            Ok(Response::new(Full::from(text).map_err(|never| match never {}).boxed_unsync()))
        }
    }

    #[tokio::test]
    async fn nodes_that_say_nothing_are_left_out_and_the_others_are_asked_once_in_a_while() {
        let agents = Arc::new(Agents::default());
        let mut scraper = Scraper::new(agents.clone());
        (scraper.fresh, scraper.patience) = (Duration::MAX, Duration::from_millis(1));
        let all = ["good", "gone", "silent", "mad", "good"];
        let found = scraper.summaries(all.into_iter()).await;
        assert_eq!(found.keys().collect::<Vec<_>>(), ["good"]);
        assert_eq!(agents.asked.load(Ordering::Relaxed), 4);
        assert_eq!(scraper.summaries(["good"].into_iter()).await.len(), 1);
        assert_eq!(agents.asked.load(Ordering::Relaxed), 4);
        scraper.fresh = Duration::ZERO;
        scraper.summaries(["good"].into_iter()).await;
        assert_eq!(agents.asked.load(Ordering::Relaxed), 5);
    }
}
