//! What lives in a world: its lives, each ended at any moment and followed by the next.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use orchestra_controllers::{Clock, Controller};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::chance::Chance;
use super::wire::Line;

/// How long a component that died is away at most, unless it is told to stay away.
const AWAY: Duration = Duration::from_secs(3);

/// The component that runs all controllers, but for those that live apart.
pub const CONTROLLERS: &str = "controllers";
/// The component that schedules.
pub const SCHEDULER: &str = "scheduler";

/// The component that runs a controller which [lives apart](super::WorldBuilder::apart): `controllers/Job`, say.
pub fn component_of(controller: Controller) -> String {
    format!("{CONTROLLERS}/{controller:?}")
}

/// What a component is given for one life.
#[derive(Clone)]
pub struct Life {
    /// Leads to the API server, over a line on which things get lost.
    pub client: Client,
    /// Chance of its own.
    pub seed: u64,
    pub(super) start: Timestamp,
    pub(super) began: Instant,
}

impl Life {
    /// The time of day in the world. It moves with tokio's clock.
    pub fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.began.elapsed()).unwrap_or(SignedDuration::MAX);
        self.start.saturating_add(passed).unwrap_or(Timestamp::MAX)
    }

    /// The same, as the controllers of this repository want it.
    pub fn clock(&self) -> Clock {
        let life = self.clone();
        Clock::new(move || life.now())
    }
}

impl std::fmt::Debug for Life {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Life").field("seed", &self.seed).finish_non_exhaustive()
    }
}

/// Begins a life; it goes on until the future is dropped.
pub(super) type Live = Arc<dyn Fn(Life) -> BoxFuture<'static, ()> + Send + Sync>;

/// A component before the world begins.
pub(super) struct Component {
    pub(super) name: Arc<str>,
    pub(super) live: Live,
}

impl Component {
    pub(super) fn new<F, L>(name: &str, live: L) -> Self
    where
        L: Fn(Life) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Self { name: name.into(), live: Arc::new(move |life| Box::pin(live(life))) }
    }
}

/// Whether a component should be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Up,
    Down,
}

/// Where a component lives.
pub(super) struct Place {
    pub(super) line: Arc<Line>,
    live: Live,
    wanted: watch::Sender<Wanted>,
    over: Mutex<CancellationToken>,
}

impl Place {
    pub(super) fn new(line: Arc<Line>, live: Live) -> Self {
        Self { line, live, wanted: watch::Sender::new(Wanted::Up), over: Mutex::default() }
    }

    fn over(&self) -> MutexGuard<'_, CancellationToken> {
        self.over.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the present life; the next begins in a moment.
    pub(super) fn kill(&self) {
        self.over().cancel();
    }

    /// Ends the present life and lets none follow.
    pub(super) fn down(&self) {
        self.wanted.send_replace(Wanted::Down);
        self.kill();
    }

    /// Lets lives follow again.
    pub(super) fn up(&self) {
        self.wanted.send_replace(Wanted::Up);
    }

    /// Lives for ever.
    pub(super) async fn run(&self, mut chance: Chance, start: Timestamp, began: Instant) {
        let mut wanted = self.wanted.subscribe();
        loop {
            // The sender is this place's own.
            let _ = wanted.wait_for(|wanted| *wanted == Wanted::Up).await;
            let over = CancellationToken::new();
            *self.over() = over.clone();
            let client = self.line.client(over.clone());
            let life = Life { client, seed: chance.draw(), start, began };
            tokio::select! {
                biased;
                () = over.cancelled() => {}
                () = (self.live)(life) => {}
            }
            // What it left running hears nothing any more.
            over.cancel();
            sleep(chance.span(AWAY) + Duration::from_millis(1)).await;
        }
    }
}
