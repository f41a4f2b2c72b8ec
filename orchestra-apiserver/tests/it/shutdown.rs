//! The end of a server that people still talk to.

use std::time::Duration;

use http::Request;
use http_body_util::BodyExt;
use orchestra_apiserver::Limits;
use serde_json::json;
use tokio::net::TcpStream;

use crate::socket::{Gate, listen};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn a_server_says_that_it_goes_lets_everybody_finish_and_takes_nobody_new() {
    let (gate, mut coming) = Gate::new();
    let mut limits = Limits::default();
    limits.shutdown_delay = Duration::from_millis(500);
    limits.farewell = Duration::from_secs(3600);
    let listening = listen(limits, |builder| builder.admission(gate.clone())).await;
    let request = |request: http::request::Builder, body: String| {
        let request = request.header("host", "x").header("x-test-user", "admin");
        request.header("content-type", "application/json").body(body.into()).unwrap()
    };
    let mut sender = listening.connect().await;
    let watch = Request::get(format!("{MAPS}?watch=true&allowWatchBookmarks=true"));
    let watch = sender.send_request(request(watch, String::new())).await.unwrap();
    let mut writer = listening.connect().await;
    let held = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "held"}}).to_string();
    let write = tokio::spawn(writer.send_request(request(Request::post(MAPS), held)));
    coming.recv().await.unwrap();

    listening.shutdown.cancel();
    loop {
        // Within the delay requests are still taken, and readiness tells.
        let (parts, text) = listening.ask("nobody", Request::get("/readyz"), "").await;
        if parts.status == 500 {
            assert!(text.as_str().unwrap().contains("[-]shutdown failed: reason withheld"), "{text}");
            break;
        }
        assert_eq!(parts.status, 200);
    }
    assert_eq!(listening.ask("nobody", Request::get("/livez"), "").await.0.status, 200);
    // The watch ends as it does at its deadline: with its last chunk, not with a reset.
    watch.into_body().collect().await.expect("it ends in order");
    while TcpStream::connect(listening.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!listening.serving.is_finished(), "a request is under way");
    gate.open.add_permits(1);
    let answer = write.await.unwrap().unwrap();
    assert_eq!(answer.status(), 201);
    answer.into_body().collect().await.unwrap();
    listening.serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn who_does_not_finish_is_not_waited_for_for_ever() {
    let (gate, mut coming) = Gate::new();
    let mut limits = Limits::default();
    limits.farewell = Duration::from_millis(50);
    let listening = listen(limits, |builder| builder.admission(gate)).await;
    let held = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "held"}}).to_string();
    let request = Request::post(MAPS).header("host", "x").header("x-test-user", "admin");
    let request = request.header("content-type", "application/json").body(held.into()).unwrap();
    let mut writer = listening.connect().await;
    let write = tokio::spawn(writer.send_request(request));
    coming.recv().await.unwrap();
    listening.shutdown.cancel();
    listening.serving.await.unwrap().unwrap();
    write.abort();
}
