//! What of claims of devices takes more than the right to write them: devices as an administrator has them, and each part of a
//! claim's status.
//!
//! After upstream's `pkg/registry/resource/utils.go` (`DRAAdminAccess`, and from 1.36 on `DRAResourceClaimGranularStatusAuthorization`);
//! <https://kubernetes.io/docs/concepts/security/hardening-guide/dynamic-resource-allocation/>.

use std::collections::{BTreeMap, BTreeSet};

use orchestra_core::gvk::GroupVersion;
use orchestra_core::violation::{FieldPath, Violation, Violations};
use serde_json::Value;

use super::update::Part;
use crate::auth::service_account;
use crate::request::{RequestInfo, ResourceRequest};
use crate::server::ask;
use crate::state::{Call, State};
use crate::status::StatusError;
use crate::storage::meta;

const GROUP: &str = "resource.k8s.io";
const CORE: GroupVersion = GroupVersion::new("", "v1");
/// The label of namespaces in which claims may be an administrator's.
const ADMIN_ACCESS: &str = "resource.kubernetes.io/admin-access";
/// Where the credentials of an account say on which node its pod runs.
const NODE: &str = "authentication.kubernetes.io/node-name";

/// What the user may not write of a new object.
pub(crate) async fn in_new(state: &State, call: &Call, object: &Value) -> Result<Violations, StatusError> {
    let requests = match call.resource.gr.resource.as_str() {
        _ if call.resource.gr.group != GROUP => return Ok(Violations::new()),
        "resourceclaims" => "/spec/devices/requests",
        "resourceclaimtemplates" => "/spec/spec/devices/requests",
        _ => return Ok(Violations::new()),
    };
    // For a template upstream names the field as in a claim, too.
    let field = FieldPath::new("spec").child("devices").child("requests");
    match list(object, requests).position(|request| is_admins(request.get("exactly"))) {
        Some(at) => admin(state, call, &field.index(at)).await,
        None => Ok(Violations::new()),
    }
}

/// What the user may not change of an object.
pub(crate) async fn in_change(
    state: &State,
    call: &Call,
    part: Part,
    new: &Value,
    old: &Value,
) -> Result<Violations, StatusError> {
    if part != Part::Status || !call.resource.is(GROUP, "resourceclaims") {
        return Ok(Violations::new());
    }
    let mut wrong = Violations::new();
    let results = |claim| list(claim, "/status/allocation/devices/results");
    let asked = results(new).position(|result| is_admins(Some(result)));
    if let Some(at) = asked
        && !results(old).any(|result| is_admins(Some(result)))
    {
        let field = FieldPath::new("status").child("allocation").child("devices").child("results");
        wrong.extend(admin(state, call, &field.index(at)).await?);
    }
    let verb = call.request.verb.as_str();
    let differs = |field| said(new, field) != said(old, field);
    if differs("/status/allocation") || differs("/status/reservedFor") {
        let wish = ResourceRequest { namespace: None, ..wish(call, "binding", None) };
        if let Err(why) = may(state, call, verb, wish).await {
            let detail = format!(
                "changing status.allocation or status.reservedFor requires resource=\"resourceclaims/binding\", verb=\"{verb}\" permission: {why}"
            );
            wrong.push(Violation::forbidden(&FieldPath::new("status"), detail));
        }
    }
    let mut verbs = vec![format!("arbitrary-node:{verb}")];
    if is_of_the_claims_node(call, new) {
        verbs.insert(0, format!("associated-node:{verb}"));
    }
    for driver in changed_drivers(new, old) {
        let Err(why) = may_one_of(state, call, &verbs, driver).await else { continue };
        let detail = format!(
            "changing status.devices requires resource=\"resourceclaims/driver\", verb=\"[{}]\" permission: {why}",
            verbs.join(" ")
        );
        wrong.push(Violation::forbidden(&FieldPath::new("status").child("devices"), detail));
    }
    Ok(wrong)
}

/// Access as an administrator is had in namespaces that say so.
async fn admin(state: &State, call: &Call, asked: &FieldPath) -> Result<Violations, StatusError> {
    let name = call.namespace().unwrap_or_default();
    let namespace = state.reader.get(&CORE, "namespaces", "", name).await?;
    let metadata = namespace.as_ref().and_then(meta::metadata);
    let label = metadata.and_then(|metadata| metadata.get("labels")?.get(ADMIN_ACCESS));
    if label.and_then(Value::as_str) == Some("true") {
        return Ok(Violations::new());
    }
    let detail = format!(
        "admin access to devices requires the `{ADMIN_ACCESS}: true` label on the containing namespace"
    );
    Ok(vec![Violation::forbidden(&asked.child("adminAccess"), detail)])
}

/// A question about a part of claims that has a name only where rights are given.
fn wish(call: &Call, subresource: &str, name: Option<&str>) -> ResourceRequest {
    ResourceRequest {
        subresource: Some(subresource.to_owned()),
        name: name.map(str::to_owned),
        ..call.request.clone()
    }
}

/// Who cannot be asked about may not.
async fn may(state: &State, call: &Call, verb: &str, wish: ResourceRequest) -> Result<(), StatusError> {
    ask(state, &call.user, verb, &RequestInfo::Resource(wish), "").await
}

/// Any of the verbs will do; where none does, it is the first that is told of.
async fn may_one_of(state: &State, call: &Call, verbs: &[String], driver: &str) -> Result<(), StatusError> {
    let mut refused = Ok(());
    for verb in verbs {
        match may(state, call, verb, wish(call, "driver", Some(driver))).await {
            Ok(()) => return Ok(()),
            Err(why) => refused = refused.and(Err(why)),
        }
    }
    refused
}

/// Whether the user is an account whose pod runs on the one node for which the claim has its devices.
fn is_of_the_claims_node(call: &Call, claim: &Value) -> bool {
    let own = call.user.extra.get(NODE).map(Vec::as_slice);
    let is_account = service_account::parse(&call.user.name).is_some();
    matches!((own, allocated_node(claim)), (Some([own]), Some(node)) if is_account && own == node)
}

fn allocated_node(claim: &Value) -> Option<&str> {
    let [term] = claim.pointer("/status/allocation/nodeSelector/nodeSelectorTerms")?.as_array()?.as_slice()
    else {
        return None;
    };
    let [field] = term.get("matchFields")?.as_array()?.as_slice() else { return None };
    let text = |name: &str| field.get(name).and_then(Value::as_str);
    if list(term, "/matchExpressions").next().is_some()
        || (text("key"), text("operator")) != (Some("metadata.name"), Some("In"))
    {
        return None;
    }
    match field.get("values")?.as_array()?.as_slice() {
        [node] => node.as_str().filter(|node| !node.is_empty()),
        _ => None,
    }
}

/// The drivers of devices whose state came, changed or went, in order.
fn changed_drivers<'a>(new: &'a Value, old: &'a Value) -> BTreeSet<&'a str> {
    let text = |device: &'a Value, field: &str| device.get(field).and_then(Value::as_str).unwrap_or_default();
    let key = |device| ["driver", "pool", "device", "shareID"].map(|field| text(device, field));
    let devices = |claim| list(claim, "/status/devices").map(|device| (key(device), device));
    let mut before: BTreeMap<_, _> = devices(old).collect();
    let mut changed = BTreeSet::new();
    for (key, device) in devices(new) {
        if before.remove(&key) != Some(device) {
            changed.insert(key[0]);
        }
    }
    changed.extend(before.into_keys().map(|[driver, ..]| driver));
    changed
}

fn is_admins(of: Option<&Value>) -> bool {
    of.and_then(|of| of.get("adminAccess")).and_then(Value::as_bool).unwrap_or(false)
}

fn list<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    object.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// A field, if it says anything.
fn said<'a>(object: &'a Value, pointer: &str) -> Option<&'a Value> {
    let is_empty = |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
    object.pointer(pointer).filter(|value| !is_empty(value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with_devices(devices: &[(&str, &str, u8)]) -> Value {
        let devices: Vec<Value> = devices
            .iter()
            .map(|(driver, device, data)| json!({"driver": driver, "pool": "p", "device": device, "data": {"n": data}}))
            .collect();
        json!({"status": {"devices": devices}})
    }

    #[test]
    fn drivers_are_those_of_devices_that_came_changed_or_went() {
        let old = with_devices(&[("a", "1", 0), ("b", "1", 0), ("d", "1", 0)]);
        let new = with_devices(&[("a", "1", 1), ("b", "1", 0), ("c", "1", 0)]);
        assert_eq!(changed_drivers(&new, &old).into_iter().collect::<Vec<_>>(), ["a", "c", "d"]);
        assert!(changed_drivers(&old, &old).is_empty());
        assert!(changed_drivers(&json!({}), &json!({"status": {}})).is_empty());
        let (one, two) = (with_devices(&[("a", "1", 0)]), with_devices(&[("a", "2", 0), ("a", "1", 0)]));
        assert_eq!(changed_drivers(&two, &one).into_iter().collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn a_claim_is_of_a_node_when_it_names_that_one_and_nothing_else() {
        let of =
            |terms: Value| json!({"status": {"allocation": {"nodeSelector": {"nodeSelectorTerms": terms}}}});
        let named = |operator: &str, values: Value| json!({"key": "metadata.name", "operator": operator, "values": values});
        let term = |fields: Value| json!([{"matchFields": fields}]);
        assert_eq!(allocated_node(&of(term(json!([named("In", json!(["n"]))])))), Some("n"));
        for terms in [
            term(json!([named("In", json!(["n", "m"]))])),
            term(json!([named("NotIn", json!(["n"]))])),
            term(json!([named("In", json!(["n"])), named("In", json!(["n"]))])),
            json!([{"matchFields": [named("In", json!(["n"]))], "matchExpressions": [{"key": "a", "operator": "Exists"}]}]),
            json!([{"matchFields": [named("In", json!(["n"]))]}, {}]),
            json!([]),
        ] {
            assert_eq!(allocated_node(&of(terms.clone())), None, "{terms}");
        }
    }
}
