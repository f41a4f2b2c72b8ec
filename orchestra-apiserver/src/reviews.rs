//! Questions about access that a client may ask: `kubectl auth can-i`, `kubectl auth whoami`.
//!
//! Reviews are kinds without objects: a POST is answered and nothing is stored.

mod selectors;

use std::borrow::Cow;

use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response, StatusCode};
use orchestra_core::gvk::GroupVersion;
use serde_json::{Map, Value, json};

use crate::auth::token::Problem;
use crate::auth::{AccessRequest, Decision, MASTERS, RuleSet, User};
use crate::body::{self, Body};
use crate::request::{RequestInfo, ResourceRequest, Verb};
use crate::state::State;
use crate::status::StatusError;
use selectors::Selectors;

/// A kind of review.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Review {
    /// Who am I?
    SelfSubject,
    /// May I?
    SelfAccess,
    /// May somebody?
    Access,
    /// May somebody, in this namespace?
    LocalAccess,
    /// What may I, in a namespace?
    SelfRules,
    /// Whose is this token?
    Token,
}

impl Review {
    /// All of them.
    pub(crate) const ALL: [Self; 6] =
        [Self::SelfSubject, Self::Token, Self::LocalAccess, Self::SelfAccess, Self::SelfRules, Self::Access];

    /// The group, served as `v1`.
    pub(crate) fn group(self) -> &'static str {
        match self {
            Self::SelfSubject | Self::Token => "authentication.k8s.io",
            _ => "authorization.k8s.io",
        }
    }

    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::SelfSubject => "SelfSubjectReview",
            Self::SelfAccess => "SelfSubjectAccessReview",
            Self::Access => "SubjectAccessReview",
            Self::LocalAccess => "LocalSubjectAccessReview",
            Self::SelfRules => "SelfSubjectRulesReview",
            Self::Token => "TokenReview",
        }
    }

    pub(crate) fn singular(self) -> String {
        self.kind().to_ascii_lowercase()
    }

    pub(crate) fn plural(self) -> String {
        self.singular() + "s"
    }

    pub(crate) fn namespaced(self) -> bool {
        self == Self::LocalAccess
    }

    /// Which review a request is for.
    pub(crate) fn find(request: &ResourceRequest) -> Option<Self> {
        let named = |review: &Self| request.gv.group == review.group() && request.resource == review.plural();
        let here = |review: &Self| review.namespaced() == request.namespace.is_some();
        Self::ALL.into_iter().find(named).filter(here).filter(|_| request.gv.version == "v1")
    }
}

/// Whether everybody who is known may ask this about themselves.
pub(crate) fn is_open(request: &ResourceRequest) -> bool {
    matches!(Review::find(request), Some(Review::SelfSubject | Review::SelfAccess | Review::SelfRules))
}

/// Answers a review.
pub(crate) async fn answer(
    state: &State,
    review: Review,
    namespace: Option<&str>,
    asker: &User,
    mut object: Value,
) -> Result<Response<Body>, StatusError> {
    let spec = object.get("spec").cloned().unwrap_or_else(|| json!({}));
    if review == Review::LocalAccess {
        check_local(&spec, namespace.unwrap_or_default())?;
    }
    let status = match review {
        Review::SelfSubject => json!({"userInfo": asker.info()}),
        Review::SelfAccess => access(state, asker, &spec).await?,
        Review::SelfRules => rules(state, asker, &spec).await?,
        Review::Token => token(state, &spec).await?,
        Review::Access | Review::LocalAccess => {
            let groups = spec.get("groups").and_then(Value::as_array).into_iter().flatten();
            let mut subject = User::anonymous();
            subject.name = text(&spec, "user").to_owned();
            subject.groups = groups.filter_map(Value::as_str).map(str::to_owned).collect();
            access(state, &subject, &spec).await?
        }
    };
    let Some(map) = object.as_object_mut() else {
        return Err(StatusError::bad_request("a review must be an object"));
    };
    map.insert("apiVersion".into(), format!("{}/v1", review.group()).into());
    map.insert("kind".into(), review.kind().into());
    map.entry("metadata").or_insert_with(|| Map::new().into());
    map.insert("status".into(), status);
    Ok(body::tree(StatusCode::CREATED, &object))
}

/// Whose a token is, found out as for a request that shows it and nothing else.
async fn token(state: &State, spec: &Value) -> Result<Value, StatusError> {
    let token = text(spec, "token");
    if token.is_empty() {
        return Err(StatusError::bad_request("token is required for TokenReview in authentication"));
    }
    let listed = spec.get("audiences").and_then(Value::as_array).into_iter().flatten();
    let mut wanted: Vec<String> = listed.filter_map(Value::as_str).map(str::to_owned).collect();
    if wanted.is_empty() {
        wanted.clone_from(&state.tokens.audiences);
    }
    let known = |user: &User, audiences: &[String]| json!({"authenticated": true, "user": user.info(), "audiences": audiences});
    let problem = match state.tokens.verify(token, &wanted).await {
        Ok(verified) => return Ok(known(&verified.user, &verified.audiences)),
        Err(Problem::Failed(error)) => return Err(error),
        Err(problem) => problem,
    };
    // Other authenticators know nothing of audiences: what they know is for this server.
    let ours: Vec<String> = wanted.into_iter().filter(|one| state.tokens.audiences.contains(one)).collect();
    if !ours.is_empty()
        && let Ok(header) = HeaderValue::from_str(&format!("Bearer {token}"))
    {
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.headers.insert(AUTHORIZATION, header);
        for authenticator in &state.authenticators {
            if let Some(user) = authenticator.authenticate(&parts).await? {
                return Ok(known(&user, &ours));
            }
        }
    }
    Ok(json!({"user": {}, "error": problem.told()}))
}

async fn access(state: &State, subject: &User, spec: &Value) -> Result<Value, StatusError> {
    let (verb, path, info) = question(spec)?;
    if subject.is_in(MASTERS) {
        return Ok(json!({"allowed": true}));
    }
    let Selectors { fields, labels, problem } =
        Selectors::read(spec.get("resourceAttributes").unwrap_or(&Value::Null));
    let request = AccessRequest {
        fields: &fields,
        labels: &labels,
        ..AccessRequest::new(subject, &verb, &info, &path)
    };
    let mut status = match state.authorizer.authorize(request).await? {
        Decision::Allow(why) if why.is_empty() => json!({"allowed": true}),
        Decision::Allow(why) => json!({"allowed": true, "reason": why}),
        Decision::Deny(why) if why.is_empty() => json!({"allowed": false}),
        Decision::Deny(why) => json!({"allowed": false, "reason": why}),
    };
    if !problem.is_empty() {
        status["evaluationError"] = problem.into();
    }
    Ok(status)
}

/// Whoever may ask about one namespace asks about that one.
fn check_local(spec: &Value, namespace: &str) -> Result<(), StatusError> {
    if spec.get("nonResourceAttributes").is_some_and(Value::is_object) {
        return Err(StatusError::bad_request(
            "spec.nonResourceAttributes: disallowed on this kind of request",
        ));
    }
    if text(spec.get("resourceAttributes").unwrap_or(&Value::Null), "namespace") != namespace {
        return Err(StatusError::bad_request(
            "spec.resourceAttributes.namespace: must match metadata.namespace",
        ));
    }
    Ok(())
}

/// Everything that somebody may do in a namespace, as upstream's `SelfSubjectRulesReview` lists it.
async fn rules(state: &State, subject: &User, spec: &Value) -> Result<Value, StatusError> {
    let namespace = text(spec, "namespace");
    if namespace.is_empty() {
        return Err(StatusError::bad_request("no namespace on request"));
    }
    let RuleSet { rules, problem } = state.authorizer.rules(subject, namespace).await?;
    let (plain, objects): (Vec<_>, Vec<_>) =
        rules.into_iter().partition(|rule| !rule.non_resource_urls.is_empty());
    let mut status = json!({
        "resourceRules": objects, "nonResourceRules": plain, "incomplete": !problem.is_empty(),
    });
    if !problem.is_empty() {
        status["evaluationError"] = problem.into();
    }
    Ok(status)
}

/// What is asked about, as the authorizer would be asked about a real request.
fn question(spec: &Value) -> Result<(String, String, RequestInfo), StatusError> {
    if let Some(plain) = spec.get("nonResourceAttributes") {
        let path = text(plain, "path").to_owned();
        let segments = path.split('/').filter(|s| !s.is_empty()).map(str::to_owned).collect();
        return Ok((text(plain, "verb").to_owned(), path, RequestInfo::NonResource(segments)));
    }
    let Some(about) = spec.get("resourceAttributes") else {
        return Err(StatusError::bad_request(
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        ));
    };
    let some = |field: &str| Some(text(about, field).to_owned()).filter(|t| !t.is_empty());
    let verb = text(about, "verb").to_owned();
    let request = ResourceRequest {
        // Authorizers go by the word beside this; a verb that no path has can only be asked about.
        verb: Verb::parse(&verb).unwrap_or(Verb::Get),
        gv: GroupVersion {
            group: Cow::Owned(text(about, "group").to_owned()),
            version: Cow::Owned(text(about, "version").to_owned()),
        },
        resource: text(about, "resource").to_owned(),
        namespace: some("namespace"),
        name: some("name"),
        subresource: some("subresource"),
        tail: String::new(),
    };
    Ok((verb, String::new(), RequestInfo::Resource(request)))
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object.get(field).and_then(Value::as_str).unwrap_or_default()
}
