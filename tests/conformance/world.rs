//! A cluster for one test: in this process, on the memory store, without sockets unless asked for.

use http_body_util::BodyExt as _;
use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::{Api, PostParams};
use kube::client::Body;
use orchestra::{Cluster, ClusterBuilder};
use serde_json::{Value, json};

use crate::wire::Wire;

/// A cluster, and the namespace the test works in.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) namespace: String,
    pub(crate) wire: Wire,
}

/// A cluster with controllers and scheduler, and without nodes.
pub(crate) async fn world() -> World {
    with(Cluster::builder().without_nodes()).await
}

/// The cluster this builder makes.
pub(crate) async fn with(builder: ClusterBuilder) -> World {
    let cluster = builder.start().await.expect("the cluster starts");
    let world = World { cluster, namespace: "conformance".to_owned(), wire: Wire::Typed };
    world.make_namespace(&world.namespace).await;
    world
}

impl World {
    /// A client who may do everything.
    pub(crate) fn client(&self) -> Client {
        self.cluster.client()
    }

    /// Makes another namespace.
    pub(crate) async fn make_namespace(&self, name: &str) {
        let namespace: Namespace = from(json!({ "metadata": { "name": name } }));
        Api::all(self.client()).create(&PostParams::default(), &namespace).await.expect("a namespace");
    }

    /// Sends any request, and returns status and body as they came.
    pub(crate) async fn raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (u16, Vec<u8>) {
        let mut request = http::Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.as_bytes().to_vec())).expect("a request");
        let response = self.client().send(request).await.expect("an answer");
        let status = response.status().as_u16();
        (status, response.into_body().collect().await.expect("a whole body").to_bytes().to_vec())
    }

    /// The same world as a dynamic client sees it.
    pub(crate) fn dynamic(mut self) -> Self {
        self.wire = Wire::Json;
        self
    }

    /// Sends a tree and returns status and tree.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        self.converse(self.wire, method, path, body).await
    }

    /// What stands at this path; it must be there.
    pub(crate) async fn get(&self, path: &str) -> Value {
        self.expect("GET", path, Value::Null, &[200]).await
    }

    /// Creates this in a collection.
    pub(crate) async fn post(&self, path: &str, object: Value) -> Value {
        self.expect("POST", path, object, &[201]).await
    }

    /// Puts this in the place of what is there.
    pub(crate) async fn put(&self, path: &str, object: Value) -> Value {
        self.expect("PUT", path, object, &[200]).await
    }

    /// Deletes an object or a collection.
    pub(crate) async fn delete(&self, path: &str) -> Value {
        self.expect("DELETE", path, Value::Null, &[200, 202]).await
    }

    /// Deletes with options.
    pub(crate) async fn delete_with(&self, path: &str, options: Value) -> Value {
        self.expect("DELETE", path, options, &[200, 202]).await
    }

    /// Patches with a patch of this media type.
    pub(crate) async fn patch(&self, path: &str, media: &str, patch: Value) -> Value {
        let bytes = patch.to_string().into_bytes();
        let (status, answer) = self.answer(self.wire, "PATCH", path, media, bytes).await;
        assert!([200, 201].contains(&status), "PATCH {path}: {status} {answer}");
        answer
    }

    /// Reads, changes and writes until nobody else wrote between.
    pub(crate) async fn update(&self, read: &str, write: &str, change: impl Fn(&mut Value)) -> Value {
        loop {
            let mut object = self.get(read).await;
            change(&mut object);
            let (status, answer) = self.ask("PUT", write, object).await;
            if status != 409 {
                assert_eq!(status, 200, "PUT {write}: {answer}");
                return answer;
            }
        }
    }

    async fn expect(&self, method: &str, path: &str, body: Value, codes: &[u16]) -> Value {
        let (status, answer) = self.ask(method, path, body).await;
        assert!(codes.contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    /// Ends the cluster; part of every test, so that one which does not stop is seen.
    pub(crate) async fn end(self) {
        self.cluster.stop().await.expect("the cluster stops");
    }
}

/// The media types of patches.
pub(crate) const JSON_PATCH: &str = "application/json-patch+json";
pub(crate) const MERGE_PATCH: &str = "application/merge-patch+json";
pub(crate) const STRATEGIC_PATCH: &str = "application/strategic-merge-patch+json";
pub(crate) const APPLY_PATCH: &str = "application/apply-patch+yaml";

/// A typed object from JSON.
pub(crate) fn from<K: serde::de::DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("an object of this kind")
}
