//! Tokens of service accounts: made, believed, void.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{Method, Request};
use jiff::Timestamp;
use orchestra_apiserver::{ApiServer, Clock, User};
use orchestra_store::MemoryStore;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::harness::{self, delete, get, post};

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
const PODS: &str = "/api/v1/namespaces/default/pods";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// A clock that a test sets.
#[derive(Clone, Debug)]
struct SetClock(Arc<AtomicI64>);

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

async fn server() -> (ApiServer, SetClock) {
    let clock = SetClock(Arc::new(AtomicI64::new(1_800_000_000)));
    let store = Arc::new(MemoryStore::new());
    let server = ApiServer::builder(store).seed(1).clock(clock.clone()).build().await.unwrap();
    make(
        &server,
        ACCOUNTS,
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "bot"}}),
    )
    .await;
    (server, clock)
}

async fn make(server: &ApiServer, path: &str, object: Value) -> Value {
    let (code, made) = post(server, path, &object).await;
    assert_eq!(code, 201, "{made}");
    made
}

fn pod(name: &str, account: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"serviceAccountName": account, "nodeName": "n1", "containers": [{"name": "c", "image": "i"}]},
    })
}

async fn ask_for(server: &ApiServer, account: &str, spec: Value) -> (u16, Value) {
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
    post(server, &format!("{ACCOUNTS}/{account}/token"), &request).await
}

async fn token(server: &ApiServer, spec: Value) -> String {
    let (code, answer) = ask_for(server, "bot", spec).await;
    assert_eq!(code, 201, "{answer}");
    answer["status"]["token"].as_str().unwrap().to_owned()
}

fn claims(token: &str) -> Value {
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// Who the server takes the holder of a token for.
async fn whoami(server: &ApiServer, token: &str) -> (u16, Value) {
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let request = Request::post("/apis/authentication.k8s.io/v1/selfsubjectreviews")
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .body(review.to_string())
        .unwrap();
    let (code, answer) = harness::json(server.clone().oneshot(request).await.unwrap()).await;
    (code, answer.pointer("/status/userInfo").cloned().unwrap_or_default())
}

async fn review(server: &ApiServer, token: &str, audiences: &[&str]) -> Value {
    let review = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
        "spec": {"token": token, "audiences": audiences},
    });
    make(server, "/apis/authentication.k8s.io/v1/tokenreviews", review).await["status"].take()
}

#[tokio::test]
async fn a_token_speaks_for_its_account_and_for_no_later_one_of_its_name() {
    let (server, _) = server().await;
    let (_, account) = get(&server, &format!("{ACCOUNTS}/bot")).await;
    let uid = account["metadata"]["uid"].as_str().unwrap();
    let (code, answer) = ask_for(&server, "bot", json!({})).await;
    assert_eq!(code, 201);
    assert_eq!(
        answer["spec"],
        json!({"audiences": [ISSUER], "expirationSeconds": 3600, "boundObjectRef": null})
    );
    assert_eq!(answer["status"]["expirationTimestamp"], "2027-01-15T09:00:00Z");
    let token = answer["status"]["token"].as_str().unwrap();
    let said = claims(token);
    let jti = said["jti"].as_str().unwrap();
    assert_eq!(
        said,
        json!({
            "aud": [ISSUER], "exp": 1_800_003_600, "iat": 1_800_000_000, "iss": ISSUER, "jti": jti,
            "kubernetes.io": {"namespace": "default", "serviceaccount": {"name": "bot", "uid": uid}},
            "nbf": 1_800_000_000, "sub": "system:serviceaccount:default:bot",
        })
    );
    let (code, user) = whoami(&server, token).await;
    assert_eq!(code, 201);
    assert_eq!(
        user,
        json!({
            "username": "system:serviceaccount:default:bot", "uid": uid,
            "groups": ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"],
            "extra": {"authentication.kubernetes.io/credential-id": [format!("JTI={jti}")]},
        })
    );
    delete(&server, &format!("{ACCOUNTS}/bot")).await;
    assert_eq!(whoami(&server, token).await.0, 401);
    make(
        &server,
        ACCOUNTS,
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "bot"}}),
    )
    .await;
    assert_eq!(whoami(&server, token).await.0, 401);
}

#[tokio::test]
async fn a_token_goes_with_the_pod_that_it_is_bound_to() {
    let (server, clock) = server().await;
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}});
    let node = make(&server, "/api/v1/nodes", node).await["metadata"]["uid"].clone();
    let uid = make(&server, PODS, pod("p", "bot")).await["metadata"]["uid"].clone();
    let bound = json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid}});
    let held = token(&server, bound).await;
    let about = claims(&held)["kubernetes.io"].clone();
    assert_eq!(about["pod"], json!({"name": "p", "uid": uid}));
    assert_eq!(about["node"], json!({"name": "n1", "uid": node}));
    let (_, user) = whoami(&server, &held).await;
    assert_eq!(user["extra"]["authentication.kubernetes.io/pod-name"], json!(["p"]));
    assert_eq!(user["extra"]["authentication.kubernetes.io/node-name"], json!(["n1"]));
    // It lasts while the pod is going and for a minute more, and no longer than the pod.
    delete(&server, &format!("{PODS}/p")).await;
    clock.0.fetch_add(89, Ordering::SeqCst);
    assert_eq!(whoami(&server, &held).await.0, 201);
    clock.0.fetch_add(2, Ordering::SeqCst);
    assert_eq!(whoami(&server, &held).await.0, 401);
    clock.0.fetch_sub(91, Ordering::SeqCst);
    delete(&server, &format!("{PODS}/p?gracePeriodSeconds=0")).await;
    assert_eq!(whoami(&server, &held).await.0, 401);
    let status = review(&server, &held, &[]).await;
    assert_eq!(status["error"], "[invalid bearer token, service account token has been invalidated]");
    make(&server, PODS, pod("p", "bot")).await;
    assert_eq!(whoami(&server, &held).await.0, 401, "another pod of its name");
}

#[tokio::test]
async fn a_pods_own_token_lasts_a_year_so_that_old_programs_go_on() {
    let (server, clock) = server().await;
    make(&server, PODS, pod("p", "bot")).await;
    let spec = json!({"expirationSeconds": 3607, "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p"}});
    let (_, answer) = ask_for(&server, "bot", spec).await;
    assert_eq!(answer["status"]["expirationTimestamp"], "2027-01-15T09:00:07Z");
    let held = answer["status"]["token"].as_str().unwrap();
    let said = claims(held);
    assert_eq!(said["exp"], 1_800_000_000 + 365 * 24 * 3600);
    assert_eq!(said["kubernetes.io"]["warnafter"], 1_800_003_607);
    clock.0.fetch_add(30 * 24 * 3600, Ordering::SeqCst);
    assert_eq!(whoami(&server, held).await.0, 201);
}

#[tokio::test]
async fn a_token_goes_with_the_secret_or_node_that_it_is_bound_to() {
    let (server, _) = server().await;
    make(&server, SECRETS, json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}})).await;
    make(&server, "/api/v1/nodes", json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}))
        .await;
    for (kind, name, path) in
        [("Secret", "s", format!("{SECRETS}/s")), ("Node", "n1", "/api/v1/nodes/n1".into())]
    {
        let bound = json!({"boundObjectRef": {"apiVersion": "v1", "kind": kind, "name": name}});
        let held = token(&server, bound).await;
        assert_eq!(whoami(&server, &held).await.0, 201, "{kind}");
        delete(&server, &path).await;
        assert_eq!(whoami(&server, &held).await.0, 401, "{kind}");
    }
}

#[tokio::test]
async fn a_token_has_its_time_and_its_audience() {
    let (server, clock) = server().await;
    let held = token(&server, json!({"expirationSeconds": 600})).await;
    clock.0.fetch_add(661, Ordering::SeqCst);
    assert_eq!(whoami(&server, &held).await.0, 401);
    let status = review(&server, &held, &[]).await;
    assert_eq!(status["error"], "[invalid bearer token, service account token has expired]");
    clock.0.fetch_sub(661 + 61, Ordering::SeqCst);
    assert_eq!(whoami(&server, &held).await.0, 401, "not valid yet");
    clock.0.fetch_add(61, Ordering::SeqCst);
    let vault = token(&server, json!({"audiences": ["vault"]})).await;
    assert_eq!(whoami(&server, &vault).await.0, 401);
    let status = review(&server, &vault, &["vault", "other"]).await;
    assert_eq!((&status["authenticated"], &status["audiences"]), (&json!(true), &json!(["vault"])));
    assert_eq!(status["user"]["username"], "system:serviceaccount:default:bot");
    let status = review(&server, &vault, &[]).await;
    assert_eq!(
        status["error"],
        format!(
            "[invalid bearer token, token audiences [\"vault\"] is invalid for the target audiences [{ISSUER:?}]]"
        )
    );
    let status = review(&server, &held, &[]).await;
    assert_eq!((&status["authenticated"], &status["audiences"]), (&json!(true), &json!([ISSUER])));
    let status = review(&server, "nonsense", &[]).await;
    assert_eq!(status, json!({"user": {}, "error": "invalid bearer token"}));
}

#[tokio::test]
async fn a_request_for_a_token_is_checked() {
    let (server, _) = server().await;
    make(&server, PODS, pod("other", "default")).await;
    let bound =
        |kind: &str, name: &str| json!({"boundObjectRef": {"apiVersion": "v1", "kind": kind, "name": name}});
    let mut stale = bound("Pod", "other");
    stale["boundObjectRef"]["uid"] = "0".into();
    for (spec, code, message) in [
        (
            json!({"expirationSeconds": 60}),
            422,
            "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 60: may not specify a duration less than 10 minutes",
        ),
        (bound("Pod", "gone"), 404, "pods \"gone\" not found"),
        (
            bound("Pod", "other"),
            400,
            "cannot bind token for serviceaccount \"bot\" to pod running with different serviceaccount name.",
        ),
        (bound("ConfigMap", "c"), 400, "cannot bind token to object of type /v1, Kind=ConfigMap"),
        (
            stale,
            409,
            "Operation cannot be fulfilled on Pod \"other\": the UID in the bound object reference (0) does not match the UID in record. The object might have been deleted and then recreated",
        ),
    ] {
        let (got, answer) = ask_for(&server, "bot", spec).await;
        assert_eq!((got, answer["message"].as_str().unwrap()), (code, message));
    }
    let (code, answer) = ask_for(&server, "nobody", json!({})).await;
    assert_eq!((code, answer["message"].as_str().unwrap()), (404, "serviceaccounts \"nobody\" not found"));
    let path = format!("{ACCOUNTS}/bot/token");
    assert_eq!(get(&server, &path).await.0, 405);
    // Who may read the account may not speak for it.
    let mut asked = Request::builder().method(Method::POST).uri(&path).body("{}".to_owned()).unwrap();
    asked.extensions_mut().insert(User::new("jane", []));
    assert_eq!(server.clone().oneshot(asked).await.unwrap().status(), 403);
}

#[tokio::test]
async fn others_verify_tokens_by_the_published_key() {
    let (server, _) = server().await;
    let (code, configuration) = get(&server, "/.well-known/openid-configuration").await;
    assert_eq!(code, 200);
    assert_eq!(configuration["issuer"], ISSUER);
    assert_eq!(configuration["jwks_uri"], format!("{ISSUER}/openid/v1/jwks"));
    let (_, keys) = get(&server, "/openid/v1/jwks").await;
    let key = &keys["keys"][0];
    let coordinate = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap();
    let point = [vec![4], coordinate("x"), coordinate("y")].concat();
    let held = token(&server, json!({})).await;
    let (signed, signature) = held.rsplit_once('.').unwrap();
    let header = URL_SAFE_NO_PAD.decode(signed.split('.').next().unwrap()).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    assert_eq!(header, json!({"alg": "ES256", "kid": key["kid"]}));
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    public.verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
}

#[tokio::test]
async fn a_secret_of_the_old_kind_holds_a_token_for_as_long_as_it_is_there() {
    let (server, _) = server().await;
    let secret = make(
        &server,
        SECRETS,
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
            "metadata": {"name": "old", "annotations": {"kubernetes.io/service-account.name": "bot"}},
        }),
    )
    .await;
    let text = |key: &str| {
        String::from_utf8(STANDARD.decode(secret["data"][key].as_str().unwrap()).unwrap()).unwrap()
    };
    assert_eq!(text("namespace"), "default");
    let (code, user) = whoami(&server, &text("token")).await;
    assert_eq!((code, &user["username"]), (201, &json!("system:serviceaccount:default:bot")));
    assert_eq!(secret["metadata"]["annotations"]["kubernetes.io/service-account.uid"], user["uid"]);
    delete(&server, &format!("{SECRETS}/old")).await;
    assert_eq!(whoami(&server, &text("token")).await.0, 401);
}

#[tokio::test]
async fn a_bad_token_is_refused_where_no_token_would_not_be() {
    let (server, _) = server().await;
    let ask = |token: Option<&str>| {
        let mut request = Request::get("/version");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        server.clone().oneshot(request.body(String::new()).unwrap())
    };
    assert_eq!(ask(None).await.unwrap().status(), 200);
    assert_eq!(ask(Some("a.b.c")).await.unwrap().status(), 401);
}
