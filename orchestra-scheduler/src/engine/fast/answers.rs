//! What the plugins say of nodes by what these say about themselves, kept once for all classes with the same rules.
//!
//! Most classes differ in what their pods ask for, and all plugins but those in [`by_load`](super::by_load) do not mind
//! that. So a new class finds most of its answers given, and a node that says something else is asked about once.

use std::collections::HashMap;
use std::sync::Arc;

use super::by_load::Asked;
use super::judge::{Judge, Questions, Worth};
use super::table::{Loads, Table, Tick};
use crate::plugins::image_locality;
use crate::view::{ImageSpread, NodeName, PlacementRules, PodView};

/// What was said for pods with the same rules.
#[derive(Debug)]
pub(super) struct Answers {
    node: Option<NodeName>,
    rules: Arc<PlacementRules>,
    questions: Questions,
    synced: Option<Tick>,
    /// What images were like when nodes were asked about.
    images: Vec<(usize, ImageSpread)>,
    /// How often everything was asked anew.
    pub(super) edition: u64,
    said: Vec<Worth>,
    /// For each scorer that normalises, by position; empty as long as all are 0.
    pub(super) raws: Vec<Arc<Vec<i32>>>,
}

impl Answers {
    /// Asks again about nodes that say something else about themselves.
    pub(super) fn sync(&mut self, judge: &Judge<'_>, table: &Table) {
        let images = image_locality::spreads(judge.cycle.cluster(), judge.pod);
        if images != self.images {
            (self.images, self.synced) = (images, None);
        }
        let known = self.synced.and_then(|tick| Some((table.since(tick)?, tick)));
        self.synced = Some(table.now());
        let positions: Vec<usize> = match known {
            Some((changed, since)) => {
                let changed = changed.into_iter().map(|position| position as usize);
                changed.filter(|position| !table.says_the_same_since(*position, since)).collect()
            }
            None => {
                self.edition += 1;
                self.said = vec![Worth::Unsure; table.len()];
                self.raws = vec![Arc::default(); self.questions.scaled.len()];
                (0..table.len()).collect()
            }
        };
        let mut raws = vec![0; self.raws.len()];
        for position in positions {
            raws.fill(0);
            self.said[position] = judge.worth(&self.questions, position, &mut raws);
            for (all, raw) in self.raws.iter_mut().zip(&raws) {
                if all.get(position).copied().unwrap_or(0) == *raw {
                    continue;
                }
                let all = Arc::make_mut(all);
                if all.is_empty() {
                    *all = vec![0; table.len()];
                }
                all[position] = *raw;
            }
        }
    }

    /// What all plugins together say of the node at a position.
    #[inline(always)]
    pub(super) fn worth_at(&self, asked: &Asked<'_>, position: usize, loads: &Loads) -> Worth {
        match (self.said.get(position), loads.get(position)) {
            (Some(Worth::Points(points)), Some((brief, load))) => match asked.worth(brief, load) {
                Worth::Points(more) => Worth::Points(points + more),
                other => other,
            },
            (Some(other), Some(_)) => *other,
            _ => Worth::Unsure,
        }
    }

    /// Whether all raw scores are 0.
    pub(super) fn is_flat(&self) -> bool {
        self.raws.iter().all(|raw| raw.is_empty())
    }
}

/// The answers for all rules seen of late.
#[derive(Debug, Default)]
pub(super) struct AllAnswers {
    by_number: HashMap<u64, Answers>,
    next: u64,
}

impl AllAnswers {
    /// No answers have this number.
    pub(super) const UNKNOWN: u64 = 0;

    /// The number of the answers to these questions for a pod's rules.
    pub(super) fn number(&mut self, pod: &PodView, questions: &Questions) -> u64 {
        let alike = |answers: &Answers| {
            answers.node == pod.node && answers.rules == pod.rules && answers.questions == *questions
        };
        if let Some((number, _)) = self.by_number.iter().find(|(_, answers)| alike(answers)) {
            return *number;
        }
        self.next += 1;
        let answers = Answers {
            node: pod.node.clone(),
            rules: pod.rules.clone(),
            questions: questions.clone(),
            synced: None,
            images: Vec::new(),
            edition: 0,
            said: Vec::new(),
            raws: Vec::new(),
        };
        self.by_number.insert(self.next, answers);
        self.next
    }

    /// The answers of this number.
    pub(super) fn get(&mut self, number: u64) -> Option<&mut Answers> {
        self.by_number.get_mut(&number)
    }

    /// Forgets all answers but those of these numbers.
    pub(super) fn keep(&mut self, numbers: &std::collections::HashSet<u64>) {
        self.by_number.retain(|number, _| numbers.contains(number));
    }
}
