//! The present: one watch of etcd over the whole store, shared by all watchers.
//!
//! Because it sees every change of the store, it knows how far it is without asking etcd, whose answer to a request for progress
//! may overtake events (etcd 3.4 before .25 and 3.5 before .8).

use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::connection::Connection;
use super::fence::Fence;
use super::probe::Window;
use super::space::Space;
use super::stream::{Change, Changes, Overtaken};
use crate::feed::{Feed, Hub, Published, Watches};
use crate::revision::Revision;
use crate::store::{Error, Result};
use crate::watch::Event;

/// How long a store that is dropped waits for what it committed itself.
const LAST_CHANGES: Duration = Duration::from_secs(2);

/// All watchers of a store that have reached the present.
#[derive(Debug)]
pub(super) struct Live {
    state: Mutex<State>,
    reached: watch::Sender<i64>,
}

#[derive(Debug)]
struct State {
    hub: Hub,
    /// Everything up to this revision of etcd was handed to the hub.
    position: i64,
    /// Whether something of the store changed at that revision, so that whoever catches up sees it go by.
    marked: bool,
    /// Whether anyone catches up with a position that is not marked.
    awaited: bool,
}

impl Live {
    /// Begins behind a revision of etcd.
    pub(super) fn behind(position: i64) -> Self {
        Self {
            state: Mutex::new(State { hub: Hub::default(), position, marked: false, awaited: false }),
            reached: watch::channel(position).0,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whole between any two statements that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a watcher join that has seen, or does not want, anything before `from`; `None` when it must catch up first.
    pub(super) fn join(&self, from: i64, feed: impl FnOnce() -> Feed) -> Option<Arc<Feed>> {
        let mut state = self.state();
        if from <= state.position {
            state.awaited |= !state.marked;
            return None;
        }
        let feed = Arc::new(feed());
        state.hub.register(Arc::clone(&feed));
        Some(feed)
    }

    /// Waits, but not for ever, until everything up to `revision` has been handed out.
    pub(super) async fn reach(&self, revision: i64, patience: Duration) {
        let mut reached = self.reached.subscribe();
        // Whether it came or not, the caller goes on.
        let _in_time = timeout(patience, reached.wait_for(|&reached| reached >= revision)).await;
    }

    /// How far the watchers are, and whether anyone waits for a mark there.
    pub(super) fn position(&self) -> (i64, bool) {
        let state = self.state();
        (state.position, state.awaited)
    }

    /// How many watches are served.
    pub(super) fn watchers(&self) -> usize {
        self.state().hub.watchers()
    }

    /// How they are doing.
    pub(super) fn watches(&self) -> Watches {
        self.state().hub.watches()
    }

    /// Hands out changes that follow each other, up to a revision of etcd.
    fn publish(&self, batch: Vec<Published>, position: i64) {
        let wakers = {
            let mut state = self.state();
            (state.position, state.marked, state.awaited) = (position, true, false);
            state.hub.publish(batch)
        };
        self.reached.send_replace(position);
        wake(wakers);
    }

    /// Ends those who wanted something that is gone.
    fn overtaken(&self, compacted: Revision, position: i64) {
        let wakers = {
            let mut state = self.state();
            if position > state.position {
                // Nothing of the store changed there that anyone could see go by.
                (state.position, state.marked) = (position, false);
            }
            state.hub.overtake(compacted)
        };
        self.reached.send_replace(position);
        wake(wakers);
    }

    /// Ends all watches, now and later.
    fn close(&self, why: &str) {
        let wakers = self.state().hub.close(why);
        wake(wakers);
    }
}

fn wake(wakers: Vec<Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

/// What the task that feeds the watchers works with.
#[derive(Debug)]
pub(super) struct Pump {
    pub(super) live: Arc<Live>,
    pub(super) connection: Arc<Connection>,
    pub(super) space: Space,
    pub(super) window: Arc<Window>,
    pub(super) committed: Arc<AtomicI64>,
    /// Set when the store is dropped, to what it committed last.
    pub(super) closing: watch::Receiver<Option<i64>>,
}

impl Pump {
    /// Hands on every change until the store is dropped, and what it committed itself has come.
    pub(super) async fn run(self) {
        let (changing, mut closing) = (self.follow(), self.closing.clone());
        let closed = async {
            let last = closing.wait_for(Option::is_some).await.ok().and_then(|last| *last);
            self.live.reach(last.unwrap_or_default(), LAST_CHANGES).await;
        };
        let fence = Fence {
            live: &self.live,
            connection: &self.connection,
            space: &self.space,
            committed: &self.committed,
        };
        tokio::select! {
            () = changing => {}
            () = fence.keep() => {}
            () = closed => {}
        }
        self.live.close("it is closed");
    }

    async fn follow(&self) {
        let mut next = self.live.state().position + 1;
        loop {
            let mut changes = Changes::new(self.space.keys.everything(), next);
            let compacted = loop {
                match changes.next(&self.connection).await {
                    Ok(changes) => {
                        if let Err(problem) = self.publish(&changes) {
                            break self.problem(&problem);
                        }
                    }
                    Err(Overtaken(compacted)) => break compacted,
                }
            };
            let Ok(ours) = self.space.origin.ours(compacted) else { return };
            tracing::warn!(revision = %ours, "compaction overtook the watch of etcd; watchers have to begin anew");
            self.window.raise(compacted.min(self.connection.seen()));
            self.live.overtaken(ours, compacted);
            next = compacted + 1;
        }
    }

    /// Whatever comes before a problem is handed out.
    fn publish(&self, changes: &[Change]) -> Result<()> {
        let (mut batch, mut last, mut outcome) = (Vec::with_capacity(changes.len()), None, Ok(()));
        for change in changes {
            let published = translate(&self.space, change)
                .and_then(|events| Ok(Published::new(self.space.origin.ours(change.revision)?, events)));
            match published {
                Ok(published) => batch.push(published),
                Err(problem) => {
                    outcome = Err(problem);
                    break;
                }
            }
            last = Some(change.revision);
        }
        if let Some(last) = last {
            self.live.publish(batch, last);
        }
        outcome
    }

    /// The revision that cannot be shown, and with it everything before it.
    fn problem(&self, problem: &Error) -> i64 {
        match problem {
            Error::Compacted(revision) => self.space.origin.theirs(*revision),
            other => {
                tracing::error!(%other, "etcd tells what makes no sense");
                self.live.state().position + 1
            }
        }
    }
}

/// The events of a change, without those beside the keys.
pub(super) fn translate(space: &Space, change: &Change) -> Result<Vec<Event>> {
    change.events.iter().filter_map(|event| space.event(event).transpose()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeyRange;
    use crate::limits::WatchBound;

    #[test]
    fn whoever_catches_up_with_a_compaction_has_a_mark_written_for_it() {
        let feed = || Feed::new(KeyRange::all(), Revision(1), WatchBound::new());
        let live = Live::behind(5);
        live.publish(Vec::new(), 6);
        assert!(live.join(6, feed).is_none());
        assert_eq!(live.position(), (6, false), "it sees the change at 6 go by");
        live.overtaken(Revision(9), 9);
        assert!(live.join(8, feed).is_none());
        assert_eq!(live.position(), (9, true), "there is nothing to see at 9");
    }
}
