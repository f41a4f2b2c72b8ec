//! The environment of a container, from its specification. Pure; what it refers to was fetched before.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, EnvVar, Pod, Service};

use super::field;
use crate::source::{Kind, Objects, Reference};

/// What a container's environment is made of beside its specification.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    /// ConfigMaps and Secrets of the pod's namespace.
    pub(crate) objects: Objects,
    /// Services of the pod's namespace, and `kubernetes`.
    pub(crate) services: Vec<Service>,
    /// What the node has to offer, for limits that are not set.
    pub(crate) allocatable: BTreeMap<String, String>,
    /// `status.podIP` and so on, as of now.
    pub(crate) addresses: field::Addresses,
}

/// The ConfigMaps and Secrets that a container's environment names.
pub(crate) fn references(container: &Container) -> BTreeSet<Reference> {
    let mut found = BTreeSet::new();
    for from in container.env_from.iter().flatten() {
        found.extend(from.config_map_ref.as_ref().map(|r| Reference::new(Kind::ConfigMap, &r.name)));
        found.extend(from.secret_ref.as_ref().map(|r| Reference::new(Kind::Secret, &r.name)));
    }
    for from in container.env.iter().flatten().filter_map(|e| e.value_from.as_ref()) {
        found.extend(from.config_map_key_ref.as_ref().map(|r| Reference::new(Kind::ConfigMap, &r.name)));
        found.extend(from.secret_key_ref.as_ref().map(|r| Reference::new(Kind::Secret, &r.name)));
    }
    found
}

/// The environment; the error is the message of `CreateContainerConfigError`.
pub(crate) fn build(
    pod: &Pod,
    container: &Container,
    around: &Surroundings,
) -> Result<Vec<(String, String)>, String> {
    let links = pod.spec.as_ref().and_then(|s| s.enable_service_links).unwrap_or(true);
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let services: BTreeMap<String, String> = around
        .services
        .iter()
        .filter(|s| is_master(s) || (links && s.metadata.namespace.as_deref() == Some(namespace)))
        .flat_map(service_variables)
        .collect();
    let mut env: Vec<(String, String)> = Vec::new();
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        let (reference, optional) = match (&from.config_map_ref, &from.secret_ref) {
            (Some(r), _) => (Reference::new(Kind::ConfigMap, &r.name), r.optional),
            (None, Some(r)) => (Reference::new(Kind::Secret, &r.name), r.optional),
            (None, None) => continue,
        };
        match around.objects.get(&reference) {
            Some(object) => env.extend(object.iter().filter_map(|(key, value)| {
                let name = format!("{prefix}{key}");
                valid_name(&name).then(|| (name, String::from_utf8_lossy(value).into_owned()))
            })),
            None if optional == Some(true) => {}
            None => return Err(reference.not_found()),
        }
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = value_of(pod, container, variable, around, &env, &services)? {
            env.push((variable.name.clone(), value));
        }
    }
    let mut all: Vec<(String, String)> =
        services.into_iter().filter(|(name, _)| !env.iter().any(|(n, _)| n == name)).collect();
    all.append(&mut env);
    Ok(all)
}

fn value_of(
    pod: &Pod,
    container: &Container,
    variable: &EnvVar,
    around: &Surroundings,
    env: &[(String, String)],
    services: &BTreeMap<String, String>,
) -> Result<Option<String>, String> {
    let known = |name: &str| {
        let own = env.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.clone());
        own.or_else(|| services.get(name).cloned())
    };
    if let Some(value) = &variable.value
        && !value.is_empty()
    {
        return Ok(Some(expand(value, &known)));
    }
    let Some(from) = &variable.value_from else { return Ok(Some(String::new())) };
    if let Some(r) = &from.field_ref {
        return field::value(pod, &r.field_path, &around.addresses).map(Some);
    }
    if let Some(r) = &from.resource_field_ref {
        return field::resource(pod, Some(container), r, &around.allocatable).map(Some);
    }
    let (kind, name, key, optional) = match (&from.config_map_key_ref, &from.secret_key_ref) {
        (Some(r), _) => (Kind::ConfigMap, &r.name, &r.key, r.optional),
        (None, Some(r)) => (Kind::Secret, &r.name, &r.key, r.optional),
        (None, None) => return Ok(Some(String::new())),
    };
    let optional = optional == Some(true);
    let reference = Reference::new(kind, name);
    match around.objects.get(&reference) {
        None if optional => Ok(None),
        None => Err(reference.not_found()),
        Some(object) => match object.get(key) {
            Some(value) => Ok(Some(String::from_utf8_lossy(value).into_owned())),
            None if optional => Ok(None),
            None => {
                let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
                Err(format!("couldn't find key {key} in {} {namespace}/{name}", kind.name()))
            }
        },
    }
}

/// Replaces `$(NAME)` for names that are known and `$$` by `$`.
pub(crate) fn expand(text: &str, known: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = after.strip_prefix('(').and_then(|a| a.split_once(')')) {
            match known(name) {
                Some(value) => out.push_str(&value),
                None => out.extend(["$(", name, ")"]),
            }
            rest = after;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

fn valid_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=')
}

fn is_master(service: &Service) -> bool {
    service.metadata.name.as_deref() == Some("kubernetes")
        && service.metadata.namespace.as_deref() == Some("default")
}

/// The variables by which programs find a service without DNS.
fn service_variables(service: &Service) -> Vec<(String, String)> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let Some(ip) = spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty() && *ip != "None") else {
        return Vec::new();
    };
    let upper = |text: &str| text.to_uppercase().replace('-', "_");
    let name = upper(service.metadata.name.as_deref().unwrap_or_default());
    let ports = spec.ports.as_deref().unwrap_or_default();
    let Some(first) = ports.first() else { return Vec::new() };
    let mut variables = vec![
        (format!("{name}_SERVICE_HOST"), ip.to_owned()),
        (format!("{name}_SERVICE_PORT"), first.port.to_string()),
    ];
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    for (index, port) in ports.iter().enumerate() {
        if let Some(port_name) = port.name.as_deref().filter(|n| !n.is_empty()) {
            variables.push((format!("{name}_SERVICE_PORT_{}", upper(port_name)), port.port.to_string()));
        }
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let lower = protocol.to_lowercase();
        let url = format!("{lower}://{host}:{}", port.port);
        if index == 0 {
            variables.push((format!("{name}_PORT"), url.clone()));
        }
        let prefix = format!("{name}_PORT_{}_{}", port.port, protocol.to_uppercase());
        variables.push((prefix.clone(), url));
        variables.push((format!("{prefix}_PROTO"), lower));
        variables.push((format!("{prefix}_PORT"), port.port.to_string()));
        variables.push((format!("{prefix}_ADDR"), ip.to_owned()));
    }
    variables
}

#[cfg(test)]
mod tests;
