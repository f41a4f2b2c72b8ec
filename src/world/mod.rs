//! A deterministic test world: a whole cluster in virtual time that replays byte for byte from one seed.
//!
//! A [`World`] has a store in memory, the API server, all controllers, the scheduler and simulated nodes in one thread, on
//! tokio's paused clock: minutes pass in milliseconds. Controllers of your own join as [components](WorldBuilder::component).
//! Every component reaches the API server over a line of its own on which requests and watches are late, get lost and
//! break, as the [`Weather`] has it; and it can be killed between any two of its writes. The log of all writes is the
//! witness: two runs of a seed write the same bytes at the same times.
//!
//! ```
//! use k8s_openapi::api::core::v1::ConfigMap;
//! use kube::Api;
//! use orchestra::world::World;
//!
//! let run = || {
//!     World::seeded(7).nodes(1).run(async |world| {
//!         let maps: Api<ConfigMap> = Api::default_namespaced(world.client());
//!         let map = serde_json::from_value(serde_json::json!({"metadata": {"generateName": "m-"}})).unwrap();
//!         maps.create(&Default::default(), &map).await.unwrap().metadata.name
//!     })
//! };
//! let (first, second) = (run(), run());
//! assert_eq!(first.value, second.value);
//! assert_eq!(first.witness(), second.witness());
//! ```
//!
//! Invariant: nothing in a world asks the machine for time or chance. What would: threads, `spawn_blocking`, a
//! `select!` without `biased`, the order of a `HashMap`, a static counter. Controllers of your own have to keep to that too.

mod chance;
mod component;
pub mod invariant;
mod ledger;
mod log;
mod node;
pub mod storm;
mod wire;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use kube::Client;
use orchestra_apiserver::{ApiServer, RuntimeClock, User};
use orchestra_controllers::Controllers;
use orchestra_runtime::clock::TokioClock;
use orchestra_scheduler::Scheduler;
use orchestra_store::{
    KeyRange, MemoryOptions, MemoryStore, Retention, Revision, Store, WatchBound, WatchMessage,
};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

pub use chance::Chance;
pub use component::Life;
pub use ledger::{Happening, Invariant, Violation};
pub use log::{Change, Object, Write, WriteLog};
pub use wire::{Death, Deed, Tamper, Tampered, Weather};

use component::{Component, Place};
use ledger::Ledger;
use node::Machine;
use wire::Line;

/// The component that runs all controllers.
pub const CONTROLLERS: &str = "controllers";
/// The component that schedules.
pub const SCHEDULER: &str = "scheduler";
/// When every world begins.
const BEGINNING: &str = "2026-01-01T00:00:00Z";

/// A world before it begins.
pub struct WorldBuilder {
    seed: u64,
    nodes: u8,
    components: Vec<Component>,
    weather: Weather,
    tamper: Vec<Arc<dyn Tamper>>,
    invariants: Vec<Box<dyn Invariant>>,
    controllers: Option<Controllers>,
    scheduler: Option<Scheduler>,
}

/// A world while it runs.
pub struct World {
    server: ApiServer,
    ledger: Arc<Mutex<Ledger>>,
    places: BTreeMap<Arc<str>, Arc<Place>>,
    machines: BTreeMap<String, Arc<Machine>>,
    store: MemoryStore,
    began: Instant,
    start: Timestamp,
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
    /// A world in which everything that is left to chance follows from `seed`.
    pub fn seeded(seed: u64) -> WorldBuilder {
        WorldBuilder {
            seed,
            nodes: 3,
            components: Vec::new(),
            weather: Weather::default(),
            tamper: Vec::new(),
            invariants: Vec::new(),
            controllers: Some(Controllers::all()),
            scheduler: Some(Scheduler::default()),
        }
    }
}

impl WorldBuilder {
    /// So many nodes, called `node-1` and so on; at most 100. Three unless told otherwise.
    #[must_use]
    pub fn nodes(mut self, count: u8) -> Self {
        self.nodes = count.min(100);
        self
    }

    /// Runs these controllers instead of all.
    #[must_use]
    pub fn controllers(mut self, controllers: Controllers) -> Self {
        self.controllers = Some(controllers);
        self
    }

    /// Runs none of this repository's controllers.
    #[must_use]
    pub fn without_controllers(mut self) -> Self {
        self.controllers = None;
        self
    }

    /// Runs this scheduler instead of the default one.
    #[must_use]
    pub fn scheduler(mut self, scheduler: Scheduler) -> Self {
        self.scheduler = Some(scheduler);
        self
    }

    /// Runs no scheduler.
    #[must_use]
    pub fn without_scheduler(mut self) -> Self {
        self.scheduler = None;
        self
    }

    /// Adds a component: `live` begins one of its lives, which goes on until the future is dropped. One that ends by
    /// itself is begun again.
    #[must_use]
    pub fn component<F, L>(mut self, name: &str, live: L) -> Self
    where
        L: Fn(Life) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        self.components.push(Component::new(name, live));
        self
    }

    /// What befalls the components' requests from the beginning.
    #[must_use]
    pub fn weather(mut self, weather: Weather) -> Self {
        self.weather = weather;
        self
    }

    /// Lets `tamper` at the requests of components, before the weather.
    #[must_use]
    pub fn tamper(mut self, tamper: impl Tamper) -> Self {
        self.tamper.push(Arc::new(tamper));
        self
    }

    /// Watches over the world for what must hold in it.
    #[must_use]
    pub fn invariant(mut self, invariant: impl Invariant) -> Self {
        self.invariants.push(Box::new(invariant));
        self
    }

    /// Runs the world for as long as `story` goes on. Not from inside a runtime: a world brings its own.
    ///
    /// # Panics
    /// When called from inside a runtime, or when the API server cannot be started.
    pub fn run<T>(self, story: impl AsyncFnOnce(&World) -> T) -> Outcome<T> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime of one thread needs nothing from the machine but memory");
        // What kube draws the chance in its pauses from is the thread's.
        fastrand::seed(Chance::of(self.seed, "kube").draw());
        runtime.block_on(self.live(story))
    }

    async fn live<T>(self, story: impl AsyncFnOnce(&World) -> T) -> Outcome<T> {
        let (began, start) = (Instant::now(), BEGINNING.parse().expect("it is a time"));
        // Whoever keeps the witness misses nothing.
        let bound = WatchBound::new().events(usize::MAX).bytes(usize::MAX);
        let retention = Retention::new().changes(1 << 16);
        let store = MemoryStore::with_options(MemoryOptions::new().watch_bound(bound).retention(retention));
        let ledger = Arc::new(Mutex::new(Ledger::new(self.invariants)));
        let mut tasks = JoinSet::new();
        let mut events =
            store.watch(KeyRange::all(), Revision(1)).await.expect("a store in memory can be watched");
        let keeper = ledger.clone();
        tasks.spawn(async move {
            while let Some(Ok(message)) = events.next().await {
                if let WatchMessage::Events { events, .. } = message {
                    let mut ledger = lock(&keeper);
                    events.iter().for_each(|event| ledger.event(began.elapsed(), event));
                }
            }
        });
        let server = ApiServer::builder(Arc::new(store.clone()))
            .clock(RuntimeClock::starting_at(start))
            .seed(Chance::of(self.seed, "server").draw())
            .taint_new_nodes(self.controllers.is_some())
            .build()
            .await
            .expect("a server over a store in memory starts");
        let clock = TokioClock::starting_at(start);
        let machines: Vec<_> = (1..=self.nodes).map(|number| Arc::new(Machine::new(number, clock))).collect();
        let mut components = self.components;
        if let Some(controllers) = self.controllers {
            components.push(Component::new(CONTROLLERS, move |life: Life| {
                let controllers = controllers.clone().clock(life.clock());
                async move {
                    let ended = controllers.run(life.client, CancellationToken::new()).await;
                    tracing::warn!(?ended, "the controllers ended");
                }
            }));
        }
        if let Some(scheduler) = self.scheduler {
            components.push(Component::new(SCHEDULER, move |life: Life| {
                let (client, seed) = (life.client.clone(), life.seed);
                let scheduler = scheduler.clone().seed(seed).clock(move || life.now());
                async move {
                    let ended = scheduler.run(client, CancellationToken::new()).await;
                    tracing::warn!(?ended, "the scheduler ended");
                }
            }));
        }
        let users =
            components.iter().map(|_| User::admin()).chain(machines.iter().map(|m| User::node(m.name())));
        let users: Vec<User> = users.collect();
        components.extend(machines.iter().map(|machine| {
            let (name, machine) = (machine.name().to_owned(), machine.clone());
            Component::new(&name, move |life| {
                let machine = machine.clone();
                async move { machine.live(life).await }
            })
        }));
        let mut places = BTreeMap::new();
        for (component, user) in components.into_iter().zip(users) {
            let line = Arc::new(Line {
                component: component.name.clone(),
                server: server.clone(),
                user,
                chance: Mutex::new(Chance::of(self.seed, &format!("line of {}", component.name))),
                weather: Mutex::new(self.weather.clone()),
                death: Mutex::default(),
                watches: Mutex::default(),
                tamper: self.tamper.clone(),
                ledger: ledger.clone(),
                began,
            });
            let place = Arc::new(Place::new(line, component.live));
            let chance = Chance::of(self.seed, &format!("lives of {}", component.name));
            let lived = place.clone();
            tasks.spawn(async move { lived.run(chance, start, began).await });
            places.insert(component.name, place);
        }
        let machines = machines.into_iter().map(|machine| (machine.name().to_owned(), machine)).collect();
        let world = World { server, ledger, places, machines, store, began, start };
        let value = story(&world).await;
        world.catch_up().await;
        tasks.shutdown().await;
        let mut ledger = lock(&world.ledger);
        let ledger = std::mem::replace(&mut *ledger, Ledger::new(Vec::new()));
        Outcome { value, log: ledger.log, deeds: ledger.deeds, violations: ledger.violations }
    }
}

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

    /// What components wrote last, one line each.
    pub fn latest(&self, count: usize) -> Vec<String> {
        let ledger = self.ledger();
        let from = ledger.deeds.len().saturating_sub(count);
        ledger.deeds.iter().skip(from).map(ToString::to_string).collect()
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for WorldBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorldBuilder")
            .field("seed", &self.seed)
            .field("nodes", &self.nodes)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("elapsed", &self.elapsed()).finish_non_exhaustive()
    }
}
