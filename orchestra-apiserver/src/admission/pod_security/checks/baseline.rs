//! What leads out of a container, and is forbidden from `baseline` on.

use std::collections::BTreeSet;

use serde_json::Value;

use super::profiles::{
    app_armor, seccomp_by_annotation, seccomp_where_set, selinux_since_0, selinux_since_31,
};
use super::{Container, Control, Finding, Pod, Verdict, containers, plural, quoted, setters, since};

/// In the order of their names as upstream spells them.
pub(super) const CONTROLS: &[Control] = &[
    Control { id: "appArmorProfile", versions: &[since(0, app_armor)] },
    Control { id: "capabilities_baseline", versions: &[since(0, capabilities)] },
    Control { id: "hostNamespaces", versions: &[since(0, host_namespaces)] },
    Control { id: "hostPathVolumes", versions: &[since(0, host_paths)] },
    Control { id: "hostPorts", versions: &[since(0, host_ports)] },
    Control { id: "hostProbesAndHostLifecycle", versions: &[since(34, probed_hosts)] },
    Control { id: "privileged", versions: &[since(0, privileged)] },
    Control { id: "procMount", versions: &[since(0, proc_mount), since(35, proc_mount_of_own_users)] },
    Control { id: "seLinuxOptions", versions: &[since(0, selinux_since_0), since(31, selinux_since_31)] },
    Control {
        id: "seccompProfile_baseline",
        versions: &[since(0, seccomp_by_annotation), since(19, seccomp_where_set)],
    },
    Control {
        id: "sysctls",
        versions: &[
            since(0, |pod| sysctls(pod, 5)),
            since(27, |pod| sysctls(pod, 6)),
            since(29, |pod| sysctls(pod, 10)),
            since(32, |pod| sysctls(pod, 12)),
        ],
    },
    Control { id: "windowsHostProcess", versions: &[since(0, host_process)] },
];

/// Capabilities that container runtimes give by themselves.
const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

fn capabilities(pod: Pod<'_>) -> Verdict {
    let mut added = BTreeSet::new();
    let mut bad = Vec::new();
    for container in pod.containers() {
        let own = container.context("/capabilities/add").and_then(Value::as_array).into_iter().flatten();
        let own: Vec<&str> =
            own.filter_map(Value::as_str).filter(|name| !CAPABILITIES.contains(name)).collect();
        if !own.is_empty() {
            bad.push(container.name());
            added.extend(own);
        }
    }
    (!bad.is_empty()).then(|| {
        let detail = format!(
            "{} must not include {} in securityContext.capabilities.add",
            containers(&bad),
            quoted(added)
        );
        Finding::new("non-default capabilities", detail)
    })
}

fn host_namespaces(pod: Pod<'_>) -> Verdict {
    let set = ["hostNetwork", "hostPID", "hostIPC"]
        .into_iter()
        .filter(|field| pod.spec.get(field) == Some(&Value::Bool(true)));
    let set: Vec<String> = set.map(|field| format!("{field}=true")).collect();
    (!set.is_empty()).then(|| Finding::new("host namespaces", set.join(", ")))
}

fn host_paths(pod: Pod<'_>) -> Verdict {
    let volumes = pod.spec.get("volumes").and_then(Value::as_array).into_iter().flatten();
    let bad = volumes.filter(|volume| volume.get("hostPath").is_some_and(|path| !path.is_null()));
    let bad: Vec<&str> =
        bad.map(|volume| volume.get("name").and_then(Value::as_str).unwrap_or_default()).collect();
    (!bad.is_empty()).then(|| {
        let detail = format!("{} {}", plural("volume", "volumes", bad.len()), quoted(bad.iter().copied()));
        Finding::new("hostPath volumes", detail)
    })
}

fn host_ports(pod: Pod<'_>) -> Verdict {
    let mut ports = BTreeSet::new();
    let mut bad = Vec::new();
    for container in pod.containers() {
        let own = container.0.get("ports").and_then(Value::as_array).into_iter().flatten();
        let own: Vec<String> = own
            .filter_map(|port| port.get("hostPort")?.as_i64())
            .filter(|port| *port != 0)
            .map(|port| port.to_string())
            .collect();
        if !own.is_empty() {
            bad.push(container.name());
            ports.extend(own);
        }
    }
    (!bad.is_empty()).then(|| {
        let detail = format!(
            "{} {} {} {}",
            containers(&bad),
            plural("uses", "use", bad.len()),
            plural("hostPort", "hostPorts", ports.len()),
            ports.into_iter().collect::<Vec<_>>().join(", ")
        );
        Finding::new("hostPort", detail)
    })
}

const HANDLERS: [&str; 5] =
    ["/livenessProbe", "/readinessProbe", "/startupProbe", "/lifecycle/postStart", "/lifecycle/preStop"];

fn probed_hosts(pod: Pod<'_>) -> Verdict {
    let (mut bad, mut hosts) = (BTreeSet::new(), BTreeSet::new());
    for container in pod.containers() {
        let handlers = HANDLERS.iter().filter_map(|at| container.0.pointer(at));
        let own = handlers.flat_map(|handler| ["httpGet", "tcpSocket"].map(|action| handler.get(action)));
        let own = own.flatten().filter_map(|action| action.get("host")?.as_str());
        let own: Vec<&str> = own.filter(|host| !host.is_empty()).collect();
        if !own.is_empty() {
            bad.insert(container.name());
            hosts.extend(own);
        }
    }
    let bad: Vec<&str> = bad.into_iter().collect();
    (!bad.is_empty()).then(|| {
        let detail = format!(
            "{} {} {} {}",
            containers(&bad),
            plural("uses", "use", bad.len()),
            plural("probe or lifecycle host", "probe or lifecycle hosts", hosts.len()),
            quoted(hosts)
        );
        Finding::new("probe or lifecycle host", detail)
    })
}

fn privileged(pod: Pod<'_>) -> Verdict {
    let is_bad = |c: &Container<'_>| c.context("/privileged") == Some(&Value::Bool(true));
    let bad: Vec<&str> = pod.containers().filter(is_bad).map(Container::name).collect();
    (!bad.is_empty()).then(|| {
        let detail = format!("{} must not set securityContext.privileged=true", containers(&bad));
        Finding::new("privileged", detail)
    })
}

pub(super) fn proc_mount(pod: Pod<'_>) -> Verdict {
    let mut set = BTreeSet::new();
    let mut bad = Vec::new();
    for container in pod.containers() {
        let own = container.context("/procMount").and_then(Value::as_str);
        if let Some(own) = own.filter(|own| *own != "Default") {
            bad.push(container.name());
            set.insert(own);
        }
    }
    (!bad.is_empty()).then(|| {
        let detail =
            format!("{} must not set securityContext.procMount to {}", containers(&bad), quoted(set));
        Finding::new("procMount", detail)
    })
}

fn proc_mount_of_own_users(pod: Pod<'_>) -> Verdict {
    if pod.has_own_users() { None } else { proc_mount(pod) }
}

/// Settings of the kernel that a pod has for itself, in the order in which they came to be allowed.
const SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];

fn sysctls(pod: Pod<'_>, allowed: usize) -> Verdict {
    let set = pod.context("/sysctls").and_then(Value::as_array).into_iter().flatten();
    let set = set.filter_map(|sysctl| sysctl.get("name")?.as_str());
    let bad: Vec<&str> =
        set.filter(|name| !SYSCTLS.iter().take(allowed).any(|known| known == name)).collect();
    (!bad.is_empty()).then(|| Finding::new("forbidden sysctls", bad.join(", ")))
}

fn host_process(pod: Pod<'_>) -> Verdict {
    const AT: &str = "/windowsOptions/hostProcess";
    let yes = Some(&Value::Bool(true));
    let bad: Vec<&str> = pod.containers().filter(|c| c.context(AT) == yes).map(Container::name).collect();
    let who = setters(pod.context(AT) == yes, &bad)?;
    let detail = format!("{who} must not set securityContext.windowsOptions.hostProcess=true");
    Some(Finding::new("hostProcess", detail))
}
