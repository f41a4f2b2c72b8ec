//! How much of everything: enough to mean something, or just enough to see that it runs.

use std::time::Duration;

/// Sizes and times of all workloads.
#[derive(Debug)]
pub(crate) struct Scale {
    /// How long writers write.
    pub(crate) writing: Duration,
    /// Keys in the range that is read.
    pub(crate) range_keys: usize,
    /// How often it is read.
    pub(crate) range_reads: usize,
    /// Keys of 1 KiB for resident memory and opening.
    pub(crate) footprint_keys: usize,
    /// Revisions that are compacted while writers write.
    pub(crate) past: usize,
    /// Keys of 1 KiB in the snapshot that is saved while writers write.
    pub(crate) snapshot_keys: usize,
}

impl Scale {
    pub(crate) fn full() -> Self {
        Self {
            writing: Duration::from_millis(1500),
            range_keys: 10_000,
            range_reads: 50,
            footprint_keys: 1_000_000,
            past: 1_000_000,
            snapshot_keys: 200_000,
        }
    }

    pub(crate) fn quick() -> Self {
        Self {
            writing: Duration::from_millis(50),
            range_keys: 1_000,
            range_reads: 3,
            footprint_keys: 5_000,
            past: 5_000,
            snapshot_keys: 2_000,
        }
    }
}
