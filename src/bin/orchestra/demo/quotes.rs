//! The part that hands out a line of its configuration, in turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ::http::{Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::Full;

use super::http::{serve, text};
use super::{Problem, variable};

pub(super) async fn run() -> Result<(), Problem> {
    let path = variable("QUOTES_FILE")?;
    let turn = Arc::new(AtomicUsize::new(0));
    serve(move |request| {
        let answer = answer(&request, &path, turn.fetch_add(1, Ordering::Relaxed));
        async move { answer }
    })
    .await
}

fn answer(request: &Request<Bytes>, path: &str, turn: usize) -> Response<Full<Bytes>> {
    if request.uri().path() == "/healthz" {
        return text(StatusCode::OK, "text/plain", "ok\n");
    }
    // Read anew each time: a changed ConfigMap shows without a restart.
    match std::fs::read_to_string(path) {
        Ok(quotes) => {
            let lines: Vec<&str> = quotes.lines().filter(|line| !line.trim().is_empty()).collect();
            let line = if lines.is_empty() { "" } else { lines[turn % lines.len()] };
            text(StatusCode::OK, "text/plain; charset=utf-8", line.to_owned())
        }
        Err(problem) => text(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("{path}: {problem}\n")),
    }
}
