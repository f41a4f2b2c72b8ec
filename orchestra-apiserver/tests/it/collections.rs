//! Removing a collection: many at once, answered in order.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use orchestra_apiserver::{Admission, AdmissionRequest, ApiServer, Operation, StatusError};
use orchestra_store::MemoryStore;
use serde_json::{Value, json};
use tokio::sync::Barrier;

use crate::harness::{delete, get, post};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const TOGETHER: usize = 8;

/// Lets removals go on when so many wait for it; refuses one by name.
#[derive(Debug)]
struct Together {
    barrier: Barrier,
    refused: &'static str,
}

#[async_trait]
impl Admission for Together {
    fn name(&self) -> &str {
        "Together"
    }

    fn concerns(&self, request: &AdmissionRequest<'_>) -> bool {
        request.is("", "configmaps") && request.operation == Operation::Delete
    }

    async fn mutate(&self, _: &AdmissionRequest<'_>, _: &mut Value) -> Result<(), StatusError> {
        Ok(())
    }

    async fn validate(&self, request: &AdmissionRequest<'_>, _: &Value) -> Result<(), StatusError> {
        self.barrier.wait().await;
        if request.name == self.refused { Err(request.refuse("it stays")) } else { Ok(()) }
    }
}

async fn with_maps(refused: &'static str) -> (ApiServer, Vec<String>) {
    let rule = Together { barrier: Barrier::new(TOGETHER), refused };
    let server =
        ApiServer::builder(Arc::new(MemoryStore::new())).seed(1).admission(rule).build().await.unwrap();
    let names: Vec<String> = (0..TOGETHER * 12).map(|at| format!("m-{at:02}")).collect();
    for name in &names {
        let map = json!({"metadata": {"name": name, "labels": {"all": "these"}}});
        assert_eq!(post(&server, MAPS, &map).await.0, 201);
    }
    assert_eq!(post(&server, MAPS, &json!({"metadata": {"name": "another"}})).await.0, 201);
    (server, names)
}

fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap();
    items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

async fn remove_these(server: &ApiServer) -> (u16, Value) {
    let these = format!("{MAPS}?labelSelector=all%3Dthese");
    let removal = delete(server, &these);
    tokio::time::timeout(Duration::from_secs(60), removal).await.expect("removals wait for each other")
}

#[tokio::test]
async fn a_collection_is_removed_many_at_once_and_answered_in_the_order_of_the_list() {
    let (server, made) = with_maps("").await;
    let (code, removed) = remove_these(&server).await;
    assert_eq!((code, names(&removed)), (200, made));
    assert_eq!(names(&get(&server, MAPS).await.1), ["another"]);
}

#[tokio::test]
async fn the_refusal_of_one_is_the_answer_for_the_collection() {
    let (server, _) = with_maps("m-03").await;
    let (code, status) = remove_these(&server).await;
    assert_eq!((code, &status["details"]["name"]), (403, &json!("m-03")), "{status}");
    let left = names(&get(&server, MAPS).await.1);
    assert!(left.contains(&"m-03".to_owned()) && left.contains(&"another".to_owned()), "{left:?}");
}
