//! What reading costs, and whether writers make it wait: a read must never wait for the disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use orchestra_store::{Key, ReadAt, Store};

use crate::report::quantile;
use crate::{Figure, Result, Scale, Side, Unit, creates};

const WRITERS: usize = 32;
const KEYS: usize = 10_000;

pub(crate) async fn figures(side: Side, scale: &Scale) -> Result<Vec<Figure>> {
    let Some(opened) = side.open().await? else { return Ok(Vec::new()) };
    creates::fill(&opened.store, "read", KEYS, 1024).await?;
    let quiet = read_for(&opened.store, scale.writing / 2).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let (reader, stopper) = (Arc::clone(&opened.store), Arc::clone(&stop));
    let reading = tokio::spawn(async move { read_until(&reader, || stopper.load(Ordering::Relaxed)).await });
    let written = creates::create(&opened.store, "creates", WRITERS, 1024, 1, scale.writing).await?;
    stop.store(true, Ordering::Relaxed);
    let busy = reading.await??;
    let mut figures = Vec::new();
    for (reads, what) in [(quiet, "alone"), (busy, "beside 32 writers")] {
        figures.push(Figure::new(format!("one reader's gets, {what}"), Unit::PerSecond, reads.rate()));
        figures.push(Figure::new(
            format!("  p99, {what}"),
            Unit::Milliseconds,
            quantile(&reads.latencies, 0.99),
        ));
        figures.push(Figure::new(
            format!("  p99.9, {what}"),
            Unit::Milliseconds,
            quantile(&reads.latencies, 0.999),
        ));
    }
    figures.push(Figure::new("  writes beside a reader, 1024 B", Unit::PerSecond, written.rate()));
    Ok(figures)
}

struct Reads {
    latencies: Vec<f64>,
    time: Duration,
}

impl Reads {
    fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.time.as_secs_f64()
    }
}

async fn read_for(store: &Arc<dyn Store>, time: Duration) -> Result<Reads> {
    let begin = Instant::now();
    Ok(read_until(store, || begin.elapsed() >= time).await?)
}

async fn read_until(store: &Arc<dyn Store>, done: impl Fn() -> bool) -> orchestra_store::Result<Reads> {
    let begin = Instant::now();
    let mut latencies = Vec::new();
    let mut place = 0;
    while !done() {
        // A stride that visits all of them, far apart.
        place = (place + 7_919) % KEYS;
        let key = Key::from(format!("/registry/read/ns-{:03}/object-{:08}", place % 16, place / 16));
        let at = Instant::now();
        let got = store.get(&key, ReadAt::Latest).await?;
        latencies.push(at.elapsed().as_secs_f64() * 1e3);
        if got.value.is_none() {
            return Err(orchestra_store::Error::Invalid("a key that was written is not there"));
        }
    }
    Ok(Reads { latencies, time: begin.elapsed() })
}
