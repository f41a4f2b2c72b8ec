//! Making the addresses of services answer.

pub mod plan;
pub mod userspace;

use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use userspace::UserspaceProxy;

/// What carries a service's traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// Connections.
    Tcp,
    /// Datagrams; replies find their way back for a minute after the last one.
    Udp,
}

/// Where a service listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Frontend {
    /// The service's address, or the node's for a node port.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
}

/// Which service a port belongs to; problems are reported on it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// One address and port that must answer, and who answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualPort {
    /// Where it listens.
    pub frontend: Frontend,
    /// Whose it is.
    pub service: ServiceRef,
    /// The pods behind it. Empty: connections are refused.
    pub backends: Arc<[SocketAddr]>,
    /// For how long a client stays with its backend (`sessionAffinity: ClientIP`).
    pub affinity: Option<Duration>,
}

/// A port that could not be made to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Whose port it is.
    pub service: ServiceRef,
    /// Which port.
    pub frontend: Frontend,
    /// What the system said.
    pub message: String,
}

/// Makes a set of ports answer.
///
/// **Contract.** `sync` receives everything that shall answer, not changes: what is new starts, what is gone stops taking
/// connections, what stays keeps the connections it has. It may be called again with the same set at any time. Ports that
/// fail are returned and tried again at the next call; they do not keep the others from working.
#[async_trait]
pub trait ServiceProxy: Debug + Send + Sync + 'static {
    /// Makes exactly `ports` answer.
    async fn sync(&self, ports: Vec<VirtualPort>) -> Vec<Problem>;
}
