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
    /// By what each was asked already that may want to be asked again, and whether it is to be.
    asked: BTreeSet<String>,
    again: BTreeSet<String>,
    /// The object as the webhooks left it.
    left: Option<Value>,
}

impl Rounds {
    fn round(&self) -> MutexGuard<'_, Round> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this is the second round.
    pub(crate) fn is_second(&self) -> bool {
        self.round().is_second
    }

    /// Begins the second round if there is to be one.
    pub(crate) fn begin_second(&self) -> bool {
        let mut round = self.round();
        let begins = round.wants_second && !round.is_second;
        round.is_second |= begins;
        begins
    }

    /// Whether `who` is to be asked in this round: everybody in the first, in the second those that somebody's
    /// change came after.
    pub(crate) fn is_due(&self, who: &str) -> bool {
        let round = self.round();
        !round.is_second || round.again.contains(who)
    }

    /// The object was changed: all rules are asked once more, those that were remembered among them.
    pub(crate) fn changed(&self) {
        let mut round = self.round();
        let asked = std::mem::take(&mut round.asked);
        round.again.extend(asked);
        round.wants_second = true;
    }

    /// The object as it comes to the webhooks: if somebody changed it since [`Self::keep`], that counts as a change.
    pub(crate) fn compare(&self, object: &Value) {
        let differs = self.round().left.as_ref().is_some_and(|left| left != object);
        if differs {
            self.changed();
        }
    }

    /// The object as the webhooks leave it, if there is another round to come.
    pub(crate) fn keep(&self, object: &Value) {
        let mut round = self.round();
        round.left = (!round.is_second && round.wants_second).then(|| object.clone());
    }

    /// `who` was asked and wants to be asked again when something changes after it.
    pub(crate) fn remember(&self, who: impl Into<String>) {
        self.round().asked.insert(who.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_asked_before_a_change_is_asked_again_and_only_once() {
        let rounds = Rounds::default();
        rounds.remember("early");
        rounds.changed();
        rounds.remember("late");
        assert!(rounds.begin_second());
        assert!(rounds.is_due("early") && !rounds.is_due("late"));
        rounds.changed();
        assert!(!rounds.begin_second());
    }

    #[test]
    fn without_a_change_there_is_one_round() {
        let rounds = Rounds::default();
        rounds.remember("early");
        assert!(!rounds.begin_second() && !rounds.is_second());
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
