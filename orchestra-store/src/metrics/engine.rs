//! What the stores of this crate know of themselves.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use orchestra_metrics::Histogram;
use orchestra_metrics::write::{self, Label};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Registry;

use crate::durable::DiskUsage;
use crate::engine::Engine;
#[cfg(feature = "etcd")]
use crate::etcd::counters::{Counted, Counters, Watchers};
use crate::feed::Watches;

/// From 50 microseconds, which good disks need for a sync, to seconds, which a disk in trouble takes.
const SYNC_SECONDS: &[f64] =
    &[0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
const BATCH_SIZES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0];
const CHECKPOINT_SECONDS: &[f64] = &[0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// What is timed where the disk is written.
#[derive(Debug)]
pub(crate) struct Timings {
    sync: Histogram,
    batch: Histogram,
    checkpoint: Histogram,
    failed_checkpoints: AtomicU64,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            sync: Histogram::new(SYNC_SECONDS),
            batch: Histogram::new(BATCH_SIZES),
            checkpoint: Histogram::new(CHECKPOINT_SECONDS),
            failed_checkpoints: AtomicU64::new(0),
        }
    }
}

impl Timings {
    /// So many calls were answered after one sync, which took so long.
    pub(crate) fn synced(&self, calls: usize, took: Duration) {
        self.sync.observe_duration(took);
        self.batch.observe(calls as u64);
    }

    pub(crate) fn checkpointed(&self, took: Duration) {
        self.checkpoint.observe_duration(took);
    }

    pub(crate) fn checkpoint_failed(&self) {
        self.failed_checkpoints.fetch_add(1, Ordering::Relaxed);
    }
}

/// Handles on what a store counts: watchers; for one on disk syncs, batches, checkpoints and files; for one in etcd its requests.
/// They outlive the store; then watchers and sizes are no longer shown.
#[derive(Clone, Debug)]
pub struct StoreMetrics {
    watches: Watched,
    disk: Option<(Arc<Timings>, Weak<DiskUsage>)>,
    #[cfg(feature = "etcd")]
    etcd: Option<Arc<Counters>>,
}

/// Whose watchers are looked at.
#[derive(Clone, Debug)]
enum Watched {
    Engine(Weak<Engine>),
    #[cfg(feature = "etcd")]
    Etcd(Watchers),
}

impl Watched {
    /// `None` when the store is gone.
    fn watches(&self) -> Option<Watches> {
        match self {
            Self::Engine(engine) => engine.upgrade().map(|engine| engine.watches()),
            #[cfg(feature = "etcd")]
            Self::Etcd(watchers) => watchers.watches(),
        }
    }
}

impl StoreMetrics {
    pub(crate) fn in_memory(engine: &Arc<Engine>) -> Self {
        Self::of(Watched::Engine(Arc::downgrade(engine)))
    }

    fn of(watches: Watched) -> Self {
        Self {
            watches,
            disk: None,
            #[cfg(feature = "etcd")]
            etcd: None,
        }
    }

    #[cfg(feature = "etcd")]
    pub(crate) fn in_etcd(watchers: Watchers, counters: &Arc<Counters>) -> Self {
        Self { etcd: Some(Arc::clone(counters)), ..Self::of(Watched::Etcd(watchers)) }
    }

    pub(crate) fn on_disk(engine: &Arc<Engine>, timings: &Arc<Timings>, usage: &Arc<DiskUsage>) -> Self {
        let disk = Some((Arc::clone(timings), Arc::downgrade(usage)));
        Self { disk, ..Self::in_memory(engine) }
    }

    /// Shows them in `registry`, under names that begin with `orchestra_store_`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(self.clone()));
    }
}

impl Collector for StoreMetrics {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let out = &mut out;
        if let Some(watches) = self.watches.watches() {
            let help = "Watches that are served live";
            write::gauge(out, "orchestra_store_watchers", help, whole(watches.watchers))?;
            let help = "Most events that wait for one watcher";
            write::gauge(out, "orchestra_store_watch_backlog_events", help, whole(watches.backlog_events))?;
            let help = "Most bytes of values that wait for one watcher";
            write::gauge(out, "orchestra_store_watch_backlog_bytes", help, whole(watches.backlog_bytes))?;
            let help = "Time that the oldest change has waited for a watcher that has not taken it yet";
            write::fraction(
                out,
                "orchestra_store_watch_lag_seconds",
                help,
                [([], watches.lag.as_secs_f64())],
            )?;
            let help = "Watches that were ended because their watcher fell too far behind";
            write::counter(out, "orchestra_store_slow_watchers_total", help, [([], watches.slow)])?;
        }
        #[cfg(feature = "etcd")]
        if let Some(counters) = &self.etcd {
            encode_etcd(out, counters.counted())?;
        }
        let Some((timings, usage)) = &self.disk else { return Ok(()) };
        let help = "Time that one sync of the log took";
        write::histogram(out, "orchestra_store_sync_duration_seconds", help, [([], &timings.sync)])?;
        let help = "Calls that were answered after one sync of the log";
        write::histogram(out, "orchestra_store_batch_calls", help, [([], &timings.batch)])?;
        let help = "Time that writing one checkpoint took";
        let name = "orchestra_store_checkpoint_duration_seconds";
        write::histogram(out, name, help, [([], &timings.checkpoint)])?;
        let failed = timings.failed_checkpoints.load(Ordering::Relaxed);
        let help = "Checkpoints that could not be written";
        write::counter(out, "orchestra_store_failed_checkpoints_total", help, [([], failed)])?;
        if let Some(usage) = usage.upgrade() {
            let help = "Size of what is written to logs";
            write::gauge(out, "orchestra_store_log_bytes", help, whole(usage.logs()))?;
            let help = "Size of what is ready on disk for the log to be written to";
            write::gauge(out, "orchestra_store_log_ahead_bytes", help, whole(usage.ahead()))?;
            let help = "Size of the checkpoint on disk";
            write::gauge(out, "orchestra_store_checkpoint_bytes", help, whole(usage.checkpoint()))?;
        }
        Ok(())
    }
}

#[cfg(feature = "etcd")]
fn encode_etcd(out: &mut DescriptorEncoder<'_>, counted: Counted) -> Result<(), std::fmt::Error> {
    let Counted { in_flight, requests, retries, reconnects, resumptions } = counted;
    let help = "Requests to etcd that wait for an answer";
    write::gauge(out, "orchestra_store_etcd_requests_in_flight", help, whole(in_flight))?;
    let help = "Requests that were sent to etcd, of which one to the store may need several";
    write::counter(out, "orchestra_store_etcd_requests_total", help, [([], requests)])?;
    let help = "Requests to etcd that were sent again because the last sending had no answer";
    write::counter(out, "orchestra_store_etcd_retries_total", help, [([], retries)])?;
    let help =
        "Times that a member of etcd was given up for the next one, or for a new connection to the only one";
    write::counter(out, "orchestra_store_etcd_reconnects_total", help, [([], reconnects)])?;
    let help = "Watches of etcd that broke off and were taken up again";
    write::counter(out, "orchestra_store_etcd_watch_resumptions_total", help, [([], resumptions)])
}

fn whole(value: u64) -> [([Label<'static>; 0], i64); 1] {
    [([], i64::try_from(value).unwrap_or(i64::MAX))]
}
