//! What is told of one request, from when it is known who asks to when the answer has ended.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::request::Parts;
use http::{HeaderMap, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use orchestra_core::protobuf;
use serde_json::{Value, json};

use super::event::{Event, ObjectRef, forget_managers, user_agent};
use super::policy::{Attributes, AuditLevel, AuditPolicy, AuditStage, Telling};
use super::{AuditSink, PATIENCE};
use crate::admission::notes::AuditAnnotations;
use crate::auth::User;
use crate::body::{self, Body};
use crate::clock::Clock;
use crate::metrics::AuditMetrics;
use crate::negotiate::decode;
use crate::request::RequestInfo;
use crate::serve::Peer;

const DECISION: &str = "authorization.k8s.io/decision";
const REASON: &str = "authorization.k8s.io/reason";

/// Larger events are told without their objects, as upstream cuts them.
const MOST_EVENT: usize = 10 << 20;
const TRUNCATED: &str = "audit.k8s.io/truncated";

/// What trails are begun with; one for each server that has an audit log.
#[derive(Debug)]
pub(crate) struct Trails {
    policy: AuditPolicy,
    sink: Arc<dyn AuditSink>,
    clock: Arc<dyn Clock>,
    metrics: AuditMetrics,
}

/// One request's events. Clones are of the same request. When the last is dropped before the answer is complete, the request
/// has been given up, and that is told.
#[derive(Clone, Debug)]
pub(crate) struct Trail(Arc<Open>);

#[derive(Debug)]
struct Open {
    trails: Arc<Trails>,
    telling: Telling,
    is_long: bool,
    told: Mutex<Told>,
}

#[derive(Debug)]
struct Told {
    event: Event,
    is_complete: bool,
}

/// On an answer after which a tunnel goes on: the trail ends with the tunnel, which has the other copy of this.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tunnelled(Arc<OnceLock<Trail>>);

impl Tunnelled {
    fn keep(&self, trail: Trail) {
        // There is one answer.
        let _first = self.0.set(trail);
    }
}

impl Trails {
    pub(crate) fn new(
        policy: AuditPolicy,
        sink: Arc<dyn AuditSink>,
        clock: Arc<dyn Clock>,
        metrics: AuditMetrics,
    ) -> Self {
        Self { policy, sink, clock, metrics }
    }

    /// Waits until everything told so far is kept.
    pub(crate) async fn flush(&self) {
        self.sink.flush().await;
    }

    /// A trail for a request, if anything is to be told of it; `None` as the user when nobody is known to ask.
    pub(crate) async fn begin(
        self: &Arc<Self>,
        parts: &Parts,
        info: &RequestInfo,
        audit_id: &str,
        user: Option<&User>,
        is_long: bool,
    ) -> Option<Trail> {
        let method = parts.method.as_str().to_ascii_lowercase();
        let (verb, path) = match info {
            RequestInfo::Resource(request) => (request.verb.as_str(), parts.uri.path()),
            RequestInfo::NonResource(_) => (method.as_str(), parts.uri.path()),
        };
        let telling = self.policy.of(Attributes { user, verb, path, info });
        self.metrics.level(telling.level);
        if telling.level == AuditLevel::None {
            return None;
        }
        // A sink that is behind may catch up; but not at the cost of whoever asks.
        if tokio::time::timeout(PATIENCE, self.sink.ready()).await.is_err() {
            tracing::warn!("the audit log is behind");
        }
        let now = self.clock.now();
        let agent = parts.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        let event = Event {
            kind: "Event",
            api_version: "audit.k8s.io/v1",
            level: telling.level,
            audit_id: audit_id.to_owned(),
            stage: AuditStage::RequestReceived,
            request_uri: parts.uri.path_and_query().map_or_else(String::new, ToString::to_string),
            verb: verb.to_owned(),
            user: user.map_or_else(|| json!({}), User::info),
            impersonated_user: None,
            source_ips: source_ips(parts),
            user_agent: user_agent(agent.unwrap_or_default()),
            object_ref: ObjectRef::of(info),
            response_status: None,
            request_object: None,
            response_object: None,
            request_received_timestamp: now,
            stage_timestamp: now,
            annotations: BTreeMap::new(),
        };
        let told = Mutex::new(Told { event, is_complete: false });
        Some(Trail(Arc::new(Open { trails: self.clone(), telling, is_long, told })))
    }
}

/// Where a request came from: what proxies say, the nearest last, and whose connection it is.
fn source_ips(parts: &Parts) -> Vec<String> {
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_address = |ip: &&str| ip.parse::<std::net::IpAddr>().is_ok();
    let mut ips: Vec<String> =
        text("x-forwarded-for").split(',').map(str::trim).filter(is_address).map(str::to_owned).collect();
    let real = text("x-real-ip");
    if is_address(&real) && ips.first().is_none_or(|first| first != real) {
        ips.push(real.to_owned());
    }
    if let Some(Peer(from)) = parts.extensions.get::<Peer>() {
        let from = from.ip().to_string();
        if ips.last() != Some(&from) {
            ips.push(from);
        }
    }
    ips
}

impl Trail {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.told()
    }

    /// It is known who asks.
    pub(crate) fn received(&self) {
        let mut told = self.told();
        self.0.tell(&mut told, AuditStage::RequestReceived);
    }

    /// Nobody is known to ask, and that ends it.
    pub(crate) fn unauthenticated(&self, parts: &Parts) {
        let tried = parts.headers.contains_key(header::AUTHORIZATION);
        let said = if tried {
            "Authentication failed, attempted: bearer"
        } else {
            "Authentication failed, no credentials provided"
        };
        let mut told = self.told();
        told.event.response_status = Some(json!({"metadata": {}, "message": said, "code": 401}));
        self.0.tell(&mut told, AuditStage::ResponseStarted);
        told.is_complete = true;
    }

    /// The one who asks acts as somebody else.
    pub(crate) fn acts_as(&self, user: &User) {
        self.told().event.impersonated_user = Some(user.info());
    }

    /// What came of the question whether that is allowed.
    pub(crate) fn decided(&self, allowed: bool, reason: &str) {
        self.annotate(DECISION, if allowed { "allow" } else { "forbid" });
        self.annotate(REASON, reason);
    }

    /// One more thing to tell; what was said first stays.
    pub(crate) fn annotate(&self, key: &str, value: &str) {
        self.told().event.annotations.entry(key.to_owned()).or_insert_with(|| value.to_owned());
    }

    /// What was sent.
    pub(crate) fn sent(&self, headers: &HeaderMap, body: &Bytes) {
        if body.is_empty() {
            return;
        }
        let Some(mut object) = readable(decode::media_type(headers), body) else { return };
        let mut told = self.told();
        if let Some(about) = &mut told.event.object_ref {
            about.complete(&object);
        }
        if self.0.telling.level >= AuditLevel::Request {
            if self.0.telling.omit_managed_fields {
                forget_managers(&mut object);
            }
            told.event.request_object = Some(object);
        }
    }

    /// The handler panicked.
    pub(crate) fn panicked(&self) {
        let mut told = self.told();
        told.event.response_status = Some(json!({
            "metadata": {}, "status": "Failure", "message": "APIServer panic'd: look in its log",
            "reason": "InternalError", "code": 500,
        }));
        self.0.tell(&mut told, AuditStage::Panic);
        told.is_complete = true;
    }

    /// The answer begins; the trail ends with it.
    pub(crate) async fn answered(self, mut response: Response<Body>) -> Response<Body> {
        let annotations = response.extensions_mut().remove::<AuditAnnotations>();
        for (key, value) in annotations.into_iter().flat_map(|AuditAnnotations(said)| said) {
            self.annotate(&key, &value);
        }
        let code = response.status();
        let is_refusal = code.is_client_error() || code.is_server_error();
        let wants_object = self.0.telling.level == AuditLevel::RequestResponse;
        let mut object = None;
        if !self.0.is_long && (wants_object || is_refusal) {
            let (parts, content) = response.into_parts();
            match content.collect().await {
                Ok(whole) => {
                    let whole = whole.to_bytes();
                    object = answer(&parts.headers, &whole);
                    response = Response::from_parts(parts, body::whole(whole));
                }
                Err(problem) => {
                    tracing::debug!(%problem, "an answer broke off");
                    response = Response::from_parts(parts, body::whole(""));
                }
            }
        }
        self.settle(code, is_refusal, object, wants_object);
        if self.0.is_long {
            let mut told = self.told();
            self.0.tell(&mut told, AuditStage::ResponseStarted);
        }
        if let Some(tunnel) = response.extensions_mut().remove::<Tunnelled>() {
            tunnel.keep(self);
            return response;
        }
        if response.body().size_hint().exact().is_some() {
            self.complete();
            return response;
        }
        body::keep(response, self)
    }

    fn settle(&self, code: StatusCode, is_refusal: bool, mut object: Option<Value>, wants_object: bool) {
        let mut told = self.told();
        let mut status = serde_json::Map::from_iter([("metadata".to_owned(), json!({}))]);
        if is_refusal && let Some(refusal) = &object {
            for field in ["status", "message", "reason", "details"] {
                if let Some(said) = refusal.get(field) {
                    status.insert(field.to_owned(), said.clone());
                }
            }
        }
        status.insert("code".to_owned(), code.as_u16().into());
        told.event.response_status = Some(status.into());
        if let (true, Some(object)) = (self.0.telling.omit_managed_fields, &mut object) {
            forget_managers(object);
        }
        if wants_object {
            told.event.response_object = object;
        }
    }

    fn complete(&self) {
        let mut told = self.told();
        self.0.complete(&mut told);
    }
}

impl Open {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn complete(&self, told: &mut Told) {
        if std::mem::replace(&mut told.is_complete, true) {
            return;
        }
        told.event.response_status.get_or_insert_with(|| {
            json!({"metadata": {}, "status": "Success", "message": "Connection closed early", "code": 200})
        });
        self.tell(told, AuditStage::ResponseComplete);
    }

    fn tell(&self, told: &mut Told, stage: AuditStage) {
        if self.telling.omit_stages.contains(&stage) {
            return;
        }
        let event = &mut told.event;
        event.stage = stage;
        // When it is received and when it is told is one for the first stage.
        event.stage_timestamp = match stage {
            AuditStage::RequestReceived => event.request_received_timestamp,
            _ => self.trails.clock.now(),
        };
        let text = match serde_json::to_vec(event) {
            Ok(text) if text.len() > MOST_EVENT => {
                let annotations = [event.annotations.clone(), [(TRUNCATED.into(), "true".into())].into()];
                let annotations = annotations.into_iter().flatten().collect();
                let cut = Event { request_object: None, response_object: None, annotations, ..event.clone() };
                serde_json::to_vec(&cut)
            }
            text => text,
        };
        match text.map(|text| self.trails.sink.offer(text.into())) {
            Ok(Ok(())) => self.trails.metrics.told(),
            Ok(Err(problem)) => {
                self.trails.metrics.lost();
                tracing::error!(%problem, id = event.audit_id, "an audit event is lost");
            }
            Err(problem) => {
                self.trails.metrics.lost();
                tracing::error!(%problem, id = event.audit_id, "an audit event cannot be written");
            }
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.complete(&mut self.told());
    }
}

/// A body as JSON, whatever syntax it came in; nothing when it is none of them.
fn readable(media: &str, body: &[u8]) -> Option<Value> {
    if media.contains("protobuf") {
        return protobuf::decode_envelope(body).ok();
    }
    if media.contains("yaml") {
        return serde_yaml::from_slice(body).ok();
    }
    serde_json::from_slice(body).ok()
}

fn answer(headers: &HeaderMap, whole: &Bytes) -> Option<Value> {
    let media = decode::media_type(headers);
    let packed = headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding == "gzip");
    if !packed {
        return readable(media, whole);
    }
    let mut unpacked = Vec::new();
    // What this server packed itself is no bomb; yet nothing is read that would not be told.
    let most = u64::try_from(MOST_EVENT).unwrap_or(u64::MAX);
    GzDecoder::new(whole.as_ref()).take(most).read_to_end(&mut unpacked).ok()?;
    readable(media, &unpacked)
}
