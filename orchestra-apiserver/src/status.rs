//! Errors as clients see them: `metav1.Status`.
//!
//! Codes, reasons and wording follow `k8s.io/apimachinery/pkg/api/errors`, because clients branch on reasons and
//! print messages.

use std::borrow::Cow;
use std::fmt;

use http::StatusCode;
use orchestra_core::patch::apply::Conflicts;
use orchestra_core::violation::Violation;
use serde_json::{Map, Value, json};

/// Group and plural of a resource, shown as `deployments.apps`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupResource {
    /// The API group, empty for the core group.
    pub group: String,
    /// The plural.
    pub resource: String,
}

impl GroupResource {
    /// A resource of a group.
    pub fn new(group: impl Into<String>, resource: impl Into<String>) -> Self {
        Self { group: group.into(), resource: resource.into() }
    }
}

impl fmt::Display for GroupResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() {
            f.write_str(&self.resource)
        } else {
            write!(f, "{}.{}", self.resource, self.group)
        }
    }
}

/// One cause in the details of a status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Machine-readable, such as `FieldValueInvalid`.
    pub reason: String,
    /// For people.
    pub message: String,
    /// The field, where there is one.
    pub field: String,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Details {
    name: String,
    group: String,
    kind: String,
    uid: String,
    causes: Vec<Cause>,
    retry_after: u32,
}

#[derive(Clone, Debug)]
struct Inner {
    code: StatusCode,
    reason: Cow<'static, str>,
    message: String,
    details: Option<Details>,
    continue_token: Option<String>,
}

/// A refusal, in the form every client of the API understands.
#[derive(Clone)]
pub struct StatusError(Box<Inner>);

impl fmt::Debug for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StatusError({} {}: {})", self.0.code.as_u16(), self.0.reason, self.0.message)
    }
}

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for StatusError {}

impl StatusError {
    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        let reason = Cow::Borrowed(reason);
        Self(Box::new(Inner { code, reason, message: message.into(), details: None, continue_token: None }))
    }

    fn about(mut self, gr: &GroupResource, name: &str) -> Self {
        self.0.details = Some(Details {
            name: name.to_owned(),
            group: gr.group.clone(),
            kind: gr.resource.clone(),
            ..Details::default()
        });
        self
    }

    fn details(&mut self) -> &mut Details {
        self.0.details.get_or_insert_default()
    }

    /// 400: the request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// 4xx: the request cannot be read at all.
    pub(crate) fn unreadable(code: StatusCode, message: impl Into<String>) -> Self {
        Self::new(code, "", message)
    }

    /// 401: nobody known is asking.
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
    }

    /// 403: the asker may not do this, or a rule of the cluster forbids it.
    pub fn forbidden(gr: &GroupResource, name: &str, why: impl fmt::Display) -> Self {
        let message = match (gr.resource.is_empty(), name.is_empty()) {
            (true, _) => format!("forbidden: {why}"),
            (false, true) => format!("{gr} is forbidden: {why}"),
            (false, false) => format!("{gr} {name:?} is forbidden: {why}"),
        };
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message).about(gr, name)
    }

    /// 404: there is no such object.
    pub fn not_found(gr: &GroupResource, name: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", format!("{gr} {name:?} not found")).about(gr, name)
    }

    /// 404: there is no such resource or path.
    pub fn no_such_resource() -> Self {
        let mut status =
            Self::new(StatusCode::NOT_FOUND, "NotFound", "the server could not find the requested resource");
        status.0.details = Some(Details::default());
        status
    }

    /// 405: the resource does not know this verb.
    pub fn method_not_supported() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )
        .with_empty_details()
    }

    fn with_empty_details(mut self) -> Self {
        self.details();
        self
    }

    /// 406: none of the accepted media types can be produced.
    pub fn not_acceptable(supported: &[&str]) -> Self {
        let message = format!("only the following media types are accepted: {}", supported.join(", "));
        Self::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message)
    }

    /// 406 of upstream's router: the route writes none of the accepted media types.
    pub(crate) fn not_routed(available: &[&str]) -> Self {
        let message = format!("406: Not Acceptable\n\nAvailable representations: {}", available.join(", "));
        Self::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message).with_empty_details()
    }

    /// 406: objects of this Go type have no protobuf form.
    pub(crate) fn not_marshalable(go_type: &str) -> Self {
        let message = format!(
            "object {go_type} does not implement the protobuf marshalling interface and cannot be encoded to a \
             protobuf message"
        );
        Self::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message)
    }

    /// 406: the metadata alone was asked for, of a list or of one object, and the request names the other.
    pub(crate) fn not_that_metadata(wanted: &str, but: &str, go_type: &str) -> Self {
        let message = format!("you requested {wanted}, but the requested object is {but} ({go_type})");
        Self::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message)
    }

    /// 415: the body has a form that is not understood.
    pub fn unsupported_media_type(supported: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            supported.join(", ")
        );
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
    }

    /// 409: the name is taken.
    pub fn already_exists(gr: &GroupResource, name: &str) -> Self {
        Self::new(StatusCode::CONFLICT, "AlreadyExists", format!("{gr} {name:?} already exists"))
            .about(gr, name)
    }

    /// 409: the object is not in the state the request assumes.
    pub fn conflict(gr: &GroupResource, name: &str, why: impl fmt::Display) -> Self {
        let message = format!("Operation cannot be fulfilled on {gr} {name:?}: {why}");
        Self::new(StatusCode::CONFLICT, "Conflict", message).about(gr, name)
    }

    /// 409: the object was changed since the client read it.
    pub fn modified(gr: &GroupResource, name: &str) -> Self {
        Self::conflict(
            gr,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 409: others manage fields that an apply would change.
    pub(crate) fn apply_conflict(conflicts: &Conflicts) -> Self {
        let mut status = Self::new(StatusCode::CONFLICT, "Conflict", conflicts.to_string());
        status.details().causes = conflicts
            .0
            .iter()
            .map(|conflict| Cause {
                reason: "FieldManagerConflict".into(),
                message: format!("conflict with {}", conflict.manager),
                field: conflict.path.clone(),
            })
            .collect();
        status
    }

    /// 500 for mistakes of clients that upstream takes for its own, without a reason.
    pub(crate) fn unforeseen(why: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "", why)
    }

    /// 410: the history asked for is gone.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "Expired", message)
    }

    /// 410 for a continue token whose state is gone; `token` leads through the rest at a newer state.
    pub fn expired_continue(token: String) -> Self {
        let mut status = Self::expired(
            "The provided continue parameter is too old to display a consistent list result. You can start a new \
             list without the continue parameter, or use the continue token in this response to retrieve the \
             remainder of the results. Continuing with the provided token results in an inconsistent list - \
             objects that were created, modified, or deleted between the time the first chunk was returned and now \
             may show up in the list.",
        );
        status.0.continue_token = Some(token);
        status
    }

    /// 413: the body is larger than `limit` bytes.
    pub fn too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestEntityTooLarge",
            format!("Request entity too large: limit is {limit}"),
        )
    }

    /// 413 for a patch of too many operations.
    pub(crate) fn too_large_patch(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
    }

    /// 422: the object breaks rules of its kind.
    pub fn invalid(group: &str, kind: &str, name: &str, violations: &[Violation]) -> Self {
        let list: Vec<String> = violations.iter().map(ToString::to_string).collect();
        let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let message = match list.as_slice() {
            [] => format!("{qualified} {name:?} is invalid"),
            [one] => format!("{qualified} {name:?} is invalid: {one}"),
            many => format!("{qualified} {name:?} is invalid: [{}]", many.join(", ")),
        };
        let mut status = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message);
        let causes = violations
            .iter()
            .map(|v| Cause {
                reason: v.reason.cause().to_owned(),
                message: v.message(),
                field: v.path.to_string(),
            })
            .collect();
        *status.details() = Details {
            name: name.to_owned(),
            group: group.to_owned(),
            kind: kind.to_owned(),
            causes,
            ..Details::default()
        };
        status
    }

    /// 422 without a field, as a failed JSON patch gives.
    pub fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message).with_empty_details()
    }

    /// 429: try again later.
    pub fn too_many_requests(message: impl Into<String>, retry_after: u32) -> Self {
        let mut status = Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message);
        status.details().retry_after = retry_after;
        status
    }

    /// 500: something failed that is not the client's doing.
    pub fn internal(why: impl fmt::Display) -> Self {
        let mut status = Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "InternalError",
            format!("Internal error occurred: {why}"),
        );
        status.details().causes.push(Cause {
            reason: String::new(),
            message: why.to_string(),
            field: String::new(),
        });
        status
    }

    /// 503: a part of the cluster cannot be reached.
    pub fn unavailable(why: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", why)
    }

    /// A refusal in somebody else's words: a `metav1.Status`, of which everything may be missing. It is 400 at least.
    pub(crate) fn from_json(status: &Value) -> Self {
        let text =
            |of: &Value, field: &str| of.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let code = status.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
        let code = code.filter(|code| (400..=999).contains(code)).unwrap_or(400);
        let mut own = Self::new(
            StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_REQUEST),
            "",
            text(status, "message"),
        );
        own.0.reason = Cow::Owned(text(status, "reason"));
        if let Some(details) = status.get("details").filter(|details| details.is_object()) {
            let causes = details.get("causes").and_then(Value::as_array).into_iter().flatten();
            let retry_after = details.get("retryAfterSeconds").and_then(Value::as_u64).unwrap_or_default();
            own.0.details = Some(Details {
                name: text(details, "name"),
                group: text(details, "group"),
                kind: text(details, "kind"),
                uid: text(details, "uid"),
                causes: causes
                    .map(|cause| Cause {
                        reason: text(cause, "reason"),
                        message: text(cause, "message"),
                        field: text(cause, "field"),
                    })
                    .collect(),
                retry_after: u32::try_from(retry_after).unwrap_or(u32::MAX),
            });
        }
        own
    }

    /// What a node agent refused, passed on.
    pub(crate) fn from_node(code: StatusCode, message: String) -> Self {
        match code {
            StatusCode::BAD_REQUEST => Self::bad_request(message),
            StatusCode::NOT_FOUND => Self::new(code, "NotFound", message),
            _ => Self::internal(message),
        }
    }

    /// 504: it took too long.
    pub(crate) fn timeout(why: &str) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", format!("Timeout: {why}")).with_empty_details()
    }

    /// 504 for a resourceVersion the server has not reached yet.
    pub fn too_large_resource_version(asked: u64, current: u64) -> Self {
        let mut status = Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            "Timeout",
            format!("Timeout: Too large resource version: {asked}, current: {current}"),
        );
        let details = status.details();
        details.retry_after = 1;
        details.causes.push(Cause {
            reason: "ResourceVersionTooLarge".into(),
            message: "Too large resource version".into(),
            field: String::new(),
        });
        status
    }

    /// The same refusal for one of the reasons that a policy may give.
    #[must_use]
    pub(crate) fn with_reason(mut self, reason: &str) -> Self {
        let (code, reason) = match reason {
            "Forbidden" => (StatusCode::FORBIDDEN, "Forbidden"),
            "Unauthorized" => (StatusCode::UNAUTHORIZED, "Unauthorized"),
            "RequestEntityTooLarge" => (StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge"),
            _ => (StatusCode::UNPROCESSABLE_ENTITY, "Invalid"),
        };
        self.0.code = code;
        self.0.reason = reason.into();
        self
    }

    /// The same refusal, of the same code, in other words and perhaps for another reason.
    #[must_use]
    pub(crate) fn in_words(mut self, message: String, reason: Option<&'static str>) -> Self {
        self.0.message = message;
        if let Some(reason) = reason {
            self.0.reason = reason.into();
        }
        self
    }

    /// The same refusal with one more cause.
    #[must_use]
    pub fn with_cause(mut self, cause: Cause) -> Self {
        self.details().causes.push(cause);
        self
    }

    /// The HTTP status code.
    pub fn code(&self) -> StatusCode {
        self.0.code
    }

    /// The machine-readable reason, such as `NotFound`.
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    /// How long a client should wait before it tries again, where it should.
    pub fn retry_after_seconds(&self) -> Option<u32> {
        self.0.details.as_ref().map(|d| d.retry_after).filter(|s| *s > 0)
    }

    /// The `metav1.Status` object.
    pub fn to_json(&self) -> Value {
        let mut metadata = Map::new();
        if let Some(token) = &self.0.continue_token {
            metadata.insert("continue".into(), token.as_str().into());
        }
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": metadata,
            "status": "Failure",
            "message": self.0.message,
            "code": self.0.code.as_u16(),
        });
        if let (false, Some(object)) = (self.0.reason.is_empty(), status.as_object_mut()) {
            object.insert("reason".into(), self.0.reason.as_ref().into());
        }
        if let (Some(details), Some(object)) = (&self.0.details, status.as_object_mut()) {
            object.insert("details".into(), details.to_json());
        }
        status
    }
}

impl Details {
    fn to_json(&self) -> Value {
        let mut out = Map::new();
        let texts = [("name", &self.name), ("group", &self.group), ("kind", &self.kind), ("uid", &self.uid)];
        for (key, text) in texts {
            if !text.is_empty() {
                out.insert(key.into(), text.as_str().into());
            }
        }
        if !self.causes.is_empty() {
            out.insert("causes".into(), self.causes.iter().map(Cause::to_json).collect());
        }
        if self.retry_after > 0 {
            out.insert("retryAfterSeconds".into(), self.retry_after.into());
        }
        out.into()
    }
}

impl Cause {
    fn to_json(&self) -> Value {
        let mut out = Map::new();
        for (key, text) in [("reason", &self.reason), ("message", &self.message), ("field", &self.field)] {
            if !text.is_empty() {
                out.insert(key.into(), text.as_str().into());
            }
        }
        out.into()
    }
}

/// A store that fails is no fault of the client; a size limit is.
impl From<orchestra_store::Error> for StatusError {
    fn from(error: orchestra_store::Error) -> Self {
        match error {
            orchestra_store::Error::Compacted(_) => {
                Self::expired("The resourceVersion for the provided list is too old.")
            }
            orchestra_store::Error::TooLarge { limit, .. } => Self::too_large(limit),
            orchestra_store::Error::Unavailable(why) => Self::unavailable(why),
            other => Self::internal(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use orchestra_core::violation::FieldPath;

    use super::*;

    #[test]
    fn messages_read_as_upstream_words_them() {
        let deployments = GroupResource::new("apps", "deployments");
        assert_eq!(
            StatusError::not_found(&deployments, "x").to_string(),
            r#"deployments.apps "x" not found"#
        );
        let spec = FieldPath::new("spec");
        let one = Violation::required(&spec.child("a"), "");
        let two = Violation::invalid(&spec.child("b"), 1, "no");
        assert_eq!(
            StatusError::invalid("apps", "Deployment", "x", &[one, two]).to_string(),
            r#"Deployment.apps "x" is invalid: [spec.a: Required value, spec.b: Invalid value: 1: no]"#
        );
    }

    #[test]
    fn a_status_carries_code_reason_and_causes() {
        let violation = Violation::required(&FieldPath::new("spec"), "");
        let status = StatusError::invalid("", "Pod", "p", &[violation]).to_json();
        assert_eq!(status["code"], 422);
        assert_eq!(status["details"]["causes"][0]["reason"], "FieldValueRequired");
        assert_eq!(status["details"]["causes"][0]["field"], "spec");
    }
}
