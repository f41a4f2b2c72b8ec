//! An event as it stands in the log: `audit.k8s.io/v1` Event, its fields in upstream's order.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::policy::{AuditLevel, AuditStage};
use crate::request::{RequestInfo, ResourceRequest};

/// More of a user agent is not told, as upstream.
const MOST_AGENT: usize = 1024;

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event {
    pub(super) kind: &'static str,
    pub(super) api_version: &'static str,
    pub(super) level: AuditLevel,
    #[serde(rename = "auditID")]
    pub(super) audit_id: String,
    pub(super) stage: AuditStage,
    #[serde(rename = "requestURI")]
    pub(super) request_uri: String,
    pub(super) verb: String,
    pub(super) user: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) impersonated_user: Option<Value>,
    #[serde(rename = "sourceIPs", skip_serializing_if = "Vec::is_empty")]
    pub(super) source_ips: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) user_agent: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) object_ref: Option<ObjectRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) response_status: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) request_object: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) response_object: Option<Value>,
    #[serde(serialize_with = "micros")]
    pub(super) request_received_timestamp: Timestamp,
    #[serde(serialize_with = "micros")]
    pub(super) stage_timestamp: Timestamp,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ObjectRef {
    #[serde(skip_serializing_if = "String::is_empty")]
    resource: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    namespace: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    uid: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    api_group: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    api_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    resource_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    subresource: String,
}

impl ObjectRef {
    pub(super) fn of(info: &RequestInfo) -> Option<Self> {
        let RequestInfo::Resource(request) = info else { return None };
        let ResourceRequest { gv, resource, namespace, name, subresource, .. } = request;
        Some(Self {
            resource: resource.clone(),
            namespace: namespace.clone().unwrap_or_default(),
            name: name.clone().unwrap_or_default(),
            api_group: gv.group.clone().into_owned(),
            api_version: gv.version.clone().into_owned(),
            subresource: subresource.clone().unwrap_or_default(),
            ..Self::default()
        })
    }

    /// What the path did not say, the object that was sent may.
    pub(super) fn complete(&mut self, object: &Value) {
        let said = |field: &str| {
            let text = object.get("metadata").and_then(|meta| meta.get(field)).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        for (own, field) in [
            (&mut self.namespace, "namespace"),
            (&mut self.name, "name"),
            (&mut self.uid, "uid"),
            (&mut self.resource_version, "resourceVersion"),
        ] {
            if own.is_empty() {
                *own = said(field);
            }
        }
    }
}

/// The header's text, and no more of it than is told.
pub(super) fn user_agent(text: &str) -> String {
    if text.len() <= MOST_AGENT {
        return text.to_owned();
    }
    const MARK: &str = "...TRUNCATED";
    let mut end = MOST_AGENT - MARK.len();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{MARK}", text.get(..end).unwrap_or_default())
}

fn micros<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    let text = time.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
    serializer.serialize_str(&text)
}

/// Takes `metadata.managedFields` out of an object, or out of those in a list.
pub(super) fn forget_managers(object: &mut Value) {
    let forget = |object: &mut Value| {
        if let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            meta.remove("managedFields");
        }
    };
    forget(object);
    for item in object.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten() {
        forget(item);
    }
    for row in object.get_mut("rows").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(object) = row.get_mut("object") {
            forget(object);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_long_user_agent_is_cut() {
        assert_eq!(user_agent("kubectl"), "kubectl");
        let cut = user_agent(&"ä".repeat(1000));
        assert!(cut.len() <= MOST_AGENT && cut.ends_with("...TRUNCATED"), "{cut}");
    }

    #[test]
    fn managers_are_forgotten_wherever_objects_are() {
        let managed = || json!({"metadata": {"name": "a", "managedFields": [{}]}});
        let plain = json!({"metadata": {"name": "a"}});
        for (mut object, expected) in [
            (managed(), plain.clone()),
            (json!({"items": [managed()]}), json!({"items": [plain.clone()]})),
            (json!({"rows": [{"object": managed()}]}), json!({"rows": [{"object": plain}]})),
        ] {
            forget_managers(&mut object);
            assert_eq!(object, expected);
        }
    }
}
