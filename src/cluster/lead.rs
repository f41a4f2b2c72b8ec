//! Which of several control planes on one store works: its controllers and its scheduler run once.

use std::fs;
use std::future::Future;

use kube::Client;
use orchestra_controllers::election::{Election, Timing};
use tokio_util::sync::CancellationToken;

/// Whether the parts of a control plane that must run once stand for election first, each for the Lease in `kube-system`
/// that upstream gives it.
#[derive(Clone, Debug)]
pub struct Leadership(Option<Standing>);

#[derive(Clone, Debug)]
struct Standing {
    identity: String,
    timing: Timing,
}

/// A part that runs once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// The controllers; the Lease is `kube-controller-manager`.
    Controllers,
    /// The scheduler; the Lease is `kube-scheduler`.
    Scheduler,
}

impl Part {
    fn lease(self) -> &'static str {
        match self {
            Self::Controllers => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
        }
    }
}

impl Leadership {
    /// There is nobody else: the parts run at once.
    pub fn unopposed() -> Self {
        Self(None)
    }

    /// There may be others: each part runs while it holds its Lease. The candidate is named after this machine and chance.
    pub fn contested(timing: Timing) -> Self {
        Self::contested_as(fresh_identity(), timing)
    }

    /// As [`contested`](Self::contested), under a name that is this control plane's alone. One that comes back under the
    /// name that it died with does not wait for its own Lease to run out.
    pub fn contested_as(identity: impl Into<String>, timing: Timing) -> Self {
        Self(Some(Standing { identity: identity.into(), timing }))
    }

    /// Runs `work` until `shutdown` is cancelled or it ends by itself; each time anew when the lead was lost meanwhile.
    ///
    /// # Errors
    /// Those of the work.
    pub async fn run<W, F, E>(
        &self,
        part: Part,
        client: Client,
        shutdown: CancellationToken,
        mut work: W,
    ) -> Result<(), E>
    where
        W: FnMut(CancellationToken) -> F,
        F: Future<Output = Result<(), E>>,
    {
        let Some(standing) = &self.0 else { return work(shutdown).await };
        let election = Election::new(part.lease(), &standing.identity).timing(standing.timing);
        election.run(client, shutdown, work).await.unwrap_or(Ok(()))
    }
}

/// A name for a candidate that nobody had before, as upstream makes them.
pub(super) fn fresh_identity() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "orchestra" } else { host.trim() };
    format!("{host}_{}", uuid::Uuid::new_v4())
}
