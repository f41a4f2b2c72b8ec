//! Who set which field: keeps `metadata.managedFields` through every write.

use http::{HeaderMap, header};
use orchestra_core::kind::Subresource;
use orchestra_core::patch::apply::{self, Author, Target, Unseen, Versions, Views};
use serde_json::Value;

use crate::query::MAX_FIELD_MANAGER;
use crate::state::{Call, State};
use crate::status::StatusError;
use crate::storage::meta;

const FIELD: &str = "managedFields";

/// How a write comes to its account.
#[derive(Debug)]
pub(crate) enum Account {
    /// What it changes is its author's.
    Track,
    /// It is known already.
    Known(Option<Value>),
}

/// The account to be stored.
#[derive(Debug)]
pub(crate) struct Settled(Option<Value>);

impl Account {
    /// The account of the object as its author wants it, [complete](crate::storage::resource::Resource::complete) and before
    /// admission and the rules of the kind change it. Takes what the client sent along out of the object.
    pub(crate) async fn settle(
        self,
        state: &State,
        call: &Call,
        old: Option<&Value>,
        object: &mut Value,
    ) -> Settled {
        let account = match self {
            Self::Known(account) => account,
            Self::Track => {
                call.resource.complete(object);
                let now = state.stamp();
                let manager = manager(call);
                let author = author(call, &manager, &now);
                let track = |target: Target<'_>| apply::track(old, object, author, target);
                // Nobody has set anything of a new object through another version.
                let is_seen = old.is_some() || self::account(object).is_some();
                let account = if is_seen { seen(call, track).await.ok() } else { None };
                // The write does not need the other versions. Whoever manages fields in them keeps those; that nobody
                // converted is counted where it was tried.
                account.unwrap_or_else(|| track(target(call, Versions::Apart)).ok().flatten())
            }
        };
        meta::remove(object, FIELD);
        Settled(account)
    }
}

impl Settled {
    pub(crate) fn write(self, object: &mut Value) {
        match self.0 {
            Some(account) => meta::set(object, FIELD, account),
            None => meta::remove(object, FIELD),
        }
    }
}

pub(crate) fn author<'a>(call: &'a Call, manager: &'a str, now: &'a str) -> Author<'a> {
    Author {
        manager,
        api_version: &call.resource.api_version,
        subresource: call.request.subresource.as_deref().unwrap_or_default(),
        now,
    }
}

/// What the call writes to. Fields the endpoint does not set are nobody's through it.
fn target<'a>(call: &'a Call, versions: Versions<'a>) -> Target<'a> {
    let has_status = call.resource.description().subresources.contains(&Subresource::Status);
    let ignored: &[&[&str]] = match call.request.subresource.as_deref() {
        Some("status") => &[&["spec"], &["metadata", "ownerReferences"]],
        Some("approval") => &[&["spec"]],
        Some("ephemeralcontainers" | "resize") => &[&["status"]],
        None if has_status => &[&["status"]],
        _ => &[],
    };
    Target { schema: call.resource.schema(), versions, ignored }
}

/// Does `attempt` until it has seen the object in all versions it asks for.
///
/// # Errors
/// The object cannot be converted.
pub(crate) async fn seen<T>(
    call: &Call,
    attempt: impl Fn(Target<'_>) -> Result<T, Unseen>,
) -> Result<T, StatusError> {
    let resource = &call.resource;
    let mut views = match resource.versions() {
        versions if !versions.is_empty() => Views::new(versions),
        _ => {
            let versions = if resource.custom().is_some() { Versions::Alike } else { Versions::Apart };
            return attempt(target(call, versions)).map_err(StatusError::internal);
        }
    };
    loop {
        match attempt(target(call, Versions::Seen(&views))) {
            Ok(done) => return Ok(done),
            Err(question) => {
                let converted = resource.show(&question.objects, &question.api_version).await;
                let failed = |error| StatusError::unforeseen(format!("{}{error}", question.context));
                let converted = converted.map_err(failed)?;
                views.add(question, converted);
            }
        }
    }
}

/// The name of the field manager: as asked for, or the program of the client.
fn manager(call: &Call) -> String {
    match call.options.field_manager.as_str() {
        "" => program(&call.headers),
        name => name.to_owned(),
    }
}

fn program(headers: &HeaderMap) -> String {
    let agent = headers.get(header::USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let agent = agent.unwrap_or_default();
    let mut name = String::new();
    for letter in agent.split('/').next().unwrap_or_default().chars().filter(|letter| !letter.is_control()) {
        if name.len() + letter.len_utf8() > MAX_FIELD_MANAGER {
            break;
        }
        name.push(letter);
    }
    name
}

/// Takes back new times in the account when nothing else of the object has changed, so that a write that changes
/// nothing stays one.
pub(crate) fn keep_times(new: &mut Value, old: &Value) {
    let theirs = {
        let (Some(ours), Some(theirs)) = (account(new), account(old)) else { return };
        // Most writes change something, which is found soonest.
        let is_restored =
            ours != theirs && is_same_but_for_account(new, old) && apply::differ_in_time_only(ours, theirs);
        is_restored.then(|| theirs.clone())
    };
    if let Some(theirs) = theirs {
        meta::set(new, FIELD, theirs);
    }
}

fn account(object: &Value) -> Option<&Value> {
    meta::metadata(object)?.get(FIELD)
}

fn is_same_but_for_account(new: &Value, old: &Value) -> bool {
    let (Some(new), Some(old)) = (new.as_object(), old.as_object()) else { return false };
    let same = |a: &serde_json::Map<String, Value>, b: &serde_json::Map<String, Value>, but: &[&str]| {
        let differs = |name: &String| !but.contains(&name.as_str()) && a.get(name) != b.get(name);
        !a.keys().chain(b.keys()).any(differs)
    };
    let empty = serde_json::Map::new();
    let (ours, theirs) =
        (new.get("metadata").and_then(Value::as_object), old.get("metadata").and_then(Value::as_object));
    same(new, old, &["metadata"])
        && same(ours.unwrap_or(&empty), theirs.unwrap_or(&empty), &[FIELD, "resourceVersion"])
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn who_names_no_manager_goes_by_his_program() {
        for (agent, name) in
            [("kubectl/v1.36.2 (linux/amd64) kubernetes/abc", "kubectl"), ("curl", "curl"), ("", "")]
        {
            let mut headers = HeaderMap::new();
            headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
            assert_eq!(program(&headers), name);
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::USER_AGENT, HeaderValue::from_str(&"x".repeat(200)).unwrap());
        assert_eq!(program(&headers).len(), MAX_FIELD_MANAGER);
    }
}
