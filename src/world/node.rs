//! Nodes whose containers live by a script.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use orchestra_net::network::Result;
use orchestra_net::{Attachment, PodNetwork, PodRef};
use orchestra_runtime::agent::NodeAgent;
use orchestra_runtime::backend::sim::{Script, SimRuntime};
use orchestra_runtime::clock::TokioClock;
use orchestra_runtime::runtime::{ContainerRuntime, ContainerState, ContainerStatus};
use tokio_util::sync::CancellationToken;

use super::component::Life;

/// A machine: what survives the death of its agent.
#[derive(Debug)]
pub(super) struct Machine {
    name: String,
    address: Ipv4Addr,
    clock: TokioClock,
    network: Arc<Addresses>,
    runtime: Mutex<SimRuntime>,
}

impl Machine {
    /// The machine of this number, counted from 1.
    pub(super) fn new(number: u8, clock: TokioClock) -> Self {
        Self {
            name: format!("node-{number}"),
            address: Ipv4Addr::new(10, 0, 0, number),
            clock,
            network: Arc::new(Addresses::of(number)),
            runtime: Mutex::new(fresh(clock)),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn runtime(&self) -> MutexGuard<'_, SimRuntime> {
        self.runtime.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything that ran is gone, as after a power failure.
    pub(super) fn reboot(&self) {
        *self.runtime() = fresh(self.clock);
    }

    /// Ends the running container that `choose` picks, with a failure.
    pub(super) async fn fail_container(&self, choose: impl FnOnce(usize) -> usize) {
        let runtime = self.runtime().clone();
        let runs = |one: &ContainerStatus| matches!(one.state, ContainerState::Running { .. });
        let mut running = runtime.list_containers().await.unwrap_or_default();
        running.retain(runs);
        if !running.is_empty()
            && let Some(chosen) = running.get(choose(running.len()))
        {
            runtime.end(&chosen.id, 1);
        }
    }

    /// One life of the agent.
    pub(super) async fn live(&self, life: Life) {
        let runtime = Arc::new(self.runtime().clone());
        let agent = NodeAgent::builder(life.client, runtime, self.network.clone())
            .name(&self.name)
            .address(self.address.into())
            .label(
                "topology.kubernetes.io/zone",
                if self.address.octets()[3].is_multiple_of(2) { "b" } else { "a" },
            )
            .capacity("cpu", "8")
            .capacity("memory", "16Gi")
            .capacity("ephemeral-storage", "64Gi")
            .capacity("pods", "60")
            .clock(Arc::new(self.clock))
            .build();
        let ended = match agent {
            Ok(agent) => agent.run(CancellationToken::new()).await,
            Err(problem) => Err(problem),
        };
        if let Err(problem) = ended {
            tracing::warn!(node = self.name, %problem, "the agent ended");
        }
    }
}

fn fresh(clock: TokioClock) -> SimRuntime {
    SimRuntime::new(Arc::new(clock), |config| Script::from_annotations(&config.annotations))
}

/// The addresses of a node's pods: numbers that lead nowhere, given out in rising order.
#[derive(Debug)]
struct Addresses {
    number: u8,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    by_pod: BTreeMap<String, IpAddr>,
    given: u16,
}

impl Addresses {
    fn of(number: u8) -> Self {
        Self { number, held: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl PodNetwork for Addresses {
    async fn attach(&self, pod: &PodRef, keep: Option<IpAddr>) -> Result<Attachment> {
        let mut held = self.held();
        let address = match (held.by_pod.get(&pod.uid), keep) {
            (Some(address), _) => *address,
            (None, Some(address)) => address,
            (None, None) => {
                // Round and round: no world lives through so many pods on one node that two meet.
                held.given = held.given.wrapping_add(1);
                let [high, low] = held.given.to_be_bytes();
                Ipv4Addr::new(10, self.number, high, low).into()
            }
        };
        held.by_pod.insert(pod.uid.clone(), address);
        Ok(Attachment::on_host(address))
    }

    async fn detach(&self, pod: &PodRef) -> Result<()> {
        self.held().by_pod.remove(&pod.uid);
        Ok(())
    }
}
