//! Workloads from files: the CSV form of the openb traces, and a JSON form.
//!
//! What is wrong is said with file, line and column or field. Sizes are limited; nothing is read that was not asked for.

mod json;
mod openb;

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::workload::Workload;

pub use openb::{OpenbNode, OpenbPod, read_nodes, read_pods};

/// The largest file that is read, in bytes.
pub const LARGEST_FILE: usize = 1 << 30;
/// The largest description of a generated workload, in bytes.
pub(crate) const LARGEST_SPEC: usize = 1 << 20;
/// The most nodes that are read.
pub const MOST_NODES: usize = 1_000_000;
/// The most pods that are read.
pub const MOST_PODS: usize = 10_000_000;
/// The longest name of a node or pod, as the API has it.
pub(crate) const LONGEST_NAME: usize = 253;

/// A place in a file that makes no sense, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {}{problem}", .field.as_ref().map(|field| format!("{field}: ")).unwrap_or_default())]
pub struct TraceError {
    /// The file, as the caller named it.
    pub file: String,
    /// The line, counted from 1.
    pub line: u64,
    /// The column of a table or the path of a field.
    pub field: Option<String>,
    /// What is wrong.
    pub problem: String,
}

/// What is done about rows that make no sense.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BadRows {
    /// The first one is an error.
    #[default]
    Stop,
    /// They are left out, and counted.
    Skip,
}

/// A file in memory.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// What it is called in errors.
    pub name: &'a str,
    /// What is in it.
    pub text: &'a str,
}

/// What was read, and what was left out.
#[derive(Clone, Debug, Default)]
pub struct Read {
    /// The workload.
    pub workload: Workload,
    /// The rows that were left out.
    pub skipped: Skipped,
}

/// Rows that were left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// How many.
    pub count: u64,
    /// The first few, and why.
    pub first: Vec<TraceError>,
}

impl Skipped {
    /// How many are remembered with their reasons.
    const REMEMBERED: usize = 20;

    fn add(&mut self, other: Self) {
        self.count += other.count;
        let room = Self::REMEMBERED.saturating_sub(self.first.len());
        self.first.extend(other.first.into_iter().take(room));
    }
}

/// Reads a workload: from a file of nodes and one of pods, or from one JSON file that has both.
///
/// A text that begins with `{` is in the JSON form, any other in the CSV form of the openb traces.
///
/// ```
/// use orchestra_lab::trace::{BadRows, Source, read};
///
/// let nodes = "sn,cpu_milli,memory_mib,gpu,model\nnode-0,32000,262144,0,\n";
/// let pods = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time\n\
///             pod-0,4000,8192,0,0,,LS,Running,0,60,0\n";
/// let nodes = Source { name: "nodes.csv", text: nodes };
/// let pods = Source { name: "pods.csv", text: pods };
/// let read = read(Some(nodes), pods, BadRows::Stop)?;
/// assert_eq!(read.workload.pods.len(), 1);
/// # Ok::<(), orchestra_lab::trace::TraceError>(())
/// ```
///
/// # Errors
/// With the first row, column or field that makes no sense; rows are left out instead with [`BadRows::Skip`].
pub fn read(nodes: Option<Source<'_>>, trace: Source<'_>, bad: BadRows) -> Result<Read, TraceError> {
    let mut read = nodes.map(|nodes| read_cluster(nodes, bad)).transpose()?.unwrap_or_default();
    trace.check_size()?;
    if is_json(trace) {
        json::read(trace, bad, &mut read)?;
    } else {
        openb::pods_into(trace, bad, &mut read)?;
    }
    Ok(read)
}

/// Reads a file of nodes, and in the JSON form of their failures.
///
/// # Errors
/// As [`read`]; also when there are pods in it.
pub fn read_cluster(nodes: Source<'_>, bad: BadRows) -> Result<Read, TraceError> {
    let mut read = Read::default();
    nodes.check_size()?;
    if is_json(nodes) {
        json::read(nodes, bad, &mut read)?;
    } else {
        openb::nodes_into(nodes, bad, &mut read)?;
    }
    if !read.workload.pods.is_empty() {
        return Err(nodes.error(1, Some("pods"), "a file of nodes has no pods"));
    }
    Ok(read)
}

fn is_json(source: Source<'_>) -> bool {
    source.text.trim_start_matches('\u{feff}').trim_start().starts_with('{')
}

impl Source<'_> {
    fn check_size(&self) -> Result<(), TraceError> {
        if self.text.len() > LARGEST_FILE {
            return Err(self.error(1, None, format!("larger than {LARGEST_FILE} bytes")));
        }
        Ok(())
    }

    /// The line in which a part of the text begins.
    pub(crate) fn line_of(&self, part: &str) -> u64 {
        // The part borrows from the text, so where it is says how many lines are before it.
        let offset = (part.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        let before = self.text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count();
        before as u64 + 1
    }

    pub(crate) fn error(&self, line: u64, field: Option<&str>, problem: impl fmt::Display) -> TraceError {
        let field = field.map(str::to_owned);
        TraceError { file: self.name.to_owned(), line, field, problem: problem.to_string() }
    }
}

impl BadRows {
    /// Takes what a row came to: an error, or `None` for a row that is left out.
    fn take<T>(self, row: Result<T, TraceError>, skipped: &mut Skipped) -> Result<Option<T>, TraceError> {
        match (row, self) {
            (Ok(row), _) => Ok(Some(row)),
            (Err(problem), Self::Stop) => Err(problem),
            (Err(problem), Self::Skip) => {
                skipped.add(Skipped { count: 1, first: vec![problem] });
                Ok(None)
            }
        }
    }
}

/// Whether something may be the name of a node or pod; what is wrong with it otherwise.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.' | b'_');
    if name.is_empty() {
        return Err("must not be empty".to_owned());
    }
    if name.len() > LONGEST_NAME {
        return Err(format!("must not be longer than {LONGEST_NAME} characters"));
    }
    if !name.bytes().all(allowed) {
        return Err("must consist of lower case letters, digits, '-', '_' and '.'".to_owned());
    }
    Ok(())
}

/// The first amount that a node cannot offer, and why.
pub(crate) fn bad_amount(amounts: &BTreeMap<String, Quantity>) -> Option<(&str, String)> {
    amounts.iter().find_map(|(name, amount)| {
        let problem = match orchestra_core::quantity::Quantity::parse(&amount.0) {
            Err(problem) => problem.to_string(),
            Ok(_) if amount.0.starts_with('-') => format!("{:?} must not be negative", amount.0),
            Ok(_) => return None,
        };
        Some((name.as_str(), problem))
    })
}

/// What is wrong with a JSON text, without the place, which is said otherwise.
pub(crate) fn words(problem: &serde_json::Error) -> String {
    let text = problem.to_string();
    text.split_once(" at line ").map_or(text.clone(), |(words, _)| words.to_owned())
}
