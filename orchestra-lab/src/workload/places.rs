//! Where in its file a description says what, for problems that show only when nodes and pods are made of it.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::trace::{Source, TraceError};

/// The file of a description and the lines of its groups of nodes and classes of pods.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    file: String,
    nodes: Vec<u64>,
    classes: Vec<u64>,
    failures: Option<u64>,
}

#[derive(Deserialize)]
struct Lists<'a> {
    #[serde(borrow, default)]
    nodes: Vec<&'a RawValue>,
    #[serde(borrow)]
    pods: PodLists<'a>,
    #[serde(borrow)]
    failures: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct PodLists<'a> {
    #[serde(borrow, default)]
    classes: Vec<&'a RawValue>,
}

impl Places {
    /// The places in a text that is a description.
    pub(super) fn of(source: Source<'_>) -> Self {
        let file = source.name.to_owned();
        let Ok(lists) = serde_json::from_str::<Lists<'_>>(source.text) else {
            return Self { file, ..Self::default() };
        };
        let line = |part: &&RawValue| source.line_of(part.get());
        Self {
            file,
            nodes: lists.nodes.iter().map(line).collect(),
            classes: lists.pods.classes.iter().map(line).collect(),
            failures: lists.failures.as_ref().map(line),
        }
    }

    /// What is wrong with a group of nodes; `field` is empty or begins with a dot.
    pub(super) fn in_nodes(&self, at: usize, field: &str, problem: impl std::fmt::Display) -> TraceError {
        self.error(self.nodes.get(at), format!("nodes[{at}]{field}"), problem)
    }

    /// What is wrong with a class of pods; `field` is empty or begins with a dot.
    pub(super) fn in_class(&self, at: usize, field: &str, problem: impl std::fmt::Display) -> TraceError {
        self.error(self.classes.get(at), format!("pods.classes[{at}]{field}"), problem)
    }

    /// What is wrong with the failures; `field` begins with a dot.
    pub(super) fn in_failures(&self, field: &str, problem: impl std::fmt::Display) -> TraceError {
        self.error(self.failures.as_ref(), format!("failures{field}"), problem)
    }

    fn error(&self, line: Option<&u64>, field: String, problem: impl std::fmt::Display) -> TraceError {
        let source = Source { name: &self.file, text: "" };
        source.error(line.copied().unwrap_or(1), Some(&field), problem)
    }
}
