//! Profiles of AppArmor, SELinux and seccomp, which `baseline` leaves to the runtime.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Container, Finding, Pod, Verdict, containers, plural, quoted, setters};

/// The values of a field of security contexts that are not allowed: whether the pod sets one, which containers do, and
/// which values.
fn bad_values<'a>(pod: Pod<'a>, at: &str, allowed: &[&str]) -> (bool, Vec<&'a str>, BTreeSet<&'a str>) {
    let mut values = BTreeSet::new();
    let bad =
        |value: Option<&'a Value>| value.and_then(Value::as_str).filter(|value| !allowed.contains(value));
    let of_pod = bad(pod.context(at));
    values.extend(of_pod);
    let mut names = Vec::new();
    for container in pod.containers() {
        if let Some(value) = bad(container.context(at)) {
            names.push(container.name());
            values.insert(value);
        }
    }
    (of_pod.is_some(), names, values)
}

pub(super) fn app_armor(pod: Pod<'_>) -> Verdict {
    const PREFIX: &str = "container.apparmor.security.beta.kubernetes.io/";
    let (of_pod, names, values) = bad_values(pod, "/appArmorProfile/type", &["RuntimeDefault", "Localhost"]);
    let mut who: Vec<String> = setters(of_pod, &names).into_iter().collect();
    let is_allowed =
        |value: &str| value.is_empty() || value == "runtime/default" || value.starts_with("localhost/");
    let annotations = pod.annotations.into_iter().flatten();
    let annotations = annotations.filter_map(|(key, value)| Some((key, value.as_str()?)));
    let annotations: BTreeSet<String> = annotations
        .filter(|(key, value)| key.starts_with(PREFIX) && !is_allowed(value))
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    if !annotations.is_empty() {
        who.push(plural("annotation", "annotations", annotations.len()).to_owned());
    }
    if who.is_empty() {
        return None;
    }
    let values: Vec<&str> = values.into_iter().chain(annotations.iter().map(String::as_str)).collect();
    let reason = plural("forbidden AppArmor profile", "forbidden AppArmor profiles", values.len());
    let detail = format!("{} must not set AppArmor profile type to {}", who.join(" and "), quoted(values));
    Some(Finding::new(reason, detail))
}

pub(super) fn selinux_since_0(pod: Pod<'_>) -> Verdict {
    selinux(pod, &["", "container_t", "container_init_t", "container_kvm_t"])
}

pub(super) fn selinux_since_31(pod: Pod<'_>) -> Verdict {
    selinux(pod, &["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"])
}

fn selinux(pod: Pod<'_>, allowed: &[&str]) -> Verdict {
    let (mut types, mut sets_user, mut sets_role) = (BTreeSet::new(), false, false);
    let mut is_bad = |options: Option<&Value>| {
        let text = |field: &str| {
            options.and_then(|options| options.get(field)?.as_str()).unwrap_or_default().to_owned()
        };
        let (type_, has_user, has_role) = (text("type"), !text("user").is_empty(), !text("role").is_empty());
        let is_type = !allowed.contains(&type_.as_str());
        if is_type {
            types.insert(type_);
        }
        sets_user |= has_user;
        sets_role |= has_role;
        is_type || has_user || has_role
    };
    let of_pod = is_bad(pod.context("/seLinuxOptions"));
    let bad: Vec<&str> =
        pod.containers().filter(|c| is_bad(c.context("/seLinuxOptions"))).map(Container::name).collect();
    let who = setters(of_pod, &bad)?;
    let mut what = Vec::new();
    if !types.is_empty() {
        let quoted = quoted(types.iter().map(String::as_str));
        what.push(format!("{} {quoted}", plural("type", "types", types.len())));
    }
    if sets_user {
        what.push("user may not be set".to_owned());
    }
    if sets_role {
        what.push("role may not be set".to_owned());
    }
    let detail = format!("{who} set forbidden securityContext.seLinuxOptions: {}", what.join("; "));
    Some(Finding::new("seLinuxOptions", detail))
}

const SECCOMP: &str = "/seccompProfile/type";
const SECCOMP_ALLOWED: [&str; 2] = ["Localhost", "RuntimeDefault"];

/// How profiles were chosen before there was a field for them.
pub(super) fn seccomp_by_annotation(pod: Pod<'_>) -> Verdict {
    const OF_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
    let keys = pod
        .containers()
        .map(|container| format!("container.seccomp.security.alpha.kubernetes.io/{}", container.name()));
    let is_allowed = |value: &str| {
        matches!(value, "runtime/default" | "docker/default") || value.starts_with("localhost/")
    };
    let said = std::iter::once(OF_POD.to_owned()).chain(keys).filter_map(|key| {
        let value = pod.annotations?.get(&key)?.as_str()?;
        (!is_allowed(value)).then(|| format!("{key}={value:?}"))
    });
    let said: BTreeSet<String> = said.collect();
    (!said.is_empty()).then(|| {
        let what = plural("annotation", "annotations", said.len());
        let said = said.into_iter().collect::<Vec<_>>().join(", ");
        Finding::new("seccompProfile", format!("forbidden {what} {said}"))
    })
}

pub(super) fn seccomp_where_set(pod: Pod<'_>) -> Verdict {
    let (of_pod, names, values) = bad_values(pod, SECCOMP, &SECCOMP_ALLOWED);
    let who = setters(of_pod, &names)?;
    let detail = format!("{who} must not set securityContext.seccompProfile.type to {}", quoted(values));
    Some(Finding::new("seccompProfile", detail))
}

/// A profile must be chosen, for the pod or for each container.
pub(super) fn seccomp_everywhere(pod: Pod<'_>) -> Verdict {
    if let Some(bad) = seccomp_where_set(pod) {
        return Some(bad);
    }
    if pod.context(SECCOMP).is_some() {
        return None;
    }
    let silent = pod.containers().filter(|c| c.context("/seccompProfile").is_none());
    let silent: Vec<&str> = silent.map(Container::name).collect();
    (!silent.is_empty()).then(|| {
        let detail = format!(
            "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
            containers(&silent)
        );
        Finding::new("seccompProfile", detail)
    })
}
