//! The rules for `spec`, and for names wherever they stand.

use std::collections::HashSet;

use serde_json::Value;

use super::version::{self, Hoisted};
use crate::kinds::frame::cells::{list, text};
use crate::meta::name::{is_dns1035_label, is_dns1123_subdomain};
use crate::violation::{FieldPath, Violation, Violations};

/// Checks a definition without its metadata.
pub(super) fn validate(crd: &Value, out: &mut Violations) {
    let path = FieldPath::new("spec");
    let Some(spec) = crd.get("spec") else { return };
    group(text(spec, "/group"), &path.child("group"), out);
    one_of(text(spec, "/scope"), &["Cluster", "Namespaced"], &path.child("scope"), out);
    let versions = list(spec, "/versions");
    let hoisted = Hoisted::of(versions);
    let at_versions = path.child("versions");
    if hoisted.schema.is_none() {
        for (index, version) in versions.iter().enumerate() {
            if version.pointer("/schema/openAPIV3Schema").is_none_or(Value::is_null) {
                let at = at_versions.index(index).child("schema").child("openAPIV3Schema");
                out.push(Violation::required(&at, ""));
            }
        }
    }
    for (index, version) in versions.iter().enumerate() {
        let at = at_versions.index(index);
        let messages = is_dns1035_label(text(version, "/name"));
        if !messages.is_empty() {
            out.push(Violation::invalid(&at.child("name"), text(version, "/name"), messages.join(",")));
        }
        version::validate(version, &hoisted, &at, out);
    }
    let mut seen: Vec<&str> = versions.iter().map(|version| text(version, "/name")).collect();
    seen.sort_unstable();
    let count = seen.len();
    seen.dedup();
    let shown = || Value::Array(versions.to_vec());
    if seen.len() < count {
        out.push(Violation::invalid(&at_versions, shown(), "must contain unique version names"));
    }
    let stored = versions.iter().filter(|version| version.get("storage") == Some(&Value::Bool(true))).count();
    if stored != 1 {
        let why = "must have exactly one version marked as storage version";
        out.push(Violation::invalid(&at_versions, shown(), why));
    }
    let at_names = path.child("names");
    for field in ["plural", "singular", "kind", "listKind"] {
        if text(spec, &format!("/names/{field}")).is_empty() {
            out.push(Violation::required(&at_names.child(field), ""));
        }
    }
    names(spec.get("names").unwrap_or(&Value::Null), &at_names, out);
    hoisted.validate(versions, &path, out);
    conversion(spec.get("conversion").unwrap_or(&Value::Null), &path.child("conversion"), out);
    if spec.get("preserveUnknownFields") == Some(&Value::Bool(true)) {
        let why = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in \
                   spec.versions[*].schema instead";
        out.push(Violation::invalid(&path.child("preserveUnknownFields"), true, why));
    }
    let accepted = crd.pointer("/status/acceptedNames").unwrap_or(&Value::Null);
    names(accepted, &FieldPath::new("status").child("acceptedNames"), out);
    stored_versions(crd, versions, out);
}

fn group(group: &str, path: &FieldPath, out: &mut Violations) {
    let messages = is_dns1123_subdomain(group);
    if group.is_empty() {
        out.push(Violation::required(path, ""));
    } else if !messages.is_empty() {
        out.push(Violation::invalid(path, group, messages.join(",")));
    } else if !group.contains('.') {
        out.push(Violation::invalid(path, group, "should be a domain with at least one dot"));
    }
}

fn one_of(value: &str, accepted: &[&str], path: &FieldPath, out: &mut Violations) {
    if value.is_empty() {
        out.push(Violation::required(path, ""));
    } else if !accepted.contains(&value) {
        out.push(Violation::not_supported(path, value, accepted));
    }
}

/// Names of a kind, wanted or accepted. Missing ones are not this function's business.
pub(super) fn names(names: &Value, path: &FieldPath, out: &mut Violations) {
    for field in ["plural", "singular", "kind", "listKind"] {
        let name = text(names, &format!("/{field}"));
        let is_kind = matches!(field, "kind" | "listKind");
        let messages = is_dns1035_label(&if is_kind { name.to_lowercase() } else { name.to_owned() });
        if !name.is_empty() && !messages.is_empty() {
            let prefix = if is_kind { "may have mixed case, but should otherwise match: " } else { "" };
            let why = format!("{prefix}{}", messages.join(","));
            out.push(Violation::invalid(&path.child(field), name, why));
        }
    }
    labels(names, "shortNames", path, out);
    let (kind, list_kind) = (text(names, "/kind"), text(names, "/listKind"));
    if !kind.is_empty() && kind == list_kind {
        let why = "kind and listKind may not be the same";
        out.push(Violation::invalid(&path.child("listKind"), list_kind, why));
    }
    labels(names, "categories", path, out);
}

fn labels(names: &Value, field: &str, path: &FieldPath, out: &mut Violations) {
    for (index, label) in list(names, &format!("/{field}")).iter().enumerate() {
        let label = label.as_str().unwrap_or_default();
        let messages = is_dns1035_label(label);
        if !messages.is_empty() {
            out.push(Violation::invalid(&path.child(field).index(index), label, messages.join(",")));
        }
    }
}

fn conversion(conversion: &Value, path: &FieldPath, out: &mut Violations) {
    let strategy = text(conversion, "/strategy");
    one_of(strategy, &["None", "Webhook"], &path.child("strategy"), out);
    // Upstream names the fields of its own form of the object here, in which there is no `webhook`.
    let at_config = path.child("webhookClientConfig");
    let at_versions = path.child("conversionReviewVersions");
    let config = conversion.pointer("/webhook/clientConfig").filter(|config| config.is_object());
    let versions = list(conversion, "/webhook/conversionReviewVersions");
    if strategy != "Webhook" {
        let why = "should not be set when strategy is not set to Webhook";
        if config.is_some() {
            out.push(Violation::forbidden(&at_config, why));
        }
        if !versions.is_empty() {
            out.push(Violation::forbidden(&at_versions, why));
        }
        return;
    }
    match config {
        None => out.push(Violation::required(&at_config, "required when strategy is set to Webhook")),
        Some(config) => webhook(config, &at_config, out),
    }
    if versions.is_empty() {
        out.push(Violation::required(&at_versions, ""));
        return;
    }
    let mut seen = HashSet::new();
    for (index, version) in versions.iter().enumerate() {
        let at = at_versions.index(index);
        let name = version.as_str().unwrap_or_default();
        if !seen.insert(name) {
            out.push(Violation::invalid(&at, name, "duplicate version"));
            continue;
        }
        out.extend(is_dns1035_label(name).into_iter().map(|why| Violation::invalid(&at, name, why)));
    }
    if !versions.iter().any(|version| matches!(version.as_str(), Some("v1" | "v1beta1"))) {
        let why = "must include at least one of v1, v1beta1";
        out.push(Violation::invalid(&at_versions, versions.to_vec(), why));
    }
}

fn webhook(config: &Value, path: &FieldPath, out: &mut Violations) {
    let url = config.get("url").and_then(Value::as_str);
    let service = config.get("service").filter(|service| service.is_object());
    match (url, service) {
        (Some(url), None) => webhook_url(url, &path.child("url"), out),
        (None, Some(service)) => {
            let at = path.child("service");
            for field in ["name", "namespace"] {
                if text(service, &format!("/{field}")).is_empty() {
                    out.push(Violation::required(&at.child(field), format!("service {field} is required")));
                }
            }
            let port = service.get("port").and_then(Value::as_i64).unwrap_or(443);
            if !(1..=65535).contains(&port) {
                let why = "port is not valid: must be between 1 and 65535, inclusive";
                out.push(Violation::invalid(&at.child("port"), port, why));
            }
            let place = text(service, "/path");
            if !place.is_empty() && !place.starts_with('/') {
                out.push(Violation::invalid(&at.child("path"), place, "must start with a '/'"));
            }
        }
        _ => out.push(Violation::required(path, "exactly one of url or service is required")),
    }
}

fn webhook_url(url: &str, path: &FieldPath, out: &mut Violations) {
    const FORM: &str = "; desired format: https://host[/path]";
    let mut refuse = |why: String| out.push(Violation::invalid(path, url, why));
    let Some((scheme, rest)) = url.split_once("://") else {
        let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
        return refuse(format!("'https' is the only allowed URL scheme; got {scheme:?}{FORM}"));
    };
    if scheme != "https" {
        refuse(format!("'https' is the only allowed URL scheme; got {scheme:?}{FORM}"));
    }
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.is_empty() {
        refuse(format!("host must be specified{FORM}"));
    }
    if host.contains('@') {
        refuse("user information is not permitted in the URL".to_owned());
    }
    if let Some((_, fragment)) = url.split_once('#') {
        refuse(format!("{fragment:?}: fragments are not permitted in the URL"));
    }
    if let Some((_, query)) = url.split_once('#').map_or(url, |(before, _)| before).split_once('?') {
        refuse(format!("{query:?}: query parameters are not permitted in the URL"));
    }
}

fn stored_versions(crd: &Value, versions: &[Value], out: &mut Violations) {
    let path = FieldPath::new("status").child("storedVersions");
    let stored = list(crd, "/status/storedVersions");
    if stored.is_empty() {
        let why = "must have at least one stored version";
        out.push(Violation::invalid(&path, Vec::<Value>::new(), why));
        return;
    }
    let known: HashSet<&str> = stored.iter().filter_map(Value::as_str).collect();
    let mut storage = versions.iter().filter(|version| version.get("storage") == Some(&Value::Bool(true)));
    // There is one; what is wrong with others is told elsewhere, and this says all of the list.
    if let Some(name) =
        storage.next().map(|version| text(version, "/name")).filter(|name| !known.contains(name))
    {
        let why = format!("must have the storage version {name}");
        out.push(Violation::invalid(&path, stored.to_vec(), why));
    }
    let names: HashSet<&str> = versions.iter().map(|version| text(version, "/name")).collect();
    for (index, name) in stored.iter().enumerate() {
        let name = name.as_str().unwrap_or_default();
        if !names.contains(name) {
            let why = format!(
                "missing from spec.versions; {name} was previously a storage version, and must remain in \
                 spec.versions until a storage migration ensures no data remains persisted in {name} and removes \
                 {name} from status.storedVersions"
            );
            out.push(Violation::invalid(&path.index(index), name, why));
        }
    }
}
