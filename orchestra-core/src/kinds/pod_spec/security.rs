//! Security contexts of pods and containers.

use std::collections::HashSet;

use crate::kinds::frame::View;
use crate::kinds::frame::check::{in_range, one_of, refuse, required, required_one_of};
use crate::violation::{Violation, Violations};

/// The highest number of a user or group that upstream takes.
const HIGHEST_ID: i64 = i32::MAX as i64;

/// The security context of a pod, and the host's namespaces it asks for.
pub(super) fn pod(out: &mut Violations, spec: &View) {
    let context = spec.get("securityContext");
    if spec.get("shareProcessNamespace").flag() && spec.get("hostPID").flag() {
        let place = context.get("shareProcessNamespace");
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        out.push(Violation::invalid(place.path(), true, detail));
    }
    users(out, &context);
    in_range(out, &context.get("fsGroup"), 0, HIGHEST_ID);
    for group in context.get("supplementalGroups").items() {
        in_range(out, &group, 0, HIGHEST_ID);
    }
    one_of(out, &context.get("fsGroupChangePolicy"), &["Always", "OnRootMismatch"]);
    one_of(out, &context.get("supplementalGroupsPolicy"), &["Merge", "Strict"]);
    sysctls(out, &context.get("sysctls"));
    profiles(out, &context);
}

/// The security context of a container.
pub(super) fn container(out: &mut Violations, context: &View) {
    if !context.is_set() {
        return;
    }
    users(out, context);
    profiles(out, context);
    one_of(out, &context.get("procMount"), &["Default", "Unmasked"]);
    let escalation = context.get("allowPrivilegeEscalation");
    if escalation.is_set() && !escalation.flag() {
        if context.get("privileged").flag() {
            refuse(out, context, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
        }
        let adds = context.get("capabilities").get("add");
        let admin = adds.items().any(|capability| capability.text() == "CAP_SYS_ADMIN");
        if admin {
            refuse(
                out,
                context,
                "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
            );
        }
    }
}

fn users(out: &mut Violations, context: &View) {
    for field in ["runAsUser", "runAsGroup"] {
        in_range(out, &context.get(field), 0, HIGHEST_ID);
    }
}

fn profiles(out: &mut Violations, context: &View) {
    for field in ["seccompProfile", "appArmorProfile"] {
        let profile = context.get(field);
        if !profile.is_set() {
            continue;
        }
        required_one_of(out, &profile.get("type"), &["Localhost", "RuntimeDefault", "Unconfined"]);
        let local = profile.get("localhostProfile");
        if profile.get("type").text() == "Localhost" {
            if required(out, &local) && local.text().trim() != local.text() {
                refuse(out, &local, "must not be padded with whitespace");
            }
        } else if local.is_set() {
            let detail = "can only be set when type is Localhost";
            match field {
                "seccompProfile" => refuse(out, &local, "can only be set when seccomp type is Localhost"),
                _ => refuse(out, &local, detail),
            }
        }
    }
}

fn sysctls(out: &mut Violations, sysctls: &View) {
    let mut seen = HashSet::new();
    for sysctl in sysctls.items() {
        let own = sysctl.get("name");
        if required(out, &own) && !is_sysctl(own.text()) {
            let format = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?([\\./][a-z0-9]([-_a-z0-9]*[a-z0-9])?)*";
            let detail = format!("must have at most 253 characters and match regex ^{format}$");
            refuse(out, &own, detail);
        } else if !own.is_empty() && !seen.insert(own.text()) {
            out.push(Violation::duplicate(own.path(), own.text()));
        }
    }
}

fn is_sysctl(name: &str) -> bool {
    let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    name.len() <= 253
        && name.split(['.', '/']).all(|part| {
            let bytes = part.as_bytes();
            let ends = |b: Option<&u8>| b.copied().is_some_and(lower);
            ends(bytes.first())
                && ends(bytes.last())
                && bytes.iter().all(|&b| lower(b) || b == b'-' || b == b'_')
        })
}
