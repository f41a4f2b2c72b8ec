//! How many requests are worked on at once, and by when each has to be answered.
//!
//! After upstream's `maxinflight.go` and `request_deadline.go`: reads and writes have a bound each, watches and streams are
//! not counted, and `system:masters` always come through. As with upstream's priority and fairness, who finds all places taken
//! waits in turn, unless too many do, for a quarter of the time that a request may take. Which level of priority a request
//! has is told ([`Classes`]); bounds for each would go here. Events let other writes go first ([`Turns`]).

mod class;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::auth::{MASTERS, User};
use crate::duration;
use crate::limits::Limits;
use crate::query::Query;
use crate::request::{RequestInfo, Verb};
use crate::status::StatusError;

use self::turns::{Turn, Turns};

pub(crate) use class::{Class, Classes};

/// The bounds on requests at once.
#[derive(Debug)]
pub(crate) struct Flow {
    reads: Option<Bound>,
    writes: Option<Bound>,
    turns: Arc<Turns>,
    /// Room for events that wait for their turn.
    stepped_back: Semaphore,
    /// How long a request waits for a place.
    patience: Duration,
}

#[derive(Debug)]
struct Bound {
    /// In the order of their coming.
    places: Arc<Semaphore>,
    /// Room for those who wait.
    queue: Semaphore,
}

/// A request's place among those that are worked on, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: Option<OwnedSemaphorePermit>,
    _turn: Option<Turn>,
}

impl Flow {
    pub(crate) fn new(limits: &Limits) -> Self {
        let many = |most: usize| Semaphore::new(most.min(Semaphore::MAX_PERMITS));
        let bound = |most: usize| {
            (most > 0).then(|| Bound { places: Arc::new(many(most)), queue: many(limits.waiting) })
        };
        Self {
            reads: bound(limits.reads),
            writes: bound(limits.writes),
            turns: Arc::default(),
            stepped_back: many(limits.waiting),
            patience: limits.request_timeout / 4,
        }
    }

    /// A place, as soon as there is one.
    pub(crate) async fn enter(
        &self,
        info: &RequestInfo,
        method: &http::Method,
        user: &User,
    ) -> Result<Place, StatusError> {
        let reads = match info {
            RequestInfo::Resource(request) => matches!(request.verb, Verb::Get | Verb::List | Verb::Watch),
            RequestInfo::NonResource(_) => matches!(*method, http::Method::GET | http::Method::HEAD),
        };
        if reads {
            return Ok(Place { _permit: self.permit(self.reads.as_ref(), user).await?, _turn: None });
        }
        let turn = if tells_an_event(info) { self.step_back(user).await? } else { self.turns.other() };
        Ok(Place { _permit: self.permit(self.writes.as_ref(), user).await?, _turn: Some(turn) })
    }

    async fn permit(
        &self,
        bound: Option<&Bound>,
        user: &User,
    ) -> Result<Option<OwnedSemaphorePermit>, StatusError> {
        let Some(bound) = bound else { return Ok(None) };
        // Those who wait come first: while there are any, no place is free.
        if let Ok(permit) = Arc::clone(&bound.places).try_acquire_owned() {
            return Ok(Some(permit));
        }
        if user.is_in(MASTERS) {
            return Ok(None);
        }
        if let Ok(_waits) = bound.queue.try_acquire()
            && let Ok(Ok(permit)) = timeout(self.patience, Arc::clone(&bound.places).acquire_owned()).await
        {
            return Ok(Some(permit));
        }
        Err(too_many())
    }

    /// The turn of an event. Masters wait for it, too, but are not sent away.
    async fn step_back(&self, user: &User) -> Result<Turn, StatusError> {
        if let Some(turn) = self.turns.try_event() {
            return Ok(turn);
        }
        if let Ok(_waits) = self.stepped_back.try_acquire()
            && let Ok(turn) = timeout(self.patience, self.turns.event()).await
        {
            return Ok(turn);
        }
        if user.is_in(MASTERS) { Ok(self.turns.overdue()) } else { Err(too_many()) }
    }
}

fn too_many() -> StatusError {
    StatusError::too_many_requests("Too many requests, please try again later.", 1)
}

/// Whether a request writes an event.
fn tells_an_event(info: &RequestInfo) -> bool {
    let RequestInfo::Resource(request) = info else { return false };
    request.resource == "events"
        && ["", "events.k8s.io"].contains(&request.gv.group.as_ref())
        && matches!(request.verb, Verb::Create | Verb::Update | Verb::Patch)
}

/// Whether a request stays open as long as the client likes: watches, logs, and what connects to something else.
pub(crate) fn is_long_running(info: &RequestInfo) -> bool {
    let RequestInfo::Resource(request) = info else { return false };
    request.verb == Verb::Watch
        || matches!(request.subresource.as_deref(), Some("attach" | "exec" | "proxy" | "log" | "portforward"))
}

/// How long a request that is not long-running may take: what its client asks for, and never more than the server's bound.
pub(crate) fn allotted(limits: &Limits, query: &Query) -> Result<Duration, StatusError> {
    let Some(text) = query.get("timeout") else { return Ok(limits.request_timeout) };
    let asked = duration::parse_go(text).map_err(|problem| {
        StatusError::bad_request(format!("invalid timeout specified in the request URL - {problem}"))
    })?;
    Ok(match asked {
        Some(asked) if !asked.is_zero() => asked.min(limits.request_timeout),
        _ => limits.request_timeout,
    })
}

/// What a request is told that took too long.
pub(crate) fn too_slow() -> StatusError {
    StatusError::timeout("request did not complete within the allotted timeout")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(method: &http::Method, path: &str) -> RequestInfo {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        RequestInfo::parse(method, path, &Query::parse(query)).unwrap()
    }

    #[tokio::test]
    async fn reads_and_writes_have_a_bound_each_and_masters_none() {
        let mut limits = Limits::default();
        (limits.reads, limits.writes, limits.waiting) = (1, 1, 0);
        let flow = Flow::new(&limits);
        let (get, post) = (http::Method::GET, http::Method::POST);
        let (read, write) = (info(&get, "/api/v1/pods"), info(&post, "/api/v1/namespaces/a/pods"));
        let jane = User::new("jane", []);
        let held =
            (flow.enter(&read, &get, &jane).await.unwrap(), flow.enter(&write, &post, &jane).await.unwrap());
        for (info, method) in [(&read, &get), (&write, &post)] {
            let refused = flow.enter(info, method, &jane).await.unwrap_err();
            assert_eq!((refused.code().as_u16(), refused.retry_after_seconds()), (429, Some(1)));
            flow.enter(info, method, &User::admin()).await.unwrap();
        }
        drop(held);
        flow.enter(&read, &get, &jane).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_place_waits_in_turn_for_a_while_unless_too_many_do() {
        let mut limits = Limits::default();
        (limits.writes, limits.waiting) = (1, 2);
        let flow = Flow::new(&limits);
        let post = http::Method::POST;
        let (write, jane) = (info(&post, "/api/v1/namespaces/a/pods"), User::new("jane", []));
        let enter = || Box::pin(flow.enter(&write, &post, &jane));
        let held = enter().await.unwrap();
        let (mut first, mut second) = (enter(), enter());
        assert!(futures::poll!(&mut first).is_pending() && futures::poll!(&mut second).is_pending());
        assert_eq!(enter().await.unwrap_err().code().as_u16(), 429, "too many wait");
        drop(held);
        assert!(futures::poll!(&mut second).is_pending());
        let held = first.await.unwrap();
        let begun = tokio::time::Instant::now();
        assert_eq!(second.await.unwrap_err().code().as_u16(), 429, "it has waited for long enough");
        assert_eq!(begun.elapsed().as_secs(), 15);
        drop(held);
        enter().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn events_let_other_writes_go_first_and_others_do_not_wait_for_them() {
        let limits = Limits { waiting: 1, ..Limits::default() };
        let flow = Flow::new(&limits);
        let (post, jane) = (http::Method::POST, User::new("jane", []));
        let write = info(&post, "/api/v1/namespaces/a/pods");
        let tell = info(&post, "/apis/events.k8s.io/v1/namespaces/a/events");
        let mut others = Vec::new();
        for _ in 0..16 {
            others.push(flow.enter(&write, &post, &jane).await.unwrap());
        }
        let _told = (
            flow.enter(&tell, &post, &jane).await.unwrap(),
            flow.enter(&info(&post, "/api/v1/namespaces/a/events"), &post, &jane).await.unwrap(),
        );
        let mut waits = Box::pin(flow.enter(&tell, &post, &jane));
        assert!(futures::poll!(&mut waits).is_pending());
        assert_eq!(flow.enter(&tell, &post, &jane).await.unwrap_err().code().as_u16(), 429, "too many wait");
        flow.enter(&tell, &post, &User::admin()).await.unwrap();
        let begun = tokio::time::Instant::now();
        assert_eq!(waits.await.unwrap_err().code().as_u16(), 429, "it has waited for long enough");
        assert_eq!(begun.elapsed().as_secs(), 15);
        others.pop();
        flow.enter(&tell, &post, &jane).await.unwrap();
        for path in ["/api/v1/namespaces/a/events", "/apis/events.k8s.io/v1/namespaces/a/events/e"] {
            assert!(!tells_an_event(&info(&http::Method::DELETE, path)), "{path}");
            assert!(!tells_an_event(&info(&http::Method::GET, path)), "{path}");
        }
        assert!(!tells_an_event(&info(&post, "/apis/example.org/v1/namespaces/a/events")));
    }

    #[test]
    fn a_client_may_ask_for_less_time_and_not_for_more() {
        let limits = Limits::default();
        let of = |query: &str| allotted(&limits, &Query::parse(query)).map_err(|error| error.to_string());
        assert_eq!(of(""), Ok(Duration::from_secs(60)));
        assert_eq!(of("timeout=1.5s"), Ok(Duration::from_millis(1500)));
        for more in ["timeout=0s", "timeout=-1s", "timeout=2m", "timeout="] {
            assert_eq!(of(more), Ok(Duration::from_secs(60)), "{more}");
        }
        let said = "invalid timeout specified in the request URL - time: invalid duration \"soon\"";
        assert_eq!(of("timeout=soon"), Err(said.to_owned()));
    }

    #[test]
    fn watches_logs_and_streams_stay_open() {
        let get = http::Method::GET;
        for path in ["/api/v1/pods?watch=1", "/api/v1/namespaces/a/pods/p/log", "/api/v1/nodes/n/proxy/x"] {
            assert!(is_long_running(&info(&get, path)), "{path}");
        }
        for path in ["/api/v1/pods", "/readyz", "/api/v1/namespaces/a/pods/p/status"] {
            assert!(!is_long_running(&info(&get, path)), "{path}");
        }
    }
}
