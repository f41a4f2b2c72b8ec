//! What the EndpointSlice controller counts.

use std::fmt;

use orchestra_metrics::write;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::Counter;

/// Looks at Services, and writes of their slices. Clones count the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct EndpointSliceMetrics {
    pub(crate) created: Counter,
    pub(crate) updated: Counter,
    pub(crate) deleted: Counter,
    succeeded: Counter,
    failed: Counter,
}

impl EndpointSliceMetrics {
    /// A Service was looked at, and that went well or not.
    pub(crate) fn synced<T, E>(&self, outcome: &Result<T, E>) {
        let count = if outcome.is_ok() { &self.succeeded } else { &self.failed };
        count.inc();
    }

    pub(super) fn encode(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        fn seen<'a>(
            label: &'static str,
            counts: &'a [(&'static str, &'a Counter)],
        ) -> impl Iterator<Item = ([write::Label<'static>; 1], u64)> {
            let counts = counts.iter().map(move |(value, count)| ([(label, *value)], count.get()));
            counts.filter(|(_, count)| *count > 0)
        }
        let help = "[ALPHA] Number of EndpointSlice changes";
        let changes = [("create", &self.created), ("delete", &self.deleted), ("update", &self.updated)];
        write::counter(out, "endpoint_slice_controller_changes", help, seen("operation", &changes))?;
        let help = "[ALPHA] Number of EndpointSlice syncs";
        let results = [("error", &self.failed), ("success", &self.succeeded)];
        write::counter(out, "endpoint_slice_controller_syncs", help, seen("result", &results))
    }
}
