//! The queue of pods that want a node: active, backing off, unschedulable, gated, in flight.
//!
//! A pure structure: time comes from outside as [`Moment`], and which events help which pod is asked of the
//! caller. Follows upstream's `backend/queue`.

mod backoff;
mod in_flight;
mod rank;
mod tally;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::event::ClusterEvent;
use crate::plugin::QueueSort;
use crate::view::{PodUid, PodView};

use self::backoff::BackoffHeap;
use self::in_flight::InFlight;
use self::rank::Ranked;

pub use self::backoff::BackoffOptions;
pub use self::tally::Tally;

/// A point in time, counted from a start that the owner of the queue chose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub Duration);

impl Moment {
    /// This moment, later by `delay`.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        Self(self.0.saturating_add(delay))
    }
}

/// A pod in the queue.
#[derive(Clone, Debug)]
pub struct QueuedPod {
    /// The pod.
    pub pod: Arc<PodView>,
    /// When it was last added to the queue.
    pub added: Moment,
    /// How often it has been tried.
    pub attempts: u32,
}

/// How many pods wait where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueCounts {
    /// Ready to be tried.
    pub active: usize,
    /// Ready after a pause.
    pub backoff: usize,
    /// Waiting for something to change.
    pub unschedulable: usize,
    /// Held by a plugin before they are ever tried.
    pub gated: usize,
    /// Being tried or bound.
    pub in_flight: usize,
}

impl QueueCounts {
    fn of(&mut self, place: Place) -> &mut usize {
        match place {
            Place::Active | Place::Batched => &mut self.active,
            Place::Backoff | Place::ErrorBackoff => &mut self.backoff,
            Place::Unschedulable => &mut self.unschedulable,
            Place::Gated => &mut self.gated,
            Place::InFlight => &mut self.in_flight,
        }
    }

    fn moved(&mut self, from: Place, to: Place) {
        *self.of(from) -= 1;
        *self.of(to) += 1;
    }
}

/// Leftovers are tried again after this long, in case an event was missed.
const LEFTOVER: Duration = Duration::from_secs(5 * 60);

/// A queue was as long as the longest burst of pods; what it took is given back once most of them have left, down to this
/// many.
const LEAST_ROOM: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Active,
    /// Waiting for whoever places pods in batches.
    Batched,
    Backoff,
    ErrorBackoff,
    Unschedulable,
    Gated,
    InFlight,
}

#[derive(Debug)]
struct Entry {
    queued: QueuedPod,
    place: Place,
    /// Placed in batches: it has no pauses, and is never popped.
    batched: bool,
    /// Distinguishes this stay in a heap from earlier ones, which are left there and skipped.
    stamp: u64,
    unschedulable: u32,
    errors: u32,
    rejected_by: BTreeSet<String>,
    /// Tried again only because it had waited for too long.
    flushed: bool,
}

/// Asks whether an event is a reason to try a pod again that these plugins rejected.
pub type Helps<'a> = &'a dyn Fn(&PodView, &BTreeSet<String>, &ClusterEvent) -> bool;

/// The queue.
#[derive(Debug)]
pub struct Queue {
    sort: Option<Arc<dyn QueueSort>>,
    options: BackoffOptions,
    entries: HashMap<PodUid, Entry>,
    active: BinaryHeap<Ranked>,
    backoff: BackoffHeap,
    error_backoff: BackoffHeap,
    /// The unschedulable pods by stamp, which is also the order in which they came back.
    unschedulable: BTreeMap<u64, PodUid>,
    in_flight: InFlight,
    stamps: u64,
    counts: QueueCounts,
    batched: usize,
    tally: Tally,
}

impl Queue {
    /// An empty queue in the order of `sort`, or first come first served.
    #[must_use]
    pub fn new(sort: Option<Arc<dyn QueueSort>>, options: BackoffOptions) -> Self {
        Self {
            sort,
            options,
            entries: HashMap::new(),
            active: BinaryHeap::new(),
            backoff: BackoffHeap::default(),
            error_backoff: BackoffHeap::default(),
            unschedulable: BTreeMap::new(),
            in_flight: InFlight::default(),
            stamps: 0,
            counts: QueueCounts::default(),
            batched: 0,
            tally: Tally::default(),
        }
    }

    /// Takes in a new pod; `gated_by` names the plugin that holds it, if one does.
    pub fn add(&mut self, pod: Arc<PodView>, gated_by: Option<String>, now: Moment) {
        self.enter(pod, gated_by, false, now);
    }

    /// Takes in a new pod that is placed in batches: [`Queue::batch`] lists it and [`Queue::pop`] never does.
    pub fn add_batched(&mut self, pod: Arc<PodView>, gated_by: Option<String>, now: Moment) {
        self.enter(pod, gated_by, true, now);
    }

    /// How many pods wait to be placed in batches.
    #[must_use]
    pub fn batched(&self) -> usize {
        self.batched
    }

    /// The pods that wait to be placed in batches and that `wanted` names, in the order of the queue; each counts as tried once
    /// more.
    pub fn batch(&mut self, wanted: impl Fn(&PodView) -> bool) -> Vec<Arc<PodView>> {
        let waits = |entry: &&mut Entry| entry.place == Place::Batched && wanted(&entry.queued.pod);
        let mut waiting: Vec<&mut Entry> = self.entries.values_mut().filter(waits).collect();
        let sort = self.sort.as_ref();
        waiting.sort_unstable_by(|left, right| {
            let by_plugin = sort.map_or(Ordering::Equal, |sort| sort.order(&left.queued, &right.queued));
            by_plugin.then(left.stamp.cmp(&right.stamp))
        });
        let tried = waiting.into_iter().map(|entry| {
            entry.queued.attempts = entry.queued.attempts.saturating_add(1);
            entry.queued.pod.clone()
        });
        tried.collect()
    }

    /// Takes a pod out of those that wait for a batch; it is in flight until [`Queue::reject`], [`Queue::fail`] or
    /// [`Queue::remove`].
    pub fn take(&mut self, uid: &PodUid) {
        if self.entries.get(uid).is_some_and(|entry| entry.place == Place::Batched) {
            self.in_flight.enter(uid.clone());
            self.put(uid, Place::InFlight);
        }
    }

    fn enter(&mut self, pod: Arc<PodView>, gated_by: Option<String>, batched: bool, now: Moment) {
        let uid = pod.uid.clone();
        let entry = Entry {
            queued: QueuedPod { pod, added: now, attempts: 0 },
            place: Place::Gated,
            batched,
            stamp: 0,
            unschedulable: 0,
            errors: 0,
            rejected_by: gated_by.into_iter().collect(),
            flushed: false,
        };
        let gated = !entry.rejected_by.is_empty();
        *self.counts.of(entry.place) += 1;
        if let Some(before) = self.entries.insert(uid.clone(), entry) {
            self.left(&before);
        }
        self.come(&uid, if gated { Place::Gated } else { Place::Active }, tally::POD_ADDED);
    }

    /// The pod as it was last seen, if it is in the queue or in flight.
    #[must_use]
    pub fn pod(&self, uid: &PodUid) -> Option<&Arc<PodView>> {
        self.entries.get(uid).map(|entry| &entry.queued.pod)
    }

    /// Whether a plugin holds the pod.
    #[must_use]
    pub fn is_gated(&self, uid: &PodUid) -> bool {
        self.entries.get(uid).is_some_and(|entry| entry.place == Place::Gated)
    }

    /// Takes note of how the pod looks now, without moving it (except within the active queue).
    pub fn replace(&mut self, pod: Arc<PodView>) {
        let uid = pod.uid.clone();
        let Some(entry) = self.entries.get_mut(&uid) else { return };
        let reorder = entry.place == Place::Active && entry.queued.pod.priority != pod.priority;
        entry.queued.pod = pod;
        if reorder {
            self.put(&uid, Place::Active);
        }
    }

    /// Lets a gated pod in.
    pub fn ungate(&mut self, uid: &PodUid, now: Moment) {
        if self.is_gated(uid) {
            if let Some(entry) = self.entries.get_mut(uid) {
                entry.queued.added = now;
                entry.rejected_by.clear();
            }
            self.come(uid, Place::Active, tally::POD_UPDATED);
        }
    }

    /// Forgets a pod, wherever it is.
    pub fn remove(&mut self, uid: &PodUid) -> Option<Arc<PodView>> {
        self.in_flight.leave(uid);
        let entry = self.entries.remove(uid)?;
        if let Some(room) = room_for(self.entries.len(), self.entries.capacity()) {
            self.entries.shrink_to(room);
        }
        self.left(&entry);
        if entry.place == Place::Unschedulable {
            self.unschedulable.remove(&entry.stamp);
        }
        Some(entry.queued.pod)
    }

    /// An entry is gone.
    fn left(&mut self, entry: &Entry) {
        *self.counts.of(entry.place) -= 1;
        self.batched -= usize::from(entry.place == Place::Batched);
        if entry.place != Place::Gated {
            self.tally.forgiven(&entry.rejected_by, &entry.queued.pod.scheduler);
        }
    }

    /// The next pod to try; it is in flight until [`Queue::reject`], [`Queue::fail`] or [`Queue::remove`].
    ///
    /// With nothing active, a pod whose pause is not over yet is taken early, as upstream does from 1.34 on;
    /// those that failed with an error sit theirs out.
    pub fn pop(&mut self, now: Moment) -> Option<QueuedPod> {
        self.flush(now);
        let uid = self.pop_active().or_else(|| self.pop_backoff())?;
        self.in_flight.enter(uid.clone());
        let stamp = self.next_stamp();
        let entry = self.entries.get_mut(&uid)?;
        self.counts.moved(entry.place, Place::InFlight);
        (entry.place, entry.stamp) = (Place::InFlight, stamp);
        entry.queued.attempts = entry.queued.attempts.saturating_add(1);
        self.tally.forgiven(&std::mem::take(&mut entry.rejected_by), &entry.queued.pod.scheduler);
        Some(entry.queued.clone())
    }

    /// Brings a pod back that `plugins` rejected. If something happened meanwhile that helps, it is tried
    /// again after its pause; otherwise it waits.
    pub fn reject(&mut self, uid: &PodUid, plugins: BTreeSet<String>, now: Moment, helps: Helps<'_>) {
        let Some(entry) = self.entries.get_mut(uid) else { return };
        entry.queued.added = now;
        entry.unschedulable = entry.unschedulable.saturating_add(1);
        (entry.errors, entry.flushed) = (0, false);
        entry.rejected_by = plugins;
        self.tally.rejected(&entry.rejected_by, &entry.queued.pod.scheduler);
        let (pod, rejected_by) = (&entry.queued.pod, &entry.rejected_by);
        let helped = self.in_flight.missed(uid).any(|event| helps(pod, rejected_by, event));
        self.in_flight.leave(uid);
        self.come(uid, if helped { Place::Backoff } else { Place::Unschedulable }, tally::ATTEMPT_FAILED);
    }

    /// Brings a pod back that could not even be tried; it waits without a pause for an event that helps.
    pub fn park(&mut self, uid: &PodUid, plugins: BTreeSet<String>, now: Moment, helps: Helps<'_>) {
        let Some(entry) = self.entries.get_mut(uid) else { return };
        entry.queued.added = now;
        (entry.unschedulable, entry.errors) = (0, 0);
        entry.rejected_by = plugins;
        let (pod, rejected_by) = (&entry.queued.pod, &entry.rejected_by);
        let helped = self.in_flight.missed(uid).any(|event| helps(pod, rejected_by, event));
        self.in_flight.leave(uid);
        self.come(uid, if helped { Place::Active } else { Place::Unschedulable }, tally::ATTEMPT_FAILED);
    }

    /// Brings a pod back whose attempt ended in an error; it is tried again after its pause.
    pub fn fail(&mut self, uid: &PodUid, now: Moment) {
        self.in_flight.leave(uid);
        let Some(entry) = self.entries.get_mut(uid) else { return };
        entry.queued.added = now;
        entry.errors = entry.errors.saturating_add(1);
        entry.flushed = false;
        self.tally.forgiven(&std::mem::take(&mut entry.rejected_by), &entry.queued.pod.scheduler);
        self.come(uid, Place::ErrorBackoff, tally::ATTEMPT_FAILED);
    }

    /// Wakes the pods that an event helps, and remembers it for those in flight.
    pub fn happened(&mut self, event: &ClusterEvent, now: Moment, helps: Helps<'_>) {
        self.in_flight.record(event);
        let waiting = self.unschedulable.values().filter_map(|uid| self.entries.get_key_value(uid));
        let woken: Vec<PodUid> = waiting
            .filter(|(_, entry)| helps(&entry.queued.pod, &entry.rejected_by, event))
            .map(|(uid, _)| uid.clone())
            .collect();
        for uid in woken {
            self.wake(&uid, now, event.label());
        }
    }

    /// Wakes a pod if what happened to itself helps it.
    pub fn happened_to(&mut self, uid: &PodUid, event: &ClusterEvent, now: Moment, helps: Helps<'_>) {
        self.in_flight.record(event);
        let Some(entry) = self.entries.get(uid).filter(|entry| entry.place == Place::Unschedulable) else {
            return;
        };
        if helps(&entry.queued.pod, &entry.rejected_by, event) {
            self.wake(uid, now, event.label());
        }
    }

    /// Has a waiting pod tried at once.
    pub fn activate(&mut self, uid: &PodUid, now: Moment) {
        let waits = |place| matches!(place, Place::Backoff | Place::ErrorBackoff | Place::Unschedulable);
        let Some(entry) = self.entries.get_mut(uid).filter(|entry| waits(entry.place)) else { return };
        entry.queued.added = now;
        self.come(uid, Place::Active, tally::ACTIVATED);
    }

    /// When something next becomes ready by time alone.
    #[must_use]
    pub fn next_due(&self) -> Option<Moment> {
        let leftover = self.oldest_unschedulable().map(|(_, since)| since.after(LEFTOVER));
        [self.backoff.next_due(), self.error_backoff.next_due(), leftover].into_iter().flatten().min()
    }

    /// How many pods wait where.
    #[must_use]
    pub fn counts(&self) -> QueueCounts {
        self.counts
    }

    /// What has been counted.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Whether a pod is tried again only because it had waited for too long.
    #[must_use]
    pub fn is_flushed(&self, uid: &PodUid) -> bool {
        self.entries.get(uid).is_some_and(|entry| entry.flushed)
    }

    fn wake(&mut self, uid: &PodUid, now: Moment, why: &'static str) {
        let Some(entry) = self.entries.get(uid) else { return };
        let over = self.options.over(entry.queued.added, entry.unschedulable, entry.errors);
        self.come(uid, if over <= now { Place::Active } else { Place::Backoff }, why);
    }

    /// Makes ready what is ready by now.
    fn flush(&mut self, now: Moment) {
        loop {
            let due = self.backoff.pop_due(now).map(|due| (due, Place::Backoff));
            let due = due.or_else(|| self.error_backoff.pop_due(now).map(|due| (due, Place::ErrorBackoff)));
            let Some(((uid, stamp), place)) = due else { break };
            if self.is_at(&uid, place, stamp) {
                self.come(&uid, Place::Active, tally::BACKOFF_OVER);
            }
        }
        while let Some((uid, since)) = self.oldest_unschedulable()
            && since.after(LEFTOVER) <= now
        {
            if let Some(entry) = self.entries.get_mut(&uid) {
                entry.flushed = true;
            }
            self.wake(&uid, now, tally::TIMED_OUT);
        }
    }

    fn oldest_unschedulable(&self) -> Option<(PodUid, Moment)> {
        let (_, uid) = self.unschedulable.first_key_value()?;
        Some((uid.clone(), self.entries.get(uid)?.queued.added))
    }

    fn pop_active(&mut self) -> Option<PodUid> {
        loop {
            let ranked = self.active.pop()?;
            if let Some(room) = room_for(self.active.len(), self.active.capacity()) {
                self.active.shrink_to(room);
            }
            if self.is_at(&ranked.queued.pod.uid, Place::Active, ranked.stamp) {
                return Some(ranked.queued.pod.uid.clone());
            }
        }
    }

    fn pop_backoff(&mut self) -> Option<PodUid> {
        loop {
            let (uid, stamp) = self.backoff.pop()?;
            if self.is_at(&uid, Place::Backoff, stamp) {
                self.tally.came(Place::Active, tally::TAKEN_EARLY);
                return Some(uid);
            }
        }
    }

    fn is_at(&self, uid: &PodUid, place: Place, stamp: u64) -> bool {
        self.entries.get(uid).is_some_and(|entry| entry.place == place && entry.stamp == stamp)
    }

    /// Puts a pod into another queue, and counts that.
    fn come(&mut self, uid: &PodUid, place: Place, why: &'static str) {
        self.put(uid, place);
        self.tally.came(place, why);
    }

    fn put(&mut self, uid: &PodUid, place: Place) {
        let stamp = self.next_stamp();
        let Some(entry) = self.entries.get_mut(uid) else { return };
        if entry.place == Place::Unschedulable {
            self.unschedulable.remove(&entry.stamp);
        }
        let place = match place {
            Place::Active | Place::Backoff | Place::ErrorBackoff | Place::Unschedulable if entry.batched => {
                Place::Batched
            }
            place => place,
        };
        self.counts.moved(entry.place, place);
        self.batched += usize::from(place == Place::Batched);
        self.batched -= usize::from(entry.place == Place::Batched);
        (entry.place, entry.stamp) = (place, stamp);
        let over = self.options.over(entry.queued.added, entry.unschedulable, entry.errors);
        let priority = entry.queued.pod.priority;
        match place {
            Place::Active => {
                let queued = entry.queued.clone();
                self.active.push(Ranked { queued, stamp, sort: self.sort.clone() });
            }
            Place::Backoff => self.backoff.push(over, priority, uid.clone(), stamp),
            Place::ErrorBackoff => self.error_backoff.push(over, priority, uid.clone(), stamp),
            Place::Unschedulable => {
                self.unschedulable.insert(stamp, uid.clone());
            }
            Place::Batched | Place::Gated | Place::InFlight => {}
        }
    }

    fn next_stamp(&mut self) -> u64 {
        self.stamps += 1;
        self.stamps
    }
}

/// How much room is left to a collection of which most is empty; `None` where it is well filled or small.
fn room_for(held: usize, room: usize) -> Option<usize> {
    (room > LEAST_ROOM && held < room / 4).then_some(held * 2)
}

#[cfg(test)]
mod tests;
