//! A world while it runs, and what came of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use orchestra_apiserver::ApiServer;
use orchestra_store::{MemoryStore, Store};
use tokio::time::{Instant, sleep_until};

use super::chance::Chance;
use super::component::Place;
use super::ledger::{Happening, Ledger, Violation};
use super::log::WriteLog;
use super::node::Machine;
use super::wire::{Death, Deed, Weather};

/// A world while it runs.
pub struct World {
    pub(super) server: ApiServer,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    pub(super) places: BTreeMap<Arc<str>, Arc<Place>>,
    pub(super) machines: BTreeMap<String, Arc<Machine>>,
    pub(super) store: MemoryStore,
    pub(super) began: Instant,
    pub(super) start: Timestamp,
}

/// What came of a world.
#[derive(Debug)]
pub struct Outcome<T> {
    /// What the story returned.
    pub value: T,
    /// Everything that was written.
    pub log: WriteLog,
    /// The writes of components that came through.
    pub deeds: Vec<Deed>,
    /// The invariants that did not hold.
    pub violations: Vec<Violation>,
}

impl<T> Outcome<T> {
    /// A number that stands for every byte of every write, its order and its time.
    pub fn witness(&self) -> u64 {
        self.log.witness()
    }
}

/// The world did not come to rest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the world does not come to rest; written last: {}", .0.join("; "))]
pub struct Restless(pub Vec<String>);

impl World {
    /// A client with all rights, whose requests nothing befalls.
    pub fn client(&self) -> Client {
        self.server.client("default")
    }

    /// The API server.
    pub fn api_server(&self) -> &ApiServer {
        &self.server
    }

    /// How long the world has been going on.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// The time of day in the world.
    pub fn now(&self) -> Timestamp {
        self.start.saturating_add(self.elapsed()).unwrap_or(Timestamp::MAX)
    }

    /// The components, in the order of their names.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(|name| &**name)
    }

    /// Ends the present life of a component; the next begins within three seconds. Nothing happens to one that is not there.
    pub fn kill(&self, component: &str) {
        self.at(component, Place::kill);
    }

    /// Ends the life of a component at one of its next writes.
    pub fn kill_at(&self, component: &str, death: Death) {
        self.at(component, |place| *lock(&place.line.death) = Some(death));
    }

    /// Ends the life of a component and lets none follow until it is [let up](Self::up).
    pub fn down(&self, component: &str) {
        self.at(component, Place::down);
    }

    /// Lets a component live again.
    pub fn up(&self, component: &str) {
        self.at(component, Place::up);
    }

    /// Ends all watches of a component.
    pub fn break_watches(&self, component: &str) {
        self.at(component, |place| place.line.break_watches());
    }

    /// What befalls the requests of a component from now on.
    pub fn weather(&self, component: &str, weather: Weather) {
        self.at(component, |place| *lock(&place.line.weather) = weather);
    }

    /// What befalls all requests from now on. With the default weather, what was told to die later lives on, too.
    pub fn calm(&self) {
        for place in self.places.values() {
            *lock(&place.line.weather) = Weather::default();
            *lock(&place.line.death) = None;
            place.up();
        }
    }

    /// Everything that ran on a node is gone; its agent dies, too.
    pub fn reboot(&self, node: &str) {
        if let Some(machine) = self.machines.get(node) {
            machine.reboot();
            self.kill(node);
        }
    }

    /// Ends one of the containers that run on a node, as if its program had failed.
    pub async fn fail_container(&self, node: &str, chance: &mut Chance) {
        if let Some(machine) = self.machines.get(node) {
            let choose = |count: usize| usize::try_from(chance.below(count as u64)).unwrap_or(0);
            machine.fail_container(choose).await;
        }
    }

    /// Waits until nobody has written anything for `quiet`, for at most `patience`. Signs of life do not count: Leases,
    /// events, and Nodes that only say when they were last well.
    ///
    /// # Errors
    /// It did not come to rest.
    pub async fn settle(&self, quiet: Duration, patience: Duration) -> Result<(), Restless> {
        let deadline = self.elapsed() + patience;
        loop {
            self.catch_up().await;
            let due = self.ledger().last_work + quiet;
            if due <= self.elapsed() {
                return Ok(());
            }
            if due > deadline {
                return Err(Restless(self.latest(12)));
            }
            sleep_until(self.began + due).await;
        }
    }

    /// Tells the invariants that the world is at rest.
    pub fn say_at_rest(&self) {
        let at = self.elapsed();
        self.ledger().tell(at, &Happening::AtRest);
    }

    /// Notes that something did not hold that no invariant of its own watches over.
    pub fn violate(&self, invariant: &'static str, what: String) {
        let at = self.elapsed();
        self.ledger().violate(invariant, at, what);
    }

    /// Looks at all that was written so far.
    pub fn look<T>(&self, look: impl FnOnce(&WriteLog) -> T) -> T {
        look(&self.ledger().log)
    }

    /// Whether an invariant did not hold already.
    pub fn is_broken(&self) -> bool {
        !self.ledger().violations.is_empty()
    }

    /// Waits until everything that was written is in the log.
    pub async fn catch_up(&self) {
        let Ok(status) = self.store.status().await else { return };
        let written = || self.ledger().log.writes().last().map_or(0, |write| write.revision);
        while written() < status.revision.0 {
            tokio::task::yield_now().await;
        }
    }

    /// When somebody last wrote something that is not a sign of life.
    pub fn last_work(&self) -> Duration {
        self.ledger().last_work
    }

    /// What components wrote last, one line each, without the Leases by which they say that they live.
    pub fn latest(&self, count: usize) -> Vec<String> {
        let ledger = self.ledger();
        let works = ledger.deeds.iter().rev().filter(|deed| !deed.path.contains("/leases/"));
        let mut latest: Vec<String> = works.take(count).map(ToString::to_string).collect();
        latest.reverse();
        latest
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    fn at(&self, component: &str, act: impl FnOnce(&Place)) {
        if let Some(place) = self.places.get(component) {
            act(place);
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("elapsed", &self.elapsed()).finish_non_exhaustive()
    }
}
