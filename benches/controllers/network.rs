//! Addresses for the pods of a simulated node: they lead nowhere.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU16, Ordering};

use async_trait::async_trait;
use orchestra::net::network::Result;
use orchestra::net::{Attachment, PodNetwork, PodRef};

/// Numbers given out in rising order; no step lives through so many pods on one node that two meet.
#[derive(Debug)]
pub(crate) struct Numbers {
    node: u16,
    given: AtomicU16,
}

impl Numbers {
    pub(crate) fn of(node: u16) -> Self {
        Self { node, given: AtomicU16::new(0) }
    }

    /// Of the node itself.
    pub(crate) fn node(&self) -> IpAddr {
        let [high, low] = self.node.to_be_bytes();
        Ipv4Addr::new(172, 16, high, low).into()
    }
}

#[async_trait]
impl PodNetwork for Numbers {
    async fn attach(&self, _: &PodRef, keep: Option<IpAddr>) -> Result<Attachment> {
        let number = self.given.fetch_add(1, Ordering::Relaxed);
        let [high, low] = self.node.to_be_bytes();
        // Ten bits of node and twelve of pod below 10.0.0.0/8.
        let third = (low << 4) | u8::try_from((number >> 8) & 0xf).unwrap_or(0);
        let second = (high << 4) | (low >> 4);
        let last = number.to_be_bytes()[1];
        Ok(Attachment::on_host(keep.unwrap_or(Ipv4Addr::new(10, second, third, last).into())))
    }

    async fn detach(&self, _: &PodRef) -> Result<()> {
        Ok(())
    }
}
