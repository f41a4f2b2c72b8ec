//! Writers beside a snapshot that is being saved, and beside the compaction of a long past.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use orchestra_store::{Retention, Store};

use crate::creates::{self, Written};
use crate::{Figure, Result, Scale, Side, Unit, side};

const WRITERS: usize = 32;
const VALUE: usize = 256;

pub(crate) async fn figures(side: Side, scale: &Scale) -> Result<Vec<Figure>> {
    if side != Side::Durable {
        return Ok(Vec::new());
    }
    let mut figures = snapshot(side, scale).await?;
    figures.extend(compaction(side, scale).await?);
    Ok(figures)
}

async fn snapshot(side: Side, scale: &Scale) -> Result<Vec<Figure>> {
    let Some(opened) = side.open().await? else { return Ok(Vec::new()) };
    creates::fill(&opened.store, "snapshot", scale.snapshot_keys, 1024).await?;
    let quiet = write(&opened.store, "quiet", scale.writing).await?;
    let saved = tokio::spawn(save(Arc::clone(&opened.store)));
    let busy = write_beside(&opened.store, "busy", &saved).await?;
    if saved.await?? < scale.snapshot_keys {
        return Err("the snapshot lacks keys".into());
    }
    Ok(p99s("while a snapshot is saved", &quiet, &busy))
}

/// Saves a snapshot to a file, and tells how many entries it had.
async fn save(store: Arc<dyn Store>) -> std::result::Result<usize, String> {
    let dir = side::folder().map_err(|error| error.to_string())?;
    let mut file = std::fs::File::create(dir.path().join("snapshot")).map_err(|error| error.to_string())?;
    let mut snapshot = store.snapshot().await.map_err(|error| error.to_string())?;
    let mut count = 0;
    while let Some(entries) = snapshot.next().await {
        let entries = entries.map_err(|error| error.to_string())?;
        count += entries.len();
        file = tokio::task::spawn_blocking(move || {
            entries.iter().try_for_each(|entry| file.write_all(&entry.value)).map(|()| file)
        })
        .await
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())?;
    }
    Ok(count)
}

async fn compaction(side: Side, scale: &Scale) -> Result<Vec<Figure>> {
    let all = Retention::new().changes(usize::MAX).bytes(usize::MAX);
    let Some(opened) = side.open_keeping(all).await? else { return Ok(Vec::new()) };
    let mut revisions = 0;
    while revisions < scale.past {
        revisions += rewrite(&opened.store, scale.past.min(100_000)).await?;
    }
    let quiet = write(&opened.store, "quiet", scale.writing).await?;
    let (store, to) = (Arc::clone(&opened.store), opened.store.status().await?.revision);
    let compacted = tokio::spawn(async move { store.compact(to).await });
    let busy = write_beside(&opened.store, "busy", &compacted).await?;
    compacted.await??;
    Ok(p99s(&format!("while {} revisions are compacted", scale.past), &quiet, &busy))
}

/// Changes a thousand keys again and again, one in each revision.
async fn rewrite(store: &Arc<dyn Store>, revisions: usize) -> Result<usize> {
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..256 {
        let store = Arc::clone(store);
        tasks.spawn(async move {
            for n in 0..revisions / 256 + 1 {
                let key = orchestra_store::Key::from(format!("/registry/past/{writer:03}/{}", n % 4));
                store.commit(orchestra_store::Txn::new().put(key, vec![b'p'; VALUE])).await?;
            }
            Ok::<_, orchestra_store::Error>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok((revisions / 256 + 1) * 256)
}

async fn write(store: &Arc<dyn Store>, folder: &str, time: Duration) -> Result<Written> {
    creates::create(store, folder, WRITERS, VALUE, 1, time).await
}

/// Writes for as long as `job` goes on.
async fn write_beside<T>(
    store: &Arc<dyn Store>,
    folder: &str,
    job: &tokio::task::JoinHandle<T>,
) -> Result<Written> {
    let mut written: Option<Written> = None;
    for piece in 0.. {
        let more = write(store, &format!("{folder}-{piece}"), Duration::from_millis(20)).await?;
        written = Some(match written {
            None => more,
            Some(before) => before.and(more),
        });
        if job.is_finished() {
            break;
        }
    }
    written.ok_or_else(|| "nothing was written".into())
}

fn p99s(when: &str, quiet: &Written, busy: &Written) -> Vec<Figure> {
    let ratio = 100.0 * busy.latency(0.99) / quiet.latency(0.99);
    vec![
        Figure::new(format!("p99 of 32 writers before, {when}"), Unit::Milliseconds, quiet.latency(0.99)),
        Figure::new(format!("p99 of 32 writers {when}"), Unit::Milliseconds, busy.latency(0.99)),
        Figure::new(format!("  of the quiet p99, {when}"), Unit::Percent, ratio),
        Figure::new(format!("  writes {when}"), Unit::PerSecond, busy.rate()),
    ]
}
