//! Containers of a pod: ordinary ones, those that run before them, and what holds across all of them.

use std::collections::HashSet;

use super::handler::{self, Probe};
use super::{Context, Holder, env, port, resources, security, volume};
use crate::kinds::frame::View;
use crate::kinds::frame::check::{one_of, refuse, required, required_name, required_one_of};
use crate::meta::name;
use crate::violation::{Violation, Violations};

/// The most rules a container may have for its restart, and codes a rule.
const MOST_RULES: usize = 20;
const MOST_CODES: usize = 255;

/// Every list of containers of a specification.
pub(super) fn validate_all(out: &mut Violations, spec: &View, context: &Context) {
    let containers = spec.get("containers");
    let mut names = HashSet::new();
    if required(out, &containers) {
        for container in containers.items() {
            one(out, &container, context);
            own_name(out, &container, &mut names);
            restart_policy(out, &container);
            ordinary(out, &container, context);
        }
        port::host_conflicts(out, &containers);
        if context.host_network {
            port::host_network(out, &containers);
        }
    }
    let init = spec.get("initContainers");
    for container in init.items() {
        one(out, &container, context);
        own_name(out, &container, &mut names);
        restart_policy(out, &container);
        match container.get("restartPolicy").text() {
            // A sidecar: it runs beside the others, so it may have all that they have.
            "Always" => ordinary(out, &container, context),
            _ => no_handlers(out, &container),
        }
    }
    if context.host_network {
        port::host_network(out, &init);
    }
    ephemeral(out, spec, &mut names, context);
}

/// What every container must obey.
fn one(out: &mut Violations, container: &View, context: &Context) {
    required_name(out, &container.get("name"), name::is_dns1123_label);
    let image = container.get("image");
    if required(out, &image) && context.holder == Holder::Pod && image.text().trim() != image.text() {
        refuse(out, &image, "must not have leading or trailing whitespace");
    }
    required_one_of(out, &container.get("terminationMessagePolicy"), &["File", "FallbackToLogsOnError"]);
    port::validate_all(out, &container.get("ports"));
    env::variables(out, &container.get("env"));
    env::sources(out, &container.get("envFrom"));
    volume::mounts(out, container, &context.volumes);
    required_one_of(out, &container.get("imagePullPolicy"), &["Always", "IfNotPresent", "Never"]);
    resources::container(out, &container.get("resources"), &context.claims);
    resize_policy(out, &container.get("resizePolicy"), context.never_restarts);
    security::container(out, &container.get("securityContext"));
}

fn own_name<'a>(out: &mut Violations, container: &View<'a>, names: &mut HashSet<&'a str>) {
    let name = container.get("name");
    if !name.is_empty() && !names.insert(name.text()) {
        out.push(Violation::duplicate(name.path(), name.text()));
    }
}

fn ordinary(out: &mut Violations, container: &View, context: &Context) {
    handler::lifecycle(out, &container.get("lifecycle"), context);
    handler::probe(out, &container.get("livenessProbe"), Probe::Liveness);
    handler::probe(out, &container.get("readinessProbe"), Probe::Readiness);
    handler::probe(out, &container.get("startupProbe"), Probe::Startup);
}

/// The policy of one container, and what it says of exit codes.
fn restart_policy(out: &mut Violations, container: &View) {
    let (policy, rules) = (container.get("restartPolicy"), container.get("restartPolicyRules"));
    one_of(out, &policy, &["Always", "Never", "OnFailure"]);
    if !rules.is_empty() && !policy.is_set() {
        let detail = "must specify restartPolicy when restart rules are used";
        out.push(Violation::required(policy.path(), detail));
    }
    if rules.len() > MOST_RULES {
        out.push(Violation::too_many(rules.path(), rules.len(), MOST_RULES));
    }
    for rule in rules.items() {
        required_one_of(out, &rule.get("action"), &["Restart", "RestartAllContainers"]);
        let codes = rule.get("exitCodes");
        if !codes.is_set() {
            out.push(Violation::required(codes.path(), "must be specified"));
            continue;
        }
        required_one_of(out, &codes.get("operator"), &["In", "NotIn"]);
        let values = codes.get("values");
        if values.len() > MOST_CODES {
            out.push(Violation::too_many(values.path(), values.len(), MOST_CODES));
        }
    }
}

fn no_handlers(out: &mut Violations, container: &View) {
    for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
        let handler = container.get(field);
        if handler.is_set() {
            let detail = "may not be set for init containers without restartPolicy=Always";
            out.push(Violation::forbidden(handler.path(), detail));
        }
    }
}

/// Containers that are added to a pod that runs: they have names of their own, and nothing that has to be given back.
fn ephemeral<'a>(out: &mut Violations, spec: &View<'a>, names: &mut HashSet<&'a str>, context: &Context) {
    let containers = spec.get("ephemeralContainers");
    let targets: Vec<&str> = ["containers", "initContainers"]
        .iter()
        .flat_map(|list| spec.get(list).items())
        .map(|container| container.get("name").text())
        .collect();
    for container in containers.items() {
        one(out, &container, context);
        own_name(out, &container, names);
        let target = container.get("targetContainerName");
        if !target.is_empty() && !targets.contains(&target.text()) {
            out.push(Violation::not_found(target.path(), target.text()));
        }
        let forbidden =
            |value: &View| Violation::forbidden(value.path(), "cannot be set for an Ephemeral Container");
        for field in [
            "ports",
            "resources",
            "livenessProbe",
            "readinessProbe",
            "startupProbe",
            "lifecycle",
            "resizePolicy",
            "restartPolicy",
            "restartPolicyRules",
        ] {
            let value = container.get(field);
            if !value.is_empty() {
                out.push(forbidden(&value));
            }
        }
        for mount in container.get("volumeMounts").items() {
            for field in ["subPath", "subPathExpr"] {
                let value = mount.get(field);
                if !value.is_empty() {
                    out.push(forbidden(&value));
                }
            }
        }
    }
    if context.holder == Holder::Template && !containers.is_empty() {
        let detail = "ephemeral containers not allowed in pod template";
        out.push(Violation::forbidden(containers.path(), detail));
    }
}

/// What a change of resources does to a container. Upstream names the list and not the item.
fn resize_policy(out: &mut Violations, policies: &View, never_restarts: bool) {
    let mut seen = HashSet::new();
    for policy in policies.items() {
        let (resource, restart) = (policy.get("resourceName").text(), policy.get("restartPolicy").text());
        if !seen.insert(resource) {
            out.push(Violation::duplicate(policy.path(), resource));
        }
        for (value, known) in [(resource, ["cpu", "memory"]), (restart, ["NotRequired", "RestartContainer"])]
        {
            if value.is_empty() {
                out.push(Violation::required(policies.path(), ""));
            } else if !known.contains(&value) {
                out.push(Violation::not_supported(policies.path(), value, &known));
            }
        }
        if never_restarts && restart != "NotRequired" {
            let detail = "must be 'NotRequired' when `restartPolicy` is 'Never'";
            out.push(Violation::invalid(policies.path(), restart, detail));
        }
    }
}
