//! Conditions of a status: one entry for each type, with the time its status last changed.

use k8s_openapi::api::{apps, core};
use k8s_openapi::apimachinery::pkg::apis::meta::v1;

/// An entry of `status.conditions`. All kinds of conditions have these; most have more.
pub trait Condition {
    /// What it is about, such as `Ready`.
    fn type_(&self) -> &str;
    /// `True`, `False` or `Unknown`.
    fn status(&self) -> &str;
    /// Takes over when another entry of the type came to its status.
    fn keep_transition_time(&mut self, old: &Self);
}

impl Condition for v1::Condition {
    fn type_(&self) -> &str {
        &self.type_
    }

    fn status(&self) -> &str {
        &self.status
    }

    fn keep_transition_time(&mut self, old: &Self) {
        self.last_transition_time = old.last_transition_time.clone();
    }
}

macro_rules! condition {
    ($($type:ty),+ $(,)?) => {$(
        impl Condition for $type {
            fn type_(&self) -> &str {
                &self.type_
            }

            fn status(&self) -> &str {
                &self.status
            }

            fn keep_transition_time(&mut self, old: &Self) {
                self.last_transition_time.clone_from(&old.last_transition_time);
            }
        }
    )+};
}

condition!(
    core::v1::PodCondition,
    core::v1::NodeCondition,
    core::v1::NamespaceCondition,
    core::v1::PersistentVolumeClaimCondition,
    core::v1::ReplicationControllerCondition,
    apps::v1::DeploymentCondition,
    apps::v1::ReplicaSetCondition,
    apps::v1::StatefulSetCondition,
    apps::v1::DaemonSetCondition,
);

/// The entry of the type `type_`.
pub fn get<'c, C: Condition>(conditions: &'c [C], type_: &str) -> Option<&'c C> {
    conditions.iter().find(|condition| condition.type_() == type_)
}

/// Whether the entry of the type `type_` is there and says `True`.
pub fn is_true<C: Condition>(conditions: &[C], type_: &str) -> bool {
    get(conditions, type_).is_some_and(|condition| condition.status() == "True")
}

/// Puts `new` in the place of the entry of its type, or behind all others. If the status stays the same, so does the
/// time of its last change. Tells whether anything changed.
pub fn set<C: Condition + PartialEq>(conditions: &mut Vec<C>, mut new: C) -> bool {
    let Some(old) = conditions.iter_mut().find(|condition| condition.type_() == new.type_()) else {
        conditions.push(new);
        return true;
    };
    if old.status() == new.status() {
        new.keep_transition_time(old);
    }
    let changed = *old != new;
    *old = new;
    changed
}

/// Takes the entry of the type `type_` away. Tells whether there was one.
pub fn remove<C: Condition>(conditions: &mut Vec<C>, type_: &str) -> bool {
    let before = conditions.len();
    conditions.retain(|condition| condition.type_() != type_);
    conditions.len() != before
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(status: &str, reason: &str, at: i64) -> v1::Condition {
        v1::Condition {
            type_: "Ready".to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: String::new(),
            last_transition_time: v1::Time(jiff::Timestamp::from_second(at).unwrap()),
            observed_generation: None,
        }
    }

    #[test]
    fn the_time_of_change_stays_while_the_status_does() {
        let mut all = Vec::new();
        assert!(set(&mut all, condition("False", "Starting", 1)));
        assert!(!set(&mut all, condition("False", "Starting", 2)), "only the time differs");
        assert!(set(&mut all, condition("False", "Failing", 3)));
        assert_eq!(all, [condition("False", "Failing", 1)]);
        assert!(set(&mut all, condition("True", "Fine", 4)));
        assert_eq!(all, [condition("True", "Fine", 4)]);
        assert!(is_true(&all, "Ready") && !is_true(&all, "Other"));
        assert!(remove(&mut all, "Ready") && !remove(&mut all, "Ready"));
    }
}
