//! The objects of one resource as of now, and what recently happened to them.
//!
//! Watchers are not called: they hold a revision and come to fetch what lies behind it, so a slow one costs nothing
//! but its place in the history, and when that is gone it is told so.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use orchestra_store::{Event, Revision};
use tokio::time::{Duration, Instant};

use super::batch::Batches;
use super::behind::Behind;
use super::inbox::{Inbox, Inboxes, Wish};
use super::object::{Change, Object};
use crate::metrics::CacheCounts;
use crate::storage::resource::Resource;
use crate::watched;

/// Changes kept for watchers that resume or fall behind; those who need more get it from the store.
const HISTORY_CHANGES: usize = 1024;
/// Bytes of objects that those changes may hold alive.
const HISTORY_BYTES: usize = 2 << 20;

/// What watchers rest longer for each of them, and how long at most. A round of waking takes its time for each connection, however
/// little there is to send; when many watch, rounds at the same pace would leave no time for anything else.
const REST_EACH: Duration = Duration::from_micros(50);
const LONGEST_REST: Duration = Duration::from_millis(10);

/// The watcher's revision is no longer covered by the history.
#[derive(Debug)]
pub(crate) struct TooOld;

/// One resource in memory.
#[derive(Debug)]
pub(crate) struct Collection {
    pub(crate) resource: Arc<Resource>,
    pub(crate) counts: Arc<CacheCounts>,
    state: Mutex<State>,
    /// How long watchers rest after they were woken; see [`watch_pace`](crate::limits::Limits::watch_pace).
    pace: Duration,
    /// Raised when there are changes to take; watchers sleep on it.
    changed: watched::Sender<Revision>,
    pub(crate) batches: Batches,
}

#[derive(Debug)]
struct State {
    objects: BTreeMap<Box<str>, Arc<Object>>,
    behind: Behind,
    /// The revision of the last change applied, or that of the load.
    last: Revision,
    history: VecDeque<Arc<Change>>,
    history_bytes: usize,
    inboxes: Inboxes,
    /// Every change above this is in the history.
    floor: Revision,
    /// Changes that came before the load was finished.
    loading: Option<Vec<(Revision, Vec<Event>)>>,
    /// The feed was lost; whoever reads must find a new collection.
    dead: bool,
    /// When watchers may be woken again.
    rested: Option<Instant>,
    /// Whether the end of that rest is being waited for.
    waking: bool,
}

/// A consistent view: objects in key order, and the last revision that touched them.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) objects: Vec<Arc<Object>>,
    pub(crate) last: Revision,
    /// Objects in the range behind the last one returned.
    pub(crate) remaining: usize,
}

/// Which objects are wanted.
pub(crate) type Matches<'a> = &'a dyn Fn(&Object) -> bool;

impl Collection {
    pub(crate) fn new(resource: Arc<Resource>, counts: Arc<CacheCounts>, pace: Duration) -> Self {
        let state = State {
            objects: BTreeMap::new(),
            behind: Behind::default(),
            last: Revision::NONE,
            history: VecDeque::new(),
            history_bytes: 0,
            inboxes: Inboxes::default(),
            floor: Revision::NONE,
            loading: Some(Vec::new()),
            dead: false,
            rested: None,
            waking: false,
        };
        let changed = watched::Sender::new(Revision::NONE);
        Self { resource, counts, state: Mutex::new(state), pace, changed, batches: Batches::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs while a state is half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the load: these objects are the state at `revision`; what came meanwhile is applied on top.
    pub(crate) fn loaded(&self, objects: BTreeMap<Box<str>, Arc<Object>>, revision: Revision) {
        self.counts.loaded(objects.len(), revision);
        let mut state = self.state();
        state.objects = objects;
        state.last = revision;
        state.floor = revision;
        for (revision, events) in state.loading.take().unwrap_or_default() {
            state.apply(&self.resource, revision, &events);
        }
    }

    /// Applies what revisions of the store changed in this resource, oldest first. Watchers are woken once, now or when they
    /// have rested.
    pub(crate) fn apply(self: &Arc<Self>, changes: Vec<(Revision, Vec<Event>)>) {
        let Some((last, _)) = changes.last() else { return };
        let (last, count) = (*last, changes.iter().map(|(_, events)| events.len()).sum());
        self.counts.received(count);
        let mut state = self.state();
        if let Some(waiting) = &mut state.loading {
            waiting.extend(changes);
            return;
        }
        for (revision, events) in &changes {
            state.apply(&self.resource, *revision, events);
        }
        let now = Instant::now();
        let resting = state.rested.filter(|rested| *rested > now);
        let is_first = resting.is_some() && !std::mem::replace(&mut state.waking, true);
        let due = if resting.is_none() { state.inboxes.take_due() } else { Vec::new() };
        if resting.is_none() {
            state.rested = Some(now + self.rest(due.len()));
        }
        drop(state);
        self.counts.dispatched(count, last);
        match resting {
            None => {
                self.changed.send_replace(last);
                due.iter().for_each(|inbox| inbox.wake());
            }
            Some(rested) if is_first => {
                let collection = self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep_until(rested).await;
                    collection.wake();
                });
            }
            Some(_) => {}
        }
    }

    /// How long nobody is woken after all watchers of everything were, and so many of one value.
    fn rest(&self, of_one: usize) -> Duration {
        if self.pace.is_zero() {
            return self.pace;
        }
        let woken = u32::try_from(self.changed.receivers() + of_one).unwrap_or(u32::MAX);
        self.pace.max(REST_EACH.saturating_mul(woken).min(LONGEST_REST))
    }

    /// Wakes the watchers to take what has changed.
    fn wake(&self) {
        let mut state = self.state();
        state.waking = false;
        let last = state.last;
        let due = state.inboxes.take_due();
        state.rested = Some(Instant::now() + self.rest(due.len()));
        drop(state);
        self.changed.send_replace(last);
        due.iter().for_each(|inbox| inbox.wake());
    }

    /// The feed is lost: nothing more will come.
    pub(crate) fn kill(&self) {
        let mut state = self.state();
        state.dead = true;
        drop(state);
        self.wake_all();
    }

    /// Wakes every watcher, whether there is something to take or not.
    pub(crate) fn wake_all(&self) {
        let inboxes = self.state().inboxes.all();
        self.changed.send_modify(|_| {});
        inboxes.iter().for_each(|inbox| inbox.wake());
    }

    /// Whether the feed is lost: what is here may be old.
    pub(crate) fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// The revision of the last change, or that of the load.
    pub(crate) fn last(&self) -> Revision {
        self.state().last
    }

    /// The same, unless no changes come here any more.
    pub(crate) fn current(&self) -> Option<Revision> {
        let state = self.state();
        (!state.dead).then_some(state.last)
    }

    /// Whether there is anything in a namespace.
    pub(crate) fn has_any(&self, namespace: &str) -> bool {
        let state = self.state();
        // Most resources that each write of a namespace is asked about have nothing at all.
        !state.objects.is_empty() && state.under(&format!("{namespace}/"), "").next().is_some()
    }

    /// The object behind the prefix with this key, `name` or `namespace/name`.
    pub(crate) fn get(&self, suffix: &str) -> Option<Arc<Object>> {
        self.state().objects.get(suffix).cloned()
    }

    pub(crate) fn subscribe(&self) -> watched::Receiver<Revision> {
        self.changed.subscribe()
    }

    /// Whether several watch everything, who may send the same.
    pub(crate) fn is_shared(&self) -> bool {
        self.changed.receivers() > 1
    }

    /// As [`subscribe`](Self::subscribe), for a watcher who is about objects with one value in one field, if he is.
    pub(crate) fn subscribe_to(&self, wish: Option<&Wish>) -> Subscription {
        let Some(wish) = wish else { return Subscription::All(self.subscribe()) };
        let mut state = self.state();
        let floor = state.last;
        Subscription::One(state.inboxes.open(wish, floor))
    }

    /// Objects whose key suffix begins with `prefix`, which is empty or a namespace with its slash, from `start` on, at most `limit`
    /// of those that match.
    pub(crate) fn snapshot(
        &self,
        prefix: &str,
        start: &str,
        limit: usize,
        matches: Option<Matches<'_>>,
    ) -> Snapshot {
        let mut state = self.state();
        let last = state.last;
        let Some(matches) = matches else { return state.page(prefix, start, limit) };
        let found: Vec<Arc<Object>> = state.under(prefix, start).map(|(_, object)| object).cloned().collect();
        // Whoever looks at labels and fields first reads them, which nobody should have to wait for.
        drop(state);
        let mut found = found.into_iter();
        let objects = found.by_ref().filter(|object| matches(object)).take(limit).collect();
        Snapshot { objects, last, remaining: found.len() }
    }

    /// Every change above `after`, oldest first; the view is complete up to the returned revision.
    pub(crate) fn changes(&self, after: Revision) -> Result<(Vec<Arc<Change>>, Revision), TooOld> {
        let state = self.state();
        if state.dead || after < state.floor {
            return Err(TooOld);
        }
        let at = state.history.partition_point(|change| change.revision <= after);
        Ok((state.history.range(at..).cloned().collect(), state.last.max(after)))
    }

    /// The changes above `after` that somebody with this subscription may be about, oldest first; the view is complete up
    /// to the returned revision.
    pub(crate) fn changes_for(
        &self,
        subscription: &Subscription,
        after: Revision,
    ) -> Result<(Vec<Arc<Change>>, Revision), TooOld> {
        if let Subscription::One(inbox) = subscription {
            // Nothing is put in meanwhile.
            let state = self.state();
            if !state.dead
                && let Some(changes) = inbox.take(after)
            {
                return Ok((changes, state.last.max(after)));
            }
        }
        self.changes(after)
    }
}

/// How a watcher learns that there is something to take.
#[derive(Debug)]
pub(crate) enum Subscription {
    /// At every change.
    All(watched::Receiver<Revision>),
    /// At changes that concern the one value of the one field it is about.
    One(Arc<Inbox>),
}

impl Subscription {
    /// What has happened so far is about to be taken.
    pub(crate) fn mark_seen(&mut self) {
        if let Self::All(receiver) = self {
            receiver.mark_seen();
        }
    }

    /// Waits until there is something to take.
    pub(crate) async fn changed(&mut self) -> Result<(), watched::Closed> {
        match self {
            Self::All(receiver) => receiver.changed().await,
            Self::One(inbox) => {
                inbox.told().await;
                Ok(())
            }
        }
    }
}

impl State {
    /// The objects whose key suffix begins with `prefix`, from `start` on, found without looking at their keys.
    fn under(&self, prefix: &str, start: &str) -> impl Iterator<Item = (&str, &Arc<Object>)> {
        let from = start.max(prefix);
        // `0` is what comes behind a slash.
        let end = prefix.strip_suffix('/').map(|namespace| format!("{namespace}0"));
        // Where to start is what a client says, and may be anywhere.
        let is_there = end.as_deref().is_none_or(|end| from < end);
        let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let range = is_there.then(|| self.objects.range::<str, _>((Bound::Included(from), end)));
        range.into_iter().flatten().map(|(key, object)| (&**key, object))
    }

    /// The first of them, at most `limit`.
    fn page(&mut self, prefix: &str, start: &str, limit: usize) -> Snapshot {
        let known = match (prefix, start) {
            ("", "") => Some(self.objects.len()),
            _ => self.behind.count(self.last, prefix, start),
        };
        let mut range = self.under(prefix, start);
        let (mut objects, mut end) = (Vec::new(), None);
        for (key, object) in range.by_ref().take(limit) {
            objects.push(object.clone());
            end = Some(key);
        }
        let (end, taken) = (end.map(str::to_owned), objects.len());
        let remaining = known.map_or_else(|| range.count(), |all| all.saturating_sub(taken));
        if let Some(end) = end.filter(|_| remaining > 0) {
            self.behind.remember(self.last, prefix, &end, remaining);
        }
        Snapshot { objects, last: self.last, remaining }
    }

    fn apply(&mut self, resource: &Resource, revision: Revision, events: &[Event]) {
        if revision <= self.last {
            return;
        }
        let read = if self.inboxes.look_inside() { Object::looked_into } else { Object::whole };
        for event in events {
            let (key, now) = match event {
                Event::Put { entry, .. } => match read(resource, entry) {
                    Ok(object) => (&entry.key, Some(Arc::new(object))),
                    Err(error) => {
                        tracing::error!(key = ?entry.key, %error, "an object in the store cannot be read");
                        (&entry.key, None)
                    }
                },
                Event::Delete { key, .. } => (key, None),
            };
            let Some(suffix) = suffix_of(resource, key.as_bytes()) else { continue };
            let before = match &now {
                Some(object) => self.objects.insert(suffix.into(), object.clone()),
                None => self.objects.remove(suffix),
            };
            if now.is_some() || before.is_some() {
                self.remember(resource, Change::new(revision, now, before));
            }
        }
        self.last = revision;
    }

    fn remember(&mut self, resource: &Resource, change: Change) {
        let change = Arc::new(change);
        self.inboxes.put(resource, &change);
        self.history_bytes += change.weight();
        self.history.push_back(change);
        while self.history.len() > HISTORY_CHANGES || self.history_bytes > HISTORY_BYTES {
            let Some(oldest) = self.history.pop_front() else { break };
            self.history_bytes -= oldest.weight();
            self.floor = oldest.revision;
        }
    }
}

/// The part of a key behind the resource's prefix.
pub(crate) fn suffix_of<'a>(resource: &Resource, key: &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(key.strip_prefix(resource.prefix().as_bytes())?).ok()
}
