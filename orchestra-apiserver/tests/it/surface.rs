//! What is served, against what Kubernetes 1.36 serves: every resource as `kubectl api-resources -o wide` prints it, and every
//! path with its verbs. Nothing is missing.

use http::{Method, Request};
use orchestra_apiserver::ApiServer;
use serde_json::Value;

use crate::harness::{get, json, send, server};

/// As kubectl prints it.
const RESOURCES: &str = include_str!("data/api-resources-1.36.txt");
const PATHS: &str = include_str!("data/api-paths-1.36.tsv");

/// A resource in the columns of kubectl: name, short names, version, namespaced, kind, verbs, categories.
fn row(version: &str, entry: &Value) -> String {
    let joined = |field: &str| {
        let list = entry[field].as_array().cloned().unwrap_or_default();
        list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
    };
    let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    let columns = [
        text("name"),
        joined("shortNames"),
        version.to_owned(),
        entry["namespaced"].to_string(),
        text("kind"),
        joined("verbs"),
        joined("categories"),
    ];
    columns.join("|")
}

/// The rows of a document of the old form.
async fn rows(server: &ApiServer, version: &str) -> Vec<String> {
    let path = if version.contains('/') { format!("/apis/{version}") } else { format!("/api/{version}") };
    let (code, list) = get(server, &path).await;
    assert_eq!(code, 200, "{path}");
    let resources = list["resources"].as_array().unwrap();
    let main = resources.iter().filter(|r| !r["name"].as_str().unwrap().contains('/'));
    main.map(|entry| {
        let kind = entry["kind"].as_str().unwrap().to_lowercase();
        assert_eq!(entry["singularName"], kind, "{entry}");
        row(version, entry)
    })
    .collect()
}

#[tokio::test]
async fn the_resources_are_those_of_kubernetes() {
    let server = server().await;
    let mut served = rows(&server, "v1").await;
    let (_, groups) = get(&server, "/apis").await;
    for group in groups["groups"].as_array().unwrap() {
        served.extend(rows(&server, group["preferredVersion"]["groupVersion"].as_str().unwrap()).await);
    }
    let heads = RESOURCES.lines().next().unwrap();
    let starts: Vec<usize> =
        ["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND", "VERBS", "CATEGORIES"]
            .iter()
            .map(|head| {
                heads
                    .match_indices(head)
                    .map(|(at, _)| at)
                    .find(|at| *at == 0 || heads.as_bytes()[at - 1] == b' ')
                    .unwrap()
            })
            .collect();
    let wanted: Vec<String> = RESOURCES
        .lines()
        .skip(1)
        .map(|line| {
            let ends = starts.iter().skip(1).copied().chain([line.len()]);
            let columns = starts.iter().zip(ends).map(|(start, end)| line[*start..end].trim());
            columns.collect::<Vec<_>>().join("|")
        })
        .collect();
    assert_eq!(wanted.len(), 67);
    let name = |row: &String| row.split('|').next().unwrap().to_owned();
    let missing: Vec<String> = wanted.iter().filter(|row| !served.contains(row)).map(name).collect();
    assert!(missing.is_empty(), "{missing:?} of {served:#?}");
    let more: Vec<&String> = served.iter().filter(|row| !wanted.contains(row)).collect();
    assert!(more.is_empty(), "{more:?}");
}

/// Whether the server knows what to do; what it answers otherwise is for other tests.
async fn is_served(server: &ApiServer, method: &str, path: &str) -> bool {
    let request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(path);
    let response = send(server, request.header("content-type", "application/json"), "{}").await;
    if response.status() == 405 {
        return false;
    }
    if response.status() != 404 {
        return true;
    }
    let (_, status) = json(response).await;
    status["message"] != "the server could not find the requested resource"
}

#[tokio::test]
async fn the_paths_are_those_of_kubernetes() {
    let server = server().await;
    let (mut missing, mut refused) = (Vec::new(), Vec::new());
    for line in PATHS.lines().filter(|line| !line.starts_with('#')) {
        let (path, verbs) = line.split_once('\t').unwrap();
        let mut actual = path.to_owned();
        for (hole, name) in [("{namespace}", "default"), ("{name}", "x"), ("{path}", "y")] {
            actual = actual.replace(hole, name);
        }
        for verb in verbs.split(' ') {
            let method = verb.split('=').next().unwrap().to_uppercase();
            if !is_served(&server, &method, &actual).await {
                refused.push(format!("{method} {path}"));
                missing.push(path);
            }
        }
    }
    missing.dedup();
    assert!(missing.is_empty(), "{refused:#?}");
}
