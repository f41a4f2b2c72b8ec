//! Which log file belongs to which container of this node.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use super::context::Context;
use super::pods::Table;
use super::service::{Instance, LogFile, LogSource, LogTarget, Refusal};
use crate::pod::spec::{member, meta};
use crate::pod::worker::Shown;

/// The logs of the pods this agent runs.
pub(super) struct PodLogs {
    context: Arc<Context>,
    table: Table,
}

impl PodLogs {
    pub(super) fn new(context: Arc<Context>, table: Table) -> Self {
        Self { context, table }
    }
}

impl std::fmt::Debug for PodLogs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PodLogs").finish_non_exhaustive()
    }
}

#[async_trait]
impl LogSource for PodLogs {
    async fn locate(&self, target: &LogTarget) -> Result<LogFile, Refusal> {
        let name = target.container.as_str();
        let listed = self.table.find(&target.namespace, &target.pod).ok_or(Refusal::NoPod)?;
        member(&listed.pod, name).ok_or(Refusal::NoContainer)?;
        let shown = listed.shown.borrow().containers.get(name).cloned();
        let previous = target.instance == Instance::Previous;
        let shown = match shown {
            Some(shown) => shown,
            None if previous => return Err(Refusal::NoPrevious),
            None => return Err(Refusal::Waiting("ContainerCreating".to_owned())),
        };
        let meta = meta(&listed.pod);
        let path = |attempt| self.context.log_path(&meta, name, attempt);
        if previous {
            let attempt = shown.attempt.checked_sub(1).ok_or(Refusal::NoPrevious)?;
            return Ok(LogFile { path: path(attempt), ended: over() });
        }
        if let Some(reason) = shown.waiting {
            return Err(Refusal::Waiting(reason));
        }
        if self.context.simulation || !shown.live {
            // Before a container that is started again writes anything, the newest log is its last life's.
            let newest = path(shown.attempt);
            let last = shown.attempt.checked_sub(1).map(path);
            let path = if newest.exists() { newest } else { last.unwrap_or(newest) };
            return Ok(LogFile { path, ended: over() });
        }
        let ended = end_of(listed.shown.clone(), name.to_owned(), shown.attempt);
        Ok(LogFile { path: path(shown.attempt), ended })
    }
}

/// A container that writes no more.
fn over() -> watch::Receiver<bool> {
    watch::channel(true).1
}

/// Becomes true when this life of the container is over, or its pod is nobody's any more.
fn end_of(mut shown: watch::Receiver<Shown>, container: String, attempt: u32) -> watch::Receiver<bool> {
    let (ended, end) = watch::channel(false);
    tokio::spawn(async move {
        let is_over =
            |s: &Shown| s.containers.get(&container).is_none_or(|c| c.attempt != attempt || !c.live);
        tokio::select! {
            // A worker that is gone is an end as well.
            _ = shown.wait_for(is_over) => { ended.send_replace(true); }
            // Nobody reads any longer.
            () = ended.closed() => {}
        }
    });
    end
}
