//! What happens to a cluster, one thing after the other.

use rand::Rng;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};

use super::{ProfileChoice, World};

/// One thing that happens.
#[derive(Clone, Debug, PartialEq)]
pub enum Happening {
    /// A Node appears or says something else.
    Node(Value),
    /// A node goes.
    NodeGone(String),
    /// A Service, ReplicaSet, Namespace, PodDisruptionBudget or something of devices or storage appears or says something
    /// else.
    Object(Value),
    /// A Service, ReplicaSet, Namespace, PodDisruptionBudget or something of devices or storage goes.
    ObjectGone(Value),
    /// A Pod with a node appears there, or moves.
    Placed(Value),
    /// A pod goes, by uid.
    PodGone(String),
    /// A Pod is promised a node that it is not on yet.
    Nominated(Value),
    /// The promise to this Pod ends.
    Withdrawn(Value),
    /// A Pod has to be placed.
    Pending(Value),
    /// A Pod has to be placed in a fork of the cluster, which is dropped afterwards.
    Supposed(Value),
}

/// A profile, and what happens under it.
#[derive(Clone, Debug)]
pub struct History {
    /// Who decides.
    pub profile: ProfileChoice,
    /// What engines draw their chance from.
    pub seed: u64,
    /// What happens.
    pub happenings: Vec<Happening>,
}

impl History {
    /// A history that follows from `seed`, with about this many pods to place.
    #[must_use]
    pub fn seeded(seed: u64, decisions: usize) -> Self {
        let mut world = World::seeded(seed);
        let profile = ProfileChoice::any(world.random());
        let nodes = match world.random().random_range(0..10) {
            0 => world.random().random_range(100..260),
            1..=3 => world.random().random_range(10..80),
            _ => world.random().random_range(1..10),
        };
        let mut names: Vec<String> = (0..nodes).map(|index| format!("n{index}")).collect();
        let mut happenings: Vec<_> = names.iter().map(|name| Happening::Node(world.node(name))).collect();
        if world.random().random_bool(0.5) {
            happenings.extend(world.groups().into_iter().map(Happening::Object));
        }
        if world.has_devices() {
            happenings.extend(world.devices(&names).into_iter().map(Happening::Object));
        }
        if world.has_storage() {
            happenings.extend(world.storage(&names).into_iter().map(Happening::Object));
        }
        let (mut placed, mut promised) = (Vec::new(), Vec::<Value>::new());
        let mut made = 0;
        let churn = world.random().random_range(0..40);
        while made < decisions {
            let kind = world.random().random_range(0..100);
            if kind >= churn {
                let mut pod = world.pod(&names);
                if world.random().random_bool(0.03) {
                    pod["status"]["nominatedNodeName"] = json!(some(&mut world, &names));
                }
                made += 1;
                if kind > 97 {
                    happenings.push(Happening::Supposed(pod));
                } else {
                    placed.push(text(&pod));
                    happenings.push(Happening::Pending(pod));
                }
                continue;
            }
            match world.random().random_range(0..12) {
                0 => {
                    let name = some(&mut world, &names);
                    happenings.push(Happening::Node(world.node(&name)));
                }
                1 => {
                    let name = format!("n{}", names.len() + happenings.len());
                    happenings.push(Happening::Node(world.node(&name)));
                    names.push(name);
                }
                2 if names.len() > 1 => {
                    let index = world.random().random_range(0..names.len());
                    happenings.push(Happening::NodeGone(names.swap_remove(index)));
                }
                3 | 4 => {
                    let mut pod = world.pod(&names);
                    pod["spec"]["nodeName"] = json!(some(&mut world, &names));
                    placed.push(text(&pod));
                    happenings.push(Happening::Placed(pod));
                }
                5 => {
                    let mut pod = world.pod(&names);
                    pod["status"]["nominatedNodeName"] = json!(some(&mut world, &names));
                    promised.push(pod.clone());
                    happenings.push(Happening::Nominated(pod));
                }
                8 => {
                    let stored = world.has_storage();
                    let object = match world.has_devices() && (!stored || world.random().random_bool(0.5)) {
                        true => world.device(&names),
                        false if stored => world.stored(&names),
                        false => world.group(),
                    };
                    let gone = world.random().random_bool(0.5);
                    happenings.push(if gone {
                        Happening::ObjectGone(object)
                    } else {
                        Happening::Object(object)
                    });
                }
                6 | 7 if !promised.is_empty() => {
                    let index = world.random().random_range(0..promised.len());
                    happenings.push(Happening::Withdrawn(promised.swap_remove(index)));
                }
                _ if !placed.is_empty() => {
                    let index = world.random().random_range(0..placed.len());
                    happenings.push(Happening::PodGone(placed.swap_remove(index)));
                }
                _ => {}
            }
        }
        Self { profile, seed, happenings }
    }
}

fn text(pod: &Value) -> String {
    pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned()
}

fn some(world: &mut World, names: &[String]) -> String {
    names.choose(world.random()).cloned().unwrap_or_default()
}
