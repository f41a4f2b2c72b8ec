//! Many watchers of the same keys while they are written.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use orchestra_store::{Error, KeyRange, Retention, Revision, Store, WatchMessage};
use tokio::task::JoinSet;

use crate::creates::{self, Written};
use crate::{Figure, Result, Scale, Side, Unit};

const WRITERS: usize = 32;
const VALUE: usize = 256;

pub(crate) async fn figures(side: Side, watchers: usize, puts: usize, scale: &Scale) -> Result<Vec<Figure>> {
    // Nothing of the past is given up, so that a watcher who fell behind can always resume.
    let all = Retention::new().changes(usize::MAX).bytes(usize::MAX);
    let Some(opened) = side.open_keeping(all).await? else { return Ok(Vec::new()) };
    let what = match puts {
        1 => format!("{watchers} watchers, {WRITERS} writers"),
        _ => format!("{watchers} watchers, {WRITERS} writers of {puts} keys at once"),
    };
    // Twice alone, before and after, for the machine's mood changes.
    let before = creates::create(&opened.store, "before", WRITERS, VALUE, puts, scale.writing / 2).await?;
    let watched = watched(&opened.store, watchers, puts, scale.writing).await?;
    let after = creates::create(&opened.store, "after", WRITERS, VALUE, puts, scale.writing / 2).await?;
    let alone = (before.rate() + after.rate()) / 2.0;
    Ok(vec![
        Figure::new(format!("watch events, {what}"), Unit::PerSecond, watched.events_rate(watchers)),
        Figure::new(format!("  writes meanwhile, {what}"), Unit::PerSecond, watched.written.rate()),
        Figure::new(
            format!("  of what they are unwatched, {what}"),
            Unit::Percent,
            100.0 * watched.written.rate() / alone,
        ),
        Figure::new(
            format!("  times a watcher fell behind and resumed, {what}"),
            Unit::Count,
            watched.resumed as f64,
        ),
    ])
}

struct Watched {
    written: Written,
    /// Until everyone had seen everything.
    time: Duration,
    resumed: u64,
}

impl Watched {
    fn events_rate(&self, watchers: usize) -> f64 {
        self.written.puts() as f64 * watchers as f64 / self.time.as_secs_f64()
    }
}

async fn watched(store: &Arc<dyn Store>, watchers: usize, puts: usize, time: Duration) -> Result<Watched> {
    let from = store.status().await?.revision.next();
    // How many events there are to see; nobody knows before the last one is written.
    let (total, until) = tokio::sync::watch::channel(u64::MAX);
    let resumed = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..watchers {
        let (store, until, resumed) = (Arc::clone(store), until.clone(), Arc::clone(&resumed));
        tasks.spawn(async move { see_all(&store, from, until, &resumed).await });
    }
    let begin = Instant::now();
    let written = creates::create(store, "watched", WRITERS, VALUE, puts, time).await?;
    total.send(written.puts())?;
    while let Some(seen) = tasks.join_next().await {
        let seen = seen??;
        if seen != written.puts() {
            return Err(format!("a watcher saw {seen} events of {}", written.puts()).into());
        }
    }
    Ok(Watched { written, time: begin.elapsed(), resumed: resumed.load(Ordering::Relaxed) })
}

/// Watches until as many events are seen as there are to see.
async fn see_all(
    store: &Arc<dyn Store>,
    mut from: Revision,
    mut until: tokio::sync::watch::Receiver<u64>,
    resumed: &AtomicU64,
) -> orchestra_store::Result<u64> {
    let mut seen = 0;
    let mut total = u64::MAX;
    let mut watch = store.watch(KeyRange::prefix("/registry/watched/"), from).await?;
    while seen < total {
        let message = tokio::select! {
            biased;
            message = watch.next() => message,
            Ok(()) = until.changed() => {
                total = *until.borrow();
                continue;
            }
        };
        match message {
            Some(Ok(WatchMessage::Events { revision, events })) => {
                seen += events.len() as u64;
                from = revision.next();
            }
            Some(Ok(_)) => {}
            Some(Err(Error::SlowWatcher)) => {
                resumed.fetch_add(1, Ordering::Relaxed);
                watch = store.watch(KeyRange::prefix("/registry/watched/"), from).await?;
            }
            Some(Err(error)) => return Err(error),
            None => return Err(Error::Unavailable("the watch ended".to_owned())),
        }
    }
    Ok(seen)
}
