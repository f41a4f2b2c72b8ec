//! Putting a world together, and running it.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use orchestra_apiserver::{ApiServer, RuntimeClock, User};
use orchestra_controllers::{Controller, Controllers};
use orchestra_runtime::clock::TokioClock;
use orchestra_scheduler::Scheduler;
use orchestra_store::{
    KeyRange, MemoryOptions, MemoryStore, Retention, Revision, Store, WatchBound, WatchMessage,
};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::chance::Chance;
use super::component::{Component, Life, Place};
use super::ledger::{Invariant, Ledger};
use super::node::Machine;
use super::running::{Outcome, World, lock};
use super::wire::{Line, Tamper, Weather};
use super::{CONTROLLERS, SCHEDULER, component_of};

/// When every world begins.
const BEGINNING: &str = "2026-01-01T00:00:00Z";

/// A world before it begins.
pub struct WorldBuilder {
    pub(super) seed: u64,
    pub(super) nodes: u8,
    pub(super) components: Vec<Component>,
    pub(super) weather: Weather,
    pub(super) tamper: Vec<Arc<dyn Tamper>>,
    pub(super) invariants: Vec<Box<dyn Invariant>>,
    pub(super) controllers: Option<Controllers>,
    pub(super) apart: BTreeSet<Controller>,
    pub(super) scheduler: Option<Scheduler>,
}

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
            apart: BTreeSet::new(),
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

    /// Runs each of these controllers as a component of its own, called as [`component_of`](super::component_of) says, so that
    /// it dies alone and sees everything at times of its own.
    #[must_use]
    pub fn apart(mut self, controllers: impl IntoIterator<Item = Controller>) -> Self {
        self.apart.extend(controllers);
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
            let rest = self.apart.iter().fold(controllers.clone(), |rest, one| rest.without(*one));
            components.push(managed(CONTROLLERS, rest));
            let one = |one: &Controller| managed(&component_of(*one), alone(&controllers, *one));
            components.extend(self.apart.iter().map(one));
        }
        components.extend(self.scheduler.map(scheduling));
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

/// `controllers` without all but `one`.
fn alone(controllers: &Controllers, one: Controller) -> Controllers {
    let others = Controller::ALL.iter().filter(|other| **other != one);
    others.fold(controllers.clone(), |left, other| left.without(*other))
}

fn managed(name: &str, controllers: Controllers) -> Component {
    Component::new(name, move |life: Life| {
        let controllers = controllers.clone().clock(life.clock());
        async move {
            let ended = controllers.run(life.client, CancellationToken::new()).await;
            tracing::warn!(?ended, "controllers ended");
        }
    })
}

fn scheduling(scheduler: Scheduler) -> Component {
    Component::new(SCHEDULER, move |life: Life| {
        let (client, seed) = (life.client.clone(), life.seed);
        let scheduler = scheduler.clone().seed(seed).clock(move || life.now());
        async move {
            let ended = scheduler.run(client, CancellationToken::new()).await;
            tracing::warn!(?ended, "the scheduler ended");
        }
    })
}

impl std::fmt::Debug for WorldBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorldBuilder")
            .field("seed", &self.seed)
            .field("nodes", &self.nodes)
            .finish_non_exhaustive()
    }
}
