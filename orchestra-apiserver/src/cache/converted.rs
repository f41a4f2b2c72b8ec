//! Collections whose objects are converted by somebody else before they are read.
//!
//! The feed must not wait for a program of a user, so such a collection is behind it: what happened waits in a [`Queue`], a task has
//! all of it converted together, and only then it is applied. Readers who want the present wait for the queue. When a
//! conversion fails the collection is given up: its watchers have to start anew, and the next reader is told why it fails if
//! it still does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use orchestra_store::{Entry, Event, Revision};
use tokio::sync::Notify;
use tokio::time::Duration;

use super::collection::Collection;
use crate::status::StatusError;
use crate::storage::resource::Resource;
use crate::watched;

/// How many changes may wait.
const MOST_WAITING: usize = 20_000;
/// How long a reader waits: as long as one conversion may take, and a little.
const PATIENCE: Duration = Duration::from_secs(35);

/// What is still to be converted for one collection.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    wake: Notify,
    progress: watched::Sender<Progress>,
}

#[derive(Debug, Default)]
struct Waiting {
    changes: Vec<(Revision, Vec<Event>)>,
    count: usize,
    /// Nothing more will come up to here.
    expected: Revision,
    closed: bool,
}

#[derive(Clone, Debug, Default)]
struct Progress {
    reached: Revision,
    failure: Option<Arc<StatusError>>,
}

impl Queue {
    /// A queue in front of `collection`. Its task ends when it is closed.
    pub(super) fn start(collection: &Arc<Collection>) -> Arc<Self> {
        let queue = Arc::new(Self {
            waiting: Mutex::default(),
            wake: Notify::new(),
            progress: watched::Sender::new(Progress::default()),
        });
        tokio::spawn(work(queue.clone(), collection.clone()));
        queue
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it is half-changed.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something happened.
    pub(super) fn push(&self, changes: Vec<(Revision, Vec<Event>)>) {
        let mut waiting = self.waiting();
        waiting.count += changes.iter().map(|(_, events)| events.len()).sum::<usize>();
        if waiting.count > MOST_WAITING {
            waiting.changes = Vec::new();
            drop(waiting);
            self.fail(StatusError::unavailable("too many changes wait for their conversion"));
            return;
        }
        waiting.changes.extend(changes);
        drop(waiting);
        self.wake.notify_one();
    }

    /// Everything up to `revision` has been pushed.
    pub(super) fn expect(&self, revision: Revision) {
        let mut waiting = self.waiting();
        waiting.expected = waiting.expected.max(revision);
        drop(waiting);
        self.wake.notify_one();
    }

    /// Everything up to `revision` is applied.
    pub(super) fn reached(&self, revision: Revision) {
        self.progress.send_if_modified(|progress| {
            let newer = revision > progress.reached;
            progress.reached = progress.reached.max(revision);
            newer
        });
    }

    pub(super) fn applied(&self) -> Revision {
        self.progress.value().reached
    }

    pub(super) fn has_failed(&self) -> bool {
        self.progress.value().failure.is_some()
    }

    fn fail(&self, error: StatusError) {
        self.progress.send_modify(|progress| progress.failure = Some(Arc::new(error)));
        self.close();
    }

    pub(super) fn close(&self) {
        self.waiting().closed = true;
        self.wake.notify_one();
    }

    /// Waits until everything up to `revision` is applied.
    pub(super) async fn wait_for(&self, revision: Revision) -> Result<Revision, StatusError> {
        let mut progress = self.progress.subscribe();
        let done = progress.wait_for(|at| at.reached >= revision || at.failure.is_some());
        match tokio::time::timeout(PATIENCE, done).await {
            Ok(Ok(at)) => match &at.failure {
                Some(error) => Err((**error).clone()),
                None => Ok(at.reached),
            },
            Ok(Err(_)) => Err(StatusError::unavailable("the watch cache has ended")),
            Err(_) => Err(StatusError::too_large_resource_version(revision.0, self.applied().0)),
        }
    }
}

async fn work(queue: Arc<Queue>, collection: Arc<Collection>) {
    loop {
        let (changes, expected) = {
            let mut waiting = queue.waiting();
            if waiting.closed {
                break;
            }
            waiting.count = 0;
            (std::mem::take(&mut waiting.changes), waiting.expected)
        };
        if changes.is_empty() && expected <= queue.applied() {
            queue.wake.notified().await;
            continue;
        }
        match converted(&collection.resource, changes).await {
            Ok(changes) => {
                collection.apply(changes);
                queue.reached(expected);
            }
            Err(error) => {
                tracing::warn!(%error, resource = ?collection.resource.gr, "objects cannot be converted");
                queue.fail(error);
            }
        }
    }
    if queue.has_failed() {
        collection.kill();
    }
}

async fn converted(
    resource: &Resource,
    mut changes: Vec<(Revision, Vec<Event>)>,
) -> Result<Vec<(Revision, Vec<Event>)>, StatusError> {
    // What was there before is known to the collection.
    let now = changes.iter_mut().flat_map(|(_, events)| events).filter_map(|event| match event {
        Event::Put { entry, .. } => Some(entry),
        Event::Delete { .. } => None,
    });
    replace(resource, now.collect()).await?;
    Ok(changes)
}

/// Events of the store's own history with all their objects converted.
pub(crate) async fn all(resource: &Resource, mut events: Vec<Event>) -> Result<Vec<Event>, StatusError> {
    if resource.is_converted() {
        let every = events.iter_mut().flat_map(|event| match event {
            Event::Put { entry, previous } => [Some(entry), previous.as_mut()],
            Event::Delete { previous, .. } => [Some(previous), None],
        });
        replace(resource, every.flatten().collect()).await?;
    }
    Ok(events)
}

async fn replace(resource: &Resource, entries: Vec<&mut Entry>) -> Result<(), StatusError> {
    let converted = resource.convert(entries.iter().map(|entry| (**entry).clone()).collect()).await?;
    for (slot, new) in entries.into_iter().zip(converted) {
        *slot = new;
    }
    Ok(())
}
