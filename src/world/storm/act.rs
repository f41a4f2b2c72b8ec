//! Plays the steps of a storm.

use kube::Client;
use serde_json::json;

use super::super::World;
use super::super::chance::Chance;
use super::super::log::Object;
use super::super::provisioner::PROVISIONER;
use super::kind::Kind;
use super::plan::{Act, CLASSES, NAMESPACES};

/// Where a storm is played.
pub(super) struct Stage<'a> {
    world: &'a World,
    client: Client,
}

fn place(object: &Object) -> (String, String) {
    (object.namespace.to_string(), object.name.to_string())
}

impl<'a> Stage<'a> {
    pub(super) fn new(world: &'a World) -> Self {
        Self { world, client: world.client() }
    }

    pub(super) async fn prepare(&self) {
        for name in NAMESPACES {
            Kind::Namespace.create(&self.client, "", &json!({"metadata": {"name": name}})).await;
        }
        for (name, mode) in CLASSES {
            let class = json!({
                "metadata": {"name": name}, "provisioner": PROVISIONER, "volumeBindingMode": mode,
            });
            Kind::StorageClass.create(&self.client, "", &class).await;
        }
    }

    pub(super) async fn play(&self, act: &Act) {
        let (world, client) = (self.world, &self.client);
        match act {
            Act::Create(kind, namespace, object) => kind.create(client, namespace, object).await,
            Act::Change(kind, namespace, name, patch) => kind.patch(client, namespace, name, patch).await,
            Act::Delete(kind, namespace, name, policy) => {
                kind.delete(client, namespace, name, policy).await;
            }
            Act::Evict(number) => {
                let pods = self.places("pods", |_| true).await;
                if let Some((namespace, name)) = Chance::new(*number).pick(&pods) {
                    Kind::evict(client, namespace, name).await;
                }
            }
            Act::Drain(node) => {
                Kind::Node.patch(client, "", node, &json!({"spec": {"unschedulable": true}})).await;
                let is_daemon = |pod: &Object| pod.owners().any(|owner| owner["kind"] == "DaemonSet");
                let here = |pod: &Object| pod.text("/spec/nodeName") == node && !is_daemon(pod);
                for (namespace, name) in self.places("pods", here).await {
                    Kind::evict(client, &namespace, &name).await;
                }
            }
            Act::Uncordon(node) => self.uncordon(node).await,
            Act::Kill(component) => world.kill(component),
            Act::KillAt(component, death) => world.kill_at(component, *death),
            Act::BreakWatches(component) => world.break_watches(component),
            Act::NodeDown(node) => world.down(node),
            Act::NodeUp(node) => world.up(node),
            Act::Reboot(node) => world.reboot(node),
            Act::FailContainer(node, number) => world.fail_container(node, &mut Chance::new(*number)).await,
        }
    }

    /// The weather clears, everything comes back, and whatever would never rest is told to.
    pub(super) async fn clear_up(&self) {
        self.world.calm();
        for (_, node) in self.places("nodes", |_| true).await {
            self.uncordon(&node).await;
        }
        for (namespace, name) in self.places("cronjobs.batch", |_| true).await {
            Kind::CronJob.patch(&self.client, &namespace, &name, &json!({"spec": {"suspend": true}})).await;
        }
    }

    async fn uncordon(&self, node: &str) {
        Kind::Node.patch(&self.client, "", node, &json!({"spec": {"unschedulable": null}})).await;
    }

    async fn places(&self, resource: &str, wanted: impl Fn(&Object) -> bool) -> Vec<(String, String)> {
        self.world.catch_up().await;
        self.world.look(|log| log.of(resource).filter(|object| wanted(object)).map(place).collect())
    }
}
