//! What pods take in which nothing is decided: the same texts, written as often as a cluster writes them, and read as often as it
//! reads them, with the same store and the same libraries.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use http::Request;
use k8s_openapi::api::core::v1::Pod;
use orchestra::core::light::Light;
use orchestra::store::{DurableStore, Key, Store, Txn};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::plant::Plant;
use crate::usage;

/// Who writes at the same time.
const WRITERS: usize = 128;
/// Who reads each version of a pod: the controllers and the scheduler, and from the second on its node.
const READERS: [usize; 3] = [2, 3, 3];

/// How much is done of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    Write,
    Parse,
    Read,
}

/// A pod and what was told of it, as they are served.
struct Texts {
    pod: String,
    events: Vec<String>,
}

/// A row for each deed, with what was done before.
pub(crate) async fn floor(plant: &Plant, folder: &Path) {
    let texts = Arc::new(Texts::of_a_pod(plant).await);
    let writes = READERS.len() + texts.events.len();
    let kib = |text: &str| text.len() as f64 / 1024.0;
    let events: f64 = texts.events.iter().map(|event| kib(event)).sum();
    println!("    a pod has {:.1} KiB, its {} events {events:.1} KiB", kib(&texts.pod), texts.events.len());
    for (deed, what) in [
        (Deed::Write, format!("floor: {writes} synced writes for each pod")),
        (Deed::Parse, "  and each text parsed and written once".to_owned()),
        (Deed::Read, format!("  and {} typed readings of the pod", READERS.iter().sum::<usize>())),
    ] {
        let store = Arc::new(DurableStore::open(folder.join(format!("{deed:?}"))).expect("a store"));
        let (begin, before) = (Instant::now(), usage::cpu());
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let (store, texts) = (store.clone(), texts.clone());
            let pods = (writer..plant.size.pods).step_by(WRITERS);
            writers.spawn(async move {
                for pod in pods {
                    one(&store, &texts, pod, deed).await;
                }
            });
        }
        writers.join_all().await;
        let each = (usage::cpu() - before).as_secs_f64() * 1e3 / plant.size.pods as f64;
        println!("{what:<58} {:>9.2} s {each:>9.3} ms of CPU each", begin.elapsed().as_secs_f64());
    }
}

async fn one(store: &DurableStore, texts: &Texts, pod: usize, deed: Deed) {
    for readers in READERS {
        write(store, format!("/registry/core/pods/default/{pod:06}"), &texts.pod, deed).await;
        for _ in (0..readers).filter(|_| deed >= Deed::Read) {
            black_box(serde_json::from_str::<Light<Pod>>(&texts.pod).expect("a pod"));
        }
    }
    for (number, event) in texts.events.iter().enumerate() {
        write(store, format!("/registry/core/events/default/{pod:06}.{number}"), event, deed).await;
    }
}

async fn write(store: &DurableStore, key: String, text: &str, deed: Deed) {
    let written = if deed >= Deed::Parse {
        let tree: Value = serde_json::from_str(text).expect("an object");
        serde_json::to_string(&tree).expect("a tree")
    } else {
        text.to_owned()
    };
    store.commit(Txn::new().put(Key::from(key), written)).await.expect("written");
}

impl Texts {
    async fn of_a_pod(plant: &Plant) -> Self {
        let all = async |plural: &str| -> Vec<Value> {
            let request = Request::get(format!("/api/v1/namespaces/default/{plural}")).body(Vec::new());
            let listed: Value =
                plant.client().request(request.expect("a request")).await.expect("a list of them");
            listed["items"].as_array().cloned().expect("items")
        };
        let text = |mut object: Value, kind: &str| {
            object["apiVersion"] = "v1".into();
            object["kind"] = kind.into();
            object.to_string()
        };
        let pod = all("pods").await.pop().expect("a pod");
        let mut events = all("events").await;
        events.retain(|event| event["involvedObject"]["uid"] == pod["metadata"]["uid"]);
        assert!(!events.is_empty(), "of each pod something is told");
        Self { pod: text(pod, "Pod"), events: events.into_iter().map(|event| text(event, "Event")).collect() }
    }
}
