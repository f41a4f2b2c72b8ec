//! What happens in a world is taken down here, and looked at by the invariants as it happens.

use std::time::Duration;

use orchestra_store::Event;

use super::log::{Change, Object, WriteLog};
use super::wire::Deed;

/// Something that happened, as invariants are told of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Happening {
    /// An object was written. The log already holds it.
    Changed(Change),
    /// A component's write came through. The change it made may be told just before or just after.
    Done(Deed),
    /// The world came to rest: everything runs, nothing is refused, and nobody has written for a while.
    AtRest,
}

/// What must hold in every world.
///
/// **Contract.** It is told of everything in the order in which it happened, and may look at all that stands. What it says
/// must follow from that alone, or a seed would not replay. An error is what is wrong, in words.
///
/// **Implementing.**
/// ```
/// use orchestra::world::{Happening, Invariant, WriteLog};
///
/// /// No config map is called `forbidden`.
/// struct NothingForbidden;
///
/// impl Invariant for NothingForbidden {
///     fn name(&self) -> &'static str {
///         "nothing forbidden"
///     }
///
///     fn look(&mut self, _: &Happening, log: &WriteLog) -> Result<(), String> {
///         match log.of("configmaps").find(|map| &*map.name == "forbidden") {
///             None => Ok(()),
///             Some(map) => Err(format!("there is one in {:?}", map.namespace)),
///         }
///     }
/// }
/// ```
pub trait Invariant: Send + 'static {
    /// Its name, for reports.
    fn name(&self) -> &'static str;

    /// Looks at what happened.
    ///
    /// # Errors
    /// What is wrong, in words.
    fn look(&mut self, happening: &Happening, log: &WriteLog) -> Result<(), String>;
}

/// An invariant that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: &'static str,
    /// When, since the world began.
    pub at: Duration,
    /// What is wrong.
    pub what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:>9.3}s {}: {}", self.at.as_secs_f64(), self.invariant, self.what)
    }
}

/// At most so many violations are kept: the first says what went wrong, the rest is noise.
const KEPT: usize = 8;

/// All that is known of a world.
pub(super) struct Ledger {
    pub(super) log: WriteLog,
    pub(super) deeds: Vec<Deed>,
    pub(super) violations: Vec<Violation>,
    invariants: Vec<Box<dyn Invariant>>,
    /// When something was last written that is not a sign of life.
    pub(super) last_work: Duration,
}

impl Ledger {
    pub(super) fn new(invariants: Vec<Box<dyn Invariant>>) -> Self {
        Self {
            log: WriteLog::default(),
            deeds: Vec::new(),
            violations: Vec::new(),
            invariants,
            last_work: Duration::ZERO,
        }
    }

    pub(super) fn event(&mut self, at: Duration, event: &Event) {
        let Some(change) = self.log.take(at, event) else { return };
        if !is_sign_of_life(&change) {
            self.last_work = at;
        }
        self.tell(at, &Happening::Changed(change));
    }

    pub(super) fn deed(&mut self, deed: Deed) {
        self.deeds.push(deed.clone());
        self.tell(deed.at, &Happening::Done(deed));
    }

    pub(super) fn tell(&mut self, at: Duration, happening: &Happening) {
        for invariant in &mut self.invariants {
            if let Err(what) = invariant.look(happening, &self.log)
                && self.violations.len() < KEPT
            {
                self.violations.push(Violation { invariant: invariant.name(), at, what });
            }
        }
    }

    pub(super) fn violate(&mut self, invariant: &'static str, at: Duration, what: String) {
        self.violations.push(Violation { invariant, at, what });
    }
}

/// Whether somebody only says that it lives: a Lease, or a Node of which nothing but the times of its conditions changed.
pub(super) fn is_sign_of_life(change: &Change) -> bool {
    match (&change.old, &change.new, change.resource()) {
        (_, _, "leases.coordination.k8s.io") => true,
        (Some(old), Some(new), "nodes") => without_times(old) == without_times(new),
        _ => false,
    }
}

fn without_times(node: &Object) -> serde_json::Value {
    let mut value = (*node.value).clone();
    if let Some(metadata) = value.pointer_mut("/metadata").and_then(|it| it.as_object_mut()) {
        metadata.remove("managedFields");
    }
    let conditions = value.pointer_mut("/status/conditions").and_then(|it| it.as_array_mut());
    for condition in conditions.into_iter().flatten() {
        if let Some(fields) = condition.as_object_mut() {
            fields.remove("lastHeartbeatTime");
        }
    }
    value
}
