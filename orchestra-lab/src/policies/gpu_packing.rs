//! GPU packing: first devices in use, then free devices of nodes in use, then free nodes (ATC'23's baseline).

use std::sync::Arc;

use orchestra_scheduler::plugin::{Cycle, Plugin, Score};
use orchestra_scheduler::view::{NodeView, PodView};
use orchestra_scheduler::{Points, Profile, Registration};

use super::base;
use crate::gpu::{Account, Ask, Devices, TightestDevice, WHOLE};

/// Scores a node in three bands, by how little would be broken into.
#[derive(Debug)]
pub struct GpuPacking(Arc<Account>);

impl GpuPacking {
    /// The policy: this score alone.
    #[must_use]
    pub fn profile() -> Profile {
        let account = Arc::new(Account::default());
        base(&account, Arc::new(TightestDevice))
            .register(Registration::of(Self(account)).score(1).local().into())
    }
}

impl Plugin for GpuPacking {
    fn name(&self) -> &str {
        "GpuPacking"
    }
}

impl Score for GpuPacking {
    fn score(&self, _: &Cycle<'_>, pod: &PodView, node: &NodeView) -> Points {
        let devices = self.0.devices(node);
        Points(match Ask::of(pod) {
            Ask::Share(share) => worth(&devices, share, 1),
            Ask::Whole(count) => worth(&devices, WHOLE, count.into()),
            Ask::Nothing | Ask::Odd => 0,
        })
    }
}

/// What the node is worth to a pod that wants so much of so many devices.
fn worth(devices: &Devices, each: u16, count: usize) -> i64 {
    let (free, all) = (devices.wholly_free() as i64, devices.left().len() as i64);
    if free == all {
        return (33 - free).max(free);
    }
    let mut left: Vec<_> = devices.left().iter().copied().filter(|left| *left >= each).collect();
    left.sort_unstable();
    let used = left.get(..count).unwrap_or_default();
    match used.iter().filter(|left| **left == WHOLE).count() as i64 {
        0 => (100 - used.iter().map(|left| i64::from(*left) * 100 / i64::from(WHOLE)).sum::<i64>() / 10)
            .max(50),
        broken_into => (50 - broken_into).max(33),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::Picked;

    #[test]
    fn devices_in_use_are_worth_most_and_free_nodes_least() {
        let idle = Devices::free(8);
        let used = idle.after(Ask::Share(700), Picked::one(2));
        let [shared, broken, free] = [worth(&used, 300, 1), worth(&used, 400, 1), worth(&idle, 300, 1)];
        assert_eq!([shared, broken, free], [97, 49, 25]);
        assert_eq!(worth(&used, WHOLE, 4), 46);
    }
}
