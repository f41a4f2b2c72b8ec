//! Pods and services on loopback addresses: no privileges, no namespaces, nothing to clean up.
//!
//! Every address of `127.0.0.0/8` already answers on a Linux machine, for any user. This network takes a slice of it for
//! each cluster on the machine, see [`Slot`]. A pod shares the node's network namespace and is told its address in
//! `POD_IP`; its program binds there, so two pods on one node can both listen on port 80.
//!
//! Upstream refuses loopback addresses in Endpoints and EndpointSlices, because there they would lead each node to itself.
//! Here all pods are on one machine, so the API server is built with that one rule off when this network is used.

mod slot;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use ipnet::Ipv4Net;

pub use slot::Slot;

use crate::ipam::Ipam;
use crate::network::{Attachment, Error, PodNetwork, PodRef, Result};

/// Addresses at the bottom of the pod range that no pod gets: the network, the node, the ingress, and a few to spare.
const RESERVED: u32 = 16;

/// The loopback network of one cluster on this machine.
#[derive(Debug)]
pub struct LocalNetwork {
    slot: Slot,
    pods: Mutex<Ipam>,
}

impl LocalNetwork {
    /// Takes the first slot that no other cluster on this machine holds.
    ///
    /// # Errors
    /// [`Error::Exhausted`] when all slots are held.
    pub fn new() -> Result<Self> {
        Self::near(0)
    }

    /// The same, but looks from another slot on, which is any function of `hint`. Clusters with hints of their own seldom take
    /// the slot that another one has left and will want back ([`with_slot`](Self::with_slot)).
    ///
    /// # Errors
    /// [`Error::Exhausted`] when all slots are held.
    pub fn near(hint: u64) -> Result<Self> {
        Slot::free_from(hint).map(Self::on)
    }

    /// Takes the slot `number` again, as a cluster does that is started on its old data.
    ///
    /// # Errors
    /// [`Error::System`] when another cluster holds it.
    pub fn with_slot(number: u8) -> Result<Self> {
        Slot::take(number).map(Self::on)
    }

    fn on(slot: Slot) -> Self {
        let pods = Mutex::new(Ipam::new(slot.pods(), RESERVED));
        Self { slot, pods }
    }

    /// The slot's number, to be remembered for [`with_slot`](Self::with_slot).
    pub fn slot(&self) -> u8 {
        self.slot.number()
    }

    /// Where service addresses come from.
    pub fn services(&self) -> Ipv4Net {
        self.slot.services()
    }

    /// The address of the node, where node ports answer.
    pub fn node_address(&self) -> Ipv4Addr {
        self.slot.nth(1)
    }

    /// The address ingress listens on.
    pub fn ingress_address(&self) -> Ipv4Addr {
        self.slot.nth(2)
    }

    fn pods(&self) -> MutexGuard<'_, Ipam> {
        // Every change of the table is a single call, so a panic elsewhere leaves it whole.
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl PodNetwork for LocalNetwork {
    async fn attach(&self, pod: &PodRef, keep: Option<IpAddr>) -> Result<Attachment> {
        let mut pods = self.pods();
        let address = match (keep, pods.held_by(&pod.uid)) {
            (Some(IpAddr::V4(address)), _) if pods.claim(address, &pod.uid) => address,
            (Some(address), _) => return Err(Error::Taken(address)),
            (None, Some(address)) => address,
            (None, None) => {
                pods.allocate(&pod.uid).ok_or_else(|| Error::Exhausted(pods.range().to_string()))?
            }
        };
        Ok(Attachment::on_host(address.into()))
    }

    async fn detach(&self, pod: &PodRef) -> Result<()> {
        self.pods().release(&pod.uid);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str) -> PodRef {
        PodRef { namespace: "default".into(), name: "web".into(), uid: uid.into() }
    }

    #[tokio::test]
    async fn a_pod_keeps_its_address_and_its_successor_gets_another() {
        let network = LocalNetwork::new().unwrap();
        let first = network.attach(&pod("a"), None).await.unwrap();
        assert_eq!(network.attach(&pod("a"), None).await.unwrap(), first);
        network.detach(&pod("a")).await.unwrap();
        assert_ne!(network.attach(&pod("b"), None).await.unwrap(), first);
    }

    #[tokio::test]
    async fn an_address_in_use_is_not_given_out_again() {
        let network = LocalNetwork::new().unwrap();
        let address = network.attach(&pod("a"), None).await.unwrap().addresses[0];
        let refused = network.attach(&pod("b"), Some(address)).await.unwrap_err();
        assert!(matches!(refused, Error::Taken(taken) if taken == address), "{refused}");
    }

    #[tokio::test]
    async fn two_clusters_on_one_machine_share_no_address() {
        let (one, two) = (LocalNetwork::new().unwrap(), LocalNetwork::new().unwrap());
        assert_ne!(one.slot(), two.slot());
        assert_ne!(one.services(), two.services());
        let number = one.slot();
        assert_ne!(LocalNetwork::near(number.into()).unwrap().slot(), number);
        assert!(LocalNetwork::near(u64::MAX).unwrap().slot() < 64);
        assert!(LocalNetwork::with_slot(number).is_err());
        drop(one);
        assert_eq!(LocalNetwork::with_slot(number).unwrap().slot(), number);
    }
}
