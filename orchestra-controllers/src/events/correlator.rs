//! Which events are written, counted, combined or held back: the pure part, with upstream's numbers
//! (`client-go/tools/record`, `EventCorrelator`).
//!
//! An event that says the same as one before is counted. Of events that differ in their message alone, the tenth within ten
//! minutes and those after it become one that is counted. And one component may write 25 events about one object at once,
//! and one more every five minutes.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use tokio::time::Instant;

use super::Mood;

/// More than this is not remembered of anything.
const REMEMBERED: usize = 4096;
const BURST: u32 = 25;
const REFILL: Duration = Duration::from_secs(300);
/// As many different messages stand by themselves, less one.
const SIMILAR: usize = 10;
/// For so long after the last of them events are similar.
const WINDOW: Duration = Duration::from_secs(600);

/// What somebody tells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told<'a> {
    pub(super) component: &'a str,
    pub(super) about: &'a ObjectReference,
    pub(super) mood: Mood,
    pub(super) reason: &'a str,
    pub(super) message: &'a str,
}

/// What becomes of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// There were too many about its object.
    Held,
    /// It is written.
    New,
    /// The event of this name counts it.
    Counted { name: String, count: i32 },
}

/// What becomes of an event, and how it is worded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) fate: Fate,
    pub(super) message: String,
    /// What events must agree in to be counted as one.
    pub(super) same: Same,
}

/// Who told of what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Source {
    component: String,
    /// API version, kind, namespace, name and uid.
    about: [Option<String>; 5],
}

/// Events that differ in their message alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Group {
    source: Source,
    mood: Mood,
    reason: String,
}

/// Events that are one, counted: with a message, or combined.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Same {
    group: Group,
    message: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct Correlator {
    groups: HashMap<Group, Similar>,
    counted: HashMap<Same, Counted>,
    allowances: HashMap<Source, Allowance>,
    /// The youngest moment it was asked at.
    now: Option<Instant>,
}

#[derive(Debug)]
struct Similar {
    messages: HashSet<String>,
    last: Instant,
}

#[derive(Debug)]
struct Counted {
    name: Option<String>,
    count: i32,
    at: Instant,
}

#[derive(Debug)]
struct Allowance {
    tokens: u32,
    filled: Instant,
}

impl Correlator {
    /// What becomes of an event that is told now.
    pub(super) fn judge(&mut self, told: &Told<'_>, now: Instant) -> Verdict {
        self.now = Some(now);
        self.make_room(now);
        let about = told.about;
        let source = Source {
            component: told.component.to_owned(),
            about: [&about.api_version, &about.kind, &about.namespace, &about.name, &about.uid]
                .map(Clone::clone),
        };
        let group = Group { source: source.clone(), mood: told.mood, reason: told.reason.to_owned() };
        let is_combined = self.is_one_of_many(&group, told.message, now);
        let (message, key) = if is_combined {
            (format!("(combined from similar events): {}", told.message), None)
        } else {
            (told.message.to_owned(), Some(told.message.to_owned()))
        };
        let same = Same { group, message: key };
        let counted = self.counted.entry(same.clone()).or_insert(Counted { name: None, count: 0, at: now });
        counted.count = counted.count.saturating_add(1);
        counted.at = now;
        let fate = match (&counted.name, counted.count) {
            (Some(name), count) => Fate::Counted { name: name.clone(), count },
            (None, _) => Fate::New,
        };
        // What is held back is counted all the same.
        let fate = if self.is_allowed(source, now) { fate } else { Fate::Held };
        Verdict { fate, message, same }
    }

    /// The event was written under this name; what says the same is counted there.
    pub(super) fn written(&mut self, same: Same, name: String) {
        if let Some(at) = self.now {
            self.counted.insert(same, Counted { name: Some(name), count: 1, at });
        }
    }

    fn is_one_of_many(&mut self, group: &Group, message: &str, now: Instant) -> bool {
        let fresh = || Similar { messages: HashSet::new(), last: now };
        let similar = self.groups.entry(group.clone()).or_insert_with(fresh);
        if now - similar.last > WINDOW {
            *similar = fresh();
        }
        similar.last = now;
        if similar.messages.len() < SIMILAR {
            similar.messages.insert(message.to_owned());
        }
        similar.messages.len() >= SIMILAR
    }

    fn is_allowed(&mut self, source: Source, now: Instant) -> bool {
        let allowance = self.allowances.entry(source).or_insert(Allowance { tokens: BURST, filled: now });
        let earned = (now - allowance.filled).as_secs() / REFILL.as_secs();
        let earned = u32::try_from(earned).unwrap_or(BURST).min(BURST);
        if earned > 0 {
            allowance.tokens = allowance.tokens.saturating_add(earned).min(BURST);
            // What is left of a period counts towards the next.
            allowance.filled =
                if allowance.tokens == BURST { now } else { allowance.filled + REFILL * earned };
        }
        let is_allowed = allowance.tokens > 0;
        if allowance.tokens == BURST {
            allowance.filled = now;
        }
        allowance.tokens = allowance.tokens.saturating_sub(1);
        is_allowed
    }

    /// Forgets what no longer matters, and all if that is not enough.
    fn make_room(&mut self, now: Instant) {
        fn keep<K, V>(held: &mut HashMap<K, V>, matters: impl Fn(&V) -> bool) {
            if held.len() >= REMEMBERED {
                held.retain(|_, value| matters(value));
            }
            if held.len() >= REMEMBERED {
                held.clear();
            }
        }
        keep(&mut self.groups, |similar| now - similar.last <= WINDOW);
        keep(&mut self.counted, |counted| now - counted.at <= WINDOW);
        keep(&mut self.allowances, |allowance| now - allowance.filled < REFILL * BURST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Listener {
        correlator: Correlator,
        now: Instant,
    }

    impl Listener {
        fn new() -> Self {
            Self { correlator: Correlator::default(), now: Instant::now() }
        }

        /// What becomes of it, in words; what is new is written under its message.
        fn tell(&mut self, name: &str, message: &str) -> String {
            let about = ObjectReference { name: Some(name.into()), ..ObjectReference::default() };
            let told = Told { component: "c", about: &about, mood: Mood::Normal, reason: "R", message };
            let verdict = self.correlator.judge(&told, self.now);
            match verdict.fate {
                Fate::Held => "held".into(),
                Fate::New => {
                    self.correlator.written(verdict.same, verdict.message.clone());
                    verdict.message
                }
                Fate::Counted { name, count } => format!("{count} of {name}, now {}", verdict.message),
            }
        }
    }

    #[test]
    fn what_says_the_same_is_counted() {
        let mut listener = Listener::new();
        assert_eq!(listener.tell("a", "x"), "x");
        assert_eq!(listener.tell("a", "x"), "2 of x, now x");
        assert_eq!(listener.tell("a", "y"), "y");
        assert_eq!(listener.tell("b", "x"), "x");
        assert_eq!(listener.tell("a", "x"), "3 of x, now x");
    }

    #[test]
    fn the_tenth_of_similar_ones_and_those_after_it_are_combined() {
        let mut listener = Listener::new();
        for n in 1..10 {
            assert_eq!(listener.tell("a", &n.to_string()), n.to_string());
        }
        let combined = "(combined from similar events): 10";
        assert_eq!(listener.tell("a", "10"), combined);
        assert_eq!(
            listener.tell("a", "11"),
            format!("2 of {combined}, now (combined from similar events): 11")
        );
        listener.now += WINDOW + Duration::from_secs(1);
        assert_eq!(listener.tell("a", "12"), "12");
    }

    #[test]
    fn floods_about_one_object_are_held_back() {
        let mut listener = Listener::new();
        let allowed = |listener: &mut Listener| (0..40).filter(|_| listener.tell("a", "x") != "held").count();
        assert_eq!(allowed(&mut listener), 25);
        assert_ne!(listener.tell("b", "x"), "held");
        listener.now += Duration::from_secs(450);
        assert_eq!(allowed(&mut listener), 1);
        // The half period that was left counts.
        listener.now += Duration::from_secs(150);
        assert_eq!(listener.tell("a", "x"), "81 of x, now x");
        listener.now += Duration::from_secs(86_400);
        assert_eq!(allowed(&mut listener), 25);
    }
}
