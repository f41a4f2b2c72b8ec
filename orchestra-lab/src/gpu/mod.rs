//! Devices that pods share: what a pod asks for, what is left of each device of a node, and the plugin that keeps account.
//!
//! A request says everything in one number, the extended resource [`MILLI`]: up to 999 is a share of one device, a multiple of
//! 1000 is so many whole devices. A node offers a thousand for each of its devices and names their model in the label [`MODEL`];
//! who needs a certain model says so with node affinity. `NodeResourcesFit` therefore counts devices as it counts
//! everything else; what it cannot see, whether what is left lies on one device, is for [`GpuDevices`].

mod account;
mod devices;
mod plugin;

use orchestra_scheduler::view::{PodView, SelectorOperator};

pub use account::Account;
pub use devices::{Devices, MOST_DEVICES, Picked, WHOLE};
pub use plugin::{GpuDevices, PickDevice, RandomDevice, TightestDevice};

/// The extended resource: thousandths of devices.
pub const MILLI: &str = "alibabacloud.com/gpu-milli";
/// The label that says which model a node's devices are.
pub const MODEL: &str = "alibabacloud.com/gpu-card-model";

/// What a pod asks of devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ask {
    /// Nothing.
    Nothing,
    /// So many thousandths of one device, fewer than a thousand.
    Share(u16),
    /// So many whole devices.
    Whole(u8),
    /// More than nothing, but neither a share of one device nor whole devices: no node can give it.
    Odd,
}

impl Ask {
    /// What so many thousandths in all mean.
    #[must_use]
    pub fn of_milli(milli: i64) -> Self {
        match (milli, u16::try_from(milli)) {
            (..=0, _) => Self::Nothing,
            (_, Ok(share)) if share < WHOLE => Self::Share(share),
            _ if milli % i64::from(WHOLE) == 0 => {
                u8::try_from(milli / i64::from(WHOLE)).map_or(Self::Odd, Self::Whole)
            }
            _ => Self::Odd,
        }
    }

    /// What this pod asks for.
    #[must_use]
    pub fn of(pod: &PodView) -> Self {
        Self::of_milli(pod.demand.requests.scalars.get(MILLI).copied().unwrap_or(0))
    }

    /// How many thousandths in all.
    #[must_use]
    pub fn milli(self) -> i64 {
        match self {
            Self::Nothing | Self::Odd => 0,
            Self::Share(share) => share.into(),
            Self::Whole(count) => i64::from(count) * i64::from(WHOLE),
        }
    }
}

/// The models a pod can do with, as its node affinity says; empty when any will do.
#[must_use]
pub fn models(pod: &PodView) -> Vec<&str> {
    let terms = pod.rules.required_affinity.iter().flat_map(|selector| &selector.terms).flatten();
    let expressions = terms.flat_map(|term| &term.expressions);
    let named = expressions.filter(|one| &*one.key == MODEL && one.operator == SelectorOperator::In);
    named.flat_map(|one| &one.values).map(AsRef::as_ref).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_says_a_share_or_whole_devices() {
        let asks = [0, 1, 999, 1000, 8000, 1500, -5].map(Ask::of_milli);
        let expected = [
            Ask::Nothing,
            Ask::Share(1),
            Ask::Share(999),
            Ask::Whole(1),
            Ask::Whole(8),
            Ask::Odd,
            Ask::Nothing,
        ];
        assert_eq!(asks, expected);
    }
}
