//! StatefulSets keep their order.

use std::collections::BTreeMap;

use super::super::log::{Change, Object, WriteLog};
use super::super::{Happening, Invariant};
use super::{ByUid, Recent, has_ended, is_ready, named, pods_of, says};

/// An `OrderedReady` StatefulSet makes a pod only when all before it are ready, and deletes for a smaller size only the last.
#[derive(Debug, Default)]
pub struct Ordinals {
    /// Whether the pod of a name was there and ready.
    ready: BTreeMap<String, Recent<bool>>,
    sizes: ByUid<Recent<i64>>,
}

pub(super) fn ordinal(pod: &Object) -> Option<i64> {
    pod.name.rsplit_once('-')?.1.parse().ok()
}

impl Invariant for Ordinals {
    fn name(&self) -> &'static str {
        "StatefulSets keep their order"
    }

    fn look(&mut self, happening: &Happening, log: &WriteLog) -> Result<(), String> {
        let Happening::Changed(change) = happening else { return Ok(()) };
        if change.resource() == "statefulsets.apps" {
            if let Some(new) = &change.new {
                let size = new.number("/spec/replicas").unwrap_or(1);
                self.sizes.entry(new.uid().into()).or_default().set(change.at, size);
            }
            return Ok(());
        }
        if change.resource() != "pods" {
            return Ok(());
        }
        if let Some(pod) = change.object() {
            let is_ready = change.new.as_ref().is_some_and(is_ready);
            self.ready.entry(format!("{}/{}", pod.namespace, pod.name)).or_default().set(change.at, is_ready);
        }
        match (&change.old, &change.new) {
            (None, Some(pod)) => self.made(change, pod, log),
            (Some(old), Some(new)) if !old.is_going() && new.is_going() => self.told_to_go(change, new, log),
            _ => Ok(()),
        }
    }
}

fn ordered<'a>(pod: &Object, log: &'a WriteLog) -> Option<&'a Object> {
    let owner = pod.controller()?;
    let set = log.of("statefulsets.apps").find(|set| set.uid() == owner)?;
    (set.text("/spec/podManagementPolicy") == "OrderedReady" && !set.is_going()).then_some(set)
}

impl Ordinals {
    fn made(&mut self, change: &Change, pod: &Object, log: &WriteLog) -> Result<(), String> {
        let (Some(set), Some(number)) = (ordered(pod, log), ordinal(pod)) else { return Ok(()) };
        let first = set.number("/spec/ordinals/start").unwrap_or(0);
        for before in first..number {
            let name = format!("{}-{before}", set.name);
            let known = self.ready.get_mut(&format!("{}/{name}", set.namespace));
            if !known.is_some_and(|ready| ready.seen(change.at).any(|ready| *ready)) {
                return Err(format!("{} was made and {name} is not ready", named(pod)));
            }
        }
        Ok(())
    }

    fn told_to_go(&mut self, change: &Change, pod: &Object, log: &WriteLog) -> Result<(), String> {
        let (Some(set), Some(number)) = (ordered(pod, log), ordinal(pod)) else { return Ok(()) };
        let first = set.number("/spec/ordinals/start").unwrap_or(0);
        let sizes = self.sizes.get_mut(set.uid());
        let superfluous = sizes.is_some_and(|sizes| sizes.seen(change.at).all(|size| number >= first + size));
        // Somebody else than its controller takes it away: a user by eviction, or a taint.
        let is_disrupted = says(pod, "DisruptionTarget");
        if !superfluous || has_ended(pod) || is_disrupted {
            return Ok(());
        }
        let above = pods_of(log, set.uid()).find(|other| ordinal(other).is_some_and(|other| other > number));
        match above {
            None => Ok(()),
            Some(above) => Err(format!("{} was told to go before {}", named(pod), named(above))),
        }
    }
}
