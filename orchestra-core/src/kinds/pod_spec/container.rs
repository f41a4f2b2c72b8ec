//! Containers of a pod: ordinary ones, those that run before them, and what holds across all of them.

use std::collections::HashSet;

use super::handler::{self, Probe};
use super::{Context, Holder, env, port, resources, security, volume};
use crate::kinds::frame::View;
use crate::kinds::frame::check::{one_of, refuse, required, required_name, required_one_of};
use crate::meta::name;
use crate::violation::{Violation, Violations};

/// Every list of containers of a specification.
pub(super) fn validate_all(out: &mut Violations, spec: &View, context: &Context) {
    let containers = spec.get("containers");
    let mut names = HashSet::new();
    if required(out, &containers) {
        for container in containers.items() {
            one(out, &container, context);
            own_name(out, &container, &mut names);
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
    security::container(out, &container.get("securityContext"));
}

fn own_name<'a>(out: &mut Violations, container: &View<'a>, names: &mut HashSet<&'a str>) {
    let name = container.get("name");
    if !name.is_empty() && !names.insert(name.text()) {
        out.push(Violation::duplicate(name.path(), name.text()));
    }
}

fn ordinary(out: &mut Violations, container: &View, context: &Context) {
    handler::lifecycle(out, &container.get("lifecycle"), context.grace_seconds);
    handler::probe(out, &container.get("livenessProbe"), Probe::Liveness);
    handler::probe(out, &container.get("readinessProbe"), Probe::Readiness);
    handler::probe(out, &container.get("startupProbe"), Probe::Startup);
}

fn restart_policy(out: &mut Violations, container: &View) {
    one_of(out, &container.get("restartPolicy"), &["Always", "Never", "OnFailure"]);
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
    if context.holder == Holder::Template && !containers.is_empty() {
        let detail = "ephemeral containers not allowed in pod template";
        out.push(Violation::forbidden(containers.path(), detail));
        return;
    }
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
}
