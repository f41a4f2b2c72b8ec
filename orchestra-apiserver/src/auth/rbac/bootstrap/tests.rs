//! Whom the controllers' roles let do what, by requests.

use http::Method;
use serde_json::{Value, json};

use super::super::tests::{may, policy};
use super::objects;
use crate::auth::User;

/// All controllers that have a role of their own, and how many rules it has.
const CONTROLLERS: [(&str, usize); 38] = [
    ("attachdetach-controller", 8),
    ("certificate-controller", 6),
    ("clusterrole-aggregation-controller", 1),
    ("cronjob-controller", 6),
    ("daemon-set-controller", 8),
    ("deployment-controller", 6),
    ("device-taint-eviction-controller", 6),
    ("disruption-controller", 9),
    ("endpoint-controller", 4),
    ("endpointslice-controller", 4),
    ("endpointslicemirroring-controller", 5),
    ("ephemeral-volume-controller", 4),
    ("expand-controller", 4),
    ("generic-garbage-collector", 2),
    ("horizontal-pod-autoscaler", 8),
    ("job-controller", 5),
    ("legacy-service-account-token-cleaner", 2),
    ("namespace-controller", 3),
    ("node-controller", 5),
    ("persistent-volume-binder", 9),
    ("pod-garbage-collector", 3),
    ("pv-protection-controller", 2),
    ("pvc-protection-controller", 4),
    ("replicaset-controller", 5),
    ("replication-controller", 5),
    ("resource-claim-controller", 7),
    ("resourcequota-controller", 3),
    ("root-ca-cert-publisher", 2),
    ("route-controller", 3),
    ("selinux-warning-controller", 5),
    ("service-account-controller", 2),
    ("service-cidrs-controller", 5),
    ("service-controller", 4),
    ("statefulset-controller", 10),
    ("ttl-after-finished-controller", 2),
    ("ttl-controller", 2),
    ("validatingadmissionpolicy-status-controller", 3),
    ("volumeattributesclass-protection-controller", 4),
];
/// Subjects of cluster role bindings that are no controllers: users, groups and the account of the name server.
const OTHER_SUBJECTS: usize = 12;

fn of_kind(kind: &str) -> Vec<Value> {
    objects().into_iter().filter(|object| object["kind"] == kind).collect()
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}

fn account(name: &str) -> User {
    User::new(format!("system:serviceaccount:kube-system:{name}"), [])
}

#[test]
fn every_controller_has_its_role_and_no_other_is_there() {
    let roles = of_kind("ClusterRole");
    let found: Vec<(&str, usize)> = roles
        .iter()
        .filter_map(|role| {
            let controller = name(role).strip_prefix("system:controller:")?;
            Some((controller, role["rules"].as_array().unwrap().len()))
        })
        .collect();
    assert_eq!(found, CONTROLLERS);
    for role in roles.iter().filter(|role| name(role).starts_with("system:controller:")) {
        // No label by which another role would gather it.
        assert_eq!(role["metadata"]["labels"], json!({"kubernetes.io/bootstrapping": "rbac-defaults"}));
        let annotations = json!({"rbac.authorization.kubernetes.io/autoupdate": "true"});
        assert_eq!(role["metadata"]["annotations"], annotations, "{}", name(role));
    }
}

#[test]
fn a_controllers_role_is_held_by_its_account_and_by_nobody_else() {
    let bindings = of_kind("ClusterRoleBinding");
    for (controller, _) in CONTROLLERS {
        let role = format!("system:controller:{controller}");
        let to_it: Vec<&Value> = bindings.iter().filter(|b| b["roleRef"]["name"] == role.as_str()).collect();
        let [binding] = to_it.as_slice() else { panic!("{role}: {} bindings", to_it.len()) };
        assert_eq!(name(binding), role);
        assert_eq!(binding["metadata"]["labels"], json!({"kubernetes.io/bootstrapping": "rbac-defaults"}));
        assert_eq!(
            binding["roleRef"],
            json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role})
        );
        let subject = json!({"kind": "ServiceAccount", "name": controller, "namespace": "kube-system"});
        assert_eq!(binding["subjects"], json!([subject]));
    }
    let subjects = bindings.iter().filter_map(|binding| binding["subjects"].as_array()).flatten().count();
    assert_eq!(subjects, CONTROLLERS.len() + OTHER_SUBJECTS);
}

#[test]
fn a_controllers_account_may_what_its_work_needs() {
    let policy = policy(&objects());
    let allowed = [
        ("attachdetach-controller", Method::POST, "/apis/storage.k8s.io/v1/volumeattachments"),
        (
            "certificate-controller",
            Method::PUT,
            "/apis/certificates.k8s.io/v1/certificatesigningrequests/c/approval",
        ),
        (
            "clusterrole-aggregation-controller",
            Method::PATCH,
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/r",
        ),
        ("cronjob-controller", Method::POST, "/apis/batch/v1/namespaces/a/jobs"),
        ("daemon-set-controller", Method::POST, "/apis/apps/v1/namespaces/a/controllerrevisions"),
        ("deployment-controller", Method::POST, "/apis/apps/v1/namespaces/a/replicasets"),
        ("device-taint-eviction-controller", Method::DELETE, "/api/v1/namespaces/a/pods/x"),
        ("disruption-controller", Method::GET, "/apis/example.org/v1/namespaces/a/widgets/x/scale"),
        ("endpointslice-controller", Method::POST, "/apis/discovery.k8s.io/v1/namespaces/a/endpointslices"),
        ("generic-garbage-collector", Method::DELETE, "/apis/example.org/v1/namespaces/a/widgets/x"),
        ("horizontal-pod-autoscaler", Method::PUT, "/apis/apps/v1/namespaces/a/deployments/x/scale"),
        ("horizontal-pod-autoscaler", Method::GET, "/apis/metrics.k8s.io/v1beta1/namespaces/a/pods"),
        ("job-controller", Method::PUT, "/apis/batch/v1/namespaces/a/jobs/x/status"),
        (
            "legacy-service-account-token-cleaner",
            Method::GET,
            "/api/v1/namespaces/kube-system/configmaps/kube-apiserver-legacy-service-account-token-tracking",
        ),
        ("namespace-controller", Method::PUT, "/api/v1/namespaces/a/finalize"),
        ("namespace-controller", Method::DELETE, "/apis/example.org/v1/namespaces/a/widgets"),
        ("node-controller", Method::PATCH, "/api/v1/nodes/n/status"),
        ("persistent-volume-binder", Method::POST, "/api/v1/persistentvolumes"),
        ("replicaset-controller", Method::POST, "/api/v1/namespaces/a/pods"),
        (
            "resource-claim-controller",
            Method::PATCH,
            "/apis/resource.k8s.io/v1/namespaces/a/resourceclaims/x/binding",
        ),
        ("resourcequota-controller", Method::PUT, "/api/v1/namespaces/a/resourcequotas/q/status"),
        ("root-ca-cert-publisher", Method::POST, "/api/v1/namespaces/a/configmaps"),
        ("service-account-controller", Method::POST, "/api/v1/namespaces/a/serviceaccounts"),
        ("service-cidrs-controller", Method::PATCH, "/apis/networking.k8s.io/v1/servicecidrs/s/finalizers"),
        ("statefulset-controller", Method::POST, "/api/v1/namespaces/a/persistentvolumeclaims"),
        ("ttl-after-finished-controller", Method::DELETE, "/apis/batch/v1/namespaces/a/jobs/x"),
    ];
    for (controller, method, path) in allowed {
        assert!(may(&policy, &account(controller), method.clone(), path), "{controller}: {method} {path}");
        // The name alone is worth nothing in another namespace.
        let elsewhere = User::new(format!("system:serviceaccount:default:{controller}"), []);
        assert!(!may(&policy, &elsewhere, method.clone(), path), "default/{controller}: {method} {path}");
    }
}

#[test]
fn a_controllers_account_may_no_more_than_its_work_needs() {
    let policy = policy(&objects());
    let refused = [
        ("deployment-controller", Method::GET, "/api/v1/namespaces/a/secrets/s"),
        ("deployment-controller", Method::POST, "/api/v1/namespaces/a/pods"),
        ("replicaset-controller", Method::POST, "/apis/apps/v1/namespaces/a/replicasets"),
        (
            "clusterrole-aggregation-controller",
            Method::POST,
            "/apis/rbac.authorization.k8s.io/v1/clusterroles",
        ),
        ("generic-garbage-collector", Method::POST, "/api/v1/namespaces/a/pods"),
        ("horizontal-pod-autoscaler", Method::PUT, "/apis/apps/v1/namespaces/a/deployments/x"),
        (
            "legacy-service-account-token-cleaner",
            Method::GET,
            "/api/v1/namespaces/kube-system/configmaps/other",
        ),
        ("legacy-service-account-token-cleaner", Method::GET, "/api/v1/namespaces/a/secrets/s"),
        ("namespace-controller", Method::PUT, "/api/v1/namespaces/a/pods/x"),
        ("resourcequota-controller", Method::GET, "/api/v1/namespaces/a/secrets/s"),
        ("device-taint-eviction-controller", Method::GET, "/apis/resource.k8s.io/v1beta2/devicetaintrules"),
        ("node-controller", Method::GET, "/api/v1/namespaces/a/secrets/s"),
        // Off in 1.36 unless asked for.
        ("storage-version-migrator-controller", Method::GET, "/api/v1/namespaces/a/pods"),
    ];
    for (controller, method, path) in refused {
        assert!(!may(&policy, &account(controller), method.clone(), path), "{controller}: {method} {path}");
    }
}
