//! Rules of a service, after `ValidateService`.

use std::collections::HashSet;

use super::ports;
use crate::kinds::frame::View;
use crate::kinds::frame::check::{one_of, optional_name, refuse, refuse_all, required, required_one_of};
use crate::kinds::{ip, labels};
use crate::meta::name;
use crate::violation::{Violation, Violations};

/// Rules for every service.
pub(super) fn validate(out: &mut Violations, spec: &View) {
    let kind = spec.get("type").text();
    ports::validate(out, spec);
    of_type(out, spec, kind);
    labels::validate(out, &spec.get("selector"));
    affinity(out, spec);
    required_one_of(out, &spec.get("type"), &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]);
    for address in spec.get("externalIPs").items() {
        let messages = name::is_ip(address.text());
        if messages.is_empty() {
            ip::not_special(out, &address);
        }
        refuse_all(out, &address, messages);
    }
    traffic_policies(out, spec, kind);
    addresses(out, spec, kind);
    families(out, spec, kind);
    if kind != "LoadBalancer" {
        for field in ["loadBalancerSourceRanges", "allocateLoadBalancerNodePorts", "loadBalancerClass"] {
            if spec.get(field).is_set() && !spec.get(field).is_empty() {
                let detail = "may only be used when `type` is 'LoadBalancer'";
                out.push(Violation::forbidden(spec.get(field).path(), detail));
            }
        }
    }
    let distribution = spec.get("trafficDistribution");
    one_of(out, &distribution, &["PreferClose", "PreferSameNode", "PreferSameZone"]);
}

fn of_type(out: &mut Violations, spec: &View, kind: &str) {
    let list = spec.get("clusterIPs");
    let headless = spec.get("clusterIP").text() == "None";
    match kind {
        "NodePort" | "LoadBalancer" if headless => {
            let path = list.path().index(0);
            out.push(Violation::invalid(
                &path,
                "None",
                format!("may not be set to 'None' for {kind} services"),
            ));
        }
        "ExternalName" => {
            if !list.is_empty() {
                out.push(Violation::forbidden(list.path(), "may not be set for ExternalName services"));
            }
            let name = spec.get("externalName");
            // An empty last label, the dot at the end, is fine.
            let text = name.text().strip_suffix('.').unwrap_or(name.text());
            if required(out, &name) {
                for message in name::is_dns1123_subdomain(text) {
                    out.push(Violation::invalid(name.path(), text, message));
                }
            }
        }
        _ => (),
    }
}

fn affinity(out: &mut Violations, spec: &View) {
    let (affinity, config) = (spec.get("sessionAffinity"), spec.get("sessionAffinityConfig"));
    required_one_of(out, &affinity, &["ClientIP", "None"]);
    match affinity.text() {
        "ClientIP" => {
            let seconds = config.get("clientIP").get("timeoutSeconds");
            if !seconds.int().is_some_and(|seconds| (1..=86400).contains(&seconds)) {
                refuse(out, &seconds, "must be greater than 0 and less than 86400");
            }
        }
        "None" if config.is_set() => {
            let detail = "must not be set when session affinity is None";
            out.push(Violation::forbidden(config.path(), detail));
        }
        _ => (),
    }
}

fn traffic_policies(out: &mut Violations, spec: &View, kind: &str) {
    let outside = matches!(kind, "NodePort" | "LoadBalancer") || !spec.get("externalIPs").is_empty();
    let external = spec.get("externalTrafficPolicy");
    if !external.is_empty() {
        if !outside || kind == "ExternalName" {
            let detail = "may only be set for externally-accessible services";
            refuse(out, &external, detail);
        } else {
            one_of(out, &external, &["Cluster", "Local"]);
        }
    }
    let internal = spec.get("internalTrafficPolicy");
    if kind != "ExternalName" {
        required_one_of(out, &internal, &["Cluster", "Local"]);
    }
    let check = spec.get("healthCheckNodePort");
    let wanted = kind == "LoadBalancer" && external.text() == "Local";
    if check.int().unwrap_or_default() != 0 && !wanted {
        let detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        refuse(out, &check, detail);
    }
}

/// After `ValidateServiceClusterIPsRelatedFields`.
fn addresses(out: &mut Violations, spec: &View, kind: &str) {
    let (one, list) = (spec.get("clusterIP"), spec.get("clusterIPs"));
    if kind == "ExternalName" {
        return;
    }
    if one.is_empty() && !list.is_empty() {
        refuse(out, &list, "must be empty when `clusterIP` is not specified");
    }
    if !one.is_empty() {
        match list.items().next() {
            None => out.push(Violation::required(list.path(), "")),
            Some(first) if first.text() != one.text() => {
                refuse(out, &first, "first value must match `clusterIP`");
            }
            Some(_) => (),
        }
    }
    if list.len() > 2 {
        refuse(out, &list, "may only hold up to 2 values");
    }
    for address in list.items() {
        if address.text() == "None" {
            if list.len() > 1 {
                refuse(out, &address, "may only be set once when `clusterIPs[0]` is 'None'");
            }
        } else {
            refuse_all(out, &address, name::is_ip(address.text()));
        }
    }
}

fn families(out: &mut Violations, spec: &View, kind: &str) {
    let (policy, families) = (spec.get("ipFamilyPolicy"), spec.get("ipFamilies"));
    if kind == "ExternalName" {
        for field in [policy, families] {
            if !field.is_empty() {
                out.push(Violation::forbidden(field.path(), "may not be set for ExternalName services"));
            }
        }
        return;
    }
    one_of(out, &policy, &["PreferDualStack", "RequireDualStack", "SingleStack"]);
    let mut seen = HashSet::new();
    for family in families.items() {
        if !matches!(family.text(), "IPv4" | "IPv6") {
            out.push(Violation::not_supported(family.path(), family.text(), &["IPv4", "IPv6"]));
        } else if !seen.insert(family.text()) {
            out.push(Violation::duplicate(family.path(), family.text()));
        }
    }
}

/// What of a service may not change, after `ValidateServiceUpdate`.
pub(super) fn change(out: &mut Violations, new: &View, old: &View) {
    let stays = [new, old].iter().all(|spec| spec.get("type").text() != "ExternalName");
    let (list, before) = (new.get("clusterIPs"), old.get("clusterIPs"));
    if stays && !before.is_empty() {
        let first = |list: &View| list.items().next().map(|item| item.text().to_owned());
        if list.is_empty() {
            refuse(out, &list, "primary clusterIP can not be unset");
        } else if first(&list) != first(&before) {
            out.push(Violation::invalid(&list.path().index(0), list.json(), "may not change once set"));
        }
        let (families, before) = (new.get("ipFamilies"), old.get("ipFamilies"));
        if !before.is_empty() && first(&families) != first(&before) {
            out.push(Violation::invalid(
                &families.path().index(0),
                families.json(),
                "may not change once set",
            ));
        }
    }
    let balanced = [new, old].iter().all(|spec| spec.get("type").text() == "LoadBalancer");
    let (class, before) = (new.get("loadBalancerClass"), old.get("loadBalancerClass"));
    if balanced && class != before {
        refuse(out, &class, "may not change once set");
    }
    let (check, before) = (new.get("healthCheckNodePort"), old.get("healthCheckNodePort"));
    if check.int().unwrap_or_default() != 0 && before.int().unwrap_or_default() != 0 && check != before {
        out.push(Violation::forbidden(check.path(), "field is immutable"));
    }
    optional_name(out, &class, name::is_qualified_name);
}
