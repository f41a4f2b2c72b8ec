//! The `args` of the plugins of this crate.

use std::time::Duration;

use k8s_openapi::api::core::v1 as api;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::registry::ArgumentError;
use crate::plugins::{
    DefaultPreemption, DynamicResources, InterPodAffinity, NodeAffinity, NodeResourcesBalancedAllocation,
    NodeResourcesFit, PodTopologySpread, ScoredResource, ScoringStrategy, Shape, ShapePoint, VolumeBinding,
};
use crate::profile::Version;
use crate::unit::ResourceName;
use crate::view::{Labels, NodeSelector, PreferredTerm, SpreadConstraint};

/// Whether a field only says what the arguments are.
pub(super) fn is_header(field: &str) -> bool {
    matches!(field, "apiVersion" | "kind")
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Fit {
    scoring_strategy: Strategy,
    ignored_resources: Vec<String>,
    ignored_resource_groups: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Strategy {
    #[serde(rename = "type")]
    kind: String,
    resources: Vec<Weighed>,
    requested_to_capacity_ratio: Option<Ratio>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ratio {
    shape: Vec<Corner>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Corner {
    #[serde(default)]
    utilization: i64,
    #[serde(default)]
    score: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Weighed {
    name: String,
    #[serde(default)]
    weight: u32,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Balanced {
    resources: Vec<Weighed>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Affinity {
    added_affinity: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Volumes {
    bind_timeout_seconds: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Spread {
    default_constraints: Vec<Value>,
    defaulting_type: Option<String>,
}

pub(super) fn spread(args: &Value) -> Result<PodTopologySpread, ArgumentError> {
    let spread: Spread = read(args)?;
    match spread.defaulting_type.as_deref() {
        None | Some("System") if spread.default_constraints.is_empty() => Ok(PodTopologySpread::default()),
        None | Some("System") => Err(ArgumentError::new(
            "defaultingType",
            "when .defaultConstraints are provided, .defaultingType must be \"List\"",
        )),
        Some("List") => {
            let read = spread.default_constraints.into_iter().enumerate().map(|(index, one)| {
                let at = format!("defaultConstraints[{index}]");
                constraint(one, &at)
            });
            Ok(PodTopologySpread::with_defaults(read.collect::<Result<_, _>>()?))
        }
        Some(other) => {
            let problem = format!("unsupported value: {other:?}: supported values: \"System\", \"List\"");
            Err(ArgumentError::new("defaultingType", problem))
        }
    }
}

fn constraint(read: Value, at: &str) -> Result<SpreadConstraint, ArgumentError> {
    let read: api::TopologySpreadConstraint =
        serde_json::from_value(read).map_err(|error| ArgumentError::new(at, error.to_string()))?;
    let invalid = |field: &str, problem: &str| Err(ArgumentError::new(format!("{at}.{field}"), problem));
    if read.max_skew <= 0 {
        return invalid("maxSkew", "not in valid range (0, inf)");
    }
    if read.topology_key.is_empty() {
        return invalid("topologyKey", "can not be empty");
    }
    if !matches!(read.when_unsatisfiable.as_str(), "DoNotSchedule" | "ScheduleAnyway") {
        return invalid("whenUnsatisfiable", "supported values: \"DoNotSchedule\", \"ScheduleAnyway\"");
    }
    if read.label_selector.is_some() {
        return invalid(
            "labelSelector",
            "constraint must not define a selector, as they deduced for each pod",
        );
    }
    Ok(SpreadConstraint::from_api(&read, &Labels::new()))
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Peers {
    hard_pod_affinity_weight: Option<u32>,
    ignore_preferred_terms_of_existing_pods: bool,
}

pub(super) fn peers(args: &Value, version: Version) -> Result<InterPodAffinity, ArgumentError> {
    let peers: Peers = read(args)?;
    let weight = peers.hard_pod_affinity_weight.unwrap_or(1);
    if weight > 100 {
        return Err(ArgumentError::new("hardPodAffinityWeight", "not in valid range [0-100]"));
    }
    Ok(InterPodAffinity::for_version(version)
        .weighing_required(weight)
        .ignoring_preferences_of_existing(peers.ignore_preferred_terms_of_existing_pods))
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Preemption {
    min_candidate_nodes_percentage: Option<i64>,
    min_candidate_nodes_absolute: Option<i64>,
}

pub(super) fn preemption(args: &Value) -> Result<DefaultPreemption, ArgumentError> {
    let read: Preemption = read(args)?;
    let percent = read.min_candidate_nodes_percentage.unwrap_or(10);
    let percent = u8::try_from(percent)
        .ok()
        .filter(|percent| *percent <= 100)
        .ok_or_else(|| ArgumentError::new("minCandidateNodesPercentage", "not in valid range [0, 100]"))?;
    let least = usize::try_from(read.min_candidate_nodes_absolute.unwrap_or(100))
        .map_err(|_| ArgumentError::new("minCandidateNodesAbsolute", "not in valid range [0, inf)"))?;
    if percent == 0 && least == 0 {
        let problem = "cannot be zero at the same time as minCandidateNodesAbsolute";
        return Err(ArgumentError::new("minCandidateNodesPercentage", problem));
    }
    Ok(DefaultPreemption::trying(percent, least))
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Devices {
    filter_timeout: Option<String>,
    binding_timeout: Option<String>,
}

pub(super) fn devices(args: &Value) -> Result<DynamicResources, ArgumentError> {
    let devices: Devices = read(args)?;
    let mut plugin = DynamicResources::default();
    let span = |field, text: &str| {
        duration(text).ok_or_else(|| ArgumentError::new(field, format!("{text:?} is not a duration")))
    };
    if let Some(text) = devices.filter_timeout {
        plugin = plugin.searching(span("filterTimeout", &text)?);
    }
    if let Some(text) = devices.binding_timeout {
        plugin = plugin.waiting(span("bindingTimeout", &text)?);
    }
    Ok(plugin)
}

/// Reads a duration of whole hours, minutes and seconds, such as `1h30m` or `600s`.
fn duration(text: &str) -> Option<Duration> {
    let (mut rest, mut sum) = (text, Duration::ZERO);
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|char: char| !char.is_ascii_digit())?);
        let seconds = match after.chars().next()? {
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        sum = sum.checked_add(Duration::from_secs(number.parse::<u64>().ok()?.checked_mul(seconds)?))?;
        rest = after.get(1..)?;
    }
    (!text.is_empty()).then_some(sum)
}

pub(super) fn fit(args: &Value) -> Result<NodeResourcesFit, ArgumentError> {
    let fit: Fit = read(args)?;
    let ratio = fit.scoring_strategy.requested_to_capacity_ratio;
    let strategy = match (fit.scoring_strategy.kind.as_str(), ratio) {
        ("" | "LeastAllocated", None) => ScoringStrategy::LeastAllocated,
        ("MostAllocated", None) => ScoringStrategy::MostAllocated,
        ("RequestedToCapacityRatio", Some(ratio)) => {
            let corners =
                ratio.shape.iter().map(|at| ShapePoint { utilization: at.utilization, score: at.score });
            let shape = Shape::new(corners.collect()).map_err(|problem| {
                ArgumentError::new("scoringStrategy.requestedToCapacityRatio.shape", problem)
            })?;
            ScoringStrategy::RequestedToCapacityRatio(shape)
        }
        ("RequestedToCapacityRatio", None) => {
            return Err(ArgumentError::new(
                "scoringStrategy.requestedToCapacityRatio",
                "required for this type",
            ));
        }
        ("" | "LeastAllocated" | "MostAllocated", Some(_)) => {
            return Err(ArgumentError::new(
                "scoringStrategy.requestedToCapacityRatio",
                "forbidden for this type",
            ));
        }
        (other, _) => {
            let known =
                "supported values: \"LeastAllocated\", \"MostAllocated\", \"RequestedToCapacityRatio\"";
            let problem = format!("unsupported value: {other:?}: {known}");
            return Err(ArgumentError::new("scoringStrategy.type", problem));
        }
    };
    let resources = resources(fit.scoring_strategy.resources, "scoringStrategy.resources")?;
    Ok(NodeResourcesFit::with_strategy(strategy, resources)
        .ignoring(fit.ignored_resources, fit.ignored_resource_groups))
}

pub(super) fn balanced(
    args: &Value,
    version: Version,
) -> Result<NodeResourcesBalancedAllocation, ArgumentError> {
    let balanced: Balanced = read(args)?;
    Ok(NodeResourcesBalancedAllocation::over(version, resources(balanced.resources, "resources")?))
}

pub(super) fn affinity(args: &Value) -> Result<NodeAffinity, ArgumentError> {
    let affinity: Affinity = read(args)?;
    let Some(added) = affinity.added_affinity else { return Ok(NodeAffinity::default()) };
    let added: api::NodeAffinity = serde_json::from_value(added)
        .map_err(|error| ArgumentError::new("addedAffinity", error.to_string()))?;
    let preferred = added.preferred_during_scheduling_ignored_during_execution.unwrap_or_default();
    Ok(NodeAffinity::adding(
        added.required_during_scheduling_ignored_during_execution.as_ref().map(NodeSelector::from_api),
        preferred.iter().filter_map(PreferredTerm::from_api).collect(),
    ))
}

pub(super) fn volumes(args: &Value) -> Result<VolumeBinding, ArgumentError> {
    let volumes: Volumes = read(args)?;
    let Some(seconds) = volumes.bind_timeout_seconds else { return Ok(VolumeBinding::default()) };
    let problem = || {
        ArgumentError::new("bindTimeoutSeconds", "invalid BindTimeoutSeconds, should not be a negative value")
    };
    let seconds = u64::try_from(seconds).map_err(|_| problem())?;
    Ok(VolumeBinding::waiting(Duration::from_secs(seconds)))
}

/// The resources named, or CPU and memory alike when none are.
fn resources(named: Vec<Weighed>, field: &str) -> Result<Vec<ScoredResource>, ArgumentError> {
    if named.is_empty() {
        let both = [ResourceName::Cpu, ResourceName::Memory];
        return Ok(both.map(|name| ScoredResource { name, weight: 1 }).into());
    }
    let mut resources = Vec::with_capacity(named.len());
    for (index, one) in named.into_iter().enumerate() {
        if one.weight > 100 {
            let problem = format!("resource weight of {} not in valid range (0, 100]", one.name);
            return Err(ArgumentError::new(format!("{field}[{index}].weight"), problem));
        }
        let problem = || {
            ArgumentError::new(format!("{field}[{index}].name"), format!("{:?} is not a resource", one.name))
        };
        let name = ResourceName::from_api(&one.name).ok_or_else(problem)?;
        resources.push(ScoredResource { name, weight: one.weight.max(1) });
    }
    Ok(resources)
}

fn read<T: DeserializeOwned + Default>(args: &Value) -> Result<T, ArgumentError> {
    let mut fields = match args {
        Value::Null => return Ok(T::default()),
        Value::Object(fields) => fields.clone(),
        _ => return Err(ArgumentError::new("", "must be an object")),
    };
    fields.retain(|field, _| !is_header(field));
    serde_json::from_value(Value::Object(fields)).map_err(|error| ArgumentError::new("", error.to_string()))
}
