//! What the queue counts as it goes, for whoever shows it: a few numbers, added up where pods move anyway.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Place;

/// Why a pod comes into a queue, where that is not an event of the cluster, in upstream's words.
pub(super) const ATTEMPT_FAILED: &str = "ScheduleAttemptFailure";
pub(super) const BACKOFF_OVER: &str = "BackoffComplete";
pub(super) const TAKEN_EARLY: &str = "PopFromBackoffQ";
pub(super) const ACTIVATED: &str = "ForceActivate";
pub(super) const TIMED_OUT: &str = "UnschedulableTimeout";
pub(super) const POD_ADDED: &str = "UnschedulablePodAdd";
pub(super) const POD_UPDATED: &str = "UnschedulablePodUpdate";

/// Counts of a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many pods came into each queue, and why.
    pub incoming: BTreeMap<(&'static str, &'static str), u64>,
    /// How many pods each plugin of each profile rejected the last time they were tried.
    pub rejected: BTreeMap<(String, Arc<str>), usize>,
}

impl Tally {
    pub(super) fn came(&mut self, place: Place, why: &'static str) {
        let queue = match place {
            Place::Active | Place::Batched => "active",
            Place::Backoff | Place::ErrorBackoff => "backoff",
            Place::Unschedulable => "unschedulable",
            Place::Gated => "gated",
            Place::InFlight => return,
        };
        *self.incoming.entry((queue, why)).or_default() += 1;
    }

    pub(super) fn rejected(&mut self, plugins: &BTreeSet<String>, profile: &Arc<str>) {
        for plugin in plugins.iter().filter(|plugin| !plugin.is_empty()) {
            *self.rejected.entry((plugin.clone(), profile.clone())).or_default() += 1;
        }
    }

    pub(super) fn forgiven(&mut self, plugins: &BTreeSet<String>, profile: &Arc<str>) {
        for plugin in plugins.iter().filter(|plugin| !plugin.is_empty()) {
            if let Some(count) = self.rejected.get_mut(&(plugin.clone(), profile.clone())) {
                *count = count.saturating_sub(1);
            }
        }
    }
}
