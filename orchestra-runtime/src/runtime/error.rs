//! What can go wrong in a runtime, sorted by what the agent does about it.

use std::io;
use std::time::Duration;

/// Why a runtime did not do as told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such sandbox or container.
    #[error("{what} {id:?} not found")]
    NotFound {
        /// `sandbox` or `container`.
        what: &'static str,
        /// The id asked for.
        id: String,
    },
    /// The image cannot be had.
    #[error("{0}")]
    Image(String),
    /// The name of the image is not one.
    #[error("{0}")]
    InvalidImageName(String),
    /// The configuration cannot work here; trying again without a change is useless.
    #[error("{0}")]
    Config(String),
    /// The program could not be executed.
    #[error("{0}")]
    Start(String),
    /// A command took longer than it may.
    #[error("command timed out after {0:?}")]
    Timeout(Duration),
    /// The call does not fit the state the container is in.
    #[error("{0}")]
    State(String),
    /// The system refused.
    #[error("{what}")]
    System {
        /// What was being done.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::System { what, source }
    }

    /// The error with its source, in one line.
    pub fn describe(&self) -> String {
        match self {
            Self::System { what, source } => format!("{what}: {source}"),
            other => other.to_string(),
        }
    }
}

/// What every call returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;
