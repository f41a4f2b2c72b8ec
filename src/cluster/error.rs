//! Why a cluster could not be started or stopped.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a cluster could not be started or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The data directory cannot be used.
    #[error("data directory {}: {problem}", path.display())]
    DataDir {
        /// The directory, or the file in it.
        path: PathBuf,
        /// What the system said.
        problem: String,
    },
    /// The address of the API server cannot be had.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The network cannot be had.
    #[error("no network for the cluster")]
    Network(#[from] orchestra_net::network::Error),
    /// A part could not be started, or did not end as it should.
    #[error("{0}")]
    Part(String),
}
