//! What a policy says, on roles and bindings written down here.

use http::Method;
use serde_json::{Value, json};

use super::policy::Policy;
use super::rule::{Rule, missing};
use super::{bootstrap, rule};
use crate::auth::User;
use crate::auth::authorize::{AccessRequest, Decision};
use crate::query::Query;
use crate::request::RequestInfo;

pub(super) fn policy(objects: &[Value]) -> Policy {
    let of = |bindings: bool| {
        let wanted = move |object: &&Value| object["kind"].as_str().unwrap().ends_with("Binding") == bindings;
        objects.iter().filter(wanted).cloned()
    };
    Policy::new(
        of(false).map(|role| serde_json::from_value(role).unwrap()),
        of(true).map(|binding| serde_json::from_value(binding).unwrap()),
    )
}

fn role(kind: &str, namespace: &str, name: &str, rules: Value) -> Value {
    json!({"kind": kind, "metadata": {"name": name, "namespace": namespace}, "rules": rules})
}

fn binding(kind: &str, namespace: &str, name: &str, role: (&str, &str), subject: Value) -> Value {
    json!({
        "kind": kind, "metadata": {"name": name, "namespace": namespace},
        "roleRef": {"kind": role.0, "name": role.1}, "subjects": [subject],
    })
}

fn decide(policy: &Policy, user: &User, method: Method, path: &str) -> Decision {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let info = RequestInfo::parse(&method, path, &Query::parse(query)).unwrap();
    let method = method.as_str().to_ascii_lowercase();
    let verb = match &info {
        RequestInfo::Resource(request) => request.verb.as_str(),
        RequestInfo::NonResource(_) => &method,
    };
    policy.decide(&AccessRequest::new(user, verb, &info, path))
}

pub(super) fn may(policy: &Policy, user: &User, method: Method, path: &str) -> bool {
    matches!(decide(policy, user, method, path), Decision::Allow(_))
}

fn reader() -> Value {
    json!([{"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list"]}])
}

#[test]
fn a_role_binding_gives_a_role_in_its_namespace_only() {
    let policy = policy(&[
        role("ClusterRole", "", "reader", reader()),
        binding(
            "RoleBinding",
            "a",
            "read",
            ("ClusterRole", "reader"),
            json!({"kind": "User", "name": "jane"}),
        ),
    ]);
    let jane = User::new("jane", []);
    assert!(may(&policy, &jane, Method::GET, "/api/v1/namespaces/a/pods/x"));
    assert!(may(&policy, &jane, Method::GET, "/api/v1/namespaces/a/pods/x/log"));
    assert!(!may(&policy, &jane, Method::GET, "/api/v1/namespaces/a/pods/x/status"));
    assert!(!may(&policy, &jane, Method::GET, "/api/v1/namespaces/b/pods/x"));
    assert!(!may(&policy, &jane, Method::GET, "/api/v1/pods"));
    assert!(!may(&policy, &jane, Method::DELETE, "/api/v1/namespaces/a/pods/x"));
    assert!(!may(&policy, &User::new("joe", []), Method::GET, "/api/v1/namespaces/a/pods/x"));
    assert_eq!(
        decide(&policy, &jane, Method::GET, "/api/v1/namespaces/a/pods"),
        Decision::Allow(
            "RBAC: allowed by RoleBinding \"read/a\" of ClusterRole \"reader\" to User \"jane\"".to_owned()
        )
    );
}

#[test]
fn groups_and_service_accounts_hold_roles_too() {
    let account = json!({"kind": "ServiceAccount", "name": "bot", "namespace": "a"});
    let policy = policy(&[
        role("ClusterRole", "", "reader", reader()),
        binding(
            "ClusterRoleBinding",
            "",
            "g",
            ("ClusterRole", "reader"),
            json!({"kind": "Group", "name": "ops"}),
        ),
        binding("ClusterRoleBinding", "", "s", ("ClusterRole", "reader"), account),
    ]);
    let pods = "/api/v1/namespaces/any/pods";
    assert!(may(&policy, &User::new("x", ["ops".to_owned()]), Method::GET, pods));
    assert!(may(&policy, &User::new("system:serviceaccount:a:bot", []), Method::GET, pods));
    assert!(!may(&policy, &User::new("system:serviceaccount:b:bot", []), Method::GET, pods));
    // A user who bears the name of a group is not in it.
    assert!(!may(&policy, &User::new("ops", []), Method::GET, pods));
}

#[test]
fn stars_names_and_paths_are_as_upstream_reads_them() {
    let user = User::new("u", []);
    let with = |rules: Value| {
        policy(&[
            role("ClusterRole", "", "r", rules),
            binding(
                "ClusterRoleBinding",
                "",
                "b",
                ("ClusterRole", "r"),
                json!({"kind": "User", "name": "u"}),
            ),
        ])
    };
    let scale = "/apis/apps/v1/namespaces/a/deployments/x/scale";
    let any_scale = with(json!([{"apiGroups": ["*"], "resources": ["*/scale"], "verbs": ["*"]}]));
    assert!(may(&any_scale, &user, Method::PUT, scale));
    assert!(!may(&any_scale, &user, Method::PUT, "/apis/apps/v1/namespaces/a/deployments/x"));
    let plain = with(json!([{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["update"]}]));
    assert!(!may(&plain, &user, Method::PUT, scale), "a subresource is a thing of its own");

    let named = with(json!([
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["s"], "verbs": ["get", "list", "create"]},
    ]));
    assert!(may(&named, &user, Method::GET, "/api/v1/namespaces/a/secrets/s"));
    assert!(!may(&named, &user, Method::GET, "/api/v1/namespaces/a/secrets/t"));
    assert!(!may(&named, &user, Method::GET, "/api/v1/namespaces/a/secrets"));
    assert!(!may(&named, &user, Method::POST, "/api/v1/namespaces/a/secrets"));

    let paths = with(json!([{"nonResourceURLs": ["/logs/*", "/metrics"], "verbs": ["get"]}]));
    assert!(may(&paths, &user, Method::GET, "/logs/a/b"));
    assert!(may(&paths, &user, Method::GET, "/metrics"));
    assert!(!may(&paths, &user, Method::GET, "/metrics/slis"));
    assert!(!may(&paths, &user, Method::GET, "/logs"));
    assert!(!may(&paths, &user, Method::POST, "/logs/a"));
}

#[test]
fn a_role_that_is_not_there_is_named() {
    let subject = json!({"kind": "User", "name": "u"});
    let policy = policy(&[binding("ClusterRoleBinding", "", "b", ("ClusterRole", "gone"), subject)]);
    assert_eq!(
        decide(&policy, &User::new("u", []), Method::GET, "/api/v1/pods"),
        Decision::Deny("RBAC: clusterrole.rbac.authorization.k8s.io \"gone\" not found".to_owned())
    );
}

fn rules(value: Value) -> Vec<Rule> {
    serde_json::from_value(value).unwrap()
}

#[test]
fn what_one_lacks_is_said_thing_by_thing() {
    let held = rules(json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]));
    let wanted = rules(json!([
        {"apiGroups": [""], "resources": ["pods", "secrets"], "verbs": ["get", "list"]},
        {"nonResourceURLs": ["/a/*"], "verbs": ["get"]},
    ]));
    let said: Vec<String> = missing(&held, &wanted).iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "{NonResourceURLs:[\"/a/*\"], Verbs:[\"get\"]}",
            "{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"list\"]}",
            "{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\" \"list\"]}",
        ]
    );
    assert!(missing(&Rule::everything(), &wanted).is_empty());
    assert!(
        missing(&wanted, &rules(json!([{"nonResourceURLs": ["/a/b", "/a/b/*"], "verbs": ["get"]}])))
            .is_empty()
    );
    assert!(!missing(&wanted, &Rule::everything()).is_empty());
    assert!(
        !missing(&held, &rules(json!([{"apiGroups": [""], "resources": ["*"], "verbs": ["get"]}])))
            .is_empty()
    );
    assert_eq!(rule::quoted(&["a".to_owned(), "b\"".to_owned()]), "[\"a\" \"b\\\"\"]");
}

#[test]
fn names_only_cover_themselves() {
    let named =
        rules(json!([{"apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"], "verbs": ["get"]}]));
    let all = rules(json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]));
    assert!(missing(&all, &named).is_empty());
    assert!(!missing(&named, &all).is_empty());
    assert!(missing(&named, &named).is_empty());
}

#[test]
fn the_cluster_begins_with_upstreams_roles() {
    let objects = bootstrap::objects();
    let policy = policy(&objects);
    let view =
        objects.iter().find(|o| o["metadata"]["name"] == "view" && o["kind"] == "ClusterRole").unwrap();
    assert!(view["rules"].as_array().unwrap().len() > 5, "view has gathered its rules");
    let admin = User::new("a", ["system:masters".to_owned()]);
    assert!(may(&policy, &admin, Method::DELETE, "/api/v1/nodes/n"));
    assert!(may(&policy, &admin, Method::GET, "/anything"));
    let anyone = User::new("x", []);
    assert!(may(&policy, &anyone, Method::GET, "/apis/apps/v1"));
    assert!(may(&policy, &anyone, Method::POST, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"));
    assert!(!may(&policy, &anyone, Method::GET, "/api/v1/namespaces/default/pods"));
    assert!(may(&policy, &User::anonymous(), Method::GET, "/version"));
    assert!(!may(&policy, &User::anonymous(), Method::GET, "/apis"));
    let scheduler = User::new("system:kube-scheduler", []);
    assert!(may(&policy, &scheduler, Method::POST, "/api/v1/namespaces/a/pods/x/binding"));
    assert!(!may(&policy, &scheduler, Method::GET, "/api/v1/namespaces/a/secrets/x"));
    // Claims of extended resources are made and taken away by the scheduler.
    let claims = "/apis/resource.k8s.io/v1/namespaces/a/resourceclaims";
    assert!(may(&policy, &scheduler, Method::POST, claims));
    for method in [Method::GET, Method::PATCH, Method::DELETE] {
        assert!(may(&policy, &scheduler, method.clone(), &format!("{claims}/x")), "{method}");
    }
    for method in [Method::PUT, Method::PATCH] {
        // Upstream asks for this one where a claim's allocation or reservations change.
        assert!(may(&policy, &scheduler, method.clone(), &format!("{claims}/x/binding")), "{method}");
    }
    assert!(!may(&policy, &scheduler, Method::PATCH, &format!("{claims}/x/driver")));
    // Whoever edits may not read what a role allows, and nobody gathers more than is labelled.
    let named = |name: &str| policy.role("", name).unwrap().to_vec();
    assert!(missing(&named("admin"), &named("edit")).is_empty());
    assert!(missing(&named("edit"), &named("view")).is_empty());
    assert!(!missing(&named("view"), &named("edit")).is_empty());
}

#[test]
fn what_was_taken_from_a_role_comes_back_and_what_was_added_stays() {
    let wanted = json!({
        "metadata": {"name": "r", "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"}},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}],
    });
    assert_eq!(bootstrap::reconciled(&wanted, &wanted), None);
    let mut stored = wanted.clone();
    stored["rules"] = json!([
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]},
    ]);
    let next = bootstrap::reconciled(&stored, &wanted).unwrap();
    assert_eq!(next["rules"].as_array().unwrap().len(), 3);
    assert_eq!(next["rules"][2], json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}));
    stored["metadata"]["annotations"]["rbac.authorization.kubernetes.io/autoupdate"] = "false".into();
    assert_eq!(bootstrap::reconciled(&stored, &wanted), None);
}
