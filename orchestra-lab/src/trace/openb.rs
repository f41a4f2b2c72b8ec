//! The CSV form of the openb traces: one file of nodes, one of pods.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use csv::StringRecord;
use k8s_openapi::api::core::v1 as api;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use orchestra_scheduler::view::{NodeFacts, PodView};

use super::{BadRows, MOST_NODES, MOST_PODS, Read, Skipped, Source, TraceError, check_name};
use crate::gpu::{MILLI, MODEL};
use crate::time::SimTime;
use crate::workload::{NodePlan, PodPlan, Stay, with_one_container};

/// How many pods a node takes; the published simulations have the same.
const PODS_OF_A_NODE: u32 = 1001;
const MOST_MILLICORES: u64 = 1_000_000_000;
const MOST_MEBIBYTES: u64 = 1 << 40;
const MOST_GPUS: u64 = 1024;

const NODE_COLUMNS: [&str; 5] = ["sn", "cpu_milli", "memory_mib", "gpu", "model"];
const POD_COLUMNS: [&str; 5] = ["name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli"];
/// Columns that some of the published files lack.
const MORE_POD_COLUMNS: [&str; 6] =
    ["gpu_spec", "qos", "pod_phase", "creation_time", "deletion_time", "scheduled_time"];

/// A row of a file of nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenbNode {
    /// `sn`.
    pub name: String,
    /// `cpu_milli`.
    pub cpu_milli: u64,
    /// `memory_mib`.
    pub memory_mib: u64,
    /// `gpu`: how many devices it has.
    pub gpus: u64,
    /// `model` of the devices; empty without any.
    pub model: String,
}

/// A row of a file of pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenbPod {
    /// `name`.
    pub name: String,
    /// `cpu_milli`.
    pub cpu_milli: u64,
    /// `memory_mib`.
    pub memory_mib: u64,
    /// `num_gpu`: how many devices it wants.
    pub gpus: u64,
    /// `gpu_milli`: how much of each.
    pub gpu_milli: u64,
    /// `gpu_spec`: the models that will do; any if it is empty.
    pub models: Vec<String>,
    /// `creation_time`; `None` if the file has no such column.
    pub created: Option<SimTime>,
    /// `deletion_time`.
    pub deleted: Option<SimTime>,
    /// `scheduled_time`.
    pub scheduled: Option<SimTime>,
}

/// Reads a file of nodes.
///
/// # Errors
/// With the first column or row that makes no sense; rows are left out instead with [`BadRows::Skip`].
pub fn read_nodes(source: Source<'_>, bad: BadRows) -> Result<(Vec<OpenbNode>, Skipped), TraceError> {
    let mut names = HashSet::new();
    rows(source, bad, (&NODE_COLUMNS, &[]), MOST_NODES, |row| {
        let name = row.name("sn", &mut names)?;
        Ok(OpenbNode {
            name,
            cpu_milli: row.number("cpu_milli", MOST_MILLICORES)?,
            memory_mib: row.number("memory_mib", MOST_MEBIBYTES)?,
            gpus: row.number("gpu", MOST_GPUS)?,
            model: row.label("model")?.to_owned(),
        })
    })
}

/// Reads a file of pods.
///
/// # Errors
/// With the first column or row that makes no sense; rows are left out instead with [`BadRows::Skip`].
pub fn read_pods(source: Source<'_>, bad: BadRows) -> Result<(Vec<OpenbPod>, Skipped), TraceError> {
    let mut names = HashSet::new();
    rows(source, bad, (&POD_COLUMNS, &MORE_POD_COLUMNS), MOST_PODS, |row| {
        let name = row.name("name", &mut names)?;
        let gpus = row.number("num_gpu", MOST_GPUS)?;
        let gpu_milli = row.number("gpu_milli", 1000)?;
        if gpus == 0 && gpu_milli > 0 {
            return Err(row.error("gpu_milli", "must be 0 for a pod without devices"));
        }
        if gpus > 0 && gpu_milli == 0 {
            return Err(row.error("gpu_milli", "must be from 1 to 1000 for a pod with devices"));
        }
        if gpus > 1 && gpu_milli < 1000 {
            return Err(row.error("gpu_milli", "must be 1000 for a pod with several devices"));
        }
        let models = row.text("gpu_spec").split('|').filter(|model| !model.is_empty());
        let pod = OpenbPod {
            name,
            cpu_milli: row.number("cpu_milli", MOST_MILLICORES)?,
            memory_mib: row.number("memory_mib", MOST_MEBIBYTES)?,
            gpus,
            gpu_milli,
            models: models.map(str::to_owned).collect(),
            created: row.time("creation_time")?,
            deleted: row.time("deletion_time")?,
            scheduled: row.time("scheduled_time")?,
        };
        row.text("gpu_spec").split('|').try_for_each(|model| row.check_label("gpu_spec", model))?;
        if pod.created.is_none() && row.has("creation_time") {
            return Err(row.error("creation_time", "must not be empty"));
        }
        let before = |field, time: Option<SimTime>, earlier: Option<SimTime>| match (time, earlier) {
            (Some(time), Some(earlier)) if time < earlier => {
                Err(row.error(field, format!("{time} is before {earlier}, when the pod came")))
            }
            _ => Ok(()),
        };
        before("scheduled_time", pod.scheduled, pod.created)?;
        before("deletion_time", pod.deleted, pod.scheduled.or(pod.created))?;
        Ok(pod)
    })
}

impl OpenbNode {
    /// The node as the API has it.
    #[must_use]
    pub fn to_api(&self) -> api::Node {
        let mut labels = BTreeMap::from([("kubernetes.io/hostname".to_owned(), self.name.clone())]);
        let mut offered = amounts(self.cpu_milli, self.memory_mib, self.gpus * 1000);
        offered.insert("pods".to_owned(), Quantity(PODS_OF_A_NODE.to_string()));
        if self.gpus > 0 {
            labels.insert(MODEL.to_owned(), self.model.clone());
        }
        api::Node {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                labels: Some(labels),
                ..ObjectMeta::default()
            },
            status: Some(api::NodeStatus { allocatable: Some(offered), ..api::NodeStatus::default() }),
            ..api::Node::default()
        }
    }
}

impl OpenbPod {
    /// The pod as the API has it, in the namespace `default`.
    #[must_use]
    pub fn to_api(&self) -> api::Pod {
        let requests = amounts(self.cpu_milli, self.memory_mib, self.gpus * self.gpu_milli);
        let metadata = ObjectMeta {
            namespace: Some("default".to_owned()),
            name: Some(self.name.clone()),
            ..ObjectMeta::default()
        };
        let affinity = (!self.models.is_empty()).then(|| on_models(&self.models));
        with_one_container(metadata, Some(requests), api::PodSpec { affinity, ..api::PodSpec::default() })
    }

    /// How long it is there: from when it was given a node (or came) to its end, counted from when it gets a node here.
    #[must_use]
    pub fn stay(&self) -> Stay {
        let from = self.scheduled.or(self.created);
        match (self.deleted, from) {
            (Some(end), Some(from)) => Stay::For(end.since(from)),
            _ => Stay::Forever,
        }
    }
}

fn amounts(cpu_milli: u64, memory_mib: u64, gpu_milli: u64) -> BTreeMap<String, Quantity> {
    let mut amounts = BTreeMap::from([
        ("cpu".to_owned(), Quantity(format!("{cpu_milli}m"))),
        ("memory".to_owned(), Quantity(format!("{memory_mib}Mi"))),
    ]);
    if gpu_milli > 0 {
        amounts.insert(MILLI.to_owned(), Quantity(gpu_milli.to_string()));
    }
    amounts
}

fn on_models(models: &[String]) -> api::Affinity {
    let wanted = api::NodeSelectorRequirement {
        key: MODEL.to_owned(),
        operator: "In".to_owned(),
        values: Some(models.to_vec()),
    };
    let term = api::NodeSelectorTerm { match_expressions: Some(vec![wanted]), match_fields: None };
    api::Affinity {
        node_affinity: Some(api::NodeAffinity {
            required_during_scheduling_ignored_during_execution: Some(api::NodeSelector {
                node_selector_terms: vec![term],
            }),
            ..api::NodeAffinity::default()
        }),
        ..api::Affinity::default()
    }
}

pub(super) fn nodes_into(source: Source<'_>, bad: BadRows, read: &mut Read) -> Result<(), TraceError> {
    let (nodes, skipped) = read_nodes(source, bad)?;
    read.skipped.add(skipped);
    for node in nodes {
        let facts = NodeFacts::from_api(&node.to_api());
        let facts = facts.map_err(|problem| source.error(1, Some(&node.name), problem))?;
        read.workload.nodes.push(NodePlan { facts: Arc::new(facts), from: SimTime::ZERO, until: None });
    }
    Ok(())
}

pub(super) fn pods_into(source: Source<'_>, bad: BadRows, read: &mut Read) -> Result<(), TraceError> {
    let (pods, skipped) = read_pods(source, bad)?;
    read.skipped.add(skipped);
    let workload = &mut read.workload;
    let mut known = HashMap::new();
    for (index, pod) in pods.into_iter().enumerate() {
        let wants = (pod.cpu_milli, pod.memory_mib, pod.gpus, pod.gpu_milli, pod.models.clone());
        let class = match known.get(&wants) {
            Some(class) => *class,
            None => {
                let view = PodView::from_api(&pod.to_api());
                workload.classes.push(view.map_err(|problem| source.error(1, Some(&pod.name), problem))?);
                known.insert(wants, workload.classes.len() - 1);
                workload.classes.len() - 1
            }
        };
        // A file without times says only who comes after whom.
        let at = pod.created.unwrap_or(SimTime::from_secs(index as u64));
        workload.pods.push(PodPlan { stay: pod.stay(), name: pod.name.into(), class, at });
    }
    Ok(())
}

/// One row, with what its columns are called.
struct Row<'a> {
    source: Source<'a>,
    columns: &'a HashMap<String, usize>,
    record: &'a StringRecord,
    line: u64,
}

/// Reads the rows of a table; the first line names the columns: those it must have, and those it may have.
fn rows<T>(
    source: Source<'_>,
    bad: BadRows,
    (must, may): (&[&str], &[&str]),
    most: usize,
    mut read: impl FnMut(&Row<'_>) -> Result<T, TraceError>,
) -> Result<(Vec<T>, Skipped), TraceError> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(source.text.as_bytes());
    let header = reader.headers().map_err(|problem| source.error(1, None, problem))?.clone();
    let mut columns = HashMap::new();
    for (at, column) in header.iter().enumerate() {
        if !must.contains(&column) && !may.contains(&column) {
            let known: Vec<_> = must.iter().chain(may).copied().collect();
            return Err(source.error(
                1,
                Some(column),
                format!("unknown column; known are {}", known.join(", ")),
            ));
        }
        if columns.insert(column.to_owned(), at).is_some() {
            return Err(source.error(1, Some(column), "the column is there twice"));
        }
    }
    if let Some(missing) = must.iter().find(|column| !columns.contains_key(**column)) {
        return Err(source.error(1, Some(missing), "the column is missing"));
    }
    let (mut taken, mut skipped) = (Vec::new(), Skipped::default());
    let mut record = StringRecord::new();
    loop {
        let line = reader.position().line();
        match reader.read_record(&mut record) {
            Ok(false) => return Ok((taken, skipped)),
            Ok(true) => {}
            Err(problem) => return Err(source.error(line, None, problem)),
        }
        let line = record.position().map_or(line, csv::Position::line);
        if taken.len() >= most {
            return Err(source.error(line, None, format!("more than {most} rows")));
        }
        let row = Row { source, columns: &columns, record: &record, line };
        let one = if record.len() == header.len() {
            read(&row)
        } else {
            Err(source.error(line, None, format!("{} columns instead of {}", record.len(), header.len())))
        };
        taken.extend(bad.take(one, &mut skipped)?);
    }
}

impl Row<'_> {
    fn error(&self, column: &str, problem: impl std::fmt::Display) -> TraceError {
        self.source.error(self.line, Some(column), problem)
    }

    fn has(&self, column: &str) -> bool {
        self.columns.contains_key(column)
    }

    /// What is in a column; nothing if there is no such column.
    fn text(&self, column: &str) -> &str {
        self.columns.get(column).and_then(|at| self.record.get(*at)).unwrap_or_default().trim()
    }

    fn name(&self, column: &str, seen: &mut HashSet<String>) -> Result<String, TraceError> {
        let name = self.text(column);
        check_name(name).map_err(|problem| self.error(column, problem))?;
        if !seen.insert(name.to_owned()) {
            return Err(self.error(column, format!("{name:?} is there twice")));
        }
        Ok(name.to_owned())
    }

    fn number(&self, column: &str, most: u64) -> Result<u64, TraceError> {
        let text = self.text(column);
        let number = text.parse::<u64>().ok().filter(|number| *number <= most);
        number.ok_or_else(|| self.error(column, format!("{text:?} is not a whole number from 0 to {most}")))
    }

    fn label(&self, column: &str) -> Result<&str, TraceError> {
        let text = self.text(column);
        self.check_label(column, text).map(|()| text)
    }

    fn check_label(&self, column: &str, text: &str) -> Result<(), TraceError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if text.len() > 63 || !text.bytes().all(allowed) {
            return Err(self.error(column, format!("{text:?} cannot be the value of a label")));
        }
        Ok(())
    }

    fn time(&self, column: &str) -> Result<Option<SimTime>, TraceError> {
        let text = self.text(column);
        if text.is_empty() {
            return Ok(None);
        }
        SimTime::parse(text).map(Some).map_err(|problem| self.error(column, format!("{text:?} {problem}")))
    }
}

#[cfg(test)]
mod tests;
