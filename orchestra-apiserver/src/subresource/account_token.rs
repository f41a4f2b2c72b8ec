//! `serviceaccounts/token`: a token for an account, bound to a pod, a Secret or a node, or to nothing but the account.
//!
//! After upstream's `pkg/registry/core/serviceaccount/storage/token.go`.

use http::{Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use orchestra_core::gvk::GroupVersion;
use orchestra_core::violation::{FieldPath, Violation, Violations};
use serde_json::{Value, json};

use crate::admission::Operation;
use crate::auth::service_account;
use crate::auth::token::claims::{About, Bound, Claims};
use crate::body::{self, Body};
use crate::clock::stamp;
use crate::negotiate::decode;
use crate::state::{Call, State};
use crate::status::{GroupResource, StatusError};
use crate::storage::meta;
use crate::verbs::get;
use crate::warning;

const GROUP: &str = "authentication.k8s.io";
const CORE: GroupVersion = GroupVersion::new("", "v1");
const DEFAULT_SECONDS: i64 = 60 * 60;
const MIN_SECONDS: i64 = 10 * 60;
const MAX_SECONDS: i64 = 1 << 32;
/// What admission asks for a pod's own token: those that do not read their file again get a year, and are told of in the log.
const POD_SECONDS: i64 = 60 * 60 + 7;
const EXTENDED_SECONDS: i64 = 365 * 24 * 60 * 60;

/// POST of a `TokenRequest`.
pub(crate) async fn issue(state: &State, call: &Call) -> Result<Response<Body>, StatusError> {
    let decoded = decode::other(call, &GroupVersion::new(GROUP, "v1"), "TokenRequest")?;
    let mut request = decoded.value;
    let account = call.resource.tree(&get::entry(state, call).await?)?;
    complete(state, call, &mut request)?;
    call.admit(state, Operation::Create, &mut request, None).await?;
    // Not before: admission asks a node for whom it wants a token, which is nobody as long as it has not said so.
    if strings(&request["spec"], "audiences").is_empty() {
        request["spec"]["audiences"] = json!(state.tokens.audiences);
    }
    let spec = request.get("spec").cloned().unwrap_or_default();
    let seconds = spec.get("expirationSeconds").and_then(Value::as_i64).unwrap_or(DEFAULT_SECONDS);
    let violations = violations(seconds);
    if !violations.is_empty() {
        return Err(StatusError::invalid(GROUP, "TokenRequest", "", &violations));
    }
    call.check(state, Operation::Create, &request, None).await?;

    let namespace = call.namespace().unwrap_or_default();
    let mut about = About {
        namespace: namespace.to_owned(),
        node: None,
        pod: None,
        secret: None,
        serviceaccount: bound(&account),
        warnafter: None,
    };
    if let Some(reference) = spec.get("boundObjectRef").filter(|reference| reference.is_object()) {
        bind(state, call, reference, &mut about).await?;
    }
    let audiences: Vec<String> = strings(&spec, "audiences");
    let now = state.clock.now();
    let mut lasts = seconds;
    let for_us = audiences.iter().all(|one| state.tokens.audiences.contains(one));
    if about.pod.is_some() && seconds == POD_SECONDS && for_us {
        about.warnafter = Some(now.as_second().saturating_add(seconds));
        lasts = EXTENDED_SECONDS;
    }
    let claims = Claims {
        aud: audiences,
        exp: now.as_second().saturating_add(lasts),
        iat: now.as_second(),
        iss: state.tokens.issuer.clone(),
        jti: state.chance.uuid(),
        about,
        nbf: now.as_second(),
        sub: service_account::user_name(namespace, call.name()),
    };
    let token = state.tokens.sign(&claims).map_err(StatusError::internal)?;
    request["status"] = json!({"token": token, "expirationTimestamp": stamp(end(now, seconds))});
    let mut response = body::tree(StatusCode::CREATED, &request);
    warning::add(&mut response, &decoded.warnings);
    Ok(response)
}

/// Fills in what a request leaves out, and refuses one that is for another account.
fn complete(state: &State, call: &Call, request: &mut Value) -> Result<(), StatusError> {
    let Some(map) = request.as_object_mut() else {
        return Err(StatusError::bad_request("a TokenRequest must be an object"));
    };
    map.insert("apiVersion".into(), format!("{GROUP}/v1").into());
    map.insert("kind".into(), "TokenRequest".into());
    let spec = map.entry("spec").or_insert_with(|| json!({}));
    if spec.get("expirationSeconds").is_none_or(Value::is_null) {
        spec["expirationSeconds"] = DEFAULT_SECONDS.into();
    }
    if spec.get("boundObjectRef").is_none() {
        spec["boundObjectRef"] = Value::Null;
    }
    let given = meta::text(request, "namespace");
    if !given.is_empty() && Some(given) != call.namespace() {
        return Err(StatusError::bad_request(format!(
            "the namespace of the provided object does not match the namespace sent on the request: {given}"
        )));
    }
    let given = meta::name(request);
    if !given.is_empty() && given != call.name() {
        return Err(StatusError::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({})",
            call.name()
        )));
    }
    meta::set(request, "name", call.name());
    meta::set(request, "namespace", call.namespace().unwrap_or_default());
    if meta::text(request, "creationTimestamp").is_empty() {
        meta::set(request, "creationTimestamp", state.stamp());
    }
    Ok(())
}

fn violations(seconds: i64) -> Violations {
    let path = FieldPath::new("spec").child("expirationSeconds");
    let mut out = Violations::new();
    if seconds < MIN_SECONDS {
        out.push(Violation::invalid(&path, seconds, "may not specify a duration less than 10 minutes"));
    }
    if seconds > MAX_SECONDS {
        out.push(Violation::invalid(&path, seconds, "may not specify a duration larger than 2^32 seconds"));
    }
    out
}

/// Looks up what a token is to be bound to.
async fn bind(state: &State, call: &Call, reference: &Value, about: &mut About) -> Result<(), StatusError> {
    let text = |field: &str| reference.get(field).and_then(Value::as_str).unwrap_or_default();
    let (version, kind, name, uid) = (text("apiVersion"), text("kind"), text("name"), text("uid"));
    let plural = match (version, kind) {
        ("v1", "Pod") => "pods",
        ("v1", "Secret") => "secrets",
        ("v1", "Node") => "nodes",
        _ => {
            let (group, version) = version.split_once('/').unwrap_or(("", version));
            let of = format!("{group}/{version}, Kind={kind}");
            return Err(StatusError::bad_request(format!("cannot bind token to object of type {of}")));
        }
    };
    let found = state.reader.get(&CORE, plural, &about.namespace, name).await?;
    let found = found.ok_or_else(|| StatusError::not_found(&GroupResource::new("", plural), name))?;
    let is = bound(&found);
    if !uid.is_empty() && uid != is.uid {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(StatusError::conflict(&GroupResource::new("", kind), name, why));
    }
    match plural {
        "secrets" => about.secret = Some(is),
        "nodes" => about.node = Some(is),
        _ => {
            let spec = |field: &str| found.pointer(&format!("/spec/{field}")).and_then(Value::as_str);
            if spec("serviceAccountName") != Some(call.name()) {
                return Err(StatusError::bad_request(format!(
                    "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
                    call.name()
                )));
            }
            if let Some(node) = spec("nodeName").filter(|node| !node.is_empty()) {
                let object = state.reader.get(&CORE, "nodes", "", node).await?;
                let uid = object.as_ref().map(|node| meta::text(node, "uid").to_owned()).unwrap_or_default();
                about.node = Some(Bound { name: node.to_owned(), uid });
            }
            about.pod = Some(is);
        }
    }
    Ok(())
}

fn bound(object: &Value) -> Bound {
    Bound { name: meta::name(object).to_owned(), uid: meta::text(object, "uid").to_owned() }
}

fn strings(object: &Value, field: &str) -> Vec<String> {
    let list = object.get(field).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn end(now: Timestamp, seconds: i64) -> Timestamp {
    now.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_lasts_ten_minutes_at_least_and_136_years_at_most() {
        let said = |seconds| violations(seconds).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert!(said(600).is_empty() && said(1 << 32).is_empty());
        assert_eq!(
            said(599),
            ["spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes"]
        );
        assert_eq!(
            said((1 << 32) + 1),
            [
                "spec.expirationSeconds: Invalid value: 4294967297: may not specify a duration larger than 2^32 seconds"
            ]
        );
    }
}
