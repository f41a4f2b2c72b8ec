//! What the node agent may write into a pod's status.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::kinds::frame::check::refuse;
use crate::kinds::frame::{Fill, Object, View};
use crate::violation::{Violation, Violations};

/// The class of service is decided when a pod is made; an agent that leaves it out does not take it away.
pub(super) fn prepare(pod: &mut Object, old: &Value) {
    if let Some(class) = old.pointer("/status/qosClass") {
        pod.object("status").insert("qosClass".to_owned(), class.clone());
    }
}

/// Rules of a status write, after `ValidatePodStatusUpdate`.
pub(super) fn validate(new: &View, old: &View, out: &mut Violations) {
    let (status, before) = (new.get("status"), old.get("status"));
    let nominated = status.get("nominatedNodeName");
    for message in crate::meta::name::is_dns1123_subdomain(nominated.text()) {
        if !nominated.is_empty() {
            refuse(out, &nominated, message);
        }
    }
    let policy = old.get("spec").get("restartPolicy").text();
    if policy != "Always" {
        for list in ["containerStatuses", "initContainerStatuses"] {
            stays_ended(out, &status.get(list), &before.get(list), old, policy);
        }
    }
    let class = status.get("qosClass");
    if !before.get("qosClass").is_empty() && class != before.get("qosClass") {
        refuse(out, &class, "Pod QoS is immutable");
    }
}

/// A container that ended and is not to be started again stays ended.
fn stays_ended(out: &mut Violations, new: &View, old: &View, pod: &View, policy: &str) {
    let statuses: HashMap<&str, View> = new.items().map(|now| (now.get("name").text(), now)).collect();
    let restarting = restarting_alone(pod);
    for held in old.items() {
        let ended = held.get("state").get("terminated");
        if !ended.is_set() || (policy == "OnFailure" && ended.get("exitCode").int() != Some(0)) {
            continue;
        }
        let name = held.get("name").text();
        if restarting.contains(name) {
            continue;
        }
        if let Some(now) = statuses.get(name).filter(|now| !now.get("state").get("terminated").is_set()) {
            let detail = "may not be transitioned to non-terminated state";
            out.push(Violation::forbidden(now.get("state").path(), detail));
        }
    }
}

/// The containers that have a restart policy of their own.
fn restarting_alone<'a>(pod: &View<'a>) -> HashSet<&'a str> {
    let all = ["containers", "initContainers"].into_iter().flat_map(|list| pod.get("spec").get(list).items());
    let own = all.filter(|container| container.get("restartPolicy").is_set());
    own.map(|container| container.get("name").text()).collect()
}
