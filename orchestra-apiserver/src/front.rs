//! What happens around every request, whatever it asks for: its id, its time, its place, and an answer even if a handler fails.

use std::panic::AssertUnwindSafe;
use std::sync::OnceLock;

use futures::FutureExt;
use http::request::Parts;
use http::{HeaderValue, Request, Response, header};
use http_body::Body as _;
use tokio::time::{Duration, Instant, timeout, timeout_at};

use crate::audit::Trail;
use crate::auth::User;
use crate::body::{self, Body};
use crate::flow::{self, Class};
use crate::metrics::Run;
use crate::negotiate::write::Wish;
use crate::query::Query;
use crate::request::RequestInfo;
use crate::serve::ledger::{Ledger, TakenBy};
use crate::server::{ApiServer, verb};
use crate::state::State;
use crate::status::StatusError;

const AUDIT_ID: &str = "audit-id";
/// For how long the first requests wait for the flow schemas to be read, where the store is slow: a header is not worth more.
const CLASSING: Duration = Duration::from_millis(100);

/// A request as it arrived.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) received: Instant,
    pub(crate) query: Query,
    pub(crate) info: RequestInfo,
    /// Whether it stays open as long as the client likes.
    pub(crate) is_long: bool,
    /// When it must be answered, or at least have been read and let in.
    deadline: Instant,
    audit_id: String,
    trail: OnceLock<Trail>,
    /// Whether it came over a connection. Who is within this process has no use for headers.
    is_visit: bool,
    class: OnceLock<Class>,
}

impl Arrival {
    fn read(
        state: &State,
        parts: &Parts,
        received: Instant,
        audit_id: &str,
        is_visit: bool,
    ) -> Result<Self, StatusError> {
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let info = RequestInfo::parse(&parts.method, parts.uri.path(), &query)
            .ok_or_else(|| StatusError::bad_request("the path of the request is not valid"))?;
        let is_long = flow::is_long_running(&info);
        // What a watch or a stream says of a timeout is not about being answered.
        let allotted =
            if is_long { state.limits.request_timeout } else { flow::allotted(&state.limits, &query)? };
        let (audit_id, trail) = (audit_id.to_owned(), OnceLock::new());
        let (deadline, class) = (received + allotted, OnceLock::new());
        Ok(Self { received, query, info, is_long, deadline, audit_id, trail, is_visit, class })
    }

    /// What is told of the request, if anything is.
    pub(crate) fn trail(&self) -> Option<&Trail> {
        self.trail.get()
    }

    /// It is known who asks, or that nobody knows.
    pub(crate) async fn identified(&self, state: &State, parts: &Parts, outcome: &Result<User, StatusError>) {
        let Some(trails) = &state.audit else { return };
        let user = outcome.as_ref().ok();
        let begun = trails.begin(parts, &self.info, &self.audit_id, user, self.is_long).await;
        let Some(trail) = begun else { return };
        match outcome {
            Ok(_) => {
                trail.received();
                // There is one beginning.
                let _first = self.trail.set(trail);
            }
            Err(_) => trail.unauthenticated(parts),
        }
    }

    /// It is known who asks, and may be told which flow schema that makes it of; streams are of none.
    pub(crate) async fn classed(&self, state: &State, parts: &Parts, user: &User) {
        let Some(classes) = state.classes.as_ref().filter(|_| self.is_visit) else { return };
        let verb = verb(parts, &self.info);
        if self.is_long && verb != "watch" {
            return;
        }
        let finding = classes.find(user, &verb, &self.info, parts.uri.path());
        if let Ok(Some(class)) = timeout(CLASSING, finding).await {
            // There is one user.
            let _first = self.class.set(class);
        }
    }

    /// What comes before the handler, or the refusal of who takes too long over it.
    pub(crate) async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, StatusError>>,
    ) -> Result<T, StatusError> {
        timeout_at(self.deadline, work).await.unwrap_or_else(|_| Err(flow::too_slow()))
    }

    /// What the handler does; a handler that is bound to a time and misses it is terminated.
    pub(crate) async fn handled<T>(
        &self,
        run: &Run,
        work: impl Future<Output = Result<T, StatusError>>,
    ) -> Result<T, StatusError> {
        if self.is_long {
            return work.await;
        }
        match timeout_at(self.deadline, work).await {
            Ok(done) => done,
            Err(_) => {
                let refusal = flow::too_slow();
                run.terminated(refusal.code());
                Err(refusal)
            }
        }
    }
}

impl ApiServer {
    /// Answers a request. Whatever goes wrong is a response, too.
    pub(crate) async fn answer(self, request: Request<Body>) -> Response<Body> {
        let (mut parts, body) = request.into_parts();
        let visit = parts.extensions.remove::<Ledger>().map(|ledger| ledger.enter());
        let received = Instant::now();
        let state = self.state.clone();
        let wish = Wish::read(&parts.headers, parts.uri.query());
        let id = id(&state, &parts);
        let audit_id = id.as_ref().and_then(|id| id.to_str().ok()).unwrap_or_default();
        let arrival = Arrival::read(&state, &parts, received, audit_id, visit.is_some());
        let (mut trail, mut class) = (None, None);
        let (is_long, is_plain) = arrival.as_ref().map_or((false, true), |arrival| {
            (arrival.is_long, matches!(arrival.info, RequestInfo::NonResource(_)))
        });
        let outcome = match arrival {
            Ok(arrival) => {
                let routed = AssertUnwindSafe(self.route(parts, body, &arrival)).catch_unwind().await;
                (trail, class) = (arrival.trail.into_inner(), arrival.class.into_inner());
                routed.unwrap_or_else(|_| {
                    if let Some(trail) = &trail {
                        trail.panicked();
                    }
                    Err(panicked())
                })
            }
            Err(refusal) => Err(refusal),
        };
        let mut response = wish.fulfil(answered(outcome));
        let headers = response.headers_mut();
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache, private"));
        if let Some(id) = id {
            headers.insert(AUDIT_ID, id);
        }
        if let Some(class) = class {
            class.tell(headers);
        }
        if let Some(trail) = trail {
            response = trail.answered(response).await;
        }
        let Some(visit) = visit else { return response };
        // A snapshot takes as long as it takes.
        let is_endless = is_long || (is_plain && response.body().size_hint().exact().is_none());
        if !is_endless {
            let taken_by = received + state.limits.request_timeout * 2;
            response.extensions_mut().insert(TakenBy(taken_by));
        }
        visit.follow(response)
    }
}

/// What went wrong is an answer, too.
pub(crate) fn answered(outcome: Result<Response<Body>, StatusError>) -> Response<Body> {
    outcome.unwrap_or_else(|error| body::refusal(&error))
}

/// The id of a request: what the client calls it, or a new one.
fn id(state: &State, parts: &Parts) -> Option<HeaderValue> {
    let given = parts.headers.get(AUDIT_ID).filter(|id| !id.is_empty());
    given.cloned().or_else(|| HeaderValue::from_str(&state.chance.uuid()).ok())
}

fn panicked() -> StatusError {
    tracing::error!("a request made its handler panic");
    StatusError::internal("This request caused apiserver to panic. Look in the logs for details.")
}
