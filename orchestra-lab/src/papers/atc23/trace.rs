//! The trace: nodes and pods in the form of the openb files, as the scheduler sees them.

use orchestra_scheduler::view::{NodeFacts, PodView, ViewError};

use crate::gpu::MILLI;
use crate::trace::{BadRows, Source, TraceError, read_nodes, read_pods};

/// Nodes and pods.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// The nodes, by name.
    pub nodes: Vec<NodeFacts>,
    /// The pods, by name.
    pub pods: Vec<PodView>,
}

impl Trace {
    /// Reads the two files.
    ///
    /// # Errors
    /// With the first column or row that makes no sense.
    pub fn parse(nodes: Source<'_>, pods: Source<'_>) -> Result<Self, TraceError> {
        let refused = |source: Source<'_>, name: &str, problem: ViewError| TraceError {
            file: source.name.to_owned(),
            line: 1,
            field: Some(problem.field().to_owned()),
            problem: format!("{name}: {problem}"),
        };
        let (mut node_rows, _) = read_nodes(nodes, BadRows::Stop)?;
        let (mut pod_rows, _) = read_pods(pods, BadRows::Stop)?;
        node_rows.sort_by(|left, right| left.name.cmp(&right.name));
        pod_rows.sort_by(|left, right| left.name.cmp(&right.name));
        let node = |row: &crate::trace::OpenbNode| {
            NodeFacts::from_api(&row.to_api()).map_err(|problem| refused(nodes, &row.name, problem))
        };
        let pod = |row: &crate::trace::OpenbPod| {
            let mut pod =
                PodView::from_api(&row.to_api()).map_err(|problem| refused(pods, &row.name, problem))?;
            pod.uid = row.name.as_str().into();
            Ok(pod)
        };
        Ok(Self {
            nodes: node_rows.iter().map(node).collect::<Result<_, _>>()?,
            pods: pod_rows.iter().map(pod).collect::<Result<_, _>>()?,
        })
    }

    /// The thousandths of devices of all nodes.
    #[must_use]
    pub fn capacity(&self) -> i64 {
        self.nodes.iter().filter_map(|node| node.allocatable.scalars.get(MILLI)).sum()
    }
}
