//! Parts that many pods have alike, held once.
//!
//! The pods of one controller differ in their names; their labels and what they demand of a node are the same, and are most
//! of what is kept of a pod.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Demand, Labels, PlacementRules, PodView};

/// How many different values of each part are remembered: pods come in runs of the same.
const REMEMBERED: usize = 32;

/// The parts of pods seen of late.
#[derive(Debug, Default)]
pub(crate) struct Alike {
    namespaces: Recent<str>,
    labels: Recent<Labels>,
    rules: Recent<PlacementRules>,
    demands: Recent<Demand>,
}

impl Alike {
    /// Lets a pod share with those before it what is the same.
    pub(crate) fn share(&mut self, pod: &mut PodView) {
        self.namespaces.share(&mut pod.key.namespace);
        self.labels.share(&mut pod.labels);
        self.rules.share(&mut pod.rules);
        self.demands.share(&mut pod.demand);
    }
}

/// Values, the one that was asked for last in front.
#[derive(Debug)]
struct Recent<T: ?Sized>(VecDeque<Arc<T>>);

impl<T: ?Sized> Default for Recent<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T: Eq + ?Sized> Recent<T> {
    fn share(&mut self, value: &mut Arc<T>) {
        match self.0.iter().position(|known| **known == **value).and_then(|at| self.0.remove(at)) {
            Some(known) => *value = known,
            None => self.0.truncate(REMEMBERED - 1),
        }
        self.0.push_front(value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_same_is_held_once_and_the_oldest_is_forgotten() {
        let mut recent = Recent::<str>::default();
        let mut share = |text: &str| {
            let mut value = Arc::from(text);
            recent.share(&mut value);
            value
        };
        let first = share("first");
        for number in 0..REMEMBERED - 1 {
            assert!(!Arc::ptr_eq(&first, &share(&number.to_string())));
        }
        assert!(Arc::ptr_eq(&first, &share("first")));
        for number in 0..REMEMBERED {
            share(&format!("again {number}"));
        }
        assert!(!Arc::ptr_eq(&first, &share("first")));
        assert_eq!(recent.0.len(), REMEMBERED);
    }
}
