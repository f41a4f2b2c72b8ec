//! The specification of a pod, which pods hold directly and workloads hold in a template.
//!
//! One file for each part of it; this one walks them in upstream's order, so that several mistakes are told in the
//! order a user of upstream expects (`pkg/apis/core/validation/validation.go`, `pkg/apis/core/v1/defaults.go`).

mod container;
mod defaults;
mod env;
mod handler;
mod port;
pub(crate) mod resources;
mod scheduling;
mod security;
mod volume;
mod volume_source;

pub(crate) use defaults::{default, default_for_pod};
pub(crate) use resources::overhead;
pub(crate) use scheduling::{node_selector, taint, toleration};
pub(crate) use volume::{descending_path, local_path};
pub(crate) use volume_source::HOST_PATHS;

use super::frame::View;
use super::frame::check::{in_range, one_of, optional_name, required_because, required_one_of};
use super::labels;
use crate::meta::name;
use crate::violation::{Violation, Violations};

/// Where a specification stands; a few rules differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// In a Pod.
    Pod,
    /// In the template of a workload.
    Template,
}

/// What the parts of a specification need to know of the rest.
pub(crate) struct Context<'a> {
    pub(crate) holder: Holder,
    pub(crate) volumes: volume::Declared<'a>,
    pub(crate) host_network: bool,
    /// The grace period, which bounds a handler's sleep.
    pub(crate) grace_seconds: i64,
    /// Whether a container that ends stays so.
    pub(crate) never_restarts: bool,
    /// The operating system the pod says it is for.
    pub(crate) os: &'a str,
    /// Names under `spec.resourceClaims`.
    pub(crate) claims: Vec<&'a str>,
}

/// All rules of a specification that has been defaulted.
pub(crate) fn validate(out: &mut Violations, spec: &View, holder: Holder) {
    let context = Context {
        holder,
        volumes: volume::validate_all(out, &spec.get("volumes")),
        host_network: spec.get("hostNetwork").flag(),
        grace_seconds: spec.get("terminationGracePeriodSeconds").int().unwrap_or(30),
        never_restarts: spec.get("restartPolicy").text() == "Never",
        os: spec.get("os").get("name").text(),
        claims: scheduling::resource_claims(out, &spec.get("resourceClaims")),
    };
    container::validate_all(out, spec, &context);
    required_one_of(out, &spec.get("restartPolicy"), &["Always", "OnFailure", "Never"]);
    dns(out, spec);
    labels::validate(out, &spec.get("nodeSelector"));
    security::pod(out, spec);
    scheduling::affinity(out, &spec.get("affinity"));
    readiness_gates(out, &spec.get("readinessGates"));
    scheduling::gates(out, &spec.get("schedulingGates"));
    scheduling::topology_spread(out, &spec.get("topologySpreadConstraints"));
    optional_name(out, &spec.get("serviceAccountName"), name::is_dns1123_subdomain);
    optional_name(out, &spec.get("nodeName"), name::is_dns1123_subdomain);
    in_range(out, &spec.get("activeDeadlineSeconds"), 1, i64::from(i32::MAX));
    optional_name(out, &spec.get("hostname"), name::is_dns1123_label);
    optional_name(out, &spec.get("subdomain"), name::is_dns1123_label);
    for item in spec.get("tolerations").items() {
        toleration(out, &item);
    }
    host_aliases(out, &spec.get("hostAliases"));
    optional_name(out, &spec.get("priorityClassName"), name::is_dns1123_subdomain);
    optional_name(out, &spec.get("runtimeClassName"), name::is_dns1123_subdomain);
    one_of(out, &spec.get("preemptionPolicy"), &["Never", "PreemptLowerPriority"]);
    resources::overhead(out, &spec.get("overhead"));
    operating_system(out, &spec.get("os"));
    of_the_whole(out, &spec.get("resources"));
}

/// Resources that all containers share. Devices are asked for by a container.
fn of_the_whole(out: &mut Violations, resources: &View) {
    let claims = resources.get("claims");
    if claims.is_set() {
        out.push(Violation::forbidden(claims.path(), "may not be set for Resources at pod-level"));
    }
    resources::amounts(out, resources);
}

fn operating_system(out: &mut Violations, os: &View) {
    if os.is_set() && required_because(out, &os.get("name"), "cannot be empty") {
        let known = ["linux", "windows"];
        if !known.contains(&os.get("name").text()) {
            out.push(Violation::not_supported(os.path(), os.get("name").text(), &known));
        }
    }
}

fn dns(out: &mut Violations, spec: &View) {
    let policy = spec.get("dnsPolicy");
    required_one_of(out, &policy, &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"]);
    let config = spec.get("dnsConfig");
    if policy.text() == "None" {
        if !config.is_set() {
            let detail = "must provide `dnsConfig` when `dnsPolicy` is None";
            out.push(Violation::required(config.path(), detail));
        } else {
            let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            required_because(out, &config.get("nameservers"), detail);
        }
    }
    let servers = config.get("nameservers");
    if servers.len() > 3 {
        let detail = "must not have more than 3 nameservers";
        out.push(Violation::invalid(servers.path(), servers.json(), detail));
    }
    for server in servers.items() {
        optional_name(out, &server, name::is_ip);
    }
    for option in config.get("options").items() {
        required_because(out, &option.get("name"), "must not be empty");
    }
}

fn readiness_gates(out: &mut Violations, gates: &View) {
    for gate in gates.items() {
        let kind = gate.get("conditionType");
        for message in name::is_qualified_name(kind.text()) {
            out.push(Violation::invalid(kind.path(), kind.text(), message));
        }
    }
}

fn host_aliases(out: &mut Violations, aliases: &View) {
    for alias in aliases.items() {
        let ip = alias.get("ip");
        for message in name::is_ip(ip.text()) {
            out.push(Violation::invalid(ip.path(), ip.text(), message));
        }
        for host in alias.get("hostnames").items() {
            for message in name::is_dns1123_subdomain(host.text()) {
                out.push(Violation::invalid(host.path(), host.text(), message));
            }
        }
    }
}
