//! Makes workloads up, from a description and a seed.
//!
//! What is drawn for one purpose comes from a stream of its own, so that more pods, another duration or failures leave
//! everything else as it was.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1 as api;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use orchestra_scheduler::view::{NodeFacts, PodView};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::spec::{Arrival, ClassSpec, FailuresSpec, GenerateSpec, NodesSpec};
use super::{NodePlan, Outage, PodPlan, Stay, Workload, with_one_container};
use crate::time::SimTime;
use crate::trace::{TraceError, bad_amount, check_name};

/// Requests are multiplied in steps of one eighth, so that pods are of few classes.
const STEPS: f64 = 8.0;
/// The largest multiple.
const LARGEST_SCALE: f64 = 64.0;
/// A node that fails more often than this is taken to be up afterwards.
const MOST_FAILURES: usize = 100_000;

/// What chance is drawn for.
#[derive(Clone, Copy)]
enum Stream {
    Arrivals = 1,
    Classes,
    Scales,
    Durations,
    Failures,
}

fn random(seed: u64, stream: Stream) -> SmallRng {
    // Neighbouring seeds and streams must not give related numbers; the generator's own seeding mixes them.
    SmallRng::seed_from_u64(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (stream as u64) << 56)
}

/// Makes up a workload: the same for the same description and seed.
///
/// # Errors
/// When a name or a quantity of the description makes no sense.
pub fn generate(spec: &GenerateSpec, seed: u64) -> Result<Workload, TraceError> {
    let mut workload = Workload::default();
    for (at, nodes) in spec.nodes.iter().enumerate() {
        for number in 0..nodes.count {
            let facts = facts(spec, at, nodes, number)?;
            workload.nodes.push(NodePlan { facts: Arc::new(facts), from: SimTime::ZERO, until: None });
        }
    }
    let mut classes = Classes { spec, known: HashMap::new() };
    let weights: Vec<f64> = spec.pods.classes.iter().map(|class| class.weight.0).collect();
    let times = arrivals(spec, seed);
    let mut which = random(seed, Stream::Classes);
    let (mut scales, mut durations) = (random(seed, Stream::Scales), random(seed, Stream::Durations));
    for (number, at) in times.into_iter().enumerate() {
        let index = choose(&weights, &mut which);
        let Some(class) = spec.pods.classes.get(index) else { continue };
        let scale = class
            .scale
            .map_or(STEPS, |scale| (scale.draw(&mut scales).min(LARGEST_SCALE) * STEPS).ceil().max(1.0));
        let stay = class.duration.map_or(Stay::Forever, |duration| Stay::For(duration.time(&mut durations)));
        let name = format!("{}-{number}", class.name).into();
        let class = classes.of(index, class, scale as u32, &mut workload.classes)?;
        workload.pods.push(PodPlan { name, class, at, stay });
    }
    if let Some(failures) = &spec.failures {
        workload.outages = outages(failures, &workload, seed);
    }
    Ok(workload)
}

/// Makes one of everything, so that what cannot be made is known before anything is run.
pub(super) fn check(spec: &GenerateSpec) -> Result<(), TraceError> {
    let places = &spec.places;
    for (at, nodes) in spec.nodes.iter().enumerate() {
        check_name(&nodes.name).map_err(|problem| places.in_nodes(at, ".name", problem))?;
        if let Some((name, problem)) = bad_amount(&nodes.allocatable) {
            return Err(places.in_nodes(at, &format!(".allocatable.{name}"), problem));
        }
        facts(spec, at, nodes, 0)?;
    }
    for (at, class) in spec.pods.classes.iter().enumerate() {
        check_name(&class.name).map_err(|problem| places.in_class(at, ".name", problem))?;
        wants(spec, at, class, class.requests.clone())?;
        for (field, chance) in [(".scale", class.scale), (".duration", class.duration)] {
            let problem = chance.and_then(|chance| chance.problem());
            problem.map_or(Ok(()), |problem| Err(places.in_class(at, field, problem)))?;
        }
    }
    if let Some(FailuresSpec { between, repair }) = spec.failures {
        for (field, chance) in [(".between", between), (".repair", repair)] {
            chance.problem().map_or(Ok(()), |problem| Err(places.in_failures(field, problem)))?;
        }
    }
    Ok(())
}

/// What a node of a group says about itself.
fn facts(spec: &GenerateSpec, at: usize, group: &NodesSpec, number: usize) -> Result<NodeFacts, TraceError> {
    NodeFacts::from_api(&node(group, number)).map_err(|problem| spec.places.in_nodes(at, "", problem))
}

/// What pods of a class with these requests want.
fn wants(
    spec: &GenerateSpec,
    at: usize,
    class: &ClassSpec,
    requests: BTreeMap<String, Quantity>,
) -> Result<PodView, TraceError> {
    PodView::from_api(&pod(class, requests)).map_err(|problem| spec.places.in_class(at, "", problem))
}

fn arrivals(spec: &GenerateSpec, seed: u64) -> Vec<SimTime> {
    let mut random = random(seed, Stream::Arrivals);
    let mut now = 0.0;
    let mut times: Vec<SimTime> = (0..spec.pods.count)
        .map(|number| match spec.pods.arrival {
            Arrival::Poisson(rate) => {
                now += -(1.0 - random.random::<f64>()).ln() / rate.0;
                SimTime::from_secs_f64(now)
            }
            Arrival::Uniform(within) => SimTime::from_secs_f64(random.random::<f64>() * within.0),
            Arrival::Every(pause) => SimTime::from_secs_f64(number as f64 * pause.0),
        })
        .collect();
    times.sort_unstable();
    times
}

fn choose(weights: &[f64], random: &mut SmallRng) -> usize {
    let mut left = random.random::<f64>() * weights.iter().sum::<f64>();
    for (index, weight) in weights.iter().enumerate() {
        left -= weight;
        if left < 0.0 {
            return index;
        }
    }
    weights.len().saturating_sub(1)
}

fn outages(spec: &FailuresSpec, workload: &Workload, seed: u64) -> Vec<Outage> {
    let mut random = random(seed, Stream::Failures);
    let horizon = workload.horizon();
    let mut outages = Vec::new();
    for node in 0..workload.nodes.len() {
        let mut now = SimTime::ZERO;
        for _ in 0..MOST_FAILURES {
            now = now.plus(spec.between.time(&mut random));
            if now >= horizon {
                break;
            }
            let lasts = spec.repair.time(&mut random);
            outages.push(Outage { node, at: now, lasts });
            now = now.plus(lasts);
        }
    }
    outages
}

fn node(spec: &NodesSpec, number: usize) -> api::Node {
    let name = spec.name_of(number);
    let mut labels = spec.labels.clone();
    labels.entry("kubernetes.io/hostname".to_owned()).or_insert_with(|| name.clone());
    let mut allocatable = spec.allocatable.clone();
    allocatable.entry("pods".to_owned()).or_insert_with(|| Quantity("110".to_owned()));
    api::Node {
        metadata: ObjectMeta { name: Some(name), labels: Some(labels), ..ObjectMeta::default() },
        spec: Some(api::NodeSpec {
            taints: Some(spec.taints.clone()).filter(|taints| !taints.is_empty()),
            ..api::NodeSpec::default()
        }),
        status: Some(api::NodeStatus { allocatable: Some(allocatable), ..api::NodeStatus::default() }),
    }
}

/// The classes made so far, by description and scale.
struct Classes<'a> {
    spec: &'a GenerateSpec,
    known: HashMap<(usize, u32), usize>,
}

impl Classes<'_> {
    fn of(
        &mut self,
        index: usize,
        class: &ClassSpec,
        scale: u32,
        classes: &mut Vec<PodView>,
    ) -> Result<usize, TraceError> {
        if let Some(known) = self.known.get(&(index, scale)) {
            return Ok(*known);
        }
        let unscaled = wants(self.spec, index, class, class.requests.clone())?;
        let view = if scale == STEPS as u32 {
            unscaled
        } else {
            wants(self.spec, index, class, scaled(&unscaled, class, scale))?
        };
        classes.push(view);
        self.known.insert((index, scale), classes.len() - 1);
        Ok(classes.len() - 1)
    }
}

fn scaled(unscaled: &PodView, class: &ClassSpec, scale: u32) -> BTreeMap<String, Quantity> {
    let times = |amount: i64| {
        let product = i128::from(amount) * i128::from(scale);
        i64::try_from((product + STEPS as i128 - 1) / STEPS as i128).unwrap_or(i64::MAX)
    };
    let asked = &unscaled.demand.requests;
    let amount = |name: &str| match name {
        "cpu" => format!("{}m", times(asked.cpu.0)),
        "memory" => times(asked.memory.0).to_string(),
        "ephemeral-storage" => times(asked.ephemeral_storage.0).to_string(),
        name => times(asked.scalars.get(name).copied().unwrap_or(0)).to_string(),
    };
    class.requests.keys().map(|name| (name.clone(), Quantity(amount(name)))).collect()
}

fn pod(class: &ClassSpec, requests: BTreeMap<String, Quantity>) -> api::Pod {
    let metadata = ObjectMeta {
        namespace: Some("default".to_owned()),
        name: Some(class.name.clone()),
        labels: Some(class.labels.clone()),
        ..ObjectMeta::default()
    };
    let spec = api::PodSpec {
        priority: Some(class.priority),
        node_selector: Some(class.node_selector.clone()),
        tolerations: Some(class.tolerations.clone()),
        affinity: class.affinity.clone(),
        ..api::PodSpec::default()
    };
    with_one_container(metadata, Some(requests), spec)
}

#[cfg(test)]
mod tests;
