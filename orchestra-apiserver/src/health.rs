//! `/healthz`, `/livez`, `/readyz` and `/version`.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use orchestra_store::Store;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::body::{self, Body};
use crate::query::Query;
use crate::state::State;

/// The Kubernetes version that is served.
pub const VERSION: &str = "v1.36.2";

/// Whether a path may be seen without a known user.
pub(crate) fn is_public(path: &[String]) -> bool {
    matches!(path.first().map(String::as_str), Some("healthz" | "livez" | "readyz" | "version"))
}

/// The answer to `/version`.
pub(crate) fn version() -> Response<Body> {
    body::json(StatusCode::OK, version_info().to_string())
}

/// What is said of the version.
pub(crate) fn version_info() -> Value {
    json!({
        "major": "1", "minor": "36",
        "emulationMajor": "1", "emulationMinor": "36",
        "minCompatibilityMajor": "1", "minCompatibilityMinor": "35",
        "gitVersion": format!("{VERSION}+orchestra-{}", env!("CARGO_PKG_VERSION")),
        "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "", "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    })
}

/// The names of the check of the store: upstream's, and ours.
const STORE: [&str; 2] = ["etcd", "store"];

/// What a check said: that all is well, that nobody wants to know, or what is wrong.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Well,
    Excluded,
    Failed,
}

/// The answer to a health endpoint, or to one of its checks by name. `None` when there is no such check.
///
/// Whoever asks need not have a name, so what is wrong is told to the log only, as upstream does.
pub(crate) async fn health(state: &State, path: &[String], query: &Query) -> Option<Response<Body>> {
    let endpoint = path.first()?.as_str();
    let one = match path.get(1..)? {
        [] => None,
        [name] if STORE.contains(&name.as_str()) => Some(STORE[0]),
        [name] => Some(name.as_str()),
        _ => return None,
    };
    let asked_out = query.pairs().iter().filter(|(key, _)| key == "exclude");
    let mut excluded: BTreeSet<&str> = asked_out.map(|(_, value)| value.as_str()).collect();
    let mut checks = Vec::new();
    for name in ["ping", STORE[0], "shutdown"] {
        let is_store = name == STORE[0];
        if (name == "shutdown" && endpoint != "readyz") || one.is_some_and(|one| one != name) {
            continue;
        }
        if excluded.remove(name) | (is_store && excluded.remove(STORE[1])) {
            checks.push((name, Outcome::Excluded));
            continue;
        }
        checks.push((name, check(state, name).await));
    }
    checks.first()?;
    let failed = checks.iter().any(|(_, outcome)| *outcome == Outcome::Failed);
    if one.is_some() {
        return Some(if failed { failure("internal server error: reason withheld") } else { text("ok") });
    }
    let mut told = String::new();
    for (name, outcome) in &checks {
        told.push_str(&match outcome {
            Outcome::Well => format!("[+]{name} ok\n"),
            Outcome::Excluded => format!("[+]{name} excluded: ok\n"),
            Outcome::Failed => format!("[-]{name} failed: reason withheld\n"),
        });
    }
    if !excluded.is_empty() {
        let names: Vec<String> = excluded.iter().map(|name| format!("{name:?}")).collect();
        let names = names.join(",");
        told.push_str(&format!("warn: some health checks cannot be excluded: no matches for {names}\n"));
    }
    Some(match failed {
        true => failure(format!("{told}{endpoint} check failed")),
        false if query.flag("verbose") => text(format!("{told}{endpoint} check passed\n")),
        false => text("ok"),
    })
}

/// For how long an answer of the store is good for others who ask.
const STORE_ANSWER_LASTS: Duration = Duration::from_secs(1);

/// How the store was when it was last asked.
///
/// Strangers may ask for health as often as they like, and an etcd needs several requests to say how it is. So one of them
/// asks the store, and those who come meanwhile, or within a second, are told the same.
#[derive(Debug, Default)]
pub(crate) struct StoreHealth(Mutex<Option<(Instant, Option<String>)>>);

impl StoreHealth {
    /// What is wrong with the store, if anything is.
    pub(crate) async fn problem(&self, store: &dyn Store) -> Option<String> {
        // Held while the store is asked: who waits is told what it says. When whoever asks goes away, the next one asks.
        let mut last = self.0.lock().await;
        if let Some((asked, problem)) = &*last
            && asked.elapsed() < STORE_ANSWER_LASTS
        {
            return problem.clone();
        }
        let problem = store.status().await.err().map(|error| error.to_string());
        *last = Some((Instant::now(), problem.clone()));
        problem
    }
}

async fn check(state: &State, name: &str) -> Outcome {
    let problem = match name {
        "etcd" => state.store_health.problem(&*state.store).await,
        "shutdown" => (state.leaving.is_cancelled() || state.shutdown.is_cancelled())
            .then(|| "process is shutting down".to_owned()),
        _ => None,
    };
    match problem {
        None => Outcome::Well,
        Some(problem) => {
            tracing::warn!(check = name, %problem, "a health check failed");
            Outcome::Failed
        }
    }
}

fn text(text: impl Into<Bytes>) -> Response<Body> {
    body::typed(StatusCode::OK, "text/plain; charset=utf-8", text)
}

fn failure(text: impl Into<String>) -> Response<Body> {
    let text = text.into() + "\n";
    body::typed(StatusCode::INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8", text)
}
