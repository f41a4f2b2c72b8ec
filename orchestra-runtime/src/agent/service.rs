//! What the agent answers on the kubelet's paths, to the API server in the same process or behind a socket.
//!
//! It knows HTTP and the words of the kubelet; which container has which log file is told by a [`LogSource`].

use std::convert::Infallible;
use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::sync::watch;
use tower::{BoxError, Service};

use super::log_query::{self, LogQuery};
use super::streams::{PodStreams, Target};
use super::usage::Usage;
use crate::clock::Clock;
use crate::logs::{self, Follow};
use crate::metrics::NodeMetrics;

/// Which run of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instance {
    /// The one that runs, or ran last.
    Current,
    /// The one before, if it ended.
    Previous,
}

/// The container whose log is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogTarget {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The container's name, of whichever sort.
    pub container: String,
    /// Which of its runs.
    pub instance: Instance,
}

/// Where a log is.
#[derive(Clone, Debug)]
pub struct LogFile {
    /// A file in CRI's log format. It need not exist as long as nothing was written.
    pub path: PathBuf,
    /// True once the container ended and everything it wrote is in the file; a dropped sender means the same.
    pub ended: watch::Receiver<bool>,
}

/// Why there is no log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The pod is not on this node.
    NoPod,
    /// The pod has no such container.
    NoContainer,
    /// The pod's status says nothing of the container yet.
    NotAvailable,
    /// The container did not start yet, for this reason: `ContainerCreating`, `ErrImagePull`…
    Waiting(String),
    /// The container neither waits nor ran.
    NoLogsYet,
    /// The container ended and left no log.
    Terminated,
    /// There was no earlier run, or it is forgotten.
    NoPrevious,
    /// The log cannot be had.
    Failed(String),
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::NoPod | Self::NoContainer => StatusCode::NOT_FOUND,
            Self::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
            // The kubelet's answer to a log that is not there, for whatever reason.
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The kubelet's words.
    fn message(&self, LogTarget { pod, container, .. }: &LogTarget) -> String {
        let of = format!("container {container:?} in pod {pod:?}");
        match self {
            Self::NoPod => format!("pod {pod:?} does not exist"),
            Self::NoContainer => format!("container {container:?} not found in pod {pod:?}"),
            Self::NotAvailable => format!("{of} is not available"),
            Self::Waiting(reason) => match reason.as_str() {
                "ErrImagePull" => format!("{of} is waiting to start: image can't be pulled"),
                "ImagePullBackOff" => format!("{of} is waiting to start: trying and failing to pull image"),
                reason => format!("{of} is waiting to start: {reason}"),
            },
            Self::NoLogsYet => format!("{of} is waiting to start - no logs yet"),
            Self::Terminated => format!("{of} is terminated"),
            Self::NoPrevious => format!("previous terminated {of} not found"),
            Self::Failed(why) => why.clone(),
        }
    }
}

/// Knows which containers have logs, and where.
///
/// # Contract
/// 1. What is told is true now; nothing is kept for the next call.
/// 2. [`LogFile::ended`] becomes true only once everything the container wrote is in the file.
///
/// # Cancellation
/// Dropping the future changes nothing.
#[async_trait]
pub trait LogSource: Debug + Send + Sync + 'static {
    /// Finds a container's log.
    ///
    /// # Errors
    /// The reason that is told to who asked.
    async fn locate(&self, target: &LogTarget) -> Result<LogFile, Refusal>;
}

/// The agent as a server.
#[derive(Clone, Debug)]
pub struct AgentService {
    logs: Arc<dyn LogSource>,
    /// Absent where only logs are served.
    streams: Option<PodStreams>,
    /// Absent likewise.
    usage: Option<Arc<Usage>>,
    clock: Arc<dyn Clock>,
    metrics: NodeMetrics,
}

type Body = UnsyncBoxBody<Bytes, BoxError>;

impl AgentService {
    /// A service that finds logs through `logs`; `sinceSeconds` is counted from `clock`.
    pub fn new(logs: Arc<dyn LogSource>, clock: Arc<dyn Clock>) -> Self {
        Self { logs, streams: None, usage: None, clock, metrics: NodeMetrics::default() }
    }

    /// Shows `metrics` at `/metrics`.
    #[must_use]
    pub fn metrics(mut self, metrics: NodeMetrics) -> Self {
        self.metrics = metrics;
        self
    }

    /// The same with streams to containers.
    pub(super) fn with_streams(mut self, streams: PodStreams) -> Self {
        self.streams = Some(streams);
        self
    }

    /// The same with what the node and its containers use.
    pub(super) fn with_usage(mut self, usage: Arc<Usage>) -> Self {
        self.usage = Some(usage);
        self
    }

    async fn answer<B>(self, request: Request<B>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        let target = match parts.as_slice() {
            ["exec", namespace, pod, container] => Target::Exec { namespace, pod, container },
            ["attach", namespace, pod, container] => Target::Attach { namespace, pod, container },
            ["portForward", namespace, pod] => Target::Ports { namespace, pod },
            _ => return self.plain(request.method().clone(), request.uri().clone()).await,
        };
        if !matches!(*request.method(), Method::GET | Method::POST) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "405: Method Not Allowed");
        }
        let Some(streams) = &self.streams else {
            return text(StatusCode::NOT_FOUND, "404: Page Not Found");
        };
        match streams.open(target, request).await {
            Ok(agreed) => agreed.answer(Full::default().map_err(|never| match never {}).boxed_unsync()),
            Err(denied) => {
                let mut answer = text(denied.status, denied.text);
                answer.headers_mut().extend(*denied.headers);
                answer
            }
        }
    }

    async fn plain(self, method: Method, uri: Uri) -> Response<Body> {
        let parts: Vec<&str> = uri.path().split('/').skip(1).collect();
        let known = matches!(
            parts.as_slice(),
            ["healthz"]
                | ["metrics"]
                | ["metrics", "resource"]
                | ["stats", "summary"]
                | ["containerLogs", _, _, _]
        );
        if known && method != Method::GET {
            return text(StatusCode::METHOD_NOT_ALLOWED, "405: Method Not Allowed");
        }
        match parts.as_slice() {
            ["healthz"] => text(StatusCode::OK, "ok"),
            ["metrics"] => shown(self.metrics.text()),
            ["metrics", "resource"] => self.resource_metrics().await,
            ["stats", "summary"] => self.summary().await,
            ["containerLogs", namespace, pod, container] => {
                let query = match log_query::parse(uri.query().unwrap_or_default(), self.clock.now()) {
                    Ok(query) => query,
                    Err(bad) => return text(bad.status(), bad.message()),
                };
                // The names of Kubernetes have no characters that a path encodes.
                for (what, value) in
                    [("podNamespace", namespace), ("podID", pod), ("containerName", container)]
                {
                    if value.is_empty() {
                        return text(StatusCode::BAD_REQUEST, format!(r#"{{"message": "Missing {what}."}}"#));
                    }
                }
                let target = LogTarget {
                    namespace: (*namespace).to_owned(),
                    pod: (*pod).to_owned(),
                    container: (*container).to_owned(),
                    instance: query.instance,
                };
                self.log(&target, query).await
            }
            _ => text(StatusCode::NOT_FOUND, "404: Page Not Found"),
        }
    }

    async fn summary(&self) -> Response<Body> {
        let Some(usage) = &self.usage else {
            return text(StatusCode::NOT_FOUND, "404: Page Not Found");
        };
        let written = match usage.summary().await {
            Ok(summary) => serde_json::to_vec(&summary).map_err(|problem| problem.to_string()),
            Err(problem) => Err(problem.describe()),
        };
        match written {
            Ok(written) => typed(written, "application/json"),
            Err(problem) => text(StatusCode::INTERNAL_SERVER_ERROR, problem),
        }
    }

    async fn resource_metrics(&self) -> Response<Body> {
        let Some(usage) = &self.usage else {
            return text(StatusCode::NOT_FOUND, "404: Page Not Found");
        };
        match usage.exposition().await {
            Ok(written) => shown(written),
            Err(problem) => text(StatusCode::INTERNAL_SERVER_ERROR, problem.describe()),
        }
    }

    async fn log(&self, target: &LogTarget, query: LogQuery) -> Response<Body> {
        let refused = |refusal: &Refusal| text(refusal.status(), refusal.message(target));
        let file = match self.logs.locate(target).await {
            Ok(file) => file,
            Err(refusal) => return refused(&refusal),
        };
        let follow = if query.options.follow { Follow::UntilEnded(file.ended) } else { Follow::No };
        match logs::stream(file.path, &query.options, follow).await {
            Ok(pieces) => {
                let frames = pieces.map_ok(Frame::data).map_err(BoxError::from);
                plain(StatusCode::OK, StreamBody::new(frames).boxed_unsync())
            }
            Err(error) => refused(&Refusal::Failed(format!("failed to open log file: {error}"))),
        }
    }
}

impl<B: Send + 'static> Service<Request<B>> for AgentService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.clone().answer(request).map(Ok).boxed()
    }
}

fn shown(metrics: Result<String, std::fmt::Error>) -> Response<Body> {
    match metrics {
        Ok(metrics) => typed(metrics, orchestra_metrics::text::CLASSIC),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be shown"),
    }
}

fn typed(content: impl Into<Bytes>, media: &'static str) -> Response<Body> {
    let mut response = text(StatusCode::OK, content);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    plain(status, Full::new(text.into()).map_err(|never| match never {}).boxed_unsync())
}

fn plain(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests;
