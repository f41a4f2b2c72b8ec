//! Lists: every combination of resourceVersion and match, pages, and what has expired.

use std::sync::Arc;

use http::Request;
use orchestra_apiserver::ApiServer;
use orchestra_store::{Key, MemoryStore, ReadAt, Revision, Store, Txn};
use serde_json::{Value, json};

use crate::harness::{delete, get, json as body, post, send, server};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn make(server: &ApiServer, name: &str) -> u64 {
    let (code, made) =
        post(server, CONFIG_MAPS, &json!({"metadata": {"name": name, "labels": {"n": name}}})).await;
    assert_eq!(code, 201, "{made}");
    version(&made)
}

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

/// The names a list with this query has.
async fn listed(server: &ApiServer, query: &str) -> Vec<String> {
    let (code, list) = get(server, &format!("{CONFIG_MAPS}?{query}")).await;
    assert_eq!(code, 200, "{query}: {list}");
    names(&list).into_iter().map(str::to_owned).collect()
}

async fn refused(server: &ApiServer, path: &str) -> (u16, String) {
    let (code, status) = get(server, path).await;
    (code, status["message"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_version_and_its_match_choose_the_state_that_is_listed() {
    let server = server().await;
    let first = make(&server, "a").await;
    let second = make(&server, "b").await;
    make(&server, "c").await;
    for (query, wanted) in [
        (String::new(), &["a", "b", "c"][..]),
        ("resourceVersion=0".to_owned(), &["a", "b", "c"]),
        (format!("resourceVersion={first}"), &["a", "b", "c"]),
        (format!("resourceVersion={first}&resourceVersionMatch=NotOlderThan"), &["a", "b", "c"]),
        ("resourceVersion=0&resourceVersionMatch=NotOlderThan".to_owned(), &["a", "b", "c"]),
        (format!("resourceVersion={first}&resourceVersionMatch=Exact"), &["a"]),
        (format!("resourceVersion={second}&resourceVersionMatch=Exact"), &["a", "b"]),
        // A page at a version is at that version even when the client does not say so; any other limit changes nothing.
        (format!("resourceVersion={second}&limit=5"), &["a", "b"]),
        (format!("resourceVersion={second}&resourceVersionMatch=NotOlderThan&limit=2"), &["a", "b"]),
        ("limit=2".to_owned(), &["a", "b"]),
        ("resourceVersion=0&limit=2".to_owned(), &["a", "b", "c"]),
    ] {
        assert_eq!(listed(&server, &query).await, wanted, "{query}");
    }
}

#[tokio::test]
async fn combinations_that_mean_nothing_are_refused_in_upstreams_words() {
    let server = server().await;
    let list = |query: &str| format!("{CONFIG_MAPS}?{query}");
    let watch = |query: &str| format!("{CONFIG_MAPS}?watch=1&{query}");
    let of = "ListOptions.meta.k8s.io \"\" is invalid: ";
    for (path, wanted) in [
        (
            list("resourceVersionMatch=Exact"),
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
        ),
        (
            list("resourceVersionMatch=Exact&resourceVersion=0"),
            "resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
        ),
        (
            list("resourceVersionMatch=Newer&resourceVersion=1"),
            "resourceVersionMatch: Unsupported value: \"Newer\": supported values: \"Exact\", \"NotOlderThan\", \"\"",
        ),
        (
            list("resourceVersionMatch=NotOlderThan&resourceVersion=1&continue=abc"),
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided",
        ),
        (
            list("sendInitialEvents=false"),
            "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list",
        ),
        (
            watch("sendInitialEvents=true"),
            "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ),
        (
            watch("resourceVersionMatch=NotOlderThan"),
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        ),
        (
            watch("resourceVersionMatch=Exact"),
            "[resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided, \
             resourceVersionMatch: Unsupported value: \"Exact\": supported values: \"NotOlderThan\"]",
        ),
    ] {
        let (code, message) = refused(&server, &path).await;
        assert_eq!((code, message), (422, format!("{of}{wanted}")), "{path}");
    }
    let (_, status) = get(&server, &list("resourceVersionMatch=Exact")).await;
    assert_eq!(status["details"]["kind"], "ListOptions");
    assert_eq!(status["details"]["causes"][0]["field"], "resourceVersionMatch");
}

#[tokio::test]
async fn a_version_that_is_no_number_is_refused_differently_by_each_verb() {
    let server = server().await;
    let why = "resourceVersion: Invalid value: \"x\": strconv.ParseUint: parsing \"x\": invalid syntax";
    let list = refused(&server, &format!("{CONFIG_MAPS}?resourceVersion=x")).await;
    assert_eq!(list, (400, format!("invalid resource version: {why}")));
    let get = refused(&server, &format!("{CONFIG_MAPS}/a?resourceVersion=x")).await;
    assert_eq!(get, (500, why.to_owned()));
    let watch = refused(&server, &format!("{CONFIG_MAPS}?watch=1&resourceVersion=x")).await;
    assert_eq!(watch, (500, why.to_owned()));
    let large = refused(&server, &format!("{CONFIG_MAPS}?resourceVersion=99999999999999999999")).await;
    assert!(large.1.ends_with("value out of range"), "{large:?}");
}

#[tokio::test(start_paused = true)]
async fn a_version_from_the_future_times_out_and_says_when_to_come_back() {
    let server = server().await;
    make(&server, "a").await;
    for query in ["resourceVersion=999999", "resourceVersion=999999&resourceVersionMatch=Exact"] {
        let response = send(&server, Request::get(format!("{CONFIG_MAPS}?{query}")), "").await;
        assert_eq!(response.headers()["retry-after"], "1");
        let (code, status) = body(response).await;
        assert_eq!(
            (code, &status["reason"], &status["details"]["retryAfterSeconds"]),
            (504, &json!("Timeout"), &json!(1))
        );
        let message = status["message"].as_str().unwrap();
        assert!(message.starts_with("Timeout: Too large resource version: 999999, current: "), "{message}");
    }
    let (code, _) = get(&server, &format!("{CONFIG_MAPS}/a?resourceVersion=999999")).await;
    assert_eq!(code, 504);
}

#[tokio::test]
async fn pages_are_of_one_moment_and_count_what_is_left() {
    let server = server().await;
    for name in ["a", "b", "c", "d", "e"] {
        make(&server, name).await;
    }
    let (_, first) = get(&server, &format!("{CONFIG_MAPS}?limit=2")).await;
    assert_eq!((names(&first), &first["metadata"]["remainingItemCount"]), (vec!["a", "b"], &json!(3)));
    make(&server, "aa").await;
    make(&server, "cc").await;
    delete(&server, &format!("{CONFIG_MAPS}/d")).await;
    let (mut page, mut seen) =
        (first.clone(), names(&first).into_iter().map(str::to_owned).collect::<Vec<_>>());
    while let Some(token) = page["metadata"]["continue"].as_str() {
        let (code, next) = get(&server, &format!("{CONFIG_MAPS}?limit=2&continue={token}")).await;
        assert_eq!((code, version(&next)), (200, version(&first)), "{next}");
        seen.extend(names(&next).into_iter().map(str::to_owned));
        page = next;
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e"]);
    assert_eq!(page["metadata"].get("remainingItemCount"), None);
    // With a selector nobody knows how many are left.
    let (_, selected) = get(&server, &format!("{CONFIG_MAPS}?limit=1&labelSelector=n")).await;
    assert_eq!(names(&selected), ["a"]);
    assert!(selected["metadata"]["continue"].is_string());
    assert_eq!(selected["metadata"].get("remainingItemCount"), None);
    let (_, selected) =
        get(&server, &format!("{CONFIG_MAPS}?limit=1&fieldSelector=metadata.name!%3Da")).await;
    assert_eq!((names(&selected), selected["metadata"].get("remainingItemCount")), (vec!["aa"], None));
}

#[tokio::test]
async fn a_token_must_be_one_that_a_server_made() {
    use base64::Engine as _;
    let server = server().await;
    let token = |value: Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string());
    let way_out = token(json!({"v": "meta.k8s.io/v1", "rv": 1, "start": "../../secrets/kube-system/x"}));
    for (token, wanted) in [
        (
            token(json!({"v": "meta.k8s.io/v1", "rv": 0, "start": "a"})),
            "invalid continue token: continue key is not valid: incorrect encoded start resourceVersion (version meta.k8s.io/v1)",
        ),
        (
            token(json!({"v": "v2", "rv": 1, "start": "a"})),
            "invalid continue token: continue key is not valid: server does not recognize this encoded version v2",
        ),
        (way_out, "invalid continue token: continue key is not valid: ../../secrets/kube-system/x"),
    ] {
        assert_eq!(
            refused(&server, &format!("{CONFIG_MAPS}?continue={token}")).await,
            (400, wanted.to_owned())
        );
    }
    make(&server, "a").await;
    make(&server, "b").await;
    let (_, page) = get(&server, &format!("{CONFIG_MAPS}?limit=1")).await;
    let token = page["metadata"]["continue"].as_str().unwrap();
    assert_eq!(
        refused(&server, &format!("{CONFIG_MAPS}?continue={token}&resourceVersion=1")).await,
        (400, "specifying resource version is not allowed when using continue".to_owned())
    );
    assert_eq!(listed(&server, &format!("continue={token}&resourceVersion=0")).await, ["b"]);
}

#[tokio::test]
async fn a_token_that_points_behind_a_namespace_lists_nothing_of_it() {
    let server = server().await;
    let (code, _) = post(&server, "/api/v1/namespaces", &json!({"metadata": {"name": "elsewhere"}})).await;
    assert_eq!(code, 201);
    for name in ["y", "z"] {
        let (code, _) =
            post(&server, "/api/v1/namespaces/elsewhere/configmaps", &json!({"metadata": {"name": name}}))
                .await;
        assert_eq!(code, 201);
    }
    make(&server, "a").await;
    make(&server, "b").await;
    let (_, page) =
        get(&server, "/api/v1/configmaps?limit=3&fieldSelector=metadata.namespace!%3Dkube-system").await;
    let token = page["metadata"]["continue"].as_str().unwrap();
    // Once from what is in memory, and once from the store, since something has changed.
    assert_eq!(listed(&server, &format!("continue={token}")).await, Vec::<String>::new());
    make(&server, "c").await;
    assert_eq!(listed(&server, &format!("continue={token}")).await, Vec::<String>::new());
}

#[tokio::test]
async fn pages_since_which_nothing_has_changed_are_those_of_the_whole_list() {
    let store = Arc::new(MemoryStore::new());
    let server = ApiServer::builder(store.clone()).build().await.unwrap();
    for name in ["a", "b", "c", "d", "e"] {
        make(&server, name).await;
    }
    let (_, whole) = get(&server, CONFIG_MAPS).await;
    let (_, first) = get(&server, &format!("{CONFIG_MAPS}?limit=2")).await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    let next = format!("{CONFIG_MAPS}?limit=2&continue={token}");
    // Changes elsewhere are no changes here.
    post(&server, "/api/v1/namespaces", &json!({"metadata": {"name": "elsewhere"}})).await;
    let (_, second) = get(&server, &next).await;
    assert_eq!((version(&second), &second["metadata"]["remainingItemCount"]), (version(&first), &json!(1)));
    assert_eq!(second["items"].as_array().unwrap(), &whole["items"].as_array().unwrap()[2..4]);
    // The same page, read from the store.
    make(&server, "z").await;
    assert_eq!(get(&server, &next).await.1, second);
}

#[tokio::test]
async fn whoever_reads_pages_at_the_same_time_is_told_what_is_left_of_his_own() {
    const ALL: &str = "/api/v1/configmaps";
    let server = server().await;
    for name in ["a", "b", "c", "d", "e", "f", "g"] {
        make(&server, name).await;
    }
    // What is read, how many at a time, and how many are left behind each page.
    let mut readers = [(CONFIG_MAPS, 2, vec![5, 3, 1]), (ALL, 3, vec![4, 1]), (ALL, 2, vec![5, 3, 1])]
        .map(|(path, limit, left)| (format!("{path}?limit={limit}"), left.into_iter(), Some(String::new())));
    while readers.iter().any(|(_, _, token)| token.is_some()) {
        for (path, left, next) in &mut readers {
            let Some(token) = next.take() else { continue };
            let (code, page) = get(&server, &format!("{path}&continue={token}")).await;
            assert_eq!(code, 200);
            let remaining = page["metadata"].get("remainingItemCount").and_then(Value::as_i64);
            assert_eq!(remaining, left.next(), "{path}");
            *next = page["metadata"]["continue"].as_str().map(str::to_owned);
        }
    }
    // After a write they are counted anew.
    make(&server, "h").await;
    let (_, page) = get(&server, &format!("{ALL}?limit=3")).await;
    assert_eq!(page["metadata"]["remainingItemCount"], json!(5));
}

#[tokio::test]
async fn a_page_has_expired_although_nothing_has_changed_since() {
    let store = Arc::new(MemoryStore::new());
    let server = ApiServer::builder(store.clone()).build().await.unwrap();
    for name in ["a", "b"] {
        make(&server, name).await;
    }
    let (_, page) = get(&server, &format!("{CONFIG_MAPS}?limit=1")).await;
    let token = page["metadata"]["continue"].as_str().unwrap();
    let (_, made) = post(&server, "/api/v1/namespaces", &json!({"metadata": {"name": "elsewhere"}})).await;
    store.compact(Revision(version(&made))).await.unwrap();
    let (code, status) = get(&server, &format!("{CONFIG_MAPS}?limit=1&continue={token}")).await;
    assert_eq!((code, &status["reason"]), (410, &json!("Expired")));
}

#[tokio::test]
async fn what_has_expired_is_gone_and_a_page_can_go_on_without_consistency() {
    let store = Arc::new(MemoryStore::new());
    let server = ApiServer::builder(store.clone()).seed(1).build().await.unwrap();
    let first = make(&server, "a").await;
    for name in ["b", "c", "d"] {
        make(&server, name).await;
    }
    let (_, page) = get(&server, &format!("{CONFIG_MAPS}?limit=2")).await;
    let token = page["metadata"]["continue"].as_str().unwrap().to_owned();
    let last = make(&server, "bb").await;
    store.compact(Revision(last)).await.unwrap();
    let (code, status) =
        get(&server, &format!("{CONFIG_MAPS}?resourceVersion={first}&resourceVersionMatch=Exact")).await;
    assert_eq!((code, &status["reason"]), (410, &json!("Expired")));
    assert_eq!(status["message"], "The resourceVersion for the provided list is too old.");
    let (code, status) = get(&server, &format!("{CONFIG_MAPS}?limit=2&continue={token}")).await;
    assert_eq!((code, &status["reason"]), (410, &json!("Expired")));
    let message = status["message"].as_str().unwrap();
    assert!(
        message
            .starts_with("The provided continue parameter is too old to display a consistent list result.")
    );
    assert!(
        message
            .contains("or use the continue token in this response to retrieve the remainder of the results")
    );
    let fresh = status["metadata"]["continue"].as_str().unwrap();
    assert_eq!(listed(&server, &format!("continue={fresh}")).await, ["bb", "c", "d"]);
}

#[tokio::test]
async fn versions_are_one_sequence_for_all_resources() {
    let server = server().await;
    let mut before = make(&server, "a").await;
    for (path, name) in
        [("/api/v1/namespaces", "n"), (CONFIG_MAPS, "b"), ("/api/v1/namespaces/n/serviceaccounts", "s")]
    {
        let (_, made) = post(&server, path, &json!({"metadata": {"name": name}})).await;
        assert!(version(&made) > before, "{made}");
        before = version(&made);
    }
}

#[tokio::test]
async fn label_selectors_have_every_operator() {
    let server = server().await;
    for (name, labels) in [("a", json!({"x": "1"})), ("b", json!({"x": "2", "y": ""})), ("c", json!({}))] {
        post(&server, CONFIG_MAPS, &json!({"metadata": {"name": name, "labels": labels}})).await;
    }
    for (selector, wanted) in [
        ("x%3D1", &["a"][..]),
        ("x%3D%3D1", &["a"]),
        ("x!%3D1", &["b", "c"]),
        ("x", &["a", "b"]),
        ("!x", &["c"]),
        ("x%20in%20(1,2),y", &["b"]),
        ("x%20notin%20(1)", &["b", "c"]),
        ("x%3E1", &["b"]),
    ] {
        assert_eq!(listed(&server, &format!("labelSelector={selector}")).await, wanted, "{selector}");
    }
}

#[tokio::test]
async fn a_row_of_a_table_holds_as_much_as_was_asked_for() {
    let server = server().await;
    post(&server, CONFIG_MAPS, &json!({"metadata": {"name": "a"}, "data": {"k": "v"}})).await;
    let table = async |query: &str| {
        let request = Request::get(format!("{CONFIG_MAPS}?{query}"))
            .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
        body(send(&server, request, "").await).await
    };
    assert_eq!(table("includeObject=Object").await.1["rows"][0]["object"]["data"], json!({"k": "v"}));
    let metadata = table("includeObject=Metadata").await.1["rows"][0]["object"].clone();
    assert_eq!((&metadata["kind"], metadata.get("data")), (&json!("PartialObjectMetadata"), None));
    assert_eq!(table("").await.1["rows"][0]["object"], metadata);
    assert_eq!(table("includeObject=None").await.1["rows"][0].get("object"), None);
    let (code, status) = table("includeObject=All").await;
    assert_eq!((code, &status["message"]), (400, &json!("unrecognized includeObject value: \"All\"")));
}

#[tokio::test]
async fn an_object_that_is_broken_in_the_store_breaks_no_list() {
    let store = Arc::new(MemoryStore::new());
    let server = ApiServer::builder(store.clone()).build().await.unwrap();
    make(&server, "a").await;
    let key = |name: &str| Key::from(format!("/registry/core/configmaps/default/{name}"));
    let sound = store.get(&key("a"), ReadAt::Latest).await.unwrap().value.unwrap().value;
    let names = async || {
        let (code, list) = get(&server, CONFIG_MAPS).await;
        let items = list["items"].as_array().cloned().unwrap_or_default();
        (code, items.iter().map(|item| item["metadata"]["name"].clone()).collect::<Vec<_>>())
    };
    let cut = sound.slice(..sound.len() - 1);
    // Before the list is first read, and when the cache follows.
    for name in ["b", "c"] {
        store.commit(Txn::new().put(key(name), cut.clone())).await.unwrap();
        assert_eq!(names().await, (200, vec![json!("a")]));
    }
}
