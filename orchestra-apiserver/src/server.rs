//! The server as a service: one request in, one response out.

use std::borrow::Cow;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body as HttpBody;
use http_body_util::BodyExt;
use orchestra_core::kind::Subresource;
use orchestra_store::Store;
use tokio::time::Instant;
use tower::{BoxError, Service};

use crate::admission::followed;
use crate::admission::notes::{AuditAnnotations, Notes};
use crate::aggregate;
use crate::auth::impersonate::Wanted;
use crate::auth::{AccessRequest, Decision, MASTERS, UNAUTHENTICATED, User, selected, token};
use crate::body::{self, Body};
use crate::builder::ApiServerBuilder;
use crate::custom;
use crate::encryption;
use crate::front::{Arrival, answered};
use crate::health;
use crate::metrics;
use crate::negotiate::accept::{Endpoint, Output};
use crate::negotiate::decode;
use crate::openapi;
use crate::projection;
use crate::query::{Query, WriteOptions};
use crate::request::{RequestInfo, ResourceRequest, Verb};
use crate::reviews::{self, Review};
use crate::snapshot;
use crate::state::{Call, State};
use crate::status::{GroupResource, StatusError};
use crate::storage::resource::Resource;
use crate::stream::{Answer, Connection, Socket};
use crate::subresource::{account_token, binding, component_status, eviction, finalize, log, scale};
use crate::verbs::update::Part;
use crate::verbs::{create, delete, delete_collection, get, list, patch, update, watch};
use crate::warning;

/// The Kubernetes API over a store. A handle: clones share one server, which ends with the last of them.
#[derive(Clone, Debug)]
pub struct ApiServer {
    pub(crate) state: Arc<State>,
}

impl ApiServer {
    /// Starts to put a server together.
    pub fn builder(store: Arc<dyn Store>) -> ApiServerBuilder {
        ApiServerBuilder::new(store)
    }

    /// Ends all watches, so that their connections can close.
    pub fn stop_watches(&self) {
        self.state.end_watches();
    }

    /// Says that the server is about to go: from now on `/readyz` fails, and everything else goes on.
    pub fn announce_end(&self) {
        self.state.leaving.cancel();
    }

    pub(crate) async fn route(
        &self,
        parts: Parts,
        body: Body,
        arrival: &Arrival,
    ) -> Result<Response<Body>, StatusError> {
        let (state, received) = (&*self.state, arrival.received);
        // Pinned, what is done is not copied into each future around it; what is seldom done and large is boxed, so that the usual
        // request does not carry its room.
        let user = arrival.in_time(pin!(identify(state, &parts, arrival))).await?;
        arrival.classed(state, &parts, &user).await;
        let _place = if arrival.is_long {
            None
        } else {
            match state.flow.enter(&arrival.info, &parts.method, &user).await {
                Ok(place) => Some(place),
                Err(refusal) => return Ok(self.refused(&parts, arrival, &refusal).await),
            }
        };
        arrival.in_time(pin!(authorize(state, &parts, arrival, &user))).await?;
        let table = state.aggregated.table();
        if let Some(remote) = table.find(&arrival.info) {
            let mut parts = parts;
            let passing = aggregate::pass_on(state, remote, &arrival.info, &mut parts, body, &user).boxed();
            return if arrival.is_long { passing.await } else { arrival.in_time(passing).await };
        }
        let request = match &arrival.info {
            RequestInfo::NonResource(path) => {
                let run = state.metrics.requests.begin_plain(&parts, received);
                let answer = arrival.handled(&run, self.plain(&parts, path, &arrival.query).boxed()).await;
                return Ok(run.end(answered(answer)));
            }
            RequestInfo::Resource(request) => request,
        };
        if let Some(review) = Review::find(request) {
            let run = state.metrics.requests.begin_review(&parts, request, review.plural(), received);
            let reviewing = self.review(arrival, review, request, &parts, body, &user).boxed();
            let answer = arrival.handled(&run, reviewing).await;
            return Ok(run.end(answered(answer)));
        }
        let resource = custom::resource(state, request).await?;
        if let Some(problem) = request.bad_name() {
            return Err(StatusError::bad_request(problem));
        }
        if resource.namespaced()
            && request.namespace.is_none()
            && request.verb != Verb::List
            && request.verb != Verb::Watch
        {
            return Err(StatusError::method_not_supported());
        }
        // A namespace lies in itself and in no other: who may do something in one could do it to all of them.
        let is_own = resource.is("", "namespaces") && request.namespace == request.name;
        if !resource.namespaced() && request.namespace.is_some() && !is_own {
            return Err(StatusError::no_such_resource());
        }
        let description = resource.description();
        let run = state.metrics.requests.begin(&parts, &arrival.query, request, description, received);
        let work = pin!(self.about_objects(arrival, request.clone(), resource, parts, body, user));
        let answer = arrival.handled(&run, work).await;
        Ok(run.end(answered(answer)))
    }

    /// The answer to a request for which there is no place; it counts, if it is of those that do.
    async fn refused(&self, parts: &Parts, arrival: &Arrival, refusal: &StatusError) -> Response<Body> {
        let requests = &self.state.metrics.requests;
        let received = arrival.received;
        let run = match &arrival.info {
            RequestInfo::NonResource(_) => requests.begin_plain(parts, received),
            RequestInfo::Resource(request) => match Review::find(request) {
                Some(review) => requests.begin_review(parts, request, review.plural(), received),
                None => match custom::resource(&self.state, request).await {
                    Ok(known) => {
                        requests.begin(parts, &arrival.query, request, known.description(), received)
                    }
                    Err(_) => return body::refusal(refusal),
                },
            },
        };
        run.end(body::refusal(refusal))
    }

    async fn about_objects(
        &self,
        arrival: &Arrival,
        request: ResourceRequest,
        resource: Arc<Resource>,
        mut parts: Parts,
        body: Body,
        user: User,
    ) -> Result<Response<Body>, StatusError> {
        let query = arrival.query.clone();
        if let Some(connection) = Connection::find(&resource, &request) {
            let (output, options) = (Output::plain(), WriteOptions::default());
            let headers = std::mem::take(&mut parts.headers);
            let (body_read, notes) = (Bytes::new(), Notes::default());
            let call =
                Call { request, resource, query, headers, user, output, options, body: body_read, notes };
            let outcome = connection.open(&self.state, &call, &mut parts, body).boxed().await;
            return Ok(noted(&call, outcome));
        }
        let is_log = request.subresource.as_deref() == Some("log");
        let socket = match request.verb {
            Verb::Watch => Socket::asked(&self.state, &mut parts, Answer::Events)?,
            Verb::Get if is_log => Socket::asked(&self.state, &mut parts, Answer::Text)?,
            _ => None,
        };
        let output = if is_log {
            Output::plain()
        } else {
            let endpoint = Endpoint::of(&resource);
            Output::negotiate(&parts.headers, &query, endpoint, request.verb)?
        };
        let options = WriteOptions::parse(&query, options_kind(request.verb))?;
        // Who only sends slowly is not to stay, whatever stays open once it has come.
        let reading = body::read(body);
        let body = if arrival.is_long { arrival.in_time(reading).await? } else { reading.await? };
        if let Some(trail) = arrival.trail() {
            trail.sent(&parts.headers, &body);
        }
        let (headers, notes) = (parts.headers, Notes::default());
        let call = Call { request, resource, query, headers, user, output, options, body, notes };
        if let Some(only) = call.resource.description().only {
            let outcome = if only.contains(&call.request.verb.as_str()) && call.request.subresource.is_none()
            {
                made_up(&self.state, call).boxed().await
            } else {
                Err(StatusError::method_not_supported())
            };
            return Ok(answered(outcome));
        }
        let mut outcome = dispatch(&self.state, &call).await;
        if let Ok(response) = &mut outcome {
            custom::after(&self.state, &call, response).await;
        }
        if !matches!(call.request.verb, Verb::Get | Verb::List | Verb::Watch) {
            followed::settle(&self.state, &call.resource).await;
        }
        let response = noted(&call, outcome);
        Ok(match socket {
            Some(socket) => socket.carry(&self.state, response),
            None => response,
        })
    }

    async fn review(
        &self,
        arrival: &Arrival,
        review: Review,
        request: &ResourceRequest,
        parts: &Parts,
        body: Body,
        user: &User,
    ) -> Result<Response<Body>, StatusError> {
        if request.verb != Verb::Create || request.subresource.is_some() {
            return Err(StatusError::method_not_supported());
        }
        // What a review cannot be written as is refused before it is made.
        Output::negotiate(&parts.headers, &Query::default(), Endpoint::Whole, request.verb)?;
        let body = body::read(body).await?;
        if let Some(trail) = arrival.trail() {
            trail.sent(&parts.headers, &body);
        }
        let options = WriteOptions::parse(&Query::default(), options_kind(request.verb))?;
        let decoded =
            decode::by_kind(&parts.headers, &body, &request.gv, review.kind(), options.field_validation)?;
        reviews::answer(&self.state, review, request.namespace.as_deref(), user, decoded.value).await
    }

    async fn plain(
        &self,
        parts: &Parts,
        path: &[String],
        query: &Query,
    ) -> Result<Response<Body>, StatusError> {
        let joined = path.join("/");
        if matches!(path.first().map(String::as_str), Some("apis" | "openapi")) {
            custom::settle(&self.state).await?;
        }
        if let Some(answer) = self.state.discovery().serve(&joined, &parts.headers) {
            return answer;
        }
        if joined == openapi::V2 {
            let (openapi, headers) = (self.state.openapi(), parts.headers.clone());
            let now = self.state.clock.now();
            // Everything in one document takes a while to build, in which others are to be answered.
            let building = tokio::task::spawn_blocking(move || openapi.v2(&headers, now));
            return building.await.map_err(StatusError::internal);
        }
        if let Some(answer) = self.state.openapi().serve(&joined, query, &parts.headers) {
            return answer;
        }
        if let Some(answer) = self.state.tokens.documents.serve(&joined) {
            return Ok(answer);
        }
        if snapshot::is_at(&joined) {
            return snapshot::snapshot(&self.state, &parts.method).await;
        }
        if let Some(command) = encryption::Command::at(&joined) {
            return encryption::answer(self.state.encryption.as_ref(), command, &parts.method).await;
        }
        if metrics::is_at(&joined) {
            return metrics::metrics(&self.state, &parts.method, &parts.headers).await;
        }
        let found = match path.first().map(String::as_str) {
            Some("version") if path.len() == 1 => Some(health::version()),
            Some("healthz" | "livez" | "readyz") => health::health(&self.state, path, query).await,
            _ => None,
        };
        found.ok_or_else(StatusError::no_such_resource)
    }
}

/// The answer with what admission had to say, also where it is a refusal.
fn noted(call: &Call, outcome: Result<Response<Body>, StatusError>) -> Response<Body> {
    let mut response = answered(outcome);
    let (warnings, annotations) = call.notes.take();
    warning::add(&mut response, &warnings);
    if annotations != AuditAnnotations::default() {
        response.extensions_mut().insert(annotations);
    }
    response
}

fn options_kind(verb: Verb) -> &'static str {
    match verb {
        Verb::Create => "CreateOptions",
        Verb::Update => "UpdateOptions",
        Verb::Patch => "PatchOptions",
        _ => "DeleteOptions",
    }
}

/// Who is to be taken for the sender.
async fn identify(state: &State, parts: &Parts, arrival: &Arrival) -> Result<User, StatusError> {
    let outcome = authenticate(state, parts).await;
    arrival.identified(state, parts, &outcome).await;
    impersonate(state, parts, arrival, outcome?).await
}

async fn authenticate(state: &State, parts: &Parts) -> Result<User, StatusError> {
    let begun = Instant::now();
    let outcome = who(state, parts).await;
    state.metrics.access.authenticated(begun, &outcome);
    outcome
}

async fn who(state: &State, parts: &Parts) -> Result<User, StatusError> {
    if let Some(user) = parts.extensions.get::<User>() {
        return Ok(user.clone());
    }
    for authenticator in &state.authenticators {
        if let Some(user) = authenticator.authenticate(parts).await? {
            return Ok(user);
        }
    }
    // Whoever shows a token means to be somebody.
    if token::bearer(&parts.headers).is_some() {
        return Err(StatusError::unauthorized());
    }
    Ok(User::anonymous())
}

/// The user that a request is to be taken for, when the one who sent it may act as that user.
async fn impersonate(
    state: &State,
    parts: &Parts,
    arrival: &Arrival,
    sender: User,
) -> Result<User, StatusError> {
    let Some(wanted) = Wanted::read(&parts.headers)? else { return Ok(sender) };
    for question in wanted.questions() {
        ask(state, &sender, "impersonate", &question, "").await?;
    }
    let user = wanted.user();
    if let Some(trail) = arrival.trail() {
        trail.acts_as(&user);
    }
    Ok(user)
}

async fn authorize(state: &State, parts: &Parts, arrival: &Arrival, user: &User) -> Result<(), StatusError> {
    let (info, query) = (&arrival.info, &arrival.query);
    let outcome = judge(state, parts, info, query, user).await;
    if let Some(trail) = arrival.trail() {
        match &outcome {
            Ok(Decision::Allow(why)) => trail.decided(true, why),
            Ok(Decision::Deny(why)) => trail.decided(false, why),
            Err(problem) => trail.annotate("authorization.k8s.io/error", &problem.to_string()),
        }
    }
    match outcome? {
        Decision::Allow(_) => Ok(()),
        Decision::Deny(why) => Err(denied(user, verb(parts, info).as_ref(), info, parts.uri.path(), &why)),
    }
}

/// The verb as authorizers know it.
pub(crate) fn verb<'a>(parts: &Parts, info: &'a RequestInfo) -> Cow<'a, str> {
    match info {
        RequestInfo::Resource(request) => Cow::Borrowed(request.verb.as_str()),
        RequestInfo::NonResource(_) => Cow::Owned(parts.method.as_str().to_ascii_lowercase()),
    }
}

async fn judge(
    state: &State,
    parts: &Parts,
    info: &RequestInfo,
    query: &Query,
    user: &User,
) -> Result<Decision, StatusError> {
    let is_known = !user.is_in(UNAUTHENTICATED);
    if matches!(info, RequestInfo::Resource(request) if is_known && reviews::is_open(request)) {
        return Ok(Decision::Allow(String::new()));
    }
    if matches!(info, RequestInfo::NonResource(path) if health::is_public(path)) {
        return Ok(Decision::Allow(String::new()));
    }
    let verb = verb(parts, info);
    let (fields, labels) = selectors(info, query);
    let named = named(info, fields);
    let info = named.as_ref().unwrap_or(info);
    let begun = Instant::now();
    let asked =
        AccessRequest { fields, labels, ..AccessRequest::new(user, verb.as_ref(), info, parts.uri.path()) };
    let outcome = decide(state, asked).await;
    state.metrics.access.authorized(begun, &outcome);
    outcome
}

/// The selectors of fields and of labels, of requests that are about many objects.
fn selectors<'q>(info: &RequestInfo, query: &'q Query) -> (&'q str, &'q str) {
    let selects = matches!(
        info,
        RequestInfo::Resource(request) if matches!(request.verb, Verb::List | Verb::Watch | Verb::DeleteCollection)
    );
    let said = |parameter: &str| query.get(parameter).filter(|_| selects).unwrap_or_default();
    (said("fieldSelector"), said("labelSelector"))
}

/// A list or watch of one object by its name, as authorizers see it: the field selector says which.
fn named(info: &RequestInfo, fields: &str) -> Option<RequestInfo> {
    let RequestInfo::Resource(request) = info else { return None };
    if request.name.is_some() || !matches!(request.verb, Verb::List | Verb::Watch) {
        return None;
    }
    let name = selected(fields, "metadata.name").filter(|name| !name.is_empty() && !name.contains('/'))?;
    Some(RequestInfo::Resource(ResourceRequest { name: Some(name.to_owned()), ..request.clone() }))
}

/// Refuses what the user may not.
pub(crate) async fn ask(
    state: &State,
    user: &User,
    verb: &str,
    info: &RequestInfo,
    path: &str,
) -> Result<(), StatusError> {
    ask_about(state, AccessRequest::new(user, verb, info, path)).await
}

async fn decide(state: &State, request: AccessRequest<'_>) -> Result<Decision, StatusError> {
    if request.user.is_in(MASTERS) {
        return Ok(Decision::Allow(String::new()));
    }
    state.authorizer.authorize(request).await
}

async fn ask_about(state: &State, request: AccessRequest<'_>) -> Result<(), StatusError> {
    let AccessRequest { user, verb, info, path, .. } = request;
    match decide(state, request).await? {
        Decision::Allow(_) => Ok(()),
        Decision::Deny(why) => Err(denied(user, verb, info, path, &why)),
    }
}

fn denied(user: &User, verb: &str, info: &RequestInfo, path: &str, why: &str) -> StatusError {
    let suffix = if why.is_empty() { String::new() } else { format!(": {why}") };
    match info {
        RequestInfo::NonResource(_) => {
            let why = format!("User {:?} cannot {verb} path {path:?}{suffix}", user.name);
            StatusError::forbidden(&GroupResource::default(), "", why)
        }
        RequestInfo::Resource(r) => {
            let resource = match &r.subresource {
                Some(sub) => format!("{}/{sub}", r.resource),
                None => r.resource.clone(),
            };
            let place = match &r.namespace {
                Some(namespace) => format!("in the namespace {namespace:?}"),
                None => "at the cluster scope".to_owned(),
            };
            let why = format!(
                "User {:?} cannot {verb} resource {resource:?} in API group {:?} {place}{suffix}",
                user.name, r.gv.group
            );
            let gr = GroupResource::new(r.gv.group.as_ref(), r.resource.as_str());
            StatusError::forbidden(&gr, r.name.as_deref().unwrap_or_default(), why)
        }
    }
}

/// What is about kinds that have no objects in the store.
async fn made_up(state: &State, call: Call) -> Result<Response<Body>, StatusError> {
    if call.resource.is("", "componentstatuses") {
        return component_status::read(state, &call).await;
    }
    if let Some(projection) = state.projections.of(&call.resource) {
        return projection::read(state, &call, &**projection).await;
    }
    binding::bind_named(state, call).await
}

async fn dispatch(state: &State, call: &Call) -> Result<Response<Body>, StatusError> {
    let ResourceRequest { verb, name, subresource, .. } = &call.request;
    match (subresource.as_deref(), name.is_some(), verb) {
        (None, false, Verb::List) => list::list(state, call).await,
        (None, _, Verb::Watch) => watch::watch(state, call).await,
        (None, false, Verb::Create) => create::create(state, call).await,
        (None, false, Verb::DeleteCollection) if !call.resource.is("", "namespaces") => {
            delete_collection::delete_collection(state, call).await
        }
        (None, true, Verb::Get) => get::get(state, call).await,
        (None, true, Verb::Update) => update::update(state, call, Part::Main).await,
        (None, true, Verb::Patch) => patch::patch(state, call, Part::Main).await,
        (None, true, Verb::Delete) => delete::delete(state, call).await,
        (None, _, _) => Err(StatusError::method_not_supported()),
        (Some(below), _, verb) => dispatch_below(state, call, below, *verb).await,
    }
}

async fn dispatch_below(
    state: &State,
    call: &Call,
    below: &str,
    verb: Verb,
) -> Result<Response<Body>, StatusError> {
    let subresources = &call.resource.description().subresources;
    let has_status = subresources.iter().any(|s| matches!(s, Subresource::Status));
    let part = subresources.iter().find_map(|s| match s {
        Subresource::Part(part) if part.name() == below => Some(*part),
        _ => None,
    });
    if let Some(part) = part {
        return match verb {
            Verb::Get => get::get(state, call).await,
            Verb::Update => update::update(state, call, Part::Below(part)).await,
            Verb::Patch => patch::patch(state, call, Part::Below(part)).await,
            _ => Err(StatusError::method_not_supported()),
        };
    }
    let is_pod = call.resource.is("", "pods");
    let is_account = call.resource.is("", "serviceaccounts");
    match (below, verb) {
        ("status", Verb::Get) if has_status => get::get(state, call).await,
        ("status", Verb::Update) if has_status => update::update(state, call, Part::Status).await,
        ("status", Verb::Patch) if has_status => patch::patch(state, call, Part::Status).await,
        ("status", _) if has_status => Err(StatusError::method_not_supported()),
        ("scale", _) => scale::scale(state, call).await,
        ("binding", Verb::Create) if is_pod => binding::bind(state, call).await,
        ("eviction", Verb::Create) if is_pod => eviction::evict(state, call).await,
        ("log", Verb::Get) if is_pod => log::log(state, call).await,
        ("binding" | "eviction" | "log", _) if is_pod => Err(StatusError::method_not_supported()),
        ("finalize", Verb::Update) if call.resource.is("", "namespaces") => {
            finalize::finalize(state, call).await
        }
        ("token", Verb::Create) if is_account => account_token::issue(state, call).await,
        ("token", _) if is_account => Err(StatusError::method_not_supported()),
        _ => Err(StatusError::no_such_resource()),
    }
}

impl<B> Service<Request<B>> for ApiServer
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
        self.clone().answer(request).map(Ok).boxed()
    }
}
