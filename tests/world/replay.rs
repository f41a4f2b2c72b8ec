//! One seed, one history.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use orchestra::world::{CONTROLLERS, Death, Outcome, SCHEDULER, Weather, World};
use serde_json::json;

fn rolled_out_in_bad_weather(seed: u64) -> Outcome<()> {
    World::seeded(seed).nodes(2).weather(Weather::rough()).run(async |world| {
        let deployments: Api<Deployment> = Api::default_namespaced(world.client());
        let container = json!([{"name": "c", "image": "a"}]);
        let web = json!({"metadata": {"name": "web"}, "spec": {
            "replicas": 3, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": container}},
        }});
        deployments.create(&Default::default(), &serde_json::from_value(web).unwrap()).await.unwrap();
        world.kill_at(CONTROLLERS, Death::After(3));
        tokio::time::sleep(Duration::from_secs(5)).await;
        world.kill_at(SCHEDULER, Death::Before(1));
        let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "b"}]}}}});
        let patch = kube::api::Patch::Strategic(image);
        deployments.patch("web", &Default::default(), &patch).await.unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        world.break_watches(CONTROLLERS);
        world.kill("node-1");
        tokio::time::sleep(Duration::from_secs(20)).await;
        world.calm();
        world.settle(Duration::from_secs(60), Duration::from_secs(600)).await.unwrap();
        let web = deployments.get("web").await.unwrap().status.unwrap();
        assert_eq!((web.ready_replicas, web.updated_replicas, web.replicas), (Some(3), Some(3), Some(3)));
    })
}

#[test]
fn a_seed_writes_the_same_bytes_at_the_same_times() {
    let begun = std::time::Instant::now();
    for seed in 0..4 {
        let (first, second) = (rolled_out_in_bad_weather(seed), rolled_out_in_bad_weather(seed));
        let differ =
            first.log.writes().iter().zip(second.log.writes()).find(|(a, b)| a.to_string() != b.to_string());
        if let Some((a, b)) = differ {
            panic!("seed {seed}:\n{a}\n{b}");
        }
        assert_eq!(
            first.witness(),
            second.witness(),
            "{} and {} writes",
            first.log.writes().len(),
            second.log.writes().len()
        );
        let deeds = |outcome: &Outcome<()>| outcome.deeds.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(deeds(&first), deeds(&second));
        eprintln!(
            "{seed}: {} writes, {} deeds {:?}",
            first.log.writes().len(),
            first.deeds.len(),
            begun.elapsed()
        );
    }
}

#[test]
fn another_seed_is_another_history() {
    assert_ne!(rolled_out_in_bad_weather(1).witness(), rolled_out_in_bad_weather(2).witness());
}
