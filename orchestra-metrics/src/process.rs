//! What the kernel knows of this process, under the names that every Prometheus library gives it.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::write;

/// Ticks of the kernel's clock in a second, as it shows them to programs; the same on all machines.
const TICKS: f64 = 100.0;

/// CPU time, memory, open files and start of this process, read when they are shown. Empty where there is no `/proc`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessMetrics;

impl ProcessMetrics {
    /// Shows them in `registry`, under names that begin with `process_`.
    pub fn register(registry: &mut Registry) {
        registry.register_collector(Box::new(Self));
    }
}

impl Collector for ProcessMetrics {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> fmt::Result {
        let stat = fs::read_to_string("/proc/self/stat").ok().and_then(|stat| Stat::read(&stat));
        if let Some(stat) = &stat {
            let help = "Total user and system CPU time spent in seconds.";
            let mut encoder =
                out.encode_descriptor("process_cpu_seconds", help, None, MetricType::Counter)?;
            encoder.encode_counter::<NoLabelSet, _, f64>(&(stat.cpu_ticks / TICKS), None)?;
        }
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kib = |field: &str| first_number(&status, field).map(|kib| ([], kib * 1024));
        let help = "Resident memory size in bytes.";
        write::gauge(&mut out, "process_resident_memory_bytes", help, kib("VmRSS:"))?;
        let help = "Virtual memory size in bytes.";
        write::gauge(&mut out, "process_virtual_memory_bytes", help, kib("VmSize:"))?;
        let files = fs::read_dir("/proc/self/fd").ok().and_then(|files| i64::try_from(files.count()).ok());
        let help = "Number of open file descriptors.";
        write::gauge(&mut out, "process_open_fds", help, files.map(|files| ([], files)))?;
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let most = first_number(&limits, "Max open files");
        let help = "Maximum number of open file descriptors.";
        write::gauge(&mut out, "process_max_fds", help, most.map(|most| ([], most)))?;
        let booted = fs::read_to_string("/proc/stat").ok().and_then(|stat| first_number(&stat, "btime"));
        let started = stat.zip(booted).map(|(stat, booted)| booted as f64 + stat.start_ticks / TICKS);
        let help = "Start time of the process since unix epoch in seconds.";
        write::fraction(&mut out, "process_start_time_seconds", help, started.map(|at| ([], at)))
    }
}

/// What stands in `/proc/self/stat`.
#[derive(Debug, PartialEq)]
struct Stat {
    cpu_ticks: f64,
    start_ticks: f64,
}

impl Stat {
    fn read(stat: &str) -> Option<Self> {
        // The name of the program may hold anything, brackets too; the numbers come after the last one. The first of
        // them is the third field of the manual.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        Some(Self { cpu_ticks: field(14)? + field(15)?, start_ticks: field(22)? })
    }
}

/// The first number behind `field` at the beginning of a line.
fn first_number(text: &str, field: &str) -> Option<i64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_be_called_anything() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 12345 1 1";
        assert_eq!(Stat::read(stat), Some(Stat { cpu_ticks: 300.0, start_ticks: 12345.0 }));
        assert_eq!(Stat::read("nonsense"), None);
    }

    #[test]
    fn numbers_are_found_by_their_names() {
        let limits =
            "Max processes  1 1 processes\nMax open files            1024                 4096      files\n";
        assert_eq!(first_number(limits, "Max open files"), Some(1024));
        assert_eq!(first_number("Max open files unlimited", "Max open files"), None);
    }
}
