//! The scheduler as a value: profiles and options, run against any Kubernetes API.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use tokio_util::sync::CancellationToken;

use crate::dispatcher::Dispatcher;
use crate::driver;
use crate::engine::{EngineKind, Explain, Explaining};
use crate::extender::Extender;
use crate::metrics::SchedulerMetrics;
use crate::plugin::{Filter, Normalise, Reserve, Score};
use crate::profile::Profile;
use crate::queue::BackoffOptions;
use crate::strategy::Strategy;

/// A scheduler, ready to run.
///
/// ```no_run
/// # async fn run(client: kube::Client) -> Result<(), orchestra_scheduler::Error> {
/// use orchestra_scheduler::Scheduler;
/// use tokio_util::sync::CancellationToken;
///
/// Scheduler::default().run(client, CancellationToken::new()).await
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Scheduler {
    profiles: Vec<Profile>,
    backoff: BackoffOptions,
    engine: EngineKind,
    seed: u64,
    parallel_bindings: usize,
    clock: Clock,
    metrics: SchedulerMetrics,
    explain: Option<Arc<dyn Explain>>,
}

/// What cannot be lived with while scheduling.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two profiles have the same scheduler name.
    #[error("two profiles are named {0:?}")]
    DuplicateProfile(String),
    /// A profile has plugins that cannot work together.
    #[error("profile {profile:?}: {problem}")]
    InvalidProfile {
        /// The profile.
        profile: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// Tells the time that is written into API objects.
#[derive(Clone)]
pub(crate) struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    pub(crate) fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Clock")
    }
}

impl Default for Scheduler {
    /// One profile, `default-scheduler`, with the default plugins of Kubernetes 1.36.
    fn default() -> Self {
        Self {
            profiles: vec![Profile::default()],
            backoff: BackoffOptions::default(),
            engine: EngineKind::default(),
            seed: 0,
            parallel_bindings: 32,
            clock: Clock(Arc::new(Timestamp::now)),
            metrics: SchedulerMetrics::default(),
            explain: None,
        }
    }
}

impl Scheduler {
    /// Adds a profile, or replaces the one of the same name.
    pub fn profile(mut self, profile: Profile) -> Self {
        match self.profiles.iter_mut().find(|other| other.name() == profile.name()) {
            Some(other) => *other = profile,
            None => self.profiles.push(profile),
        }
        self
    }

    /// Replaces all profiles.
    pub fn profiles(mut self, profiles: Vec<Profile>) -> Self {
        self.profiles = profiles;
        self
    }

    /// Adds a scorer to every profile there is. A weight of 0 counts as 1.
    pub fn score(self, plugin: impl Score, weight: u32) -> Self {
        let plugin = Arc::new(plugin);
        self.each(|profile| profile.score(plugin.clone(), weight))
    }

    /// Adds a scorer that normalises its scores to every profile there is. A weight of 0 counts as 1.
    pub fn score_normalised(self, plugin: impl Normalise, weight: u32) -> Self {
        let plugin = Arc::new(plugin);
        self.each(|profile| profile.score_normalised(plugin.clone(), weight))
    }

    /// Adds a filter to every profile there is.
    pub fn filter(self, plugin: impl Filter) -> Self {
        let plugin = Arc::new(plugin);
        self.each(|profile| profile.filter(plugin.clone()))
    }

    /// Adds an extender to every profile there is.
    pub fn extender(self, extender: impl Extender) -> Self {
        let extender: Arc<dyn Extender> = Arc::new(extender);
        self.each(|profile| profile.extender(extender.clone()))
    }

    /// How long pods pause between attempts.
    pub fn backoff(mut self, backoff: BackoffOptions) -> Self {
        self.backoff = backoff;
        self
    }

    /// Which engine decides; their answers are the same.
    pub fn engine(mut self, engine: EngineKind) -> Self {
        self.engine = engine;
        self
    }

    /// Where chance comes from.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// How many writes for decided pods may be under way at a time; no pod is decided on while that many are.
    pub fn parallel_bindings(mut self, limit: usize) -> Self {
        self.parallel_bindings = limit.max(1);
        self
    }

    /// What time is written into events and conditions; the machine's if nothing is said.
    pub fn clock(mut self, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        self.clock = Clock(Arc::new(clock));
        self
    }

    /// Counts into `metrics` what the scheduler does while it [runs](Self::run).
    ///
    /// ```
    /// use orchestra_scheduler::{Scheduler, SchedulerMetrics};
    /// use prometheus_client::registry::Registry;
    ///
    /// let (mut registry, metrics) = (Registry::default(), SchedulerMetrics::default());
    /// metrics.register(&mut registry);
    /// let scheduler = Scheduler::default().metrics(metrics);
    /// ```
    pub fn metrics(mut self, metrics: SchedulerMetrics) -> Self {
        self.metrics = metrics;
        self
    }

    /// Has a strategy place the pods of every profile there is, in batches; see [`Profile::strategy`].
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use orchestra_scheduler::view::{ClusterView, PodView};
    /// use orchestra_scheduler::{Placement, Scheduler, Strategy};
    ///
    /// /// Each pod on the first node with room.
    /// #[derive(Debug)]
    /// struct FirstFit;
    ///
    /// impl Strategy for FirstFit {
    ///     fn place(&self, cluster: &ClusterView, queue: &[Arc<PodView>]) -> Vec<Placement> {
    ///         let (mut fork, mut placements) = (cluster.clone(), Vec::new());
    ///         for pod in queue {
    ///             let room = fork.nodes().find(|node| node.has_room_for(pod)).map(|node| node.name().clone());
    ///             if let Some(node) = room {
    ///                 fork.place(pod.clone(), &node);
    ///                 placements.push(Placement::new(pod, &node));
    ///             }
    ///         }
    ///         placements
    ///     }
    /// }
    ///
    /// let scheduler = Scheduler::default().strategy("first-fit", Arc::new(FirstFit));
    /// ```
    pub fn strategy(self, name: &str, strategy: Arc<dyn Strategy>) -> Self {
        self.each(|profile| profile.strategy(name, strategy.clone()))
    }

    /// The least time between two questions to a strategy; a second if nothing is said.
    pub fn strategy_pause(self, pause: Duration) -> Self {
        self.each(|profile| profile.strategy_pause(pause))
    }

    /// Explains decisions to `listener`, live and in simulation alike: what each plugin says of each node.
    pub fn explain(mut self, listener: Arc<dyn Explain>) -> Self {
        self.explain = Some(listener);
        self
    }

    /// The scheduler without an API, for simulation and for tests.
    ///
    /// # Errors
    /// When the profiles contradict each other.
    pub fn dispatcher(&self) -> Result<Dispatcher, Error> {
        for (index, profile) in self.profiles.iter().enumerate() {
            if self.profiles.iter().skip(index + 1).any(|other| other.name() == profile.name()) {
                return Err(Error::DuplicateProfile(profile.name().to_string()));
            }
            profile.check()?;
        }
        let engine = self.engine.seeded(self.seed);
        let engine = match &self.explain {
            Some(listener) => Box::new(Explaining::new(engine, listener.clone())),
            None => engine,
        };
        Ok(Dispatcher::new(self.profiles.clone(), engine, self.backoff))
    }

    /// Schedules pods of the cluster behind `client` until `shutdown`.
    ///
    /// May be stopped and started again at any point: the API is the only state, and a pod that has a node is never
    /// bound again.
    ///
    /// # Errors
    /// When the profiles contradict each other. Trouble with the API is waited out.
    pub async fn run(self, client: Client, shutdown: CancellationToken) -> Result<(), Error> {
        let dispatcher = self.dispatcher()?;
        let run = driver::run(dispatcher, client, self.parallel_bindings, self.clock, self.metrics, shutdown);
        run.await;
        Ok(())
    }

    /// The plugin of this type that reserves, in the first profile that has one: for whoever wants to ask it something.
    #[must_use]
    pub fn reserver<P: Reserve>(&self) -> Option<&P> {
        let plugins = self.profiles.iter().flat_map(|profile| &profile.reserve);
        plugins.map(|plugin| &**plugin as &dyn Any).find_map(|plugin| plugin.downcast_ref())
    }

    #[cfg(test)]
    pub(crate) fn into_profiles(self) -> Vec<Profile> {
        self.profiles
    }

    fn each(mut self, change: impl Fn(Profile) -> Profile) -> Self {
        self.profiles = self.profiles.into_iter().map(change).collect();
        self
    }
}
