//! How much disk a store uses, counted by whoever writes.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes on disk, by what holds them.
#[derive(Debug, Default)]
pub(crate) struct DiskUsage {
    checkpoint: AtomicU64,
    /// Logs that the next checkpoint makes superfluous.
    closed_logs: AtomicU64,
    log: AtomicU64,
    /// Zeros that the log has ready for what is written next.
    ahead: AtomicU64,
}

// The numbers are told and compared with bounds; nothing else hangs on them, so no ordering is asked for.
impl DiskUsage {
    pub(crate) fn new(checkpoint: u64, closed_logs: u64, log: u64) -> Self {
        Self {
            checkpoint: checkpoint.into(),
            closed_logs: closed_logs.into(),
            log: log.into(),
            ahead: AtomicU64::default(),
        }
    }

    /// The log that is written has this size now.
    pub(crate) fn set_log(&self, bytes: u64) {
        self.log.store(bytes, Ordering::Relaxed);
    }

    /// So much is ready ahead of what is written.
    pub(crate) fn set_ahead(&self, bytes: u64) {
        self.ahead.store(bytes, Ordering::Relaxed);
    }

    /// The log that was written is closed, another is begun.
    pub(crate) fn begin_log(&self, bytes: u64) {
        self.closed_logs.fetch_add(self.log.swap(bytes, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// A checkpoint stands for all closed logs.
    pub(crate) fn checkpointed(&self, bytes: u64) {
        self.checkpoint.store(bytes, Ordering::Relaxed);
        self.closed_logs.store(0, Ordering::Relaxed);
    }

    pub(crate) fn checkpoint(&self) -> u64 {
        self.checkpoint.load(Ordering::Relaxed)
    }

    pub(crate) fn ahead(&self) -> u64 {
        self.ahead.load(Ordering::Relaxed)
    }

    /// What was written to logs.
    pub(crate) fn logs(&self) -> u64 {
        self.closed_logs.load(Ordering::Relaxed) + self.log.load(Ordering::Relaxed)
    }

    pub(crate) fn total(&self) -> u64 {
        self.checkpoint() + self.logs() + self.ahead()
    }
}
