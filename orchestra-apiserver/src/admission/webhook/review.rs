//! `AdmissionReview`: what a webhook is asked, and what it may answer.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use orchestra_core::gvk::GroupVersion;
use serde::Deserialize;
use serde_json::{Value, json};

use super::hook::Review;
use crate::admission::AdmissionRequest;
use crate::admission::matching::Target;

/// What a request is sent as.
#[derive(Debug)]
pub(super) struct Question<'a> {
    pub(super) uid: &'a str,
    pub(super) target: &'a Target,
    pub(super) kind_version: &'a GroupVersion,
    pub(super) object: Option<&'a Value>,
    pub(super) old: Option<&'a Value>,
}

/// The review that asks.
pub(super) fn ask(review: Review, request: &AdmissionRequest<'_>, question: &Question<'_>) -> Value {
    let kind = |gv: &GroupVersion| json!({"group": gv.group, "version": gv.version, "kind": request.kind});
    let resource = |gv: &GroupVersion, plural: &str| json!({"group": gv.group, "version": gv.version, "resource": plural});
    let Question { uid, target, kind_version, object, old } = question;
    let mut asked = json!({
        "uid": uid,
        "kind": kind(kind_version),
        "resource": resource(&target.gv, &target.resource),
        "requestKind": kind(request.kind_version),
        "requestResource": resource(&request.request.gv, &request.request.resource),
        "operation": request.operation.as_str(),
        "userInfo": request.user.info(),
        "object": object,
        "oldObject": old,
        "dryRun": request.dry_run,
        "options": request.options(),
    });
    if let Some(below) = &request.request.subresource {
        asked["subResource"] = below.as_str().into();
        asked["requestSubResource"] = below.as_str().into();
    }
    // A namespace lies in itself.
    let is_namespace = request.request.gv.group.is_empty() && request.request.resource == "namespaces";
    let namespace = if is_namespace { request.name } else { request.namespace };
    for (field, text) in [("name", request.name), ("namespace", namespace)] {
        if !text.is_empty() {
            asked[field] = text.into();
        }
    }
    json!({"kind": "AdmissionReview", "apiVersion": review.api_version(), "request": asked})
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Reviewed {
    api_version: String,
    kind: String,
    response: Option<Response>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Response {
    uid: String,
    allowed: bool,
    status: Option<Value>,
    patch: Option<String>,
    patch_type: Option<String>,
    audit_annotations: Option<BTreeMap<String, String>>,
    warnings: Option<Vec<String>>,
}

/// What a webhook has answered.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Answer {
    pub(super) is_allowed: bool,
    /// Why not.
    pub(super) status: Option<Value>,
    /// A JSON patch.
    pub(super) patch: Option<Value>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) warnings: Vec<String>,
}

/// How an answer is not one.
#[derive(Debug, PartialEq)]
pub(super) enum Wrong {
    /// It cannot be read.
    Unreadable(String),
    /// It is no answer to the question.
    Invalid(String),
    /// Its patch cannot be read.
    Patch(String),
}

/// Reads the body of an answer to the question `uid`.
pub(super) fn read(review: Review, uid: &str, is_mutating: bool, body: &[u8]) -> Result<Answer, Wrong> {
    let tree: Value = serde_json::from_slice(body).map_err(|error| {
        Wrong::Unreadable(format!("couldn't get version/kind; json parse error: {error}"))
    })?;
    if tree.get("kind").and_then(Value::as_str).unwrap_or_default().is_empty() {
        let shown: String = String::from_utf8_lossy(body).chars().take(1024).collect();
        return Err(Wrong::Unreadable(format!("Object 'Kind' is missing in '{shown}'")));
    }
    let reviewed: Reviewed =
        serde_json::from_value(tree).map_err(|error| Wrong::Unreadable(error.to_string()))?;
    let invalid = |why: String| Err(Wrong::Invalid(why));
    let Some(response) = reviewed.response else {
        return invalid("webhook response was absent".to_owned());
    };
    if review == Review::V1 {
        if response.uid != uid {
            return invalid(format!("expected response.uid={uid:?}, got {:?}", response.uid));
        }
        if (reviewed.api_version.as_str(), reviewed.kind.as_str())
            != (review.api_version(), "AdmissionReview")
        {
            return invalid(format!(
                "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got {}, Kind={}",
                reviewed.api_version, reviewed.kind
            ));
        }
    }
    let patch = response.patch.as_deref().filter(|patch| !patch.is_empty());
    let mut read = None;
    match (is_mutating, patch, response.patch_type.as_deref()) {
        (false, Some(_), _) if review == Review::V1 => {
            return invalid("validating webhook may not return response.patch".to_owned());
        }
        (false, _, Some(_)) if review == Review::V1 => {
            return invalid("validating webhook may not return response.patchType".to_owned());
        }
        (false, ..) => {}
        (true, Some(_), None) if review == Review::V1 => {
            return invalid("webhook returned response.patch but not response.patchType".to_owned());
        }
        (true, None, Some(_)) if review == Review::V1 => {
            return invalid("webhook returned response.patchType but not response.patch".to_owned());
        }
        (true, Some(_), Some("")) => {
            return invalid("webhook returned invalid response.patchType of \"\"".to_owned());
        }
        (true, Some(patch), type_) => {
            if type_.is_some_and(|type_| type_ != "JSONPatch") && review == Review::V1 {
                return Err(Wrong::Patch(format!("unsupported patch type {:?}", type_.unwrap_or_default())));
            }
            let undecodable = |error: &dyn std::fmt::Display| {
                Wrong::Patch(format!("received undecodable patch in webhook response: {error}"))
            };
            let decoded = STANDARD.decode(patch).map_err(|error| undecodable(&error))?;
            let decoded: Value = serde_json::from_slice(&decoded).map_err(|error| undecodable(&error))?;
            if !decoded.is_array() {
                return Err(undecodable(&"it is no list of operations"));
            }
            read = Some(decoded).filter(|patch| patch.as_array().is_some_and(|list| !list.is_empty()));
        }
        (true, None, _) => {}
    }
    Ok(Answer {
        is_allowed: response.allowed,
        status: response.status,
        patch: read,
        annotations: response.audit_annotations.unwrap_or_default(),
        warnings: response.warnings.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(is_mutating: bool, response: Value) -> Result<Answer, Wrong> {
        let review =
            json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response});
        read(Review::V1, "u", is_mutating, review.to_string().as_bytes())
    }

    #[test]
    fn an_answer_is_read() {
        let patch = STANDARD.encode(r#"[{"op":"add","path":"/a","value":1}]"#);
        let answer = said(
            true,
            json!({"uid": "u", "allowed": true, "patch": patch, "patchType": "JSONPatch", "warnings": ["w"]}),
        );
        let answer = answer.unwrap();
        assert!(answer.is_allowed);
        assert_eq!(answer.patch, Some(json!([{"op": "add", "path": "/a", "value": 1}])));
        assert_eq!(answer.warnings, ["w"]);
    }

    #[test]
    fn what_is_no_answer_is_said_in_upstreams_words() {
        let invalid = |why: &str| Err(Wrong::Invalid(why.to_owned()));
        assert_eq!(said(true, Value::Null), invalid("webhook response was absent"));
        assert_eq!(said(true, json!({"uid": "v"})), invalid("expected response.uid=\"u\", got \"v\""));
        assert_eq!(
            said(true, json!({"uid": "u", "patch": "e30="})),
            invalid("webhook returned response.patch but not response.patchType")
        );
        assert_eq!(
            said(false, json!({"uid": "u", "patch": "e30=", "patchType": "JSONPatch"})),
            invalid("validating webhook may not return response.patch")
        );
        let other =
            json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v2", "response": {"uid": "u"}});
        assert_eq!(
            read(Review::V1, "u", true, other.to_string().as_bytes()),
            invalid(
                "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got admission.k8s.io/v2, Kind=AdmissionReview"
            )
        );
        assert!(matches!(read(Review::V1, "u", true, b"<html>"), Err(Wrong::Unreadable(_))));
        assert_eq!(
            read(Review::V1, "u", true, b"{}"),
            Err(Wrong::Unreadable("Object 'Kind' is missing in '{}'".to_owned()))
        );
        let patched = |patch: &str| said(true, json!({"uid": "u", "patch": patch, "patchType": "JSONPatch"}));
        assert!(matches!(patched("!"), Err(Wrong::Patch(_))));
        assert!(matches!(patched("e30="), Err(Wrong::Patch(_))));
    }

    #[test]
    fn the_older_form_is_taken_as_it_comes() {
        let review = json!({"kind": "AdmissionReview", "response": {"allowed": true, "patch": "W10="}});
        let answer = read(Review::V1Beta1, "u", true, review.to_string().as_bytes()).unwrap();
        assert!(answer.is_allowed && answer.patch.is_none());
    }
}
