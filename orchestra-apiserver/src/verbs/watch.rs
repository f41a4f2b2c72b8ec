//! Following a collection.
//!
//! A watcher is a stream that sleeps until its collection has changed and then takes what lies behind its own
//! revision. It holds the changes themselves, which all watchers share, and writes events out only as its client takes
//! them: however far behind a client is, one chunk is all that is written for it alone.

use std::pin::Pin;
use std::sync::Arc;
use std::vec;

use bytes::Bytes;
use futures::StreamExt;
use http::{Response, StatusCode};
use orchestra_metrics::Tally;
use orchestra_store::{Event, Revision, WatchMessage, WatchStream};
use tokio::time::{Duration, Instant, Sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::body::{self, Body};
use crate::cache::batch::{self, Audience, Batch};
use crate::cache::collection::{Collection, Matches, Subscription};
use crate::cache::converted;
use crate::cache::feed::Feed;
use crate::cache::object::{Change, Object};
use crate::filter::Filter;
use crate::negotiate::accept::{STREAM_MEDIA_TYPES, Shape, Syntax};
use crate::negotiate::event::{EventKind, Seen};
use crate::negotiate::render::Renderer;
use crate::query::ListOptions;
use crate::serve::ledger::TakenBy;
use crate::state::{Call, State};
use crate::status::StatusError;
use crate::storage::resource::Resource;

/// Events are handed over in pieces of about this size, as long as there are more.
const CHUNK_BYTES: usize = 32 << 10;
const BOOKMARK_PERIOD: Duration = Duration::from_secs(60);
/// Nobody watches for longer than a year: times have to stay countable.
const LONGEST_WATCH_SECONDS: u64 = 365 * 24 * 3600;
/// How long after its end a client may take the rest of a watch.
const REST: Duration = Duration::from_secs(60);

/// Where a watcher's changes come from.
enum Source {
    /// The collection's history.
    Cache(Subscription),
    /// The store's own history, for a revision from before the collection was loaded.
    Store(WatchStream),
}

struct Watcher {
    collection: Arc<Collection>,
    feed: Arc<Feed>,
    source: Source,
    filter: Filter,
    namespace: Option<String>,
    renderer: Renderer,
    /// Everything up to here has been delivered.
    cursor: Revision,
    initial: vec::IntoIter<Arc<Object>>,
    /// Whether the end of the initial objects is still to be announced.
    announce: bool,
    /// What happened up to the cursor and is still to be written.
    changes: vec::IntoIter<Arc<Change>>,
    /// Events that are written and not handed over yet.
    chunk: Vec<u8>,
    /// With whom it may share what it sends.
    audience: Option<Audience>,
    /// Events that another watcher has written, or that others may take.
    shared: Option<Bytes>,
    bookmarks: bool,
    next_bookmark: Instant,
    deadline: Instant,
    /// Set to what is due next. Kept, because a watcher waits very often.
    timer: Pin<Box<Sleep>>,
    shutdown: CancellationToken,
    /// Ends the watch with its resource.
    withdrawn: CancellationToken,
    columns_sent: bool,
    sent: Tally,
    done: bool,
}

/// GET with `watch=true`.
pub(crate) async fn watch(state: &State, call: &Call) -> Result<Response<Body>, StatusError> {
    let options = ListOptions::parse(&call.query, true)?;
    let media = match call.output.syntax {
        Syntax::Json | Syntax::PrettyJson => "application/json",
        Syntax::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
        Syntax::Yaml => return Err(StatusError::not_acceptable(STREAM_MEDIA_TYPES)),
    };
    let filter = Filter::parse(&call.resource, &options, call.request.name.as_deref())?;
    let watcher = start(state, call, &options, filter).await?;
    let taken_by = TakenBy(watcher.deadline + REST);
    let frames = futures::stream::unfold(watcher, |mut watcher| async move {
        let chunk = watcher.next().await?;
        Some((chunk, watcher))
    });
    let mut response = body::respond(StatusCode::OK, media, body::streamed(frames));
    response.extensions_mut().insert(taken_by);
    Ok(response)
}

async fn start(
    state: &State,
    call: &Call,
    options: &ListOptions,
    filter: Filter,
) -> Result<Watcher, StatusError> {
    let namespace = call.namespace().map(str::to_owned);
    let wants_state =
        options.send_initial_events.unwrap_or(matches!(options.resource_version, None | Some(0)));
    let (collection, applied) = match options.resource_version {
        // The most recent state, whatever was written just now.
        None if wants_state => state.feed.fresh(&call.resource).await?,
        Some(rv) if wants_state => state.feed.at_least(&call.resource, Revision(rv)).await?,
        _ => {
            let collection = state.feed.collection(&call.resource).await?;
            let applied = state.feed.applied_to(&collection);
            (collection, applied)
        }
    };
    let subscription = collection.subscribe_to(filter.wish().as_ref());
    let shares = filter.is_everything() && call.output.shape == Shape::Plain;
    let audience = shares.then(|| Audience { namespace: namespace.clone(), syntax: call.output.syntax });
    let (initial, cursor) = if wants_state {
        let prefix = namespace.as_ref().map(|ns| format!("{ns}/")).unwrap_or_default();
        let matches = |object: &Object| filter.matches(&call.resource, object);
        let matches = (!filter.is_everything()).then_some(&matches as Matches<'_>);
        let snapshot = collection.snapshot(&prefix, "", usize::MAX, matches);
        (snapshot.objects, applied.max(snapshot.last))
    } else {
        // Without a revision and without state: from now on.
        (Vec::new(), options.resource_version.filter(|rv| *rv > 0).map_or(applied, Revision))
    };
    let deadline = Instant::now() + duration(state, options);
    let mut watcher = Watcher {
        feed: state.feed.clone(),
        source: Source::Cache(subscription),
        filter,
        namespace,
        renderer: call.renderer(state),
        cursor,
        initial: initial.into_iter(),
        announce: options.send_initial_events == Some(true) && options.allow_bookmarks,
        changes: Vec::new().into_iter(),
        chunk: Vec::new(),
        audience,
        shared: None,
        bookmarks: options.allow_bookmarks,
        next_bookmark: Instant::now() + BOOKMARK_PERIOD,
        deadline,
        timer: Box::pin(sleep_until(deadline)),
        shutdown: state.shutdown.clone(),
        withdrawn: call.resource.withdrawn.clone(),
        columns_sent: false,
        sent: state.metrics.watches.tally(call.resource.description()),
        done: false,
        collection,
    };
    if watcher.collection.changes(cursor).is_err() {
        watcher.look_further_back().await;
    }
    Ok(watcher)
}

fn duration(state: &State, options: &ListOptions) -> Duration {
    let shortest = state.limits.min_request_timeout.as_secs();
    let chosen = || shortest.saturating_add(state.chance.below(shortest));
    Duration::from_secs(options.timeout_seconds.unwrap_or_else(chosen).min(LONGEST_WATCH_SECONDS))
}

impl Watcher {
    /// The collection's history does not reach back to the cursor; perhaps the store's does.
    async fn look_further_back(&mut self) {
        let range = self.renderer.resource.range(self.namespace.as_deref());
        match self.feed.history(range, self.cursor.next()).await {
            Ok(stream) => self.source = Source::Store(stream),
            Err(_) => self.expire(),
        }
    }

    /// The next piece of the body; `None` ends it.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(shared) = self.shared.take() {
                return Some(shared);
            }
            self.fill();
            if !self.chunk.is_empty() {
                return Some(std::mem::take(&mut self.chunk).into());
            }
            if self.done {
                return None;
            }
            self.advance().await;
        }
    }

    /// Writes events until the chunk is full or there are no more.
    fn fill(&mut self) {
        while self.chunk.len() < CHUNK_BYTES && !self.done {
            if let Some(object) = self.initial.next() {
                self.write(EventKind::Added, &Seen::Now(&object));
            } else if std::mem::take(&mut self.announce) {
                let bookmark = self.renderer.bookmark(self.cursor.0, true);
                self.write_text(EventKind::Bookmark, bookmark.as_bytes());
            } else if let Some(change) = self.changes.next() {
                if let Some((kind, seen)) = self.view(&change) {
                    self.write(kind, &seen);
                }
            } else {
                return;
            }
        }
    }

    /// Waits for changes, for the time of a bookmark, or for the end.
    async fn advance(&mut self) {
        self.sent.add_up();
        // Read before the changes are: everything up to here is among them.
        let applied = self.feed.applied_to(&self.collection);
        let deadline = self.deadline;
        let due = if self.bookmarks { self.next_bookmark.min(deadline) } else { deadline };
        let mut batch = None;
        match &mut self.source {
            Source::Cache(subscription) => {
                subscription.mark_seen();
                if let Some(audience) = &self.audience
                    && let Some(batch) = self.collection.batches.find(audience, self.cursor)
                {
                    return self.pass_on(&batch);
                }
                match self.collection.changes_for(subscription, self.cursor) {
                    Err(_) if self.withdrawn.is_cancelled() => {
                        self.done = true;
                        return;
                    }
                    Err(_) => return self.look_further_back().await,
                    Ok((changes, upto)) => {
                        let after = std::mem::replace(&mut self.cursor, upto);
                        if !changes.is_empty() {
                            return self.see(changes, after);
                        }
                    }
                }
                // Whoever ends watches wakes them, too: there is nothing else to wait for.
                if self.shutdown.is_cancelled() || self.withdrawn.is_cancelled() {
                    self.done = true;
                    return;
                }
                if self.timer.deadline() != due {
                    self.timer.as_mut().reset(due);
                }
                tokio::select! {
                    biased;
                    changed = subscription.changed() => {
                        if changed.is_err() {
                            self.done = true;
                        }
                        return;
                    }
                    () = &mut self.timer => {}
                }
            }
            Source::Store(stream) => {
                tokio::select! {
                    biased;
                    () = self.shutdown.cancelled() => {
                        self.done = true;
                        return;
                    }
                    () = self.withdrawn.cancelled() => {
                        self.done = true;
                        return;
                    }
                    message = stream.next() => batch = Some(message),
                    () = sleep_until(due) => {}
                }
            }
        }
        match batch {
            Some(message) => self.take(message).await,
            None => self.tick(applied),
        }
    }

    /// Takes up what happened behind `after`. If others are about the same and it is short, it is written for all of them.
    fn see(&mut self, changes: Vec<Arc<Change>>, after: Revision) {
        // With room for what stands around each object.
        let length: usize = changes.iter().map(|change| change.length() + 64).sum();
        self.changes = changes.into_iter();
        let Some(audience) = &self.audience else { return };
        if length > batch::MOST_BYTES || !self.collection.is_shared() {
            return;
        }
        let audience = audience.clone();
        self.chunk.reserve(length);
        let mut events = Vec::with_capacity(self.changes.len());
        while let Some(change) = self.changes.next() {
            let from = self.chunk.len();
            if let Some((kind, seen)) = self.view(&change) {
                self.write(kind, &seen);
                events.push(self.chunk.len() - from);
            }
            if self.done {
                // What could not be written is this watcher's own trouble.
                return;
            }
        }
        let bytes: Bytes = std::mem::take(&mut self.chunk).into();
        self.collection.batches.keep(Batch {
            audience,
            after,
            upto: self.cursor,
            bytes: bytes.clone(),
            events,
        });
        self.shared = Some(bytes).filter(|bytes| !bytes.is_empty());
    }

    /// Sends what another watcher has written.
    fn pass_on(&mut self, batch: &Batch) {
        self.cursor = batch.upto;
        batch.events.iter().for_each(|length| self.count(*length));
        self.shared = Some(batch.bytes.clone()).filter(|bytes| !bytes.is_empty());
    }

    /// A message of the store's own watch.
    async fn take(&mut self, message: Option<orchestra_store::Result<WatchMessage>>) {
        match message {
            Some(Ok(WatchMessage::Events { revision, events })) => {
                self.cursor = revision;
                let resource = self.renderer.resource.clone();
                match converted::all(&resource, events.to_vec()).await {
                    Ok(events) => {
                        let changes = events.iter().filter_map(|e| change(&resource, revision, e));
                        self.changes = changes.map(Arc::new).collect::<Vec<_>>().into_iter();
                    }
                    Err(error) => self.fail(&error),
                }
            }
            Some(Ok(WatchMessage::Progress(revision))) => self.cursor = self.cursor.max(revision),
            Some(Err(orchestra_store::Error::Compacted(_))) => self.expire(),
            // The client comes back with the last revision it saw.
            Some(Err(_)) | None => self.done = true,
        }
    }

    /// A bookmark is due, or the end.
    fn tick(&mut self, applied: Revision) {
        let now = Instant::now();
        if self.bookmarks {
            if matches!(self.source, Source::Cache(_)) {
                self.cursor = self.cursor.max(applied);
            }
            let bookmark = self.renderer.bookmark(self.cursor.0, false);
            self.write_text(EventKind::Bookmark, bookmark.as_bytes());
            self.next_bookmark = now + BOOKMARK_PERIOD;
        }
        self.done = now >= self.deadline;
    }

    /// What a change is to this watcher: an object that begins to match was added, one that no longer does is gone.
    fn view<'c>(&self, change: &'c Change) -> Option<(EventKind, Seen<'c>)> {
        let seen = |object: &&Arc<Object>| {
            self.namespace.is_none_or_eq(object.namespace.as_deref())
                && self.filter.matches(&self.renderer.resource, object)
        };
        let now = change.now.as_ref().filter(seen);
        let before = change.before.as_ref().filter(seen);
        match (before, now) {
            (None, Some(now)) => Some((EventKind::Added, Seen::Now(now))),
            (Some(_), Some(now)) => Some((EventKind::Modified, Seen::Now(now))),
            (Some(before), None) => Some((EventKind::Deleted, Seen::Departed(change.departed(before)))),
            (None, None) => None,
        }
    }

    fn write(&mut self, kind: EventKind, seen: &Seen<'_>) {
        let from = self.chunk.len();
        match self.renderer.event(kind, seen, !self.columns_sent, &mut self.chunk) {
            Ok(()) => {
                self.columns_sent = true;
                self.written(from);
            }
            Err(error) => self.fail(&error),
        }
    }

    fn write_text(&mut self, kind: EventKind, json: &[u8]) {
        let from = self.chunk.len();
        match self.renderer.event_of_text(kind, json, &mut self.chunk) {
            Ok(()) => self.written(from),
            Err(error) => {
                tracing::error!(%error, "an event of a watch cannot be written");
                self.done = true;
            }
        }
    }

    /// Counts the event that begins at `from`.
    fn written(&mut self, from: usize) {
        self.count(self.chunk.len().saturating_sub(from));
    }

    fn count(&mut self, length: usize) {
        self.sent.observe(u64::try_from(length).unwrap_or(u64::MAX));
    }

    fn expire(&mut self) {
        let message = format!("too old resource version: {} ({})", self.cursor, self.feed.applied());
        self.fail(&StatusError::expired(message));
    }

    fn fail(&mut self, error: &StatusError) {
        self.write_text(EventKind::Error, error.to_json().to_string().as_bytes());
        self.done = true;
    }
}

trait NoneOrEq {
    /// Whether there is no wish, or it is this.
    fn is_none_or_eq(&self, other: Option<&str>) -> bool;
}

impl NoneOrEq for Option<String> {
    fn is_none_or_eq(&self, other: Option<&str>) -> bool {
        self.as_deref().is_none_or(|wish| Some(wish) == other)
    }
}

fn change(resource: &Resource, revision: Revision, event: &Event) -> Option<Change> {
    let read = |entry| match Object::whole(resource, entry) {
        Ok(object) => Some(Arc::new(object)),
        Err(error) => {
            tracing::error!(%error, "an object in the store cannot be read");
            None
        }
    };
    let (now, before) = match event {
        Event::Put { entry, previous } => (read(entry), previous.as_ref().and_then(read)),
        Event::Delete { previous, .. } => (None, read(previous)),
    };
    (now.is_some() || before.is_some()).then(|| Change::new(revision, now, before))
}
