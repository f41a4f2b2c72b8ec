//! Strategies by name.

use std::fmt;
use std::sync::Arc;

use orchestra_scheduler::Scheduler;

use crate::policies;
use crate::run::Decider;
use crate::workload::Workload;

/// The name of Kubernetes' own scheduler, or of the one that a configuration describes.
pub const DEFAULT: &str = "default";

/// What a strategy is made for.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// What it will live through; some look at what is typical.
    pub workload: &'a Workload,
    /// Where its chance comes from.
    pub seed: u64,
}

/// Makes the deciders of one strategy, a fresh one for each run.
#[derive(Clone)]
pub struct Named {
    name: String,
    make: Arc<dyn Fn(Context<'_>) -> Decider + Send + Sync>,
}

impl fmt::Debug for Named {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Named").field(&self.name).finish()
    }
}

impl Named {
    /// A strategy of this name.
    ///
    /// ```
    /// use orchestra_lab::run::Decider;
    /// use orchestra_lab::strategy::Named;
    /// use orchestra_scheduler::{Profile, Scheduler};
    ///
    /// let mine = Named::new("mine", |context| {
    ///     let scheduler = Scheduler::default().profiles(vec![Profile::default()]).seed(context.seed);
    ///     Decider::Scheduler(Box::new(scheduler))
    /// });
    /// assert_eq!(mine.name(), "mine");
    /// ```
    pub fn new(name: &str, make: impl Fn(Context<'_>) -> Decider + Send + Sync + 'static) -> Self {
        Self { name: name.to_owned(), make: Arc::new(make) }
    }

    /// The scheduler as it is, under the name [`DEFAULT`].
    #[must_use]
    pub fn scheduler(scheduler: Scheduler) -> Self {
        Self::new(DEFAULT, move |context| Decider::Scheduler(Box::new(scheduler.clone().seed(context.seed))))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A decider for one run.
    #[must_use]
    pub fn decider(&self, context: Context<'_>) -> Decider {
        (self.make)(context)
    }
}

/// The strategies there are, all [`policies`] among them, `scheduler` being the one named [`DEFAULT`].
#[must_use]
pub fn known(scheduler: Scheduler) -> Vec<Named> {
    std::iter::once(Named::scheduler(scheduler)).chain(policies::all()).collect()
}
