//! The way between a component and the API server, on which things are late, get lost, and break off.
//!
//! A tower service below the component's `kube::Client`. It delays requests and what watches say, so that components meet
//! in another order with every seed; refuses writes with conflicts; loses requests, or their answers; ends watches; and ends
//! the component's life at a chosen write.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use kube::Client;
use kube::client::Body;
use orchestra_apiserver::{ApiServer, Body as Answer, User};
use serde_json::{Value, json};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tower::{BoxError, ServiceExt};

use super::chance::Chance;
use super::ledger::Ledger;
use super::log::WriteLog;
use super::running::lock;

/// What befalls the requests of a component. The default is a calm day: nothing but small delays.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Weather {
    /// How long a request, or an answer, is under way at most.
    pub request_delay: Duration,
    /// How long what a watch says is under way at most.
    pub watch_delay: Duration,
    /// In how many of a hundred cases an update is refused with a conflict.
    pub conflicts: u64,
    /// In how many of a hundred cases a write does not reach the server.
    pub lost_requests: u64,
    /// In how many of a hundred cases a write reaches the server and its answer does not come back.
    pub lost_answers: u64,
    /// In how many of a hundred cases a read is refused because the server is busy.
    pub refused_reads: u64,
    /// In how many of a thousand cases a watch ends after what it said last.
    pub broken_watches: u64,
}

impl Default for Weather {
    fn default() -> Self {
        Self {
            request_delay: Duration::from_millis(3),
            watch_delay: Duration::from_millis(5),
            conflicts: 0,
            lost_requests: 0,
            lost_answers: 0,
            refused_reads: 0,
            broken_watches: 0,
        }
    }
}

impl Weather {
    /// What a storm brings.
    pub fn rough() -> Self {
        Self {
            request_delay: Duration::from_millis(20),
            watch_delay: Duration::from_millis(40),
            conflicts: 3,
            lost_requests: 2,
            lost_answers: 2,
            refused_reads: 1,
            broken_watches: 5,
        }
    }
}

/// When a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// The write after so many more does not reach the server.
    Before(u64),
    /// The write after so many more reaches the server, and its answer is lost.
    After(u64),
}

/// Something a test does to the requests of a component on their way: refuse it, change it, answer it.
pub trait Tamper: Send + Sync + 'static {
    /// What becomes of `request`: passed on, changed or not, or answered here. `log` holds what stands at the moment.
    fn request(&self, component: &str, request: Request<Body>, log: &WriteLog) -> Tampered;

    /// What a component is given to read of what the server said to a read of `path`, piece by piece; a watch says each
    /// event in a piece of its own.
    fn said(&self, component: &str, path: &str, piece: Bytes) -> Bytes;
}

#[deny(clippy::missing_trait_methods)]
impl<T: Tamper + ?Sized> Tamper for Box<T> {
    fn request(&self, component: &str, request: Request<Body>, log: &WriteLog) -> Tampered {
        (**self).request(component, request, log)
    }

    fn said(&self, component: &str, path: &str, piece: Bytes) -> Bytes {
        (**self).said(component, path, piece)
    }
}

/// What became of a request.
#[derive(Debug)]
pub enum Tampered {
    /// It goes on to the server.
    Pass(Request<Body>),
    /// It goes on to the server twice, as by somebody who was impatient; the second answer counts.
    Twice(Request<Body>),
    /// It is answered here.
    Answer(Response<Answer>),
}

impl Tampered {
    /// Answered here, with JSON.
    pub fn json(code: StatusCode, body: &Value) -> Self {
        Self::Answer(answer(code, body))
    }
}

/// A request for a write that has come through, as it is told to whoever watches over the world.
#[derive(Clone, Debug)]
pub struct Deed {
    /// Whose.
    pub component: Arc<str>,
    /// How.
    pub method: Method,
    /// To what.
    pub path: String,
    /// What the server said; `None` when that was lost.
    pub status: Option<StatusCode>,
    /// Since the world began.
    pub at: Duration,
}

impl std::fmt::Display for Deed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let status = self.status.map_or("lost".to_owned(), |status| status.as_u16().to_string());
        write!(f, "{:>9.3}s {} {} {} {status}", self.at.as_secs_f64(), self.component, self.method, self.path)
    }
}

/// What all lives of a component share.
pub(super) struct Line {
    pub(super) component: Arc<str>,
    pub(super) server: ApiServer,
    pub(super) user: User,
    pub(super) chance: Mutex<Chance>,
    pub(super) weather: Mutex<Weather>,
    pub(super) death: Mutex<Option<Death>>,
    /// Ends the watches that are open.
    pub(super) watches: Mutex<CancellationToken>,
    pub(super) tamper: Vec<Arc<dyn Tamper>>,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    pub(super) began: tokio::time::Instant,
}

/// What befalls one write.
enum Fate {
    Passes,
    Conflicts,
    IsLost,
    LosesItsAnswer,
    Kills(When),
}

enum When {
    Before,
    After,
}

impl Line {
    /// The client of a life, which answers nothing any more once `over`.
    pub(super) fn client(self: &Arc<Self>, over: CancellationToken) -> Client {
        let line = self.clone();
        let service = tower::service_fn(move |request| line.clone().pass(request, over.clone()));
        Client::new(service, "default")
    }

    /// Ends the watches that are open.
    pub(super) fn break_watches(&self) {
        std::mem::take(&mut *lock(&self.watches)).cancel();
    }

    async fn pass(
        self: Arc<Self>,
        request: Request<Body>,
        over: CancellationToken,
    ) -> Result<Response<Answer>, BoxError> {
        // Whoever is dead hears nothing.
        tokio::select! {
            biased;
            () = over.cancelled() => Err(lost()),
            response = self.exchange(request, &over) => response,
        }
    }

    async fn exchange(
        &self,
        request: Request<Body>,
        over: &CancellationToken,
    ) -> Result<Response<Answer>, BoxError> {
        self.linger().await;
        let (mut request, mut twice) = (request, false);
        for tamper in &self.tamper {
            match tamper.request(&self.component, request, &lock(&self.ledger).log) {
                Tampered::Pass(on) => request = on,
                Tampered::Twice(on) => (request, twice) = (on, true),
                Tampered::Answer(response) => return Ok(response),
            }
        }
        if request.method() == Method::GET {
            return self.read(request, over).await;
        }
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        match self.fate(&method, &path) {
            Fate::Passes => {
                if twice {
                    request = self.sent_already(request).await;
                }
                let response = self.send(request).await;
                self.tell(method, path, Some(response.status()));
                self.linger().await;
                Ok(response)
            }
            Fate::Conflicts => Ok(refusal(StatusCode::CONFLICT, "Conflict")),
            Fate::IsLost => Err(lost()),
            Fate::LosesItsAnswer => {
                self.send(request).await;
                self.tell(method, path, None);
                Err(lost())
            }
            Fate::Kills(When::Before) => {
                over.cancel();
                Err(lost())
            }
            Fate::Kills(When::After) => {
                self.send(request).await;
                self.tell(method, path, None);
                over.cancel();
                Err(lost())
            }
        }
    }

    async fn read(
        &self,
        request: Request<Body>,
        over: &CancellationToken,
    ) -> Result<Response<Answer>, BoxError> {
        let refused = lock(&self.weather).refused_reads;
        if lock(&self.chance).percent(refused) {
            return Ok(refusal(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"));
        }
        let watches = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        let path: Arc<str> = request.uri().path().into();
        let response = self.tampered(&path, self.send(request).await);
        if !watches {
            self.linger().await;
            return Ok(response);
        }
        let ended = lock(&self.watches).clone();
        Ok(self.slowed(response, ended, over.clone()))
    }

    /// Sends a copy of the request first.
    async fn sent_already(&self, request: Request<Body>) -> Request<Body> {
        let (head, body) = request.into_parts();
        let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let copy = Request::from_parts(head.clone(), Body::from(bytes.to_vec()));
        self.send(copy).await;
        Request::from_parts(head, Body::from(bytes.to_vec()))
    }

    fn tampered(&self, path: &Arc<str>, response: Response<Answer>) -> Response<Answer> {
        if self.tamper.is_empty() {
            return response;
        }
        let (tamper, component, path) = (self.tamper.clone(), self.component.clone(), path.clone());
        response.map(|body| {
            let changed = body.map_frame(move |frame| {
                frame.map_data(|piece| {
                    tamper.iter().fold(piece, |piece, tamper| tamper.said(&component, &path, piece))
                })
            });
            changed.boxed_unsync()
        })
    }

    async fn send(&self, mut request: Request<Body>) -> Response<Answer> {
        request.extensions_mut().insert(self.user.clone());
        match self.server.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    fn tell(&self, method: Method, path: String, status: Option<StatusCode>) {
        let at = self.began.elapsed();
        lock(&self.ledger).deed(Deed { component: self.component.clone(), method, path, status, at });
    }

    async fn linger(&self) {
        let longest = lock(&self.weather).request_delay;
        let pause = lock(&self.chance).span(longest);
        if !pause.is_zero() {
            sleep(pause).await;
        }
    }

    fn fate(&self, method: &Method, path: &str) -> Fate {
        // Events are hints for people, sent beside the work: they say nothing about what was done.
        if path.ends_with("/events") || path.contains("/events/") {
            return Fate::Passes;
        }
        {
            let mut death = lock(&self.death);
            match &mut *death {
                Some(Death::Before(0)) => {
                    *death = None;
                    return Fate::Kills(When::Before);
                }
                Some(Death::After(0)) => {
                    *death = None;
                    return Fate::Kills(When::After);
                }
                Some(Death::Before(left) | Death::After(left)) => *left -= 1,
                None => {}
            }
        }
        let weather = lock(&self.weather).clone();
        let mut chance = lock(&self.chance);
        // Drawn each time, so that the fate of one write does not shift that of the next.
        let drawn = [chance.below(100), chance.below(100), chance.below(100)];
        if drawn[0] < weather.conflicts && method != Method::POST && method != Method::DELETE {
            Fate::Conflicts
        } else if drawn[1] < weather.lost_requests {
            Fate::IsLost
        } else if drawn[2] < weather.lost_answers {
            Fate::LosesItsAnswer
        } else {
            Fate::Passes
        }
    }

    /// What a watch says, late, until it breaks.
    fn slowed(
        &self,
        response: Response<Answer>,
        ended: CancellationToken,
        over: CancellationToken,
    ) -> Response<Answer> {
        let weather = lock(&self.weather).clone();
        let mut chance = Chance::new(lock(&self.chance).draw());
        response.map(|body| {
            let chunks = body.into_data_stream();
            let late = chunks.then(move |chunk| {
                let pause = chance.span(weather.watch_delay);
                let breaks = chance.below(1000) < weather.broken_watches;
                async move {
                    if !pause.is_zero() {
                        sleep(pause).await;
                    }
                    (chunk, breaks)
                }
            });
            let until = async move {
                futures::future::select(Box::pin(ended.cancelled_owned()), Box::pin(over.cancelled_owned()))
                    .await;
            };
            let frames = futures::stream::unfold((Box::pin(late), false), |(mut late, broken)| async move {
                if broken {
                    return None;
                }
                let (chunk, breaks) = late.next().await?;
                Some((chunk.map(Frame::data), (late, breaks)))
            });
            let frames = frames.take_until(Box::pin(until));
            StreamBody::new(frames).boxed_unsync()
        })
    }
}

fn lost() -> BoxError {
    Box::new(io::Error::new(io::ErrorKind::ConnectionReset, "the connection was lost"))
}

fn refusal(code: StatusCode, reason: &str) -> Response<Answer> {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "the weather is bad", "reason": reason, "code": code.as_u16(),
    });
    answer(code, &status)
}

fn answer(code: StatusCode, body: &Value) -> Response<Answer> {
    let bytes = Bytes::from(body.to_string());
    let mut response = Response::new(Full::new(bytes).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = code;
    response
}
