//! GPU clustering: pods that ask for the same number of devices together (after Gandiva, as ATC'23 ran it).

use std::sync::Arc;

use orchestra_scheduler::plugin::{Cycle, Plugin, Score};
use orchestra_scheduler::view::{NodeView, PodView};
use orchestra_scheduler::{Points, Profile, Registration};

use super::base;
use crate::gpu::{Account, Ask, TightestDevice};

/// Scores a node in four bands by who is on it, and within a band by how full it is.
#[derive(Debug)]
pub struct GpuClustering(Arc<Account>);

impl GpuClustering {
    /// The policy: this score alone.
    #[must_use]
    pub fn profile() -> Profile {
        let account = Arc::new(Account::default());
        base(&account, Arc::new(TightestDevice))
            .register(Registration::of(Self(account)).score(1).local().into())
    }
}

/// Who belongs together: those who share, and those who want the same number of devices. `None` wants none.
fn kind(pod: &PodView) -> Option<Ask> {
    match Ask::of(pod) {
        Ask::Nothing | Ask::Odd => None,
        Ask::Share(_) => Some(Ask::Share(1)),
        whole @ Ask::Whole(_) => Some(whole),
    }
}

impl Plugin for GpuClustering {
    fn name(&self) -> &str {
        "GpuClustering"
    }
}

impl Score for GpuClustering {
    fn score(&self, _: &Cycle<'_>, pod: &PodView, node: &NodeView) -> Points {
        let Some(kind_of_pod) = kind(pod) else { return Points::MIN };
        let kinds = || node.pods().iter().filter_map(|other| kind(other));
        let band = match (kinds().next().is_some(), kinds().any(|one| one == kind_of_pod)) {
            (_, true) if kinds().all(|one| one == kind_of_pod) => 75,
            (_, true) => 50,
            (false, _) => 25,
            (true, false) => 0,
        };
        Points(band + (25 * (8000 - self.0.devices(node).total_left()) / 8000).max(0))
    }
}
