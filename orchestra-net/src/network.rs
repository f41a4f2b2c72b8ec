//! Addresses for pods.

use std::fmt::Debug;
use std::net::IpAddr;
use std::path::PathBuf;

use async_trait::async_trait;

/// Which pod an address is for. The uid tells two lives of one name apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PodRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// What a pod got from the network.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attachment {
    /// Its addresses, the primary one first.
    pub addresses: Vec<IpAddr>,
    /// The network namespace its processes must join; `None` is the node's own.
    pub namespace: Option<PathBuf>,
}

impl Attachment {
    /// An attachment in the node's own network namespace.
    pub fn on_host(address: IpAddr) -> Self {
        Self { addresses: vec![address], namespace: None }
    }
}

/// Why a pod got no address.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Every address of the node's range is taken.
    #[error("no free address in {0}")]
    Exhausted(String),
    /// The address asked for is held by another pod or outside the range.
    #[error("address {0} cannot be given out again")]
    Taken(IpAddr),
    /// The system refused.
    #[error("{what}")]
    System {
        /// What was being done.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// What every call returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The network of one node, as the node agent uses it. Level-triggered: both calls may be repeated.
#[async_trait]
pub trait PodNetwork: Debug + Send + Sync + 'static {
    /// Gives `pod` its addresses; the same ones when it already has some. `keep` is the address a pod found running
    /// after a restart of the agent already uses.
    async fn attach(&self, pod: &PodRef, keep: Option<IpAddr>) -> Result<Attachment>;

    /// Takes the addresses back; nothing happens for a pod that has none.
    async fn detach(&self, pod: &PodRef) -> Result<()>;
}
