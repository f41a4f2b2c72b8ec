//! What can go wrong in a controller, told apart by what to do about it.

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The object changed since it was read: read again and retry.
    #[error("the object has been changed meanwhile")]
    Conflict(#[source] Source),
    /// The object does not exist, or not any more.
    #[error("the object does not exist")]
    NotFound(#[source] Source),
    /// An object of this name exists already.
    #[error("an object of this name exists already")]
    AlreadyExists(#[source] Source),
    /// The server refuses, for example because the namespace is being deleted.
    #[error("the server refuses the request")]
    Forbidden(#[source] Source),
    /// The request itself is wrong; retrying the same will not help.
    #[error("the server finds the request invalid")]
    Invalid(#[source] Source),
    /// The server could not be asked, or could not answer.
    #[error("the server could not answer")]
    Unavailable(#[source] Source),
    /// An object that a controller needs to understand cannot be understood.
    #[error("{0}")]
    Malformed(String),
    /// A controller was refused a directory of this machine.
    #[error("cannot remove {path}")]
    Directory {
        /// Which directory.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A background task of the controllers ended by a panic.
    #[error("a controller panicked: {0}")]
    Panicked(String),
}

/// The boxed cause of an [`Error`].
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// The result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        let kube::Error::Api(status) = &error else { return Self::Unavailable(Box::new(error)) };
        let (code, exists) = (status.code, status.reason == "AlreadyExists");
        let source = Box::new(error);
        match code {
            404 => Self::NotFound(source),
            409 if exists => Self::AlreadyExists(source),
            409 => Self::Conflict(source),
            403 => Self::Forbidden(source),
            400 | 415 | 422 => Self::Invalid(source),
            _ => Self::Unavailable(source),
        }
    }
}

impl Error {
    /// What the server said, for events and conditions.
    pub(crate) fn said(&self) -> String {
        let source = match self {
            Self::Conflict(s) | Self::NotFound(s) | Self::AlreadyExists(s) => s,
            Self::Forbidden(s) | Self::Invalid(s) | Self::Unavailable(s) => s,
            other => return other.to_string(),
        };
        match source.downcast_ref::<kube::Error>() {
            Some(kube::Error::Api(status)) => status.message.clone(),
            _ => source.to_string(),
        }
    }

    /// Whether the server refuses because the namespace is on its way out; then nothing need be retried.
    pub(crate) fn is_namespace_terminating(&self) -> bool {
        let Self::Forbidden(source) = self else { return false };
        match source.downcast_ref::<kube::Error>() {
            Some(kube::Error::Api(status)) => {
                let caused = status.details.as_ref().is_some_and(|details| {
                    details.causes.iter().any(|cause| cause.reason == "NamespaceTerminating")
                });
                caused || status.message.contains("because it is being terminated")
            }
            _ => false,
        }
    }
}

/// Turns "it is gone already" into success.
pub(crate) fn unless_gone<T>(result: Result<T, kube::Error>) -> Result<Option<T>> {
    match result.map_err(Error::from) {
        Ok(value) => Ok(Some(value)),
        Err(Error::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
