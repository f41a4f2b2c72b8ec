//! What can go wrong when a server is built or put on a socket.

use crate::status::StatusError;

/// Why a server cannot be started or served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store failed.
    #[error("the store cannot be used")]
    Store(#[source] orchestra_store::Error),
    /// An object every cluster has could not be made.
    #[error("the first objects of the cluster cannot be made")]
    Bootstrap(#[source] StatusError),
    /// Keys or certificates cannot be made or read.
    #[error("{what}")]
    Pki {
        /// What was tried, with the path of the file where there is one.
        what: String,
        /// What went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The socket failed.
    #[error("the socket failed")]
    Socket(#[source] std::io::Error),
}

/// What starting a server returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn pki(
        what: impl Into<String>,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Self::Pki { what: what.into(), source: Box::new(source) }
    }
}
