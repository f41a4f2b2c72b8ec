//! When probes run and what their results add up to.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Container, Probe};
use tokio::time::Instant;

use crate::runtime::ContainerId;

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeResult {
    /// The container is as it should be.
    Success,
    /// It is not, and why.
    Failure(String),
    /// Nobody listens yet: a failure that costs the container nothing.
    Refused(String),
}

/// What a probe is asked about.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProbeTarget {
    /// The container in its runtime.
    pub id: ContainerId,
    /// Its specification.
    pub container: Container,
    /// The pod's address.
    pub address: String,
}

impl ProbeTarget {
    pub(crate) fn new(id: ContainerId, container: Container, address: String) -> Self {
        Self { id, container, address }
    }
}

/// Carries out probes. The agent has one that asks the network and the runtime; runtimes whose containers are not real
/// bring their own.
#[async_trait]
pub trait Prober: std::fmt::Debug + Send + Sync + 'static {
    /// Probes once, within `timeout`.
    async fn probe(&self, target: &ProbeTarget, probe: &Probe, timeout: Duration) -> ProbeResult;
}

/// Which probe of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ProbeKind {
    Startup,
    Readiness,
    Liveness,
}

impl ProbeKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Readiness => "Readiness",
            Self::Liveness => "Liveness",
        }
    }

    pub(crate) fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Self::Startup => container.startup_probe.as_ref(),
            Self::Readiness => container.readiness_probe.as_ref(),
            Self::Liveness => container.liveness_probe.as_ref(),
        }
    }
}

/// Something a probe has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The threshold was reached: from now on this holds.
    Turned(bool),
    /// One failure, for an event; the threshold may not be reached.
    Failed(String),
}

/// Counts results against the thresholds.
#[derive(Clone, Debug)]
pub(crate) struct Counter {
    success: i32,
    failure: i32,
    run: i32,
    last: Option<bool>,
    told: Option<bool>,
}

impl Counter {
    pub(crate) fn new(probe: &Probe) -> Self {
        Self {
            success: probe.success_threshold.unwrap_or(1).max(1),
            failure: probe.failure_threshold.unwrap_or(3).max(1),
            run: 0,
            last: None,
            told: None,
        }
    }

    /// Takes one result; what it turned to, if it turned.
    pub(crate) fn count(&mut self, good: bool) -> Option<bool> {
        self.run = if self.last == Some(good) { self.run.saturating_add(1) } else { 1 };
        self.last = Some(good);
        let threshold = if good { self.success } else { self.failure };
        (self.run >= threshold && self.told != Some(good)).then(|| {
            self.told = Some(good);
            good
        })
    }
}

/// How soon a probe that found nobody listening is tried again, at first.
const SOON: Duration = Duration::from_millis(5);

/// Probes until it is dropped, or, for startup and liveness probes, until nothing is left to find out.
pub(crate) async fn run(
    kind: ProbeKind,
    target: ProbeTarget,
    prober: Arc<dyn Prober>,
    running_since: Instant,
    mut tell: impl FnMut(Verdict) + Send,
) {
    let Some(probe) = kind.of(&target.container).cloned() else { return };
    let seconds = |n: Option<i32>, least: u64| {
        Duration::from_secs(u64::try_from(n.unwrap_or(0)).unwrap_or(0).max(least))
    };
    let period = seconds(probe.period_seconds.or(Some(10)), 1);
    let timeout = seconds(probe.timeout_seconds, 1);
    let begin = running_since + seconds(probe.initial_delay_seconds, 0);
    tokio::time::sleep_until(begin).await;
    let mut counter = Counter::new(&probe);
    let mut next = Instant::now();
    let mut soon = SOON;
    let mut fresh = true;
    loop {
        let result = prober.probe(&target, &probe, timeout).await;
        // A program takes a moment until it listens. Until its first answer, and not longer than a period, it is asked
        // again soon; upstream waits a whole period. Nobody notices: there is nobody yet.
        if let ProbeResult::Refused(_) = &result
            && fresh
            && kind != ProbeKind::Liveness
            && soon < period
            && begin.elapsed() < period
        {
            tokio::time::sleep(soon).await;
            soon *= 2;
            next = Instant::now();
            continue;
        }
        fresh = false;
        let turned = match result {
            ProbeResult::Success => counter.count(true),
            ProbeResult::Failure(message) | ProbeResult::Refused(message) => {
                tell(Verdict::Failed(message));
                counter.count(false)
            }
        };
        if let Some(good) = turned {
            tell(Verdict::Turned(good));
            match kind {
                ProbeKind::Startup => return,
                ProbeKind::Liveness if !good => return,
                _ => {}
            }
        }
        next = (next + period).max(Instant::now());
        tokio::time::sleep_until(next).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_counted_in_a_row() {
        let probe = Probe { failure_threshold: Some(3), success_threshold: Some(2), ..Probe::default() };
        let mut counter = Counter::new(&probe);
        let results = [true, true, true, false, false, true, false, false, false, false, true, true];
        let turned: Vec<_> = results.into_iter().map(|r| counter.count(r)).collect();
        let want =
            [None, Some(true), None, None, None, None, None, None, Some(false), None, None, Some(true)];
        assert_eq!(turned, want);
    }
}
