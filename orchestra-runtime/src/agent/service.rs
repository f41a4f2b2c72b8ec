//! The kubelet's HTTP paths, answered in process: the API server asks here for logs.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context as Poller, Poll};

use bytes::Bytes;
use futures::StreamExt;
use http::{Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use jiff::{SignedDuration, Timestamp};
use tower::BoxError;

use super::context::Context;
use super::pods::Table;
use crate::logs::{self, LogOptions};
use crate::pod::spec::{member, meta};

type Body = UnsyncBoxBody<Bytes, BoxError>;

/// Answers `GET /containerLogs/{namespace}/{pod}/{container}` and `GET /healthz`, with any request body.
#[derive(Clone)]
pub struct AgentService {
    context: Arc<Context>,
    table: Table,
}

impl std::fmt::Debug for AgentService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentService").finish_non_exhaustive()
    }
}

impl AgentService {
    pub(super) fn new(context: Arc<Context>, table: Table) -> Self {
        Self { context, table }
    }

    fn answer(&self, method: &http::Method, uri: &http::Uri) -> Response<Body> {
        if method != http::Method::GET {
            return text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed");
        }
        let parts: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
        match parts[..] {
            ["healthz"] => text(StatusCode::OK, "ok"),
            ["containerLogs", namespace, pod, container] => {
                match Query::parse(uri.query().unwrap_or_default(), self.context.clock.now()) {
                    Ok(query) => match self.logs(namespace, pod, container, &query) {
                        Ok(body) => body_of(body),
                        Err((status, why)) => text(status, &why),
                    },
                    Err(why) => text(StatusCode::BAD_REQUEST, &why),
                }
            }
            _ => text(StatusCode::NOT_FOUND, "404 page not found"),
        }
    }

    fn logs(
        &self,
        namespace: &str,
        name: &str,
        container: &str,
        query: &Query,
    ) -> Result<Body, (StatusCode, String)> {
        let refuse = |status, why: String| Err((status, why));
        let Some(listed) = self.table.find(namespace, name) else {
            return refuse(StatusCode::NOT_FOUND, format!("pod {name:?} does not exist"));
        };
        if member(&listed.pod, container).is_none() {
            let why = format!("container {container:?} not found in pod {name:?}");
            return refuse(StatusCode::NOT_FOUND, why);
        }
        let shown = listed.shown.borrow().containers.get(container).cloned();
        let waiting =
            |reason: &str| format!("container {container:?} in pod {name:?} is waiting to start: {reason}");
        let Some(shown) = shown else {
            return refuse(StatusCode::BAD_REQUEST, waiting("ContainerCreating"));
        };
        let attempt = if query.previous {
            let not_found = format!("previous terminated container {container:?} in pod {name:?} not found");
            match shown.attempt.checked_sub(1) {
                Some(attempt) => attempt,
                None => return refuse(StatusCode::BAD_REQUEST, not_found),
            }
        } else {
            if let Some(reason) = &shown.waiting {
                return refuse(StatusCode::BAD_REQUEST, waiting(reason));
            }
            shown.attempt
        };
        let meta = meta(&listed.pod);
        let mut path = self.context.log_path(&meta, container, attempt);
        if !query.previous && !path.exists() && attempt > 0 {
            // It is being started again: the newest log there is is the last one's.
            path = self.context.log_path(&meta, container, attempt - 1);
        }
        if self.context.simulation {
            return Ok(Full::default().map_err(|never| match never {}).boxed_unsync());
        }
        let failed = |e: std::io::Error| {
            let status = match e.kind() {
                std::io::ErrorKind::NotFound => StatusCode::NOT_FOUND,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            };
            (status, format!("failed to open log file of container {container:?}: {e}"))
        };
        // A read is a stream as well: a big log never is in memory as a whole.
        let follow = query.follow && !query.previous && shown.live;
        let mut changes = listed.shown.clone();
        let name = container.to_owned();
        let ended = async move {
            if follow {
                let over = |s: &crate::pod::worker::Shown| {
                    s.containers.get(&name).is_none_or(|c| c.attempt != attempt || !c.live)
                };
                // The worker going away is an end too.
                let _ = changes.wait_for(over).await;
            }
        };
        let stream = logs::follow(&path, &query.options, ended).map_err(failed)?;
        let frames = stream.map(|read| read.map(http_body::Frame::data).map_err(BoxError::from));
        Ok(BodyExt::boxed_unsync(StreamBody::new(frames)))
    }
}

/// The query of a request for logs.
#[derive(Debug, Default, PartialEq, Eq)]
struct Query {
    follow: bool,
    previous: bool,
    options: LogOptions,
}

impl Query {
    fn parse(query: &str, now: Timestamp) -> Result<Self, String> {
        let mut parsed = Self::default();
        for pair in query.split('&').filter(|p| !p.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, "true"));
            let value = decode(value);
            let wrong = || format!("invalid {key}: {value:?}");
            let flag = || match value.as_str() {
                "true" | "1" | "" => Ok(true),
                "false" | "0" => Ok(false),
                _ => Err(wrong()),
            };
            let number = || value.parse::<usize>().map_err(|_| wrong());
            match key {
                "follow" => parsed.follow = flag()?,
                "previous" => parsed.previous = flag()?,
                "timestamps" => parsed.options.timestamps = flag()?,
                "tailLines" => parsed.options.tail_lines = Some(number()?),
                "limitBytes" => parsed.options.limit_bytes = Some(number()?),
                "sinceSeconds" => {
                    let seconds = i64::try_from(number()?).map_err(|_| wrong())?;
                    parsed.options.since = now.checked_sub(SignedDuration::from_secs(seconds)).ok();
                }
                "sinceTime" => parsed.options.since = Some(value.parse().map_err(|_| wrong())?),
                // Others are the API server's business.
                _ => {}
            }
        }
        Ok(parsed)
    }
}

/// Takes `%3A` and the like out of a query value.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let code = text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (byte, code) {
            (b'%', Some(code)) => {
                out.push(code);
                at += 3;
            }
            (b'+', _) => {
                out.push(b' ');
                at += 1;
            }
            _ => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn body_of(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let plain = header::HeaderValue::from_static("text/plain");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

fn text(status: StatusCode, message: &str) -> Response<Body> {
    let bytes = Bytes::copy_from_slice(message.as_bytes());
    let mut response = body_of(Full::new(bytes).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response
}

impl<B> tower::Service<Request<B>> for AgentService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Poller<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        std::future::ready(Ok(self.answer(request.method(), request.uri())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read_as_kubectl_writes_them() {
        let now = Timestamp::from_second(1000).unwrap();
        let query =
            Query::parse("follow=true&tailLines=3&timestamps=true&sinceTime=2026-01-01T00%3A00%3A00Z", now)
                .unwrap();
        assert!(query.follow && !query.previous && query.options.timestamps);
        assert_eq!(query.options.tail_lines, Some(3));
        assert_eq!(query.options.since, Some("2026-01-01T00:00:00Z".parse().unwrap()));
        let query = Query::parse("sinceSeconds=10&limitBytes=5", now).unwrap();
        assert_eq!(query.options.since, Some(Timestamp::from_second(990).unwrap()));
        assert!(Query::parse("tailLines=-1", now).is_err());
        assert!(Query::parse("follow=maybe", now).is_err());
    }
}
