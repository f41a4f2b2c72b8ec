//! What the node and its containers use: readings taken again and again, and what two of them in a row tell.
//!
//! One reading tells how long processors have worked for a container in all; how much it uses now is the difference of two,
//! over the time between them. A container that is newer than the last but one reading is measured since its start. A
//! simulation is asked when somebody asks, because it needs no second reading.

mod exposition;
mod machine;
mod summary;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::clock::Clock;
use crate::runtime::{ContainerId, ContainerRuntime, ContainerStats};

pub use summary::{ContainerUsage, CpuUsage, MemoryUsage, NodeUsage, PodReference, PodUsage, Summary};

use machine::MachineUsage;

/// How often a reading is taken, as the kubelet does it.
pub(super) const USUAL_INTERVAL: Duration = Duration::from_secs(10);
/// A container that runs for less than this has not been measured yet.
const SHORTEST: Duration = Duration::from_secs(1);

/// What everything used up to a moment.
#[derive(Clone, Debug)]
struct Reading {
    at: Instant,
    taken: Timestamp,
    /// Absent for simulated nodes, and where the machine does not tell.
    machine: Option<MachineUsage>,
    containers: HashMap<ContainerId, ContainerStats>,
}

/// How much of a processor is used, in billionths, and over which time that was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rate {
    nano_cores: u64,
    window: Duration,
}

impl Rate {
    fn between(before: Duration, after: Duration, window: Duration) -> Option<Self> {
        let used = after.saturating_sub(before).as_nanos();
        let nano_cores = (used * 1_000_000_000).checked_div(window.as_nanos())?;
        Some(Self { nano_cores: u64::try_from(nano_cores).unwrap_or(u64::MAX), window })
    }

    /// Of a container, by the newest reading and the one before.
    fn of(stats: &ContainerStats, latest: &Reading, before: Option<&Reading>) -> Option<Self> {
        if let Some(nano_cores) = stats.nano_cores {
            return Some(Self { nano_cores, window: USUAL_INTERVAL });
        }
        let known = before.and_then(|before| Some((before.at, before.containers.get(&stats.id)?.cpu)));
        let (window, cpu) = match known {
            Some((at, cpu)) => (latest.at - at, cpu),
            None => (Duration::try_from(latest.taken.duration_since(stats.started_at)).ok()?, Duration::ZERO),
        };
        Self::between(cpu, stats.cpu, window).filter(|_| window >= SHORTEST)
    }

    /// Of the machine.
    fn of_machine(latest: &Reading, before: Option<&Reading>) -> Option<Self> {
        let (now, before) = (latest.machine?, before?);
        Self::between(before.machine?.cpu, now.cpu, latest.at - before.at)
    }
}

#[derive(Clone, Debug, Default)]
struct Readings {
    latest: Option<Reading>,
    before: Option<Reading>,
}

impl Readings {
    fn push(&mut self, reading: Reading) {
        self.before = self.latest.replace(reading);
    }
}

/// Takes readings of a node.
pub(super) struct Usage {
    node: String,
    runtime: Arc<dyn ContainerRuntime>,
    clock: Arc<dyn Clock>,
    /// When the agent began.
    since: Timestamp,
    interval: Duration,
    readings: Mutex<Readings>,
}

impl fmt::Debug for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Usage").field("node", &self.node).finish_non_exhaustive()
    }
}

impl Usage {
    pub(super) fn new(
        node: String,
        runtime: Arc<dyn ContainerRuntime>,
        clock: Arc<dyn Clock>,
        interval: Duration,
    ) -> Self {
        let since = clock.now();
        Self { node, runtime, clock, since, interval, readings: Mutex::default() }
    }

    fn is_simulated(&self) -> bool {
        self.runtime.simulation().is_some()
    }

    /// Takes readings for as long as it is polled.
    pub(super) async fn run(self: Arc<Self>) {
        if self.is_simulated() {
            return;
        }
        let mut ticks = interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match self.reading().await {
                Ok(reading) => self.readings.lock().unwrap_or_else(PoisonError::into_inner).push(reading),
                Err(error) => {
                    tracing::warn!(error = error.describe(), "what containers use cannot be read");
                }
            }
        }
    }

    async fn reading(&self) -> crate::runtime::Result<Reading> {
        let machine = if self.is_simulated() { None } else { MachineUsage::read() };
        let containers = self.runtime.container_stats().await?;
        Ok(Reading {
            at: Instant::now(),
            taken: self.clock.now(),
            machine,
            containers: containers.into_iter().map(|stats| (stats.id.clone(), stats)).collect(),
        })
    }

    /// What is known now.
    pub(super) async fn summary(&self) -> crate::runtime::Result<Summary> {
        let mut readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if readings.latest.is_none() {
            readings.push(self.reading().await?);
        }
        Ok(match &readings.latest {
            Some(latest) => Summary::new(&self.node, self.since, latest, readings.before.as_ref()),
            None => Summary::nothing(&self.node, self.since),
        })
    }

    /// The same as Prometheus reads it, as the kubelet answers at `/metrics/resource`.
    pub(super) async fn exposition(&self) -> crate::runtime::Result<Result<String, fmt::Error>> {
        Ok(exposition::text(self.summary().await?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::PodMeta;

    fn stats(id: &str, cpu_millis: u64, started_at: &str) -> ContainerStats {
        ContainerStats {
            id: ContainerId(id.to_owned()),
            pod: PodMeta { namespace: "default".into(), name: "web".into(), uid: "u".into() },
            name: id.to_owned(),
            started_at: started_at.parse().unwrap(),
            cpu: Duration::from_millis(cpu_millis),
            nano_cores: None,
            memory: 4096,
        }
    }

    fn reading(at: Instant, taken: &str, containers: Vec<ContainerStats>) -> Reading {
        let containers = containers.into_iter().map(|stats| (stats.id.clone(), stats)).collect();
        Reading { at, taken: taken.parse().unwrap(), machine: None, containers }
    }

    #[tokio::test(start_paused = true)]
    async fn two_readings_tell_how_much_of_a_processor_is_used() {
        let begun = Instant::now();
        let old = "2025-12-31T00:00:00Z";
        let before = reading(begun, "2026-01-01T00:00:00Z", vec![stats("old", 1_000, old)]);
        let now = vec![
            stats("old", 6_000, old),
            stats("new", 2_000, "2026-01-01T00:00:06Z"),
            stats("newest", 10, "2026-01-01T00:00:09.5Z"),
            stats("ahead", 10, "2026-01-01T00:01:00Z"),
        ];
        let latest = reading(begun + Duration::from_secs(10), "2026-01-01T00:00:10Z", now);
        let rate =
            |id: &str| Rate::of(&latest.containers[&ContainerId(id.to_owned())], &latest, Some(&before));
        let of = |nano_cores, seconds| Some(Rate { nano_cores, window: Duration::from_secs(seconds) });
        assert_eq!(rate("old"), of(500_000_000, 10));
        assert_eq!(rate("new"), of(500_000_000, 4));
        assert_eq!((rate("newest"), rate("ahead")), (None, None));
        let mut simulated = stats("sim", 0, old);
        simulated.nano_cores = Some(7);
        assert_eq!(Rate::of(&simulated, &latest, None), of(7, 10));
        // Processes that left their container have ended: less than before is nothing.
        assert_eq!(
            Rate::between(Duration::from_secs(2), Duration::from_secs(1), Duration::from_secs(1)),
            Some(Rate { nano_cores: 0, window: Duration::from_secs(1) })
        );
        assert_eq!(Rate::between(Duration::ZERO, Duration::ZERO, Duration::ZERO), None);
    }
}
