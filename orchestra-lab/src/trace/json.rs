//! The JSON form: nodes, pods and failures in one object.
//!
//! Each list is cut into its elements first and those are read one by one, so that what is wrong with one can be said
//! with its line, and others read on.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1 as api;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use orchestra_scheduler::view::{NodeFacts, PodView};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{BadRows, MOST_NODES, MOST_PODS, Read, Source, TraceError, bad_amount, check_name, words};
use crate::time::SimTime;
use crate::workload::{NodePlan, Outage, PodPlan, Stay, with_one_container};

/// The most failures that are read.
const MOST_FAILURES: usize = 10_000_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File<'a> {
    #[serde(borrow, default)]
    nodes: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    pods: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    failures: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct NodeRow<'a> {
    name: String,
    #[serde(borrow)]
    allocatable: &'a RawValue,
    #[serde(borrow, default)]
    labels: Option<&'a RawValue>,
    #[serde(borrow, default)]
    taints: Option<&'a RawValue>,
    #[serde(default)]
    unschedulable: bool,
    #[serde(default)]
    from: Seconds,
    until: Option<Seconds>,
}

/// What a pod wants is kept as it is written; pods that write the same are of one class.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PodRow<'a> {
    name: String,
    at: Seconds,
    duration: Option<Seconds>,
    until: Option<Seconds>,
    namespace: Option<String>,
    #[serde(default)]
    priority: i32,
    scheduler_name: Option<String>,
    preemption_policy: Option<String>,
    #[serde(borrow, default)]
    requests: Option<&'a RawValue>,
    #[serde(borrow, default)]
    labels: Option<&'a RawValue>,
    #[serde(borrow, default)]
    node_selector: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tolerations: Option<&'a RawValue>,
    #[serde(borrow, default)]
    affinity: Option<&'a RawValue>,
    #[serde(borrow, default)]
    topology_spread_constraints: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FailureRow {
    node: String,
    at: Seconds,
    #[serde(rename = "for")]
    lasts: Seconds,
}

/// A time in seconds.
#[derive(Clone, Copy, Default)]
struct Seconds(SimTime);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = serde_json::Number::deserialize(deserializer)?;
        SimTime::parse(&number.to_string())
            .map(Self)
            .map_err(|problem| D::Error::custom(format!("{number} {problem}")))
    }
}

pub(super) fn read(source: Source<'_>, bad: BadRows, into: &mut Read) -> Result<(), TraceError> {
    let text = source.text.trim_start_matches('\u{feff}');
    let file: File<'_> = serde_json::from_str(text)
        .map_err(|problem| source.error(problem.line() as u64, None, words(&problem)))?;
    for (list, length, most) in [
        ("nodes", into.workload.nodes.len() + file.nodes.len(), MOST_NODES),
        ("pods", into.workload.pods.len() + file.pods.len(), MOST_PODS),
        ("failures", into.workload.outages.len() + file.failures.len(), MOST_FAILURES),
    ] {
        if length > most {
            return Err(source.error(1, Some(list), format!("more than {most}")));
        }
    }
    let mut nodes: HashMap<String, usize> =
        into.workload.nodes.iter().enumerate().map(|(at, node)| (node.facts.name.to_string(), at)).collect();
    for (at, raw) in file.nodes.iter().enumerate() {
        let place = Place { source, list: "nodes", at, raw };
        let plan = place.node().and_then(|plan| match nodes.contains_key(&*plan.facts.name) {
            true => Err(place.error(Some("name"), format!("{:?} is there twice", &*plan.facts.name))),
            false => Ok(plan),
        });
        if let Some(plan) = bad.take(plan, &mut into.skipped)? {
            nodes.insert(plan.facts.name.to_string(), into.workload.nodes.len());
            into.workload.nodes.push(plan);
        }
    }
    let mut classes = HashMap::new();
    let mut names = HashSet::new();
    for (at, raw) in file.pods.iter().enumerate() {
        let place = Place { source, list: "pods", at, raw };
        let plan = place.pod(&mut classes, &mut into.workload.classes, &mut names);
        into.workload.pods.extend(bad.take(plan, &mut into.skipped)?);
    }
    for (at, raw) in file.failures.iter().enumerate() {
        let place = Place { source, list: "failures", at, raw };
        let outage = place.row::<FailureRow>().and_then(|row| {
            let unknown = || place.error(Some("node"), format!("there is no node {:?}", row.node));
            let node = *nodes.get(&row.node).ok_or_else(unknown)?;
            Ok(Outage { node, at: row.at.0, lasts: row.lasts.0 })
        });
        into.workload.outages.extend(bad.take(outage, &mut into.skipped)?);
    }
    Ok(())
}

/// One element of a list.
#[derive(Clone, Copy)]
struct Place<'a> {
    source: Source<'a>,
    list: &'static str,
    at: usize,
    raw: &'a RawValue,
}

impl<'a> Place<'a> {
    fn error(&self, field: Option<&str>, problem: impl std::fmt::Display) -> TraceError {
        self.error_in(self.raw, 1, field, problem)
    }

    /// An error in a line of a part of the file.
    fn error_in(
        &self,
        part: &RawValue,
        line: usize,
        field: Option<&str>,
        problem: impl std::fmt::Display,
    ) -> TraceError {
        let first = self.source.line_of(part.get());
        let field =
            field.filter(|field| !field.is_empty()).map(|field| format!(".{field}")).unwrap_or_default();
        let field = format!("{}[{}]{field}", self.list, self.at);
        self.source.error(first + line.max(1) as u64 - 1, Some(&field), problem)
    }

    fn parse<T: Deserialize<'a>>(&self, part: &'a RawValue, field: &str) -> Result<T, TraceError> {
        let mut deserializer = serde_json::Deserializer::from_str(part.get());
        serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
            let inner = error.path().to_string();
            let inner = if inner == "." { String::new() } else { inner };
            let dot = if field.is_empty() || inner.is_empty() || inner.starts_with('[') { "" } else { "." };
            let path = format!("{field}{dot}{inner}");
            self.error_in(part, error.inner().line(), Some(&path), words(error.inner()))
        })
    }

    fn row<T: Deserialize<'a>>(&self) -> Result<T, TraceError> {
        self.parse(self.raw, "")
    }

    /// A field that is there as the API has it; what the API does not know in it is an error.
    fn object<T>(&self, part: Option<&'a RawValue>, field: &str) -> Result<Option<T>, TraceError>
    where
        T: DeserializeOwned + Serialize,
    {
        let Some(part) = part else { return Ok(None) };
        let read: T = self.parse(part, field)?;
        let written: Value = self.parse(part, field)?;
        let known = serde_json::to_value(&read).map_err(|problem| self.error(Some(field), problem))?;
        match unknown(&written, &known) {
            Some(path) => Err(self.error_in(part, 1, Some(&format!("{field}{path}")), "unknown field")),
            None => Ok(Some(read)),
        }
    }

    fn node(&self) -> Result<NodePlan, TraceError> {
        let row: NodeRow<'a> = self.row()?;
        check_name(&row.name).map_err(|problem| self.error(Some("name"), problem))?;
        let (from, until) = (row.from.0, row.until.map(|until| until.0));
        if let Some(until) = until.filter(|until| *until < from) {
            return Err(self.error(Some("until"), format!("{until} is before {from}, when the node comes")));
        }
        let mut labels: BTreeMap<String, String> = self.object(row.labels, "labels")?.unwrap_or_default();
        labels.entry("kubernetes.io/hostname".to_owned()).or_insert_with(|| row.name.clone());
        let mut allocatable: BTreeMap<String, Quantity> =
            self.object(Some(row.allocatable), "allocatable")?.unwrap_or_default();
        if let Some((name, problem)) = bad_amount(&allocatable) {
            return Err(self.error(Some(&format!("allocatable.{name}")), problem));
        }
        allocatable.entry("pods".to_owned()).or_insert_with(|| Quantity("110".to_owned()));
        let node = api::Node {
            metadata: ObjectMeta { name: Some(row.name), labels: Some(labels), ..ObjectMeta::default() },
            spec: Some(api::NodeSpec {
                taints: self.object(row.taints, "taints")?,
                unschedulable: Some(row.unschedulable),
                ..api::NodeSpec::default()
            }),
            status: Some(api::NodeStatus { allocatable: Some(allocatable), ..api::NodeStatus::default() }),
        };
        let facts = NodeFacts::from_api(&node).map_err(|problem| self.error(None, problem))?;
        Ok(NodePlan { facts: Arc::new(facts), from, until })
    }

    fn pod(
        &self,
        known: &mut HashMap<String, usize>,
        classes: &mut Vec<PodView>,
        names: &mut HashSet<String>,
    ) -> Result<PodPlan, TraceError> {
        let row: PodRow<'a> = self.row()?;
        check_name(&row.name).map_err(|problem| self.error(Some("name"), problem))?;
        let namespace = row.namespace.as_deref().unwrap_or("default");
        check_name(namespace).map_err(|problem| self.error(Some("namespace"), problem))?;
        let at = row.at.0;
        let stay = match (row.duration, row.until) {
            (None, None) => Stay::Forever,
            (Some(duration), None) => Stay::For(duration.0),
            (None, Some(until)) if until.0 < at => {
                return Err(
                    self.error(Some("until"), format!("{} is before {at}, when the pod came", until.0))
                );
            }
            (None, Some(until)) => Stay::Until(until.0),
            (Some(_), Some(_)) => return Err(self.error(Some("until"), "is not allowed beside duration")),
        };
        let wants = row.wants();
        let class = match known.get(&wants) {
            Some(class) => *class,
            None => {
                classes.push(self.class(&row, namespace)?);
                known.insert(wants, classes.len() - 1);
                classes.len() - 1
            }
        };
        if !names.insert(format!("{namespace}/{}", row.name)) {
            return Err(self.error(Some("name"), format!("{:?} is there twice", row.name)));
        }
        Ok(PodPlan { name: row.name.into(), class, at, stay })
    }

    fn class(&self, row: &PodRow<'a>, namespace: &str) -> Result<PodView, TraceError> {
        if let Some(policy) = row.preemption_policy.as_deref()
            && !["Never", "PreemptLowerPriority"].contains(&policy)
        {
            return Err(self.error(Some("preemptionPolicy"), "must be \"Never\" or \"PreemptLowerPriority\""));
        }
        let requests: Option<BTreeMap<String, Quantity>> = self.object(row.requests, "requests")?;
        let metadata = ObjectMeta {
            namespace: Some(namespace.to_owned()),
            name: Some(row.name.clone()),
            labels: self.object(row.labels, "labels")?,
            ..ObjectMeta::default()
        };
        let spec = api::PodSpec {
            priority: Some(row.priority),
            preemption_policy: row.preemption_policy.clone(),
            scheduler_name: row.scheduler_name.clone(),
            node_selector: self.object(row.node_selector, "nodeSelector")?,
            tolerations: self.object(row.tolerations, "tolerations")?,
            affinity: self.object(row.affinity, "affinity")?,
            topology_spread_constraints: self
                .object(row.topology_spread_constraints, "topologySpreadConstraints")?,
            ..api::PodSpec::default()
        };
        let pod = with_one_container(metadata, requests, spec);
        PodView::from_api(&pod).map_err(|problem| self.error(None, problem))
    }
}

impl PodRow<'_> {
    /// All that pods of one class share, as it is written.
    fn wants(&self) -> String {
        let raw = |part: Option<&RawValue>| part.map_or("", RawValue::get).to_owned();
        let text = |text: &Option<String>| format!("{text:?}");
        [
            text(&self.namespace),
            self.priority.to_string(),
            text(&self.scheduler_name),
            text(&self.preemption_policy),
            raw(self.requests),
            raw(self.labels),
            raw(self.node_selector),
            raw(self.tolerations),
            raw(self.affinity),
            raw(self.topology_spread_constraints),
        ]
        .join("\u{1f}")
    }
}

/// The path of something that was written and not understood.
fn unknown(written: &Value, known: &Value) -> Option<String> {
    match (written, known) {
        (Value::Object(written), Value::Object(known)) => {
            written.iter().find_map(|(key, value)| match known.get(key) {
                None if value.is_null() => None,
                None => Some(format!(".{key}")),
                Some(known) => unknown(value, known).map(|path| format!(".{key}{path}")),
            })
        }
        (Value::Array(written), Value::Array(known)) => written
            .iter()
            .zip(known)
            .enumerate()
            .find_map(|(at, (value, known))| unknown(value, known).map(|path| format!("[{at}]{path}"))),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
