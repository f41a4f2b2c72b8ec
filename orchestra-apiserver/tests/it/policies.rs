//! Validating admission policies, through the server.

use std::sync::Arc;

use http::Request;
use orchestra_apiserver::{AccessRequest, ApiServer, Authorizer, Decision, RequestInfo, StatusError, User};
use orchestra_store::MemoryStore;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::harness::{delete, json as read, post, send, server};
use crate::metrics::metrics;

const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
const BINDINGS: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn policy(name: &str, spec: Value) -> Value {
    let mut spec = spec;
    spec["matchConstraints"] = json!({"resourceRules": [{
        "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE", "DELETE"], "resources": ["configmaps"]}]});
    json!({"metadata": {"name": name}, "spec": spec})
}

fn binding(name: &str, policy: &str, actions: &[&str]) -> Value {
    json!({"metadata": {"name": name}, "spec": {"policyName": policy, "validationActions": actions}})
}

fn map(name: &str, data: Value) -> Value {
    json!({"metadata": {"name": name}, "data": data})
}

async fn made(server: &ApiServer, path: &str, object: &Value) {
    let (code, answer) = post(server, path, object).await;
    assert_eq!(code, 201, "{answer:#}");
}

#[tokio::test]
async fn a_bound_policy_refuses_in_upstreams_words() {
    let server = server().await;
    let spec = json!({
        "variables": [{"name": "keys", "expression": "has(object.data) ? object.data.size() : 0"}],
        "validations": [
            {"expression": "variables.keys <= 1", "messageExpression": "'too many keys: ' + string(variables.keys)"},
            {"expression": "object.metadata.name != 'secret'", "reason": "Forbidden"},
        ],
    });
    made(&server, POLICIES, &policy("few", spec)).await;
    let two = json!({"a": "1", "b": "2"});
    made(&server, MAPS, &map("unbound", two.clone())).await;
    made(&server, BINDINGS, &binding("all", "few", &["Deny"])).await;
    let (code, refused) = post(&server, MAPS, &map("many", two)).await;
    let why = "ValidatingAdmissionPolicy 'few' with binding 'all' denied request: too many keys: 2";
    assert_eq!(code, 422);
    assert_eq!(refused["message"], format!("configmaps \"many\" is forbidden: {why}"));
    assert_eq!(refused["reason"], "Invalid");
    assert_eq!(refused["details"]["causes"], json!([{"message": why}]));
    let (code, refused) = post(&server, MAPS, &map("secret", json!({}))).await;
    assert_eq!((code, &refused["reason"]), (403, &json!("Forbidden")));
    assert_eq!(
        refused["message"],
        "configmaps \"secret\" is forbidden: ValidatingAdmissionPolicy 'few' with binding 'all' denied request: failed \
         expression: object.metadata.name != 'secret'"
    );
    made(&server, MAPS, &map("one", json!({"a": "1"}))).await;
    assert_eq!(delete(&server, &format!("{BINDINGS}/all")).await.0, 200);
    made(&server, MAPS, &map("secret", json!({"a": "1", "b": "2"}))).await;
}

#[tokio::test]
async fn a_binding_may_only_warn() {
    let server = server().await;
    made(
        &server,
        POLICIES,
        &policy("none", json!({"validations": [{"expression": "false", "message": "careful"}]})),
    )
    .await;
    made(&server, BINDINGS, &binding("soft", "none", &["Warn", "Audit"])).await;
    let request = Request::post(MAPS).header("content-type", "application/json");
    let response = send(&server, request, map("a", json!({})).to_string()).await;
    let warning = response.headers()["warning"].to_str().unwrap().to_owned();
    assert_eq!(
        warning,
        "299 - \"Validation failed for ValidatingAdmissionPolicy 'none' with binding 'soft': careful\""
    );
    assert_eq!(read(response).await.0, 201);
}

#[tokio::test]
async fn parameters_come_from_the_object_a_binding_names() {
    let server = server().await;
    let spec = json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConditions": [{"name": "others", "expression": "object == null || object.metadata.name != 'limits'"}],
        "validations": [{"expression": "object.data.size() <= int(params.data.most)"}]});
    made(&server, POLICIES, &policy("limited", spec)).await;
    let mut bound = binding("b", "limited", &["Deny"]);
    bound["spec"]["paramRef"] =
        json!({"name": "limits", "namespace": "default", "parameterNotFoundAction": "Deny"});
    made(&server, BINDINGS, &bound).await;
    let (code, refused) = post(&server, MAPS, &map("early", json!({"a": "1"}))).await;
    assert_eq!(code, 422);
    let message = refused["message"].as_str().unwrap();
    assert!(
        message.ends_with(
            "denied request: failed to configure binding: no params found for policy binding with `Deny` \
             parameterNotFoundAction"
        ),
        "{message}"
    );
    assert_eq!(delete(&server, &format!("{BINDINGS}/b")).await.0, 200);
    made(&server, MAPS, &map("limits", json!({"most": "1"}))).await;
    made(&server, BINDINGS, &bound).await;
    made(&server, MAPS, &map("small", json!({"a": "1"}))).await;
    assert_eq!(post(&server, MAPS, &map("large", json!({"a": "1", "b": "2"}))).await.0, 422);
}

#[tokio::test]
async fn expressions_that_cannot_be_compiled_are_refused() {
    let server = server().await;
    let spec = json!({"validations": [{"expression": "object.a +"}], "matchConditions": [{"name": "x", "expression": "1"}]});
    let (code, refused) = post(&server, POLICIES, &policy("bad", spec)).await;
    assert_eq!(code, 422);
    let causes = refused["details"]["causes"].as_array().unwrap();
    let fields: Vec<&str> = causes.iter().filter_map(|cause| cause["field"].as_str()).collect();
    assert_eq!(fields, ["spec.matchConditions[0].expression", "spec.validations[0].expression"]);
    assert_eq!(causes[0]["message"], "Invalid value: \"1\": must evaluate to bool but got int");
    assert!(causes[1]["message"].as_str().unwrap().starts_with(
        "Invalid value: \"object.a +\": compilation failed: ERROR: <input>:1:11: Syntax error: mismatched input '<EOF>'"
    ));
}

#[tokio::test]
async fn policies_say_nothing_about_policies() {
    let server = server().await;
    let mut spec = policy("all", json!({"validations": [{"expression": "false"}]}));
    spec["spec"]["matchConstraints"]["resourceRules"] = json!([{
        "apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}]);
    made(&server, POLICIES, &spec).await;
    made(&server, BINDINGS, &binding("all", "all", &["Deny"])).await;
    assert_eq!(post(&server, MAPS, &map("a", json!({}))).await.0, 422);
    assert_eq!(delete(&server, &format!("{BINDINGS}/all")).await.0, 200);
    assert_eq!(post(&server, MAPS, &map("a", json!({}))).await.0, 201);
}

/// Lets everybody do everything but what is about secrets.
#[derive(Debug)]
struct NoSecrets;

#[async_trait::async_trait]
impl Authorizer for NoSecrets {
    async fn authorize(&self, request: AccessRequest<'_>) -> Result<Decision, StatusError> {
        Ok(match request.info {
            RequestInfo::Resource(about) if about.resource == "secrets" => {
                Decision::Deny(format!("{} may not {}", request.user.name, request.verb))
            }
            _ => Decision::Allow(String::new()),
        })
    }
}

#[tokio::test]
async fn expressions_ask_what_the_user_and_others_may() {
    let server =
        ApiServer::builder(Arc::new(MemoryStore::new())).seed(1).authorizer(NoSecrets).build().await.unwrap();
    let secrets = "authorizer.group('').resource('secrets').namespace(request.namespace)";
    let robot = "authorizer.serviceAccount('default', 'robot').group('').resource('secrets').check('list')";
    let spec = json!({
        "matchConditions": [{"name": "may", "expression": "authorizer.requestResource.check('create').allowed()"}],
        "validations": [
            {"expression": format!("{secrets}.check('get').allowed()"), "messageExpression": format!("{secrets}.check('get').reason()")},
            {"expression": format!("{robot}.allowed()"), "messageExpression": format!("{robot}.reason()")},
        ],
    });
    made(&server, POLICIES, &policy("secret", spec)).await;
    made(&server, BINDINGS, &binding("all", "secret", &["Warn"])).await;
    let as_ann = |name: &str| {
        Request::post(MAPS)
            .header("content-type", "application/json")
            .extension(User::new("ann", []))
            .body(map(name, json!({})).to_string())
            .unwrap()
    };
    let response = server.clone().oneshot(as_ann("a")).await.unwrap();
    let said: Vec<&str> =
        response.headers().get_all("warning").iter().map(|text| text.to_str().unwrap()).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].ends_with("with binding 'all': ann may not get\""), "{said:?}");
    assert!(said[1].ends_with("system:serviceaccount:default:robot may not list\""), "{said:?}");
    assert_eq!(response.status(), 201);
    let (code, refused) = {
        assert_eq!(delete(&server, &format!("{BINDINGS}/all")).await.0, 200);
        made(&server, BINDINGS, &binding("hard", "secret", &["Deny"])).await;
        read(server.clone().oneshot(as_ann("b")).await.unwrap()).await
    };
    assert_eq!((code, &refused["reason"]), (422, &json!("Invalid")));
    let (code, _) = post(&server, MAPS, &map("admin", json!({}))).await;
    assert_eq!(code, 422, "the robot still may not");
}

#[tokio::test]
async fn refusals_are_counted_for_each_thing_that_follows_and_failures_that_are_passed_over() {
    let server = server().await;
    let spec = json!({"validations": [{"expression": "object.metadata.name != 'bad'"}]});
    made(&server, POLICIES, &policy("strict", spec)).await;
    made(&server, BINDINGS, &binding("hard", "strict", &["Deny", "Audit"])).await;
    made(&server, BINDINGS, &binding("soft", "strict", &["Warn"])).await;
    let spec = json!({"failurePolicy": "Ignore", "validations": [{"expression": "object.none == 1"}]});
    made(&server, POLICIES, &policy("lax", spec)).await;
    made(&server, BINDINGS, &binding("lax", "lax", &["Deny"])).await;
    made(&server, MAPS, &map("good", json!({}))).await;
    assert_eq!(post(&server, MAPS, &map("bad", json!({}))).await.0, 422);
    let found = metrics(&server).await;
    let of = |figure: &str, action: &str, binding: &str, policy: &str| {
        let labels = format!(
            r#"enforcement_action="{action}",error_type="invalid_error",policy="{policy}",policy_binding="{binding}""#
        );
        found.get(&format!("apiserver_validating_admission_policy_check_{figure}{{{labels}}}")).copied()
    };
    assert_eq!(of("total", "deny", "hard", "strict"), Some(1.0));
    assert_eq!(of("total", "audit", "hard", "strict"), Some(1.0));
    assert_eq!(of("total", "warn", "soft", "strict"), Some(1.0));
    assert_eq!(of("total", "allow", "lax", "lax"), Some(2.0));
    assert_eq!(of("duration_seconds_count", "deny", "hard", "strict"), Some(1.0));
    assert_eq!(of("total", "allow", "hard", "strict"), None, "what nobody minds is not counted, as upstream");
}

/// Lets everybody do everything but list secrets that are not selected by the label `mine` and a name.
#[derive(Debug)]
struct OwnSecrets;

#[async_trait::async_trait]
impl Authorizer for OwnSecrets {
    async fn authorize(&self, request: AccessRequest<'_>) -> Result<Decision, StatusError> {
        let about = (request.fields, request.labels);
        Ok(match request.info {
            RequestInfo::Resource(asked)
                if asked.resource == "secrets" && about != ("metadata.name=a", "mine in (yes)") =>
            {
                Decision::Deny(format!("not with {about:?}"))
            }
            _ => Decision::Allow(String::new()),
        })
    }
}

#[tokio::test]
async fn authorizers_see_both_selectors_of_requests_reviews_and_expressions() {
    let server = ApiServer::builder(Arc::new(MemoryStore::new()))
        .seed(1)
        .authorizer(OwnSecrets)
        .build()
        .await
        .unwrap();
    let ask = async |path: &str| {
        let request = Request::get(path).extension(User::new("ann", [])).body(String::new()).unwrap();
        server.clone().oneshot(request).await.unwrap().status().as_u16()
    };
    let secrets = "/api/v1/namespaces/default/secrets";
    let both = "fieldSelector=metadata.name%3Da&labelSelector=mine+in+(yes)";
    assert_eq!(ask(&format!("{secrets}?{both}")).await, 200);
    assert_eq!(ask(&format!("{secrets}?fieldSelector=metadata.name%3Da")).await, 403);
    assert_eq!(ask(&format!("{secrets}/a?{both}")).await, 403, "what gets one object selects nothing");

    let review = async |labels: Value| {
        let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {
            "user": "ann", "resourceAttributes": {"verb": "list", "resource": "secrets",
                "fieldSelector": {"rawSelector": "metadata.name=a"}, "labelSelector": labels}}});
        post(&server, "/apis/authorization.k8s.io/v1/subjectaccessreviews", &review).await.1["status"].take()
    };
    let terms = json!({"requirements": [{"key": "mine", "operator": "In", "values": ["yes"]}]});
    assert_eq!(review(terms).await, json!({"allowed": true}));
    let unread = review(json!({"rawSelector": "mine in ("})).await;
    let why = "spec.resourceAttributes.labelSelector ignored due to parse error";
    assert_eq!((&unread["allowed"], &unread["evaluationError"]), (&json!(false), &json!(why)));

    let check = |labels: &str| {
        format!(
            "authorizer.group('').resource('secrets').fieldSelector('metadata.name=a').labelSelector('{labels}').check('list')"
        )
    };
    let (held, unreadable) = (check("mine in (yes)"), check("mine in ("));
    let spec = json!({"validations": [
        {"expression": format!("{held}.allowed()")},
        {"expression": format!("{unreadable}.allowed()"), "messageExpression": format!("{unreadable}.reason()")},
    ]});
    made(&server, POLICIES, &policy("own", spec)).await;
    made(&server, BINDINGS, &binding("own", "own", &["Deny"])).await;
    let request =
        Request::post(MAPS).header("content-type", "application/json").extension(User::new("ann", []));
    let response =
        server.clone().oneshot(request.body(map("m", json!({})).to_string()).unwrap()).await.unwrap();
    let (code, refused) = read(response).await;
    assert_eq!(code, 422);
    let message = refused["message"].as_str().unwrap();
    assert!(message.ends_with(r#"denied request: not with ("metadata.name=a", "")"#), "{message}");
}

#[tokio::test]
async fn events_are_seen_under_the_name_a_policy_has_for_them() {
    let server = server().await;
    let mut named = policy("notes", json!({"validations": [{"expression": "object.note != 'bad'"}]}));
    let rule = &mut named["spec"]["matchConstraints"]["resourceRules"][0];
    rule["apiGroups"] = json!(["events.k8s.io"]);
    rule["resources"] = json!(["events"]);
    made(&server, POLICIES, &named).await;
    made(&server, BINDINGS, &binding("notes", "notes", &["Deny"])).await;
    let event = |message: &str| {
        json!({"metadata": {"name": "e"}, "message": message,
            "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"}})
    };
    let events = "/api/v1/namespaces/default/events";
    let (code, refused) = post(&server, events, &event("bad")).await;
    assert_eq!((code, &refused["reason"]), (422, &json!("Invalid")), "{refused}");
    made(&server, events, &event("good")).await;
}
