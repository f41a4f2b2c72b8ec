//! Storms: a random workload in bad weather, and what must hold after it and all along.
//!
//! A storm is made up from a seed before it begins: users create, scale, roll, roll back, autoscale, drain and delete; nodes
//! die and return, containers fail, watches break, requests conflict and get lost, and components die between any two of
//! their writes. Then the weather clears, everything comes back, the world comes to rest, and the
//! [invariants](super::invariant) look at it; many of them look all the while. Last, a world at rest must stay at rest: who
//! writes there fights somebody.
//!
//! A storm that fails replays byte for byte, and [shrinks](Storms::shrink) to the few steps that matter.

mod act;
mod kind;
mod load;
mod plan;

use std::fmt;
use std::time::Duration;

pub use kind::Kind;
pub use plan::{Act, Recipe, Step};

use super::log::{Object, WriteLog};
use super::provisioner::{self, PROVISIONER};
use super::{Violation, Weather, World, WorldBuilder};
use act::Stage;
use load::Load;

/// After how long without a write a world is taken to be at rest: longer than anybody here waits before trying again, which
/// for a controller whose pods a quota refused is five minutes.
const QUIET: Duration = Duration::from_secs(310);
/// How long a world may take to come to rest.
const PATIENCE: Duration = Duration::from_secs(45 * 60);
/// How long a world at rest is watched.
const IDLE: Duration = Duration::from_secs(150);

type Change = Box<dyn Fn(WorldBuilder) -> WorldBuilder>;

/// Storms over worlds of one make.
pub struct Storms {
    recipe: Recipe,
    change: Change,
}

impl fmt::Debug for Storms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Storms").field("recipe", &self.recipe).finish_non_exhaustive()
    }
}

/// What came of a storm.
#[derive(Debug)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// What happened.
    pub steps: Vec<Step>,
    /// What did not hold.
    pub violations: Vec<Violation>,
    /// A number that stands for every byte that was written.
    pub witness: u64,
    /// How many writes there were.
    pub writes: usize,
    /// How long it took, in the world's time.
    pub took: Duration,
    /// What components wrote, one line each, but for signs of life.
    pub deeds: Vec<String>,
    /// What stands at the end, one line each: how the workloads and their pods are.
    pub stands: Vec<String>,
}

impl Report {
    /// Whether everything held.
    pub fn is_well(&self) -> bool {
        self.violations.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {} writes, witness {:016x}", self.seed, self.writes, self.witness)?;
        self.violations.iter().try_for_each(|violation| writeln!(f, "  broken {violation}"))?;
        if !self.is_well() {
            self.steps.iter().try_for_each(|step| writeln!(f, "  {step}"))?;
        }
        Ok(())
    }
}

impl Storms {
    /// Storms by `recipe`, over worlds with all parts and all invariants.
    pub fn new(recipe: Recipe) -> Self {
        Self { recipe, change: Box::new(|world| world) }
    }

    /// Changes every world before its storm: adds components, invariants, or somebody who tampers.
    #[must_use]
    pub fn world(mut self, change: impl Fn(WorldBuilder) -> WorldBuilder + 'static) -> Self {
        self.change = Box::new(change);
        self
    }

    /// The storm of `seed`.
    pub fn run(&self, seed: u64) -> Report {
        self.tell(seed, self.recipe.plan(seed))
    }

    /// A storm of these steps, with the chance of `seed`.
    pub fn tell(&self, seed: u64, steps: Vec<Step>) -> Report {
        let last = steps.last().map_or(Duration::ZERO, |step| step.at);
        let world = World::seeded(seed)
            .nodes(self.recipe.nodes)
            .apart(self.recipe.living_apart(seed))
            .component(PROVISIONER, provisioner::live)
            .weather(Weather::rough())
            .tamper(Load::of(seed, last));
        let world = (self.change)(world.invariants());
        let outcome = world.run(async |world| {
            storm(world, &steps).await;
            world.elapsed()
        });
        let deeds = outcome.deeds.iter().filter(|deed| !deed.path.contains("/leases/"));
        Report {
            seed,
            violations: outcome.violations,
            witness: outcome.log.witness(),
            writes: outcome.log.writes().len(),
            took: outcome.value,
            deeds: deeds.map(ToString::to_string).collect(),
            stands: stands(&outcome.log),
            steps,
        }
    }

    /// The first of these seeds that fails.
    pub fn first_failure(&self, seeds: impl IntoIterator<Item = u64>) -> Option<Report> {
        seeds.into_iter().map(|seed| self.run(seed)).find(|report| !report.is_well())
    }

    /// The least storm found that breaks the same invariant as `failure` did: steps are left out for as long as it does.
    pub fn shrink(&self, failure: Report) -> Report {
        let broken = |report: &Report| report.violations.first().map(|violation| violation.invariant);
        let invariant = broken(&failure);
        let mut least = failure;
        let mut size = least.steps.len().div_ceil(2);
        while size > 0 {
            let mut from = 0;
            let mut shrank = false;
            while from < least.steps.len() {
                let mut fewer = least.steps.clone();
                fewer.drain(from..(from + size).min(fewer.len()));
                let report = self.tell(least.seed, fewer);
                if broken(&report) == invariant {
                    least = report;
                    shrank = true;
                } else {
                    from += size;
                }
            }
            // Once more at the finest, as long as that helps.
            size = if size == 1 && shrank { 1 } else { size / 2 };
        }
        least
    }
}

/// How the workloads and their pods are.
fn stands(log: &WriteLog) -> Vec<String> {
    let shown = [
        "deployments.apps",
        "replicasets.apps",
        "statefulsets.apps",
        "daemonsets.apps",
        "jobs.batch",
        "pods",
        "nodes",
    ];
    let objects =
        shown.into_iter().flat_map(|resource| log.of(resource).map(move |object| (resource, object)));
    let line = |(resource, object): (&str, &Object)| {
        let mut status = object.at("/status").clone();
        if let Some(status) = status.as_object_mut() {
            let dull = [
                "podIP",
                "podIPs",
                "hostIP",
                "hostIPs",
                "nodeInfo",
                "capacity",
                "allocatable",
                "addresses",
                "daemonEndpoints",
            ];
            dull.iter().for_each(|field| drop(status.remove(*field)));
        }
        let (spec, going) = (object.at("/spec"), object.at("/metadata/deletionTimestamp"));
        let replicas = &spec["replicas"];
        let node = &spec["nodeName"];
        format!(
            "{resource} {}/{} replicas {replicas} node {node} going {going} taints {} {} status {status}",
            object.namespace,
            object.name,
            spec["taints"],
            object.at("/metadata/finalizers")
        )
    };
    objects.map(line).collect()
}

/// A storm, its end, and the calm after it. Ends early when an invariant is broken.
async fn storm(world: &World, steps: &[Step]) {
    let stage = Stage::new(world);
    stage.prepare().await;
    let began = world.elapsed();
    for step in steps {
        tokio::time::sleep((began + step.at).saturating_sub(world.elapsed())).await;
        if world.is_broken() {
            return;
        }
        stage.play(&step.act).await;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    stage.clear_up().await;
    if let Err(restless) = world.settle(QUIET, PATIENCE).await {
        world.violate("the world comes to rest", restless.to_string());
    }
    if world.is_broken() {
        return;
    }
    world.say_at_rest();
    let before = world.last_work();
    tokio::time::sleep(IDLE).await;
    world.catch_up().await;
    if world.last_work() != before {
        world.violate("an idle world writes nothing", world.latest(6).join("; "));
    }
}
