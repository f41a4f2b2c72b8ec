//! What hardened pods do without: the controls that `restricted` adds.

use std::collections::BTreeSet;

use serde_json::Value;

use super::baseline::proc_mount;
use super::profiles::seccomp_everywhere;
use super::{
    Container, Control, Finding, Pod, Verdict, Versioned, containers, plural, quoted, setters, since,
};

const fn instead_of(control: &'static str, from: u32, check: fn(Pod<'_>) -> Verdict) -> Versioned {
    Versioned { since: from, check, instead_of: Some(control) }
}

/// In the order of their names as upstream spells them.
pub(super) const CONTROLS: &[Control] = &[
    Control {
        id: "allowPrivilegeEscalation",
        versions: &[since(8, escalation), since(25, |pod| unless_windows(pod, escalation))],
    },
    Control {
        id: "capabilities_restricted",
        versions: &[
            instead_of("capabilities_baseline", 22, capabilities),
            instead_of("capabilities_baseline", 25, |pod| unless_windows(pod, capabilities)),
        ],
    },
    Control { id: "procMount_restricted", versions: &[instead_of("procMount", 35, proc_mount)] },
    Control { id: "restrictedVolumes", versions: &[instead_of("hostPathVolumes", 0, volumes)] },
    Control {
        id: "runAsNonRoot",
        versions: &[since(0, non_root), since(35, |pod| unless_own_users(pod, non_root))],
    },
    Control {
        id: "runAsUser",
        versions: &[since(23, user_zero), since(35, |pod| unless_own_users(pod, user_zero))],
    },
    Control {
        id: "seccompProfile_restricted",
        versions: &[
            instead_of("seccompProfile_baseline", 19, seccomp_everywhere),
            instead_of("seccompProfile_baseline", 25, |pod| unless_windows(pod, seccomp_everywhere)),
        ],
    },
];

fn unless_windows(pod: Pod<'_>, check: fn(Pod<'_>) -> Verdict) -> Verdict {
    if pod.is_windows() { None } else { check(pod) }
}

fn unless_own_users(pod: Pod<'_>, check: fn(Pod<'_>) -> Verdict) -> Verdict {
    if pod.has_own_users() { None } else { check(pod) }
}

fn escalation(pod: Pod<'_>) -> Verdict {
    let is_bad = |c: &Container<'_>| c.context("/allowPrivilegeEscalation") != Some(&Value::Bool(false));
    let bad: Vec<&str> = pod.containers().filter(is_bad).map(Container::name).collect();
    (!bad.is_empty()).then(|| {
        let detail = format!("{} must set securityContext.allowPrivilegeEscalation=false", containers(&bad));
        Finding::new("allowPrivilegeEscalation != false", detail)
    })
}

fn capabilities(pod: Pod<'_>) -> Verdict {
    let (mut keeping, mut adding, mut added) = (Vec::new(), Vec::new(), BTreeSet::new());
    for container in pod.containers() {
        let list = |field: &str| {
            let list = container.context("/capabilities").and_then(|own| own.get(field)?.as_array());
            list.into_iter().flatten().filter_map(Value::as_str)
        };
        if !list("drop").any(|name| name == "ALL") {
            keeping.push(container.name());
        }
        let own: Vec<&str> = list("add").filter(|name| *name != "NET_BIND_SERVICE").collect();
        if !own.is_empty() {
            adding.push(container.name());
            added.extend(own);
        }
    }
    let mut details = Vec::new();
    if !keeping.is_empty() {
        details
            .push(format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", containers(&keeping)));
    }
    if !adding.is_empty() {
        details.push(format!(
            "{} must not include {} in securityContext.capabilities.add",
            containers(&adding),
            quoted(added)
        ));
    }
    (!details.is_empty()).then(|| Finding::new("unrestricted capabilities", details.join("; ")))
}

const VOLUMES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// The others, in the order in which one volume's is named.
const OTHER_VOLUMES: [&str; 21] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "gitRepo",
    "nfs",
    "iscsi",
    "glusterfs",
    "rbd",
    "flexVolume",
    "cinder",
    "cephfs",
    "flocker",
    "fc",
    "azureFile",
    "vsphereVolume",
    "quobyte",
    "azureDisk",
    "photonPersistentDisk",
    "portworxVolume",
    "scaleIO",
    "storageos",
];

fn volumes(pod: Pod<'_>) -> Verdict {
    let (mut bad, mut kinds) = (Vec::new(), BTreeSet::new());
    for volume in pod.spec.get("volumes").and_then(Value::as_array).into_iter().flatten() {
        let has = |kind: &&str| volume.get(*kind).is_some_and(|source| !source.is_null());
        if VOLUMES.iter().any(has) {
            continue;
        }
        bad.push(volume.get("name").and_then(Value::as_str).unwrap_or_default());
        kinds.insert(OTHER_VOLUMES.into_iter().find(has).unwrap_or("unknown"));
    }
    (!bad.is_empty()).then(|| {
        let detail = format!(
            "{} {} {} {} {}",
            plural("volume", "volumes", bad.len()),
            quoted(bad.iter().copied()),
            plural("uses", "use", bad.len()),
            plural("restricted volume type", "restricted volume types", kinds.len()),
            quoted(kinds)
        );
        Finding::new("restricted volume types", detail)
    })
}

fn non_root(pod: Pod<'_>) -> Verdict {
    const AT: &str = "/runAsNonRoot";
    let no = Some(&Value::Bool(false));
    let rooted: Vec<&str> = pod.containers().filter(|c| c.context(AT) == no).map(Container::name).collect();
    let finding = |detail: String| Some(Finding::new("runAsNonRoot != true", detail));
    if let Some(who) = setters(pod.context(AT) == no, &rooted) {
        return finding(format!("{who} must not set securityContext.runAsNonRoot=false"));
    }
    if pod.context(AT).is_some() {
        return None;
    }
    let silent: Vec<&str> =
        pod.containers().filter(|c| c.context(AT).is_none()).map(Container::name).collect();
    if silent.is_empty() {
        return None;
    }
    finding(format!("pod or {} must set securityContext.runAsNonRoot=true", containers(&silent)))
}

fn user_zero(pod: Pod<'_>) -> Verdict {
    let is_zero = |value: Option<&Value>| value.and_then(Value::as_i64) == Some(0);
    let bad: Vec<&str> =
        pod.containers().filter(|c| is_zero(c.context("/runAsUser"))).map(Container::name).collect();
    let who = setters(is_zero(pod.context("/runAsUser")), &bad)?;
    Some(Finding::new("runAsUser=0", format!("{who} must not set runAsUser=0")))
}
