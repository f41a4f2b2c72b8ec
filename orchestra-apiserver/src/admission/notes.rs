//! What rules say beside yes and no.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

/// Annotations of the audit event of a request: an extension of its response, for whoever writes the audit log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AuditAnnotations(pub(crate) BTreeMap<String, String>);

/// Collected over one request, all its tries together. Clones are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes(Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
struct Noted {
    warnings: Vec<String>,
    annotations: BTreeMap<String, String>,
}

impl Notes {
    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever asked is told this, once.
    pub(crate) fn warn(&self, text: impl Into<String>) {
        let text = text.into();
        let mut noted = self.noted();
        if !noted.warnings.contains(&text) {
            noted.warnings.push(text);
        }
    }

    /// The audit event says this; what was said first stays.
    pub(crate) fn annotate(&self, key: impl Into<String>, value: impl Into<String>) {
        self.noted().annotations.entry(key.into()).or_insert(value.into());
    }

    pub(crate) fn take(&self) -> (Vec<String>, AuditAnnotations) {
        let Noted { warnings, annotations } = std::mem::take(&mut *self.noted());
        (warnings, AuditAnnotations(annotations))
    }
}

/// Whose changes are minded apart from others'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// Policies that change.
    Policies,
    /// Webhooks that change.
    Webhooks,
}

/// How often the rules that change an object have been asked about it, and whether they are to be asked again.
///
/// Once, usually. A policy or a webhook that changes an object makes a second round necessary: the built-in rules then see what
/// it did, and so do those that were asked before it and want to be asked again (`reinvocationPolicy: IfNeeded`).
#[derive(Debug, Default)]
pub(crate) struct Rounds(Mutex<Round>);

#[derive(Debug, Default)]
struct Round {
    is_second: bool,
    wants_second: bool,
    lanes: BTreeMap<Lane, Asked>,
}

#[derive(Debug, Default)]
struct Asked {
    /// By what each was asked already that may want to be asked again, and whether it is to be.
    asked: BTreeSet<String>,
    again: BTreeSet<String>,
    /// The object as those of the lane left it.
    left: Option<Value>,
}

impl Rounds {
    fn round(&self) -> MutexGuard<'_, Round> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins the second round if there is to be one.
    pub(crate) fn begin_second(&self) -> bool {
        let mut round = self.round();
        let begins = round.wants_second && !round.is_second;
        round.is_second |= begins;
        begins
    }

    /// The rounds as policies, or webhooks, see them.
    pub(crate) fn lane(&self, lane: Lane) -> LaneRounds<'_> {
        LaneRounds { rounds: self, lane }
    }
}

/// The rounds of one lane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LaneRounds<'r> {
    rounds: &'r Rounds,
    lane: Lane,
}

impl LaneRounds<'_> {
    fn with<T>(&self, then: impl FnOnce(&mut Asked) -> T) -> T {
        then(self.rounds.round().lanes.entry(self.lane).or_default())
    }

    /// Whether this is the second round.
    pub(crate) fn is_second(&self) -> bool {
        self.rounds.round().is_second
    }

    /// Whether `who` is to be asked in this round: everybody in the first, in the second those that somebody's
    /// change came after.
    pub(crate) fn is_due(&self, who: &str) -> bool {
        !self.is_second() || self.with(|lane| lane.again.contains(who))
    }

    /// The object was changed: all rules are asked once more, those that were remembered among them.
    pub(crate) fn changed(&self) {
        self.with(|lane| {
            let asked = std::mem::take(&mut lane.asked);
            lane.again.extend(asked);
        });
        self.rounds.round().wants_second = true;
    }

    /// The object as it comes here: if somebody changed it since [`Self::keep`], that counts as a change.
    pub(crate) fn compare(&self, object: &Value) {
        let differs = self.with(|lane| lane.left.as_ref().is_some_and(|left| left != object));
        if differs {
            self.changed();
        }
    }

    /// The object as it is left here. Without another round nobody compares with it.
    pub(crate) fn keep(&self, object: &Value) {
        let left = (!self.is_second()).then(|| object.clone());
        self.with(|lane| lane.left = left);
    }

    /// `who` was asked and wants to be asked again when something changes after it.
    pub(crate) fn remember(&self, who: impl Into<String>) {
        let who = who.into();
        self.with(|lane| lane.asked.insert(who));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_asked_before_a_change_is_asked_again_and_only_once() {
        let all = Rounds::default();
        let rounds = all.lane(Lane::Webhooks);
        rounds.remember("early");
        rounds.changed();
        rounds.remember("late");
        assert!(all.begin_second());
        assert!(rounds.is_due("early") && !rounds.is_due("late"));
        rounds.changed();
        assert!(!all.begin_second());
    }

    #[test]
    fn policies_are_asked_again_when_a_webhook_changed_what_they_left() {
        let all = Rounds::default();
        let (policies, webhooks) = (all.lane(Lane::Policies), all.lane(Lane::Webhooks));
        policies.remember("policy");
        policies.keep(&Value::from(1));
        webhooks.changed();
        assert!(all.begin_second());
        assert!(!policies.is_due("policy"));
        policies.compare(&Value::from(1));
        assert!(!policies.is_due("policy"));
        policies.compare(&Value::from(2));
        assert!(policies.is_due("policy") && !webhooks.is_due("policy"));
    }

    #[test]
    fn without_a_change_there_is_one_round() {
        let rounds = Rounds::default();
        rounds.lane(Lane::Webhooks).remember("early");
        assert!(!rounds.begin_second() && !rounds.lane(Lane::Webhooks).is_second());
    }

    #[test]
    fn a_warning_is_given_once() {
        let notes = Notes::default();
        notes.warn("a");
        notes.warn("b");
        notes.warn("a");
        assert_eq!(notes.take().0, ["a", "b"]);
    }
}
