//! A watch as it comes over the wire, event by event.

use std::time::Duration;

use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::Value;

use crate::wire::take_event;
use crate::world::World;

/// When a test gives up waiting for an event. Machines are shared.
const PATIENCE: Duration = Duration::from_secs(60);

/// An open watch.
pub(crate) struct Watch {
    path: String,
    body: Body,
    rest: Vec<u8>,
    is_protobuf: bool,
}

impl World {
    /// Opens the watch of this path, which has its parameters; `watch=true` among them.
    pub(crate) async fn watch(&self, path: &str) -> Watch {
        let request = http::Request::get(path).header("accept", self.wire.accept());
        let request = request.body(Body::empty()).expect("a request");
        let response = self.client().send(request).await.expect("an answer");
        assert_eq!(response.status(), 200, "{path}");
        let media = response.headers()["content-type"].to_str().expect("a media type");
        let is_protobuf = media == "application/vnd.kubernetes.protobuf;stream=watch";
        Watch { path: path.to_owned(), body: response.into_body(), rest: Vec::new(), is_protobuf }
    }

    /// Waits until the object of this name in a collection is as wanted, and returns it.
    pub(crate) async fn eventually(
        &self,
        collection: &str,
        name: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let mut watch =
            self.watch(&format!("{collection}?watch=true&fieldSelector=metadata.name={name}")).await;
        watch.until(|event| event["type"] != "DELETED" && wanted(&event["object"])).await
    }

    /// Waits until there is no object of this name in a collection.
    pub(crate) async fn gone(&self, collection: &str, name: &str) {
        let selector = format!("fieldSelector=metadata.name={name}");
        let list = self.get(&format!("{collection}?{selector}")).await;
        if list["items"].as_array().is_some_and(Vec::is_empty) {
            return;
        }
        let version = list["metadata"]["resourceVersion"].as_str().expect("a version");
        let mut watch =
            self.watch(&format!("{collection}?watch=true&{selector}&resourceVersion={version}")).await;
        watch.until(|event| event["type"] == "DELETED").await;
    }
}

impl Watch {
    /// The next event, `{type, object}`; there must be one.
    pub(crate) async fn next(&mut self) -> Value {
        loop {
            if let Some(event) = take_event(&mut self.rest, self.is_protobuf) {
                return event;
            }
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await;
            let frame = frame.unwrap_or_else(|_| panic!("no event came: {}", self.path));
            let frame = frame.unwrap_or_else(|| panic!("the watch ended: {}", self.path)).expect("a frame");
            if let Ok(data) = frame.into_data() {
                self.rest.extend_from_slice(&data);
            }
        }
    }

    /// The next event is this one, of this object as it was answered.
    pub(crate) async fn expect(&mut self, kind: &str, object: &Value) {
        let event = self.next().await;
        assert_eq!((event["type"].as_str(), &event["object"]), (Some(kind), object), "{}", self.path);
    }

    /// The next event is of this type and of the object of this name.
    pub(crate) async fn expect_named(&mut self, kind: &str, name: &str) -> Value {
        let mut event = self.next().await;
        let found = (event["type"].as_str(), event["object"]["metadata"]["name"].as_str());
        assert_eq!(found, (Some(kind), Some(name)), "{}", self.path);
        event["object"].take()
    }

    /// The object of the first event that is as wanted.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let mut event = self.next().await;
            assert_ne!(event["type"], "ERROR", "{event}");
            if wanted(&event) {
                return event["object"].take();
            }
        }
    }
}
