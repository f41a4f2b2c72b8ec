//! Fragmentation gradient descent: the node whose fragmentation grows least (Weng et al., ATC'23).

mod fragmentation;
mod typical;

use std::sync::Arc;

use orchestra_scheduler::plugin::{Cycle, Plugin, Score};
use orchestra_scheduler::view::{NodeView, PodView};
use orchestra_scheduler::{Points, Profile, Registration};

use super::{base, cpu_left};
use crate::gpu::{Account, Ask, Devices, MODEL, PickDevice, Picked, WHOLE};

pub use fragmentation::Fragmentation;
pub use typical::Typical;

/// Scores a node by how much less fragmented it would be with the pod on it, measured by a typical workload.
#[derive(Debug)]
pub struct Fgd {
    account: Arc<Account>,
    fragmentation: Fragmentation,
}

impl Fgd {
    /// The policy: this score alone, and shares of the device for which it is best.
    #[must_use]
    pub fn profile(typical: &Typical) -> Profile {
        let account = Arc::new(Account::default());
        let plugin = Arc::new(Self { account: account.clone(), fragmentation: Fragmentation::new(typical) });
        base(&account, plugin.clone()).register(Registration::of(plugin).score(1).local().into())
    }

    /// The score, and the devices it is for; `None` if there are none.
    fn best(&self, pod: &PodView, node: &NodeView, devices: &Devices) -> Option<(i64, Picked)> {
        let model = node.facts().labels.get(MODEL).map(String::as_str);
        let measure = self.fragmentation.on(model);
        let (ask, cpu) = (Ask::of(pod), cpu_left(node));
        let before = measure.of(cpu, devices);
        let score = |picked| {
            let after = measure.of(cpu - pod.demand.scored.cpu.0, &devices.after(ask, picked));
            let gain = (before - after) / 1000.0;
            (1.0 / (1.0 + (-gain).exp()) * 100.0) as i64
        };
        let candidates = match ask {
            Ask::Share(share) => first_of_alike(devices, share),
            Ask::Whole(count) => devices.lowest_free(count).into_iter().collect(),
            Ask::Nothing => vec![Picked::default()],
            Ask::Odd => Vec::new(),
        };
        let scored = candidates.into_iter().map(|picked| (score(picked), picked));
        scored.reduce(|best, one| if one.0 > best.0 { one } else { best })
    }
}

/// The devices with enough left, lowest first, but of those with the same left only the first: the others are no better.
fn first_of_alike(devices: &Devices, share: u16) -> Vec<Picked> {
    let left = devices.left();
    let news = |(position, amount): (usize, &u16)| {
        let seen = left.iter().take(position).any(|before| before == amount);
        (*amount >= share && !seen).then(|| Picked::one(position))
    };
    left.iter().enumerate().filter_map(news).collect()
}

impl Plugin for Fgd {
    fn name(&self) -> &str {
        "FGD"
    }
}

impl Score for Fgd {
    fn score(&self, _: &Cycle<'_>, pod: &PodView, node: &NodeView) -> Points {
        let best = self.best(pod, node, &self.account.devices(node));
        best.map_or(Points::MIN, |(score, _)| Points(score))
    }
}

impl PickDevice for Fgd {
    fn pick(&self, pod: &PodView, share: u16, node: &NodeView, devices: &Devices) -> Option<usize> {
        debug_assert!(share < WHOLE);
        self.best(pod, node, devices)?.1.positions().next()
    }
}
