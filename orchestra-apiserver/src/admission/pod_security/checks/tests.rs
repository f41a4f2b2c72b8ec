use serde_json::json;

use super::*;

fn said(level: Level, version: Option<u32>, spec: &Value) -> String {
    in_detail(&findings(Standard { level, version }, Pod { annotations: None, spec }))
}

fn baseline(spec: Value) -> String {
    said(Level::Baseline, None, &spec)
}

fn with(context: Value) -> Value {
    json!({"containers": [{"name": "a", "securityContext": context}, {"name": "b"}]})
}

/// Nothing that `restricted` minds.
fn hardened() -> Value {
    let context = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    json!({
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "a", "securityContext": context}],
    })
}

#[test]
fn each_baseline_control_says_what_upstream_says() {
    for (spec, detail) in [
        (
            with(json!({"capabilities": {"add": ["NET_RAW", "CHOWN", "BPF"]}})),
            "non-default capabilities (container \"a\" must not include \"BPF\", \"NET_RAW\" in securityContext.capabilities.add)",
        ),
        (json!({"hostPID": true, "hostNetwork": true}), "host namespaces (hostNetwork=true, hostPID=true)"),
        (
            json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}, {"name": "w", "emptyDir": {}}]}),
            "hostPath volumes (volume \"v\")",
        ),
        (
            json!({"containers": [{"name": "a", "ports": [{"hostPort": 80}]}, {"name": "b", "ports": [{"hostPort": 8080}, {"hostPort": 443}]}]}),
            "hostPort (containers \"a\", \"b\" use hostPorts 443, 80, 8080)",
        ),
        (
            json!({"containers": [{"name": "a", "livenessProbe": {"httpGet": {"host": "h", "port": 1}}, "lifecycle": {"preStop": {"tcpSocket": {"host": "g"}}}}]}),
            "probe or lifecycle host (container \"a\" uses probe or lifecycle hosts \"g\", \"h\")",
        ),
        (
            with(json!({"privileged": true})),
            "privileged (container \"a\" must not set securityContext.privileged=true)",
        ),
        (
            with(json!({"procMount": "Unmasked"})),
            "procMount (container \"a\" must not set securityContext.procMount to \"Unmasked\")",
        ),
        (
            json!({"securityContext": {"seLinuxOptions": {"type": "x", "user": "u"}}, "containers": [{"name": "a", "securityContext": {"seLinuxOptions": {"role": "r"}}}]}),
            "seLinuxOptions (pod and container \"a\" set forbidden securityContext.seLinuxOptions: type \"x\"; user may not be set; role may not be set)",
        ),
        (
            with(json!({"seccompProfile": {"type": "Unconfined"}})),
            "seccompProfile (container \"a\" must not set securityContext.seccompProfile.type to \"Unconfined\")",
        ),
        (
            with(json!({"appArmorProfile": {"type": "Unconfined"}})),
            "forbidden AppArmor profile (container \"a\" must not set AppArmor profile type to \"Unconfined\")",
        ),
        (
            json!({"securityContext": {"sysctls": [{"name": "kernel.msgmax"}, {"name": "net.ipv4.tcp_rmem"}]}}),
            "forbidden sysctls (kernel.msgmax)",
        ),
        (
            json!({"securityContext": {"windowsOptions": {"hostProcess": true}}}),
            "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)",
        ),
    ] {
        assert_eq!(baseline(spec.clone()), detail);
        assert_eq!(said(Level::Privileged, None, &spec), "");
    }
}

#[test]
fn a_plain_pod_is_told_all_that_restricted_wants() {
    let spec = json!({"containers": [{"name": "a"}]});
    assert_eq!(
        said(Level::Restricted, None, &spec),
        "allowPrivilegeEscalation != false (container \"a\" must set securityContext.allowPrivilegeEscalation=false), \
         unrestricted capabilities (container \"a\" must set securityContext.capabilities.drop=[\"ALL\"]), \
         runAsNonRoot != true (pod or container \"a\" must set securityContext.runAsNonRoot=true), \
         seccompProfile (pod or container \"a\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")"
    );
    assert_eq!(said(Level::Restricted, None, &hardened()), "");
}

#[test]
fn each_restricted_control_says_what_upstream_says() {
    let change = |at: &str, value: Value| {
        let mut spec = hardened();
        *spec.pointer_mut(at).unwrap() = value;
        said(Level::Restricted, None, &spec)
    };
    assert_eq!(
        change(
            "/containers/0/securityContext/capabilities",
            json!({"drop": ["ALL"], "add": ["NET_BIND_SERVICE", "CHOWN"]})
        ),
        "unrestricted capabilities (container \"a\" must not include \"CHOWN\" in securityContext.capabilities.add)"
    );
    assert_eq!(
        change("/securityContext/runAsNonRoot", json!(false)),
        "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)"
    );
    let mut spec = hardened();
    spec["containers"][0]["securityContext"]["runAsUser"] = json!(0);
    assert_eq!(
        said(Level::Restricted, None, &spec),
        "runAsUser=0 (container \"a\" must not set runAsUser=0)"
    );
    let mut spec = hardened();
    spec["volumes"] = json!([{"name": "n", "nfs": {}}, {"name": "h", "hostPath": {}}, {"name": "s", "secret": {}}, {"name": "u"}]);
    assert_eq!(
        said(Level::Restricted, None, &spec),
        "restricted volume types (volumes \"n\", \"h\", \"u\" use restricted volume types \"hostPath\", \"nfs\", \"unknown\")"
    );
}

#[test]
fn a_version_has_the_controls_of_its_time() {
    let probe = json!({"containers": [{"name": "a", "livenessProbe": {"tcpSocket": {"host": "h"}}}]});
    assert_eq!(said(Level::Baseline, Some(33), &probe), "");
    assert_ne!(said(Level::Baseline, Some(34), &probe), "");
    let sysctl = |name: &str| json!({"securityContext": {"sysctls": [{"name": name}]}});
    assert_ne!(said(Level::Baseline, Some(28), &sysctl("net.ipv4.tcp_fin_timeout")), "");
    assert_eq!(said(Level::Baseline, Some(29), &sysctl("net.ipv4.tcp_fin_timeout")), "");
    let mut own_users = hardened();
    own_users["hostUsers"] = json!(false);
    own_users["securityContext"]["runAsNonRoot"] = json!(false);
    assert_ne!(said(Level::Restricted, Some(34), &own_users), "");
    assert_eq!(said(Level::Restricted, Some(35), &own_users), "");
    // Later than this server: its latest.
    assert_eq!(said(Level::Restricted, Some(99), &own_users), "");
    let windows = json!({"os": {"name": "windows"}, "securityContext": {"runAsNonRoot": true}, "containers": [{"name": "a"}]});
    assert_ne!(said(Level::Restricted, Some(24), &windows), "");
    assert_eq!(said(Level::Restricted, None, &windows), "");
}

#[test]
fn before_there_were_fields_annotations_were_read() {
    let spec = json!({"containers": [{"name": "a"}]});
    let annotations = json!({
        "seccomp.security.alpha.kubernetes.io/pod": "unconfined",
        "container.apparmor.security.beta.kubernetes.io/a": "unconfined",
    });
    let pod = Pod { annotations: annotations.as_object(), spec: &spec };
    let at = |version| in_detail(&findings(Standard { level: Level::Baseline, version: Some(version) }, pod));
    let armor = "forbidden AppArmor profile (annotation must not set AppArmor profile type to \"container.apparmor.security.beta.kubernetes.io/a=\"unconfined\"\")";
    assert_eq!(at(19), armor);
    assert_eq!(
        at(18),
        format!(
            "{armor}, seccompProfile (forbidden annotation seccomp.security.alpha.kubernetes.io/pod=\"unconfined\")"
        )
    );
}
