//! One watch of the store: first the past, from etcd; then the present, which all watches share.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;

use futures::{StreamExt, stream};
use tokio::sync::watch;

use super::connection::Connection;
use super::live::{Live, translate};
use super::probe::Window;
use super::space::Space;
use super::stream::{Change, Changes, Overtaken};
use crate::feed::{Feed, Next};
use crate::key::KeyRange;
use crate::limits::WatchBound;
use crate::revision::Revision;
use crate::store::{Error, Result};
use crate::watch::{WatchMessage, WatchStream};

/// What a watch needs of its store. It holds none of what keeps the store open.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) connection: Arc<Connection>,
    pub(super) space: Space,
    pub(super) window: Arc<Window>,
    pub(super) live: Arc<Live>,
    pub(super) closing: watch::Receiver<Option<i64>>,
}

/// A watch that is catching up or has caught up.
#[derive(Debug)]
pub(super) struct Watch {
    source: Source,
    range: KeyRange,
    bound: WatchBound,
    place: Place,
    queue: VecDeque<WatchMessage>,
}

#[derive(Debug)]
enum Place {
    Past(Box<Changes>),
    Present(Arc<Feed>),
}

impl Watch {
    /// Of `range`, from a revision of the store on that is in the window or ahead of it.
    pub(super) fn new(source: Source, range: KeyRange, from: Revision, bound: WatchBound) -> Self {
        let revision = source.space.origin.theirs(from);
        let joined = source.live.join(revision, || Feed::new(range.clone(), from, bound));
        let place = joined.map_or_else(
            || Place::Past(Box::new(Changes::new(source.space.keys.everything(), revision))),
            Place::Present,
        );
        Self { source, range, bound, place, queue: VecDeque::new() }
    }

    pub(super) fn into_stream(self) -> WatchStream {
        let messages = stream::unfold(Some(self), async |watch| {
            let mut watch = watch?;
            let message = watch.next().await?;
            let goes_on = message.is_ok();
            Some((message, goes_on.then_some(watch)))
        });
        messages.boxed()
    }

    async fn next(&mut self) -> Option<Result<WatchMessage>> {
        loop {
            if let Some(message) = self.queue.pop_front() {
                return Some(Ok(message));
            }
            let past = match &mut self.place {
                Place::Present(feed) => match poll_fn(|context| feed.poll_next(context)).await? {
                    Ok(Next::Run(run)) => {
                        self.queue.extend(run);
                        continue;
                    }
                    Ok(Next::Progress(revision)) => return Some(Ok(WatchMessage::Progress(revision))),
                    Err(error) => return Some(Err(error)),
                },
                Place::Past(past) => past,
            };
            let changes = tokio::select! {
                changes = past.next(&self.source.connection) => changes,
                _ = self.source.closing.wait_for(Option::is_some) => {
                    return Some(Err(Error::Unavailable("it is closed".to_owned())));
                }
            };
            if let Err(error) = self.take(changes).await {
                return Some(Err(error));
            }
        }
    }

    async fn take(&mut self, changes: Result<Vec<Change>, Overtaken>) -> Result<()> {
        let Source { connection, space, window, live, .. } = &self.source;
        let changes = match changes {
            Ok(changes) => changes,
            Err(Overtaken(_)) => return Err(Error::Compacted(window.compacted(connection, space).await?)),
        };
        for change in &changes {
            let revision = space.origin.ours(change.revision)?;
            let mut events = translate(space, change)?;
            events.retain(|event| self.range.contains(event.key()));
            if !events.is_empty() {
                self.queue.push_back(WatchMessage::Events { revision, events: events.into() });
            }
        }
        let Some(last) = changes.last() else { return Ok(()) };
        let reached = space.origin.ours(last.revision)?;
        let feed = || Feed::new(self.range.clone(), reached.next(), self.bound);
        if let Some(feed) = live.join(last.revision + 1, feed) {
            self.place = Place::Present(feed);
            self.queue.push_back(WatchMessage::Progress(reached));
        }
        Ok(())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Place::Present(feed) = &self.place {
            feed.close();
        }
    }
}
