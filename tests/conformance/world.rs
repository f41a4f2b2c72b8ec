//! A cluster for one test: in this process, on the memory store, without sockets unless asked for.

use http_body_util::BodyExt as _;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, PostParams};
use kube::client::Body;
use kube::{Client, Resource};
use orchestra::{Cluster, ClusterBuilder};
use serde_json::{Value, json};

/// A cluster, and the namespace the test works in.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) namespace: String,
}

/// A cluster with controllers and scheduler, and without nodes.
pub(crate) async fn world() -> World {
    with(Cluster::builder().without_nodes()).await
}

/// The cluster this builder makes.
pub(crate) async fn with(builder: ClusterBuilder) -> World {
    let cluster = builder.start().await.expect("the cluster starts");
    let world = World { cluster, namespace: "conformance".to_owned() };
    world.make_namespace(&world.namespace).await;
    world
}

impl World {
    /// A client who may do everything.
    pub(crate) fn client(&self) -> Client {
        self.cluster.client()
    }

    /// A kind in the test's namespace.
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client(), &self.namespace)
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

    /// Sends JSON and returns status and JSON.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let (status, bytes) = self.raw(method, path, &[("content-type", "application/json")], &text).await;
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    /// Ends the cluster; part of every test, so that one which does not stop is seen.
    pub(crate) async fn end(self) {
        self.cluster.stop().await.expect("the cluster stops");
    }
}

/// A typed object from JSON.
pub(crate) fn from<K: serde::de::DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("an object of this kind")
}
