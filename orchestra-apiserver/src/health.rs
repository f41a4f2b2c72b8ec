//! `/healthz`, `/livez`, `/readyz` and `/version`.

use http::{Response, StatusCode};
use serde_json::json;

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
    body::tree(
        StatusCode::OK,
        &json!({
            "major": "1", "minor": "36",
            "emulationMajor": "1", "emulationMinor": "36",
            "minCompatibilityMajor": "1", "minCompatibilityMinor": "35",
            "gitVersion": format!("{VERSION}+orchestra-{}", env!("CARGO_PKG_VERSION")),
            "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
            "goVersion": "", "compiler": "rustc",
            "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
        }),
    )
}

/// The answer to a health endpoint, or to one of its checks by name. `None` when there is no such check.
pub(crate) async fn health(state: &State, path: &[String], query: &Query) -> Option<Response<Body>> {
    let endpoint = path.first()?.as_str();
    let excluded = |name: &str| query.pairs().iter().any(|(key, value)| key == "exclude" && value == name);
    let mut checks = vec![("ping", Ok(()))];
    if !excluded("store") {
        checks.push(("store", state.store.status().await.map(|_| ()).map_err(|error| error.to_string())));
    }
    if endpoint == "readyz" {
        let stopping = state.shutdown.is_cancelled();
        checks.push(("shutdown", if stopping { Err("process is shutting down".to_owned()) } else { Ok(()) }));
    }
    if let Some(name) = path.get(1) {
        checks.retain(|(check, _)| check == name);
        checks.first()?;
    }
    let failed = checks.iter().any(|(_, result)| result.is_err());
    let code = if failed { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
    if !failed && !query.flag("verbose") {
        return Some(body::typed(code, "text/plain; charset=utf-8", "ok"));
    }
    let mut text = String::new();
    for (name, result) in &checks {
        match result {
            Ok(()) => text.push_str(&format!("[+]{name} ok\n")),
            Err(why) => text.push_str(&format!("[-]{name} failed: {why}\n")),
        }
    }
    text.push_str(&format!("{endpoint} check {}\n", if failed { "failed" } else { "passed" }));
    Some(body::typed(code, "text/plain; charset=utf-8", text))
}
