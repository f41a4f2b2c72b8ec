//! Lists in pages.

use orchestra::store::{MemoryStore, Revision, Store as _};
use serde_json::{Value, json};

use crate::world::{self, World};

const TEMPLATES: &str = "/api/v1/namespaces/conformance/podtemplates";
const ALL: usize = 400;

async fn make_templates(world: &World) {
    for number in 0..ALL {
        let template = json!({
            "metadata": {"name": format!("template-{number:04}")},
            "template": {"spec": {"containers": [{"name": "test", "image": "test2"}]}},
        });
        world.post(TEMPLATES, template).await;
    }
}

fn token(list: &Value) -> Option<&str> {
    list["metadata"]["continue"].as_str().filter(|token| !token.is_empty())
}

/// The page holds at most `limit` templates that follow the `found` first, and says how many remain.
fn check(list: &Value, limit: usize, found: usize) -> usize {
    let items = list["items"].as_array().unwrap();
    assert!(items.len() <= limit);
    for (number, item) in items.iter().enumerate() {
        assert_eq!(item["metadata"]["name"], format!("template-{:04}", found + number));
    }
    let found = found + items.len();
    let remaining = list["metadata"].get("remainingItemCount").cloned();
    assert_eq!(remaining, token(list).map(|_| json!(ALL - found)), "after {found}");
    found
}

#[tokio::test]
async fn servers_with_support_for_api_chunking_should_return_chunks_of_results_for_list_calls() {
    let world = world::world().await;
    make_templates(&world).await;
    // Each time through with pages of other sizes.
    for (seed, step) in [(7, 11), (40, 17), (1, 31)] {
        let (mut found, mut version, mut next, mut limit) = (0, None, String::new(), seed);
        loop {
            let list = world.get(&format!("{TEMPLATES}?limit={limit}{next}")).await;
            found = check(&list, limit, found);
            let at = list["metadata"]["resourceVersion"].clone();
            assert_eq!(*version.get_or_insert(at.clone()), at);
            let Some(token) = token(&list) else { break };
            next = format!("&continue={token}");
            limit = (limit + step) % (ALL / 10) + 1;
        }
        assert_eq!(found, ALL);
    }
    let list = world.get(&format!("{TEMPLATES}?limit={}", ALL + 1)).await;
    assert_eq!(list["items"].as_array().unwrap().len(), ALL);
    world.end().await;
}

#[tokio::test]
async fn servers_with_support_for_api_chunking_should_support_continue_listing_from_the_last_key_if_the_original_version_has_been_compacted_away_though_the_list_is_inconsistent()
 {
    let store = MemoryStore::new();
    let builder = orchestra::Cluster::builder().without_nodes().store(store.clone());
    let world = world::with(builder).await;
    make_templates(&world).await;
    let limit = ALL / 10;
    let first = world.get(&format!("{TEMPLATES}?limit={limit}")).await;
    let mut found = check(&first, limit, 0);
    let expired = token(&first).unwrap();

    // Time goes on and history is thrown away.
    world.post("/api/v1/namespaces/conformance/configmaps", json!({"metadata": {"name": "later"}})).await;
    let listed = first["metadata"]["resourceVersion"].as_str().unwrap();
    store.compact(Revision(listed.parse().unwrap())).await.unwrap();
    let (status, refusal) =
        world.ask("GET", &format!("{TEMPLATES}?limit={limit}&continue={expired}"), Value::Null).await;
    assert_eq!((status, &refusal["reason"]), (410, &json!("Expired")), "{refusal}");

    let inconsistent = token(&refusal).unwrap();
    let list = world.get(&format!("{TEMPLATES}?limit={limit}&continue={inconsistent}")).await;
    let version = list["metadata"]["resourceVersion"].clone();
    assert_ne!(version, first["metadata"]["resourceVersion"]);
    assert_eq!(list["items"].as_array().unwrap().len(), limit);
    found = check(&list, limit, found);
    let mut next = token(&list).map(str::to_owned);
    while let Some(token_now) = next {
        let list = world.get(&format!("{TEMPLATES}?limit={limit}&continue={token_now}")).await;
        assert_eq!(list["metadata"]["resourceVersion"], version);
        found = check(&list, limit, found);
        next = token(&list).map(str::to_owned);
    }
    assert_eq!(found, ALL);
    world.end().await;
}
