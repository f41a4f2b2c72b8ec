//! The trace: nodes and pods in the form of the openb files.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as api;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use orchestra_scheduler::view::{NodeFacts, PodView, ViewError};

use crate::gpu::{MILLI, MODEL};

/// Pods that a node of the experiment takes.
const MOST_PODS: &str = "1001";

/// Nodes and pods.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// The nodes, by name.
    pub nodes: Vec<NodeFacts>,
    /// The pods, by name.
    pub pods: Vec<PodView>,
}

/// Why a file cannot be read as a trace.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// A column is not there.
    #[error("line 1: there is no column {0:?}")]
    NoColumn(&'static str),
    /// A field is not what it should be.
    #[error("line {line}: {column} is {value:?}, not a whole number from 0 on")]
    NotANumber {
        /// Counted from 1.
        line: usize,
        /// Its name.
        column: &'static str,
        /// What is there.
        value: String,
    },
    /// The line does not make a node or pod.
    #[error("line {line}: {source}")]
    Refused {
        /// Counted from 1.
        line: usize,
        /// Why.
        source: ViewError,
    },
}

impl Trace {
    /// Reads the two files.
    ///
    /// # Errors
    /// When a column is missing or a line does not parse.
    pub fn parse(nodes: &str, pods: &str) -> Result<Self, TraceError> {
        let mut nodes = rows(nodes).map(|row| row.node()).collect::<Result<Vec<_>, _>>()?;
        let mut pods = rows(pods).map(|row| row.pod()).collect::<Result<Vec<_>, _>>()?;
        nodes.sort_by(|left, right| left.name.cmp(&right.name));
        pods.sort_by(|left, right| left.key.cmp(&right.key));
        Ok(Self { nodes, pods })
    }

    /// The thousandths of devices of all nodes.
    #[must_use]
    pub fn capacity(&self) -> i64 {
        self.nodes.iter().filter_map(|node| node.allocatable.scalars.get(MILLI)).sum()
    }
}

struct Row<'a> {
    line: usize,
    header: &'a str,
    text: &'a str,
}

fn rows(file: &str) -> impl Iterator<Item = Row<'_>> {
    let mut lines = file.lines();
    let header = lines.next().unwrap_or_default();
    (2..).zip(lines).filter(|(_, text)| !text.trim().is_empty()).map(move |(line, text)| Row {
        line,
        header,
        text,
    })
}

impl Row<'_> {
    fn field(&self, column: &'static str) -> Option<&str> {
        let index = self.header.split(',').position(|name| name.trim() == column)?;
        self.text.split(',').nth(index).map(str::trim)
    }

    fn number(&self, column: &'static str) -> Result<u32, TraceError> {
        let value = self.field(column).ok_or(TraceError::NoColumn(column))?;
        value.parse().map_err(|_| TraceError::NotANumber { line: self.line, column, value: value.to_owned() })
    }

    fn amounts(&self, devices: u64) -> Result<BTreeMap<String, Quantity>, TraceError> {
        let mut amounts = BTreeMap::from([
            ("cpu".to_owned(), Quantity(format!("{}m", self.number("cpu_milli")?))),
            ("memory".to_owned(), Quantity(format!("{}Mi", self.number("memory_mib")?))),
        ]);
        if devices > 0 {
            amounts.insert(MILLI.to_owned(), Quantity(devices.to_string()));
        }
        Ok(amounts)
    }

    fn refused(&self) -> impl Fn(ViewError) -> TraceError {
        let line = self.line;
        move |source| TraceError::Refused { line, source }
    }

    fn node(&self) -> Result<NodeFacts, TraceError> {
        let mut allocatable = self.amounts(u64::from(self.number("gpu")?) * 1000)?;
        allocatable.insert("pods".to_owned(), Quantity(MOST_PODS.to_owned()));
        let model = self.field("model").filter(|model| !model.is_empty());
        let labels = model.map(|model| BTreeMap::from([(MODEL.to_owned(), model.to_owned())]));
        let node = api::Node {
            metadata: ObjectMeta {
                name: Some(self.field("sn").ok_or(TraceError::NoColumn("sn"))?.to_owned()),
                labels,
                ..ObjectMeta::default()
            },
            status: Some(api::NodeStatus { allocatable: Some(allocatable), ..api::NodeStatus::default() }),
            ..api::Node::default()
        };
        NodeFacts::from_api(&node).map_err(self.refused())
    }

    fn pod(&self) -> Result<PodView, TraceError> {
        let (devices, milli) = (self.number("num_gpu")?, self.number("gpu_milli")?);
        let requests = self.amounts(u64::from(devices) * u64::from(milli.min(1000)))?;
        let models: Vec<_> = self.field("gpu_spec").unwrap_or_default().split('|').collect();
        let models: Vec<_> = models.into_iter().filter(|model| !model.is_empty() && devices > 0).collect();
        let name = self.field("name").ok_or(TraceError::NoColumn("name"))?;
        let pod = api::Pod {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                uid: Some(name.to_owned()),
                namespace: Some("default".to_owned()),
                ..ObjectMeta::default()
            },
            spec: Some(api::PodSpec {
                affinity: (!models.is_empty()).then(|| on_models(&models)),
                containers: vec![api::Container {
                    name: "main".to_owned(),
                    resources: Some(api::ResourceRequirements {
                        requests: Some(requests),
                        ..api::ResourceRequirements::default()
                    }),
                    ..api::Container::default()
                }],
                ..api::PodSpec::default()
            }),
            ..api::Pod::default()
        };
        PodView::from_api(&pod).map_err(self.refused())
    }
}

/// Only nodes with one of these models will do.
fn on_models(models: &[&str]) -> api::Affinity {
    let one_of = api::NodeSelectorRequirement {
        key: MODEL.to_owned(),
        operator: "In".to_owned(),
        values: Some(models.iter().map(|model| (*model).to_owned()).collect()),
    };
    let term = api::NodeSelectorTerm { match_expressions: Some(vec![one_of]), match_fields: None };
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
