//! Creating keys that must not exist yet, by many at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use orchestra_store::{Outcome, Revision, Store, Txn};
use tokio::task::JoinSet;

use crate::report::quantile;
use crate::{Figure, Result, Scale, Side, Unit, machine};

/// What the log holds beside a value: key, numbers and its share of a frame.
const BESIDE: usize = 80;

pub(crate) async fn figures(side: Side, writers: usize, value: usize, scale: &Scale) -> Result<Vec<Figure>> {
    let what = format!("{writers} writers, {value} B");
    let opened = side.open().await?;
    if side == Side::Machine {
        // No more than one batch of everyone who writes goes into one sync.
        let bytes = writers * (value + BESIDE);
        let each = scale.writing / 2;
        let append = machine::appends(bytes, each)? * writers as f64;
        let overwrite = machine::overwrites(bytes, each)? * writers as f64;
        return Ok(vec![
            Figure::new(format!("creates, {what}"), Unit::PerSecond, append),
            Figure::new(in_place(&what), Unit::PerSecond, overwrite),
        ]);
    }
    let Some(opened) = opened else { return Ok(Vec::new()) };
    let before = opened.worked()?;
    let written = create(&opened.store, "creates", writers, value, 1, scale.writing).await?;
    let worked = opened.worked()? - before;
    let status = opened.store.status().await?;
    if status.keys != written.puts() {
        return Err(format!("{} keys after {} creates", status.keys, written.puts()).into());
    }
    Ok(vec![
        Figure::new(format!("creates, {what}"), Unit::PerSecond, written.rate()),
        Figure::new(in_place(&what), Unit::PerSecond, written.rate()),
        Figure::new(format!("  p50, {what}"), Unit::Milliseconds, written.latency(0.5)),
        Figure::new(format!("  p99, {what}"), Unit::Milliseconds, written.latency(0.99)),
        Figure::new(
            format!("  processor time of each, {what}"),
            Unit::Microseconds,
            worked.as_secs_f64() * 1e6 / written.puts() as f64,
        ),
    ])
}

/// The same rate again, for the machine at its best to stand beside it.
fn in_place(what: &str) -> String {
    format!("  beside syncs in place, {what}")
}

/// What writers did.
#[derive(Debug)]
pub(crate) struct Written {
    /// Milliseconds of each transaction.
    latencies: Vec<f64>,
    puts: usize,
    time: Duration,
}

impl Written {
    /// This and what was done after it.
    pub(crate) fn and(mut self, next: Self) -> Self {
        self.latencies.extend(next.latencies);
        self.time += next.time;
        self
    }

    /// Keys created.
    pub(crate) fn puts(&self) -> u64 {
        (self.latencies.len() * self.puts) as u64
    }

    /// Keys created a second.
    pub(crate) fn rate(&self) -> f64 {
        self.puts() as f64 / self.time.as_secs_f64()
    }

    /// The latency in milliseconds that `share` of all transactions stay below.
    pub(crate) fn latency(&self, share: f64) -> f64 {
        quantile(&self.latencies, share)
    }
}

/// Lets `writers` create keys below `folder`, `puts` in each transaction, for `time`.
pub(crate) async fn create(
    store: &Arc<dyn Store>,
    folder: &str,
    writers: usize,
    value: usize,
    puts: usize,
    time: Duration,
) -> Result<Written> {
    let begin = Instant::now();
    let mut tasks = JoinSet::new();
    for writer in 0..writers {
        let store = Arc::clone(store);
        let folder = format!("/registry/{folder}/ns-{writer:03}");
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            while begin.elapsed() < time {
                let at = Instant::now();
                create_one(&*store, &folder, latencies.len() * puts, value, puts).await?;
                latencies.push(at.elapsed().as_secs_f64() * 1e3);
            }
            Ok::<_, orchestra_store::Error>(latencies)
        });
    }
    let mut latencies = Vec::new();
    while let Some(done) = tasks.join_next().await {
        latencies.extend(done??);
    }
    Ok(Written { latencies, puts, time: begin.elapsed() })
}

async fn create_one(
    store: &dyn Store,
    folder: &str,
    first: usize,
    value: usize,
    puts: usize,
) -> orchestra_store::Result<()> {
    let txn = (first..first + puts).fold(Txn::new(), |txn, n| {
        let key = orchestra_store::Key::from(format!("{folder}/object-{n:08}"));
        txn.when(key.clone(), Revision::NONE).put(key, vec![b'v'; value])
    });
    match store.commit(txn).await?.outcome {
        Outcome::Applied => Ok(()),
        Outcome::Refused(_) => Err(orchestra_store::Error::Invalid("a key was there before it was created")),
    }
}

/// Fills a store with `keys` keys, as fast as it goes.
pub(crate) async fn fill(store: &Arc<dyn Store>, folder: &str, keys: usize, value: usize) -> Result<()> {
    const WRITERS: usize = 16;
    const PUTS: usize = 50;
    let mut tasks = JoinSet::new();
    for writer in 0..WRITERS {
        let store = Arc::clone(store);
        let folder = format!("/registry/{folder}/ns-{writer:03}");
        let share = keys / WRITERS + usize::from(writer < keys % WRITERS);
        tasks.spawn(async move {
            for first in (0..share).step_by(PUTS) {
                create_one(&*store, &folder, first, value, PUTS.min(share - first)).await?;
            }
            Ok::<_, orchestra_store::Error>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}
